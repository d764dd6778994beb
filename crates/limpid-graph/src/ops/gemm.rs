use super::{Cost, Epilogue, Operator, Residual, arity, conv, count, shaped, typed};
use crate::case::{Case, CaseInput};
use crate::passes::VjpContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use serde::{Deserialize, Serialize};

/// The matrix product a * b + c of a fully connected layer on the last axis.
///
/// Inputs: a `[..., K]` of rank 2 or more, whose leading axes are rows, b
/// `[K, M]` (`[M, K]` with `trans_b`), optionally c `[M]`, then those of the
/// epilogue. Output: `[..., M]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gemm {
    /// Whether b is given transposed, as PyTorch's linear layers keep it.
    pub trans_b: bool,
    /// Work done on the result before it is stored.
    #[serde(skip_serializing_if = "Epilogue::is_none")]
    pub epilogue: Epilogue,
}

impl Operator for Gemm {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        let (own, extra) = self.epilogue.split(inputs)?;
        arity(own, "2 or 3", |n| n == 2 || n == 3)?;
        for i in 0..own.len() {
            typed(inputs, i, limpid_tensor::DType::F32)?;
        }
        let a = &inputs[0].shape;
        shaped(inputs, 0, "of rank 2 or more, [..., K]", a.len() >= 2)?;
        let (rows, k) = (&a[..a.len() - 1], a[a.len() - 1]);
        let b = &inputs[1].shape;
        let fits = b.len() == 2 && b[usize::from(self.trans_b)] == k;
        let expected = if self.trans_b {
            format!("[M, {k}]")
        } else {
            format!("[{k}, M]")
        };
        shaped(inputs, 1, expected, fits)?;
        let m = b[usize::from(!self.trans_b)];
        if own.len() == 3 {
            shaped(inputs, 2, format!("[{m}]"), *inputs[2].shape == [m])?;
        }
        self.epilogue.infer(Fact::f32([rows, &[m]].concat()), extra)
    }

    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let (own, extra) = self.epilogue.split(inputs).expect("accepted before");
        let (a, b) = (own[0], own[1]);
        let (k, rows) = a.shape.split_last().expect("accepted before");
        let k = *k;
        let m = b.shape[usize::from(!self.trans_b)];
        let out = RefTensor::from_fn([rows, &[m]].concat(), |i| {
            let (row, column) = (i / m, i % m);
            let product: f64 = (0..k)
                .map(|j| {
                    let at = if self.trans_b {
                        column * k + j
                    } else {
                        j * m + column
                    };
                    a.data[row * k + j] * b.data[at]
                })
                .sum();
            product + own.get(2).map_or(0.0, |c| c.data[column])
        });
        self.epilogue.reference(out, extra)
    }

    fn residual(&self, _input: usize) -> Residual {
        Residual::None
    }

    fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        if input != 0 || !self.epilogue.is_none() {
            return Err(cx.no_gradient(input));
        }
        let g = cx.cotangent(0)?;
        let b = cx.constant_input(1)?;
        let transpose = Self {
            trans_b: !self.trans_b,
            epilogue: Epilogue::default(),
        };
        cx.push(transpose, &[g, b])
    }

    fn cost(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        let k = inputs[0].shape.last().map_or(1, |k| *k as u64);
        Cost::multiply_adds(count(&outputs[0].shape).saturating_mul(k))
    }

    fn linear(&self, input: usize) -> bool {
        input == 0 && self.epilogue.is_none()
    }

    fn parameter(&self, input: usize) -> bool {
        (1..3).contains(&input)
    }

    fn fused(&self) -> bool {
        !self.epilogue.is_none()
    }

    fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        let sizes: [(&[usize], usize, usize); 8] = [
            (&[1], 1, 1),
            (&[1], 33, 65),
            (&[7], 31, 17),
            (&[3], 128, 1000),
            (&[2, 7], 33, 65),
            (&[1, 49], 96, 31),
            (&[2, 3, 5], 17, 7),
            (&[2, 1, 3, 2], 5, 33),
        ];
        for (rows, k, m) in sizes {
            for trans_b in [false, true] {
                let op = Self {
                    trans_b,
                    ..Self::default()
                };
                let b = if trans_b { [m, k] } else { [k, m] };
                let a = [rows, &[k]].concat();
                let name = format!("gemm {a:?} by {m} trans_b {trans_b}");
                let random = vec![CaseInput::variable(&a), CaseInput::constant(&b)];
                let exact = vec![
                    CaseInput::integers(&a, -4, 4),
                    CaseInput::constant(&b).integer_valued(-4, 4),
                    CaseInput::constant(&[m]).integer_valued(-4, 4),
                ];
                cases.push(Case::new(name.clone(), op.clone(), random));
                cases.push(Case::new(format!("{name} exact"), op, exact));
            }
        }
        for (name, epilogue) in conv::epilogue_cases() {
            let mut inputs = vec![
                CaseInput::variable(&[3, 17]),
                CaseInput::constant(&[17, 33]),
            ];
            inputs.extend(epilogue.add.then(|| CaseInput::fixed(&[3, 33])));
            inputs.extend(epilogue.mask_mul.then(|| CaseInput::bits(&[3, 33])));
            let op = Self {
                epilogue,
                ..Self::default()
            };
            cases.push(Case::new(format!("gemm {name}"), op.clone(), inputs));
            let mut inputs = vec![
                CaseInput::variable(&[2, 5, 17]),
                CaseInput::constant(&[17, 33]),
            ];
            inputs.extend(epilogue.add.then(|| CaseInput::fixed(&[2, 5, 33])));
            inputs.extend(epilogue.mask_mul.then(|| CaseInput::bits(&[2, 5, 33])));
            cases.push(Case::new(format!("gemm tokens {name}"), op, inputs));
        }
        cases
    }
}
