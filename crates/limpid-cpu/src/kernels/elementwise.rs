//! Elementwise operators, with broadcasting.

use super::access::Access;
use super::program::{BLOCK, Program};
use super::{Context, Kernel, TASK};
use crate::layout::Layout;
use crate::operands::Operands;
use crate::select::Signature;
use crate::simd::{LANES, Simd, Vectorize};
use limpid_device::DeviceError;
use limpid_graph::ops::Clip;
use limpid_graph::{Fact, Formula};

/// A formula of operands.
pub(crate) struct Elementwise {
    program: Program,
    operands: Vec<Access>,
    name: &'static str,
}

impl Elementwise {
    /// The kernel of a formula.
    pub(crate) fn new(formula: &Formula, s: &Signature<'_>) -> Self {
        Self::of("elementwise", Program::new(formula), s)
    }

    /// The kernel of clipping.
    pub(crate) fn clip(clip: &Clip, s: &Signature<'_>) -> Self {
        Self::of("clip", Program::clip(clip), s)
    }

    fn of(name: &'static str, program: Program, s: &Signature<'_>) -> Self {
        let stretched = |(f, layout): (&&Fact, &Layout)| {
            Access::stretched(&f.shape, *layout, s.output(), s.written[0])
        };
        let operands = s.inputs.iter().zip(&s.read).map(stretched).collect();
        Self {
            program,
            operands,
            name,
        }
    }
}

impl Kernel for Elementwise {
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let inputs = 0..self.operands.len();
        let inputs: Vec<&[f32]> = inputs.map(|i| io.input(i)).collect();
        let tasks = io.output().chunks_mut(TASK).enumerate().collect();
        cx.pool.each(tasks, |(i, out)| {
            cx.backend.vectorize(Run {
                program: &self.program,
                operands: &self.operands,
                inputs: &inputs,
                at: i * TASK,
                out,
            });
        });
        Ok(())
    }
}

/// A part of the result.
struct Run<'a> {
    program: &'a Program,
    operands: &'a [Access],
    inputs: &'a [&'a [f32]],
    at: usize,
    out: &'a mut [f32],
}

impl Vectorize for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let mut registers = self.program.registers();
        // Copies of operands that do not lie as the result does, and the
        // place at which each was filled.
        let mut copies: Vec<(Vec<f32>, Option<usize>)> = Vec::with_capacity(self.operands.len());
        copies.resize_with(self.operands.len(), Default::default);
        for (i, out) in self.out.chunks_mut(BLOCK).enumerate() {
            let (at, len) = (self.at + i * BLOCK, out.len());
            let all = self.operands.iter().zip(self.inputs).zip(&mut copies);
            for ((access, data), (copy, filled)) in all {
                if access.slice(data, at, len).is_some()
                    || filled.is_some_and(|filled| access.repeats(filled, at, len))
                {
                    continue;
                }
                copy.resize(BLOCK, 0.0);
                access.fill(data, at, &mut copy[..len]);
                // A shorter block does not stand for a longer one.
                *filled = (len == BLOCK).then_some(at);
            }
            let operand = |k: usize| {
                let slice = self.operands[k].slice(self.inputs[k], at, len);
                slice.unwrap_or(&copies[k].0)
            };
            if S::FUSED {
                self.program.run::<true>(&mut registers, operand, out);
            } else {
                self.program.run::<false>(&mut registers, operand, out);
            }
        }
    }
}

/// The mask of what is strictly between two bounds.
pub(crate) struct RangeMask(pub(crate) f32, pub(crate) f32);

impl Kernel for RangeMask {
    fn name(&self) -> &'static str {
        "range mask"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        struct Compare<'a>(&'a [f32], &'a mut [u16], f32, f32);
        impl Vectorize for Compare<'_> {
            type Output = ();
            #[inline(always)]
            fn run<S: Simd>(self, s: S) {
                let Self(x, masks, low, high) = self;
                let (low, high) = (s.splat(low), s.splat(high));
                for (x, mask) in x.as_chunks().0.iter().zip(masks) {
                    *mask = s.inside(s.load(x), low, high);
                }
            }
        }
        let x: &[f32] = io.input(0);
        let masks: &mut [u16] = bytemuck::cast_slice_mut(io.outputs[0]);
        let tasks = x.chunks(TASK).zip(masks.chunks_mut(TASK / LANES)).collect();
        cx.pool.each(tasks, |(x, masks)| {
            cx.backend.vectorize(Compare(x, masks, self.0, self.1));
        });
        Ok(())
    }
}

/// What a mask keeps of a value.
pub(crate) struct MaskMul;

impl Kernel for MaskMul {
    fn name(&self) -> &'static str {
        "mask"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        struct Keep<'a>(&'a [f32], &'a [u16], &'a mut [f32]);
        impl Vectorize for Keep<'_> {
            type Output = ();
            #[inline(always)]
            fn run<S: Simd>(self, s: S) {
                let Self(x, masks, out) = self;
                let vectors = x.as_chunks().0.iter().zip(out.as_chunks_mut().0);
                for ((x, out), mask) in vectors.zip(masks) {
                    s.store(s.keep(s.load(x), *mask), out);
                }
            }
        }
        let (x, masks) = (io.input::<f32>(0), io.input::<u16>(1));
        let out = io.output().chunks_mut(TASK);
        let tasks = x.chunks(TASK).zip(masks.chunks(TASK / LANES)).zip(out);
        cx.pool.each(tasks.collect(), |((x, masks), out)| {
            cx.backend.vectorize(Keep(x, masks, out));
        });
        Ok(())
    }
}
