//! What was measured, as a table and as raw numbers.

use super::rows::{Bar, Group};
use super::statistics::{self, Ratio};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The samples of a contestant, or why there are none.
#[derive(Debug, Clone)]
pub(crate) struct Samples {
    pub(crate) seconds: Vec<f64>,
    pub(crate) failure: Option<String>,
    /// How far its result is from the first contestant's.
    pub(crate) distance: Option<f64>,
}

/// A group with its samples.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) group: Group,
    pub(crate) samples: Vec<Samples>,
}

/// A whole run.
pub(crate) struct Report {
    pub(crate) date: String,
    pub(crate) processor: String,
    pub(crate) threads: usize,
    pub(crate) rounds: u32,
    pub(crate) versions: Value,
    pub(crate) measured: Vec<Measured>,
    /// What `limpid bench start` says.
    pub(crate) start: Option<Value>,
    /// How many gradients sampled jointly have the error of nested loops.
    pub(crate) gradients: Vec<(String, f64)>,
}

/// Nested loops, and how many times as fast joint sampling is to be.
const NESTED: [(&str, u32, Bar); 2] = [
    (
        "10x20",
        200,
        Bar {
            least: 4.5,
            aim: 7.0,
        },
    ),
    (
        "25x100",
        2500,
        Bar {
            least: 20.0,
            aim: 35.0,
        },
    ),
];

impl Measured {
    /// A line for each contestant.
    pub(crate) fn lines(&self) -> String {
        let mut text = String::new();
        for (contestant, samples) in self.group.contestants.iter().zip(&self.samples) {
            let said = match (&samples.failure, statistics::median(&samples.seconds)) {
                (None, Some(seconds)) => format!("{:.3} ms a {}", 1e3 * seconds, self.group.unit),
                (failure, _) => format!("not available: {}", failure.as_deref().unwrap_or("")),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {}: {said}", contestant.name);
        }
        text
    }

    fn ratio(&self, ours: usize, theirs: usize) -> Option<Ratio> {
        let [ours, theirs] = [ours, theirs].map(|i| &self.samples[i]);
        if ours.failure.is_some() || theirs.failure.is_some() {
            return None;
        }
        statistics::ratio(&ours.seconds, &theirs.seconds)
    }

    fn document(&self) -> Value {
        let contestants = self.group.contestants.iter().zip(&self.samples);
        let contestants = contestants.map(|(contestant, samples)| {
            let mut request = contestant.request.clone();
            // Where files were on this machine says nothing.
            if let Some(request) = request.as_object_mut() {
                request.remove("input");
                if let Some(model) = request.get_mut("model") {
                    let name = model.as_str().and_then(|m| m.rsplit(['/', '\\']).next());
                    *model = json!(name);
                }
            }
            json!({
                "name": contestant.name,
                "request": request,
                "seconds": samples.seconds,
                "failure": samples.failure,
                "distance": samples.distance,
            })
        });
        json!({
            "title": self.group.title,
            "unit": self.group.unit,
            "contestants": contestants.collect::<Vec<_>>(),
        })
    }
}

impl Report {
    /// Whether nobody computed something else than the others.
    pub(crate) fn is_good(&self) -> bool {
        self.measured.iter().all(|m| {
            let mut same = m.group.same.iter();
            same.all(|(i, _)| m.samples[*i].failure.is_none())
        })
    }

    /// All numbers.
    pub(crate) fn document(&self) -> Value {
        json!({
            "date": self.date,
            "limpid": env!("CARGO_PKG_VERSION"),
            "processor": self.processor,
            "threads": self.threads,
            "rounds": self.rounds,
            "versions": self.versions,
            "gradients_of_equal_error": self.gradients.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "start": self.start,
            "groups": self.measured.iter().map(Measured::document).collect::<Vec<_>>(),
        })
    }

    /// The table.
    pub(crate) fn markdown(&self) -> String {
        let versions = self.versions.as_object().into_iter().flatten();
        let versions: Vec<String> = versions
            .map(|(name, version)| format!("{name} {}", version.as_str().unwrap_or("?")))
            .collect();
        let mut text = format!(
            "# Limpid and others, {}\n\n\
             {}, threads of each: {}, turns: {}; Limpid {}, {}.\n\n\
             All stay warm and take turns. Times are medians; a ratio is theirs to ours, of medians, \
             with the 10th and 90th percentile of the turns' ratios. Networks have seeded weights and \
             calibrated batch normalisation, pictures are normal numbers of 3x224x224, and before \
             they were timed their logits and gradients were compared. Made by `cargo xtask bench peers`; every \
             sample is in `peers.json`.\n\n\
             | work | against | Limpid, ms | theirs, ms | ratio | at least | aim | |\n\
             |---|---|--:|--:|---|--:|--:|---|\n",
            self.date,
            self.processor,
            self.threads,
            self.rounds,
            env!("CARGO_PKG_VERSION"),
            versions.join(", "),
        );
        for m in &self.measured {
            for pair in &m.group.pairs {
                let names = [pair.ours, pair.theirs].map(|i| m.group.contestants[i].name);
                let times = [pair.ours, pair.theirs].map(|i| time(&m.samples[i]));
                let work = match names[0].strip_prefix("Limpid, ") {
                    Some(kind) => format!("{}, {kind}", m.group.title),
                    None => m.group.title.clone(),
                };
                let ratio = m.ratio(pair.ours, pair.theirs);
                text.push_str(&row(&work, names[1], &times, ratio, pair.bar));
            }
        }
        for (loops, count, bar) in NESTED {
            text.push_str(&self.equal_error(loops, count, bar).unwrap_or_default());
        }
        text.push_str(&self.failures());
        if let Some(start) = &self.start {
            text.push_str(&started(start));
        }
        text
    }

    /// Wall time of Blur IG x SmoothGrad to the error of nested loops.
    fn equal_error(&self, loops: &str, count: u32, bar: Bar) -> Option<String> {
        let ours = self.gradients.iter().find(|(name, _)| name == loops)?.1;
        let fewer = f64::from(count) / ours;
        let group = self.measured.iter().find(|m| {
            let mut contestants = m.group.contestants.iter();
            contestants.any(|c| c.request["variant"] == "nested")
        })?;
        let ratio = group.ratio(0, 1)?;
        let seconds = |i: usize| statistics::median(&group.samples[i].seconds);
        let times = [ours * seconds(0)?, f64::from(count) * seconds(1)?];
        Some(row(
            &format!(
                "Blur IG x SmoothGrad to the error of nested {loops}: {ours:.0} gradients, not {count}"
            ),
            group.group.contestants[1].name,
            &times.map(|t| format!("{:.0}", 1e3 * t)),
            Some(Ratio {
                median: fewer * ratio.median,
                spread: ratio.spread.map(|r| fewer * r),
            }),
            Some(bar),
        ))
    }

    /// Why something was not timed.
    fn failures(&self) -> String {
        let mut text = String::new();
        for m in &self.measured {
            for (contestant, samples) in m.group.contestants.iter().zip(&m.samples) {
                if let Some(failure) = &samples.failure {
                    let head = if text.is_empty() {
                        "\nNot available:\n\n"
                    } else {
                        ""
                    };
                    // Writing to a string cannot fail.
                    let _ = writeln!(
                        text,
                        "{head}- {}, {}: {failure}",
                        m.group.title, contestant.name
                    );
                }
            }
        }
        text
    }
}

fn time(samples: &Samples) -> String {
    match (&samples.failure, statistics::median(&samples.seconds)) {
        (None, Some(seconds)) => format!("{:.2}", 1e3 * seconds),
        _ => "not available".to_owned(),
    }
}

fn row(
    work: &str,
    against: &str,
    times: &[String; 2],
    ratio: Option<Ratio>,
    bar: Option<Bar>,
) -> String {
    let number = |n: f64| format!("{n:.2}x");
    let ratio_text = ratio.map_or_else(String::new, |r| {
        let [low, high] = r.spread.map(number);
        format!("**{}** ({low} to {high})", number(r.median))
    });
    let verdict = match (ratio, bar) {
        (Some(ratio), Some(bar)) if ratio.median >= bar.aim => "aim",
        (Some(ratio), Some(bar)) if ratio.median >= bar.least => "enough",
        (Some(_), Some(_)) => "short",
        _ => "",
    };
    let of_bar = |f: fn(Bar) -> f64| bar.map_or_else(String::new, |b| number(f(b)));
    format!(
        "| {work} | {against} | {} | {} | {ratio_text} | {} | {} | {verdict} |\n",
        times[0],
        times[1],
        of_bar(|b| b.least),
        of_bar(|b| b.aim),
    )
}

/// A sentence on the start of the process.
fn started(start: &Value) -> String {
    let figure = |key: &str, which: &str, unit: f64| start[key][which].as_f64().map(|v| unit * v);
    let text = |key, unit| {
        let all = ["median", "min", "max"].map(|which| figure(key, which, unit));
        match all {
            [Some(median), Some(min), Some(max)] => format!("{median:.3} ({min:.3} to {max:.3})"),
            _ => "unknown".to_owned(),
        }
    };
    format!(
        "\nFrom the start of the process to a Grad-CAM overlay on disk, embedded model, {} runs: \
         {} s, peak memory {} MB. The bar is 0.25 s and 150 MB, the aim 0.1 s and 80 MB.\n",
        start["runs"],
        text("seconds", 1.0),
        text("peak_bytes", 1e-6),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows;

    fn samples(seconds: &[f64]) -> Samples {
        Samples {
            seconds: seconds.to_vec(),
            failure: None,
            distance: None,
        }
    }

    fn report(measured: Vec<Measured>) -> Report {
        Report {
            date: "2000-01-01".to_owned(),
            processor: "a processor".to_owned(),
            threads: 2,
            rounds: 2,
            versions: json!({"torch": "1"}),
            measured,
            start: None,
            gradients: vec![("10x20".to_owned(), 100.0)],
        }
    }

    #[test]
    fn a_row_has_times_ratio_and_bar() {
        let group = rows::forward(
            "resnet18",
            &json!({"model": "/tmp/resnet18", "input": "/x"}),
            8,
        );
        let mut theirs = samples(&[0.002, 0.002]);
        let failure = "not installed".to_owned();
        let broken = Samples {
            failure: Some(failure),
            ..samples(&[])
        };
        let mut measured = Measured {
            group,
            samples: vec![samples(&[0.001, 0.003]), theirs.clone(), broken],
        };
        let table = report(vec![measured.clone()]).markdown();
        let line = "| resnet18, forward, batch 8 | onnxruntime | 2.00 | 2.00 | \
            **1.00x** (0.80x to 1.87x) | 1.00x | 1.20x | enough |\n";
        assert!(table.contains(line), "{table}");
        assert!(
            table.contains("| PyTorch, tuned | 2.00 | not available |  |  |  |  |\n"),
            "{table}"
        );
        assert!(table.contains("PyTorch, tuned: not installed"), "{table}");
        let document = measured.document();
        assert_eq!(document["contestants"][0]["request"]["model"], "resnet18");
        assert_eq!(document["contestants"][0]["request"].get("input"), None);
        assert!(!report(vec![measured.clone()]).is_good());
        theirs.distance = Some(0.0);
        measured.samples[2] = theirs;
        assert!(report(vec![measured]).is_good());
    }

    #[test]
    fn equal_errors_take_fewer_gradients() {
        let measured = Measured {
            group: rows::smoothed(&json!({}), 200),
            samples: vec![samples(&[0.01]), samples(&[0.03])],
        };
        let table = report(vec![measured]).markdown();
        let line = "nested 10x20: 100 gradients, not 200 | PyTorch, tuned, nested | 1000 | 6000 | \
            **6.00x** (6.00x to 6.00x) | 4.50x | 7.00x | enough |\n";
        assert!(table.contains(line), "{table}");
        assert!(!table.contains("25x100"), "{table}");
    }
}
