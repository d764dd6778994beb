//! Convolutions of 3 x 3 by Winograd's F(4 x 4, 3 x 3): 36 products where a
//! direct sum takes 144. Tiles and weights are evaluated at 36 points, a matrix
//! product at each point sums over channels, and the results are interpolated.

use super::conv::Convolution;
use super::mat_mul;
use super::product::{Finish, constant};
use super::taps::Phase;
use crate::gather::{Axis, Gather};
use crate::kernel::{Dispatch, Kernel, Slot};
use crate::weights::Form;

/// Points of a tile.
const POINTS: usize = 36;

/// Invocations of a workgroup of the transforms, which need many registers.
const TRANSFORMS: usize = 64;

/// Bytes of transformed tiles that lie in memory at once.
const TILES_BYTES: usize = 32 << 20;

/// The kernel of a convolution, where it pays.
pub(super) fn kernel(c: &Convolution<'_>, phase: &Phase) -> Option<Kernel> {
    let s = c.s;
    let [down, across] = [0, 1].map(|d| phase.taps[d].spaced());
    let window = phase.taps.iter().all(|t| t.count() == 3);
    let dense =
        phase.in_step == [1, 1] && phase.out_step == [1, 1] && [down[1], across[1]] == [1, 1];
    let tiles = phase.positions.map(|p| p.div_ceil(4));
    let per_image = tiles[0] * tiles[1];
    let pays = c
        .profile
        .tuning
        .winograd
        .is_some_and(|from| c.rows.min(c.channels) >= from.channels && per_image >= from.tiles);
    if !(c.groups == 1 && window && dense && pays) {
        return None;
    }
    // From the convolution's or the transposed one's order to [channel, row, window].
    let [channel, row] = match c.transposed {
        true => [c.rows * 9, 9],
        false => [9, c.channels * 9],
    };
    let gather = Gather {
        offset: 0,
        axes: vec![
            Axis::new(c.channels, channel),
            Axis::new(c.rows, row),
            Axis::new(9, 1),
        ],
    };
    let form = Form::Winograd {
        flipped: down[3] < 0,
    };
    let weights = constant(s, 1, &gather, c.scale, form)?;
    let (x, out) = (s.shape(0), s.output());
    let wide = c.rows.max(c.channels);
    let bytes = |images: usize| POINTS * wide * images * per_image * 4;
    let most = TILES_BYTES.min(c.profile.binding as usize);
    let transformed = POINTS * c.channels * c.rows * 4;
    if bytes(1).max(transformed) > c.profile.binding as usize {
        return None;
    }
    let images = (most / bytes(1)).clamp(1, out[0]);
    let part = bytes(images).next_multiple_of(256);
    let finish = Finish::new(s, c.epilogue, c.own, false, 2 * part);
    let mut dispatches = Vec::new();
    for first in (0..out[0]).step_by(images) {
        let count = (images.min(out[0] - first)) * per_image;
        let of = |channels: usize| POINTS * channels * count * 4;
        let evaluated = Slot::Workspace(0..of(c.channels));
        let products = Slot::Workspace(part..part + of(c.rows));
        let shared = [count, tiles[1], per_image, first];
        let mut input = Dispatch::new("winograd_input")
            .choose("X", s.reads[0].wgsl())
            .params([c.channels])
            .params(shared)
            .params([x[2], x[3]])
            .bind(Slot::Input(0))
            .bind(evaluated.clone())
            .over(c.channels * count, TRANSFORMS);
        input.params.extend([down[0] as u32, across[0] as u32]);
        input.work *= 300;
        let product = mat_mul::Product {
            starts: (0..POINTS)
                .map(|p| [p * c.channels * c.rows, p * c.channels * count])
                .collect(),
            extents: [c.rows, count],
            depth: c.channels,
            a: [1, c.rows],
            b: [1, count],
        };
        let operands = [Slot::Weights(weights.clone()), evaluated, products.clone()];
        let output = finish
            .switches(Dispatch::new("winograd_output"))
            .choose("Y", s.writes[0].wgsl())
            .switch("BIAS", c.bias.is_some())
            .switch("FACTOR", c.factor.is_some())
            .params([c.rows])
            .params(shared)
            .params([out[2], out[3]]);
        let mut output = finish
            .bounds(output)
            .bind(Slot::optional(c.bias))
            .bind(Slot::optional(c.factor))
            .bind(products);
        output.slots.extend(finish.slots());
        output.slots.push(finish.output());
        let mut output = output.over(c.rows * count, TRANSFORMS);
        output.work *= 200;
        dispatches.extend([input, product.dispatch(c.profile, operands), output]);
    }
    let name = match c.transposed {
        true => "transposed Winograd convolution",
        false => "Winograd convolution",
    };
    Some(finish.kernel(name, dispatches, 2 * part))
}

/// Evaluates windows of 3 x 3 at the points, in f64: `[point, window]`.
pub(crate) fn weights(windows: &[f32], flipped: bool) -> Vec<f32> {
    let points = [0.0, 0.75, -0.75, 1.5, -1.5];
    // Each row is over the product of its point's distances from the others.
    let row = |(j, x): (usize, &f64)| {
        let others = points.iter().enumerate().filter(|(k, _)| *k != j);
        let distances: f64 = others.map(|(_, y)| x - y).product();
        [1.0, *x, x * x].map(|power| power / distances)
    };
    let finite = points.iter().enumerate().map(row);
    let matrix: Vec<[f64; 3]> = finite.chain([[0.0, 0.0, 1.0]]).collect();
    let count = windows.len() / 9;
    let mut values = vec![0.0; POINTS * count];
    for (w, window) in windows.chunks_exact(9).enumerate() {
        let at = |i: usize| f64::from(window[if flipped { 8 - i } else { i }]);
        for (i, down) in matrix.iter().enumerate() {
            for (j, across) in matrix.iter().enumerate() {
                let terms = (0..9).map(|k| down[k / 3] * across[k % 3] * at(k));
                values[(i * 6 + j) * count + w] = terms.sum::<f64>() as f32;
            }
        }
    }
    values
}
