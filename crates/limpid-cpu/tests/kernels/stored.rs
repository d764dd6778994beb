//! Weights that are not in memory.

use super::{Failure, PRECISIONS, device_in, inputs, network, run};
use limpid_cpu::Isa;
use limpid_device::{Device, DeviceError};
use limpid_graph::TensorSource;
use limpid_tensor::{Shape, Tensor, TensorError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Weights that can be read until they are lost.
struct Stored(Tensor, Arc<AtomicBool>);

impl TensorSource for Stored {
    fn shape(&self) -> &Shape {
        self.0.shape()
    }

    fn read(&self, to: &mut [f32]) -> Result<(), TensorError> {
        if self.1.load(Ordering::Relaxed) {
            return Err(gone());
        }
        self.0.read(to)
    }
}

fn gone() -> TensorError {
    TensorError::Unreadable {
        file: "weights".into(),
        tensor: "w".into(),
        reason: "is gone".into(),
    }
}

#[test]
fn weights_need_not_be_in_memory() -> Result<(), Failure> {
    let isa = Isa::available()[0];
    for precision in PRECISIONS {
        let held = network(2)?;
        let lost = Arc::new(AtomicBool::new(false));
        let mut stored = held.clone();
        for id in held.nodes().iter().flat_map(|n| &n.inputs) {
            if let Some(constant) = held.constant_of(*id) {
                let tensor = constant.load()?.into_owned();
                stored.set_constant(*id, Arc::new(Stored(tensor, Arc::clone(&lost))))?;
            }
        }
        let device = device_in(precision, isa, 2);
        let images = &inputs(&[1, 2]);
        assert_eq!(
            run(&device, &held, images, 0.0)?,
            run(&device, &stored, images, 0.0)?
        );
        lost.store(true, Ordering::Relaxed);
        let refused = device.prepare(device.plan(Arc::new(stored))?);
        assert_eq!(refused.err(), Some(DeviceError::Tensor(gone())));
    }
    Ok(())
}
