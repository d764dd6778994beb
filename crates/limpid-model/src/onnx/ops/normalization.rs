//! Normalisation and softmax.

use super::one;
use crate::onnx::builder::Value;
use crate::onnx::call::{Call, axes};
use crate::onnx::literal::Kind;
use crate::onnx::refusal::{Refusal, Result};
use limpid_tensor::Shape;
use serde_json::json;

pub(super) fn batch(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let inputs = (0..5).map(|i| c.input(i)).collect::<Result<Vec<_>>>()?;
    let epsilon = c.attributes.float("epsilon", 1e-5)?;
    if c.attributes.flag("training_mode", false)? {
        return Err(Refusal::new(
            "normalises by the batch's own statistics as in training; export the model in evaluation mode",
        ));
    }
    if c.opset < 9 && !c.attributes.flag("spatial", true)? {
        return Err(Refusal::new(
            "normalises every pixel by itself (spatial=0), which is not supported",
        ));
    }
    c.only_outputs(1)?;
    let inputs: Vec<&Value> = inputs.iter().collect();
    c.apply("BatchNormalization", json!({"epsilon": epsilon}), &inputs)
        .and_then(one)
}

pub(super) fn instance(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let (x, scale, bias) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let epsilon = c.attributes.float("epsilon", 1e-5)?;
    c.apply(
        "InstanceNormalization",
        json!({"epsilon": epsilon}),
        &[&x, &scale, &bias],
    )
    .and_then(one)
}

/// Scale and bias are one for each group before opset 21, one for each channel
/// after.
pub(super) fn group(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let (x, mut scale, mut bias) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let epsilon = c.attributes.float("epsilon", 1e-5)?;
    let groups = c.attributes.int("num_groups")?.unwrap_or(0);
    let groups = usize::try_from(groups).unwrap_or(0);
    let channels = c.dims(&x).get(1).copied().unwrap_or(0);
    if groups == 0 || !channels.is_multiple_of(groups) {
        return Err(Refusal::new(format!(
            "forms {groups} groups of {channels} channels; export the model again"
        )));
    }
    for v in [&mut scale, &mut bias] {
        if c.dims(v) == [groups] && groups != channels {
            let column = c.reshape(v, &[groups, 1])?;
            let wide = c.expand(&column, &[groups, channels / groups])?;
            *v = c.reshape(&wide, &[channels])?;
        }
    }
    let attrs = json!({"num_groups": groups, "epsilon": epsilon});
    c.apply("GroupNormalization", attrs, &[&x, &scale, &bias])
        .and_then(one)
}

pub(super) fn layer(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let dims = c.dims(&x);
    let axis = c.axis("axis", -1, dims.len())?;
    let epsilon = c.attributes.float("epsilon", 1e-5)?;
    let (scale, bias) = (c.optional(1), c.optional(2));
    let attrs = json!({"axis": axis, "epsilon": epsilon});
    let mut outputs = vec![affine(
        c,
        "LayerNormalization",
        attrs,
        &x,
        axis,
        scale,
        bias,
    )?];
    if c.wants(1) || c.wants(2) {
        let over = json!({"axes": (axis..dims.len()).collect::<Vec<_>>()});
        let mean = c.apply("ReduceMean", over.clone(), &[&x])?;
        let away = c.plain("Sub", &[&x, &mean])?;
        let square = c.plain("Mul", &[&away, &away])?;
        let variance = c.apply("ReduceMean", over, &[&square])?;
        let epsilon = c.scalar(f64::from(epsilon));
        let variance = c.plain("Add", &[&variance, &epsilon])?;
        let deviation = c.plain("Sqrt", &[&variance])?;
        outputs.push(mean);
        outputs.push(c.plain("Reciprocal", &[&deviation])?);
    }
    Ok(outputs)
}

pub(super) fn rms(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let dims = c.dims(&x);
    let axis = c.axis("axis", -1, dims.len())?;
    let attrs = json!({"axis": axis, "epsilon": c.attributes.float("epsilon", 1e-5)?});
    let scale = c.optional(1);
    affine(c, "RMSNormalization", attrs, &x, axis, scale, None).and_then(one)
}

/// A normalisation from `axis` on with scale and bias, which are parameters of
/// the operator where they are constants of the normalised shape, or can be
/// stretched to it.
fn affine(
    c: &mut Call<'_>,
    op: &str,
    attrs: serde_json::Value,
    x: &Value,
    axis: usize,
    scale: Option<Value>,
    bias: Option<Value>,
) -> Result<Value> {
    let dims = c.dims(x);
    let normalised = Shape::from(&dims[axis..]);
    let mut inputs = vec![x.clone()];
    let given = [scale, bias];
    let fits = given.iter().flatten().all(|v| {
        let shape = c.builder.shape(v);
        shape.len() <= normalised.len() && shape.broadcast(&normalised) == Some(normalised.clone())
    });
    let [scale, bias] = given;
    if fits {
        let wants_scale = bias.is_some() || op == "RMSNormalization";
        let unit = c.constant(&[], vec![1.0], Kind::Float);
        let scale = scale.or_else(|| wants_scale.then_some(unit));
        for v in [scale, bias].into_iter().flatten() {
            inputs.push(c.expand(&v, &normalised)?);
        }
        let inputs: Vec<&Value> = inputs.iter().collect();
        return c.apply(op, attrs, &inputs);
    }
    let mut y = if op == "RMSNormalization" {
        let unit = c.scalar(1.0);
        let unit = c.expand(&unit, &normalised)?;
        c.apply(op, attrs, &[x, &unit])?
    } else {
        c.apply(op, attrs, &[x])?
    };
    if let Some(scale) = scale {
        y = c.plain("Mul", &[&y, &scale])?;
    }
    if let Some(bias) = bias {
        y = c.plain("Add", &[&y, &bias])?;
    }
    Ok(y)
}

pub(super) fn local_response(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let attrs = json!({
        "size": c.attributes.int("size")?.unwrap_or(0),
        "alpha": c.attributes.float("alpha", 1e-4)?,
        "beta": c.attributes.float("beta", 0.75)?,
        "bias": c.attributes.float("bias", 1.0)?,
    });
    c.apply("LRN", attrs, &[&x]).and_then(one)
}

/// Softmax and LogSoftmax: along one axis since opset 13, over all axes from
/// one on before.
pub(super) fn softmax(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let dims = c.dims(&x);
    let op = c.op;
    let axis = c.axis("axis", if c.opset < 13 { 1 } else { -1 }, dims.len())?;
    let alone = dims[axis + 1..].iter().all(|&d| d == 1);
    if c.opset >= 13 || alone {
        return c.apply(op, json!({"axis": axis}), &[&x]).and_then(one);
    }
    let rest = Shape::from(&dims[axis..]).elements()?;
    let flat = c.reshape(&x, &[&dims[..axis], &[rest]].concat())?;
    let y = c.apply(op, json!({"axis": axis}), &[&flat])?;
    c.reshape(&y, &dims).and_then(one)
}

/// x / (sum |x|^p)^(1/p) along an axis.
pub(super) fn lp(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let axis = c.axis("axis", -1, c.dims(&x).len())?;
    let attrs = json!({"axes": [axis]});
    let norm = match c.attributes.int("p")?.unwrap_or(2) {
        1 => {
            let size = c.plain("Abs", &[&x])?;
            c.apply("ReduceSum", attrs, &[&size])?
        }
        2 => c.apply("ReduceL2", attrs, &[&x])?,
        p => return Err(Refusal::new(format!("has the power {p}; 1 and 2 exist"))),
    };
    // What has no length stays 0.
    let (zero, unit) = (c.scalar(0.0), c.scalar(1.0));
    let none = c.plain("Equal", &[&norm, &zero])?;
    let norm = c.plain("Where", &[&none, &unit, &norm])?;
    c.plain("Div", &[&x, &norm]).and_then(one)
}

/// (x - mean) / sqrt(variance + 1e-9) over the given axes.
pub(super) fn mean_variance(c: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = c.input(0)?;
    let over = axes(
        c.attributes.ints("axes")?.unwrap_or(&[0, 2, 3]),
        c.dims(&x).len(),
    )?;
    let over = json!({"axes": over});
    let mean = c.apply("ReduceMean", over.clone(), &[&x])?;
    let away = c.plain("Sub", &[&x, &mean])?;
    let square = c.plain("Mul", &[&away, &away])?;
    let variance = c.apply("ReduceMean", over, &[&square])?;
    let deviation = c.plain("Sqrt", &[&variance])?;
    let epsilon = c.scalar(1e-9);
    let deviation = c.plain("Add", &[&deviation, &epsilon])?;
    c.plain("Div", &[&away, &deviation]).and_then(one)
}
