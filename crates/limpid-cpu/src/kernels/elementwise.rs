//! Elementwise operators, with broadcasting.

use super::access::Access;
use super::convert::{Round, Widen};
use super::program::{BLOCK, Program, Registers};
use super::{Context, Kernel, TASK};
use crate::arch::number::Number;
use crate::arch::store::Numbers;
use crate::layout::Precision;
use crate::operands::Operands;
use crate::select::Signature;
use crate::simd::{LANES, Simd, Vectorize};
use half::bf16;
use limpid_device::DeviceError;
use limpid_graph::Formula;
use limpid_graph::ops::Clip;

/// A formula of operands.
pub(crate) struct Elementwise {
    function: Function,
    /// Of what the operands and the result are made.
    reads: Vec<Precision>,
    writes: Precision,
    name: &'static str,
}

/// A program, and how its operands are read.
pub(super) struct Function {
    pub(super) program: Program,
    pub(super) operands: Vec<Access>,
    /// Which operands are a result that is worked on part by part.
    pub(super) own: Vec<bool>,
}

impl Elementwise {
    /// The kernel of a formula.
    pub(crate) fn new(formula: Formula, s: &Signature<'_>) -> Self {
        Self::of("elementwise", Program::new(&[formula]), s)
    }

    /// The kernel of clipping.
    pub(crate) fn clip(clip: &Clip, s: &Signature<'_>) -> Self {
        Self::of("clip", Program::clip(clip), s)
    }

    fn of(name: &'static str, program: Program, s: &Signature<'_>) -> Self {
        let operands = stretched(s);
        Self {
            function: Function {
                program,
                own: vec![false; operands.len()],
                operands,
            },
            reads: s.reads.clone(),
            writes: s.writes[0],
            name,
        }
    }
}

/// How operands are read in the order of the result.
pub(super) fn stretched(s: &Signature<'_>) -> Vec<Access> {
    let operands = s.inputs.iter().zip(&s.read);
    let stretched =
        operands.map(|(f, layout)| Access::stretched(&f.shape, *layout, s.output(), s.written[0]));
    stretched.collect()
}

impl Kernel for Elementwise {
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let inputs = 0..self.reads.len();
        let inputs: Vec<Numbers<'_>> = inputs.map(|i| io.numbers(i, self.reads[i])).collect();
        let part = |at: usize| Run {
            function: &self.function,
            inputs: &inputs,
            at,
        };
        match self.writes {
            Precision::F32 => {
                let tasks = io.output::<f32>().chunks_mut(TASK).enumerate().collect();
                cx.pool.each(tasks, |(i, out)| {
                    cx.backend.vectorize(Floats(part(i * TASK), out));
                });
            }
            Precision::Bf16 => {
                let tasks = io.output::<bf16>().chunks_mut(TASK).enumerate().collect();
                cx.pool.each(tasks, |(i, out)| {
                    cx.backend.vectorize(Rounded(part(i * TASK), out));
                });
            }
        }
        Ok(())
    }
}

/// A part of the result.
pub(super) struct Run<'a> {
    pub(super) function: &'a Function,
    pub(super) inputs: &'a [Numbers<'a>],
    /// Where it begins.
    pub(super) at: usize,
}

/// What a block's operands were copied to.
pub(super) struct Copies {
    /// Of operands that are no floats or do not lie as the result does, with
    /// the place at which each was filled.
    floats: Vec<(Vec<f32>, Option<usize>)>,
    halves: Vec<bf16>,
    registers: Registers,
}

impl Run<'_> {
    pub(super) fn copies(&self) -> Copies {
        let mut floats = Vec::with_capacity(self.inputs.len());
        floats.resize_with(self.inputs.len(), Default::default);
        Copies {
            floats,
            halves: vec![bf16::ZERO; BLOCK],
            registers: self.function.program.registers(),
        }
    }

    /// Computes a block of each result; `own` is that of the one that is worked on.
    #[inline(always)]
    pub(super) fn block<S: Simd>(
        &self,
        s: S,
        at: usize,
        own: &[f32],
        copies: &mut Copies,
        outs: &mut [&mut [f32]],
    ) {
        let (function, len) = (self.function, outs[0].len());
        let all = function.operands.iter().zip(self.inputs).zip(&function.own);
        for (((access, data), is_own), (copy, filled)) in all.zip(&mut copies.floats) {
            if *is_own || filled.is_some_and(|filled| access.repeats(filled, at, len)) {
                continue;
            }
            match data {
                Numbers::F32(data) => {
                    if access.slice(data, at, len).is_some() {
                        continue;
                    }
                    copy.resize(BLOCK, 0.0);
                    access.fill(data, at, &mut copy[..len]);
                }
                Numbers::Bf16(data) => {
                    copy.resize(BLOCK, 0.0);
                    if let Some(data) = access.slice(data, at, len) {
                        Widen(data, &mut copy[..len]).run(s);
                    } else {
                        access.fill(data, at, &mut copies.halves[..len]);
                        Widen(&copies.halves[..len], &mut copy[..len]).run(s);
                    }
                }
            }
            // A shorter block does not stand for a longer one.
            *filled = (len == BLOCK).then_some(at);
        }
        let operand = |k: usize| {
            if function.own[k] {
                return own;
            }
            let slice = match self.inputs[k] {
                Numbers::F32(data) => function.operands[k].slice(data, at, len),
                Numbers::Bf16(_) => None,
            };
            slice.unwrap_or(&copies.floats[k].0)
        };
        let registers = &mut copies.registers;
        if S::FUSED {
            function.program.run::<true>(registers, operand, outs);
        } else {
            function.program.run::<false>(registers, operand, outs);
        }
    }
}

/// A part of a result of floats.
struct Floats<'a>(Run<'a>, &'a mut [f32]);

impl Vectorize for Floats<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(run, out) = self;
        let mut copies = run.copies();
        for (i, out) in out.chunks_mut(BLOCK).enumerate() {
            run.block(s, run.at + i * BLOCK, &[], &mut copies, &mut [out]);
        }
    }
}

/// A part of a result of bf16.
struct Rounded<'a>(Run<'a>, &'a mut [bf16]);

impl Vectorize for Rounded<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(run, out) = self;
        let (mut copies, mut floats) = (run.copies(), vec![0.0; BLOCK]);
        for (i, out) in out.chunks_mut(BLOCK).enumerate() {
            let floats = &mut floats[..out.len()];
            run.block(s, run.at + i * BLOCK, &[], &mut copies, &mut [&mut *floats]);
            Round(floats, out).run(s);
        }
    }
}

/// The mask of what is strictly between two bounds.
pub(crate) struct RangeMask {
    bounds: [f32; 2],
    reads: Precision,
}

impl RangeMask {
    /// The kernel of a mask.
    pub(crate) fn new(clip: &Clip, s: &Signature<'_>) -> Self {
        Self {
            bounds: [clip.lower(), clip.upper()],
            reads: s.reads[0],
        }
    }
}

impl Kernel for RangeMask {
    fn name(&self) -> &'static str {
        "range mask"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        struct Compare<'a>(Numbers<'a>, &'a mut [u16], [f32; 2]);
        impl Vectorize for Compare<'_> {
            type Output = ();
            #[inline(always)]
            fn run<S: Simd>(self, s: S) {
                let Self(x, masks, bounds) = self;
                let [low, high] = bounds.map(|b| s.splat(b));
                for (i, mask) in masks.iter_mut().enumerate() {
                    *mask = s.inside(x.vector(s, i), low, high);
                }
            }
        }
        let x = io.numbers(0, self.reads);
        let masks: &mut [u16] = bytemuck::cast_slice_mut(io.outputs[0]);
        let masks = masks[..x.len() / LANES].chunks_mut(TASK / LANES);
        cx.pool.each(masks.enumerate().collect(), |(i, masks)| {
            let x = x.part(i * TASK..i * TASK + masks.len() * LANES);
            cx.backend.vectorize(Compare(x, masks, self.bounds));
        });
        Ok(())
    }
}

/// What a mask keeps of a value.
pub(crate) struct MaskMul {
    /// Of what the value and the result are made.
    pub(crate) precisions: [Precision; 2],
}

impl Kernel for MaskMul {
    fn name(&self) -> &'static str {
        "mask"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let (x, masks) = (io.numbers(0, self.precisions[0]), io.input::<u16>(1));
        match self.precisions[1] {
            Precision::F32 => keep(x, masks, io.output::<f32>(), cx),
            Precision::Bf16 => keep(x, masks, io.output::<bf16>(), cx),
        }
        Ok(())
    }
}

fn keep<O: Number>(x: Numbers<'_>, masks: &[u16], out: &mut [O], cx: Context<'_>) {
    struct Keep<'a, O>(Numbers<'a>, &'a [u16], &'a mut [O]);
    impl<O: Number> Vectorize for Keep<'_, O> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Self(x, masks, out) = self;
            let out = out.as_chunks_mut().0.iter_mut();
            for (i, (out, mask)) in out.zip(masks).enumerate() {
                O::store(s, s.keep(x.vector(s, i), *mask), out);
            }
        }
    }
    let out = out.chunks_mut(TASK).zip(masks.chunks(TASK / LANES));
    cx.pool
        .each(out.enumerate().collect(), |(i, (out, masks))| {
            let x = x.part(i * TASK..i * TASK + out.len());
            cx.backend.vectorize(Keep(x, masks, out));
        });
}
