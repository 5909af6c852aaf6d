//! Whether the peer is alive: the heartbeat, and the deadline for links that are unsteady themselves.

use crate::guard::{guarded, status};
use crate::policy::{
    act, begin, count, decide, done, drywire_decision, held, look, nanos, or_never, span, tell,
};
use crate::sized::{self, Growing};
use crate::status::drywire_status;
use crate::types::DRYWIRE_NO_DEADLINE;
use drywire::Tick;
use drywire::guard::{Beat, Death, Heartbeat, HeartbeatConfig, Line, Phi, PhiConfig};
use drywire_status::{DRYWIRE_ERR_NULL, DRYWIRE_ERR_RANGE, DRYWIRE_OK};

/// From `drywire_heartbeat_poll`: send a ping, ahead of bulk output, and tell
/// `drywire_heartbeat_ping_left` when its last byte went.
pub const DRYWIRE_HEARTBEAT_PING: u32 = 1;
/// From `drywire_heartbeat_poll`: the peer has been silent for `num` intervals; said once for each from
/// the second on.
pub const DRYWIRE_HEARTBEAT_SUSPECT: u32 = 2;
/// From `drywire_heartbeat_poll`: the peer is dead, of `why`, a `DRYWIRE_DEATH_*`; end the connection.
/// Said once; nothing follows.
pub const DRYWIRE_HEARTBEAT_DEAD: u32 = 3;

/// `why`: another cause, of a later version.
pub const DRYWIRE_DEATH_OTHER: u32 = 0;
/// `why`: no byte for the whole timeout.
pub const DRYWIRE_DEATH_SILENT: u32 = 1;
/// `why`: no answer in time to a ping that left.
pub const DRYWIRE_DEATH_NO_PONG: u32 = 2;
/// `why`: it takes none of our output.
pub const DRYWIRE_DEATH_STALLED: u32 = 3;

/// `flags` of `drywire_heartbeat_options_every`: the peer does the pinging.
pub const DRYWIRE_HEARTBEAT_EXPECT: u32 = 1;

/// How to tell a dead peer; 0 switches a rule off. Start with `drywire_heartbeat_options_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_heartbeat_options {
    /// `sizeof(drywire_heartbeat_options)`.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Silence after which a ping goes out; 0 if the peer does the pinging. Default 10 s.
    pub interval_ns: u64,
    /// Silence after which the peer is dead. Default 30 s.
    pub timeout_ns: u64,
    /// Time for a pong, from the moment the ping left. Default 15 s.
    pub pong_ns: u64,
    /// How long pending output may make no progress. Default 30 s.
    pub stall_ns: u64,
}

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_heartbeat_options {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>() as u32,
        reserved: 0,
        interval_ns: 10_000_000_000,
        timeout_ns: 30_000_000_000,
        pong_ns: 15_000_000_000,
        stall_ns: 30_000_000_000,
    };
}

impl drywire_heartbeat_options {
    fn config(&self) -> HeartbeatConfig {
        HeartbeatConfig {
            interval: span(self.interval_ns),
            timeout: span(self.timeout_ns),
            pong: span(self.pong_ns),
            stall: span(self.stall_ns),
        }
    }
}

/// The state of one connection's heartbeat: any byte received proves life, silence is answered with one
/// ping, a slow link is not taken for a dead one. Yours to copy; the numbers in it are the library's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_heartbeat {
    /// Set by `drywire_heartbeat_init`.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The library's.
    pub state: [u64; 4],
}

/// How sure to be that a peer is gone. Start with `drywire_phi_options_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_phi_options {
    /// `sizeof(drywire_phi_options)`.
    pub struct_size: u32,
    /// The threshold, as standard deviations in thousandths: 5230 for phi 8, 5800 for 10, 6290 for 12.
    /// Default 5230.
    pub z: u32,
    /// A pause of the peer that is tolerated on top. Default 1 s.
    pub pause_ns: u64,
    /// The deviation counts as at least this. Default 100 ms.
    pub deviation_min_ns: u64,
}

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_phi_options {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>() as u32,
        z: PhiConfig::DEFAULT.z,
        pause_ns: PhiConfig::DEFAULT.pause.as_nanos() as u64,
        deviation_min_ns: PhiConfig::DEFAULT.deviation_min.as_nanos() as u64,
    };
}

impl drywire_phi_options {
    fn config(&self) -> PhiConfig {
        PhiConfig {
            z: self.z,
            pause: span(self.pause_ns),
            deviation_min: span(self.deviation_min_ns),
        }
    }
}

/// The state of one peer that beats by itself: a deadline from how regular its beats were, for links on
/// which a fixed one is wrong. Yours to copy; the numbers in it are the library's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_phi {
    /// Set by `drywire_phi_init`.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The library's.
    pub state: [u64; 4],
}

held! {
    drywire_heartbeat: Heartbeat, 4;
    drywire_phi: Phi, 4;
}

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_heartbeat_options_init(
    options: *mut drywire_heartbeat_options,
    size: usize,
) -> drywire_status {
    // SAFETY: the caller keeps the rules at the top of the header; so for all pointers below.
    status(guarded(|| unsafe { sized::init(options, size) }))
}

/// Sets `options` for a ping after `interval_ns` of silence, death after three intervals, 1.5 of them
/// for the pong. 10 s suits the internet, 1 s a LAN. `flags`: 0, or `DRYWIRE_HEARTBEAT_EXPECT` for the
/// side that does not ping.
///
/// Errors: `DRYWIRE_ERR_RANGE` for unknown flags; `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_heartbeat_options_every(
    options: *mut drywire_heartbeat_options,
    interval_ns: u64,
    flags: u32,
) -> drywire_status {
    status(guarded(|| {
        let interval = span(interval_ns);
        let config = match flags {
            0 => HeartbeatConfig::every(interval),
            DRYWIRE_HEARTBEAT_EXPECT => HeartbeatConfig::expect_every(interval),
            _ => return Err(DRYWIRE_ERR_RANGE),
        };
        if options.is_null() {
            return Err(DRYWIRE_ERR_NULL);
        }
        // SAFETY: as above.
        let new = drywire_heartbeat_options {
            interval_ns: nanos(config.interval),
            timeout_ns: nanos(config.timeout),
            pong_ns: nanos(config.pong),
            stall_ns: nanos(config.stall),
            ..unsafe { sized::read(options) }?
        };
        // SAFETY: as above.
        unsafe { sized::write(options, &new) }.map(|()| DRYWIRE_OK)
    }))
}

/// Makes the state of a connection that begins, or begins again, now: `size` is `sizeof *heartbeat`.
/// `random` spreads the first ping over 20 % of the interval to either side. NULL options are all
/// defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_heartbeat_init(
    heartbeat: *mut drywire_heartbeat,
    size: usize,
    options: *const drywire_heartbeat_options,
    now_ns: u64,
    random: u64,
) -> drywire_status {
    status(guarded(|| {
        // SAFETY: as above.
        unsafe {
            let config = sized::read(options)?.config();
            begin(heartbeat, size, Heartbeat::new(&config, Tick(now_ns), random))
        }
    }))
}

/// Bytes came in, whichever.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_heartbeat_received(
    heartbeat: *mut drywire_heartbeat,
    now_ns: u64,
) -> drywire_status {
    // SAFETY: as above.
    unsafe { tell(heartbeat, |beat| beat.received(Tick(now_ns))) }
}

/// The transport took output that it had refused before: the peer takes it, slowly.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_heartbeat_progressed(
    heartbeat: *mut drywire_heartbeat,
    now_ns: u64,
) -> drywire_status {
    // SAFETY: as above.
    unsafe { tell(heartbeat, |beat| beat.progressed(Tick(now_ns))) }
}

/// The last byte of the ping went to the transport.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_heartbeat_ping_left(
    heartbeat: *mut drywire_heartbeat,
    now_ns: u64,
) -> drywire_status {
    // SAFETY: as above.
    unsafe { tell(heartbeat, |beat| beat.ping_left(Tick(now_ns))) }
}

/// What to do now: `DRYWIRE_HEARTBEAT_PING`, `_SUSPECT`, `_DEAD` or nothing goes to `decision`. Ask
/// until it says nothing. `pending` are bytes of ours that wait for the transport, `progress_ns` is when
/// it last took some of them or when they began to wait (`drywire_out_gate_progress`); it is not looked
/// at while nothing is pending. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_heartbeat_poll(
    heartbeat: *mut drywire_heartbeat,
    options: *const drywire_heartbeat_options,
    now_ns: u64,
    pending: u64,
    progress_ns: u64,
    decision: *mut drywire_decision,
) -> drywire_status {
    let line = Line { pending: count(pending), progress: Tick(progress_ns) };
    // SAFETY: as above.
    unsafe {
        decide(heartbeat, decision, |beat| {
            let config = sized::read(options)?.config();
            let (what, why, num) = match beat.poll(&config, Tick(now_ns), &line) {
                Beat::None => (0, 0, 0),
                Beat::Ping => (DRYWIRE_HEARTBEAT_PING, 0, 0),
                Beat::Suspect(n) => (DRYWIRE_HEARTBEAT_SUSPECT, 0, u64::from(n)),
                Beat::Dead(death) => (DRYWIRE_HEARTBEAT_DEAD, cause(death), 0),
            };
            let decision = drywire_decision { why, num, ..drywire_decision::of(what) };
            Ok(decision.next(beat.deadline(&config, &line)))
        })
    }
}

/// When `drywire_heartbeat_poll` is due while the line stays as it is; `DRYWIRE_NO_DEADLINE` if never,
/// and for what cannot be read. Receiving only stores a time, so a timer that is set once fires early
/// now and then: poll and set it again. NULL options are all defaults.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_heartbeat_next_deadline(
    heartbeat: *const drywire_heartbeat,
    options: *const drywire_heartbeat_options,
    pending: u64,
    progress_ns: u64,
) -> u64 {
    let line = Line { pending: count(pending), progress: Tick(progress_ns) };
    // SAFETY: as above.
    unsafe {
        look(heartbeat, |beat| Ok(or_never(beat.deadline(&sized::read(options)?.config(), &line))))
    }
    .unwrap_or(DRYWIRE_NO_DEADLINE)
}

/// This process did not run for `gap_ns`: that time was nobody's silence.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_heartbeat_stalled(
    heartbeat: *mut drywire_heartbeat,
    gap_ns: u64,
) -> drywire_status {
    // SAFETY: as above.
    unsafe { tell(heartbeat, |beat| beat.stalled(span(gap_ns))) }
}

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_phi_options_init(
    options: *mut drywire_phi_options,
    size: usize,
) -> drywire_status {
    // SAFETY: as above.
    status(guarded(|| unsafe { sized::init(options, size) }))
}

/// Makes the state of a peer that was heard now and should beat every `expected_ns`: `size` is
/// `sizeof *phi`. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_phi_init(
    phi: *mut drywire_phi,
    size: usize,
    options: *const drywire_phi_options,
    now_ns: u64,
    expected_ns: u64,
) -> drywire_status {
    status(guarded(|| {
        // SAFETY: as above.
        unsafe {
            let config = sized::read(options)?.config();
            begin(phi, size, Phi::new(&config, Tick(now_ns), span(expected_ns)))
        }
    }))
}

/// A beat came in. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_phi_beat(
    phi: *mut drywire_phi,
    options: *const drywire_phi_options,
    now_ns: u64,
) -> drywire_status {
    // SAFETY: as above.
    done(unsafe {
        act(phi, |phi| {
            phi.on_beat(&sized::read(options)?.config(), Tick(now_ns));
            Ok(())
        })
    })
}

/// When the peer becomes suspect, unless it beats before; `DRYWIRE_NO_DEADLINE` for what cannot be
/// read. NULL options are all defaults.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_phi_next_deadline(
    phi: *const drywire_phi,
    options: *const drywire_phi_options,
) -> u64 {
    // SAFETY: as above.
    unsafe { look(phi, |phi| Ok(phi.deadline(&sized::read(options)?.config()).0)) }
        .unwrap_or(DRYWIRE_NO_DEADLINE)
}

/// This process did not run for `gap_ns`: that time was nobody's silence.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_phi_stalled(phi: *mut drywire_phi, gap_ns: u64) -> drywire_status {
    // SAFETY: as above.
    unsafe { tell(phi, |phi| phi.stalled(span(gap_ns))) }
}

const fn cause(death: Death) -> u32 {
    match death {
        Death::Silent => DRYWIRE_DEATH_SILENT,
        Death::NoPong => DRYWIRE_DEATH_NO_PONG,
        Death::Stalled => DRYWIRE_DEATH_STALLED,
        _ => DRYWIRE_DEATH_OTHER,
    }
}
