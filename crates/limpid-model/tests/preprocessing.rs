//! Resizing, cropping and normalising against Pillow, timm and torchvision.

use limpid_model::{CropMode, Image, Input, Interpolation, ModelError, Preprocess};
use proptest::prelude::*;
use serde::Deserialize;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/preprocess")
        .join(name)
}

#[derive(Deserialize)]
struct Case {
    input: String,
    input_size: [usize; 3],
    interpolation: String,
    crop_pct: f64,
    crop_mode: String,
    mean: Vec<f64>,
    expected: String,
}

#[test]
fn crops_are_bit_equal_to_pillow() {
    let cases = std::fs::read(fixture("cases.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&cases).unwrap();
    assert!(cases.len() > 90);
    for case in cases {
        let preprocess = Preprocess::new(
            case.input_size,
            Interpolation::from_name(&case.interpolation).unwrap(),
            case.crop_pct,
            CropMode::from_name(&case.crop_mode).unwrap(),
            &case.mean,
            &[1.0],
        )
        .unwrap();
        let image = Image::open(fixture(&case.input)).unwrap();
        let expected = Image::open(fixture(&case.expected)).unwrap();
        let input = preprocess.apply(&image).unwrap();
        let found = input.rgb8().unwrap();
        assert_eq!(found.len(), expected.pixels().len());
        let differing = found
            .iter()
            .zip(expected.pixels())
            .filter(|(a, b)| a != b)
            .count();
        assert_eq!(
            differing, 0,
            "{} -> {} ({} {} {})",
            case.input, case.expected, case.interpolation, case.crop_mode, case.crop_pct
        );
    }
}

#[test]
fn normalised_values_are_torchvisions() {
    let expected = Input::from_npy(fixture("normalized.npy")).unwrap();
    let image = Image::open(fixture("in-37x23.png")).unwrap();
    let input = Preprocess::new(
        [3, 16, 18],
        Interpolation::Bicubic,
        0.875,
        CropMode::Center,
        &[0.485, 0.456, 0.406],
        &[0.229, 0.224, 0.225],
    )
    .unwrap()
    .apply(&image)
    .unwrap();
    let bits = |i: &Input| -> Vec<u32> { i.tensor().data().iter().map(|v| v.to_bits()).collect() };
    assert_eq!(input.tensor().dims(), expected.tensor().dims());
    assert_eq!(bits(&input), bits(&expected));
}

#[test]
fn photographs_are_within_what_jpeg_decoders_differ() {
    for photo in ["astronaut", "cat", "coffee", "rocket"] {
        let jpeg = fixture("../photos").join(format!("{photo}.jpg"));
        let input = Preprocess::default()
            .apply(&Image::open(jpeg).unwrap())
            .unwrap();
        let expected = Image::open(fixture(&format!("photo-{photo}.png"))).unwrap();
        let differences: Vec<u8> = input
            .rgb8()
            .unwrap()
            .iter()
            .zip(expected.pixels())
            .map(|(a, b)| a.abs_diff(*b))
            .collect();
        let most = differences.iter().max().unwrap();
        let beyond_one = differences.iter().filter(|&&d| d > 1).count();
        assert!(*most <= 3, "{photo}: {most} grey levels");
        assert!(
            beyond_one * 50 <= differences.len(),
            "{photo}: {beyond_one} of {} values differ by more than 1",
            differences.len()
        );
    }
}

fn ramp(width: u32, height: u32) -> Image {
    let pixels = (0..width as usize * height as usize * 3)
        .map(|i| (i % 251) as u8)
        .collect();
    Image::from_rgb8(width, height, pixels).unwrap()
}

#[test]
fn the_crop_is_given_in_pixels_of_the_original() {
    let preprocess = |mode, pct| {
        Preprocess::new(
            [3, 224, 224],
            Interpolation::Bicubic,
            pct,
            mode,
            &[0.5],
            &[0.5],
        )
        .unwrap()
    };
    // 512 x 256 is not resized; the middle 224 x 224 is cut out.
    let crop = |mode, pct, w, h| {
        preprocess(mode, pct)
            .apply(&ramp(w, h))
            .unwrap()
            .crop()
            .unwrap()
    };
    let c = crop(CropMode::Center, 0.875, 512, 256);
    assert_eq!((c.x, c.y, c.width, c.height), (144.0, 16.0, 224.0, 224.0));
    // 448 x 224 becomes 224 x 112 with 56 rows of padding above and below.
    let c = crop(CropMode::Border, 1.0, 448, 224);
    assert_eq!((c.x, c.y, c.width, c.height), (0.0, -112.0, 448.0, 448.0));
    let c = crop(CropMode::Squash, 1.0, 448, 100);
    assert_eq!((c.x, c.y, c.width, c.height), (0.0, 0.0, 448.0, 100.0));
}

#[test]
fn extreme_aspect_ratios_take_little() {
    for (w, h) in [
        (1, 20_000),
        (20_000, 1),
        (1, Image::MAX_SIDE),
        (Image::MAX_SIDE, 1),
    ] {
        let image = ramp(w, h);
        for mode in CropMode::ALL {
            for filter in Interpolation::ALL {
                let preprocess =
                    Preprocess::new([3, 16, 16], filter, 0.875, mode, &[0.5], &[0.5]).unwrap();
                let input = preprocess.apply(&image).unwrap();
                assert_eq!(input.rgb8().unwrap().len(), 3 * 16 * 16);
            }
        }
    }
}

#[test]
fn denormalising_gives_the_picture_back() {
    let preprocess = Preprocess::default();
    let input = preprocess.apply(&ramp(300, 260)).unwrap();
    assert_eq!(
        preprocess.denormalize(input.tensor()).unwrap(),
        input.rgb8().unwrap()
    );
}

#[test]
fn settings_out_of_range_are_named() {
    let new = |size, pct, std: &[f64]| {
        Preprocess::new(size, Interpolation::Box, pct, CropMode::Center, &[0.5], std)
            .unwrap_err()
            .to_string()
    };
    assert!(new([3, 0, 5], 1.0, &[1.0]).contains("input_size is [3, 0, 5]"));
    assert!(new([usize::MAX, 2, 5], 1.0, &[1.0]).contains("input_size"));
    assert!(new([3, 8, 8], f64::NAN, &[1.0]).contains("crop_pct is NaN"));
    assert!(new([3, 8, 8], 1e-9, &[1.0]).contains("crop_pct"));
    assert!(new([3, 8, 8], 1.0, &[0.0]).contains("std is [0.0]"));
    assert!(new([3, 8, 8], 1.0, &[1.0, 1.0]).contains("std"));
    assert!(new([3, 8, 8], 1.0, &[1e-300]).contains("std"));
    let four = Preprocess::new(
        [4, 8, 8],
        Interpolation::Box,
        1.0,
        CropMode::Center,
        &[0.5],
        &[1.0],
    );
    let error = four.unwrap().apply(&ramp(8, 8)).unwrap_err();
    assert!(error.to_string().contains("4 channels"));
}

fn npy(descr: &str, order: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

#[test]
fn arrays_that_are_no_inputs_are_refused() {
    let zeros = [0u8; 24];
    let read = |bytes: &[u8]| Input::from_npy_bytes(bytes, "in.npy");
    let good = read(&npy("'<f4'", "False", "(3, 2, 1)", &zeros)).unwrap();
    assert_eq!(good.tensor().dims(), [3, 2, 1]);
    let version2 = {
        let mut v1 = npy("'<f4'", "False", "(3, 2, 1)", &zeros);
        v1[6] = 2;
        v1.splice(10..10, [0, 0]);
        v1
    };
    assert!(read(&version2).is_ok());
    let nan = [f32::NAN.to_le_bytes(); 6].concat();
    for (bytes, message) in [
        (
            npy("'<f8'", "False", "(3, 1, 1)", &zeros),
            "element type is '<f8'",
        ),
        (
            npy("'>f4'", "False", "(3, 2, 1)", &zeros),
            "element type is '>f4'",
        ),
        (npy("'<f4'", "True", "(3, 2, 1)", &zeros), "Fortran order"),
        (npy("'<f4'", "False", "(6,)", &zeros), "its shape is (6,)"),
        (
            npy("'<f4'", "False", "(1, 3, 2, 1)", &zeros),
            "not (C, H, W)",
        ),
        (npy("'<f4'", "False", "(3, 2, 2)", &zeros), "needs 48 bytes"),
        (
            npy("'<f4'", "False", "(3, 0, 2)", &zeros),
            "does not have 1 to",
        ),
        (
            npy("'<f4'", "False", "(4294967296, 4294967296, 2)", &zeros),
            "does not have 1 to",
        ),
        (
            npy("'<f4'", "False", "(3, 2, 1)", &nan),
            "its element 0 is NaN",
        ),
        (
            npy("'<f4'", "False", "(3, 2", &zeros),
            "header has no `shape`",
        ),
        (
            b"\x93NUMPY\x02\x00\xff\xff\xff\x7f".to_vec(),
            "claims 2147483647 bytes",
        ),
        (
            b"\x93NUMPY\x01\x00\xff\xff".to_vec(),
            "ends within its header",
        ),
        (b"\x93NUMPY\x03\x00".to_vec(), "version is 3"),
        (b"hello".to_vec(), "does not start as"),
    ] {
        let error = read(&bytes).unwrap_err().to_string();
        assert!(
            error.starts_with("in.npy") && error.contains(message),
            "{error}"
        );
    }
    assert!(matches!(
        Input::from_npy("no-such.npy"),
        Err(ModelError::Io { .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn any_size_is_preprocessed(
        (w, h) in (1u32..90, 1u32..90),
        size in [1usize..4, 1..40, 1..40],
        filter in 0usize..6,
        mode in 0usize..3,
        pct in 0.01f64..4.0,
    ) {
        let preprocess = Preprocess::new(
            size, Interpolation::ALL[filter], pct, CropMode::ALL[mode], &[0.5], &[0.5],
        ).unwrap();
        match preprocess.apply(&ramp(w, h)) {
            Ok(input) => {
                prop_assert_eq!(input.tensor().dims(), size);
                prop_assert!(input.tensor().data().iter().all(|v| v.is_finite()));
            }
            Err(_) => prop_assert_eq!(size[0], 2),
        }
    }

    // A picture of one colour stays that: weights sum to one, whatever the size.
    #[test]
    fn one_colour_stays_one_colour(
        (w, h) in (1u32..90, 1u32..90),
        (to_h, to_w) in (1usize..60, 1usize..60),
        filter in 0usize..6,
        colour in any::<[u8; 3]>(),
    ) {
        let image = Image::from_rgb8(w, h, colour.repeat((w * h) as usize)).unwrap();
        let preprocess = Preprocess::new(
            [3, to_h, to_w], Interpolation::ALL[filter], 1.0, CropMode::Squash, &[0.5], &[0.5],
        ).unwrap();
        let input = preprocess.apply(&image).unwrap();
        for pixel in input.rgb8().unwrap().chunks_exact(3) {
            prop_assert_eq!(pixel, colour);
        }
    }

    #[test]
    fn any_array_header_is_read_or_refused(
        text in "[{}'(), :a-z<4f0-9]{0,80}",
        data in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((text.len() as u16).to_le_bytes());
        file.extend(text.as_bytes());
        file.extend(data);
        let _ = Input::from_npy_bytes(&file, "in.npy");
    }
}
