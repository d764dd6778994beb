//! Writes out of bounds.
//!
//! A device owns its memory, so nothing can be laid directly around a buffer
//! from outside. Three things are done instead.
//!
//! * **In the arena.** The operator is put into a graph in which one value of
//!   the output's own size is made before it and a small one too, and both are
//!   read after it. A plan places the largest values first at the lowest free
//!   bytes, so that the first value lies directly before the operator's output
//!   and the small one, or one of the operands, behind it; [`layout`] tells
//!   from the plan whether that is so. All of them are read after the operator
//!   has run, and a kernel that writes before or behind its output changes what
//!   is read. Operands and results are in the arena here and in bound buffers
//!   in the plain run, and the two must agree to the last bit.
//! * **In bound buffers.** Outputs are bound between two buffers of the same
//!   size with known content, allocated directly before and after. Whether they
//!   are neighbours is up to the device's allocator.
//! * **Inside.** Every output is full of NaN before a run, so that an element
//!   that is left out shows; inputs are read again after it.
//!
//! What is not found: a write into the padding that a device has given its own
//! value, which harms nobody, and one that misses all guards.

use crate::Problem;
use crate::problem::{filled, read, same_bits};
use limpid_device::{Buffer, Device, DeviceError};
use limpid_graph::ops::Clip;
use limpid_graph::reference::RefTensor;
use limpid_graph::{Fact, Graph, GraphError, Location, Plan, Source, ValueId};
use limpid_tensor::DType;

/// A problem with guards around the results of its first node.
pub struct Guarded {
    /// Its outputs are the problem's, then the guards.
    pub problem: Problem,
    /// The first node's outputs.
    pub results: Vec<ValueId>,
    /// What must be as before after the first node has run, and the input that
    /// it is a copy of: the two guards, then operands.
    pub guards: Vec<(ValueId, usize)>,
}

fn copy(g: &mut Graph, name: &str, v: ValueId) -> Result<ValueId, GraphError> {
    Ok(g.push(name, Clip::default(), &[v])?[0])
}

fn pattern(i: usize) -> f64 {
    f64::from(1000 + (i % 97) as u32)
}

/// Puts guards around the first node of a problem.
///
/// # Errors
/// None for a problem that exists.
pub fn guarded(problem: &Problem) -> Result<Option<Guarded>, GraphError> {
    let old = &problem.graph;
    let Some(first) = old.nodes().first() else {
        return Ok(None);
    };
    let guard_fact = old.fact(first.outputs[0]).clone();
    if guard_fact.dtype != DType::F32 {
        return Ok(None);
    }
    let mut g = Graph::new();
    let mut inputs = problem.inputs.clone();
    let mut map = vec![None; old.values().len()];
    for (i, v) in old.values().iter().enumerate() {
        map[i] = match &v.source {
            Source::Input(_) => Some(g.input(v.name.clone(), v.fact.clone())),
            Source::Constant(c) => Some(g.constant(v.name.clone(), c)),
            Source::Node { .. } => None,
        };
    }
    let small = Fact::f32([1, 1]);
    let given = [&guard_fact, &small].map(|f| {
        inputs.push(RefTensor::from_fn(&f.shape, pattern));
        g.input("guard", f.clone())
    });
    // The operands of the first node move into the arena as well.
    let mut operands = Vec::new();
    for v in &first.inputs {
        let Source::Input(k) = old.value(*v).source else {
            continue;
        };
        if let (Some(new), DType::F32) = (map[v.index()], old.fact(*v).dtype) {
            let operand = copy(&mut g, "operand", new)?;
            map[v.index()] = Some(operand);
            operands.push((operand, k));
        }
    }
    let n = old.inputs().len();
    let mut guards = vec![
        (copy(&mut g, "guard", given[0])?, n),
        (copy(&mut g, "guard", given[1])?, n + 1),
    ];
    guards.extend(operands);
    let mut results = Vec::new();
    for node in old.nodes() {
        let ins: Vec<ValueId> = node.inputs.iter().filter_map(|v| map[v.index()]).collect();
        let outs = g.push(node.name.clone(), node.op.clone(), &ins)?;
        for (v, new) in node.outputs.iter().zip(&outs) {
            map[v.index()] = Some(*new);
        }
        if results.is_empty() {
            results = outs;
        }
    }
    let mut outputs = Vec::new();
    let asked = old.outputs().iter().filter_map(|v| map[v.index()]);
    for v in asked.chain(guards.iter().map(|(v, _)| *v)) {
        outputs.push(copy(&mut g, "result", v)?);
    }
    g.set_outputs(&outputs);
    let problem = Problem::exact(problem.name.clone(), g, inputs);
    Ok(Some(Guarded {
        problem,
        results,
        guards,
    }))
}

/// How the guards lie in a plan: whether one ends where the first result
/// begins, and whether one begins where the last result ends.
#[must_use]
pub fn layout(plan: &Plan, guarded: &Guarded) -> (bool, bool) {
    let place = |v: ValueId| match plan.location(v) {
        Location::Arena(bytes) => Some(bytes.clone()),
        _ => None,
    };
    let results = || guarded.results.iter().filter_map(|v| place(*v));
    let first = results().map(|r| r.start).min();
    let last = results().map(|r| r.end).max();
    let guards = || guarded.guards.iter().filter_map(|(v, _)| place(*v));
    (
        guards().any(|g| Some(g.end) == first),
        guards().any(|g| Some(g.start) == last),
    )
}

/// Runs a problem again with guards, and compares with its plain results.
///
/// # Errors
/// Which guard was hurt, in words.
pub(crate) fn check(
    device: &dyn Device,
    problem: &Problem,
    plain: &[Vec<f32>],
) -> Result<(), String> {
    between_buffers(device, problem)?;
    let Some(guarded) = guarded(problem).map_err(|e| e.to_string())? else {
        return Ok(());
    };
    // A device need not be able to copy values of every shape.
    if guarded.problem.supported(device).is_err() {
        return Ok(());
    }
    let text = |e: DeviceError| format!("with guards: {e}");
    let prepared = guarded.problem.prepare(device).map_err(text)?;
    let mut found = guarded.problem.execute(device, &*prepared)?;
    let guards = found.split_off(problem.graph.outputs().len());
    for (guard, (v, input)) in guards.iter().zip(&guarded.guards) {
        let expected = &guarded.problem.inputs[*input].data;
        let finite = expected.iter().all(|v| v.is_finite());
        let hurt = |(a, b): (&f32, &f64)| f64::from(*a) != *b;
        if finite && guard.iter().zip(expected).any(hurt) {
            let place = |v: ValueId| format!("{:?}", prepared.plan().location(v));
            return Err(format!(
                "writes into the arena beside its result: {} is {}, {} was changed",
                guarded.problem.graph.value(guarded.results[0]).name,
                place(guarded.results[0]),
                place(*v)
            ));
        }
    }
    // A copy by clipping may lose what is not a number.
    let finite = plain.iter().flatten().all(|v| v.is_finite());
    // Images in the arena may be f16, bound ones are not.
    let half = device.capabilities().precision == "f16";
    if finite && !half && !same_bits(&found, plain) {
        return Err("gives other bits for values in the arena than for bound ones".into());
    }
    Ok(())
}

/// Outputs bound between buffers with known content.
fn between_buffers(device: &dyn Device, problem: &Problem) -> Result<(), String> {
    const CONTENT: f32 = 12345.0;
    let text = |e: DeviceError| e.to_string();
    let prepared = problem.prepare(device).map_err(text)?;
    let inputs = problem.bind(device).map_err(text)?;
    let (mut outputs, mut guards) = (Vec::new(), Vec::new());
    for v in problem.graph.outputs() {
        let fact = problem.graph.fact(*v);
        guards.push(filled(device, fact, CONTENT).map_err(text)?);
        outputs.push(filled(device, fact, f32::NAN).map_err(text)?);
        guards.push(filled(device, fact, CONTENT).map_err(text)?);
    }
    let bound: Vec<&Buffer> = inputs.iter().collect();
    let mut targets: Vec<&mut Buffer> = outputs.iter_mut().collect();
    device
        .execute(&*prepared, &bound, &mut targets)
        .map_err(text)?;
    device.synchronize().map_err(text)?;
    for guard in &guards {
        if read(device, guard)
            .map_err(text)?
            .iter()
            .any(|v| *v != CONTENT)
        {
            return Err("writes into a buffer beside its output".into());
        }
    }
    Ok(())
}
