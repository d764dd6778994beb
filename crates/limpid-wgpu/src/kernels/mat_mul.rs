use super::product::{batched_tile, multiplied};
use crate::kernel::{Dispatch, Kernel, Profile, Signature, Slot};
use crate::layout::Stored;
use crate::weights::Weights;
use limpid_graph::ops::MatMul;
use limpid_graph::reference::broadcast_strides;
use limpid_tensor::Shape;

/// A stack of products of computed matrices.
pub(crate) fn mat_mul(op: MatMul, s: &Signature<'_>, profile: &Profile) -> Kernel {
    let [a, b] = [0, 1].map(|i| s.shape(i));
    let out = s.output();
    let (stack, matrix) = out.split_at(out.len() - 2);
    let (rows, columns) = (matrix[0], matrix[1]);
    let depth = a[a.len() - if op.trans_a { 2 } else { 1 }];
    let lead = |shape: &Shape| -> Vec<usize> {
        let (lead, matrix) = shape.split_at(shape.len() - 2);
        let strides = broadcast_strides(&lead.into(), &stack.into());
        strides.iter().map(|s| s * matrix[0] * matrix[1]).collect()
    };
    let (lead_a, lead_b) = (lead(a), lead(b));
    let start = |product: usize| {
        let (mut rest, mut start) = (product, [0, 0]);
        for (axis, extent) in stack.iter().enumerate().rev() {
            start[0] += rest % extent * lead_a[axis];
            start[1] += rest % extent * lead_b[axis];
            rest /= extent;
        }
        start
    };
    let product = Product {
        starts: (0..stack.iter().product()).map(start).collect(),
        extents: [rows, columns],
        depth,
        a: if op.trans_a { [1, rows] } else { [depth, 1] },
        b: if op.trans_b { [depth, 1] } else { [1, columns] },
    };
    let operands = [Slot::Input(0), Slot::Input(1), Slot::Output(0)];
    Kernel::new("product of two", [product.dispatch(profile, operands)])
}

/// A stack of products as `mat_mul.wgsl` computes it.
pub(super) struct Product {
    /// Where each product's matrices begin.
    pub(super) starts: Vec<[usize; 2]>,
    pub(super) extents: [usize; 2],
    pub(super) depth: usize,
    /// The distances of a's rows and depths, and of b's columns and depths.
    pub(super) a: [usize; 2],
    pub(super) b: [usize; 2],
}

impl Product {
    /// The launch on a, b and the result.
    pub(super) fn dispatch(&self, profile: &Profile, operands: [Slot; 3]) -> Dispatch {
        let ([rows, columns], products) = (self.extents, self.starts.len());
        let tile = batched_tile(profile, products, rows, columns);
        let blocks = [rows.div_ceil(tile.rows), columns.div_ceil(tile.columns)];
        let starts = self.starts.iter().flatten().map(|v| *v as u32);
        let mut dispatch = multiplied("mat_mul", profile, tile, Stored::F32)
            .choose("A_BY_DEPTH", self.a[1] == 1)
            .choose("B_BY_DEPTH", self.b[1] == 1)
            .params([rows, columns, blocks[0], blocks[1], self.depth])
            .params(self.a)
            .params(self.b)
            .bind(Slot::Weights(Weights::table(starts.collect())));
        dispatch.slots.extend(operands);
        dispatch.rounds = tile.rounds(self.depth);
        dispatch.groups = (products * blocks[0] * blocks[1]) as u64;
        dispatch.work = 2 * (products * rows * columns) as u64 * self.depth as u64;
        dispatch
    }
}
