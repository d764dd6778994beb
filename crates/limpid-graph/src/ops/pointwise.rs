use super::{Cost, Operator, Residual, arity, broadcast_all};
use crate::case::Case;
use crate::formula::Formula;
use crate::passes::VjpContext;
use crate::reference::{RefTensor, zip_all};
use crate::{Fact, GraphError, OpError, ValueId};

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
        let expected = ["0", "1", "2", "3"].get(T::OPERANDS).copied().unwrap_or("more");
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

/// Whether a formula is a multiple of one operand.
pub(super) fn linear(formula: &Formula, operands: usize, input: usize) -> bool {
    let slope = formula.derivative(input);
    let homogeneous = formula.evaluate(&vec![0.0; operands]) == 0.0;
    !slope.reads(input) && homogeneous && (slope.as_constant().is_some() && operands == 1)
}
