//! The matrix product: a pointwise convolution whose positions are the rows.

use super::conv::pack_operand;
use super::window::Window;
use super::{Context, Kernel, TASK, finish, scratch};
use crate::arch::tile::Finish;
use crate::device::Caches;
use crate::layout::Layout;
use crate::operands::Operands;
use crate::pack::PackSpec;
use crate::simd::LANES;
use limpid_device::DeviceError;
use limpid_graph::ops::{Epilogue, Gemm};
use limpid_tensor::{AlignedBuffer, Tensor};
use std::sync::Arc;

/// a * b + c.
pub(crate) struct GemmKernel {
    window: Window,
    rows: usize,
    weight: Layout,
    epilogue: Epilogue,
    has_bias: bool,
    pack: Option<Arc<AlignedBuffer>>,
}

impl GemmKernel {
    /// The kernel of an `[n, k]` by `[k, m]` product.
    pub(crate) fn new(
        op: &Gemm,
        [n, k, m]: [usize; 3],
        weight: Layout,
        has_bias: bool,
        vectors: usize,
    ) -> Self {
        let spec = PackSpec {
            transposed: !op.trans_b,
            outputs: m,
            inputs: k,
            groups: 1,
            taps: 1,
            vectors,
            depthwise: false,
        };
        Self {
            window: Window::product(n, k.div_ceil(LANES) * LANES, spec),
            rows: n,
            weight,
            epilogue: op.epilogue,
            has_bias,
            pack: None,
        }
    }
}

impl Kernel for GemmKernel {
    fn name(&self) -> &'static str {
        "product"
    }

    fn bind(
        &mut self,
        constants: &[Option<&Arc<Tensor>>],
        caches: &Caches,
    ) -> Result<Vec<usize>, DeviceError> {
        let Some(weight) = constants[1] else {
            return Ok(Vec::new());
        };
        self.pack = Some(caches.packs.get(weight, None, self.window.spec())?);
        Ok(vec![1])
    }

    fn run(&self, io: &mut Operands<'_>, cx: Context<'_>) -> Result<(), DeviceError> {
        let here;
        let pack = match &self.pack {
            Some(pack) => pack,
            None => {
                here = pack_operand(self.window.spec(), self.weight, io.input(1), None)?;
                &here
            }
        };
        let (input, finish) = (io.input(0), finish::of(&self.epilogue, io));
        let bias = self.has_bias.then(|| io.input(2));
        let (out, masks) = io.outputs();
        if self.rows <= 1 {
            self.window
                .run(input, pack.as_slice(), [bias, None], out, masks, finish, cx);
            return Ok(());
        }
        // The tiles put a block's rows side by side, a matrix a row's blocks.
        let mut columns = scratch::<f32>(out.len())?;
        let columns = columns.as_mut_slice::<f32>();
        let none = Finish::default();
        self.window.run(
            input,
            pack.as_slice(),
            [bias, None],
            columns,
            &mut [],
            none,
            cx,
        );
        let (rows, width) = (self.rows, out.len() / self.rows);
        let columns = &*columns;
        let batch = (TASK / width.max(1)).max(1);
        let tasks: Vec<_> = out.chunks_mut((batch * width).max(1)).enumerate().collect();
        cx.pool.each(tasks, |(part, out)| {
            for (i, row) in out.chunks_mut(width).enumerate() {
                for (block, lanes) in row.chunks_mut(LANES).enumerate() {
                    let from = (block * rows + part * batch + i) * LANES;
                    lanes.copy_from_slice(&columns[from..from + LANES]);
                }
            }
        });
        finish::apply(finish, out, masks, cx);
        Ok(())
    }
}
