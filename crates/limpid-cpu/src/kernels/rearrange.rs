//! The same elements in another order or layout.

use super::access::{Access, axes_of};
use super::{Context, Kernel, TASK, scratch};
use crate::layout::Layout;
use crate::operands::Operands;
use crate::select::Signature;
use crate::simd::LANES;
use bytemuck::Pod;
use limpid_device::DeviceError;
use limpid_graph::ops::Transpose;
use limpid_tensor::DType;

/// A copy that reads by strides what it writes in order.
pub(crate) struct Rearrange {
    how: How,
    dtype: DType,
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
        Self { how, dtype, name }
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
                from.store_c(io.input(0), elements.as_mut_slice());
                to.load_c(elements.as_slice(), io.output());
            }
            (How::Copy(access), DType::F32) => {
                let from = io.input::<f32>(0);
                copy(access, from, io.output(), cx);
            }
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
