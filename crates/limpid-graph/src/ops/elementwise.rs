use super::{Cost, Operator, Residual, arity, broadcast_all, pointwise};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::{RefTensor, zip_all};
use crate::{Expr, Fact, Formula, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// A formula of operands whose shapes are broadcast: what gradients of
/// elementwise operators are, and what fusion makes of chains of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elementwise {
    /// What is computed.
    pub formula: Formula,
    /// How many operands there are; the formula need not read all.
    pub operands: usize,
}

impl Elementwise {
    /// The operator of an expression of this many operands.
    #[must_use]
    pub fn new(expr: &Expr, operands: usize) -> Self {
        let formula = Formula::new(expr);
        Self { formula, operands }
    }
}

impl Operator for Elementwise {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "its formula's", |n| n == self.operands && n > 0)?;
        if self.formula.operands() > self.operands {
            return Err(OpError::Attribute {
                name: "formula",
                expected: "a function of the operands",
            });
        }
        broadcast_all(inputs)
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        vec![zip_all(inputs, |x| self.formula.evaluate(x))]
    }

    fn residual(&self, input: usize) -> Residual {
        pointwise::residual(&self.formula, input)
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        pointwise::vjp(&self.formula, cx, input)
    }

    fn formula(&self, _inputs: usize) -> Option<Formula> {
        Some(self.formula.clone())
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        pointwise::cost(&self.formula, outputs)
    }

    fn internal() -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        let case = |name: &str, expr: &Expr, shapes: &[&[usize]]| {
            let inputs = shapes.iter().map(|s| CaseInput::variable(s)).collect();
            Case::new(format!("elementwise {name}"), Self::new(expr, shapes.len()), inputs)
        };
        let [x, y, z] = [0, 1, 2].map(Expr::input);
        let silu = x.clone() * x.clone().sigmoid();
        let gate = y.clone().sigmoid() * x.clone() + z.clone();
        let sums = (x.clone() - y.clone()) * z.clone() + x.clone() * 0.5;
        vec![
            case("silu image", &silu, &[&[2, 33, 7, 5]]),
            case("silu tokens", &silu, &[&[2, 7, 65]]),
            case("silu scalar", &silu, &[&[]]),
            case("gate", &gate, &[&[2, 17, 7, 5], &[2, 17, 1, 1], &[2, 17, 7, 5]]),
            case("pictures", &gate, &[&[2, 3, 7, 5], &[3, 1, 1], &[]]),
            case("tokens", &sums, &[&[2, 31, 33], &[33], &[2, 31, 1]]),
            case("rank 5", &sums, &[&[2, 1, 3, 5, 7], &[4, 1, 1, 7], &[2, 4, 3, 5, 1]]),
            case("unread operand", &x, &[&[3, 1, 5], &[4, 1]]),
        ]
    }
}
