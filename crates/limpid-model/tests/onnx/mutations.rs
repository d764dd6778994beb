//! Sound files with damage: read or refused, never a crash.

use crate::support::fixtures;
use limpid_model::Model;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_files_are_read_or_refused(
        file in prop::sample::select(vec!["cnn-script", "cnn-dynamo", "mha-script-dynamic", "vit-dynamo"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let mut bytes = std::fs::read(fixtures().join(format!("{file}.onnx"))).unwrap();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Err(e) = Model::from_onnx("x.onnx", bytes, None, None) {
            prop_assert!(e.to_string().len() < 4000, "{e}");
        }
    }
}
