use std::f64::consts::PI;

/// A point of a path and its weight in the integral.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Node {
    /// Where on the path, in the path's own unit.
    pub position: f64,
    /// The weight.
    pub weight: f64,
}

/// A quadrature on [0, 1]. Weights always sum to one, so a constant integrand
/// is integrated exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rule {
    /// Nodes at k / n.
    Left,
    /// Nodes at (k + 1) / n.
    Right,
    /// Nodes at (k + 1/2) / n.
    #[default]
    Midpoint,
    /// Nodes at k / (n - 1), the two ends counted half.
    Trapezoid,
    /// The zeros of the Legendre polynomial of degree n, moved to [0, 1].
    GaussLegendre,
}

impl Rule {
    /// The names that the parameter `rule` takes.
    pub const NAMES: [&str; 5] = ["left", "right", "midpoint", "trapezoid", "gauss-legendre"];

    /// The name that the parameter `rule` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The rule of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let rules = [
            Self::Left,
            Self::Right,
            Self::Midpoint,
            Self::Trapezoid,
            Self::GaussLegendre,
        ];
        rules.into_iter().find(|r| r.name() == name)
    }

    /// `n` nodes on [0, 1] in ascending order. The trapezoid needs two; with
    /// one it is the midpoint.
    ///
    /// ```
    /// use limpid_explain::Rule;
    /// let cubic: f64 = Rule::GaussLegendre
    ///     .nodes(2)
    ///     .iter()
    ///     .map(|n| n.weight * n.position.powi(3))
    ///     .sum();
    /// assert!((cubic - 0.25).abs() < 1e-15);
    /// ```
    #[must_use]
    pub fn nodes(self, n: usize) -> Vec<Node> {
        let count = n as f64;
        let uniform = |offset: f64| {
            let node = |k| Node {
                position: (k as f64 + offset) / count,
                weight: 1.0 / count,
            };
            (0..n).map(node).collect()
        };
        match self {
            Self::Left => uniform(0.0),
            Self::Right => uniform(1.0),
            Self::Trapezoid if n > 1 => (0..n)
                .map(|k| {
                    let half = if k == 0 || k == n - 1 { 0.5 } else { 1.0 };
                    Node {
                        position: k as f64 / (count - 1.0),
                        weight: half / (count - 1.0),
                    }
                })
                .collect(),
            Self::Midpoint | Self::Trapezoid => uniform(0.5),
            Self::GaussLegendre => (0..n).map(|k| gauss_legendre(n, k)).collect(),
        }
    }
}

/// Node `k` of `n`, by Newton's method from Tricomi's approximation of the zeros.
fn gauss_legendre(n: usize, k: usize) -> Node {
    let count = n as f64;
    let mut x = -((4.0 * k as f64 + 3.0) / (4.0 * count + 2.0) * PI).cos();
    let mut slope = 1.0;
    for _ in 0..100 {
        // Legendre's polynomials by Bonnet's recursion.
        let (mut before, mut value) = (1.0, x);
        for j in 2..=n {
            let j = j as f64;
            (before, value) = (
                value,
                ((2.0 * j - 1.0) * x * value - (j - 1.0) * before) / j,
            );
        }
        slope = count * (x * value - before) / (x * x - 1.0);
        let step = value / slope;
        x -= step;
        if step.abs() < 1e-15 {
            break;
        }
    }
    Node {
        position: (x + 1.0) / 2.0,
        weight: 1.0 / ((1.0 - x * x) * slope * slope),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one_and_order_is_reached() {
        let rules = Rule::NAMES.map(|n| Rule::from_name(n).unwrap());
        for rule in rules {
            for n in [1, 2, 3, 7, 64, 501] {
                let nodes = rule.nodes(n);
                assert_eq!(nodes.len(), n);
                let sum: f64 = nodes.iter().map(|n| n.weight).sum();
                assert!((sum - 1.0).abs() < 1e-12, "{rule:?} {n}: {sum}");
                assert!(nodes.is_sorted_by(|a, b| a.position < b.position));
            }
            let error = |n| {
                let sum: f64 = rule
                    .nodes(n)
                    .iter()
                    .map(|n| n.weight * n.position.exp())
                    .sum();
                (sum - (1f64.exp() - 1.0)).abs()
            };
            let ratio = error(8) / error(16);
            let order = match rule {
                Rule::Left | Rule::Right => 2.0,
                Rule::Midpoint | Rule::Trapezoid => 4.0,
                Rule::GaussLegendre => {
                    assert!(error(8) < 1e-14);
                    continue;
                }
            };
            assert!((ratio / order).ln().abs() < 0.2, "{rule:?}: {ratio}");
        }
    }

    /// A trapezoid with spacing 1/(n-1) and weights 1/n, as a well-known
    /// library has it, is low by 1/n on a linear model.
    #[test]
    fn a_linear_model_is_exact_under_the_trapezoid() {
        let sum: f64 = Rule::Trapezoid
            .nodes(50)
            .iter()
            .map(|n| n.weight * 3.0)
            .sum();
        assert!((sum - 3.0).abs() < 1e-13);
    }
}
