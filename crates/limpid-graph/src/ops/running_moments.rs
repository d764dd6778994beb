use super::{Cost, Operator, Residual, arity, shaped, typed};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// Welford's update of a mean and a sum of squared deviations by N samples, in
/// the order of n (Welford, Technometrics 1962).
///
/// Inputs: mean `[1, ...]`; deviations `[1, ...]`; count `[1]`, how many
/// samples came before; samples `[N, ...]`. Outputs: mean, deviations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunningMoments {}

impl Operator for RunningMoments {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "4", |n| n == 4)?;
        for i in 0..4 {
            typed(inputs, i, limpid_tensor::DType::F32)?;
        }
        let mean = &inputs[0].shape;
        shaped(inputs, 0, "[1, ...]", mean.first() == Some(&1))?;
        shaped(inputs, 1, mean.to_string(), inputs[1].shape == *mean)?;
        shaped(inputs, 2, "[1]", *inputs[2].shape == [1])?;
        let samples = &inputs[3].shape;
        let fits = samples.len() == mean.len() && samples[1..] == mean[1..];
        shaped(inputs, 3, format!("N times {mean}"), fits)?;
        Ok(vec![inputs[0].clone(), inputs[1].clone()])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let (mut mean, mut deviations) = (inputs[0].clone(), inputs[1].clone());
        let size = mean.data.len();
        for (n, sample) in inputs[3].data.chunks(size).enumerate() {
            let count = inputs[2].data[0] + n as f64 + 1.0;
            for (i, v) in sample.iter().enumerate() {
                let before = v - mean.data[i];
                mean.data[i] += before / count;
                deviations.data[i] += before * (v - mean.data[i]);
            }
        }
        vec![mean, deviations]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::None
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        // An accumulator ends a plan; nothing is differentiated through it.
        Err(cx.no_gradient(input))
    }

    fn cost(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Cost {
        Cost::elementwise(inputs[3], 6)
    }

    fn internal() -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        [(1, 0), (4, 0), (3, 5)]
            .into_iter()
            .map(|(n, count)| {
                let inputs = vec![
                    CaseInput::fixed(&[1, 3, 7, 5]),
                    CaseInput::positive(&[1, 3, 7, 5]),
                    CaseInput::integers(&[1], count, count),
                    CaseInput::fixed(&[n, 3, 7, 5]),
                ];
                Case::new(format!("running moments {n} after {count}"), Self {}, inputs)
            })
            .collect()
    }
}
