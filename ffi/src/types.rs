//! Plain data that crosses the boundary, and the pointers that carry it.

use crate::status::{Result, drywire_status};
use core::ffi::c_void;
use drywire_status::{DRYWIRE_ERR_NULL, DRYWIRE_ERR_RANGE};

/// For deadlines: never.
///
/// cbindgen:ignore
pub const DRYWIRE_NO_DEADLINE: u64 = u64::MAX;

/// Bytes that somebody else owns; whoever hands them out says how long they stay. Never NULL when
/// the library hands them out, also when `len` is 0.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_bytes {
    /// The first byte.
    pub data: *const u8,
    /// How many.
    pub len: usize,
}

/// A piece of output; the same layout as `struct iovec`, so that an array of them can be handed to
/// `writev` or `sendmsg` as it is. The bytes are only to be read.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_iov {
    /// The first byte.
    pub base: *mut c_void,
    /// How many.
    pub len: usize,
}

/// One thing that happened. What the fields mean depends on `kind`; unused ones are 0 and empty.
/// Skip kinds you do not know: later versions add some. 64 bytes where pointers have 8, frozen.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_event {
    /// A `DRYWIRE_EVENT_*`.
    pub kind: u32,
    /// A second number, see the kind.
    pub flags: u32,
    /// A connection, a token or a number, see the kind.
    pub id: u64,
    /// Bytes, see the kind.
    pub a: drywire_bytes,
    /// More bytes, see the kind.
    pub b: drywire_bytes,
    /// A number, see the kind.
    pub num: u64,
    /// Another number, see the kind.
    pub aux: u64,
}

/// Nothing; not handed out.
pub const DRYWIRE_EVENT_NONE: u32 = 0;
/// From `drywire_framer_decode`: a frame. `a` its payload, `b` all of it, `num` its offset in the
/// stream, `flags` its type or how it ended, `id` a second number of the framing.
pub const DRYWIRE_EVENT_FRAME: u32 = 1;
/// From `drywire_framer_decode`: a bad frame that was dropped; decoding goes on behind it. `flags`
/// a `DRYWIRE_FRAME_ERROR_*`, `num` the offset in the stream, `id` the size or value found, `aux`
/// what is allowed, `a` a static text.
pub const DRYWIRE_EVENT_FRAME_ERROR: u32 = 2;
/// From `drywire_server_poll`: a request. `id` the connection, `num` the token to answer with
/// `drywire_server_reply`, `a` the payload, `flags` its type, `aux` the `user` of the connection.
pub const DRYWIRE_EVENT_REQUEST: u32 = 3;
/// From `drywire_server_poll`: a bad frame that was dropped. It waits for its answer like a
/// request. `flags` a `DRYWIRE_FRAME_ERROR_*`, `a` a static text, otherwise as a request.
pub const DRYWIRE_EVENT_BAD_REQUEST: u32 = 4;
/// From `drywire_client_poll`: a hit of a retrieval that goes on. `id` the token, `a` the key, `b`
/// the value, `flags` the item's flags, `num` its cas number, or 0.
pub const DRYWIRE_EVENT_VALUE: u32 = 5;
/// From `drywire_client_poll`: a line of statistics; more follow. `id` the token, `a` the name,
/// `b` the value.
pub const DRYWIRE_EVENT_STAT: u32 = 6;
/// From `drywire_client_poll`: the one end of a request. `id` the token, `flags` a
/// `DRYWIRE_OUTCOME_*`, `num` the number of hits or lines, or the new number, `a` the text of a
/// refusal or version. For `DRYWIRE_OUTCOME_FAILED`, `aux` is the status, negated.
pub const DRYWIRE_EVENT_DONE: u32 = 7;

/// A connection that something other than its own socket touched, or that is due.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_ready {
    /// Its id.
    pub id: u64,
    /// What the caller gave at `drywire_conn_open`.
    pub user: *mut c_void,
    /// What it wants now: `DRYWIRE_WANT_*`.
    pub flags: u32,
    /// 0.
    pub reserved: u32,
}

/// What went wrong, in detail. Set `struct_size`, then pass it to a `_last_error` function.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_error_info {
    /// `sizeof(drywire_error_info)`, set by the caller.
    pub struct_size: u32,
    /// A `drywire_status`: 0 if nothing went wrong.
    pub status: i32,
    /// A finer code: `DRYWIRE_CLOSE_*` for a connection, `DRYWIRE_FRAME_ERROR_*` for a framing,
    /// `DRYWIRE_CLIENT_FAULT_*` for a client.
    pub code: u32,
    /// 0.
    pub reserved: u32,
    /// Where in the stream, if that is known.
    pub offset: u64,
    /// The size, count or value that was found, if there is one.
    pub found: u64,
    /// What is allowed in its place, if there is a bound.
    pub limit: u64,
    /// What is wrong, in words. Static text, not terminated by a NUL.
    pub text: drywire_bytes,
}

impl drywire_error_info {
    pub(crate) const fn none() -> Self {
        Self {
            struct_size: 0,
            status: 0,
            code: 0,
            reserved: 0,
            offset: 0,
            found: 0,
            limit: 0,
            text: drywire_bytes::of(b""),
        }
    }
}

impl drywire_bytes {
    /// A view of `bytes`; an empty one points at a real byte, not at the dangling pointer that
    /// Rust has for empty slices.
    #[inline]
    pub(crate) const fn of(bytes: &[u8]) -> Self {
        static NOTHING: [u8; 1] = [0];
        match bytes {
            [] => Self { data: NOTHING.as_ptr(), len: 0 },
            _ => Self { data: bytes.as_ptr(), len: bytes.len() },
        }
    }
}

impl drywire_event {
    pub(crate) const fn new(kind: u32, id: u64) -> Self {
        let nothing = drywire_bytes::of(b"");
        Self { kind, flags: 0, id, a: nothing, b: nothing, num: 0, aux: 0 }
    }
}

/// The bytes a caller passes: NULL is fine for none.
///
/// # Safety
/// `data` is valid for reading `len` bytes while the slice is used, if it is not NULL.
#[inline]
pub(crate) unsafe fn input<'a>(data: *const u8, len: usize) -> Result<&'a [u8]> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(DRYWIRE_ERR_NULL);
    }
    if len > isize::MAX as usize {
        return Err(DRYWIRE_ERR_RANGE);
    }
    // SAFETY: not NULL, of a possible size, and promised valid by the caller.
    Ok(unsafe { core::slice::from_raw_parts(data, len) })
}

/// A place the caller gives for a result.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// # Safety
    /// `place` is NULL or valid for writing a `T` as long as the `Out` is used.
    #[inline]
    pub(crate) unsafe fn new(place: *mut T) -> Result<Self> {
        if place.is_null() { Err(DRYWIRE_ERR_NULL) } else { Ok(Self(place)) }
    }

    #[inline]
    pub(crate) fn set(&self, value: T) {
        // SAFETY: valid for writing, promised at `new`.
        unsafe { self.0.write(value) }
    }
}

/// An array the caller gives for results: `cap` places, written from the front.
pub(crate) struct OutArray<T> {
    first: *mut T,
    cap: usize,
    len: usize,
}

impl<T> OutArray<T> {
    /// # Safety
    /// `first` is valid for writing `cap` values as long as the array is used; NULL if `cap` is 0.
    #[inline]
    pub(crate) unsafe fn new(first: *mut T, cap: usize) -> Result<Self> {
        if first.is_null() && cap > 0 {
            return Err(DRYWIRE_ERR_NULL);
        }
        Ok(Self { first, cap, len: 0 })
    }

    #[inline]
    pub(crate) const fn is_full(&self) -> bool {
        self.len == self.cap
    }

    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Appends `value`, or drops it when full.
    #[inline]
    pub(crate) fn push(&mut self, value: T) {
        if self.len < self.cap {
            // SAFETY: below `cap`, so valid for writing, promised at `new`.
            unsafe { self.first.add(self.len).write(value) };
            self.len += 1;
        }
    }
}

impl OutArray<u8> {
    /// Appends as much of `bytes` as fits.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let n = bytes.len().min(self.cap - self.len);
        if n > 0 {
            // SAFETY: `len + n` is at most `cap`; the caller's buffer is none of ours.
            unsafe { self.first.add(self.len).copy_from(bytes.as_ptr(), n) };
            self.len += n;
        }
    }
}
