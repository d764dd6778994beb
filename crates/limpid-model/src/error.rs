use limpid_tensor::TensorError;
use std::path::PathBuf;

/// What can go wrong between a file and a picture, a tensor or a model.
///
/// Every message names the file, what in it is wrong, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The operating system could not read a file.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A path names a directory, a pipe or a device where a file is wanted.
    #[error("{} is not a regular file; give the path of a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A file is larger than this program reads.
    #[error(
        "{file} holds {bytes} bytes, more than the {limit} that are read from a file of this kind"
    )]
    FileTooLarge {
        /// The file.
        file: String,
        /// Its size.
        bytes: u64,
        /// The most that is read.
        limit: u64,
    },
    /// The content is no picture in a known format.
    #[error(
        "{file} is not a picture in a known format; give a JPEG, PNG, WebP, GIF, BMP or TIFF file"
    )]
    UnknownImageFormat {
        /// The file.
        file: String,
    },
    /// A picture's bytes are damaged or use what is not supported.
    #[error(
        "{file} cannot be decoded: {reason}; export the picture again, for example as PNG or JPEG"
    )]
    ImageDecode {
        /// The file.
        file: String,
        /// What the decoder said.
        reason: String,
    },
    /// A picture file ends early.
    #[error(
        "{file} is truncated: the file ends before the picture does; copy or download it again"
    )]
    ImageTruncated {
        /// The file.
        file: String,
    },
    /// A picture has more pixels or a longer side than is decoded.
    #[error(
        "{file} is {width} x {height} pixels; a picture may have at most {} pixels and {} on a side, so scale it down first",
        crate::Image::MAX_PIXELS,
        crate::Image::MAX_SIDE
    )]
    ImageTooLarge {
        /// The file.
        file: String,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// Width, height and the number of bytes of raw pixels disagree.
    #[error(
        "{width} x {height} RGB pixels take {expected} bytes, {found} were given; neither side may be 0"
    )]
    ImageBuffer {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The bytes that the size needs.
        expected: u64,
        /// The bytes given.
        found: usize,
    },
    /// A `.npy` file is damaged or holds another kind of array.
    #[error(
        "{file} cannot be taken as an input: {reason}; save a C-order little-endian float32 array [C,H,W] with numpy.save"
    )]
    Npy {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// An input tensor does not have the shape that the model takes.
    #[error("{file} has the shape {found:?}; the model takes [C,H,W] = {expected:?}")]
    InputShape {
        /// The file.
        file: String,
        /// The shape that the model takes.
        expected: Vec<usize>,
        /// The shape found.
        found: Vec<usize>,
    },
    /// A preprocessing setting is out of range.
    #[error("preprocessing: {key} {reason}")]
    Preprocess {
        /// The setting.
        key: &'static str,
        /// What is wrong and what is accepted.
        reason: String,
    },
    /// The header of a weights file is damaged.
    #[error(
        "{file} is not a sound safetensors file: {reason}; download or export the weights again"
    )]
    WeightsFile {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// One tensor of a weights file cannot be used.
    #[error("{file}: tensor `{tensor}` {reason}")]
    WeightsTensor {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The architecture needs a tensor that the weights file lacks.
    #[error(
        "{file}: tensor `{tensor}` is missing{}; check that the weights belong to the architecture",
        near_list(near)
    )]
    MissingTensor {
        /// The file.
        file: String,
        /// The missing tensor.
        tensor: String,
        /// The nearest names that exist.
        near: Vec<String>,
    },
    /// A JSON file of a bundle is damaged.
    #[error("{file} is not sound JSON: {reason}; correct the file")]
    Json {
        /// The file.
        file: String,
        /// What the parser said.
        reason: String,
    },
    /// A key of `config.json` is missing or has a wrong value.
    #[error("{file}: key `{key}` {reason}")]
    Config {
        /// The file.
        file: String,
        /// The key, with its path.
        key: String,
        /// What is wrong and what is accepted.
        reason: String,
    },
    /// No description of an architecture exists.
    #[error(
        "{file}: the architecture `{name}` is not built in{}; put a graph.json beside the file",
        near_list(near)
    )]
    UnknownArchitecture {
        /// The file that asks for it.
        file: String,
        /// The name asked for.
        name: String,
        /// Similar names that exist.
        near: Vec<String>,
    },
    /// A graph description is inconsistent.
    #[error("{file}: {place}: {reason}")]
    Description {
        /// The file or the name of the built-in description.
        file: String,
        /// The node or key.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// An ONNX file cannot be imported.
    #[error("{file}: {reason}")]
    Onnx {
        /// The file.
        file: String,
        /// The node with its operator, what is wrong, and what to do.
        reason: String,
    },
    /// A model's path is neither a bundle nor a known name.
    #[error("{name} is not a model: {reason}")]
    NotAModel {
        /// What was given.
        name: String,
        /// What is missing and what is accepted.
        reason: String,
    },
    /// An option does not fit the model.
    #[error("option `{option}`: {reason}")]
    Option {
        /// The option.
        option: &'static str,
        /// Why not.
        reason: String,
    },
    /// What is to be written exists.
    #[error("{} exists already; give a directory that does not, or remove it", .0.display())]
    Exists(PathBuf),
    /// Memory for a tensor was refused, or its size overflows.
    #[error("{file}: {source}")]
    Tensor {
        /// The file.
        file: String,
        /// What the allocation said.
        source: TensorError,
    },
    /// Memory for pixels was refused.
    #[error("{file}: out of memory for {bytes} bytes of pixels; scale the picture down")]
    OutOfMemory {
        /// The file.
        file: String,
        /// The size of the refused allocation.
        bytes: u64,
    },
}

impl ModelError {
    /// Why the tensor `name` of a file could not be had.
    pub(crate) fn of_tensor(file: &str, name: &str, error: TensorError) -> Self {
        match error {
            TensorError::Unreadable {
                file,
                tensor,
                reason,
            } => Self::WeightsTensor {
                file,
                tensor,
                reason,
            },
            source => Self::Tensor {
                file: format!("{file}, tensor `{name}`"),
                source,
            },
        }
    }
}

fn near_list(near: &[String]) -> String {
    if near.is_empty() {
        String::new()
    } else {
        let quoted: Vec<_> = near.iter().map(|n| format!("`{n}`")).collect();
        format!(" (nearest names: {})", quoted.join(", "))
    }
}
