use super::{AxisFilter, Cost, Operator, SparseMatrix, arity, axis_filter, pad, typed};
use crate::case::{Case, CaseInput};
use crate::passes::LowerContext;
use crate::reference::RefTensor;
use crate::{Fact, GraphError, OpError, ValueId};
use limpid_tensor::DType;
use serde::{Deserialize, Serialize};

/// How elements are interpolated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeMode {
    /// The nearest element.
    #[default]
    Nearest,
    /// A straight line between two elements, on each axis.
    Linear,
    /// Keys's cubic convolution over four elements, on each axis.
    Cubic,
}

/// Where an element of the output lies in the input. With o the position in
/// the output, s the scale, n and m the extents of input and output (m = s n,
/// not rounded):
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CoordinateMode {
    /// (o + 0.5) / s - 0.5.
    #[default]
    HalfPixel,
    /// The same around the middle of the output as it is, rounded.
    HalfPixelSymmetric,
    /// The same, and -0.5 where m is 1.
    PytorchHalfPixel,
    /// o (n - 1) / (m - 1), and 0 where m is 1.
    AlignCorners,
    /// o / s.
    Asymmetric,
    /// Aligned corners of a region of interest; outside the input stands
    /// `extrapolation_value`.
    TfCropAndResize,
}

/// Which element the mode "nearest" takes of the two around a place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NearestMode {
    /// The nearer, of two as near the first.
    #[default]
    RoundPreferFloor,
    /// The nearer, of two as near the second.
    RoundPreferCeil,
    /// The first.
    Floor,
    /// The second.
    Ceil,
}

/// The input at another resolution, axis by axis, as ONNX's `Resize` (opset 19)
/// defines it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resize {
    /// For each axis the output's extent over the input's; 1 keeps the axis.
    /// The output's extent is rounded down unless `sizes` gives it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scales: Vec<f32>,
    /// For each axis the output's extent; 0 keeps the axis. Without `scales` it
    /// gives the scale as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sizes: Vec<usize>,
    /// How elements are interpolated.
    pub mode: ResizeMode,
    /// Where an element of the output lies in the input.
    pub coordinate_transformation_mode: CoordinateMode,
    /// Which element the mode "nearest" takes.
    pub nearest_mode: NearestMode,
    /// The coefficient of the cubic.
    pub cubic_coeff_a: f32,
    /// Whether elements beyond the input have the weight 0 and the others more,
    /// in the modes "linear" and "cubic"; otherwise the outermost is repeated.
    pub exclude_outside: bool,
    /// Whether the interpolation is widened by the scale where the output is
    /// smaller.
    pub antialias: bool,
    /// What stands outside the input in the mode "tf_crop_and_resize".
    pub extrapolation_value: f32,
    /// The region of interest in the mode "tf_crop_and_resize": the beginnings
    /// on all axes and then the ends, as fractions of the extent less 1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roi: Vec<f32>,
}

impl Default for Resize {
    fn default() -> Self {
        Self {
            scales: Vec::new(),
            sizes: Vec::new(),
            mode: ResizeMode::default(),
            coordinate_transformation_mode: CoordinateMode::default(),
            nearest_mode: NearestMode::default(),
            cubic_coeff_a: -0.75,
            exclude_outside: false,
            antialias: false,
            extrapolation_value: 0.0,
            roi: Vec::new(),
        }
    }
}

/// The change of one axis.
#[derive(Debug, Clone, Copy)]
struct Axis {
    axis: usize,
    input: usize,
    output: usize,
    scale: f64,
    /// The region of interest.
    roi: [f64; 2],
}

impl Axis {
    /// Where the element at `position` lies in the input.
    fn place(&self, mode: CoordinateMode, position: usize) -> f64 {
        let (o, n) = (position as f64, self.input as f64);
        let m = self.scale * n;
        let half_pixel = (o + 0.5) / self.scale - 0.5;
        match mode {
            CoordinateMode::HalfPixel => half_pixel,
            CoordinateMode::HalfPixelSymmetric => {
                n / 2.0 * (1.0 - self.output as f64 / m) + half_pixel
            }
            CoordinateMode::PytorchHalfPixel if m == 1.0 => -0.5,
            CoordinateMode::PytorchHalfPixel => half_pixel,
            CoordinateMode::AlignCorners if m == 1.0 => 0.0,
            CoordinateMode::AlignCorners => o * (n - 1.0) / (m - 1.0),
            CoordinateMode::Asymmetric => o / self.scale,
            CoordinateMode::TfCropAndResize => {
                let [start, end] = self.roi;
                let along = if m == 1.0 { 0.5 } else { o / (m - 1.0) };
                (start + along * (end - start)) * (n - 1.0)
            }
        }
    }

    /// The place, unless it lies outside where that matters.
    fn inside(&self, mode: CoordinateMode, position: usize) -> Option<f64> {
        let x = self.place(mode, position);
        let crops = mode == CoordinateMode::TfCropAndResize;
        (!crops || (0.0..=(self.input - 1) as f64).contains(&x)).then_some(x)
    }
}

impl Resize {
    /// The axes that change.
    fn axes(&self, shape: &[usize]) -> Result<Vec<Axis>, OpError> {
        let bad = |name, expected| Err(OpError::Attribute { name, expected });
        let rank = shape.len();
        let (scales, sizes) = (self.scales.len(), self.sizes.len());
        if (scales, sizes) == (0, 0) || [scales, sizes].iter().any(|n| *n != 0 && *n != rank) {
            return bad(
                "scales",
                "a number for each axis, unless `sizes` has one for each",
            );
        }
        let crops = self.coordinate_transformation_mode == CoordinateMode::TfCropAndResize;
        if crops && self.roi.len() != 2 * rank {
            return bad("roi", "two numbers for each axis");
        }
        let limit = f64::from(1u32 << 22);
        if crops
            && self
                .roi
                .iter()
                .any(|r| f64::from(r.abs()) > limit || r.is_nan())
        {
            return bad("roi", "between -2^22 and 2^22");
        }
        if !(self.cubic_coeff_a.is_finite() && self.extrapolation_value.is_finite()) {
            return bad("cubic_coeff_a and extrapolation_value", "finite");
        }
        if self.antialias && self.mode == ResizeMode::Nearest {
            return bad("antialias", "false in the mode \"nearest\"");
        }
        let mut axes = Vec::new();
        for (axis, &input) in shape.iter().enumerate() {
            let size = self.sizes.get(axis).copied().filter(|n| *n != 0);
            let scale = match (self.scales.get(axis), size) {
                (Some(s), _) => f64::from(*s),
                (None, Some(n)) => n as f64 / input as f64,
                (None, None) => 1.0,
            };
            if !(scale >= 1.0 / limit && scale <= limit) {
                return bad("scales", "between 2^-22 and 2^22");
            }
            let output = size.unwrap_or((scale * input as f64) as usize);
            let roi = if crops {
                [self.roi[axis], self.roi[rank + axis]]
            } else {
                [0.0, 1.0]
            };
            let kept = (scale - 1.0).abs() <= 1e-9 && output == input && roi == [0.0, 1.0];
            if !kept {
                axes.push(Axis {
                    axis,
                    input,
                    output,
                    scale,
                    roi: roi.map(f64::from),
                });
            }
        }
        Ok(axes)
    }

    fn output(&self, shape: &[usize]) -> Result<Vec<usize>, OpError> {
        let mut out = shape.to_vec();
        for axis in self.axes(shape)? {
            out[axis.axis] = axis.output;
        }
        Ok(out)
    }

    /// How far from a place the elements lie that it reads, and the factor of
    /// their distance.
    fn reach(&self, scale: f64) -> (f64, f64) {
        let shrink = if self.antialias { scale.min(1.0) } else { 1.0 };
        let reach = if self.mode == ResizeMode::Cubic {
            2.0
        } else {
            1.0
        };
        (reach / shrink, shrink)
    }

    /// The weight of an element at this distance, before the weights are made
    /// to sum to 1.
    fn weight(&self, distance: f64) -> f64 {
        let (d, a) = (distance.abs(), f64::from(self.cubic_coeff_a));
        match self.mode {
            ResizeMode::Cubic if d <= 1.0 => ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0,
            ResizeMode::Cubic if d < 2.0 => ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a,
            ResizeMode::Cubic => 0.0,
            _ => (1.0 - d).max(0.0),
        }
    }

    /// The element that the mode "nearest" takes at a place.
    fn nearest(&self, x: f64) -> f64 {
        match self.nearest_mode {
            NearestMode::RoundPreferFloor => (x - 0.5).ceil(),
            NearestMode::RoundPreferCeil => (x + 0.5).floor(),
            NearestMode::Floor => x.floor(),
            NearestMode::Ceil => x.ceil(),
        }
    }

    /// The elements that make the one at place `x` of an axis, and their
    /// weights.
    fn row(&self, axis: &Axis, x: f64) -> Vec<(usize, f32)> {
        let last = axis.input as i64 - 1;
        let clamped = |at: i64| at.clamp(0, last) as usize;
        if self.mode == ResizeMode::Nearest {
            return vec![(clamped(self.nearest(x) as i64), 1.0)];
        }
        let (reach, shrink) = self.reach(axis.scale);
        let mut row: Vec<(usize, f64)> = Vec::new();
        for at in (x - reach).ceil() as i64..=(x + reach).floor() as i64 {
            let weight = self.weight(shrink * (at as f64 - x));
            if weight == 0.0 || (self.exclude_outside && !(0..=last).contains(&at)) {
                continue;
            }
            // What lies beyond the end is the last element again.
            match row.last_mut() {
                Some((column, sum)) if *column == clamped(at) => *sum += weight,
                _ => row.push((clamped(at), weight)),
            }
        }
        let total: f64 = row.iter().map(|(_, w)| w).sum();
        let total = if self.exclude_outside || self.antialias {
            total
        } else {
            1.0
        };
        row.into_iter()
            .map(|(c, w)| (c, (w / total) as f32))
            .collect()
    }
}

impl Operator for Resize {
    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, OpError> {
        arity(inputs, "1", |n| n == 1)?;
        typed(inputs, 0, DType::F32)?;
        let shape = Fact::f32(self.output(&inputs[0].shape)?);
        for axis in self.axes(&inputs[0].shape)? {
            axis_filter::check_axis(inputs, 0, axis.axis)?;
            axis_filter::check_axis(&[&shape], 0, axis.axis)?;
            let (reach, _) = self.reach(axis.scale);
            axis_filter::check_entries(axis.output, 2 * reach.ceil() as usize + 2)?;
        }
        Ok(vec![shape])
    }

    /// Each element is the weighted sum, over all axes at once, of a box of
    /// elements around its place, of which those outside are the nearest inside.
    fn reference(&self, inputs: &[&RefTensor]) -> Vec<RefTensor> {
        let x = inputs[0];
        let axes = self.axes(&x.shape).expect("accepted before");
        let shape = self.output(&x.shape).expect("accepted before");
        vec![RefTensor::from_index(shape, |to| {
            let mut corners = vec![(to.to_vec(), 1.0)];
            for axis in &axes {
                let mode = self.coordinate_transformation_mode;
                let Some(place) = axis.inside(mode, to[axis.axis]) else {
                    return f64::from(self.extrapolation_value);
                };
                let last = axis.input as f64 - 1.0;
                let mut line: Vec<(f64, f64)> = vec![(self.nearest(place), 1.0)];
                if self.mode != ResizeMode::Nearest {
                    let (reach, shrink) = self.reach(axis.scale);
                    let first = place.floor() - reach.ceil() - 1.0;
                    let taps = (0..2 * reach.ceil() as usize + 4).map(|i| first + i as f64);
                    line = taps
                        .map(|at| (at, self.weight(shrink * (at - place))))
                        .collect();
                    if self.exclude_outside {
                        line.retain(|(at, _)| (0.0..=last).contains(at));
                    }
                    let total: f64 = line.iter().map(|(_, w)| w).sum();
                    line.iter_mut().for_each(|(_, w)| *w /= total);
                }
                corners = corners
                    .iter()
                    .flat_map(|(from, weight)| {
                        line.iter().map(move |(at, w)| {
                            let mut from = from.clone();
                            from[axis.axis] = at.max(0.0).min(last) as usize;
                            (from, weight * w)
                        })
                    })
                    .filter(|(_, weight)| *weight != 0.0)
                    .collect();
            }
            corners
                .iter()
                .map(|(from, weight)| weight * x.at(from))
                .sum()
        })]
    }

    fn lower(&self, cx: &mut LowerContext<'_>) -> Result<Option<Vec<ValueId>>, GraphError> {
        let mut x = cx.input(0);
        let mode = self.coordinate_transformation_mode;
        let axes = self.axes(&cx.dims(x)).map_err(|e| cx.error(e))?;
        for axis in axes {
            let places: Vec<Option<f64>> = (0..axis.output).map(|k| axis.inside(mode, k)).collect();
            let rows = places
                .iter()
                .map(|place| place.map_or_else(Vec::new, |x| self.row(&axis, x)));
            let filter = AxisFilter {
                axis: axis.axis,
                matrix: SparseMatrix::new(axis.input, rows),
            };
            x = cx.push(filter, &[x])?;
            if self.extrapolation_value != 0.0 && places.contains(&None) {
                let outside = |place: &Option<f64>| {
                    if place.is_none() {
                        self.extrapolation_value
                    } else {
                        0.0
                    }
                };
                let added = places.iter().map(outside).collect();
                x = pad::add_along(cx, x, axis.axis, added)?;
            }
        }
        Ok(Some(vec![x]))
    }

    fn cost(&self, _inputs: &[&Fact], outputs: &[&Fact]) -> Cost {
        Cost::elementwise(outputs[0], 8)
    }

    fn linear(&self, _input: usize) -> bool {
        true
    }

    fn cases() -> Vec<Case> {
        use {CoordinateMode as C, NearestMode as N, ResizeMode as M};
        let mut cases = Vec::new();
        let mut case = |name: String, op: Self, shape: &[usize]| {
            cases.push(Case::new(
                format!("resize {name}"),
                op,
                vec![CaseInput::variable(shape)],
            ));
        };
        let coordinates = [
            C::HalfPixel,
            C::HalfPixelSymmetric,
            C::PytorchHalfPixel,
            C::AlignCorners,
            C::Asymmetric,
            C::TfCropAndResize,
        ];
        for coordinate_transformation_mode in coordinates {
            for mode in [M::Nearest, M::Linear, M::Cubic] {
                let op = Self {
                    scales: vec![1.0, 1.0, 0.6, 2.3],
                    mode,
                    coordinate_transformation_mode,
                    roi: vec![0.0, 0.0, 0.2, -0.1, 1.0, 1.0, 0.7, 1.2],
                    extrapolation_value: 2.5,
                    ..Self::default()
                };
                case(
                    format!("{coordinate_transformation_mode:?} {mode:?}"),
                    op,
                    &[2, 17, 9, 4],
                );
            }
        }
        for nearest_mode in [N::RoundPreferFloor, N::RoundPreferCeil, N::Floor, N::Ceil] {
            let op = Self {
                sizes: vec![0, 0, 6, 10],
                coordinate_transformation_mode: C::Asymmetric,
                nearest_mode,
                ..Self::default()
            };
            case(format!("nearest {nearest_mode:?}"), op, &[1, 33, 4, 5]);
        }
        for mode in [M::Linear, M::Cubic] {
            for (antialias, exclude_outside) in [(true, false), (false, true), (true, true)] {
                let op = Self {
                    sizes: vec![0, 0, 4, 13],
                    mode,
                    antialias,
                    exclude_outside,
                    cubic_coeff_a: -0.5,
                    ..Self::default()
                };
                case(
                    format!("{mode:?} {antialias} {exclude_outside}"),
                    op,
                    &[1, 5, 11, 7],
                );
            }
        }
        let double = |sizes: &[usize]| Self {
            sizes: sizes.to_vec(),
            mode: M::Linear,
            ..Self::default()
        };
        case("tokens".into(), double(&[0, 5, 0]), &[2, 3, 33]);
        case("rank 5".into(), double(&[0, 0, 3, 4, 2]), &[1, 2, 2, 3, 5]);
        case("to one".into(), double(&[0, 0, 1, 1]), &[1, 17, 3, 5]);
        case("nothing".into(), double(&[0, 0, 3, 5]), &[1, 17, 3, 5]);
        cases
    }
}
