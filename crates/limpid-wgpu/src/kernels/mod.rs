//! How operators become launches. A file here has the name of the kernel in
//! `kernels/wgsl` that it launches.

pub(crate) mod attention;
pub(crate) mod axis_filter;
pub(crate) mod concat;
pub(crate) mod conv;
mod depthwise;
pub(crate) mod elementwise;
mod formula;
pub(crate) mod gaussian_noise;
pub(crate) mod gemm;
pub(crate) mod heat_kernel;
pub(crate) mod mask;
pub(crate) mod mat_mul;
pub(crate) mod max_pool;
mod product;
pub(crate) mod reduce;
pub(crate) mod reshape;
pub(crate) mod separable_filter;
pub(crate) mod sums;
mod taps;
pub(crate) mod transpose;
pub(crate) mod winograd;
