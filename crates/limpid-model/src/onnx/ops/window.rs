//! Convolutions, and the geometry of windows in one or two dimensions.

use super::one;
use crate::onnx::builder::Value;
use crate::onnx::call::Call;
use crate::onnx::refusal::{Refusal, Result};
use serde_json::{Value as Json, json};

/// How a window moves. One dimension is the second of two, with a first of
/// extent 1.
pub(super) struct Window {
    /// One or two.
    pub(super) dimensions: usize,
    pub(super) kernel: [usize; 2],
    pub(super) strides: [usize; 2],
    pub(super) dilations: [usize; 2],
    /// `[top, left, bottom, right]`, unless `auto` says otherwise.
    pub(super) pads: [usize; 4],
    pub(super) auto: Auto,
}

/// ONNX's `auto_pad`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Auto {
    NotSet,
    SameUpper,
    SameLower,
}

impl Window {
    /// The window of a node whose input has `rank` axes; `kernel` is the
    /// attribute's, or the weight's where that is missing.
    pub(super) fn read(c: &Call<'_>, rank: usize, weight: Option<&[usize]>) -> Result<Self> {
        let dimensions = rank.saturating_sub(2);
        if !(1..=2).contains(&dimensions) {
            return Err(Refusal::new(format!(
                "slides over {dimensions} dimensions, since its input has {rank} axes; windows of one and two dimensions are supported"
            )));
        }
        let pair = |name: &str, default: usize| -> Result<[usize; 2]> {
            let list = c.attributes.ints(name)?;
            spread(
                name,
                list.unwrap_or(&vec![default as i64; dimensions]),
                dimensions,
                default,
            )
        };
        let kernel = match (c.attributes.ints("kernel_shape")?, weight) {
            (Some(list), _) => spread("kernel_shape", list, dimensions, 1)?,
            (None, Some(weight)) => {
                let list: Vec<i64> = weight.iter().map(|&d| d as i64).collect();
                spread("kernel_shape", &list, dimensions, 1)?
            }
            (None, None) => {
                return Err(Refusal::new(
                    "lacks its kernel_shape; export the model again",
                ));
            }
        };
        let auto = match c.attributes.text("auto_pad", "NOTSET")? {
            "NOTSET" | "VALID" | "" => Auto::NotSet,
            "SAME_UPPER" => Auto::SameUpper,
            "SAME_LOWER" => Auto::SameLower,
            other => {
                return Err(Refusal::new(format!(
                    "has the auto_pad `{}`; NOTSET, VALID, SAME_UPPER and SAME_LOWER exist",
                    crate::description::short(other)
                )));
            }
        };
        let pads = match c.attributes.ints("pads")? {
            Some(list) if c.attributes.text("auto_pad", "NOTSET")? == "NOTSET" => {
                if list.len() != 2 * dimensions {
                    return Err(Refusal::new(format!(
                        "has {} pads for {dimensions} dimensions; export the model again",
                        list.len()
                    )));
                }
                let (before, after) = list.split_at(dimensions);
                let before = spread("pads", before, dimensions, 0)?;
                let after = spread("pads", after, dimensions, 0)?;
                [before[0], before[1], after[0], after[1]]
            }
            _ => [0; 4],
        };
        Ok(Self {
            dimensions,
            kernel,
            strides: pair("strides", 1)?,
            dilations: pair("dilations", 1)?,
            pads,
            auto,
        })
    }

    /// The padding as a description has it.
    pub(super) fn padding(&self) -> Json {
        match self.auto {
            Auto::NotSet => json!({"explicit": self.pads}),
            Auto::SameUpper => json!("same_upper"),
            Auto::SameLower => json!("same_lower"),
        }
    }

    /// A value with two dimensions behind its first two axes.
    pub(super) fn flat(&self, c: &mut Call<'_>, x: &Value) -> Result<Value> {
        let mut dims = c.dims(x);
        if self.dimensions == 1 && dims.len() == 3 {
            dims.insert(2, 1);
        }
        c.reshape(x, &dims)
    }

    /// The result without the dimension that [`Window::flat`] put in.
    pub(super) fn back(&self, c: &mut Call<'_>, y: &Value) -> Result<Value> {
        let mut dims = c.dims(y);
        if self.dimensions == 1 && dims.len() == 4 {
            dims.remove(2);
        }
        c.reshape(y, &dims)
    }
}

/// One number for each dimension as two.
fn spread(name: &str, list: &[i64], dimensions: usize, missing: usize) -> Result<[usize; 2]> {
    let list: Option<Vec<usize>> = list.iter().map(|&v| usize::try_from(v).ok()).collect();
    match list.as_deref() {
        Some(&[x]) if dimensions == 1 => Ok([missing, x]),
        Some(&[y, x]) if dimensions == 2 => Ok([y, x]),
        _ => Err(Refusal::new(format!(
            "has the attribute `{name}` that must hold {dimensions} numbers of 0 or more; export the model again"
        ))),
    }
}

pub(super) fn conv(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let (x, weight) = (c.input(0)?, c.input(1)?);
    let dims = c.dims(&weight);
    let window = Window::read(c, c.dims(&x).len(), dims.get(2..))?;
    let attrs = json!({
        "strides": window.strides,
        "dilations": window.dilations,
        "groups": groups(c)?,
        "padding": window.padding(),
    });
    let (x, weight) = (window.flat(c, &x)?, window.flat(c, &weight)?);
    let bias = c.optional(2);
    let inputs: Vec<&Value> = [&x, &weight].into_iter().chain(&bias).collect();
    let y = c.apply("Conv", attrs, &inputs)?;
    window.back(c, &y).and_then(one)
}

fn groups(c: &Call<'_>) -> Result<usize> {
    let groups = c.attributes.int("group")?.unwrap_or(1);
    usize::try_from(groups)
        .map_err(|_| Refusal::new("has a negative number of groups; export the model again"))
}

pub(super) fn conv_transpose(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let (x, weight) = (c.input(0)?, c.input(1)?);
    let dims = c.dims(&weight);
    let window = Window::read(c, c.dims(&x).len(), dims.get(2..))?;
    let n = window.dimensions;
    let list = |name: &str, missing| {
        c.attributes
            .ints(name)?
            .map(|list| spread(name, &list[list.len().saturating_sub(n)..], n, missing))
            .transpose()
    };
    let output_padding = list("output_padding", 0)?.unwrap_or([0; 2]);
    let mut output = list("output_shape", 1)?;
    let (x, weight) = (window.flat(c, &x)?, window.flat(c, &weight)?);
    let dims = c.dims(&x);
    let extents = [dims[2], dims[3]];
    if output.is_none() && window.auto != Auto::NotSet {
        let grown = |d: usize| extents[d].checked_mul(window.strides[d]);
        output = grown(0).zip(grown(1)).map(|(h, w)| [h, w]);
    }
    let mut pads = window.pads;
    let mut output_padding = output_padding;
    if let Some(output) = output {
        for d in 0..2 {
            let (total, missing) =
                total_padding(&window, extents[d], output[d], output_padding[d], d)?;
            // The larger half lies before, except for SAME_UPPER.
            let smaller = total / 2;
            let before = if window.auto == Auto::SameUpper {
                smaller
            } else {
                total - smaller
            };
            (pads[d], pads[d + 2]) = (before, total - before);
            output_padding[d] += missing;
        }
    }
    let attrs = json!({
        "strides": window.strides,
        "dilations": window.dilations,
        "groups": groups(c)?,
        "pads": pads,
        "output_padding": output_padding,
    });
    let bias = c.optional(2);
    let inputs: Vec<&Value> = [&x, &weight].into_iter().chain(&bias).collect();
    let y = c.apply("ConvTranspose", attrs, &inputs)?;
    window.back(c, &y).and_then(one)
}

/// What is cut off an axis so that `output` is left, and what is missing.
fn total_padding(
    window: &Window,
    input: usize,
    output: usize,
    extra: usize,
    d: usize,
) -> Result<(usize, usize)> {
    let span = window.kernel[d]
        .checked_sub(1)
        .and_then(|k| k.checked_mul(window.dilations[d]))
        .and_then(|k| k.checked_add(1 + extra));
    let whole = input
        .checked_sub(1)
        .and_then(|i| i.checked_mul(window.strides[d]))
        .zip(span)
        .and_then(|(i, span)| i.checked_add(span))
        .ok_or_else(|| Refusal::new("has a window whose size overflows; export the model again"))?;
    Ok((whole.saturating_sub(output), output.saturating_sub(whole)))
}
