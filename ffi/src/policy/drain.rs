//! How a server goes away without losing a request.

use crate::guard::{guarded, status};
use crate::policy::{begin, count, decide, drywire_decision, held, look, or_never, span, tell};
use crate::sized::{self, Growing};
use crate::status::drywire_status;
use crate::types::DRYWIRE_NO_DEADLINE;
use drywire::Tick;
use drywire::guard::{Drain, DrainConfig, DrainStep, InFlight};

/// From `drywire_drain_poll`: tell everybody, and go on serving. Once.
pub const DRYWIRE_DRAIN_ANNOUNCE: u32 = 1;
/// From `drywire_drain_poll`: refuse new connections and new requests, not executed. Once.
pub const DRYWIRE_DRAIN_REFUSE_NEW: u32 = 2;
/// From `drywire_drain_poll`: close `num` more connections, each after what it is owed.
pub const DRYWIRE_DRAIN_CLOSE: u32 = 3;
/// From `drywire_drain_poll`: time is up; end everything that is left, visibly. Once.
pub const DRYWIRE_DRAIN_ABORT: u32 = 4;
/// From `drywire_drain_poll`: exit. Once.
pub const DRYWIRE_DRAIN_DONE: u32 = 5;

/// From `drywire_drain_flags`: new connections and requests are taken.
pub const DRYWIRE_DRAIN_ACCEPTS: u32 = 1;
/// From `drywire_drain_flags`: heartbeats and health answers should say that the server goes away.
pub const DRYWIRE_DRAIN_ANNOUNCES: u32 = 2;

/// How long each step may take. Start with `drywire_drain_options_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_drain_options {
    /// `sizeof(drywire_drain_options)`.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Serving on while clients are told. Default 5 s.
    pub announce_ns: u64,
    /// Refusing new work while what is in flight finishes. Default 10 s.
    pub grace_ns: u64,
    /// Closing the connections, evenly. Default 5 s.
    pub spread_ns: u64,
    /// Everything together. Default 25 s.
    pub hard_ns: u64,
}

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_drain_options {
    const DEFAULT: Self = {
        let config = DrainConfig::DEFAULT;
        Self {
            struct_size: size_of::<Self>() as u32,
            reserved: 0,
            announce_ns: config.announce.as_nanos() as u64,
            grace_ns: config.grace.as_nanos() as u64,
            spread_ns: config.spread.as_nanos() as u64,
            hard_ns: config.hard.as_nanos() as u64,
        }
    };
}

impl drywire_drain_options {
    fn config(&self) -> DrainConfig {
        DrainConfig {
            announce: span(self.announce_ns),
            grace: span(self.grace_ns),
            spread: span(self.spread_ns),
            hard: span(self.hard_ns),
        }
    }
}

/// The state of one server that may go away: announce, refuse, close evenly, stop, each step with a
/// last moment. For servers of your own; `drywire_server_drain` is the short way for the library's.
/// Yours to copy; the numbers in it are the library's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_drain {
    /// Set by `drywire_drain_init`.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The library's.
    pub state: [u64; 4],
}

held! { drywire_drain: Drain, 4; }

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_drain_options_init(
    options: *mut drywire_drain_options,
    size: usize,
) -> drywire_status {
    // SAFETY: the caller keeps the rules at the top of the header; so for all pointers below.
    status(guarded(|| unsafe { sized::init(options, size) }))
}

/// Makes the state of a server that serves: `size` is `sizeof *drain`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_drain_init(
    drain: *mut drywire_drain,
    size: usize,
) -> drywire_status {
    // SAFETY: as above.
    status(guarded(|| unsafe { begin(drain, size, Drain::new()) }))
}

/// The server is to go away. Only the first call counts.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_drain_start(
    drain: *mut drywire_drain,
    now_ns: u64,
) -> drywire_status {
    // SAFETY: as above.
    unsafe { tell(drain, |drain| drain.start(Tick(now_ns))) }
}

/// What to do now, given how many `requests` are accepted and not answered, `conns` open, `closing` of
/// them told to close already, and `acked` of them aware of the announcement or in no need of one: a
/// `DRYWIRE_DRAIN_*` or nothing goes to `decision`. Ask until it says nothing, at the deadline, and
/// whenever the numbers changed. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_drain_poll(
    drain: *mut drywire_drain,
    options: *const drywire_drain_options,
    now_ns: u64,
    requests: u64,
    conns: u64,
    closing: u64,
    acked: u64,
    decision: *mut drywire_decision,
) -> drywire_status {
    let load = in_flight(requests, conns, closing, acked);
    // SAFETY: as above.
    unsafe {
        decide(drain, decision, |drain| {
            let config = sized::read(options)?.config();
            let (what, num) = match drain.poll(&config, Tick(now_ns), &load) {
                DrainStep::None => (0, 0),
                DrainStep::Announce => (DRYWIRE_DRAIN_ANNOUNCE, 0),
                DrainStep::RefuseNew => (DRYWIRE_DRAIN_REFUSE_NEW, 0),
                DrainStep::Close(n) => (DRYWIRE_DRAIN_CLOSE, n as u64),
                DrainStep::Abort => (DRYWIRE_DRAIN_ABORT, 0),
                DrainStep::Done => (DRYWIRE_DRAIN_DONE, 0),
            };
            let decision = drywire_decision { num, ..drywire_decision::of(what) };
            Ok(decision.next(drain.deadline(&config, &load)))
        })
    }
}

/// When `drywire_drain_poll` is due while the numbers stay as they are; `DRYWIRE_NO_DEADLINE` if never,
/// and for what cannot be read. NULL options are all defaults.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_drain_next_deadline(
    drain: *const drywire_drain,
    options: *const drywire_drain_options,
    requests: u64,
    conns: u64,
    closing: u64,
    acked: u64,
) -> u64 {
    let load = in_flight(requests, conns, closing, acked);
    // SAFETY: as above.
    unsafe {
        look(drain, |drain| Ok(or_never(drain.deadline(&sized::read(options)?.config(), &load))))
    }
    .unwrap_or(DRYWIRE_NO_DEADLINE)
}

/// `DRYWIRE_DRAIN_ACCEPTS` and `DRYWIRE_DRAIN_ANNOUNCES`, as they hold now, added up. 0 for what cannot
/// be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_drain_flags(drain: *const drywire_drain) -> u32 {
    // SAFETY: as above.
    unsafe {
        look(drain, |drain| {
            let accepts = if drain.accepts() { DRYWIRE_DRAIN_ACCEPTS } else { 0 };
            let announces = if drain.announces() { DRYWIRE_DRAIN_ANNOUNCES } else { 0 };
            Ok(accepts | announces)
        })
    }
    .unwrap_or(0)
}

fn in_flight(requests: u64, conns: u64, closing: u64, acked: u64) -> InFlight {
    InFlight {
        requests: count(requests),
        conns: count(conns),
        closing: count(closing),
        acked: count(acked),
    }
}
