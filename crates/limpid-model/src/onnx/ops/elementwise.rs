//! Arithmetic, activations, comparisons and logic.

use super::one;
use crate::onnx::builder::Value;
use crate::onnx::call::Call;
use crate::onnx::literal::Kind;
use crate::onnx::refusal::{Refusal, Result};
use serde_json::json;

/// An operator of one input, without attributes, that bears the same name here.
pub(super) fn unary(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let op = c.op;
    c.plain(op, &[&x]).and_then(one)
}

/// An activation with attributes.
pub(super) fn activation(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let attrs = match c.op {
        "Celu" | "Elu" => json!({"alpha": c.attributes.float("alpha", 1.0)?}),
        "LeakyRelu" => json!({"alpha": c.attributes.float("alpha", 0.01)?}),
        "HardSigmoid" => json!({
            "alpha": c.attributes.float("alpha", 0.2)?,
            "beta": c.attributes.float("beta", 0.5)?,
        }),
        "Selu" => json!({
            "alpha": c.attributes.float("alpha", 1.673_263_2)?,
            "gamma": c.attributes.float("gamma", 1.050_701)?,
        }),
        _ => json!({"approximate": c.attributes.text("approximate", "none")?}),
    };
    let op = c.op;
    c.apply(op, attrs, &[&x]).and_then(one)
}

pub(super) fn relu(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    c.apply("Clip", json!({"min": 0.0}), &[&x]).and_then(one)
}

/// Bounds are attributes before opset 11, inputs after.
pub(super) fn clip(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let mut x = c.input(0)?;
    let (min, max) = if c.opset < 11 {
        let bound = |name| c.attributes.get(name).map(|a| f64::from(a.f()));
        (bound("min"), bound("max"))
    } else {
        let (min, max) = (c.optional(1), c.optional(2));
        let all_known = [&min, &max]
            .into_iter()
            .flatten()
            .all(|v| v.known().is_some());
        if !all_known {
            if let Some(min) = min {
                x = c.plain("Max", &[&x, &min])?;
            }
            if let Some(max) = max {
                x = c.plain("Min", &[&x, &max])?;
            }
            return one(x);
        }
        let bound = |i| -> Result<Option<f64>> {
            Ok(c.numbers(i, "bounds")?.and_then(|v| v.first().copied()))
        };
        (bound(1)?, bound(2)?)
    };
    let finite = |v: Option<f64>| v.map(|v| v as f32).filter(|v| v.is_finite());
    let (min, max) = (finite(min), finite(max));
    // ONNX: where the bounds cross, everything is the upper one.
    if let (Some(lo), Some(hi)) = (min, max)
        && lo > hi
    {
        let x = c.apply("Clip", json!({"min": hi, "max": hi}), &[&x])?;
        return one(x);
    }
    if min.is_none() && max.is_none() {
        return one(x);
    }
    c.apply("Clip", json!({"min": min, "max": max}), &[&x])
        .and_then(one)
}

/// x * sigmoid(alpha x).
pub(super) fn swish(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let alpha = c.attributes.float("alpha", 1.0)?;
    if alpha == 1.0 {
        return c.plain("Silu", &[&x]).and_then(one);
    }
    let alpha = c.scalar(f64::from(alpha));
    let scaled = c.plain("Mul", &[&x, &alpha])?;
    let gate = c.plain("Sigmoid", &[&scaled])?;
    c.plain("Mul", &[&x, &gate]).and_then(one)
}

/// x where it is above alpha, else 0.
pub(super) fn thresholded_relu(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let alpha = c.scalar(f64::from(c.attributes.float("alpha", 1.0)?));
    let above = c.plain("Less", &[&alpha, &x])?;
    c.plain("Mul", &[&x, &above]).and_then(one)
}

pub(super) fn binary(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let (a, b) = (c.input(0)?, c.input(1)?);
    let op = c.op;
    if let Some(empty) = without_elements(c, &a, &b) {
        return one(empty);
    }
    let result = c.plain(op, &[&a, &b])?;
    if c.op == "Div" && a.kind() != Kind::Float {
        return truncate(c, &result).and_then(one);
    }
    one(result)
}

/// The result of two constants of which one has no elements: shape arithmetic
/// makes these.
fn without_elements(c: &Call<'_>, a: &Value, b: &Value) -> Option<Value> {
    let (a, b) = (a.known()?, b.known()?);
    let shape = a.shape().broadcast(b.shape())?;
    shape
        .contains(&0)
        .then(|| c.constant(&shape, Vec::new(), a.kind))
}

/// Towards zero, as integers are divided and floats become integers.
pub(super) fn truncate(c: &mut Call<'_>, x: &Value) -> Result<Value> {
    if let Some(l) = x.known().cloned() {
        return c.map(&l, Kind::Int, f64::trunc);
    }
    let sign = c.plain("Sign", &[x])?;
    let size = c.plain("Abs", &[x])?;
    let whole = c.plain("Floor", &[&size])?;
    Ok(c.plain("Mul", &[&sign, &whole])?.with_kind(Kind::Int))
}

/// The remainder: with the divisor's sign, or with the dividend's (`fmod`).
pub(super) fn modulo(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let (a, b) = (c.input(0)?, c.input(1)?);
    if a.kind() == Kind::Float && [&a, &b].iter().any(|v| v.known().is_none()) {
        return Err(Refusal::new(
            "takes remainders of what depends on the picture, which is not supported; replace it in the model and export again",
        ));
    }
    let ratio = c.plain("Div", &[&a, &b])?;
    let whole = if c.attributes.flag("fmod", false)? {
        truncate(c, &ratio)?.with_kind(a.kind())
    } else {
        c.plain("Floor", &[&ratio])?
    };
    let multiple = c.plain("Mul", &[&b, &whole])?;
    c.plain("Sub", &[&a, &multiple]).and_then(one)
}

/// Sum, Mean, Min and Max of any number of inputs.
pub(super) fn variadic(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let inputs = c.all()?;
    let op = match c.op {
        "Min" | "Max" => c.op,
        _ => "Add",
    };
    let mut sum = inputs[0].clone();
    for x in &inputs[1..] {
        sum = c.plain(op, &[&sum, x])?;
    }
    if c.op == "Mean" && inputs.len() > 1 {
        let share = c.scalar(1.0 / inputs.len() as f64);
        sum = c.plain("Mul", &[&sum, &share])?;
    }
    one(sum)
}

pub(super) fn compare(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let (a, b) = (c.input(0)?, c.input(1)?);
    let (op, a, b) = match c.op {
        "Greater" => ("Less", b, a),
        "GreaterOrEqual" => ("LessOrEqual", b, a),
        op => (op, a, b),
    };
    if let Some(empty) = without_elements(c, &a, &b) {
        return one(empty.with_kind(Kind::Bool));
    }
    c.apply_as(Kind::Bool, op, json!({}), &[&a, &b])
        .and_then(one)
}

/// And, Or and Xor of values that are 0 or 1.
pub(super) fn logical(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let (a, b) = (c.input(0)?, c.input(1)?);
    match c.op {
        "And" => c.plain("Mul", &[&a, &b]),
        "Or" => c.plain("Max", &[&a, &b]),
        _ => {
            let equal = c.plain("Equal", &[&a, &b])?;
            negate(c, &equal)
        }
    }
    .and_then(one)
}

pub(super) fn not(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    negate(c, &x).and_then(one)
}

pub(super) fn negate(c: &mut Call<'_>, x: &Value) -> Result<Value> {
    let unit = c.scalar(1.0);
    c.apply_as(Kind::Bool, "Sub", json!({}), &[&unit, x])
}

pub(super) fn choose(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let (condition, a, b) = (c.input(0)?, c.input(1)?, c.input(2)?);
    // Shape arithmetic chooses between whole values.
    if let Some(l) = condition.known()
        && l.shape().elements()? == 1
        && c.dims(&a) == c.dims(&b)
        && l.shape().len() <= c.dims(&a).len()
    {
        let holds = l.double().data.first().is_some_and(|&v| v != 0.0);
        return one(if holds { a } else { b });
    }
    let kind = a.kind();
    c.apply_as(kind, "Where", json!({}), &[&condition, &a, &b])
        .and_then(one)
}

/// Identity, and Dropout when a network is not trained.
pub(super) fn identity(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    if c.op != "Dropout" {
        return one(x);
    }
    let training = c.numbers(2, "training mode")?;
    let ratio = c.numbers(1, "ratio")?;
    let drops = ratio.is_none_or(|r| r.first().is_some_and(|&r| r != 0.0));
    if drops && training.is_some_and(|t| t.first().is_some_and(|&v| v != 0.0)) {
        return Err(Refusal::new(
            "drops values at random as in training; export the model in evaluation mode",
        ));
    }
    if !c.wants(1) {
        return one(x);
    }
    let dims = c.dims(&x);
    let unit = c.constant(&vec![1; dims.len()], vec![1.0], Kind::Bool);
    let mask = c.expand(&unit, &dims)?;
    Ok(vec![x, mask])
}
