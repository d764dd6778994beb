//! Any text is read as a plugin's graph, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use limpid_graph::{Fact, text};

fuzz_target!(|data: &str| {
    if let Ok(graph) = text::read(data, 2, |_, _| Some(Fact::f32([1, 3, 4, 4]))) {
        let again = text::write(&graph, graph.inputs(), graph.outputs()).unwrap();
        text::read(&again, 2, |_, _| None).unwrap();
    }
});
