//! An epilogue as a pass of its own, where the kernel before it could not do
//! it in registers. The arithmetic and its order are the same.

use super::{Context, TASK};
use crate::arch::store::Finish;
use crate::layout::Precision;
use crate::operands::Operands;
use crate::simd::{LANES, Simd, Vectorize};
use limpid_graph::ops::Epilogue;

/// The epilogue of an operator; what it adds is of the precision `added`.
pub(crate) fn of<'a>(epilogue: &Epilogue, io: &Operands<'a>, added: Precision) -> Finish<'a> {
    let count = io.inputs.len();
    let add = || io.numbers(count - epilogue.inputs(), added);
    Finish {
        add: epilogue.add.then(add),
        clip: epilogue.clip.map(|c| (c.lower(), c.upper())),
        mask: epilogue
            .store_mask
            .map(|m| (m.clip.lower(), m.clip.upper())),
        keep: epilogue.mask_mul.then(|| io.input(count - 1)),
    }
}

/// Whether there is nothing to do.
pub(crate) fn is_none(f: &Finish<'_>) -> bool {
    f.add.is_none() && f.clip.is_none() && f.mask.is_none() && f.keep.is_none()
}

/// Applies `finish` to `out`, of which mask words go to `masks`.
pub(crate) fn apply(finish: Finish<'_>, out: &mut [f32], masks: &mut [u16], cx: Context<'_>) {
    if is_none(&finish) {
        return;
    }
    let mut masks = masks.chunks_mut(TASK / LANES);
    let tasks = out.chunks_mut(TASK).enumerate();
    let tasks = tasks.map(|(i, out)| (i * TASK, out, masks.next().unwrap_or_default()));
    cx.pool.each(tasks.collect(), |(at, out, masks)| {
        let part = Finish {
            add: finish.add.map(|a| a.part(at..at + out.len())),
            keep: finish
                .keep
                .map(|k| &k[at / LANES..(at + out.len()) / LANES]),
            ..finish
        };
        cx.backend.vectorize(Apply(part, out, masks));
    });
}

struct Apply<'a, 'b>(Finish<'a>, &'b mut [f32], &'b mut [u16]);

impl Vectorize for Apply<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(finish, out, masks) = self;
        for (i, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let v = vector(s, &finish, s.load(out), i, masks.get_mut(i));
            s.store(v, out);
        }
    }
}

/// A vector finished: `i` is its place in the operands, `mask` where its mask goes.
#[inline(always)]
pub(super) fn vector<S: Simd>(
    s: S,
    finish: &Finish<'_>,
    mut v: S::V,
    i: usize,
    mask: Option<&mut u16>,
) -> S::V {
    if let Some(add) = finish.add {
        v = s.add(v, add.vector(s, i));
    }
    if let Some((low, high)) = finish.clip {
        v = s.min(s.splat(high), s.max(s.splat(low), v));
    }
    if let (Some((low, high)), Some(mask)) = (finish.mask, mask) {
        *mask = s.inside(v, s.splat(low), s.splat(high));
    }
    if let Some(keep) = finish.keep {
        v = s.keep(v, keep[i]);
    }
    v
}
