//! The transforms of F(2 x 2, 3 x 3) and F(4 x 4, 3 x 3), and of their weights.
//!
//! Both are the Toom-Cook construction (A. Lavin and S. Gray, "Fast algorithms
//! for convolutional neural networks", 2015; B. Barabasz et al., "Error analysis
//! and improving the accuracy of Winograd convolution", 2020): a tile and a
//! kernel are evaluated at points, multiplied there, and the products are
//! interpolated. Points of the larger are 0, ±3/4, ±3/2 and infinity, whose
//! factors are all exact in binary: its rounding error is half that of the
//! usual 0, ±1, ±2, a little under twice that of a direct sum.

use crate::simd::Simd;

/// An output tile of M x M out of an input tile of A x A, in one dimension.
pub(super) trait Transform<const M: usize, const A: usize> {
    /// The values of an input line at the points.
    fn input<S: Simd>(s: S, x: [S::V; A]) -> [S::V; A];

    /// The output line from the products at the points.
    fn output<S: Simd>(s: S, y: [S::V; A]) -> [S::V; M];
}

/// Two outputs of four inputs.
pub(super) struct Two;

impl Transform<2, 4> for Two {
    #[inline(always)]
    fn input<S: Simd>(s: S, x: [S::V; 4]) -> [S::V; 4] {
        [
            s.sub(x[2], x[0]),
            s.add(x[1], x[2]),
            s.sub(x[2], x[1]),
            s.sub(x[3], x[1]),
        ]
    }

    #[inline(always)]
    fn output<S: Simd>(s: S, y: [S::V; 4]) -> [S::V; 2] {
        let (sum, difference) = (s.add(y[1], y[2]), s.sub(y[1], y[2]));
        [s.add(y[0], sum), s.add(difference, y[3])]
    }
}

/// Four outputs of six inputs.
pub(super) struct Four;

/// The points beside 0 and infinity are ±P and ±Q.
const P: f32 = 0.75;
const Q: f32 = 1.5;
const PP: f32 = P * P;
const QQ: f32 = Q * Q;

impl Transform<4, 6> for Four {
    #[inline(always)]
    fn input<S: Simd>(s: S, x: [S::V; 6]) -> [S::V; 6] {
        let scaled = |factor: f32, a: S::V, b: S::V| s.fma(s.splat(factor), a, b);
        // x(x ± P)(x² - Q²) and x(x ± Q)(x² - P²), even and odd parts apart.
        let (even_p, even_q) = (scaled(-QQ, x[2], x[4]), scaled(-PP, x[2], x[4]));
        let odd_p = s.mul(s.splat(P), scaled(-QQ, x[1], x[3]));
        let odd_q = s.mul(s.splat(Q), scaled(-PP, x[1], x[3]));
        [
            scaled(PP * QQ, x[0], scaled(-(PP + QQ), x[2], x[4])),
            s.add(even_p, odd_p),
            s.sub(even_p, odd_p),
            s.add(even_q, odd_q),
            s.sub(even_q, odd_q),
            scaled(PP * QQ, x[1], scaled(-(PP + QQ), x[3], x[5])),
        ]
    }

    #[inline(always)]
    fn output<S: Simd>(s: S, y: [S::V; 6]) -> [S::V; 4] {
        let (sum_p, odd_p) = (s.add(y[1], y[2]), s.sub(y[1], y[2]));
        let (sum_q, odd_q) = (s.add(y[3], y[4]), s.sub(y[3], y[4]));
        let both = |p: f32, a: S::V, q: f32, b: S::V| s.fma(s.splat(p), a, s.mul(s.splat(q), b));
        [
            s.add(y[0], s.add(sum_p, sum_q)),
            both(P, odd_p, Q, odd_q),
            both(PP, sum_p, QQ, sum_q),
            s.add(y[5], both(P * PP, odd_p, Q * QQ, odd_q)),
        ]
    }
}

/// The rows of the matrix that evaluates a kernel of three at the points of the
/// transform with this output tile, each over the product of its point's
/// distances from the others.
pub(crate) fn kernel_matrix(tile: usize) -> Vec<[f64; 3]> {
    let points: &[f64] = if tile == 2 {
        &[0.0, 1.0, -1.0]
    } else {
        &[0.0, P as f64, -P as f64, Q as f64, -Q as f64]
    };
    let row = |(j, x): (usize, &f64)| {
        let others = points.iter().enumerate().filter(|(k, _)| *k != j);
        let distances: f64 = others.map(|(_, y)| x - y).product();
        [1.0, *x, x * x].map(|power| power / distances)
    };
    let finite = points.iter().enumerate().map(row);
    finite.chain([[0.0, 0.0, 1.0]]).collect()
}
