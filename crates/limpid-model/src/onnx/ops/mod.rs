//! The operators of ONNX, translated into this program's: one file for each
//! group, and one table.

mod attention;
mod constant;
mod einsum;
mod elementwise;
mod layout;
mod normalization;
mod pooling;
mod product;
mod reduce;
mod resize;
mod select;
mod window;

use super::builder::Value;
use super::call::Call;
use super::refusal::Result;

/// Translates a node into its outputs.
pub(super) type Translate = fn(&mut Call<'_>) -> Result<Vec<Value>>;

/// Every operator that is read, in byte order.
const TABLE: &[(&str, Translate)] = &[
    ("Abs", elementwise::unary),
    ("Add", elementwise::binary),
    ("And", elementwise::logical),
    ("Attention", attention::attention),
    ("AveragePool", pooling::pool),
    ("BatchNormalization", normalization::batch),
    ("Cast", constant::cast),
    ("CastLike", constant::cast),
    ("Ceil", elementwise::unary),
    ("Celu", elementwise::activation),
    ("Clip", elementwise::clip),
    ("Concat", layout::concat),
    ("Constant", constant::constant),
    ("ConstantOfShape", constant::of_shape),
    ("Conv", window::conv),
    ("ConvTranspose", window::conv_transpose),
    ("Cos", elementwise::unary),
    ("DepthToSpace", layout::blocks),
    ("Div", elementwise::binary),
    ("Dropout", elementwise::identity),
    ("Einsum", einsum::einsum),
    ("Elu", elementwise::activation),
    ("Equal", elementwise::compare),
    ("Erf", elementwise::unary),
    ("Exp", elementwise::unary),
    ("Expand", layout::expand),
    ("Flatten", layout::flatten),
    ("Floor", elementwise::unary),
    ("Gather", select::gather),
    ("Gelu", elementwise::activation),
    ("Gemm", product::gemm),
    ("GlobalAveragePool", pooling::global),
    ("GlobalLpPool", pooling::global_lp),
    ("GlobalMaxPool", pooling::global),
    ("Greater", elementwise::compare),
    ("GreaterOrEqual", elementwise::compare),
    ("GroupNormalization", normalization::group),
    ("HardSigmoid", elementwise::activation),
    ("HardSwish", elementwise::unary),
    ("Identity", elementwise::identity),
    ("InstanceNormalization", normalization::instance),
    ("LRN", normalization::local_response),
    ("LayerNormalization", normalization::layer),
    ("LeakyRelu", elementwise::activation),
    ("Less", elementwise::compare),
    ("LessOrEqual", elementwise::compare),
    ("Log", elementwise::unary),
    ("LogSoftmax", normalization::softmax),
    ("LpNormalization", normalization::lp),
    ("LpPool", pooling::pool),
    ("MatMul", product::matmul),
    ("Max", elementwise::variadic),
    ("MaxPool", pooling::pool),
    ("Mean", elementwise::variadic),
    ("MeanVarianceNormalization", normalization::mean_variance),
    ("Min", elementwise::variadic),
    ("Mish", elementwise::unary),
    ("Mod", elementwise::modulo),
    ("Mul", elementwise::binary),
    ("Neg", elementwise::unary),
    ("NonZero", constant::non_zero),
    ("Not", elementwise::not),
    ("Or", elementwise::logical),
    ("PRelu", elementwise::binary),
    ("Pad", select::pad),
    ("Pow", elementwise::binary),
    ("RMSNormalization", normalization::rms),
    ("Range", constant::range),
    ("Reciprocal", elementwise::unary),
    ("ReduceL1", reduce::reduce),
    ("ReduceL2", reduce::reduce),
    ("ReduceLogSum", reduce::reduce),
    ("ReduceLogSumExp", reduce::reduce),
    ("ReduceMax", reduce::reduce),
    ("ReduceMean", reduce::reduce),
    ("ReduceMin", reduce::reduce),
    ("ReduceProd", reduce::reduce),
    ("ReduceSum", reduce::reduce),
    ("ReduceSumSquare", reduce::reduce),
    ("Relu", elementwise::relu),
    ("Reshape", layout::reshape),
    ("Resize", resize::resize),
    ("Round", elementwise::unary),
    ("Selu", elementwise::activation),
    ("Shape", constant::shape),
    ("Sigmoid", elementwise::unary),
    ("Sign", elementwise::unary),
    ("Sin", elementwise::unary),
    ("Size", constant::size),
    ("Slice", select::slice),
    ("Softmax", normalization::softmax),
    ("Softplus", elementwise::unary),
    ("Softsign", elementwise::unary),
    ("SpaceToDepth", layout::blocks),
    ("Split", select::split),
    ("Sqrt", elementwise::unary),
    ("Squeeze", layout::squeeze),
    ("Sub", elementwise::binary),
    ("Sum", elementwise::variadic),
    ("Swish", elementwise::swish),
    ("Tanh", elementwise::unary),
    ("ThresholdedRelu", elementwise::thresholded_relu),
    ("Tile", layout::tile),
    ("Transpose", layout::transpose),
    ("Unsqueeze", layout::unsqueeze),
    ("Upsample", resize::upsample),
    ("Where", elementwise::choose),
    ("Xor", elementwise::logical),
];

/// The translation of an operator.
pub(super) fn find(name: &str) -> Option<Translate> {
    let found = TABLE.binary_search_by_key(&name, |&(n, _)| n).ok()?;
    Some(TABLE[found].1)
}

/// The names of all operators that are read.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|&(name, _)| name).chain(["If"])
}

fn one(value: Value) -> Result<Vec<Value>> {
    Ok(vec![value])
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_is_in_order() {
        assert!(super::TABLE.is_sorted_by(|a, b| a.0 < b.0));
    }
}
