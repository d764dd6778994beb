//! What products and convolutions have in common: the choice of a tile, packed
//! weights, and the epilogue.

use super::mask;
use crate::gather::Gather;
use crate::kernel::{Dispatch, Kernel, Profile, Signature, Slot};
use crate::layout::{MaskShape, Stored};
use crate::tuning::Tile;
use crate::weights::{Form, Weights};
use limpid_graph::ops::{Clip, Epilogue};
use std::ops::Range;
use std::sync::Arc;

/// The tile for `products` products of `rows` x `columns`.
pub(crate) fn tile(profile: &Profile, products: usize, rows: usize, columns: usize) -> Tile {
    match rows <= profile.tuning.narrow.rows {
        true => profile.tuning.narrow,
        false => wide_tile(profile, products, rows, columns),
    }
}

/// The tile where rows may grow with the batch, on which it must not depend
/// whether units for matrices multiply: a few rows have none.
pub(crate) fn batched_tile(
    profile: &Profile,
    products: usize,
    rows: usize,
    columns: usize,
) -> Tile {
    match profile.units.iter().any(|u| u.operands == Stored::F32) {
        true => wide_tile(profile, products, rows, columns),
        false => tile(profile, products, rows, columns),
    }
}

/// The tile for more than a few rows.
fn wide_tile(profile: &Profile, products: usize, rows: usize, columns: usize) -> Tile {
    let tuning = &profile.tuning;
    let Tile {
        rows: r,
        columns: c,
        ..
    } = tuning.large;
    let blocks = products * rows.div_ceil(r) * columns.div_ceil(c);
    match blocks < tuning.fill || rows <= tuning.small.rows {
        true => tuning.small,
        false => tuning.large,
    }
}

/// A launch of a kernel that includes `shared/tile.wgsl`.
pub(crate) fn tiled(file: &'static str, tile: Tile) -> Dispatch {
    Dispatch::new(file)
        .choose("BM", tile.rows)
        .choose("BN", tile.columns)
        .choose("BK", tile.depth)
        .choose("TM", tile.per_row)
        .choose("TN", tile.per_column)
}

/// A launch of one that leaves it to the device what multiplies, with operands
/// of this type in workgroup memory.
pub(crate) fn multiplied(
    file: &'static str,
    profile: &Profile,
    tile: Tile,
    operands: Stored,
) -> Dispatch {
    let dispatch = tiled(file, tile).choose("TILE", operands.wgsl());
    let mut units = profile.units.iter();
    match units.find(|u| u.operands == operands && tile.suits(u.size)) {
        None => dispatch,
        Some(units) => dispatch
            .choose("MULTIPLY", "matrices")
            .choose("MATRIX", units.size)
            .choose(
                "UNITS",
                if units.emulated {
                    "emulated"
                } else {
                    "cooperative"
                },
            ),
    }
}

/// A weight in the order in which a kernel reads it: packed on the host where
/// it is a constant, else by a launch of its own.
pub(crate) struct Packed {
    pub(crate) slot: Slot,
    pub(crate) launch: Option<Dispatch>,
    /// Bytes of working memory, from `start` on.
    pub(crate) workspace: usize,
}

impl Packed {
    /// Packs input `input`, times a factor for each `line` of its numbers where
    /// there is one; working memory begins at `start`.
    pub(crate) fn new(
        s: &Signature<'_>,
        input: usize,
        gather: Gather,
        factor: Option<(usize, usize)>,
        start: usize,
        stored: Stored,
    ) -> Self {
        if let Some(weights) = constant(s, input, &gather, factor, Form::Plain(stored)) {
            return Self {
                slot: Slot::Weights(weights),
                launch: None,
                workspace: 0,
            };
        }
        let bytes = gather.elements() * 4;
        let slot = Slot::Workspace(start..start + bytes);
        let factor = factor.map(|(i, line)| (Slot::Input(i), line));
        Self {
            launch: Some(gather.dispatch(Slot::Input(input), factor, slot.clone())),
            slot,
            workspace: bytes.next_multiple_of(256),
        }
    }
}

/// Input `input`, packed on the host, if it is a constant.
pub(crate) fn constant(
    s: &Signature<'_>,
    input: usize,
    gather: &Gather,
    factor: Option<(usize, usize)>,
    form: Form,
) -> Option<Weights> {
    let factor = match factor {
        Some((i, line)) => Some((s.constants[i]?.clone(), line)),
        None => None,
    };
    Some(Weights::Packed {
        constant: s.constants[input]?.clone(),
        gather: Arc::new(gather.clone()),
        factor,
        form,
    })
}

/// An epilogue as launches see it.
pub(crate) struct Finish {
    epilogue: Epilogue,
    /// The operator's own inputs; the epilogue's follow.
    own: usize,
    /// Of what the added input is made.
    added: Stored,
    mask: MaskShape,
    /// Where the kernel stores, and what is done after it.
    output: Slot,
    after: Vec<Dispatch>,
    pub(crate) workspace: usize,
}

impl Finish {
    /// The epilogue of `s`, with `own` inputs before its own; `blocks` tells
    /// whether a block's columns are the bits of a mask's line, from a multiple
    /// of 32 on. Working memory begins at `start`.
    pub(crate) fn new(
        s: &Signature<'_>,
        epilogue: Epilogue,
        own: usize,
        blocks: bool,
        start: usize,
    ) -> Self {
        let mut finish = Self {
            epilogue,
            own,
            added: match epilogue.add {
                true => s.reads[own],
                false => Stored::F32,
            },
            mask: MaskShape::of(s.output()),
            output: Slot::Output(0),
            after: Vec::new(),
            workspace: 0,
        };
        let Some(range) = epilogue.store_mask else {
            return finish;
        };
        // A kernel has one buffer for masks, and stores whole words only.
        if !blocks || epilogue.mask_mul {
            finish.epilogue.store_mask = None;
            let mut source = Slot::Output(0);
            if epilogue.mask_mul {
                let bytes = s.output().iter().product::<usize>() * 4;
                source = Slot::Workspace(start..start + bytes);
                finish.output = source.clone();
                finish.epilogue.mask_mul = false;
                finish.workspace = bytes.next_multiple_of(256);
            }
            finish.after.push(mask::range(
                s,
                source.clone(),
                0,
                range.clip,
                Slot::Output(1),
            ));
            if epilogue.mask_mul {
                let last = Slot::Input(s.inputs.len() - 1);
                finish
                    .after
                    .push(mask::multiply(s, source, last, Slot::Output(0)));
            }
        }
        finish
    }

    /// Sets the switches of `shared/finish.wgsl` and, where it is asked for, that
    /// of `shared/epilogue.wgsl`.
    pub(crate) fn switches(&self, dispatch: Dispatch) -> Dispatch {
        let dispatch = dispatch
            .choose("ADDED", self.added.wgsl())
            .switch("ADD", self.epilogue.add)
            .switch("CLIP", self.epilogue.clip.is_some())
            .switch("MASK_MUL", self.epilogue.mask_mul);
        match self.epilogue.store_mask {
            Some(_) => dispatch.switch("STORE_MASK", true),
            None => dispatch,
        }
    }

    /// Appends a mask's words of a line and the bounds.
    pub(crate) fn bounds(&self, dispatch: Dispatch) -> Dispatch {
        let bounds = |clip: Option<Clip>| {
            let clip = clip.unwrap_or_default();
            [clip.lower(), clip.upper()]
        };
        let range = self.epilogue.store_mask.map(|m| m.clip);
        dispatch
            .params([self.mask.line_words()])
            .floats(bounds(self.epilogue.clip))
            .floats(bounds(range))
    }

    /// The buffer that is added, and that of the mask.
    pub(crate) fn slots(&self) -> [Slot; 2] {
        let input = |on: bool, at: usize| match on {
            true => Slot::Input(at),
            false => Slot::Missing,
        };
        let added = input(self.epilogue.add, self.own);
        let last = self.own + usize::from(self.epilogue.add);
        let mask = match self.epilogue.store_mask {
            Some(_) => Slot::Output(1),
            None => input(self.epilogue.mask_mul, last),
        };
        [added, mask]
    }

    /// Where the kernel stores.
    pub(crate) fn output(&self) -> Slot {
        self.output.clone()
    }

    /// The kernel: these launches and what is done after them.
    pub(crate) fn kernel(
        self,
        name: &'static str,
        dispatches: Vec<Dispatch>,
        workspace: usize,
    ) -> Kernel {
        Kernel {
            name,
            dispatches: dispatches.into_iter().chain(self.after).collect(),
            workspace: workspace + self.workspace,
        }
    }
}

/// What a kernel declares packed weights as.
pub(crate) fn access(weights: &Slot) -> &'static str {
    match weights {
        Slot::Workspace(_) => "read_write",
        _ => "read",
    }
}

/// How many blocks of packed weights, of so many bytes each, a binding holds;
/// bindings begin at multiples of 256 bytes.
pub(crate) fn parts(profile: &Profile, block: u64) -> usize {
    let most = (profile.binding / block.max(1)).max(1);
    let step = (1..=256).find(|n| (n * block).is_multiple_of(256));
    let step = step.unwrap_or(1);
    (most / step * step).max(step) as usize
}

/// The bytes of blocks of packed weights.
pub(crate) fn part(weights: Slot, bytes: Range<u64>) -> Slot {
    match weights {
        Slot::Weights(w) => Slot::Part(w, bytes),
        Slot::Workspace(range) => {
            Slot::Workspace(range.start + bytes.start as usize..range.start + bytes.end as usize)
        }
        other => other,
    }
}
