use super::{
    AxisFilter, Cost, Elementwise, Operator, SparseMatrix, arity, axis_filter, number, typed,
};
use crate::case::{Case, CaseInput};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Expr, Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// What stands in the padding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PadMode {
    /// One number.
    #[default]
    Constant,
    /// The input mirrored at its outermost elements, which are not repeated.
    Reflect,
    /// The outermost element.
    Edge,
    /// The input again.
    Wrap,
}

impl PadMode {
    /// The element of an axis of `n` that stands at place `k`, which may lie
    /// before or behind it.
    fn source(self, k: i64, n: i64) -> Option<i64> {
        match self {
            _ if (0..n).contains(&k) => Some(k),
            Self::Constant => None,
            Self::Edge => Some(k.clamp(0, n - 1)),
            Self::Wrap => Some(k.rem_euclid(n)),
            Self::Reflect if n == 1 => Some(0),
            Self::Reflect => {
                let k = k.rem_euclid(2 * (n - 1));
                Some(if k < n { k } else { 2 * (n - 1) - k })
            }
        }
    }
}

/// The input with elements added before and behind it on each axis. Numbers
/// below 0 take elements away, before anything is added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pad {
    /// For each axis how many elements are added before and behind.
    pub pads: Vec<[i64; 2]>,
    /// What is added.
    #[serde(default)]
    pub mode: PadMode,
    /// The number that is added in the mode "constant". In JSON what is not
    /// finite is "inf", "-inf" or "nan".
    #[serde(default, with = "number")]
    pub value: f32,
}

/// The most that is added at one end.
const LIMIT: i64 = 1 << 22;

impl Pad {
    /// The extents of the output.
    fn output(&self, shape: &[usize]) -> Result<Vec<usize>, OpError> {
        let bad = |expected| OpError::Attribute {
            name: "pads",
            expected,
        };
        if self.pads.len() != shape.len() {
            return Err(bad("a pair for each axis of the input"));
        }
        if self
            .pads
            .iter()
            .flatten()
            .any(|p| !(-LIMIT..=LIMIT).contains(p))
        {
            return Err(bad("between -2^22 and 2^22"));
        }
        let extent = |(n, [before, behind]): (&usize, &[i64; 2])| {
            let n = i64::try_from(*n).unwrap_or(i64::MAX / 2);
            let left = n + before.min(&0) + behind.min(&0);
            if left < 1 {
                return Err(bad("such that at least one element of each axis is left"));
            }
            Ok((n + before + behind) as usize)
        };
        shape.iter().zip(&self.pads).map(extent).collect()
    }

    /// The element that stands at a place of an axis of `n`.
    fn source(&self, axis: usize, place: usize, n: usize) -> Option<usize> {
        let [before, behind] = self.pads[axis];
        let (first, last) = ((-before).max(0), n as i64 + behind.min(0));
        let k = place as i64 - before - first;
        let k = self.mode.source(k, last - first)?;
        Some((k + first) as usize)
    }
}

impl Operator for Pad {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, DType::F32)?;
        let shape = self.output(&inputs[0].shape)?;
        for (axis, pads) in self.pads.iter().enumerate() {
            if *pads != [0, 0] {
                axis_filter::check_axis(inputs, 0, axis)?;
            }
        }
        Ok(vec![Fact::f32(shape)])
    }

    /// The padding of each mode, step by step away from the input.
    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let x = inputs[0];
        let shape = self.output(&x.shape).expect("accepted before");
        vec![RefTensor::from_index(shape, |to| {
            let mut from = vec![0; to.len()];
            for (axis, &place) in to.iter().enumerate() {
                let [before, behind] = self.pads[axis];
                let (low, high) = ((-before).max(0), x.shape[axis] as i64 - 1 + behind.min(0));
                let mut at = place as i64 - before;
                while at < low || at > high {
                    at = match self.mode {
                        PadMode::Constant => return f64::from(self.value),
                        PadMode::Edge if at < low => at + 1,
                        PadMode::Edge => at - 1,
                        PadMode::Wrap if at < low => at + (high - low + 1),
                        PadMode::Wrap => at - (high - low + 1),
                        PadMode::Reflect if low == high => low,
                        PadMode::Reflect if at < low => low + (low - at),
                        PadMode::Reflect => high - (at - high),
                    };
                }
                from[axis] = at as usize;
            }
            x.at(&from)
        })]
    }

    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let mut x = cx.input(0);
        let from = cx.dims(x);
        let to = self.output(&from).map_err(|e| cx.error(e))?;
        for axis in (0..from.len()).filter(|axis| self.pads[*axis] != [0, 0]) {
            let source = |place| self.source(axis, place, from[axis]);
            let matrix = SparseMatrix::selecting(from[axis], (0..to[axis]).map(source));
            x = cx.push(AxisFilter { axis, matrix }, &[x])?;
            if self.value != 0.0 {
                let empty = |place| {
                    if source(place).is_none() {
                        self.value
                    } else {
                        0.0
                    }
                };
                let added: Vec<f32> = (0..to[axis]).map(empty).collect();
                x = add_along(cx, x, axis, added)?;
            }
        }
        Ok(Some(vec![x]))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 1)
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        type Row = (&'static str, &'static [usize], &'static [[i64; 2]]);
        let rows: [Row; 6] = [
            ("image", &[2, 17, 5, 4], &[[0, 0], [0, 0], [2, 1], [1, 3]]),
            ("uneven", &[1, 33, 5, 4], &[[0, 0], [0, 0], [0, 1], [0, 1]]),
            (
                "cropped",
                &[1, 16, 5, 7],
                &[[0, 0], [0, 0], [-1, -2], [2, -3]],
            ),
            (
                "channels",
                &[2, 3, 5, 4],
                &[[0, 0], [1, 12], [0, 0], [0, 0]],
            ),
            ("tokens", &[2, 7, 33], &[[0, 0], [3, 0], [-1, 2]]),
            (
                "rank 5",
                &[2, 3, 2, 3, 4],
                &[[0, 0], [0, 1], [1, 0], [0, 0], [-1, 1]],
            ),
        ];
        let mut cases = Vec::new();
        let modes = [
            ("zero", PadMode::Constant, 0.0),
            ("two", PadMode::Constant, 2.0),
            ("reflect", PadMode::Reflect, 0.0),
            ("edge", PadMode::Edge, 0.0),
            ("wrap", PadMode::Wrap, 0.0),
        ];
        for (name, shape, pads) in rows {
            for (mode_name, mode, value) in modes {
                let pads = pads.to_vec();
                let op = Self { pads, mode, value };
                let name = format!("pad {name} {mode_name}");
                let random = vec![CaseInput::variable(shape)];
                let exact = vec![CaseInput::integers(shape, -99, 99)];
                cases.push(Case::new(&name, op.clone(), random));
                cases.push(Case::new(format!("{name} exact"), op, exact));
            }
        }
        // Mirrored more than once.
        let pads = vec![[0, 0], [7, 5], [3, 2]];
        let far = Self {
            pads,
            mode: PadMode::Reflect,
            value: 0.0,
        };
        let inputs = vec![CaseInput::variable(&[2, 3, 1])];
        cases.push(Case::new("pad far reflect", far, inputs));
        cases
    }
}

/// x plus a number for each place of an axis.
pub(super) fn add_along(
    cx: &mut LowerContext<'_>,
    x: ValueId,
    axis: usize,
    added: Vec<f32>,
) -> Result<ValueId, GraphError> {
    let behind = cx.dims(x).len() - axis - 1;
    let shape = [&[added.len()], &vec![1; behind][..]].concat();
    let added = cx.constant(&shape, added)?;
    let sum = Elementwise::new(&(Expr::input(0) + Expr::input(1)), 2);
    cx.push(sum, &[x, added])
}
