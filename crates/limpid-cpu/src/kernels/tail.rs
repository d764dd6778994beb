//! Elementwise operators behind a product: they run on each part of its result
//! as soon as that is stored, while it is in a cache.

use super::access::Access;
use super::elementwise::{Function, Run, stretched};
use super::gemm::GemmKernel;
use super::program::{BLOCK, Program};
use super::{Context, Kernel, TASK};
use crate::arch::Backend;
use crate::arch::store::Numbers;
use crate::operands::Operands;
use crate::select::Signature;
use crate::simd::{Simd, Vectorize};
use limpid_device::DeviceError;
use limpid_graph::{Expr, Formula};

/// A product, and operators that read its result where they write theirs.
pub(crate) struct Followed {
    leader: GemmKernel,
    /// The inputs and outputs of the product.
    operands: [usize; 2],
    /// All that follow in one.
    function: Function,
}

/// An operator behind a product.
pub(crate) struct Follower {
    formula: Formula,
    operands: Vec<Access>,
    /// Which operands are the product's result.
    own: Vec<bool>,
}

impl Follower {
    pub(crate) fn new(formula: Formula, s: &Signature<'_>, own: Vec<bool>) -> Self {
        Self {
            formula,
            operands: stretched(s),
            own,
        }
    }
}

impl Followed {
    pub(crate) fn new(leader: GemmKernel, operands: [usize; 2], followers: Vec<Follower>) -> Self {
        let own = followers.iter().flat_map(|f| f.own.clone());
        let own: Vec<bool> = own.collect();
        // The operand that all of them read.
        let shared = own.iter().position(|own| *own).unwrap_or(0);
        let mut formulas = Vec::with_capacity(followers.len());
        let mut accesses = Vec::with_capacity(own.len());
        for follower in followers {
            let first = accesses.len();
            let places = follower.own.iter().enumerate();
            let places = places.map(|(k, own)| if *own { shared } else { first + k });
            let read: Vec<Formula> = places.map(|k| Formula::new(&Expr::input(k))).collect();
            formulas.push(follower.formula.compose(&read));
            accesses.extend(follower.operands);
        }
        Self {
            leader,
            operands,
            function: Function {
                program: Program::new(&formulas),
                operands: accesses,
                own,
            },
        }
    }
}

impl Kernel for Followed {
    fn name(&self) -> &'static str {
        "product and more"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let [ins, outs] = self.operands;
        let inputs = io.inputs.split_off(ins).into_iter();
        let inputs = inputs.map(|bytes| match bytes {
            // The product's result, which is not read as a whole.
            [] => Numbers::F32(&[]),
            bytes => Numbers::F32(bytemuck::cast_slice(bytes)),
        });
        let mut results = io.outputs.split_off(outs);
        // Where nobody else reads the product's result, the first of theirs
        // takes its place.
        let in_place = io.outputs[0].is_empty();
        if in_place {
            io.outputs[0] = results.remove(0);
        }
        let tail = Tail {
            function: &self.function,
            inputs: inputs.collect(),
            in_place,
        };
        let results = results.into_iter().map(bytemuck::cast_slice_mut).collect();
        self.leader.run_before(Some(&tail), results, io, cx)
    }
}

/// What runs on the parts of a result.
pub(super) struct Tail<'a> {
    function: &'a Function,
    inputs: Vec<Numbers<'a>>,
    /// Whether the first result replaces what is read.
    in_place: bool,
}

impl Tail<'_> {
    /// Works on the part `x` of the result, which begins at `at`, and fills
    /// the same parts of the others.
    pub(super) fn run(&self, backend: Backend, at: usize, x: &mut [f32], outs: Vec<&mut [f32]>) {
        backend.vectorize(Part {
            tail: self,
            at,
            x,
            outs,
        });
    }

    /// Works on the whole result.
    pub(super) fn run_all(&self, x: &mut [f32], outs: Vec<&mut [f32]>, cx: Context<'_>) {
        let outs = deal(outs, TASK, x.len().div_ceil(TASK));
        let tasks = x.chunks_mut(TASK).zip(outs).enumerate();
        cx.pool.each(tasks.collect(), |(i, (x, outs))| {
            self.run(cx.backend, i * TASK, x, outs);
        });
    }
}

/// Of each of so many parts of `size` numbers the pieces of all results.
pub(super) fn deal(outs: Vec<&mut [f32]>, size: usize, parts: usize) -> Vec<Vec<&mut [f32]>> {
    let mut dealt: Vec<Vec<&mut [f32]>> = Vec::new();
    dealt.resize_with(parts, Vec::new);
    for out in outs {
        let pieces = out.chunks_mut(size.max(1));
        pieces
            .zip(&mut dealt)
            .for_each(|(piece, to)| to.push(piece));
    }
    dealt
}

struct Part<'a, 'b> {
    tail: &'a Tail<'b>,
    at: usize,
    x: &'a mut [f32],
    outs: Vec<&'a mut [f32]>,
}

impl Vectorize for Part<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { tail, at, x, outs } = self;
        let run = Run {
            function: tail.function,
            inputs: &tail.inputs,
            at,
        };
        let (mut copies, mut own) = (run.copies(), [0.0; BLOCK]);
        let mut outs: Vec<_> = outs.into_iter().map(|out| out.chunks_mut(BLOCK)).collect();
        for (i, x) in x.chunks_mut(BLOCK).enumerate() {
            let own = &mut own[..x.len()];
            own.copy_from_slice(x);
            let first = tail.in_place.then_some(x);
            let others = outs.iter_mut().filter_map(Iterator::next);
            let others = others.map(|out| &mut out[..own.len()]);
            let mut outs: Vec<&mut [f32]> = first.into_iter().chain(others).collect();
            run.block(s, at + i * BLOCK, own, &mut copies, &mut outs);
        }
    }
}
