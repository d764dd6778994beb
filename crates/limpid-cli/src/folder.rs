//! The folder of results.

use anyhow::anyhow;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of results for as long as a command runs. What had to be made
/// for it and is empty at the end is removed again; what was there stays.
pub(crate) struct OutFolder {
    /// The folders that were made, the innermost first.
    made: Vec<PathBuf>,
}

impl OutFolder {
    /// Makes the folder where it is missing, and tries to write in it before
    /// any work.
    ///
    /// # Errors
    /// When one of both is impossible, with the system's reason.
    pub(crate) fn prepare(out: &Path) -> anyhow::Result<Self> {
        // `a/..` is there as soon as `a` is: it is made by nobody.
        let missing = |path: &&Path| path.file_name().is_some() && !path.exists();
        let folder = Self {
            made: out
                .ancestors()
                .filter(missing)
                .map(Path::to_owned)
                .collect(),
        };
        fs::create_dir_all(out)
            .and_then(|()| tempfile::tempfile_in(out).map(drop))
            .map_err(|error| {
                anyhow!(
                    "cannot write into the folder {}: {error}; choose another with --out",
                    out.display()
                )
            })?;
        Ok(folder)
    }
}

impl Drop for OutFolder {
    fn drop(&mut self) {
        for folder in &self.made {
            // This changes nothing where something is in it.
            let _ = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Result = std::result::Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn an_empty_folder_goes_if_it_was_made() -> Result {
        let dir = tempfile::tempdir()?;
        let out = dir.path().join("a/b/../c");
        let folder = OutFolder::prepare(&out)?;
        assert!(out.is_dir());
        drop(folder);
        assert!(!dir.path().join("a").exists());
        let out = dir.path().join("d/e");
        drop(OutFolder::prepare(&out)?);
        assert!(!dir.path().join("d").exists() && dir.path().exists());
        Ok(())
    }

    #[test]
    fn what_was_there_or_is_used_stays() -> Result {
        let dir = tempfile::tempdir()?;
        let old = dir.path().join("old");
        fs::create_dir(&old)?;
        drop(OutFolder::prepare(&old)?);
        assert!(old.is_dir());
        let used = dir.path().join("d/used");
        let folder = OutFolder::prepare(&used)?;
        fs::write(used.join("file"), b"")?;
        drop(folder);
        assert!(used.join("file").is_file());
        Ok(())
    }

    #[test]
    fn a_file_in_the_way_leaves_nothing_behind() -> Result {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("file"), b"")?;
        assert!(OutFolder::prepare(&dir.path().join("file/below")).is_err());
        assert_eq!(fs::read_dir(dir.path())?.count(), 1);
        Ok(())
    }
}
