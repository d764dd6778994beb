use super::{Fragment, Path};
use crate::{ExplainError, Sample};
use limpid_graph::{Graph, ValueId};

/// No path: the picture itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Constant;

impl Path for Constant {
    fn build(&self, _: &mut Graph, x: ValueId, _: usize) -> Result<Fragment, ExplainError> {
        Ok(Fragment {
            point: x,
            velocity: None,
            reference: None,
            statics: Vec::new(),
            controls: Vec::new(),
        })
    }

    fn controls(&self, _samples: &[Sample]) -> Result<Vec<Vec<f32>>, ExplainError> {
        Ok(Vec::new())
    }
}

/// No path: the picture itself, and the gradient is multiplied by it.
#[derive(Debug, Clone, Copy, Default)]
pub struct TimesInput;

impl Path for TimesInput {
    fn build(&self, _: &mut Graph, x: ValueId, _: usize) -> Result<Fragment, ExplainError> {
        Ok(Fragment {
            point: x,
            velocity: Some(x),
            reference: None,
            statics: Vec::new(),
            controls: Vec::new(),
        })
    }

    fn controls(&self, _samples: &[Sample]) -> Result<Vec<Vec<f32>>, ExplainError> {
        Ok(Vec::new())
    }
}
