use crate::arch::Backend;
use crate::assign::Assignment;
use crate::chains;
use crate::device::Caches;
use crate::kernels::chain::Chain;
use crate::kernels::conv::ConvKernel;
use crate::kernels::gemm::GemmKernel;
use crate::kernels::tail::{Followed, Follower};
use crate::kernels::{Context, Kernel};
use crate::layout::{Class, Layout, Precision, storage_bytes};
use crate::operands::{Operands, Workspace, borrow};
use crate::select::{Signature, convolution, select};
use crate::simd::round;
use limpid_device::{DeviceError, Executable, Timing};
use limpid_graph::{Location, Op, Plan, ValueId};
use limpid_tensor::AlignedBuffer;
use std::any::Any;
use std::collections::HashMap;
use std::ops::Range;
use std::time::Instant;

/// Where a step finds an operand.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Input(usize),
    Output(usize),
    /// Among the executable's constants.
    Constant(usize),
    Arena(Range<usize>),
    /// Nowhere: the kernel has prepared it already, or keeps it to itself.
    Kept,
}

/// Nodes that run at once, most often one.
struct Step {
    nodes: Range<usize>,
    /// The one that it is named after.
    main: usize,
    kernel: Box<dyn Kernel>,
    inputs: Vec<Place>,
    outputs: Vec<Place>,
    /// The kernel's working memory in the arena, where nothing else is then, or
    /// behind it.
    workspace: Range<usize>,
}

/// A plan with its kernels.
pub(crate) struct CpuExecutable {
    plan: Plan,
    pub(crate) backend: Backend,
    pub(crate) precision: Precision,
    steps: Vec<Step>,
    constants: Vec<AlignedBuffer>,
}

impl Executable for CpuExecutable {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn working_bytes(&self) -> usize {
        let ends = self.steps.iter().map(|s| s.workspace.end);
        ends.fold(self.plan.arena_bytes(), usize::max)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Gives values their places, and constants their storage.
struct Placer<'a> {
    plan: &'a Plan,
    constants: Vec<AlignedBuffer>,
    known: HashMap<(ValueId, Class), usize>,
}

impl Placer<'_> {
    /// The place of a value that is read or written in this class.
    fn place(&mut self, value: ValueId, class: Class) -> Result<Place, DeviceError> {
        let foreign = DeviceError::Foreign("the plan");
        Ok(match self.plan.location(value) {
            Location::Input(k) => Place::Input(*k),
            Location::Output(k) => Place::Output(*k),
            Location::Arena(range) => {
                let bytes = storage_bytes(self.plan.graph().fact(value), class)?;
                let aligned = range.start.is_multiple_of(AlignedBuffer::ALIGNMENT);
                if !aligned || range.len() < bytes {
                    return Err(foreign);
                }
                Place::Arena(range.start..range.start + bytes)
            }
            Location::Constant => Place::Constant(self.constant(value, class)?),
        })
    }

    fn constant(&mut self, value: ValueId, class: Class) -> Result<usize, DeviceError> {
        if let Some(at) = self.known.get(&(value, class)) {
            return Ok(*at);
        }
        let graph = self.plan.graph();
        let constant = graph.constant_of(value);
        let constant = constant.ok_or(DeviceError::Foreign("the plan"))?;
        let fact = graph.fact(value);
        let mut storage = AlignedBuffer::zeroed(storage_bytes(fact, class)?)?;
        let tensor = constant.load()?;
        let layout = Layout::new(tensor.shape(), class)?;
        match class.precision(fact) {
            Precision::F32 => layout.load_c(tensor.data(), storage.as_mut_slice()),
            Precision::Bf16 => {
                let numbers = storage.as_mut_slice();
                layout.place_c(|element, lane| numbers[lane] = round(tensor.data()[element]));
            }
        }
        self.constants.push(storage);
        self.known.insert((value, class), self.constants.len() - 1);
        Ok(self.constants.len() - 1)
    }
}

/// The kernels of the nodes of a step.
#[derive(Default)]
struct Parts {
    /// Of the only node.
    alone: Option<Box<dyn Kernel>>,
    /// A chain of convolutions.
    links: Vec<ConvKernel>,
    /// A product, and what works on its result.
    product: Option<GemmKernel>,
    followers: Vec<Follower>,
    /// The inputs and outputs of each.
    operands: Vec<[usize; 2]>,
}

impl Parts {
    /// All as one kernel.
    fn join(self) -> Option<Box<dyn Kernel>> {
        Some(match (self.alone, self.product) {
            (Some(alone), _) => alone,
            (_, Some(product)) => {
                let operands = *self.operands.first()?;
                Box::new(Followed::new(product, operands, self.followers))
            }
            _ => Box::new(Chain::new(self.links, self.operands)?),
        })
    }
}

impl CpuExecutable {
    pub(crate) fn new(
        plan: Plan,
        backend: Backend,
        precision: Precision,
        threads: usize,
        caches: &Caches,
    ) -> Result<Self, DeviceError> {
        let graph = plan.graph();
        let assignment = Assignment::new(graph, precision);
        if !assignment.is_consistent(graph) {
            return Err(DeviceError::Foreign("the plan"));
        }
        let mut placer = Placer {
            plan: &plan,
            constants: Vec::new(),
            known: HashMap::new(),
        };
        let mut steps: Vec<Step> = Vec::with_capacity(graph.nodes().len());
        let all = chains::steps(graph, threads, precision);
        let inner = chains::inner(graph, &all);
        for nodes in all {
            let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
            let mut parts = Parts::default();
            let made = |v: ValueId| graph.producer(v).is_some_and(|(i, _)| nodes.contains(&i));
            for index in nodes.clone() {
                let node = &graph.nodes()[index];
                let signature = Signature::new(graph, &assignment, index)?;
                let failed = |e| DeviceError::Node {
                    node: node.name.clone(),
                    source: Box::new(e),
                };
                let constants: Vec<_> = node.inputs.iter().map(|v| graph.constant_of(*v)).collect();
                let own: Vec<bool> = node.inputs.iter().map(|v| made(*v)).collect();
                parts.operands.push([node.inputs.len(), node.outputs.len()]);
                let isa = backend.isa();
                let bound = match &node.op {
                    _ if nodes.len() == 1 => {
                        let kernel = select(&signature, isa, precision).map_err(failed)?;
                        parts.alone.insert(kernel).bind(&constants, caches)?
                    }
                    Op::Conv(_) | Op::ConvTranspose(_) => {
                        let mut link = convolution(&signature, isa).map_err(failed)?;
                        let bound = link.bind(&constants, caches)?;
                        parts.links.push(link);
                        bound
                    }
                    Op::Gemm(gemm) => {
                        let vectors = isa.tile_vectors();
                        let product = GemmKernel::new(gemm, &signature, vectors, precision);
                        parts.product.insert(product).bind(&constants, caches)?
                    }
                    op => {
                        let formula = op.formula(node.inputs.len());
                        let formula = formula.ok_or(DeviceError::Foreign("the plan"))?;
                        let follower = Follower::new(formula, &signature, own.clone());
                        parts.followers.push(follower);
                        Vec::new()
                    }
                };
                let classes = assignment.operands(index);
                let operands = node.inputs.iter().zip(classes).zip(own);
                for (i, ((value, class), own)) in operands.enumerate() {
                    inputs.push(if own || bound.contains(&i) {
                        Place::Kept
                    } else {
                        placer.place(*value, *class)?
                    });
                }
                for value in &node.outputs {
                    outputs.push(if inner[value.index()] {
                        Place::Kept
                    } else {
                        placer.place(*value, assignment.value(*value))?
                    });
                }
            }
            let main = match parts.product {
                Some(_) => nodes.start,
                None => nodes.end - 1,
            };
            let kernel = parts.join().ok_or(DeviceError::Foreign("the plan"))?;
            let bytes = kernel.workspace(threads) * size_of::<f32>();
            let workspace = match bytes {
                0 => 0..0,
                _ => {
                    let start = plan.free(nodes.clone(), bytes);
                    start..start + bytes
                }
            };
            if !workspace.start.is_multiple_of(AlignedBuffer::ALIGNMENT) {
                return Err(DeviceError::Foreign("the plan"));
            }
            steps.push(Step {
                main,
                kernel,
                nodes,
                inputs,
                outputs,
                workspace,
            });
        }
        let constants = placer.constants;
        Ok(Self {
            plan,
            backend,
            precision,
            steps,
            constants,
        })
    }

    /// Runs all steps, and measures each where `timings` is given.
    pub(crate) fn run(
        &self,
        inputs: &[&[u8]],
        outputs: &mut [&mut [u8]],
        arena: &mut [u8],
        cx: Context<'_>,
        mut timings: Option<&mut Vec<Timing>>,
    ) -> Result<(), DeviceError> {
        for step in &self.steps {
            let start = Instant::now();
            let mut operands = self
                .operands(step, inputs, outputs, arena)
                .ok_or(DeviceError::Foreign("the plan"))?;
            step.kernel.run(&mut operands, cx)?;
            if let Some(timings) = &mut timings {
                let node = &self.plan.graph().nodes()[step.main];
                timings.push(Timing {
                    nodes: step.nodes.clone(),
                    node: node.name.clone(),
                    op: node.op.name(),
                    kernel: step.kernel.name(),
                    duration: start.elapsed(),
                });
            }
        }
        Ok(())
    }

    /// The slices of a step; `None` where they overlap.
    fn operands<'a>(
        &'a self,
        step: &Step,
        inputs: &'a [&[u8]],
        outputs: &'a mut [&mut [u8]],
        arena: &'a mut [u8],
    ) -> Option<Operands<'a>> {
        let range = |p: &Place| match p {
            Place::Arena(range) => Some(range.clone()),
            _ => None,
        };
        let shared: Vec<Range<usize>> = step.inputs.iter().filter_map(range).collect();
        let written = step.outputs.iter().filter_map(range);
        let exclusive: Vec<_> = written.chain([step.workspace.clone()]).collect();
        let (shared, mut exclusive) = borrow(arena, &shared, &exclusive)?;
        let workspace = match exclusive.pop()? {
            [] => Workspace::default(),
            bytes => Workspace(bytemuck::cast_slice_mut(bytes)),
        };
        let (mut shared, mut exclusive) = (shared.into_iter(), exclusive.into_iter());
        let mut read: Vec<Option<&'a [u8]>> = Vec::with_capacity(outputs.len());
        let mut written: Vec<Option<&'a mut [u8]>> = Vec::with_capacity(outputs.len());
        for (k, out) in outputs.iter_mut().enumerate() {
            let (r, w) = if step.outputs.contains(&Place::Output(k)) {
                (None, Some(&mut **out))
            } else {
                (Some(&**out), None)
            };
            read.push(r);
            written.push(w);
        }
        let input = |p: &Place| match p {
            Place::Input(k) => inputs.get(*k).copied(),
            Place::Output(k) => *read.get(*k)?,
            Place::Constant(k) => Some(self.constants.get(*k)?.bytes()),
            Place::Arena(_) => shared.next(),
            Place::Kept => Some(&[][..]),
        };
        let inputs = step.inputs.iter().map(input).collect::<Option<Vec<_>>>()?;
        let output = |p: &Place| match p {
            Place::Output(k) => written.get_mut(*k)?.take(),
            Place::Arena(_) => exclusive.next(),
            Place::Kept => Some(&mut [][..]),
            _ => None,
        };
        let outputs = step
            .outputs
            .iter()
            .map(output)
            .collect::<Option<Vec<_>>>()?;
        Some(Operands {
            inputs,
            outputs,
            workspace,
        })
    }
}
