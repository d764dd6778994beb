//! Channels put together from other channels.

use super::Context;
use crate::arch::number::Number;
use crate::layout::Layout;
use crate::simd::{LANES, Simd, Vectorize};

/// A term of a channel: a factor of some channel of some input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Term {
    pub(super) input: usize,
    pub(super) channel: usize,
    pub(super) weight: f32,
}

/// Images whose channels are sums of such terms.
pub(super) struct Channels {
    inputs: Vec<Layout>,
    output: Layout,
    planes: Vec<Plane>,
}

/// How a plane of the output, a block of channels or one, is made.
enum Plane {
    /// It is a plane of an input, which begins here.
    Copy { input: usize, at: usize },
    /// Lanes with an input, the place of its channel and a factor, lane after lane.
    Sums(Vec<(usize, usize, usize, f32)>),
}

/// The planes of an image of a value that has channels, and the numbers from a
/// pixel to the next.
fn geometry(layout: Layout) -> Option<(usize, usize)> {
    match layout {
        Layout::Blocked([_, c, ..]) => Some((c.div_ceil(LANES), LANES)),
        Layout::Planar([_, c, ..]) => Some((c, 1)),
        Layout::Flat(_) => None,
    }
}

/// Where a channel begins in an image.
fn begin(layout: Layout, channel: usize) -> usize {
    match layout {
        Layout::Blocked(_) => channel / LANES * layout.plane() + channel % LANES,
        _ => channel * layout.plane(),
    }
}

impl Channels {
    /// The images whose channel k is the sum of `terms(k)`; `None` where a
    /// value has no channels.
    pub(super) fn new(
        inputs: &[Layout],
        output: Layout,
        channels: usize,
        terms: impl Fn(usize) -> Vec<Term>,
    ) -> Option<Self> {
        let (count, width) = geometry(output)?;
        for layout in inputs {
            geometry(*layout)?;
        }
        let plane = |p: usize| {
            let own = p * width..channels.min((p + 1) * width);
            let lanes: Vec<Vec<Term>> = own.clone().map(&terms).collect();
            if let Some([first]) = lanes.first().map(Vec::as_slice) {
                let (input, step) = (first.input, geometry(inputs[first.input])?.1);
                let follows = |(lane, terms): (usize, &Vec<Term>)| {
                    let channel = first.channel + lane;
                    *terms
                        == [Term {
                            input,
                            channel,
                            weight: 1.0,
                        }]
                };
                let aligned = step == width && first.channel.is_multiple_of(width);
                if aligned && lanes.iter().enumerate().all(follows) {
                    let at = begin(inputs[input], first.channel);
                    return Some(Plane::Copy { input, at });
                }
            }
            let all = lanes.into_iter().enumerate();
            let all = all.flat_map(|(lane, terms)| terms.into_iter().map(move |t| (lane, t)));
            let place = |(lane, t): (usize, Term)| {
                (lane, t.input, begin(inputs[t.input], t.channel), t.weight)
            };
            Some(Plane::Sums(all.map(place).collect()))
        };
        Some(Self {
            inputs: inputs.to_vec(),
            output,
            planes: (0..count).map(plane).collect::<Option<_>>()?,
        })
    }

    /// Computes all images. An input of one image stands for all.
    pub(super) fn run<T: Number>(&self, inputs: &[&[T]], out: &mut [T], cx: Context<'_>) {
        let (plane, size) = (self.output.plane(), self.output.image());
        let count = self.planes.len();
        if plane == 0 || size == 0 {
            return;
        }
        let width = geometry(self.output).map_or(1, |g| g.1);
        let out = &mut out[..self.output.images() * size];
        let tasks = out.chunks_mut(plane).enumerate().collect();
        cx.pool.each(tasks, |(i, out)| {
            let image = i / count;
            let images = |input: usize| {
                let layout = self.inputs[input];
                let image = if layout.images() == 1 { 0 } else { image };
                &inputs[input][image * layout.image()..][..layout.image()]
            };
            match &self.planes[i % count] {
                Plane::Copy { input, at } => {
                    out.copy_from_slice(&images(*input)[*at..][..plane]);
                }
                Plane::Sums(terms) => {
                    let terms = terms.iter().map(|(lane, input, at, weight)| {
                        let step = geometry(self.inputs[*input]).map_or(1, |g| g.1);
                        (*lane, &images(*input)[*at..], step, *weight)
                    });
                    let terms = terms.collect();
                    cx.backend.vectorize(Sums { terms, width, out });
                }
            }
        });
    }
}

/// A plane of sums.
struct Sums<'a, T> {
    /// Lane, numbers, the step between them, and their factor.
    terms: Vec<(usize, &'a [T], usize, f32)>,
    width: usize,
    out: &'a mut [T],
}

impl<T: Number> Vectorize for Sums<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        if self.width == 1 {
            self.out.fill(T::round(0.0));
            for (_, from, step, weight) in self.terms {
                for (out, from) in self.out.iter_mut().zip(from.iter().step_by(step)) {
                    *out = T::round(out.widen() + weight * from.widen());
                }
            }
            return;
        }
        for (i, out) in self.out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let mut sums = [0.0; LANES];
            for (lane, from, step, weight) in &self.terms {
                sums[*lane] += weight * from[i * step].widen();
            }
            *out = sums.map(T::round);
        }
    }
}
