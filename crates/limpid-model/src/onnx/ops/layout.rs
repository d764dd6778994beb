//! The same elements under other extents, in another order, or repeated.

use super::one;
use crate::onnx::builder::Value;
use crate::onnx::call::{Call, axes, axis};
use crate::onnx::refusal::{Refusal, Result};
use limpid_tensor::Shape;
use serde_json::json;

pub(super) fn reshape(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let wanted = if c.opset >= 5 {
        c.ints(1, "shape")?
    } else {
        None
    };
    let wanted = wanted.ok_or_else(|| Refusal::new("lacks its shape; export the model again"))?;
    let keep_zero = c.attributes.flag("allowzero", false)?;
    let from = c.builder.shape(&x);
    let wrong = || {
        Refusal::new(format!(
            "cannot make the shape {wanted:?} of {from}; export the model again"
        ))
    };
    let mut dims = Vec::with_capacity(wanted.len());
    let mut open = None;
    for (i, &d) in wanted.iter().enumerate() {
        dims.push(match d {
            0 if !keep_zero => *from.get(i).ok_or_else(wrong)?,
            -1 if open.is_none() => {
                open = Some(i);
                1
            }
            d => usize::try_from(d).map_err(|_| wrong())?,
        });
    }
    if let Some(open) = open {
        let rest = Shape::from(&dims[..]).elements()?;
        dims[open] = from.elements()?.checked_div(rest).ok_or_else(wrong)?;
    }
    c.reshape(&x, &dims).and_then(one)
}

pub(super) fn flatten(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let dims = c.dims(&x);
    let at = c.attributes.int("axis")?.unwrap_or(1);
    let at = if at == dims.len() as i64 {
        dims.len()
    } else {
        axis(at, dims.len())?
    };
    let part = |d: &[usize]| Shape::from(d).elements();
    let flat = [part(&dims[..at])?, part(&dims[at..])?];
    c.reshape(&x, &flat).and_then(one)
}

/// Axes are an attribute before opset 13, an input after.
pub(super) fn squeeze(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let dims = c.dims(&x);
    let gone = match c.ints_since(13, 1, "axes")? {
        Some(list) => axes(&list, dims.len())?,
        None => (0..dims.len()).filter(|&i| dims[i] == 1).collect(),
    };
    if let Some(&wide) = gone.iter().find(|&&i| dims[i] != 1) {
        return Err(Refusal::new(format!(
            "drops axis {wide} of the shape {}, whose extent is not 1; export the model again",
            Shape::from(dims)
        )));
    }
    let kept: Vec<usize> = (0..dims.len())
        .filter(|i| !gone.contains(i))
        .map(|i| dims[i])
        .collect();
    c.reshape(&x, &kept).and_then(one)
}

pub(super) fn unsqueeze(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let list = c.ints_since(13, 1, "axes")?.unwrap_or_default();
    let rank = c.dims(&x).len() + list.len();
    if rank > crate::limits::MAX_RANK {
        return Err(Refusal::new(format!(
            "makes a value of {rank} axes; at most {} are possible",
            crate::limits::MAX_RANK
        )));
    }
    let new = axes(&list, rank)?;
    let mut old = c.dims(&x).into_iter();
    let dims: Vec<usize> = (0..rank)
        .map(|i| {
            if new.contains(&i) {
                1
            } else {
                old.next().unwrap_or(1)
            }
        })
        .collect();
    c.reshape(&x, &dims).and_then(one)
}

pub(super) fn transpose(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let rank = c.dims(&x).len();
    let perm = match c.attributes.ints("perm")? {
        None => (0..rank).rev().collect(),
        Some(list) => axes(list, rank)?,
    };
    if perm.len() != rank {
        return Err(Refusal::new(format!(
            "orders {} axes, and its input has {rank}; export the model again",
            perm.len()
        )));
    }
    c.transpose(&x, &perm).and_then(one)
}

pub(super) fn expand(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let wanted = c.ints(1, "shape")?.unwrap_or_default();
    let wanted = crate::onnx::literal::shape(&wanted)?;
    let from = c.builder.shape(&x);
    let dims = from.broadcast(&wanted).ok_or_else(|| {
        Refusal::new(format!(
            "cannot stretch the shape {from} to {wanted}; export the model again"
        ))
    })?;
    if dims.contains(&0) && x.known().is_some() {
        return one(c.constant(&dims, Vec::new(), x.kind()));
    }
    c.expand(&x, &dims).and_then(one)
}

pub(super) fn tile(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let repeats = c.ints(1, "repeats")?.unwrap_or_default();
    if repeats.iter().all(|&r| r == 1) {
        return one(x);
    }
    if repeats.iter().any(|&r| r < 1) {
        return Err(Refusal::new(
            "repeats an axis fewer than once; export the model again",
        ));
    }
    c.apply("Tile", json!({"repeats": repeats}), &[&x])
        .and_then(one)
}

pub(super) fn concat(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let mut inputs = c.all()?;
    let first = c.dims(&inputs[0]);
    let at = c.axis("axis", 1, first.len())?;
    // ONNX stretches nothing here; the graph's operator would.
    for x in &inputs {
        let dims = c.dims(x);
        let fits =
            dims.len() == first.len() && (0..dims.len()).all(|i| i == at || dims[i] == first[i]);
        if !fits {
            return Err(Refusal::new(format!(
                "joins the shapes {} and {} along axis {at}, which do not fit; export the model again",
                Shape::from(&first[..]),
                Shape::from(dims)
            )));
        }
    }
    let empty = inputs[0].clone();
    inputs.retain(|x| c.builder.shape(x).get(at) != Some(&0));
    match &inputs[..] {
        [] => one(empty),
        [x] => one(x.clone()),
        _ => {
            let inputs: Vec<&Value> = inputs.iter().collect();
            c.apply("Concat", json!({"axis": at}), &inputs)
                .and_then(one)
        }
    }
}

/// DepthToSpace and SpaceToDepth.
pub(super) fn blocks(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let blocksize = c.attributes.int("blocksize")?.unwrap_or(0);
    let mode = c.attributes.text("mode", "DCR")?;
    if c.op == "DepthToSpace" {
        let attrs = json!({"blocksize": blocksize, "mode": mode});
        return c.apply("DepthToSpace", attrs, &[&x]).and_then(one);
    }
    let y = c.apply("SpaceToDepth", json!({"blocksize": blocksize}), &[&x])?;
    if mode == "DCR" {
        return one(y);
    }
    // The channels in front of the block's pixels.
    let (from, to) = (c.dims(&x), c.dims(&y));
    let apart = c.reshape(&y, &[to[0], to[1] / from[1], from[1], to[2], to[3]])?;
    let turned = c.transpose(&apart, &[0, 2, 1, 3, 4])?;
    c.reshape(&turned, &to).and_then(one)
}
