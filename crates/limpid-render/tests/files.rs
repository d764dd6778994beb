//! Files: the bytes of `.npy` against numpy's own, PNG, atomic writing.

use std::fs;

use limpid_render::{RenderError, RgbImage, encode_npy, encode_png, write_atomic};

#[test]
fn npy_bytes_are_those_of_numpy() {
    let cube: Vec<f32> = (0..24).map(|v| v as f32 / 7.0).collect();
    let cases: [(&[usize], &[f32], &[u8]); 5] = [
        (
            &[3],
            &[1.5, -2.0, 3.25],
            include_bytes!("fixtures/vector.npy"),
        ),
        (&[], &[0.1], include_bytes!("fixtures/scalar.npy")),
        (&[2, 3, 4], &cube, include_bytes!("fixtures/cube.npy")),
        (&[0, 5], &[], include_bytes!("fixtures/empty.npy")),
        (&[1; 28], &[0.0], include_bytes!("fixtures/wide.npy")),
    ];
    for (shape, data, expected) in cases {
        assert!(encode_npy(shape, data).unwrap() == expected, "{shape:?}");
    }
}

#[test]
fn npy_shapes_that_do_not_fit_are_refused() {
    for shape in [&[2, 2][..], &[usize::MAX, 2], &[1; 40]] {
        let error = encode_npy(shape, &[1.0]).unwrap_err();
        assert!(matches!(error, RenderError::Shape { actual: 1, .. }));
    }
}

#[test]
fn png_keeps_every_pixel() {
    let picture = RgbImage::from_fn(37, 21, |x, y| image::Rgb([x as u8 * 6, y as u8 * 9, 77]));
    let bytes = encode_png(&picture).unwrap();
    let read = image::load_from_memory(&bytes).unwrap().to_rgb8();
    assert_eq!(read, picture);
}

#[test]
fn writing_replaces_whole_files_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/map.npy");
    write_atomic(&path, b"first").unwrap();
    write_atomic(&path, b"second").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"second");
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);

    // A folder is in the way: an error that names it, and no temporary file.
    let taken = folder.path().join("taken");
    fs::create_dir_all(taken.join("inside")).unwrap();
    let message = write_atomic(&taken, b"x").unwrap_err().to_string();
    assert!(
        message.contains("taken") && message.starts_with("cannot write"),
        "{message}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);

    // A file is in the way of a folder.
    let below = path.join("more.png");
    let message = write_atomic(&below, b"x").unwrap_err().to_string();
    assert!(message.contains("more.png"), "{message}");
    assert_eq!(fs::read(&path).unwrap(), b"second");

    let nameless = folder.path().join("..");
    assert!(write_atomic(&nameless, b"x").is_err());
}

/// The superuser may write to a read-only folder; /proc refuses even it.
#[cfg(target_os = "linux")]
#[test]
fn an_unwritable_folder_is_named() {
    let path = std::path::Path::new("/proc/limpid-no-such/map.npy");
    let message = write_atomic(path, b"x").unwrap_err().to_string();
    assert!(
        message.contains("/proc/limpid-no-such/map.npy"),
        "{message}"
    );
}
