//! Limpid's kernels for processors, written once over a vector of sixteen
//! floats and instantiated for AVX-512, AVX2 with FMA, NEON and plain scalar
//! code; which of them runs is found out at run time.
//!
//! Results are bit-identical for any number of threads and any batch: every
//! element is a sum of its own in an order that depends on the operator's
//! shape without the batch and on the instruction set, and no reduction is
//! split between threads.
//!
//! ```
//! use limpid_cpu::CpuDevice;
//! use limpid_device::{Device, HostData};
//! use limpid_graph::{Fact, Graph, ops::Clip};
//! use std::sync::Arc;
//!
//! let mut graph = Graph::new();
//! let x = graph.input("x", Fact::f32([1, 3]));
//! let y = graph.push("relu", Clip::relu(), &[x])?[0];
//! graph.set_outputs(&[y]);
//!
//! let device = CpuDevice::new()?;
//! let fact = Fact::f32([1, 3]);
//! let (mut x, mut y) = (device.alloc(&fact)?, device.alloc(&fact)?);
//! device.write(&mut x, HostData::F32(&[-1.0, 0.0, 2.0]))?;
//! let executable = device.prepare(device.plan(Arc::new(graph))?)?;
//! device.execute(&*executable, &[&x], &mut [&mut y])?;
//! let mut out = [0.0; 3];
//! device.read(&y, &mut out)?;
//! assert_eq!(out, [0.0, 0.0, 2.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arch;
mod assign;
mod chains;
mod device;
mod executable;
mod host;
mod isa;
mod kernels;
mod layout;
mod operands;
mod pack;
mod peak;
mod pool;
mod select;
mod simd;

pub use device::{CpuDevice, CpuOptions};
pub use isa::{Isa, UnknownIsa};
pub use layout::Precision;
pub use peak::{Peak, PeakMeter};
