//! Methods as `--method`, `--param` and `--smooth` choose them.

use crate::console::Usage;
use limpid::Explainer;
use limpid::methods::{self, MethodInfo};

/// The methods of a call, and what to tell about the options.
pub(crate) struct Selection {
    pub(crate) methods: Vec<Box<dyn Explainer>>,
    pub(crate) notes: Vec<String>,
}

/// `--param KEY=VALUE`; the key is a parameter's name or `METHOD.NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Param {
    method: Option<String>,
    name: String,
    value: String,
}

impl Param {
    /// Reads `KEY=VALUE`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = text
            .split_once('=')
            .ok_or("give KEY=VALUE, such as steps=20 or blur-ig.steps=20")?;
        let (method, name) = match key.split_once('.') {
            Some((method, name)) => (Some(method.to_owned()), name),
            None => (None, key),
        };
        if name.is_empty() || method.as_deref() == Some("") {
            return Err("the name before = is empty".to_owned());
        }
        Ok(Self {
            method,
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// The parameters that exist only while noise is averaged over.
const SMOOTHING: [&str; 3] = ["spread", "reduce", "evaluations"];

/// Makes the methods of these names, out of `all` that there are. A parameter
/// goes to each method that has it; one that names its method goes there alone,
/// and counts more.
pub(crate) fn select(
    all: &[MethodInfo],
    names: &[String],
    params: &[Param],
    smooth: Option<u64>,
) -> anyhow::Result<Selection> {
    let infos = names
        .iter()
        .map(|name| methods::find(all, name))
        .collect::<Result<Vec<_>, _>>()
        .map_err(limpid::Error::from)?;
    if let Some(twice) = (1..names.len()).find(|&i| names[..i].contains(&names[i])) {
        let message = format!("{} is named twice by --method", names[twice]);
        return Err(Usage(message).into());
    }
    let smoothed: Vec<bool> = infos
        .iter()
        .map(|m| m.can_smooth() && smooth.or(m.smooth).is_some())
        .collect();

    let mut given: Vec<Vec<(&str, &str)>> = vec![Vec::new(); infos.len()];
    let (general, special): (Vec<&Param>, Vec<&Param>) =
        params.iter().partition(|p| p.method.is_none());
    for param in general.into_iter().chain(special) {
        for i in takers(param, &infos, &smoothed)? {
            given[i].push((&param.name, &param.value));
        }
    }
    let methods = infos
        .iter()
        .zip(&given)
        .map(|(m, given)| m.build(given, smooth))
        .collect::<Result<Vec<_>, _>>()
        .map_err(limpid::Error::from)?;
    let notes = infos
        .iter()
        .filter(|m| smooth.is_some() && !m.can_smooth())
        .map(|m| format!("--smooth leaves {} alone: it is no gradient method", m.id))
        .collect();
    Ok(Selection { methods, notes })
}

/// The methods that a parameter goes to.
fn takers(param: &Param, infos: &[&MethodInfo], smoothed: &[bool]) -> Result<Vec<usize>, Usage> {
    let name = &param.name;
    if let Some(method) = &param.method {
        let Some(i) = infos.iter().position(|m| m.id == *method) else {
            return Err(Usage(format!(
                "--param {method}.{name}: {method} is not named by --method"
            )));
        };
        if infos[i].param(name).is_none() {
            return Err(unknown(name, &infos[i..=i]));
        }
        return Ok(vec![i]);
    }
    let all: Vec<usize> = (0..infos.len())
        .filter(|&i| infos[i].param(name).is_some())
        .collect();
    if all.is_empty() {
        return Err(unknown(name, infos));
    }
    let of_smoothed: Vec<usize> = all.iter().copied().filter(|&i| smoothed[i]).collect();
    // Where none is smoothed, making the method says what is missing.
    let only_smoothed = SMOOTHING.contains(&name.as_str()) && !of_smoothed.is_empty();
    Ok(if only_smoothed { of_smoothed } else { all })
}

fn unknown(name: &str, infos: &[&MethodInfo]) -> Usage {
    let all = infos.iter().map(|m| {
        let names: Vec<&str> = m.params.iter().map(|p| &*p.name).collect();
        format!("{} has {}", m.id, names.join(", "))
    });
    let all: Vec<String> = all.collect();
    Usage(format!(
        "--param {name}: no such parameter; {}",
        all.join("; ")
    ))
}
