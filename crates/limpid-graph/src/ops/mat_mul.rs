use super::{Cost, Gemm, Operator, Residual, arity, count, shaped, typed};
use crate::case::{Case, CaseInput};
use crate::passes::{LowerContext, VjpContext};
use crate::reference::{RefTensor, broadcast_strides};
use crate::{Fact, GraphError, OpError, ValueId};
use limpid_tensor::{DType, Shape};
use serde::{Deserialize, Serialize};

/// The matrix product of the last two axes; the axes before them are broadcast,
/// as `numpy.matmul` does.
///
/// Inputs: a `[..., M, K]` (`[..., K, M]` with `trans_a`), b `[..., K, N]`
/// (`[..., N, K]` with `trans_b`). Output: `[..., M, N]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MatMul {
    /// Whether a is given transposed.
    pub trans_a: bool,
    /// Whether b is given transposed.
    pub trans_b: bool,
}

/// The extents of a product.
struct Product {
    /// The output's leading axes.
    batch: Shape,
    m: usize,
    k: usize,
    n: usize,
}

impl MatMul {
    fn product(&self, inputs: &[&Fact]) -> Result<Product, OpError> {
        let [a, b] = [0, 1].map(|i| &inputs[i].shape);
        for (i, shape) in [a, b].into_iter().enumerate() {
            shaped(inputs, i, "of rank 2 or more", shape.len() >= 2)?;
        }
        let ((lead_a, a), (lead_b, b)) = (a.split_at(a.len() - 2), b.split_at(b.len() - 2));
        let (m, k) = if self.trans_a {
            (a[1], a[0])
        } else {
            (a[0], a[1])
        };
        let (rows, n) = if self.trans_b {
            (b[1], b[0])
        } else {
            (b[0], b[1])
        };
        let expected = if self.trans_b {
            format!("[..., N, {k}]")
        } else {
            format!("[..., {k}, N]")
        };
        shaped(inputs, 1, expected, rows == k)?;
        let lead = Shape::from(lead_a);
        let batch = lead.broadcast(&lead_b.into());
        let expected = format!("broadcastable with {lead} on the axes before the last two");
        shaped(inputs, 1, expected, batch.is_some())?;
        let batch = batch.unwrap_or_default();
        Ok(Product { batch, m, k, n })
    }
}

impl Operator for MatMul {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "2", |n| n == 2)?;
        typed(inputs, 0, DType::F32)?;
        typed(inputs, 1, DType::F32)?;
        let Product { batch, m, n, .. } = self.product(inputs)?;
        Ok(vec![Fact::f32([&batch[..], &[m, n]].concat())])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let (a, b) = (inputs[0], inputs[1]);
        let facts = [Fact::f32(&a.shape), Fact::f32(&b.shape)];
        let Product { batch, m, k, n } = self
            .product(&[&facts[0], &facts[1]])
            .expect("accepted before");
        let lead = |t: &RefTensor| broadcast_strides(&t.shape[..t.shape.len() - 2].into(), &batch);
        let (lead_a, lead_b) = (lead(a), lead(b));
        let matrix = |index: &[usize], strides: &[usize]| -> usize {
            index.iter().zip(strides).map(|(i, s)| i * s).sum()
        };
        vec![RefTensor::from_index(
            [&batch[..], &[m, n]].concat(),
            |index| {
                let (outer, inner) = index.split_at(batch.len());
                let (row, column) = (inner[0], inner[1]);
                let a = &a.data[matrix(outer, &lead_a) * m * k..][..m * k];
                let b = &b.data[matrix(outer, &lead_b) * k * n..][..k * n];
                let term = |j: usize| {
                    let left = if self.trans_a {
                        j * m + row
                    } else {
                        row * k + j
                    };
                    let right = if self.trans_b {
                        column * k + j
                    } else {
                        j * n + column
                    };
                    a[left] * b[right]
                };
                (0..k).map(term).sum()
            },
        )]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::Value
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        let g = cx.cotangent(0)?;
        let other = cx.value(1 - input)?;
        let Self { trans_a, trans_b } = *self;
        let (operands, trans_a, trans_b) = match (input, trans_a, trans_b) {
            (0, false, _) => ([g, other], false, !trans_b),
            (0, true, _) => ([other, g], trans_b, true),
            (_, _, false) => ([other, g], !trans_a, false),
            (_, _, true) => ([g, other], true, trans_a),
        };
        let product = cx.push(Self { trans_a, trans_b }, &operands)?;
        cx.sum_to_input(product, input)
    }

    /// With a constant matrix on the right it is a fully connected layer.
    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let (a, b) = (cx.input(0), cx.input(1));
        let weight = cx.is_constant(b) && cx.dims(b).len() == 2;
        if self.trans_a || !weight || cx.is_constant(a) {
            return Ok(None);
        }
        let gemm = Gemm {
            trans_b: self.trans_b,
            ..Gemm::default()
        };
        Ok(Some(vec![cx.push(gemm, &[a, b])?]))
    }

    fn cost(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        let a = &inputs[0].shape;
        let k = a[a.len() - if self.trans_a { 2 } else { 1 }];
        Cost::multiply_adds(count(&outputs[0].shape).saturating_mul(k as u64))
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        // (leading axes of a, of b, M, K, N)
        type Row = (&'static [usize], &'static [usize], [usize; 3]);
        let rows: [Row; 9] = [
            (&[], &[], [1, 1, 1]),
            (&[], &[], [7, 33, 65]),
            (&[2, 3], &[2, 3], [7, 31, 7]),
            (&[2, 3], &[2, 3], [49, 32, 49]),
            (&[1, 2], &[1, 2], [65, 17, 33]),
            (&[3], &[], [5, 7, 9]),
            (&[], &[2], [17, 16, 3]),
            (&[2, 1], &[3], [5, 4, 6]),
            (&[2, 1, 2], &[1, 3, 1], [3, 5, 1]),
        ];
        let mut cases = Vec::new();
        for (lead_a, lead_b, [m, k, n]) in rows {
            for (trans_a, trans_b) in [(false, false), (false, true), (true, false), (true, true)] {
                let a = [lead_a, &if trans_a { [k, m] } else { [m, k] }].concat();
                let b = [lead_b, &if trans_b { [n, k] } else { [k, n] }].concat();
                let op = Self { trans_a, trans_b };
                let name = format!("matmul {a:?} {b:?} trans {trans_a} {trans_b}");
                let random = vec![CaseInput::variable(&a), CaseInput::variable(&b)];
                let exact = vec![
                    CaseInput::integers(&a, -4, 4),
                    CaseInput::integers(&b, -4, 4),
                ];
                cases.push(Case::new(&name, op, random));
                cases.push(Case::new(format!("{name} exact"), op, exact));
            }
        }
        let weight = vec![
            CaseInput::variable(&[2, 7, 17]),
            CaseInput::constant(&[17, 33]),
        ];
        cases.push(Case::new("matmul weight", Self::default(), weight));
        let on_the_left = vec![
            CaseInput::constant(&[9, 7]),
            CaseInput::variable(&[2, 7, 17]),
        ];
        cases.push(Case::new(
            "matmul weight on the left",
            Self::default(),
            on_the_left,
        ));
        cases
    }
}
