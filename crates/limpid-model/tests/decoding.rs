//! Decoding: the deliberate choices where decoders differ, and damaged files.

use limpid_model::{Image, ModelError};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/preprocess")
        .join(name)
}

/// The decoded `decode-<file>` is `decode-<expected>.expected.png`, no sample
/// further off than `tolerance` (which JPEG decoders need).
fn decodes(file: &str, expected: &str, tolerance: u8) {
    let found = Image::open(fixture(&format!("decode-{file}"))).unwrap();
    let expected = Image::open(fixture(&format!("decode-{expected}.expected.png"))).unwrap();
    assert_eq!(
        (found.width(), found.height()),
        (expected.width(), expected.height()),
        "{file}"
    );
    let most = found
        .pixels()
        .iter()
        .zip(expected.pixels())
        .map(|(a, b)| a.abs_diff(*b))
        .max();
    assert!(most.unwrap() <= tolerance, "{file}: {most:?}");
}

#[test]
fn exif_orientation_is_applied() {
    for orientation in 2..=8 {
        let name = format!("orientation-{orientation}");
        decodes(&format!("{name}.jpg"), &name, 3);
    }
    decodes("orientation.png", "orientation", 0);
}

#[test]
fn sixteen_bits_are_scaled_by_257() {
    decodes("grey16.png", "grey16", 0);
    decodes("rgb16.png", "rgb16", 0);
}

#[test]
fn alpha_is_composited_on_white() {
    decodes("rgba.png", "rgba", 0);
    decodes("rgba.webp", "rgba", 0);
    decodes("la.png", "la", 0);
    decodes("rgba16.png", "rgba16", 0);
    decodes("palette.png", "palette", 0);
}

#[test]
fn adobe_cmyk_is_inverted() {
    decodes("cmyk.jpg", "cmyk", 3);
    decodes("ycck.jpg", "ycck", 3);
}

#[test]
fn colour_profiles_are_ignored() {
    decodes("icc.png", "plain", 0);
}

#[test]
fn greyscale_is_replicated() {
    decodes("grey.jpg", "grey", 1);
}

#[test]
fn the_first_frame_is_taken() {
    decodes("animated.gif", "animated-gif", 0);
    decodes("animated.webp", "animated-webp", 0);
}

#[test]
fn other_formats() {
    decodes("plain.bmp", "plain", 0);
    decodes("plain.tiff", "plain", 0);
}

fn photo() -> Vec<u8> {
    std::fs::read(fixture("../photos/coffee.jpg")).unwrap()
}

#[test]
fn the_hash_is_the_files() {
    // FIPS 180-4's example.
    let abc = limpid_model::Weights::from_bytes(b"abc".to_vec(), "abc");
    assert!(abc.is_err());
    let image = Image::from_rgb8(1, 1, b"abc".to_vec()).unwrap();
    assert_eq!(
        image.sha256(),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    let opened = Image::open(fixture("../photos/coffee.jpg")).unwrap();
    let decoded = Image::decode(&photo(), "coffee").unwrap();
    assert_eq!(opened.sha256(), decoded.sha256());
    assert_eq!(
        opened.path(),
        Some(fixture("../photos/coffee.jpg").as_path())
    );
    assert_eq!(decoded.path(), None);
}

#[test]
fn truncated_pictures_are_refused() {
    let jpeg = photo();
    for length in [jpeg.len() / 2, jpeg.len() - 2, 700, 300, 20, 4, 3] {
        let error = Image::decode(&jpeg[..length], "cut.jpg").unwrap_err();
        assert!(error.to_string().starts_with("cut.jpg"), "{error}");
        if length > 700 {
            assert!(
                matches!(error, ModelError::ImageTruncated { .. }),
                "{length}: {error}"
            );
            assert!(error.to_string().contains("truncated"));
        }
    }
    for file in [
        "decode-rgb16.png",
        "in-64x64.png",
        "decode-animated.gif",
        "decode-animated.webp",
        "decode-plain.bmp",
        "decode-plain.tiff",
    ] {
        let bytes = std::fs::read(fixture(file)).unwrap();
        let error = Image::decode(&bytes[..bytes.len() / 2], file).unwrap_err();
        assert!(error.to_string().starts_with(file), "{error}");
    }
}

/// A PNG header without data.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, &b| {
            (0..8).fold(crc ^ u32::from(b), |c, _| {
                (c >> 1) ^ (0xEDB8_8320 & 0u32.wrapping_sub(c & 1))
            })
        })
    }
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend([8, 2, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    png.extend(&chunk);
    png.extend(crc32(&chunk).to_be_bytes());
    png.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    png
}

#[test]
fn oversized_pictures_are_refused_by_their_header() {
    for (w, h) in [
        (60_000, 60_000),
        (1 << 21, 1),
        (1, 1 << 21),
        (1 << 14, (1 << 14) + 1),
    ] {
        let error = Image::decode(&png_header(w, h), "huge.png").unwrap_err();
        assert!(matches!(error, ModelError::ImageTooLarge { .. }), "{error}");
        assert!(
            error
                .to_string()
                .starts_with(&format!("huge.png is {w} x {h} pixels")),
            "{error}"
        );
    }
    // The largest that is allowed fails later, for lack of data.
    let error = Image::decode(&png_header(1 << 14, 1 << 14), "empty.png").unwrap_err();
    assert!(
        !matches!(error, ModelError::ImageTooLarge { .. }),
        "{error}"
    );
    assert!(Image::from_rgb8(2, 2, vec![0; 11]).is_err());
    assert!(Image::from_rgb8(0, 2, vec![]).is_err());
    assert!(Image::from_rgb8(u32::MAX, u32::MAX, vec![]).is_err());
}

#[test]
fn what_is_no_picture_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("text.jpg");
    std::fs::write(&text, "This is not a photograph.").unwrap();
    let error = Image::open(&text).unwrap_err();
    assert!(matches!(error, ModelError::UnknownImageFormat { .. }));
    assert!(
        error.to_string().contains("text.jpg is not a picture"),
        "{error}"
    );
    let error = Image::open(directory.path()).unwrap_err();
    assert!(matches!(error, ModelError::NotAFile { .. }), "{error}");
    let error = Image::open(directory.path().join("none.png")).unwrap_err();
    assert!(matches!(error, ModelError::Io { .. }), "{error}");
    let empty = Image::decode(b"", "empty").unwrap_err();
    assert!(
        matches!(empty, ModelError::UnknownImageFormat { .. }),
        "{empty}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn any_bytes_are_decoded_or_refused(
        magic in prop::sample::select(vec![
            &b"\xff\xd8\xff\xe0"[..], b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"MM\0*",
            b"RIFF\x40\0\0\0WEBPVP8 ", b"",
        ]),
        rest in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = Image::decode(&[magic, &rest].concat(), "any");
    }

    #[test]
    fn damaged_files_are_decoded_or_refused(
        file in prop::sample::select(vec![
            "decode-orientation-3.jpg", "decode-cmyk.jpg", "decode-rgba16.png", "decode-palette.png",
            "decode-animated.gif", "decode-animated.webp", "decode-rgba.webp", "decode-plain.bmp",
            "decode-plain.tiff",
        ]),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        end in any::<Option<prop::sample::Index>>(),
    ) {
        let mut bytes = std::fs::read(fixture(file)).unwrap();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(end) = end {
            bytes.truncate(end.index(bytes.len()));
        }
        if let Ok(image) = Image::decode(&bytes, "damaged") {
            let size = image.width() as usize * image.height() as usize * 3;
            prop_assert_eq!(image.pixels().len(), size);
        }
    }
}
