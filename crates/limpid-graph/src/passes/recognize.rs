//! Operators that exporters write with several: attention, layer normalisation,
//! GELU, SiLU and hard swish, fully connected layers with their bias; and
//! transpositions and reshapes that undo each other.

use super::rewrite;
use crate::ops::{
    Attention, Clip, Gelu, GeluApproximation, HardSwish, LayerNormalization, Reshape, Silu,
    Transpose,
};
use crate::{Graph, GraphError, Node, Op, ValueId};
use limpid_tensor::Shape;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

/// How far a constant may be from the number that it stands for: exporters
/// round to half precision at worst.
const TOLERANCE: f64 = 1e-3;

/// Writes what it recognises with one operator. Only the last value of what
/// one stands for keeps its name as a layer, and those that are still read.
///
/// # Errors
/// When an operator refuses inputs whose shapes it has accepted in parts.
pub fn recognize(graph: &Graph) -> Result<Graph, GraphError> {
    let uses = graph.uses();
    let new = rewrite(graph, |new, map, _, node| {
        let inputs = map.all(&node.inputs);
        let last = |i: usize| uses[node.inputs[i].index()] == 1;
        let known = match &node.op {
            Op::Transpose(op) => transposed(new, node, inputs[0], &op.perm)?,
            Op::Reshape(_) => reshaped(new, graph, node, inputs[0])?,
            Op::MatMul(op) if !op.trans_a && !op.trans_b => attention(new, node, &inputs)?,
            Op::Mul(_) | Op::Div(_) => product(new, node, &inputs)?,
            Op::Add(_) => sum(new, node, &inputs, last)?,
            _ => None,
        };
        // One-element constants of more axes than the rest would add axes.
        let shape = &graph.fact(node.outputs[0]).shape;
        match known.filter(|v| new.fact(*v).shape == *shape) {
            Some(value) => Ok(vec![Some(value)]),
            None => {
                let outs = new.push(node.name.clone(), node.op.clone(), &inputs)?;
                Ok(outs.into_iter().map(Some).collect())
            }
        }
    })?;
    super::eliminate_dead_code(&new)
}

type Found = Result<Option<ValueId>, GraphError>;

/// The operator that makes a value, and what it reads.
fn made(graph: &Graph, v: ValueId) -> Option<(&Op, &[ValueId])> {
    let (_, node) = graph.producer(v)?;
    Some((&node.op, &node.inputs))
}

/// The only element of a constant.
fn scalar(graph: &Graph, v: ValueId) -> Option<f64> {
    graph.constant_of(v)?.number().map(f64::from)
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= TOLERANCE * b.abs()
}

fn one(outputs: Vec<ValueId>) -> Option<ValueId> {
    outputs.first().copied()
}

/// A transposition laid over one before it.
fn transposed(graph: &mut Graph, node: &Node, x: ValueId, perm: &[usize]) -> Found {
    let (x, perm) = match made(graph, x) {
        Some((Op::Transpose(inner), inputs)) => {
            (inputs[0], perm.iter().map(|&p| inner.perm[p]).collect())
        }
        _ => (x, perm.to_vec()),
    };
    if perm.iter().enumerate().all(|(i, &p)| i == p) {
        return Ok(Some(x));
    }
    graph
        .push(node.name.clone(), Transpose { perm }, &[x])
        .map(one)
}

/// A reshape without those before it, or the transposition of the last two
/// axes that three operators stand for when an exporter merges the leading ones.
fn reshaped(graph: &mut Graph, old: &Graph, node: &Node, x: ValueId) -> Found {
    let to = old.fact(node.outputs[0]).shape.clone();
    if graph.fact(x).shape == to {
        return Ok(Some(x));
    }
    if let Some((Op::Transpose(swap), inputs)) = made(graph, x)
        && swap.perm == [0, 2, 1]
        && let middle = graph.fact(inputs[0]).shape.to_vec()
        && let Some((Op::Reshape(_), inputs)) = made(graph, inputs[0])
    {
        let (x, rank) = (inputs[0], to.len());
        let mut from = graph.fact(x).shape.to_vec();
        let merged = |from: &[usize]| {
            let (lead, last) = from.split_at(rank - 2);
            [&[lead.iter().product()], last].concat()
        };
        if from.len() == rank && rank > 2 && middle == merged(&from) {
            from.swap(rank - 1, rank - 2);
            if from == to.dims() {
                let swap = Transpose::swapping(rank, rank - 1, rank - 2);
                return transposed(graph, node, x, &swap.perm);
            }
        }
    }
    let Op::Reshape(op) = &node.op else {
        return Ok(None);
    };
    // A 0 means an extent of the value before, which a shortcut would lose.
    if op.shape.contains(&0) {
        return Ok(None);
    }
    match made(graph, x) {
        Some((Op::Reshape(_), inputs)) if graph.fact(inputs[0]).shape == to => Ok(Some(inputs[0])),
        Some((Op::Reshape(_), inputs)) => {
            let x = inputs[0];
            graph.push(node.name.clone(), op.clone(), &[x]).map(one)
        }
        _ => Ok(None),
    }
}

/// A value as a product: of values, and of a number.
struct Product {
    factors: Vec<ValueId>,
    number: f64,
}

/// The factors of a value, four levels deep.
fn factors(graph: &Graph, v: ValueId) -> Product {
    let mut product = Product {
        factors: Vec::new(),
        number: 1.0,
    };
    collect(graph, v, 4, &mut product);
    product
}

fn collect(graph: &Graph, v: ValueId, depth: usize, product: &mut Product) {
    if let Some(number) = scalar(graph, v) {
        product.number *= number;
        return;
    }
    match made(graph, v) {
        Some((Op::Mul(_), inputs)) if depth > 0 => {
            for &v in inputs {
                collect(graph, v, depth - 1, product);
            }
        }
        Some((Op::Div(_), inputs)) if depth > 0 && scalar(graph, inputs[1]).is_some() => {
            collect(graph, inputs[0], depth - 1, product);
            product.number /= scalar(graph, inputs[1]).unwrap_or(1.0);
        }
        _ => product.factors.push(v),
    }
}

/// The other summand where one is `number`.
fn plus(graph: &Graph, v: ValueId, number: f64) -> Option<ValueId> {
    match made(graph, v)? {
        (Op::Add(_), &[a, b]) if scalar(graph, b).is_some_and(|s| near(s, number)) => Some(a),
        (Op::Add(_), &[a, b]) if scalar(graph, a).is_some_and(|s| near(s, number)) => Some(b),
        _ => None,
    }
}

/// The activations that are a product, and the end of a normalisation.
fn product(graph: &mut Graph, node: &Node, inputs: &[ValueId]) -> Found {
    if let Some(normal) = normalization(graph, node, inputs)? {
        return Ok(Some(normal));
    }
    if matches!(node.op, Op::Mul(_))
        && let Some(scaled) = affine(graph, node, inputs, 1)?
    {
        return Ok(Some(scaled));
    }
    // The node itself is not there yet: its factors are its inputs'.
    let mut whole = Product {
        factors: Vec::new(),
        number: 1.0,
    };
    collect(graph, inputs[0], 3, &mut whole);
    match (&node.op, scalar(graph, inputs[1])) {
        (Op::Div(_), Some(divisor)) => whole.number /= divisor,
        (Op::Div(_), None) => return Ok(None),
        _ => collect(graph, inputs[1], 3, &mut whole),
    }
    let &[a, b] = &whole.factors[..] else {
        return Ok(None);
    };
    for (x, gate) in [(a, b), (b, a)] {
        if let Some(op) = activation(graph, x, gate, whole.number) {
            return graph.push(node.name.clone(), op, &[x]).map(one);
        }
    }
    Ok(None)
}

/// The activation that `number` * `x` * `gate` is.
fn activation(graph: &Graph, x: ValueId, gate: ValueId, number: f64) -> Option<Op> {
    match made(graph, gate)? {
        (Op::Sigmoid(_), inputs) if inputs[0] == x && number == 1.0 => return Some(Silu {}.into()),
        (Op::HardSigmoid(op), inputs)
            if inputs[0] == x
                && number == 1.0
                && near(f64::from(op.alpha), 1.0 / 6.0)
                && near(f64::from(op.beta), 0.5) =>
        {
            return Some(HardSwish {}.into());
        }
        (Op::Clip(op), inputs)
            if *op
                == (Clip {
                    min: Some(0.0),
                    max: Some(6.0),
                })
                && near(number, 1.0 / 6.0)
                && plus(graph, inputs[0], 3.0) == Some(x) =>
        {
            return Some(HardSwish {}.into());
        }
        _ => {}
    }
    let inner = plus(graph, gate, 1.0)?;
    let approximate = match made(graph, inner)? {
        (Op::Erf(_), inputs) => {
            let z = factors(graph, inputs[0]);
            (z.factors == [x] && near(z.number, FRAC_1_SQRT_2)).then_some(GeluApproximation::None)
        }
        (Op::Tanh(_), inputs) => {
            tanh_of_gelu(graph, inputs[0], x).then_some(GeluApproximation::Tanh)
        }
        _ => None,
    };
    near(number, 0.5).then_some(
        Gelu {
            approximate: approximate?,
        }
        .into(),
    )
}

/// Whether `v` is sqrt(2 / pi) (x + 0.044715 x^3).
fn tanh_of_gelu(graph: &Graph, v: ValueId, x: ValueId) -> bool {
    const CUBE: f64 = 0.044_715;
    let whole = factors(graph, v);
    if !near(whole.number, FRAC_2_PI.sqrt()) {
        return false;
    }
    let power = |v: ValueId, n: usize| {
        let p = factors(graph, v);
        let power = match p.factors[..] {
            [base] => {
                matches!(made(graph, base), Some((Op::Pow(_), &[b, e])) if b == x && scalar(graph, e) == Some(n as f64))
            }
            _ => false,
        };
        near(p.number, CUBE) && (power || p.factors == vec![x; n] || mixed(graph, &p.factors, x, n))
    };
    match whole.factors[..] {
        [sum] => match made(graph, sum) {
            Some((Op::Add(_), &[a, b])) => (a == x && power(b, 3)) || (b == x && power(a, 3)),
            _ => false,
        },
        [a, b] => [(a, b), (b, a)].iter().any(|&(value, sum)| {
            value == x && plus(graph, sum, 1.0).is_some_and(|square| power(square, 2))
        }),
        _ => false,
    }
}

/// Whether the factors are x and the square of x that a power makes.
fn mixed(graph: &Graph, factors: &[ValueId], x: ValueId, n: usize) -> bool {
    let square = |v: ValueId| matches!(made(graph, v), Some((Op::Pow(_), &[b, e])) if b == x && scalar(graph, e) == Some(2.0));
    n == 3 && factors.len() == 2 && factors.contains(&x) && factors.iter().any(|&v| square(v))
}

/// x and the axes, where a value is x - mean(x).
fn centered(graph: &Graph, v: ValueId) -> Option<(ValueId, &[usize])> {
    let (Op::Sub(_), &[x, mean]) = made(graph, v)? else {
        return None;
    };
    match made(graph, mean)? {
        (Op::ReduceMean(op), inputs) if inputs[0] == x => Some((x, &op.axes)),
        _ => None,
    }
}

/// (x - mean) / sqrt(mean((x - mean)^2) + epsilon) over the last axes.
fn normalization(graph: &mut Graph, node: &Node, inputs: &[ValueId]) -> Found {
    let parts = |away: ValueId, deviation: ValueId, inverse: bool| {
        let (x, axes) = centered(graph, away)?;
        let deviation = if inverse {
            let (Op::Reciprocal(_), inputs) = made(graph, deviation)? else {
                return None;
            };
            inputs[0]
        } else {
            deviation
        };
        let (Op::Sqrt(_), inputs) = made(graph, deviation)? else {
            return None;
        };
        let (Op::Add(_), &[a, b]) = made(graph, inputs[0])? else {
            return None;
        };
        let (variance, epsilon) = match (scalar(graph, a), scalar(graph, b)) {
            (None, Some(epsilon)) => (a, epsilon),
            (Some(epsilon), None) => (b, epsilon),
            _ => return None,
        };
        let (Op::ReduceMean(mean), inputs) = made(graph, variance)? else {
            return None;
        };
        let square = match made(graph, inputs[0])? {
            (Op::Mul(_), &[a, b]) if a == b => a,
            (Op::Pow(_), &[a, e]) if scalar(graph, e) == Some(2.0) => a,
            _ => return None,
        };
        let rank = graph.fact(x).shape.len();
        let axis = rank.checked_sub(axes.len())?;
        let last = (axis..rank).all(|a| axes.contains(&a));
        let same = centered(graph, square) == Some((x, axes)) && mean.axes == axes;
        (last && same && epsilon >= 0.0).then_some((x, axis, epsilon))
    };
    let found = match (&node.op, inputs) {
        (Op::Div(_), &[a, b]) => parts(a, b, false),
        (_, &[a, b]) => parts(a, b, true).or_else(|| parts(b, a, true)),
        _ => None,
    };
    match found {
        Some((x, axis, epsilon)) => {
            let op = LayerNormalization { axis, epsilon };
            graph.push(node.name.clone(), op, &[x]).map(one)
        }
        None => Ok(None),
    }
}

/// A normalisation with one parameter more: the scale is its input 1, the bias 2.
fn affine(graph: &mut Graph, node: &Node, inputs: &[ValueId], place: usize) -> Found {
    for (normal, parameter) in [(inputs[0], inputs[1]), (inputs[1], inputs[0])] {
        let Some((Op::LayerNormalization(op), given)) = made(graph, normal) else {
            continue;
        };
        let shape = graph.fact(normal).shape[op.axis..].to_vec();
        let fits = graph
            .constant_of(parameter)
            .is_some_and(|c| c.shape().dims() == shape);
        if given.len() == place && fits {
            let (op, mut given) = (*op, given.to_vec());
            given.push(parameter);
            return graph.push(node.name.clone(), op, &given).map(one);
        }
    }
    Ok(None)
}

/// The bias of a fully connected layer or of a normalisation.
fn sum(graph: &mut Graph, node: &Node, inputs: &[ValueId], last: impl Fn(usize) -> bool) -> Found {
    if let Some(shifted) = affine(graph, node, inputs, 2)? {
        return Ok(Some(shifted));
    }
    for (i, (product, bias)) in [(inputs[0], inputs[1]), (inputs[1], inputs[0])]
        .into_iter()
        .enumerate()
    {
        let Some((Op::Gemm(op), given)) = made(graph, product) else {
            continue;
        };
        let width = graph.fact(product).shape.last().copied();
        let fits = graph
            .constant_of(bias)
            .is_some_and(|c| Some(c.shape().dims()) == width.as_ref().map(std::slice::from_ref));
        if given.len() == 2 && op.epilogue.is_none() && fits && last(i) {
            let (op, given) = (op.clone(), [given[0], given[1], bias]);
            return graph.push(node.name.clone(), op, &given).map(one);
        }
    }
    Ok(None)
}

/// softmax(q k' * scale + bias) v.
fn attention(graph: &mut Graph, node: &Node, inputs: &[ValueId]) -> Found {
    let &[weights, v] = inputs else {
        return Ok(None);
    };
    let Some(found) = scores(graph, weights) else {
        return Ok(None);
    };
    let (q, k, shape) = (found.q, found.k, graph.fact(weights).shape.clone());
    let rank = shape.len();
    // k as it is before its transposition, which thereby often goes.
    let k = if found.transposed {
        k
    } else {
        let swap = Transpose::swapping(rank, rank - 1, rank - 2);
        match transposed(graph, node, k, &swap.perm)? {
            Some(k) => k,
            None => return Ok(None),
        }
    };
    let lead = |graph: &Graph, v: ValueId| {
        let dims = &graph.fact(v).shape;
        (dims.len() == rank).then(|| dims[..rank - 2].to_vec())
    };
    let same = [q, k, v]
        .iter()
        .all(|&x| lead(graph, x).as_deref() == Some(&shape[..rank - 2]));
    if !same {
        return Ok(None);
    }
    let mut operands = vec![q, k, v];
    operands.extend(found.bias);
    if rank == 3 {
        // The heads are part of the batch: one head each.
        for (i, x) in operands.iter_mut().enumerate() {
            let dims = graph.fact(*x).shape.to_vec();
            if i < 3 || dims.len() == 3 {
                let [a, b, c] = [dims[0], dims[1], dims[2]].map(|d| d as i64);
                let shape = vec![a, 1, b, c];
                *x = graph.push(node.name.clone(), Reshape { shape }, &[*x])?[0];
            }
        }
    }
    let op = Attention {
        scale: Some(found.scale as f32),
    };
    let y = graph.push(node.name.clone(), op, &operands)?;
    if rank == 4 {
        return Ok(one(y));
    }
    let dims = graph.fact(y[0]).shape.to_vec();
    let shape = [dims[0], dims[2], dims[3]].map(|d| d as i64).to_vec();
    graph
        .push(node.name.clone(), Reshape { shape }, &y)
        .map(one)
}

/// What the weights of an attention are made of.
struct Scores {
    q: ValueId,
    k: ValueId,
    /// Whether k lies as q does.
    transposed: bool,
    scale: f64,
    bias: Option<ValueId>,
}

fn scores(graph: &Graph, weights: ValueId) -> Option<Scores> {
    let (Op::Softmax(softmax), inputs) = made(graph, weights)? else {
        return None;
    };
    let shape = graph.fact(weights).shape.clone();
    if !(3..=4).contains(&shape.len()) || softmax.axis + 1 != shape.len() {
        return None;
    }
    let (product, bias) = match made(graph, inputs[0])? {
        (Op::Add(_), &[a, b]) => {
            let stretches = |v: ValueId| {
                let bias: &Shape = &graph.fact(v).shape;
                bias.broadcast(&shape) == Some(shape.clone())
            };
            match (product_of(graph, a), product_of(graph, b)) {
                (Some(p), _) if stretches(b) => (p, Some(b)),
                (_, Some(p)) if stretches(a) => (p, Some(a)),
                _ => return None,
            }
        }
        _ => (product_of(graph, inputs[0])?, None),
    };
    let (node, mut scale) = product;
    let (Op::MatMul(op), &[q, k]) = made(graph, node)? else {
        return None;
    };
    let mut strip = |v: ValueId| {
        let p = factors(graph, v);
        match p.factors[..] {
            [x] if graph.fact(x).shape == graph.fact(v).shape => {
                scale *= p.number;
                x
            }
            _ => v,
        }
    };
    let (q, k) = (strip(q), strip(k));
    (!op.trans_a).then_some(Scores {
        q,
        k,
        transposed: op.trans_b,
        scale,
        bias,
    })
}

/// The product of matrices that a value is a multiple of.
fn product_of(graph: &Graph, v: ValueId) -> Option<(ValueId, f64)> {
    let p = factors(graph, v);
    match p.factors[..] {
        [x] if matches!(made(graph, x), Some((Op::MatMul(_), _))) => Some((x, p.number)),
        _ => None,
    }
}
