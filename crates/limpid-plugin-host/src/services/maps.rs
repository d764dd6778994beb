//! A plugin's results, which are checked before anybody uses them.

use super::{table, unknown, words};
use crate::job::{Fault, Job, invalid, service};
use crate::path::extents;
use limpid_explain::{Attribution, Completeness, Context, Domain, Evaluations, ExplainError};
use limpid_plugin_abi as abi;
use limpid_tensor::Tensor;

/// The most cells of a map on a layer's grid.
const MAX_CELLS: usize = 1 << 24;

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
                let message = format!("more than the {} maps asked for", maps.len());
                return Err(invalid(message));
            }
            maps.push(attribution);
            Ok(())
        }
    })
}

/// # Safety
/// What the map points to lives until the service returns.
unsafe fn read(
    job: &Job,
    cx: &mut dyn Context,
    map: &abi::limpid_map,
) -> Result<Attribution, Fault> {
    let [c, h, w] = job.expected.dims;
    // SAFETY: promised by the caller.
    let layer = unsafe { words("a layer's name", map.layer) }?;
    let domain = match map.domain {
        abi::LIMPID_INPUT => Domain::Input,
        abi::LIMPID_LAYER => Domain::Layer(layer.to_owned()),
        abi::LIMPID_PIXELS => Domain::Pixels,
        other => return Err(unknown("domain", other)),
    };
    let (output, wanted) = match &domain {
        Domain::Input => ("[C,H,W]", vec![c, h, w]),
        Domain::Layer(_) => ("[h,w]", Vec::new()),
        _ => ("[H,W]", vec![h, w]),
    };
    if output != job.expected.output {
        return Err(invalid(format!(
            "a map {output}: the method says that its maps are {}",
            job.expected.output
        )));
    }
    // SAFETY: promised by the caller.
    let values = unsafe { values(job, cx, map, &wanted) }?;
    let fits = match &domain {
        Domain::Layer(_) => matches!(values.dims(), [h, w] if h * w <= MAX_CELLS),
        _ => values.dims() == wanted,
    };
    if !fits {
        let found = values.shape();
        return Err(invalid(format!(
            "a map of shape {found} where {output} with C, H, W = {c}, {h}, {w} belongs"
        )));
    }
    let standard_error = match map.standard_error.is_null() {
        true => None,
        false => {
            // SAFETY: it has the map's shape.
            let data = unsafe { abi::slice(map.standard_error, values.data().len() as u64) };
            Some(Tensor::from_slice(values.dims(), data)?)
        }
    };
    let finite = values.is_finite() && standard_error.as_ref().is_none_or(Tensor::is_finite);
    if !finite || (map.is_complete != 0 && !map.expected.is_finite()) {
        return Err(ExplainError::NonFinite {
            what: "a map of the plugin".into(),
        }
        .into());
    }
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
    Ok(attribution)
}

/// The map's numbers.
///
/// # Safety
/// What the map points to lives until the service returns.
unsafe fn values(
    job: &Job,
    cx: &mut dyn Context,
    map: &abi::limpid_map,
    wanted: &[usize],
) -> Result<Tensor, Fault> {
    if map.tensor == 0 {
        if map.data.is_null() {
            return Err(invalid("a map at null"));
        }
        // SAFETY: promised by the caller. What is read is no more than a map of
        // the right shape has.
        unsafe {
            let dims = extents(map.shape, map.rank)?;
            let most = match wanted.is_empty() {
                true => MAX_CELLS,
                false => wanted.iter().product(),
            };
            let len = dims.iter().product::<usize>();
            if len > most {
                return Err(invalid(format!(
                    "a map of shape {dims:?}, expected {wanted:?}"
                )));
            }
            return Ok(crate::path::tensor(map.data, map.shape, map.rank)?);
        }
    }
    let tensor = cx.download(&job.tensor(map.tensor)?)?;
    let rank = if wanted.is_empty() { 2 } else { wanted.len() };
    let dims = tensor.dims();
    let ones = dims.len().saturating_sub(rank);
    let dims = match dims[..ones].iter().all(|d| *d == 1) {
        true => dims[ones..].to_vec(),
        false => dims.to_vec(),
    };
    Ok(tensor.reshape(dims)?)
}
