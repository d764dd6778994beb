//! Performance information curves (Kapishnikov et al., "XRAI", ICCV 2019), the
//! parts without a model: how a picture looks of which only some pixels are
//! known, how much information it holds, and the curve. What they measure is
//! AIC where a prediction is 1 or 0 for right or wrong, and SIC where it is a
//! probability.

mod pixels;

pub use pixels::Pixels;

use crate::InputError;
use crate::ranking::trapezoid;
use limpid_tensor::philox;

/// The random stream of metrics.
const STREAM: u32 = 5;

/// The shares of most important pixels at which a curve is measured, as in
/// PAIR's saliency library.
pub const THRESHOLDS: [f64; 13] = [
    0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.10, 0.13, 0.21, 0.34, 0.5, 0.75,
];

/// A random share of the pixels of `[H, W]`: `floor(share * H * W)` of them, sample
/// `sample` of the seed. One hundredth, and the corners, are what a curve starts
/// from.
///
/// ```
/// use limpid_explain::pic::random_mask;
/// let mask = random_mask([20, 30], 0.01, 0, 0)?;
/// assert_eq!(mask.iter().filter(|known| **known).count(), 6);
/// # Ok::<(), limpid_explain::InputError>(())
/// ```
///
/// # Errors
/// When the share is not from 0 to 1, or there are 2^32 pixels.
pub fn random_mask(
    [height, width]: [usize; 2],
    share: f64,
    seed: u64,
    sample: u64,
) -> Result<Vec<bool>, InputError> {
    if !(0.0..=1.0).contains(&share) {
        return Err(InputError::invalid("the share", "from 0 to 1", share));
    }
    let n = height
        .checked_mul(width)
        .and_then(|n| u32::try_from(n).ok())
        .ok_or_else(|| {
            let found = format!("{height} x {width}");
            InputError::invalid("the mask", "of less than 2^32 pixels", found)
        })?;
    let (key, [low, high]) = (philox::key(seed), philox::key(sample));
    let mut order: Vec<(u32, u32)> = (0..n.div_ceil(4))
        .flat_map(|quad| philox::philox4x32([quad, low, high, STREAM], key))
        .zip(0..n)
        .collect();
    order.sort_unstable();
    let mut mask = vec![false; n as usize];
    for (_, pixel) in &order[..(f64::from(n) * share) as usize] {
        mask[*pixel as usize] = true;
    }
    Ok(mask)
}

/// Which pixels a share of the most important ones reveals: those that are not
/// below the map's quantile `1 - share`, interpolated linearly. Where many are
/// equal they may be more.
///
/// ```
/// use limpid_explain::pic::revealed;
/// assert_eq!(revealed(&[0.0, 3.0, 1.0, 2.0], 0.25)?, [false, true, false, false]);
/// # Ok::<(), limpid_explain::InputError>(())
/// ```
///
/// # Errors
/// When the map is not finite or the share is not from 0 to 1.
pub fn revealed(map: &[f32], share: f64) -> Result<Vec<bool>, InputError> {
    if !(0.0..=1.0).contains(&share) {
        return Err(InputError::invalid("the share", "from 0 to 1", share));
    }
    InputError::check_finite("the map", map)?;
    let mut sorted = map.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return Ok(Vec::new());
    };
    let position = (1.0 - share) * last as f64;
    let [low, high] = [position.floor(), position.ceil()].map(|i| f64::from(sorted[i as usize]));
    let quantile = low + (high - low) * position.fract();
    Ok(map.iter().map(|v| f64::from(*v) >= quantile).collect())
}

/// What was measured of one picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// The information, in bytes.
    pub entropy: f64,
    /// The model's prediction, from 0 to 1.
    pub prediction: f64,
}

/// A prediction's rise over information, both from 0 for the picture of which
/// nothing but random pixels is known to 1 for the whole.
#[derive(Debug, Clone, PartialEq)]
pub struct InformationCurve {
    /// The prediction at the entropies 0, 0.001, ... 1.
    pub values: Vec<f64>,
    /// The area under it.
    pub area: f64,
}

impl InformationCurve {
    const POINTS: usize = 1000;

    fn new(values: Vec<f64>) -> Result<Self, InputError> {
        let x: Vec<f64> = (0..=Self::POINTS)
            .map(|i| i as f64 / Self::POINTS as f64)
            .collect();
        let area = trapezoid(&x, &values)?;
        Ok(Self { values, area })
    }

    /// The curve through what was observed of pictures in the order of growing
    /// shares of known pixels. If `monotone`, a prediction never falls behind
    /// one that came before it.
    ///
    /// ```
    /// use limpid_explain::pic::{InformationCurve, Observation};
    /// let [blurred, half, whole] = [(100., 0.), (150., 0.8), (200., 1.)]
    ///     .map(|(entropy, prediction)| Observation { entropy, prediction });
    /// let curve = InformationCurve::through(blurred, &[half], whole, true)?;
    /// assert!((curve.values[250] - 0.4).abs() < 1e-12);
    /// assert!((curve.area - 0.65).abs() < 1e-12);
    /// # Ok::<(), limpid_explain::InputError>(())
    /// ```
    ///
    /// # Errors
    /// When the whole picture holds no more information or is predicted no better
    /// than the blurred one: it is to be left out. Also when a number is not finite.
    pub fn through(
        blurred: Observation,
        steps: &[Observation],
        whole: Observation,
        monotone: bool,
    ) -> Result<Self, InputError> {
        for o in steps.iter().chain([&blurred, &whole]) {
            InputError::check_finite("an observation", &[o.entropy, o.prediction])?;
        }
        if blurred.entropy >= whole.entropy {
            let reason = "blurred, it holds no less information";
            return Err(InputError::NoCurve { reason });
        }
        if blurred.prediction >= whole.prediction {
            let reason = "blurred, it is predicted no worse";
            return Err(InputError::NoCurve { reason });
        }
        let share = |v: f64, from: f64, to: f64| ((v - from) / (to - from)).clamp(0.0, 1.0);
        let mut most = 0.0f64;
        let mut points: Vec<(f64, f64)> = steps
            .iter()
            .map(|o| {
                let y = share(o.prediction, blurred.prediction, whole.prediction);
                most = most.max(y);
                let x = share(o.entropy, blurred.entropy, whole.entropy);
                (x, if monotone { most } else { y })
            })
            .chain([(0.0, 0.0), (1.0, 1.0)])
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let value = |i: usize| {
            let x = i as f64 / Self::POINTS as f64;
            // Of several points at one place the last counts, as for numpy.
            let after = points.partition_point(|p| p.0 <= x);
            let (x0, y0) = points[after.saturating_sub(1)];
            match points.get(after) {
                Some((x1, y1)) if x > x0 => y0 + (y1 - y0) / (x1 - x0) * (x - x0),
                _ => y0,
            }
        };
        Self::new((0..=Self::POINTS).map(value).collect())
    }

    /// The median of the curves of several pictures, at each entropy.
    ///
    /// # Errors
    /// When there is none, or they differ in length.
    pub fn median(curves: &[Self]) -> Result<Self, InputError> {
        if curves.is_empty() {
            return Err(InputError::invalid("the curves", "at least one", "none"));
        }
        for curve in curves {
            InputError::check_length("a curve", Self::POINTS + 1, curve.values.len())?;
        }
        let at = |i: usize| {
            let mut values: Vec<f64> = curves.iter().map(|c| c.values[i]).collect();
            values.sort_unstable_by(f64::total_cmp);
            let middle = values.len() / 2;
            match values.len() % 2 {
                0 => (values[middle - 1] + values[middle]) / 2.0,
                _ => values[middle],
            }
        };
        Self::new((0..=Self::POINTS).map(at).collect())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::regions::tests::{array, fixture};
    use safetensors::SafeTensors;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Curve {
        monotone: bool,
        entropies: Vec<f64>,
        predictions: Vec<f64>,
        values: Vec<f64>,
        area: f64,
    }

    #[derive(Deserialize)]
    struct Median {
        values: Vec<f64>,
        area: f64,
    }

    #[derive(Deserialize)]
    struct Numbers {
        sizes: Vec<f64>,
        curves: Vec<Curve>,
        median: Median,
    }

    fn numbers(bytes: &[u8]) -> Numbers {
        let (_, metadata) = SafeTensors::read_metadata(bytes).unwrap();
        serde_json::from_str(&metadata.metadata().clone().unwrap()["numbers"]).unwrap()
    }

    pub(super) fn mask(file: &SafeTensors<'_>, name: &str) -> Vec<bool> {
        array(file, name).1.iter().map(|v| *v == 1.0).collect()
    }

    pub(super) fn pixels(file: &SafeTensors<'_>, name: &str) -> Pixels {
        let (shape, values) = array(file, name);
        let data = values.iter().map(|v| *v as u8).collect();
        Pixels::new([shape[0], shape[1]], shape[2], data).unwrap()
    }

    fn saliency(file: &SafeTensors<'_>) -> Vec<f32> {
        array(file, "saliency")
            .1
            .iter()
            .map(|v| *v as f32)
            .collect()
    }

    #[test]
    fn masks_of_any_size() {
        assert!(random_mask([1 << 20, 1 << 20], 0.5, 0, 0).is_err());
        assert!(random_mask([2, 2], f64::NAN, 0, 0).is_err());
        assert!(random_mask([0, 2], 0.5, 0, 0).unwrap().is_empty());
        assert!(revealed(&[], 0.5).unwrap().is_empty());
    }

    #[test]
    fn revealed_pixels_are_numpys() {
        let bytes = fixture("pic/pic.safetensors");
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let (map, random) = (saliency(&file), mask(&file, "random"));
        for share in [0.005, 0.05, 0.5] {
            let mut found = revealed(&map, share).unwrap();
            found.iter_mut().zip(&random).for_each(|(f, r)| *f |= r);
            assert!(
                found == mask(&file, &format!("revealed-{share}")),
                "{share}"
            );
        }
        let coarse: Vec<f32> = map
            .iter()
            .map(|v| (v * 4.0).round_ties_even() / 4.0)
            .collect();
        for share in [0.1, 0.5] {
            assert!(revealed(&coarse, share).unwrap() == mask(&file, &format!("coarse-{share}")));
        }
    }

    #[test]
    fn entropies_have_the_ratios_of_libwebps() {
        let bytes = fixture("pic/pic.safetensors");
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let sizes = numbers(&bytes).sizes;
        let (image, map) = (pixels(&file, "image"), saliency(&file));
        let random = mask(&file, "random");
        let entropy = |share: f64| {
            let mut known = revealed(&map, share).unwrap();
            known.iter_mut().zip(&random).for_each(|(k, r)| *k |= r);
            image.blurred(&known).unwrap().entropy().unwrap()
        };
        let whole = image.entropy().unwrap();
        let start = image.blurred(&random).unwrap().entropy().unwrap();
        for (share, size) in THRESHOLDS.iter().zip(&sizes[2..]) {
            let found = (entropy(*share) - start) / (whole - start);
            let expected = (size - sizes[1]) / (sizes[0] - sizes[1]);
            assert!(
                (found - expected).abs() < 0.1,
                "{share}: {found} {expected}"
            );
        }
    }

    #[test]
    fn curves_equal_those_of_pair() {
        let bytes = fixture("pic/pic.safetensors");
        let numbers = numbers(&bytes);
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
        let mut curves = Vec::new();
        for case in &numbers.curves {
            let observed: Vec<Observation> = case
                .entropies
                .iter()
                .zip(&case.predictions)
                .map(|(entropy, prediction)| Observation {
                    entropy: *entropy,
                    prediction: *prediction,
                })
                .collect();
            let curve =
                InformationCurve::through(observed[1], &observed[2..], observed[0], case.monotone)
                    .unwrap();
            assert_eq!(curve.values.len(), case.values.len());
            assert!(close(&curve.values, &case.values));
            assert!((curve.area - case.area).abs() < 1e-9);
            curves.push(curve);
        }
        let median = InformationCurve::median(&curves).unwrap();
        assert!(close(&median.values, &numbers.median.values));
        assert!((median.area - numbers.median.area).abs() < 1e-9);
        assert!(InformationCurve::median(&[]).is_err());
    }

    #[test]
    fn pictures_without_a_curve_are_refused() {
        let at = |entropy, prediction| Observation {
            entropy,
            prediction,
        };
        for (blurred, whole) in [
            (at(2.0, 0.0), at(2.0, 1.0)),
            (at(1.0, 1.0), at(2.0, 1.0)),
            (at(1.0, f64::NAN), at(2.0, 1.0)),
        ] {
            assert!(InformationCurve::through(blurred, &[], whole, true).is_err());
        }
    }
}
