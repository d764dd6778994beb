//! Any bytes are read as a configuration, or refused; so is each key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use limpid_model::{Config, Description, Labels};

fuzz_target!(|data: &[u8]| {
    if let Ok(config) = Config::from_bytes(data, "fuzz") {
        let _ = config.num_classes();
        if let Ok(Some(name)) = config.architecture() {
            let _ = Description::built_in(name);
        }
        if let Ok(Some(names)) = config.label_names() {
            let _ = Labels::new(names).find("label");
        }
        let _ = config.preprocess(&Default::default(), None);
    }
});
