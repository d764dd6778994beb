use super::{Cost, Elementwise, MatMul, Operator, Softmax, arity, shaped, typed};
use crate::case::{Case, CaseInput};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Expr, Fact, GraphError, OpError, ValueId};
use limpid_tensor::{DType, Shape};
use serde::{Deserialize, Serialize};

/// Scaled dot-product attention: softmax(q k' * `scale` + bias) v (Vaswani et
/// al., 2017).
///
/// Inputs: q `[N, h, T, d]`, k `[N, h, S, d]`, v `[N, h, S, e]`, optionally a
/// bias that broadcasts to `[N, h, T, S]`. Output: `[N, h, T, e]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Attention {
    /// The factor of the scores; 1 / sqrt(d) where it is not given.
    pub scale: Option<f32>,
}

impl Attention {
    /// The factor of the scores of queries and keys of length `d`.
    #[must_use]
    pub fn factor(&self, d: usize) -> f64 {
        self.scale.map_or(1.0 / (d as f64).sqrt(), f64::from)
    }
}

impl Operator for Attention {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "3 or 4", |n| n == 3 || n == 4)?;
        for i in 0..inputs.len() {
            typed(inputs, i, DType::F32)?;
        }
        for i in 0..3 {
            shaped(inputs, i, "of rank 4", inputs[i].shape.len() == 4)?;
        }
        if self.scale.is_some_and(|s| !s.is_finite()) {
            return Err(OpError::Attribute {
                name: "scale",
                expected: "finite",
            });
        }
        let [q, k, v] = [0, 1, 2].map(|i| &inputs[i].shape);
        let expected = format!("[{}, {}, S, {}]", q[0], q[1], q[3]);
        shaped(inputs, 1, expected, k[..2] == q[..2] && k[3] == q[3])?;
        let expected = format!("[{}, {}, {}, e]", q[0], q[1], k[2]);
        shaped(inputs, 2, expected, v[..3] == k[..3])?;
        if let Some(bias) = inputs.get(3) {
            let scores = Shape::from([q[0], q[1], q[2], k[2]]);
            let fits = bias.shape.broadcast(&scores) == Some(scores.clone());
            shaped(inputs, 3, format!("broadcastable to {scores}"), fits)?;
        }
        Ok(vec![Fact::f32([q[0], q[1], q[2], v[3]])])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let (q, k, v) = (inputs[0], inputs[1], inputs[2]);
        let [n, heads, tokens, d] = [0, 1, 2, 3].map(|i| q.shape[i]);
        let (sources, e) = (k.shape[2], v.shape[3]);
        let mut weights = RefTensor::from_index([n, heads, tokens, sources], |at| {
            let term = |j| q.at(&[at[0], at[1], at[2], j]) * k.at(&[at[0], at[1], at[3], j]);
            (0..d).map(term).sum::<f64>() * self.factor(d)
        });
        if let Some(bias) = inputs.get(3) {
            weights = weights.zip(bias, |a, b| a + b);
        }
        for row in weights.data.chunks_mut(sources) {
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = row.iter().map(|s| (s - largest).exp()).sum();
            for s in row {
                *s = (*s - largest).exp() / sum;
            }
        }
        vec![RefTensor::from_index([n, heads, tokens, e], |at| {
            let term = |s| weights.at(&[at[0], at[1], at[2], s]) * v.at(&[at[0], at[1], s, at[3]]);
            (0..sources).map(term).sum()
        })]
    }

    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let [q, k, v] = [0, 1, 2].map(|i| cx.input(i));
        let factor = self.factor(cx.dims(q)[3]);
        let scaled = Elementwise::new(&(Expr::input(0) * factor), 1);
        let q = cx.push(scaled, &[q])?;
        let product = MatMul {
            trans_a: false,
            trans_b: true,
        };
        let mut scores = cx.push(product, &[q, k])?;
        if let Some(&bias) = cx.inputs().get(3) {
            let sum = Elementwise::new(&(Expr::input(0) + Expr::input(1)), 2);
            scores = cx.push(sum, &[scores, bias])?;
        }
        let weights = cx.push(Softmax { axis: 3 }, &[scores])?;
        Ok(Some(vec![cx.push(MatMul::default(), &[weights, v])?]))
    }

    fn cost(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        let out = &outputs[0].shape;
        let [q, k] = [0, 1].map(|i| &inputs[i].shape);
        let scores = [q[0], q[1], q[2], k[2]].into_iter().map(|d| d as u64);
        let scores = scores.fold(1, u64::saturating_mul);
        Cost {
            multiply_adds: scores.saturating_mul(q[3] as u64 + out[3] as u64),
            elementwise: scores.saturating_mul(20),
        }
    }

    fn cases() -> Vec<Case> {
        let case = |name: &str, scale, shapes: &[&[usize]]| {
            let inputs = shapes.iter().map(|s| CaseInput::variable(s)).collect();
            Case::new(format!("attention {name}"), Self { scale }, inputs)
        };
        let (q, k): (&[usize], &[usize]) = (&[2, 3, 7, 8], &[2, 3, 5, 8]);
        let (tokens, window): (&[usize], &[usize]) = (&[2, 3, 17, 16], &[4, 2, 49, 16]);
        vec![
            case("self", None, &[tokens; 3]),
            case("cross", None, &[q, k, &[2, 3, 5, 9]]),
            case("scaled", Some(0.3), &[q, k, k]),
            case("bias", None, &[q, k, k, &[2, 3, 7, 5]]),
            case("shared bias", None, &[q, k, k, &[1, 3, 7, 5]]),
            case("bias of rank 2", None, &[q, k, k, &[7, 5]]),
            case("windows", Some(0.25), &[window; 3]),
            case("long", None, &[&[1, 2, 70, 20], &[1, 2, 67, 20], &[1, 2, 67, 75]]),
        ]
    }
}
