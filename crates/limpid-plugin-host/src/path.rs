//! A plugin's path as the engine sees it.

use crate::job;
use limpid_explain::{ExplainError, Fragment, Path, Sample};
use limpid_graph::{Fact, Graph, ValueId, text};
use limpid_plugin::table::sink;
use limpid_plugin_abi as abi;
use limpid_tensor::Tensor;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ThreadId};

/// The most statics and controls of a path together.
const MAX_INPUTS: u64 = 64;

/// A path whose functions are a plugin's.
pub(crate) struct PluginPath {
    table: abi::limpid_path,
    statics: Vec<Tensor>,
    /// The bytes that its values may take.
    room: u64,
    /// The lengths of the controls, by batch.
    lens: Mutex<HashMap<usize, Vec<usize>>>,
    thread: ThreadId,
}

// SAFETY: the plugin's functions are called by the thread that made the path
// alone, which each call checks; the rest is the host's.
unsafe impl Send for PluginPath {}
// SAFETY: as above.
unsafe impl Sync for PluginPath {}

/// A path or array that breaks the interface's rules.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Broken(String);

pub(crate) fn broken(message: impl Into<String>) -> ExplainError {
    ExplainError::Run(Box::new(Broken(message.into())))
}

impl PluginPath {
    /// # Safety
    /// The table and what it points to live as long as the path.
    pub(crate) unsafe fn new(table: abi::limpid_path, room: u64) -> Result<Self, ExplainError> {
        if table.static_count.saturating_add(table.control_count) > MAX_INPUTS {
            let count = table.static_count.saturating_add(table.control_count);
            return Err(broken(format!("a path of {count} inputs")));
        }
        // SAFETY: promised by the caller.
        let statics = unsafe { abi::slice(table.statics, table.static_count) };
        let statics = statics.iter().map(|array| {
            // SAFETY: promised by the caller.
            unsafe { tensor(array.data, array.shape, array.rank, room) }
        });
        Ok(Self {
            table,
            statics: statics.collect::<Result<_, _>>()?,
            room,
            lens: Mutex::default(),
            thread: thread::current().id(),
        })
    }

    fn own_thread(&self) -> Result<(), ExplainError> {
        match thread::current().id() == self.thread {
            true => Ok(()),
            false => Err(broken("a path that another thread uses")),
        }
    }

    fn has(&self, flag: u32) -> bool {
        self.table.flags & flag != 0
    }

    /// The graph for a batch of pictures.
    fn graph(&self, x: &Fact, batch: usize) -> Result<Graph, ExplainError> {
        let mut made = String::new();
        let text = match self.table.build {
            Some(build) => {
                let dims: Vec<u64> = x.shape.iter().map(|d| *d as u64).collect();
                let sink = sink(&mut made);
                // SAFETY: the arrays and the sink live until the call returns;
                // the thread is the plugin's.
                let status = unsafe {
                    build(
                        self.table.object,
                        batch as u64,
                        dims.as_ptr(),
                        dims.len() as u64,
                        sink,
                    )
                };
                answered("build", status)?;
                &*made
            }
            None => {
                // SAFETY: the text lives as long as the path.
                let text = unsafe { self.table.graph.get() };
                text.ok_or_else(|| broken("a path without a graph"))?
            }
        };
        let known = |i: usize, _: &str| match i {
            0 => Some(x.clone()),
            i => Some(Fact::f32(self.statics.get(i - 1)?.shape().clone())),
        };
        let graph = text::read(text, batch, known).map_err(|e| ExplainError::Run(Box::new(e)))?;
        let values = results(&graph).chain(graph.inputs());
        let (one, all) = (bytes(&graph, values) / batch.max(1) as u64, self.room);
        if one > all {
            return Err(broken(format!(
                "a path that makes {one} bytes of each point; a job may have {all} (--memory)"
            )));
        }
        Ok(graph)
    }
}

/// A function of a path must have succeeded.
fn answered(function: &str, status: abi::limpid_status) -> Result<(), ExplainError> {
    match status {
        abi::LIMPID_OK => Ok(()),
        abi::LIMPID_CANCELLED => Err(ExplainError::Cancelled),
        status => Err(broken(format!(
            "a path whose `{function}` failed with {}",
            job::status_name(status)
        ))),
    }
}

impl Path for PluginPath {
    fn build(&self, graph: &mut Graph, x: ValueId, batch: usize) -> Result<Fragment, ExplainError> {
        self.own_thread()?;
        let own = self.graph(graph.fact(x), batch)?;
        let (statics, controls) = (self.statics.len(), self.table.control_count as usize);
        if own.inputs().len() != 1 + statics + controls {
            return Err(broken(format!(
                "a path whose graph has {} inputs in place of {}",
                own.inputs().len(),
                1 + statics + controls
            )));
        }
        let wanted = 1
            + usize::from(self.has(abi::LIMPID_PATH_VELOCITY))
            + usize::from(self.has(abi::LIMPID_PATH_REFERENCE));
        if own.outputs().len() != wanted {
            let found = own.outputs().len();
            return Err(broken(format!(
                "a path whose graph has {found} outputs in place of {wanted}"
            )));
        }
        let point = &own.fact(own.outputs()[0]).shape;
        let picture = &graph.fact(x).shape;
        let fits = point.len() == 4 && point[1..] == picture[1..];
        if !fits || (point[0] != batch && point[0] != picture[0]) {
            return Err(broken(format!(
                "a path whose points have the shape {point}"
            )));
        }
        let mut inputs = vec![x];
        let mut lens = Vec::with_capacity(controls);
        for (i, v) in own.inputs().iter().enumerate().skip(1) {
            let fact = own.fact(*v);
            if i > statics {
                lens.push(fact.shape.iter().product());
            } else if fact.shape.iter().product::<usize>() != self.statics[i - 1].data().len() {
                let given = self.statics[i - 1].shape();
                let message = format!("a path whose static {} is {fact}, given {given}", i - 1);
                return Err(broken(message));
            }
            inputs.push(graph.input(&*own.value(*v).name, fact.clone()));
        }
        self.lens
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(batch, lens);
        let map = graph.splice(&own, &inputs)?;
        let outputs: Vec<ValueId> = own.outputs().iter().map(|v| map[v.index()]).collect();
        let has = |flag, v: Option<&ValueId>| v.copied().filter(|_| self.has(flag));
        Ok(Fragment {
            point: outputs[0],
            velocity: has(abi::LIMPID_PATH_VELOCITY, outputs.get(1)),
            reference: has(abi::LIMPID_PATH_REFERENCE, outputs.last()),
            statics: inputs[1..=statics].to_vec(),
            controls: inputs[1 + statics..].to_vec(),
        })
    }

    fn statics(&self) -> Vec<&Tensor> {
        self.statics.iter().collect()
    }

    fn controls(&self, samples: &[Sample]) -> Result<Vec<Vec<f32>>, ExplainError> {
        self.own_thread()?;
        let lens = {
            let lens = self.lens.lock().unwrap_or_else(PoisonError::into_inner);
            lens.get(&samples.len()).cloned()
        };
        let lens = lens.ok_or_else(|| broken("a path that was not built for the batch"))?;
        let mut values: Vec<Vec<f32>> = lens.iter().map(|n| vec![0.0; *n]).collect();
        let Some(controls) = self.table.controls else {
            for (values, len) in values.iter_mut().zip(&lens) {
                if *len != samples.len() {
                    return Err(broken(
                        "a path whose controls are no positions, and have no function",
                    ));
                }
                let positions = samples.iter().map(|s| s.position as f32);
                values.iter_mut().zip(positions).for_each(|(v, p)| *v = p);
            }
            return Ok(values);
        };
        let points: Vec<abi::limpid_sample> = samples
            .iter()
            .map(|s| abi::limpid_sample {
                draw: s.draw,
                position: s.position,
            })
            .collect();
        let out: Vec<*mut f32> = values.iter_mut().map(|v| v.as_mut_ptr()).collect();
        let lens: Vec<u64> = lens.iter().map(|n| *n as u64).collect();
        // SAFETY: the arrays live until the call returns and have these lengths;
        // the thread is the plugin's.
        let status = unsafe {
            controls(
                self.table.object,
                points.as_ptr(),
                points.len() as u64,
                out.as_ptr(),
                lens.as_ptr(),
            )
        };
        answered("controls", status)?;
        Ok(values)
    }

    fn ends(&self) -> Option<[f64; 2]> {
        self.has(abi::LIMPID_PATH_ENDS).then_some(self.table.ends)
    }
}

/// The values that a graph makes.
pub(crate) fn results(graph: &Graph) -> impl Iterator<Item = &ValueId> {
    graph.nodes().iter().flat_map(|n| &n.outputs)
}

/// The bytes that values of a graph take.
pub(crate) fn bytes<'a>(graph: &Graph, values: impl Iterator<Item = &'a ValueId>) -> u64 {
    let bytes = values.map(|v| job::bytes(&graph.fact(*v).shape));
    bytes.fold(0, u64::saturating_add)
}

/// A copy of numbers in a plugin's memory, of at most `most` bytes.
///
/// # Safety
/// `shape` points to `rank` extents, `data` to as many numbers as they say.
pub(crate) unsafe fn tensor(
    data: *const f32,
    shape: *const u64,
    rank: u64,
    most: u64,
) -> Result<Tensor, ExplainError> {
    // SAFETY: promised by the caller.
    unsafe {
        let dims = extents(shape, rank)?;
        let bytes = job::bytes(&dims);
        if bytes > most || !data.is_aligned() {
            return Err(broken(format!("numbers of {bytes} bytes at {data:p}")));
        }
        if data.is_null() {
            return Ok(Tensor::zeros(dims)?);
        }
        let len = dims.iter().product::<usize>() as u64;
        Ok(Tensor::from_slice(dims, abi::slice(data, len))?)
    }
}

/// Extents that a plugin gives: at most eight, of at most 2^40 elements, none 0.
///
/// # Safety
/// `shape` points to `rank` extents.
pub(crate) unsafe fn extents(shape: *const u64, rank: u64) -> Result<Vec<usize>, ExplainError> {
    if rank > 8 {
        return Err(broken(format!("a shape of {rank} extents")));
    }
    if !shape.is_aligned() {
        return Err(broken(format!("a shape at {shape:p}")));
    }
    // SAFETY: promised by the caller.
    let dims = unsafe { abi::slice(shape, rank) };
    let elements = dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
    match elements {
        Some(1..=0x100_0000_0000) => Ok(dims.iter().map(|d| *d as usize).collect()),
        _ => Err(broken(format!(
            "a shape {dims:?}, of no elements or more than 2^40"
        ))),
    }
}
