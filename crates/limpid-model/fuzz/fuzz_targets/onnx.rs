//! Any bytes are read as an ONNX file and made a classifier, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use limpid_model::Model;
use limpid_model::onnx::{ImportOptions, import};

fuzz_target!(|data: &[u8]| {
    if import(data, &ImportOptions::default()).is_ok() {
        let _ = Model::from_onnx("fuzz", data.to_vec(), None, None);
    }
});
