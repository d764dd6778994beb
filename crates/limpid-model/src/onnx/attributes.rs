//! A node's attributes, with their types checked.

use super::proto::{AttributeProto, GraphProto, TensorProto};
use super::refusal::{Refusal, Result};

/// The attributes of a node; references to those of a function's call are
/// already resolved.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a>(pub(super) &'a [AttributeProto]);

// The numbers of `AttributeProto.AttributeType`; 0 in files older than it.
const FLOAT: i32 = 1;
const INT: i32 = 2;
const STRING: i32 = 3;
const FLOATS: i32 = 6;
const INTS: i32 = 7;

impl<'a> Attributes<'a> {
    pub(super) fn get(self, name: &str) -> Option<&'a AttributeProto> {
        self.0.iter().find(|a| a.name() == name)
    }

    fn typed(self, name: &str, number: i32, what: &str) -> Result<Option<&'a AttributeProto>> {
        match self.get(name) {
            Some(a) if a.r#type() != number && a.r#type() != 0 => {
                Err(Refusal::new(format!("attribute `{name}` must be {what}")))
            }
            found => Ok(found),
        }
    }

    /// A whole number, if there is one.
    pub(super) fn int(self, name: &str) -> Result<Option<i64>> {
        Ok(self
            .typed(name, INT, "a whole number")?
            .map(AttributeProto::i))
    }

    /// A whole number that is 0 or 1.
    pub(super) fn flag(self, name: &str, default: bool) -> Result<bool> {
        Ok(self.int(name)?.map_or(default, |v| v != 0))
    }

    pub(super) fn float(self, name: &str, default: f32) -> Result<f32> {
        let value = self
            .typed(name, FLOAT, "a number")?
            .map_or(default, AttributeProto::f);
        if value.is_finite() {
            Ok(value)
        } else {
            Err(Refusal::new(format!("attribute `{name}` must be finite")))
        }
    }

    pub(super) fn ints(self, name: &str) -> Result<Option<&'a [i64]>> {
        Ok(self
            .typed(name, INTS, "a list of whole numbers")?
            .map(|a| &a.ints[..]))
    }

    pub(super) fn floats(self, name: &str) -> Result<Option<&'a [f32]>> {
        Ok(self
            .typed(name, FLOATS, "a list of numbers")?
            .map(|a| &a.floats[..]))
    }

    /// A text, or `default`.
    pub(super) fn text(self, name: &str, default: &'a str) -> Result<&'a str> {
        match self.typed(name, STRING, "a text")? {
            None => Ok(default),
            Some(a) => std::str::from_utf8(a.s())
                .map_err(|_| Refusal::new(format!("attribute `{name}` must be a text"))),
        }
    }

    pub(super) fn tensor(self, name: &str) -> Option<&'a TensorProto> {
        self.get(name)?.t.as_ref()
    }

    pub(super) fn graph(self, name: &str) -> Option<&'a GraphProto> {
        self.get(name)?.g.as_ref()
    }
}
