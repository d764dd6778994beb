//! Elementwise operators: their formulas against their references, and both
//! against PyTorch, at kinks too.

use limpid_graph::case::Case;
use limpid_graph::ops::{
    Abs, Celu, Clip, Div, Elementwise, Elu, Erf, Gelu, GeluApproximation, HardSigmoid, HardSwish,
    LeakyRelu, Max, Min, Mish, PRelu, Pow, Round, Selu, Sign, Silu, Softplus, Softsign, Tanh,
    Where,
};
use limpid_graph::reference::RefTensor;
use limpid_graph::{Fact, Formula, Op, OpError};

fn formula(op: &Op, inputs: usize) -> Formula {
    op.formula(inputs).expect("an elementwise operator")
}

fn elementwise_cases() -> Vec<(Case, Formula)> {
    let formula = |c: Case| c.op.formula(c.inputs.len()).map(|f| (c, f));
    Op::cases().into_iter().filter_map(formula).collect()
}

#[test]
fn formulas_are_their_references() {
    let mut operators = std::collections::BTreeSet::new();
    for (case, formula) in elementwise_cases() {
        let inputs: Vec<RefTensor> = (0..case.inputs.len()).map(|i| case.draw(i)).collect();
        let inputs: Vec<&RefTensor> = inputs.iter().collect();
        let operands = inputs.len();
        let found = Op::from(Elementwise { formula, operands }).reference(&inputs);
        let expected = case.op.reference(&inputs);
        for (found, expected) in found[0].data.iter().zip(&expected[0].data) {
            // e^x - 1 and 1 + erf x cancel; both are computed with less loss by the reference.
            let close = (found - expected).abs() <= 1e-14 * expected.abs().max(100.0);
            assert!(close, "{}: {found} instead of {expected}", case.name);
        }
        operators.insert(case.op.name());
    }
    assert_eq!(operators.len(), 33 + 7, "{operators:?}");
}

#[test]
fn what_is_not_a_number_stays_so() {
    let steps = ["Equal", "Less", "LessOrEqual", "Sign"];
    for (case, formula) in elementwise_cases() {
        let n = case.inputs.len();
        let name = case.op.name();
        if steps.contains(&name) || name == "Elementwise" {
            continue;
        }
        // Of two operands at once: a branch that is not taken is not seen.
        let operands = vec![f64::NAN; n];
        let tensors = vec![RefTensor::new([], vec![f64::NAN]); n];
        let reference = case.op.reference(&tensors.iter().collect::<Vec<_>>());
        assert!(
            reference[0].data[0].is_nan(),
            "{}: the reference",
            case.name
        );
        assert!(
            formula.evaluate(&operands).is_nan(),
            "{}: the formula",
            case.name
        );
    }
}

/// Values and gradients of PyTorch 2.11 in f64.
#[test]
fn values_and_gradients_are_pytorchs() {
    let half = 0.5;
    let elu = Elu { alpha: half };
    let celu = Celu { alpha: half };
    let leaky = LeakyRelu { alpha: 0.25 };
    let hard_sigmoid = HardSigmoid {
        alpha: 1.0 / 6.0,
        beta: 0.5,
    };
    let tanh = Gelu {
        approximate: GeluApproximation::Tanh,
    };
    let gelu = Gelu::default();
    let relu6 = Clip {
        min: Some(0.0),
        max: Some(6.0),
    };
    let one: Vec<(Op, f64, f64, f64)> = vec![
        (Abs {}.into(), 0.0, 0.0, 0.0),
        (relu6.into(), 0.0, 0.0, 0.0),
        (relu6.into(), 6.0, 6.0, 0.0),
        (HardSwish {}.into(), -3.0, 0.0, 0.0),
        (HardSwish {}.into(), 3.0, 3.0, 1.0),
        (leaky.into(), 0.0, 0.0, 0.25),
        (elu.into(), 0.0, 0.0, 0.5),
        (Selu::default().into(), 0.0, 0.0, 1.7580993408473766),
        (celu.into(), 0.0, 0.0, 1.0),
        (hard_sigmoid.into(), -3.0, 0.0, 0.0),
        (hard_sigmoid.into(), 3.0, 1.0, 0.0),
        (Softsign {}.into(), 0.0, 0.0, 1.0),
        (Sign {}.into(), 0.0, 0.0, 0.0),
        (Sign {}.into(), f64::NAN, 0.0, 0.0),
        (Round {}.into(), 0.5, 0.0, 0.0),
        (Round {}.into(), 1.5, 2.0, 0.0),
        (Round {}.into(), 2.5, 2.0, 0.0),
        (Round {}.into(), -1.5, -2.0, 0.0),
        (gelu.into(), -1.3, -0.1258406299612934, -0.12597868507653925),
        (gelu.into(), 0.7, 0.5306254434438489, 0.9766141011336599),
        (tanh.into(), -1.3, -0.1260709876826906, -0.12587806978401672),
        (tanh.into(), 0.7, 0.5305701347051167, 0.976357218656104),
        (
            Mish {}.into(),
            -1.3,
            -0.3073824647494959,
            -0.02640096215980155,
        ),
        (Mish {}.into(), 0.7, 0.5611483776438518, 0.9687948682001859),
        (
            Silu {}.into(),
            -1.3,
            -0.2784145220446738,
            -0.004622854252336919,
        ),
        (Silu {}.into(), 0.7, 0.46773144051771626, 0.8233867834733425),
        (
            Selu::default().into(),
            -1.3,
            -1.2789613751543256,
            0.4791379656930512,
        ),
        (
            Selu::default().into(),
            0.7,
            0.7354906911488363,
            1.0507009873554805,
        ),
        (celu.into(), -1.3, -0.46286321089283305, 0.07427357821433388),
        (elu.into(), -1.3, -0.36373410348299373, 0.1362658965170063),
        (
            HardSwish {}.into(),
            -1.3,
            -0.36833333333333335,
            0.06666666666666665,
        ),
        (
            hard_sigmoid.into(),
            -1.3,
            0.2833333333333333,
            0.1666666716337204,
        ),
        (
            Erf {}.into(),
            -1.3,
            -0.9340079449406524,
            0.20820798679606964,
        ),
        (
            Softplus {}.into(),
            -1.3,
            0.2410084538329922,
            0.2141650169574414,
        ),
        (
            Softsign {}.into(),
            -1.3,
            -0.5652173913043479,
            0.1890359168241966,
        ),
        (
            Tanh {}.into(),
            -1.3,
            -0.8617231593133063,
            0.25743319670309406,
        ),
    ];
    let two: Vec<(Op, [f64; 2], f64, [f64; 2])> = vec![
        (Max {}.into(), [2.0, 2.0], 2.0, [0.5, 0.5]),
        (Min {}.into(), [2.0, 2.0], 2.0, [0.5, 0.5]),
        (Pow {}.into(), [0.0, 0.0], 1.0, [0.0, 0.0]),
        (Pow {}.into(), [0.0, 2.0], 0.0, [0.0, 0.0]),
        (
            Pow {}.into(),
            [1.5, 2.5],
            2.7556759606310752,
            [4.592793267718459, 1.1173304512883486],
        ),
        (PRelu {}.into(), [0.0, 0.25], 0.0, [0.25, 0.0]),
        (PRelu {}.into(), [-2.0, 0.25], -0.5, [0.25, -2.0]),
        (Div {}.into(), [3.0, -2.0], -1.5, [-0.5, -0.75]),
    ];
    let check = |op: &Op, x: &[f64], value: f64, slopes: &[f64]| {
        let formula = formula(op, x.len());
        let inputs: Vec<RefTensor> = x.iter().map(|x| RefTensor::new([], vec![*x])).collect();
        let reference = op.reference(&inputs.iter().collect::<Vec<_>>())[0].data[0];
        // The attributes are f32.
        let close = |found: f64, expected: f64| (found - expected).abs() <= 1e-7;
        assert!(close(reference, value), "{op:?} of {x:?}: {reference}");
        assert!(
            close(formula.evaluate(x), value),
            "{op:?} of {x:?}: formula"
        );
        for (i, slope) in slopes.iter().enumerate() {
            let found = formula.derivative(i).evaluate(x);
            assert!(
                close(found, *slope),
                "{op:?} of {x:?}: slope {found} instead of {slope}"
            );
        }
    };
    for (op, x, value, slope) in one {
        check(&op, &[x], value, &[slope]);
    }
    for (op, x, value, slopes) in two {
        check(&op, &x, value, &slopes);
    }
    // PyTorch has no number for the exponent's gradient at a negative base.
    check(&Pow {}.into(), &[-2.0, 3.0], -8.0, &[12.0]);
    check(&Where {}.into(), &[0.0, 1.0, 2.0], 2.0, &[0.0, 0.0, 1.0]);
}

#[test]
fn attributes_are_finite_numbers() {
    for bad in [f32::NAN, f32::INFINITY] {
        let ops: [Op; 7] = [
            Celu { alpha: bad }.into(),
            Elu { alpha: bad }.into(),
            LeakyRelu { alpha: bad }.into(),
            HardSigmoid {
                alpha: bad,
                beta: 0.5,
            }
            .into(),
            HardSigmoid {
                alpha: 0.2,
                beta: bad,
            }
            .into(),
            Selu {
                alpha: bad,
                gamma: 1.0,
            }
            .into(),
            Selu {
                alpha: 1.0,
                gamma: bad,
            }
            .into(),
        ];
        for op in ops {
            let e = op.infer(&[&Fact::f32([3])]).unwrap_err();
            assert!(matches!(e, OpError::Attribute { .. }), "{op:?}: {e}");
        }
    }
    assert!(
        Op::from(Celu { alpha: 0.0 })
            .infer(&[&Fact::f32([3])])
            .is_err()
    );
}

#[test]
fn attributes_have_onnx_defaults() {
    let parse = |text: &str| serde_json::from_str::<Op>(text).unwrap();
    let bare = |op: &str| parse(&format!(r#"{{"op":"{op}","attrs":{{}}}}"#));
    assert_eq!(bare("Celu"), Celu { alpha: 1.0 }.into());
    assert_eq!(bare("Elu"), Elu { alpha: 1.0 }.into());
    assert_eq!(bare("LeakyRelu"), LeakyRelu { alpha: 0.01 }.into());
    let hard_sigmoid = HardSigmoid {
        alpha: 0.2,
        beta: 0.5,
    };
    assert_eq!(bare("HardSigmoid"), hard_sigmoid.into());
    assert_eq!(bare("Gelu"), Gelu::default().into());
    let tanh = r#"{"op":"Gelu","attrs":{"approximate":"tanh"}}"#;
    assert_eq!(serde_json::to_string(&parse(tanh)).unwrap(), tanh);
    let Op::Selu(selu) = bare("Selu") else {
        panic!("Selu by its name")
    };
    // As the ONNX standard writes them.
    assert_eq!(f64::from(selu.alpha), 1.673_263_192_176_818_8);
    assert_eq!(f64::from(selu.gamma), 1.050_701_022_148_132_3);
}
