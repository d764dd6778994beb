use super::metric::{STREAM, scores};
use super::{Better, Case, Measurement, Metric, Needs};
use crate::{Context, Domain, ExplainError};
use limpid_tensor::philox;
use serde_json::{Value, json};

/// Infidelity: how far the change of the score that a map predicts is from the
/// real one when random squares of the picture are set to zero (after
/// normalisation); the mean of the squared difference over that of the squared
/// change (Yeh et al., "On the (In)fidelity and Sensitivity of Explanations",
/// NeurIPS 2019). The map's predictions are first multiplied by the factor, zero
/// or more, that fits best, since maps come in any unit: 0 is perfect, 1 no better
/// than a map of zeros. `infidelity.raw` is the mean squared difference as it is,
/// in squared units of the score.
///
/// A derivative predicts the change of the input times the map, any other map
/// the sum of what it attributes to the square.
#[derive(Debug, Clone, PartialEq)]
pub struct Infidelity {
    /// The number of squares.
    pub squares: u64,
    /// The shortest and longest side, as shares of the picture's shorter side.
    pub sides: [f64; 2],
}

impl Default for Infidelity {
    /// 64 squares of a tenth to a half.
    fn default() -> Self {
        Self {
            squares: 64,
            sides: [0.1, 0.5],
        }
    }
}

/// Whether a method's maps are derivatives with respect to the input, rather than
/// shares of the score.
fn is_derivative(method: &str) -> bool {
    ["gradient", "smoothgrad", "guided-backprop", "deconvnet"].contains(&method)
}

impl Infidelity {
    /// The rows and columns of a square.
    fn square(&self, [height, width]: [usize; 2], seed: u64, index: usize) -> [[usize; 2]; 2] {
        let [low, high] = philox::key(index as u64);
        let u = philox::uniform4(philox::key(seed), STREAM, [low, high], 0);
        let shorter = height.min(width);
        let share = self.sides[0] + (self.sides[1] - self.sides[0]) * u[0];
        let side = ((shorter as f64 * share).round() as usize).clamp(1, shorter.max(1));
        let start = |extent: usize, u: f64| {
            let start = ((extent - side + 1) as f64 * u) as usize;
            [start, start + side]
        };
        [start(height, u[1]), start(width, u[2])]
    }
}

impl Metric for Infidelity {
    fn id(&self) -> &str {
        "infidelity"
    }

    fn summary(&self) -> &'static str {
        "squared error of the score's change that the map predicts when squares are removed"
    }

    fn protocol(&self) -> Value {
        json!({
            "reads": "the score that is explained",
            "squares": self.squares,
            "sides": self.sides,
            "substrate": "zero after normalisation",
            "derivatives": "times the change of the input",
            "scaling": "the factor, at least 0, that fits best; none for infidelity.raw",
            "normalised_by": "mean squared change of the score; nothing for infidelity.raw",
        })
    }

    fn needs(&self) -> Needs {
        Needs::Scores
    }

    fn measure(&self, cx: &mut dyn Context, case: &Case<'_>) -> Result<Measurement, ExplainError> {
        let (image, seed, size) = (case.image, case.seed, case.size());
        let [height, width] = size;
        let inside = |i: usize| {
            let [rows, columns] = self.square(size, seed, i);
            move |at: usize| {
                let (row, column) = (at / width % height, at % width);
                (rows[0]..rows[1]).contains(&row) && (columns[0]..columns[1]).contains(&column)
            }
        };
        let picture = |i: usize| {
            let Some(i) = i.checked_sub(1) else {
                return Ok(image.data().to_vec());
            };
            let inside = inside(i);
            let pixels = image.data().iter().enumerate();
            Ok(pixels
                .map(|(at, v)| if inside(at) { 0.0 } else { *v })
                .collect())
        };
        let count = self.squares as usize;
        let objective = std::slice::from_ref(case.objective);
        let found = scores(cx, image, objective, count + 1, &picture)?;
        let derivative = case.map.domain == Domain::Input && is_derivative(case.method.id());
        let shares: Vec<f32> = match derivative {
            true => {
                let terms = case.map.map.data().iter().zip(image.data());
                terms.map(|(g, x)| g * x).collect()
            }
            false => case.pixels(),
        };
        let sum = |i: usize| {
            let inside = inside(i);
            let shares = shares.iter().enumerate().filter(|(at, _)| inside(*at));
            shares.map(|(_, v)| f64::from(*v)).sum::<f64>()
        };
        let predicted: Vec<f64> = (0..count).map(sum).collect();
        let changes: Vec<f64> = found[1..].iter().map(|s| found[0] - s).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let energy = dot(&predicted, &predicted);
        let factor = match energy > 0.0 {
            true => (dot(&predicted, &changes) / energy).max(0.0),
            false => 0.0,
        };
        let error = |factor: f64| {
            let pairs = predicted.iter().zip(&changes);
            pairs.map(|(p, c)| (factor * p - c).powi(2)).sum::<f64>()
        };
        let total = dot(&changes, &changes);
        let scaled = (total > 0.0).then(|| error(factor) / total);
        let raw = error(1.0) / count.max(1) as f64;
        let found = Measurement::one(self.id(), Better::Lower, scaled).and(
            "infidelity.raw",
            // Its unit is the map's.
            Better::Neither,
            Some(raw),
        );
        Ok(match scaled {
            Some(_) => found,
            None => found.with_note("no square changes the score"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_lie_in_the_picture_and_have_their_sides() {
        let metric = Infidelity::default();
        let mut sides = Vec::new();
        for i in 0..1000 {
            let [rows, columns] = metric.square([40, 60], 3, i);
            assert!(rows[1] <= 40 && columns[1] <= 60);
            assert_eq!(rows[1] - rows[0], columns[1] - columns[0]);
            sides.push(rows[1] - rows[0]);
        }
        let range = (sides.iter().min(), sides.iter().max());
        assert_eq!(range, (Some(&4), Some(&20)));
        // The smallest picture has one square.
        assert_eq!(metric.square([1, 1], 0, 0), [[0, 1]; 2]);
    }
}
