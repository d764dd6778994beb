//! What ends the process, or never ends.

use crate::call::Method;

pub(crate) const METHODS: &[Method] = &[
    Method::new("abort", |_| std::process::abort()),
    Method::new("segfault", |_| {
        let nowhere = std::hint::black_box(8usize) as *const u32;
        // SAFETY: none. Nothing lies there, and the system ends the process.
        unsafe { nowhere.read_volatile() }
    }),
    Method::new("exit", |_| std::process::exit(0)),
    Method::new("hang", |_| {
        loop {
            std::thread::park();
        }
    }),
    Method::new("exhaust", |_| {
        let mut all = Vec::new();
        loop {
            all.push(vec![1u8; 1 << 24]);
            std::hint::black_box(&all);
        }
    }),
];
