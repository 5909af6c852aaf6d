//! Structs that may grow: they begin with their size, and only the common part is touched. They
//! grow by multiples of 8 bytes, so a shorter one is cut between two fields or pairs of fields.

use crate::status::{Result, drywire_status};
use crate::types::drywire_error_info;
use drywire_status::{DRYWIRE_ERR_ABI, DRYWIRE_ERR_NULL};

/// A struct of plain numbers and pointers that begins with its size as a `u32`.
///
/// # Safety
/// `repr(C)` without padding, the first field is the `u32` size, and any bits are a valid value.
pub(crate) unsafe trait Growing: Copy {
    /// What a caller gets who sets nothing.
    const DEFAULT: Self;
}

/// The least size of any of them: the size and one more number.
const LEAST: usize = 8;

/// Reads a caller's struct: fields beyond its size have their defaults. NULL is all defaults.
///
/// # Safety
/// `from` is NULL or valid for reading the size it begins with.
pub(crate) unsafe fn read<T: Growing>(from: *const T) -> Result<T> {
    let mut value = T::DEFAULT;
    if from.is_null() {
        return Ok(value);
    }
    // SAFETY: promised by the caller.
    let size = unsafe { from.cast::<u32>().read() } as usize;
    let known = size_of::<T>();
    if size < LEAST {
        return Err(DRYWIRE_ERR_ABI);
    }
    for at in known..size {
        // SAFETY: below the size that the caller vouches for.
        if unsafe { from.cast::<u8>().add(at).read() } != 0 {
            return Err(DRYWIRE_ERR_ABI);
        }
    }
    // SAFETY: both are at least this long; any bits are a valid `T`.
    unsafe { (&raw mut value).cast::<u8>().copy_from(from.cast(), size.min(known) & !7) };
    Ok(value)
}

/// Writes `value` into a caller's struct, as far as its size reaches, and sets the size to what
/// was written.
///
/// # Safety
/// `to` is NULL or valid for reading its size and writing that many bytes.
pub(crate) unsafe fn write<T: Growing>(to: *mut T, value: &T) -> Result<()> {
    if to.is_null() {
        return Err(DRYWIRE_ERR_NULL);
    }
    // SAFETY: promised by the caller.
    let size = unsafe { to.cast::<u32>().read() } as usize;
    if size < LEAST {
        return Err(DRYWIRE_ERR_ABI);
    }
    let size = size.min(size_of::<T>()) & !7;
    // SAFETY: both are at least this long.
    unsafe {
        to.cast::<u8>().copy_from((&raw const *value).cast(), size);
        to.cast::<u32>().write(size as u32);
    }
    Ok(())
}

/// Fills a caller's struct of `size` bytes with defaults; what this library does not know is 0.
///
/// # Safety
/// `to` is NULL or valid for writing `size` bytes.
pub(crate) unsafe fn init<T: Growing>(to: *mut T, size: usize) -> Result<drywire_status> {
    if to.is_null() {
        return Err(DRYWIRE_ERR_NULL);
    }
    let Some(size32) = u32::try_from(size).ok().filter(|_| size >= LEAST) else {
        return Err(DRYWIRE_ERR_ABI);
    };
    let value = T::DEFAULT;
    // SAFETY: the caller's struct has `size` bytes, ours its own.
    unsafe {
        to.cast::<u8>().write_bytes(0, size);
        to.cast::<u8>().copy_from((&raw const value).cast(), size.min(size_of::<T>()) & !7);
        to.cast::<u32>().write(size32);
    }
    Ok(drywire_status::DRYWIRE_OK)
}

// SAFETY: plain numbers and pointers in C order.
unsafe impl Growing for drywire_error_info {
    const DEFAULT: Self = Self::none();
}
