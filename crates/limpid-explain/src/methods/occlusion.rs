use super::perturb::{HIDDEN, baseline_param, given_baseline, pixel_map, scores_of_masked};
use super::{Baseline, MethodInfo};
use crate::{
    Attribution, Context, ExplainError, Explainer, Given, ModelInfo, ParamInfo, ParamKind,
    Parameters, Request,
};
use std::sync::Arc;

/// Occlusion (Zeiler and Fergus, ECCV 2014): how much the score falls when a
/// square window is hidden. A pixel gets the mean over the windows that cover
/// it; the last window of a row or column ends at the border.
///
/// Windows are 15 pixels wide, as in PAIR's library, but 8 apart: with a stride
/// of 1, a picture of 224 x 224 would take 44,100 forward passes rather than 784.
///
/// ```
/// use limpid_explain::methods::Occlusion;
/// let method = Occlusion::new().window(32).stride(16);
/// assert_eq!((method.window, method.stride), (32, 16));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Occlusion {
    /// The window's side, in pixels; at least 1.
    pub window: u64,
    /// The distance between windows, in pixels; at least 1, and no more than the
    /// window, or pixels would be left out.
    pub stride: u64,
    /// What a window shows.
    pub baseline: Baseline,
}

impl Default for Occlusion {
    fn default() -> Self {
        Self {
            window: 15,
            stride: 8,
            baseline: HIDDEN,
        }
    }
}

impl Occlusion {
    /// Windows of 15 pixels, 8 apart.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With windows of another side.
    #[must_use]
    pub fn window(mut self, window: u64) -> Self {
        self.window = window;
        self
    }

    /// With another distance between windows.
    #[must_use]
    pub fn stride(mut self, stride: u64) -> Self {
        self.stride = stride;
        self
    }

    /// With windows that show something else.
    #[must_use]
    pub fn baseline(mut self, baseline: Baseline) -> Self {
        self.baseline = baseline;
        self
    }

    /// The effective side and stride along `n` pixels.
    fn along(&self, n: usize) -> (usize, usize) {
        let window = self.window.clamp(1, n.max(1) as u64);
        (window as usize, self.stride.clamp(1, window) as usize)
    }

    /// Where windows begin along `n` pixels.
    fn starts(&self, n: usize) -> Vec<usize> {
        let (window, stride) = self.along(n);
        let last = n.saturating_sub(window);
        (0..last).step_by(stride).chain([last]).collect()
    }
}

impl Explainer for Occlusion {
    fn id(&self) -> &str {
        "occlusion"
    }

    fn parameters(&self, _model: &ModelInfo, _input: &[usize]) -> Parameters {
        Parameters::from_iter([
            ("window".to_owned(), self.window.into()),
            ("stride".to_owned(), self.stride.into()),
            ("baseline".to_owned(), self.baseline.name().into()),
        ])
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        let before = cx.evaluations();
        let [height, width] = [request.image.dims()[1], request.image.dims()[2]];
        let (rows, columns) = (self.starts(height), self.starts(width));
        let (tall, wide) = (self.along(height).0, self.along(width).0);
        let each_row = |i: u64| {
            let (i, n) = (i as usize, columns.len());
            let (top, left) = (rows[i / n], columns[i % n]);
            (top..top + tall).map(move |y| y * width + left..y * width + left + wide)
        };
        let mut whole = vec![0.0; request.objectives.len()];
        let mut sums = vec![vec![0.0f64; height * width]; request.objectives.len()];
        let mut counts = vec![0u32; height * width];
        let windows = (rows.len() * columns.len()) as u64;
        // Mask 0 hides nothing.
        let mask = |i: u64, mask: &mut [f32]| {
            mask.fill(1.0);
            if let Some(window) = i.checked_sub(1) {
                each_row(window).for_each(|pixels| mask[pixels].fill(0.0));
            }
        };
        scores_of_masked(
            cx,
            request,
            &self.baseline,
            0..windows + 1,
            mask,
            &mut |i, scores| {
                let Some(window) = i.checked_sub(1) else {
                    whole.copy_from_slice(scores);
                    return Ok(());
                };
                for pixels in each_row(window) {
                    counts[pixels.clone()].iter_mut().for_each(|n| *n += 1);
                    for ((sum, whole), hidden) in sums.iter_mut().zip(&whole).zip(scores) {
                        sum[pixels.clone()]
                            .iter_mut()
                            .for_each(|s| *s += whole - hidden);
                    }
                }
                Ok(())
            },
        )?;
        let evaluations = cx.evaluations().since(before);
        let map = |mut sum: Vec<f64>| {
            sum.iter_mut()
                .zip(&counts)
                .for_each(|(s, n)| *s /= f64::from(*n));
            pixel_map(self.id(), [height, width], &sum, true, evaluations)
        };
        sums.into_iter().map(map).collect()
    }
}

/// `occlusion`.
pub(super) fn info() -> MethodInfo {
    let d = Occlusion::default();
    let pixels = ParamKind::Integer {
        min: 1,
        max: 1 << 16,
    };
    MethodInfo {
        id: "occlusion".into(),
        kind: "perturbation".into(),
        output: "[H,W]".into(),
        summary:
            "how much the score falls when a window that slides over the picture hides a part of it"
                .into(),
        params: vec![
            ParamInfo::new(
                "window",
                pixels.clone(),
                d.window,
                "the window's side, in pixels",
            ),
            ParamInfo::new(
                "stride",
                pixels,
                d.stride,
                "the distance between windows, in pixels; at most the window's side",
            ),
            baseline_param(),
        ],
        smooth: None,
        build: Arc::new(|given: &Given, _| {
            let d = Occlusion::default();
            let method = Occlusion {
                window: given.integer("window").unwrap_or(d.window),
                stride: given.integer("stride").unwrap_or(d.stride),
                baseline: given_baseline("occlusion", given)?,
            };
            if method.stride > method.window {
                return Err(ExplainError::Parameter {
                    method: "occlusion".into(),
                    name: "stride".into(),
                    expected: format!("at most the window, {}", method.window),
                    found: method.stride.to_string(),
                });
            }
            Ok(Box::new(method))
        }),
    }
}
