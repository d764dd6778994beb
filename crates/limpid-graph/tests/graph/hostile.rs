//! Attributes and shapes that nobody means: an operator refuses them in words,
//! or does what it says.

use limpid_graph::ops::{
    AdaptiveAveragePool, Attention, AveragePool, Concat, CoordinateMode, DepthToSpace,
    DepthToSpaceMode, Gather, GroupNormalization, LRN, LayerNormalization, LpPool, MaxPool, Pad,
    PadMode, Padding, ReduceProd, Resize, ResizeMode, Roll, Slice, SpaceToDepth, Tile, Transpose,
};
use limpid_graph::passes::lower;
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Fact, Graph, Op};
use proptest::prelude::*;

fn number() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 0..5usize,
        1 => prop::sample::select(vec![17, 300, 1 << 10, 1 << 20, 1 << 22, 1 << 48, usize::MAX / 2, usize::MAX]),
    ]
}

fn signed() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => -4..5i64,
        1 => prop::sample::select(vec![-(1 << 22), 1 << 22, 1 << 40, i64::MIN, i64::MIN + 1, i64::MAX]),
    ]
}

fn real() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => -3.0..3.0f32,
        1 => prop::sample::select(vec![0.0, -0.0, 1e-30, 1e30, f32::INFINITY, f32::NAN, 0.5, 1.0, 2.0]),
    ]
}

fn padding() -> impl Strategy<Value = Padding> {
    prop_oneof![
        2 => [number(), number(), number(), number()].prop_map(Padding::Explicit),
        1 => Just(Padding::SameUpper),
        1 => Just(Padding::SameLower),
    ]
}

fn pool() -> impl Strategy<Value = MaxPool> {
    let pair = || [number(), number()];
    (
        pair(),
        pair(),
        pair(),
        padding(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(kernel, strides, dilations, padding, ceil_mode, store_argmax)| MaxPool {
                kernel,
                strides,
                dilations,
                padding,
                ceil_mode,
                store_argmax,
            },
        )
}

fn resize() -> impl Strategy<Value = Resize> {
    let list = |n| prop::collection::vec(real(), n);
    let coordinates = prop::sample::select(vec![
        CoordinateMode::HalfPixel,
        CoordinateMode::HalfPixelSymmetric,
        CoordinateMode::PytorchHalfPixel,
        CoordinateMode::AlignCorners,
        CoordinateMode::Asymmetric,
        CoordinateMode::TfCropAndResize,
    ]);
    let mode = prop::sample::select(vec![
        ResizeMode::Nearest,
        ResizeMode::Linear,
        ResizeMode::Cubic,
    ]);
    let flags = [any::<bool>(), any::<bool>()];
    (
        list(0..4usize),
        prop::collection::vec(number(), 0..4),
        mode,
        coordinates,
        flags,
        (real(), real()),
        prop_oneof![list(4..5), list(0..7)],
    )
        .prop_map(
            |(scales, sizes, mode, coordinates, flags, numbers, roi)| Resize {
                scales: scales.into_iter().map(f32::abs).collect(),
                sizes,
                mode,
                coordinate_transformation_mode: coordinates,
                antialias: flags[0],
                exclude_outside: flags[1],
                // Weights of 1e30 cancel to anything at all.
                cubic_coeff_a: numbers.0.clamp(-1e3, 1e3),
                extrapolation_value: numbers.1,
                roi,
                ..Resize::default()
            },
        )
}

fn pad() -> impl Strategy<Value = Pad> {
    let mode = prop::sample::select(vec![
        PadMode::Constant,
        PadMode::Reflect,
        PadMode::Edge,
        PadMode::Wrap,
    ]);
    let pads = prop::collection::vec([signed(), signed()], 1..5);
    (pads, mode, real()).prop_map(|(pads, mode, value)| Pad { pads, mode, value })
}

fn op() -> impl Strategy<Value = Op> {
    let numbers = || prop::collection::vec(number(), 0..5);
    let epsilon = || real().prop_map(f64::from);
    prop_oneof![
        2 => pool().prop_map(Op::from),
        2 => (pool(), any::<bool>()).prop_map(|(p, count_include_pad)| {
            let MaxPool { kernel, strides, dilations, padding, ceil_mode, .. } = p;
            AveragePool { kernel, strides, dilations, padding, ceil_mode, count_include_pad }.into()
        }),
        1 => (pool(), epsilon()).prop_map(|(m, p)| {
            let MaxPool { kernel, strides, dilations, padding, ceil_mode, .. } = m;
            LpPool { kernel, strides, dilations, padding, ceil_mode, p }.into()
        }),
        3 => resize().prop_map(Op::from),
        3 => pad().prop_map(Op::from),
        2 => (number(), number(), signed(), signed()).prop_map(|(axis, start, step, count)| {
            Slice { axis, start, step, count }.into()
        }),
        1 => [number(), number()].prop_map(|output| AdaptiveAveragePool { output }.into()),
        1 => (number(), numbers()).prop_map(|(axis, indices)| Gather { axis, indices }.into()),
        1 => numbers().prop_map(|repeats| Tile { repeats }.into()),
        1 => numbers().prop_map(|perm| Transpose { perm }.into()),
        1 => numbers().prop_map(|axes| ReduceProd { axes }.into()),
        1 => (number(), signed()).prop_map(|(axis, shift)| Roll { axis, shift }.into()),
        1 => number().prop_map(|axis| Concat { axis }.into()),
        1 => number().prop_map(|blocksize| SpaceToDepth { blocksize }.into()),
        1 => number().prop_map(|blocksize| {
            DepthToSpace { blocksize, mode: DepthToSpaceMode::Dcr }.into()
        }),
        1 => (number(), real(), real(), real()).prop_map(|(size, alpha, beta, bias)| {
            LRN { size, alpha, beta, bias }.into()
        }),
        1 => (number(), epsilon()).prop_map(|(axis, epsilon)| {
            LayerNormalization { axis, epsilon }.into()
        }),
        1 => (number(), epsilon()).prop_map(|(num_groups, epsilon)| {
            GroupNormalization { num_groups, epsilon }.into()
        }),
        1 => prop::option::of(real()).prop_map(|scale| Attention { scale }.into()),
    ]
}

fn small(fact: &Fact) -> bool {
    fact.shape.elements().is_ok_and(|n| n < 512)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1 << 15))]

    #[test]
    fn attributes_never_panic(
        op in op(),
        shape in prop::collection::vec(1..6usize, 1..5),
        odd in prop::option::weighted(0.1, (0..5usize, number())),
        count in prop_oneof![3 => Just(1usize), 1 => 2..5usize],
    ) {
        let mut shape = shape;
        if let Some((axis, extent)) = odd {
            let axis = axis % shape.len();
            shape[axis] = extent;
        }
        let facts = vec![Fact::f32(&shape[..]); count];
        let facts: Vec<&Fact> = facts.iter().collect();
        let Ok(out) = op.infer(&facts) else { return Ok(()) };
        let _ = op.cost(&facts, &out.iter().collect::<Vec<_>>());
        if !facts.iter().copied().chain(&out).all(small) {
            return Ok(());
        }
        let mut g = Graph::new();
        let ids: Vec<_> = facts.iter().map(|f| g.input("x", (*f).clone())).collect();
        let outputs = g.push("node", op, &ids).unwrap();
        g.set_outputs(&outputs);
        let inputs: Vec<RefTensor> = facts
            .iter()
            .map(|f| RefTensor::from_fn(&f.shape, |i| (i % 7) as f64 - 3.0))
            .collect();
        let own = reference::run(&g, &inputs).unwrap();
        let simpler = reference::run(&lower(&g).unwrap(), &inputs).unwrap();
        for (a, b) in own.iter().zip(&simpler) {
            prop_assert_eq!(&a.shape, &b.shape);
            let largest = a.data.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
            for (a, b) in a.data.iter().zip(&b.data) {
                // Rounded weights, and hardly any sum of weights to divide by.
                let close = (a - b).abs() <= 1e-5 * largest;
                prop_assert!(close || !a.is_finite() || largest > 1e6, "{} is not {}", b, a);
            }
        }
    }
}

#[test]
fn refusals_say_what_is_wrong() {
    let image = || Fact::f32([2, 6, 5, 4]);
    let pool = |kernel| MaxPool {
        kernel,
        ..MaxPool::default()
    };
    let tall = MaxPool {
        kernel: [257, 1],
        padding: Padding::Explicit([256, 0, 256, 0]),
        ..MaxPool::default()
    };
    let slice = |start, step, count| Slice {
        axis: 1,
        start,
        step,
        count,
    };
    let refused: Vec<(Op, Vec<Fact>, &str)> = vec![
        (
            pool([6, 1]).into(),
            vec![image()],
            "`kernel` must be no larger than the padded input",
        ),
        (pool([0, 1]).into(), vec![image()], "`kernel`"),
        (tall.into(), vec![image()], "`kernel` must be at most 256"),
        (slice(6, 1, -1).into(), vec![image()], "`start`"),
        (slice(0, 0, 1).into(), vec![image()], "`step`"),
        (slice(0, 1, 7).into(), vec![image()], "`count`"),
        (slice(0, 1, -2).into(), vec![image()], "`count`"),
        (slice(0, 1, 0).into(), vec![image()], "empty"),
        (
            Gather {
                axis: 3,
                indices: vec![4],
            }
            .into(),
            vec![image()],
            "`indices`",
        ),
        (
            Transpose {
                perm: vec![0, 1, 1, 2],
            }
            .into(),
            vec![image()],
            "`perm`",
        ),
        (Tile { repeats: vec![2] }.into(), vec![image()], "`repeats`"),
        (Concat { axis: 4 }.into(), vec![image()], "`axis`"),
        (
            Concat { axis: 1 }.into(),
            vec![image(), Fact::f32([2, 6, 5, 3])],
            "broadcastable",
        ),
        (Resize::default().into(), vec![image()], "`scales`"),
        (
            DepthToSpace {
                blocksize: 2,
                mode: DepthToSpaceMode::Crd,
            }
            .into(),
            vec![image()],
            "channels",
        ),
        (
            SpaceToDepth { blocksize: 2 }.into(),
            vec![image()],
            "high and wide",
        ),
        (
            GroupNormalization {
                num_groups: 4,
                epsilon: 1e-5,
            }
            .into(),
            vec![image(), Fact::f32([6]), Fact::f32([6])],
            "`num_groups`",
        ),
        (
            LayerNormalization {
                axis: 3,
                epsilon: -1.0,
            }
            .into(),
            vec![image()],
            "`epsilon`",
        ),
        (
            LayerNormalization {
                axis: 3,
                epsilon: 0.1,
            }
            .into(),
            vec![image(), Fact::f32([5])],
            "[4]",
        ),
        (
            Attention::default().into(),
            vec![image(), image(), Fact::f32([2, 6, 4, 4])],
            "[2, 6, 5, e]",
        ),
    ];
    for (op, facts, said) in refused {
        let e = op.infer(&facts.iter().collect::<Vec<_>>()).expect_err(said);
        assert!(e.to_string().contains(said), "{op:?}: {e}");
    }
    let pads = Pad {
        pads: vec![[0, 0], [0, 0], [-2, -3], [0, 0]],
        mode: PadMode::Edge,
        value: 0.0,
    };
    let e = Op::from(pads).infer(&[&image()]).unwrap_err();
    assert!(e.to_string().contains("at least one element"), "{e}");
}
