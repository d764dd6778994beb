//! Elementwise functions as data: short programs of arithmetic steps that
//! devices run, that are differentiated symbolically, and that fuse.

mod expr;
mod functions;

pub use expr::Expr;
pub use functions::{Binary, Unary};

use expr::Tree;
use serde::{Deserialize, Serialize};

/// One step of a [`Formula`]; operands are positions of earlier steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// The operand of this position.
    Input(usize),
    /// A number.
    Constant(f64),
    /// A function of an earlier step.
    Unary(Unary, usize),
    /// A function of two earlier steps.
    Binary(Binary, usize, usize),
    /// The second step where the first is not 0, else the third.
    Select(usize, usize, usize),
}

/// A function of some numbers as a list of steps, the last of which is the
/// result. Equal steps stand once, and constants are folded.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Formula {
    steps: Vec<Step>,
}

impl Formula {
    /// The steps of an expression.
    #[must_use]
    pub fn new(expr: &Expr) -> Self {
        let mut formula = Self::default();
        let result = formula.add(expr);
        formula.ending_at(result)
    }

    /// The steps; the last is the result.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether the result depends on the operand of this position.
    #[must_use]
    pub fn reads(&self, input: usize) -> bool {
        self.steps.contains(&Step::Input(input))
    }

    /// One more than the largest position of an operand that is read.
    #[must_use]
    pub fn operands(&self) -> usize {
        let positions = self.steps.iter().map(|s| match s {
            Step::Input(i) => i.saturating_add(1),
            _ => 0,
        });
        positions.max().unwrap_or(0)
    }

    /// The formula whose operand k is operand `read[k]` of this one.
    ///
    /// # Panics
    /// When this one reads an operand that is not among them.
    #[must_use]
    pub fn with_operands(&self, read: &[usize]) -> Self {
        let place = |i: usize| read.iter().position(|r| *r == i).expect("a listed operand");
        let steps = self.steps.iter().map(|s| match *s {
            Step::Input(i) => Step::Input(place(i)),
            other => other,
        });
        let steps = steps.collect();
        Self { steps }
    }

    /// The number, if the formula is one.
    #[must_use]
    pub fn as_constant(&self) -> Option<f64> {
        match self.steps[..] {
            [Step::Constant(c)] => Some(c),
            _ => None,
        }
    }

    /// The value in f64, for operands `x`.
    ///
    /// # Panics
    /// When there are fewer operands than the formula reads.
    #[must_use]
    pub fn evaluate(&self, x: &[f64]) -> f64 {
        let mut values = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            values.push(match *step {
                Step::Input(i) => x[i],
                Step::Constant(c) => c,
                Step::Unary(f, a) => f.apply(values[a]),
                Step::Binary(f, a, b) => f.apply(values[a], values[b]),
                Step::Select(c, a, b) => values[if values[c] == 0.0 { b } else { a }],
            });
        }
        values.last().copied().unwrap_or(f64::NAN)
    }

    /// The formula's derivative with respect to an operand.
    #[must_use]
    pub fn derivative(&self, input: usize) -> Self {
        let mut f = self.clone();
        let mut slopes = Vec::with_capacity(self.steps.len());
        for (y, step) in self.steps.iter().enumerate() {
            let slope = f.slope(step, y, input, &slopes);
            slopes.push(slope);
        }
        match slopes.last() {
            Some(&slope) => f.ending_at(slope),
            None => f,
        }
    }

    /// This formula times the operand of position `cotangent`.
    #[must_use]
    pub fn times_input(mut self, cotangent: usize) -> Self {
        let last = self.steps.len() - 1;
        let g = self.push(Step::Input(cotangent));
        let product = self.binary(Binary::Mul, g, last);
        self.ending_at(product)
    }

    /// The formula whose operand k is `inner[k]`, a function of operands that
    /// all of them share.
    ///
    /// # Panics
    /// When this one reads more operands than there are.
    #[must_use]
    pub fn compose(&self, inner: &[Self]) -> Self {
        let mut f = Self::default();
        let last = f.splice(self, &|f, k| {
            f.splice(&inner[k], &|f, i| f.push(Step::Input(i)))
        });
        f.ending_at(last)
    }

    /// The steps of several formulas as one list, in which equal ones stand
    /// once, and where in it the result of each is.
    #[must_use]
    pub fn together(formulas: &[Self]) -> (Vec<Step>, Vec<usize>) {
        let mut all = Self::default();
        let own = |f: &mut Self, i| f.push(Step::Input(i));
        let results = formulas.iter().map(|f| all.splice(f, &own)).collect();
        (all.steps, results)
    }

    /// What the formula makes of one operand alone, as a function of that only,
    /// and the formula that reads it in the operand's place. `None` where that
    /// is nothing, or not one number but several, or everything.
    #[must_use]
    pub fn split(&self, input: usize) -> Option<(Self, Self)> {
        // What each step depends on: the operand, and others.
        let mut depends: Vec<[bool; 2]> = Vec::with_capacity(self.steps.len());
        let mut inner = None;
        for step in &self.steps {
            let read = || operands(step).into_iter().flatten();
            let on = match step {
                Step::Input(i) => [*i == input, *i != input],
                _ => [0, 1].map(|k| read().any(|a| depends[a][k])),
            };
            if on[1] {
                for a in read().filter(|a| depends[*a] == [true, false]) {
                    if inner.is_some_and(|other| other != a) {
                        return None;
                    }
                    inner = Some(a);
                }
            }
            depends.push(on);
        }
        let at = inner.filter(|at| self.steps[*at] != Step::Input(input))?;
        let mut outer = self.clone();
        outer.steps[at] = Step::Input(input);
        Some((
            self.ending_at(at).with_operands(&[input]),
            outer.ending_at(self.steps.len() - 1),
        ))
    }

    /// Appends the steps of `other`, whose operands are where `operand` puts
    /// them, and returns the result's position.
    fn splice(&mut self, other: &Self, operand: &dyn Fn(&mut Self, usize) -> usize) -> usize {
        let mut map: Vec<usize> = Vec::with_capacity(other.steps.len());
        for step in &other.steps {
            let at = match *step {
                Step::Input(k) => operand(self, k),
                Step::Constant(_) => self.push(*step),
                Step::Unary(f, a) => self.unary(f, map[a]),
                Step::Binary(f, a, b) => self.binary(f, map[a], map[b]),
                Step::Select(c, a, b) => self.select(map[c], map[a], map[b]),
            };
            map.push(at);
        }
        map.last().copied().unwrap_or(0)
    }

    fn add(&mut self, expr: &Expr) -> usize {
        match expr.tree() {
            Tree::Input(i) => self.push(Step::Input(*i)),
            Tree::Constant(c) => self.constant(*c),
            Tree::Unary(f, a) => {
                let a = self.add(a);
                self.unary(*f, a)
            }
            Tree::Binary(f, a, b) => {
                let (a, b) = (self.add(a), self.add(b));
                self.binary(*f, a, b)
            }
            Tree::Select(c, a, b) => {
                let (c, a, b) = (self.add(c), self.add(a), self.add(b));
                self.select(c, a, b)
            }
        }
    }

    fn push(&mut self, step: Step) -> usize {
        // Constants compare by their bits, so that 0 and -0 stay apart.
        let same = |s: &Step| match (s, &step) {
            (Step::Constant(a), Step::Constant(b)) => a.to_bits() == b.to_bits(),
            (a, b) => a == b,
        };
        self.steps.iter().position(same).unwrap_or_else(|| {
            self.steps.push(step);
            self.steps.len() - 1
        })
    }

    fn constant(&mut self, value: f64) -> usize {
        self.push(Step::Constant(value))
    }

    fn known(&self, at: usize) -> Option<f64> {
        match self.steps[at] {
            Step::Constant(c) => Some(c),
            _ => None,
        }
    }

    fn unary(&mut self, f: Unary, a: usize) -> usize {
        match (self.known(a), f, self.steps[a]) {
            (Some(a), ..) => self.constant(f.apply(a)),
            (_, Unary::Neg, Step::Unary(Unary::Neg, inner)) => inner,
            _ => self.push(Step::Unary(f, a)),
        }
    }

    /// A product with 0 is 0: derivatives are sums of such products, and what
    /// multiplies them is finite wherever the derivative exists.
    fn binary(&mut self, f: Binary, a: usize, b: usize) -> usize {
        use Binary::{Add, Div, Mul, Pow, Sub};
        match (f, self.known(a), self.known(b)) {
            (_, Some(a), Some(b)) => self.constant(f.apply(a, b)),
            (Mul, Some(0.0), _) | (Mul, _, Some(0.0)) => self.constant(0.0),
            (Mul | Add, Some(c), _) if c == f64::from(u8::from(f == Mul)) => b,
            (Mul | Div, _, Some(1.0)) | (Add | Sub, _, Some(0.0)) => a,
            (Mul, Some(-1.0), _) | (Sub, Some(0.0), _) => self.unary(Unary::Neg, b),
            (Mul, _, Some(-1.0)) => self.unary(Unary::Neg, a),
            (Div, Some(0.0), _) => self.constant(0.0),
            // The powers that networks are written with.
            (Pow, _, Some(1.0)) => a,
            (Pow, _, Some(0.5)) => self.unary(Unary::Sqrt, a),
            (Pow, _, Some(2.0)) => self.binary(Mul, a, a),
            (Pow, _, Some(3.0)) => {
                let square = self.binary(Mul, a, a);
                self.binary(Mul, square, a)
            }
            _ => self.push(Step::Binary(f, a, b)),
        }
    }

    fn select(&mut self, c: usize, a: usize, b: usize) -> usize {
        match self.known(c) {
            Some(c) => [a, b][usize::from(c == 0.0)],
            None if a == b => a,
            None => self.push(Step::Select(c, a, b)),
        }
    }

    /// The position of the derivative of `step`, which stands at `y`.
    fn slope(&mut self, step: &Step, y: usize, input: usize, slopes: &[usize]) -> usize {
        use Binary as B;
        use Unary as U;
        match *step {
            Step::Input(i) => self.constant(f64::from(u8::from(i == input))),
            Step::Constant(_) => self.constant(0.0),
            Step::Unary(f, a) => {
                let outer = match f {
                    U::Neg => self.constant(-1.0),
                    U::Abs => self.unary(U::Sign, a),
                    U::Sign | U::Floor | U::Ceil | U::Round => self.constant(0.0),
                    U::Sqrt => {
                        let half = self.constant(0.5);
                        self.binary(B::Div, half, y)
                    }
                    U::Exp => y,
                    U::Log => {
                        let one = self.constant(1.0);
                        self.binary(B::Div, one, a)
                    }
                    U::Sin => self.unary(U::Cos, a),
                    U::Cos => {
                        let sin = self.unary(U::Sin, a);
                        self.unary(U::Neg, sin)
                    }
                    U::Tanh => {
                        let (one, square) = (self.constant(1.0), self.binary(B::Mul, y, y));
                        self.binary(B::Sub, one, square)
                    }
                    U::Erf => {
                        // 2 / sqrt(pi) e^(-x^2)
                        let square = self.binary(B::Mul, a, a);
                        let negative = self.unary(U::Neg, square);
                        let (e, factor) = (
                            self.unary(U::Exp, negative),
                            self.constant(std::f64::consts::FRAC_2_SQRT_PI),
                        );
                        self.binary(B::Mul, factor, e)
                    }
                    U::Sigmoid => {
                        let square = self.binary(B::Mul, y, y);
                        self.binary(B::Sub, y, square)
                    }
                    U::Softplus => self.unary(U::Sigmoid, a),
                };
                self.binary(B::Mul, outer, slopes[a])
            }
            Step::Binary(f, a, b) => self.slope_of_two(f, [a, b], y, [slopes[a], slopes[b]]),
            Step::Select(c, a, b) => self.select(c, slopes[a], slopes[b]),
        }
    }

    fn slope_of_two(
        &mut self,
        f: Binary,
        [a, b]: [usize; 2],
        y: usize,
        [da, db]: [usize; 2],
    ) -> usize {
        use Binary as B;
        match f {
            B::Add | B::Sub => self.binary(f, da, db),
            B::Mul => {
                let (left, right) = (self.binary(f, da, b), self.binary(f, a, db));
                self.binary(B::Add, left, right)
            }
            B::Div => {
                let part = self.binary(B::Mul, y, db);
                let difference = self.binary(B::Sub, da, part);
                self.binary(B::Div, difference, b)
            }
            // At a tie both get half, as in PyTorch.
            B::Min | B::Max => {
                let (first, second) = if f == B::Min { (a, b) } else { (b, a) };
                let (left, right) = (
                    self.binary(B::Less, first, second),
                    self.binary(B::Less, second, first),
                );
                let (sum, half) = (self.binary(B::Add, da, db), self.constant(0.5));
                let tie = self.binary(B::Mul, half, sum);
                let rest = self.select(right, db, tie);
                self.select(left, da, rest)
            }
            B::Pow => {
                let one = self.constant(1.0);
                let less = self.binary(B::Sub, b, one);
                let power = self.binary(B::Pow, a, less);
                let factor = self.binary(B::Mul, b, power);
                let left = self.binary(B::Mul, factor, da);
                // x^0 is 1, at 0 too.
                let left = self.select(b, left, b);
                if self.known(db) == Some(0.0) {
                    return left;
                }
                let (log, zero) = (self.unary(Unary::Log, a), self.constant(0.0));
                let slope = self.binary(B::Mul, y, log);
                let positive = self.binary(B::Less, zero, a);
                let slope = self.select(positive, slope, zero);
                let right = self.binary(B::Mul, slope, db);
                self.binary(B::Add, left, right)
            }
            B::Less | B::LessOrEqual | B::Equal => self.constant(0.0),
        }
    }

    /// The steps that the one at `result` needs.
    fn ending_at(&self, result: usize) -> Self {
        let mut needed = vec![false; self.steps.len()];
        needed[result] = true;
        for (i, step) in self.steps.iter().enumerate().rev() {
            if needed[i] {
                operands(step)
                    .into_iter()
                    .flatten()
                    .for_each(|a| needed[a] = true);
            }
        }
        let mut map = vec![0; self.steps.len()];
        let mut steps = Vec::new();
        for (i, step) in self.steps.iter().enumerate().filter(|(i, _)| needed[*i]) {
            map[i] = steps.len();
            steps.push(match *step {
                Step::Unary(f, a) => Step::Unary(f, map[a]),
                Step::Binary(f, a, b) => Step::Binary(f, map[a], map[b]),
                Step::Select(c, a, b) => Step::Select(map[c], map[a], map[b]),
                free => free,
            });
        }
        Self { steps }
    }
}

/// The earlier steps that a step reads.
fn operands(step: &Step) -> [Option<usize>; 3] {
    match *step {
        Step::Input(_) | Step::Constant(_) => [None; 3],
        Step::Unary(_, a) => [Some(a), None, None],
        Step::Binary(_, a, b) => [Some(a), Some(b), None],
        Step::Select(c, a, b) => [Some(c), Some(a), Some(b)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x() -> Expr {
        Expr::input(0)
    }

    #[test]
    fn derivatives_are_derivatives() {
        let y = || Expr::input(1);
        let formulas = [
            x() * x().sigmoid(),
            (x() * y()).tanh() / (y() + 3.0),
            x().abs().sqrt() + x().exp() - (x() * x() + 1.0).log(),
            x().unary(Unary::Sin) * y().unary(Unary::Cos),
            x().unary(Unary::Erf) * 0.5 + x().unary(Unary::Softplus),
            x().min(y()) + x().max(0.3) * x().less(y()).select(2.0, -1.0),
            (x() * x() + 0.5).pow(y()) + (x() * x()).pow(1.5),
            -(-x()) * 1.0 + 0.0,
        ];
        for (k, expr) in formulas.iter().enumerate() {
            let f = Formula::new(expr);
            for at in [[0.7, -0.4], [-1.3, 0.9], [0.11, 2.0]] {
                for input in 0..2 {
                    let h = 1e-6;
                    let (mut up, mut down) = (at, at);
                    up[input] += h;
                    down[input] -= h;
                    let expected = (f.evaluate(&up) - f.evaluate(&down)) / (2.0 * h);
                    let found = f.derivative(input).evaluate(&at);
                    assert!(
                        (expected - found).abs() < 1e-7 * expected.abs().max(1.0),
                        "formula {k} at {at:?}: {found} instead of {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn simplifies_and_shares() {
        let f = Formula::new(&((x() + 1.0) * (x() + 1.0)));
        assert_eq!(f.steps().len(), 4);
        assert_eq!(
            Formula::new(&(x() * 3.0)).derivative(0).as_constant(),
            Some(3.0)
        );
        assert!(!Formula::new(&(x() + 2.0)).derivative(0).reads(0));
        assert_eq!(
            Formula::new(&x().unary(Unary::Floor))
                .derivative(0)
                .as_constant(),
            Some(0.0)
        );
    }

    #[test]
    fn splits_what_is_made_of_one_operand() {
        let y = || Expr::input(1);
        let slope = x().tanh() * x() + 2.0;
        let f = Formula::new(&(y() * slope.clone() + y().exp()));
        let (inner, outer) = f.split(0).unwrap();
        assert_eq!(inner, Formula::new(&slope));
        assert_eq!(outer, Formula::new(&(y() * x() + y().exp())));
        // Itself, two numbers, and all there is.
        for none in [
            x() * y(),
            (x().exp() * y()) + x().tanh() * y().exp(),
            x().exp(),
        ] {
            assert_eq!(Formula::new(&none).split(0), None);
        }
    }

    #[test]
    fn formulas_share_their_steps() {
        let formulas = [x().tanh() * x(), x() + 1.0, x().tanh()].map(|e| Formula::new(&e));
        let (steps, results) = Formula::together(&formulas);
        assert_eq!((steps.len(), results), (5, vec![2, 4, 1]));
    }

    #[test]
    fn ties_share_the_gradient() {
        let f = Formula::new(&x().max(Expr::input(1)));
        assert_eq!(f.derivative(0).evaluate(&[2.0, 2.0]), 0.5);
        assert_eq!(f.derivative(1).evaluate(&[2.0, 2.0]), 0.5);
    }

    #[test]
    fn composes() {
        // u - v with u = y and v = 2 x.
        let outer = Formula::new(&(Expr::input(0) - Expr::input(1)));
        let inner = [Expr::input(1), x() * 2.0].map(|e| Formula::new(&e));
        let f = outer.compose(&inner);
        assert_eq!(f.evaluate(&[3.0, 10.0]), 4.0);
        let g = f.times_input(2);
        assert_eq!(g.evaluate(&[3.0, 10.0, 0.5]), 2.0);
    }
}
