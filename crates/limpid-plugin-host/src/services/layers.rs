//! Layers and attentions.

use super::basic::answered;
use super::tensors::hand_host;
use super::{MAX_FEW, few, image, objectives, room, table, words};
use crate::job::{Fault, Job, invalid, light, service};
use limpid_explain::{ExplainError, LayerVariants, ModelInfo, Objective};
use limpid_plugin_abi as abi;
use limpid_tensor::Tensor;
use std::borrow::Cow;
use std::ffi::c_void;

const LAYERS: u64 = abi::LIMPID_CAN_READ_LAYERS;

/// A picture, layers and objectives of a request.
struct At<'a> {
    image: Cow<'a, Tensor>,
    layers: Vec<String>,
    objectives: Vec<Objective>,
}

impl<'a> At<'a> {
    /// # Safety
    /// The struct and what it points to live until the service returns.
    unsafe fn read(
        job: &'a Job,
        from: *const abi::limpid_layers,
        model: &ModelInfo,
    ) -> Result<Self, Fault> {
        // SAFETY: promised by the caller.
        unsafe {
            let at = table("request", from)?;
            let names = few("layers", at.layers, at.layer_count)?.iter();
            let names = names.map(|n| words("a layer's name", *n).map(str::to_owned));
            Ok(Self {
                image: image(job, at.picture, at.shape, model)?,
                layers: names.collect::<Result<_, _>>()?,
                objectives: objectives(at.objectives, at.objective_count, model.classes)?,
            })
        }
    }
}

pub(super) unsafe extern "C" fn layer_gradients(
    job: abi::limpid_job,
    request: *const abi::limpid_layers,
    activations: *mut abi::limpid_tensor,
    gradients: *mut abi::limpid_tensor,
) -> abi::limpid_status {
    service(job, LAYERS, |job, cx| {
        // SAFETY: the request and what it points to live until this returns;
        // there is room for so many tensors.
        unsafe {
            let at = At::read(job, request, cx.model())?;
            let (layers, scores) = (at.layers.len(), at.objectives.len());
            if (layers * scores) as u64 > MAX_FEW {
                return Err(invalid(format!(
                    "gradients of {scores} scores at {layers} layers"
                )));
            }
            let activations = room("activations", activations, layers)?;
            let gradients = room("gradients", gradients, layers * scores)?;
            let found = cx.layer_gradients(&at.image, &at.layers, &at.objectives)?;
            for (i, layer) in found.into_iter().enumerate() {
                hand_host(job, layer.activation, &raw mut activations[i])?;
                for (j, gradient) in layer.gradients.into_iter().enumerate() {
                    hand_host(job, gradient, &raw mut gradients[i * scores + j])?;
                }
            }
            Ok(())
        }
    })
}

pub(super) unsafe extern "C" fn layer_scores(
    job: abi::limpid_job,
    request: *const abi::limpid_variants,
    out: *mut f64,
    len: u64,
) -> abi::limpid_status {
    service(job, LAYERS, |job, cx| {
        // SAFETY: the request and what it points to live until this returns.
        unsafe {
            let request = table("request", request)?;
            let at = At::read(job, request.at, cx.model())?;
            let [layer] = &at.layers[..] else {
                return Err(invalid(format!(
                    "{} layers in place of one",
                    at.layers.len()
                )));
            };
            if at.objectives.is_empty() || request.count == u64::MAX {
                return Err(invalid("variants without scores, or too many"));
            }
            let wanted = request.count.saturating_mul(at.objectives.len() as u64);
            if wanted != len || usize::try_from(len).is_err() {
                return Err(invalid(format!("room for {len} of {wanted} scores")));
            }
            job.room(len.saturating_mul(8))?;
            let room = room("scores", out, len as usize)?;
            let vary = request.vary.ok_or_else(|| invalid("no function `vary`"))?;
            let mut answer = abi::LIMPID_OK;
            let found = cx.layer_scores(
                &LayerVariants {
                    image: &at.image,
                    layer,
                    objectives: &at.objectives,
                    count: request.count as usize,
                },
                &mut |i, cells| {
                    let (data, len) = (cells.as_mut_ptr(), cells.len() as u64);
                    answer = vary(request.object, i as u64, data, len);
                    match answer {
                        abi::LIMPID_OK => Ok(()),
                        // The run ends here; the plugin's own answer is returned.
                        _ => Err(ExplainError::Cancelled),
                    }
                },
            );
            answered(answer)?;
            room.copy_from_slice(&found?);
            Ok(())
        }
    })
}

/// The extension `limpid.attentions/1`.
pub(super) static ATTENTIONS: abi::limpid_attentions = abi::limpid_attentions {
    head: abi::limpid_head::of::<abi::limpid_attentions>(),
    read: Some(attentions),
};

unsafe extern "C" fn attentions(
    job: abi::limpid_job,
    request: *const abi::limpid_layers,
    tokens: *mut abi::limpid_tokens,
    object: *mut c_void,
    each: abi::limpid_each_attention,
) -> abi::limpid_status {
    let Some(each) = each else {
        return light(job, |_| Err(invalid("no function `each`")));
    };
    let mut tensors = Vec::new();
    let status = service(job, abi::LIMPID_CAN_READ_ATTENTIONS, |job, cx| {
        // SAFETY: the request and what it points to live until this returns.
        unsafe {
            let at = At::read(job, request, cx.model())?;
            let found = cx.attentions(&at.image, &at.objectives)?;
            let place = abi::limpid_tokens {
                head: abi::limpid_head::default(),
                before: found.before as u64,
                rows: found.rows as u64,
                columns: found.columns as u64,
                class_token: u64::from(found.class_token),
            };
            if !abi::fill(tokens, &place) {
                return Err(invalid("no room for the tokens' place"));
            }
            for layer in found.layers {
                let mut ids = vec![0; 1 + layer.gradients.len()];
                hand_host(job, layer.weights, &raw mut ids[0])?;
                for (to, gradient) in ids[1..].iter_mut().zip(layer.gradients) {
                    hand_host(job, gradient, to)?;
                }
                tensors.push(ids);
            }
            Ok(())
        }
    });
    if status != abi::LIMPID_OK {
        return status;
    }
    // The context is back in its place, so that the plugin can read the tensors.
    light(job, |job| {
        let mut answer = abi::LIMPID_OK;
        for ids in &tensors {
            if answer != abi::LIMPID_OK {
                // The plugin never hears of these.
                ids.iter().try_for_each(|id| job.release(*id))?;
                continue;
            }
            let gradients = &ids[1..];
            // SAFETY: the numbers live until the call returns; the object is
            // the plugin's.
            answer = unsafe { each(object, ids[0], gradients.as_ptr(), gradients.len() as u64) };
        }
        answered(answer)
    })
}
