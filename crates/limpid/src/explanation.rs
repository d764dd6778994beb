use crate::view::MapView;
use crate::{Crop, Error, Image, Input, Overlay, ResolvedTarget, Session};
use limpid_explain::{Attribution, Completeness, Domain, Evaluations, Explainer, Parameters};
use limpid_render::{Heatmap, encode_npy};
use serde::Serialize;

/// The standard deviation, in the model's pixels, of the average by which maps
/// of single pixels are drawn.
const VIEW_SIGMA: f64 = 1.2;

/// A map and all that is needed to make it again.
///
/// ```
/// # use limpid::{Device, Gradient, GradCam, Image, Model, RunOptions, Session, SessionOptions, Target};
/// # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photos/coffee.jpg");
/// # let session = Model::embedded()?.session(Device::auto()?)?;
/// # let image = Image::open(photo)?;
/// let map = session.explain(&image, &GradCam::new(), Target::Top(1))?.remove(0);
/// assert_eq!((map.class(), map.label()), (967, "espresso"));
/// assert_eq!(map.file_suffix(), "grad-cam.967");
/// assert!(map.attribution().total() > 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Explanation {
    attribution: Attribution,
    manifest: Manifest,
    crop: Option<Crop>,
    smoothed: bool,
    slug: String,
}

/// The score that is explained.
#[derive(Debug, Clone, Serialize)]
pub struct ManifestTarget {
    /// The index of the class.
    pub index: usize,
    /// Its label.
    pub label: String,
    /// The class that it is compared with.
    pub against: Option<ManifestClass>,
    /// What is read of the scores: logit, softmax or sigmoid.
    pub readout: &'static str,
}

/// A class that another is compared with.
#[derive(Debug, Clone, Serialize)]
pub struct ManifestClass {
    /// Its index.
    pub index: usize,
    /// Its label.
    pub label: String,
}

/// An estimate of a map's sampling error.
#[derive(Debug, Clone, Serialize)]
pub struct StandardError {
    /// The L2 norm of the error over that of the map.
    pub relative: f64,
    /// The file that holds it, relative to the output folder.
    pub file: Option<String>,
}

/// Where the model looked, in pixels of the upright original.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ManifestCrop {
    /// Left edge; negative under padding.
    pub x: i64,
    /// Upper edge; negative under padding.
    pub y: i64,
    /// Width.
    pub width: i64,
    /// Height.
    pub height: i64,
}

/// What the `.json` file beside a map says. Every key is always there.
///
/// ```
/// # use limpid::{Device, Gradient, GradCam, Image, Model, RunOptions, Session, SessionOptions, Target};
/// # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photos/coffee.jpg");
/// # let session = Model::embedded()?.session(Device::auto()?)?;
/// # let image = Image::open(photo)?;
/// let map = session.explain(&image, &GradCam::new(), Target::Top(1))?.remove(0);
/// let manifest = map.manifest();
/// assert_eq!(manifest.target.label, "espresso");
/// assert_eq!(manifest.evaluations.gradients, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Serialize)]
pub struct Manifest {
    /// The picture's path as it was given.
    pub image: Option<String>,
    /// The SHA-256 of the picture's file.
    pub sha256: String,
    /// The model's name or directory.
    pub model: String,
    /// The SHA-256 of its weights.
    pub model_sha256: String,
    /// The method's id.
    pub method: String,
    /// Every parameter's effective value.
    pub parameters: Parameters,
    /// The class.
    pub target: ManifestTarget,
    /// What is explained, for the unsmoothed picture: the logit of the class, or
    /// what `target` says.
    pub score: f64,
    /// The class's probability.
    pub probability: f64,
    /// For path methods.
    pub completeness: Option<Completeness>,
    /// Where it is estimated.
    pub standard_error: Option<StandardError>,
    /// What it cost.
    pub evaluations: Evaluations,
    /// The seed.
    pub seed: u64,
    /// The kind of device.
    pub device: String,
    /// The precision of the arithmetic.
    pub precision: String,
    /// The instruction set or driver; with it, maps are reproducible to the bit.
    pub isa: String,
    /// How long it took.
    pub seconds: f64,
    /// Where the model looked.
    pub crop: Option<ManifestCrop>,
    /// The files written, relative to the output folder.
    pub files: Vec<String>,
    /// The version of Limpid.
    pub version: String,
}

impl Explanation {
    pub(crate) fn new(
        session: &Session,
        input: &Input,
        method: &dyn Explainer,
        target: &ResolvedTarget,
        attribution: Attribution,
        seed: u64,
        seconds: f64,
    ) -> Self {
        let capabilities = session.device().capabilities();
        let crop = input.crop();
        let manifest = Manifest {
            image: input.path().map(|p| p.display().to_string()),
            sha256: input.sha256().to_owned(),
            model: session.model().name().to_owned(),
            model_sha256: session.model().sha256().to_owned(),
            method: method.id().to_owned(),
            parameters: method.parameters(session.info(), input.tensor().dims()),
            target: ManifestTarget {
                index: target.class.index,
                label: target.class.label.clone(),
                against: target.against.as_ref().map(|other| ManifestClass {
                    index: other.index,
                    label: other.label.clone(),
                }),
                readout: target.readout.name(),
            },
            score: target.value(),
            probability: target.class.probability,
            completeness: attribution.completeness,
            standard_error: attribution
                .relative_standard_error()
                .map(|relative| StandardError {
                    relative,
                    file: None,
                }),
            evaluations: attribution.evaluations,
            seed,
            device: capabilities.kind.name().to_owned(),
            precision: capabilities.precision.clone(),
            isa: capabilities.isa.clone(),
            seconds,
            crop: crop.map(|c| ManifestCrop {
                x: c.x.round() as i64,
                y: c.y.round() as i64,
                width: c.width.round() as i64,
                height: c.height.round() as i64,
            }),
            files: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        Self {
            attribution,
            manifest,
            crop,
            smoothed: method.is_smoothed(),
            slug: target.slug(),
        }
    }

    /// The raw map.
    #[must_use]
    pub fn attribution(&self) -> &Attribution {
        &self.attribution
    }

    /// What the `.json` file says.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest, to name the files written.
    pub fn manifest_mut(&mut self) -> &mut Manifest {
        &mut self.manifest
    }

    /// The class that is explained.
    #[must_use]
    pub fn class(&self) -> usize {
        self.manifest.target.index
    }

    /// Its label.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.manifest.target.label
    }

    /// The method's name: its id, with `+smoothgrad` where it is smoothed.
    #[must_use]
    pub fn method(&self) -> String {
        method_name(&self.manifest.method, self.smoothed)
    }

    /// The map's part of a file name: `<method>[+smoothgrad].<class index>`, the
    /// index with what [`ResolvedTarget::slug`] adds; `<plugin>.<method>` for a
    /// plugin's.
    #[must_use]
    pub fn file_suffix(&self) -> String {
        format!("{}.{}", self.method().replace('/', "."), self.slug)
    }

    /// The raw map as an `.npy` file: float32, C order, version 1.0.
    ///
    /// # Errors
    /// None but for a lack of memory.
    ///
    /// ```
    /// # use limpid::{Device, Gradient, GradCam, Image, Model, RunOptions, Session, SessionOptions, Target};
    /// # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photos/coffee.jpg");
    /// # let session = Model::embedded()?.session(Device::auto()?)?;
    /// # let image = Image::open(photo)?;
    /// let map = session.explain(&image, &GradCam::new(), Target::Top(1))?.remove(0);
    /// assert_eq!(map.npy()?.len(), 128 + 7 * 7 * 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn npy(&self) -> Result<Vec<u8>, Error> {
        let map = &self.attribution.map;
        Ok(encode_npy(map.dims(), map.data())?)
    }

    /// The standard error of the map as an `.npy` file of the same shape, where
    /// it is estimated.
    ///
    /// # Errors
    /// None but for a lack of memory.
    pub fn standard_error_npy(&self) -> Option<Result<Vec<u8>, Error>> {
        let error = self.attribution.standard_error.as_ref()?;
        Some(encode_npy(error.dims(), error.data()).map_err(Error::from))
    }

    /// The map over the picture that it explains. A map of single pixels is
    /// averaged over its nearest neighbours for the eye, and the caption says
    /// so; the raw map stays as it is.
    ///
    /// # Errors
    /// When the map cannot be drawn.
    ///
    /// ```
    /// # use limpid::{Device, Gradient, GradCam, Image, Model, RunOptions, Session, SessionOptions, Target};
    /// # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photos/coffee.jpg");
    /// # let session = Model::embedded()?.session(Device::auto()?)?;
    /// # let image = Image::open(photo)?;
    /// let map = session.explain(&image, &GradCam::new(), Target::Top(1))?.remove(0);
    /// let overlay = map.overlay(&image)?;
    /// assert!(overlay.width() > image.width());
    /// assert!(overlay.png()?.starts_with(b"\x89PNG"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn overlay(&self, image: &Image) -> Result<Overlay, Error> {
        self.view()?.overlay(image, None)
    }

    /// What is drawn of the map: enough for pictures of it, and smaller than
    /// the map itself.
    ///
    /// # Errors
    /// When the map cannot be drawn.
    pub fn view(&self) -> Result<MapView, Error> {
        let [height, width] = self.attribution.grid();
        let mut data = self.attribution.channel_sum();
        if self.attribution.domain == Domain::Input {
            let raw = Heatmap {
                data: &data,
                height,
                width,
            };
            data = raw.smoothed(VIEW_SIGMA)?;
        }
        let m = &self.manifest;
        let mut title = format!("{} \u{b7} {}", m.target.index, m.target.label);
        if let Some(other) = &m.target.against {
            title += &format!(" rather than {} \u{b7} {}", other.index, other.label);
        }
        Ok(MapView {
            data,
            size: [height, width],
            crop: self.crop,
            signed: self.attribution.signed,
            title,
            subtitle: self.subtitle(),
        })
    }

    fn subtitle(&self) -> String {
        let m = &self.manifest;
        let smoothed = match m.parameters.get("smooth") {
            Some(n) if self.smoothed && m.method == "smoothgrad" => format!(" of {n} draws"),
            Some(n) if self.smoothed => format!(" + smoothgrad of {n} draws"),
            _ => String::new(),
        };
        let (layer, view) = match &self.attribution.domain {
            Domain::Layer(name) => (format!(" at {name}"), String::new()),
            Domain::Pixels => (String::new(), String::new()),
            _ => {
                let view = format!(" \u{b7} drawn smoothed by {VIEW_SIGMA} pixels");
                (String::new(), view)
            }
        };
        format!(
            "{}{smoothed}{layer} \u{b7} score {:.2} \u{b7} probability {:.1} %{view}",
            m.method,
            m.score,
            100.0 * m.probability
        )
    }
}

/// A method's name in files and reports: with `+smoothgrad` where it is smoothed
/// and does not say so by itself.
pub(crate) fn method_name(id: &str, smoothed: bool) -> String {
    let mark = if smoothed && id != "smoothgrad" {
        "+smoothgrad"
    } else {
        ""
    };
    format!("{id}{mark}")
}
