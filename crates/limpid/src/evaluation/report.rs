use crate::explanation::{ManifestClass, ManifestTarget, method_name};
use crate::{Input, ResolvedTarget, Session};
use limpid_explain::metrics::{Better, Curve, Measurement, Metric, Region, mean, standard_error};
use limpid_explain::{Evaluations, Explainer, Parameters};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// Names and what they stand for, in order; an object in JSON.
type Named<T> = Vec<(String, T)>;

fn object<T: Serialize, S: Serializer>(named: &Named<T>, to: S) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(named.len()))?;
    for (name, value) in named {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

/// What something took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Passes through the model.
    pub evaluations: Evaluations,
    /// Time, in seconds.
    pub seconds: f64,
}

/// What was found of a method on one score of a picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MethodResult {
    /// The method, with `+smoothgrad` where it is smoothed.
    pub method: String,
    /// The numbers by their names; null where a map has none.
    #[serde(serialize_with = "object")]
    pub metrics: Named<Option<f64>>,
    /// The curves behind numbers.
    #[serde(serialize_with = "object", skip_serializing_if = "Vec::is_empty")]
    pub curves: Named<Curve>,
    /// Why numbers are missing, by metrics.
    #[serde(serialize_with = "object", skip_serializing_if = "Vec::is_empty")]
    pub notes: Named<String>,
    /// What the map took.
    #[serde(flatten)]
    pub cost: Cost,
    /// What each metric took.
    #[serde(serialize_with = "object")]
    pub measuring: Named<Cost>,
    /// Why there is no map.
    pub error: Option<String>,
    #[serde(skip)]
    better: Named<(String, Better)>,
}

impl MethodResult {
    /// Of a map that took this.
    pub(super) fn of(method: String, cost: Cost) -> Self {
        Self {
            method,
            metrics: Vec::new(),
            curves: Vec::new(),
            notes: Vec::new(),
            cost,
            measuring: Vec::new(),
            error: None,
            better: Vec::new(),
        }
    }

    /// Of a method that failed.
    pub(super) fn failed(method: String, error: String) -> Self {
        Self {
            error: Some(error),
            ..Self::of(method, Cost::default())
        }
    }

    /// Adds what a metric has found.
    pub(super) fn add(&mut self, metric: &str, found: Measurement, cost: Cost) {
        for value in found.values {
            let better = (metric.to_owned(), value.better);
            self.better.push((value.name.clone(), better));
            self.metrics.push((value.name, value.value));
        }
        let curves = found.curves.into_iter().map(|c| (c.name.clone(), c));
        self.curves.extend(curves);
        self.notes
            .extend(found.note.map(|note| (metric.to_owned(), note)));
        self.measuring.push((metric.to_owned(), cost));
    }

    fn value(&self, name: &str) -> Option<f64> {
        let found = self.metrics.iter().find(|(n, _)| n == name);
        found.and_then(|(_, value)| *value)
    }
}

/// What was found of one score of a picture.
#[derive(Debug, Clone, Serialize)]
pub struct PictureResult {
    /// The picture's path as it was given.
    pub image: Option<String>,
    /// The score; null where the picture failed.
    pub target: Option<ManifestTarget>,
    /// The score's value.
    pub score: Option<f64>,
    /// The class's probability.
    pub probability: Option<f64>,
    /// The share of the model's input that each region takes up.
    #[serde(serialize_with = "object")]
    pub regions: Named<f64>,
    /// The methods.
    pub results: Vec<MethodResult>,
    /// Why the picture failed.
    pub error: Option<String>,
}

impl PictureResult {
    pub(super) fn new(
        input: &Input,
        target: &ResolvedTarget,
        regions: &[Region],
        results: Vec<MethodResult>,
    ) -> Self {
        let areas = regions
            .iter()
            .map(|r| (r.name.clone(), r.mask.area_share(r.label)));
        Self {
            image: input.path().map(|p| p.display().to_string()),
            target: Some(ManifestTarget {
                index: target.class.index,
                label: target.class.label.clone(),
                against: target.against.as_ref().map(|other| ManifestClass {
                    index: other.index,
                    label: other.label.clone(),
                }),
                readout: target.readout.name(),
            }),
            score: Some(target.value()),
            probability: Some(target.class.probability),
            regions: areas.collect(),
            results,
            error: None,
        }
    }

    pub(super) fn failed(image: String, error: String) -> Self {
        Self {
            image: Some(image),
            target: None,
            score: None,
            probability: None,
            regions: Vec::new(),
            results: Vec::new(),
            error: Some(error),
        }
    }
}

/// A number's mean over pictures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The mean; null where no map has the number.
    pub mean: Option<f64>,
    /// The standard error of the mean; null for fewer than two.
    pub standard_error: Option<f64>,
    /// How many maps have the number.
    pub count: usize,
}

/// A method's means over pictures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MethodSummary {
    /// The method.
    #[serde(skip)]
    pub method: String,
    /// Each number's.
    #[serde(serialize_with = "object")]
    pub metrics: Named<Summary>,
    /// The mean passes with a gradient that a map took.
    pub gradients: Option<f64>,
    /// The mean passes without.
    pub forwards: Option<f64>,
    /// The mean seconds that a map took.
    pub seconds: Option<f64>,
}

/// What defines a number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NumberInfo {
    /// Every number and choice of its metric.
    pub protocol: Value,
    /// `higher` or `lower`; null where it depends on what one looks for.
    pub better: Option<&'static str>,
}

/// All that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The version of Limpid.
    pub version: String,
    /// The model's name or directory.
    pub model: String,
    /// The SHA-256 of its weights.
    pub model_sha256: String,
    /// The kind of device.
    pub device: String,
    /// The precision of the arithmetic.
    pub precision: String,
    /// The instruction set or driver.
    pub isa: String,
    /// The seed.
    pub seed: u64,
    /// What defines each number.
    #[serde(serialize_with = "object")]
    pub metrics: Named<NumberInfo>,
    /// Each method's effective parameters.
    #[serde(serialize_with = "object")]
    pub methods: Named<Value>,
    /// The pictures, a result for each score.
    pub pictures: Vec<PictureResult>,
    /// The means over them, by methods.
    #[serde(serialize_with = "by_method")]
    pub summary: Vec<MethodSummary>,
}

fn by_method<S: Serializer>(summary: &[MethodSummary], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(summary.iter().map(|s| (&s.method, s)))
}

impl Report {
    /// The methods whose mean of a number is the best; none where it has no
    /// better or worse, or all are alike.
    #[must_use]
    pub fn best(&self, number: &str) -> Vec<&str> {
        let better = self.metrics.iter().find(|(name, _)| name == number);
        let sign = match better.and_then(|(_, info)| info.better) {
            Some("higher") => 1.0,
            Some("lower") => -1.0,
            _ => return Vec::new(),
        };
        let means: Vec<(&str, f64)> = self
            .summary
            .iter()
            .filter_map(|s| {
                let (_, found) = s.metrics.iter().find(|(name, _)| name == number)?;
                Some((&*s.method, sign * found.mean?))
            })
            .collect();
        let best = means.iter().map(|m| m.1).fold(f64::NEG_INFINITY, f64::max);
        if means.len() < 2 || means.iter().all(|m| m.1 == best) {
            return Vec::new();
        }
        means.iter().filter(|m| m.1 == best).map(|m| m.0).collect()
    }
}

/// Collects what is found of pictures.
#[derive(Default)]
pub(super) struct Recorder {
    pictures: Vec<PictureResult>,
}

impl Recorder {
    pub(super) fn add(&mut self, picture: PictureResult) {
        self.pictures.push(picture);
    }

    pub(super) fn report(
        &self,
        session: &Session,
        methods: &[Box<dyn Explainer>],
        metrics: &[Box<dyn Metric>],
        seed: u64,
    ) -> Report {
        let capabilities = session.device().capabilities();
        let input = session.model().preprocess().input_size();
        let parameters = methods.iter().map(|m| {
            let parameters: Parameters = m.parameters(session.info(), &input);
            let name = method_name(m.id(), m.is_smoothed());
            (name, json!({ "parameters": parameters }))
        });
        let methods: Named<Value> = parameters.collect();
        let numbers = self.numbers(metrics);
        let names: Vec<&str> = numbers.iter().map(|(name, _)| &**name).collect();
        let summary = methods
            .iter()
            .map(|(method, _)| self.summary(method, &names));
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model: session.model().name().to_owned(),
            model_sha256: session.model().sha256().to_owned(),
            device: capabilities.kind.name().to_owned(),
            precision: capabilities.precision.clone(),
            isa: capabilities.isa.clone(),
            seed,
            summary: summary.collect(),
            metrics: numbers,
            methods,
            pictures: self.pictures.clone(),
        }
    }

    fn results(&self) -> impl Iterator<Item = &MethodResult> {
        self.pictures.iter().flat_map(|p| &p.results)
    }

    /// The numbers that the metrics make, in their order; a metric that has made
    /// none stands for itself.
    fn numbers(&self, metrics: &[Box<dyn Metric>]) -> Named<NumberInfo> {
        let mut numbers: Named<NumberInfo> = Vec::new();
        for metric in metrics {
            let before = numbers.len();
            let found = self.results().flat_map(|r| &r.better);
            for (name, (_, better)) in found.filter(|(_, (id, _))| id == metric.id()) {
                if numbers[before..].iter().all(|(n, _)| n != name) {
                    let info = NumberInfo {
                        protocol: metric.protocol(),
                        better: better.name(),
                    };
                    numbers.push((name.clone(), info));
                }
            }
            if numbers.len() == before {
                let info = NumberInfo {
                    protocol: metric.protocol(),
                    better: None,
                };
                numbers.push((metric.id().to_owned(), info));
            }
        }
        numbers
    }

    fn summary(&self, method: &str, numbers: &[&str]) -> MethodSummary {
        let results: Vec<&MethodResult> = self.results().filter(|r| r.method == method).collect();
        let metrics = numbers.iter().map(|name| {
            let values: Vec<f64> = results.iter().filter_map(|r| r.value(name)).collect();
            let summary = Summary {
                mean: mean(&values),
                standard_error: standard_error(&values),
                count: values.len(),
            };
            ((*name).to_owned(), summary)
        });
        let whole = results.iter().filter(|r| r.error.is_none());
        let costs: Vec<Cost> = whole.map(|r| r.cost).collect();
        let average = |of: &dyn Fn(&Cost) -> f64| mean(&costs.iter().map(of).collect::<Vec<_>>());
        MethodSummary {
            method: method.to_owned(),
            metrics: metrics.collect(),
            gradients: average(&|c| c.evaluations.gradients as f64),
            forwards: average(&|c| c.evaluations.forwards as f64),
            seconds: average(&|c| c.seconds),
        }
    }
}
