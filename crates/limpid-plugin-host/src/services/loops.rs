//! Whole loops over points of a path.

use super::basic::answered;
use super::tensors::hand_host;
use super::{MAX_LIST, OwnedSubject, list, objective, objectives, room, samples, table, unknown};
use crate::job::{Fault, invalid, service, status_name};
use crate::path::broken;
use limpid_explain::{
    Accumulation, ExplainError, Gradients, Integration, Node, Planner, Points, Reduce, Sample,
    Schedule, Sums, Weighted,
};
use limpid_plugin_abi as abi;
use limpid_tensor::Tensor;
use std::ffi::c_void;
use std::thread::{self, ThreadId};

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
            hand_host(job, cx, &map, out)
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
    /// Whether it was told why by the host, whose error counts then.
    told: bool,
}

/// What a plugin's planner works on, meanwhile.
struct Plan<'a, 'b> {
    points: Vec<Weighted>,
    rows: usize,
    sums: &'a mut Sums<'b>,
    error: Option<ExplainError>,
    thread: ThreadId,
}

impl Plan<'_, '_> {
    /// Keeps what is wrong with what the plugin does.
    fn refuse(&mut self, message: &str) -> abi::limpid_status {
        self.error = Some(broken(message));
        abi::LIMPID_INVALID
    }

    /// Whether the thread is the one that runs the job.
    fn is_own(&self) -> bool {
        thread::current().id() == self.thread
    }
}

unsafe extern "C" fn add(
    object: *mut c_void,
    points: *const abi::limpid_weighted,
    count: u64,
) -> abi::limpid_status {
    // SAFETY: `object` is the plan that `next` made, which is not used while
    // the plugin runs; the points are the plugin's.
    unsafe {
        if !(*object.cast::<Plan<'_, '_>>()).is_own() {
            return abi::LIMPID_WRONG_THREAD;
        }
        let plan = &mut *object.cast::<Plan<'_, '_>>();
        let all = (plan.points.len() as u64).saturating_add(count);
        let Ok(points) = list("points", points, count) else {
            return plan.refuse("a list of points that is none");
        };
        if all > MAX_LIST {
            return plan.refuse(&format!("a plan of {all} points at once"));
        }
        for point in points {
            let finite = point.sample.position.is_finite() && point.weight.is_finite();
            if !finite || point.row >= plan.rows as u64 {
                return plan.refuse("a point that is not finite or of no sum");
            }
            plan.points.push(Weighted {
                sample: Sample {
                    draw: point.sample.draw,
                    position: point.sample.position,
                },
                weight: point.weight,
                row: point.row as usize,
            });
        }
    }
    abi::LIMPID_OK
}

unsafe extern "C" fn sums(object: *mut c_void, out: *mut f32, len: u64) -> abi::limpid_status {
    // SAFETY: as in `add`; there is room for `len` numbers.
    unsafe {
        if !(*object.cast::<Plan<'_, '_>>()).is_own() {
            return abi::LIMPID_WRONG_THREAD;
        }
        let plan = &mut *object.cast::<Plan<'_, '_>>();
        match (plan.sums)() {
            Ok(rows) => {
                let all: usize = rows.iter().map(|r| r.data().len()).sum();
                if out.is_null() || len != all as u64 {
                    return plan.refuse(&format!("room for {len} of {all} numbers of sums"));
                }
                let mut to = abi::slice_mut(out, len);
                for row in rows {
                    let (now, later) = to.split_at_mut(row.data().len());
                    now.copy_from_slice(row.data());
                    to = later;
                }
                abi::LIMPID_OK
            }
            Err(error) => {
                plan.error = Some(error);
                abi::LIMPID_FAILED
            }
        }
    }
}

/// The answer of a planner of a plugin that was no success.
#[derive(Debug, thiserror::Error)]
#[error("the plugin's planner failed with {}", status_name(*.0))]
struct PlannerFailed(abi::limpid_status);

impl Planner for PluginPlanner {
    fn next(&mut self, sums_of: &mut Sums<'_>) -> Result<Vec<Weighted>, ExplainError> {
        let mut plan = Plan {
            points: Vec::new(),
            rows: self.rows,
            sums: sums_of,
            error: None,
            thread: thread::current().id(),
        };
        let table = abi::limpid_plan {
            head: abi::limpid_head::of::<abi::limpid_plan>(),
            object: (&raw mut plan).cast(),
            add: Some(add),
            sums: Some(sums),
        };
        // SAFETY: the table lives until the call returns; the object is the
        // plugin's.
        let status = unsafe { (self.next)(self.object, &raw const table) };
        if status != abi::LIMPID_OK {
            self.answer = status;
            self.told = plan.error.is_some();
            let failed = || ExplainError::Run(Box::new(PlannerFailed(status)));
            return Err(plan.error.unwrap_or_else(failed));
        }
        Ok(plan.points)
    }
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
                false => abi::slice(request.initial, (rows * size) as u64),
            };
            let initial = initial.chunks(size.max(1));
            let initial = initial.map(|row| Tensor::from_slice(subject.image.dims(), row));
            let mut planner = PluginPlanner {
                object: request.object,
                next,
                rows,
                answer: abi::LIMPID_OK,
                told: false,
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
            if !planner.told {
                answered(planner.answer)?;
            }
            let sums = sums?;
            let room = room("sums", out, rows)?;
            for (to, sum) in room.iter_mut().zip(sums) {
                hand_host(job, cx, &sum, to)?;
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
