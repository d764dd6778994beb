use std::path::PathBuf;

/// What can go wrong between a raw map and a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// A buffer's length is not what its stated size needs.
    #[error("the {what} of {width}x{height} needs {expected} values, but {actual} were given")]
    Size {
        /// Which buffer: "picture" or "map".
        what: &'static str,
        /// Its stated width.
        width: usize,
        /// Its stated height.
        height: usize,
        /// How many values that takes.
        expected: usize,
        /// How many there are.
        actual: usize,
    },
    /// A picture or a map without a single value.
    #[error("the {what} is empty ({width}x{height}); both sides must be at least 1")]
    Empty {
        /// Which buffer: "picture" or "map".
        what: &'static str,
        /// Its stated width.
        width: usize,
        /// Its stated height.
        height: usize,
    },
    /// The map holds a NaN or an infinity.
    #[error(
        "the map is not finite: value {index} (row {row}, column {column}) is {value}; \
         compute it in a wider precision or check the model's weights"
    )]
    NonFinite {
        /// Index into the data.
        index: usize,
        /// Row on the map's grid.
        row: usize,
        /// Column on the map's grid.
        column: usize,
        /// The offending value.
        value: f32,
    },
    /// The crop has no area or is not finite.
    #[error(
        "the crop (x {x}, y {y}, {width}x{height}) must be finite and have a positive width and height"
    )]
    Crop {
        /// Left edge in pixels of the picture.
        x: f64,
        /// Upper edge in pixels of the picture.
        y: f64,
        /// Width in pixels of the picture.
        width: f64,
        /// Height in pixels of the picture.
        height: f64,
    },
    /// An option is out of its range.
    #[error("option {option} is {value}, but it must be in {range}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What was given.
        value: f64,
        /// What is allowed.
        range: &'static str,
    },
    /// An array's data does not have as many values as its shape says.
    #[error("shape {shape:?} does not go with {actual} values (at most 32 dimensions)")]
    Shape {
        /// The stated shape, its first 32 dimensions.
        shape: Vec<usize>,
        /// How many values there are.
        actual: usize,
    },
    /// A picture could not be encoded.
    #[error("cannot encode the picture as PNG: {0}")]
    Encode(#[from] image::ImageError),
    /// A file could not be written.
    #[error("cannot write {path}: {reason}{advice}", path = path.display())]
    Write {
        /// The file that was to be written.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
        /// What to do about it, beginning with "; ", or empty.
        advice: &'static str,
    },
}
