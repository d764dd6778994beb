use crate::Mode;
use limpid_device::Capabilities;
use serde::Deserialize;

/// A failure that is known, with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownFailure {
    /// The kind of device, such as `cpu`.
    pub device: String,
    /// The instruction set or driver, where it is not all of them.
    pub isa: Option<String>,
    /// The mode in which it fails.
    pub mode: Mode,
    /// The whole name of the case.
    pub case: String,
    /// Why.
    pub reason: String,
}

/// Why a list of known failures cannot be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum KnownFailuresError {
    /// It is not TOML or has other keys.
    #[error("the list of known failures does not parse: {0}")]
    Syntax(#[from] toml::de::Error),
    /// An entry says no reason.
    #[error("the known failure of `{0}` has no reason; say why it fails")]
    NoReason(String),
}

/// The failures that are known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownFailures {
    #[serde(default)]
    failure: Vec<KnownFailure>,
}

impl KnownFailures {
    /// Those of the list that is kept with the suite.
    ///
    /// # Errors
    /// When the list is damaged.
    pub fn committed() -> Result<Self, KnownFailuresError> {
        Self::parse(include_str!("../known_failures.toml"))
    }

    /// Reads a list.
    ///
    /// ```
    /// use limpid_op_suite::KnownFailures;
    /// let text = r#"
    ///     [[failure]]
    ///     device = "cpu"
    ///     mode = "test"
    ///     case = "add same"
    ///     reason = "the sum is taken twice"
    /// "#;
    /// assert!(KnownFailures::parse(text).is_ok());
    /// assert!(KnownFailures::parse("[[failure]]\ncase = 'add same'").is_err());
    /// ```
    ///
    /// # Errors
    /// When it is not TOML of this form, or an entry has no reason.
    pub fn parse(text: &str) -> Result<Self, KnownFailuresError> {
        let known: Self = toml::from_str(text)?;
        match known.failure.iter().find(|f| f.reason.trim().is_empty()) {
            Some(f) => Err(KnownFailuresError::NoReason(f.case.clone())),
            None => Ok(known),
        }
    }

    /// Those of one device in one mode.
    #[must_use]
    pub fn of(&self, device: &Capabilities, mode: Mode) -> Vec<KnownFailure> {
        let fits = |f: &&KnownFailure| {
            let isa = f.isa.as_ref().is_none_or(|isa| *isa == device.isa);
            f.device == device.kind.name() && isa && f.mode == mode
        };
        self.failure.iter().filter(fits).cloned().collect()
    }
}
