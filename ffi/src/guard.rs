//! The one gate through which every call enters: no panic leaves, no handle is used twice at once.

use crate::status::{Result, drywire_status};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU8, Ordering};
use drywire_status::{DRYWIRE_ERR_PANIC, DRYWIRE_ERR_POISONED, DRYWIRE_ERR_REENTRANT};
use std::panic::{AssertUnwindSafe, catch_unwind};

const FREE: u8 = 0;
const BUSY: u8 = 1;
const POISONED: u8 = 2;

/// State behind a handle: one call at a time, and none after a panic.
///
/// Wrong use from two threads is refused and stays free of data races, because the flag is taken
/// atomically. The cost is two atomic instructions per call.
pub(crate) struct Guarded<T> {
    flag: AtomicU8,
    value: UnsafeCell<T>,
}

// SAFETY: `value` is reached only by the one call that took `flag`; `T: Send` lets it move there.
unsafe impl<T: Send> Sync for Guarded<T> {}

impl<T> Guarded<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { flag: AtomicU8::new(FREE), value: UnsafeCell::new(value) }
    }

    /// Runs `f` on the state. A panic inside poisons it.
    #[inline]
    pub(crate) fn run<R>(&self, f: impl FnOnce(&mut T) -> Result<R>) -> Result<R> {
        match self.flag.compare_exchange(FREE, BUSY, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => {}
            Err(BUSY) => return Err(DRYWIRE_ERR_REENTRANT),
            Err(_) => return Err(DRYWIRE_ERR_POISONED),
        }
        // SAFETY: the flag was free and is ours until it is stored below.
        let value = unsafe { &mut *self.value.get() };
        let result = guarded(|| f(value));
        let panicked = matches!(result, Err(DRYWIRE_ERR_PANIC));
        self.flag.store(if panicked { POISONED } else { FREE }, Ordering::Release);
        result
    }
}

/// Runs `f`; a panic becomes `DRYWIRE_ERR_PANIC`.
#[inline]
pub(crate) fn guarded<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    match catch_unwind(AssertUnwindSafe(|| {
        #[cfg(feature = "test-hooks")]
        hooks::trip();
        f()
    })) {
        Ok(result) => result,
        Err(payload) => Err(swallow(payload)),
    }
}

/// A result as the status that a call returns.
#[inline]
pub(crate) fn status(result: Result<drywire_status>) -> drywire_status {
    match result {
        Ok(status) | Err(status) => status,
    }
}

/// Frees what `into_handle` made. A destructor that panics loses its memory, nothing else.
///
/// # Safety
/// `handle` is NULL or came from [`into_handle`] and was not freed.
pub(crate) unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        let _ = guarded(|| {
            // SAFETY: promised by the caller.
            drop(unsafe { Box::from_raw(handle) });
            Ok(())
        });
    }
}

/// Moves `value` behind a handle and writes it to `out`.
///
/// # Safety
/// `out` is valid for writing.
pub(crate) unsafe fn into_handle<T>(out: *mut *mut T, value: T) -> Result<drywire_status> {
    let handle = Box::into_raw(try_box(value)?);
    // SAFETY: promised by the caller.
    unsafe { out.write(handle) };
    Ok(drywire_status::DRYWIRE_OK)
}

/// A box, or `DRYWIRE_ERR_NOMEM` where `Box::new` would end the process.
pub(crate) fn try_box<T>(value: T) -> Result<Box<T>> {
    let mut one = Vec::new();
    one.try_reserve_exact(1).map_err(|_| drywire_status::DRYWIRE_ERR_NOMEM)?;
    one.push(value);
    let one = Box::into_raw(one.into_boxed_slice()).cast::<T>();
    // SAFETY: an array of one has the layout of its element, and the capacity is exactly one.
    Ok(unsafe { Box::from_raw(one) })
}

#[cold]
fn swallow(payload: Box<dyn core::any::Any + Send>) -> drywire_status {
    // The payload's own destructor might panic; then it is lost.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    DRYWIRE_ERR_PANIC
}

/// Panics on demand, to prove that every export survives them.
///
/// cbindgen:ignore
#[cfg(feature = "test-hooks")]
mod hooks {
    use core::sync::atomic::{AtomicU32, Ordering};

    static COUNTDOWN: AtomicU32 = AtomicU32::new(0);

    /// Makes the `n`th guarded call from now panic (1 is the next one); 0 disarms. Returns the
    /// countdown that was left. Not declared in the header: exists only in test builds.
    #[unsafe(no_mangle)]
    pub extern "C" fn drywire_test_arm_panic(n: u32) -> u32 {
        COUNTDOWN.swap(n, Ordering::Relaxed)
    }

    pub(super) fn trip() {
        let left = COUNTDOWN.load(Ordering::Relaxed);
        if left > 0 {
            COUNTDOWN.store(left - 1, Ordering::Relaxed);
            assert!(left > 1, "a panic on demand (test-hooks)");
        }
    }
}
