//! Measurements of this machine.

mod layers;
mod model;
mod start;
mod tune;
mod worker;

pub(crate) use start::report_peak;

use crate::console::Outcome;
use clap::{Args, Subcommand};
use serde::Serialize;

/// Measure this machine.
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Start(start::Options),
    Layers(layers::Options),
    Model(model::Options),
    Tune(tune::Options),
    #[command(hide = true)]
    Worker(worker::Options),
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Outcome> {
    match &options.command {
        Command::Start(start) => start::run(start),
        Command::Layers(layers) => layers::run(layers),
        Command::Model(model) => model::run(model),
        Command::Tune(tune) => tune::run(tune),
        Command::Worker(worker) => worker::run(worker),
    }
}

/// How the program was built.
const BUILD: &str = if cfg!(debug_assertions) {
    "debug"
} else {
    "release"
};

/// What is told of repeated measurements.
#[derive(Debug, Clone, Serialize)]
struct Figures<T> {
    median: T,
    min: T,
    max: T,
}

/// The figures of some values; `None` where there are none.
fn figures<T: PartialOrd + Copy>(
    mut values: Vec<T>,
    middle: impl Fn(T, T) -> T,
) -> Option<Figures<T>> {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let n = values.len();
    Some(Figures {
        median: middle(*values.get(n.checked_sub(1)? / 2)?, values[n / 2]),
        min: values[0],
        max: values[n - 1],
    })
}

/// The figures of numbers; `None` where there are none.
fn of_numbers(values: impl IntoIterator<Item = f64>) -> Option<Figures<f64>> {
    figures(values.into_iter().collect(), |a, b| 0.5 * (a + b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let of = |values: &[u64]| {
            figures(values.to_vec(), u64::midpoint).map(|f| (f.min, f.median, f.max))
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3]), Some((3, 3, 3)));
        assert_eq!(of(&[9, 1]), Some((1, 5, 9)));
        assert_eq!(of(&[5, 9, 1]), Some((1, 5, 9)));
    }
}
