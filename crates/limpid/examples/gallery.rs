//! Draws the maps of all methods over one photograph, in rows by their kind.
//!
//! `cargo run --release -p limpid --example gallery -- PHOTO OUT.png`
//!
//! The model is the embedded one, the class its best. Parameters are the
//! methods' own but for those of `CHEAPER`. What the maps are and what they cost
//! is printed as the rows of a table; methods that do not fit the model are
//! named on the standard error.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod panels;

use limpid::methods::{self, MethodInfo};
use limpid::render::{encode_png, write_atomic};
use limpid::{Device, Domain, Evaluations, Explanation, Image, Model, RunOptions, Target};
use panels::Style;
use std::error::Error;
use std::path::Path;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What would take minutes otherwise.
const CHEAPER: [(&str, &str, &str); 2] =
    [("score-cam", "channels", "256"), ("rise", "masks", "1000")];

/// Colours are rounded up to multiples of this, and 255.
const STEP: u16 = 8;

/// Panels in a row, at most.
const COLUMNS: usize = 6;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [photo, out] = &arguments[..] else {
        return Err("usage: gallery PHOTO OUT.png".into());
    };
    let image = Image::open(photo)?;
    let session = Model::embedded()?.session(Device::auto()?)?;
    let input = session.input(&image)?;
    let mut rows = Vec::new();
    println!("| method | what it computes | sign | map | cost |");
    println!("|---|---|---|---|---|");
    for kind in methods::list().chunk_by(|a, b| a.kind == b.kind) {
        let mut row = Vec::new();
        for method in kind {
            let changed = CHEAPER.iter().filter(|(id, ..)| *id == method.id);
            let parameters: Vec<(&str, &str)> = changed.map(|(_, k, v)| (*k, *v)).collect();
            let explainer = method.build(&parameters, None)?;
            let (target, options) = (Target::Top(1), RunOptions::default());
            let maps = session.explain_input(&input, explainer.as_ref(), &target, &options);
            let map = match maps {
                Ok(maps) => maps,
                Err(e) => {
                    eprintln!("{}: {e}", method.id);
                    continue;
                }
            };
            for map in map {
                let cost = cost(map.manifest().evaluations);
                let style = Style {
                    title: &method.id,
                    subtitle: &format!("{} \u{b7} {cost}", method.kind),
                    side: 180,
                    sigma: 1.2,
                };
                row.push(panels::panel(&image, &map, &style)?);
                println!("{}", line(method, &map, &cost));
                eprintln!("{}: {:.1} s", method.id, map.manifest().seconds);
            }
        }
        rows.extend(row.chunks(COLUMNS).map(<[_]>::to_vec));
    }
    // Rounded colours compress to half the size, once the file is recompressed.
    let mut picture = panels::grid(&rows);
    for value in picture.iter_mut() {
        let steps = u16::from(*value).div_ceil(STEP);
        *value = u8::try_from(steps * STEP).unwrap_or(u8::MAX);
    }
    write_atomic(Path::new(out), &encode_png(&picture)?)?;
    Ok(())
}

fn cost(evaluations: Evaluations) -> String {
    let count = |n: u64, what: &str| match n {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{n} {what}s")),
    };
    let counts = [
        count(evaluations.gradients, "gradient"),
        count(evaluations.forwards, "forward"),
    ];
    counts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A row of a Markdown table.
fn line(method: &MethodInfo, map: &Explanation, cost: &str) -> String {
    let attribution = map.attribution();
    let place = match &attribution.domain {
        Domain::Input => "channels and pixels",
        Domain::Layer(_) => "layer",
        _ => "pixels",
    };
    let sign = if attribution.signed {
        "signed"
    } else {
        "positive"
    };
    let (id, summary) = (&method.id, &method.summary);
    format!(
        "| `{id}` | {summary} | {sign} | {} {place} | {cost} |",
        method.output
    )
}
