//! Convolutions one after the other, a few rows at a time: what is between
//! them stays in a core's cache.
//!
//! A task is some rows of the last one's output. It goes down the image in
//! strips; of what the strip before has left, the rows that are read again are
//! kept, so that only a task's first rows are computed twice. Each row is
//! computed by the same kernels in the same order as if it were alone.

use super::conv::ConvKernel;
use super::window::{Band, Terms, View};
use super::{Context, Kernel};
use crate::operands::{Operands, Workspace};
use crate::simd::LANES;
use bytemuck::Pod;
use limpid_device::DeviceError;
use std::ops::Range;

/// Floats between the convolutions that a strip may have: three quarters of a
/// second-level cache of a mebibyte. Half of it costs 2 % of a network's time,
/// a quarter 4 %, an eighth 17 %.
const BUDGET: usize = 3 << 16;

/// Tasks that each thread should have, so that all end together.
const TASKS: usize = 4;

/// Rows of the result that a task has at least, where there are threads enough
/// without smaller ones.
const TASK_ROWS: usize = 14;

/// Convolutions of which each reads what the one before it has made.
pub(crate) struct Chain {
    links: Vec<ConvKernel>,
    /// The inputs and outputs of each.
    operands: Vec<[usize; 2]>,
    /// Rows of the result in a strip.
    rows: usize,
    /// Rows that each link but the last has in memory.
    room: Vec<usize>,
}

/// The rows of a link's output in one strip.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rows {
    /// The first that is still read; before `new` are those kept.
    first: usize,
    new: Range<usize>,
}

impl Chain {
    /// The chain of these kernels, which have so many inputs and outputs each;
    /// `None` where one cannot be computed by rows.
    pub(crate) fn new(links: Vec<ConvKernel>, operands: Vec<[usize; 2]>) -> Option<Self> {
        if links.iter().any(|link| link.reach().is_none()) {
            return None;
        }
        let height = links.last()?.planes()[1];
        let mut chain = Self {
            links,
            operands,
            rows: 0,
            room: Vec::new(),
        };
        for strips in 1..=height.max(1) {
            chain.rows = height.div_ceil(strips);
            chain.room = vec![0; chain.links.len() - 1];
            chain.make_room(0..height);
            if chain.size() <= BUDGET {
                break;
            }
        }
        // A task may begin at any row.
        for first in 1..height {
            chain.make_room(first..height.min(first + chain.rows));
        }
        Some(chain)
    }

    /// Makes room for all strips of some rows of the result.
    fn make_room(&mut self, part: Range<usize>) {
        for strip in self.strips(part) {
            for (room, rows) in self.room.iter_mut().zip(&strip) {
                *room = (*room).max(rows.new.end - rows.first);
            }
        }
    }

    /// The strips of some rows of the result: of each the rows of every link.
    fn strips(&self, part: Range<usize>) -> Vec<Vec<Rows>> {
        let last = self.links.len() - 1;
        let mut strips: Vec<Vec<Rows>> = Vec::new();
        for start in part.clone().step_by(self.rows.max(1)) {
            let mut wanted = start..(start + self.rows).min(part.end);
            let bottom = wanted.end == self.links[last].planes()[1];
            let mut strip = Vec::with_capacity(self.links.len());
            for (i, link) in self.links.iter().enumerate().rev() {
                let before = strips.last().map(|strip| &strip[i]);
                if wanted.is_empty() {
                    // What there is stays.
                    let first = before.map_or(0, |rows| rows.first);
                    wanted = first..first;
                }
                if bottom {
                    // Rows that nobody reads have masks, too.
                    wanted.end = link.planes()[1];
                }
                let begin = before.map_or(wanted.start, |rows| rows.new.end);
                let rows = Rows {
                    first: wanted.start.min(begin),
                    new: begin..wanted.end.max(begin),
                };
                wanted = match link.reach() {
                    Some(reach) if !rows.new.is_empty() => reach.needs(&rows.new),
                    _ => 0..0,
                };
                strip.push(rows);
            }
            strip.reverse();
            strips.push(strip);
        }
        strips
    }

    /// The rows of the result that each task of an image computes.
    fn parts(&self, images: usize, threads: usize) -> Vec<Range<usize>> {
        let height = self.links[self.links.len() - 1].planes()[1];
        let least = threads.div_ceil(images);
        let many = (TASKS * threads).div_ceil(images);
        let count = many.min(least.max(height / TASK_ROWS)).clamp(1, height);
        let bound = |part| part * height / count;
        (0..count).map(|p| bound(p)..bound(p + 1)).collect()
    }

    /// Floats of a plane that a link has in memory.
    fn block(&self, link: usize) -> usize {
        self.room[link] * self.links[link].planes()[2]
    }

    /// Floats between the links in one strip.
    fn size(&self) -> usize {
        let links = 0..self.room.len();
        links
            .map(|i| self.links[i].planes()[0] * self.block(i))
            .sum()
    }
}

impl Kernel for Chain {
    fn name(&self) -> &'static str {
        "chain"
    }

    fn workspace(&self, threads: usize) -> usize {
        threads * self.size()
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let workspace = std::mem::take(&mut io.workspace);
        let mut outputs = std::mem::take(&mut io.outputs).into_iter();
        let images = self.links[0].images();
        if images == 0 {
            return Ok(());
        }
        let parts = self.parts(images, cx.pool.count());
        let parts: Vec<_> = parts.into_iter().map(|rows| self.strips(rows)).collect();
        let mut tasks: Vec<Task<'_>> = Vec::with_capacity(images * parts.len());
        for image in 0..images {
            tasks.extend((0..parts.len()).map(|part| Task {
                image,
                part,
                outs: Vec::new(),
                masks: Vec::new(),
            }));
        }
        let (mut inputs, mut terms) = (&io.inputs[..], Vec::new());
        for (i, (link, [ins, outs])) in self.links.iter().zip(&self.operands).enumerate() {
            let (own, others) = inputs.split_at(*ins);
            inputs = others;
            let own = Operands {
                inputs: own.to_vec(),
                outputs: Vec::new(),
                workspace: Workspace::default(),
            };
            let own = link.bound_terms(&own, cx);
            terms.push(own.ok_or(DeviceError::Foreign("the plan"))?);
            let begins: Vec<usize> = parts.iter().map(|p| p[0][i].new.start).collect();
            let [planes, height, row] = link.planes();
            let mut outputs = outputs.by_ref().take(*outs);
            let out: &mut [f32] = numbers(outputs.next());
            let dealt = deal(out, [planes, height, row], &begins);
            for (task, outs) in tasks.iter_mut().zip(dealt) {
                task.outs = outs;
            }
            let masks = numbers(outputs.next());
            let mut dealt = deal(masks, [planes, height, row / LANES], &begins).into_iter();
            for task in &mut tasks {
                task.masks.push(dealt.next().unwrap_or_default());
            }
        }
        let pieces = workspace.split(cx.pool.count(), self.size());
        let input = io.input(0);
        cx.pool.each(tasks, |task| {
            pieces.with(|memory| self.part(input, &terms, &parts[task.part], task, memory));
        });
        Ok(())
    }
}

/// Some rows of the result of one image.
struct Task<'a> {
    image: usize,
    part: usize,
    /// A piece of each plane of the result.
    outs: Vec<&'a mut [f32]>,
    /// Of each link the pieces of its mask's planes, if it has one.
    masks: Vec<Vec<&'a mut [u16]>>,
}

/// An output, where there is one.
fn numbers<T: Pod>(output: Option<&mut [u8]>) -> &mut [T] {
    let output = output.filter(|bytes| !bytes.is_empty());
    output.map_or(&mut [], bytemuck::cast_slice_mut)
}

/// Deals out the planes of an output: of each image and part of it, whose
/// parts begin at these rows, a piece of every plane.
fn deal<'a, T>(
    mut data: &'a mut [T],
    [planes, height, row]: [usize; 3],
    begins: &[usize],
) -> Vec<Vec<&'a mut [T]>> {
    let parts = begins.len();
    let ends = begins[1..].iter().chain([&height]);
    let rows: Vec<usize> = begins
        .iter()
        .zip(ends)
        .map(|(begin, end)| end - begin)
        .collect();
    let images = data.len() / (planes * height * row).max(1);
    let mut dealt: Vec<Vec<&mut [T]>> = Vec::new();
    dealt.resize_with(images * parts, || Vec::with_capacity(planes));
    for plane in 0..images * planes {
        for (part, rows) in rows.iter().enumerate() {
            let (piece, rest) = data.split_at_mut(rows * row);
            data = rest;
            dealt[plane / planes * parts + part].push(piece);
        }
    }
    dealt
}

impl Chain {
    /// Computes a task, strip by strip.
    fn part(
        &self,
        input: &[f32],
        terms: &[Terms<'_, f32>],
        strips: &[Vec<Rows>],
        mut task: Task<'_>,
        memory: &mut [f32],
    ) {
        let begins: Vec<usize> = strips[0].iter().map(|rows| rows.new.start).collect();
        let (mut between, mut rest) = (Vec::with_capacity(self.room.len()), memory);
        for i in 0..self.room.len() {
            let (own, others) = rest.split_at_mut(self.links[i].planes()[0] * self.block(i));
            rest = others;
            between.push(own);
        }
        // The row that each link's memory begins with.
        let mut firsts = begins.clone();
        for (i, rows) in strips.iter().flat_map(|strip| strip.iter().enumerate()) {
            let link = &self.links[i];
            let row = link.planes()[2];
            let (before, own) = between.split_at_mut(i);
            let view = match before.last() {
                Some(data) => View {
                    data,
                    first: firsts[i - 1],
                    block: self.block(i - 1),
                },
                None => link.view(input, task.image),
            };
            let outs: Vec<&mut [f32]> = match own.first_mut() {
                Some(own) => {
                    let [kept, new, end] = [rows.first, rows.new.start, rows.new.end];
                    let from = (kept - firsts[i]) * row..(new - firsts[i]) * row;
                    firsts[i] = kept;
                    let planes = own.chunks_exact_mut(self.block(i));
                    let planes = planes.map(|plane| {
                        plane.copy_within(from.clone(), 0);
                        &mut plane[(new - kept) * row..(end - kept) * row]
                    });
                    planes.collect()
                }
                None => {
                    let new = (rows.new.start - begins[i]) * row..(rows.new.end - begins[i]) * row;
                    let planes = task.outs.iter_mut();
                    planes.map(|plane| &mut plane[new.clone()]).collect()
                }
            };
            if rows.new.is_empty() {
                continue;
            }
            let masks = &mut task.masks[i];
            if terms[i].finish.mask.is_none() {
                band(
                    link,
                    view,
                    [task.image, rows.new.start],
                    outs,
                    Vec::new(),
                    terms[i],
                );
                continue;
            }
            // The mask of what the next task computes, too, is left to it.
            let words = row / LANES;
            let end = begins[i] + masks[0].len() / words;
            let split = rows.new.end.min(end).max(rows.new.start);
            let at = (split - rows.new.start) * row;
            let parted = outs.into_iter().map(|out| out.split_at_mut(at));
            let (own, others): (Vec<_>, Vec<_>) = parted.unzip();
            let place = (rows.new.start - begins[i]) * words..(split - begins[i]) * words;
            if split > rows.new.start {
                let masks = masks.iter_mut().map(|plane| &mut plane[place.clone()]);
                band(
                    link,
                    view,
                    [task.image, rows.new.start],
                    own,
                    masks.collect(),
                    terms[i],
                );
            }
            if split < rows.new.end {
                let mut terms = terms[i];
                terms.finish.mask = None;
                band(link, view, [task.image, split], others, Vec::new(), terms);
            }
        }
    }
}

/// Computes the rows of an image from `first` on.
fn band<'a>(
    link: &ConvKernel,
    view: View<'_, f32>,
    [image, first]: [usize; 2],
    mut outs: Vec<&'a mut [f32]>,
    mut masks: Vec<&'a mut [u16]>,
    terms: Terms<'_, f32>,
) {
    let band = Band {
        image,
        first,
        outs: &mut outs,
        masks: &mut masks,
    };
    link.band(view, band, terms);
}
