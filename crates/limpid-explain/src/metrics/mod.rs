//! How good a map is.

mod completeness;
mod infidelity;
mod information;
mod insertion_deletion;
mod list;
mod localisation;
mod max_sensitivity;
mod metric;
mod randomisation;
mod regions;
mod road;
mod seed_stability;
mod sensitivity_n;
mod statistics;

pub use completeness::CompletenessGap;
pub use infidelity::Infidelity;
pub use information::{InformationArea, Performance};
pub use insertion_deletion::{PixelCurve, Step, Substrate};
pub use list::{all, metric};
pub use localisation::{
    LabelMask, POINTING_TOLERANCE, attribution_share, net_attribution, pointing_game,
};
pub use max_sensitivity::MaxSensitivity;
pub use metric::{Better, Case, Curve, Measured, Measurement, Metric, Needs, Randomised, Region};
pub use randomisation::Randomisation;
pub use regions::{AttributionShare, OBJECT, PointingGame};
pub use road::Road;
pub use seed_stability::SeedStability;
pub use sensitivity_n::SensitivityN;
pub use statistics::{mean, pearson, spearman, standard_error};

use crate::Attribution;

/// A map as a picture of `[height, width]` pixels: the signed sum over channels,
/// and where its grid is another one, interpolated bilinearly. Cells cover the
/// picture evenly, values belong to their centres, and beyond the outermost
/// centres the value stays.
///
/// ```
/// use limpid_explain::{Attribution, Domain, Evaluations, metrics::pixel_map};
/// use limpid_tensor::Tensor;
/// let cam = Attribution {
///     map: Tensor::from_slice([1, 2], &[0.0, 1.0])?,
///     domain: Domain::Layer("bn2".into()),
///     standard_error: None,
///     signed: false,
///     completeness: None,
///     evaluations: Evaluations::default(),
/// };
/// assert_eq!(pixel_map(&cam, [1, 4]), [0.0, 0.25, 0.75, 1.0]);
/// # Ok::<(), limpid_tensor::TensorError>(())
/// ```
#[must_use]
pub fn pixel_map(map: &Attribution, [height, width]: [usize; 2]) -> Vec<f32> {
    let sum = map.channel_sum();
    let [rows, columns] = map.grid();
    if [rows, columns] == [height, width] {
        return sum;
    }
    let (x, y) = (taps(columns, width), taps(rows, height));
    let at = |row: usize, column: usize| f64::from(sum[row * columns + column]);
    let mut pixels = Vec::with_capacity(height * width);
    for (top, bottom, down) in &y {
        for (left, right, along) in &x {
            let line = |row| at(row, *left) * (1.0 - along) + at(row, *right) * along;
            pixels.push((line(*top) * (1.0 - down) + line(*bottom) * down) as f32);
        }
    }
    pixels
}

/// For each of `pixels`, the two of `cells` around it and the second's weight.
fn taps(cells: usize, pixels: usize) -> Vec<(usize, usize, f64)> {
    let last = cells.saturating_sub(1);
    let tap = |i: usize| {
        let place = (i as f64 + 0.5) * cells as f64 / pixels as f64 - 0.5;
        let place = place.clamp(0.0, last as f64);
        let low = place as usize;
        (low, (low + 1).min(last), place - low as f64)
    };
    (0..pixels).map(tap).collect()
}
