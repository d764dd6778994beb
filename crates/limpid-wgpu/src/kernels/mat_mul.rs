use super::product::{tile, tiled};
use crate::kernel::{Kernel, Profile, Signature, Slot};
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
    // Where each product's matrices begin.
    let lead = |shape: &Shape| -> Vec<usize> {
        let (lead, matrix) = shape.split_at(shape.len() - 2);
        let strides = broadcast_strides(&lead.into(), &stack.into());
        strides.iter().map(|s| s * matrix[0] * matrix[1]).collect()
    };
    let (lead_a, lead_b) = (lead(a), lead(b));
    let products: usize = stack.iter().product();
    let mut starts = Vec::with_capacity(2 * products);
    for product in 0..products {
        let (mut rest, mut start) = (product, [0, 0]);
        for (axis, extent) in stack.iter().enumerate().rev() {
            start[0] += rest % extent * lead_a[axis];
            start[1] += rest % extent * lead_b[axis];
            rest /= extent;
        }
        starts.extend(start.map(|v| v as u32));
    }
    // The stack of one image: a tile must not depend on how many there are.
    let of_one = products / stack.first().copied().unwrap_or(1).max(1);
    let tile = tile(profile, of_one.max(1), rows, columns);
    let blocks = [rows.div_ceil(tile.rows), columns.div_ceil(tile.columns)];
    let [a_row, a_depth] = if op.trans_a { [1, rows] } else { [depth, 1] };
    let [b_column, b_depth] = if op.trans_b { [depth, 1] } else { [1, columns] };
    let mut dispatch = tiled("mat_mul", tile)
        .choose("A_BY_DEPTH", !op.trans_a)
        .choose("B_BY_DEPTH", op.trans_b)
        .params([rows, columns, blocks[0], blocks[1], depth])
        .params([a_row, a_depth, b_column, b_depth])
        .bind(Slot::Weights(Weights::table(starts)))
        .bind(Slot::Input(0))
        .bind(Slot::Input(1))
        .bind(Slot::Output(0));
    dispatch.groups = (products * blocks[0] * blocks[1]) as u64;
    dispatch.work = 2 * (products * rows * columns) as u64 * depth as u64;
    Kernel::new("product of two", [dispatch])
}
