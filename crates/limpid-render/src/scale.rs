use crate::{Heatmap, RenderError};

/// How raw values become positions on a colour bar.
///
/// The scale runs from 0 to a limit, or from minus the limit to the limit for a
/// signed map; the limit is a percentile of the map's magnitudes, so that a few
/// outliers do not leave the rest in the dark. Values beyond it take the colour
/// of the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColorScale {
    /// Largest magnitude with a colour of its own, in units of the raw map; 0
    /// if the map is zero everywhere.
    pub limit: f64,
    /// Whether some value lies above the limit.
    pub clipped_above: bool,
    /// Whether some value lies below minus the limit (never for an unsigned
    /// scale, where negative values count as zero).
    pub clipped_below: bool,
    /// Whether the scale has a negative half.
    pub signed: bool,
}

/// One labelled position on a colour bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// Position from the lower end (0) to the upper end (1).
    pub position: f64,
    /// The value there in units of the raw map.
    pub value: f64,
    /// The value as text; "≥ " or "≤ " marks an end at which values are clipped.
    pub label: String,
}

impl ColorScale {
    /// Chooses the scale of `map`: `percentile` (0 to 100, linear between the
    /// sorted values) of |map|, or of its positive part if not `signed`. Where
    /// that is zero although the map is not (a few spots in a map of zeros),
    /// the largest magnitude serves.
    ///
    /// # Errors
    /// If the map's size is wrong, a value is not finite, or the percentile is
    /// outside of 0 to 100.
    pub fn of(map: Heatmap<'_>, signed: bool, percentile: f64) -> Result<Self, RenderError> {
        map.validate()?;
        if !(0.0..=100.0).contains(&percentile) {
            return Err(RenderError::Option {
                option: "percentile",
                value: percentile,
                range: "0 to 100",
            });
        }
        let magnitude = |v: &f32| if signed { v.abs() } else { v.max(0.0) };
        let mut sorted: Vec<f32> = map.data.iter().map(magnitude).collect();
        let position = percentile / 100.0 * (sorted.len() - 1) as f64;
        let low = (position.floor() as usize).min(sorted.len() - 1);
        let (_, below, above) = sorted.select_nth_unstable_by(low, f32::total_cmp);
        let below = f64::from(*below);
        let next = above
            .iter()
            .copied()
            .reduce(f32::min)
            .map_or(below, f64::from);
        let mut limit = below + (next - below) * (position - low as f64);
        if limit <= 0.0 {
            limit = f64::from(map.data.iter().map(magnitude).fold(0.0, f32::max));
        }
        Self::to(limit, map, signed)
    }

    /// The scale that ends at `limit`, in units of the raw map, drawn beside
    /// `map`: for several pictures that are to be compared.
    ///
    /// # Errors
    /// If the map's size is wrong or a value is not finite, or the limit is
    /// negative or not finite.
    ///
    /// ```
    /// use limpid_render::{ColorScale, Heatmap};
    /// let map = Heatmap { data: &[0.0, 3.0], height: 1, width: 2 };
    /// let scale = ColorScale::to(6.0, map, false)?;
    /// assert_eq!((scale.position(3.0), scale.clipped_above), (0.5, false));
    /// # Ok::<(), limpid_render::RenderError>(())
    /// ```
    pub fn to(limit: f64, map: Heatmap<'_>, signed: bool) -> Result<Self, RenderError> {
        map.validate()?;
        if !(limit.is_finite() && limit >= 0.0) {
            return Err(RenderError::Option {
                option: "limit",
                value: limit,
                range: "0 or more",
            });
        }
        Ok(Self {
            limit,
            clipped_above: map.data.iter().any(|v| f64::from(*v) > limit),
            clipped_below: signed && map.data.iter().any(|v| f64::from(*v) < -limit),
            signed,
        })
    }

    /// Position of a raw value on the colour bar, from 0 to 1.
    pub fn position(&self, value: f64) -> f64 {
        let t = if self.limit > 0.0 {
            (value / self.limit).clamp(-1.0, 1.0)
        } else {
            0.0
        };
        if self.signed {
            0.5 + 0.5 * t
        } else {
            t.max(0.0)
        }
    }

    /// Magnitude of a raw value relative to the limit, from 0 to 1.
    pub fn strength(&self, value: f64) -> f64 {
        let p = self.position(value);
        if self.signed {
            (2.0 * p - 1.0).abs()
        } else {
            p
        }
    }

    /// Labelled positions, from the lower end up: the ends with their exact
    /// values to three digits, and round values at least `spacing` (a share of
    /// the bar) apart between them.
    pub fn ticks(&self, spacing: f64) -> Vec<Tick> {
        let tick = |value: f64, mark: &str| Tick {
            position: self.position(value),
            value,
            label: format!("{mark}{}", format_value(value)),
        };
        if self.limit <= 0.0 {
            return vec![tick(0.0, "")];
        }
        let bottom = if self.signed { -self.limit } else { 0.0 };
        let low = tick(bottom, if self.clipped_below { "≤ " } else { "" });
        let high = tick(self.limit, if self.clipped_above { "≥ " } else { "" });
        let spacing = spacing.clamp(0.02, 1.0);
        let step = round_step((self.limit - bottom) * spacing.max(0.15));
        let mut ticks = vec![low];
        if step > 0.0 && step.is_finite() {
            let first = (bottom / step).ceil() as i64;
            let last = (self.limit / step).floor() as i64;
            for k in first..=last {
                let inner = tick(k as f64 * step, "");
                if inner.position >= spacing && inner.position <= 1.0 - spacing {
                    ticks.push(inner);
                }
            }
        }
        ticks.push(high);
        ticks
    }
}

/// The smallest of 1, 2, 5 times a power of ten that is not below `least`.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powi(least.log10().floor().clamp(-300.0, 300.0) as i32);
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|m| m * power)
        .find(|step| *step >= least * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

/// A value to three significant digits without trailing zeros: plain from 0.001
/// to 10000, else as `1.2e-5`.
///
/// ```
/// use limpid_render::format_value;
/// assert_eq!(format_value(0.0), "0");
/// assert_eq!(format_value(0.25), "0.25");
/// assert_eq!(format_value(-1.2345e-5), "−1.23e-5");
/// assert_eq!(format_value(12345.0), "1.23e4");
/// ```
pub fn format_value(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{:.2e}", value.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let trim = |s: &str| match s.contains('.') {
        true => s.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => s.to_owned(),
    };
    let magnitude: i32 = exponent.parse().unwrap_or(0);
    let text = if (-3..4).contains(&magnitude) {
        let decimals = (2 - magnitude).max(0) as usize;
        let rounded = scientific.parse::<f64>().unwrap_or_else(|_| value.abs());
        trim(&format!("{rounded:.decimals$}"))
    } else {
        format!("{}e{exponent}", trim(mantissa))
    };
    if value < 0.0 {
        format!("\u{2212}{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(data: &[f32], signed: bool, percentile: f64) -> ColorScale {
        let map = Heatmap {
            data,
            height: 1,
            width: data.len(),
        };
        ColorScale::of(map, signed, percentile).unwrap()
    }

    #[test]
    fn limit_is_the_percentile_as_numpy_computes_it() {
        // numpy.percentile(numpy.arange(101), 99.5) == 99.5
        let ramp: Vec<f32> = (0..101).map(|v| v as f32).collect();
        assert_eq!(scale(&ramp, false, 99.5).limit, 99.5);
        // numpy.percentile([3, 1, 4, 1, 5, 9, 2, 6], 90) == 6.9
        let digits = [3.0, -1.0, 4.0, 1.0, -5.0, -9.0, 2.0, 6.0];
        let digits = scale(&digits, true, 90.0);
        assert!((digits.limit - 6.9).abs() < 1e-6);
        assert!(digits.clipped_below && !digits.clipped_above);
    }

    #[test]
    fn sparse_and_zero_maps_have_a_scale() {
        let mut sparse = vec![0.0; 1000];
        sparse[7] = 3.0;
        assert_eq!(scale(&sparse, false, 99.5).limit, 3.0);
        let zero = scale(&[0.0; 9], true, 99.5);
        assert_eq!((zero.limit, zero.position(0.0)), (0.0, 0.5));
        assert_eq!(zero.ticks(0.1).len(), 1);
        assert_eq!(zero.ticks(0.1)[0].label, "0");
        // Negative values of an unsigned map count as zero.
        assert_eq!(scale(&[-1.0, -2.0], false, 99.5).limit, 0.0);
    }

    #[test]
    fn ticks_state_raw_values() {
        let mut data = vec![0.1_f32; 999];
        data.push(7.0);
        data[0] = -0.3;
        let labels = |signed| {
            let scale = scale(&data, signed, 100.0);
            let ticks = scale.ticks(0.08);
            for pair in ticks.windows(2) {
                assert!(pair[1].position - pair[0].position >= 0.08 - 1e-9);
            }
            for tick in &ticks {
                assert!((scale.position(tick.value) - tick.position).abs() < 1e-12);
            }
            ticks.into_iter().map(|t| t.label).collect::<Vec<_>>()
        };
        assert_eq!(labels(false), ["0", "2", "4", "6", "7"]);
        assert_eq!(labels(true), ["−7", "−5", "0", "5", "7"]);
        let clipped = scale(&data, false, 50.0).ticks(0.08);
        assert_eq!(clipped.last().unwrap().label, "≥ 0.1");
        let ends = scale(&[-2.5e-7, 1e-7], true, 0.0).ticks(0.1);
        assert_eq!(ends[0].label, "≤ −1e-7");
    }

    #[test]
    fn extreme_values_stay_finite() {
        for v in [f32::MAX, f32::MIN_POSITIVE, 1e-45] {
            let s = scale(&[v, -v, 0.0], true, 100.0);
            assert_eq!(s.position(f64::from(v)), 1.0);
            let ticks = s.ticks(0.1);
            assert!(ticks.len() > 1 && ticks.len() < 12, "{ticks:?}");
            assert!(ticks.iter().all(|t| t.position.is_finite()));
        }
    }

    #[test]
    fn values_read_well() {
        let cases = [
            (1.0, "1"),
            (-2.0, "−2"),
            (0.001234, "0.00123"),
            (0.0009999, "0.001"),
            (9.999, "10"),
            (9999.0, "1e4"),
            (1234.0, "1230"),
            (1.2e-3, "0.0012"),
            (1.2e-4, "1.2e-4"),
            (f64::from(f32::MAX), "3.4e38"),
        ];
        for (value, text) in cases {
            assert_eq!(format_value(value), text);
        }
    }
}
