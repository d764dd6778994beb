//! When and where a measurement is made.

use crate::cargo;
use anyhow::{Context, Result};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// Today, `YYYY-MM-DD`, in universal time.
pub(crate) fn today() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let [year, month, day] = civil(since.map_or(0, |d| d.as_secs() / 86_400));
    format!("{year:04}-{month:02}-{day:02}")
}

/// Year, month and day of so many days after 1 January 1970.
fn civil(days: u64) -> [u64; 3] {
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let (mut year, mut rest) = (1970, days);
    while rest >= 365 + u64::from(leap(year)) {
        rest -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if rest < length {
            break;
        }
        rest -= length;
        month += 1;
    }
    [year, month, rest + 1]
}

/// What the system's `lscpu` says, if there is one.
pub(crate) fn lscpu() -> Option<String> {
    let output = Command::new("lscpu")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The processor's name in what `lscpu` says.
pub(crate) fn processor(lscpu: &str) -> Option<&str> {
    let line = lscpu.lines().find_map(|l| l.strip_prefix("Model name:"))?;
    Some(line.trim())
}

/// The folder of today's results.
pub(crate) fn results(processor: &str, threads: usize) -> PathBuf {
    let name = format!("{}-{}-{threads}threads", today(), slug(processor));
    cargo::root().join("benches/runs").join(name)
}

/// Writes `NAME.md` and `NAME.json` to `out`, today's folder if there is none.
pub(crate) fn write(
    out: Option<&Path>,
    [processor, name]: [&str; 2],
    threads: usize,
    text: &str,
    document: &Value,
) -> Result<()> {
    let out = out.map_or_else(|| results(processor, threads), Path::to_path_buf);
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    fs::write(out.join(format!("{name}.md")), text)?;
    let document = serde_json::to_string_pretty(document)?;
    fs::write(out.join(format!("{name}.json")), document + "\n")?;
    println!("written to {}", out.display());
    Ok(())
}

/// A name as part of a file's: lower-case letters, digits and dashes.
fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<String> = words
        .filter(|w| !w.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    words.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        assert_eq!(civil(0), [1970, 1, 1]);
        assert_eq!(civil(11_016), [2000, 2, 29]);
        assert_eq!(civil(20_088), [2024, 12, 31]);
        assert_eq!(civil(20_089), [2025, 1, 1]);
    }

    #[test]
    fn names() {
        let text = "Vendor ID: x\nModel name:   AMD EPYC 9R14 (tm)\n";
        assert_eq!(processor(text), Some("AMD EPYC 9R14 (tm)"));
        assert_eq!(slug("AMD EPYC 9R14 (tm)"), "amd-epyc-9r14-tm");
    }
}
