//! Any bytes are read as weights, or refused; so is each tensor of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use limpid_model::Weights;

fuzz_target!(|data: &[u8]| {
    if let Ok(weights) = Weights::from_bytes(data.to_vec(), "fuzz") {
        for name in weights.names() {
            let _ = weights.tensor(name);
        }
    }
});
