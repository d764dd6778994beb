//! Parts of a value: slices, single entries, and margins.

use super::one;
use crate::onnx::builder::Value;
use crate::onnx::call::{Call, axes, axis};
use crate::onnx::refusal::{Refusal, Result};
use serde_json::json;

/// Attributes before opset 10, inputs after.
pub(super) fn slice(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let mut x = c.input(0)?;
    let dims = c.dims(&x);
    let needed = |list: Option<Vec<i64>>, what: &str| {
        list.ok_or_else(|| Refusal::new(format!("lacks its {what}; export the model again")))
    };
    let starts = needed(c.ints_since(10, 1, "starts")?, "starts")?;
    let ends = needed(c.ints_since(10, 2, "ends")?, "ends")?;
    let list = c.ints_since(10, 3, "axes")?;
    let list = list.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let axes = axes(&list, dims.len())?;
    let steps = if c.opset >= 10 {
        c.ints(4, "steps")?
    } else {
        None
    };
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(Refusal::new(
            "has starts, ends, axes and steps of different lengths; export the model again",
        ));
    }
    for i in 0..starts.len() {
        let extent = dims[axes[i]] as i64;
        let step = steps[i];
        let from_start = |v: i64| if v < 0 { v.saturating_add(extent) } else { v };
        let (start, end) = (from_start(starts[i]), from_start(ends[i]));
        // As numpy: beyond either end is the end.
        let (start, distance) = match step {
            0 => return Err(Refusal::new("has a step of 0; export the model again")),
            1.. => {
                let start = start.clamp(0, extent);
                (start, end.clamp(0, extent) - start)
            }
            _ => {
                let start = start.clamp(-1, extent - 1);
                (start, start - end.clamp(-1, extent - 1))
            }
        };
        let count = if distance <= 0 {
            0
        } else {
            (distance as u64).div_ceil(step.unsigned_abs()) as usize
        };
        x = c.slice(&x, axes[i], start.max(0) as usize, step, count)?;
    }
    one(x)
}

/// Parts of equal or given size along an axis.
pub(super) fn split(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let dims = c.dims(&x);
    let at = c.axis("axis", 0, dims.len())?;
    let extent = dims[at];
    let sizes = match c.ints_since(13, 1, "split")? {
        Some(sizes) => {
            let sizes: Option<Vec<usize>> =
                sizes.iter().map(|&s| usize::try_from(s).ok()).collect();
            sizes.filter(|s| s.iter().try_fold(0usize, |n, &s| n.checked_add(s)) == Some(extent))
        }
        None => {
            let parts = c
                .attributes
                .int("num_outputs")?
                .map_or(c.wanted.len(), |n| n.max(0) as usize);
            // The last part is the smaller one where they cannot be equal.
            let size = extent.div_ceil(parts.max(1));
            (1..=extent.max(1)).contains(&parts).then(|| {
                (0..parts)
                    .map(|i| size.min(extent.saturating_sub(i * size)))
                    .collect()
            })
        }
    };
    let sizes = sizes.ok_or_else(|| {
        Refusal::new(format!(
            "does not split the extent {extent} into whole parts; export the model again"
        ))
    })?;
    let mut start = 0;
    let mut parts = Vec::with_capacity(sizes.len().min(c.wanted.len()));
    for size in sizes.into_iter().take(c.wanted.len()) {
        parts.push(c.slice(&x, at, start, 1, size)?);
        start += size;
    }
    Ok(parts)
}

/// Entries along an axis; the indices are constants.
pub(super) fn gather(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let dims = c.dims(&x);
    let at = c.axis("axis", 0, dims.len())?;
    let shape = c.builder.shape(&c.input(1)?);
    let extent = dims[at];
    let indices = c.ints(1, "indices")?.unwrap_or_default();
    let indices: Vec<usize> = indices
        .iter()
        .map(|&i| axis(i, extent))
        .collect::<Result<_>>()
        .map_err(|_| {
            Refusal::new(format!(
                "has an index beyond the extent {extent} of axis {at}; export the model again"
            ))
        })?;
    let taken = match evenly(&indices) {
        Some(step) => c.slice(
            &x,
            at,
            indices.first().copied().unwrap_or(0),
            step,
            indices.len(),
        )?,
        None => c.apply("Gather", json!({"axis": at, "indices": indices}), &[&x])?,
    };
    let dims: Vec<usize> = [&dims[..at], &shape, &dims[at + 1..]].concat();
    if dims.len() > crate::limits::MAX_RANK {
        return Err(Refusal::new(format!(
            "makes a value of {} axes; at most {} are possible",
            dims.len(),
            crate::limits::MAX_RANK
        )));
    }
    c.reshape(&taken, &dims).and_then(one)
}

/// The step between indices that are evenly spaced: a slice then.
fn evenly(indices: &[usize]) -> Option<i64> {
    let step = |pair: &[usize]| pair[1] as i64 - pair[0] as i64;
    let first = indices.windows(2).next().map_or(1, step);
    (first != 0 && indices.windows(2).all(|pair| step(pair) == first)).then_some(first)
}

/// Attributes before opset 11, inputs after.
pub(super) fn pad(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let rank = c.dims(&x).len();
    let name = if c.attributes.get("paddings").is_some() {
        "paddings"
    } else {
        "pads"
    };
    let pads = c.ints_since(11, 1, name)?.unwrap_or_default();
    let (value, list) = if c.opset >= 11 {
        let value = c.numbers(2, "value")?.and_then(|v| v.first().copied());
        (value.unwrap_or(0.0), c.ints(3, "axes")?)
    } else {
        (f64::from(c.attributes.float("value", 0.0)?), None)
    };
    let axes = match list {
        Some(list) => axes(&list, rank)?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(Refusal::new(format!(
            "has {} pads for {} axes; export the model again",
            pads.len(),
            axes.len()
        )));
    }
    let mut pairs = vec![[0i64; 2]; rank];
    for (i, &a) in axes.iter().enumerate() {
        pairs[a] = [pads[i], pads[axes.len() + i]];
    }
    if pairs.iter().all(|p| *p == [0, 0]) {
        return one(x);
    }
    // Minus infinity stands before a maximum; the graph's numbers are finite.
    let value = (value as f32).clamp(f32::MIN, f32::MAX);
    let mode = c.attributes.text("mode", "constant")?;
    c.apply(
        "Pad",
        json!({"pads": pairs, "mode": mode, "value": value}),
        &[&x],
    )
    .and_then(one)
}
