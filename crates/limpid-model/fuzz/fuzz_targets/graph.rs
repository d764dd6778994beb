//! Any bytes are read as a description and bound to weights, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use limpid_model::{Config, Description, Model, Weights};

/// Two tensors, `w` [2, 6] and `b` [2], of zeros.
fn weights() -> Weights {
    let header = br#"{"w":{"dtype":"F32","shape":[2,6],"data_offsets":[0,48]},"b":{"dtype":"F32","shape":[2],"data_offsets":[48,56]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend([0; 56]);
    Weights::from_bytes(file, "weights").expect("the header fits the data")
}

fuzz_target!(|data: &[u8]| {
    if let Ok(description) = Description::from_bytes(data, "fuzz") {
        let _ = Model::from_parts(
            "fuzz",
            &Config::empty("none"),
            Some(description),
            &weights(),
        );
    }
});
