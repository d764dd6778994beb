use limpid_tensor::{Tensor, TensorError};

/// A map on a layer's grid, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct GridMap {
    /// The grid's rows.
    pub rows: usize,
    /// The grid's columns.
    pub columns: usize,
    /// The value of each cell.
    pub values: Vec<f64>,
}

impl GridMap {
    /// On the grid of a layer's output, `[C, h, w]`.
    pub(super) fn on(activation: &Tensor, values: Vec<f64>) -> Self {
        let [_, rows, columns] = extents(activation);
        Self {
            rows,
            columns,
            values,
        }
    }

    /// The same map on another grid: bilinear, with cells' centres at half
    /// integers, constant beyond the outermost centres.
    #[must_use]
    pub fn resized(&self, rows: usize, columns: usize) -> Self {
        let (ys, xs) = (taps(self.rows, rows), taps(self.columns, columns));
        let mut values = Vec::with_capacity(rows * columns);
        for y in &ys {
            let row = |at: usize| &self.values[at * self.columns..][..self.columns];
            let (upper, lower) = (row(y.low), row(y.high));
            values.extend(xs.iter().map(|x| y.between(x.of(upper), x.of(lower))));
        }
        Self {
            rows,
            columns,
            values,
        }
    }

    /// The largest absolute value.
    pub(super) fn largest(&self) -> f64 {
        self.values.iter().fold(0.0, |most, v| v.abs().max(most))
    }

    pub(super) fn is_finite(&self) -> bool {
        self.values.iter().all(|v| v.is_finite())
    }

    /// The map as an attribution has it, `[h, w]`.
    pub(super) fn tensor(&self) -> Result<Tensor, TensorError> {
        let values = self.values.iter().map(|v| *v as f32).collect();
        Tensor::new([self.rows, self.columns], values)
    }
}

/// Channels, rows and columns of a layer's output.
pub(super) fn extents(activation: &Tensor) -> [usize; 3] {
    let dims = activation.dims();
    [dims[0], dims[1], dims[2]]
}

/// The channels of a layer's output, as slices.
pub(super) fn channels(activation: &Tensor) -> impl Iterator<Item = &[f32]> {
    let [_, rows, columns] = extents(activation);
    activation.data().chunks((rows * columns).max(1))
}

/// Two elements and where a position lies between them.
struct Tap {
    low: usize,
    high: usize,
    part: f64,
}

impl Tap {
    fn between(&self, low: f64, high: f64) -> f64 {
        low + self.part * (high - low)
    }

    fn of(&self, row: &[f64]) -> f64 {
        self.between(row[self.low], row[self.high])
    }
}

/// Where `to` elements lie among `from`.
fn taps(from: usize, to: usize) -> Vec<Tap> {
    let last = from.saturating_sub(1);
    let place = |i: usize| {
        let at = (i as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        let at = at.clamp(0.0, last as f64);
        let low = at as usize;
        Tap {
            low,
            high: (low + 1).min(last),
            part: at - low as f64,
        }
    };
    (0..to).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`.
    #[test]
    fn resizing_is_pytorchs() {
        let map = GridMap {
            rows: 2,
            columns: 3,
            values: vec![1.0, -2.0, 4.0, 0.5, 3.0, -1.0],
        };
        let close = |rows, columns, expected: &[f64]| {
            let found = map.resized(rows, columns).values;
            assert_eq!(found.len(), expected.len());
            for (f, e) in found.iter().zip(expected) {
                assert!((f - e).abs() < 1e-12, "{found:?}, {expected:?}");
            }
        };
        let larger = [
            1.0, -0.875, 0.25, 4.0, 0.75, 0.59375, 0.875, 1.5, 0.5, 2.0625, 1.5, -1.0,
        ];
        close(3, 4, &larger);
        close(1, 2, &[0.6875, 1.25]);
        assert_eq!(map.resized(2, 3), map);
    }
}
