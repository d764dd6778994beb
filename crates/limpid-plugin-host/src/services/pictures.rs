//! Pictures of the user's.

use super::tensors::hand_host;
use super::{room, words};
use crate::job::{invalid, light, number, service};
use limpid_plugin_abi as abi;
use std::sync::Arc;

const PICTURES: u64 = abi::LIMPID_CAN_READ_PICTURES;

pub(super) unsafe extern "C" fn picture(
    job: abi::limpid_job,
    path: abi::limpid_str,
    out: *mut abi::limpid_tensor,
) -> abi::limpid_status {
    service(job, PICTURES, |job, cx| {
        // SAFETY: the text is borrowed, and there is room for a tensor.
        unsafe {
            let picture = cx.picture(words("a path", path)?)?;
            hand_host(job, picture, out)
        }
    })
}

pub(super) unsafe extern "C" fn open(
    job: abi::limpid_job,
    folder: abi::limpid_str,
    out: *mut abi::limpid_pictures,
    count: *mut u64,
    shape: *mut u64,
) -> abi::limpid_status {
    service(job, PICTURES, |job, cx| {
        if out.is_null() || count.is_null() {
            return Err(invalid("no room for a folder's pictures"));
        }
        // SAFETY: the text is borrowed.
        let pictures = cx.pictures(unsafe { words("a folder", folder) }?)?;
        let first = pictures.picture(0)?;
        let id = number();
        // SAFETY: there is room for each.
        unsafe {
            let shape = room("extents", shape, 3)?;
            shape
                .iter_mut()
                .zip(first.dims())
                .for_each(|(to, d)| *to = *d as u64);
            out.write(id);
            count.write(pictures.count() as u64);
        }
        job.pictures.borrow_mut().insert(id, pictures);
        Ok(())
    })
}

pub(super) unsafe extern "C" fn read(
    job: abi::limpid_job,
    pictures: abi::limpid_pictures,
    index: u64,
    out: *mut f32,
    len: u64,
) -> abi::limpid_status {
    light(job, |job| {
        let folder = job.pictures.borrow().get(&pictures).map(Arc::clone);
        let folder = folder.ok_or_else(|| invalid(format!("the job has no folder {pictures}")))?;
        if index >= folder.count() as u64 {
            let count = folder.count();
            return Err(invalid(format!("picture {index} of a folder of {count}")));
        }
        let picture = folder.picture(index as usize)?;
        if len != picture.data().len() as u64 {
            let found = picture.shape();
            return Err(invalid(format!(
                "room for {len} numbers of a picture {found}"
            )));
        }
        // SAFETY: there is room for `len` numbers.
        unsafe { room("a picture", out, picture.data().len()) }?.copy_from_slice(picture.data());
        Ok(())
    })
}
