//! Overlays as a whole: golden pictures, the way back from crop to picture,
//! limits, and arbitrary input. `LIMPID_UPDATE_GOLDEN=1` rewrites the golden
//! pictures in `tests/golden`.

use std::path::PathBuf;

use limpid_render::{
    CropRect, Heatmap, Overlay, OverlayOptions, Photo, RgbImage, encode_png, write_atomic,
};
use proptest::prelude::*;

/// A picture with structure in each channel.
fn photo(width: usize, height: usize) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(3 * width * height);
    for y in 0..height {
        for x in 0..width {
            let checker = if (x / 16 + y / 16) % 2 == 0 { 40 } else { 0 };
            pixels.push((60 + 120 * x / width + checker) as u8);
            pixels.push((200 - 120 * y / height) as u8);
            pixels.push((90 + checker * 2) as u8);
        }
    }
    pixels
}

fn full(width: usize, height: usize) -> CropRect {
    CropRect {
        x: 0.0,
        y: 0.0,
        width: width as f64,
        height: height as f64,
    }
}

fn golden(name: &str, picture: &RgbImage) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(format!("{name}.png"));
    if std::env::var_os("LIMPID_UPDATE_GOLDEN").is_some() {
        write_atomic(&path, &encode_png(picture).unwrap()).unwrap();
    }
    let expected = image::open(&path).unwrap().to_rgb8();
    assert_eq!(picture.dimensions(), expected.dimensions(), "{name}");
    let differences = || {
        let pairs = picture.as_raw().iter().zip(expected.as_raw());
        pairs.map(|(a, b)| a.abs_diff(*b))
    };
    // Rounding may differ between machines, shapes and places may not.
    let far = differences().filter(|d| *d > 3).count();
    let mean = differences().map(f64::from).sum::<f64>() / expected.as_raw().len() as f64;
    assert!(
        far * 2000 < expected.as_raw().len(),
        "{name}: {far} values differ"
    );
    assert!(mean < 0.05, "{name}: mean difference {mean}");
}

/// A 7x7 bump with its top right of the centre.
fn bump() -> Vec<f32> {
    (0..49)
        .map(|i| {
            let (x, y) = ((i % 7) as f32 - 4.0, (i / 7) as f32 - 3.0);
            1.7 * (-(x * x + y * y) / 4.0).exp()
        })
        .collect()
}

#[test]
fn golden_cam_on_a_cropped_picture() {
    let (w, h) = (360, 240);
    let pixels = photo(w, h);
    let overlay = Overlay {
        photo: Photo {
            pixels: &pixels,
            width: w,
            height: h,
        },
        map: Heatmap {
            data: &bump(),
            height: 7,
            width: 7,
        },
        crop: CropRect {
            x: 75.0,
            y: 15.0,
            width: 210.0,
            height: 210.0,
        },
        title: "967: espresso",
        subtitle: "Grad-CAM, score 9.31, probability 0.87",
        signed: false,
    };
    golden("cam", &overlay.render(&OverlayOptions::default()).unwrap());
}

#[test]
fn golden_signed_map_with_padding_and_every_script() {
    let (w, h) = (330, 180);
    let pixels = photo(w, h);
    let map: Vec<f32> = (0..32 * 32)
        .map(|i| {
            let (x, y) = ((i % 32) as f32 / 32.0 - 0.5, (i / 32) as f32 / 32.0 - 0.5);
            2e-5 * (x * 9.0).sin() * (-(x * x + y * y) * 8.0).exp()
        })
        .collect();
    let overlay = Overlay {
        photo: Photo {
            pixels: &pixels,
            width: w,
            height: h,
        },
        map: Heatmap {
            data: &map,
            height: 32,
            width: 32,
        },
        crop: CropRect {
            x: 0.0,
            y: -75.0,
            width: 330.0,
            height: 330.0,
        },
        title: "5: café Ωμέγα кофе قهوة קפה कॉफ़ी กาแฟ 咖啡 コーヒー 커피 ☕ \u{1fae8}",
        subtitle: "a line\nbreak, a \u{202e}turn and a bell\u{7}",
        signed: true,
    };
    golden(
        "signed",
        &overlay.render(&OverlayOptions::default()).unwrap(),
    );
}

#[test]
fn a_spot_on_the_map_lands_at_its_place_in_the_picture() {
    // Black, so that brightness comes from the map alone.
    let (w, h) = (400, 320);
    let pixels = vec![0; 3 * w * h];
    let cell = 15;
    for (crop, row, column) in [
        (full(w, h), 7, 7),
        (
            CropRect {
                x: 130.0,
                y: 20.0,
                width: 150.0,
                height: 225.0,
            },
            7,
            7,
        ),
        (
            CropRect {
                x: -60.0,
                y: -100.0,
                width: 520.0,
                height: 520.0,
            },
            4,
            11,
        ),
    ] {
        let mut map = vec![0.0; cell * cell];
        map[row * cell + column] = 1.0;
        let render = |map: &[f32]| {
            let overlay = Overlay {
                photo: Photo {
                    pixels: &pixels,
                    width: w,
                    height: h,
                },
                map: Heatmap {
                    data: map,
                    height: cell,
                    width: cell,
                },
                crop,
                title: "",
                subtitle: "",
                signed: false,
            };
            let options = OverlayOptions {
                percentile: 100.0,
                ..OverlayOptions::default()
            };
            overlay.render(&options).unwrap()
        };
        let (spot, none) = (render(&map), render(&vec![0.0; cell * cell]));
        // Without a caption the picture begins at the margin, 13 pixels wide
        // for text of 12.5.
        let margin = 13;
        let (mut sum, mut cx, mut cy) = (0.0, 0.0, 0.0);
        for y in 0..h {
            for x in 0..w {
                let (px, py) = ((x + margin) as u32, (y + margin) as u32);
                let brightness = |p: &RgbImage| -> f64 {
                    p.get_pixel(px, py).0.iter().map(|v| f64::from(*v)).sum()
                };
                let weight = brightness(&spot) - brightness(&none);
                sum += weight;
                cx += weight * (x as f64 + 0.5);
                cy += weight * (y as f64 + 0.5);
            }
        }
        let n = cell as f64;
        let expected_x = crop.x + (column as f64 + 0.5) / n * crop.width;
        let expected_y = crop.y + (row as f64 + 0.5) / n * crop.height;
        assert!(sum > 1000.0);
        assert!(
            (cx / sum - expected_x).abs() < 0.5,
            "{} {expected_x}",
            cx / sum
        );
        assert!(
            (cy / sum - expected_y).abs() < 0.5,
            "{} {expected_y}",
            cy / sum
        );
    }
}

/// Size of an overlay for a picture of this size.
fn rendered(width: usize, height: usize) -> (u32, u32) {
    let pixels = vec![100; 3 * width * height];
    let overlay = Overlay {
        photo: Photo {
            pixels: &pixels,
            width,
            height,
        },
        map: Heatmap {
            data: &bump(),
            height: 7,
            width: 7,
        },
        crop: full(width, height),
        title: "0: tench",
        subtitle: "Grad-CAM",
        signed: false,
    };
    overlay
        .render(&OverlayOptions::default())
        .unwrap()
        .dimensions()
}

#[test]
fn small_pictures_grow_and_large_ones_shrink() {
    let (w, h) = rendered(32, 32);
    assert!(
        (350..600).contains(&w) && (350..500).contains(&h),
        "{w}x{h}"
    );
    for (width, height) in [(1, 20_000), (20_000, 1), (3000, 2000), (1, 1)] {
        let (w, h) = rendered(width, height);
        assert!(
            (250..2600).contains(&w) && (120..2600).contains(&h),
            "{w}x{h}"
        );
    }
}

#[test]
fn unusable_input_is_an_error() {
    let pixels = photo(8, 8);
    let good = Overlay {
        photo: Photo {
            pixels: &pixels,
            width: 8,
            height: 8,
        },
        map: Heatmap {
            data: &[0.0; 4],
            height: 2,
            width: 2,
        },
        crop: full(8, 8),
        title: "",
        subtitle: "",
        signed: true,
    };
    let options = OverlayOptions::default();
    let message = |overlay: Overlay<'_>| overlay.render(&options).unwrap_err().to_string();
    assert!(good.render(&options).is_ok());
    let mut bad = good;
    bad.photo.width = 9;
    assert!(message(bad).contains("picture of 9x8 needs 216 values"));
    bad.photo.width = usize::MAX;
    assert!(message(bad).contains("picture"));
    bad.photo.width = 0;
    assert!(message(bad).contains("empty"));
    bad = good;
    bad.map.data = &[0.0, f32::INFINITY, 0.0, 0.0];
    assert!(message(bad).contains("row 0, column 1"));
    for width in [0.0, -3.0, f64::NAN, f64::INFINITY] {
        bad = good;
        bad.crop.width = width;
        assert!(message(bad).contains("crop"));
    }
    for wrong in [
        OverlayOptions {
            percentile: 101.0,
            ..options
        },
        OverlayOptions {
            opacity: f64::NAN,
            ..options
        },
        OverlayOptions {
            max_side: 1 << 30,
            ..options
        },
        OverlayOptions {
            min_side: 0,
            ..options
        },
    ] {
        let error = good.render(&wrong).unwrap_err().to_string();
        assert!(error.starts_with("option "), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_input_never_panics(
        (width, height) in (1_usize..80, 1_usize..80),
        (rows, columns) in (1_usize..9, 1_usize..9),
        values in prop::collection::vec(any::<f32>(), 64),
        crop in prop::array::uniform4(prop_oneof![-200.0..400.0_f64, any::<f64>()]),
        title in ".{0,80}",
        subtitle in any::<String>(),
        signed in any::<bool>(),
        percentile in -10.0..110.0_f64,
    ) {
        let pixels = photo(width, height);
        let [x, y, crop_width, crop_height] = crop;
        let overlay = Overlay {
            photo: Photo { pixels: &pixels, width, height },
            map: Heatmap { data: &values[..rows * columns], height: rows, width: columns },
            crop: CropRect { x, y, width: crop_width, height: crop_height },
            title: &title,
            subtitle: &subtitle,
            signed,
        };
        let options = OverlayOptions { percentile, min_side: 64, ..OverlayOptions::default() };
        let finite = overlay.map.data.iter().all(|v| v.is_finite());
        match overlay.render(&options) {
            Ok(picture) => {
                prop_assert!(finite && crop_width > 0.0 && (0.0..=100.0).contains(&percentile));
                prop_assert!(picture.width() < 2000 && picture.height() < 2000);
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
