use super::{Cost, Operator, Residual, arity, image, shaped, typed};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// x + scale * n with n standard normal, drawn by counter.
///
/// Inputs: x `[1 or N, C, H, W]`; samples, u32 `[N, 2]`, the low and high word
/// of each image's sample number; key, u32 `[2]`, of the seed; scale `[1]`.
/// Output: `[N, C, H, W]`. Element e of sample s is normal number e of the
/// Philox stream (key, `stream`, s), see [`limpid_tensor::philox`]: it depends
/// on no other image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaussianNoise {
    /// Which of the independent streams of a seed.
    pub stream: u32,
}

impl Operator for GaussianNoise {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "4", |n| n == 4)?;
        let [batch, c, h, w] = image(inputs, 0)?;
        typed(inputs, 1, limpid_tensor::DType::U32)?;
        typed(inputs, 2, limpid_tensor::DType::U32)?;
        typed(inputs, 3, limpid_tensor::DType::F32)?;
        let samples = &inputs[1].shape;
        shaped(inputs, 1, "[N, 2]", samples.len() == 2 && samples[1] == 2)?;
        shaped(inputs, 2, "[2]", *inputs[2].shape == [2])?;
        shaped(inputs, 3, "[1]", *inputs[3].shape == [1])?;
        let n = samples[0];
        let fits = batch == 1 || batch == n;
        shaped(inputs, 0, format!("of 1 or {n} images"), fits)?;
        Ok(vec![Fact::f32([n, c, h, w])])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let (x, samples, key, scale) = (inputs[0], inputs[1], inputs[2], inputs[3].data[0]);
        let n = samples.shape[0];
        let image = x.data.len() / x.shape[0];
        let word = |v: f64| v as u32;
        let key = [word(key.data[0]), word(key.data[1])];
        let mut shape = x.shape.to_vec();
        shape[0] = n;
        vec![RefTensor::from_fn(shape, |i| {
            let (sample, element) = (i / image, i % image);
            let counter = [0, 1].map(|j| word(samples.data[sample * 2 + j]));
            let normal = limpid_tensor::philox::normal4(key, self.stream, counter, (element / 4) as u32);
            x.data[i % x.data.len()] + scale * normal[element % 4]
        })]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::None
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        if input != 0 {
            return Err(cx.no_gradient(input));
        }
        let g = cx.cotangent(0)?;
        cx.sum_to_input(g, 0)
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 40)
    }

    fn internal() -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        [([1, 3, 7, 5], 3), ([2, 3, 8, 8], 2), ([1, 17, 3, 3], 1)]
            .into_iter()
            .map(|(x, n)| {
                let inputs = vec![
                    CaseInput::variable(&x),
                    CaseInput::words(&[n, 2]),
                    CaseInput::words(&[2]),
                    CaseInput::fixed(&[1]),
                ];
                Case::new(format!("gaussian noise {x:?} {n}"), Self { stream: 5 }, inputs)
            })
            .collect()
    }
}
