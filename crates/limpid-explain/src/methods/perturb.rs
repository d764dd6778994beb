//! What methods that hide parts of a picture have in common.

use super::Baseline;
use crate::params::Given;
use crate::paths::Masked;
use crate::regions::{Felzenszwalb, Labels, grid};
use crate::{
    Attribution, Context, Domain, Evaluations, ExplainError, ModelInfo, ParamInfo, ParamKind,
    Parameters, Points, Request, Sample, Subject,
};
use limpid_tensor::{Tensor, philox};
use std::ops::Range;

/// Scores that are kept at once: memory does not grow with the number of masks.
const SCORED_AT_ONCE: u64 = 16_384;

/// The random stream of coalitions.
const COALITION_STREAM: u32 = 4;

/// What a method makes of the scores under its masks.
pub(super) type Visit<'a> = dyn FnMut(u64, &[f64]) -> Result<(), ExplainError> + 'a;

/// Shows `visit` each mask's number and the objectives' values of the picture
/// whose hidden parts are the baseline's.
pub(super) fn scores_of_masked(
    cx: &mut dyn Context,
    request: &Request<'_>,
    baseline: &Baseline,
    masks: Range<u64>,
    mask: impl Fn(u64, &mut [f32]) + Send + Sync,
    visit: &mut Visit<'_>,
) -> Result<(), ExplainError> {
    let hidden = baseline.tensor(cx, request)?;
    let path = Masked::new(hidden, mask);
    let mut next = masks.start;
    while next < masks.end {
        let end = masks.end.min(next + SCORED_AT_ONCE);
        let points: Vec<Sample> = (next..end)
            .map(|draw| Sample {
                draw,
                position: 0.0,
            })
            .collect();
        let scores = cx.scores(&Points {
            subject: Subject::new(request.image, &path),
            objectives: request.objectives,
            points: &points,
        })?;
        for (mask, row) in (next..end).zip(scores.chunks(request.objectives.len().max(1))) {
            visit(mask, row)?;
            if mask % 256 == 255 {
                cx.check()?;
            }
        }
        next = end;
    }
    Ok(())
}

/// A map over the pixels, of what was computed in f64.
pub(super) fn pixel_map(
    method: &str,
    [height, width]: [usize; 2],
    map: &[f64],
    signed: bool,
    evaluations: Evaluations,
) -> Result<Attribution, ExplainError> {
    let map = Tensor::new([height, width], map.iter().map(|v| *v as f32).collect())?;
    if !map.is_finite() {
        return Err(ExplainError::NonFinite {
            what: format!("the map of {method}"),
        });
    }
    Ok(Attribution {
        map,
        domain: Domain::Pixels,
        standard_error: None,
        signed,
        completeness: None,
        evaluations,
    })
}

/// What hides a part of the picture where nothing else is asked for: zero in
/// the normalised picture, as in the methods' own code.
pub(super) const HIDDEN: Baseline = Baseline::Zero;

/// The parameter `baseline`.
pub(super) fn baseline_param() -> ParamInfo {
    ParamInfo::new(
        "baseline",
        ParamKind::Text,
        HIDDEN.name(),
        "what hidden parts look like: black, white, zero, mean, blur, noise or file:PATH",
    )
}

/// The parameter's value.
pub(super) fn given_baseline(method: &str, given: &Given) -> Result<Baseline, ExplainError> {
    match given.text("baseline") {
        Some(_) => Baseline::given(method, given),
        None => Ok(HIDDEN),
    }
}

/// The picture with black at 0 and white at 1 in each channel, as people see it:
/// what regions are found in.
pub(super) fn as_seen(model: &ModelInfo, image: &Tensor) -> Result<Tensor, ExplainError> {
    let mut seen = image.clone();
    let plane = image.dims()[1] * image.dims()[2];
    for (c, values) in seen.data_mut().chunks_mut(plane.max(1)).enumerate() {
        let (black, white) = (model.black[c], model.white[c]);
        values
            .iter_mut()
            .for_each(|v| *v = (*v - black) / (white - black));
    }
    Ok(seen)
}

/// Into which parts a picture is cut.
///
/// ```
/// use limpid_explain::methods::Superpixels;
/// assert_eq!(Superpixels::default(), Superpixels::Grid { cells: 8 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Superpixels {
    /// So many rows and columns of rectangles.
    Grid {
        /// The number of rows, and of columns.
        cells: u64,
    },
    /// Felzenszwalb and Huttenlocher's, after a blur of 0.8 pixels; none smaller
    /// than 1/250 of the picture, so that no sliver's value is spread over a few
    /// pixels.
    Felzenszwalb {
        /// How much contrast is ignored, in levels of 8 bits; larger values make
        /// larger parts.
        scale: f64,
    },
}

impl Default for Superpixels {
    fn default() -> Self {
        Self::Grid { cells: Self::CELLS }
    }
}

impl Superpixels {
    const NAMES: [&str; 2] = ["grid", "felzenszwalb"];
    const CELLS: u64 = 8;
    /// Cuts a photograph of 224 x 224 into some 20 to 60 parts.
    const SCALE: f64 = 100.0;

    /// The parts of a picture.
    pub(super) fn cut(&self, model: &ModelInfo, image: &Tensor) -> Result<Labels, ExplainError> {
        let [height, width] = [image.dims()[1], image.dims()[2]];
        Ok(match *self {
            Self::Grid { cells } => grid(height, width, cells as usize, cells as usize)?,
            Self::Felzenszwalb { scale } => Felzenszwalb {
                scale,
                sigma: 0.8,
                min_size: (height * width).div_ceil(250),
            }
            .segment(&as_seen(model, image)?)?,
        })
    }

    pub(super) fn describe(&self, all: &mut Parameters) {
        match *self {
            Self::Grid { cells } => {
                all.insert("segments".into(), "grid".into());
                all.insert("cells".into(), cells.into());
            }
            Self::Felzenszwalb { scale } => {
                all.insert("segments".into(), "felzenszwalb".into());
                all.insert("scale".into(), scale.into());
            }
        }
    }

    pub(super) fn params() -> Vec<ParamInfo> {
        vec![
            ParamInfo::new(
                "segments",
                ParamKind::choice(&Self::NAMES),
                Self::NAMES[0],
                "into which parts the picture is cut",
            ),
            ParamInfo::new(
                "cells",
                ParamKind::Integer { min: 1, max: 32 },
                Self::CELLS,
                "with segments=grid: rows, and columns, of cells",
            ),
            ParamInfo::new(
                "scale",
                ParamKind::Float { min: 0.0, max: 1e6 },
                Self::SCALE,
                "with segments=felzenszwalb: how much contrast is ignored; larger values make larger parts",
            ),
        ]
    }

    pub(super) fn given(method: &str, given: &Given) -> Result<Self, ExplainError> {
        let (cells, scale) = (given.integer("cells"), given.float("scale"));
        let conflict = |name: &str, segments: &str| ExplainError::Conflict {
            method: method.to_owned(),
            message: format!("`{name}` is of other parts: it needs segments={segments}"),
        };
        // One of the two is enough to know what is meant.
        let is_grid = match given.text("segments") {
            Some(name) => name == "grid",
            None => cells.is_some() || scale.is_none(),
        };
        match (is_grid, cells, scale) {
            (true, _, Some(_)) => Err(conflict("scale", "felzenszwalb")),
            (false, Some(_), _) => Err(conflict("cells", "grid")),
            (true, cells, None) => Ok(Self::Grid {
                cells: cells.unwrap_or(Self::CELLS),
            }),
            (false, None, scale) => Ok(Self::Felzenszwalb {
                scale: scale.unwrap_or(Self::SCALE),
            }),
        }
    }
}

/// Shows the parts that are in the coalition.
pub(super) fn show(labels: &Labels, coalition: &[bool], mask: &mut [f32]) {
    for (value, label) in mask.iter_mut().zip(labels.as_slice()) {
        *value = f32::from(u8::from(coalition[*label as usize]));
    }
}

/// Each part's value, in equal shares on its pixels: the map adds up to the
/// values' sum.
pub(super) fn spread(labels: &Labels, values: &[f64]) -> Vec<f64> {
    let mut sizes = vec![0u32; labels.count()];
    for label in labels.as_slice() {
        sizes[*label as usize] += 1;
    }
    let share = |l: &u32| values[*l as usize] / f64::from(sizes[*l as usize]);
    labels.as_slice().iter().map(share).collect()
}

/// The random numbers of a coalition, in (0, 1).
pub(super) fn uniforms(seed: u64, sample: u64) -> impl Iterator<Item = f64> {
    let (key, sample) = (philox::key(seed), philox::key(sample));
    (0u32..).flat_map(move |quad| philox::uniform4(key, COALITION_STREAM, sample, quad))
}

/// Zeros and ones as numbers.
pub(super) fn as_row(coalition: &[bool]) -> Vec<f64> {
    coalition
        .iter()
        .map(|in_it| f64::from(u8::from(*in_it)))
        .collect()
}
