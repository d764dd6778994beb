//! The kernels: safe code over [`crate::arch`]'s tiles and vectors.

mod access;
pub(crate) mod axis_filter;
pub(crate) mod batch_norm;
pub(crate) mod chain;
mod channels;
pub(crate) mod concat;
pub(crate) mod conv;
pub(crate) mod convert;
pub(crate) mod cosine;
mod depthwise;
pub(crate) mod elementwise;
mod filter_product;
pub(crate) mod finish;
pub(crate) mod fold;
pub(crate) mod gemm;
pub(crate) mod heat;
pub(crate) mod lines;
mod math;
pub(crate) mod matmul;
pub(crate) mod max_pool;
pub(crate) mod noise;
mod plane;
mod product;
mod program;
pub(crate) mod rearrange;
pub(crate) mod reduce;
mod scatter;
pub(crate) mod separable;
mod strided;
pub(crate) mod tail;
mod whole;
mod window;
mod winograd;

pub(crate) use winograd::kernel_matrix;

use crate::arch::Backend;
use crate::device::Caches;
use crate::operands::Operands;
use crate::pool::Pool;
use limpid_device::DeviceError;
use limpid_graph::Constant;
use limpid_tensor::AlignedBuffer;

/// What a running kernel works with.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) backend: Backend,
    pub(crate) pool: &'a Pool,
}

/// An operator's implementation at fixed shapes.
pub(crate) trait Kernel: Send + Sync {
    /// Its name, for people.
    fn name(&self) -> &'static str;

    /// Takes what it can prepare of the inputs that are constants, and returns
    /// which of those it does not want to be handed when it runs.
    ///
    /// # Errors
    /// When memory is short, or a constant cannot be read.
    fn bind(
        &mut self,
        _constants: &[Option<&Constant>],
        _caches: &Caches,
    ) -> Result<Vec<usize>, DeviceError> {
        Ok(Vec::new())
    }

    /// The floats of working memory that a run needs on so many threads.
    fn workspace(&self, _threads: usize) -> usize {
        0
    }

    /// Computes the outputs.
    ///
    /// # Errors
    /// When memory is short.
    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError>;
}

/// Calls a generic method for the numbers that two precisions stand for.
macro_rules! in_precisions {
    ($precisions:expr, $self:ident.$method:ident($($argument:expr),*)) => {{
        use crate::layout::Precision::{Bf16, F32};
        use half::bf16;
        match $precisions {
            [F32, F32] => $self.$method::<f32, f32>($($argument),*),
            [F32, Bf16] => $self.$method::<f32, bf16>($($argument),*),
            [Bf16, F32] => $self.$method::<bf16, f32>($($argument),*),
            [Bf16, Bf16] => $self.$method::<bf16, bf16>($($argument),*),
        }
    }};
}
use in_precisions;

/// Working memory for `count` numbers of one run, zeroed.
fn scratch<T>(count: usize) -> Result<AlignedBuffer, DeviceError> {
    Ok(AlignedBuffer::zeroed(count * size_of::<T>())?)
}

/// Elements that are worth a task of their own, a multiple of sixteen.
const TASK: usize = 1 << 14;
