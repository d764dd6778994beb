//! Options that several commands share.

use crate::console::{self, Usage};
use crate::tuning;
use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use limpid::{
    Adapter, AdapterClass, Device, Error, Model, Precision, Session, SessionOptions, WgpuOptions,
};
use limpid_cpu::{CpuOptions, Isa};
use std::ffi::OsString;
use std::path::PathBuf;

/// The most threads that may be asked for.
const MAX_THREADS: u64 = 1024;

/// The most evaluations that may be put through the model at once.
const MAX_BATCH: u64 = 1024;

/// Which model runs, on what, and where results go.
#[derive(Args)]
#[command(next_help_heading = "Options of every run")]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) machine: Machine,

    /// The folder of results, made if missing
    #[arg(long, value_name = "DIR", default_value = "limpid-out")]
    pub(crate) out: PathBuf,

    /// Print one line of JSON for each result instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which model runs, and on what.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "Options of every run")]
pub(crate) struct Machine {
    /// A bundle directory, an .onnx file, or the name of an embedded model
    /// [default: the embedded ImageNet classifier]
    #[arg(long, value_name = "M")]
    pub(crate) model: Option<PathBuf>,

    /// Where to compute; auto takes a graphics adapter that is hardware, else
    /// the processor; wgpu the best adapter, wgpu:N that of `limpid devices`
    #[arg(long, value_name = "auto|cpu|wgpu", default_value = "auto", value_parser = device, hide_possible_values = true)]
    pub(crate) device: DeviceChoice,

    /// The numbers that convolutions and products multiply; bf16, where the
    /// processor has it, and f16, where a graphics adapter has it, are faster
    /// and move maps a little
    #[arg(long, value_name = "f32|bf16|f16", default_value = "f32", value_parser = precision)]
    pub(crate) precision: PrecisionChoice,

    /// The seed of everything random
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Threads of the processor, which auto takes then; results do not depend
    /// on it [default: all cores]
    #[arg(long, value_name = "N", value_parser = threads())]
    pub(crate) threads: Option<u64>,

    /// Evaluations of one picture that are put through the model at once;
    /// results do not depend on it, and predict, which needs one for each
    /// picture, does not use it [default: what pays off within --memory]
    #[arg(long, value_name = "N", value_parser = batch())]
    pub(crate) batch: Option<u64>,

    /// The most working memory that a run may take beside the weights; K, M
    /// and G stand for powers of 1024 [default: half of what the device
    /// has, if it tells]
    #[arg(long, value_name = "BYTES[K|M|G]", value_parser = bytes)]
    pub(crate) memory: Option<u64>,

    /// The instruction set, for tests [default: the fastest that there is]
    #[arg(long, value_name = "NAME", hide = true)]
    pub(crate) isa: Option<Isa>,
}

/// What `--device` takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum DeviceChoice {
    #[default]
    Auto,
    Cpu,
    /// The best adapter, or that at a position of the list.
    Wgpu(Option<usize>),
}

/// What `--precision` takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum PrecisionChoice {
    #[default]
    F32,
    /// The processor's.
    Bf16,
    /// The graphics adapters'.
    F16,
}

impl PrecisionChoice {
    const ALL: [(Self, &'static str); 3] =
        [(Self::F32, "f32"), (Self::Bf16, "bf16"), (Self::F16, "f16")];
}

/// A kind of file that `explain` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The overlay on the original picture
    Png,
    /// The raw map, float32
    Npy,
    /// The manifest
    Json,
}

/// What `--scale` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scale {
    /// Each picture of a map has its own
    Own,
    /// All pictures of a method have one, the largest of their own
    Shared,
}

/// What `--threads` takes, of every command.
pub(crate) fn threads() -> RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=MAX_THREADS)
}

/// What `--batch` takes, of every command.
pub(crate) fn batch() -> RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=MAX_BATCH)
}

pub(crate) fn device(text: &str) -> Result<DeviceChoice, String> {
    match text.split_once(':').unwrap_or((text, "")) {
        ("auto", "") => Ok(DeviceChoice::Auto),
        ("cpu", "") => Ok(DeviceChoice::Cpu),
        ("wgpu", "") => Ok(DeviceChoice::Wgpu(None)),
        ("wgpu", number) => match number.parse() {
            Ok(number) => Ok(DeviceChoice::Wgpu(Some(number))),
            Err(_) => Err("adapters have numbers, such as wgpu:1".to_owned()),
        },
        ("cuda", _) => Err("cuda is not built into this version; use wgpu".to_owned()),
        _ => Err("there are auto, cpu and wgpu".to_owned()),
    }
}

pub(crate) fn precision(text: &str) -> Result<PrecisionChoice, String> {
    let known = PrecisionChoice::ALL.iter().find(|(_, name)| *name == text);
    known
        .map(|(precision, _)| *precision)
        .ok_or_else(|| "there are f32, bf16 (cpu) and f16 (wgpu)".to_owned())
}

fn bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((i, 'K' | 'k')) => (&text[..i], 1 << 10),
        Some((i, 'M' | 'm')) => (&text[..i], 1 << 20),
        Some((i, 'G' | 'g')) => (&text[..i], 1 << 30),
        _ => (text, 1),
    };
    let number: Option<u64> = digits.parse().ok();
    number
        .and_then(|n| n.checked_mul(unit))
        .filter(|n| *n > 0)
        .ok_or_else(|| "give a whole number of bytes, or of K, M or G, such as 512M".to_owned())
}

fn model(name: Option<&PathBuf>) -> anyhow::Result<Model> {
    Ok(match name {
        Some(name) => Model::open(name)?,
        None => Model::embedded().map_err(Error::from)?,
    })
}

/// The model that `--model` names.
pub(crate) fn open_model(name: Option<&PathBuf>) -> anyhow::Result<Model> {
    let model = model(name)?;
    for note in model.notes() {
        console::say(&format!("note: {note}"));
    }
    Ok(model)
}

impl Machine {
    /// What is asked of the processor.
    pub(crate) fn cpu(&self) -> CpuOptions {
        CpuOptions {
            threads: self.threads.map(|n| n as usize),
            isa: self.isa,
            precision: match self.precision {
                PrecisionChoice::Bf16 => Precision::Bf16,
                _ => Precision::F32,
            },
        }
    }

    /// A session as these options want it.
    pub(crate) fn session(&self) -> anyhow::Result<Session> {
        let device = self.open(true)?;
        self.with(open_model(self.model.as_ref())?, device)
    }

    /// The same where notes were told already.
    pub(crate) fn session_again(&self) -> anyhow::Result<Session> {
        let device = self.open(false)?;
        self.with(model(self.model.as_ref())?, device)
    }

    fn with(&self, model: Model, device: Device) -> anyhow::Result<Session> {
        let half = device.capabilities().memory.map(|bytes| bytes / 2);
        let options = SessionOptions {
            batch: self.batch.map(|n| n as usize),
            memory: self.memory.or(half),
        };
        Ok(Session::new(model, device, options)?)
    }

    /// The device; `told` is whether what is to know of it is said.
    fn open(&self, told: bool) -> anyhow::Result<Device> {
        use DeviceChoice::{Auto, Cpu, Wgpu};
        use PrecisionChoice::{Bf16, F16, F32};
        let of_cpu = self.threads.is_some() || self.isa.is_some();
        let half = self.precision == F16;
        let usage = |text: &str| Err(Usage(text.to_owned()).into());
        let adapter = match (self.device, self.precision) {
            (Auto, F32) if !of_cpu => {
                // As `Device::auto`, with what was measured of each adapter.
                let mut hardware = Adapter::hardware().into_iter();
                let open = |a: Adapter| Device::wgpu(options(a, told, half)).ok();
                return match hardware.find_map(open) {
                    Some(device) => Ok(device),
                    None => Ok(Device::cpu_with(self.cpu())?),
                };
            }
            (Auto | Cpu, F32 | Bf16) => return Ok(Device::cpu_with(self.cpu())?),
            (Cpu, F16) => {
                return usage(
                    "the processor does not compute in f16: give --precision bf16 or f32, or --device wgpu",
                );
            }
            (Wgpu(_), Bf16) => {
                return usage(
                    "graphics adapters do not compute in bf16: give --precision f16 or f32, or --device cpu",
                );
            }
            (_, _) if of_cpu => {
                return usage(
                    "--threads and --isa are the processor's: leave them out with --device wgpu and --precision f16",
                );
            }
            (Auto, F16) => {
                let mut hardware = Adapter::hardware().into_iter();
                let Some(found) = hardware.find(|a| a.info().features.contains(&"f16")) else {
                    return usage(
                        "auto found no graphics adapter that computes in f16: give --precision f32, or --device wgpu",
                    );
                };
                found
            }
            (Wgpu(None), F32 | F16) => Adapter::best().map_err(Error::from)?,
            (Wgpu(Some(n)), F32 | F16) => Adapter::at(n).map_err(Error::from)?,
        };
        if told && adapter.info().class == AdapterClass::Software {
            console::say(&format!(
                "note: {} computes in software, slower than --device cpu",
                adapter.info().name
            ));
        }
        Ok(Device::wgpu(options(adapter, told, half))?)
    }

    /// The options as arguments, for another process of this program. The seed
    /// is not among them: each run has its own.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let device = match self.device {
            DeviceChoice::Auto => "auto".to_owned(),
            DeviceChoice::Cpu => "cpu".to_owned(),
            DeviceChoice::Wgpu(None) => "wgpu".to_owned(),
            DeviceChoice::Wgpu(Some(n)) => format!("wgpu:{n}"),
        };
        let names = PrecisionChoice::ALL.iter();
        let precision = names.filter(|(p, _)| *p == self.precision);
        let numbers = [
            ("--threads", self.threads),
            ("--batch", self.batch),
            ("--memory", self.memory),
        ];
        let mut all = vec![OsString::from(format!("--device={device}"))];
        all.extend(precision.map(|(_, name)| format!("--precision={name}").into()));
        if let Some(model) = &self.model {
            let mut argument = OsString::from("--model=");
            argument.push(model);
            all.push(argument);
        }
        let numbers = numbers.iter().filter_map(|(name, n)| Some((name, (*n)?)));
        all.extend(numbers.map(|(name, n)| format!("{name}={n}").into()));
        all.extend(self.isa.map(|isa| format!("--isa={isa}").into()));
        all
    }
}

/// How an adapter is opened.
fn options(adapter: Adapter, told: bool, half: bool) -> WgpuOptions {
    WgpuOptions {
        tuning: Some(tuning::of(&adapter, told)),
        adapter: Some(adapter),
        half,
        ..WgpuOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_units() {
        assert_eq!(bytes("1000"), Ok(1000));
        assert_eq!(bytes("2K"), Ok(2048));
        assert_eq!(bytes("3m"), Ok(3 << 20));
        assert_eq!(bytes("4G"), Ok(4 << 30));
        for wrong in [
            "",
            "0",
            "G",
            "-1",
            "1.5G",
            "1T",
            "99999999999999999999",
            "99999999999999G",
            "1é",
        ] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
