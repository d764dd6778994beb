//! The graph, its operators and its passes, held to the f64 reference alone:
//! no device takes part.

mod blur;
mod geometry;
mod gradients;
mod lookup;
mod mbconv;
mod operators;
mod passes;
mod plan;
mod support;
