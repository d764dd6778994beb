//! Plugins in a process of their own: one that crashes, exits or never ends
//! costs the explanation that it was asked for, and nothing else.
//!
//! A [`Launcher`] says how a worker is started: a program that calls [`serve`],
//! as `limpid worker` does. An [`IsolatedPlugin`] has the same methods as the
//! plugin itself, each of whose runs takes place in a worker, with a model of its
//! own; the library is never opened in this process. The numbers are the same to
//! the bit.
//!
//! ```no_run
//! use limpid::isolate::{IsolatedPlugin, Launcher};
//! use limpid::{Device, Image, Model, Target, plugins};
//!
//! let session = Model::embedded()?.session(Device::auto()?)?;
//! let found = plugins::Verified::open("plugins/acme".as_ref())?;
//! let plugin = IsolatedPlugin::open(&Launcher::new("limpid").arg("worker"), &found)?;
//! let method = plugin.methods()[0].build(&[], None)?;
//! let maps = session.explain(&Image::open("photo.jpg")?, &*method, Target::Top(1))?;
//! # Ok::<(), limpid::Error>(())
//! ```

mod explainer;
mod frame;
mod link;
mod message;
mod serve;
mod worker;

pub use serve::serve;

use crate::Error;
use explainer::Isolated;
use limpid_explain::methods::MethodInfo;
use limpid_explain::{ExplainError, ParamInfo};
use limpid_plugin_host::{Refused, Verified};
use message::{Answer, Description, Question};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use worker::{Clock, Worker};

/// How long a plugin may take to be loaded and to describe itself.
const LOADING: Duration = Duration::from_secs(10);

/// How workers are started.
#[derive(Debug, Clone)]
pub struct Launcher {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Launcher {
    /// A program that calls [`serve`]. `--plugin` and the library's path come
    /// behind its arguments.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
        }
    }

    /// The same with one more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    fn command(&self, plugin: &Verified) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command.arg("--plugin").arg(&plugin.library);
        command
    }
}

/// A plugin whose methods run in workers. Each has one worker, or as many as
/// threads explain by it at once; they end when the plugin and its methods are
/// dropped.
#[derive(Clone)]
pub struct IsolatedPlugin {
    shared: Arc<Shared>,
    methods: Vec<MethodInfo>,
    refused: Vec<Refused>,
}

/// A plugin's workers.
struct Shared {
    launcher: Launcher,
    plugin: Verified,
    idle: Mutex<Vec<Worker>>,
}

impl IsolatedPlugin {
    /// Starts a worker, and lets the plugin describe itself there.
    ///
    /// # Errors
    /// When the worker cannot be started or does not answer within ten seconds,
    /// and what [`Plugin::open`](limpid_plugin_host::Plugin::open) reports there.
    pub fn open(launcher: &Launcher, plugin: &Verified) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            launcher: launcher.clone(),
            plugin: plugin.clone(),
            idle: Mutex::default(),
        });
        let mut clock = Clock::new(shared.id(), "be loaded", LOADING);
        let answer = shared.ask(&Question::Describe, &mut clock)?;
        let Answer::Description(found) = answer else {
            return Err(shared.confused().into());
        };
        let Description { methods, refused } = found;
        let methods = methods
            .into_iter()
            .map(|m| shared.method(m))
            .collect::<Result<_, _>>()
            .map_err(|message| shared.broken(message))?;
        Ok(Self {
            shared,
            methods,
            refused,
        })
    }

    /// What comes before the `/` in its methods' names.
    #[must_use]
    pub fn id(&self) -> &str {
        self.shared.id()
    }

    /// The methods that this version can run, as `<plugin>/<method>`.
    #[must_use]
    pub fn methods(&self) -> &[MethodInfo] {
        &self.methods
    }

    /// The methods that it cannot, and why.
    #[must_use]
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }
}

impl Shared {
    fn id(&self) -> &str {
        &self.plugin.manifest.id
    }

    fn broken(&self, message: impl Into<String>) -> ExplainError {
        ExplainError::Plugin {
            plugin: self.id().to_owned(),
            message: message.into(),
        }
    }

    /// The worker gave an answer to another question.
    fn confused(&self) -> ExplainError {
        self.broken(
            "its worker gave an answer that does not fit: did it write where it should not?",
        )
    }

    /// A worker that nobody uses, or a new one.
    fn take(&self) -> Result<Worker, ExplainError> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(mut worker) = idle.pop() {
            if worker.lives() {
                return Ok(worker);
            }
        }
        drop(idle);
        Worker::start(self.id(), self.launcher.command(&self.plugin))
    }

    /// Keeps a worker that answered as it should for the next question.
    fn give_back(&self, worker: Worker) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(worker);
    }

    /// Asks something that takes no numbers.
    fn ask(&self, question: &Question, clock: &mut Clock<'_>) -> Result<Answer, ExplainError> {
        let mut worker = self.take()?;
        let answer = worker.ask(question, &[], 0, clock)?;
        self.give_back(worker);
        match answer {
            Answer::Failed(failure) => Err(failure.into()),
            answer => Ok(answer),
        }
    }

    /// A method by its description, which is checked like a plugin's.
    fn method(self: &Arc<Self>, method: message::Method) -> Result<MethodInfo, String> {
        let manifest = &self.plugin.manifest;
        let id = format!("{}/{}", manifest.id, method.id);
        if !manifest.methods.contains(&method.id) {
            return Err(format!("plugin.toml has no method `{}`", method.id));
        }
        if !["[C,H,W]", "[H,W]", "[h,w]"].contains(&&*method.output) {
            return Err(format!("the maps of {id} are {}", method.output));
        }
        let params = method.params.iter();
        let params = params.map(|(name, schema)| ParamInfo::from_schema(name, schema));
        let (shared, own, output) = (Arc::clone(self), id.clone(), method.output.clone());
        Ok(MethodInfo {
            id: id.into(),
            kind: method.kind.into(),
            output: method.output.into(),
            summary: method.summary.into(),
            params: params.collect::<Result<_, _>>()?,
            smooth: method.smooth,
            build: Arc::new(move |given, smoothing| {
                let made = message::Chosen::new(&own, given, smoothing)?;
                Ok(Box::new(Isolated::new(
                    Arc::clone(&shared),
                    made,
                    output.clone(),
                )?))
            }),
        })
    }
}
