//! Tier B: the connections of a server.

use crate::domain::{Domain, Inner, Kind, id_of};
use crate::guard::{free, into_handle, status};
use crate::server::drywire_server;
use crate::sized;
use crate::status::{Result, drywire_status};
use crate::types::{Out, OutArray, drywire_bytes, drywire_error_info, drywire_iov, input};
use core::ffi::c_void;
use drywire::conn::{CloseReason, Fault, FaultKind, Peer, TransportError, Wants};
use drywire::engine::ConnId;
use drywire_status::*;

/// In `drywire_conn_wants`: it has room for input.
pub const DRYWIRE_WANT_READ: u32 = 1;
/// In `drywire_conn_wants`: output is waiting.
pub const DRYWIRE_WANT_WRITE: u32 = 2;
/// In `drywire_conn_wants`: call `drywire_conn_resume` after the other connections had a turn.
pub const DRYWIRE_WANT_AGAIN: u32 = 4;
/// In `drywire_conn_wants`: shut the write side of the socket down, then call
/// `drywire_conn_was_shut_down`.
pub const DRYWIRE_WANT_SHUTDOWN: u32 = 8;
/// In `drywire_conn_wants`: it is over; close the socket and free the connection.
pub const DRYWIRE_WANT_CLOSE: u32 = 16;
/// In `drywire_conn_wants` beside `DRYWIRE_WANT_CLOSE`: something owed is lost, so close the socket in a
/// way that resets the connection (`SO_LINGER` with 0 seconds): the peer must be able to tell that from
/// a peaceful end.
pub const DRYWIRE_WANT_RESET: u32 = 32;

/// `code` of a connection's `drywire_error_info`: it is open.
pub const DRYWIRE_CLOSE_NONE: u32 = 0;
/// `code`: the peer ended its input and everything owed was delivered.
pub const DRYWIRE_CLOSE_PEER_DONE: u32 = 1;
/// `code`: the protocol ended it.
pub const DRYWIRE_CLOSE_FINISHED: u32 = 2;
/// `code`: this side closed it.
pub const DRYWIRE_CLOSE_LOCAL: u32 = 3;
/// `code`: refused at the door, too many connections.
pub const DRYWIRE_CLOSE_REFUSED: u32 = 4;
/// `code`: the peer broke the protocol.
pub const DRYWIRE_CLOSE_FAULT: u32 = 5;
/// `code`: the peer took none of its output for too long.
pub const DRYWIRE_CLOSE_SLOW_READER: u32 = 6;
/// `code`: the transport failed, or the caller gave it up.
pub const DRYWIRE_CLOSE_TRANSPORT: u32 = 7;
/// `code`: nothing happened for too long.
pub const DRYWIRE_CLOSE_IDLE: u32 = 8;

/// For `drywire_conn_abort`: the transport failed in some way.
pub const DRYWIRE_TRANSPORT_OTHER: u32 = 0;
/// For `drywire_conn_abort`: the peer reset the connection.
pub const DRYWIRE_TRANSPORT_RESET: u32 = 1;
/// For `drywire_conn_abort`: the peer cannot be reached any more.
pub const DRYWIRE_TRANSPORT_TIMED_OUT: u32 = 2;

/// One connection of a server: bytes in, bytes out, no socket. It belongs to its server: of a
/// server and all its connections, one is used at a time. May be freed before or after it.
#[allow(non_camel_case_types)]
pub struct drywire_conn {
    domain: Domain,
    id: ConnId,
    /// Room lent by the last `input_reserve`.
    lent: core::sync::atomic::AtomicUsize,
}

/// Opens a connection; the caller has accepted a socket for it. `user` is handed back with
/// everything that concerns the connection. Past the limit of connections, and once the server goes
/// away, the new one is told so and ends: drive it like any other. Free it with `drywire_conn_free`.
///
/// Errors: `DRYWIRE_ERR_OVERLOADED` when too many are being refused already, and instead of a refusal
/// by a custom server, which has no words for it: close the socket in a way that resets it;
/// `DRYWIRE_ERR_STATE` between `_input_reserve` and `_input_commit`; `DRYWIRE_ERR_NULL`. On failure
/// `*conn` is NULL.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_conn_open(
    server: *mut drywire_server,
    now_ns: u64,
    user: *mut c_void,
    conn: *mut *mut drywire_conn,
) -> drywire_status {
    // SAFETY: the caller keeps the rules at the top of the header; so for all pointers below.
    let out = match unsafe { Out::new(conn) } {
        Ok(out) => out,
        Err(error) => return error,
    };
    out.set(core::ptr::null_mut());
    // SAFETY: as above.
    let Some(drywire_server(domain)) = (unsafe { server.as_ref() }) else {
        return DRYWIRE_ERR_NULL;
    };
    let user = user.expose_provenance();
    status(domain.run(|inner| {
        let now = inner.begin(now_ns)?;
        let peer = Peer::Virtual(inner.totals.accepted);
        let Some(id) = inner.machine().accept(now, &peer) else {
            inner.totals.overloaded += 1;
            return Err(DRYWIRE_ERR_OVERLOADED);
        };
        inner.opened(id, user);
        let refused = inner.machine().close_reason(id) == Some(CloseReason::Refused);
        if refused && matches!(inner.engine, Kind::Custom(_)) {
            // A peaceful end would look like one that owes nothing for what the peer sends.
            inner.release(id);
            inner.totals.overloaded += 1;
            return Err(DRYWIRE_ERR_OVERLOADED);
        }
        let handle = drywire_conn { domain: domain.clone(), id, lent: Default::default() };
        // SAFETY: checked by `Out::new`.
        unsafe { into_handle(conn, handle) }
    }))
}

/// Frees a connection; one that was not over is aborted. NULL is fine. Its output segments are
/// gone with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_conn_free(conn: *mut drywire_conn) {
    // SAFETY: as above. A poisoned server is left as it is.
    let _ = unsafe {
        with(conn, |inner, conn| {
            inner.release(conn.id);
            Ok(())
        })
    };
    // SAFETY: as above.
    unsafe { free(conn) };
}

/// The id of a connection: not 0, and never used again by its server. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_conn_id(conn: *const drywire_conn) -> u64 {
    // SAFETY: as above.
    unsafe { conn.as_ref() }.map_or(0, |conn| id_of(conn.id))
}

/// The `user` given at `drywire_conn_open`; NULL for NULL or an unusable connection.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_conn_user(conn: *const drywire_conn) -> *mut c_void {
    // SAFETY: as above.
    let user = unsafe { with(conn, |inner, conn| Ok(inner.user(conn.id))) }.unwrap_or(0);
    core::ptr::with_exposed_provenance_mut(user)
}

/// What the connection wants now: `DRYWIRE_WANT_*` added up. May be asked at any time, any number of
/// times. `DRYWIRE_WANT_CLOSE` for NULL or an unusable connection.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_conn_wants(conn: *const drywire_conn) -> u32 {
    // SAFETY: as above.
    unsafe {
        with(conn, |inner, conn| {
            let machine = inner.machine();
            let wants = machine.wants(conn.id);
            let lost = wants.has(Wants::CLOSE)
                && machine.close_reason(conn.id).is_some_and(CloseReason::breaks_off);
            Ok(u32::from(wants.bits()) | if lost { DRYWIRE_WANT_RESET } else { 0 })
        })
    }
    .unwrap_or(DRYWIRE_WANT_CLOSE)
}

/// Takes input from the caller's memory; replies are appended to the output. The number of bytes
/// taken goes to `consumed`; what is not taken is to be offered again. The bytes are copied as far
/// as they are kept. 0 bytes is not the end of input: that is `drywire_conn_eof`.
///
/// Returns `DRYWIRE_OK` when all was taken; `DRYWIRE_NEED_OUTPUT_DRAIN` to send output first,
/// `DRYWIRE_MORE` to call `drywire_conn_resume` first, `DRYWIRE_NOT_NOW` when input is not wanted.
/// Errors: `DRYWIRE_ERR_PROTOCOL` to `DRYWIRE_ERR_TRUNCATED`: the peer broke the protocol, replies owed
/// and last words are in the output, drive the connection to its end; `DRYWIRE_ERR_STATE` between
/// `_input_reserve` and `_input_commit`; `DRYWIRE_ERR_NULL`; `DRYWIRE_ERR_RANGE`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_conn_feed(
    conn: *mut drywire_conn,
    now_ns: u64,
    data: *const u8,
    len: usize,
    consumed: *mut usize,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        with(conn, |inner, conn| {
            let consumed = Out::new(consumed)?;
            consumed.set(0);
            let data = input(data, len)?;
            let now = inner.begin(now_ns)?;
            let machine = inner.machine();
            let mut used = 0;
            while used < len {
                let n = machine.receive(conn.id, now, &data[used..]);
                if n == 0 {
                    break;
                }
                used += n;
            }
            consumed.set(used);
            inner.totals.bytes_in += used as u64;
            after_input(inner, conn.id, used == len)
        })
    })
}

/// Lends room to read input into: its address goes to `room`, its size to `cap`. The read ends with
/// `drywire_conn_input_commit`; until then every call on this server and its connections fails with
/// `DRYWIRE_ERR_STATE`, except those that only look and `_free`. The room is good until then.
///
/// Returns `DRYWIRE_OK`; or, with `cap` 0 and nothing to commit, `DRYWIRE_NEED_OUTPUT_DRAIN`,
/// `DRYWIRE_MORE` or `DRYWIRE_NOT_NOW` as `drywire_conn_feed` does.
/// Errors: as `drywire_conn_feed`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_conn_input_reserve(
    conn: *mut drywire_conn,
    room: *mut *mut u8,
    cap: *mut usize,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        with(conn, |inner, conn| {
            let (room, cap) = (Out::new(room)?, Out::new(cap)?);
            room.set(core::ptr::null_mut());
            cap.set(0);
            let lent = inner.reserve(conn.id)?;
            conn.lent.store(lent.len(), core::sync::atomic::Ordering::Relaxed);
            if lent.is_empty() {
                return after_input(inner, conn.id, false);
            }
            room.set(lent.as_mut_ptr());
            cap.set(lent.len());
            Ok(DRYWIRE_OK)
        })
    })
}

/// Ends a read into the room lent by `drywire_conn_input_reserve`: `n` bytes are there. 0 is fine and
/// is not the end of input.
///
/// Returns `DRYWIRE_OK`. Errors: `DRYWIRE_ERR_RANGE` for more than was lent (the reservation
/// stays); `DRYWIRE_ERR_STATE` without a reservation; otherwise as `drywire_conn_feed`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_conn_input_commit(
    conn: *mut drywire_conn,
    now_ns: u64,
    n: usize,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        with(conn, |inner, conn| {
            let lent = conn.lent.load(core::sync::atomic::Ordering::Relaxed);
            inner.commit(conn.id, now_ns, n, lent)?;
            after_input(inner, conn.id, true)
        })
    })
}

/// The peer will send no more (a read returned 0). What it sent before is still answered.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_STATE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_conn_eof(conn: *mut drywire_conn, now_ns: u64) -> drywire_status {
    // SAFETY: as above.
    unsafe { act(conn, now_ns, |inner, id, now| inner.machine().end_of_input(id, now)) }
}

/// Goes on after `DRYWIRE_WANT_AGAIN`; does nothing otherwise.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_STATE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_conn_resume(
    conn: *mut drywire_conn,
    now_ns: u64,
) -> drywire_status {
    // SAFETY: as above.
    unsafe { act(conn, now_ns, |inner, id, now| inner.machine().resume(id, now)) }
}

/// Shows the output that waits: at most `cap` segments go to `iov`, their number to `n`, the sum of
/// their sizes to `bytes`. Changes nothing.
///
/// Segments stay where they are, unchanged, until `drywire_conn_output_consume` covers them or the
/// connection is freed, whatever is called in between: they may be handed to the kernel and left
/// there. Later calls show them again, with later output behind them.
///
/// Returns `DRYWIRE_OK`, or `DRYWIRE_MORE` when there are more than `cap` segments.
/// Errors: `DRYWIRE_ERR_NULL`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_conn_output(
    conn: *mut drywire_conn,
    iov: *mut drywire_iov,
    cap: usize,
    n: *mut usize,
    bytes: *mut usize,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        with(conn, |inner, conn| {
            let (n, bytes) = (Out::new(n)?, Out::new(bytes)?);
            n.set(0);
            bytes.set(0);
            let mut iov = OutArray::new(iov, cap)?;
            let more = inner.show(conn.id, |shown, mut slices| {
                bytes.set(shown.show(slices.by_ref(), &mut iov));
                iov.is_full() && slices.next().is_some()
            })?;
            n.set(iov.len());
            Ok(if more { DRYWIRE_MORE } else { DRYWIRE_OK })
        })
    })
}

/// Copies up to `cap` bytes of the output that waits to `buf` and their number to `n`. Nothing is
/// consumed: say with `drywire_conn_output_consume` how much of it was sent.
///
/// Errors: `DRYWIRE_ERR_NULL`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_conn_output_copy(
    conn: *mut drywire_conn,
    buf: *mut u8,
    cap: usize,
    n: *mut usize,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        with(conn, |inner, conn| {
            let n = Out::new(n)?;
            n.set(0);
            let mut buf = OutArray::new(buf, cap)?;
            inner.show(conn.id, |shown, slices| shown.copy(slices, &mut buf))?;
            n.set(buf.len());
            Ok(DRYWIRE_OK)
        })
    })
}

/// The first `bytes` bytes of the output were sent; any part of what was shown is fine.
///
/// Errors: `DRYWIRE_ERR_RANGE` for more than the last `drywire_conn_output` or `_output_copy`
/// showed; `DRYWIRE_ERR_NULL`; `DRYWIRE_ERR_STATE`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_conn_output_consume(
    conn: *mut drywire_conn,
    now_ns: u64,
    bytes: usize,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        with(conn, |inner, conn| inner.consume(conn.id, now_ns, bytes).map(|()| DRYWIRE_OK))
    })
}

/// The write side of the socket is shut down, as `DRYWIRE_WANT_SHUTDOWN` asked.
///
/// Errors: `DRYWIRE_ERR_STATE` if it was not asked for, and between `_input_reserve` and
/// `_input_commit`; `DRYWIRE_ERR_NULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_conn_was_shut_down(
    conn: *mut drywire_conn,
    now_ns: u64,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        with(conn, |inner, conn| {
            let now = inner.begin(now_ns)?;
            let machine = inner.machine();
            if !machine.wants(conn.id).has(Wants::SHUTDOWN) {
                return Err(DRYWIRE_ERR_STATE);
            }
            machine.was_shut_down(conn.id, now);
            Ok(DRYWIRE_OK)
        })
    })
}

/// Ends the connection from this side: complete requests already received are answered, everything
/// owed is sent, then it wants `DRYWIRE_WANT_SHUTDOWN` and `DRYWIRE_WANT_CLOSE`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_STATE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_conn_close_begin(
    conn: *mut drywire_conn,
    now_ns: u64,
) -> drywire_status {
    // SAFETY: as above.
    unsafe { act(conn, now_ns, |inner, id, now| inner.machine().close(id, now)) }
}

/// Ends the connection at once: its transport failed. `why` is a `DRYWIRE_TRANSPORT_*`. What is owed
/// fails with it.
///
/// Errors: `DRYWIRE_ERR_RANGE`, `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_STATE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_conn_abort(
    conn: *mut drywire_conn,
    now_ns: u64,
    why: u32,
) -> drywire_status {
    let why = match why {
        DRYWIRE_TRANSPORT_OTHER => TransportError::Other,
        DRYWIRE_TRANSPORT_RESET => TransportError::Reset,
        DRYWIRE_TRANSPORT_TIMED_OUT => TransportError::TimedOut,
        _ => return DRYWIRE_ERR_RANGE,
    };
    let reason = CloseReason::Transport(why);
    // SAFETY: as above.
    unsafe { act(conn, now_ns, |inner, id, now| inner.machine().abort(id, now, reason)) }
}

/// Why the connection ended or is ending: `info->code` is a `DRYWIRE_CLOSE_*`, `info->status` below 0
/// if something went wrong. Set `info->struct_size` first.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_conn_last_error(
    conn: *const drywire_conn,
    info: *mut drywire_error_info,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        with(conn, |inner, conn| {
            let reason = inner.machine().close_reason(conn.id);
            sized::write(info, &reason.map_or(drywire_error_info::none(), ended))?;
            Ok(DRYWIRE_OK)
        })
    })
}

/// What the caller of a feeding call should know.
#[inline]
fn after_input(inner: &mut Inner, id: ConnId, all_taken: bool) -> Result<drywire_status> {
    let machine = inner.machine();
    let wants = machine.wants(id);
    if wants.has(Wants::READ) {
        return Ok(DRYWIRE_OK);
    }
    if let Some(CloseReason::Fault(fault)) = machine.close_reason(id) {
        return Err(fault_status(fault));
    }
    Ok(match wants {
        _ if all_taken => DRYWIRE_OK,
        _ if wants.has(Wants::AGAIN) => DRYWIRE_MORE,
        _ if wants.has(Wants::WRITE) => DRYWIRE_NEED_OUTPUT_DRAIN,
        _ => DRYWIRE_NOT_NOW,
    })
}

fn fault_status(fault: Fault) -> drywire_status {
    match fault.kind {
        FaultKind::Refused => DRYWIRE_ERR_REFUSED,
        FaultKind::TimedOut => DRYWIRE_ERR_TIMED_OUT,
        FaultKind::TooLong => DRYWIRE_ERR_TOO_LONG,
        FaultKind::Truncated => DRYWIRE_ERR_TRUNCATED,
        _ => DRYWIRE_ERR_PROTOCOL,
    }
}

fn ended(reason: CloseReason) -> drywire_error_info {
    let (code, status, text) = match reason {
        CloseReason::PeerDone => (DRYWIRE_CLOSE_PEER_DONE, DRYWIRE_OK, "the peer was done"),
        CloseReason::Finished => (DRYWIRE_CLOSE_FINISHED, DRYWIRE_OK, "the protocol ended it"),
        CloseReason::Local => (DRYWIRE_CLOSE_LOCAL, DRYWIRE_OK, "closed by this side"),
        CloseReason::Refused => {
            (DRYWIRE_CLOSE_REFUSED, DRYWIRE_ERR_OVERLOADED, "refused: too many connections")
        }
        CloseReason::Fault(fault) => (DRYWIRE_CLOSE_FAULT, fault_status(fault), fault.what),
        CloseReason::SlowReader => (
            DRYWIRE_CLOSE_SLOW_READER,
            DRYWIRE_ERR_SLOW_READER,
            "the peer took no output for too long",
        ),
        CloseReason::Idle => {
            (DRYWIRE_CLOSE_IDLE, DRYWIRE_ERR_TIMED_OUT, "nothing happened for too long")
        }
        _ => (DRYWIRE_CLOSE_TRANSPORT, DRYWIRE_ERR_CONNECTION_LOST, "the transport failed"),
    };
    drywire_error_info {
        code,
        status: status as i32,
        text: drywire_bytes::of(text.as_bytes()),
        ..drywire_error_info::none()
    }
}

/// # Safety
/// `conn` is NULL or a connection that was not freed.
#[inline]
unsafe fn act(
    conn: *mut drywire_conn,
    now: u64,
    f: impl FnOnce(&mut Inner, ConnId, drywire::Tick),
) -> drywire_status {
    status(unsafe {
        // SAFETY: promised by the caller.
        with(conn, |inner, conn| {
            let now = inner.begin(now)?;
            f(inner, conn.id, now);
            Ok(DRYWIRE_OK)
        })
    })
}

/// # Safety
/// `conn` is NULL or a connection that was not freed.
#[inline]
unsafe fn with<R>(
    conn: *const drywire_conn,
    f: impl FnOnce(&mut Inner, &drywire_conn) -> Result<R>,
) -> Result<R> {
    // SAFETY: promised by the caller.
    let conn = unsafe { conn.as_ref() }.ok_or(DRYWIRE_ERR_NULL)?;
    conn.domain.run(|inner| f(inner, conn))
}
