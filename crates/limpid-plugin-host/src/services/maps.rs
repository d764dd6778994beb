//! A plugin's results, which are checked before anybody uses them.

use super::{aligned, table, unknown, words};
use crate::job::{Fault, Job, invalid, service};
use crate::path::extents;
use limpid_explain::{Attribution, Completeness, Context, Domain, Evaluations, ExplainError};
use limpid_plugin_abi as abi;
use limpid_tensor::Tensor;

pub(super) unsafe extern "C" fn emit(
    job: abi::limpid_job,
    map: *const abi::limpid_map,
) -> abi::limpid_status {
    service(job, 0, |job, cx| {
        // SAFETY: the map and what it points to live until this returns.
        unsafe {
            let map = table("map", map)?;
            let attribution = read(job, cx, &map)?;
            let mut maps = job.maps.borrow_mut();
            if maps.len() == job.expected.maps {
                job.surplus.set(job.surplus.get() + 1);
                let message = format!("more than the {} maps asked for", maps.len());
                return Err(invalid(message));
            }
            maps.push(attribution);
            Ok(())
        }
    })
}

/// A map of another shape, or that is not finite, is a breach of the interface's
/// rules.
fn fault(error: ExplainError) -> Fault {
    match error {
        ExplainError::Shape { .. } => invalid(error.to_string()),
        ExplainError::NonFinite { .. } => invalid("a map that is not finite"),
        other => other.into(),
    }
}

/// # Safety
/// What the map points to lives until the service returns.
unsafe fn read(
    job: &Job,
    cx: &mut dyn Context,
    map: &abi::limpid_map,
) -> Result<Attribution, Fault> {
    // SAFETY: promised by the caller.
    let layer = unsafe { words("a layer's name", map.layer) }?;
    let domain = match map.domain {
        abi::LIMPID_INPUT => Domain::Input,
        abi::LIMPID_LAYER => Domain::Layer(layer.to_owned()),
        abi::LIMPID_PIXELS => Domain::Pixels,
        other => return Err(unknown("domain", other)),
    };
    let wanted = job.expected.extents(&domain).map_err(fault)?;
    // SAFETY: promised by the caller.
    let values = unsafe { values(job, cx, map, wanted.as_deref()) }?;
    let standard_error = match map.standard_error.is_null() {
        true => None,
        false => {
            // SAFETY: it has the map's shape.
            let data =
                unsafe { aligned("a standard error", map.standard_error, values.data().len()) }?;
            Some(Tensor::from_slice(values.dims(), data)?)
        }
    };
    let mut attribution = Attribution {
        signed: map.has_sign != 0,
        standard_error,
        ..Attribution::new(
            values,
            domain,
            Evaluations {
                gradients: map.evaluations.gradients,
                forwards: map.evaluations.forwards,
            },
        )
    };
    if map.is_complete != 0 {
        let total = attribution.total();
        attribution.completeness = Some(Completeness::new(total, map.expected));
    }
    job.expected.check(&attribution).map_err(fault)?;
    Ok(attribution)
}

/// The map's numbers, of these extents where they are known.
///
/// # Safety
/// What the map points to lives until the service returns.
unsafe fn values(
    job: &Job,
    cx: &mut dyn Context,
    map: &abi::limpid_map,
    wanted: Option<&[usize]>,
) -> Result<Tensor, Fault> {
    if map.tensor == 0 {
        if map.data.is_null() {
            return Err(invalid("a map at null"));
        }
        // SAFETY: promised by the caller. What is read is no more than a map of
        // the right shape has.
        unsafe {
            let dims = extents(map.shape, map.rank)?;
            let most = wanted.map_or(job.expected.most(), |w| w.iter().product());
            if dims.iter().product::<usize>() > most {
                return Err(invalid(format!(
                    "a map of shape {dims:?}, expected {:?}",
                    wanted.unwrap_or_default()
                )));
            }
            let most = 4 * most as u64;
            return Ok(crate::path::tensor(map.data, map.shape, map.rank, most)?);
        }
    }
    let rank = wanted.map_or(2, <[usize]>::len);
    let dims = job.dims(map.tensor)?;
    let ones = dims.len().saturating_sub(rank);
    let dims = match dims[..ones].iter().all(|d| *d == 1) {
        true => dims[ones..].to_vec(),
        false => dims.to_vec(),
    };
    job.with_numbers(map.tensor, cx, |numbers| {
        Ok(Tensor::from_slice(dims, numbers)?)
    })
}
