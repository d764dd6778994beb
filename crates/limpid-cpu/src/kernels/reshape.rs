use super::{Context, Kernel, scratch};
use crate::layout::Layout;
use crate::operands::Operands;
use limpid_device::DeviceError;

/// The same elements in C order under another shape.
pub(crate) struct Reshape {
    pub(crate) input: Layout,
    pub(crate) output: Layout,
}

impl Kernel for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn run(&self, io: &mut Operands<'_>, _cx: Context<'_>) -> Result<(), DeviceError> {
        let x = io.input::<f32>(0);
        let blocked = |l| matches!(l, Layout::Blocked(_));
        if self.input == self.output || !blocked(self.input) && !blocked(self.output) {
            io.output().copy_from_slice(x);
            return Ok(());
        }
        let mut elements = scratch::<f32>(self.input.images() * self.input.image_elements())?;
        self.input.store_c(x, elements.as_mut_slice());
        self.output.load_c(elements.as_slice(), io.output());
        Ok(())
    }
}
