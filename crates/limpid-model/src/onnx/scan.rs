//! What a protocol buffer would decode to, measured before it is decoded: a
//! message of two bytes takes hundreds in memory.

use super::refusal::{Refusal, Result};

/// The most that a file may hold, in units of a string; a message counts
/// [`MESSAGE`]. A network of 2^14 nodes with eight attributes each stays below.
const MAX_UNITS: usize = 1 << 20;
const MESSAGE: usize = 4;

/// The deepest nesting; a branch in a branch takes three levels.
const MAX_DEPTH: usize = 48;

/// The messages that are decoded.
#[derive(Clone, Copy)]
pub(super) enum Message {
    Model,
    Tensor,
    Graph,
    Node,
    Attribute,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    Dimension,
    Function,
    Entry,
    Opset,
}

enum Field {
    Message(Message),
    /// A text or bytes, kept as an allocation of its own.
    Text,
    /// Skipped, or of a size that follows from its bytes.
    Flat,
}

impl Message {
    fn field(self, tag: u64) -> Field {
        use Field::{Flat, Text};
        use Message::{
            Attribute, Dimension, Entry, Function, Graph, Model, Node, Opset, Shape, Tensor,
            TensorType, Type, ValueInfo,
        };
        let message = match (self, tag) {
            (Model, 8) | (Function, 9) => Opset,
            (Model, 7) | (Attribute, 6) => Graph,
            (Model, 25) => Function,
            (Graph, 1) | (Function, 7) => Node,
            (Graph, 5) | (Attribute, 5) => Tensor,
            (Graph, 11 | 12) => ValueInfo,
            (Node, 5) | (Function, 11) => Attribute,
            (ValueInfo, 2) => Type,
            (Type, 1) => TensorType,
            (TensorType, 2) => Shape,
            (Shape, 1) => Dimension,
            (Tensor, 13) => Entry,
            (Node, 1..=8) | (Function, 4..=6) | (Entry, _) => return Text,
            _ => return Flat,
        };
        Field::Message(message)
    }
}

/// Refuses bytes that are no well-formed message, nest too deep, or hold more
/// parts than any network.
pub(super) fn check(bytes: &[u8], message: Message) -> Result<()> {
    let mut units = MAX_UNITS;
    walk(bytes, message, 0, &mut units)
}

fn walk(mut bytes: &[u8], message: Message, depth: usize, units: &mut usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Refusal::new(format!(
            "nests messages more than {MAX_DEPTH} deep; export the model again"
        )));
    }
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let tag = key >> 3;
        let length = match key & 7 {
            0 => {
                varint(&mut bytes)?;
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)?).map_err(|_| damaged())?,
            5 => 4,
            // Groups: nobody writes them, and skipping them needs recursion.
            _ => return Err(damaged()),
        };
        let (content, rest) = bytes.split_at_checked(length).ok_or_else(damaged)?;
        bytes = rest;
        if key & 7 != 2 {
            continue;
        }
        let taken = match message.field(tag) {
            Field::Message(inner) => {
                walk(content, inner, depth + 1, units)?;
                MESSAGE
            }
            Field::Text => 1,
            Field::Flat => 0,
        };
        *units = units.checked_sub(taken).ok_or_else(|| {
            Refusal::new(format!(
                "holds more than {} messages; no network that this program runs needs as many",
                MAX_UNITS / MESSAGE
            ))
        })?;
    }
    Ok(())
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or_else(damaged)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(damaged())
}

fn damaged() -> Refusal {
    Refusal::new(
        "is not a sound ONNX model: its bytes end early or are no protocol buffer; export or download it again",
    )
}
