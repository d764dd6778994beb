//! Reductions along axes.

use super::one;
use crate::onnx::builder::Value;
use crate::onnx::call::{Call, axes};
use crate::onnx::refusal::{Refusal, Result};
use serde_json::json;

/// Every `Reduce*`. Axes are an attribute before opset 18 (13 for ReduceSum),
/// an input after.
pub(super) fn reduce(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let dims = c.dims(&x);
    let since = if c.op == "ReduceSum" { 13 } else { 18 };
    let list = c.ints_since(since, 1, "axes")?.unwrap_or_default();
    let axes = match &list[..] {
        [] if c.attributes.flag("noop_with_empty_axes", false)? => Vec::new(),
        [] => (0..dims.len()).collect(),
        list => axes(list, dims.len())?,
    };
    let y = over(c, &x, &axes)?;
    if c.attributes.flag("keepdims", true)? {
        return one(y);
    }
    let kept: Vec<usize> = (0..dims.len())
        .filter(|i| !axes.contains(i))
        .map(|i| dims[i])
        .collect();
    c.reshape(&y, &kept).and_then(one)
}

/// The reduction over `axes`, which stay with an extent of 1. Without axes, or
/// without elements, it is what the definition makes of one or none.
fn over(c: &mut Call<'_>, x: &Value, axes: &[usize]) -> Result<Value> {
    if c.builder.shape(x).contains(&0) {
        return of_nothing(c, x, axes);
    }
    let attrs = json!({"axes": axes});
    let sum = |c: &mut Call<'_>, v: &Value| {
        if axes.is_empty() {
            Ok(v.clone())
        } else {
            c.apply("ReduceSum", attrs.clone(), &[v])
        }
    };
    match c.op {
        "ReduceL1" => {
            let size = c.plain("Abs", &[x])?;
            sum(c, &size)
        }
        "ReduceSumSquare" => {
            let square = c.plain("Mul", &[x, x])?;
            sum(c, &square)
        }
        "ReduceLogSum" => {
            let total = sum(c, x)?;
            c.plain("Log", &[&total])
        }
        "ReduceLogSumExp" if axes.is_empty() => Ok(x.clone()),
        "ReduceLogSumExp" => {
            // Relative to the largest, so that no exponential overflows.
            let largest = c.apply("ReduceMax", attrs.clone(), &[x])?;
            let below = c.plain("Sub", &[x, &largest])?;
            let shares = c.plain("Exp", &[&below])?;
            let total = sum(c, &shares)?;
            let log = c.plain("Log", &[&total])?;
            c.plain("Add", &[&largest, &log])
        }
        "ReduceL2" if axes.is_empty() => c.plain("Abs", &[x]),
        _ if axes.is_empty() => Ok(x.clone()),
        op => c.apply(op, attrs.clone(), &[x]),
    }
}

fn of_nothing(c: &mut Call<'_>, x: &Value, axes: &[usize]) -> Result<Value> {
    let value = match c.op {
        "ReduceSum" | "ReduceL1" | "ReduceL2" | "ReduceSumSquare" => 0.0,
        "ReduceProd" => 1.0,
        _ => {
            return Err(Refusal::new(
                "reduces a value without elements; export the model again",
            ));
        }
    };
    let mut dims = c.dims(x);
    for &a in axes {
        dims[a] = 1;
    }
    let shape = limpid_tensor::Shape::from(&dims[..]);
    c.builder.allow(&shape)?;
    let elements = shape.elements()?;
    if x.known().is_none() {
        return Err(Refusal::new(
            "reduces a value without elements; export the model again",
        ));
    }
    Ok(c.constant(&dims, vec![value; elements], x.kind()))
}
