//! JPEG decoding.
//!
//! With `jpeg-decoder`, in its portable arithmetic: its chroma interpolation and
//! inverse transform are those of libjpeg to within one level, which training
//! pipelines use, and are the same on every machine.

use crate::{Image, ModelError};
use image::metadata::Orientation;
use jpeg_decoder::{Decoder, Error, PixelFormat};

/// The most scans of a progressive file. Each may pass over the whole picture;
/// encoders make about ten.
const MAX_SCANS: usize = 200;

/// Width, height, RGB pixels as stored, and the orientation to apply.
pub(crate) fn decode(
    bytes: &[u8],
    name: &str,
) -> Result<(u32, u32, Vec<u8>, Orientation), ModelError> {
    let failed = |e| decode_error(name, e);
    let mut decoder = Decoder::new(bytes);
    decoder.set_max_decoding_buffer_size(4 * Image::MAX_PIXELS as usize);
    decoder.read_info().map_err(failed)?;
    let wrong = |reason: &str| ModelError::ImageDecode {
        file: name.to_owned(),
        reason: reason.to_owned(),
    };
    let info = decoder
        .info()
        .ok_or_else(|| wrong("it has no frame header"))?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    crate::image::check_size(name, width, height)?;
    match complete_scans(bytes) {
        None => {
            return Err(ModelError::ImageTruncated {
                file: name.to_owned(),
            });
        }
        Some(scans) if scans > MAX_SCANS => {
            return Err(wrong(&format!(
                "it has {scans} scans, more than {MAX_SCANS}"
            )));
        }
        Some(_) => {}
    }
    let raw = decoder.decode().map_err(failed)?;
    let orientation = decoder
        .exif_data()
        .and_then(Orientation::from_exif_chunk)
        .unwrap_or(Orientation::NoTransforms);
    let rgb: Vec<u8> = match info.pixel_format {
        PixelFormat::RGB24 => raw,
        PixelFormat::L8 => raw.iter().flat_map(|&v| [v; 3]).collect(),
        PixelFormat::L16 => raw
            .chunks_exact(2)
            .flat_map(|v| {
                let v = u32::from(u16::from_ne_bytes([v[0], v[1]]));
                [((v + 128) / 257) as u8; 3]
            })
            .collect(),
        PixelFormat::CMYK32 => raw.chunks_exact(4).flat_map(cmyk_to_rgb).collect(),
    };
    if rgb.len() as u64 != u64::from(width) * u64::from(height) * 3 {
        return Err(wrong("it holds fewer pixels than its header promises"));
    }
    Ok((width, height, rgb, orientation))
}

/// Light left by inks on white paper; the decoder has undone Adobe's inversion.
fn cmyk_to_rgb(cmyk: &[u8]) -> [u8; 3] {
    let key = 255 - u32::from(cmyk[3]);
    [cmyk[0], cmyk[1], cmyk[2]].map(|ink| ((key * (255 - u32::from(ink)) + 127) / 255) as u8)
}

fn decode_error(name: &str, error: Error) -> ModelError {
    let file = name.to_owned();
    match error {
        Error::Io(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            ModelError::ImageTruncated { file }
        }
        other => ModelError::ImageDecode {
            file,
            reason: other.to_string(),
        },
    }
}

/// The number of scans of a JPEG file; `None` where no end-of-image marker
/// follows them. A decoder may fill what is missing with grey.
fn complete_scans(bytes: &[u8]) -> Option<usize> {
    let mut scans = 0;
    let mut at = 2;
    loop {
        // To the next marker: 0xFF, then neither another 0xFF (padding), nor 0
        // (a stuffed byte of a scan), nor a restart marker inside a scan.
        at += bytes.get(at..)?.iter().position(|&b| b == 0xFF)? + 1;
        match *bytes.get(at)? {
            0xFF => {}
            0x00 | 0x01 | 0xD0..=0xD8 => at += 1,
            0xD9 => return Some(scans),
            marker => {
                scans += usize::from(marker == 0xDA);
                let length = u16::from_be_bytes([*bytes.get(at + 1)?, *bytes.get(at + 2)?]);
                at += 1 + usize::from(length);
            }
        }
    }
}
