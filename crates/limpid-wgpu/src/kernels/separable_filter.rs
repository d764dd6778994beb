use super::product::tiled;
use crate::kernel::{Dispatch, Kernel, Profile, Signature, Slot};
use crate::layout::Stored;
use limpid_graph::ops::SeparableFilter;

/// R x C^T, and dR x C^T + R x dC^T where somebody reads it: x C^T and x dC^T
/// lie in working memory, transposed.
pub(crate) fn separable_filter(
    op: &SeparableFilter,
    s: &Signature<'_>,
    profile: &Profile,
) -> Kernel {
    let [images, channels, h, w] = [0, 1, 2, 3].map(|i| s.output()[i]);
    let bytes = s.output().iter().product::<usize>() * 4;
    let next = bytes.next_multiple_of(256);
    let half_way = [0, next].map(|start| Slot::Workspace(start..start + bytes));
    let tile = profile.tuning.small;
    let step = |matrices: [usize; 2],
                from: &[Slot],
                to: Slot,
                stored: [Stored; 2],
                [lines, points]: [usize; 2],
                images_in: usize|
     -> Dispatch {
        let columns = channels * lines;
        let blocks = [points.div_ceil(tile.rows), columns.div_ceil(tile.columns)];
        let mut dispatch = tiled("separable_filter", tile)
            .choose("A_BY_DEPTH", !op.transpose)
            .choose("X", stored[0].wgsl())
            .choose("Y", stored[1].wgsl())
            .switch("TWO", from.len() == 2)
            .params([points, lines, channels])
            .params(blocks)
            .params([images_in]);
        for i in 0..2 {
            let there = from.get(i).cloned();
            let matrix = there.as_ref().map(|_| Slot::Input(matrices[i]));
            dispatch.slots.push(matrix.unwrap_or(Slot::Missing));
            dispatch.slots.push(there.unwrap_or(Slot::Missing));
        }
        let mut dispatch = dispatch.bind(to);
        dispatch.groups = (images * blocks[0] * blocks[1]) as u64;
        dispatch.work = 2 * (images * columns * points) as u64 * (points * from.len()) as u64;
        dispatch.rounds = from.len() as u64 * tile.rounds(points);
        dispatch
    };
    let (x, f32) = (Slot::Input(0), Stored::F32);
    let [plain, slope] = half_way.clone();
    let across = |matrix: usize, to: &Slot| {
        let stored = [s.reads[0], f32];
        step(
            [matrix; 2],
            std::slice::from_ref(&x),
            to.clone(),
            stored,
            [h, w],
            s.shape(0)[0],
        )
    };
    let down = |matrices: [usize; 2], from: &[Slot], output: usize| {
        let stored = [f32, s.writes[output]];
        step(matrices, from, Slot::Output(output), stored, [w, h], images)
    };
    let mut dispatches = vec![across(2, &plain)];
    if s.used[0] {
        dispatches.push(down([1; 2], std::slice::from_ref(&plain), 0));
    }
    if s.used[1] {
        dispatches.push(across(4, &slope));
        dispatches.push(down([3, 1], &[plain, slope], 1));
    }
    Kernel {
        name: "separable products",
        dispatches,
        workspace: 2 * next,
    }
}
