//! Squares and variances of maps, streamed.

use super::{Engine, graphs};
use crate::Error;
use limpid_device::{Buffer, HostData};
use limpid_explain::Reduce;
use limpid_graph::Fact;
use limpid_tensor::Tensor;

/// A reducer's state on the device.
pub(super) struct Reducer<'a> {
    engine: &'a Engine,
    reduce: Reduce,
    dims: Vec<usize>,
    draws: u64,
    seen: u64,
    /// The sum of squares, or the mean and the sum of squared deviations.
    state: Vec<Buffer>,
    next: Vec<Buffer>,
}

impl<'a> Reducer<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        reduce: Reduce,
        image: &Tensor,
        draws: u64,
    ) -> Result<Self, Error> {
        let size = if reduce == Reduce::Variance { 2 } else { 1 };
        let buffers = || {
            (0..size)
                .map(|_| engine.zeros(image))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            engine,
            reduce,
            dims: image.dims().to_vec(),
            draws,
            seen: 0,
            state: buffers()?,
            next: buffers()?,
        })
    }

    /// Takes in `batch` maps.
    pub(super) fn add(&mut self, maps: &Buffer, batch: usize) -> Result<(), Error> {
        let graph = graphs::reduction(self.reduce, &self.dims, batch)?;
        let executable = self.engine.prepare(&graph)?;
        let extra = if self.reduce == Reduce::Variance {
            vec![self.seen as f32]
        } else {
            vec![(1.0 / self.draws as f64) as f32; batch]
        };
        let fact = match self.reduce {
            Reduce::Variance => Fact::f32([1]),
            _ => Fact::f32([1, batch]),
        };
        let extra = self.engine.upload(&fact, HostData::F32(&extra))?;
        let inputs: Vec<&Buffer> = self.state.iter().chain([&extra, maps]).collect();
        let mut outputs: Vec<&mut Buffer> = self.next.iter_mut().collect();
        self.engine
            .device
            .execute(&*executable, &inputs, &mut outputs)?;
        std::mem::swap(&mut self.state, &mut self.next);
        self.seen += batch as u64;
        Ok(())
    }

    /// The reduced map. The variance is that of the draws themselves, divided
    /// by their number.
    pub(super) fn finish(self) -> Result<Tensor, Error> {
        let last = self.state.last().map(|b| self.engine.download(b));
        let mut map = last.unwrap_or_else(|| Ok(Tensor::zeros(&self.dims[..])?))?;
        if self.reduce == Reduce::Variance {
            for v in map.data_mut() {
                *v /= self.draws as f32;
            }
        }
        Ok(map)
    }
}
