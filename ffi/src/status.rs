//! Status codes: what every call that can fail returns.

use core::ffi::{CStr, c_char};

/// What a call did. 0 is success; above 0 is success with a hint; below 0 is failure, and the
/// call did nothing unless its documentation says otherwise.
///
/// -1 to -99: the caller broke the rules of this header. -100 to -199: the peer broke its
/// protocol; only that connection is concerned. -200 to -299: a resource or limit. -900 and
/// below: a defect of the library. Numbers are never reused; new ones are added.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub enum drywire_status {
    /// Done.
    DRYWIRE_OK = 0,
    /// Done; more input is needed before anything else can come out.
    DRYWIRE_NEED_INPUT = 1,
    /// Not all input was taken: send output first. This is back-pressure.
    DRYWIRE_NEED_OUTPUT_DRAIN = 2,
    /// There is more of it: call again.
    DRYWIRE_MORE = 3,
    /// Nothing was taken: not wanted now. `drywire_conn_wants` tells what is.
    DRYWIRE_NOT_NOW = 4,

    /// A pointer that must not be NULL is NULL.
    DRYWIRE_ERR_NULL = -1,
    /// A number is outside its range, or an option makes no sense.
    DRYWIRE_ERR_RANGE = -2,
    /// The call is not allowed in this state.
    DRYWIRE_ERR_STATE = -3,
    /// Another call is using this handle: from another thread or from a signal handler.
    DRYWIRE_ERR_REENTRANT = -4,
    /// An earlier call on this handle ended in `DRYWIRE_ERR_PANIC`; it can only be freed.
    DRYWIRE_ERR_POISONED = -5,
    /// A sized struct is too small, or larger than this library knows with something in the part
    /// it does not know.
    DRYWIRE_ERR_ABI = -6,
    /// The caller's buffer is too small; the size needed was written.
    DRYWIRE_ERR_BUFFER = -7,
    /// The connection, request or token is not there any more.
    DRYWIRE_ERR_GONE = -8,
    /// This build, framing or protocol does not have that.
    DRYWIRE_ERR_UNSUPPORTED = -9,

    /// The peer's bytes do not follow the protocol.
    DRYWIRE_ERR_PROTOCOL = -100,
    /// The peer asked for something that is refused by choice.
    DRYWIRE_ERR_REFUSED = -101,
    /// The peer was silent or too slow for too long.
    DRYWIRE_ERR_TIMED_OUT = -102,
    /// A message of the peer is longer than allowed.
    DRYWIRE_ERR_TOO_LONG = -103,
    /// The peer's input ended inside a message.
    DRYWIRE_ERR_TRUNCATED = -104,
    /// The peer took none of its output for too long.
    DRYWIRE_ERR_SLOW_READER = -105,
    /// The connection ended before the answer came.
    DRYWIRE_ERR_CONNECTION_LOST = -106,

    /// No memory.
    DRYWIRE_ERR_NOMEM = -200,
    /// A limit set by the caller is reached.
    DRYWIRE_ERR_LIMIT = -201,
    /// Too many connections: close the socket.
    DRYWIRE_ERR_OVERLOADED = -202,

    /// A defect of this library was caught. The handle is poisoned, the process is fine.
    DRYWIRE_ERR_PANIC = -900,
}

use drywire_status::*;

pub(crate) type Result<T> = core::result::Result<T, drywire_status>;

/// The name of a status, such as "DRYWIRE_ERR_NULL"; "DRYWIRE_UNKNOWN" for a number that is none.
/// Static text. Any thread, any time.
#[unsafe(no_mangle)]
pub extern "C" fn drywire_status_name(status: i32) -> *const c_char {
    named(status).map_or(c"DRYWIRE_UNKNOWN", |(_, name)| *name).as_ptr()
}

/// 1 if a status means that the handle is of no more use than to be freed (a panic, a poisoned
/// handle), else 0. Any thread, any time.
#[unsafe(no_mangle)]
pub extern "C" fn drywire_status_is_fatal(status: i32) -> i32 {
    i32::from(status == DRYWIRE_ERR_PANIC as i32 || status == DRYWIRE_ERR_POISONED as i32)
}

fn named(status: i32) -> Option<&'static (drywire_status, &'static CStr)> {
    ALL.iter().find(|(known, _)| *known as i32 == status)
}

macro_rules! all {
    ($($name:ident)*) => {
        pub(crate) const ALL: &[(drywire_status, &CStr)] = &[$((
            $name,
            match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => panic!("names hold no NUL"),
            },
        )),*];
        /// Fails to compile when a status is missing in the list of names.
        const fn _complete(status: drywire_status) {
            match status { $($name => {})* }
        }
    };
}

all! {
    DRYWIRE_OK DRYWIRE_NEED_INPUT DRYWIRE_NEED_OUTPUT_DRAIN DRYWIRE_MORE DRYWIRE_NOT_NOW
    DRYWIRE_ERR_NULL DRYWIRE_ERR_RANGE DRYWIRE_ERR_STATE DRYWIRE_ERR_REENTRANT
    DRYWIRE_ERR_POISONED DRYWIRE_ERR_ABI DRYWIRE_ERR_BUFFER DRYWIRE_ERR_GONE
    DRYWIRE_ERR_UNSUPPORTED DRYWIRE_ERR_PROTOCOL DRYWIRE_ERR_REFUSED DRYWIRE_ERR_TIMED_OUT
    DRYWIRE_ERR_TOO_LONG DRYWIRE_ERR_TRUNCATED DRYWIRE_ERR_SLOW_READER
    DRYWIRE_ERR_CONNECTION_LOST DRYWIRE_ERR_NOMEM DRYWIRE_ERR_LIMIT DRYWIRE_ERR_OVERLOADED
    DRYWIRE_ERR_PANIC
}
