//! Overlays on one colour scale for all maps of a method, so that they can be
//! compared: drawn when all maps are known.

use crate::inputs::Picture;
use crate::{interrupt, loader};
use anyhow::Context as _;
use limpid::{Explanation, MapView, Session};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Maps that wait to be drawn. Their values wait in a file without a name, so that
/// memory hardly grows with their number.
pub(super) struct SharedScale {
    file: File,
    /// The file's length, in bytes.
    end: u64,
    /// Where the colours end, by methods.
    limits: HashMap<String, f64>,
    waiting: Vec<Waiting>,
}

struct Waiting {
    picture: Picture,
    method: String,
    /// Where the overlay goes.
    path: PathBuf,
    view: MapView,
    start: u64,
    length: usize,
}

impl SharedScale {
    /// No map yet; the file is in the folder of results.
    pub(super) fn new(out: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            file: tempfile::tempfile_in(out).context("cannot make a temporary file")?,
            end: 0,
            limits: HashMap::new(),
            waiting: Vec::new(),
        })
    }

    /// Adds a map whose overlay goes to `path`.
    pub(super) fn add(
        &mut self,
        picture: &Picture,
        map: &Explanation,
        path: PathBuf,
    ) -> anyhow::Result<()> {
        let mut view = map.view()?;
        let method = map.method();
        let limit = self.limits.entry(method.clone()).or_default();
        *limit = limit.max(view.limit()?);
        let values = view.take_data();
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.file
            .seek(SeekFrom::Start(self.end))
            .and_then(|_| self.file.write_all(&bytes))
            .context("cannot write to a temporary file")?;
        self.waiting.push(Waiting {
            picture: picture.clone(),
            method,
            path,
            view,
            start: self.end,
            length: values.len(),
        });
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Draws all overlays. Pictures are read once more; `failed` is told of those
    /// that cannot be.
    pub(super) fn draw(
        mut self,
        session: &Session,
        mut failed: impl FnMut(&Path, &anyhow::Error) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        for maps in waiting.chunk_by(|a, b| a.picture == b.picture) {
            let picture = &maps[0].picture;
            if let Err(error) = self.draw_picture(session, picture, maps) {
                failed(&picture.path, &error)?;
            }
        }
        Ok(())
    }

    fn draw_picture(
        &mut self,
        session: &Session,
        picture: &Picture,
        maps: &[Waiting],
    ) -> anyhow::Result<()> {
        let loaded = loader::load(picture).map_err(limpid::Error::from)?;
        let image = loader::drawable(session, &loaded)?;
        for map in maps {
            let mut bytes = vec![0; 4 * map.length];
            self.file
                .seek(SeekFrom::Start(map.start))
                .and_then(|_| self.file.read_exact(&mut bytes))
                .context("cannot read a temporary file")?;
            let values = bytes.chunks_exact(4);
            let values = values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            let mut view = map.view.clone();
            view.restore(values.collect());
            let limit = self.limits.get(&map.method).copied();
            let png = view.overlay(&image, limit)?.png()?;
            interrupt::write(&map.path, &png).map_err(limpid::Error::from)?;
        }
        Ok(())
    }
}
