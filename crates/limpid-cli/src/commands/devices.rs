use crate::console::{self, Outcome};
use clap::Args;
use limpid::{Device, DeviceInfo};

/// List the devices of this machine.
#[derive(Args)]
pub(crate) struct Options {
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let devices = Device::list()?;
    if options.json {
        console::json(&devices)?;
    } else {
        for device in &devices {
            console::print(&text(device))?;
        }
    }
    Ok(Outcome::Good)
}

fn text(device: &DeviceInfo) -> String {
    let state = match (&device.reason, device.available) {
        (None, true) => "available".to_owned(),
        (Some(reason), true) => format!("available; {reason}"),
        (Some(reason), false) => format!("not available: {reason}"),
        (None, false) => "not available".to_owned(),
    };
    let limits = device.limits.iter().filter(|(_, value)| !value.is_null());
    let limits: Vec<String> = limits.map(|(k, v)| format!("{k} {v}")).collect();
    let named = [
        ("name", device.name.clone()),
        ("driver", device.driver.clone()),
        ("limits", Some(limits.join(", "))),
        ("features", Some(device.features.join(", "))),
    ];
    let rows = named.into_iter().filter_map(|(key, value)| {
        let value = value.filter(|v| !v.is_empty())?;
        Some(vec![format!("  {key}"), value])
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let head = console::clean(&format!("{} ({}), {state}", device.id, device.kind));
    format!("{head}\n{}", console::table(&rows, &[]))
}
