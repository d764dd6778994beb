//! Any bytes are read as a finite array, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use limpid_model::Input;

fuzz_target!(|data: &[u8]| {
    if let Ok(input) = Input::from_npy_bytes(data, "fuzz") {
        assert!(input.tensor().data().iter().all(|v| v.is_finite()));
    }
});
