use crate::console::{self, Outcome};
use clap::Args;
use limpid::notices;

/// Show the licences of the program and of all that is built into it.
#[derive(Args)]
pub(crate) struct Options {}

/// Name, version, licence and source of each crate that the program is built
/// from, a line for each, tabs between them. `tests/licenses.rs` writes it.
const CRATES: &str = include_str!("../../assets/crates.tsv");

/// The texts of their licences and notices.
const CRATE_LICENSES: &str = include_str!("../../assets/crates.txt");

const MIT: &str = include_str!("../../../../LICENSE-MIT");
const APACHE: &str = include_str!("../../../../LICENSE-APACHE");

pub(crate) fn run(_options: &Options) -> anyhow::Result<Outcome> {
    section("Limpid", "MIT OR Apache-2.0, as you choose", &[MIT, APACHE])?;
    section(
        &format!("The embedded model {}", notices::EMBEDDED_NAME),
        "Apache-2.0",
        &[notices::EMBEDDED_NOTICE, notices::EMBEDDED_LICENSE],
    )?;
    for font in notices::font_notices() {
        section(
            &format!("The embedded font {}", font.name),
            font.license,
            &[font.text],
        )?;
    }
    let rows: Vec<Vec<String>> = CRATES
        .lines()
        .map(|line| line.split('\t').map(|cell| format!("  {cell}")).collect())
        .collect();
    section(
        "Rust crates that the program is built from, on one system or another",
        "each under its own licence; the text of Apache-2.0 is above, the others follow",
        &[&console::table(&rows, &[]), CRATE_LICENSES],
    )?;
    Ok(Outcome::Good)
}

fn section(title: &str, license: &str, texts: &[&str]) -> anyhow::Result<()> {
    let rule = "=".repeat(title.chars().count().max(license.chars().count()));
    console::print(&format!("{rule}\n{title}\n{license}\n{rule}\n\n"))?;
    for text in texts {
        console::print(&format!("{}\n\n", text.trim_end()))?;
    }
    Ok(())
}
