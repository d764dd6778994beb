//! Values one behind the other along an axis.

use super::access::Access;
use super::axis_filter::around;
use super::channels::{Channels, Term};
use super::{Context, Kernel, TASK, scratch};
use crate::arch::number::Number;
use crate::layout::{Layout, Precision};
use crate::operands::Operands;
use crate::select::Signature;
use half::bf16;
use limpid_device::DeviceError;
use limpid_graph::ops::Concat;
use limpid_tensor::Shape;

/// The inputs behind one another.
pub(crate) struct ConcatKernel {
    parts: Vec<Part>,
    how: How,
    /// Of what all are made.
    precision: Precision,
}

/// An input and how it is stretched along the other axes.
struct Part {
    access: Access,
    /// The layout of the stretched input.
    layout: Layout,
    extent: usize,
}

enum How {
    /// Of each outer position, the parts' lines with `inner` numbers a position.
    Lines {
        outer: usize,
        inner: usize,
    },
    Channels(Channels),
}

impl ConcatKernel {
    /// The kernel of a concatenation; `None` where the layouts have none.
    pub(crate) fn new(op: Concat, s: &Signature<'_>) -> Option<Self> {
        let (out, output) = (s.output(), s.written[0]);
        let part = |(i, read): (usize, &Layout)| {
            let extent = s.shape(i)[op.axis];
            let mut shape = out.to_vec();
            shape[op.axis] = extent;
            let shape = Shape::from(shape);
            // As the output, of which it is a part, but for few channels.
            let few = op.axis == 1 && !matches!(read, Layout::Blocked(_));
            let layout = match output {
                Layout::Flat(_) => Layout::Flat(0),
                Layout::Planar(mut dims) | Layout::Blocked(mut dims) => {
                    dims[op.axis] = extent;
                    match output {
                        Layout::Blocked(_) if !few => Layout::Blocked(dims),
                        _ => Layout::Planar(dims),
                    }
                }
            };
            Part {
                access: Access::stretched(s.shape(i), *read, &shape, layout),
                layout,
                extent,
            }
        };
        let parts: Vec<Part> = s.read.iter().enumerate().map(part).collect();
        let lines = around(out, output, op.axis);
        let how = match lines {
            Some([outer, inner]) => How::Lines { outer, inner },
            None => {
                let layouts: Vec<Layout> = parts.iter().map(|p| p.layout).collect();
                let terms = |mut channel: usize| {
                    let mut input = 0;
                    while channel >= parts[input].extent {
                        channel -= parts[input].extent;
                        input += 1;
                    }
                    let weight = 1.0;
                    vec![Term {
                        input,
                        channel,
                        weight,
                    }]
                };
                How::Channels(Channels::new(&layouts, output, out[op.axis], terms)?)
            }
        };
        Some(Self {
            parts,
            how,
            precision: s.writes[0],
        })
    }
}

impl Kernel for ConcatKernel {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        match self.precision {
            Precision::F32 => self.compute::<f32>(io, cx),
            Precision::Bf16 => self.compute::<bf16>(io, cx),
        }
    }
}

impl ConcatKernel {
    fn compute<T: Number>(
        &self,
        io: &mut Operands<'_>,
        cx: Context<'_>,
    ) -> Result<(), DeviceError> {
        let inputs: Vec<&[T]> = (0..self.parts.len()).map(|i| io.input(i)).collect();
        match &self.how {
            How::Lines { outer, inner } => {
                let extents = self.parts.iter().map(|p| p.extent);
                let size = extents.sum::<usize>() * inner;
                if size == 0 {
                    return Ok(());
                }
                let whole = (TASK / size).max(1);
                let out = &mut io.output::<T>()[..outer * size];
                let tasks = out.chunks_mut(whole * size).enumerate().collect();
                cx.pool.each(tasks, |(i, out)| {
                    for (k, mut out) in out.chunks_mut(size).enumerate() {
                        for (part, data) in self.parts.iter().zip(&inputs) {
                            let own = part.extent * inner;
                            let (to, rest) = out.split_at_mut(own);
                            part.access.fill(data, (i * whole + k) * own, to);
                            out = rest;
                        }
                    }
                });
            }
            How::Channels(channels) => {
                let mut copies = Vec::with_capacity(self.parts.len());
                for (part, data) in self.parts.iter().zip(&inputs) {
                    let stretched = !part.access.is_same();
                    let mut copy = scratch::<T>(if stretched { part.layout.lanes() } else { 0 })?;
                    part.access.fill(data, 0, copy.as_mut_slice::<T>());
                    copies.push(copy);
                }
                let parts = self.parts.iter().zip(&inputs).zip(&copies);
                let parts = parts.map(|((part, data), copy)| match part.access.is_same() {
                    true => *data,
                    false => copy.as_slice(),
                });
                channels.run(&parts.collect::<Vec<_>>(), io.output(), cx);
            }
        }
        Ok(())
    }
}
