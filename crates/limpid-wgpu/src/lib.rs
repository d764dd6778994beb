//! GPU kernels through wgpu: any maker's adapter by Vulkan, Metal or Direct3D 12.
//!
//! The kernels are WGSL files in `kernels/wgsl`, one for each operator, checked
//! when this crate is built. A plan becomes one compute pass: its values lie in
//! one arena, its weights stay on the adapter, and nothing is read back until
//! somebody asks.
//!
//! ```no_run
//! use limpid_wgpu::{Adapter, WgpuDevice, WgpuOptions};
//! for adapter in Adapter::all() {
//!     println!("{} through {}", adapter.info().name, adapter.info().driver);
//! }
//! let device = WgpuDevice::new(WgpuOptions::default())?;
//! # Ok::<(), limpid_device::DeviceError>(())
//! ```

mod adapter;
mod arena;
mod costs;
mod device;
mod executable;
mod gather;
mod gpu;
mod half;
mod kernel;
mod kernels;
mod layout;
mod measure;
mod pipelines;
mod select;
#[path = "source.rs"]
mod source;
mod tuning;
mod weights;

pub use adapter::{Adapter, AdapterClass, AdapterInfo};
#[doc(hidden)]
pub use costs::{LaunchCost, costs};
pub use device::{LimitSet, Matrices, WgpuDevice, WgpuOptions};
pub use measure::{Measured, TileChoice, TileTime, Tuner};
pub use tuning::{Tile, Tuning, Winograd};
