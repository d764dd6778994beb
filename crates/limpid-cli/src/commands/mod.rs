//! One file for each sub-command.

pub(crate) mod bench;
pub(crate) mod devices;
pub(crate) mod evaluate;
pub(crate) mod explain;
mod import;
pub(crate) mod licenses;
pub(crate) mod methods;
pub(crate) mod model;
pub(crate) mod plugins;
pub(crate) mod predict;
mod shared_scale;
pub(crate) mod worker;
