//! What runs in a worker.

use super::message::{Answer, Chosen, Description, Failure, Method, Question};
use super::{frame, link};
use crate::engine::RunContext;
use crate::{RunOptions, Session};
use limpid_explain::methods::{self, MethodInfo};
use limpid_explain::{Explainer, Objective, Request};
use limpid_plugin_host::{Plugin, Refused, Verified};
use limpid_tensor::Tensor;
use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Methods that are kept with the parameters they were made from.
const KEPT: usize = 16;

/// The most numbers of a picture.
const MAX_PICTURE: u64 = 1 << 30;

/// Serves a plugin's methods to the process that has started this one, which
/// ends when that process hangs up. The plugin is loaded at the first question,
/// the model opened at the first explanation.
///
/// # Errors
/// When this process was not started as a worker.
pub fn serve(
    library: &Path,
    open: impl Fn() -> Result<Session, Box<dyn Error + Send + Sync>>,
) -> io::Result<()> {
    link::isolate();
    let (reader, writer) = link::inherited().map_err(|error| {
        let message = format!("a worker is started by the program that it works for: {error}");
        io::Error::new(error.kind(), message)
    })?;
    let (sender, questions) = sync_channel(1);
    thread::spawn(move || {
        // While a plugin runs, this thread alone sees that nobody waits for it.
        while let Ok(Some(question)) = frame::read::<Question>(&reader, MAX_PICTURE) {
            if sender.send(question).is_err() {
                break;
            }
        }
        link::end()
    });
    let writer = Mutex::new(writer);
    let send = |answer: &Answer, numbers: &[&[f32]]| {
        let writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        // Where nobody listens the other thread ends the process.
        let _ = frame::write(&*writer, answer, numbers);
    };
    let mut server = Server {
        open,
        session: None,
        plugin: Loaded {
            library,
            methods: None,
            made: VecDeque::new(),
        },
    };
    for (question, numbers) in questions {
        let answer = server.answer(question, numbers, &send);
        send(&answer.unwrap_or_else(Answer::Failed), &[]);
    }
    Ok(())
}

/// Sends an answer with its numbers.
type Tell<'a> = dyn Fn(&Answer, &[&[f32]]) + Sync + 'a;

struct Server<'a, F> {
    open: F,
    session: Option<Session>,
    plugin: Loaded<'a>,
}

/// The plugin, once it was asked for.
struct Loaded<'a> {
    library: &'a Path,
    methods: Option<Methods>,
    /// Made methods, the one used last at the front.
    made: VecDeque<(Chosen, Box<dyn Explainer>)>,
}

/// What the plugin has.
struct Methods {
    all: Vec<MethodInfo>,
    refused: Vec<Refused>,
}

impl<F: Fn() -> Result<Session, Box<dyn Error + Send + Sync>>> Server<'_, F> {
    /// Answers a question; what comes before the last answer is sent.
    fn answer(
        &mut self,
        question: Question,
        numbers: Vec<f32>,
        send: &Tell<'_>,
    ) -> Result<Answer, Failure> {
        match question {
            Question::Describe => Ok(Answer::Description(self.plugin.methods()?.describe())),
            Question::Make(method) => Ok(Answer::Made {
                smoothed: self.plugin.make(&method)?.is_smoothed(),
            }),
            Question::Parameters {
                method,
                model,
                input,
            } => {
                let found = self.plugin.make(&method)?.parameters(&model, &input);
                Ok(Answer::Parameters(found))
            }
            Question::Explain {
                method,
                picture,
                objectives,
                seed,
            } => {
                let image = Tensor::new(picture, numbers).map_err(Failure::other)?;
                let objectives: Vec<Objective> = objectives.iter().map(Into::into).collect();
                let request = Request {
                    image: &image,
                    objectives: &objectives,
                    seed,
                };
                self.explain(&method, &request, send)
            }
        }
    }

    fn explain(
        &mut self,
        method: &Chosen,
        request: &Request<'_>,
        send: &Tell<'_>,
    ) -> Result<Answer, Failure> {
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert((self.open)().map_err(Failure::other)?),
        };
        let options = RunOptions {
            seed: request.seed,
            progress: Some(&|p| {
                let (done, total) = (p.done, p.total);
                send(&Answer::Progress { done, total }, &[]);
            }),
            note: Some(&|text| send(&Answer::Note(text.to_owned()), &[])),
            cancel: None,
        };
        let mut cx = RunContext::new(session.engine(), session.model(), options);
        let maps = self.plugin.make(method)?.explain(&mut cx, request)?;
        for map in &maps {
            let error = map.standard_error.as_ref().map_or(&[][..], Tensor::data);
            send(&Answer::Map(map.into()), &[map.map.data(), error]);
        }
        Ok(Answer::Explained)
    }
}

impl Loaded<'_> {
    fn methods(&mut self) -> Result<&Methods, Failure> {
        Ok(match &mut self.methods {
            Some(methods) => methods,
            none => {
                let plugin = Verified::open(self.library).and_then(|v| Plugin::open(&v));
                let plugin = plugin.map_err(|error| Failure::of_plugin(&error))?;
                none.insert(Methods {
                    all: plugin.methods(),
                    refused: plugin.refused().to_vec(),
                })
            }
        })
    }

    /// The method, made anew where it is not kept.
    fn make(&mut self, chosen: &Chosen) -> Result<&dyn Explainer, Failure> {
        let kept = self.made.iter().position(|(c, _)| c == chosen);
        let made = match kept.and_then(|at| self.made.remove(at)) {
            Some(made) => made,
            None => {
                let info = methods::find(&self.methods()?.all, &chosen.id)?;
                let made = info.build_json(&chosen.given, chosen.smooth)?;
                (chosen.clone(), made)
            }
        };
        self.made.truncate(KEPT - 1);
        self.made.push_front(made);
        Ok(&*self.made[0].1)
    }
}

impl Methods {
    fn describe(&self) -> Description {
        let methods = self.all.iter().map(|m| Method {
            id: m.id.rsplit('/').next().unwrap_or_default().to_owned(),
            kind: m.kind.to_string(),
            output: m.output.to_string(),
            summary: m.summary.to_string(),
            params: m.schema(),
            smooth: m.smooth,
        });
        Description {
            methods: methods.collect(),
            refused: self.refused.clone(),
        }
    }
}
