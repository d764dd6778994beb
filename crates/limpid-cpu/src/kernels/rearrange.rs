//! The same elements in another order or layout.

use super::access::{Access, axes_of};
use super::{Context, Kernel, TASK, convert, scratch};
use crate::arch::store::Numbers;
use crate::layout::{Layout, Precision};
use crate::operands::Operands;
use crate::select::Signature;
use crate::simd::{LANES, widen};
use bytemuck::Pod;
use half::bf16;
use limpid_device::DeviceError;
use limpid_graph::ops::Transpose;
use limpid_tensor::DType;

/// A copy that reads by strides what it writes in order.
pub(crate) struct Rearrange {
    how: How,
    dtype: DType,
    /// Of what input and output are made.
    precisions: [Precision; 2],
    name: &'static str,
}

enum How {
    Copy(Access),
    /// From one form of blocks to another, through C order.
    Blocks(Layout, Layout),
}

impl Rearrange {
    fn of(name: &'static str, how: How, s: &Signature<'_>) -> Self {
        let dtype = s.outputs[0].dtype;
        Self {
            how,
            dtype,
            precisions: [s.reads[0], s.writes[0]],
            name,
        }
    }

    /// A value stretched to the result's shape.
    pub(crate) fn stretch(s: &Signature<'_>) -> Self {
        let access = Access::stretched(s.shape(0), s.read[0], s.output(), s.written[0]);
        Self::of("stretch", How::Copy(access), s)
    }

    /// The axes in another order.
    pub(crate) fn transpose(op: &Transpose, s: &Signature<'_>) -> Self {
        let axes = axes_of(s.shape(0), s.read[0]);
        let axes = op.perm.iter().map(|axis| axes[*axis]).collect();
        Self::of("transpose", How::Copy(Access::new(axes, s.written[0])), s)
    }

    /// The elements in C order under another shape.
    pub(crate) fn reshape(s: &Signature<'_>) -> Self {
        let (from, to) = (s.read[0], s.written[0]);
        let blocked = |layout: Layout| matches!(layout, Layout::Blocked(_));
        let flat = Layout::Flat(from.images() * from.image_elements());
        let how = match (blocked(from), blocked(to)) {
            (true, true) if from != to => How::Blocks(from, to),
            (_, false) => How::Copy(Access::new(axes_of(s.shape(0), from), flat)),
            (false, true) => How::Copy(Access::new(axes_of(s.output(), flat), to)),
            (true, true) => How::Copy(Access::new(axes_of(s.shape(0), from), to)),
        };
        Self::of("reshape", how, s)
    }

    /// The value in another layout.
    pub(crate) fn relayout(s: &Signature<'_>) -> Self {
        let access = Access::new(axes_of(s.shape(0), s.read[0]), s.written[0]);
        Self::of("relayout", How::Copy(access), s)
    }
}

impl Kernel for Rearrange {
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        match (&self.how, self.dtype) {
            (How::Blocks(from, to), _) => {
                let mut elements = scratch::<f32>(from.images() * from.image_elements())?;
                match io.numbers(0, self.precisions[0]) {
                    Numbers::F32(numbers) => from.store_c(numbers, elements.as_mut_slice()),
                    Numbers::Bf16(numbers) => {
                        let elements = elements.as_mut_slice::<f32>();
                        from.place_c(|element, lane| elements[element] = widen(numbers[lane]));
                    }
                }
                match self.precisions[1] {
                    Precision::F32 => to.load_c(elements.as_slice(), io.output()),
                    Precision::Bf16 => {
                        let mut numbers = scratch::<f32>(to.lanes())?;
                        to.load_c(elements.as_slice(), numbers.as_mut_slice());
                        convert::round(numbers.as_slice(), io.output(), cx);
                    }
                }
            }
            (How::Copy(access), DType::F32) => match self.precisions {
                [Precision::F32, Precision::F32] => {
                    copy(access, io.input::<f32>(0), io.output(), cx);
                }
                [Precision::Bf16, Precision::Bf16] => {
                    copy::<bf16>(access, io.input(0), io.output(), cx);
                }
                [Precision::F32, Precision::Bf16] => {
                    let round = |from: &[f32], to: &mut [bf16]| {
                        cx.backend.vectorize(convert::Round(from, to));
                    };
                    copy_as(access, io.input(0), io.output(), round, cx);
                }
                [Precision::Bf16, Precision::F32] => {
                    let widen = |from: &[bf16], to: &mut [f32]| {
                        cx.backend.vectorize(convert::Widen(from, to));
                    };
                    copy_as(access, io.input(0), io.output(), widen, cx);
                }
            },
            (How::Copy(access), DType::U8) => {
                let from = io.inputs[0];
                copy(access, from, io.outputs[0], cx);
            }
            (How::Copy(access), DType::Bits) => {
                let words = io.input::<u16>(0);
                let bits = |i: usize| (words[i / LANES] >> (i % LANES) & 1) as u8;
                let bytes: Vec<u8> = (0..words.len() * LANES).map(bits).collect();
                let to: &mut [u16] = bytemuck::cast_slice_mut(io.outputs[0]);
                let mut moved = vec![0; to.len() * LANES];
                copy(access, &bytes, &mut moved, cx);
                for (word, bits) in to.iter_mut().zip(moved.chunks(LANES)) {
                    let bits = bits.iter().enumerate();
                    *word = bits.fold(0, |word, (i, bit)| word | u16::from(*bit) << i);
                }
            }
            (How::Copy(_), _) => io.outputs[0].copy_from_slice(io.inputs[0]),
        }
        Ok(())
    }
}

fn copy<T: Pod + Send + Sync>(access: &Access, from: &[T], to: &mut [T], cx: Context<'_>) {
    let tasks = to.chunks_mut(TASK).enumerate().collect();
    cx.pool
        .each(tasks, |(i, to)| access.fill(from, i * TASK, to));
}

/// As [`copy`], from one precision to another.
fn copy_as<T: Pod + Send + Sync, U: Send>(
    access: &Access,
    from: &[T],
    to: &mut [U],
    convert: impl Fn(&[T], &mut [U]) + Sync,
    cx: Context<'_>,
) {
    let tasks = to.chunks_mut(TASK).enumerate().collect();
    cx.pool.each(tasks, |(i, to)| {
        let mut copied = vec![T::zeroed(); to.len()];
        access.fill(from, i * TASK, &mut copied);
        convert(&copied, to);
    });
}
