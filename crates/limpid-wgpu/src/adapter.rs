use crate::layout::Stored;
use limpid_device::DeviceError;
use std::fmt;

/// What kind of hardware an adapter is; the table of tiles has a row for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterClass {
    /// A card with memory of its own.
    Discrete,
    /// A part of the processor's chip, or a virtual machine's, which shares its memory.
    Integrated,
    /// A program on the processor.
    Software,
}

impl fmt::Display for AdapterClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Software => "software",
        })
    }
}

/// What an adapter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterInfo {
    /// The hardware's name.
    pub name: String,
    /// The interface and the driver, with its version.
    pub driver: String,
    /// What kind of hardware it is.
    pub class: AdapterClass,
    /// What is missing for the kernels; `None` where they run.
    pub reason: Option<String>,
    /// Its bounds that matter to kernels, by WebGPU's names.
    pub limits: Vec<(&'static str, u64)>,
    /// Its features that kernels know of.
    pub features: Vec<&'static str>,
}

/// A graphics adapter of this machine.
#[derive(Clone)]
pub struct Adapter {
    pub(crate) wgpu: wgpu::Adapter,
    info: AdapterInfo,
}

impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.info.fmt(f)
    }
}

/// Features that kernels know of, and their names in listings.
pub(crate) const FEATURES: [(wgpu::Features, &str); 4] = [
    (wgpu::Features::SHADER_F16, "f16"),
    (wgpu::Features::SUBGROUP, "subgroups"),
    (wgpu::Features::TIMESTAMP_QUERY, "timestamps"),
    (
        wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX,
        "cooperative matrices",
    ),
];

impl Adapter {
    /// Why a machine has no adapters.
    pub const NO_DRIVER: &'static str =
        "this machine has no driver for Vulkan, Metal or Direct3D 12";

    /// The adapters of this machine, hardware before software; none where there
    /// is no driver. OpenGL is left out: its compute shaders are too slow to
    /// compile to be of use.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::PRIMARY;
        // Validation layers belong to those who write drivers.
        descriptor.flags = wgpu::InstanceFlags::empty();
        let instance = wgpu::Instance::new(descriptor);
        let adapters = crate::gpu::wait(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
        let mut all: Vec<Self> = adapters.into_iter().map(Self::new).collect();
        all.sort_by_key(|a| match a.info.class {
            AdapterClass::Discrete => 0,
            AdapterClass::Integrated => 1,
            AdapterClass::Software => 2,
        });
        all
    }

    fn new(adapter: wgpu::Adapter) -> Self {
        let (about, limits) = (adapter.get_info(), adapter.limits());
        let class = match about.device_type {
            wgpu::DeviceType::DiscreteGpu => AdapterClass::Discrete,
            wgpu::DeviceType::Cpu => AdapterClass::Software,
            _ => AdapterClass::Integrated,
        };
        let words = [&about.driver, &about.driver_info];
        let words = words.into_iter().filter(|w| !w.is_empty());
        let words: Vec<&str> = words.map(String::as_str).collect();
        let driver = format!("{} {}", about.backend, words.join(" "));
        let features = FEATURES.iter();
        let features = features.filter(|(f, _)| adapter.features().contains(*f));
        let info = AdapterInfo {
            name: about.name.clone(),
            driver: driver.trim_end().to_owned(),
            class,
            reason: missing(&adapter),
            limits: vec![
                ("maxBufferSize", limits.max_buffer_size),
                (
                    "maxStorageBufferBindingSize",
                    limits.max_storage_buffer_binding_size,
                ),
                (
                    "maxComputeWorkgroupStorageSize",
                    limits.max_compute_workgroup_storage_size.into(),
                ),
                (
                    "maxComputeInvocationsPerWorkgroup",
                    limits.max_compute_invocations_per_workgroup.into(),
                ),
                ("subgroupMinSize", about.subgroup_min_size.into()),
                ("subgroupMaxSize", about.subgroup_max_size.into()),
            ],
            features: features.map(|(_, name)| *name).collect(),
        };
        Self {
            wgpu: adapter,
            info,
        }
    }

    /// What it is.
    #[must_use]
    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }

    /// The adapters that are hardware and that the kernels run on, the best
    /// first. No driver is loaded where the system has no such hardware.
    #[must_use]
    pub fn hardware() -> Vec<Self> {
        if !has_hardware() {
            return Vec::new();
        }
        let mut all = Self::all();
        all.retain(|a| a.info.class != AdapterClass::Software && a.info.reason.is_none());
        all
    }

    /// The adapter at a position of [`all`](Self::all).
    ///
    /// # Errors
    /// [`DeviceError::Missing`] when there are fewer.
    pub fn at(position: usize) -> Result<Self, DeviceError> {
        let mut all = Self::all();
        match (position < all.len(), all.len()) {
            (true, _) => Ok(all.swap_remove(position)),
            (false, 0) => Err(absent(Self::NO_DRIVER.to_owned())),
            (false, n) => Err(absent(format!("the last adapter is wgpu:{}", n - 1))),
        }
    }

    /// The units for matrices that kernels can use: their size and what they
    /// multiply. A subgroup has to be of 32, since nobody can ask for a size; on
    /// Metal, which does not tell, it is on all hardware that has such units.
    pub(crate) fn matrices(&self) -> Vec<(usize, Stored)> {
        use wgpu::CooperativeScalarType::{F16, F32};
        let about = self.wgpu.get_info();
        let feature = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        let subgroups = about.backend == wgpu::Backend::Metal
            || [about.subgroup_min_size, about.subgroup_max_size] == [32, 32];
        if !subgroups || !self.wgpu.features().contains(feature) {
            return Vec::new();
        }
        let all = self.wgpu.cooperative_matrix_properties();
        let has = |size: u32, operands| {
            all.iter().any(|m| {
                [m.m_size, m.n_size, m.k_size] == [size; 3]
                    && (m.ab_type, m.cr_type) == (operands, F32)
            })
        };
        let half = [16, 8].into_iter().find(|size| has(*size, F16));
        let single = has(8, F32).then_some((8, Stored::F32));
        let half = half.map(|size| (size as usize, Stored::F16));
        single.into_iter().chain(half).collect()
    }

    /// The best adapter that the kernels run on, software last.
    ///
    /// # Errors
    /// [`DeviceError::Missing`] when there is none.
    pub fn best() -> Result<Self, DeviceError> {
        let all = Self::all();
        let reason = all.iter().find_map(|a| {
            let reason = a.info.reason.as_ref()?;
            Some(format!("{}: {reason}", a.info.name))
        });
        let usable = all.into_iter().find(|a| a.info.reason.is_none());
        usable.ok_or_else(|| absent(reason.unwrap_or_else(|| Self::NO_DRIVER.to_owned())))
    }
}

fn absent(reason: String) -> DeviceError {
    DeviceError::Missing {
        device: "wgpu",
        reason,
    }
}

/// Whether there may be graphics hardware. On Linux a driver speaks to it
/// through a file in `/dev`; to look there costs nothing, while a driver in
/// software takes a tenth of a second and 50 MB to be loaded and asked.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn has_hardware() -> bool {
    // Direct rendering, NVIDIA's own, its Tegras, Windows's hardware in WSL,
    // Qualcomm's, ARM's and Imagination's own.
    const PREFIXES: [&str; 7] = ["nvidia", "nvhost", "nvgpu", "dxg", "kgsl", "mali", "pvr"];
    let names = |folder: &str| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|e| e.file_name().into_string().ok())
    };
    names("/dev/dri").any(|n| n.starts_with("renderD"))
        || names("/dev").any(|n| PREFIXES.iter().any(|p| n.starts_with(p)))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn has_hardware() -> bool {
    true
}

/// What an adapter lacks of WebGPU's guaranteed limits, which the kernels need.
fn missing(adapter: &wgpu::Adapter) -> Option<String> {
    let (found, needed) = (adapter.limits(), needed());
    let flags = adapter.get_downlevel_capabilities().flags;
    if !flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS) {
        return Some("it has no compute shaders".to_owned());
    }
    let mut reason = None;
    needed.check_limits_with_fail_fn(&found, false, |name, needed, found| {
        if reason.is_none() {
            reason = Some(format!("its {name} is {found}, {needed} is needed"));
        }
    });
    reason
}

/// WebGPU's guaranteed limits, without those of drawing.
pub(crate) fn needed() -> wgpu::Limits {
    let compute = wgpu::Limits::default();
    wgpu::Limits {
        max_buffer_size: compute.max_buffer_size,
        max_storage_buffer_binding_size: compute.max_storage_buffer_binding_size,
        max_uniform_buffer_binding_size: compute.max_uniform_buffer_binding_size,
        max_storage_buffers_per_shader_stage: compute.max_storage_buffers_per_shader_stage,
        max_uniform_buffers_per_shader_stage: compute.max_uniform_buffers_per_shader_stage,
        max_bindings_per_bind_group: compute.max_bindings_per_bind_group,
        max_bind_groups: compute.max_bind_groups,
        min_storage_buffer_offset_alignment: compute.min_storage_buffer_offset_alignment,
        min_uniform_buffer_offset_alignment: compute.min_uniform_buffer_offset_alignment,
        max_compute_workgroup_storage_size: compute.max_compute_workgroup_storage_size,
        max_compute_invocations_per_workgroup: compute.max_compute_invocations_per_workgroup,
        max_compute_workgroup_size_x: compute.max_compute_workgroup_size_x,
        max_compute_workgroup_size_y: compute.max_compute_workgroup_size_y,
        max_compute_workgroup_size_z: compute.max_compute_workgroup_size_z,
        max_compute_workgroups_per_dimension: compute.max_compute_workgroups_per_dimension,
        ..wgpu::Limits::downlevel_webgl2_defaults()
    }
}
