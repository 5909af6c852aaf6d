//! Tier C: client machines.

use crate::guard::{Guarded, free, guarded, into_handle, status};
use crate::output::Shown;
use crate::request::{drywire_memcached_request, failed, fault_info, happened, refused};
use crate::sized::{self, Growing};
use crate::status::{Result, drywire_status};
use crate::types::{
    DRYWIRE_NO_DEADLINE, Out, OutArray, drywire_error_info, drywire_event, drywire_iov, input,
};
use bytes::Bytes;
use drywire::conn::Outbox;
use drywire::memcache::client::{Client as Memcached, Limits, MAX_LINE, ReplyFault, Step};
use drywire_status::*;
use std::collections::VecDeque;

/// Settings of a client. Start with `drywire_client_options_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_client_options {
    /// `sizeof(drywire_client_options)`.
    pub struct_size: u32,
    /// 0 or `DRYWIRE_DEBUG_VIEWS`.
    pub flags: u32,
    /// Requests in flight at most, at least 1. Default 1024.
    pub window: u32,
    /// 0.
    pub reserved: u32,
    /// Longest value sent or accepted, in bytes, to 1 GiB. Default 1 MiB.
    pub value_max: u64,
    /// How long a request without its own `timeout_ns` may take. Default `DRYWIRE_NO_DEADLINE`.
    pub timeout_ns: u64,
}

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_client_options {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>() as u32,
        flags: 0,
        window: 1024,
        reserved: 0,
        value_max: 1 << 20,
        timeout_ns: DRYWIRE_NO_DEADLINE,
    };
}

/// What `drywire_client_get_stats` tells: sent = answered + refused + failed + in_flight, always.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_client_stats {
    /// `sizeof(drywire_client_stats)`, set by the caller.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Requests that ask for an answer.
    pub sent: u64,
    /// Of these, those that got it.
    pub answered: u64,
    /// Those that got an error reply.
    pub refused: u64,
    /// Those that will never be answered.
    pub failed: u64,
    /// Those that wait.
    pub in_flight: u64,
}

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_client_stats {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>() as u32,
        reserved: 0,
        sent: 0,
        answered: 0,
        refused: 0,
        failed: 0,
        in_flight: 0,
    };
}

/// The client's side of one connection: requests in, bytes out; bytes in, answers out. No socket.
/// One call at a time; may move between threads.
#[allow(non_camel_case_types)]
pub struct drywire_client(Guarded<Client>);

struct Client {
    machine: Memcached,
    out: Outbox,
    shown: Shown,
    input: Vec<u8>,
    /// Bytes of `input` that events handed out last may point into.
    done: usize,
    input_max: usize,
    timeout: u64,
    /// The deadlines that can come first, ascending in token and in time.
    due: VecDeque<(u64, u64)>,
    now: u64,
    ended: Ended,
    fault: Option<ReplyFault>,
    /// A poll may have something to give.
    fresh: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    No,
    /// The peer's input has ended; what is buffered is still read.
    Input,
    /// Everything in flight fails, for this reason.
    All(drywire_status),
}

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_client_options_init(
    options: *mut drywire_client_options,
    size: usize,
) -> drywire_status {
    // SAFETY: the caller keeps the rules at the top of the header; so for all pointers below.
    status(guarded(|| unsafe { sized::init(options, size) }))
}

/// Makes a memcached client for one connection. NULL `options` are all defaults; they are copied.
/// Free it with `drywire_client_free`. To connect again, make a new one.
///
/// Errors: `DRYWIRE_ERR_RANGE`, `DRYWIRE_ERR_ABI`, `DRYWIRE_ERR_NULL`. On failure `*client` is NULL.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_memcached_client_new(
    options: *const drywire_client_options,
    client: *mut *mut drywire_client,
) -> drywire_status {
    status(guarded(|| {
        // SAFETY: as above.
        let out = unsafe { Out::new(client) }?;
        out.set(core::ptr::null_mut());
        // SAFETY: as above.
        let options = unsafe { sized::read(options) }?;
        let debug = match options.flags {
            0 => false,
            crate::options::DRYWIRE_DEBUG_VIEWS => true,
            _ => return Err(DRYWIRE_ERR_RANGE),
        };
        let value = usize::try_from(options.value_max).map_err(|_| DRYWIRE_ERR_RANGE)?;
        if options.window == 0 || value > crate::options::LARGEST {
            return Err(DRYWIRE_ERR_RANGE);
        }
        let state = Client {
            machine: Memcached::new(Limits { window: options.window as usize, value }),
            out: Outbox::new(),
            shown: Shown::new(debug),
            input: Vec::new(),
            done: 0,
            input_max: (MAX_LINE + value + 2).max(64 << 10),
            timeout: options.timeout_ns,
            due: VecDeque::new(),
            now: 0,
            ended: Ended::No,
            fault: None,
            fresh: false,
        };
        // SAFETY: checked by `Out::new`.
        unsafe { into_handle(client, drywire_client(Guarded::new(state))) }
    }))
}

/// Frees a client. NULL is fine. Requests in flight get no event any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_client_free(client: *mut drywire_client) {
    // SAFETY: as above.
    unsafe { free(client) };
}

/// Appends a request to the output. Its token goes to `token` (0 if it asks for no answer, so that
/// nothing more is heard of it); tokens count up from 1. Everything is copied.
///
/// Each token gets exactly one `DRYWIRE_EVENT_DONE`, also when the connection ends or time runs out.
///
/// Errors, nothing is sent then: `DRYWIRE_ERR_RANGE` for a key, value or verb that the protocol
/// cannot carry; `DRYWIRE_ERR_LIMIT` when `window` requests are in flight: poll first;
/// `DRYWIRE_ERR_STATE` when the connection has ended; `DRYWIRE_ERR_NULL`; `DRYWIRE_ERR_ABI`;
/// `DRYWIRE_ERR_NOMEM`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_client_submit(
    client: *mut drywire_client,
    now_ns: u64,
    request: *const drywire_memcached_request,
    token: *mut u64,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(client, |c| {
            let token = Out::new(token)?;
            token.set(0);
            if request.is_null() {
                return Err(DRYWIRE_ERR_NULL);
            }
            let request = sized::read(request)?;
            if c.ended != Ended::No {
                return Err(DRYWIRE_ERR_STATE);
            }
            c.clock(now_ns);
            c.settle_output();
            let timeout = if request.timeout_ns == 0 { c.timeout } else { request.timeout_ns };
            let (machine, out) = (&mut c.machine, &mut c.out);
            let id = request.with(|request| machine.send(request, out).map_err(refused))?;
            if let Some(id) = id {
                token.set(id.0 + 1);
                c.arm(id.0, timeout);
            }
            Ok(DRYWIRE_OK)
        })
    })
}

/// Takes input; the number of bytes taken goes to `consumed`. They are copied; `drywire_client_poll`
/// reads the answers out of them.
///
/// Returns `DRYWIRE_OK` when all was taken, `DRYWIRE_MORE` when the buffer is full: poll, then offer
/// the rest again.
/// Errors: `DRYWIRE_ERR_STATE` after `drywire_client_eof` or an error; `DRYWIRE_ERR_NOMEM`;
/// `DRYWIRE_ERR_NULL`; `DRYWIRE_ERR_RANGE`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_client_feed(
    client: *mut drywire_client,
    now_ns: u64,
    data: *const u8,
    len: usize,
    consumed: *mut usize,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(client, |c| {
            let consumed = Out::new(consumed)?;
            consumed.set(0);
            let data = input(data, len)?;
            if c.ended != Ended::No {
                return Err(DRYWIRE_ERR_STATE);
            }
            c.clock(now_ns);
            c.forget_done();
            let n = len.min(c.input_max - c.input.len());
            c.input.try_reserve(n).map_err(|_| DRYWIRE_ERR_NOMEM)?;
            c.input.extend_from_slice(&data[..n]);
            c.fresh |= n > 0;
            consumed.set(n);
            Ok(if n == len { DRYWIRE_OK } else { DRYWIRE_MORE })
        })
    })
}

/// The connection has ended: the peer's end of input, or a failure. What was fed before is still
/// read; then everything in flight fails with `DRYWIRE_ERR_CONNECTION_LOST`.
///
/// Errors: `DRYWIRE_ERR_NULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_client_eof(client: *mut drywire_client) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(client, |c| {
            if c.ended == Ended::No {
                c.ended = Ended::Input;
                c.fresh = true;
            }
            Ok(DRYWIRE_OK)
        })
    })
}

/// What the client wants: `DRYWIRE_WANT_READ`, `DRYWIRE_WANT_WRITE`; `DRYWIRE_WANT_AGAIN` when
/// `drywire_client_poll` may have something; `DRYWIRE_WANT_CLOSE` when the connection is over, also for
/// NULL or an unusable client.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_client_wants(client: *const drywire_client) -> u32 {
    use crate::conn::{
        DRYWIRE_WANT_AGAIN, DRYWIRE_WANT_CLOSE, DRYWIRE_WANT_READ, DRYWIRE_WANT_WRITE,
    };
    // SAFETY: as above.
    unsafe {
        enter(client, |c| {
            let open = c.ended == Ended::No;
            let room = c.input.len() - c.done < c.input_max;
            let flag = |on: bool, flag: u32| if on { flag } else { 0 };
            Ok(flag(open && room, DRYWIRE_WANT_READ)
                | flag(open && !c.out.is_empty(), DRYWIRE_WANT_WRITE)
                | flag(c.fresh, DRYWIRE_WANT_AGAIN)
                | flag(!open, DRYWIRE_WANT_CLOSE))
        })
    }
    .unwrap_or(DRYWIRE_WANT_CLOSE)
}

/// Shows the output that waits, exactly as `drywire_conn_output` does: segments stay where they are
/// until they are consumed or the client is freed.
///
/// Returns `DRYWIRE_OK`, or `DRYWIRE_MORE` when there are more than `cap` segments.
/// Errors: `DRYWIRE_ERR_NULL`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_client_output(
    client: *mut drywire_client,
    iov: *mut drywire_iov,
    cap: usize,
    n: *mut usize,
    bytes: *mut usize,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(client, |c| {
            let (n, bytes) = (Out::new(n)?, Out::new(bytes)?);
            n.set(0);
            bytes.set(0);
            let mut iov = OutArray::new(iov, cap)?;
            let mut slices = c.out.slices();
            bytes.set(c.shown.show(slices.by_ref(), &mut iov));
            n.set(iov.len());
            let more = iov.is_full() && slices.next().is_some();
            Ok(if more { DRYWIRE_MORE } else { DRYWIRE_OK })
        })
    })
}

/// The first `bytes` bytes of the output were sent.
///
/// Errors: `DRYWIRE_ERR_RANGE` for more than the last `drywire_client_output` showed;
/// `DRYWIRE_ERR_NULL`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_client_output_consume(
    client: *mut drywire_client,
    bytes: usize,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(client, |c| {
            c.shown.consume(bytes)?;
            c.settle_output();
            c.out.sent(bytes);
            Ok(DRYWIRE_OK)
        })
    })
}

/// Reads answers out of what was fed: at most `cap` events (`DRYWIRE_EVENT_VALUE`, `_STAT`, `_DONE`)
/// go to `events`, their number to `n`. Their bytes are good until the next `drywire_client_poll`,
/// `_feed` or `_free`.
///
/// Returns `DRYWIRE_OK` when there are no more, `DRYWIRE_MORE` when there may be.
/// Errors: `DRYWIRE_ERR_NULL`. A broken peer is no error here: its requests fail, each with its
/// event, and `drywire_client_last_error` tells why.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_client_poll(
    client: *mut drywire_client,
    events: *mut drywire_event,
    cap: usize,
    n: *mut usize,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(client, |c| {
            let n = Out::new(n)?;
            n.set(0);
            let mut events = OutArray::new(events, cap)?;
            c.forget_done();
            c.poll(&mut events);
            c.fresh = events.is_full();
            n.set(events.len());
            Ok(if events.is_full() { DRYWIRE_MORE } else { DRYWIRE_OK })
        })
    })
}

/// When `drywire_client_tick` is due; `DRYWIRE_NO_DEADLINE` if never, and for NULL or an unusable
/// client.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_client_next_deadline(client: *const drywire_client) -> u64 {
    // SAFETY: as above.
    unsafe { enter(client, |c| Ok(c.deadline())) }.unwrap_or(DRYWIRE_NO_DEADLINE)
}

/// Time has passed. When a request has run out of it, the connection is over: answers come in order,
/// so the ones behind it cannot come either. Everything in flight fails with
/// `DRYWIRE_ERR_TIMED_OUT`.
///
/// Errors: `DRYWIRE_ERR_NULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_client_tick(
    client: *mut drywire_client,
    now_ns: u64,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(client, |c| {
            c.clock(now_ns);
            if c.deadline() <= c.now {
                c.end(DRYWIRE_ERR_TIMED_OUT);
            }
            Ok(DRYWIRE_OK)
        })
    })
}

/// Where the requests went. Set `stats->struct_size` first.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_client_get_stats(
    client: *const drywire_client,
    stats: *mut drywire_client_stats,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(client, |c| {
            let ledger = c.machine.ledger();
            let found = drywire_client_stats {
                sent: ledger.sent,
                answered: ledger.answered,
                refused: ledger.refused,
                failed: ledger.failed,
                in_flight: c.machine.in_flight() as u64,
                ..drywire_client_stats::DEFAULT
            };
            sized::write(stats, &found).map(|()| DRYWIRE_OK)
        })
    })
}

/// Why the connection ended; `status` 0 while it is open. `code` is a `DRYWIRE_CLIENT_FAULT_*` if the
/// peer broke the protocol. Set `info->struct_size` first.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_client_last_error(
    client: *const drywire_client,
    info: *mut drywire_error_info,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(client, |c| {
            let found = match (c.ended, &c.fault) {
                (_, Some(fault)) => fault_info(fault),
                (Ended::No, None) => drywire_error_info::none(),
                (Ended::Input, None) => failed(DRYWIRE_ERR_CONNECTION_LOST),
                (Ended::All(why), None) => failed(why),
            };
            sized::write(info, &found).map(|()| DRYWIRE_OK)
        })
    })
}

impl Client {
    fn clock(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    /// Pins output that was shown, before it may change.
    fn settle_output(&mut self) {
        if self.shown.at_risk() {
            let segments: Vec<Bytes> = self.out.pin().cloned().collect();
            self.shown.pin(segments);
        }
    }

    /// Drops the input that events of the last poll pointed into.
    fn forget_done(&mut self) {
        if self.done == self.input.len() {
            self.input.clear();
        } else {
            self.input.drain(..self.done);
        }
        self.done = 0;
    }

    fn arm(&mut self, id: u64, timeout: u64) {
        if timeout == DRYWIRE_NO_DEADLINE {
            return;
        }
        let at = self.now.saturating_add(timeout);
        // A later request that is due earlier makes this one's deadline irrelevant: when the
        // earlier moment comes, either both are answered or the connection is over.
        while self.due.back().is_some_and(|(_, other)| *other >= at) {
            self.due.pop_back();
        }
        self.due.push_back((id, at));
    }

    fn deadline(&self) -> u64 {
        match self.ended {
            Ended::No | Ended::Input => self.due.front().map_or(DRYWIRE_NO_DEADLINE, |d| d.1),
            Ended::All(_) => DRYWIRE_NO_DEADLINE,
        }
    }

    fn end(&mut self, why: drywire_status) {
        self.machine.end();
        self.ended = Ended::All(why);
        self.due.clear();
        self.fresh = true;
    }

    fn poll(&mut self, events: &mut OutArray<drywire_event>) {
        while !events.is_full() && !matches!(self.ended, Ended::All(_)) {
            match self.machine.step(&self.input[self.done..]) {
                Ok(Step::Event { event, used }) => {
                    let event = happened(event);
                    if event.kind == crate::types::DRYWIRE_EVENT_DONE {
                        let answered = event.id - 1;
                        while self.due.front().is_some_and(|(id, _)| *id <= answered) {
                            self.due.pop_front();
                        }
                    }
                    events.push(event);
                    self.done += used;
                }
                Ok(Step::Need(_)) if self.ended == Ended::Input => {
                    self.end(DRYWIRE_ERR_CONNECTION_LOST);
                }
                Ok(Step::Need(_)) => return,
                Err(fault) => {
                    self.fault = Some(fault);
                    self.end(DRYWIRE_ERR_PROTOCOL);
                }
            }
        }
        let Ended::All(why) = self.ended else { return };
        while !events.is_full()
            && let Some(id) = self.machine.next_failed()
        {
            events.push(crate::request::lost(id, why));
        }
    }
}

/// # Safety
/// `client` is NULL or a client that was not freed.
#[inline]
unsafe fn enter<R>(
    client: *const drywire_client,
    f: impl FnOnce(&mut Client) -> Result<R>,
) -> Result<R> {
    // SAFETY: promised by the caller.
    unsafe { client.as_ref() }.ok_or(DRYWIRE_ERR_NULL)?.0.run(f)
}
