use crate::RenderError;

/// A raw map on its own grid, row by row: 7x7 for a class activation map,
/// 224x224 for a gradient, and so on. Signed or not, in any unit.
#[derive(Debug, Clone, Copy)]
pub struct Heatmap<'a> {
    /// The values, `[height, width]` in C order.
    pub data: &'a [f32],
    /// Rows of the grid.
    pub height: usize,
    /// Columns of the grid.
    pub width: usize,
}

impl Heatmap<'_> {
    /// Checks the size and that every value is finite.
    pub(crate) fn validate(&self) -> Result<(), RenderError> {
        let (width, height) = (self.width, self.height);
        if width == 0 || height == 0 {
            return Err(RenderError::Empty {
                what: "map",
                width,
                height,
            });
        }
        let expected = width.saturating_mul(height);
        if self.data.len() != expected {
            return Err(RenderError::Size {
                what: "map",
                width,
                height,
                expected,
                actual: self.data.len(),
            });
        }
        match self.data.iter().position(|v| !v.is_finite()) {
            None => Ok(()),
            Some(index) => Err(RenderError::NonFinite {
                index,
                row: index / width,
                column: index % width,
                value: self.data[index],
            }),
        }
    }

    /// The map averaged over its neighbourhood, for the eye: a Gaussian of
    /// standard deviation `sigma` in cells (0.1 to 16), cut off at three of
    /// them, edges continued. Maps of single pixels alternate in sign from one
    /// to the next, so that their raw values look like scattered dots.
    ///
    /// # Errors
    /// If the map does not have its stated size or is not finite.
    ///
    /// ```
    /// let map = limpid_render::Heatmap { data: &[0.0, 4.0, 0.0], height: 1, width: 3 };
    /// let smooth = map.smoothed(1.0)?;
    /// assert!(smooth[1] < 4.0 && smooth[0] > 0.0 && smooth[0] == smooth[2]);
    /// # Ok::<(), limpid_render::RenderError>(())
    /// ```
    pub fn smoothed(&self, sigma: f64) -> Result<Vec<f32>, RenderError> {
        self.validate()?;
        let sigma = if sigma.is_nan() {
            1.0
        } else {
            sigma.clamp(0.1, 16.0)
        };
        let radius = (3.0 * sigma).ceil() as isize;
        let taps: Vec<f64> = (-radius..=radius)
            .map(|i| (-0.5 * (i as f64 / sigma).powi(2)).exp())
            .collect();
        let total: f64 = taps.iter().sum();
        let (h, w) = (self.height, self.width);
        let mean = |at: usize, end: usize, value: &dyn Fn(usize) -> f64| {
            let near = |i: usize| (at as isize + i as isize - radius).clamp(0, end as isize - 1);
            let terms = taps.iter().enumerate();
            terms.map(|(i, t)| t * value(near(i) as usize)).sum::<f64>() / total
        };
        let rows: Vec<f64> = (0..h * w)
            .map(|i| mean(i % w, w, &|x| f64::from(self.data[i / w * w + x])))
            .collect();
        let columns = (0..h * w).map(|i| mean(i / w, h, &|y| rows[y * w + i % w]));
        Ok(columns.map(|v| v as f32).collect())
    }

    /// Value between the grid's points, by two taps for each axis.
    pub(crate) fn sample(&self, column: Taps, row: Taps) -> f64 {
        let at = |r: usize, c: usize| f64::from(self.data[r * self.width + c]);
        let upper = lerp(at(row.low, column.low), at(row.low, column.high), column.t);
        let lower = lerp(
            at(row.high, column.low),
            at(row.high, column.high),
            column.t,
        );
        lerp(upper, lower, row.t)
    }
}

fn lerp(a: f64, b: f64, t: f64) -> f64 {
    a * (1.0 - t) + b * t
}

/// The two grid points around a position and how far it is from the first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Taps {
    low: usize,
    high: usize,
    t: f64,
}

impl Taps {
    /// `position` runs from 0 at the outer edge of the first cell to `cells` at
    /// the outer edge of the last one: cell centres lie at halves, and beyond
    /// the outermost centres the value stays.
    pub(crate) fn new(position: f64, cells: usize) -> Self {
        let last = cells.saturating_sub(1);
        let p = (position - 0.5).clamp(0.0, last as f64);
        let low = (p.floor() as usize).min(last);
        Self {
            low,
            high: (low + 1).min(last),
            t: p - low as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_lie_at_cell_centres_and_clamp_at_the_edges() {
        let expect = |position, low, high, t| {
            assert_eq!(Taps::new(position, 4), Taps { low, high, t });
        };
        expect(0.5, 0, 1, 0.0);
        expect(1.0, 0, 1, 0.5);
        expect(0.0, 0, 1, 0.0);
        expect(4.0, 3, 3, 0.0);
        expect(2.75, 2, 3, 0.25);
        assert_eq!(Taps::new(f64::NAN, 1).high, 0);
    }

    #[test]
    fn bilinear_interpolation_is_exact_on_a_plane() {
        let (h, w) = (5, 6);
        let data: Vec<f32> = (0..h * w)
            .map(|i| 2.0 * (i % w) as f32 - 3.0 * (i / w) as f32 + 0.5)
            .collect();
        let map = Heatmap {
            data: &data,
            height: h,
            width: w,
        };
        for (x, y) in [(1.3, 0.9), (4.99, 3.2), (0.5, 4.5)] {
            let value = map.sample(Taps::new(x, w), Taps::new(y, h));
            let plane = 2.0 * (x - 0.5) - 3.0 * (y - 0.5) + 0.5;
            assert!((value - plane).abs() < 1e-9, "{value} at ({x}, {y})");
        }
    }

    #[test]
    fn wrong_sizes_and_values_are_refused() {
        let map = |data, height, width| {
            Heatmap {
                data,
                height,
                width,
            }
            .validate()
            .map_err(|e| e.to_string())
        };
        assert!(map(&[1.0, 2.0], 1, 2).is_ok());
        assert!(map(&[], 0, 2).unwrap_err().contains("empty (2x0)"));
        assert!(map(&[1.0], 1, 2).unwrap_err().contains("needs 2 values"));
        assert!(map(&[1.0], usize::MAX, 2).is_err());
        let error = map(&[1.0, 2.0, f32::NAN, 0.0], 2, 2).unwrap_err();
        assert!(error.contains("row 1, column 0"), "{error}");
    }
}
