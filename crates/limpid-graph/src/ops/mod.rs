//! The operators, one file each. Names and attributes are ONNX's where ONNX
//! has the operator. A new operator is a new file and a line in `operators!`.

mod affine;
mod epilogue;
mod number;
mod pointwise;
mod window;

pub use axis_filter::SparseMatrix;
pub use depth_to_space::DepthToSpaceMode;
pub use epilogue::Epilogue;
pub use gelu::GeluApproximation;
pub use pad::PadMode;
pub use pointwise::Pointwise;
pub use relayout::Arrangement;
pub use resize::{CoordinateMode, NearestMode, ResizeMode};
pub use window::Padding;

use crate::case::Case;
use crate::passes::{LowerContext, VjpContext};
use crate::reference::RefTensor;
use crate::{Fact, Formula, GraphError, OpError, ValueId};
use limpid_tensor::{DType, Shape, TensorError};
use serde::{Deserialize, Serialize};

/// What an operator's gradient needs of the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Residual {
    /// Nothing but constants: the operator is linear in this input.
    None,
    /// One bit an element of the output.
    SignBits,
    /// One byte an element of the output: which tap of its window was the largest.
    ArgmaxU8,
    /// Values of its inputs or outputs.
    Value,
}

/// What an operator costs at given shapes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Multiply-adds of products and convolutions.
    pub multiply_adds: u64,
    /// Other arithmetic operations, about one an element.
    pub elementwise: u64,
}

impl Cost {
    /// `n` multiply-adds.
    #[must_use]
    pub fn multiply_adds(n: u64) -> Self {
        Self {
            multiply_adds: n,
            elementwise: 0,
        }
    }

    /// `per_element` operations for each element of `fact`.
    #[must_use]
    pub fn elementwise(fact: &Fact, per_element: u64) -> Self {
        Self {
            multiply_adds: 0,
            elementwise: per_element * count(&fact.shape),
        }
    }
}

/// The elements of a shape that inference has accepted.
pub(crate) fn count(shape: &Shape) -> u64 {
    shape.iter().map(|&d| d as u64).product()
}

/// Everything that Limpid knows about an operator.
pub trait Operator {
    /// Types and shapes of the outputs.
    ///
    /// # Errors
    /// When inputs or attributes do not fit.
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError>;

    /// The outputs, computed naively in f64 from inputs that [`infer`](Self::infer) has accepted.
    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor>;

    /// What the gradient with respect to `input` needs of the forward pass.
    /// [`VjpContext`] hands out nothing else.
    fn residual(&self, _input: usize) -> Residual {
        Residual::None
    }

    /// Appends the nodes of the vector-Jacobian product with respect to `input`.
    ///
    /// # Errors
    /// [`OpError::NoGradient`] where there is none.
    fn vjp(&self, cx: &mut VjpContext<'_>, _input: usize) -> Result<ValueId, GraphError> {
        Err(cx.not_lowered())
    }

    /// Writes the operator with simpler ones, which have the gradients and the
    /// kernels, and returns the outputs; `None` for an operator that has its own.
    ///
    /// # Errors
    /// When an operator refuses its inputs.
    fn lower(&self, _cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        Ok(None)
    }

    /// The function of an elementwise operator of `inputs` inputs, whose shapes
    /// are broadcast.
    fn formula(&self, _inputs: usize) -> Option<Formula> {
        None
    }

    /// What it costs.
    fn cost(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Cost;

    /// Whether the outputs are a linear function of `input` alone.
    fn linear(&self, _input: usize) -> bool {
        false
    }

    /// Input values at which the derivative jumps; numerical gradients keep away from them.
    fn kinks(&self) -> Vec<f64> {
        Vec::new()
    }

    /// Whether only the engine makes it, so that no network may have it.
    fn internal() -> bool
    where
        Self: Sized,
    {
        false
    }

    /// Whether it does the work of an [`Epilogue`], which fusion alone gives it.
    fn fused(&self) -> bool {
        false
    }

    /// Whether `input` is a parameter: a weight or statistic, which a network
    /// gives as a constant. Holds for operators that are not fused.
    fn parameter(&self, _input: usize) -> bool {
        false
    }

    /// Cases on which every device is held to the reference.
    fn cases() -> Vec<Case>
    where
        Self: Sized;
}

macro_rules! operators {
    ($($module:ident :: $name:ident),* $(,)?) => {
        $(mod $module; pub use $module::$name;)*

        /// An operator with its attributes. Its serialised form is
        /// `{"op": name, "attrs": {...}}`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "op", content = "attrs")]
        #[allow(missing_docs)]
        #[non_exhaustive]
        pub enum Op { $($name($name)),* }

        $(impl From<$name> for Op {
            fn from(op: $name) -> Self { Self::$name(op) }
        })*

        impl Op {
            /// The names of all operators.
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// The operator's name.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name)),* }
            }

            /// The names of the operators that a network can have; the engine
            /// makes the others.
            #[must_use]
            pub fn network_names() -> Vec<&'static str> {
                let all = [$((stringify!($name), <$name as Operator>::internal())),*];
                all.into_iter().filter(|(_, internal)| !internal).map(|(name, _)| name).collect()
            }

            fn operator(&self) -> &dyn Operator {
                match self { $(Self::$name(op) => op),* }
            }

            /// The cases of all operators.
            #[must_use]
            pub fn cases() -> Vec<Case> {
                [$(<$name as Operator>::cases()),*].concat()
            }
        }
    };
}

operators! {
    abs::Abs,
    adaptive_average_pool::AdaptiveAveragePool,
    add::Add,
    attention::Attention,
    average_pool::AveragePool,
    axis_filter::AxisFilter,
    batch_normalization::BatchNormalization,
    ceil::Ceil,
    celu::Celu,
    clip::Clip,
    concat::Concat,
    conv::Conv,
    conv_transpose::ConvTranspose,
    cos::Cos,
    depth_to_space::DepthToSpace,
    div::Div,
    elementwise::Elementwise,
    elu::Elu,
    equal::Equal,
    erf::Erf,
    exp::Exp,
    expand::Expand,
    flatten::Flatten,
    floor::Floor,
    gather::Gather,
    gaussian_noise::GaussianNoise,
    gelu::Gelu,
    gemm::Gemm,
    global_average_pool::GlobalAveragePool,
    global_max_pool::GlobalMaxPool,
    group_normalization::GroupNormalization,
    hard_sigmoid::HardSigmoid,
    hard_swish::HardSwish,
    heat_kernel::HeatKernel,
    instance_normalization::InstanceNormalization,
    layer_normalization::LayerNormalization,
    leaky_relu::LeakyRelu,
    less::Less,
    less_or_equal::LessOrEqual,
    log::Log,
    log_softmax::LogSoftmax,
    lp_pool::LpPool,
    lrn::LRN,
    mask_mul::MaskMul,
    mat_mul::MatMul,
    max::Max,
    max_pool::MaxPool,
    max_pool_argmax::MaxPoolArgmax,
    max_pool_gradient::MaxPoolGradient,
    min::Min,
    mish::Mish,
    mul::Mul,
    neg::Neg,
    normalize::Normalize,
    normalize_gradient::NormalizeGradient,
    p_relu::PRelu,
    pad::Pad,
    pow::Pow,
    range_mask::RangeMask,
    relayout::Relayout,
    reciprocal::Reciprocal,
    reduce_l2::ReduceL2,
    reduce_max::ReduceMax,
    reduce_mean::ReduceMean,
    reduce_min::ReduceMin,
    reduce_prod::ReduceProd,
    reduce_sum::ReduceSum,
    reshape::Reshape,
    resize::Resize,
    rms_normalization::RMSNormalization,
    roll::Roll,
    round::Round,
    running_moments::RunningMoments,
    selu::Selu,
    separable_filter::SeparableFilter,
    sigmoid::Sigmoid,
    sign::Sign,
    silu::Silu,
    sin::Sin,
    slice::Slice,
    softmax::Softmax,
    softmax_gradient::SoftmaxGradient,
    softplus::Softplus,
    softsign::Softsign,
    space_to_depth::SpaceToDepth,
    sqrt::Sqrt,
    sub::Sub,
    tanh::Tanh,
    tile::Tile,
    transpose::Transpose,
    weighted_sum::WeightedSum,
    where_::Where,
}

impl Op {
    /// See [`Operator::infer`].
    ///
    /// # Errors
    /// When inputs or attributes do not fit, or an input or output has no
    /// element or more than 2^48.
    pub fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        for f in inputs {
            sized(&f.shape)?;
        }
        let facts = self.operator().infer(inputs)?;
        for f in &facts {
            sized(&f.shape)?;
        }
        Ok(facts)
    }

    /// See [`Operator::reference`].
    #[must_use]
    pub fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        self.operator().reference(inputs)
    }

    /// See [`Operator::residual`].
    #[must_use]
    pub fn residual(&self, input: usize) -> Residual {
        self.operator().residual(input)
    }

    /// See [`Operator::vjp`].
    ///
    /// # Errors
    /// Where there is no gradient.
    pub fn vjp(&self, cx: &mut VjpContext<'_>, input: usize) -> Result<ValueId, GraphError> {
        self.operator().vjp(cx, input)
    }

    /// See [`Operator::lower`].
    ///
    /// # Errors
    /// When an operator refuses its inputs.
    pub fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        self.operator().lower(cx)
    }

    /// See [`Operator::formula`].
    #[must_use]
    pub fn formula(&self, inputs: usize) -> Option<Formula> {
        self.operator().formula(inputs)
    }

    /// See [`Operator::cost`].
    #[must_use]
    pub fn cost(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        self.operator().cost(inputs, outputs)
    }

    /// See [`Operator::linear`].
    #[must_use]
    pub fn linear(&self, input: usize) -> bool {
        self.operator().linear(input)
    }

    /// See [`Operator::fused`].
    #[must_use]
    pub fn fused(&self) -> bool {
        self.operator().fused()
    }

    /// See [`Operator::parameter`].
    #[must_use]
    pub fn parameter(&self, input: usize) -> bool {
        self.operator().parameter(input)
    }

    /// See [`Operator::kinks`].
    #[must_use]
    pub fn kinks(&self) -> Vec<f64> {
        self.operator().kinks()
    }
}

/// Checks that a value has elements, and so few that no operator's geometry overflows.
fn sized(shape: &Shape) -> Result<(), OpError> {
    match shape.elements()? {
        0 => Err(OpError::Empty(shape.clone())),
        n if n as u64 > 1 << 48 => Err(TensorError::Overflow(shape.clone()).into()),
        _ => Ok(()),
    }
}

/// Checks the number of inputs.
fn arity(
    inputs: &[&Fact],
    expected: &'static str,
    ok: impl Fn(usize) -> bool,
) -> Result<(), OpError> {
    if ok(inputs.len()) {
        return Ok(());
    }
    let found = inputs.len();
    Err(OpError::InputCount { expected, found })
}

/// Checks one input's element type.
fn typed(inputs: &[&Fact], input: usize, expected: DType) -> Result<(), OpError> {
    let found = inputs[input].dtype;
    if found == expected {
        return Ok(());
    }
    Err(OpError::DType {
        input,
        expected,
        found,
    })
}

/// Checks one input's shape.
fn shaped(
    inputs: &[&Fact],
    input: usize,
    expected: impl Into<String>,
    ok: bool,
) -> Result<(), OpError> {
    if ok {
        return Ok(());
    }
    Err(OpError::Shape {
        input,
        expected: expected.into(),
        found: inputs[input].shape.clone(),
    })
}

/// Checks that a value of this rank has the axis.
fn axis_in(axis: usize, rank: usize) -> Result<(), OpError> {
    if axis < rank {
        return Ok(());
    }
    Err(OpError::Attribute {
        name: "axis",
        expected: "below the input's rank",
    })
}

/// The extents of a reduction over `axes`.
fn reduced(shape: &Shape, axes: &[usize]) -> Result<Vec<usize>, OpError> {
    let mut shape = shape.to_vec();
    for &axis in axes {
        *shape.get_mut(axis).ok_or(OpError::Attribute {
            name: "axes",
            expected: "below the input's rank",
        })? = 1;
    }
    Ok(shape)
}

/// The `[N, C, H, W]` of an input, which must be f32.
fn image(inputs: &[&Fact], input: usize) -> Result<[usize; 4], OpError> {
    typed(inputs, input, DType::F32)?;
    <[usize; 4]>::try_from(inputs[input].shape.dims()).map_err(|_| OpError::Shape {
        input,
        expected: "of rank 4, [N, C, H, W]".into(),
        found: inputs[input].shape.clone(),
    })
}

/// Types and shape of an elementwise operation of two f32 inputs.
fn broadcast(inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
    arity(inputs, "2", |n| n == 2)?;
    broadcast_all(inputs)
}

/// Type and shape of an elementwise operation of f32 inputs.
fn broadcast_all(inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
    let mut shape = Shape::from([]);
    for (i, fact) in inputs.iter().enumerate() {
        typed(inputs, i, DType::F32)?;
        shape = shape.broadcast(&fact.shape).ok_or_else(|| OpError::Shape {
            input: i,
            expected: format!("broadcastable with {shape}"),
            found: fact.shape.clone(),
        })?;
    }
    Ok(vec![Fact::f32(shape)])
}

/// Type and shape of an elementwise operation of one f32 input.
fn same(inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
    arity(inputs, "1", |n| n == 1)?;
    typed(inputs, 0, DType::F32)?;
    Ok(vec![inputs[0].clone()])
}
