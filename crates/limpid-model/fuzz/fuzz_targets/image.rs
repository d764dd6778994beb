//! Any bytes are decoded to a picture of the right size, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use limpid_model::{Image, Preprocess};

fuzz_target!(|data: &[u8]| {
    if let Ok(image) = Image::decode(data, "fuzz") {
        let size = image.width() as usize * image.height() as usize * 3;
        assert_eq!(image.pixels().len(), size);
        let _ = Preprocess::default().apply(&image);
    }
});
