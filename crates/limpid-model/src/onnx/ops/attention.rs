//! ONNX's own attention operator, of opset 23 on.

use super::elementwise::negate;
use crate::onnx::builder::Value;
use crate::onnx::call::Call;
use crate::onnx::literal::Kind;
use crate::onnx::refusal::{Refusal, Result};
use limpid_tensor::Shape;
use serde_json::json;

/// What a masked place adds to its score.
const MASKED: f64 = f32::MIN as f64;

pub(super) fn attention(c: &mut Call<'_>) -> Result<Vec<Value>> {
    c.only_outputs(4)?;
    known_form(c)?;
    let (q, k, v) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let heads = |name: &str| -> Result<Option<usize>> {
        let heads = c.attributes.int(name)?;
        Ok(heads.and_then(|n| usize::try_from(n).ok()))
    };
    let q_heads = heads("q_num_heads")?;
    let kv_heads = heads("kv_num_heads")?;
    let joined = c.dims(&q).len() == 3;
    let q = apart(c, &q, q_heads)?;
    let mut k = apart(c, &k, kv_heads)?;
    let mut v = apart(c, &v, kv_heads)?;
    for (past, now) in [(4, &mut k), (5, &mut v)] {
        if let Some(past) = c.optional(past) {
            *now = c.apply("Concat", json!({"axis": 2}), &[&past, now])?;
        }
    }
    let present = [k.clone(), v.clone()];
    let [batch, q_heads, rows, depth] = four(&c.dims(&q))?;
    let [_, kv_heads, columns, _] = four(&c.dims(&k))?;
    if kv_heads != q_heads {
        k = repeat(c, &k, q_heads)?;
        v = repeat(c, &v, q_heads)?;
    }
    let scale = match c.attributes.float("scale", 0.0)? {
        0.0 => (1.0 / (depth as f64).sqrt()) as f32,
        scale => scale,
    };
    let bias = bias(c, rows, columns)?;
    let (y, seen) = if c.attributes.float("softcap", 0.0)? == 0.0 && !c.wants(3) {
        let inputs: Vec<&Value> = [&q, &k, &v].into_iter().chain(&bias).collect();
        let y = c.apply("Attention", json!({"scale": scale}), &inputs)?;
        match bias.and_then(|b| unmasked_rows(c, &b).transpose()) {
            Some(rows) => (c.plain("Mul", &[&y, &rows?])?, None),
            None => (y, None),
        }
    } else {
        let (y, seen) = in_steps(c, &q, &k, &v, bias.as_ref(), scale)?;
        (y, Some(seen))
    };
    let y = if joined {
        let [_, _, _, width] = four(&c.dims(&y))?;
        let y = c.transpose(&y, &[0, 2, 1, 3])?;
        c.reshape(&y, &[batch, rows, q_heads * width])?
    } else {
        y
    };
    let [k, v] = present;
    Ok([y, k, v].into_iter().chain(seen).collect())
}

/// Refuses what later versions have added and is not done here.
fn known_form(c: &Call<'_>) -> Result<()> {
    const KNOWN: [&str; 7] = [
        "is_causal",
        "kv_num_heads",
        "q_num_heads",
        "qk_matmul_output_mode",
        "scale",
        "softcap",
        "softmax_precision",
    ];
    let unknown = c
        .attributes
        .0
        .iter()
        .map(|a| a.name())
        .find(|n| !KNOWN.contains(n));
    match unknown {
        Some(name) => Err(Refusal::new(format!(
            "has the attribute `{}`, which is not supported; export the model with the attention of opset 23",
            crate::description::short(name)
        ))),
        None if c.optional(6).is_some() => Err(Refusal::new(
            "takes the lengths of its sequences, which is not supported; export the model for full sequences",
        )),
        None => Ok(()),
    }
}

/// The result, and that of the step before it that `qk_matmul_output_mode`
/// names.
fn in_steps(
    c: &mut Call<'_>,
    q: &Value,
    k: &Value,
    v: &Value,
    bias: Option<&Value>,
    scale: f32,
) -> Result<(Value, Value)> {
    let softcap = c.attributes.float("softcap", 0.0)?;
    let factor = c.scalar(f64::from(scale));
    let product = c.apply("MatMul", json!({"trans_b": true}), &[q, k])?;
    let product = c.plain("Mul", &[&product, &factor])?;
    let capped = if softcap == 0.0 {
        product.clone()
    } else {
        let (inner, outer) = (
            c.scalar(1.0 / f64::from(softcap)),
            c.scalar(f64::from(softcap)),
        );
        let scores = c.plain("Mul", &[&product, &inner])?;
        let scores = c.plain("Tanh", &[&scores])?;
        c.plain("Mul", &[&scores, &outer])?
    };
    let masked = match bias {
        Some(bias) => c.plain("Add", &[&capped, bias])?,
        None => capped.clone(),
    };
    let mut shares = c.apply("Softmax", json!({"axis": 3}), &[&masked])?;
    if let Some(rows) = bias.and_then(|b| unmasked_rows(c, b).transpose()) {
        shares = c.plain("Mul", &[&shares, &rows?])?;
    }
    let y = c.plain("MatMul", &[&shares, v])?;
    let seen = match c.attributes.int("qk_matmul_output_mode")?.unwrap_or(0) {
        0 => product,
        1 => capped,
        2 => masked,
        _ => shares,
    };
    Ok((y, seen))
}

/// 1 for the rows of which a place is seen, 0 for the others, where there are
/// such: attention to nothing is 0.
fn unmasked_rows(c: &mut Call<'_>, bias: &Value) -> Result<Option<Value>> {
    let Some(literal) = bias.known() else {
        return Ok(None);
    };
    let mask = literal.double();
    let Some((&columns, rows)) = mask.shape.split_last() else {
        return Ok(None);
    };
    let seen = |row: &[f64]| f64::from(u8::from(row.iter().any(|&v| v > MASKED / 2.0)));
    let data: Vec<f64> = mask.data.chunks(columns.max(1)).map(seen).collect();
    if data.iter().all(|&v| v == 1.0) {
        return Ok(None);
    }
    Ok(Some(c.constant(&[rows, &[1]].concat(), data, Kind::Float)))
}

fn four(dims: &[usize]) -> Result<[usize; 4]> {
    <[usize; 4]>::try_from(dims).map_err(|_| {
        Refusal::new(format!("takes values [batch, heads, length, size], one has the shape {}; export the model again", Shape::from(dims)))
    })
}

/// `[batch, length, heads * size]` as `[batch, heads, length, size]`.
fn apart(c: &mut Call<'_>, x: &Value, heads: Option<usize>) -> Result<Value> {
    let dims = c.dims(x);
    let &[batch, length, width] = &dims[..] else {
        return Ok(x.clone());
    };
    let heads = heads.filter(|&h| h > 0 && width % h == 0).ok_or_else(|| {
        Refusal::new(
            "lacks the number of heads that its inputs of three axes need; export the model again",
        )
    })?;
    let x = c.reshape(x, &[batch, length, heads, width / heads])?;
    c.transpose(&x, &[0, 2, 1, 3])
}

/// Each head as often as queries share it.
fn repeat(c: &mut Call<'_>, x: &Value, heads: usize) -> Result<Value> {
    let [batch, own, length, size] = four(&c.dims(x))?;
    if own == 0 || !heads.is_multiple_of(own) {
        return Err(Refusal::new(format!(
            "shares {own} heads among {heads}, which does not divide; export the model again"
        )));
    }
    let x = c.reshape(x, &[batch, own, 1, length, size])?;
    let x = c.expand(&x, &[batch, own, heads / own, length, size])?;
    c.reshape(&x, &[batch, heads, length, size])
}

/// What is added to the scores: the mask, and that of causality.
fn bias(c: &mut Call<'_>, rows: usize, columns: usize) -> Result<Option<Value>> {
    let mask = match c.optional(3) {
        Some(mask) if mask.kind() == Kind::Bool => {
            let hidden = negate(c, &mask)?;
            let masked = c.scalar(MASKED);
            Some(c.plain("Mul", &[&masked, &hidden])?)
        }
        mask => mask,
    };
    let mask = match mask {
        Some(mask) => Some(widened(c, &mask, columns)?),
        None => None,
    };
    if !c.attributes.flag("is_causal", false)? {
        return Ok(mask);
    }
    c.builder.allow(&Shape::from([rows, columns]))?;
    let past = c.optional(4).and_then(|past| c.dims(&past).get(2).copied());
    let past = past.unwrap_or(0);
    let seen = |i: usize| i % columns <= i / columns + past;
    let data = (0..rows * columns)
        .map(|i| if seen(i) { 0.0 } else { MASKED })
        .collect();
    let causal = c.constant(&[rows, columns], data, Kind::Float);
    match mask {
        None => Ok(Some(causal)),
        Some(mask) => {
            let sum = c.plain("Add", &[&mask, &causal])?;
            Ok(Some(sum))
        }
    }
}

/// A mask for all columns: those that it leaves out are not seen.
fn widened(c: &mut Call<'_>, mask: &Value, columns: usize) -> Result<Value> {
    let dims = c.dims(mask);
    let own = dims.last().copied().unwrap_or(1);
    if own == 1 || own >= columns {
        return Ok(mask.clone());
    }
    let mut pads = vec![[0, 0]; dims.len()];
    pads[dims.len() - 1] = [0, columns - own];
    c.apply("Pad", json!({"pads": pads, "value": f32::MIN}), &[mask])
}
