use std::fmt;

/// The element type of a value in a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DType {
    /// 32-bit IEEE float.
    F32,
    /// 32-bit unsigned integer: keys and counters of random numbers.
    U32,
    /// One bit an element: the mask that an activation's gradient needs.
    Bits,
    /// One byte an element: the tap of a window that was the largest.
    U8,
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::U32 => "u32",
            Self::Bits => "bits",
            Self::U8 => "u8",
        })
    }
}
