//! The f64 interpreter: naive, slow, and right. Devices are measured by it.

use crate::{Fact, Graph, GraphError, Source};
use limpid_tensor::{Shape, Tensor};

/// A tensor of f64 in C order. Masks are 0 and 1, integers are exact.
#[derive(Debug, Clone, PartialEq)]
pub struct RefTensor {
    /// The extents.
    pub shape: Shape,
    /// The elements.
    pub data: Vec<f64>,
}

impl RefTensor {
    /// A tensor; the data must fit the shape.
    ///
    /// # Panics
    /// When it does not: the oracle's callers are tests and passes.
    pub fn new(shape: impl Into<Shape>, data: Vec<f64>) -> Self {
        let shape = shape.into();
        assert_eq!(shape.elements().ok(), Some(data.len()), "data fits {shape}");
        Self { shape, data }
    }

    /// A tensor filled by a function of the linear index.
    pub fn from_fn(shape: impl Into<Shape>, f: impl FnMut(usize) -> f64) -> Self {
        let shape = shape.into();
        let n = shape.elements().expect("a reference tensor fits memory");
        Self {
            data: (0..n).map(f).collect(),
            shape,
        }
    }

    /// A tensor filled by a function of the index on each axis.
    pub fn from_index(shape: impl Into<Shape>, mut f: impl FnMut(&[usize]) -> f64) -> Self {
        let shape = shape.into();
        let mut index = vec![0; shape.len()];
        let mut started = false;
        Self::from_fn(shape.clone(), |_| {
            // The next index in C order.
            for (i, d) in index.iter_mut().zip(&*shape).rev().filter(|_| started) {
                *i += 1;
                if *i < *d {
                    break;
                }
                *i = 0;
            }
            started = true;
            f(&index)
        })
    }

    /// The elements over `axes` folded in C order; the axes stay as extents of 1.
    #[must_use]
    pub fn fold(&self, axes: &[usize], first: f64, f: impl Fn(f64, f64) -> f64) -> Self {
        let mut shape = self.shape.to_vec();
        for &axis in axes {
            shape[axis] = 1;
        }
        let mut out = Self::from_fn(shape, |_| first);
        let strides = broadcast_strides(&out.shape, &self.shape);
        for (i, v) in self.data.iter().enumerate() {
            let (mut rest, mut at) = (i, 0);
            for (d, s) in self.shape.iter().zip(&strides).rev() {
                at += rest % d * s;
                rest /= d;
            }
            out.data[at] = f(out.data[at], *v);
        }
        out
    }

    /// The element at an index on each axis.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn at(&self, index: &[usize]) -> f64 {
        assert_eq!(index.len(), self.shape.len(), "an index for {}", self.shape);
        let linear = index.iter().zip(&*self.shape).fold(0, |n, (i, d)| {
            assert!(i < d, "{index:?} lies in {}", self.shape);
            n * d + i
        });
        self.data[linear]
    }

    /// Elementwise.
    #[must_use]
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self::from_fn(&self.shape, |i| f(self.data[i]))
    }

    /// Elementwise over two tensors, with numpy's broadcasting.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[must_use]
    pub fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        let shape = self
            .shape
            .broadcast(&other.shape)
            .expect("shapes broadcast");
        let (a, b) = (Strided::new(self, &shape), Strided::new(other, &shape));
        let out = shape.clone();
        Self::from_fn(out, |i| f(a.at(&shape, i), b.at(&shape, i)))
    }
}

/// Elementwise over any number of tensors, with numpy's broadcasting.
///
/// # Panics
/// When the shapes do not fit.
#[must_use]
pub fn zip_all(inputs: &[&RefTensor], f: impl Fn(&[f64]) -> f64) -> RefTensor {
    let mut shape = Shape::from([]);
    for t in inputs {
        shape = shape.broadcast(&t.shape).expect("shapes broadcast");
    }
    let strided: Vec<Strided<'_>> = inputs.iter().map(|t| Strided::new(t, &shape)).collect();
    let mut x = vec![0.0; inputs.len()];
    RefTensor::from_fn(shape.clone(), |i| {
        for (x, t) in x.iter_mut().zip(&strided) {
            *x = t.at(&shape, i);
        }
        f(&x)
    })
}

impl From<&Tensor> for RefTensor {
    fn from(t: &Tensor) -> Self {
        Self::from_fn(t.shape(), |i| f64::from(t.data()[i]))
    }
}

/// A tensor seen through a broadcast shape.
struct Strided<'a> {
    data: &'a [f64],
    strides: Vec<usize>,
}

impl<'a> Strided<'a> {
    fn new(t: &'a RefTensor, to: &Shape) -> Self {
        let strides = broadcast_strides(&t.shape, to);
        Self {
            data: &t.data,
            strides,
        }
    }

    fn at(&self, shape: &Shape, mut linear: usize) -> f64 {
        let mut offset = 0;
        for (d, s) in shape.iter().zip(&self.strides).rev() {
            offset += linear % d * s;
            linear /= d;
        }
        self.data[offset]
    }
}

/// The strides, in elements, of a C-order tensor of shape `from` read with the
/// indices of `to`: 0 where an extent of 1 is stretched.
#[must_use]
pub fn broadcast_strides(from: &Shape, to: &Shape) -> Vec<usize> {
    let mut strides = vec![0; to.len()];
    let mut stride = 1;
    for (i, &d) in from.iter().enumerate().rev() {
        if d != 1 {
            strides[i + to.len() - from.len()] = stride;
        }
        stride *= d;
    }
    strides
}

/// Runs `graph` on `inputs` and returns its outputs.
///
/// # Errors
/// [`GraphError::Input`] when the inputs do not fit the graph, or when a
/// constant cannot be read.
pub fn run(graph: &Graph, inputs: &[RefTensor]) -> Result<Vec<RefTensor>, GraphError> {
    let values = run_all(graph, inputs)?;
    Ok(graph
        .outputs()
        .iter()
        .map(|v| values[v.index()].clone())
        .collect())
}

/// Runs `graph` on `inputs` and returns every value.
///
/// # Errors
/// As [`run`].
pub fn run_all(graph: &Graph, inputs: &[RefTensor]) -> Result<Vec<RefTensor>, GraphError> {
    let mut values: Vec<Option<RefTensor>> = Vec::with_capacity(graph.values().len());
    for v in graph.values() {
        values.push(match &v.source {
            Source::Input(k) => Some(check_input(&v.name, &v.fact, inputs.get(*k))?.clone()),
            Source::Constant(c) => Some(RefTensor::from(&*c.load()?)),
            Source::Node { .. } => None,
        });
    }
    for node in graph.nodes() {
        let ins: Vec<&RefTensor> = node
            .inputs
            .iter()
            .map(|v| values[v.index()].as_ref().expect("topological order"))
            .collect();
        let outs = node.op.reference(&ins);
        debug_assert_eq!(outs.len(), node.outputs.len());
        for (v, t) in node.outputs.iter().zip(outs) {
            debug_assert_eq!(t.shape, graph.fact(*v).shape, "node {}", node.name);
            values[v.index()] = Some(t);
        }
    }
    Ok(values.into_iter().flatten().collect())
}

fn check_input<'a>(
    name: &str,
    fact: &Fact,
    given: Option<&'a RefTensor>,
) -> Result<&'a RefTensor, GraphError> {
    given
        .filter(|t| t.shape == fact.shape)
        .ok_or_else(|| GraphError::Input {
            name: name.to_owned(),
            expected: fact.to_string(),
            found: given.map_or_else(|| "nothing".into(), |t| t.shape.to_string()),
        })
}
