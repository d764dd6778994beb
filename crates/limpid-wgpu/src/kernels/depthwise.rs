use super::conv::Convolution;
use super::product::Finish;
use super::taps::Phase;
use crate::kernel::{Dispatch, Slot};

/// The inputs of a row that an invocation keeps in registers.
const SPAN: usize = 32;

/// Outputs of a workgroup, four for each invocation.
const OUTPUTS: usize = 1024;

/// A convolution of each channel with a window of its own.
pub(super) fn launch(
    c: &Convolution<'_>,
    phase: &Phase,
    weights: Slot,
    finish: &Finish,
) -> Dispatch {
    let s = c.s;
    let (x, weight, out) = (s.shape(0), s.shape(1), s.output());
    let [across, step_x] = [phase.taps[1].count(), phase.in_step[1]];
    let [tap_y, tap_step_y, row, row_step] = phase.taps[0].spaced();
    let [tap_x, tap_step_x, column, column_step] = phase.taps[1].spaced();
    let width = weight[3] as i32;
    // A block is as long as an image has pixels, so that few stay without.
    let block = phase.pixels().next_power_of_two().clamp(32, OUTPUTS);
    let lines = OUTPUTS / block;
    let columns = out[0] * phase.pixels();
    let channel_blocks = out[1].div_ceil(lines);
    let in_a_row =
        phase.positions[1].is_multiple_of(4) && tap_step_x == 1 && 3 * step_x + across <= SPAN;
    let signed = |values: &[i32]| values.iter().map(|v| *v as u32).collect::<Vec<_>>();
    let mut dispatch = Dispatch::new("depthwise")
        .choose("X", s.reads[0].wgsl())
        .choose("Y", s.writes[0].wgsl())
        .choose("ROW", in_a_row && across > 0)
        .choose("BM", lines)
        .choose("BN", block)
        .choose("TAPS_X", across.max(1))
        .choose("STEP_X", step_x)
        .switch("BIAS", c.bias.is_some())
        .switch("FACTOR", c.factor.is_some())
        .params([out[1], channel_blocks, c.rows, columns, phase.pixels()])
        .params([phase.positions[1], x[1], x[2], x[3], phase.in_step[0]])
        // Without taps across there are none.
        .params([if across == 0 {
            0
        } else {
            phase.taps[0].count()
        }]);
    dispatch
        .params
        .extend(signed(&[tap_y, tap_step_y, tap_x, tap_step_x]));
    dispatch = dispatch.params([weight[2] * weight[3]]);
    let places = [row * width + column, row_step * width, column_step];
    dispatch.params.extend(signed(&places));
    let dispatch = dispatch
        .params([out[2] * out[3], out[3]])
        .params(phase.out_step)
        .params([phase.offset(out[3])]);
    let mut dispatch = finish
        .bounds(finish.switches(dispatch))
        .bind(weights)
        .bind(Slot::optional(c.bias))
        .bind(Slot::optional(c.factor))
        .bind(Slot::Input(0));
    dispatch.slots.extend(finish.slots());
    dispatch.slots.push(finish.output());
    dispatch.groups = (channel_blocks * columns.div_ceil(block)) as u64;
    dispatch.work = 2 * (out[1] * columns * phase.count()) as u64;
    // Of each tap four pixels, or an input and a product.
    dispatch.rounds = (phase.taps[0].count() * (5 * across + 3 * step_x + 1)) as u64;
    dispatch
}
