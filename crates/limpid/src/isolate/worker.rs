//! A worker as its owner sees it.

use super::frame;
use super::link::{self, Stream};
use super::message::{Answer, Question};
use limpid_explain::ExplainError;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// How often a listener is asked whether to go on.
const TICK: Duration = Duration::from_millis(50);

/// How long a worker that has hung up may take to end by itself, so that it is
/// known how.
const ENDING: Duration = Duration::from_secs(2);

/// A worker's process. It is killed when its owner drops it.
pub(super) struct Worker {
    plugin: String,
    child: Child,
    reader: Stream,
    writer: Stream,
}

/// Who waits for an answer.
pub(super) trait Listener {
    /// Is called every 50 ms.
    ///
    /// # Errors
    /// Ends the worker.
    fn tick(&mut self) -> Result<(), ExplainError>;

    /// Is told what comes before the last answer.
    ///
    /// # Errors
    /// Ends the worker.
    fn hear(&mut self, answer: Answer, numbers: &[f32]) -> Result<(), ExplainError>;
}

/// Waits for a bounded time.
pub(super) struct Clock<'a> {
    plugin: &'a str,
    what: &'a str,
    limit: Duration,
    end: Instant,
}

impl<'a> Clock<'a> {
    /// `what` is what the plugin is to do.
    pub(super) fn new(plugin: &'a str, what: &'a str, limit: Duration) -> Self {
        Self {
            plugin,
            what,
            limit,
            end: Instant::now() + limit,
        }
    }
}

impl Listener for Clock<'_> {
    fn tick(&mut self) -> Result<(), ExplainError> {
        if Instant::now() < self.end {
            return Ok(());
        }
        let seconds = self.limit.as_secs();
        Err(ExplainError::Plugin {
            plugin: self.plugin.to_owned(),
            message: format!("it took more than {seconds} s to {}", self.what),
        })
    }

    fn hear(&mut self, _: Answer, _: &[f32]) -> Result<(), ExplainError> {
        Ok(())
    }
}

impl Answer {
    /// Whether nothing follows it.
    fn is_last(&self) -> bool {
        !matches!(self, Self::Progress { .. } | Self::Note(_) | Self::Map(_))
    }
}

/// What the threads of a connection report.
enum Event {
    /// The question was written, or nobody reads it.
    Asked,
    /// What the worker said; nothing where it hung up.
    Heard(io::Result<Option<(Answer, Vec<f32>)>>),
}

/// Why there is no answer.
enum Trouble {
    /// The listener does not want to go on.
    Listener(ExplainError),
    /// The worker hung up; how it ended, if it did.
    HungUp(Option<ExitStatus>),
    /// It sent what is no message.
    Garbled(io::Error),
}

impl Worker {
    pub(super) fn start(plugin: &str, mut command: Command) -> Result<Self, ExplainError> {
        let started = link::spawn(&mut command);
        let (child, reader, writer) = started.map_err(|error| ExplainError::Plugin {
            plugin: plugin.to_owned(),
            message: format!(
                "its worker, {}, cannot be started: {error}",
                command.get_program().display()
            ),
        })?;
        Ok(Self {
            plugin: plugin.to_owned(),
            child,
            reader,
            writer,
        })
    }

    /// Whether its process has not ended.
    pub(super) fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks a question; returns the last answer. After an error the worker is
    /// of no use.
    ///
    /// # Errors
    /// The listener's, and how the worker has ended.
    pub(super) fn ask(
        &mut self,
        question: &Question,
        numbers: &[f32],
        most: u64,
        listener: &mut dyn Listener,
    ) -> Result<Answer, ExplainError> {
        let Self {
            child,
            reader,
            writer,
            ..
        } = self;
        let (reader, writer) = (&*reader, &*writer);
        let trouble = thread::scope(|scope| {
            let (sender, events) = sync_channel(4);
            let asked = sender.clone();
            // A worker that does not read keeps a thread waiting, not its owner.
            scope.spawn(move || {
                let _ = frame::write(writer, question, &[numbers]);
                let _ = asked.send(Event::Asked);
            });
            scope.spawn(move || listen(reader, most, &sender));
            let trouble = match wait(&events, listener) {
                Ok(answer) => return Ok(answer),
                Err(Trouble::HungUp(_)) => Trouble::HungUp(settled(child)),
                Err(trouble) => trouble,
            };
            // The threads end with the connection.
            link::kill(child);
            link::hang_up(writer);
            Err(trouble)
        });
        let message = match trouble {
            Ok(answer) => return Ok(answer),
            Err(Trouble::Listener(error)) => return Err(error),
            Err(Trouble::HungUp(Some(status))) => ending(status),
            Err(Trouble::HungUp(None)) => "its worker has hung up and went on".into(),
            Err(Trouble::Garbled(error)) => format!("its worker cannot be understood: {error}"),
        };
        Err(ExplainError::Plugin {
            plugin: self.plugin.clone(),
            message,
        })
    }
}

/// Waits for the last answer, which counts once the question was written.
fn wait(events: &Receiver<Event>, listener: &mut dyn Listener) -> Result<Answer, Trouble> {
    let (mut asked, mut last) = (false, None);
    loop {
        let event = events.recv_timeout(TICK);
        // A worker that says something all the time can be ended, too.
        listener.tick().map_err(Trouble::Listener)?;
        match event {
            Ok(Event::Asked) => asked = true,
            Ok(Event::Heard(Ok(Some((answer, _))))) if answer.is_last() => last = Some(answer),
            Ok(Event::Heard(Ok(Some((answer, numbers))))) => {
                let heard = listener.hear(answer, &numbers);
                heard.map_err(Trouble::Listener)?;
            }
            Ok(Event::Heard(Err(error))) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(Trouble::Garbled(error));
            }
            Ok(Event::Heard(_)) => return Err(Trouble::HungUp(None)),
            Err(_) => {}
        }
        if let Some(answer) = last.take_if(|_| asked) {
            return Ok(answer);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        link::kill(&mut self.child);
        let _ = self.child.wait();
    }
}

/// How a process that has hung up ends, if it does so soon.
fn settled(child: &mut Child) -> Option<ExitStatus> {
    let end = Instant::now() + ENDING;
    loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < end => thread::sleep(Duration::from_millis(5)),
            status => return status.ok().flatten(),
        }
    }
}

/// Hands on what a worker says, up to the last answer.
fn listen(reader: &Stream, most: u64, sender: &SyncSender<Event>) {
    loop {
        let heard = frame::read::<Answer>(reader, most);
        let more = matches!(&heard, Ok(Some((answer, _))) if !answer.is_last());
        if sender.send(Event::Heard(heard)).is_err() || !more {
            return;
        }
    }
}

/// How a process has ended, in words.
fn ending(status: ExitStatus) -> String {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt as _;
        if let Some(signal) = status.signal() {
            return match signal_name(signal) {
                Some(name) => format!("ended by signal {signal} ({name})"),
                None => format!("ended by signal {signal}"),
            };
        }
    }
    match status.code() {
        // Windows reports exceptions so.
        Some(code) if code < 0 => format!("ended with exception {code:#010x}"),
        Some(code) => format!("ended with exit code {code} before it answered"),
        None => "ended".into(),
    }
}

/// The names of signals that have one number on all systems.
#[cfg(unix)]
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trap",
        6 => "aborted",
        8 => "arithmetic exception",
        9 => "killed, perhaps for want of memory",
        11 => "segmentation fault",
        13 => "broken pipe",
        14 => "alarm",
        15 => "terminated",
        _ if cfg!(target_os = "linux") && signal == 7 => "bus error",
        10 if !cfg!(target_os = "linux") => "bus error",
        _ => return None,
    })
}
