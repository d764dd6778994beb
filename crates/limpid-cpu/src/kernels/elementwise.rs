//! Elementwise operators, with broadcasting.

use super::{Context, Kernel, TASK, math};
use crate::layout::Layout;
use crate::operands::Operands;
use crate::simd::{LANES, Simd, Vectorize};
use limpid_device::DeviceError;
use limpid_graph::reference::broadcast_strides;
use limpid_tensor::{Shape, TensorError};

/// What is done to each element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Function {
    Add,
    Sub,
    Mul,
    Clip(f32, f32),
    Softplus,
    Sigmoid,
    Copy,
}

impl Function {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, a: &[f32; LANES], b: &[f32; LANES], out: &mut [f32; LANES]) {
        let v = match self {
            Self::Add => s.add(s.load(a), s.load(b)),
            Self::Sub => s.sub(s.load(a), s.load(b)),
            Self::Mul => s.mul(s.load(a), s.load(b)),
            Self::Clip(low, high) => s.min(s.splat(high), s.max(s.splat(low), s.load(a))),
            Self::Copy => s.load(a),
            Self::Softplus => s.load(&std::array::from_fn(|i| math::softplus(a[i]))),
            Self::Sigmoid => s.load(&std::array::from_fn(|i| math::sigmoid(a[i]))),
        };
        s.store(v, out);
    }
}

/// How an operand is read where the output has some plane: a block of
/// channels of an image, or one channel, or everything.
#[derive(Debug, Clone)]
enum Access {
    /// Element by element; `images` is whether it has one for each image.
    Same { images: bool },
    /// One vector for the whole plane, of the operand's image and block.
    PerPlane {
        images: bool,
        channels: bool,
        layout: Layout,
    },
    /// By strides in C order, from a copy in C order.
    Strided { strides: Vec<usize>, layout: Layout },
}

impl Access {
    fn new(shape: &Shape, out: &Shape) -> Result<Self, TensorError> {
        let layout = Layout::of(shape)?;
        if shape == out {
            return Ok(Self::Same { images: true });
        }
        if let (&[n, c, h, w], &[_, oc, oh, ow]) = (shape.dims(), out.dims()) {
            if [c, h, w] == [oc, oh, ow] {
                return Ok(Self::Same { images: false });
            }
            if h * w == 1 && (c == 1 || c == oc) {
                return Ok(Self::PerPlane {
                    images: n > 1,
                    channels: c > 1,
                    layout,
                });
            }
        } else if shape.iter().all(|d| *d == 1) {
            return Ok(Self::PerPlane {
                images: false,
                channels: false,
                layout,
            });
        }
        Ok(Self::Strided {
            strides: broadcast_strides(shape, out),
            layout,
        })
    }
}

/// A plane of an operand.
enum Plane<'a> {
    Slice(&'a [f32]),
    Lanes([f32; LANES]),
}

/// An elementwise operator of one or two operands.
pub(crate) struct Elementwise {
    function: Function,
    out: Layout,
    shape: Shape,
    operands: Vec<Access>,
    name: &'static str,
}

impl Elementwise {
    /// `function` of operands of these shapes.
    pub(crate) fn new(
        name: &'static str,
        function: Function,
        operands: &[&Shape],
        out: &Shape,
    ) -> Result<Self, TensorError> {
        let accesses = operands.iter().map(|s| Access::new(s, out));
        Ok(Self {
            function,
            out: Layout::of(out)?,
            shape: out.clone(),
            operands: accesses.collect::<Result<_, _>>()?,
            name,
        })
    }

    fn plane<'a>(&self, access: &Access, data: &'a [f32], image: usize, index: usize) -> Plane<'a> {
        let (size, plane) = (self.out.image(), self.out.plane());
        match access {
            Access::Same { images } => {
                let image = if *images { image } else { 0 };
                Plane::Slice(&data[image * size + index * plane..][..plane])
            }
            Access::PerPlane {
                images,
                channels,
                layout,
            } => {
                let image = if *images { image } else { 0 };
                let at = image * layout.image();
                Plane::Lanes(match (channels, layout) {
                    (true, Layout::Blocked(_)) => {
                        let at = at + index * LANES;
                        std::array::from_fn(|i| data[at + i])
                    }
                    (true, _) => [data[at + index]; LANES],
                    (false, _) => [data[at]; LANES],
                })
            }
            Access::Strided { .. } => Plane::Slice(&[]),
        }
    }
}

impl Kernel for Elementwise {
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let (images, size, plane) = (self.out.images(), self.out.image(), self.out.plane());
        let mut copies = Vec::new();
        for (i, access) in self.operands.iter().enumerate() {
            if let Access::Strided { strides, layout } = access {
                copies.push(gather(
                    io.input(i),
                    *layout,
                    strides,
                    &self.shape,
                    self.out,
                )?);
            }
        }
        let mut copy = copies.iter();
        let operands: Vec<(&[f32], Access)> = (self.operands.iter().enumerate())
            .map(|(i, access)| match (access, io.input(i)) {
                (Access::Strided { .. }, _) => {
                    let data = copy.next().map_or(&[][..], |c| c.as_slice());
                    (data, Access::Same { images: true })
                }
                (access, data) => (data, access.clone()),
            })
            .collect();
        let whole = operands
            .iter()
            .all(|(_, a)| matches!(a, Access::Same { images: true }));
        let out = io.output();
        if whole {
            let tasks = out.chunks_mut(TASK).enumerate().collect();
            cx.pool.each(tasks, |(i, out)| {
                let part = |k: usize| &operands[k].0[i * TASK..][..out.len()];
                let a = part(0);
                let b = if operands.len() > 1 { part(1) } else { a };
                self.vectorize(&Plane::Slice(a), &Plane::Slice(b), out, cx);
            });
            return Ok(());
        }
        if size == 0 || plane == 0 {
            return Ok(());
        }
        let tasks = out[..images * size].chunks_mut(plane).enumerate().collect();
        cx.pool.each(tasks, |(i, out)| {
            let (image, index) = (i * plane / size, i * plane % size / plane);
            let part = |k: usize| self.plane(&operands[k].1, operands[k].0, image, index);
            let a = part(0);
            let b = if operands.len() > 1 { part(1) } else { part(0) };
            self.vectorize(&a, &b, out, cx);
        });
        Ok(())
    }
}

impl Elementwise {
    fn vectorize(&self, a: &Plane<'_>, b: &Plane<'_>, out: &mut [f32], cx: Context<'_>) {
        cx.backend.vectorize(Apply {
            function: self.function,
            a,
            b,
            out,
        });
    }
}

struct Apply<'a> {
    function: Function,
    a: &'a Plane<'a>,
    b: &'a Plane<'a>,
    out: &'a mut [f32],
}

impl Vectorize for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // One loop for each function, with the choice outside.
        match self.function {
            Function::Clip(low, high) => self.over(s, Function::Clip(low, high)),
            Function::Add => self.over(s, Function::Add),
            Function::Sub => self.over(s, Function::Sub),
            Function::Mul => self.over(s, Function::Mul),
            Function::Softplus => self.over(s, Function::Softplus),
            Function::Sigmoid => self.over(s, Function::Sigmoid),
            Function::Copy => self.over(s, Function::Copy),
        }
    }
}

impl Apply<'_> {
    #[inline(always)]
    fn over<S: Simd>(self, s: S, function: Function) {
        let vectors = self.out.len() / LANES;
        let (whole, tail) = self.out.as_chunks_mut::<LANES>();
        for (i, out) in whole.iter_mut().enumerate() {
            function.of(s, vector(self.a, i), vector(self.b, i), out);
        }
        if !tail.is_empty() {
            // What is beyond the end is computed, and not stored.
            let mut out = [0.0; LANES];
            function.of(s, &rest(self.a, vectors), &rest(self.b, vectors), &mut out);
            tail.copy_from_slice(&out[..tail.len()]);
        }
    }
}

#[inline(always)]
fn vector<'a>(plane: &'a Plane<'_>, i: usize) -> &'a [f32; LANES] {
    match plane {
        Plane::Slice(data) => &data.as_chunks().0[i],
        Plane::Lanes(lanes) => lanes,
    }
}

#[inline(always)]
fn rest(plane: &Plane<'_>, vectors: usize) -> [f32; LANES] {
    match plane {
        Plane::Slice(data) => {
            let mut lanes = [0.0; LANES];
            for (lane, v) in lanes.iter_mut().zip(&data[vectors * LANES..]) {
                *lane = *v;
            }
            lanes
        }
        Plane::Lanes(lanes) => *lanes,
    }
}

/// A copy of an operand stretched to `shape`, in its layout.
fn gather(
    data: &[f32],
    layout: Layout,
    strides: &[usize],
    shape: &Shape,
    out: Layout,
) -> Result<limpid_tensor::AlignedBuffer, DeviceError> {
    let mut values = super::scratch::<f32>(layout.images() * layout.image_elements())?;
    layout.store_c(data, values.as_mut_slice());
    let values = values.as_slice::<f32>();
    let mut stretched = super::scratch::<f32>(out.lanes())?;
    let to = stretched.as_mut_slice::<f32>();
    let elements = out.image_elements();
    for image in 0..out.images() {
        let base = image * out.image();
        out.for_each(|element, lane| {
            let (mut rest, mut at) = (image * elements + element, 0);
            for (d, s) in shape.iter().zip(strides).rev() {
                at += rest % d * s;
                rest /= d;
            }
            to[base + lane] = values[at];
        });
    }
    Ok(stretched)
}

/// The mask of what is strictly between two bounds.
pub(crate) struct RangeMask(pub(crate) f32, pub(crate) f32);

impl Kernel for RangeMask {
    fn name(&self) -> &'static str {
        "range mask"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        struct Compare<'a>(&'a [f32], &'a mut [u16], f32, f32);
        impl Vectorize for Compare<'_> {
            type Output = ();
            #[inline(always)]
            fn run<S: Simd>(self, s: S) {
                let Self(x, masks, low, high) = self;
                let (low, high) = (s.splat(low), s.splat(high));
                for (x, mask) in x.as_chunks().0.iter().zip(masks) {
                    *mask = s.inside(s.load(x), low, high);
                }
            }
        }
        let x: &[f32] = io.input(0);
        let masks: &mut [u16] = bytemuck::cast_slice_mut(io.outputs[0]);
        let tasks = x.chunks(TASK).zip(masks.chunks_mut(TASK / LANES)).collect();
        cx.pool.each(tasks, |(x, masks)| {
            cx.backend.vectorize(Compare(x, masks, self.0, self.1));
        });
        Ok(())
    }
}

/// What a mask keeps of a value.
pub(crate) struct MaskMul;

impl Kernel for MaskMul {
    fn name(&self) -> &'static str {
        "mask"
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        struct Keep<'a>(&'a [f32], &'a [u16], &'a mut [f32]);
        impl Vectorize for Keep<'_> {
            type Output = ();
            #[inline(always)]
            fn run<S: Simd>(self, s: S) {
                let Self(x, masks, out) = self;
                let vectors = x.as_chunks().0.iter().zip(out.as_chunks_mut().0);
                for ((x, out), mask) in vectors.zip(masks) {
                    s.store(s.keep(s.load(x), *mask), out);
                }
            }
        }
        let (x, masks) = (io.input::<f32>(0), io.input::<u16>(1));
        let out = io.output().chunks_mut(TASK);
        let tasks = x.chunks(TASK).zip(masks.chunks(TASK / LANES)).zip(out);
        cx.pool.each(tasks.collect(), |((x, masks), out)| {
            cx.backend.vectorize(Keep(x, masks, out));
        });
        Ok(())
    }
}
