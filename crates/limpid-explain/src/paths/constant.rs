use super::{Fragment, Path};
use crate::ExplainError;
use limpid_graph::{Graph, ValueId};

/// No path: the picture itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Constant;

impl Path for Constant {
    fn build(&self, _: &mut Graph, x: ValueId, _: usize) -> Result<Fragment, ExplainError> {
        Ok(Fragment {
            point: x,
            velocity: None,
            statics: Vec::new(),
            controls: Vec::new(),
        })
    }

    fn controls(&self, _positions: &[f64]) -> Vec<Vec<f32>> {
        Vec::new()
    }

    fn ends(&self) -> Option<[f64; 2]> {
        None
    }
}
