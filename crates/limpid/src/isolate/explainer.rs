//! A method that runs in a worker.

use super::Shared;
use super::message::{Answer, Chosen, Question};
use super::worker::{Clock, Listener};
use limpid_explain::{
    Attribution, Context, ExplainError, Explainer, ModelInfo, Parameters, Request,
};
use limpid_plugin_host::{Expected, shown};
use std::sync::Arc;
use std::time::Duration;

/// How long a plugin may take to make a method or to name its parameters.
const ANSWERING: Duration = Duration::from_secs(60);

/// A plugin's method with its parameters.
pub(super) struct Isolated {
    shared: Arc<Shared>,
    chosen: Chosen,
    output: String,
    smoothed: bool,
}

impl Isolated {
    /// Makes the method in a worker once, so that wrong parameters show before
    /// a run.
    pub(super) fn new(
        shared: Arc<Shared>,
        chosen: Chosen,
        output: String,
    ) -> Result<Self, ExplainError> {
        let what = format!("make {}", chosen.id);
        let mut clock = Clock::new(shared.id(), &what, ANSWERING);
        let answer = shared.ask(&Question::Make(chosen.clone()), &mut clock)?;
        let Answer::Made { smoothed } = answer else {
            return Err(shared.confused());
        };
        Ok(Self {
            shared,
            chosen,
            output,
            smoothed,
        })
    }
}

/// Hears of an explanation.
struct Job<'a> {
    shared: &'a Shared,
    cx: &'a mut dyn Context,
    expected: Expected,
    maps: Vec<Attribution>,
}

impl Listener for Job<'_> {
    fn tick(&mut self) -> Result<(), ExplainError> {
        self.cx.check()
    }

    fn hear(&mut self, answer: Answer, numbers: &[f32]) -> Result<(), ExplainError> {
        match answer {
            Answer::Progress { done, total } => self.cx.progress(done, total),
            Answer::Note(text) => self.cx.note(&shown(&text)),
            Answer::Map(map) => {
                if self.maps.len() == self.expected.maps {
                    let most = self.expected.maps;
                    return Err(self
                        .shared
                        .broken(format!("more than the {most} maps asked for")));
                }
                let map = map.attribution(numbers)?;
                self.expected.check(&map).map_err(|error| match error {
                    ExplainError::Shape { .. } => self.shared.broken(error.to_string()),
                    other => other,
                })?;
                self.maps.push(map);
            }
            _ => return Err(self.shared.confused()),
        }
        Ok(())
    }
}

impl Explainer for Isolated {
    fn id(&self) -> &str {
        &self.chosen.id
    }

    fn is_smoothed(&self) -> bool {
        self.smoothed
    }

    fn uses_context(&self) -> bool {
        false
    }

    fn parameters(&self, model: &ModelInfo, input: &[usize]) -> Parameters {
        let question = Question::Parameters {
            method: self.chosen.clone(),
            model: model.clone(),
            input: input.to_vec(),
        };
        let mut clock = Clock::new(self.shared.id(), "name its parameters", ANSWERING);
        match self.shared.ask(&question, &mut clock) {
            Ok(Answer::Parameters(found)) => found,
            _ => self.chosen.given.clone(),
        }
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        let dims = request.image.dims();
        let picture = <[usize; 3]>::try_from(dims).map_err(|_| ExplainError::Shape {
            what: "the picture".into(),
            expected: "[C,H,W]".into(),
            found: format!("{dims:?}"),
        })?;
        let question = Question::Explain {
            method: self.chosen.clone(),
            picture,
            objectives: request.objectives.iter().map(Into::into).collect(),
            seed: request.seed,
        };
        let expected = Expected {
            maps: request.objectives.len(),
            dims: picture,
            output: self.output.clone(),
        };
        // A map and its standard error.
        let most = 2 * expected.most() as u64;
        let mut job = Job {
            shared: &self.shared,
            cx,
            expected,
            maps: Vec::new(),
        };
        let mut worker = self.shared.take()?;
        let answer = worker.ask(&question, request.image.data(), most, &mut job)?;
        self.shared.give_back(worker);
        match answer {
            Answer::Explained if job.maps.len() == job.expected.maps => Ok(job.maps),
            Answer::Explained => Err(self.shared.broken(format!(
                "reported success with {} of {} maps",
                job.maps.len(),
                job.expected.maps
            ))),
            Answer::Failed(failure) => Err(failure.into()),
            _ => Err(self.shared.confused()),
        }
    }
}
