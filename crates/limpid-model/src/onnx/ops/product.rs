//! Products of matrices.

use super::one;
use crate::onnx::builder::Value;
use crate::onnx::call::Call;
use crate::onnx::refusal::{Refusal, Result};
use serde_json::json;

/// alpha * A' * B' + beta * C, of matrices.
pub(super) fn gemm(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let (mut a, mut b) = (c.input(0)?, c.input(1)?);
    let alpha = c.attributes.float("alpha", 1.0)?;
    let beta = c.attributes.float("beta", 1.0)?;
    let trans_a = c.attributes.flag("transA", false)?;
    let trans_b = c.attributes.flag("transB", false)?;
    let (rank_a, dims_b) = (c.dims(&a).len(), c.dims(&b));
    if rank_a != 2 || dims_b.len() != 2 {
        return Err(Refusal::new(format!(
            "multiplies values of {rank_a} and {} axes; both must be matrices, so export the model again",
            dims_b.len()
        )));
    }
    let width = dims_b[usize::from(!trans_b)];
    let bias = match c.optional(2) {
        Some(bias) => Some(scale(c, &bias, beta)?),
        None => None,
    };
    if trans_a {
        a = c.transpose(&a, &[1, 0])?;
    }
    if b.known().is_none() || a.known().is_some() {
        let product = c.apply("MatMul", json!({"trans_b": trans_b}), &[&a, &b])?;
        let mut product = scale(c, &product, alpha)?;
        if let Some(bias) = bias {
            product = c.plain("Add", &[&product, &bias])?;
        }
        return one(product);
    }
    b = scale(c, &b, alpha)?;
    let row = bias.as_ref().is_some_and(|v| {
        let dims = c.dims(v);
        v.known().is_some() && dims.iter().rev().skip(1).all(|&d| d == 1)
    });
    let attrs = json!({"trans_b": trans_b});
    match bias {
        None => c.apply("Gemm", attrs, &[&a, &b]),
        Some(bias) if row => {
            let flat: usize = c.dims(&bias).iter().product();
            let bias = c.reshape(&bias, &[flat])?;
            let bias = c.expand(&bias, &[width])?;
            c.apply("Gemm", attrs, &[&a, &b, &bias])
        }
        Some(bias) => {
            let product = c.apply("Gemm", attrs, &[&a, &b])?;
            c.plain("Add", &[&product, &bias])
        }
    }
    .and_then(one)
}

fn scale(c: &mut Call<'_>, x: &Value, factor: f32) -> Result<Value> {
    if factor == 1.0 {
        return Ok(x.clone());
    }
    let factor = c.scalar(f64::from(factor));
    c.plain("Mul", &[x, &factor])
}

/// numpy's matmul.
pub(super) fn matmul(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let (a, b) = (c.input(0)?, c.input(1)?);
    product(c, &a, &b).and_then(one)
}

/// The product of the last two axes; a weight makes it a fully connected layer.
pub(super) fn product(c: &mut Call<'_>, a: &Value, b: &Value) -> Result<Value> {
    let (da, db) = (c.dims(a), c.dims(b));
    if da.is_empty() || db.is_empty() {
        return Err(Refusal::new(
            "multiplies a value without axes; export the model again",
        ));
    }
    let row = if da.len() == 1 {
        c.reshape(a, &[1, da[0]])?
    } else {
        a.clone()
    };
    let column = if db.len() == 1 {
        c.reshape(b, &[db[0], 1])?
    } else {
        b.clone()
    };
    let layer = column.known().is_some() && row.known().is_none() && db.len() <= 2;
    let y = c.plain(if layer { "Gemm" } else { "MatMul" }, &[&row, &column])?;
    if da.len() > 1 && db.len() > 1 {
        return Ok(y);
    }
    let mut dims = c.dims(&y);
    if da.len() == 1 {
        dims.remove(dims.len() - 2);
    }
    if db.len() == 1 {
        dims.pop();
    }
    c.reshape(&y, &dims)
}
