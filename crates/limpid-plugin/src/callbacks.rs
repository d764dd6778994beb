//! The plugin's functions that the host's services call.

use crate::context::Job;
use crate::error::HostError;
use crate::path::Callback;
use limpid_explain::{Attention, ExplainError, Planner, Sample, Vary, Visit, Weighted};
use limpid_plugin_abi as abi;
use limpid_tensor::Tensor;
use std::ffi::c_void;

pub(crate) fn sample(s: Sample) -> abi::limpid_sample {
    abi::limpid_sample {
        draw: s.draw,
        position: s.position,
    }
}

pub(crate) unsafe extern "C" fn next(
    object: *mut c_void,
    plan: *const abi::limpid_plan,
) -> abi::limpid_status {
    type State<'a> = (Job, usize, Vec<usize>, &'a mut dyn Planner);
    // SAFETY: `object` is the callback that `accumulate` made; the plan is the
    // host's until this returns.
    unsafe {
        let plan = abi::read(plan);
        Callback::<State<'_>>::run(object, |(job, rows, dims, planner)| {
            let plan = plan.ok_or_else(|| HostError::missing("plan"))?;
            let read = plan.sums.ok_or_else(|| HostError::missing("sums"))?;
            let add = plan.add.ok_or_else(|| HostError::missing("add"))?;
            let mut sums = || {
                let mut all = Tensor::zeros([&[*rows], &dims[..]].concat())?;
                let (out, len) = (all.data_mut().as_mut_ptr(), all.data().len() as u64);
                job.check(read(plan.object, out, len))?;
                let size = (all.data().len() / *rows).max(1);
                let rows = all.data().chunks(size);
                rows.map(|row| Ok(Tensor::from_slice(&dims[..], row)?))
                    .collect::<Result<Vec<_>, ExplainError>>()
            };
            let points = planner.next(&mut sums)?;
            let points: Vec<abi::limpid_weighted> = points.iter().map(weighted).collect();
            job.check(add(plan.object, points.as_ptr(), points.len() as u64))
        })
    }
}

fn weighted(w: &Weighted) -> abi::limpid_weighted {
    abi::limpid_weighted {
        sample: sample(w.sample),
        weight: w.weight,
        row: w.row as u64,
    }
}

pub(crate) unsafe extern "C" fn visit(
    object: *mut c_void,
    index: u64,
    gradient: *const f32,
    len: u64,
) -> abi::limpid_status {
    // SAFETY: `object` is the callback that `gradients` made; the host passes
    // `len` numbers.
    unsafe {
        let gradient = abi::slice(gradient, len);
        Callback::<&mut Visit<'_>>::run(object, |visit| visit(index as usize, gradient))
    }
}

pub(crate) unsafe extern "C" fn vary(
    object: *mut c_void,
    index: u64,
    cells: *mut f32,
    len: u64,
) -> abi::limpid_status {
    // SAFETY: `object` is the callback that `layer_scores` made; the host
    // passes `len` numbers that are ours until this returns.
    unsafe {
        let cells = abi::slice_mut(cells, len);
        Callback::<&mut Vary<'_>>::run(object, |vary| vary(index as usize, cells))
    }
}

pub(crate) unsafe extern "C" fn each_attention(
    object: *mut c_void,
    weights: abi::limpid_tensor,
    gradients: *const abi::limpid_tensor,
    count: u64,
) -> abi::limpid_status {
    // SAFETY: `object` is the callback that `attentions` made; the host passes
    // `count` tensors.
    unsafe {
        let gradients = abi::slice(gradients, count);
        Callback::<(Job, Vec<Attention>)>::run(object, |(job, found)| {
            let gradients = gradients.iter().map(|g| job.fetch(*g));
            found.push(Attention {
                weights: job.fetch(weights)?,
                gradients: gradients.collect::<Result<_, _>>()?,
            });
            Ok(())
        })
    }
}
