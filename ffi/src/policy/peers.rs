//! Peers that ask too slowly or too often, and this process when it was away.

use crate::guard::{guarded, status};
use crate::policy::{
    act, begin, decide, done, drywire_decision, held, look, moment, nanos, or_never, span, tell,
};
use crate::sized::{self, Growing};
use crate::status::drywire_status;
use crate::types::{DRYWIRE_NO_DEADLINE, Out};
use drywire::Tick;
use drywire::guard::{
    Lapse, Patience, PatienceConfig, PeerPing, PingFlood, PingFloodConfig, Progress, StallGuard,
};
use drywire_status::DRYWIRE_ERR_RANGE;

/// `progress` of `drywire_patience_observe`: between requests, and nothing is owed or unsent.
pub const DRYWIRE_PROGRESS_IDLE: u32 = 0;
/// `progress`: inside the same request as before.
pub const DRYWIRE_PROGRESS_PARTIAL: u32 = 1;
/// `progress`: inside a request, and at least one was finished since the last look.
pub const DRYWIRE_PROGRESS_NEXT_PARTIAL: u32 = 2;
/// `progress`: an answer is owed or not taken yet.
pub const DRYWIRE_PROGRESS_BUSY: u32 = 3;

/// From `drywire_patience_poll`: the connection was idle for too long. Said once; nothing follows.
pub const DRYWIRE_PATIENCE_IDLE: u32 = 1;
/// From `drywire_patience_poll`: a request took too long to arrive. Said once; nothing follows.
pub const DRYWIRE_PATIENCE_REQUEST: u32 = 2;

/// From `drywire_ping_flood_ping`: answer it.
pub const DRYWIRE_PING_FLOOD_PONG: u32 = 1;
/// From `drywire_ping_flood_ping`: do not answer it.
pub const DRYWIRE_PING_FLOOD_IGNORE: u32 = 2;
/// From `drywire_ping_flood_ping`: end the connection.
pub const DRYWIRE_PING_FLOOD_KICK: u32 = 3;

/// How long a peer may take to ask; 0 switches a limit off. Start with
/// `drywire_patience_options_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_patience_options {
    /// `sizeof(drywire_patience_options)`.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Between two requests. Default 0.
    pub idle_ns: u64,
    /// From the first byte of a request to its last. Default 0.
    pub request_ns: u64,
}

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_patience_options {
    const DEFAULT: Self =
        Self { struct_size: size_of::<Self>() as u32, reserved: 0, idle_ns: 0, request_ns: 0 };
}

impl drywire_patience_options {
    fn config(&self) -> PatienceConfig {
        PatienceConfig { idle: span(self.idle_ns), request: span(self.request_ns) }
    }
}

/// The state of one connection: the idle limit and the whole-request deadline. Yours to copy; the
/// numbers in it are the library's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_patience {
    /// Set by `drywire_patience_init`.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The library's.
    pub state: [u64; 2],
}

/// How often a peer may ping. Start with `drywire_ping_flood_options_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_ping_flood_options {
    /// `sizeof(drywire_ping_flood_options)`.
    pub struct_size: u32,
    /// Pings at once; at least one. Default 5.
    pub burst: u32,
    /// Unanswered pings in a row that are tolerated. Default 20.
    pub strikes: u32,
    /// 0.
    pub reserved: u32,
    /// One ping per this span in the long run. Default 500 ms.
    pub gap_ns: u64,
}

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_ping_flood_options {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>() as u32,
        burst: PingFloodConfig::DEFAULT.burst,
        strikes: PingFloodConfig::DEFAULT.strikes,
        reserved: 0,
        gap_ns: PingFloodConfig::DEFAULT.gap.as_nanos() as u64,
    };
}

/// The state of one connection: how many pings it may send. Yours to copy; the numbers in it are the
/// library's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_ping_flood {
    /// Set by `drywire_ping_flood_init`.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The library's.
    pub state: [u64; 2],
}

/// The state of one event loop: was it the peers that were silent, or was this process away? Yours to
/// copy; the number in it is the library's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_stall_guard {
    /// Set by `drywire_stall_guard_init`.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The library's.
    pub state: [u64; 1],
}

held! {
    drywire_patience: Patience, 2;
    drywire_ping_flood: PingFlood, 2;
    drywire_stall_guard: StallGuard, 1;
}

/// Fills `options` (`size` bytes of it) with defaults: no limit.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_patience_options_init(
    options: *mut drywire_patience_options,
    size: usize,
) -> drywire_status {
    // SAFETY: the caller keeps the rules at the top of the header; so for all pointers below.
    status(guarded(|| unsafe { sized::init(options, size) }))
}

/// Makes the state of a connection that begins now, idle: `size` is `sizeof *patience`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_patience_init(
    patience: *mut drywire_patience,
    size: usize,
    now_ns: u64,
) -> drywire_status {
    // SAFETY: as above.
    status(guarded(|| unsafe { begin(patience, size, Patience::new(Tick(now_ns))) }))
}

/// Bytes came in or went out, and `progress`, a `DRYWIRE_PROGRESS_*`, is where that left the
/// connection.
///
/// Errors: `DRYWIRE_ERR_RANGE`, `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_patience_observe(
    patience: *mut drywire_patience,
    now_ns: u64,
    progress: u32,
) -> drywire_status {
    // SAFETY: as above.
    done(unsafe {
        act(patience, |patience| {
            let progress = match progress {
                DRYWIRE_PROGRESS_IDLE => Progress::Idle,
                DRYWIRE_PROGRESS_PARTIAL => Progress::Partial,
                DRYWIRE_PROGRESS_NEXT_PARTIAL => Progress::NextPartial,
                DRYWIRE_PROGRESS_BUSY => Progress::Busy,
                _ => return Err(DRYWIRE_ERR_RANGE),
            };
            patience.observe(Tick(now_ns), progress);
            Ok(())
        })
    })
}

/// Whether a limit is broken now: `DRYWIRE_PATIENCE_IDLE`, `_REQUEST` or nothing goes to `decision`.
/// NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_patience_poll(
    patience: *mut drywire_patience,
    options: *const drywire_patience_options,
    now_ns: u64,
    decision: *mut drywire_decision,
) -> drywire_status {
    // SAFETY: as above.
    unsafe {
        decide(patience, decision, |patience| {
            let config = sized::read(options)?.config();
            let what = match patience.poll(&config, Tick(now_ns)) {
                None => 0,
                Some(Lapse::Idle) => DRYWIRE_PATIENCE_IDLE,
                Some(_) => DRYWIRE_PATIENCE_REQUEST,
            };
            Ok(drywire_decision::of(what).next(patience.deadline(&config)))
        })
    }
}

/// When `drywire_patience_poll` is due; `DRYWIRE_NO_DEADLINE` if never, and for what cannot be read.
/// NULL options are all defaults.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_patience_next_deadline(
    patience: *const drywire_patience,
    options: *const drywire_patience_options,
) -> u64 {
    // SAFETY: as above.
    unsafe {
        look(patience, |patience| Ok(or_never(patience.deadline(&sized::read(options)?.config()))))
    }
    .unwrap_or(DRYWIRE_NO_DEADLINE)
}

/// This process did not run for `gap_ns`: that time does not count.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_patience_stalled(
    patience: *mut drywire_patience,
    gap_ns: u64,
) -> drywire_status {
    // SAFETY: as above.
    unsafe { tell(patience, |patience| patience.stalled(span(gap_ns))) }
}

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_ping_flood_options_init(
    options: *mut drywire_ping_flood_options,
    size: usize,
) -> drywire_status {
    // SAFETY: as above.
    status(guarded(|| unsafe { sized::init(options, size) }))
}

/// Makes the state of a connection without a ping yet: `size` is `sizeof *flood`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_ping_flood_init(
    flood: *mut drywire_ping_flood,
    size: usize,
) -> drywire_status {
    // SAFETY: as above.
    status(guarded(|| unsafe { begin(flood, size, PingFlood::new()) }))
}

/// The peer sent a ping: `DRYWIRE_PING_FLOOD_PONG`, `_IGNORE` or `_KICK` goes to `decision`. NULL
/// options are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_ping_flood_ping(
    flood: *mut drywire_ping_flood,
    options: *const drywire_ping_flood_options,
    now_ns: u64,
    decision: *mut drywire_decision,
) -> drywire_status {
    // SAFETY: as above.
    unsafe {
        decide(flood, decision, |flood| {
            let options = sized::read(options)?;
            let config = PingFloodConfig {
                gap: span(options.gap_ns),
                burst: options.burst,
                strikes: options.strikes,
            };
            Ok(drywire_decision::of(match flood.on_peer_ping(&config, Tick(now_ns)) {
                PeerPing::Pong => DRYWIRE_PING_FLOOD_PONG,
                PeerPing::IgnoreExcess => DRYWIRE_PING_FLOOD_IGNORE,
                PeerPing::KickFlood => DRYWIRE_PING_FLOOD_KICK,
            }))
        })
    }
}

/// Makes the state of a loop that begins now: `size` is `sizeof *guard`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_stall_guard_init(
    guard: *mut drywire_stall_guard,
    size: usize,
    now_ns: u64,
) -> drywire_status {
    // SAFETY: as above.
    status(guarded(|| unsafe { begin(guard, size, StallGuard::new(Tick(now_ns))) }))
}

/// The loop looks at the clock; it had asked to be woken at `due_ns` (`DRYWIRE_NO_DEADLINE` if at no
/// time). Comes it more than `slack_ns` too late, the time that it was away, less the slack, goes to
/// `gap_ns`: pass that to every `_stalled`, and declare nobody dead before everything readable was read
/// once. 0 otherwise. A slack of 1 s is reasonable.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_stall_guard_woke(
    guard: *mut drywire_stall_guard,
    slack_ns: u64,
    now_ns: u64,
    due_ns: u64,
    gap_ns: *mut u64,
) -> drywire_status {
    // SAFETY: as above.
    unsafe {
        let gap = match Out::new(gap_ns) {
            Ok(gap) => gap,
            Err(error) => return error,
        };
        gap.set(0);
        tell(guard, |guard| {
            let away = guard.woke(span(slack_ns), Tick(now_ns), moment(due_ns));
            gap.set(away.map_or(0, nanos));
        })
    }
}
