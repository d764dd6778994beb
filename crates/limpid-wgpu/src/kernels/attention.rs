use super::reduce::reducing;
use crate::kernel::{Kernel, Profile, Signature, Slot};
use crate::select::unsupported;
use limpid_device::DeviceError;
use limpid_graph::ops::Attention;
use limpid_graph::reference::broadcast_strides;
use limpid_tensor::Shape;

/// Keys of a block, depths of q and k and lines of v at once, as in the kernel.
const KEYS: usize = 32;
const DEPTH: usize = 16;
const VALUES: usize = 8;
/// Lanes that share two queries.
const LANES: usize = 8;
/// The longest line of v: each lane has a part of its sums in registers.
const COLUMNS: usize = 128;

/// Attention whose scores stay in workgroup memory.
///
/// # Errors
/// [`DeviceError::Unsupported`] where lines of v are too long for its registers.
pub(crate) fn attention(
    op: Attention,
    s: &Signature<'_>,
    profile: &Profile,
) -> Result<Kernel, DeviceError> {
    let [images, heads, queries, depth] = [0, 1, 2, 3].map(|i| s.shape(0)[i]);
    let (keys, columns) = (s.shape(1)[2], s.shape(2)[3]);
    if columns > COLUMNS {
        let reason = format!("lines of v have {columns} numbers, and {COLUMNS} fit registers");
        return Err(unsupported(s.op, reason));
    }
    let rows = profile.tuning.invocations / 4;
    let vectors = columns.div_ceil(4 * LANES).max(1);
    let blocks = queries.div_ceil(rows);
    let products = depth.div_ceil(DEPTH) * (1 + DEPTH / 4);
    let values = KEYS / VALUES * (1 + vectors + VALUES / 4 + VALUES * vectors);
    // The rest are exchanges of lanes and what is not in a loop of its own.
    let rounds = keys.div_ceil(KEYS) * (products + values + 32);
    let scores = Shape::from([images, heads, queries, keys]);
    let bias = match s.inputs.get(3) {
        Some(bias) => broadcast_strides(&bias.shape, &scores),
        None => vec![0; 4],
    };
    let lines = images * heads * blocks * rows / 2;
    let mut dispatch = reducing("attention", lines, LANES, true, profile)
        .choose("ROWS", rows)
        .choose("COLUMNS", vectors)
        .switch("BIAS", s.inputs.len() > 3)
        .params([queries, keys, depth, columns, blocks, heads])
        .params(bias)
        .floats([op.factor(depth) as f32])
        .bind(Slot::Input(0))
        .bind(Slot::Input(1))
        .bind(Slot::Input(2))
        .bind(Slot::optional(s.inputs.get(3).map(|_| 3)))
        .bind(Slot::Output(0));
    let scores = (images * heads * queries) as u64 * keys as u64;
    dispatch.work = scores * (2 * (depth + columns) as u64 + 20);
    dispatch.rounds = rounds as u64;
    Ok(Kernel::new("attention", [dispatch]))
}
