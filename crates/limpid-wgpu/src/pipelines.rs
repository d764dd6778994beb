//! Compiled kernels.

use crate::gpu::{Gpu, lock};
use crate::kernel::Dispatch;
use crate::source::{Binding, Choices, assemble, bindings};
use limpid_device::DeviceError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
}

/// A file below `kernels/wgsl`.
pub(crate) fn file(path: &str) -> Option<String> {
    let mut files = embedded::FILES.iter();
    let (_, text) = files.find(|(name, _)| *name == path)?;
    Some((*text).to_owned())
}

/// A compiled kernel.
pub(crate) struct Pipeline {
    pub(crate) pipeline: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
    /// What it declares behind the parameters.
    pub(crate) bindings: Vec<Binding>,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    file: &'static str,
    choices: Choices,
    constants: Vec<(&'static str, u64)>,
}

/// Kernels that are kept though no plan uses them; a network has some fifty.
const KEPT: usize = 1024;

/// The kernels that have been compiled: those in use, and others for later.
#[derive(Default)]
pub(crate) struct Pipelines {
    all: Mutex<HashMap<Key, Arc<Pipeline>>>,
}

impl Pipelines {
    /// The compiled kernel of a launch.
    ///
    /// # Errors
    /// [`DeviceError::Driver`] when the driver refuses it.
    pub(crate) fn get(&self, gpu: &Gpu, dispatch: &Dispatch) -> Result<Arc<Pipeline>, DeviceError> {
        let key = Key {
            file: dispatch.file,
            choices: dispatch.choices.clone(),
            constants: dispatch
                .constants
                .iter()
                .map(|(n, v)| (*n, v.to_bits()))
                .collect(),
        };
        if let Some(there) = lock(&self.all).get(&key) {
            return Ok(Arc::clone(there));
        }
        let made = Arc::new(compile(gpu, dispatch)?);
        let mut all = lock(&self.all);
        if all.len() >= KEPT {
            all.retain(|_, pipeline| Arc::strong_count(pipeline) > 1);
        }
        all.insert(key, Arc::clone(&made));
        Ok(made)
    }
}

fn compile(gpu: &Gpu, dispatch: &Dispatch) -> Result<Pipeline, DeviceError> {
    let source = assemble(dispatch.file, &file, &dispatch.choices)
        .map_err(|e| DeviceError::Driver(format!("kernels/wgsl/{e}")))?;
    let mut bindings = bindings(&source.text);
    let entries: Vec<wgpu::BindGroupLayoutEntry> = bindings
        .iter()
        .enumerate()
        .map(|(i, binding)| wgpu::BindGroupLayoutEntry {
            binding: i as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: match binding {
                    Binding::Uniform => wgpu::BufferBindingType::Uniform,
                    Binding::Read => wgpu::BufferBindingType::Storage { read_only: true },
                    Binding::Write => wgpu::BufferBindingType::Storage { read_only: false },
                },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        })
        .collect();
    debug_assert_eq!(entries.len(), dispatch.slots.len() + 1, "{}", dispatch.file);
    bindings.remove(0);
    gpu.attempt(|| {
        let layout = gpu
            .device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some(dispatch.file),
                entries: &entries,
            });
        let pipeline_layout = gpu
            .device
            .create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(dispatch.file),
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(dispatch.file),
            source: wgpu::ShaderSource::Wgsl(source.text.into()),
        };
        let module = if gpu.checked {
            gpu.device.create_shader_module(descriptor)
        } else {
            // SAFETY: kernels stay within their bindings and their loops end; the
            // op suite runs each with sentinels, and all once more with the
            // checks, which change no bit.
            #[allow(unsafe_code)]
            unsafe {
                gpu.device.create_shader_module_trusted(
                    descriptor,
                    wgpu::ShaderRuntimeChecks::unchecked(),
                )
            }
        };
        let pipeline = gpu
            .device
            .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(dispatch.file),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &dispatch.constants,
                    // Kernels write workgroup memory before they read it.
                    zero_initialize_workgroup_memory: gpu.checked,
                },
                cache: None,
            });
        Pipeline {
            pipeline,
            layout,
            bindings,
        }
    })
}
