//! Names of classes.

use limpid_graph::nearest_names;

/// Why a label does not name one class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// An index beyond the last class.
    #[error("class {index} does not exist: the model has {classes} classes, 0 to {}", classes.saturating_sub(1))]
    Index {
        /// The index asked for.
        index: String,
        /// The number of classes.
        classes: usize,
    },
    /// Several classes bear the name.
    #[error(
        "the label \"{query}\" names several classes: {}; give one of the indices",
        listed(matches)
    )]
    Ambiguous {
        /// The label asked for.
        query: String,
        /// The classes: index and whole name.
        matches: Vec<(usize, String)>,
    },
    /// No class bears the name.
    #[error("no class is called \"{query}\"{}", near_list(near))]
    Unknown {
        /// The label asked for.
        query: String,
        /// Similar names.
        near: Vec<String>,
    },
}

fn listed(matches: &[(usize, String)]) -> String {
    let shown: Vec<String> = matches
        .iter()
        .take(20)
        .map(|(i, name)| format!("{i} ({name})"))
        .collect();
    let rest = if matches.len() > 20 { ", ..." } else { "" };
    shown.join(", ") + rest
}

fn near_list(near: &[String]) -> String {
    if near.is_empty() {
        return "; give a class index or a label of the model".to_owned();
    }
    let quoted: Vec<String> = near.iter().map(|n| format!("\"{n}\"")).collect();
    format!("; similar labels are {}", quoted.join(", "))
}

/// The names of a model's classes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels {
    names: Vec<String>,
    classes: usize,
}

impl Labels {
    /// One name for each class; commas separate synonyms.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        Self {
            classes: names.len(),
            names,
        }
    }

    /// `classes` classes without names.
    #[must_use]
    pub fn unnamed(classes: usize) -> Self {
        Self {
            names: Vec::new(),
            classes,
        }
    }

    /// The number of classes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.classes
    }

    /// Whether there is no class.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.classes == 0
    }

    /// The whole name of a class; `None` where it has none.
    #[must_use]
    pub fn name(&self, index: usize) -> Option<&str> {
        self.names.get(index).map(String::as_str)
    }

    /// The whole name of a class, or `class N` where it has none.
    #[must_use]
    pub fn display(&self, index: usize) -> String {
        self.name(index)
            .map_or_else(|| format!("class {index}"), str::to_owned)
    }

    /// The class that `query` means: an index in decimal digits, a whole name,
    /// or one of a name's comma-separated synonyms; case is ignored.
    ///
    /// # Errors
    /// [`LabelError`] when no class or several bear the name.
    ///
    /// ```
    /// use limpid_model::Labels;
    /// let labels = Labels::new(vec!["tench, Tinca tinca".into(), "crane".into(), "crane".into()]);
    /// assert_eq!(labels.find("TINCA TINCA"), Ok(0));
    /// assert_eq!(labels.find("2"), Ok(2));
    /// assert!(labels.find("crane").unwrap_err().to_string().contains("1 (crane), 2 (crane)"));
    /// ```
    pub fn find(&self, query: &str) -> Result<usize, LabelError> {
        let wanted = query.trim().to_lowercase();
        if !wanted.is_empty() && wanted.bytes().all(|b| b.is_ascii_digit()) {
            // A class may be called "7" at another place than 7: digits are an index.
            return match wanted.parse() {
                Ok(index) if index < self.classes => Ok(index),
                _ => Err(LabelError::Index {
                    index: wanted,
                    classes: self.classes,
                }),
            };
        }
        let found: Vec<usize> = (0..self.names.len())
            .filter(|&i| !wanted.is_empty() && bears(&self.names[i], &wanted))
            .collect();
        match found[..] {
            [index] => Ok(index),
            [] => Err(LabelError::Unknown {
                query: query.to_owned(),
                near: nearest_names(
                    &wanted,
                    self.names.iter().flat_map(|n| n.split(',')).map(str::trim),
                ),
            }),
            _ => Err(LabelError::Ambiguous {
                query: query.to_owned(),
                matches: found
                    .into_iter()
                    .map(|i| (i, self.names[i].clone()))
                    .collect(),
            }),
        }
    }
}

/// Whether `name` as a whole or one of its synonyms is `wanted` (lower case).
fn bears(name: &str, wanted: &str) -> bool {
    let name = name.to_lowercase();
    name.trim() == wanted || name.split(',').any(|synonym| synonym.trim() == wanted)
}
