use crate::{Error, Session};
use limpid_explain::{Objective, Readout};
use serde::Serialize;

/// What is to be explained of a picture.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// The classes of the K highest scores, a map for each.
    Top(usize),
    /// One class.
    Class(usize),
    /// One class by its label: the whole name or one of its comma-separated
    /// synonyms, case ignored.
    Label(String),
    /// Every tag whose probability is at least this, a map for each: for
    /// networks whose classes are tags, of which a picture can have several.
    Tags(f64),
    /// The score of one class less that of another: why the one rather than
    /// the other.
    Versus(Box<Target>, Box<Target>),
    /// The probability of classes in place of their score.
    Probability(Box<Target>),
}

impl Target {
    /// Reads `top1`, `top:K`, a class index, a label, `tags`, `tags:P`,
    /// `A vs B` or `probability:T`, where A, B and T are read in their turn.
    ///
    /// ```
    /// use limpid::Target;
    /// assert_eq!(Target::parse("top1"), Target::Top(1));
    /// assert_eq!(Target::parse("top:3"), Target::Top(3));
    /// assert_eq!(Target::parse("967"), Target::Class(967));
    /// assert_eq!(Target::parse("espresso"), Target::Label("espresso".into()));
    /// assert_eq!(
    ///     Target::parse("espresso vs 504"),
    ///     Target::Versus(
    ///         Box::new(Target::Label("espresso".into())),
    ///         Box::new(Target::Class(504))
    ///     ),
    /// );
    /// assert_eq!(
    ///     Target::parse("probability:top1"),
    ///     Target::Probability(Box::new(Target::Top(1))),
    /// );
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if let Some(of) = text.strip_prefix("probability:") {
            return Self::Probability(Box::new(Self::parse_classes(of)));
        }
        if let Some((class, other)) = text.split_once(" vs ") {
            let side = |t: &str| Box::new(Self::parse_classes(t.trim()));
            return Self::Versus(side(class), side(other));
        }
        Self::parse_classes(text)
    }

    fn parse_classes(text: &str) -> Self {
        let top = text.strip_prefix("top:").and_then(|k| k.parse().ok());
        let tags = text.strip_prefix("tags:").and_then(|p| p.parse().ok());
        match (text, top, tags, text.parse()) {
            ("top1", ..) => Self::Top(1),
            ("tags", ..) => Self::Tags(0.5),
            (_, Some(k), ..) => Self::Top(k),
            (_, _, Some(p), _) => Self::Tags(p),
            (_, _, _, Ok(index)) => Self::Class(index),
            _ => Self::Label(text.to_owned()),
        }
    }
}

/// A class and what the model says of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// The class.
    pub index: usize,
    /// Its label.
    pub label: String,
    /// Its logit.
    pub score: f32,
    /// Its share of the softmax over all classes, or, where classes are tags,
    /// its own sigmoid.
    pub probability: f64,
}

/// A score of one picture that a [`Target`] means.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedTarget {
    /// The class.
    pub class: Prediction,
    /// The class that it is compared with.
    pub against: Option<Prediction>,
    /// What is read of the scores.
    pub readout: Readout,
}

impl ResolvedTarget {
    /// The logit of a class.
    #[must_use]
    pub fn class(class: Prediction) -> Self {
        Self {
            class,
            against: None,
            readout: Readout::Logit,
        }
    }

    /// The scalar that is explained.
    #[must_use]
    pub fn objective(&self) -> Objective {
        let objective = match &self.against {
            Some(other) => Objective::difference(self.class.index, other.index),
            None => Objective::class(self.class.index),
        };
        objective.read_as(self.readout)
    }

    /// Its value for the picture.
    #[must_use]
    pub fn value(&self) -> f64 {
        match (self.readout, &self.against) {
            (Readout::Logit, Some(other)) => f64::from(self.class.score) - f64::from(other.score),
            (Readout::Logit, None) => f64::from(self.class.score),
            (_, Some(other)) => self.class.probability - other.probability,
            (_, None) => self.class.probability,
        }
    }

    /// Its name in a file's: the class index, `-vs-` the other's,
    /// `-probability`.
    #[must_use]
    pub fn slug(&self) -> String {
        let mut slug = self.class.index.to_string();
        if let Some(other) = &self.against {
            slug += &format!("-vs-{}", other.index);
        }
        if self.readout != Readout::Logit {
            slug += "-probability";
        }
        slug
    }
}

impl Session {
    /// The scores that a target means for these logits.
    ///
    /// # Errors
    /// When there is no such class, several bear the label, or no tag is
    /// probable enough.
    ///
    /// ```
    /// # use limpid::{Device, Image, Model, Target};
    /// # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photos/coffee.jpg");
    /// # let session = Model::embedded()?.session(Device::auto()?)?;
    /// # let image = Image::open(photo)?;
    /// let logits = session.logits(&session.input(&image)?)?;
    /// let espresso = session.resolve(&Target::Label("espresso".into()), &logits)?;
    /// assert_eq!(espresso[0].class.index, 967);
    /// let rather = session.resolve(&Target::parse("espresso vs cup"), &logits)?;
    /// assert_eq!(rather[0].slug(), "967-vs-968");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resolve(&self, target: &Target, logits: &[f32]) -> Result<Vec<ResolvedTarget>, Error> {
        let classes = logits.len();
        let one = |index| vec![ResolvedTarget::class(self.prediction(logits, index))];
        Ok(match target {
            Target::Top(k) if (1..=classes).contains(k) => self
                .rank(logits, *k)
                .into_iter()
                .map(ResolvedTarget::class)
                .collect(),
            Target::Top(asked) => {
                return Err(Error::TooManyClasses {
                    asked: *asked,
                    classes,
                });
            }
            Target::Class(index) => one(self.model().labels().find(&index.to_string())?),
            Target::Label(label) => one(self.model().labels().find(label)?),
            Target::Tags(least) => {
                if !self.model().is_multi_label() {
                    return Err(Error::NoTags {
                        model: self.model().name().to_owned(),
                    });
                }
                let ranked = self.rank(logits, classes).into_iter();
                let tags = ranked.filter(|p| p.probability >= *least);
                let tags: Vec<ResolvedTarget> = tags.map(ResolvedTarget::class).collect();
                if tags.is_empty() {
                    return Err(Error::NoProbableTag { least: *least });
                }
                tags
            }
            Target::Versus(class, other) => {
                let others = self.resolve(other, logits)?;
                let [other] = &others[..] else {
                    return Err(Error::NotOneClass {
                        found: others.len(),
                    });
                };
                let mut found = self.resolve(class, logits)?;
                for target in &mut found {
                    if target.class.index == other.class.index {
                        return Err(Error::SameClass {
                            index: target.class.index,
                        });
                    }
                    target.against = Some(other.class.clone());
                }
                found
            }
            Target::Probability(of) => {
                let readout = match self.model().is_multi_label() {
                    true => Readout::Sigmoid,
                    false => Readout::Softmax,
                };
                let mut found = self.resolve(of, logits)?;
                for target in &mut found {
                    target.readout = readout;
                }
                found
            }
        })
    }
}
