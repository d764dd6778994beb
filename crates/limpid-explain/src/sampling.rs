//! Joint sampling: one position on the path and one draw of noise for each
//! gradient, in place of all positions for each draw.
//!
//! With nested sampling the error of a smoothed map falls with the number of
//! draws alone, and each draw costs a whole path. Here every gradient has a
//! draw of its own. Positions are stratified by a scrambled Sobol sequence and
//! taken from a density that a pilot measures; the weight of a gradient is one
//! over its density, so the estimate stays unbiased. The gradients belong in
//! turn to eight replicates with independent scrambles, whose spread is the
//! standard error (Owen, "Monte Carlo theory, methods and examples", ch. 17).

use crate::{ExplainError, Node, Planner, Sample, Sums, Weighted};
use limpid_tensor::{Tensor, philox};

/// Independent estimates of the map.
pub const REPLICATES: usize = 8;

/// Gradients of the pilot: three of each replicate.
pub const PILOT: u64 = 24;

/// A stopping rule is tested after so many gradients.
pub const BLOCK: u64 = 32;

/// The stream of random numbers that scrambles positions.
const POSITION_STREAM: u32 = 2;

/// Parts of the path on which the density is constant.
const BINS: usize = 64;

/// The share of the density that does not follow the pilot, so that no weight
/// is ever large.
const DEFENSIVE: f64 = 0.2;

/// How long a joint sampling goes on.
///
/// ```
/// use limpid_explain::Joint;
/// assert_eq!(Joint::default().evaluations, 200);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Joint {
    /// The most gradients, the pilot's among them; at least 16, and rounded up
    /// to a multiple of 8.
    pub evaluations: u64,
    /// The relative standard error (the L2 norm of the standard error over that
    /// of the map) at which it stops before that, tested every 32 gradients.
    pub tolerance: Option<f64>,
}

impl Default for Joint {
    fn default() -> Self {
        Self {
            evaluations: 200,
            tolerance: None,
        }
    }
}

impl Joint {
    /// The gradients that are taken at most.
    #[must_use]
    pub fn total(&self) -> u64 {
        let replicates = REPLICATES as u64;
        self.evaluations
            .clamp(16, 1 << 40)
            .next_multiple_of(replicates)
    }
}

/// Element `index` of one of the first two dimensions (0 or 1) of Sobol's
/// sequence, with Owen's scramble: of any first 2^k elements one lies in each of
/// the 2^k parts of [0, 1), and with both dimensions in each rectangle that
/// is one of 2^k equal ones.
///
/// The scramble is Laine and Karras's hash ("Stratified sampling for stochastic
/// transparency", EGSR 2011), with the constants of Burley ("Practical
/// hash-based Owen scrambling", JCGT 2020).
///
/// ```
/// use limpid_explain::sampling::scrambled_sobol;
/// let mut parts: Vec<u32> = (0..8).map(|i| (8.0 * scrambled_sobol(i, 0, 5)) as u32).collect();
/// parts.sort();
/// assert_eq!(parts, [0, 1, 2, 3, 4, 5, 6, 7]);
/// ```
#[must_use]
pub fn scrambled_sobol(index: u32, dimension: u32, scramble: u32) -> f64 {
    // The hash works on reversed bits. In the first dimension an element is the
    // reversed index: the two reversals cancel.
    let mut x = index;
    if dimension == 1 {
        let (mut direction, mut bits, mut element) = (1u32 << 31, index, 0);
        while bits != 0 {
            if bits & 1 == 1 {
                element ^= direction;
            }
            direction ^= direction >> 1;
            bits >>= 1;
        }
        x = element.reverse_bits();
    }
    x = x.wrapping_add(scramble);
    x ^= x.wrapping_mul(0x6c50_b47c);
    x ^= x.wrapping_mul(0xb82f_1e52);
    x ^= x.wrapping_mul(0xc7af_e638);
    x ^= x.wrapping_mul(0x8d22_f6e6);
    (f64::from(x.reverse_bits()) + 0.5) / 4_294_967_296.0
}

/// The number in (0, 1) of a draw, stratified within its replicate. `purpose`
/// tells sequences of one seed apart; that of baselines is the second dimension
/// to the first, which is that of positions.
pub(crate) fn stratified(seed: u64, purpose: u32, draw: u64) -> f64 {
    let (replicate, index) = (draw % REPLICATES as u64, draw / REPLICATES as u64);
    let words = philox::philox4x32(
        [0, replicate as u32, purpose, POSITION_STREAM],
        philox::key(seed),
    );
    scrambled_sobol(index as u32, u32::from(purpose == BASELINES), words[0])
}

/// The purposes of [`stratified`].
pub(crate) const PILOT_POSITIONS: u32 = 0;
pub(crate) const POSITIONS: u32 = 1;
pub(crate) const BASELINES: u32 = 2;

/// A density on [0, 1], constant on equal parts.
#[derive(Debug, Clone)]
struct Density {
    values: Vec<f64>,
    cumulative: Vec<f64>,
}

impl Density {
    fn new(mut values: Vec<f64>) -> Self {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let mut sum = 0.0;
        let mut cumulative = vec![0.0];
        for v in &mut values {
            *v = DEFENSIVE + (1.0 - DEFENSIVE) * if mean > 0.0 { *v / mean } else { 1.0 };
            sum += *v;
            cumulative.push(sum);
        }
        for c in &mut cumulative {
            *c /= sum;
        }
        Self { values, cumulative }
    }

    /// The density that makes the variance least: in proportion to the root of
    /// the integrand's second moment, which neighbouring points of the pilot
    /// estimate. `pilot` holds positions and squared norms.
    fn from_pilot(pilot: &[(f64, f64)]) -> Self {
        let bandwidth = 2.0 / pilot.len().max(1) as f64;
        let at = |u: f64| {
            let (mut sum, mut weights) = (0.0, 0.0);
            for (v, moment) in pilot {
                let weight = (-0.5 * ((u - v) / bandwidth).powi(2)).exp();
                sum += weight * moment;
                weights += weight;
            }
            (sum / weights.max(f64::MIN_POSITIVE)).sqrt()
        };
        let bins = 0..BINS;
        Self::new(bins.map(|i| at((i as f64 + 0.5) / BINS as f64)).collect())
    }

    /// The position below which a share of `x` lies, and the density there.
    fn quantile(&self, x: f64) -> (f64, f64) {
        let bins = self.values.len();
        let bin = self.cumulative[1..]
            .partition_point(|c| *c <= x)
            .min(bins - 1);
        let (low, high) = (self.cumulative[bin], self.cumulative[bin + 1]);
        let within = ((x - low) / (high - low)).clamp(0.0, 1.0);
        ((bin as f64 + within) / bins as f64, self.values[bin])
    }
}

/// A planner of joint sampling. Sum `r` of its accumulation is that of
/// replicate `r`.
pub(crate) struct JointPlanner<'a> {
    joint: Joint,
    seed: u64,
    /// The point of the path at a parameter in [0, 1], and its weight: minus or
    /// plus the position's derivative with respect to the parameter.
    walk: &'a (dyn Fn(f64) -> Node + 'a),
    density: Density,
    /// The pilot's sums, where the rule that stops needs them.
    before: Vec<Tensor>,
    done: u64,
}

impl<'a> JointPlanner<'a> {
    /// The pilot's parameters and points, for [`new`](Self::new).
    pub(crate) fn pilot(seed: u64, walk: &dyn Fn(f64) -> Node) -> Vec<(f64, Weighted)> {
        let point = |draw: u64| {
            let u = stratified(seed, PILOT_POSITIONS, draw);
            (u, weighted(draw, walk(u), 1.0))
        };
        (0..PILOT).map(point).collect()
    }

    /// `pilot` holds the parameters and the squared norms of the pilot's
    /// terms; empty for a sampling without a pilot. `before` holds their sums
    /// where there is a tolerance.
    pub(crate) fn new(
        joint: Joint,
        seed: u64,
        walk: &'a (dyn Fn(f64) -> Node + 'a),
        pilot: &[(f64, f64)],
        before: Vec<Tensor>,
    ) -> Self {
        let density = match pilot {
            [] => Density::new(vec![1.0; BINS]),
            pilot => Density::from_pilot(pilot),
        };
        Self {
            joint,
            seed,
            walk,
            density,
            before,
            done: pilot.len() as u64,
        }
    }

    /// How many gradients there are in all sums.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }
}

/// A draw's point with the weight of a sample from a density.
fn weighted(draw: u64, node: Node, density: f64) -> Weighted {
    Weighted {
        sample: Sample {
            draw,
            position: node.position,
        },
        weight: node.weight / density,
        row: (draw % REPLICATES as u64) as usize,
    }
}

impl Planner for JointPlanner<'_> {
    fn next(&mut self, sums: &mut Sums<'_>) -> Result<Vec<Weighted>, ExplainError> {
        if let Some(tolerance) = self.joint.tolerance
            && self.done > PILOT
        {
            let mut sums = sums()?;
            for (sum, before) in sums.iter_mut().zip(&self.before) {
                let pairs = sum.data_mut().iter_mut().zip(before.data());
                pairs.for_each(|(v, b)| *v += b);
            }
            let estimate = Estimate::of(&sums, self.done)?;
            if estimate.relative_error() <= tolerance {
                return Ok(Vec::new());
            }
        }
        let first = self.done;
        self.done = self.joint.total().min(first + BLOCK).max(first);
        let point = |draw: u64| {
            let x = stratified(self.seed, POSITIONS, draw);
            let (u, density) = self.density.quantile(x);
            weighted(draw, (self.walk)(u), density)
        };
        Ok((first..self.done).map(point).collect())
    }
}

/// A map and its standard error.
#[derive(Debug, Clone)]
pub struct Estimate {
    /// The map: the mean of the replicates.
    pub map: Tensor,
    /// The standard error of each element: the replicates' standard deviation
    /// over the root of their number. With eight of them the 95 % interval is
    /// 2.36 of it to either side, Student's quantile for seven degrees of freedom.
    pub standard_error: Tensor,
}

impl Estimate {
    /// From the replicates' sums, to which `evaluations` terms were added in all.
    pub(crate) fn of(sums: &[Tensor], evaluations: u64) -> Result<Self, ExplainError> {
        let moments = (0..sums[0].data().len()).map(|i| {
            let values = sums.iter().map(|s| f64::from(s.data()[i]));
            let mean = values.clone().sum::<f64>() / REPLICATES as f64;
            (mean, values.map(|v| (v - mean).powi(2)).sum())
        });
        Self::from_moments(sums[0].dims(), moments, evaluations)
    }

    /// From the mean of the replicates' sums and the sum of squared deviations
    /// from it, element by element.
    pub(crate) fn from_moments(
        dims: &[usize],
        moments: impl Iterator<Item = (f64, f64)>,
        evaluations: u64,
    ) -> Result<Self, ExplainError> {
        let rows = REPLICATES as f64;
        let share = rows / evaluations as f64;
        let error = |squares: f64| (squares / (rows - 1.0) / rows).sqrt() * share;
        let scaled = moments.map(|(mean, squares)| ((mean * share) as f32, error(squares) as f32));
        let (map, standard_error) = scaled.unzip();
        Ok(Self {
            map: Tensor::new(dims, map)?,
            standard_error: Tensor::new(dims, standard_error)?,
        })
    }

    /// The L2 norm of the standard error over that of the map; infinite for a
    /// map of zeros that is not known to be one.
    #[must_use]
    pub fn relative_error(&self) -> f64 {
        relative(&self.standard_error, &self.map)
    }
}

/// The L2 norm of one tensor over that of another; 0 over 0 is 0.
pub(crate) fn relative(a: &Tensor, b: &Tensor) -> f64 {
    let norm = |t: &Tensor| t.data().iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    let (a, b) = (norm(a).sqrt(), norm(b).sqrt());
    if a == 0.0 { 0.0 } else { a / b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_stratified_and_uniform() {
        for (dimension, scramble) in [(0, 0), (0, 1), (1, 0), (1, 77), (0, u32::MAX)] {
            for bits in 0..12 {
                let n = 1u32 << bits;
                let mut seen = vec![false; n as usize];
                for i in 0..n {
                    let x = scrambled_sobol(i, dimension, scramble);
                    let part = (x * f64::from(n)) as usize;
                    assert!(!std::mem::replace(&mut seen[part], true), "{n} {scramble}");
                }
            }
        }
        // Over scrambles, an element is uniform.
        let mean = (0..4096u32)
            .map(|s| scrambled_sobol(3, 0, s.wrapping_mul(0x9E37_79B9)))
            .sum::<f64>()
            / 4096.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }

    /// Both dimensions together: every shape of rectangle holds its one point.
    #[test]
    fn pairs_are_stratified() {
        for (rows, columns) in [(1, 16), (2, 8), (4, 4), (8, 2), (16, 1)] {
            let mut seen = [false; 16];
            for i in 0..16 {
                let (x, y) = (scrambled_sobol(i, 0, 99), scrambled_sobol(i, 1, 1234));
                let cell = (x * f64::from(rows)) as usize * columns + (y * columns as f64) as usize;
                assert!(
                    !std::mem::replace(&mut seen[cell], true),
                    "{rows} x {columns}"
                );
            }
        }
    }

    #[test]
    fn densities_integrate_to_one_and_invert() {
        let pilot: Vec<(f64, f64)> = (0..24)
            .map(|i| {
                let u = (f64::from(i) + 0.5) / 24.0;
                (u, (1.0 - u).powi(4))
            })
            .collect();
        let density = Density::from_pilot(&pilot);
        let integral = density.values.iter().sum::<f64>() / BINS as f64;
        assert!((integral - 1.0).abs() < 1e-12);
        assert!(density.values[0] > 2.0 * density.values[BINS - 1]);
        // One over the density, averaged over the density, is the length.
        let n = 100_000;
        let mean = (0..n)
            .map(|i| 1.0 / density.quantile((f64::from(i) + 0.5) / f64::from(n)).1)
            .sum::<f64>()
            / f64::from(n);
        assert!((mean - 1.0).abs() < 1e-4, "{mean}");
        assert_eq!(density.quantile(0.0).0, 0.0);
        assert!((density.quantile(1.0).0 - 1.0).abs() < 1e-12);
    }

    /// The mean over many seeds is the integral, and the standard error is the
    /// spread that is seen.
    #[test]
    fn estimates_are_unbiased_and_know_their_error() {
        let walk = |u: f64| Node {
            position: u,
            weight: 1.0,
        };
        let integrand = |w: &Weighted, seed: u64| {
            let key = philox::key(seed);
            let noise = philox::normal4(key, 0, philox::key(w.sample.draw), 0)[0];
            let u = w.sample.position;
            w.weight * (-5.0 * u).exp() * (1.0 + 0.5 * noise)
        };
        let exact = (1.0 - (-5f64).exp()) / 5.0;
        let seeds = 400;
        let (mut mean, mut squares, mut claimed) = (0.0, 0.0, 0.0);
        for seed in 0..seeds {
            let mut sums = [0.0; REPLICATES];
            let pilot: Vec<(f64, f64)> = JointPlanner::pilot(seed, &walk)
                .iter()
                .map(|(u, w)| {
                    let term = integrand(w, seed);
                    sums[w.row] += term;
                    (*u, term * term)
                })
                .collect();
            let mut planner = JointPlanner::new(Joint::default(), seed, &walk, &pilot, Vec::new());
            loop {
                let block = planner.next(&mut || unreachable!("no tolerance")).unwrap();
                if block.is_empty() {
                    break;
                }
                for w in &block {
                    sums[w.row] += integrand(w, seed);
                }
            }
            assert_eq!(planner.done(), 200);
            let tensors: Vec<Tensor> = sums
                .iter()
                .map(|s| Tensor::new([1], vec![*s as f32]).unwrap())
                .collect();
            let estimate = Estimate::of(&tensors, planner.done()).unwrap();
            let error = f64::from(estimate.map.data()[0]) - exact;
            mean += error / seeds as f64;
            squares += error * error / seeds as f64;
            claimed += f64::from(estimate.standard_error.data()[0]).powi(2) / seeds as f64;
        }
        let spread = squares.sqrt();
        assert!(
            mean.abs() < 3.0 * spread / (seeds as f64).sqrt(),
            "{mean} {spread}"
        );
        assert!(
            (claimed.sqrt() / spread - 1.0).abs() < 0.15,
            "{claimed} {squares}"
        );
    }
}
