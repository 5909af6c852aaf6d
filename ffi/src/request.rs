//! memcached requests and answers as plain structs.

use crate::guard::{guarded, status};
use crate::sized::{self, Growing};
use crate::status::{Result, drywire_status};
use crate::types::{
    DRYWIRE_EVENT_DONE, DRYWIRE_EVENT_STAT, DRYWIRE_EVENT_VALUE, drywire_bytes, drywire_error_info,
    drywire_event, input,
};
use core::ptr;
use drywire::memcache::client::{
    ErrorKind, Event, FaultCode, Outcome, Refusal, ReplyFault, Request, RequestId, Stats, Verb,
};
use drywire_status::*;

/// `verb`: get, or gets with `DRYWIRE_REQUEST_CAS`, or gat(s) with `DRYWIRE_REQUEST_TOUCH`.
pub const DRYWIRE_MEMCACHED_GET: u32 = 1;
/// `verb`: set.
pub const DRYWIRE_MEMCACHED_SET: u32 = 2;
/// `verb`: add, store if there is no such item.
pub const DRYWIRE_MEMCACHED_ADD: u32 = 3;
/// `verb`: replace, store if there is such an item.
pub const DRYWIRE_MEMCACHED_REPLACE: u32 = 4;
/// `verb`: append.
pub const DRYWIRE_MEMCACHED_APPEND: u32 = 5;
/// `verb`: prepend.
pub const DRYWIRE_MEMCACHED_PREPEND: u32 = 6;
/// `verb`: cas, store if the item's cas number is still `num`.
pub const DRYWIRE_MEMCACHED_CAS: u32 = 7;
/// `verb`: delete.
pub const DRYWIRE_MEMCACHED_DELETE: u32 = 8;
/// `verb`: incr by `num`; wraps at 2^64.
pub const DRYWIRE_MEMCACHED_INCR: u32 = 9;
/// `verb`: decr by `num`; stops at 0.
pub const DRYWIRE_MEMCACHED_DECR: u32 = 10;
/// `verb`: touch, set `exptime`.
pub const DRYWIRE_MEMCACHED_TOUCH: u32 = 11;
/// `verb`: flush_all, after `num` seconds if that is not 0.
pub const DRYWIRE_MEMCACHED_FLUSH_ALL: u32 = 12;
/// `verb`: version.
pub const DRYWIRE_MEMCACHED_VERSION: u32 = 13;
/// `verb`: stats, the general ones.
pub const DRYWIRE_MEMCACHED_STATS: u32 = 14;
/// `verb`: quit; the server finishes and closes. Nothing can be sent after it.
pub const DRYWIRE_MEMCACHED_QUIT: u32 = 15;

/// `flags` of a request: ask for no answer.
pub const DRYWIRE_REQUEST_NOREPLY: u32 = 1;
/// `flags` of a get: also ask for the cas numbers.
pub const DRYWIRE_REQUEST_CAS: u32 = 2;
/// `flags` of a get: also give what is found a new `exptime`.
pub const DRYWIRE_REQUEST_TOUCH: u32 = 4;

/// `flags` of `DRYWIRE_EVENT_DONE`: a retrieval or statistics are complete; `num` hits or lines.
pub const DRYWIRE_OUTCOME_END: u32 = 1;
/// `flags` of `DRYWIRE_EVENT_DONE`: stored.
pub const DRYWIRE_OUTCOME_STORED: u32 = 2;
/// `flags` of `DRYWIRE_EVENT_DONE`: the condition of add, replace, append or prepend does not hold.
pub const DRYWIRE_OUTCOME_NOT_STORED: u32 = 3;
/// `flags` of `DRYWIRE_EVENT_DONE`: the item has another cas number by now.
pub const DRYWIRE_OUTCOME_EXISTS: u32 = 4;
/// `flags` of `DRYWIRE_EVENT_DONE`: no such item.
pub const DRYWIRE_OUTCOME_NOT_FOUND: u32 = 5;
/// `flags` of `DRYWIRE_EVENT_DONE`: deleted.
pub const DRYWIRE_OUTCOME_DELETED: u32 = 6;
/// `flags` of `DRYWIRE_EVENT_DONE`: touched.
pub const DRYWIRE_OUTCOME_TOUCHED: u32 = 7;
/// `flags` of `DRYWIRE_EVENT_DONE`: done.
pub const DRYWIRE_OUTCOME_OK: u32 = 8;
/// `flags` of `DRYWIRE_EVENT_DONE`: `num` is the new number.
pub const DRYWIRE_OUTCOME_NUMBER: u32 = 9;
/// `flags` of `DRYWIRE_EVENT_DONE`: `a` is the server's version.
pub const DRYWIRE_OUTCOME_VERSION: u32 = 10;
/// `flags` of `DRYWIRE_EVENT_DONE`: the server answered ERROR, `a` its text.
pub const DRYWIRE_OUTCOME_ERROR: u32 = 11;
/// `flags` of `DRYWIRE_EVENT_DONE`: the server answered CLIENT_ERROR, `a` its text.
pub const DRYWIRE_OUTCOME_CLIENT_ERROR: u32 = 12;
/// `flags` of `DRYWIRE_EVENT_DONE`: the server answered SERVER_ERROR, `a` its text.
pub const DRYWIRE_OUTCOME_SERVER_ERROR: u32 = 13;
/// `flags` of `DRYWIRE_EVENT_DONE`: no answer will come; -`aux` is the status that says why.
pub const DRYWIRE_OUTCOME_FAILED: u32 = 14;

/// `code` of a client's `drywire_error_info`: a reply line without an end.
pub const DRYWIRE_CLIENT_FAULT_LINE_TOO_LONG: u32 = 1;
/// `code`: a line that is no reply.
pub const DRYWIRE_CLIENT_FAULT_MALFORMED: u32 = 2;
/// `code`: a value over the limit was announced.
pub const DRYWIRE_CLIENT_FAULT_VALUE_TOO_LARGE: u32 = 3;
/// `code`: a value that does not end where it was announced to.
pub const DRYWIRE_CLIENT_FAULT_BAD_DATA_END: u32 = 4;
/// `code`: a reply without a request.
pub const DRYWIRE_CLIENT_FAULT_UNSOLICITED: u32 = 5;
/// `code`: a reply that does not fit its request.
pub const DRYWIRE_CLIENT_FAULT_UNEXPECTED: u32 = 6;

/// One memcached request. Start with `drywire_memcached_request_init`; set what the verb needs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_memcached_request {
    /// `sizeof(drywire_memcached_request)`.
    pub struct_size: u32,
    /// A `DRYWIRE_MEMCACHED_*`.
    pub verb: u32,
    /// 0, or `DRYWIRE_REQUEST_NOREPLY` and so on added up.
    pub flags: u32,
    /// The item's own flags, for storing.
    pub item_flags: u32,
    /// The keys: 1 for most verbs, any number for a get. 1 to 250 bytes each, without spaces and
    /// control characters.
    pub keys: *const drywire_bytes,
    /// How many keys.
    pub key_count: usize,
    /// The value, for storing.
    pub value: drywire_bytes,
    /// The cas number, the delta or the delay.
    pub num: u64,
    /// When the item dies, in seconds: 0 never, up to 30 days from now on, more is Unix time.
    pub exptime: i32,
    /// 0.
    pub reserved: u32,
    /// How long it may take; 0 is the client's `timeout_ns`, `DRYWIRE_NO_DEADLINE` for ever.
    pub timeout_ns: u64,
}

// SAFETY: plain numbers and pointers in C order.
unsafe impl Growing for drywire_memcached_request {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>() as u32,
        verb: 0,
        flags: 0,
        item_flags: 0,
        keys: ptr::null(),
        key_count: 0,
        value: drywire_bytes { data: ptr::null(), len: 0 },
        num: 0,
        exptime: 0,
        reserved: 0,
        timeout_ns: 0,
    };
}

/// Fills `request` (`size` bytes of it) with defaults; `verb` must be set.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_memcached_request_init(
    request: *mut drywire_memcached_request,
    size: usize,
) -> drywire_status {
    // SAFETY: the caller keeps the rules at the top of the header.
    status(guarded(|| unsafe { sized::init(request, size) }))
}

impl drywire_memcached_request {
    /// Lends the request in the core's terms.
    ///
    /// # Safety
    /// The pointers in it are valid for reading what their lengths say.
    pub(crate) unsafe fn with<R>(&self, f: impl FnOnce(&Request<'_>) -> Result<R>) -> Result<R> {
        let get = self.verb == DRYWIRE_MEMCACHED_GET;
        let storing = (DRYWIRE_MEMCACHED_SET..=DRYWIRE_MEMCACHED_CAS).contains(&self.verb);
        let keyless = self.verb >= DRYWIRE_MEMCACHED_FLUSH_ALL;
        let known = if get {
            DRYWIRE_REQUEST_CAS | DRYWIRE_REQUEST_TOUCH
        } else if self.verb < DRYWIRE_MEMCACHED_VERSION {
            DRYWIRE_REQUEST_NOREPLY
        } else {
            0
        };
        let one_key = !get && !keyless;
        if self.flags & !known != 0 || (one_key && self.key_count != 1) {
            return Err(DRYWIRE_ERR_RANGE);
        }
        let noreply = self.flags & DRYWIRE_REQUEST_NOREPLY != 0;
        // SAFETY: promised by the caller.
        let keys = if keyless { Vec::new() } else { unsafe { self.keys() }? };
        let key = keys.first().copied().unwrap_or_default();
        if storing {
            let verb = match self.verb {
                DRYWIRE_MEMCACHED_SET => Verb::Set,
                DRYWIRE_MEMCACHED_ADD => Verb::Add,
                DRYWIRE_MEMCACHED_REPLACE => Verb::Replace,
                DRYWIRE_MEMCACHED_APPEND => Verb::Append,
                DRYWIRE_MEMCACHED_PREPEND => Verb::Prepend,
                _ => Verb::Cas(self.num),
            };
            // SAFETY: promised by the caller.
            let value = unsafe { input(self.value.data, self.value.len) }?;
            let (flags, exptime) = (self.item_flags, self.exptime);
            return f(&Request::Store { verb, key, flags, exptime, value, noreply });
        }
        let cas = self.flags & DRYWIRE_REQUEST_CAS != 0;
        let touch = (self.flags & DRYWIRE_REQUEST_TOUCH != 0).then_some(self.exptime);
        f(&match self.verb {
            DRYWIRE_MEMCACHED_GET => Request::Get { keys: &keys, cas, touch },
            DRYWIRE_MEMCACHED_DELETE => Request::Delete { key, noreply },
            DRYWIRE_MEMCACHED_INCR => Request::Incr { key, delta: self.num, noreply },
            DRYWIRE_MEMCACHED_DECR => Request::Decr { key, delta: self.num, noreply },
            DRYWIRE_MEMCACHED_TOUCH => Request::Touch { key, exptime: self.exptime, noreply },
            DRYWIRE_MEMCACHED_FLUSH_ALL => {
                let delay = u32::try_from(self.num).map_err(|_| DRYWIRE_ERR_RANGE)?;
                Request::FlushAll { delay: (delay != 0).then_some(delay), noreply }
            }
            DRYWIRE_MEMCACHED_VERSION => Request::Version,
            DRYWIRE_MEMCACHED_STATS => Request::Stats(Stats::General),
            DRYWIRE_MEMCACHED_QUIT => Request::Quit,
            _ => return Err(DRYWIRE_ERR_RANGE),
        })
    }

    /// # Safety
    /// As for `with`.
    unsafe fn keys<'a>(&self) -> Result<Vec<&'a [u8]>> {
        let mut keys = Vec::new();
        if self.key_count > 0 && self.keys.is_null() {
            return Err(DRYWIRE_ERR_NULL);
        }
        keys.try_reserve_exact(self.key_count).map_err(|_| DRYWIRE_ERR_NOMEM)?;
        for at in 0..self.key_count {
            // SAFETY: below the count that the caller vouches for.
            let key = unsafe { self.keys.add(at).read() };
            // SAFETY: promised by the caller.
            keys.push(unsafe { input(key.data, key.len) }?);
        }
        Ok(keys)
    }
}

/// A refusal of the core as a status.
pub(crate) fn refused(refusal: Refusal) -> drywire_status {
    match refusal {
        Refusal::WindowFull { .. } => DRYWIRE_ERR_LIMIT,
        Refusal::Closed => DRYWIRE_ERR_STATE,
        _ => DRYWIRE_ERR_RANGE,
    }
}

/// An event of the core as callers see it.
pub(crate) fn happened(event: Event<'_>) -> drywire_event {
    match event {
        Event::Value { id, value } => {
            let mut event = drywire_event::new(DRYWIRE_EVENT_VALUE, id.0 + 1);
            event.flags = value.flags;
            event.num = value.cas.unwrap_or(0);
            event.a = drywire_bytes::of(value.key);
            event.b = drywire_bytes::of(value.data);
            event
        }
        Event::Stat { id, name, value } => {
            let mut event = drywire_event::new(DRYWIRE_EVENT_STAT, id.0 + 1);
            event.a = drywire_bytes::of(name);
            event.b = drywire_bytes::of(value);
            event
        }
        Event::Done { id, outcome } => {
            let (flags, num, text): (u32, u64, &[u8]) = match outcome {
                Outcome::End { hits } => (DRYWIRE_OUTCOME_END, u64::from(hits), b""),
                Outcome::Stored => (DRYWIRE_OUTCOME_STORED, 0, b""),
                Outcome::NotStored => (DRYWIRE_OUTCOME_NOT_STORED, 0, b""),
                Outcome::Exists => (DRYWIRE_OUTCOME_EXISTS, 0, b""),
                Outcome::NotFound => (DRYWIRE_OUTCOME_NOT_FOUND, 0, b""),
                Outcome::Deleted => (DRYWIRE_OUTCOME_DELETED, 0, b""),
                Outcome::Touched => (DRYWIRE_OUTCOME_TOUCHED, 0, b""),
                Outcome::Ok => (DRYWIRE_OUTCOME_OK, 0, b""),
                Outcome::Number(n) => (DRYWIRE_OUTCOME_NUMBER, n, b""),
                Outcome::Version(version) => (DRYWIRE_OUTCOME_VERSION, 0, version),
                Outcome::Refused { kind, text } => {
                    let flags = match kind {
                        ErrorKind::Error => DRYWIRE_OUTCOME_ERROR,
                        ErrorKind::Client => DRYWIRE_OUTCOME_CLIENT_ERROR,
                        ErrorKind::Server => DRYWIRE_OUTCOME_SERVER_ERROR,
                    };
                    (flags, 0, text)
                }
            };
            let mut event = drywire_event::new(DRYWIRE_EVENT_DONE, id.0 + 1);
            (event.flags, event.num, event.a) = (flags, num, drywire_bytes::of(text));
            event
        }
    }
}

/// The end of a request that will never be answered.
pub(crate) fn lost(id: RequestId, why: drywire_status) -> drywire_event {
    let mut event = drywire_event::new(DRYWIRE_EVENT_DONE, id.0 + 1);
    event.flags = DRYWIRE_OUTCOME_FAILED;
    event.aux = u64::from((why as i32).unsigned_abs());
    event
}

/// The end of a connection without a fault of the peer.
pub(crate) fn failed(why: drywire_status) -> drywire_error_info {
    let text: &[u8] = match why {
        DRYWIRE_ERR_TIMED_OUT => b"a request took too long",
        _ => b"the connection ended",
    };
    drywire_error_info {
        status: why as i32,
        text: drywire_bytes::of(text),
        ..drywire_error_info::none()
    }
}

/// A fault of the peer as callers see it.
pub(crate) fn fault_info(fault: &ReplyFault) -> drywire_error_info {
    let mut info = drywire_error_info { offset: fault.at, ..drywire_error_info::none() };
    let (code, text): (u32, &[u8]) = match fault.code {
        FaultCode::LineTooLong => {
            (DRYWIRE_CLIENT_FAULT_LINE_TOO_LONG, b"a reply line without an end")
        }
        FaultCode::Malformed => (DRYWIRE_CLIENT_FAULT_MALFORMED, b"a line that is no reply"),
        FaultCode::ValueTooLarge { declared, limit } => {
            (info.found, info.limit) = (declared, limit as u64);
            (DRYWIRE_CLIENT_FAULT_VALUE_TOO_LARGE, b"a value over the limit")
        }
        FaultCode::BadDataEnd => (
            DRYWIRE_CLIENT_FAULT_BAD_DATA_END,
            b"a value that does not end where it was announced to",
        ),
        FaultCode::Unsolicited => (DRYWIRE_CLIENT_FAULT_UNSOLICITED, b"a reply without a request"),
        _ => (DRYWIRE_CLIENT_FAULT_UNEXPECTED, b"a reply that does not fit its request"),
    };
    info.status = DRYWIRE_ERR_PROTOCOL as i32;
    (info.code, info.text) = (code, drywire_bytes::of(text));
    info
}
