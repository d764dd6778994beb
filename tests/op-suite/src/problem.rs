//! Graphs with inputs and what is expected of their outputs.

use crate::compare::{Check, Tolerance};
use crate::network;
use limpid_device::{Buffer, Device, DeviceError, Executable, HostData};
use limpid_graph::case::{Case, CaseInput, cotangent};
use limpid_graph::ops::{
    Add, Clip, Conv, ConvTranspose, Epilogue, Gemm, HeatKernel, MaskMul, MaxPool, MaxPoolGradient,
    RangeMask,
};
use limpid_graph::passes::{Rule, eliminate_dead_code, fuse_attention, lower, vjp};
use limpid_graph::reference::{self, RefTensor};
use limpid_graph::{Fact, Graph, GraphError, Op, ValueId};
use limpid_tensor::{DType, Tensor};
use std::sync::Arc;

/// A graph, values for its inputs, and how its outputs are compared with what
/// the f64 reference makes of the same values. Every output is f32: masks
/// leave through a product with ones.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Its name, unique in a mode.
    pub name: String,
    /// The graph.
    pub graph: Arc<Graph>,
    /// Values of the graph's inputs, numbers that f32 or u32 holds.
    pub inputs: Vec<RefTensor>,
    /// One for each output.
    pub checks: Vec<Check>,
}

/// Elements of a float buffer before a device writes it: whoever skips an
/// element leaves this behind.
const UNWRITTEN: f32 = f32::NAN;

fn whole(t: &RefTensor) -> bool {
    t.data.iter().all(|v| f64::from(*v as f32) == *v)
}

impl Problem {
    /// A problem whose outputs are whole numbers, copies, or not finite.
    pub(crate) fn exact(name: impl Into<String>, graph: Graph, inputs: Vec<RefTensor>) -> Self {
        let checks = vec![Check::Exact; graph.outputs().len()];
        Self {
            name: name.into(),
            graph: Arc::new(graph),
            inputs,
            checks,
        }
    }

    /// A problem whose outputs are compared relative to their largest element.
    fn close(
        name: impl Into<String>,
        graph: Graph,
        inputs: Vec<RefTensor>,
        slack: f64,
    ) -> Result<Self, GraphError> {
        let expected = reference::run(&graph, &inputs)?;
        let checks = expected
            .iter()
            .map(|e| Check::close_to_largest(e, slack))
            .collect();
        let graph = Arc::new(graph);
        let name = name.into();
        Ok(Self {
            name,
            graph,
            inputs,
            checks,
        })
    }

    fn of_case(case: &Case) -> Result<Self, GraphError> {
        let built = case.build()?;
        let (mut graph, mut inputs) = (built.graph, built.inputs);
        let raw = graph.outputs().to_vec();
        let expected = reference::run(&graph, &inputs)?;
        let exact = case.is_exact() && expected.iter().all(whole);
        let operands: Vec<RefTensor> = (0..case.inputs.len()).map(|i| case.draw(i)).collect();
        let scale = scale(&case.op, &operands);
        let mut checks = Vec::new();
        let mut outputs = Vec::new();
        for (k, &v) in raw.iter().enumerate() {
            let fact = graph.fact(v).clone();
            if fact.dtype == DType::Bits {
                checks.push(mask_check(&case.op, &operands));
                let ones = graph.input("ones", Fact::f32(&fact.shape));
                inputs.push(RefTensor::from_fn(&fact.shape, |_| 1.0));
                outputs.push(graph.push("read mask", MaskMul {}, &[ones, v])?[0]);
                continue;
            }
            if fact.dtype == DType::U8 {
                // Taps leave as the places to which they send numbers.
                checks.push(Check::Exact);
                let numbers = RefTensor::from_fn(&fact.shape, |i| (1 + i % 61) as f64);
                let sent = graph.input("sent", Fact::f32(&fact.shape));
                inputs.push(numbers);
                let gradient = placement(&case.op, &case.inputs[0].fact);
                outputs.push(graph.push("read taps", gradient, &[sent, v])?[0]);
                continue;
            }
            outputs.push(v);
            checks.push(match (&scale, exact) {
                (_, true) => Check::Exact,
                (Some(scale), _) if k == 0 || scale.len() > 1 => {
                    let slack = slack(&case.op, &case.inputs);
                    let scale = scale[k].data.iter().map(|s| slack * s);
                    Check::Close(scale.collect(), Tolerance::F32)
                }
                _ => Check::close_to_largest(&expected[k], 1.0),
            });
        }
        graph.set_outputs(&outputs);
        let mut graph = lower(&graph)?;
        let made = graph.outputs().to_vec();
        let made: Result<Vec<ValueId>, GraphError> =
            made.iter().map(|v| by_a_node(&mut graph, *v)).collect();
        graph.set_outputs(&made?);
        Ok(Self {
            name: case.name.clone(),
            graph: Arc::new(graph),
            inputs,
            checks,
        })
    }

    /// Whether the device says it can run each node.
    ///
    /// # Errors
    /// The device's refusal.
    pub fn supported(&self, device: &dyn Device) -> Result<(), DeviceError> {
        for node in self.graph.nodes() {
            let facts: Vec<&Fact> = node.inputs.iter().map(|v| self.graph.fact(*v)).collect();
            device.supports(&node.op, &facts)?;
        }
        Ok(())
    }

    /// Makes the graph ready for the device, attention in one piece where it has
    /// a kernel for that.
    ///
    /// # Errors
    /// The device's.
    pub fn prepare(&self, device: &dyn Device) -> Result<Arc<dyn Executable>, DeviceError> {
        let supports = |op: &Op, inputs: &[&Fact]| device.supports(op, inputs).is_ok();
        let graph = fuse_attention(&self.graph, supports)?;
        device.prepare(device.plan(Arc::new(graph))?)
    }

    /// Buffers that hold the inputs.
    ///
    /// # Errors
    /// The device's.
    pub fn bind(&self, device: &dyn Device) -> Result<Vec<Buffer>, DeviceError> {
        self.graph
            .inputs()
            .iter()
            .zip(&self.inputs)
            .map(|(v, t)| {
                let fact = self.graph.fact(*v);
                let mut buffer = device.alloc(fact)?;
                if fact.dtype == DType::U32 {
                    let words: Vec<u32> = t.data.iter().map(|v| *v as u32).collect();
                    device.write(&mut buffer, HostData::U32(&words))?;
                } else {
                    device.write(&mut buffer, HostData::F32(&floats(t)))?;
                }
                Ok(buffer)
            })
            .collect()
    }

    /// Runs the graph on the device and returns its outputs.
    ///
    /// Outputs are unwritten at first, inputs must be as before afterwards.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub fn execute(
        &self,
        device: &dyn Device,
        executable: &dyn Executable,
    ) -> Result<Vec<Vec<f32>>, String> {
        let text = |e: DeviceError| e.to_string();
        let inputs = self.bind(device).map_err(text)?;
        let mut outputs = Vec::new();
        for v in self.graph.outputs() {
            outputs.push(filled(device, self.graph.fact(*v), UNWRITTEN).map_err(text)?);
        }
        let bound: Vec<&Buffer> = inputs.iter().collect();
        let mut targets: Vec<&mut Buffer> = outputs.iter_mut().collect();
        device
            .execute(executable, &bound, &mut targets)
            .map_err(text)?;
        device.synchronize().map_err(text)?;
        for (buffer, t) in inputs.iter().zip(&self.inputs) {
            if buffer.fact().dtype == DType::F32 {
                let after = read(device, buffer).map_err(text)?;
                let same = |(a, b): (&f32, f32)| a.to_bits() == b.to_bits();
                if !after.iter().zip(floats(t)).all(same) {
                    return Err("an input was overwritten".into());
                }
            }
        }
        outputs
            .iter()
            .map(|b| read(device, b).map_err(text))
            .collect()
    }

    /// Runs the graph on the device, compares with the reference, and returns
    /// the outputs.
    ///
    /// # Errors
    /// What differs, in words.
    pub fn check(
        &self,
        device: &dyn Device,
        executable: &dyn Executable,
    ) -> Result<Vec<Vec<f32>>, String> {
        let found = self.execute(device, executable)?;
        let expected = reference::run(&self.graph, &self.inputs).map_err(|e| e.to_string())?;
        for (k, (check, (found, expected))) in self
            .checks
            .iter()
            .zip(found.iter().zip(&expected))
            .enumerate()
        {
            check
                .compare(found, expected)
                .map_err(|e| format!("output {k}: {e}"))?;
        }
        let again = self.execute(device, executable)?;
        if !same_bits(&found, &again) {
            return Err("a second run gives other bits".into());
        }
        Ok(found)
    }
}

/// Whether two sets of outputs are the same to the last bit.
pub(crate) fn same_bits(a: &[Vec<f32>], b: &[Vec<f32>]) -> bool {
    let bits = |x: &[Vec<f32>]| -> Vec<Vec<u32>> {
        x.iter()
            .map(|x| x.iter().map(|v| v.to_bits()).collect())
            .collect()
    };
    bits(a) == bits(b)
}

pub(crate) fn filled(device: &dyn Device, fact: &Fact, value: f32) -> Result<Buffer, DeviceError> {
    let mut buffer = device.alloc(fact)?;
    let content = vec![value; fact.shape.elements()?];
    device.write(&mut buffer, HostData::F32(&content))?;
    Ok(buffer)
}

pub(crate) fn read(device: &dyn Device, buffer: &Buffer) -> Result<Vec<f32>, DeviceError> {
    let mut data = vec![0.0; buffer.fact().shape.elements()?];
    device.read(buffer, &mut data)?;
    Ok(data)
}

fn floats(t: &RefTensor) -> Vec<f32> {
    t.data.iter().map(|v| *v as f32).collect()
}

/// The operator without the last steps of its epilogue, and how many inputs
/// fall away: what is summed before it is clipped or masked.
fn sum_only(op: &Op) -> (Op, usize) {
    let cut = |e: &Epilogue| {
        let kept = Epilogue {
            add: e.add,
            ..Epilogue::default()
        };
        (kept, usize::from(e.mask_mul))
    };
    match op {
        Op::Conv(op) => {
            let (epilogue, n) = cut(&op.epilogue);
            (
                Conv {
                    epilogue,
                    ..op.clone()
                }
                .into(),
                n,
            )
        }
        Op::ConvTranspose(op) => {
            let (epilogue, n) = cut(&op.epilogue);
            (
                ConvTranspose {
                    epilogue,
                    ..op.clone()
                }
                .into(),
                n,
            )
        }
        Op::Gemm(op) => {
            let (epilogue, n) = cut(&op.epilogue);
            (
                Gemm {
                    epilogue,
                    ..op.clone()
                }
                .into(),
                n,
            )
        }
        op => (op.clone(), 0),
    }
}

/// For each output, sum |a b| over the terms of each element, where the
/// operator is a sum of products of its operands.
fn scale(op: &Op, operands: &[RefTensor]) -> Option<Vec<RefTensor>> {
    let (op, cut) = match op {
        Op::Sub(_) => (Add {}.into(), 0),
        Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm(_) => sum_only(op),
        Op::Add(_)
        | Op::Mul(_)
        | Op::Expand(_)
        | Op::ReduceSum(_)
        | Op::GlobalAveragePool(_)
        | Op::MatMul(_)
        | Op::SeparableFilter(_)
        | Op::WeightedSum(_) => (op.clone(), 0),
        _ => return None,
    };
    let sizes: Vec<RefTensor> = operands.iter().map(|t| t.map(f64::abs)).collect();
    let sizes: Vec<&RefTensor> = sizes[..sizes.len() - cut].iter().collect();
    Some(op.reference(&sizes))
}

/// What sends a number to the place of each window's largest element.
fn placement(op: &Op, x: &Fact) -> MaxPoolGradient {
    let pool = match op {
        Op::MaxPool(pool) => *pool,
        Op::MaxPoolArgmax(argmax) => argmax.pool,
        _ => MaxPool::default(),
    };
    MaxPoolGradient {
        pool: MaxPool {
            store_argmax: false,
            ..pool
        },
        input: [x.shape[2], x.shape[3]],
    }
}

/// How a mask is compared: a computed value may lie on either side of a bound
/// that it is within rounding of.
fn mask_check(op: &Op, operands: &[RefTensor]) -> Check {
    let stored = match op {
        Op::Conv(op) => op.epilogue.store_mask,
        Op::ConvTranspose(op) => op.epilogue.store_mask,
        Op::Gemm(op) => op.epilogue.store_mask,
        _ => None,
    };
    let (Some(mask), Some(scale)) = (stored, scale(op, operands)) else {
        return Check::Exact;
    };
    let (op, cut) = sum_only(op);
    let operands: Vec<&RefTensor> = operands[..operands.len() - cut].iter().collect();
    let before = op.reference(&operands).remove(0);
    let bounds = [mask.clip.lower(), mask.clip.upper()].map(f64::from);
    let unsure = before.data.iter().zip(&scale[0].data).map(|(v, s)| {
        bounds
            .iter()
            .any(|b| (v - b).abs() <= Tolerance::F32.relative * s)
    });
    Check::Mask(unsure.collect())
}

fn built<T>(name: &str, result: Result<T, GraphError>) -> T {
    // The suite's own graphs are fixed: one that cannot be built is a bug in it.
    result.unwrap_or_else(|e| panic!("the suite's problem `{name}` cannot be built: {e}"))
}

/// The problems of [`Mode::Test`](crate::Mode::Test).
#[must_use]
pub fn test_problems() -> Vec<Problem> {
    let cases = Op::cases();
    let cases = cases.iter().map(|c| built(&c.name, Problem::of_case(c)));
    let further = [special_values(), blur_extremes(), graph_shapes()];
    cases
        .chain(further.into_iter().flat_map(|p| built("further", p)))
        .collect()
}

/// What is not a number stays visible, unless a mask takes it away.
fn special_values() -> Result<Vec<Problem>, GraphError> {
    const SPECIAL: [f64; 7] = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -0.0,
        1.0,
        -2.5,
        1e-40,
    ];
    let shape = [1, 17, 3, 5];
    let special = || RefTensor::from_fn(shape, |i| f64::from(SPECIAL[i % 7] as f32));
    let mut problems = Vec::new();
    let mut add = |name: &str, op: Op, inputs: Vec<(Fact, RefTensor)>| {
        let mut g = Graph::new();
        let ids: Vec<ValueId> = inputs
            .iter()
            .map(|(f, _)| g.input("x", f.clone()))
            .collect();
        let y = g.push(name, op, &ids)?;
        g.set_outputs(&y);
        let inputs = inputs.into_iter().map(|(_, t)| t).collect();
        problems.push(Problem::exact(format!("special values {name}"), g, inputs));
        Ok::<_, GraphError>(())
    };
    let fact = || Fact::f32(shape);
    let ones = RefTensor::from_fn(shape, |_| 1.0);
    add(
        "add",
        Add {}.into(),
        vec![(fact(), special()), (fact(), ones.clone())],
    )?;
    add(
        "mul",
        limpid_graph::ops::Mul {}.into(),
        vec![(fact(), special()), (fact(), ones)],
    )?;
    let mask = RefTensor::from_fn(shape, |i| f64::from(u8::from(i % 7 >= 3)));
    add(
        "mask mul",
        MaskMul {}.into(),
        vec![(fact(), special()), (Fact::bits(shape), mask)],
    )?;
    let bounded = special().map(|v| if v.is_nan() { f64::INFINITY } else { v });
    let clip = Clip {
        min: Some(-1.0),
        max: Some(0.5),
    };
    add("clip", clip.into(), vec![(fact(), bounded)])?;
    Ok(problems)
}

/// No blur, hardly any, more than the picture is wide; all in one batch.
fn blur_extremes() -> Result<Vec<Problem>, GraphError> {
    let mut problems = Vec::new();
    for shape in [[1, 3, 40, 32], [1, 1, 56, 65]] {
        let sigmas = [0.0f32, 0.05, 0.3, 12.0, 50.0, 1e4];
        let mut g = Graph::new();
        let x = g.input("x", Fact::f32(shape));
        let sigma = g.input("sigma", Fact::f32([sigmas.len()]));
        let y = g.push("blur", HeatKernel {}, &[x, sigma])?;
        g.set_outputs(&y);
        let image = cotangent(&shape.into(), DType::F32);
        let inputs = vec![
            image.unwrap_or_else(|| RefTensor::from_fn(shape, |_| 0.0)),
            RefTensor::new([sigmas.len()], sigmas.map(f64::from).to_vec()),
        ];
        problems.push(Problem::close(
            format!("heat kernel extremes {shape:?}"),
            g,
            inputs,
            1.0,
        )?);
    }
    Ok(problems)
}

/// Outputs that are read again, constants as operands, masks with two readers.
fn graph_shapes() -> Result<Vec<Problem>, GraphError> {
    let shape = [2, 17, 3, 3];
    let values = || RefTensor::from_fn(shape, |i| (i % 23) as f64 - 11.0);
    let mut problems = Vec::new();
    let mut g = Graph::new();
    let x = g.input("x", Fact::f32(shape));
    let y = g.push("relu", Clip::relu(), &[x])?[0];
    let z = g.push("double", Add {}, &[y, y])?[0];
    let mut same = |name: &str, g: &Graph, outputs: &[ValueId]| {
        let mut g = g.clone();
        g.set_outputs(outputs);
        problems.push(Problem::exact(format!("graph {name}"), g, vec![values()]));
    };
    same("with an output that is read again", &g, &[y, z]);
    let data: Vec<f32> = values().data.iter().map(|v| *v as f32).collect();
    let constant = g.constant("constant", Arc::new(Tensor::new(shape, data)?));
    let sum = g.push("sum", Add {}, &[z, constant])?[0];
    same("with a constant image", &g, &[sum]);
    let mask = g.push("mask", RangeMask::inside(Clip::relu()), &[x])?[0];
    let one = g.push("masked", MaskMul {}, &[sum, mask])?[0];
    let other = g.push("masked again", MaskMul {}, &[z, mask])?[0];
    same("with a mask that is read twice", &g, &[one, other]);
    Ok(problems)
}

/// The problems of [`Mode::Gradient`](crate::Mode::Gradient).
#[must_use]
pub fn gradient_problems() -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    for case in Op::cases() {
        problems.extend(built(&case.name, gradients_of_case(&case)));
    }
    problems.extend(built("networks", network::problems()));
    problems
}

/// The value, or a copy of one that no node makes: outputs are made by nodes.
fn by_a_node(graph: &mut Graph, value: ValueId) -> Result<ValueId, GraphError> {
    match graph.producer(value) {
        Some(_) => Ok(value),
        None => Ok(graph.push("copy", Clip::default(), &[value])?[0]),
    }
}

fn gradients_of_case(case: &Case) -> Result<Vec<Problem>, GraphError> {
    use limpid_graph::OpError::NoGradient;
    let built = case.build()?;
    let lowered = lower(&built.graph)?;
    let mut problems = Vec::new();
    for &variable in &built.variables {
        for (k, &output) in lowered.outputs().iter().enumerate() {
            let fact = lowered.fact(output);
            let Some(u) = cotangent(&fact.shape, fact.dtype) else {
                continue;
            };
            let x = lowered.inputs()[variable];
            let gradient = match vjp(&lowered, output, &[x], Rule::Standard) {
                Ok(g) => g,
                Err(GraphError::Op {
                    source: NoGradient { .. },
                    ..
                }) => continue,
                Err(e) => return Err(e),
            };
            let mut graph = gradient.graph;
            let gradient = by_a_node(&mut graph, gradient.gradients[0])?;
            graph.set_outputs(&[gradient]);
            let graph = eliminate_dead_code(&graph)?;
            let inputs = [&built.inputs[..], &[u]].concat();
            let name = format!("gradient of {}: output {k} by input {variable}", case.name);
            // Sums over many elements err by their terms, not by their result.
            problems.push(Problem::close(name, graph, inputs, 10.0)?);
        }
    }
    Ok(problems)
}

/// How much more than a sum of products may be off. A window of 3 x 3 may be
/// computed with fewer products, at points, where its terms are larger.
fn slack(op: &Op, inputs: &[CaseInput]) -> f64 {
    let plain = match op {
        Op::Conv(conv) => conv.strides == [1, 1] && conv.dilations == [1, 1],
        Op::ConvTranspose(conv) => conv.strides == [1, 1] && conv.dilations == [1, 1],
        _ => false,
    };
    let window = inputs.get(1).map(|w| &w.fact.shape[..]);
    match window {
        Some([_, _, 3, 3]) if plain => 2.5,
        _ => 1.0,
    }
}
