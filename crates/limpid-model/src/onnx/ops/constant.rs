//! Constants, casts, and what is known once shapes are.

use super::elementwise::truncate;
use super::one;
use crate::onnx::builder::Value;
use crate::onnx::call::Call;
use crate::onnx::literal::{Kind, Literal};
use crate::onnx::refusal::{Refusal, Result};
use limpid_tensor::Shape;
use serde_json::json;

pub(super) fn constant(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let list = |values: Vec<f64>, kind| c.constant(&[values.len()], values, kind);
    if let Some(proto) = c.attributes.tensor("value") {
        let mut literal = Literal::read(proto, &mut c.builder.external)?;
        c.builder.allow(literal.shape())?;
        literal.name.clone_from(&c.name);
        return one(Value::literal(literal));
    }
    if let Some(a) = c.attributes.get("value_float") {
        return one(c.scalar(f64::from(a.f())));
    }
    if let Some(v) = c.attributes.int("value_int")? {
        return one(c.constant(&[], vec![v as f64], Kind::Int));
    }
    if let Some(v) = c.attributes.floats("value_floats")? {
        return one(list(v.iter().map(|&v| f64::from(v)).collect(), Kind::Float));
    }
    if let Some(v) = c.attributes.ints("value_ints")? {
        return one(list(v.iter().map(|&v| v as f64).collect(), Kind::Int));
    }
    Err(Refusal::new(
        "holds a text or a sparse tensor, which is not supported; export the model again without it",
    ))
}

pub(super) fn of_shape(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let dims = c.ints(0, "shape")?.unwrap_or_default();
    let shape = crate::onnx::literal::shape(&dims)?;
    let (value, kind) = match c.attributes.tensor("value") {
        None => (0.0, Kind::Float),
        Some(proto) => {
            let literal = Literal::read(proto, &mut c.builder.external)?;
            let value = literal.double().data.first().copied();
            (value.unwrap_or(0.0), literal.kind)
        }
    };
    c.builder.allow(&shape)?;
    let elements = shape.elements()?;
    one(c.constant(&shape, vec![value; elements], kind))
}

pub(super) fn range(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let kind = c.input(0)?.kind();
    let number = |i| -> Result<f64> {
        let found = c.numbers(i, "limits")?.and_then(|v| v.first().copied());
        found.ok_or_else(|| Refusal::new("lacks one of its limits; export the model again"))
    };
    let (start, limit, delta) = (number(0)?, number(1)?, number(2)?);
    let count = ((limit - start) / delta).ceil().max(0.0);
    if !count.is_finite() {
        return Err(Refusal::new("counts without end; export the model again"));
    }
    let count = count as usize;
    c.builder.allow(&Shape::from([count]))?;
    let values = (0..count).map(|i| start + i as f64 * delta).collect();
    one(c.constant(&[count], values, kind))
}

/// The extents from axis `start` to `end`, which exist since opset 15.
pub(super) fn shape(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let dims = c.dims(&c.input(0)?);
    let rank = dims.len() as i64;
    let place = |name: &str, default: i64| -> Result<usize> {
        let at = c.attributes.int(name)?.unwrap_or(default);
        let at = if at < 0 { at.saturating_add(rank) } else { at };
        Ok(at.clamp(0, rank) as usize)
    };
    let (start, end) = (place("start", 0)?, place("end", rank)?);
    let dims: Vec<f64> = dims[start..end.max(start)]
        .iter()
        .map(|&d| d as f64)
        .collect();
    one(c.constant(&[dims.len()], dims, Kind::Int))
}

pub(super) fn size(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let elements = c.builder.shape(&c.input(0)?).elements()?;
    one(c.constant(&[], vec![elements as f64], Kind::Int))
}

/// The positions of what is not zero, as `[rank, count]`.
pub(super) fn non_zero(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let Some(l) = x.known() else {
        return Err(Refusal::new(
            "makes a value whose size depends on the picture, which is not supported; export the model with fixed sizes",
        ));
    };
    let t = l.double();
    let places: Vec<usize> = (0..t.data.len()).filter(|&i| t.data[i] != 0.0).collect();
    let rank = t.shape.len();
    c.builder.allow(&Shape::from([rank, places.len()]))?;
    let mut data = Vec::with_capacity(rank * places.len());
    for axis in 0..rank {
        let stride: usize = t.shape[axis + 1..].iter().product();
        data.extend(places.iter().map(|p| (p / stride % t.shape[axis]) as f64));
    }
    one(c.constant(&[rank, places.len()], data, Kind::Int))
}

/// Cast and CastLike. Floats of any width are the same here.
pub(super) fn cast(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let to = if c.op == "CastLike" {
        c.input(1)?.kind()
    } else {
        let to = c.attributes.int("to")?.unwrap_or(0);
        Kind::of(i32::try_from(to).unwrap_or(0))?
    };
    one(match (x.kind(), to) {
        (Kind::Float, Kind::Int) => truncate(c, &x)?,
        (Kind::Float | Kind::Int, Kind::Bool) => {
            if let Some(l) = x.known().cloned() {
                return c
                    .map(&l, Kind::Bool, |v| f64::from(u8::from(v != 0.0)))
                    .and_then(one);
            }
            let zero = c.scalar(0.0);
            let none = c.apply_as(Kind::Bool, "Equal", json!({}), &[&x, &zero])?;
            super::elementwise::negate(c, &none)?
        }
        _ => x.with_kind(to),
    })
}
