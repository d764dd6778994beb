use super::metric::scores;
use super::{Better, Case, Measurement, Metric, Needs};
use crate::ranking::{descending, trapezoid};
use crate::{Context, ExplainError, InputError};
use limpid_tensor::Tensor;
use serde_json::{Value, json};

/// How many pixels are changed from one picture to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many; fewer at the end where they do not divide the picture's.
    Pixels(usize),
    /// This part of the picture's, rounded down to whole pixels.
    Part(usize),
}

/// What stands where a pixel is not the picture's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Substrate {
    /// Zero after normalisation, which is the mean colour of the training
    /// pictures, not black.
    Zero,
    /// The normalised picture, blurred by RISE's kernel: a Gaussian of standard
    /// deviation `sigma` cut to `length` taps an axis, what is cut off reflected
    /// back into them; zero beyond the picture's border.
    Blur {
        /// The number of taps, 1 to 1001; odd.
        length: usize,
        /// The standard deviation, in pixels, 0.1 to 1000.
        sigma: f64,
    },
}

/// Insertion or deletion: the probability of the class while the most important
/// pixels are put into a substrate, or replaced by it, from the most important
/// one on; the area under that curve over the share of pixels (Petsiuk, Das and
/// Saenko, "RISE", BMVC 2018). Pixels are ranked by the map's signed channel sum,
/// which is the order of its positive part with the rest in order too; of equal
/// ones the first in row-major order comes first.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelCurve {
    id: &'static str,
    insertion: bool,
    /// How many pixels are changed at once.
    pub step: Step,
    /// What the picture is inserted into, or deleted to.
    pub substrate: Substrate,
}

impl PixelCurve {
    /// RISE's insertion: 224 pixels a step, from a blur of 11 taps and sigma 5.
    #[must_use]
    pub fn insertion() -> Self {
        Self {
            id: "insertion",
            insertion: true,
            step: Step::Pixels(224),
            substrate: Substrate::Blur {
                length: 11,
                sigma: 5.0,
            },
        }
    }

    /// RISE's deletion: 224 pixels a step, to zero after normalisation.
    #[must_use]
    pub fn deletion() -> Self {
        Self {
            id: "deletion",
            insertion: false,
            step: Step::Pixels(224),
            substrate: Substrate::Zero,
        }
    }

    /// Insertion in ten steps from zero, as xplique has it.
    #[must_use]
    pub fn insertion_10() -> Self {
        Self {
            id: "insertion-10",
            insertion: true,
            step: Step::Part(10),
            substrate: Substrate::Zero,
        }
    }

    /// Deletion in ten steps to zero, as xplique has it.
    #[must_use]
    pub fn deletion_10() -> Self {
        Self {
            id: "deletion-10",
            step: Step::Part(10),
            ..Self::deletion()
        }
    }

    /// The shares and numbers of pixels that are changed in the pictures of the
    /// curve. Parts are equal shares although their pixels are rounded.
    fn steps(&self, pixels: usize) -> (Vec<f64>, Vec<usize>) {
        match self.step {
            Step::Pixels(step) => {
                let step = step.max(1);
                let whole = (0..pixels.div_ceil(step)).map(|i| i * step);
                let counts = whole.chain([pixels]);
                counts.map(|n| (n as f64 / pixels as f64, n)).unzip()
            }
            Step::Part(parts) => {
                let parts = parts.clamp(1, pixels.max(1));
                (0..=parts)
                    .map(|i| (i as f64 / parts as f64, pixels * i / parts))
                    .unzip()
            }
        }
    }
}

impl Metric for PixelCurve {
    fn id(&self) -> &str {
        self.id
    }

    fn summary(&self) -> &'static str {
        match self.insertion {
            true => "area under the probability while the most important pixels are inserted",
            false => "area under the probability while the most important pixels are deleted",
        }
    }

    fn protocol(&self) -> Value {
        let step = match self.step {
            Step::Pixels(n) => json!({ "pixels": n }),
            Step::Part(n) => json!({ "parts": n }),
        };
        let substrate = match self.substrate {
            Substrate::Zero => json!("zero after normalisation"),
            Substrate::Blur { length, sigma } => json!({
                "blur": { "taps": length, "sigma": sigma, "border": "zero" },
            }),
        };
        json!({
            "reads": "probability",
            "order": "descending signed channel sum",
            "step": step,
            "substrate": substrate,
            "area": "trapezoid over the share of pixels",
        })
    }

    fn needs(&self) -> Needs {
        Needs::Scores
    }

    fn measure(&self, cx: &mut dyn Context, case: &Case<'_>) -> Result<Measurement, ExplainError> {
        let substrate = match self.substrate {
            Substrate::Zero => Tensor::zeros(case.image.shape())?,
            Substrate::Blur { length, sigma } => blurred(case.image, length, sigma)?,
        };
        let (start, end) = match self.insertion {
            true => (&substrate, case.image),
            false => (case.image, &substrate),
        };
        let order = descending(&case.pixels())?;
        let (x, counts) = self.steps(order.len());
        let picture = |i: usize| {
            let mut data = start.data().to_vec();
            for plane in 0..data.len() / order.len().max(1) {
                let offset = plane * order.len();
                for pixel in &order[..counts[i]] {
                    let at = offset + *pixel as usize;
                    data[at] = end.data()[at];
                }
            }
            Ok(data)
        };
        let y = scores(
            cx,
            case.image,
            &[case.probability()],
            counts.len(),
            &picture,
        )?;
        let better = match self.insertion {
            true => Better::Higher,
            false => Better::Lower,
        };
        let area = trapezoid(&x, &y)?;
        Ok(Measurement::one(self.id, better, Some(area)).with_curve(self.id, x, y))
    }
}

/// The taps of RISE's kernel along one axis: scipy's `gaussian_filter` of a unit
/// in the middle of `length` zeros, cut off at four standard deviations, its
/// border reflected with the outermost element twice.
fn taps(length: usize, sigma: f64) -> Vec<f64> {
    let radius = (4.0 * sigma + 0.5) as i64;
    let (n, middle) = (length as i64, length as i64 / 2);
    let mut taps = vec![0.0; length];
    for offset in -radius..=radius {
        let at = (middle + offset).rem_euclid(2 * n);
        let at = if at < n { at } else { 2 * n - 1 - at };
        taps[at as usize] += (-0.5 * (offset as f64 / sigma).powi(2)).exp();
    }
    let sum: f64 = taps.iter().sum();
    taps.iter().map(|t| t / sum).collect()
}

/// A picture `[C, H, W]`, filtered along both axes with zeros beyond its border.
fn blurred(image: &Tensor, length: usize, sigma: f64) -> Result<Tensor, InputError> {
    if !(1..=1001).contains(&length) || length.is_multiple_of(2) {
        return Err(InputError::invalid(
            "the blur's length",
            "odd, 1 to 1001",
            length,
        ));
    }
    if !(0.1..=1000.0).contains(&sigma) {
        return Err(InputError::invalid(
            "the blur's sigma",
            "0.1 to 1000",
            sigma,
        ));
    }
    let taps = taps(length, sigma);
    let half = length / 2;
    let dims = image.dims();
    let [height, width] = [dims[1], dims[2]];
    let filtered = |from: &[f64], at: usize, end: usize, stride: usize, base: usize| {
        let mut sum = 0.0;
        for (i, tap) in taps.iter().enumerate() {
            if let Some(place) = (at + i).checked_sub(half).filter(|p| *p < end) {
                sum += tap * from[base + place * stride];
            }
        }
        sum
    };
    let mut data = Vec::with_capacity(image.data().len());
    for plane in image.data().chunks((height * width).max(1)) {
        let plane: Vec<f64> = plane.iter().map(|v| f64::from(*v)).collect();
        let rows: Vec<f64> = (0..plane.len())
            .map(|i| filtered(&plane, i % width, width, 1, i - i % width))
            .collect();
        data.extend(
            (0..rows.len()).map(|i| filtered(&rows, i / width, height, width, i % width) as f32),
        );
    }
    Ok(Tensor::new(image.shape(), data)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_rises() {
        // inp = numpy.zeros((11, 11)); inp[5, 5] = 1
        // scipy.ndimage.gaussian_filter(inp, 5).sum(axis=0)[:6]
        let expected = [
            0.087_958_145_777_278,
            0.088_896_119_777_095,
            0.090_474_196_549_109,
            0.092_191_117_819_388,
            0.093_489_388_442_914,
            0.093_982_063_268_432,
        ];
        let found = taps(11, 5.0);
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-12, "{found:?}");
        }
        assert_eq!(found[0], found[10]);
    }

    #[test]
    fn steps_are_rises_and_xpliques() {
        let (x, counts) = PixelCurve::deletion().steps(224 * 224);
        assert_eq!((x[0], x[56], x[224]), (0.0, 0.25, 1.0));
        assert_eq!((counts.len(), counts[1], counts[224]), (225, 224, 50176));
        assert_eq!(PixelCurve::deletion().steps(300).1, [0, 224, 300]);
        // numpy.linspace(0, 1024, 11, dtype=int)
        let ten = [0, 102, 204, 307, 409, 512, 614, 716, 819, 921, 1024];
        assert_eq!(PixelCurve::insertion_10().steps(1024).1, ten);
    }
}
