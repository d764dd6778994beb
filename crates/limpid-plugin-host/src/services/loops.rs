//! Whole loops over points of a path.

use super::basic::answered;
use super::tensors::{hand, hand_host};
use super::{
    MAX_LIST, OwnedSubject, aligned, list, objective, objectives, room, samples, table, unknown,
};
use crate::job::{Fault, invalid, number, service, status_name};
use crate::path::broken;
use limpid_explain::{
    Accumulation, ExplainError, Gradients, Integration, Node, Planner, Points, Reduce, Sample,
    Schedule, Sums, Weighted,
};
use limpid_graph::ops::{Reshape, Slice};
use limpid_graph::{Fact, Graph, GraphError};
use limpid_plugin::table::panic_message;
use limpid_plugin_abi as abi;
use limpid_tensor::Tensor;
use std::cell::RefCell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

const INTEGRATE: u64 = abi::LIMPID_CAN_INTEGRATE;

pub(super) unsafe extern "C" fn integrate(
    job: abi::limpid_job,
    request: *const abi::limpid_integration,
    out: *mut abi::limpid_tensor,
) -> abi::limpid_status {
    service(job, INTEGRATE, |job, cx| {
        // SAFETY: the request and what it points to live until this returns.
        unsafe {
            let request = table("request", request)?;
            let subject = OwnedSubject::read(job, request.subject, cx.model())?;
            let score = objective(request.objective, cx.model().classes)?;
            let nodes = list("nodes", request.nodes, request.node_count)?;
            let nodes = nodes.iter().map(|n| Node {
                position: n.position,
                weight: n.weight,
            });
            let schedule = Schedule::nested(request.draws, nodes.collect());
            if schedule.evaluations().is_none_or(|n| n == 0) {
                let nodes = schedule.nodes.len();
                return Err(invalid(format!("{} draws of {nodes} nodes", request.draws)));
            }
            let map = cx.integrate(&Integration {
                subject: subject.get(),
                objective: &score,
                schedule: &schedule,
                reduce: match request.reduce {
                    abi::LIMPID_MEAN => Reduce::Mean,
                    abi::LIMPID_SQUARED => Reduce::Squared,
                    abi::LIMPID_VARIANCE => Reduce::Variance,
                    other => return Err(unknown("reducer", other)),
                },
            })?;
            hand_host(job, map, out)
        }
    })
}

/// A planner whose function is a plugin's.
struct PluginPlanner {
    object: *mut c_void,
    next: unsafe extern "C" fn(*mut c_void, *const abi::limpid_plan) -> abi::limpid_status,
    rows: usize,
    /// What the plugin answered, where it was no success.
    answer: abi::limpid_status,
}

/// What a plugin's planner works on, meanwhile.
struct Plan<'a, 'b> {
    points: Vec<Weighted>,
    rows: usize,
    sums: &'a mut Sums<'b>,
    error: Option<ExplainError>,
}

thread_local! {
    /// The plans that this thread's planners fill: a plan's pointer is a number
    /// to its plugin, so that one that is over, or another thread's, is refused.
    static PLANS: RefCell<Vec<(usize, NonNull<c_void>)>> = const { RefCell::new(Vec::new()) };
}

/// Runs a function of the plan of this number, if the thread has one.
///
/// # Safety
/// What stands in the list is alive and not used while the plugin runs.
unsafe fn with_plan(
    object: *mut c_void,
    work: impl FnOnce(&mut Plan<'_, '_>) -> Result<(), ExplainError>,
) -> abi::limpid_status {
    let number = object.addr();
    let find = |plans: &RefCell<Vec<(usize, NonNull<c_void>)>>| {
        let plans = plans.borrow();
        plans.iter().find(|(n, _)| *n == number).map(|(_, at)| *at)
    };
    let Some(at) = PLANS.try_with(find).ok().flatten() else {
        return abi::LIMPID_WRONG_THREAD;
    };
    // SAFETY: promised by the caller; the list's entries are plans.
    let plan = unsafe { at.cast::<Plan<'_, '_>>().as_mut() };
    let error = match catch_unwind(AssertUnwindSafe(|| work(plan))) {
        Ok(Ok(())) => return abi::LIMPID_OK,
        Ok(Err(error)) => error,
        Err(panic) => broken(format!("a plan that panicked: {}", panic_message(&*panic))),
    };
    // The first error is the cause of the others.
    plan.error.get_or_insert(error);
    abi::LIMPID_INVALID
}

unsafe extern "C" fn add(
    object: *mut c_void,
    points: *const abi::limpid_weighted,
    count: u64,
) -> abi::limpid_status {
    // SAFETY: `next` keeps the list; the points are the plugin's.
    unsafe {
        with_plan(object, |plan| {
            let all = (plan.points.len() as u64).saturating_add(count);
            if all > MAX_LIST {
                return Err(broken(format!("a plan of {all} points at once")));
            }
            let points = list("points", points, count);
            let points = points.map_err(|_| broken("a list of points that is none"))?;
            let sound = |point: &abi::limpid_weighted| {
                let finite = point.sample.position.is_finite() && point.weight.is_finite();
                finite && point.row < plan.rows as u64
            };
            if !points.iter().all(sound) {
                return Err(broken("a point that is not finite or of no sum"));
            }
            plan.points.extend(points.iter().map(|point| Weighted {
                sample: Sample {
                    draw: point.sample.draw,
                    position: point.sample.position,
                },
                weight: point.weight,
                row: point.row as usize,
            }));
            Ok(())
        })
    }
}

unsafe extern "C" fn sums(object: *mut c_void, out: *mut f32, len: u64) -> abi::limpid_status {
    // SAFETY: as in `add`; there is room for `len` numbers.
    unsafe {
        with_plan(object, |plan| {
            let rows = (plan.sums)()?;
            let all: usize = rows.iter().map(|r| r.data().len()).sum();
            if len != all as u64 {
                return Err(broken(format!("room for {len} of {all} numbers of sums")));
            }
            let room = room("sums", out, all);
            let mut to = room.map_err(|_| broken("no room for sums"))?;
            for row in rows {
                let (now, later) = to.split_at_mut(row.data().len());
                now.copy_from_slice(row.data());
                to = later;
            }
            Ok(())
        })
    }
}

/// The answer of a planner of a plugin that was no success.
#[derive(Debug, thiserror::Error)]
#[error("the plugin's planner failed with {}", status_name(*.0))]
struct PlannerFailed(abi::limpid_status);

impl Planner for PluginPlanner {
    fn next(&mut self, sums_of: &mut Sums<'_>) -> Result<Vec<Weighted>, ExplainError> {
        /// Takes a plan off its thread's list.
        struct Over(usize);
        impl Drop for Over {
            fn drop(&mut self) {
                PLANS.with_borrow_mut(|plans| plans.retain(|(n, _)| *n != self.0));
            }
        }
        let mut plan = Plan {
            points: Vec::new(),
            rows: self.rows,
            sums: sums_of,
            error: None,
        };
        let number = number() as usize;
        let at = NonNull::from(&mut plan).cast::<c_void>();
        PLANS.with_borrow_mut(|plans| plans.push((number, at)));
        let over = Over(number);
        let table = abi::limpid_plan {
            head: abi::limpid_head::of::<abi::limpid_plan>(),
            object: std::ptr::without_provenance_mut(number),
            add: Some(add),
            sums: Some(sums),
        };
        // SAFETY: the table lives until the call returns; the object is the
        // plugin's.
        let status = unsafe { (self.next)(self.object, &raw const table) };
        drop(over);
        // An error of the host's counts, whatever the plugin makes of it.
        if let Some(error) = plan.error {
            return Err(error);
        }
        if status != abi::LIMPID_OK {
            self.answer = status;
            return Err(ExplainError::Run(Box::new(PlannerFailed(status))));
        }
        Ok(plan.points)
    }
}

/// The rows of a tensor `[rows, C, H, W]`, each a tensor of its own.
fn split(rows: usize, dims: &[usize]) -> Result<Graph, GraphError> {
    let mut graph = Graph::new();
    let all = graph.input("sums", Fact::f32([&[rows], dims].concat()));
    let mut outputs = Vec::with_capacity(rows);
    for start in 0..rows {
        let slice = Slice {
            axis: 0,
            start,
            step: 1,
            count: 1,
        };
        let row = graph.push("row", slice, &[all])?[0];
        let shape = dims.iter().map(|d| *d as i64).collect();
        outputs.push(graph.push("sum", Reshape { shape }, &[row])?[0]);
    }
    graph.set_outputs(&outputs);
    Ok(graph)
}

pub(super) unsafe extern "C" fn accumulate(
    job: abi::limpid_job,
    request: *const abi::limpid_accumulation,
    out: *mut abi::limpid_tensor,
) -> abi::limpid_status {
    service(job, INTEGRATE, |job, cx| {
        // SAFETY: the request and what it points to live until this returns.
        unsafe {
            let request = table("request", request)?;
            let subject = OwnedSubject::read(job, request.subject, cx.model())?;
            let score = objective(request.objective, cx.model().classes)?;
            let next = request.next.ok_or_else(|| invalid("no function `next`"))?;
            let size = subject.image.data().len();
            let bytes = (size as u64).saturating_mul(4).saturating_mul(request.rows);
            job.room(bytes)?;
            let rows = request.rows as usize;
            if rows == 0 {
                return Err(invalid("an accumulation of no sums"));
            }
            let initial = match request.initial.is_null() {
                true => &[][..],
                false => aligned("what sums begin with", request.initial, rows * size)?,
            };
            let initial = initial.chunks(size.max(1));
            let initial = initial.map(|row| Tensor::from_slice(subject.image.dims(), row));
            let mut planner = PluginPlanner {
                object: request.object,
                next,
                rows,
                answer: abi::LIMPID_OK,
            };
            let sums = cx.accumulate(
                &Accumulation {
                    subject: subject.get(),
                    objective: &score,
                    rows,
                    initial: initial.collect::<Result<_, _>>()?,
                    expected: request.expected,
                },
                &mut planner,
            );
            answered(planner.answer)?;
            let split = split(rows, subject.image.dims()).map_err(ExplainError::from)?;
            let sums = cx.compute(&split, &[&sums?])?;
            let room = room("sums", out, rows)?;
            for (to, sum) in room.iter_mut().zip(sums) {
                hand(job, sum, to)?;
            }
            Ok(())
        }
    })
}

pub(super) unsafe extern "C" fn gradients(
    job: abi::limpid_job,
    request: *const abi::limpid_points,
) -> abi::limpid_status {
    service(job, INTEGRATE, |job, cx| {
        // SAFETY: the request and what it points to live until this returns.
        unsafe {
            let request = table("request", request)?;
            let subject = OwnedSubject::read(job, request.subject, cx.model())?;
            let score = objective(request.objectives, cx.model().classes)?;
            let points = samples(list("points", request.points, request.point_count)?)?;
            let visit = request
                .visit
                .ok_or_else(|| invalid("no function `visit`"))?;
            let mut answer = abi::LIMPID_OK;
            let done = cx.gradients(
                &Gradients {
                    subject: subject.get(),
                    objective: &score,
                    points: &points,
                    times_velocity: request.times_velocity != 0,
                },
                &mut |i, map| {
                    let (data, len) = (map.as_ptr(), map.len() as u64);
                    answer = visit(request.object, i as u64, data, len);
                    match answer {
                        abi::LIMPID_OK => Ok(()),
                        // The run ends here; the plugin's own answer is returned.
                        _ => Err(ExplainError::Cancelled),
                    }
                },
            );
            answered(answer)?;
            Ok::<(), Fault>(done?)
        }
    })
}

pub(super) unsafe extern "C" fn scores(
    job: abi::limpid_job,
    request: *const abi::limpid_points,
    out: *mut f64,
    len: u64,
) -> abi::limpid_status {
    service(job, abi::LIMPID_CAN_SCORE, |job, cx| {
        // SAFETY: the request and what it points to live until this returns.
        unsafe {
            let request = table("request", request)?;
            let subject = OwnedSubject::read(job, request.subject, cx.model())?;
            let classes = cx.model().classes;
            let scores = objectives(request.objectives, request.objective_count, classes)?;
            let points = samples(list("points", request.points, request.point_count)?)?;
            let wanted = points.len() * scores.len();
            if wanted as u64 != len {
                return Err(invalid(format!("room for {len} of {wanted} scores")));
            }
            job.room(8 * len)?;
            let room = room("scores", out, wanted)?;
            let found = cx.scores(&Points {
                subject: subject.get(),
                objectives: &scores,
                points: &points,
            })?;
            room.copy_from_slice(&found);
            Ok(())
        }
    })
}
