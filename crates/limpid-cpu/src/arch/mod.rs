//! Everything that is unsafe: instructions that must be there, and tiles that
//! are bounds-checked as a whole rather than load by load.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod depthwise;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
pub(crate) mod tile;

use crate::Isa;
use crate::simd::Vectorize;

/// An instruction set that this processor was found to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backend(Isa);

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
        there.then_some(Self(isa))
    }

    pub(crate) fn isa(self) -> Isa {
        self.0
    }

    /// Runs `f`, compiled for the instruction set.
    #[inline]
    pub(crate) fn vectorize<F: Vectorize>(self, f: F) -> F::Output {
        match self.0 {
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
}
