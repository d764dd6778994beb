//! The graph of operators that a model is, and everything that is decided
//! about it before it runs.
//!
//! A [`Graph`] is a list of nodes in topological order, each an [`Op`] with
//! its inputs and outputs. [`passes`] are pure functions from graph to graph:
//! folding, reverse mode ([`passes::vjp`]), fusion, dead code. [`mod@reference`]
//! runs a graph naively in f64, which is the oracle of every device. [`Plan`]
//! gives each value its place in one arena.
//!
//! ```
//! use limpid_graph::{Graph, Fact, ops::Clip, reference::{self, RefTensor}};
//! let mut g = Graph::new();
//! let x = g.input("x", Fact::f32([1, 3]));
//! let y = g.push("relu", Clip::relu(), &[x])?[0];
//! g.set_outputs(&[y]);
//! let out = reference::run(&g, &[RefTensor::new([1, 3], vec![-1.0, 0.0, 2.0])])?;
//! assert_eq!(out[0].data, [0.0, 0.0, 2.0]);
//! # Ok::<(), limpid_graph::GraphError>(())
//! ```
#![forbid(unsafe_code)]

pub mod case;
mod constant;
mod error;
pub mod formula;
mod graph;
pub mod grid;
pub mod ops;
pub mod passes;
mod plan;
pub mod reference;
mod suggest;
pub mod text;

pub use constant::{Constant, TensorSource};
pub use error::{GraphError, OpError};
pub use formula::{Expr, Formula};
pub use graph::{Fact, Graph, Node, Source, Value, ValueId};
pub use ops::{Cost, Op, Operator, Residual};
pub use plan::{Location, Plan, Step};
pub use suggest::nearest_names;
