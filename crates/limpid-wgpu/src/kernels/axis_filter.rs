use crate::kernel::{Dispatch, Kernel, Signature, Slot};
use crate::weights::Weights;
use limpid_graph::ops::AxisFilter;

/// A linear map along one axis.
pub(crate) fn axis_filter(op: &AxisFilter, s: &Signature<'_>) -> Kernel {
    let matrix = &op.matrix;
    let inner: usize = s.shape(0)[op.axis + 1..].iter().product();
    let elements: usize = s.output().iter().product();
    let (mut starts, mut entries) = (vec![0], Vec::new());
    for row in 0..matrix.rows() {
        let row = matrix.row(row).iter();
        entries.extend(row.flat_map(|(column, weight)| [*column as u32, weight.to_bits()]));
        starts.push(entries.len() as u32 / 2);
    }
    // A matrix without entries has a buffer, too.
    if entries.is_empty() {
        entries.extend([0, 0]);
    }
    let per_row = matrix.entries().div_ceil(matrix.rows().max(1)) as u64;
    let mut dispatch = Dispatch::new("axis_filter")
        .choose("X", s.reads[0].wgsl())
        .choose("Y", s.writes[0].wgsl())
        .params([elements, matrix.rows(), matrix.columns(), inner])
        .bind(Slot::Weights(Weights::table(starts)))
        .bind(Slot::Weights(Weights::table(entries)))
        .bind(Slot::Input(0))
        .bind(Slot::Output(0))
        .each(elements);
    dispatch.work *= 2 * per_row.max(1);
    let longest = (0..matrix.rows()).map(|r| matrix.row(r).len()).max();
    dispatch.rounds = longest.unwrap_or(0) as u64;
    Kernel::new("axis filter", [dispatch])
}
