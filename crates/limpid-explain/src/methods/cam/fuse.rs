use super::GridMap;

/// How the maps of several layers become one.
///
/// ```
/// use limpid_explain::methods::Fuse;
/// assert_eq!(Fuse::from_name("max"), Some(Fuse::Max));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fuse {
    /// Their mean.
    #[default]
    Mean,
    /// Their largest value at each cell.
    Max,
    /// Their product at each cell.
    Product,
}

impl Fuse {
    /// The names that the parameter `fuse` takes.
    pub const NAMES: [&str; 3] = ["mean", "max", "product"];

    /// The name that the parameter `fuse` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The fusion of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Mean, Self::Max, Self::Product];
        all.into_iter().find(|f| f.name() == name)
    }

    /// One map as it is; several on the largest grid, each divided by its
    /// largest absolute value. A map of zeros stays one.
    pub(super) fn join(self, mut maps: Vec<GridMap>) -> GridMap {
        if maps.len() == 1 {
            return maps.remove(0);
        }
        let rows = maps.iter().map(|m| m.rows).max().unwrap_or(0);
        let columns = maps.iter().map(|m| m.columns).max().unwrap_or(0);
        let count = maps.len() as f64;
        let scaled = maps.iter().map(|map| {
            let mut map = map.resized(rows, columns);
            let largest = map.largest();
            if largest > 0.0 {
                map.values.iter_mut().for_each(|v| *v /= largest);
            }
            map
        });
        let joined = scaled.reduce(|mut joined, map| {
            for (a, b) in joined.values.iter_mut().zip(map.values) {
                *a = match self {
                    Self::Mean => *a + b,
                    Self::Max => a.max(b),
                    Self::Product => *a * b,
                };
            }
            joined
        });
        let mut joined = joined.unwrap_or(GridMap {
            rows,
            columns,
            values: Vec::new(),
        });
        if self == Self::Mean {
            joined.values.iter_mut().for_each(|v| *v /= count);
        }
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(rows: usize, columns: usize, values: &[f64]) -> GridMap {
        GridMap {
            rows,
            columns,
            values: values.to_vec(),
        }
    }

    #[test]
    fn one_map_is_left_alone() {
        let one = map(1, 2, &[-40.0, 3.0]);
        for fuse in [Fuse::Mean, Fuse::Max, Fuse::Product] {
            assert_eq!(fuse.join(vec![one.clone()]), one);
        }
    }

    /// Resized to [2, 1.5, 0.5, 0] and [-4, -4, 8, 8], divided by 2 and 8.
    #[test]
    fn several_are_resized_and_scaled_alike() {
        let maps = || vec![map(1, 2, &[2.0, 0.0]), map(1, 4, &[-4.0, -4.0, 8.0, 8.0])];
        let joined = |fuse: Fuse| fuse.join(maps()).values;
        assert_eq!(joined(Fuse::Mean), [0.25, 0.125, 0.625, 0.5]);
        assert_eq!(joined(Fuse::Max), [1.0, 0.75, 1.0, 1.0]);
        assert_eq!(joined(Fuse::Product), [-0.5, -0.375, 0.25, 0.0]);
    }

    #[test]
    fn a_map_of_zeros_stays_one() {
        let maps = vec![map(1, 2, &[0.0, 0.0]), map(1, 2, &[1.0, -2.0])];
        assert_eq!(Fuse::Mean.join(maps).values, [0.25, -0.5]);
    }
}
