//! Running graphs on the adapter that there is.

use limpid_device::{Buffer, Device, DeviceError, HostData};
use limpid_graph::Graph;
use limpid_graph::reference::RefTensor;
use limpid_tensor::DType;
use limpid_wgpu::{WgpuDevice, WgpuOptions};
use std::sync::Arc;

/// The device. A test is over where there is no adapter, unless
/// LIMPID_REQUIRE_WGPU is set.
pub(crate) fn device(options: WgpuOptions) -> Option<WgpuDevice> {
    let required = std::env::var_os("LIMPID_REQUIRE_WGPU").is_some();
    match WgpuDevice::new(options) {
        Ok(device) => Some(device),
        Err(e @ DeviceError::Missing { .. }) if !required => {
            println!("skipped: {e}");
            None
        }
        Err(e) => panic!("{e}"),
    }
}

/// The graph's outputs for these inputs.
pub(crate) fn run(
    device: &WgpuDevice,
    graph: &Arc<Graph>,
    inputs: &[RefTensor],
) -> Result<Vec<Vec<f32>>, DeviceError> {
    let executable = device.prepare(device.plan(Arc::clone(graph))?)?;
    let mut bound = Vec::new();
    for (v, values) in graph.inputs().iter().zip(inputs) {
        let fact = graph.fact(*v);
        let mut buffer = device.alloc(fact)?;
        if fact.dtype == DType::U32 {
            let words: Vec<u32> = values.data.iter().map(|v| *v as u32).collect();
            device.write(&mut buffer, HostData::U32(&words))?;
        } else {
            let values: Vec<f32> = values.data.iter().map(|v| *v as f32).collect();
            device.write(&mut buffer, HostData::F32(&values))?;
        }
        bound.push(buffer);
    }
    let outputs = graph.outputs().iter();
    let outputs: Result<Vec<Buffer>, _> = outputs.map(|v| device.alloc(graph.fact(*v))).collect();
    let mut outputs = outputs?;
    let inputs: Vec<&Buffer> = bound.iter().collect();
    let mut targets: Vec<&mut Buffer> = outputs.iter_mut().collect();
    device.execute(&*executable, &inputs, &mut targets)?;
    let read = |buffer: &Buffer| {
        let mut data = vec![0.0; buffer.fact().shape.elements()?];
        device.read(buffer, &mut data)?;
        Ok(data)
    };
    outputs.iter().map(read).collect()
}
