use super::{Cost, Operator, Residual, arity, broadcast_all};
use crate::case::{Case, CaseInput};
use crate::formula::Formula;
use crate::passes::VjpContext;
use crate::reference::{RefTensor, zip_all};
use crate::{Fact, GraphError, Op, OpError, ValueId};
use std::ops::RangeInclusive;

/// An elementwise operator: a formula of operands whose shapes are broadcast.
/// Inference, the gradient and the cost follow from the formula.
pub trait Pointwise {
    /// The number of operands.
    const OPERANDS: usize;

    /// What is computed, as devices run it and as it is differentiated.
    fn formula(&self) -> Formula;

    /// The function in f64, written down without the formula.
    fn reference(&self, x: &[f64]) -> f64;

    /// Checks the attributes.
    ///
    /// # Errors
    /// [`OpError::Attribute`]
    fn check(&self) -> Result<(), OpError> {
        Ok(())
    }

    /// See [`Operator::kinks`].
    fn kinks(&self) -> Vec<f64> {
        Vec::new()
    }

    /// See [`Operator::cases`].
    fn cases() -> Vec<Case>
    where
        Self: Sized;
}

impl<T: Pointwise> Operator for T {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        let expected = ["0", "1", "2", "3"]
            .get(T::OPERANDS)
            .copied()
            .unwrap_or("more");
        arity(inputs, expected, |n| n == T::OPERANDS)?;
        self.check()?;
        broadcast_all(inputs)
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        vec![zip_all(inputs, |x| Pointwise::reference(self, x))]
    }

    fn residual(&self, input: usize) -> Residual {
        residual(&Pointwise::formula(self), input)
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        vjp(&Pointwise::formula(self), cx, input)
    }

    fn formula(&self, _inputs: usize) -> Option<Formula> {
        Some(Pointwise::formula(self))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        cost(&Pointwise::formula(self), outputs)
    }

    fn linear(&self, input: usize) -> bool {
        linear(&Pointwise::formula(self), T::OPERANDS, input)
    }

    fn kinks(&self) -> Vec<f64> {
        Pointwise::kinks(self)
    }

    fn cases() -> Vec<Case> {
        <T as Pointwise>::cases()
    }
}

/// What a formula's gradient reads: its operands, or nothing.
pub(super) fn residual(formula: &Formula, input: usize) -> Residual {
    match formula.derivative(input).as_constant() {
        Some(_) => Residual::None,
        None => Residual::Value,
    }
}

/// The product of the cotangent and a formula's derivative.
pub(super) fn vjp(
    formula: &Formula,
    cx: &mut VjpContext<'_>,
    input: usize,
) -> Result<ValueId, GraphError> {
    let g = cx.cotangent(0)?;
    let slope = formula.derivative(input);
    if slope.as_constant() == Some(1.0) {
        return cx.sum_to_input(g, input);
    }
    // The operands that the derivative reads, and the cotangent behind them.
    let read: Vec<usize> = (0..cx.inputs()).filter(|i| slope.reads(*i)).collect();
    let mut operands = Vec::with_capacity(read.len() + 1);
    for &i in &read {
        operands.push(cx.value(i)?);
    }
    operands.push(g);
    let formula = slope.with_operands(&read).times_input(read.len());
    let product = super::Elementwise {
        formula,
        operands: operands.len(),
    };
    let product = cx.push(product, &operands)?;
    cx.sum_to_input(product, input)
}

/// About one operation a step.
pub(super) fn cost(formula: &Formula, outputs: &[&Fact]) -> Cost {
    Cost::elementwise(outputs[0], formula.steps().len() as u64)
}

/// Whether a formula is a multiple of its only operand.
pub(super) fn linear(formula: &Formula, operands: usize, input: usize) -> bool {
    let Some(slope) = formula.derivative(input).as_constant() else {
        return false;
    };
    // Steps have the slope 0 as well, and pass through the origin.
    operands == 1 && formula.evaluate(&[0.0]) == 0.0 && formula.evaluate(&[1.0]) == slope
}

/// Checks that an attribute is a finite number.
pub(super) fn finite(name: &'static str, value: f32) -> Result<(), OpError> {
    let expected = "a finite number";
    match value.is_finite() {
        true => Ok(()),
        false => Err(OpError::Attribute { name, expected }),
    }
}

/// The whole numbers that normal values come near.
pub(super) fn whole_numbers() -> Vec<f64> {
    (-6..=6).map(f64::from).collect()
}

/// A few whole numbers, differentiated: beside an operand that keeps away from
/// [`whole_numbers`], a comparison with them never tips.
pub(super) fn whole_variable(shape: &[usize]) -> CaseInput {
    CaseInput::variable(shape).integer_valued(-2, 2)
}

/// The cases of an operator of one operand: an image whose channels fill no
/// vector, tokens, a scalar, and whole numbers between bounds.
pub(super) fn unary_cases(
    name: &str,
    op: impl Into<Op>,
    input: fn(&[usize]) -> CaseInput,
    whole: RangeInclusive<i32>,
) -> Vec<Case> {
    let op = op.into();
    let case = |what, input| Case::new(format!("{name} {what}"), op.clone(), vec![input]);
    vec![
        case("image", input(&[2, 17, 7, 5])),
        case("tokens", input(&[2, 7, 65])),
        case("scalar", input(&[])),
        case(
            "whole",
            CaseInput::integers(&[1, 33, 5, 3], *whole.start(), *whole.end()),
        ),
    ]
}

/// The cases of an operator of two operands: shapes that are equal and shapes
/// of which either is stretched, and whole numbers between bounds.
pub(super) fn binary_cases(
    name: &str,
    op: impl Into<Op>,
    a: fn(&[usize]) -> CaseInput,
    b: fn(&[usize]) -> CaseInput,
    whole: [RangeInclusive<i32>; 2],
) -> Vec<Case> {
    let op = op.into();
    let case = |what, inputs| Case::new(format!("{name} {what}"), op.clone(), inputs);
    let of = |what, left: &[usize], right: &[usize]| case(what, vec![a(left), b(right)]);
    let whole = whole.map(|w| CaseInput::integers(&[1, 33, 5, 3], *w.start(), *w.end()));
    vec![
        of("image", &[2, 17, 7, 5], &[2, 17, 7, 5]),
        of("channels", &[2, 33, 3, 5], &[33, 1, 1]),
        of("tokens", &[2, 7, 65], &[65]),
        of("scalar", &[2, 20, 3], &[]),
        of("both", &[2, 1, 5], &[17, 1]),
        case("whole", whole.into()),
    ]
}
