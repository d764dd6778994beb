//! Expressions, from which formulas are made.

use super::{Binary, Unary};
use std::ops::{Add, Div, Mul, Neg, Sub};
use std::sync::Arc;

/// An expression from which a [`Formula`](super::Formula) is made.
///
/// ```
/// use limpid_graph::{Expr, Formula};
/// let x = Expr::input(0);
/// let silu = Formula::new(&(x.clone() * x.sigmoid()));
/// assert_eq!(silu.evaluate(&[0.0]), 0.0);
/// assert_eq!(silu.derivative(0).evaluate(&[0.0]), 0.5);
/// ```
#[derive(Debug, Clone)]
pub struct Expr(Arc<Tree>);

#[derive(Debug)]
pub(super) enum Tree {
    Input(usize),
    Constant(f64),
    Unary(Unary, Expr),
    Binary(Binary, Expr, Expr),
    Select(Expr, Expr, Expr),
}

impl Expr {
    pub(super) fn tree(&self) -> &Tree {
        &self.0
    }

    fn of(tree: Tree) -> Self {
        Self(Arc::new(tree))
    }

    /// The operand of this position.
    #[must_use]
    pub fn input(position: usize) -> Self {
        Self::of(Tree::Input(position))
    }

    /// A number.
    #[must_use]
    pub fn constant(value: impl Into<f64>) -> Self {
        Self::of(Tree::Constant(value.into()))
    }

    /// A function of this.
    #[must_use]
    pub fn unary(self, function: Unary) -> Self {
        Self::of(Tree::Unary(function, self))
    }

    /// A function of this and another.
    #[must_use]
    pub fn binary(self, function: Binary, other: impl Into<Self>) -> Self {
        Self::of(Tree::Binary(function, self, other.into()))
    }

    /// `a` where this is not 0, else `b`.
    #[must_use]
    pub fn select(self, a: impl Into<Self>, b: impl Into<Self>) -> Self {
        Self::of(Tree::Select(self, a.into(), b.into()))
    }

    /// 1 where this is less than the other, else 0.
    #[must_use]
    pub fn less(self, other: impl Into<Self>) -> Self {
        self.binary(Binary::Less, other)
    }

    /// 1 where this is at most the other, else 0.
    #[must_use]
    pub fn less_or_equal(self, other: impl Into<Self>) -> Self {
        self.binary(Binary::LessOrEqual, other)
    }

    /// The smaller.
    #[must_use]
    pub fn min(self, other: impl Into<Self>) -> Self {
        self.binary(Binary::Min, other)
    }

    /// The larger.
    #[must_use]
    pub fn max(self, other: impl Into<Self>) -> Self {
        self.binary(Binary::Max, other)
    }

    /// This to the power of the other.
    #[must_use]
    pub fn pow(self, other: impl Into<Self>) -> Self {
        self.binary(Binary::Pow, other)
    }

    /// The exponential.
    #[must_use]
    pub fn exp(self) -> Self {
        self.unary(Unary::Exp)
    }

    /// The natural logarithm.
    #[must_use]
    pub fn log(self) -> Self {
        self.unary(Unary::Log)
    }

    /// The square root.
    #[must_use]
    pub fn sqrt(self) -> Self {
        self.unary(Unary::Sqrt)
    }

    /// The magnitude.
    #[must_use]
    pub fn abs(self) -> Self {
        self.unary(Unary::Abs)
    }

    /// The hyperbolic tangent.
    #[must_use]
    pub fn tanh(self) -> Self {
        self.unary(Unary::Tanh)
    }

    /// 1 / (1 + e^-x).
    #[must_use]
    pub fn sigmoid(self) -> Self {
        self.unary(Unary::Sigmoid)
    }
}

impl From<f64> for Expr {
    fn from(value: f64) -> Self {
        Self::constant(value)
    }
}

macro_rules! arithmetic {
    ($($trait:ident :: $method:ident),*) => {
        $(impl<E: Into<Expr>> $trait<E> for Expr {
            type Output = Self;
            fn $method(self, other: E) -> Self {
                self.binary(Binary::$trait, other)
            }
        })*
    };
}

arithmetic!(Add::add, Sub::sub, Mul::mul, Div::div);

impl Neg for Expr {
    type Output = Self;
    fn neg(self) -> Self {
        self.unary(Unary::Neg)
    }
}
