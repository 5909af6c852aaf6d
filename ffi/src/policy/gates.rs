//! The gates: how much a connection may read, and what becomes of output that its peer does not take.

use crate::guard::{guarded, status};
use crate::policy::{
    act, begin, count, decide, done, drywire_decision, held, look, nanos, or_never, span, tell,
};
use crate::sized::{self, Growing};
use crate::status::{Result, drywire_status};
use crate::types::DRYWIRE_NO_DEADLINE;
use drywire::Tick;
use drywire::guard::{
    Band, Buffered, Full, Kick, OutGate, OutGateConfig, OutOffer, Read, ReadGate, ReadGateConfig,
    WhenFull,
};
use drywire_status::DRYWIRE_ERR_RANGE;

/// From `drywire_read_gate_poll`: read at most `num` bytes and `why` messages; both are at least 1.
pub const DRYWIRE_READ_GATE_GO: u32 = 1;
/// From `drywire_read_gate_poll`: this turn's share is used; go on after the others had theirs.
pub const DRYWIRE_READ_GATE_TURN_OVER: u32 = 2;
/// From `drywire_read_gate_poll`: do not read until what `why`, a `DRYWIRE_FULL_*`, names has drained.
pub const DRYWIRE_READ_GATE_STOP: u32 = 3;

/// `why`: another measure, of a later version.
pub const DRYWIRE_FULL_OTHER: u32 = 0;
/// `why`: unconsumed input of the connection.
pub const DRYWIRE_FULL_CONN_IN: u32 = 1;
/// `why`: unsent output of the connection; its peer does not read.
pub const DRYWIRE_FULL_CONN_OUT: u32 = 2;
/// `why`: requests that wait for a worker.
pub const DRYWIRE_FULL_QUEUE: u32 = 3;
/// `why`: all connections together.
pub const DRYWIRE_FULL_TOTAL: u32 = 4;

/// From `drywire_out_gate_offer`: queue it. The producer should pause for `time_ns`, which is 0 most
/// of the time.
pub const DRYWIRE_OUT_GATE_QUEUE: u32 = 1;
/// From `drywire_out_gate_offer`: drop it, and count it.
pub const DRYWIRE_OUT_GATE_DROP_NEW: u32 = 2;
/// From `drywire_out_gate_offer`: drop pending droppable messages of at least `num` bytes, then queue
/// it.
pub const DRYWIRE_OUT_GATE_DROP_OLDEST: u32 = 3;
/// From `drywire_out_gate_offer`: replace the pending message about the same thing; if there is none,
/// drop it.
pub const DRYWIRE_OUT_GATE_CONFLATE: u32 = 4;
/// From `drywire_out_gate_offer` and `_poll`: end the connection; `why` is a `DRYWIRE_KICK_*`. Said
/// once.
pub const DRYWIRE_OUT_GATE_KICK: u32 = 5;
/// From `drywire_out_gate_offer`: the connection was given up before; emit nothing.
pub const DRYWIRE_OUT_GATE_GONE: u32 = 6;

/// `why`: another cause, of a later version.
pub const DRYWIRE_KICK_OTHER: u32 = 0;
/// `why`: more bytes than allowed would be pending.
pub const DRYWIRE_KICK_HARD_BYTES: u32 = 1;
/// `why`: too many bytes for too long.
pub const DRYWIRE_KICK_SOFT_TOO_LONG: u32 = 2;
/// `why`: the transport took nothing for too long.
pub const DRYWIRE_KICK_NO_PROGRESS: u32 = 3;

/// `when_full` of `drywire_out_gate_options`: the new message is dropped.
pub const DRYWIRE_WHEN_FULL_DROP_NEW: u32 = 0;
/// `when_full`: the oldest ones make room.
pub const DRYWIRE_WHEN_FULL_DROP_OLDEST: u32 = 1;
/// `when_full`: it replaces the pending message about the same thing.
pub const DRYWIRE_WHEN_FULL_CONFLATE: u32 = 2;

/// `flags` of `drywire_out_gate_offer`: this message may be lost.
pub const DRYWIRE_OFFER_DROPPABLE: u32 = 1;

/// The caps on what is buffered: at `_high` reading stops, at `_low` it goes on; at least one below
/// `_high` counts. `UINT64_MAX` is no limit. Start with `drywire_read_gate_options_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_read_gate_options {
    /// `sizeof(drywire_read_gate_options)`.
    pub struct_size: u32,
    /// Messages of one connection in one turn; at least one. Default 20.
    pub turn_messages: u32,
    /// Bytes of one connection in one turn; at least one. Default 64 KiB.
    pub turn_bytes: u64,
    /// Unconsumed input of the connection. Default 64 KiB.
    pub conn_in_high: u64,
    /// Default 16 KiB.
    pub conn_in_low: u64,
    /// Unsent output of the connection. Default 256 KiB.
    pub conn_out_high: u64,
    /// Default 64 KiB.
    pub conn_out_low: u64,
    /// Bytes of requests that wait for a worker. Default 16 MiB.
    pub queue_high: u64,
    /// Default 4 MiB.
    pub queue_low: u64,
    /// Bytes of all connections together. Default 256 MiB.
    pub total_high: u64,
    /// Default 192 MiB.
    pub total_low: u64,
}

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_read_gate_options {
    const DEFAULT: Self = {
        let config = ReadGateConfig::DEFAULT;
        Self {
            struct_size: size_of::<Self>() as u32,
            turn_messages: config.turn_messages,
            turn_bytes: config.turn_bytes as u64,
            conn_in_high: config.conn_in.high as u64,
            conn_in_low: config.conn_in.low as u64,
            conn_out_high: config.conn_out.high as u64,
            conn_out_low: config.conn_out.low as u64,
            queue_high: config.queue.high as u64,
            queue_low: config.queue.low as u64,
            total_high: config.total.high as u64,
            total_low: config.total.low as u64,
        }
    };
}

impl drywire_read_gate_options {
    fn config(&self) -> ReadGateConfig {
        let band = |high: u64, low: u64| Band::new(count(high), count(low));
        ReadGateConfig {
            conn_in: band(self.conn_in_high, self.conn_in_low),
            conn_out: band(self.conn_out_high, self.conn_out_low),
            queue: band(self.queue_high, self.queue_low),
            total: band(self.total_high, self.total_low),
            turn_messages: self.turn_messages,
            turn_bytes: count(self.turn_bytes),
        }
    }
}

/// The state of one connection's read gate: whether to read from it, and how much. Yours to copy; the
/// numbers in it are the library's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_read_gate {
    /// Set by `drywire_read_gate_init`.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The library's.
    pub state: [u64; 2],
}

/// The limits on one connection's output. Start with `drywire_out_gate_options_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_out_gate_options {
    /// `sizeof(drywire_out_gate_options)`.
    pub struct_size: u32,
    /// What to do at the hard limit with a message that may be lost, a `DRYWIRE_WHEN_FULL_*`.
    /// Default the new one is dropped.
    pub when_full: u32,
    /// Bytes pending at most; one message is always taken when nothing is pending. Default 4 MiB.
    pub hard: u64,
    /// More than this many bytes are tolerated for `soft_for_ns` only. Default 4 MiB.
    pub soft: u64,
    /// How long; `UINT64_MAX`, the default, is for ever.
    pub soft_for_ns: u64,
    /// How long the transport may take nothing while something is pending; `UINT64_MAX` is for ever.
    /// Default 10 s.
    pub no_progress_ns: u64,
    /// Pending bytes from which the producer is slowed down; `UINT64_MAX`, the default, is never.
    pub stall: u64,
    /// How long it pauses for one message. Default 0.
    pub stall_each_ns: u64,
    /// And for one episode, until pending is below `stall` again. Default 0.
    pub stall_total_ns: u64,
}

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_out_gate_options {
    const DEFAULT: Self = Self::of(&OutGateConfig::REPLIES);
}

impl drywire_out_gate_options {
    pub(crate) const fn of(config: &OutGateConfig) -> Self {
        const fn ns(span: core::time::Duration) -> u64 {
            let ns = span.as_nanos();
            if ns > u64::MAX as u128 { u64::MAX } else { ns as u64 }
        }
        const fn bytes(n: usize) -> u64 {
            if n == usize::MAX { u64::MAX } else { n as u64 }
        }
        Self {
            struct_size: size_of::<Self>() as u32,
            when_full: match config.full {
                WhenFull::DropNew => DRYWIRE_WHEN_FULL_DROP_NEW,
                WhenFull::DropOldest => DRYWIRE_WHEN_FULL_DROP_OLDEST,
                WhenFull::Conflate => DRYWIRE_WHEN_FULL_CONFLATE,
            },
            hard: bytes(config.hard),
            soft: bytes(config.soft),
            soft_for_ns: ns(config.soft_for),
            no_progress_ns: ns(config.no_progress),
            stall: bytes(config.stall),
            stall_each_ns: ns(config.stall_each),
            stall_total_ns: ns(config.stall_total),
        }
    }

    pub(crate) fn config(&self) -> Result<OutGateConfig> {
        Ok(OutGateConfig {
            hard: count(self.hard),
            soft: count(self.soft),
            soft_for: span(self.soft_for_ns),
            no_progress: span(self.no_progress_ns),
            full: match self.when_full {
                DRYWIRE_WHEN_FULL_DROP_NEW => WhenFull::DropNew,
                DRYWIRE_WHEN_FULL_DROP_OLDEST => WhenFull::DropOldest,
                DRYWIRE_WHEN_FULL_CONFLATE => WhenFull::Conflate,
                _ => return Err(DRYWIRE_ERR_RANGE),
            },
            stall: count(self.stall),
            stall_each: span(self.stall_each_ns),
            stall_total: span(self.stall_total_ns),
        })
    }
}

/// The state of one connection's output gate: what to do with a peer that does not read fast enough.
/// Yours to copy; the numbers in it are the library's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_out_gate {
    /// Set by `drywire_out_gate_init`.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The library's.
    pub state: [u64; 4],
}

held! {
    drywire_read_gate: ReadGate, 2;
    drywire_out_gate: OutGate, 4;
}

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_read_gate_options_init(
    options: *mut drywire_read_gate_options,
    size: usize,
) -> drywire_status {
    // SAFETY: the caller keeps the rules at the top of the header; so for all pointers below.
    status(guarded(|| unsafe { sized::init(options, size) }))
}

/// Makes the state of an open gate at the start of a turn: `size` is `sizeof *gate`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_read_gate_init(
    gate: *mut drywire_read_gate,
    size: usize,
) -> drywire_status {
    // SAFETY: as above.
    status(guarded(|| unsafe { begin(gate, size, ReadGate::new()) }))
}

/// Whether to read now, from what is buffered: unconsumed input and unsent output of this connection,
/// requests of all connections that wait for a worker, and everything together, in bytes.
/// `DRYWIRE_READ_GATE_GO`, `_TURN_OVER` or `_STOP` goes to `decision`. Where nothing is buffered and the
/// turn is new it is always `_GO`. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_read_gate_poll(
    gate: *mut drywire_read_gate,
    options: *const drywire_read_gate_options,
    conn_in: u64,
    conn_out: u64,
    queue: u64,
    total: u64,
    decision: *mut drywire_decision,
) -> drywire_status {
    let buffered = Buffered {
        conn_in: count(conn_in),
        conn_out: count(conn_out),
        queue: count(queue),
        total: count(total),
    };
    // SAFETY: as above.
    unsafe {
        decide(gate, decision, |gate| {
            Ok(match gate.poll(&sized::read(options)?.config(), &buffered) {
                Read::Go { bytes, messages } => drywire_decision {
                    why: messages,
                    num: bytes as u64,
                    ..drywire_decision::of(DRYWIRE_READ_GATE_GO)
                },
                Read::TurnOver => drywire_decision::of(DRYWIRE_READ_GATE_TURN_OVER),
                Read::Stop(full) => drywire_decision {
                    why: match full {
                        Full::ConnIn => DRYWIRE_FULL_CONN_IN,
                        Full::ConnOut => DRYWIRE_FULL_CONN_OUT,
                        Full::Queue => DRYWIRE_FULL_QUEUE,
                        Full::Total => DRYWIRE_FULL_TOTAL,
                        _ => DRYWIRE_FULL_OTHER,
                    },
                    ..drywire_decision::of(DRYWIRE_READ_GATE_STOP)
                },
            })
        })
    }
}

/// This much was taken in.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_read_gate_took(
    gate: *mut drywire_read_gate,
    bytes: u64,
    messages: u32,
) -> drywire_status {
    // SAFETY: as above.
    unsafe { tell(gate, |gate| gate.took(count(bytes), messages)) }
}

/// A new turn begins: the others had theirs.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_read_gate_new_turn(
    gate: *mut drywire_read_gate,
) -> drywire_status {
    // SAFETY: as above.
    unsafe { tell(gate, |gate| gate.new_turn()) }
}

/// Fills `options` (`size` bytes of it) with defaults that suit replies.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_out_gate_options_init(
    options: *mut drywire_out_gate_options,
    size: usize,
) -> drywire_status {
    // SAFETY: as above.
    status(guarded(|| unsafe { sized::init(options, size) }))
}

/// Fills `options` (`size` bytes of it) with what suits fan-out (chat, publish and subscribe): 1 MiB
/// hard, 256 KiB for 10 s, 10 s without progress, producers slowed down by 2 ms a message from 768 KiB
/// on, 10 ms in one episode.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_out_gate_options_init_fanout(
    options: *mut drywire_out_gate_options,
    size: usize,
) -> drywire_status {
    status(guarded(|| {
        // SAFETY: as above.
        unsafe {
            let result = sized::init(options, size)?;
            let whole = options.cast::<u32>().read();
            sized::write(options, &drywire_out_gate_options::of(&OutGateConfig::CHAT))?;
            options.cast::<u32>().write(whole);
            Ok(result)
        }
    }))
}

/// Makes the state of a gate with nothing pending: `size` is `sizeof *gate`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_out_gate_init(
    gate: *mut drywire_out_gate,
    size: usize,
) -> drywire_status {
    // SAFETY: as above.
    status(guarded(|| unsafe { begin(gate, size, OutGate::new()) }))
}

/// A message of `len` bytes is to follow the `pending` bytes: a `DRYWIRE_OUT_GATE_*` goes to
/// `decision`. `flags`: 0 or `DRYWIRE_OFFER_DROPPABLE`. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_RANGE` for unknown flags or `when_full`; `DRYWIRE_ERR_NULL`,
/// `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_out_gate_offer(
    gate: *mut drywire_out_gate,
    options: *const drywire_out_gate_options,
    now_ns: u64,
    pending: u64,
    message_len: u64,
    flags: u32,
    decision: *mut drywire_decision,
) -> drywire_status {
    // SAFETY: as above.
    unsafe {
        decide(gate, decision, |gate| {
            if flags & !DRYWIRE_OFFER_DROPPABLE != 0 {
                return Err(DRYWIRE_ERR_RANGE);
            }
            let config = sized::read(options)?.config()?;
            let (pending, len) = (count(pending), count(message_len));
            let offer = gate.offer(&config, Tick(now_ns), pending, len, flags != 0);
            let (what, num, time_ns) = match offer {
                OutOffer::Queue => (DRYWIRE_OUT_GATE_QUEUE, 0, 0),
                OutOffer::QueueAndStall(pause) => (DRYWIRE_OUT_GATE_QUEUE, 0, nanos(pause)),
                OutOffer::DropNew => (DRYWIRE_OUT_GATE_DROP_NEW, 0, 0),
                OutOffer::DropOldest { bytes } => (DRYWIRE_OUT_GATE_DROP_OLDEST, bytes as u64, 0),
                OutOffer::Conflate => (DRYWIRE_OUT_GATE_CONFLATE, 0, 0),
                OutOffer::Kick(_) => (DRYWIRE_OUT_GATE_KICK, 0, 0),
                OutOffer::Gone => (DRYWIRE_OUT_GATE_GONE, 0, 0),
            };
            let why = if let OutOffer::Kick(kick) = offer { cause(kick) } else { 0 };
            let after =
                if what == DRYWIRE_OUT_GATE_QUEUE { pending.saturating_add(len) } else { pending };
            let decision = drywire_decision { why, num, time_ns, ..drywire_decision::of(what) };
            Ok(decision.next(gate.deadline(&config, after)))
        })
    }
}

/// The transport took `n` bytes; `pending` are left. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_RANGE` for an unknown `when_full`; `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_out_gate_sent(
    gate: *mut drywire_out_gate,
    options: *const drywire_out_gate_options,
    now_ns: u64,
    sent: u64,
    pending: u64,
) -> drywire_status {
    // SAFETY: as above.
    done(unsafe {
        act(gate, |gate| {
            let config = sized::read(options)?.config()?;
            gate.sent(&config, Tick(now_ns), count(sent), count(pending));
            Ok(())
        })
    })
}

/// Whether this reader is to be given up: `DRYWIRE_OUT_GATE_KICK`, said once, or nothing goes to
/// `decision`. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_RANGE` for an unknown `when_full`; `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_out_gate_poll(
    gate: *mut drywire_out_gate,
    options: *const drywire_out_gate_options,
    now_ns: u64,
    pending: u64,
    decision: *mut drywire_decision,
) -> drywire_status {
    // SAFETY: as above.
    unsafe {
        decide(gate, decision, |gate| {
            let config = sized::read(options)?.config()?;
            let pending = count(pending);
            let decision = match gate.poll(&config, Tick(now_ns), pending) {
                None => drywire_decision::NOTHING,
                Some(kick) => drywire_decision {
                    why: cause(kick),
                    ..drywire_decision::of(DRYWIRE_OUT_GATE_KICK)
                },
            };
            Ok(decision.next(gate.deadline(&config, pending)))
        })
    }
}

/// When `drywire_out_gate_poll` is due while `pending` stays as it is; `DRYWIRE_NO_DEADLINE` if never,
/// and for what cannot be read. NULL options are all defaults.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_out_gate_next_deadline(
    gate: *const drywire_out_gate,
    options: *const drywire_out_gate_options,
    pending: u64,
) -> u64 {
    // SAFETY: as above.
    unsafe {
        look(gate, |gate| {
            Ok(or_never(gate.deadline(&sized::read(options)?.config()?, count(pending))))
        })
    }
    .unwrap_or(DRYWIRE_NO_DEADLINE)
}

/// When the transport last took bytes, or output began to wait: `progress_ns` of a heartbeat. 0 for
/// what cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_out_gate_progress(gate: *const drywire_out_gate) -> u64 {
    // SAFETY: as above.
    unsafe { look(gate, |gate| Ok(gate.progress().0)) }.unwrap_or(0)
}

/// This process did not run for `gap_ns`: that time does not count.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_out_gate_stalled(
    gate: *mut drywire_out_gate,
    gap_ns: u64,
) -> drywire_status {
    // SAFETY: as above.
    unsafe { tell(gate, |gate| gate.stalled(span(gap_ns))) }
}

const fn cause(kick: Kick) -> u32 {
    match kick {
        Kick::HardBytes => DRYWIRE_KICK_HARD_BYTES,
        Kick::SoftTooLong => DRYWIRE_KICK_SOFT_TOO_LONG,
        Kick::NoProgress => DRYWIRE_KICK_NO_PROGRESS,
        _ => DRYWIRE_KICK_OTHER,
    }
}
