//! The contact sheet: pictures, and every method's map over them.

use crate::options::Scale;
use limpid::{Evaluated, Image, MapView, PictureResult, render};

/// The longest side of a picture on the sheet, in pixels.
const SIDE: usize = 192;

/// What is shown of one score of a picture. Until it is drawn it is kept as the
/// model saw it, so that memory depends on the number shown alone.
struct Entry {
    image: Image,
    result: PictureResult,
    views: Vec<Option<MapView>>,
}

/// A row of the sheet.
pub(super) struct Row<'a> {
    /// What it shows.
    pub(super) result: &'a PictureResult,
    /// The picture alone, as PNG.
    pub(super) picture: Vec<u8>,
    /// Each method's map over it, as PNG, and where its colours end.
    pub(super) maps: Vec<Option<(Vec<u8>, f64)>>,
}

/// Pictures up to a number.
pub(super) struct Sheet {
    room: usize,
    scale: Scale,
    entries: Vec<Entry>,
}

impl Sheet {
    pub(super) fn new(room: usize, scale: Scale) -> Self {
        Self {
            room,
            scale,
            entries: Vec::new(),
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.entries.len() < self.room
    }

    pub(super) fn add(&mut self, image: Image, evaluated: &Evaluated) -> anyhow::Result<()> {
        let view = |map: &Option<limpid::Explanation>| match map {
            Some(map) => Ok(Some(map.view()?.uncropped())),
            None => anyhow::Ok(None),
        };
        let views = evaluated.maps.iter().map(view);
        self.entries.push(Entry {
            image,
            views: views.collect::<anyhow::Result<_>>()?,
            result: evaluated.result.clone(),
        });
        Ok(())
    }

    /// Where the colours of each method end, on a scale that is shared.
    pub(super) fn limits(&self) -> anyhow::Result<Vec<f64>> {
        let mut limits = Vec::new();
        for entry in &self.entries {
            limits.resize(entry.views.len().max(limits.len()), 0.0f64);
            for (limit, view) in limits.iter_mut().zip(&entry.views) {
                if let Some(view) = view {
                    *limit = limit.max(view.limit()?);
                }
            }
        }
        Ok(limits)
    }

    pub(super) fn is_shared(&self) -> bool {
        self.scale == Scale::Shared
    }

    /// The rows, drawn one at a time.
    pub(super) fn rows(&self) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Row<'_>>>> {
        let shared = match self.scale {
            Scale::Shared => Some(self.limits()?),
            Scale::Own => None,
        };
        Ok(self.entries.iter().map(move |entry| {
            let draw = |(i, view): (usize, &Option<MapView>)| {
                let Some(view) = view else {
                    return anyhow::Ok(None);
                };
                let limit = match &shared {
                    Some(limits) => limits[i],
                    None => view.limit()?,
                };
                let drawn = view.thumbnail(&entry.image, SIDE, Some(limit))?;
                Ok(Some((drawn.png()?, limit)))
            };
            Ok(Row {
                result: &entry.result,
                picture: render::thumbnail(&entry.image, SIDE)?.png()?,
                maps: entry
                    .views
                    .iter()
                    .enumerate()
                    .map(draw)
                    .collect::<anyhow::Result<_>>()?,
            })
        }))
    }
}
