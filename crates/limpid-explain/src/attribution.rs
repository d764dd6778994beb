use limpid_tensor::Tensor;
use serde::{Deserialize, Serialize};

/// What the elements of a map belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Domain {
    /// The channels and pixels of the normalised input: `[C, H, W]`.
    Input,
    /// The grid of a layer, or of several that were joined: `[h, w]`.
    Layer(String),
    /// The pixels of the input, all channels together: `[H, W]`.
    Pixels,
}

/// How many times the model ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluations {
    /// Forward passes with a gradient.
    pub gradients: u64,
    /// Forward passes without.
    pub forwards: u64,
}

impl Evaluations {
    /// Those since an earlier count.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            gradients: self.gradients - before.gradients,
            forwards: self.forwards - before.forwards,
        }
    }
}

/// Whether a path method's attributions add up to what they attribute.
///
/// ```
/// use limpid_explain::Completeness;
/// assert_eq!(Completeness::new(9.5, 10.0).gap, -0.5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Completeness {
    /// The sum of the map.
    pub attributed: f64,
    /// The score at the picture less the score at the path's other end.
    pub expected: f64,
    /// `attributed` less `expected`.
    pub gap: f64,
}

impl Completeness {
    /// Of a map that adds up to `attributed`.
    #[must_use]
    pub fn new(attributed: f64, expected: f64) -> Self {
        Self {
            attributed,
            expected,
            gap: attributed - expected,
        }
    }
}

/// A raw map: never scaled, clipped or normalised.
#[derive(Debug, Clone)]
pub struct Attribution {
    /// The values, of the shape that `domain` says.
    pub map: Tensor,
    /// What they belong to.
    pub domain: Domain,
    /// The standard error of each value, where it is estimated.
    pub standard_error: Option<Tensor>,
    /// Whether negative values have a meaning.
    pub signed: bool,
    /// For path methods.
    pub completeness: Option<Completeness>,
    /// What it cost. Maps that share evaluations, as a class activation map's
    /// several scores do, each name them all.
    pub evaluations: Evaluations,
}

impl Attribution {
    /// A signed map without a standard error, of a method without completeness.
    #[must_use]
    pub fn new(map: Tensor, domain: Domain, evaluations: Evaluations) -> Self {
        Self {
            map,
            domain,
            standard_error: None,
            signed: true,
            completeness: None,
            evaluations,
        }
    }

    /// The L2 norm of the standard error over that of the map.
    #[must_use]
    pub fn relative_standard_error(&self) -> Option<f64> {
        let error = self.standard_error.as_ref()?;
        Some(crate::sampling::relative(error, &self.map))
    }

    /// Height and width of the map's grid.
    #[must_use]
    pub fn grid(&self) -> [usize; 2] {
        let dims = self.map.dims();
        [dims[dims.len() - 2], dims[dims.len() - 1]]
    }

    /// The map as a picture, `[H, W]`: the signed sum over channels.
    #[must_use]
    pub fn channel_sum(&self) -> Vec<f32> {
        let [h, w] = self.grid();
        let mut sum = vec![0.0f64; h * w];
        for plane in self.map.data().chunks((h * w).max(1)) {
            for (s, v) in sum.iter_mut().zip(plane) {
                *s += f64::from(*v);
            }
        }
        sum.into_iter().map(|v| v as f32).collect()
    }

    /// The sum of the map, in f64.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.map.data().iter().map(|v| f64::from(*v)).sum()
    }
}
