use super::perturb::{HIDDEN, baseline_param, given_baseline, pixel_map, scores_of_masked};
use super::{Baseline, MethodInfo};
use crate::{
    Attribution, Context, ExplainError, Explainer, Given, ModelInfo, ParamInfo, ParamKind,
    Parameters, Request,
};
use limpid_tensor::{Tensor, philox};
use std::sync::Arc;

/// The random stream of masks.
const STREAM: u32 = 3;

/// RISE (Petsiuk, Das and Saenko, BMVC 2018): random coarse masks, enlarged
/// bilinearly and shifted, each by its own random part of a cell; a pixel's value
/// is the mean of score times mask, divided by the cells' probability.
///
/// From the scores their mean is taken first unless `centred` is false: what is
/// subtracted is the same for every pixel up to the chance of its being covered,
/// so that a pixel without influence is at 0 rather than at the mean score, and
/// the error is smaller. The standard error is that of the masks' choice.
///
/// ```
/// use limpid_explain::methods::Rise;
/// let original = Rise::new().masks(6000).probability(0.1).centred(false);
/// assert_eq!(original.cells, 8);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Rise {
    /// The number of masks; at least 2.
    pub masks: u64,
    /// Rows and columns of cells; at least 1.
    pub cells: u64,
    /// The probability with which a cell is shown, above 0 and at most 1.
    pub probability: f64,
    /// Whether the mean score is subtracted.
    pub centred: bool,
    /// What hidden parts look like.
    pub baseline: Baseline,
}

impl Default for Rise {
    fn default() -> Self {
        Self {
            masks: 4000,
            cells: 8,
            probability: 0.5,
            centred: true,
            baseline: HIDDEN,
        }
    }
}

impl Rise {
    /// 4000 masks of 8 x 8 cells, half of them shown.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With another number of masks.
    #[must_use]
    pub fn masks(mut self, masks: u64) -> Self {
        self.masks = masks;
        self
    }

    /// With another number of rows and columns of cells.
    #[must_use]
    pub fn cells(mut self, cells: u64) -> Self {
        self.cells = cells;
        self
    }

    /// With cells that are shown with another probability.
    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    /// With or without subtracting the mean score.
    #[must_use]
    pub fn centred(mut self, centred: bool) -> Self {
        self.centred = centred;
        self
    }

    /// With hidden parts that look different.
    #[must_use]
    pub fn baseline(mut self, baseline: Baseline) -> Self {
        self.baseline = baseline;
        self
    }

    fn generator(&self, seed: u64, size: [usize; 2]) -> Generator {
        let cells = self.cells.clamp(1, 1024) as usize;
        let cell = size.map(|n| n.div_ceil(cells));
        Generator {
            key: philox::key(seed),
            cells,
            probability: self.probability,
            size,
            cell,
        }
    }
}

/// Makes RISE's masks.
struct Generator {
    key: [u32; 2],
    cells: usize,
    probability: f64,
    size: [usize; 2],
    /// Height and width of a cell.
    cell: [usize; 2],
}

impl Generator {
    /// The shift of a mask, in pixels, and its cells.
    fn draw(&self, mask: u64) -> ([usize; 2], Vec<f32>) {
        let sample = philox::key(mask);
        let mut numbers =
            (0u32..).flat_map(|quad| philox::uniform4(self.key, STREAM, sample, quad));
        let mut shift = self.cell;
        for s in &mut shift {
            let u = numbers.next().unwrap_or_default();
            *s = (u * *s as f64) as usize;
        }
        let shown = |u: f64| f32::from(u8::from(u < self.probability));
        let cells = numbers.map(shown).take(self.cells * self.cells).collect();
        (shift, cells)
    }

    /// The two cells between which pixel `i` of an axis lies, and how far it is
    /// from the first: the cells are enlarged to one more than there are and
    /// mirrored at the outer ones' centres, as by the authors' `resize`.
    fn between(&self, axis: usize, shift: usize, i: usize) -> (usize, usize, f32) {
        let last = (self.cells - 1) as f64;
        let enlarged = ((self.cells + 1) * self.cell[axis]) as f64;
        let at = ((i + shift) as f64 + 0.5) * self.cells as f64 / enlarged - 0.5;
        let at = if at > last { 2.0 * last - at } else { at.abs() }.clamp(0.0, last);
        let first = at.floor();
        (
            first as usize,
            (first + 1.0).min(last) as usize,
            (at - first) as f32,
        )
    }

    /// Writes a mask, `[H, W]`, with values from 0 to 1.
    fn write(&self, mask: u64, out: &mut [f32]) {
        let (shift, cells) = self.draw(mask);
        self.enlarge(shift, &cells, out);
    }

    fn enlarge(&self, [down, right]: [usize; 2], cells: &[f32], out: &mut [f32]) {
        let [height, width] = self.size;
        let columns: Vec<_> = (0..width).map(|x| self.between(1, right, x)).collect();
        for (y, row) in (0..height).zip(out.chunks_mut(width.max(1))) {
            let (a, b, t) = self.between(0, down, y);
            let line: Vec<f32> = (0..self.cells)
                .map(|x| {
                    let (a, b) = (cells[a * self.cells + x], cells[b * self.cells + x]);
                    a + t * (b - a)
                })
                .collect();
            for (out, (a, b, t)) in row.iter_mut().zip(&columns) {
                *out = line[*a] + t * (line[*b] - line[*a]);
            }
        }
    }
}

/// Sums over masks, pixel by pixel: of the mask and its square, and of those
/// times each objective's score and its square. Scores are less the first mask's,
/// so that little cancels.
struct Sums {
    count: f64,
    first: Vec<f64>,
    mask: [Vec<f64>; 2],
    scores: Vec<[f64; 2]>,
    products: Vec<[[Vec<f64>; 2]; 2]>,
}

impl Sums {
    fn new(pixels: usize, objectives: usize) -> Self {
        let two = || [vec![0.0; pixels], vec![0.0; pixels]];
        Self {
            count: 0.0,
            first: Vec::new(),
            mask: two(),
            scores: vec![[0.0; 2]; objectives],
            products: (0..objectives).map(|_| [two(), two()]).collect(),
        }
    }

    fn add(&mut self, mask: &[f32], scores: &[f64]) {
        if self.first.is_empty() {
            self.first = scores.to_vec();
        }
        self.count += 1.0;
        let powers = |sums: &mut [Vec<f64>; 2], factor: f64| {
            let [first, second] = sums;
            for ((a, b), m) in first.iter_mut().zip(second).zip(mask) {
                let m = f64::from(*m);
                *a += factor * m;
                *b += factor * m * m;
            }
        };
        powers(&mut self.mask, 1.0);
        for (k, (score, first)) in scores.iter().zip(&self.first).enumerate() {
            let score = score - first;
            self.scores[k][0] += score;
            self.scores[k][1] += score * score;
            let [once, squared] = &mut self.products[k];
            powers(once, score);
            powers(squared, score * score);
        }
    }

    /// The mean of (score - centre) * (mask - its centre) at each pixel, and its
    /// standard error. Centred, the centres are the means; else they are zero.
    fn means(&self, objective: usize, centred: bool) -> (Vec<f64>, Vec<f64>) {
        let n = self.count;
        let [scores, score_squares] = self.scores[objective];
        let [[gm, gm2], [g2m, g2m2]] = &self.products[objective];
        let a = if centred {
            scores / n
        } else {
            -self.first[objective]
        };
        let around = |square: f64, once: f64, none: f64| square - 2.0 * a * once + a * a * none;
        let pixel = |i: usize| {
            let (m1, m2) = (self.mask[0][i], self.mask[1][i]);
            let m = if centred { m1 / n } else { 0.0 };
            let mean = (gm[i] - a * m1 - m * (scores - a * n)) / n;
            let squares = around(g2m2[i], gm2[i], m2) - 2.0 * m * around(g2m[i], gm[i], m1)
                + m * m * around(score_squares, scores, n);
            let variance = (squares - n * mean * mean) / (n - 1.0);
            (mean, (variance.max(0.0) / n).sqrt())
        };
        (0..gm.len()).map(pixel).unzip()
    }
}

impl Explainer for Rise {
    fn id(&self) -> &str {
        "rise"
    }

    fn parameters(&self, _model: &ModelInfo, _input: &[usize]) -> Parameters {
        Parameters::from_iter([
            ("masks".to_owned(), self.masks.into()),
            ("cells".to_owned(), self.cells.into()),
            ("probability".to_owned(), self.probability.into()),
            ("centred".to_owned(), self.centred.into()),
            ("baseline".to_owned(), self.baseline.name().into()),
        ])
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        let before = cx.evaluations();
        let size = [request.image.dims()[1], request.image.dims()[2]];
        let generator = self.generator(request.seed, size);
        let pixels = size[0] * size[1];
        let mut sums = Sums::new(pixels, request.objectives.len());
        let mut mask = vec![0.0; pixels];
        let write = |i: u64, mask: &mut [f32]| generator.write(i, mask);
        let masks = 0..self.masks.max(2);
        scores_of_masked(
            cx,
            request,
            &self.baseline,
            masks,
            write,
            &mut |i, scores| {
                generator.write(i, &mut mask);
                sums.add(&mask, scores);
                Ok(())
            },
        )?;
        let evaluations = cx.evaluations().since(before);
        let map = |objective: usize| {
            let (mut map, mut error) = sums.means(objective, self.centred);
            for v in map.iter_mut().chain(&mut error) {
                *v /= self.probability;
            }
            let map = pixel_map(self.id(), size, &map, self.centred, evaluations)?;
            let error = error.iter().map(|v| *v as f32).collect();
            Ok(Attribution {
                standard_error: Some(Tensor::new(size, error)?),
                ..map
            })
        };
        (0..request.objectives.len()).map(map).collect()
    }
}

/// `rise`.
pub(super) fn info() -> MethodInfo {
    let d = Rise::default();
    MethodInfo {
        id: "rise".into(),
        kind: "perturbation".into(),
        output: "[H,W]".into(),
        summary:
            "the mean of random masks, each times the score of what it shows less the mean score"
                .into(),
        params: vec![
            ParamInfo::new(
                "masks",
                ParamKind::Integer {
                    min: 2,
                    max: 1_000_000,
                },
                d.masks,
                "the number of masks",
            ),
            ParamInfo::new(
                "cells",
                ParamKind::Integer { min: 1, max: 64 },
                d.cells,
                "rows, and columns, of a mask's cells",
            ),
            ParamInfo::new(
                "probability",
                ParamKind::Float {
                    min: 0.01,
                    max: 0.99,
                },
                d.probability,
                "the probability with which a cell is shown",
            ),
            ParamInfo::new(
                "centred",
                ParamKind::Bool,
                d.centred,
                "whether the mean score is subtracted first; false is the authors' formula",
            ),
            baseline_param(),
        ],
        smooth: None,
        build: Arc::new(|given: &Given, _| {
            let d = Rise::default();
            Ok(Box::new(Rise {
                masks: given.integer("masks").unwrap_or(d.masks),
                cells: given.integer("cells").unwrap_or(d.cells),
                probability: given.float("probability").unwrap_or(d.probability),
                centred: given.bool("centred").unwrap_or(d.centred),
                baseline: given_baseline("rise", given)?,
            }))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn masks_are_the_authors() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fixtures/rise/masks.json"
        );
        type Case = (usize, [usize; 2], [usize; 2], Vec<f32>, Vec<f32>);
        let cases: Vec<Case> =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for (cells, size, shift, grid, expected) in cases {
            let generator = Rise::new().cells(cells as u64).generator(0, size);
            let mut mask = vec![0.0; expected.len()];
            generator.enlarge(shift, &grid, &mut mask);
            for (a, b) in mask.iter().zip(&expected) {
                assert!((a - b).abs() < 1e-5, "{cells} {size:?}: {a} {b}");
            }
        }
    }

    /// One shift for a whole batch would favour the pixels at which the batch's
    /// cells happen to have their centres.
    #[test]
    fn every_mask_has_its_own_shift() {
        let generator = Rise::new().generator(3, [224, 224]);
        let shifts: BTreeSet<_> = (0..64).map(|mask| generator.draw(mask).0).collect();
        assert!(shifts.len() > 55, "{}", shifts.len());
        let seen = |axis: usize| {
            shifts
                .iter()
                .map(|s| s[axis])
                .collect::<BTreeSet<_>>()
                .len()
        };
        assert!(seen(0) > 20 && seen(1) > 20);
        assert!(shifts.iter().flatten().all(|s| *s < 28));
    }

    #[test]
    fn any_size_has_masks() {
        for (cells, size) in [(8, [1, 1]), (1, [5, 3]), (64, [3, 7]), (8, [0, 4])] {
            let generator = Rise::new().cells(cells).generator(0, size);
            let mut mask = vec![f32::NAN; size[0] * size[1]];
            for i in 0..20 {
                generator.write(i, &mut mask);
                assert!(mask.iter().all(|v| (0.0..=1.0).contains(v)));
            }
        }
    }
}
