//! Masks of a folder: what is where in pictures.

use crate::console::Usage;
use crate::inputs::Picture;
use anyhow::{Context as _, anyhow, bail};
use limpid::Image;
use limpid::metrics::{LabelMask, OBJECT, Region};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The file that says what grey values mean.
const NAMES: &str = "masks.json";

/// The longest such file that is read, in bytes.
const MAX_NAMES: u64 = 1 << 16;

/// `VALUE=NAME`: what a grey value means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RegionName {
    value: u8,
    name: String,
}

impl RegionName {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (value, name) = text.split_once('=').unwrap_or(("", text));
        let value = value.parse().ok().filter(|v| *v > 0);
        match value {
            Some(value) if !name.is_empty() => Ok(Self {
                value,
                name: name.to_owned(),
            }),
            _ => {
                Err("give VALUE=NAME with a grey value from 1 to 255, such as 1=object".to_owned())
            }
        }
    }
}

/// A folder of masks.
pub(super) struct Masks {
    folder: PathBuf,
    /// What grey values mean; where nothing is said, all but 0 are the object.
    names: BTreeMap<u8, String>,
}

impl Masks {
    /// Opens a folder. What is `given` counts more than what its file says.
    pub(super) fn open(folder: &Path, given: &[RegionName]) -> anyhow::Result<Self> {
        if !folder.is_dir() {
            return Err(Usage(format!(
                "--masks {}: there is no such folder",
                folder.display()
            ))
            .into());
        }
        let given = given.iter().map(|r| (r.value, r.name.clone()));
        let mut names: BTreeMap<u8, String> = given.collect();
        if names.is_empty() {
            names = read_names(&folder.join(NAMES))?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            names,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The regions of a picture; none where it has no mask.
    pub(super) fn regions(&self, picture: &Picture) -> anyhow::Result<Vec<Region>> {
        let base = self.folder.join(picture.stem());
        let mut regions = Vec::new();
        let named = |suffix: &str| {
            let mut name = base.clone().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        let whole = named(".png");
        if whole.is_file() {
            regions.extend(self.labelled(&whole)?);
        }
        for region in region_files(&base)? {
            let path = named(&format!(".{region}.png"));
            let mask = read(&path, |[r, g, b]| Some(u8::from(r.max(g).max(b) > 0)))?;
            regions.push(Region {
                name: region,
                mask,
                label: 1,
            });
        }
        for (i, region) in regions.iter().enumerate() {
            if regions[..i].iter().any(|r| r.name == region.name) {
                let path = picture.path.display();
                bail!("{path}: two masks are of the region {}", region.name);
            }
        }
        Ok(regions)
    }

    /// The regions of a mask by its grey values; those that it does not show are
    /// left out.
    fn labelled(&self, path: &Path) -> anyhow::Result<Vec<Region>> {
        if self.names.is_empty() {
            let mask = read(path, |[r, g, b]| Some(u8::from(r.max(g).max(b) > 0)))?;
            return Ok(vec![Region {
                name: OBJECT.to_owned(),
                mask,
                label: 1,
            }]);
        }
        let mask = read(path, |[r, g, b]| (r == g && g == b).then_some(r))?;
        let shown = self
            .names
            .iter()
            .filter(|(value, _)| mask.labels().contains(value));
        Ok(shown
            .map(|(value, name)| Region {
                name: name.clone(),
                mask: mask.clone(),
                label: *value,
            })
            .collect())
    }
}

/// What a folder's file says of grey values; nothing where there is none.
fn read_names(path: &Path) -> anyhow::Result<BTreeMap<u8, String>> {
    if !path.is_file() {
        return Ok(BTreeMap::new());
    }
    let shown = path.display();
    let length = fs::metadata(path)
        .with_context(|| format!("cannot read {shown}"))?
        .len();
    if length > MAX_NAMES {
        bail!(
            "{shown} is longer than {MAX_NAMES} bytes: it names grey values, as in {{\"1\": \"object\"}}"
        );
    }
    let text = fs::read_to_string(path).map_err(|e| anyhow!("cannot read {shown}: {e}"))?;
    let names: BTreeMap<u8, String> = serde_json::from_str(&text).map_err(|e| {
        anyhow!("{shown} must name grey values from 1 to 255, as in {{\"1\": \"object\"}}: {e}")
    })?;
    if names.contains_key(&0) {
        bail!("{shown} names the grey value 0, which is the background: leave it out");
    }
    Ok(names)
}

/// The regions that have a file `<base>.<region>.png`, in byte order.
fn region_files(base: &Path) -> anyhow::Result<Vec<String>> {
    let (Some(folder), Some(stem)) = (base.parent(), base.file_name().and_then(|n| n.to_str()))
    else {
        return Ok(Vec::new());
    };
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    let mut regions = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let region = name.to_str().and_then(|name| {
            name.strip_prefix(stem)?
                .strip_prefix('.')?
                .strip_suffix(".png")
        });
        // `<stem>.png` itself has nothing between.
        regions.extend(region.filter(|r| !r.is_empty()).map(str::to_owned));
    }
    regions.sort();
    Ok(regions)
}

/// A mask whose labels are made of pixels.
fn read(path: &Path, label: impl Fn([u8; 3]) -> Option<u8>) -> anyhow::Result<LabelMask> {
    let image = Image::open(path).map_err(limpid::Error::from)?;
    let labels = image
        .pixels()
        .chunks_exact(3)
        .map(|p| label([p[0], p[1], p[2]]));
    let labels = labels.collect::<Option<Vec<u8>>>().ok_or_else(|| {
        anyhow!(
            "{} has colours: a mask whose values mean regions is grey",
            path.display()
        )
    })?;
    let size = [image.height() as usize, image.width() as usize];
    LabelMask::new(labels, size).ok_or_else(|| anyhow!("{} is empty", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_have_a_value_and_a_name() {
        let face = RegionName::parse("2=face").ok();
        assert_eq!(face.map(|r| (r.value, r.name)), Some((2, "face".into())));
        for wrong in ["face", "0=sky", "256=sky", "1=", "=x", ""] {
            assert!(RegionName::parse(wrong).is_err(), "{wrong}");
        }
    }
}
