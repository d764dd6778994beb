//! Formulas as WGSL.

use limpid_graph::formula::{Binary, Formula, Step, Unary};
use std::fmt::Write;

/// The statements that compute a formula of so many operands, operand i being
/// element `a.y`, `a.z`, `a.w`, `b.x`, ... of `x0`, `x1`, ...
pub(crate) fn wgsl(formula: &Formula, operands: usize) -> String {
    const PLACES: [&str; 7] = ["a.y", "a.z", "a.w", "b.x", "b.y", "b.z", "b.w"];
    let mut text = String::new();
    for (k, step) in formula.steps().iter().enumerate() {
        let value = match *step {
            Step::Input(i) if i < operands => format!("f32(x{i}[{}])", PLACES[i]),
            Step::Input(_) => "0.0".to_owned(),
            Step::Constant(c) => constant(c as f32),
            Step::Unary(f, x) => unary(f, &format!("s{x}")),
            Step::Binary(f, x, y) => binary(f, &format!("s{x}"), &format!("s{y}")),
            Step::Select(c, x, y) => format!("select(s{y}, s{x}, s{c} != 0.0)"),
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "let s{k} = {value}; ");
    }
    let last = formula.steps().len().saturating_sub(1);
    let _ = write!(text, "return s{last};");
    text
}

/// A number. WGSL has no literal for what is not finite.
fn constant(c: f32) -> String {
    match c.is_finite() {
        true => format!("({c:e}f)"),
        false => format!("bitcast<f32>({:#x}u + p.zero)", c.to_bits()),
    }
}

fn unary(f: Unary, x: &str) -> String {
    match f {
        Unary::Neg => format!("-{x}"),
        Unary::Abs => format!("abs({x})"),
        Unary::Sign => format!("sign_({x})"),
        Unary::Floor => format!("floor({x})"),
        Unary::Ceil => format!("ceil({x})"),
        Unary::Round => format!("round({x})"),
        Unary::Sqrt => format!("sqrt({x})"),
        Unary::Exp => format!("exp_({x})"),
        Unary::Log => format!("log_({x})"),
        Unary::Sin => format!("sin_({x})"),
        Unary::Cos => format!("cos_({x})"),
        Unary::Tanh => format!("tanh_({x})"),
        Unary::Erf => format!("erf_({x})"),
        Unary::Sigmoid => format!("sigmoid_({x})"),
        Unary::Softplus => format!("softplus_({x})"),
    }
}

fn binary(f: Binary, x: &str, y: &str) -> String {
    let truth = |condition: &str| format!("select(0.0, 1.0, {x} {condition} {y})");
    match f {
        Binary::Add => format!("{x} + {y}"),
        Binary::Sub => format!("{x} - {y}"),
        Binary::Mul => format!("{x} * {y}"),
        Binary::Div => format!("{x} / {y}"),
        Binary::Min => format!("min_({x}, {y})"),
        Binary::Max => format!("max_({x}, {y})"),
        Binary::Pow => format!("pow_({x}, {y})"),
        Binary::Less => truth("<"),
        Binary::LessOrEqual => truth("<="),
        Binary::Equal => truth("=="),
    }
}
