//! What `limpid bench tune` has measured, kept for the next runs.

use crate::console;
use anyhow::Context;
use limpid::measure::Measured;
use limpid::{Adapter, Tuning};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// The file: a choice for each adapter and driver.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Choices {
    adapters: Vec<Choice>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice {
    name: String,
    driver: String,
    tiles: Measured,
}

/// No file that this program writes is larger.
const MOST_BYTES: u64 = 1 << 20;

/// Where choices are kept: the platform's folder for configurations.
pub(crate) fn path() -> Option<PathBuf> {
    use etcetera::BaseStrategy as _;
    let folders = etcetera::choose_base_strategy().ok()?;
    Some(folders.config_dir().join("limpid").join("tuning.json"))
}

fn read(path: &Path) -> anyhow::Result<Choices> {
    let about = fs::metadata(path)?;
    // What is no file may never end.
    anyhow::ensure!(about.is_file(), "it is no file");
    anyhow::ensure!(
        about.len() <= MOST_BYTES,
        "it is larger than any that limpid writes"
    );
    let choices: Choices = serde_json::from_slice(&fs::read(path)?)?;
    for choice in &choices.adapters {
        anyhow::ensure!(
            choice.tiles.is_sound(),
            "{} has a tile of which no kernel can be made",
            choice.name
        );
    }
    Ok(choices)
}

/// The table for an adapter, with what was measured on it; a file that cannot be
/// used is told once and left alone.
pub(crate) fn of(adapter: &Adapter, told: bool) -> Tuning {
    path().map_or_else(
        || Tuning::of(adapter.info().class),
        |path| from(&path, adapter, told),
    )
}

fn from(path: &Path, adapter: &Adapter, told: bool) -> Tuning {
    let (about, table) = (adapter.info(), Tuning::of(adapter.info().class));
    if !path.exists() {
        return table;
    }
    let choices = match read(path) {
        Ok(choices) => choices,
        Err(e) => {
            if told {
                let path = path.display();
                console::say(&format!(
                    "note: {path} is not used: {e}; `limpid bench tune` writes it anew"
                ));
            }
            return table;
        }
    };
    let own = |c: &&Choice| c.name == about.name && c.driver == about.driver;
    let measured = choices.adapters.iter().find(own);
    measured.map_or(table, |c| c.tiles.applied_to(table))
}

/// Keeps what was measured, beside what there is for other adapters.
pub(crate) fn keep(path: &Path, adapter: &Adapter, tiles: Measured) -> anyhow::Result<()> {
    let about = adapter.info();
    // What cannot be read is of no use to anybody.
    let mut choices = read(path).unwrap_or_default();
    choices
        .adapters
        .retain(|c| c.name != about.name || c.driver != about.driver);
    choices.adapters.push(Choice {
        name: about.name.clone(),
        driver: about.driver.clone(),
        tiles,
    });
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let what = || format!("{} cannot be written", path.display());
    fs::create_dir_all(folder).with_context(what)?;
    let file = tempfile::NamedTempFile::new_in(folder).with_context(what)?;
    serde_json::to_writer_pretty(&file, &choices)?;
    file.persist(path).with_context(what)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsound_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tuning.json");
        let tile = |rows| {
            format!(r#"{{"rows":{rows},"columns":64,"depth":16,"per_row":4,"per_column":4}}"#)
        };
        let text = |rows: u64| {
            let (good, one) = (tile(64), tile(rows));
            format!(
                r#"{{"adapters":[{{"name":"a","driver":"b","tiles":{{"large":{one},"small":{good},"narrow":{good},"fill":1}}}}]}}"#
            )
        };
        // Whatever is no file might never end.
        assert!(read(folder.path()).is_err());
        fs::write(&path, text(64_u64)).unwrap();
        assert_eq!(read(&path).unwrap().adapters[0].tiles.fill, 1);
        for wrong in [
            text(63_u64),
            text(1_u64 << 40),
            "{}".to_owned(),
            "[".to_owned(),
        ] {
            fs::write(&path, wrong).unwrap();
            assert!(read(&path).is_err());
        }
    }

    #[test]
    fn what_was_measured_is_found_again() {
        let Some(adapter) = Adapter::all().into_iter().next() else {
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("limpid/tuning.json");
        let table = Tuning::of(adapter.info().class);
        assert_eq!(from(&path, &adapter, false), table);
        let tiles = Measured {
            large: table.narrow,
            small: table.small,
            narrow: table.narrow,
            fill: 77,
        };
        keep(&path, &adapter, tiles).unwrap();
        keep(&path, &adapter, tiles).unwrap();
        assert_eq!(read(&path).unwrap().adapters.len(), 1);
        let tuning = from(&path, &adapter, false);
        assert_eq!((tuning.large, tuning.fill), (table.narrow, 77));
        fs::write(&path, "{").unwrap();
        assert_eq!(from(&path, &adapter, false), table);
    }
}
