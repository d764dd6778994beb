//! What crosses between host and device in a run: one picture there, the map
//! and its standard error back. Besides, a few numbers for each batch.

mod common;

use common::{adapter, fixture};
use limpid::{
    BlurIntegratedGradients, Device, GradientMethod, Input, Model, RunOptions, SmoothGrad, Target,
};
use limpid_cpu::CpuDevice;
use limpid_device::{
    Buffer, Capabilities, Device as Inner, DeviceError, Executable, HostData, Timing,
};
use limpid_graph::{Fact, Graph, Op, Plan};
use limpid_wgpu::{WgpuDevice, WgpuOptions};
use std::sync::{Arc, Mutex};

/// Bytes of each copy.
#[derive(Default)]
struct Copies {
    up: Vec<usize>,
    down: Vec<usize>,
    executions: usize,
}

/// A device that counts.
struct Counting<D> {
    inner: D,
    copies: Arc<Mutex<Copies>>,
}

impl<D: Inner> Inner for Counting<D> {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn supports(&self, op: &Op, inputs: &[&Fact]) -> Result<(), DeviceError> {
        self.inner.supports(op, inputs)
    }

    fn plan(&self, graph: Arc<Graph>) -> Result<Plan, DeviceError> {
        self.inner.plan(graph)
    }

    fn prepare(&self, plan: Plan) -> Result<Arc<dyn Executable>, DeviceError> {
        self.inner.prepare(plan)
    }

    fn alloc(&self, fact: &Fact) -> Result<Buffer, DeviceError> {
        self.inner.alloc(fact)
    }

    fn write(&self, buffer: &mut Buffer, data: HostData<'_>) -> Result<(), DeviceError> {
        let bytes = match data {
            HostData::F32(values) => size_of_val(values),
            HostData::U32(words) => size_of_val(words),
        };
        self.copies.lock().unwrap().up.push(bytes);
        self.inner.write(buffer, data)
    }

    fn read(&self, buffer: &Buffer, data: &mut [f32]) -> Result<(), DeviceError> {
        self.copies.lock().unwrap().down.push(size_of_val(data));
        self.inner.read(buffer, data)
    }

    fn execute(
        &self,
        executable: &dyn Executable,
        inputs: &[&Buffer],
        outputs: &mut [&mut Buffer],
    ) -> Result<(), DeviceError> {
        self.copies.lock().unwrap().executions += 1;
        self.inner.execute(executable, inputs, outputs)
    }

    fn synchronize(&self) -> Result<(), DeviceError> {
        self.inner.synchronize()
    }

    fn timings(
        &self,
        executable: &dyn Executable,
        inputs: &[&Buffer],
        outputs: &mut [&mut Buffer],
    ) -> Result<Vec<Timing>, DeviceError> {
        self.inner.timings(executable, inputs, outputs)
    }
}

fn check<D: Inner + 'static>(inner: D) {
    let copies = Arc::new(Mutex::new(Copies::default()));
    let counting = Counting {
        inner,
        copies: Arc::clone(&copies),
    };
    let model = Model::open(fixture("smooth-network")).unwrap();
    let session = model.session(Device::new(counting)).unwrap();
    let input = Input::from_npy(fixture("smooth-network/x.npy")).unwrap();
    let method = BlurIntegratedGradients::new().smoothed(SmoothGrad::new());
    let (target, options) = (Target::Top(1), RunOptions::default());
    let maps = session.explain_input(&input, &method, &target, &options);
    let found = maps.unwrap();
    let found = found[0].attribution();
    assert_eq!(found.evaluations.gradients, 200);
    assert!(found.standard_error.is_some() && found.completeness.is_some());

    let picture = size_of_val(input.tensor().data());
    let Copies {
        up,
        down,
        executions,
    } = std::mem::take(&mut *copies.lock().unwrap());
    let large = |all: &[usize]| all.iter().filter(|bytes| **bytes >= picture).count();
    assert_eq!((large(&up), large(&down)), (1, 2), "{up:?} {down:?}");
    assert!(up.iter().chain(&down).all(|bytes| *bytes <= picture));

    // Batches of eight: draws, positions and weights, and what begins a loop;
    // scores, and the pilot's norms.
    let (classes, batch, replicates) = (5, 8, 8);
    let most = 4 * batch * replicates.max(classes);
    let small = |all: &[usize]| all.iter().filter(|b| **b < picture).copied().max();
    assert!(small(&up) <= Some(most), "{up:?}");
    assert!(small(&down) <= Some(most), "{down:?}");
    let batches = 1 + (200 + 2 * 16) / batch;
    assert!(executions <= batches + 4, "{executions}");
    assert!(up.len() <= 1 + 3 * batches + 16, "{}", up.len());
    assert!(down.len() <= 2 + 3 + 1 + 32 / batch, "{}", down.len());
}

#[test]
fn one_picture_goes_to_the_processor_and_two_maps_come_back() {
    check(CpuDevice::new().unwrap());
}

#[test]
fn one_picture_goes_to_an_adapter_and_two_maps_come_back() {
    if adapter().is_some() {
        check(WgpuDevice::new(WgpuOptions::default()).unwrap());
    }
}
