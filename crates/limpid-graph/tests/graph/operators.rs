//! What every operator owes: a serialised form, refusals instead of panics,
//! and a cost.

use limpid_graph::case::{Case, Role};
use limpid_graph::ops::{Clip, Conv, ConvTranspose, Gemm, Padding, RangeMask, Reshape};
use limpid_graph::reference::RefTensor;
use limpid_graph::{Cost, Fact, Op, OpError};
use limpid_tensor::{DType, Shape};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn facts(case: &Case) -> Vec<Fact> {
    case.inputs.iter().map(|i| i.fact.clone()).collect()
}

fn infer(op: &Op, facts: &[Fact]) -> Result<Vec<Fact>, OpError> {
    op.infer(&facts.iter().collect::<Vec<_>>())
}

#[test]
fn every_operator_has_cases_with_names_of_their_own() {
    let cases = Op::cases();
    let names: BTreeSet<&str> = cases.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "a case's name is used twice");
    let covered: BTreeSet<&str> = cases.iter().map(|c| c.op.name()).collect();
    assert_eq!(covered, Op::NAMES.iter().copied().collect());
}

#[test]
fn networks_have_no_operators_of_the_engine() {
    let network = Op::network_names();
    let internal: Vec<&str> = Op::NAMES
        .iter()
        .copied()
        .filter(|n| !network.contains(n))
        .collect();
    assert_eq!(
        internal,
        [
            "AxisFilter",
            "Elementwise",
            "GaussianNoise",
            "HeatKernel",
            "MaskMul",
            "MaxPoolArgmax",
            "MaxPoolGradient",
            "Normalize",
            "NormalizeGradient",
            "RangeMask",
            "Relayout",
            "RunningMoments",
            "SeparableFilter",
            "SoftmaxGradient",
            "WeightedSum"
        ]
    );
    for case in Op::cases() {
        // Parameters are what cases give as constants, and fusion is by name.
        let fused = case.op.fused();
        for (i, input) in case.inputs.iter().enumerate() {
            if case.op.parameter(i) && !fused {
                assert_eq!(input.role, Role::Constant, "{} input {i}", case.name);
            }
        }
    }
    assert!(!Op::from(Gemm::default()).fused());
    assert!(Op::cases().iter().any(|c| c.op.fused()));
}

#[test]
fn windows_are_limited() {
    let image = Fact::f32([1, 1, 1 << 11, 1 << 11]);
    let refused = |conv: Conv, extent: usize| {
        let weight = Fact::f32([1, 1, 1, extent]);
        infer(&conv.into(), &[image.clone(), weight]).unwrap_err()
    };
    let attribute = |e: OpError| match e {
        OpError::Attribute { name, .. } => name,
        other => panic!("{other}"),
    };
    let plain = Conv::default;
    assert_eq!(attribute(refused(plain(), 1025)), "weight");
    let strides = [1, 1025];
    assert_eq!(
        attribute(refused(Conv { strides, ..plain() }, 1)),
        "strides"
    );
    let dilations = [1025, 1];
    let wide = Conv {
        dilations,
        ..plain()
    };
    assert_eq!(attribute(refused(wide, 1)), "dilations");
    let weight = Fact::f32([1, 1, 1024, 1024]);
    let strides = [1024; 2];
    let largest = infer(&Conv { strides, ..plain() }.into(), &[image, weight]).unwrap();
    assert_eq!(largest[0].shape.dims(), [1, 1, 2, 2]);
}

#[test]
fn references_make_what_inference_says() {
    for case in Op::cases() {
        let built = case.build().unwrap();
        let inputs: Vec<RefTensor> = (0..case.inputs.len()).map(|i| case.draw(i)).collect();
        let outputs = case.op.reference(&inputs.iter().collect::<Vec<_>>());
        let expected: Vec<&Fact> = built
            .graph
            .outputs()
            .iter()
            .map(|v| built.graph.fact(*v))
            .collect();
        assert_eq!(outputs.len(), expected.len(), "{}", case.name);
        for (out, fact) in outputs.iter().zip(expected) {
            assert_eq!(out.shape, fact.shape, "{}", case.name);
            assert!(out.data.iter().all(|v| v.is_finite()), "{}", case.name);
            if fact.dtype == DType::Bits {
                assert!(
                    out.data.iter().all(|v| [0.0, 1.0].contains(v)),
                    "{}",
                    case.name
                );
            }
        }
    }
}

#[test]
fn serialised_form_round_trips() {
    for case in Op::cases() {
        let text = serde_json::to_string(&case.op).unwrap();
        assert_eq!(
            serde_json::from_str::<Op>(&text).unwrap(),
            case.op,
            "{text}"
        );
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["op"], case.op.name());
        assert!(value["attrs"].is_object(), "{text}");
        assert_eq!(value.as_object().unwrap().len(), 2, "{text}");
    }
}

#[test]
fn serialised_form_is_this() {
    let conv = Conv {
        strides: [2, 2],
        padding: Padding::SameUpper,
        ..Conv::default()
    };
    let text = r#"{"op":"Conv","attrs":{"strides":[2,2],"dilations":[1,1],"groups":1,"padding":"same_upper"}}"#;
    assert_eq!(
        serde_json::to_string(&Op::from(conv.clone())).unwrap(),
        text
    );
    // Attributes that are left out have ONNX's defaults.
    let short = r#"{"op":"Conv","attrs":{"strides":[2,2],"padding":"same_upper"}}"#;
    assert_eq!(serde_json::from_str::<Op>(short).unwrap(), conv.into());
    for bad in [
        r#"{"op":"Convolution","attrs":{}}"#,
        r#"{"op":"Flatten","attrs":{"axis":-1}}"#,
        r#"{"op":"Conv","attrs":{"groups":"many"}}"#,
    ] {
        assert!(serde_json::from_str::<Op>(bad).is_err(), "{bad}");
    }
}

#[test]
fn wrong_counts_and_types_are_refused() {
    for case in Op::cases() {
        let good = facts(&case);
        assert!(infer(&case.op, &good).is_ok(), "{}", case.name);
        assert!(infer(&case.op, &[]).is_err(), "{}", case.name);
        let many = [&good[..], &vec![good[0].clone(); 6]].concat();
        let variadic = matches!(case.op, Op::Concat(_));
        assert!(variadic || infer(&case.op, &many).is_err(), "{}", case.name);
        for i in 0..good.len() {
            for dtype in [DType::F32, DType::U32, DType::Bits, DType::U8] {
                let mut wrong = good.clone();
                // A layout is one of any type.
                let any = matches!(case.op, Op::Relayout(_));
                if dtype != wrong[i].dtype && !any {
                    wrong[i].dtype = dtype;
                    assert!(
                        infer(&case.op, &wrong).is_err(),
                        "{} {i} {dtype}",
                        case.name
                    );
                }
            }
            let mut empty = good.clone();
            let mut dims = empty[i].shape.to_vec();
            dims.push(0);
            empty[i].shape = dims.into();
            assert!(
                infer(&case.op, &empty).is_err(),
                "{} input {i} empty",
                case.name
            );
        }
    }
}

#[test]
fn wrong_shapes_are_refused() {
    let image = || Fact::f32([2, 8, 5, 5]);
    let conv = |f: fn(&mut Conv)| {
        let mut op = Conv::default();
        f(&mut op);
        Op::from(op)
    };
    let transpose = |f: fn(&mut ConvTranspose)| {
        let mut op = ConvTranspose::default();
        f(&mut op);
        Op::from(op)
    };
    let weight = |dims: [usize; 4]| Fact::f32(dims);
    let refused: Vec<(Op, Vec<Fact>)> = vec![
        (conv(|_| ()), vec![image(), weight([4, 7, 1, 1])]),
        (conv(|_| ()), vec![image(), Fact::f32([4, 8])]),
        (
            conv(|_| ()),
            vec![Fact::f32([8, 5, 5]), weight([4, 8, 1, 1])],
        ),
        (conv(|_| ()), vec![image(), weight([4, 8, 6, 1])]),
        (
            conv(|_| ()),
            vec![image(), weight([4, 8, 1, 1]), Fact::f32([5])],
        ),
        (conv(|c| c.groups = 0), vec![image(), weight([4, 8, 1, 1])]),
        (conv(|c| c.groups = 3), vec![image(), weight([3, 2, 1, 1])]),
        (
            conv(|c| c.strides = [0, 1]),
            vec![image(), weight([4, 8, 1, 1])],
        ),
        (
            conv(|c| c.dilations = [1, 0]),
            vec![image(), weight([4, 8, 1, 1])],
        ),
        (
            conv(|c| c.padding = Padding::Explicit([usize::MAX; 4])),
            vec![image(), weight([4, 8, 1, 1])],
        ),
        (transpose(|_| ()), vec![image(), weight([7, 4, 1, 1])]),
        (
            transpose(|c| c.pads = [3; 4]),
            vec![image(), weight([8, 4, 1, 1])],
        ),
        (
            transpose(|c| c.output_padding = [1, 0]),
            vec![image(), weight([8, 4, 1, 1])],
        ),
        (
            Gemm::default().into(),
            vec![Fact::f32([2, 3]), Fact::f32([4, 5])],
        ),
        (
            Gemm::default().into(),
            vec![Fact::f32([2, 3, 1]), Fact::f32([3, 5])],
        ),
        (
            Reshape {
                shape: vec![-1, -1],
            }
            .into(),
            vec![image()],
        ),
        (Reshape { shape: vec![3, -1] }.into(), vec![image()]),
        (
            Reshape {
                shape: vec![400, -2],
            }
            .into(),
            vec![image()],
        ),
        (
            Reshape {
                shape: vec![1, 1, 1, 1, 0],
            }
            .into(),
            vec![image()],
        ),
        (
            Reshape {
                shape: vec![i64::MAX, i64::MAX, -1],
            }
            .into(),
            vec![image()],
        ),
        (
            Clip {
                min: Some(1.0),
                max: Some(0.0),
            }
            .into(),
            vec![image()],
        ),
        (
            Clip {
                min: Some(f32::NAN),
                max: None,
            }
            .into(),
            vec![image()],
        ),
    ];
    for (op, facts) in refused {
        let e = infer(&op, &facts).expect_err(&format!("{op:?} {facts:?}"));
        assert!(!e.to_string().is_empty());
    }
}

#[test]
fn a_mask_at_the_bound_is_unset() {
    let clip = Clip {
        min: Some(0.0),
        max: Some(6.0),
    };
    let x = RefTensor::new([5], vec![-1.0, 0.0, 3.0, 6.0, 7.0]);
    let mask = Op::from(RangeMask::inside(clip)).reference(&[&x]).remove(0);
    assert_eq!(mask.data, [0.0, 0.0, 1.0, 0.0, 0.0]);
}

#[test]
fn costs() {
    let cost = |op: Op, facts: &[Fact]| {
        let outputs = infer(&op, facts).unwrap();
        op.cost(
            &facts.iter().collect::<Vec<_>>(),
            &outputs.iter().collect::<Vec<_>>(),
        )
    };
    // The stem of ResNet-50: 118 013 952 multiply-adds, as fvcore counts.
    let stem = Conv {
        strides: [2, 2],
        padding: Padding::Explicit([3; 4]),
        ..Conv::default()
    };
    let found = cost(
        stem.into(),
        &[Fact::f32([1, 3, 224, 224]), Fact::f32([64, 3, 7, 7])],
    );
    assert_eq!(found, Cost::multiply_adds(118_013_952));
    let depthwise = Conv {
        groups: 32,
        ..Conv::default()
    };
    let found = cost(
        depthwise.into(),
        &[Fact::f32([2, 32, 9, 9]), Fact::f32([32, 1, 3, 3])],
    );
    assert_eq!(found.multiply_adds, 2 * 32 * 7 * 7 * 9);
    let gemm = Gemm {
        trans_b: true,
        ..Gemm::default()
    };
    let found = cost(
        gemm.into(),
        &[Fact::f32([3, 1280]), Fact::f32([1000, 1280])],
    );
    assert_eq!(found.multiply_adds, 3 * 1280 * 1000);
    for case in Op::cases() {
        let cost = cost(case.op.clone(), &facts(&case));
        let free = matches!(case.op, Op::Flatten(_) | Op::Relayout(_) | Op::Reshape(_));
        assert_eq!(
            cost.multiply_adds + cost.elementwise == 0,
            free,
            "{}",
            case.name
        );
    }
}

fn extent() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 1..5usize,
        1 => Just(0usize),
        1 => prop::sample::select(vec![33, 1 << 20, 1 << 24, 1 << 32, 1 << 47, usize::MAX / 2, usize::MAX]),
    ]
}

fn fact() -> impl Strategy<Value = Fact> {
    let dtype = prop_oneof![8 => Just(DType::F32), 1 => Just(DType::U32), 1 => Just(DType::Bits)];
    (dtype, prop::collection::vec(extent(), 0..6)).prop_map(|(d, s)| Fact::new(d, s))
}

fn attribute() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0..4usize, 1 => prop::sample::select(vec![1 << 20, 1 << 21, usize::MAX])]
}

fn op() -> impl Strategy<Value = Op> {
    let pair = || [attribute(), attribute()];
    let four = || [attribute(), attribute(), attribute(), attribute()];
    let padding = prop_oneof![four().prop_map(Padding::Explicit), Just(Padding::SameUpper),];
    prop_oneof![
        3 => prop::sample::select(Op::cases()).prop_map(|c| c.op),
        1 => (pair(), pair(), attribute(), padding).prop_map(|(strides, dilations, groups, padding)| {
            Conv { strides, dilations, groups, padding, ..Conv::default() }.into()
        }),
        1 => (pair(), pair(), attribute(), four(), pair()).prop_map(
            |(strides, dilations, groups, pads, output_padding)| {
                ConvTranspose { strides, dilations, groups, pads, output_padding, ..ConvTranspose::default() }.into()
            }
        ),
        1 => prop::collection::vec(-3..5i64, 0..5).prop_map(|shape| Reshape { shape }.into()),
    ]
}

fn small(facts: &[Fact]) -> bool {
    let elements = |s: &Shape| s.elements().unwrap_or(usize::MAX);
    facts.iter().all(|f| elements(&f.shape) < 4096)
}

/// Whatever the facts, inference answers; where it accepts, the reference makes
/// what was promised and the cost is a number.
fn check(op: &Op, facts: &[Fact]) {
    let Ok(outputs) = infer(op, facts) else {
        return;
    };
    let ins: Vec<&Fact> = facts.iter().collect();
    let outs: Vec<&Fact> = outputs.iter().collect();
    let _ = op.cost(&ins, &outs);
    if small(facts) && small(&outputs) {
        let inputs: Vec<RefTensor> = facts
            .iter()
            .map(|f| RefTensor::from_fn(&f.shape, |i| (i % 2) as f64))
            .collect();
        let found = op.reference(&inputs.iter().collect::<Vec<_>>());
        for (found, fact) in found.iter().zip(&outputs) {
            assert_eq!(found.shape, fact.shape);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn inference_never_panics(op in op(), facts in prop::collection::vec(fact(), 0..6)) {
        check(&op, &facts);
    }

    /// A good case with a few extents, ranks or types changed: gets further in
    /// than noise does.
    #[test]
    fn inference_never_panics_on_damaged_cases(
        case in prop::sample::select(Op::cases()),
        damage in prop::collection::vec((0..6usize, 0..6usize, extent()), 0..3),
        replaced in prop::option::weighted(0.2, (0..6usize, fact())),
    ) {
        let mut facts = facts(&case);
        let n = facts.len();
        for (input, axis, extent) in damage {
            let mut dims = facts[input % n].shape.to_vec();
            let rank = dims.len();
            if rank > 0 {
                dims[axis % rank] = extent;
            }
            facts[input % n].shape = dims.into();
        }
        if let Some((input, fact)) = replaced {
            facts[input % n] = fact;
        }
        check(&case.op, &facts);
    }

    #[test]
    fn attributes_of_convolutions_never_panic(
        op in op(),
        x in prop::array::uniform4(1..7usize),
        w in prop::array::uniform4(1..4usize),
    ) {
        check(&op, &[Fact::f32(x), Fact::f32(w)]);
    }
}
