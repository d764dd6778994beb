//! A plugin's method as an explainer.

use crate::Expected;
use crate::job::{self, Ended, Fault, Uses, status_name};
use crate::library::{Inner, Instance, Method};
use crate::services::ModelTable;
use limpid_explain::{
    Attribution, Context, Evaluations, ExplainError, Explainer, Given, ModelInfo, Parameters,
    Request,
};
use limpid_plugin::table::{Objectives, sink};
use limpid_plugin_abi as abi;
use std::sync::{Arc, Mutex, PoisonError};

/// A plugin's method with its parameters. It has as many instances as threads
/// explain by it at once.
pub(crate) struct PluginExplainer {
    plugin: Arc<Inner>,
    method: Method,
    /// The values that were given, as JSON.
    given: String,
    smooth: u64,
    smoothed: bool,
    idle: Mutex<Vec<Instance>>,
}

impl PluginExplainer {
    /// Makes the first instance, so that wrong parameters show before a run.
    pub(crate) fn new(
        plugin: Arc<Inner>,
        method: Method,
        given: &Given,
        smooth: u64,
    ) -> Result<Self, ExplainError> {
        let mut this = Self {
            plugin,
            given: serde_json::to_string(given).map_err(|e| ExplainError::Run(Box::new(e)))?,
            method,
            smooth,
            smoothed: false,
            idle: Mutex::default(),
        };
        let first = this.create()?;
        // SAFETY: `create` made it.
        let table = unsafe { abi::read(first.0) };
        let table = table.filter(|t| t.explain.is_some() && t.destroy.is_some());
        let table = table.ok_or_else(|| {
            this.broken("made an instance without the functions `explain` and `destroy`")
        })?;
        this.smoothed = table.smoothed == 1;
        this.give_back(first);
        Ok(this)
    }

    fn broken(&self, message: impl Into<String>) -> ExplainError {
        ExplainError::Plugin {
            plugin: self.plugin.id().to_owned(),
            message: format!("{}: {}", self.method.id, message.into()),
        }
    }

    fn create(&self) -> Result<Instance, ExplainError> {
        let Some(create) = self.plugin.table.create else {
            return Err(self.broken("has no function `create`"));
        };
        let (mut words, mut out) = (String::new(), std::ptr::null_mut());
        // SAFETY: all texts and the sink live until the call returns, the
        // host's table as long as the process.
        let status = unsafe {
            create(
                self.plugin.host,
                abi::limpid_str::new(&self.method.id),
                abi::limpid_str::new(&self.given),
                self.smooth,
                sink(&mut words),
                &raw mut out,
            )
        };
        match status {
            abi::LIMPID_OK if out.is_null() => {
                Err(self.broken("`create` reported success and made nothing"))
            }
            abi::LIMPID_OK => Ok(Instance(out)),
            abi::LIMPID_PANIC => Err(self.broken(format!("panicked in `create`: {words}"))),
            _ if words.is_empty() => {
                let message = format!("`create` failed with {}, and no words", status_name(status));
                Err(self.broken(message))
            }
            _ => Err(ExplainError::Refused {
                method: self.id().to_owned(),
                message: words,
            }),
        }
    }

    /// An instance that nobody uses.
    fn take(&self) -> Result<Instance, ExplainError> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        idle.map_or_else(|| self.create(), Ok)
    }

    fn give_back(&self, instance: Instance) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(instance);
    }

    /// What becomes of a plugin's answer.
    fn outcome(
        &self,
        status: abi::limpid_status,
        ended: Ended,
        expected: usize,
        cancelled: bool,
    ) -> Result<Vec<Attribution>, ExplainError> {
        match status {
            abi::LIMPID_OK if ended.surplus > 0 => Err(self.broken(format!(
                "made {} maps where {expected} were asked for",
                ended.maps.len() + ended.surplus
            ))),
            abi::LIMPID_OK if ended.maps.len() == expected => Ok(ended.maps),
            abi::LIMPID_OK => Err(self.broken(format!(
                "reported success with {} of {expected} maps{}",
                ended.maps.len(),
                ended.words.map_or_else(String::new, |w| format!("; {w}"))
            ))),
            abi::LIMPID_CANCELLED if cancelled => Err(ExplainError::Cancelled),
            abi::LIMPID_CANCELLED => {
                Err(self.broken("says that the run was cancelled, which it was not"))
            }
            abi::LIMPID_PANIC => {
                let words = ended.words.unwrap_or_default();
                Err(self.broken(format!("panicked: {words}")))
            }
            _ => Err(match (ended.error, ended.words) {
                // A service's error that the plugin hands on comes back as it was.
                (Some(error), Some(words)) if error.to_string() == words => error,
                (_, Some(words)) => self.broken(words),
                (Some(error), None) => error,
                (None, None) => {
                    self.broken(format!("failed with {}, and no words", status_name(status)))
                }
            }),
        }
    }
}

impl Explainer for PluginExplainer {
    fn id(&self) -> &str {
        &self.method.info.id
    }

    fn is_smoothed(&self) -> bool {
        self.smoothed
    }

    fn parameters(&self, model: &ModelInfo, input: &[usize]) -> Parameters {
        let given = || serde_json::from_str(&self.given).unwrap_or_default();
        let Ok(instance) = self.take() else {
            return given();
        };
        // SAFETY: `create` made the instance.
        let parameters = unsafe { abi::read(instance.0) }.and_then(|i| i.parameters);
        let (Some(parameters), [c, h, w]) = (parameters, input) else {
            self.give_back(instance);
            return given();
        };
        let shape = [*c as u64, *h as u64, *w as u64];
        let (model, mut text) = (ModelTable::new(model), String::new());
        // SAFETY: the model, the shape and the sink live until the call returns.
        let status =
            unsafe { parameters(instance.0, model.table(), shape.as_ptr(), sink(&mut text)) };
        if status == abi::LIMPID_PANIC {
            return given();
        }
        self.give_back(instance);
        match serde_json::from_str(&text) {
            Ok(found) if status == abi::LIMPID_OK => found,
            _ => given(),
        }
    }

    fn explain(
        &self,
        cx: &mut dyn Context,
        request: &Request<'_>,
    ) -> Result<Vec<Attribution>, ExplainError> {
        let dims =
            <[usize; 3]>::try_from(request.image.dims()).map_err(|_| ExplainError::Shape {
                what: "the picture".into(),
                expected: "[C,H,W]".into(),
                found: format!("{:?}", request.image.dims()),
            })?;
        let instance = self.take()?;
        // SAFETY: `create` made the instance.
        let explain = unsafe { abi::read(instance.0) }.and_then(|i| i.explain);
        let explain = explain.ok_or_else(|| self.broken("has no function `explain`"))?;
        let model = ModelTable::new(cx.model());
        let objectives = Objectives::of(request.objectives);
        let expected = Expected {
            maps: request.objectives.len(),
            dims,
            output: self.method.info.output.to_string(),
        };
        let before = cx.evaluations();
        let uses = Uses {
            declared: self.method.uses,
            offered: self.plugin.host.capabilities,
        };
        let (status, ended) = job::run(cx, uses, expected, request.image, |job| {
            let tensor = match job.keep_picture() {
                Ok(tensor) => tensor,
                Err(fault) => {
                    if let Fault::Rule(_, words) = fault {
                        job.say(words);
                    }
                    return abi::LIMPID_OUT_OF_MEMORY;
                }
            };
            let request = abi::limpid_request {
                head: abi::limpid_head::of::<abi::limpid_request>(),
                picture: request.image.data().as_ptr(),
                shape: dims.map(|d| d as u64),
                tensor,
                objectives: objectives.rows().as_ptr(),
                objective_count: objectives.rows().len() as u64,
                seed: request.seed,
                model: model.table(),
            };
            // SAFETY: all that the request points to lives until the call returns.
            let status = unsafe { explain(instance.0, job.id(), &raw const request) };
            // The picture is the host's.
            let _ = job.release(tensor);
            status
        });
        if ended.leaked > 0 {
            let leaked = format!(
                "plugin {}: {} left {} tensors unreleased; they were freed",
                self.plugin.id(),
                self.method.id,
                ended.leaked
            );
            cx.note(&leaked);
        }
        if ended.strays > 0 {
            let strays = format!(
                "plugin {}: {} called services {} times from a thread that does not run the job; they were refused",
                self.plugin.id(),
                self.method.id,
                ended.strays
            );
            cx.note(&strays);
        }
        if status != abi::LIMPID_PANIC {
            self.give_back(instance);
        }
        let run = cx.evaluations().since(before);
        let cancelled = cx.check().is_err();
        let mut maps = self.outcome(status, ended, request.objectives.len(), cancelled)?;
        for map in &mut maps {
            let claimed = map.evaluations;
            if claimed == Evaluations::default() {
                map.evaluations = run;
            } else if claimed.gradients > run.gradients || claimed.forwards > run.forwards {
                return Err(self.broken(format!(
                    "claims {} gradients and {} forward passes; it ran {} and {}",
                    claimed.gradients, claimed.forwards, run.gradients, run.forwards
                )));
            }
        }
        Ok(maps)
    }
}
