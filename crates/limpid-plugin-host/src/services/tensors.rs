//! Tensors that stay where the model runs.

use super::{few, list, objective, room, rule, table, words};
use crate::job::{Fault, Job, bytes, invalid, light, service};
use crate::path::extents;
use limpid_explain::{DeviceTensor, Noise, Passes};
use limpid_graph::{Fact, ValueId, text};
use limpid_plugin_abi as abi;
use limpid_tensor::Tensor;
use std::collections::HashSet;

const COMPUTE: u64 = abi::LIMPID_CAN_COMPUTE;

/// Writes a tensor's number where the plugin wants it.
///
/// # Safety
/// `out` is null or has room for it.
pub(super) unsafe fn hand(
    job: &Job,
    tensor: DeviceTensor,
    out: *mut abi::limpid_tensor,
) -> Result<(), Fault> {
    if out.is_null() {
        return Err(invalid("no room for a tensor"));
    }
    let id = job.keep(tensor)?;
    // SAFETY: promised by the caller.
    unsafe { out.write(id) };
    Ok(())
}

/// The same for a tensor of the host.
///
/// # Safety
/// As for [`hand`].
pub(super) unsafe fn hand_host(
    job: &Job,
    tensor: Tensor,
    out: *mut abi::limpid_tensor,
) -> Result<(), Fault> {
    if out.is_null() {
        return Err(invalid("no room for a tensor"));
    }
    let id = job.keep_host(tensor)?;
    // SAFETY: promised by the caller.
    unsafe { out.write(id) };
    Ok(())
}

pub(super) unsafe extern "C" fn new(
    job: abi::limpid_job,
    shape: *const u64,
    rank: u64,
    data: *const f32,
    out: *mut abi::limpid_tensor,
) -> abi::limpid_status {
    service(job, COMPUTE, |job, _| {
        // SAFETY: the shape has `rank` extents, the data are as many as it says.
        unsafe {
            job.room(bytes(&extents(shape, rank)?))?;
            let tensor = crate::path::tensor(data, shape, rank, job.left())?;
            hand_host(job, tensor, out)
        }
    })
}

pub(super) unsafe extern "C" fn shape(
    job: abi::limpid_job,
    tensor: abi::limpid_tensor,
    shape: *mut u64,
    capacity: u64,
    rank: *mut u64,
) -> abi::limpid_status {
    light(job, |job| {
        let dims = job.dims(tensor)?;
        if rank.is_null() {
            return Err(invalid("no room for the number of extents"));
        }
        let count = dims.len().min(capacity as usize);
        // SAFETY: there is room for `capacity` extents and their number.
        unsafe {
            let room = room("extents", shape, count)?;
            room.iter_mut()
                .zip(&dims)
                .for_each(|(to, d)| *to = *d as u64);
            rank.write(dims.len() as u64);
        }
        Ok(())
    })
}

pub(super) unsafe extern "C" fn read(
    job: abi::limpid_job,
    tensor: abi::limpid_tensor,
    out: *mut f32,
    len: u64,
) -> abi::limpid_status {
    service(job, 0, |job, cx| {
        let dims = job.dims(tensor)?;
        if len.checked_mul(4) != Some(bytes(&dims)) {
            return Err(invalid(format!(
                "room for {len} numbers of a tensor {dims:?}"
            )));
        }
        job.with_numbers(tensor, cx, |numbers| {
            // SAFETY: there is room for `len` numbers.
            unsafe { room("numbers", out, numbers.len()) }?.copy_from_slice(numbers);
            Ok(())
        })
    })
}

pub(super) unsafe extern "C" fn release(
    job: abi::limpid_job,
    tensor: abi::limpid_tensor,
) -> abi::limpid_status {
    light(job, |job| job.release(tensor))
}

pub(super) unsafe extern "C" fn compute(
    job: abi::limpid_job,
    graph: abi::limpid_str,
    inputs: *const abi::limpid_tensor,
    input_count: u64,
    outputs: *mut abi::limpid_tensor,
    output_count: u64,
) -> abi::limpid_status {
    service(job, COMPUTE, |job, cx| {
        // SAFETY: the arrays have these lengths, the text is borrowed.
        let (graph, inputs) = unsafe {
            let inputs = list("tensors", inputs, input_count)?.iter();
            let inputs = inputs.map(|t| job.tensor(*t, cx));
            (
                graph.get().unwrap_or_default(),
                inputs.collect::<Result<Vec<_>, _>>()?,
            )
        };
        let bound = |i: usize, _: &str| Some(Fact::f32(inputs.get(i)?.dims()));
        let graph = text::read(graph, 1, bound).map_err(|e| invalid(e.to_string()))?;
        if graph.inputs().len() != inputs.len() || graph.outputs().len() as u64 != output_count {
            return Err(invalid(format!(
                "{} tensors for a graph of {} inputs, and room for {output_count} of its {} outputs",
                inputs.len(),
                graph.inputs().len(),
                graph.outputs().len()
            )));
        }
        if !text::is_writable(&graph) {
            return Err(invalid("a graph whose outputs are not all floats"));
        }
        for (tensor, v) in inputs.iter().zip(graph.inputs()) {
            let wanted = &graph.fact(*v).shape;
            if tensor.dims() != &wanted[..] {
                let found = tensor.dims();
                return Err(invalid(format!("a tensor {found:?} for an input {wanted}")));
            }
        }
        // What is made on the way counts, too.
        // What is put out as it came in, or twice, is copied.
        let mut once = HashSet::new();
        let copied = |v: &&ValueId| graph.producer(**v).is_none() || !once.insert(**v);
        let copied = graph.outputs().iter().filter(copied);
        let made = crate::path::results(&graph).chain(copied);
        job.room(crate::path::bytes(&graph, made))?;
        // SAFETY: there is room for `output_count` tensors.
        let out = unsafe { room("tensors", outputs, output_count as usize) }?;
        let tensors = cx.compute(&graph, &inputs.iter().collect::<Vec<_>>())?;
        for (to, tensor) in out.iter_mut().zip(tensors) {
            *to = job.keep(tensor)?;
        }
        Ok(())
    })
}

pub(super) unsafe extern "C" fn noise(
    job: abi::limpid_job,
    pictures: abi::limpid_tensor,
    scale: f32,
    seed: u64,
    first: u64,
    count: u64,
    out: *mut abi::limpid_tensor,
) -> abi::limpid_status {
    service(job, COMPUTE, |job, cx| {
        let pictures = job.tensor(pictures, cx)?;
        let [batch, picture @ ..] = pictures.dims() else {
            return Err(invalid("noise on a single number"));
        };
        if picture.len() != 3 || (*batch != 1 && *batch as u64 != count) {
            let found = pictures.dims();
            return Err(invalid(format!(
                "noise of {count} draws on a tensor {found:?}"
            )));
        }
        // A draw's number takes eight bytes more.
        job.room(bytes(picture).saturating_add(8).saturating_mul(count))?;
        if count == 0 || first.checked_add(count).is_none() || !scale.is_finite() {
            return Err(invalid(format!(
                "noise of {count} draws from {first}, scale {scale}"
            )));
        }
        let noisy = cx.noise(&pictures, Noise { scale, seed }, first..first + count)?;
        // SAFETY: the caller's promise.
        unsafe { hand(job, noisy, out) }
    })
}

pub(super) unsafe extern "C" fn pass(
    job: abi::limpid_job,
    request: *const abi::limpid_pass,
    out: *mut abi::limpid_passed,
) -> abi::limpid_status {
    service(job, abi::LIMPID_CAN_PASS, |job, cx| {
        // SAFETY: the request and what it points to live until this returns.
        unsafe {
            let request = table("request", request)?;
            let room = table("room for the results", out.cast_const())?;
            let names = few("layers", request.layers, request.layer_count)?.iter();
            let names = names.map(|n| words("a layer's name", *n).map(str::to_owned));
            let layers: Vec<String> = names.collect::<Result<_, _>>()?;
            let classes = cx.model().classes;
            let score = match request.objective.is_null() {
                true => None,
                false => Some(objective(request.objective, classes)?),
            };
            let pictures = job.tensor(request.pictures, cx)?;
            let passed = cx.pass(&Passes {
                pictures: &pictures,
                objective: score.as_ref(),
                rule: rule(words("a rule", request.rule)?)?,
                layers: &layers,
            })?;
            for (tensors, to) in [
                (passed.activations, room.activations),
                (passed.gradients, room.gradients),
            ] {
                if !to.is_null() {
                    for (i, tensor) in tensors.into_iter().enumerate() {
                        hand(job, tensor, to.add(i))?;
                    }
                }
            }
            let result = abi::limpid_passed {
                logits: job.keep(passed.logits)?,
                ..room
            };
            abi::fill(out, &result);
            Ok(())
        }
    })
}
