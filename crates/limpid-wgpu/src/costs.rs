use crate::device::plan;
use crate::executable::signature;
use crate::half::halves;
use crate::kernel::{Dispatch, Profile, Signature, Slot};
use crate::layout::{Stored, storage_bytes};
use crate::select::select;
use crate::tuning::Tuning;
use limpid_device::DeviceError;
use limpid_graph::{Fact, Graph};
use std::sync::Arc;

/// What a launch takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchCost {
    /// The node's position in the graph.
    pub node: usize,
    /// The node's kernel, as timings name it.
    pub kernel: &'static str,
    /// The file in `kernels/wgsl`, without its extension.
    pub file: &'static str,
    /// Workgroups.
    pub groups: u64,
    /// Floating-point operations, roughly.
    pub operations: u64,
    /// Bytes that are read and written, each once: what caches cannot save.
    pub bytes: u64,
}

/// The launches of a graph on an adapter that is tuned so, which need not be
/// there, and of which a binding has `binding` bytes at most.
///
/// # Errors
/// When an operator has no kernel.
#[doc(hidden)]
pub fn costs(
    graph: Arc<Graph>,
    tuning: Tuning,
    half: bool,
    binding: u64,
) -> Result<Vec<LaunchCost>, DeviceError> {
    let stored = match half {
        true => halves(&graph),
        false => vec![Stored::F32; graph.values().len()],
    };
    let profile = Profile {
        binding,
        lanes: 32,
        units: Vec::new(),
        tuning,
        rounds: u64::MAX,
    };
    let plan = plan(graph, &stored)?;
    let mut all = Vec::new();
    for node in 0..plan.graph().nodes().len() {
        let s = signature(&plan, &stored, node);
        let kernel = select(&s, &profile)?;
        for dispatch in &kernel.dispatches {
            let same = kernel.dispatches.iter().filter(|d| d.file == dispatch.file);
            all.push(LaunchCost {
                node,
                kernel: kernel.name,
                file: dispatch.file,
                groups: dispatch.groups,
                operations: dispatch.work,
                bytes: bytes(&s, dispatch, same.count() as u64)?,
            });
        }
    }
    Ok(all)
}

/// What a launch reads and writes. Several of one file share the node's inputs
/// and outputs: each treats its images, columns or places between strides.
fn bytes(s: &Signature<'_>, dispatch: &Dispatch, sharing: u64) -> Result<u64, DeviceError> {
    let of = |fact: &Fact, stored| -> Result<u64, DeviceError> {
        Ok(storage_bytes(fact, stored)? as u64 / sharing)
    };
    let mut sum = 0;
    for slot in &dispatch.slots {
        sum += match slot {
            Slot::Input(i) => of(s.inputs[*i], s.reads[*i])?,
            Slot::Output(i) => of(s.outputs[*i], s.writes[*i])?,
            Slot::Weights(weights) => weights.bytes()?.len() as u64,
            Slot::Part(_, range) => range.end - range.start,
            Slot::Workspace(range) => (range.end - range.start) as u64,
            Slot::Missing => 0,
        };
    }
    Ok(sum)
}
