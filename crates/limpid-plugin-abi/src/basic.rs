use core::ffi::{c_char, c_void};

/// The interface's major version: plugins and hosts of another do not go together.
pub const LIMPID_ABI_MAJOR: u16 = 1;
/// The interface's minor version: what was added since the major one.
pub const LIMPID_ABI_MINOR: u16 = 0;

/// How a call ended: one of the constants below it.
pub type limpid_status = u32;
/// It did what it was asked for.
pub const LIMPID_OK: limpid_status = 0;
/// The run was cancelled: return as soon as possible.
pub const LIMPID_CANCELLED: limpid_status = 1;
/// The host, the device or the plugin cannot do it.
pub const LIMPID_UNSUPPORTED: limpid_status = 2;
/// An argument is wrong.
pub const LIMPID_INVALID: limpid_status = 3;
/// Memory is short, or the job may not take so much.
pub const LIMPID_OUT_OF_MEMORY: limpid_status = 4;
/// The device is gone; no service of the job will work.
pub const LIMPID_DEVICE_LOST: limpid_status = 5;
/// A panic or exception was caught.
pub const LIMPID_PANIC: limpid_status = 6;
/// Anything else.
pub const LIMPID_FAILED: limpid_status = 7;
/// A service was called by a thread that does not run the job.
pub const LIMPID_WRONG_THREAD: limpid_status = 8;
/// A service that runs the model was called from a callback of another.
pub const LIMPID_BUSY: limpid_status = 9;

/// One explanation of one picture, from the beginning of `explain` to its end.
pub type limpid_job = u64;
/// Numbers where the model runs; 0 is none. Freed by
/// `limpid_host.tensor_release`, at the latest when the job ends.
pub type limpid_tensor = u64;
/// The pictures of a folder; 0 is none. Freed when the job ends.
pub type limpid_pictures = u64;

/// What a struct that may grow begins with.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct limpid_head {
    /// The size of the whole struct in bytes, as its writer knows it.
    pub struct_size: u32,
    /// `LIMPID_ABI_MAJOR`.
    pub abi_major: u16,
    /// `LIMPID_ABI_MINOR`.
    pub abi_minor: u16,
}

impl limpid_head {
    /// The head of a struct of this version's type `T`.
    #[must_use]
    pub const fn of<T>() -> Self {
        Self {
            struct_size: size_of::<T>() as u32,
            abi_major: LIMPID_ABI_MAJOR,
            abi_minor: LIMPID_ABI_MINOR,
        }
    }
}

/// A struct that begins with a [`limpid_head`].
///
/// # Safety
/// The type is `repr(C)`, begins with a `limpid_head`, and all its fields may be
/// zero.
pub unsafe trait Growing: Copy {}

/// A copy of a struct that may be older or newer than this crate: what the
/// writer did not know is zero. `None` for a null pointer or one that is not
/// even a head.
///
/// # Safety
/// `from` is null or points to a struct of the kind of `T` whose head tells its
/// size.
#[must_use]
pub unsafe fn read<T: Growing>(from: *const T) -> Option<T> {
    if from.is_null() {
        return None;
    }
    // SAFETY: every such struct begins with a head.
    let head = unsafe { from.cast::<limpid_head>().read_unaligned() };
    let known = (head.struct_size as usize).min(size_of::<T>());
    if known < size_of::<limpid_head>() {
        return None;
    }
    let mut value = core::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: both sides have `known` bytes; all fields of `T` may be zero.
    unsafe {
        core::ptr::copy_nonoverlapping(from.cast::<u8>(), value.as_mut_ptr().cast::<u8>(), known);
        Some(value.assume_init())
    }
}

/// Fills a struct that its owner has given a head: as much of it as the owner
/// knows. The owner's head stays. Whether there was one.
///
/// # Safety
/// `to` is null or points to writable memory of the size that its head tells.
pub unsafe fn fill<T: Growing>(to: *mut T, value: &T) -> bool {
    if to.is_null() {
        return false;
    }
    const HEAD: usize = size_of::<limpid_head>();
    // SAFETY: every such struct begins with a head.
    let head = unsafe { to.cast::<limpid_head>().read_unaligned() };
    let known = (head.struct_size as usize).min(size_of::<T>());
    if known < HEAD {
        return false;
    }
    // SAFETY: both sides have `known` bytes, of which the first are the head.
    unsafe {
        core::ptr::copy_nonoverlapping(
            core::ptr::from_ref(value).cast::<u8>().add(HEAD),
            to.cast::<u8>().add(HEAD),
            known - HEAD,
        );
    }
    true
}

/// Text in UTF-8, not terminated. Null with a length of 0 is the empty text.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_str {
    /// The bytes.
    pub data: *const c_char,
    /// Their number.
    pub len: u64,
}

impl limpid_str {
    /// Text that outlives the call it is passed to.
    #[must_use]
    pub const fn new(text: &str) -> Self {
        Self {
            data: text.as_ptr().cast(),
            len: text.len() as u64,
        }
    }

    /// The empty text.
    pub const EMPTY: Self = Self {
        data: core::ptr::null(),
        len: 0,
    };

    /// The text; `None` where it is no UTF-8 or null with a length.
    ///
    /// # Safety
    /// `data` points to `len` bytes that live for `'a`.
    #[must_use]
    pub unsafe fn get<'a>(self) -> Option<&'a str> {
        match (self.data.is_null(), usize::try_from(self.len)) {
            (_, Ok(0)) => Some(""),
            (false, Ok(len)) if len <= isize::MAX as usize => {
                // SAFETY: promised by the caller.
                let bytes = unsafe { core::slice::from_raw_parts(self.data.cast(), len) };
                core::str::from_utf8(bytes).ok()
            }
            _ => None,
        }
    }
}

// SAFETY: a pair of a pointer and a length that is only read.
unsafe impl Send for limpid_str {}
// SAFETY: as above.
unsafe impl Sync for limpid_str {}

/// Where a function puts text that it makes: `write` may be called several
/// times, each text follows the last.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct limpid_sink {
    /// Handed to `write`.
    pub target: *mut c_void,
    /// Appends text.
    pub write: Option<unsafe extern "C" fn(target: *mut c_void, text: limpid_str)>,
}

impl limpid_sink {
    /// Appends text, where there is anybody to take it.
    ///
    /// # Safety
    /// The sink is one that was passed to the function that now uses it.
    pub unsafe fn put(self, text: &str) {
        if let Some(write) = self.write {
            // SAFETY: promised by the caller.
            unsafe { write(self.target, limpid_str::new(text)) }
        }
    }
}

/// The elements of an array that was passed; empty for a null pointer.
///
/// # Safety
/// `data` is null or points to `len` elements that live for `'a`.
#[must_use]
pub unsafe fn slice<'a, T>(data: *const T, len: u64) -> &'a [T] {
    if data.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: promised by the caller.
    unsafe { core::slice::from_raw_parts(data, len as usize) }
}

/// The elements of an array that is to be filled; empty for a null pointer.
///
/// # Safety
/// `data` is null or points to `len` elements that are the caller's alone for `'a`.
#[must_use]
pub unsafe fn slice_mut<'a, T>(data: *mut T, len: u64) -> &'a mut [T] {
    if data.is_null() || len == 0 {
        return &mut [];
    }
    // SAFETY: promised by the caller.
    unsafe { core::slice::from_raw_parts_mut(data, len as usize) }
}
