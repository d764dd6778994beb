use std::fmt;
use std::str::FromStr;

/// An instruction set that the kernels are built for.
///
/// Sums are fused multiply-adds on all but [`Isa::Scalar`], whose results
/// therefore differ in the last bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX2 and FMA.
    Avx2,
    /// The vectors of 64-bit ARM.
    Neon,
    /// No vector instructions are asked for.
    Scalar,
}

impl Isa {
    /// All of them, the fastest first.
    pub const ALL: [Self; 4] = [Self::Avx512, Self::Avx2, Self::Neon, Self::Scalar];

    /// Those that this processor has, the fastest first; never empty.
    ///
    /// ```
    /// assert!(limpid_cpu::Isa::available().contains(&limpid_cpu::Isa::Scalar));
    /// ```
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut all = Self::ALL.to_vec();
        all.retain(|isa| crate::arch::Backend::new(*isa).is_some());
        all
    }

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Scalar => "scalar",
        }
    }

    /// The widest tile of output channels, in vectors.
    pub(crate) fn tile_vectors(self) -> usize {
        if self == Self::Avx512 { 4 } else { 1 }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no instruction set's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no instruction set; choose one of avx512, avx2, neon and scalar")]
pub struct UnknownIsa(String);

impl FromStr for Isa {
    type Err = UnknownIsa;

    fn from_str(name: &str) -> Result<Self, UnknownIsa> {
        let mut all = Self::ALL.into_iter();
        all.find(|isa| isa.name() == name)
            .ok_or_else(|| UnknownIsa(name.to_owned()))
    }
}
