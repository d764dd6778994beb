use crate::Error;
use limpid_cpu::{CpuDevice, CpuOptions, Precision};
use limpid_device::Capabilities;
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
    /// The name of the hardware.
    pub name: String,
    /// The driver or instruction set.
    pub driver: String,
    /// Whether it can be used.
    pub available: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Bounds: threads, bytes of memory.
    pub limits: Map<String, Value>,
    /// Features of the hardware that kernels know of.
    pub features: Vec<String>,
}

impl Device {
    /// The fastest device of this machine.
    ///
    /// # Errors
    /// When it cannot be started.
    ///
    /// ```
    /// let device = limpid::Device::auto()?;
    /// assert_eq!(device.capabilities().kind.name(), "cpu");
    /// # Ok::<(), limpid::Error>(())
    /// ```
    pub fn auto() -> Result<Self, Error> {
        Self::cpu(None)
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
        Ok(Self(Arc::new(CpuDevice::with(options)?)))
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

    /// The devices of this machine.
    ///
    /// # Errors
    /// When the processor's threads cannot be started.
    ///
    /// ```
    /// let cpu = &limpid::Device::list()?[0];
    /// assert!(cpu.available && cpu.kind == "cpu");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn list() -> Result<Vec<DeviceInfo>, Error> {
        let cpu = Self::auto()?;
        let c = cpu.capabilities();
        let limits = [
            ("threads".to_owned(), Value::from(c.threads)),
            ("memory".to_owned(), Value::from(c.memory)),
        ];
        Ok(vec![DeviceInfo {
            id: c.kind.name().to_owned(),
            kind: c.kind.name().to_owned(),
            name: c.name.clone(),
            driver: c.isa.clone(),
            available: true,
            reason: None,
            limits: limits.into_iter().collect(),
            features: c.features.clone(),
        }])
    }

    pub(crate) fn inner(&self) -> &Arc<dyn limpid_device::Device> {
        &self.0
    }
}
