use crate::ExplainError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;
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
    Choice(Vec<Cow<'static, str>>),
    /// Any text.
    Text,
}

impl ParamKind {
    /// One of these words.
    #[must_use]
    pub fn choice(words: &[&'static str]) -> Self {
        Self::Choice(words.iter().map(|w| Cow::from(*w)).collect())
    }

    /// What it may be, for people.
    fn expected(&self) -> String {
        match self {
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Float { min, max } => format!("a number from {min} to {max}"),
            Self::Bool => "true or false".into(),
            Self::Choice(values) => format!("one of {}", values.join(", ")),
            Self::Text => "text".into(),
        }
    }

    /// The value, if it is one of this kind.
    fn accept(&self, value: ParamValue) -> Option<ParamValue> {
        match (self, &value) {
            (Self::Integer { min, max }, ParamValue::Integer(v)) => (min..=max).contains(&v),
            (Self::Float { min, max }, ParamValue::Float(v)) => (min..=max).contains(&v),
            (Self::Choice(values), ParamValue::Text(v)) => values.iter().any(|w| w == v),
            (Self::Bool, ParamValue::Bool(_)) | (Self::Text, ParamValue::Text(_)) => true,
            _ => false,
        }
        .then_some(value)
    }
}

/// What is known of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamInfo {
    /// Its name.
    pub name: Cow<'static, str>,
    /// What values it takes.
    pub kind: ParamKind,
    /// The default; null where it follows from the model or picture.
    pub default: Value,
    /// What it does.
    pub help: Cow<'static, str>,
}

/// The form in which `limpid methods --json` shows a parameter, and in which a
/// plugin describes it.
#[derive(Debug, Serialize, Deserialize)]
struct Schema<'a> {
    r#type: Cow<'a, str>,
    #[serde(default)]
    default: Value,
    #[serde(default)]
    min: Value,
    #[serde(default)]
    max: Value,
    #[serde(default)]
    values: Option<Vec<Cow<'static, str>>>,
    #[serde(default)]
    help: Cow<'static, str>,
}

impl ParamInfo {
    /// A parameter of a method.
    ///
    /// ```
    /// use limpid_explain::{ParamInfo, ParamKind};
    /// let steps = ParamInfo::new("steps", ParamKind::Integer { min: 1, max: 100 }, 10, "gradients");
    /// assert_eq!(steps.schema()["default"], 10);
    /// ```
    #[must_use]
    pub fn new(
        name: &'static str,
        kind: ParamKind,
        default: impl Into<Value>,
        help: &'static str,
    ) -> Self {
        Self {
            name: name.into(),
            kind,
            default: default.into(),
            help: help.into(),
        }
    }

    /// The parameter's schema: type, default, min, max, values, help.
    #[must_use]
    pub fn schema(&self) -> Value {
        let (kind, min, max, values) = match &self.kind {
            ParamKind::Integer { min, max } => ("integer", (*min).into(), (*max).into(), None),
            ParamKind::Float { min, max } => ("float", (*min).into(), (*max).into(), None),
            ParamKind::Bool => ("boolean", Value::Null, Value::Null, None),
            ParamKind::Choice(values) => ("string", Value::Null, Value::Null, Some(values.clone())),
            ParamKind::Text => ("string", Value::Null, Value::Null, None),
        };
        let schema = Schema {
            r#type: kind.into(),
            default: self.default.clone(),
            min,
            max,
            values,
            help: self.help.clone(),
        };
        serde_json::to_value(schema).unwrap_or(Value::Null)
    }

    /// The parameter that a schema describes; bounds that it does not name are
    /// the widest.
    ///
    /// # Errors
    /// What is wrong with the schema.
    pub fn from_schema(name: &str, schema: &Value) -> Result<Self, String> {
        let found = Schema::deserialize(schema).map_err(|e| format!("parameter `{name}`: {e}"))?;
        let wrong = |what: &str| format!("parameter `{name}`: {what}");
        let integer = |v: &Value, or| match v {
            Value::Null => Ok(or),
            v => v
                .as_u64()
                .ok_or_else(|| wrong("a bound is no whole number")),
        };
        let float = |v: &Value, or| match v {
            Value::Null => Ok(or),
            v => v.as_f64().ok_or_else(|| wrong("a bound is no number")),
        };
        let kind = match (&*found.r#type, found.values) {
            ("integer", _) => ParamKind::Integer {
                min: integer(&found.min, 0)?,
                max: integer(&found.max, u64::MAX)?,
            },
            ("float", _) => ParamKind::Float {
                min: float(&found.min, f64::MIN)?,
                max: float(&found.max, f64::MAX)?,
            },
            ("boolean", _) => ParamKind::Bool,
            ("string", Some(values)) => ParamKind::Choice(values),
            ("string", None) => ParamKind::Text,
            (other, _) => {
                let known = "there are integer, float, boolean and string";
                return Err(wrong(&format!("there is no type `{other}`; {known}")));
            }
        };
        Ok(Self {
            name: name.to_owned().into(),
            kind,
            default: found.default,
            help: found.help,
        })
    }

    /// Reads a value as the command line gives it.
    ///
    /// # Errors
    /// [`ExplainError::Parameter`] with what the parameter may be.
    pub fn parse(&self, method: &str, text: &str) -> Result<ParamValue, ExplainError> {
        let value = match &self.kind {
            ParamKind::Integer { .. } => text.parse().ok().map(ParamValue::Integer),
            ParamKind::Float { .. } => text.parse().ok().map(ParamValue::Float),
            ParamKind::Bool => text.parse().ok().map(ParamValue::Bool),
            ParamKind::Choice(_) | ParamKind::Text => Some(ParamValue::Text(text.to_owned())),
        };
        let accepted = value.and_then(|v| self.kind.accept(v));
        accepted.ok_or_else(|| self.wrong(method, text))
    }

    /// Reads a value that is given as JSON.
    ///
    /// # Errors
    /// [`ExplainError::Parameter`] with what the parameter may be.
    pub fn value(&self, method: &str, value: &Value) -> Result<ParamValue, ExplainError> {
        let read = match (&self.kind, value) {
            (ParamKind::Integer { .. }, v) => v.as_u64().map(ParamValue::Integer),
            (ParamKind::Float { .. }, v) => v.as_f64().map(ParamValue::Float),
            (_, Value::Bool(v)) => Some(ParamValue::Bool(*v)),
            (_, Value::String(v)) => Some(ParamValue::Text(v.clone())),
            _ => None,
        };
        let accepted = read.and_then(|v| self.kind.accept(v));
        accepted.ok_or_else(|| self.wrong(method, &value.to_string()))
    }

    fn wrong(&self, method: &str, found: &str) -> ExplainError {
        ExplainError::Parameter {
            method: method.to_owned(),
            name: self.name.clone().into_owned(),
            expected: self.kind.expected(),
            found: found.chars().take(80).collect(),
        }
    }
}

/// A parameter's value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
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

/// The values given to one method, already checked against its schema; what
/// was not given is absent. Serialised it is an object of JSON.
///
/// ```
/// use limpid_explain::{Given, ParamValue};
/// let given = Given::from_iter([("steps".to_owned(), ParamValue::Integer(20))]);
/// assert_eq!(given.integer("steps"), Some(20));
/// assert_eq!(given.float("spread"), None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Given(BTreeMap<String, ParamValue>);

impl FromIterator<(String, ParamValue)> for Given {
    fn from_iter<I: IntoIterator<Item = (String, ParamValue)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl Given {
    /// Whether a parameter was given.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A whole number, if it was given.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<u64> {
        match self.0.get(name) {
            Some(ParamValue::Integer(v)) => Some(*v),
            _ => None,
        }
    }

    /// A number, if it was given.
    #[must_use]
    pub fn float(&self, name: &str) -> Option<f64> {
        match self.0.get(name) {
            Some(ParamValue::Float(v)) => Some(*v),
            _ => None,
        }
    }

    /// True or false, if it was given.
    #[must_use]
    pub fn bool(&self, name: &str) -> Option<bool> {
        match self.0.get(name) {
            Some(ParamValue::Bool(v)) => Some(*v),
            _ => None,
        }
    }

    /// A word or text, if it was given.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(ParamValue::Text(v)) => Some(v),
            _ => None,
        }
    }
}
