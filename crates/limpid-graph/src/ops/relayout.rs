use super::{Cost, Operator, Residual, arity};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// How a device keeps a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrangement {
    /// In C order.
    Flat,
    /// As the device keeps images.
    Image,
    /// As an image in the device's half precision, where it has one.
    Half,
}

/// The same value in another of a device's arrangements, perhaps rounded.
/// Devices insert it into their plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relayout {
    /// How the value is kept.
    pub from: Arrangement,
    /// How the result is kept.
    pub to: Arrangement,
}

impl Operator for Relayout {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        Ok(vec![inputs[0].clone()])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        vec![inputs[0].clone()]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::None
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, _input: usize) -> Result<ValueId, GraphError> {
        cx.cotangent(0)
    }

    fn cost(&self, _inputs: &[&Fact], _outputs: &[&Fact]) -> Cost {
        Cost::default()
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn internal() -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        let shapes: [&[usize]; 7] = [
            &[2, 33, 7, 5],
            &[1, 64, 9, 8],
            &[2, 3, 5, 7],
            &[2, 16, 1, 1],
            &[3, 33],
            &[2, 32],
            &[2, 7, 5],
        ];
        let mut cases = Vec::new();
        for shape in shapes {
            let (flat, image) = (Arrangement::Flat, Arrangement::Image);
            for (from, to) in [(flat, image), (image, flat)] {
                let op = Self { from, to };
                let name = format!("relayout {shape:?} {from:?} to {to:?}");
                let inputs = vec![CaseInput::integers(shape, -99, 99)];
                cases.push(Case::new(&name, op, inputs));
                let inputs = vec![CaseInput::bits(shape)];
                cases.push(Case::new(format!("{name} bits"), op, inputs));
            }
        }
        cases
    }
}
