//! Transposed convolution into a picture in C order: the gradient of a
//! network's first layer.
//!
//! A picture has few channels, so a vector of one phase's outputs would be
//! mostly empty. All phases are outputs of one convolution instead, with the
//! taps that any of them has, and what it computes is then dealt out to the
//! picture (as by DepthToSpace). A kernel as large as its stride leaves no tap
//! out: it is a plain matrix product.

use super::Context;
use super::window::{Destination, Offset, Source, Window};
use crate::arch::number::Number;
use crate::operands::Workspace;
use crate::pack::PackSpec;
use crate::simd::LANES;

/// The sums of all phases, and where they go.
pub(super) struct Scatter {
    window: Window,
    /// Of each phase and tap of the window the place in the kernel, if any.
    places: Vec<Option<usize>>,
    /// Taps of the kernel.
    kernel: usize,
    strides: [usize; 2],
    /// Images, channels, rows and columns of the picture.
    picture: [usize; 4],
    /// Floats of one image before it is dealt out, and of a plane of it.
    image: usize,
    plane: usize,
    /// Positions of a row before it is dealt out.
    columns: usize,
}

impl Scatter {
    /// The window of these phases, which are in C order of their remainders.
    pub(super) fn new(
        source: Source,
        destination: &Destination,
        spec: PackSpec,
        phases: &[([usize; 2], Vec<Offset>)],
        strides: [usize; 2],
    ) -> Self {
        let d = destination;
        let distance = |t: &Offset| (t.dy, t.dx);
        let all = phases.iter().flat_map(|(_, taps)| taps);
        let mut distances: Vec<_> = all.map(distance).collect();
        distances.sort_unstable();
        distances.dedup();
        let taps = distances.iter().enumerate();
        let taps = taps.map(|(index, &(dy, dx))| Offset { dy, dx, index });
        let place = |taps: &[Offset], at| taps.iter().find(|t| distance(t) == at).map(|t| t.index);
        let places = phases
            .iter()
            .flat_map(|(_, taps)| distances.iter().map(|at| place(taps, *at)));
        let outputs = phases.len() * d.planes;
        let [height, width] = [d.height.div_ceil(strides[0]), d.width.div_ceil(strides[1])];
        let merged = Destination {
            images: d.images,
            planes: outputs.div_ceil(LANES),
            height,
            width,
            position: LANES,
        };
        let merged_spec = PackSpec {
            transposed: false,
            outputs,
            taps: distances.len(),
            ..spec
        };
        let plane = height * width * LANES;
        Self {
            places: places.collect(),
            kernel: spec.taps,
            strides,
            picture: [d.images, d.planes, d.height, d.width],
            image: merged.planes * plane,
            plane,
            columns: width,
            window: Window::new(
                source,
                merged,
                [1, 1],
                [1, 1],
                vec![([0, 0], taps.collect())],
                merged_spec,
            ),
        }
    }

    /// How [`Self::weights`] are packed.
    pub(super) fn spec(&self) -> PackSpec {
        self.window.spec()
    }

    /// The window's weights, from those of the transposed convolution.
    pub(super) fn weights(&self, weights: &[f32]) -> Vec<f32> {
        let (inputs, channels) = (self.spec().inputs, self.picture[1]);
        let taps = self.spec().taps;
        let mut merged = vec![0.0; self.spec().outputs * inputs * taps];
        for (to, merged) in merged.iter_mut().enumerate() {
            let (tap, input) = (to % taps, to / taps % inputs);
            let (phase, channel) = (
                to / (taps * inputs) / channels,
                to / (taps * inputs) % channels,
            );
            if let Some(place) = self.places[phase * taps + tap] {
                *merged = weights[(input * channels + channel) * self.kernel + place];
            }
        }
        merged
    }

    /// Floats of working memory.
    pub(super) fn workspace(&self) -> usize {
        self.picture[0] * self.image
    }

    /// Computes the picture into `out`.
    pub(super) fn run<T: Number>(
        &self,
        input: &[T],
        weights: &[T],
        bias: Option<&[f32]>,
        out: &mut [f32],
        workspace: Workspace<'_>,
        cx: Context<'_>,
    ) {
        let [images, channels, height, width] = self.picture;
        let sums = &mut workspace.floats()[..self.workspace()];
        let none = Default::default();
        self.window
            .run(input, weights, [None, None], sums, &mut [], none, cx);
        let (sums, [rows, columns]) = (&*sums, self.strides);
        let phases_x = columns.min(width);
        let planes = out[..images * channels * height * width].chunks_mut((height * width).max(1));
        cx.pool.each(planes.enumerate().collect(), |(i, out)| {
            let (image, channel) = (i / channels, i % channels);
            let sums = &sums[image * self.image..][..self.image];
            let bias = bias.map_or(0.0, |b| b[channel]);
            for (y, out) in out.chunks_mut(width).enumerate() {
                for phase_x in 0..phases_x {
                    let output = (y % rows * phases_x + phase_x) * channels + channel;
                    let row = output / LANES * self.plane + y / rows * self.columns * LANES;
                    let from = sums[row + output % LANES..].iter().step_by(LANES);
                    let to = out[phase_x..].iter_mut().step_by(columns);
                    to.zip(from).for_each(|(to, from)| *to = from + bias);
                }
            }
        });
    }
}
