//! What both sides of the interface make of the same things.

use limpid_explain::{Objective, Readout};
use limpid_plugin_abi as abi;
use std::ffi::c_void;

/// The longest text that a sink takes, in bytes.
const MAX_TEXT: usize = limpid_graph::text::MAX_TEXT;

/// A sink that appends to a string, up to 16 MiB.
#[must_use]
pub fn sink(text: &mut String) -> abi::limpid_sink {
    unsafe extern "C" fn write(target: *mut c_void, text: abi::limpid_str) {
        // SAFETY: `target` is the string of `sink`, which outlives the call
        // that it was passed to; the text is borrowed.
        unsafe {
            let all = &mut *target.cast::<String>();
            if let Some(text) = text.get()
                && all.len() + text.len() <= MAX_TEXT
            {
                all.push_str(text);
            }
        }
    }
    abi::limpid_sink {
        target: std::ptr::from_mut(text).cast(),
        write: Some(write),
    }
}

/// Objectives as the interface has them.
pub struct Objectives {
    rows: Vec<abi::limpid_objective>,
    _owned: Vec<(Vec<u64>, Vec<f32>)>,
}

impl Objectives {
    /// Their rows.
    pub fn of<'a>(objectives: impl IntoIterator<Item = &'a Objective>) -> Self {
        let (mut rows, mut owned) = (Vec::new(), Vec::new());
        for objective in objectives {
            let terms = objective.weights();
            let classes: Vec<u64> = terms.iter().map(|(class, _)| *class as u64).collect();
            let weights: Vec<f32> = terms.iter().map(|(_, weight)| *weight).collect();
            rows.push(abi::limpid_objective {
                classes: classes.as_ptr(),
                weights: weights.as_ptr(),
                count: classes.len() as u64,
                readout: match objective.readout() {
                    Readout::Logit => abi::LIMPID_LOGIT,
                    Readout::Softmax => abi::LIMPID_SOFTMAX,
                    Readout::Sigmoid => abi::LIMPID_SIGMOID,
                },
                reserved: 0,
            });
            // The vectors' contents stay where they are.
            owned.push((classes, weights));
        }
        Self {
            rows,
            _owned: owned,
        }
    }

    /// The array, which lives as long as this.
    #[must_use]
    pub fn rows(&self) -> &[abi::limpid_objective] {
        &self.rows
    }
}

/// What a panic says.
#[must_use]
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}
