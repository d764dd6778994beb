//! Products of computed matrices.

use super::product::{Left, Product, Then};
use super::{Context, Kernel};
use crate::layout::Precision;
use crate::operands::Operands;
use crate::select::Signature;
use limpid_device::DeviceError;
use limpid_graph::ops::MatMul;
use limpid_graph::reference::broadcast_strides;
use limpid_tensor::Shape;

/// Rows of a task where there are few matrices.
const ROWS: usize = 192;

/// a * b, matrix by matrix.
pub(crate) struct MatMulKernel {
    product: Product,
    /// The matrices of a and b that each matrix of the result is made of.
    pairs: Vec<[usize; 2]>,
    rows: usize,
    trans_a: bool,
}

impl MatMulKernel {
    /// The kernel of a product.
    pub(crate) fn new(op: MatMul, s: &Signature<'_>, vectors: usize) -> Self {
        let lead = |shape: &Shape| Shape::from(&shape[..shape.len() - 2]);
        let (a, out) = (s.shape(0), s.output());
        let [rows, columns] = [out[out.len() - 2], out[out.len() - 1]];
        let depth = a[a.len() - if op.trans_a { 2 } else { 1 }];
        let batch = lead(out);
        let strides = [0, 1].map(|i| broadcast_strides(&lead(s.shape(i)), &batch));
        let count = batch.iter().product::<usize>();
        let place = |strides: &[usize], i: usize| {
            let (mut rest, mut at) = (i, 0);
            for (extent, stride) in batch.iter().zip(strides).rev() {
                at += rest % extent * stride;
                rest /= extent;
            }
            at
        };
        let pairs = (0..count).map(|i| [0, 1].map(|k| place(&strides[k], i)));
        Self {
            product: Product::new(depth, columns, op.trans_b, vectors, Precision::F32),
            pairs: pairs.collect(),
            rows,
            trans_a: op.trans_a,
        }
    }
}

impl Kernel for MatMulKernel {
    fn name(&self) -> &'static str {
        "products"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let (a, b) = (io.input::<f32>(0), io.input::<f32>(1));
        let Product { spec, tiles, .. } = &self.product;
        let (rows, depth, columns) = (self.rows, spec.inputs, spec.outputs);
        let part = if self.pairs.len() >= 4 * cx.pool.count() {
            rows
        } else {
            rows.min(ROWS)
        };
        let out = &mut io.output()[..self.pairs.len() * rows * columns];
        let matrices = out.chunks_mut(rows * columns).zip(&self.pairs);
        let parts = matrices.flat_map(|(out, pair)| {
            let parts = out.chunks_mut(part * columns).enumerate();
            parts.map(move |(i, out)| (*pair, i * part, out))
        });
        cx.pool.each(parts.collect(), |([i, j], first, out)| {
            let (mut pack, mut work) = (vec![0.0; self.product.packed], Vec::new());
            let right = &b[j * depth * columns..][..depth * columns];
            spec.pack_matrix(tiles, right, &mut pack);
            let (row, column) = if self.trans_a { (1, rows) } else { (depth, 1) };
            let left = Left {
                data: &a[i * rows * depth..][..rows * depth],
                start: first * row,
                row,
                column,
                rows: out.len() / columns,
            };
            let (then, to) = (Then::default(), (out, columns));
            self.product
                .rows(cx.backend, left, &pack, then, to, &mut [], &mut work);
        });
        Ok(())
    }
}
