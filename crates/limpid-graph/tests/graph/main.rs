//! The graph, its operators and its passes, held to the f64 reference alone:
//! no device takes part.

mod blur;
mod frameworks;
mod fuse_attention;
mod fuse_elementwise;
mod geometry;
mod gradients;
mod grids;
mod hostile;
mod keep_slopes;
mod lookup;
mod lowering;
mod mbconv;
mod operators;
mod passes;
mod plan;
mod pointwise;
mod rules;
mod support;
mod text;
