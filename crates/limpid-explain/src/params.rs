use crate::ExplainError;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Parameters by name, as JSON: the effective values of a manifest.
pub type Parameters = Map<String, Value>;

/// What values a parameter takes.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamKind {
    /// A whole number between two bounds, both included.
    Integer {
        /// The smallest value.
        min: u64,
        /// The largest value.
        max: u64,
    },
    /// A number between two bounds, both included.
    Float {
        /// The smallest value.
        min: f64,
        /// The largest value.
        max: f64,
    },
    /// `true` or `false`.
    Bool,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Any text.
    Text,
}

/// What is known of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamInfo {
    /// Its name.
    pub name: &'static str,
    /// What values it takes.
    pub kind: ParamKind,
    /// The default; null where it follows from the model or picture.
    pub default: Value,
    /// What it does.
    pub help: &'static str,
}

/// The form in which `limpid methods --json` shows a parameter.
#[derive(Debug, Serialize)]
struct Schema<'a> {
    r#type: &'static str,
    default: &'a Value,
    min: Value,
    max: Value,
    values: Value,
    help: &'static str,
}

impl ParamInfo {
    /// The parameter's schema: type, default, min, max, values, help.
    #[must_use]
    pub fn schema(&self) -> Value {
        let (kind, min, max, values) = match &self.kind {
            ParamKind::Integer { min, max } => {
                ("integer", (*min).into(), (*max).into(), Value::Null)
            }
            ParamKind::Float { min, max } => ("float", (*min).into(), (*max).into(), Value::Null),
            ParamKind::Bool => ("boolean", Value::Null, Value::Null, Value::Null),
            ParamKind::Choice(values) => {
                let values = values.iter().map(|v| Value::from(*v)).collect();
                ("string", Value::Null, Value::Null, Value::Array(values))
            }
            ParamKind::Text => ("string", Value::Null, Value::Null, Value::Null),
        };
        let schema = Schema {
            r#type: kind,
            default: &self.default,
            min,
            max,
            values,
            help: self.help,
        };
        serde_json::to_value(schema).unwrap_or(Value::Null)
    }

    /// Reads a value as the command line gives it.
    ///
    /// # Errors
    /// [`ExplainError::Parameter`] with what the parameter may be.
    pub fn parse(&self, method: &str, text: &str) -> Result<ParamValue, ExplainError> {
        let wrong = |expected: String| ExplainError::Parameter {
            method: method.to_owned(),
            name: self.name.to_owned(),
            expected,
            found: text.chars().take(80).collect(),
        };
        match &self.kind {
            ParamKind::Integer { min, max } => text
                .parse()
                .ok()
                .filter(|v| (*min..=*max).contains(v))
                .map(ParamValue::Integer)
                .ok_or_else(|| wrong(format!("a whole number from {min} to {max}"))),
            ParamKind::Float { min, max } => text
                .parse()
                .ok()
                .filter(|v| (*min..=*max).contains(v))
                .map(ParamValue::Float)
                .ok_or_else(|| wrong(format!("a number from {min} to {max}"))),
            ParamKind::Bool => match text {
                "true" => Ok(ParamValue::Bool(true)),
                "false" => Ok(ParamValue::Bool(false)),
                _ => Err(wrong("true or false".into())),
            },
            ParamKind::Choice(values) => values
                .iter()
                .find(|v| **v == text)
                .map(|v| ParamValue::Text((*v).to_owned()))
                .ok_or_else(|| wrong(format!("one of {}", values.join(", ")))),
            ParamKind::Text => Ok(ParamValue::Text(text.to_owned())),
        }
    }
}

/// A parameter's value.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamValue {
    /// A whole number.
    Integer(u64),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A word or text.
    Text(String),
}

/// The values given to one method, already checked against its schema.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given(pub(crate) BTreeMap<&'static str, ParamValue>);

impl Given {
    pub(crate) fn integer(&self, name: &str) -> Option<u64> {
        match self.0.get(name) {
            Some(ParamValue::Integer(v)) => Some(*v),
            _ => None,
        }
    }

    pub(crate) fn float(&self, name: &str) -> Option<f64> {
        match self.0.get(name) {
            Some(ParamValue::Float(v)) => Some(*v),
            _ => None,
        }
    }

    pub(crate) fn bool(&self, name: &str) -> Option<bool> {
        match self.0.get(name) {
            Some(ParamValue::Bool(v)) => Some(*v),
            _ => None,
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(ParamValue::Text(v)) => Some(v),
            _ => None,
        }
    }
}
