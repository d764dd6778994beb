//! The matrix product with weights.

use super::product::{Left, Product, Then};
use super::tail::{self, Tail};
use super::{Context, Kernel, convert, finish, scratch};
use crate::arch::number::Number;
use crate::device::Caches;
use crate::layout::{Layout, Precision};
use crate::operands::Operands;
use crate::select::Signature;
use crate::simd::LANES;
use half::bf16;
use limpid_device::DeviceError;
use limpid_graph::Constant;
use limpid_graph::ops::{Epilogue, Gemm};
use limpid_tensor::AlignedBuffer;
use std::sync::Arc;

/// Up to this many rows, columns rather than rows are shared out among the threads.
const FEW: usize = 64;

/// a * b + c.
pub(crate) struct GemmKernel {
    product: Product,
    rows: usize,
    /// Floats from a row to the next, of a and of the result.
    steps: [usize; 2],
    epilogue: Epilogue,
    has_bias: bool,
    pack: Option<Arc<AlignedBuffer>>,
}

impl GemmKernel {
    /// The kernel of a product.
    pub(crate) fn new(op: &Gemm, s: &Signature<'_>, vectors: usize, precision: Precision) -> Self {
        let (a, out) = (s.shape(0), s.output());
        let (rows, k) = a.split_at(a.len() - 1);
        let step = |layout: Layout, last: usize| match layout {
            Layout::Blocked(_) => layout.image(),
            _ => last,
        };
        let m = out[out.len() - 1];
        Self {
            product: Product::new(k[0], m, op.trans_b, vectors, precision),
            rows: rows.iter().product(),
            steps: [step(s.read[0], k[0]), step(s.written[0], m)],
            epilogue: op.epilogue,
            has_bias: s.inputs.len() - op.epilogue.inputs() == 3,
            pack: None,
        }
    }
}

impl Kernel for GemmKernel {
    fn name(&self) -> &'static str {
        match self.product.spec.precision {
            Precision::F32 => "product",
            Precision::Bf16 => "product bf16",
        }
    }

    fn bind(
        &mut self,
        constants: &[Option<&Constant>],
        caches: &Caches,
    ) -> Result<Vec<usize>, DeviceError> {
        let Some(weight) = constants[1] else {
            return Ok(Vec::new());
        };
        self.pack = Some(caches.packs.get(weight, None, self.product.spec)?);
        Ok(vec![1])
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        self.run_before(None, Vec::new(), io, cx)
    }
}

impl GemmKernel {
    /// Computes the outputs; `tail` works on each part of the first and fills `outs`.
    pub(super) fn run_before(
        &self,
        tail: Option<&Tail<'_>>,
        outs: Vec<&mut [f32]>,
        io: &mut Operands<'_>,
        cx: Context<'_>,
    ) -> Result<(), DeviceError> {
        let here;
        let pack = match &self.pack {
            Some(pack) => pack,
            None => {
                here = self.product.spec.pack(io.input(1))?;
                &here
            }
        };
        let data = io.input::<f32>(0);
        match self.product.spec.precision {
            Precision::F32 => self.compute(data, pack.as_slice(), (tail, outs), io, cx),
            Precision::Bf16 => {
                let mut rounded = scratch::<bf16>(data.len())?;
                convert::round(data, rounded.as_mut_slice(), cx);
                let rounded = rounded.as_slice::<bf16>();
                self.compute(rounded, pack.as_slice(), (tail, outs), io, cx)
            }
        }
    }

    fn compute<T: Number>(
        &self,
        data: &[T],
        pack: &[T],
        (tail, outs): (Option<&Tail<'_>>, Vec<&mut [f32]>),
        io: &mut Operands<'_>,
        cx: Context<'_>,
    ) -> Result<(), DeviceError> {
        let finish = finish::of(&self.epilogue, io, Precision::F32);
        let bias = self.has_bias.then(|| io.input::<f32>(2));
        let (out, masks) = io.outputs::<f32, u16>();
        let [row, step] = self.steps;
        let left = |first: usize, rows: usize| Left {
            data,
            start: first * row,
            row,
            column: 1,
            rows,
        };
        if self.rows <= FEW {
            let mut work = scratch::<f32>(self.rows * self.product.padded())?;
            let left = left(0, self.rows);
            let whole = (&mut out[..self.rows * step], step);
            let work = work.as_mut_slice();
            self.product.few_rows(left, pack, bias, whole, work, cx);
            finish::apply(finish, out, masks, cx);
            if let Some(tail) = tail {
                tail.run_all(out, outs, cx);
            }
            return Ok(());
        }
        // Rows that are not whole vectors share words of masks with their
        // neighbours: the epilogue and what follows wait for all of them.
        let whole = step.is_multiple_of(LANES);
        let inside = if whole { finish } else { Default::default() };
        let part = self.product.task_rows(self.rows, cx.pool.count());
        let (inner, outer) = if whole {
            (outs, Vec::new())
        } else {
            (Vec::new(), outs)
        };
        let mut inner = tail::deal(inner, part * step, self.rows.div_ceil(part)).into_iter();
        let mut words = masks.chunks_mut((part * step / LANES).max(1));
        let parts = out[..self.rows * step].chunks_mut(part * step).enumerate();
        let parts = parts.map(|(i, out)| {
            let words = if whole { words.next() } else { None };
            let outs = inner.next().unwrap_or_default();
            (i, out, words.unwrap_or_default(), outs)
        });
        cx.pool.each(parts.collect(), |(i, out, masks, outs)| {
            let left = left(i * part, out.len() / step);
            let then = Then {
                bias,
                finish: inside,
                at: i * part * step,
            };
            let (product, mut work) = (&self.product, Vec::new());
            let to = (&mut *out, step);
            product.rows(cx.backend, left, pack, then, to, masks, &mut work);
            if let (Some(tail), true) = (tail, whole) {
                tail.run(cx.backend, i * part * step, out, outs);
            }
        });
        if !whole {
            finish::apply(finish, out, masks, cx);
            if let Some(tail) = tail {
                tail.run_all(out, outer, cx);
            }
        }
        Ok(())
    }
}
