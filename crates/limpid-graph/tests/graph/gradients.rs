//! Every gradient against central differences, and against its own adjoint.

use crate::support::{dot, norm, normal};
use limpid_graph::case::{Built, Case, Role, cotangent};
use limpid_graph::passes::{Rule, lower, vjp};
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{GraphError, Op, OpError, ValueId};
use limpid_tensor::DType;
use std::collections::BTreeSet;

fn is_no_gradient(e: &GraphError) -> bool {
    let no = |source: &OpError| matches!(source, OpError::NoGradient { .. });
    matches!(e, GraphError::Op { source, .. } if no(source))
}

/// The gradient of <u, output> with respect to one input, whose value is the
/// same in the graph written with simpler operators.
fn gradient(
    built: &Built,
    output: usize,
    wrt: ValueId,
    inputs: &[RefTensor],
    u: &RefTensor,
) -> Result<RefTensor, GraphError> {
    let graph = lower(&built.graph)?;
    let g = vjp(&graph, graph.outputs()[output], &[wrt], Rule::Standard)?;
    let inputs = [inputs, std::slice::from_ref(u)].concat();
    Ok(reference::run(&g.graph, &inputs)?.pop().unwrap())
}

/// Whether fusion has given the operator work of others.
fn fused(op: &Op) -> bool {
    match op {
        Op::Conv(op) => !op.epilogue.is_none(),
        Op::ConvTranspose(op) => !op.epilogue.is_none(),
        Op::Gemm(op) => !op.epilogue.is_none(),
        Op::MaxPool(op) => op.store_argmax,
        _ => false,
    }
}

/// Compares with central differences along `direction`.
fn check_direction(
    name: &str,
    built: &Built,
    (variable, output): (usize, usize),
    u: &RefTensor,
    g: &RefTensor,
    direction: &RefTensor,
) {
    const STEP: f64 = 1e-4;
    let at = |step: f64| {
        let mut inputs = built.inputs.clone();
        let x = &mut inputs[variable];
        for (x, d) in x.data.iter_mut().zip(&direction.data) {
            *x += step * d;
        }
        dot(&reference::run(&built.graph, &inputs).unwrap()[output], u)
    };
    let numerical = (at(STEP) - at(-STEP)) / (2.0 * STEP);
    let analytic = dot(g, direction);
    let error = (numerical - analytic).abs();
    let scale = norm(g) * norm(direction);
    // Truncation is of the order of STEP^2, the constants of a gradient are f32.
    assert!(
        error <= 3e-7 * scale + 1e-9,
        "{name}: numerical {numerical}, analytic {analytic}, scale {scale}"
    );
}

#[test]
fn gradients_are_derivatives() {
    let mut checked = 0;
    let mut without = BTreeSet::new();
    for case in Op::cases() {
        let built = case.build().unwrap();
        for &variable in &built.variables {
            for (output, &y) in built.graph.outputs().iter().enumerate() {
                let fact = built.graph.fact(y);
                let Some(u) = cotangent(&fact.shape, fact.dtype) else {
                    continue;
                };
                let x = built.graph.inputs()[variable];
                let g = match gradient(&built, output, x, &built.inputs, &u) {
                    Ok(g) => g,
                    Err(e) if is_no_gradient(&e) => {
                        without.insert(case.name.clone());
                        continue;
                    }
                    Err(e) => panic!("{}: {e}", case.name),
                };
                let n = g.data.len();
                let check = |d: &RefTensor| {
                    check_direction(&case.name, &built, (variable, output), &u, &g, d);
                };
                for seed in 0..3 {
                    check(&normal(&g.shape, seed));
                }
                if n <= 128 {
                    for i in 0..n {
                        check(&RefTensor::from_fn(&g.shape, |j| {
                            f64::from(u8::from(i == j))
                        }));
                    }
                }
                checked += 1;
            }
        }
    }
    assert!(checked > 60, "only {checked} gradients were checked");
    // Fused operators: fusion comes after differentiation.
    let mut expected = BTreeSet::new();
    for op in [
        "conv 1x1",
        "conv 3x3",
        "conv 3x3 of many",
        "conv depthwise",
        "conv transpose",
        "gemm",
        "gemm tokens",
    ] {
        for epilogue in [
            "add",
            "clip",
            "clip and mask",
            "add, clip and mask",
            "mask product",
            "add and mask product",
        ] {
            expected.insert(format!("{op} {epilogue}"));
        }
    }
    let stored = |c: &Case| matches!(&c.op, Op::MaxPool(pool) if pool.store_argmax);
    let differentiated = |c: &Case| c.inputs[0].role == Role::Variable;
    let pools = Op::cases().into_iter().filter(stored);
    expected.extend(pools.filter(differentiated).map(|c| c.name));
    assert_eq!(without, expected);
}

#[test]
fn inputs_without_a_gradient_are_these() {
    let mut without = BTreeSet::new();
    for case in Op::cases().iter().filter(|c| !fused(&c.op)) {
        let built = case.build().unwrap();
        let node = &built.graph.nodes()[0];
        let graph = lower(&built.graph).unwrap();
        for (i, &input) in node.inputs.iter().enumerate() {
            for &output in graph.outputs() {
                match vjp(&graph, output, &[input], Rule::Standard) {
                    Ok(g) => {
                        let found = built.graph.fact(input);
                        assert_eq!(g.graph.fact(g.gradients[0]), found, "{}", case.name);
                    }
                    Err(e) if is_no_gradient(&e) => {
                        without.insert((case.op.name(), i));
                    }
                    Err(e) => panic!("{} input {i}: {e}", case.name),
                }
            }
        }
    }
    let expected: BTreeSet<(&str, usize)> = [
        // Statistics and weights are frozen.
        ("BatchNormalization", &[1, 2, 3, 4][..]),
        ("Conv", &[1, 2, 3]),
        ("ConvTranspose", &[1, 2]),
        ("Gemm", &[1, 2]),
        ("MatMul", &[1]),
        // Keys, scales and filters steer an operator.
        ("GaussianNoise", &[1, 2, 3]),
        ("HeatKernel", &[1]),
        ("SeparableFilter", &[1, 2, 3, 4]),
        // Masks are steps.
        ("MaskMul", &[1]),
        ("RangeMask", &[0]),
        // Which element is the largest is a step as well.
        ("MaxPoolArgmax", &[0]),
        // Gradients are linear in the cotangent, and are not differentiated
        // again.
        ("MaxPoolGradient", &[0, 1]),
        ("NormalizeGradient", &[0, 1]),
        ("SoftmaxGradient", &[0]),
        // Accumulators end a plan.
        ("RunningMoments", &[0, 1, 2, 3]),
        ("WeightedSum", &[1, 2, 3]),
    ]
    .into_iter()
    .flat_map(|(op, inputs)| inputs.iter().map(move |i| (op, *i)))
    .collect();
    assert_eq!(without, expected);
}

#[test]
fn every_input_at_once_never_panics() {
    for case in Op::cases() {
        let built = case.build().unwrap();
        let inputs = &built.graph.nodes()[0].inputs;
        let graph = lower(&built.graph).unwrap();
        for &output in graph.outputs() {
            if let Err(e) = vjp(&graph, output, inputs, Rule::Standard) {
                assert!(is_no_gradient(&e), "{}: {e}", case.name);
            }
        }
    }
}

/// <J v, u> = <v, J^T u>, J v being f(v) - f(0).
fn check_adjoint(case: &Case, built: &Built, input: usize) -> usize {
    let node = &built.graph.nodes()[0];
    let Some(position) = built
        .graph
        .inputs()
        .iter()
        .position(|v| *v == node.inputs[input])
    else {
        return 0;
    };
    let at = |x: RefTensor| {
        let mut inputs = built.inputs.clone();
        inputs[position] = x;
        reference::run(&built.graph, &inputs).unwrap()
    };
    let shape = &built.inputs[position].shape;
    let v = normal(shape, 21);
    let moved = at(v.clone());
    let still = at(v.map(|_| 0.0));
    let mut checked = 0;
    for (output, &y) in node.outputs.iter().enumerate() {
        if built.graph.fact(y).dtype != DType::F32 {
            continue;
        }
        let jv = moved[output].zip(&still[output], |a, b| a - b);
        let u = normal(&jv.shape, 22);
        let g = gradient(built, output, node.inputs[input], &built.inputs, &u)
            .unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let (left, right) = (dot(&jv, &u), dot(&v, &g));
        let sizes: f64 = jv
            .data
            .iter()
            .zip(&u.data)
            .map(|(a, b)| (a * b).abs())
            .sum();
        // The weights of means and interpolations are f32 constants.
        let rounded = matches!(
            case.op,
            Op::GlobalAveragePool(_)
                | Op::AveragePool(_)
                | Op::AdaptiveAveragePool(_)
                | Op::Resize(_)
        );
        let tolerance = if rounded { 1e-7 } else { 1e-12 };
        assert!(
            (left - right).abs() <= tolerance * sizes,
            "{}: <Jv, u> = {left}, <v, J^T u> = {right}",
            case.name
        );
        checked += 1;
    }
    checked
}

#[test]
fn gradients_of_linear_operators_are_their_adjoints() {
    let mut operators = BTreeSet::new();
    for case in Op::cases() {
        let built = case.build().unwrap();
        for input in 0..case.inputs.len() {
            if case.op.linear(input) && check_adjoint(&case, &built, input) > 0 {
                operators.insert(case.op.name());
            }
        }
    }
    let expected = BTreeSet::from([
        "AdaptiveAveragePool",
        "AveragePool",
        "AxisFilter",
        "Concat",
        "Conv",
        "ConvTranspose",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "Gemm",
        "GlobalAveragePool",
        "HeatKernel",
        "MaskMul",
        "MatMul",
        "Mul",
        "Neg",
        "NormalizeGradient",
        "Pad",
        "ReduceMean",
        "ReduceSum",
        "Relayout",
        "Reshape",
        "Resize",
        "Roll",
        "SeparableFilter",
        "Slice",
        "SoftmaxGradient",
        "SpaceToDepth",
        "Tile",
        "Transpose",
    ]);
    assert_eq!(operators, expected);
}
