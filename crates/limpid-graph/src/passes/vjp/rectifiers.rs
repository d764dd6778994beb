//! The rules that differ from the derivative at rectifiers alone.

use super::VjpContext;
use crate::ops::Clip;
use crate::{GraphError, Op, ValueId};

/// Whether an operator is a rectifier: max(x, 0), with an upper bound or without.
pub(super) fn is_rectifier(op: &Op) -> bool {
    matches!(op, Op::Clip(Clip { min: Some(min), .. }) if *min == 0.0)
}

/// What comes back through a rectifier: the positive part of the cotangent, and
/// for a `guided` one that where the rectifier was open.
pub(super) fn through(cx: &mut VjpContext<'_>, guided: bool) -> Result<ValueId, GraphError> {
    let g = cx.cotangent(0)?;
    let positive = cx.push(Clip::relu(), &[g])?;
    if !guided {
        return Ok(positive);
    }
    let node = cx.node;
    cx.derivative_of(node, positive, 0)
}
