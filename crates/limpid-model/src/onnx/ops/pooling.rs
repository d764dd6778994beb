//! Pooling over windows and over everything.

use super::one;
use super::window::Window;
use crate::onnx::builder::Value;
use crate::onnx::call::Call;
use crate::onnx::refusal::{Refusal, Result};
use serde_json::json;

/// MaxPool, AveragePool and LpPool.
pub(super) fn pool(c: &mut Call<'_>) -> Result<Vec<Value>> {
    c.only_outputs(1)?;
    let x = c.input(0)?;
    let window = Window::read(c, c.dims(&x).len(), None)?;
    let mut attrs = json!({
        "kernel": window.kernel,
        "strides": window.strides,
        "dilations": window.dilations,
        "padding": window.padding(),
        "ceil_mode": c.attributes.flag("ceil_mode", false)?,
    });
    match c.op {
        "AveragePool" => {
            attrs["count_include_pad"] = json!(c.attributes.flag("count_include_pad", false)?)
        }
        "LpPool" => attrs["p"] = json!(power(c)?),
        _ => {}
    }
    let x = window.flat(c, &x)?;
    let op = c.op;
    let y = c.apply(op, attrs, &[&x])?;
    window.back(c, &y).and_then(one)
}

fn power(c: &Call<'_>) -> Result<i64> {
    let p = c.attributes.int("p")?.unwrap_or(2);
    if (1..=64).contains(&p) {
        return Ok(p);
    }
    Err(Refusal::new(format!(
        "has the power {p}; 1 to 64 are possible"
    )))
}

/// GlobalAveragePool and GlobalMaxPool.
pub(super) fn global(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let op = c.op;
    c.plain(op, &[&x]).and_then(one)
}

/// (sum |x|^p)^(1/p) over all axes behind the channels.
pub(super) fn global_lp(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let p = power(c)?;
    let axes: Vec<usize> = (2..c.dims(&x).len()).collect();
    let attrs = json!({"axes": axes});
    if p == 2 {
        return c.apply("ReduceL2", attrs, &[&x]).and_then(one);
    }
    let size = c.plain("Abs", &[&x])?;
    let (power, root) = (c.scalar(p as f64), c.scalar(1.0 / p as f64));
    let powers = c.plain("Pow", &[&size, &power])?;
    let sum = c.apply("ReduceSum", attrs, &[&powers])?;
    c.plain("Pow", &[&sum, &root]).and_then(one)
}
