use super::product::tiled;
use crate::kernel::{Dispatch, Kernel, Profile, Signature, Slot};
use crate::layout::Stored;
use crate::select::unsupported;
use crate::tuning::Tile;
use crate::weights::Weights;
use limpid_device::DeviceError;
use std::f64::consts::PI;

/// What a mode must keep of its amplitude to be computed.
const NEGLIGIBLE: f64 = 1e-8;

/// Points up to the middle, one in the middle included.
fn half(points: usize) -> usize {
    points.div_ceil(2)
}

/// Numbers of a row of the basis: whole vectors.
fn row(points: usize) -> usize {
    half(points).next_multiple_of(4)
}

/// Mode `mode` at point `point`: the angle pi mode (2 point + 1) / (2 points),
/// reduced exactly before the cosine.
fn cosine(points: usize, mode: usize, point: usize) -> f64 {
    let turn = (mode * (2 * point + 1)) % (4 * points);
    (PI * turn as f64 / (2 * points) as f64).cos()
}

/// The cosine basis of some number of points, up to the middle: for even and
/// then for odd modes a row for each point, or for each mode where `inverse`.
pub(crate) fn basis(points: usize, inverse: bool) -> Vec<f32> {
    let (half, row) = (half(points), row(points));
    let mut basis = vec![0.0; 2 * half * row];
    for mode in 0..points {
        for point in 0..half {
            let (line, at) = match inverse {
                true => (mode / 2, point),
                false => (point, mode / 2),
            };
            let place = (mode % 2 * half + line) * row + at;
            basis[place] = cosine(points, mode, point) as f32;
        }
    }
    basis
}

/// A step along one axis: how many planes, which it transposes, and their extents.
struct Step {
    tile: Tile,
    /// Planes of x, and of an image.
    planes: [usize; 2],
    images: usize,
    lines: usize,
    points: usize,
}

/// What a step does.
#[derive(Clone, Copy, PartialEq)]
enum Direction {
    /// Points to modes.
    Forward,
    /// Modes to points, and the blur or its derivative of planes of modes.
    Blur { slope: bool },
    /// Modes to points.
    Inverse,
}

impl Step {
    fn launch(
        &self,
        direction: Direction,
        [from, to]: [Slot; 2],
        [read, written]: [Stored; 2],
    ) -> Dispatch {
        let (forward, half) = (direction == Direction::Forward, half(self.points));
        let blur = matches!(direction, Direction::Blur { .. });
        let [planes_in, planes] = self.planes;
        let all = self.images * planes;
        let (columns, sharing) = match forward {
            true => (planes_in * self.lines, all / planes_in),
            false => (all * self.lines, 1),
        };
        let parities = if forward { 2 } else { 1 };
        let row_blocks = parities * half.div_ceil(self.tile.rows);
        let column_blocks = columns.div_ceil(self.tile.columns);
        let frequency = |points: usize| (PI / points as f64) as f32;
        let reach = (-2.0 * NEGLIGIBLE.ln()).sqrt() / PI;
        let basis = Weights::Basis {
            points: self.points,
            inverse: !forward,
        };
        let mut dispatch = tiled("heat_kernel", self.tile)
            .choose("X", read.wgsl())
            .choose("Y", written.wgsl())
            .switch("INVERSE", !forward)
            .switch("BLUR", blur)
            .switch("SLOPE", direction == Direction::Blur { slope: true })
            .params([self.points, half, row(self.points) / 4])
            .params([self.lines, planes, columns, row_blocks])
            .params([planes_in, sharing])
            .floats([frequency(self.points), frequency(self.lines), reach as f32])
            .floats([(1.0 / (self.lines * self.points) as f64) as f32])
            .bind(Slot::Weights(basis))
            .bind(Slot::Input(1))
            .bind(from)
            .bind(to);
        dispatch.groups = (row_blocks * column_blocks) as u64;
        dispatch.work = 2 * (columns * self.points) as u64 * half as u64;
        // Both parities where modes become points; else the blurs that share a
        // picture are looked through.
        let shared = (self.tile.columns * sharing).div_ceil(self.tile.invocations());
        dispatch.rounds = match forward {
            true => self.tile.rounds(half) + shared as u64,
            false => 2 * self.tile.rounds(half),
        };
        dispatch
    }
}

/// The blurred images, and their derivatives where somebody reads them. Each
/// picture is transformed once.
///
/// # Errors
/// [`DeviceError::Unsupported`] where a side is too long for its basis.
pub(crate) fn heat_kernel(s: &Signature<'_>, profile: &Profile) -> Result<Kernel, DeviceError> {
    let (x, out) = (s.shape(0), s.output());
    let [images, channels, h, w] = [0, 1, 2, 3].map(|i| out[i]);
    for side in [h, w] {
        let numbers = row(side).checked_mul(2 * half(side));
        let bytes = numbers.and_then(|n| n.checked_mul(4));
        if bytes.is_none_or(|b| b as u64 > profile.binding) {
            let reason = format!("the basis of a side of {side} pixels does not fit a binding");
            return Err(unsupported(s.op, reason));
        }
    }
    let planes_in = x[0] * channels;
    let area = |planes: usize| planes * h * w * 4;
    let modes = Slot::Workspace(0..area(planes_in));
    let start = area(planes_in).next_multiple_of(256);
    let work = |planes: usize| Slot::Workspace(start..start + area(planes));
    let step = |planes_in: usize, lines: usize, points: usize| Step {
        // It keeps two sums for each output.
        tile: profile.tuning.small,
        planes: [planes_in, channels],
        images,
        lines,
        points,
    };
    let f32 = Stored::F32;
    let half_way = work(planes_in);
    let mut dispatches = vec![
        step(planes_in, h, w).launch(
            Direction::Forward,
            [Slot::Input(0), half_way.clone()],
            [s.reads[0], f32],
        ),
        step(planes_in, w, h).launch(Direction::Forward, [half_way, modes.clone()], [f32; 2]),
    ];
    let all = images * channels;
    for (output, slope) in [(0, false), (1, true)] {
        if !s.used[output] {
            continue;
        }
        let (from, half_way) = (modes.clone(), work(all));
        let direction = Direction::Blur { slope };
        dispatches.push(step(planes_in, h, w).launch(
            direction,
            [from, half_way.clone()],
            [f32; 2],
        ));
        dispatches.push(step(all, w, h).launch(
            Direction::Inverse,
            [half_way, Slot::Output(output)],
            [f32, s.writes[output]],
        ));
    }
    Ok(Kernel {
        name: "cosine transform",
        dispatches,
        workspace: start + area(all),
    })
}
