//! Everything that is unsafe: instructions that must be there, and tiles that
//! are bounds-checked as a whole rather than load by load.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod depthwise;
mod double;
#[cfg(target_arch = "aarch64")]
mod neon;
pub(crate) mod number;
mod scalar;
pub(crate) mod store;
pub(crate) mod tile;

use crate::Isa;
use crate::simd::Vectorize;

/// An instruction set that this processor was found to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backend {
    isa: Isa,
    /// Whether it has instructions that multiply bf16.
    bf16: bool,
}

impl Backend {
    /// The instruction set, if the processor has it.
    pub(crate) fn new(isa: Isa) -> Option<Self> {
        let there = match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            Isa::Scalar => true,
            _ => false,
        };
        there.then_some(Self {
            isa,
            bf16: isa == Isa::Avx512 && has_bf16(),
        })
    }

    pub(crate) fn isa(self) -> Isa {
        self.isa
    }

    /// Whether it has instructions that multiply bf16; others compute in f32.
    pub(crate) fn has_bf16(self) -> bool {
        self.bf16
    }

    /// Runs `f`, compiled for the instruction set.
    #[inline]
    pub(crate) fn vectorize<F: Vectorize>(self, f: F) -> F::Output {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `new` found these features.
            Isa::Avx512 => unsafe { avx512::run(f) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `new` found these features.
            Isa::Avx2 => unsafe { avx2::run(f) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: `new` found these features.
            Isa::Neon => unsafe { neon::run(f) },
            _ => scalar::run(f),
        }
    }

    /// Runs `f`, which multiplies bf16, compiled for the instruction set.
    #[inline]
    pub(crate) fn vectorize_bf16<F: Vectorize>(self, f: F) -> F::Output {
        #[cfg(target_arch = "x86_64")]
        if self.bf16 {
            // SAFETY: `new` found these features.
            return unsafe { avx512::run_bf16(f) };
        }
        self.vectorize(f)
    }
}

#[cfg(target_arch = "x86_64")]
fn has_bf16() -> bool {
    is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_bf16() -> bool {
    false
}
