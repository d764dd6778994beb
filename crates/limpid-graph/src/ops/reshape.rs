use super::{Cost, Operator, Residual, arity, typed};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// The same elements in C order under another shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reshape {
    /// The new extents; 0 keeps the input's at this place, one -1 takes what is left.
    pub shape: Vec<i64>,
}

impl Operator for Reshape {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, limpid_tensor::DType::F32)?;
        let from = &inputs[0].shape;
        let wrong = || OpError::Shape {
            input: 0,
            expected: format!("reshapable to {:?}", self.shape),
            found: from.clone(),
        };
        let mut shape = Vec::with_capacity(self.shape.len());
        let mut open = None;
        for (i, &d) in self.shape.iter().enumerate() {
            shape.push(match d {
                0 => *from.get(i).ok_or_else(wrong)?,
                -1 if open.is_none() => {
                    open = Some(i);
                    1
                }
                d => usize::try_from(d).map_err(|_| wrong())?,
            });
        }
        let have = from.elements()?;
        let rest = limpid_tensor::Shape::from(&shape[..]).elements()?;
        if let Some(i) = open {
            if rest == 0 || have % rest != 0 {
                return Err(wrong());
            }
            shape[i] = have / rest;
        } else if rest != have {
            return Err(wrong());
        }
        Ok(vec![Fact::f32(shape)])
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let fact = Fact::f32(&inputs[0].shape);
        let out = self.infer(&[&fact]).expect("accepted before").remove(0);
        vec![RefTensor::new(out.shape, inputs[0].data.clone())]
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::None
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        let g = cx.cotangent(0)?;
        cx.reshape_to_input(g, input)
    }

    fn cost(&self, _inputs: &[&Fact], _outputs: &[&Fact]) -> Cost {
        Cost::default()
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        let case = |from: &[usize], shape: &[i64]| {
            let inputs = vec![CaseInput::variable(from)];
            let shape = shape.to_vec();
            Case::new(format!("reshape {from:?} {shape:?}"), Self { shape }, inputs)
        };
        vec![
            case(&[2, 17, 3, 5], &[0, -1]),
            case(&[2, 17 * 15], &[2, 17, 3, 5]),
            case(&[2, 6, 4, 4], &[0, 3, 8, -1]),
        ]
    }
}
