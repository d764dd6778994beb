use super::metric::STREAM;
use super::statistics::relative_l2;
use super::{Better, Case, Measurement, Metric, Needs};
use crate::{Context, ExplainError, Request};
use limpid_tensor::{Tensor, philox};
use serde_json::{Value, json};

/// Max-sensitivity: how much a map changes, at most, when every number of the
/// picture changes by up to `radius`: the largest relative L2 distance over
/// uniform random changes (Yeh et al., NeurIPS 2019). It costs `samples` maps.
#[derive(Debug, Clone, PartialEq)]
pub struct MaxSensitivity {
    /// The largest change, in units of the normalised input.
    pub radius: f64,
    /// The number of changed pictures.
    pub samples: u64,
}

impl Default for MaxSensitivity {
    /// Ten pictures at a radius of 0.02, as captum has it.
    fn default() -> Self {
        Self {
            radius: 0.02,
            samples: 10,
        }
    }
}

impl Metric for MaxSensitivity {
    fn id(&self) -> &str {
        "max-sensitivity"
    }

    fn summary(&self) -> &'static str {
        "largest relative change of the map over small changes of the picture"
    }

    fn protocol(&self) -> Value {
        json!({
            "radius": self.radius,
            "noise": "uniform, each number by itself, in units of the normalised input",
            "samples": self.samples,
            "distance": "relative L2 of the raw map",
        })
    }

    fn needs(&self) -> Needs {
        Needs::Method
    }

    fn measure(&self, cx: &mut dyn Context, case: &Case<'_>) -> Result<Measurement, ExplainError> {
        let mut largest: Option<f64> = None;
        let key = philox::key(case.seed);
        for sample in 0..self.samples {
            cx.check()?;
            let mut data = case.image.data().to_vec();
            for (quad, values) in (0u32..).zip(data.chunks_mut(4)) {
                let u = philox::uniform4(key, STREAM, philox::key(sample), quad);
                for (value, u) in values.iter_mut().zip(u) {
                    *value += ((2.0 * u - 1.0) * self.radius) as f32;
                }
            }
            let maps = case.method.explain(
                cx,
                &Request {
                    image: &Tensor::new(case.image.shape(), data)?,
                    objectives: std::slice::from_ref(case.objective),
                    seed: case.seed,
                },
            )?;
            let distance = maps
                .first()
                .and_then(|map| relative_l2(map.map.data(), case.map.map.data()));
            largest = match (largest, distance) {
                (Some(a), Some(b)) => Some(a.max(b)),
                (a, b) => a.or(b),
            };
        }
        let found = Measurement::one(self.id(), Better::Lower, largest);
        Ok(match largest {
            Some(_) => found,
            None => found.with_note("the map is zero everywhere"),
        })
    }
}
