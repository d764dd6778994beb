//! Models whose weights are random from the scores down.

use crate::engine::{Engine, RunContext};
use crate::{Error, Input, RunOptions, Session};
use limpid_explain::{Attribution, ExplainError, Explainer, Objective, Request, metrics};
use limpid_graph::ops::Op;
use limpid_graph::{Graph, ValueId};
use limpid_tensor::{Tensor, philox};
use std::sync::OnceLock;

/// The random stream of metrics.
const STREAM: u32 = 5;

/// The stages: how many thirds of the layers are random, after the topmost alone.
const THIRDS: usize = 3;

/// The models of a session, each made when it is first asked for. They share the
/// weights that are not random.
pub(super) struct Randomised {
    seed: u64,
    /// The weights of products and convolutions, the topmost first.
    weights: Vec<ValueId>,
    /// How many of them are random at each stage.
    counts: Vec<usize>,
    engines: Vec<OnceLock<Engine>>,
}

impl Randomised {
    pub(super) fn new(session: &Session, seed: u64) -> Result<Self, Error> {
        let network = session.engine().original();
        let mut weights: Vec<ValueId> = Vec::new();
        for node in network.nodes().iter().rev() {
            let has_weights = matches!(
                node.op,
                Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm(_) | Op::MatMul(_)
            );
            // What is added to the products, a bias, stays.
            for value in node.inputs.iter().take(2).filter(|_| has_weights) {
                if network.is_constant(*value) && !weights.contains(value) {
                    weights.push(*value);
                }
            }
        }
        let all = weights.len();
        let thirds = (1..=THIRDS).map(|i| (all * i).div_ceil(THIRDS));
        let mut counts: Vec<usize> = [1].into_iter().chain(thirds).collect();
        counts.retain(|n| *n <= all && *n > 0);
        counts.dedup();
        Ok(Self {
            seed,
            weights,
            engines: counts.iter().map(|_| OnceLock::new()).collect(),
            counts,
        })
    }

    fn engine(&self, session: &Session, stage: usize) -> Result<&Engine, Error> {
        if let Some(engine) = self.engines[stage].get() {
            return Ok(engine);
        }
        let shuffle = |network: &mut Graph| {
            for (i, id) in self.weights[..self.counts[stage]].iter().enumerate() {
                if let Some(old) = network.constant_of(*id) {
                    let new = shuffled(&*old.load()?, self.seed, i as u64)?;
                    network.set_constant(*id, new)?;
                }
            }
            Ok(())
        };
        let engine = session.engine().changed(session.model(), shuffle)?;
        Ok(self.engines[stage].get_or_init(|| engine))
    }
}

/// A tensor's elements in random order, sample `sample` of the seed.
fn shuffled(tensor: &Tensor, seed: u64, sample: u64) -> Result<Tensor, Error> {
    let (key, [low, high]) = (philox::key(seed), philox::key(sample));
    let mut data = tensor.data().to_vec();
    let mut words = [0; 4];
    // Fisher and Yates: each element changes places with one not after it.
    for i in (1..data.len()).rev() {
        if i % 4 == 3 || i == data.len() - 1 {
            words = philox::philox4x32([(i / 4) as u32, low, high, STREAM], key);
        }
        let other = (u64::from(words[i % 4]) * (i as u64 + 1)) >> 32;
        data.swap(i, other as usize);
    }
    Ok(Tensor::new(tensor.shape(), data)?)
}

/// The maps of one case by those models.
pub(super) struct RandomisedMaps<'a> {
    pub(super) models: &'a Randomised,
    pub(super) session: &'a Session,
    pub(super) input: &'a Input,
    pub(super) method: &'a dyn Explainer,
    pub(super) objective: &'a Objective,
    pub(super) options: RunOptions<'a>,
}

impl metrics::Randomised for RandomisedMaps<'_> {
    fn stages(&self) -> usize {
        self.models.counts.len()
    }

    fn share(&self, stage: usize) -> f64 {
        self.models.counts[stage] as f64 / self.models.weights.len() as f64
    }

    fn explain(&self, stage: usize) -> Result<Attribution, ExplainError> {
        if !self.method.uses_context() {
            return Err(ExplainError::Conflict {
                method: self.method.id().to_owned(),
                message: "it runs in a process of its own, whose weights are not random: leave --isolate out".into(),
            });
        }
        let engine = self.models.engine(self.session, stage)?;
        let mut cx = RunContext::new(engine, self.session.model(), self.options);
        let request = Request {
            image: self.input.tensor(),
            objectives: std::slice::from_ref(self.objective),
            seed: self.options.seed,
        };
        let mut maps = self.method.explain(&mut cx, &request)?;
        maps.pop().ok_or_else(|| ExplainError::Conflict {
            method: self.method.id().to_owned(),
            message: "the method made no map".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffling_keeps_the_numbers_and_moves_them() {
        let tensor = Tensor::new([10, 101], (0..1010).map(|i| i as f32).collect()).unwrap();
        let new = shuffled(&tensor, 0, 0).unwrap();
        assert_eq!(new, shuffled(&tensor, 0, 0).unwrap());
        assert_ne!(new, shuffled(&tensor, 0, 1).unwrap());
        let stayed = new.data().iter().zip(tensor.data()).filter(|(a, b)| a == b);
        assert!(stayed.count() < 10);
        let mut sorted = new.data().to_vec();
        sorted.sort_by(f32::total_cmp);
        assert_eq!(sorted, tensor.data());
    }
}
