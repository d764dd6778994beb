//! Sums and largest elements: of lines (`softmax.wgsl` and its like) and over
//! any axes (`reduce_sum.wgsl`).

use crate::kernel::{Dispatch, Kernel, Profile, Signature, Slot};
use crate::weights::Weights;
use limpid_graph::ops::Normalize;

/// The most lanes of a line: a workgroup has as many invocations at least.
const LANES: usize = 128;

/// The lanes that share a line of `length` elements, some of which each of them
/// has. They set the order of the sum, so nothing else is asked for.
fn lanes(length: usize) -> usize {
    length.div_ceil(4).next_power_of_two().min(LANES)
}

/// A launch of a kernel that includes `shared/reduce.wgsl`: for each of `lines`
/// results `lanes` invocations, `step` apart.
pub(super) fn reducing(
    file: &'static str,
    lines: usize,
    lanes: usize,
    neighbours: bool,
    profile: &Profile,
) -> Dispatch {
    let invocations = profile.tuning.invocations;
    let step = if neighbours { 1 } else { invocations / lanes };
    let near = match profile.lanes {
        1 => "far",
        _ => "subgroupShuffleXor",
    };
    Dispatch::new(file)
        .choose("NEAR", near)
        .constant("INVOCATIONS", invocations as u32)
        .constant("LANES", lanes as u32)
        .constant("STEP", step as u32)
        .constant("WIDTH", profile.lanes as u32)
        .over(lines, invocations / lanes)
}

/// The kernel of an operator on the lines of the last axis: `file` reads the
/// inputs and writes the outputs, each under a name of its own.
fn on_lines(
    name: &'static str,
    file: &'static str,
    s: &Signature<'_>,
    profile: &Profile,
    [reads, writes]: [&[&str]; 2],
    epsilon: Option<f64>,
) -> Kernel {
    let shape = s.shape(0);
    let length = shape.last().copied().unwrap_or(1);
    let lines = shape.iter().product::<usize>() / length.max(1);
    let dispatch = reducing(file, lines, lanes(length), true, profile);
    let stored = reads
        .iter()
        .zip(&s.reads)
        .chain(writes.iter().zip(&s.writes));
    let mut dispatch = stored.fold(dispatch, |d, (name, stored)| d.choose(name, stored.wgsl()));
    dispatch.slots.extend((0..reads.len()).map(Slot::Input));
    dispatch.slots.extend((0..writes.len()).map(Slot::Output));
    dispatch.work = 8 * (lines * length) as u64;
    // A line is read three times at most.
    dispatch.rounds = 3 * length.div_ceil(lanes(length)) as u64;
    let dispatch = dispatch
        .params([lines, length])
        .floats(epsilon.map(|e| e as f32));
    Kernel::new(name, [dispatch])
}

pub(crate) fn softmax(s: &Signature<'_>, profile: &Profile) -> Kernel {
    on_lines("softmax", "softmax", s, profile, [&["X"], &["Y"]], None)
}

pub(crate) fn softmax_gradient(s: &Signature<'_>, profile: &Profile) -> Kernel {
    let names: [&[&str]; 2] = [&["X", "G"], &["Y"]];
    on_lines(
        "softmax gradient",
        "softmax_gradient",
        s,
        profile,
        names,
        None,
    )
}

pub(crate) fn normalize(op: &Normalize, s: &Signature<'_>, profile: &Profile) -> Kernel {
    let names: [&[&str]; 2] = [&["X"], &["Y", "ROOT"]];
    on_lines(
        "normalize",
        "normalize",
        s,
        profile,
        names,
        Some(op.epsilon),
    )
}

pub(crate) fn normalize_gradient(s: &Signature<'_>, profile: &Profile) -> Kernel {
    let names: [&[&str]; 2] = [&["X", "ROOT", "G"], &["Y"]];
    on_lines(
        "normalize gradient",
        "normalize_gradient",
        s,
        profile,
        names,
        None,
    )
}

/// Neighbouring axes of one kind as one: extents, and whether they are kept.
fn merge(axes: impl IntoIterator<Item = (usize, bool)>) -> Vec<(usize, bool)> {
    let mut merged: Vec<(usize, bool)> = Vec::new();
    for (extent, kept) in axes.into_iter().filter(|a| a.0 != 1) {
        match merged.last_mut() {
            Some(last) if last.1 == kept => last.0 *= extent,
            _ => merged.push((extent, kept)),
        }
    }
    merged
}

/// A reduction of the input over `axes`, with a factor for the result.
fn over_axes(
    name: &'static str,
    axes: &[usize],
    [nothing, factor]: [f32; 2],
    s: &Signature<'_>,
    profile: &Profile,
) -> Kernel {
    let shape = s.shape(0).iter().enumerate();
    let merged = merge(shape.map(|(i, extent)| (*extent, !axes.contains(&i))));
    // Of the kept and of the reduced axes: extents and distances, from the innermost on.
    let mut tables = [Vec::new(), Vec::new()];
    let mut distance = 1;
    for (extent, kept) in merged.iter().rev() {
        tables[usize::from(!kept)].push([*extent, distance]);
        distance *= extent;
    }
    let count = |table: &[[usize; 2]]| table.iter().map(|a| a[0]).product::<usize>();
    let [elements, length] = [&tables[0], &tables[1]].map(|t| count(t));
    for table in &mut tables {
        if table.is_empty() {
            table.push([1, 0]);
        }
    }
    let [kept, all] = [tables[0].len(), tables[0].len() + tables[1].len()];
    // Lines of the result are wide where the innermost axis is kept; then lanes
    // are only for long sums, and many for sums of thousands.
    let neighbours = merged.last().is_none_or(|axis| !axis.1);
    let lanes = match neighbours {
        true => lanes(length),
        false => {
            let few = (length / 32).max(1).next_power_of_two().min(8);
            few.max((length >> 12).next_power_of_two()).min(LANES)
        }
    };
    let words = tables.concat().concat();
    let words = words.into_iter().map(|v| v as u32).collect();
    let mut dispatch = reducing("reduce_sum", elements, lanes, neighbours, profile)
        .choose("X", s.reads[0].wgsl())
        .choose("Y", s.writes[0].wgsl())
        .switch("LARGEST", nothing != 0.0)
        .params([elements, length, kept, all])
        .floats([nothing, factor])
        .bind(Slot::Weights(Weights::table(words)))
        .bind(Slot::Input(0))
        .bind(Slot::Output(0));
    dispatch.work = (elements * length) as u64;
    dispatch.rounds = (length.div_ceil(lanes) * tables[1].len()) as u64 + kept as u64;
    Kernel::new(name, [dispatch])
}

pub(crate) fn sum(axes: &[usize], s: &Signature<'_>, profile: &Profile) -> Kernel {
    over_axes("sum", axes, [0.0, 1.0], s, profile)
}

pub(crate) fn largest(axes: &[usize], s: &Signature<'_>, profile: &Profile) -> Kernel {
    over_axes("largest", axes, [f32::NEG_INFINITY, 1.0], s, profile)
}

/// The mean of each plane.
pub(crate) fn global_average_pool(s: &Signature<'_>, profile: &Profile) -> Kernel {
    let axes: Vec<usize> = (2..s.shape(0).len()).collect();
    let plane: usize = s.shape(0)[2..].iter().product();
    let factor = (1.0 / plane as f64) as f32;
    over_axes("plane mean", &axes, [0.0, factor], s, profile)
}
