use super::{Cost, MaxPool, Operator, arity, global_average_pool, typed};
use crate::case::{Case, CaseInput};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// The largest element of each channel: `[N, C, ...]` to `[N, C, 1, ...]`. The
/// first of them in row-major order takes the gradient, as in PyTorch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalMaxPool {}

impl Operator for GlobalMaxPool {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, DType::F32)?;
        global_average_pool::pooled(inputs)
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let x = inputs[0];
        let axes: Vec<usize> = (2..x.shape.len()).collect();
        let larger = |a: f64, b: f64| if a >= b || a.is_nan() { a } else { b };
        vec![x.fold(&axes, f64::NEG_INFINITY, larger)]
    }

    /// Windows across and then down, until one element is left.
    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let x = cx.input(0);
        let shape = cx.dims(x);
        let (lead, last) = shape.split_at(shape.len() - 1);
        let rows = lead[2..].iter().product();
        let mut x = cx.reshape(x, &[shape[0], shape[1], rows, last[0]])?;
        for axis in [3, 2] {
            while let n @ 2.. = cx.dims(x)[axis] {
                let mut kernel = [1, 1];
                kernel[axis - 2] = n.min(256);
                let pool = MaxPool {
                    kernel,
                    strides: kernel,
                    ceil_mode: true,
                    ..MaxPool::default()
                };
                x = cx.push(pool, &[x])?;
            }
        }
        let pooled = [&shape[..2], &vec![1; shape.len() - 2]].concat();
        Ok(Some(vec![cx.reshape(x, &pooled)?]))
    }

    fn cost(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Cost {
        Cost::elementwise(inputs[0], 1)
    }

    fn cases() -> Vec<Case> {
        let shapes: [&[usize]; 6] = [
            &[2, 17, 5, 3],
            &[1, 64, 7, 7],
            &[3, 1, 1, 1],
            &[1, 2, 3, 300],
            &[2, 5, 33],
            &[2, 3, 4, 2, 3],
        ];
        let mut cases = Vec::new();
        for shape in shapes {
            let name = format!("global max pool {shape:?}");
            let exact = vec![CaseInput::integers(shape, -9, 9)];
            cases.push(Case::new(&name, Self {}, vec![CaseInput::distinct(shape)]));
            cases.push(Case::new(format!("{name} exact"), Self {}, exact));
        }
        cases
    }
}
