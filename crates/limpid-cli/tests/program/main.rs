//! The program from end to end: the built binary, run as people and scripts
//! run it.

mod bench;
mod evaluate;
mod explain;
mod failures;
mod isolate;
mod lists;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod lost;
mod plugins;
mod predict;
mod runs;
mod support;
