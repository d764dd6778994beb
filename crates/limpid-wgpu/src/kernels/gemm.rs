use super::product::{Finish, Packed, access, batched_tile, multiplied, part, parts};
use crate::gather::{Axis, Gather};
use crate::kernel::{Kernel, Profile, Signature, Slot};
use crate::layout::Stored;
use limpid_graph::ops::Gemm;

/// A fully connected layer: rows of x times a packed matrix. A matrix larger
/// than a binding is read by blocks of columns, a launch for each part.
pub(crate) fn gemm(op: &Gemm, s: &Signature<'_>, profile: &Profile) -> Kernel {
    let own = s.inputs.len() - op.epilogue.inputs();
    let (x, b) = (s.shape(0), s.shape(1));
    let length = x[x.len() - 1];
    let rows: usize = x[..x.len() - 1].iter().product();
    let columns = b[usize::from(!op.trans_b)];
    let tile = batched_tile(profile, 1, rows, columns);
    let depth = length.next_multiple_of(tile.depth);
    let (column, row) = match op.trans_b {
        true => (length, 1),
        false => (1, columns),
    };
    let [blocks, inner] = Axis::blocks(columns, tile.columns, column, 0);
    let gather = Gather {
        offset: 0,
        axes: vec![blocks, Axis::padded(length, depth, row), inner],
    };
    let packed = Packed::new(s, 1, gather, None, 0, Stored::F32);
    let finish = Finish::new(s, op.epilogue, own, true, packed.workspace);
    let (row_blocks, column_blocks) = (rows.div_ceil(tile.rows), columns.div_ceil(tile.columns));
    let block_bytes = (depth * tile.columns * 4) as u64;
    let most = parts(profile, block_bytes);
    let mut dispatches: Vec<_> = packed.launch.into_iter().collect();
    for first in (0..column_blocks).step_by(most) {
        let blocks = most.min(column_blocks - first);
        let bytes = first as u64 * block_bytes..(first + blocks) as u64 * block_bytes;
        let vectors = length.is_multiple_of(4);
        let dispatch = multiplied("gemm", profile, tile, Stored::F32)
            .choose("ROWS", if vectors { "vectors" } else { "scalars" })
            .choose("X", s.reads[0].wgsl())
            .choose("Y", s.writes[0].wgsl())
            .choose("WEIGHTS", access(&packed.slot))
            .switch("BIAS", own == 3)
            .params([
                rows,
                row_blocks,
                columns,
                first * tile.columns,
                length,
                depth,
            ]);
        let mut dispatch = finish
            .bounds(finish.switches(dispatch))
            .bind(part(packed.slot.clone(), bytes))
            .bind(if own == 3 {
                Slot::Input(2)
            } else {
                Slot::Missing
            })
            .bind(Slot::Input(0));
        dispatch.slots.extend(finish.slots());
        dispatch.slots.push(finish.output());
        dispatch.rounds = tile.rounds(depth);
        dispatch.groups = (row_blocks * blocks) as u64;
        dispatch.work = 2 * (rows * length) as u64 * (blocks * tile.columns) as u64;
        dispatches.push(dispatch);
    }
    finish.kernel("product", dispatches, packed.workspace)
}
