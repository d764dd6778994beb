use crate::Error;
use limpid_cpu::{CpuDevice, CpuOptions, Precision};
use limpid_device::{Capabilities, DeviceKind};
use limpid_wgpu::{Adapter, AdapterClass, WgpuDevice, WgpuOptions};
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;

/// A compute device, shared by the sessions that use it.
#[derive(Clone)]
pub struct Device(Arc<dyn limpid_device::Device>);

/// A device that this machine has, or why it has none of a kind.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceInfo {
    /// What `--device` takes.
    pub id: String,
    /// The kind of device.
    pub kind: String,
    /// The name of the hardware, where there is any.
    pub name: Option<String>,
    /// The driver or instruction set.
    pub driver: Option<String>,
    /// Whether it can be used.
    pub available: bool,
    /// Why not, or why it is used on request alone.
    pub reason: Option<String>,
    /// Bounds: threads, bytes of memory, those of an adapter by WebGPU's names.
    pub limits: Map<String, Value>,
    /// Features of the hardware that kernels know of; an adapter's begin with
    /// its class, `discrete`, `integrated` or `software`.
    pub features: Vec<String>,
}

impl Device {
    /// The fastest device of this machine: a graphics adapter that is hardware,
    /// else the processor; never a program that computes as an adapter would.
    ///
    /// # Errors
    /// When it cannot be started.
    ///
    /// ```
    /// let device = limpid::Device::auto()?;
    /// println!("{}", device.capabilities().name);
    /// # Ok::<(), limpid::Error>(())
    /// ```
    pub fn auto() -> Result<Self, Error> {
        let opened = Adapter::hardware().into_iter().find_map(|adapter| {
            let adapter = Some(adapter);
            // One that cannot be opened is no device of this machine.
            let options = WgpuOptions::default();
            Self::wgpu(WgpuOptions { adapter, ..options }).ok()
        });
        opened.map_or_else(|| Self::cpu(None), Ok)
    }

    /// A graphics adapter, through wgpu: of any maker, with any of Vulkan, Metal
    /// and Direct3D 12. By default the best that there is, also in software.
    ///
    /// # Errors
    /// When there is none, it cannot be opened, or it lacks what is asked for.
    ///
    /// ```no_run
    /// use limpid::{Device, WgpuOptions};
    /// let device = Device::wgpu(WgpuOptions::default())?;
    /// assert_eq!(device.capabilities().kind.name(), "wgpu");
    /// # Ok::<(), limpid::Error>(())
    /// ```
    pub fn wgpu(options: WgpuOptions) -> Result<Self, Error> {
        Ok(Self::new(WgpuDevice::new(options)?))
    }

    /// A device of one's own, for tests.
    #[doc(hidden)]
    pub fn new(device: impl limpid_device::Device + 'static) -> Self {
        Self(Arc::new(device))
    }

    /// The processor, with so many threads (all cores where `None`).
    ///
    /// # Errors
    /// When the threads cannot be started.
    ///
    /// ```
    /// let device = limpid::Device::cpu(Some(1))?;
    /// assert_eq!(device.capabilities().threads, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cpu(threads: Option<usize>) -> Result<Self, Error> {
        Self::cpu_in(Precision::F32, threads)
    }

    /// The processor, whose convolutions and products multiply numbers of this
    /// precision; see [`Precision::available`]. Sums, scores and maps are f32.
    ///
    /// # Errors
    /// When the processor has no instructions for it, or the threads cannot be
    /// started.
    ///
    /// ```
    /// use limpid::{Device, Precision};
    /// for precision in Precision::available() {
    ///     let device = Device::cpu_in(precision, None)?;
    ///     assert_eq!(device.capabilities().precision, precision.name());
    /// }
    /// # Ok::<(), limpid::Error>(())
    /// ```
    pub fn cpu_in(precision: Precision, threads: Option<usize>) -> Result<Self, Error> {
        Self::cpu_with(CpuOptions {
            threads,
            precision,
            isa: None,
        })
    }

    /// The processor with kernels of a given instruction set, for tests.
    ///
    /// # Errors
    /// When the processor lacks the instructions.
    #[doc(hidden)]
    pub fn cpu_with(options: CpuOptions) -> Result<Self, Error> {
        Ok(Self::new(CpuDevice::with(options)?))
    }

    /// What it is and can do.
    ///
    /// ```
    /// println!("{}", limpid::Device::auto()?.capabilities().name);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }

    /// The devices of this machine: the processor, then all graphics adapters,
    /// or one entry that says why there is none. Nothing is opened.
    ///
    /// # Errors
    /// When the processor's threads cannot be started.
    ///
    /// ```
    /// let devices = limpid::Device::list()?;
    /// assert!(devices[0].available && devices[0].kind == "cpu");
    /// assert_eq!(devices[1].kind, "wgpu");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn list() -> Result<Vec<DeviceInfo>, Error> {
        let mut all = vec![Self::cpu(None)?.info()];
        let adapters = Adapter::all();
        let best = adapters.iter().position(|a| a.info().reason.is_none());
        let listed = adapters.iter().enumerate();
        all.extend(listed.map(|(i, adapter)| adapter_info(adapter, i, best)));
        if adapters.is_empty() {
            let kind = DeviceKind::Wgpu.name().to_owned();
            all.push(DeviceInfo {
                id: kind.clone(),
                kind,
                name: None,
                driver: None,
                available: false,
                reason: Some(Adapter::NO_DRIVER.to_owned()),
                limits: Map::new(),
                features: Vec::new(),
            });
        }
        Ok(all)
    }

    fn info(&self) -> DeviceInfo {
        let c = self.capabilities();
        let limits = [
            ("threads".to_owned(), Value::from(c.threads)),
            ("memory".to_owned(), Value::from(c.memory)),
        ];
        DeviceInfo {
            id: c.kind.name().to_owned(),
            kind: c.kind.name().to_owned(),
            name: Some(c.name.clone()),
            driver: Some(c.isa.clone()),
            available: true,
            reason: None,
            limits: limits.into_iter().collect(),
            features: c.features.clone(),
        }
    }

    pub(crate) fn inner(&self) -> &Arc<dyn limpid_device::Device> {
        &self.0
    }
}

/// The entry of the adapter at `i` of all, of which the one at `best` is used
/// where none is named.
fn adapter_info(adapter: &Adapter, i: usize, best: Option<usize>) -> DeviceInfo {
    let (kind, about) = (DeviceKind::Wgpu.name(), adapter.info());
    let software = "auto never takes an adapter in software; --device wgpu does";
    let reason = match (&about.reason, about.class) {
        (Some(missing), _) => Some(missing.clone()),
        (None, AdapterClass::Software) => Some(software.to_owned()),
        (None, _) => None,
    };
    let features = about.features.iter().map(ToString::to_string);
    let limits = about.limits.iter();
    DeviceInfo {
        id: match best == Some(i) {
            true => kind.to_owned(),
            false => format!("{kind}:{i}"),
        },
        kind: kind.to_owned(),
        name: Some(about.name.clone()),
        driver: Some(about.driver.clone()),
        available: about.reason.is_none(),
        reason,
        limits: limits
            .map(|(name, most)| ((*name).to_owned(), Value::from(*most)))
            .collect(),
        features: std::iter::once(about.class.to_string())
            .chain(features)
            .collect(),
    }
}
