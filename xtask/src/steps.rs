//! The steps of a task: each is run, its outcome kept, and all are listed at
//! the end.

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

struct Step {
    name: String,
    outcome: Outcome,
    elapsed: Duration,
}

/// The steps done so far of one task.
pub(crate) struct Steps {
    task: &'static str,
    done: Vec<Step>,
}

impl Steps {
    pub(crate) fn new(task: &'static str) -> Self {
        Self {
            task,
            done: Vec::new(),
        }
    }

    /// Runs a command with its output left visible; it passes with status 0.
    pub(crate) fn command(&mut self, name: &str, command: &mut Command) {
        println!("\n==> {name}: {}", display(command));
        let start = Instant::now();
        let outcome = match command.status() {
            Ok(status) if status.success() => Outcome::Passed,
            Ok(status) => Outcome::Failed(status.to_string()),
            Err(error) => Outcome::Failed(format!("cannot start it: {error}")),
        };
        self.push(name, outcome, start.elapsed());
    }

    /// Notes the result of something this program checked itself.
    pub(crate) fn result(&mut self, name: &str, result: Result<(), String>) {
        let outcome = match result {
            Ok(()) => Outcome::Passed,
            Err(reason) => Outcome::Failed(reason),
        };
        self.push(name, outcome, Duration::ZERO);
    }

    /// Notes a step that this machine cannot run.
    pub(crate) fn skip(&mut self, name: &str, reason: &str) {
        println!("\n==> {name}: skipped, {reason}");
        self.push(name, Outcome::Skipped(reason.to_owned()), Duration::ZERO);
    }

    fn push(&mut self, name: &str, outcome: Outcome, elapsed: Duration) {
        self.done.push(Step {
            name: name.to_owned(),
            outcome,
            elapsed,
        });
    }

    /// Prints the summary; `true` if no step failed.
    pub(crate) fn finish(&self) -> bool {
        print!("\n{}", self.summary());
        self.failed() == 0
    }

    fn failed(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Failed(_)))
    }

    fn count(&self, is: impl Fn(&Outcome) -> bool) -> usize {
        self.done.iter().filter(|step| is(&step.outcome)).count()
    }

    /// One line per step, and a closing line with the counts.
    fn summary(&self) -> String {
        let mut text = String::new();
        for Step {
            name,
            outcome,
            elapsed,
        } in &self.done
        {
            let seconds = elapsed.as_secs_f64();
            // Writing to a string cannot fail.
            let _ = match outcome {
                Outcome::Passed => writeln!(text, "passed   {name} ({seconds:.1} s)"),
                Outcome::Failed(why) => writeln!(text, "FAILED   {name} ({seconds:.1} s): {why}"),
                Outcome::Skipped(why) => writeln!(text, "skipped  {name}: {why}"),
            };
        }
        let passed = self.count(|outcome| matches!(outcome, Outcome::Passed));
        let skipped = self.count(|outcome| matches!(outcome, Outcome::Skipped(_)));
        let failed = self.failed();
        let verdict = if failed == 0 { "ok" } else { "FAILED" };
        let _ = writeln!(
            text,
            "{}: {verdict}. {passed} passed, {failed} failed, {skipped} skipped",
            self.task
        );
        text
    }
}

/// The command as one would type it; the program without its folder.
fn display(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let mut text = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_fails_the_task() {
        let mut steps = Steps::new("check");
        steps.result("size", Ok(()));
        steps.skip("deny", "cargo-deny is not installed");
        assert!(steps.finish());
        steps.result("version", Err("it says 0.0.0".to_owned()));
        assert!(!steps.finish());
        assert_eq!(
            steps.summary(),
            "passed   size (0.0 s)\n\
             skipped  deny: cargo-deny is not installed\n\
             FAILED   version (0.0 s): it says 0.0.0\n\
             check: FAILED. 1 passed, 1 failed, 1 skipped\n"
        );
    }

    #[test]
    fn a_command_passes_by_its_status() {
        let mut steps = Steps::new("test");
        steps.command("good", &mut crate::cargo::command(["--version"]));
        assert!(steps.finish());
        steps.command("absent", &mut Command::new("/no/such/program"));
        assert_eq!(steps.failed(), 1);
        steps.command("bad", &mut crate::cargo::command(["no-such-subcommand"]));
        assert_eq!(steps.failed(), 2);
        assert!(!steps.finish());
    }
}
