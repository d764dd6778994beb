use crate::gpu::Gpu;
use crate::layout::Stored;
use crate::source::Choices;
use crate::tuning::Tuning;
use crate::weights::Weights;
use limpid_graph::{Constant, Fact, Op};
use limpid_tensor::Shape;
use std::ops::Range;

/// A node, as kernels are chosen for it.
pub(crate) struct Signature<'a> {
    pub(crate) op: &'a Op,
    pub(crate) inputs: Vec<&'a Fact>,
    pub(crate) outputs: Vec<&'a Fact>,
    /// The inputs that are constants.
    pub(crate) constants: Vec<Option<&'a Constant>>,
    /// Of what the inputs are made.
    pub(crate) reads: Vec<Stored>,
    /// Of what the outputs are made.
    pub(crate) writes: Vec<Stored>,
    /// Whether anybody reads the outputs.
    pub(crate) used: Vec<bool>,
}

impl<'a> Signature<'a> {
    /// The shape of an input.
    pub(crate) fn shape(&self, input: usize) -> &'a Shape {
        &self.inputs[input].shape
    }

    /// The shape of the first output.
    pub(crate) fn output(&self) -> &'a Shape {
        &self.outputs[0].shape
    }
}

/// Units that multiply small matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Units {
    /// Rows and columns of a matrix.
    pub(crate) size: usize,
    /// What they multiply; their sums are f32.
    pub(crate) operands: Stored,
    /// Whether kernels do what such units would.
    pub(crate) emulated: bool,
}

/// What kernels may know of the device.
pub(crate) struct Profile {
    /// The most bytes that one binding can have.
    pub(crate) binding: u64,
    /// Units for matrices that the tiles suit, of each kind of operand.
    pub(crate) units: Vec<Units>,
    /// The fewest invocations that a subgroup has; 1 without operations across it.
    pub(crate) lanes: usize,
    pub(crate) tuning: Tuning,
    /// The rounds after which a driver ends an invocation's loops.
    pub(crate) rounds: u64,
}

impl Profile {
    pub(crate) fn new(gpu: &Gpu, units: Vec<Units>, tuning: Tuning, rounds: u64) -> Self {
        // Large and small tiles are chosen by the batch, on which no sum depends: both or none.
        let suit = |u: &Units| tuning.large.suits(u.size) && tuning.small.suits(u.size);
        let units = units.into_iter().filter(suit).collect();
        Self {
            binding: gpu.limits.max_storage_buffer_binding_size,
            units,
            lanes: match gpu.has(wgpu::Features::SUBGROUP) {
                true => 1 << gpu.device.adapter_info().subgroup_min_size.max(1).ilog2(),
                false => 1,
            },
            tuning,
            rounds,
        }
    }
}

/// What is bound where a kernel declares a buffer.
#[derive(Clone)]
pub(crate) enum Slot {
    /// The node's input of this position.
    Input(usize),
    /// The node's output of this position.
    Output(usize),
    /// A table or packed weights, which stay on the device; the only ones that a
    /// kernel may declare as `read`. Whatever may be in the arena is `read_write`,
    /// since one buffer cannot be both in one launch.
    Weights(Weights),
    /// A part of the same.
    Part(Weights, Range<u64>),
    /// Bytes of the node's own working memory.
    Workspace(Range<usize>),
    /// Nothing: the kernel declares it, this variant does not read it.
    Missing,
}

impl Slot {
    /// An input that need not be there.
    pub(crate) fn optional(input: Option<usize>) -> Self {
        input.map_or(Self::Missing, Self::Input)
    }
}

/// One launch of a kernel.
#[derive(Clone)]
pub(crate) struct Dispatch {
    /// The file in `kernels/wgsl`, without its extension.
    pub(crate) file: &'static str,
    /// Its variants and parameters.
    pub(crate) choices: Choices,
    /// Its `override` constants.
    pub(crate) constants: Vec<(&'static str, f64)>,
    /// Its `Params`, without the first word, which is the first workgroup.
    pub(crate) params: Vec<u32>,
    /// What is bound, in the order of its declarations.
    pub(crate) slots: Vec<Slot>,
    /// What has an invocation each, where workgroups are of the device's size.
    items: Option<usize>,
    /// Workgroups. Kernels count them by `workgroup_number` of `shared/grid.wgsl`.
    pub(crate) groups: u64,
    /// Floating-point operations, roughly, of all workgroups.
    pub(crate) work: u64,
    /// Rounds of an invocation's loops, roughly, where a shape sets them.
    pub(crate) rounds: u64,
}

impl Dispatch {
    pub(crate) fn new(file: &'static str) -> Self {
        Self {
            file,
            choices: Choices::new(),
            constants: Vec::new(),
            params: Vec::new(),
            slots: Vec::new(),
            items: None,
            groups: 1,
            work: 0,
            rounds: 0,
        }
    }

    /// Chooses a variant or parameter.
    pub(crate) fn choose(mut self, name: &str, value: impl ToString) -> Self {
        self.choices.insert(name.to_owned(), value.to_string());
        self
    }

    /// Sets an `override` constant.
    pub(crate) fn constant(mut self, name: &'static str, value: impl Into<f64>) -> Self {
        self.constants.push((name, value.into()));
        self
    }

    /// Switches a part of the kernel on or off.
    pub(crate) fn switch(self, name: &'static str, on: bool) -> Self {
        self.constant(name, u8::from(on))
    }

    /// Appends whole numbers to the parameters.
    pub(crate) fn params(mut self, values: impl IntoIterator<Item = usize>) -> Self {
        self.params.extend(values.into_iter().map(|v| v as u32));
        self
    }

    /// Appends numbers to the parameters.
    pub(crate) fn floats(mut self, values: impl IntoIterator<Item = f32>) -> Self {
        self.params.extend(values.into_iter().map(f32::to_bits));
        self
    }

    /// Appends what is bound next.
    pub(crate) fn bind(mut self, slot: Slot) -> Self {
        self.slots.push(slot);
        self
    }

    /// As many workgroups as `items` need.
    pub(crate) fn over(mut self, items: usize, per_group: usize) -> Self {
        self.groups = items.div_ceil(per_group) as u64;
        if self.work == 0 {
            self.work = items as u64;
        }
        self
    }

    /// An invocation for each of `items`, in workgroups of the device's size:
    /// the kernel has an `override` constant `INVOCATIONS`.
    pub(crate) fn each(self, items: usize) -> Self {
        Self {
            items: Some(items),
            ..self.over(items, 1)
        }
    }

    /// Cuts what has an invocation for each item into workgroups of this size.
    pub(crate) fn in_groups_of(mut self, invocations: usize) -> Self {
        match self.items.take() {
            Some(items) => self
                .constant("INVOCATIONS", invocations as u32)
                .over(items, invocations),
            None => self,
        }
    }
}

/// How a node is computed: launches in turn.
pub(crate) struct Kernel {
    /// Its name, for people.
    pub(crate) name: &'static str,
    pub(crate) dispatches: Vec<Dispatch>,
    /// Bytes of working memory.
    pub(crate) workspace: usize,
}

impl Kernel {
    pub(crate) fn new(name: &'static str, dispatches: impl IntoIterator<Item = Dispatch>) -> Self {
        Self {
            name,
            dispatches: dispatches.into_iter().collect(),
            workspace: 0,
        }
    }
}
