use super::{Fragment, Path};
use crate::{ExplainError, Sample};
use limpid_graph::{Fact, Graph, ValueId};
use limpid_tensor::Tensor;

/// No path: pictures that were made beforehand. The position is the number of
/// the picture.
#[derive(Debug, Clone, Default)]
pub struct Stack {
    /// The pictures, `[C, H, W]` each, and all alike.
    pub pictures: Vec<Tensor>,
}

impl Path for Stack {
    fn build(&self, graph: &mut Graph, x: ValueId, batch: usize) -> Result<Fragment, ExplainError> {
        let shape = [&[batch], &graph.fact(x).shape[1..]].concat();
        let point = graph.input("pictures", Fact::f32(shape));
        Ok(Fragment {
            point,
            velocity: None,
            reference: None,
            statics: Vec::new(),
            controls: vec![point],
        })
    }

    fn controls(&self, samples: &[Sample]) -> Result<Vec<Vec<f32>>, ExplainError> {
        let mut data = Vec::new();
        for sample in samples {
            let picture = self.pictures.get(sample.position as usize);
            data.extend(picture.into_iter().flat_map(Tensor::data));
        }
        Ok(vec![data])
    }
}
