/// A colour map that stays readable with any colour vision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Palette {
    /// For maps without sign: matplotlib's *inferno* by N. Smith and
    /// S. van der Walt (CC0), whose lightness rises evenly from black to light
    /// yellow.
    Sequential,
    /// For signed maps: ColorBrewer's *RdBu* by C. Brewer, from blue (negative)
    /// over near-white at zero to red (positive). Blue and red differ for every
    /// common form of colour blindness, and lightness tells the magnitude. The
    /// outermost tenths are left out: their dark red has no hue without red cones.
    Diverging,
}

impl Palette {
    /// The sRGB colour at `t`, from 0 to 1 (values outside are clamped, NaN
    /// counts as 0). For [`Palette::Diverging`] 0.5 is the raw value zero.
    pub fn color(self, t: f64) -> [u8; 3] {
        let t = if t.is_nan() { 0.0 } else { t.clamp(0.0, 1.0) };
        let color = match self {
            Self::Sequential => colorous::INFERNO.eval_continuous(t),
            Self::Diverging => colorous::RED_BLUE.eval_continuous(0.9 - 0.8 * t),
        };
        [color.r, color.g, color.b]
    }

    /// The colours at 1024 even steps, for looking up pixels.
    pub(crate) fn table(self) -> Vec<[f32; 3]> {
        (0..TABLE)
            .map(|i| self.color(i as f64 / (TABLE - 1) as f64).map(f32::from))
            .collect()
    }
}

pub(crate) const TABLE: usize = 1024;

/// Rec. 709 luma of an sRGB pixel, 0 to 255.
pub(crate) fn luma([r, g, b]: [f32; 3]) -> f32 {
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

/// `a` with `t` of `b` mixed in.
pub(crate) fn mix(a: [f32; 3], b: [f32; 3], t: f32) -> [f32; 3] {
    std::array::from_fn(|i| a[i] + (b[i] - a[i]) * t)
}

pub(crate) fn to_u8(color: [f32; 3]) -> [u8; 3] {
    color.map(|v| (v + 0.5).clamp(0.0, 255.0) as u8)
}
