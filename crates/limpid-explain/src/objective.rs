use serde::{Deserialize, Serialize};

/// What is read off a model's logits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Readout {
    /// The logits themselves.
    #[default]
    Logit,
    /// The probabilities of a softmax over all classes.
    Softmax,
    /// The probability of each class by itself, as of a tag.
    Sigmoid,
}

impl Readout {
    /// The name that manifests use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Logit => "logit",
            Self::Softmax => "softmax",
            Self::Sigmoid => "sigmoid",
        }
    }
}

/// The scalar that is explained: a weighted sum of what is read off the logits.
///
/// ```
/// use limpid_explain::{Objective, Readout};
/// assert_eq!(Objective::class(1).value(&[3.0, 5.0]), 5.0);
/// assert_eq!(Objective::difference(1, 0).value(&[3.0, 5.0]), 2.0);
/// let probability = Objective::class(1).read_as(Readout::Softmax);
/// assert!((probability.value(&[3.0, 5.0]) - 0.8808).abs() < 1e-4);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    weights: Vec<(usize, f32)>,
    readout: Readout,
}

impl Objective {
    /// The logit of one class.
    #[must_use]
    pub fn class(index: usize) -> Self {
        Self {
            weights: vec![(index, 1.0)],
            readout: Readout::Logit,
        }
    }

    /// The logit of one class less that of another: why the one rather than
    /// the other.
    #[must_use]
    pub fn difference(class: usize, other: usize) -> Self {
        Self {
            weights: vec![(class, 1.0), (other, -1.0)],
            readout: Readout::Logit,
        }
    }

    /// A weighted sum over classes.
    #[must_use]
    pub fn weighted(weights: Vec<(usize, f32)>) -> Self {
        Self {
            weights,
            readout: Readout::Logit,
        }
    }

    /// The same classes, read off in another way.
    #[must_use]
    pub fn read_as(mut self, readout: Readout) -> Self {
        self.readout = readout;
        self
    }

    /// What is read off the logits.
    #[must_use]
    pub fn readout(&self) -> Readout {
        self.readout
    }

    /// The classes and their weights.
    #[must_use]
    pub fn weights(&self) -> &[(usize, f32)] {
        &self.weights
    }

    /// Its gradient with respect to what is read off for `classes` classes:
    /// the cotangent.
    ///
    /// # Panics
    /// When it weighs a class that there is not.
    #[must_use]
    pub fn cotangent(&self, classes: usize) -> Vec<f32> {
        let mut cotangent = vec![0.0; classes];
        for (class, weight) in &self.weights {
            cotangent[*class] += *weight;
        }
        cotangent
    }

    /// The objective's value for one row of logits, in f64.
    ///
    /// # Panics
    /// When it weighs a class that there is not.
    #[must_use]
    pub fn value(&self, logits: &[f32]) -> f64 {
        let logit = |i: usize| f64::from(logits[i]);
        let read = |i: usize| match self.readout {
            Readout::Logit => logit(i),
            Readout::Softmax => {
                // exp(l_j - l_i) may overflow to infinity; its reciprocal is 0 then.
                let others = (0..logits.len()).map(|j| (logit(j) - logit(i)).exp());
                1.0 / others.sum::<f64>()
            }
            Readout::Sigmoid => 1.0 / (1.0 + (-logit(i)).exp()),
        };
        let terms = self.weights.iter();
        terms.map(|(i, w)| read(*i) * f64::from(*w)).sum()
    }
}
