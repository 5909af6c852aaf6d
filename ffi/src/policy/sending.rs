//! The client's side: what is not sent, and what is sent again.

use crate::guard::{guarded, status};
use crate::policy::{act, begin, byte, decide, done, drywire_decision, held, moment, nanos, span};
use crate::sized::{self, Growing};
use crate::status::{Result, drywire_status};
use drywire::Tick;
use drywire::guard::{
    Failed, Hedge, Outcome, Retry, RetryBudget, RetryConfig, Throttle, ThrottleConfig, Throttled,
};
use drywire_status::DRYWIRE_ERR_RANGE;

/// From `drywire_throttle_ask`: send it.
pub const DRYWIRE_THROTTLE_SEND: u32 = 1;
/// From `drywire_throttle_ask`: refuse it here, not sent.
pub const DRYWIRE_THROTTLE_SHED: u32 = 2;

/// From `drywire_retry_ask`: send it again after the span `time_ns`, elsewhere. It is paid for.
pub const DRYWIRE_RETRY_AFTER: u32 = 1;
/// From `drywire_retry_ask`: do not; the failure is the answer.
pub const DRYWIRE_RETRY_GIVE_UP: u32 = 2;
/// From `drywire_retry_hedge`: ask again at `time_ns`.
pub const DRYWIRE_HEDGE_AT: u32 = 1;
/// From `drywire_retry_hedge`: send a second copy now. It is paid for.
pub const DRYWIRE_HEDGE_NOW: u32 = 2;
/// From `drywire_retry_hedge`: do not.
pub const DRYWIRE_HEDGE_NO: u32 = 3;

/// `flags` of `drywire_retry_ask` and `_hedge`: the request may be executed twice.
pub const DRYWIRE_IDEMPOTENT: u32 = 1;

/// How a request ended: answered.
pub const DRYWIRE_REPLY_OK: u32 = 0;
/// How a request ended: refused, not executed.
pub const DRYWIRE_REPLY_NACK: u32 = 1;
/// How a request ended: the connection broke, or the answer says that it failed.
pub const DRYWIRE_REPLY_ERROR: u32 = 2;
/// How a request ended: no answer in time.
pub const DRYWIRE_REPLY_TIMEOUT: u32 = 3;

/// How much to hold back. Start with `drywire_throttle_options_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_throttle_options {
    /// `sizeof(drywire_throttle_options)`.
    pub struct_size: u32,
    /// In percent: 200, the default, sends up to twice what was accepted; take 110 where refusing
    /// costs the server as much as serving.
    pub k_percent: u32,
    /// The most that is held back, in percent; 99 at most. Default 90.
    pub most_percent: u32,
    /// 0.
    pub reserved: u32,
    /// What is remembered. Default 2 minutes.
    pub window_ns: u64,
}

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_throttle_options {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>() as u32,
        k_percent: ThrottleConfig::DEFAULT.k_percent,
        most_percent: ThrottleConfig::DEFAULT.most_percent as u32,
        reserved: 0,
        window_ns: ThrottleConfig::DEFAULT.window.as_nanos() as u64,
    };
}

impl drywire_throttle_options {
    fn config(&self) -> ThrottleConfig {
        ThrottleConfig {
            k_percent: self.k_percent,
            window: span(self.window_ns),
            most_percent: byte(self.most_percent),
        }
    }
}

/// The state of one client towards one service: does not send what would be refused anyway. Yours to
/// copy; the numbers in it are the library's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_throttle {
    /// Set by `drywire_throttle_init`.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The library's.
    pub state: [u64; 12],
}

/// How much to insist. Start with `drywire_retry_options_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_retry_options {
    /// `sizeof(drywire_retry_options)`.
    pub struct_size: u32,
    /// Retries per hundred requests. Default 10.
    pub percent: u32,
    /// Retries per second on top. Default 1.
    pub floor: u32,
    /// Retries saved up at most. Default 10.
    pub burst: u32,
    /// Attempts of one request, the first included. Default 3.
    pub attempts: u32,
    /// 0.
    pub reserved: u32,
    /// The pause before the first retry, doubled for each further one. Default 10 ms.
    pub backoff_ns: u64,
    /// The longest pause, unless the server asked for more. Default 1 s.
    pub backoff_max_ns: u64,
}

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_retry_options {
    const DEFAULT: Self = {
        let config = RetryConfig::DEFAULT;
        Self {
            struct_size: size_of::<Self>() as u32,
            percent: config.percent,
            floor: config.floor,
            burst: config.burst,
            attempts: config.attempts as u32,
            reserved: 0,
            backoff_ns: config.backoff.as_nanos() as u64,
            backoff_max_ns: config.backoff_max.as_nanos() as u64,
        }
    };
}

impl drywire_retry_options {
    fn config(&self) -> RetryConfig {
        RetryConfig {
            percent: self.percent,
            floor: self.floor,
            burst: self.burst,
            attempts: byte(self.attempts),
            backoff: span(self.backoff_ns),
            backoff_max: span(self.backoff_max_ns),
        }
    }
}

/// The state of one client: retries and hedges under one budget. Yours to copy; the numbers in it are
/// the library's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_retry {
    /// Set by `drywire_retry_init`.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The library's.
    pub state: [u64; 2],
}

held! {
    drywire_throttle: Throttle, 12;
    drywire_retry: RetryBudget, 2;
}

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_throttle_options_init(
    options: *mut drywire_throttle_options,
    size: usize,
) -> drywire_status {
    // SAFETY: the caller keeps the rules at the top of the header; so for all pointers below.
    status(guarded(|| unsafe { sized::init(options, size) }))
}

/// Makes the state of a client that has sent nothing yet: `size` is `sizeof *throttle`.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_throttle_init(
    throttle: *mut drywire_throttle,
    size: usize,
    now_ns: u64,
) -> drywire_status {
    // SAFETY: as above.
    status(guarded(|| unsafe { begin(throttle, size, Throttle::new(Tick(now_ns))) }))
}

/// Whether a request goes out: `DRYWIRE_THROTTLE_SEND` or `_SHED` goes to `decision`. The request is
/// counted here, before it is sent, and also if it is not. `random` is uniform over all of 64 bits.
/// NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_throttle_ask(
    throttle: *mut drywire_throttle,
    options: *const drywire_throttle_options,
    now_ns: u64,
    random: u64,
    decision: *mut drywire_decision,
) -> drywire_status {
    // SAFETY: as above.
    unsafe {
        decide(throttle, decision, |throttle| {
            let config = sized::read(options)?.config();
            Ok(drywire_decision::of(match throttle.ask(&config, Tick(now_ns), random) {
                Throttled::Send => DRYWIRE_THROTTLE_SEND,
                Throttled::LocalShed => DRYWIRE_THROTTLE_SHED,
            }))
        })
    }
}

/// The server took a request: answered it, with success or not, instead of refusing it. NULL options
/// are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_throttle_accepted(
    throttle: *mut drywire_throttle,
    options: *const drywire_throttle_options,
    now_ns: u64,
) -> drywire_status {
    // SAFETY: as above.
    done(unsafe {
        act(throttle, |throttle| {
            throttle.on_accepted(&sized::read(options)?.config(), Tick(now_ns));
            Ok(())
        })
    })
}

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_retry_options_init(
    options: *mut drywire_retry_options,
    size: usize,
) -> drywire_status {
    // SAFETY: as above.
    status(guarded(|| unsafe { sized::init(options, size) }))
}

/// Makes the state of a client with a full budget: `size` is `sizeof *retry`. NULL options are all
/// defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_retry_init(
    retry: *mut drywire_retry,
    size: usize,
    options: *const drywire_retry_options,
    now_ns: u64,
) -> drywire_status {
    status(guarded(|| {
        // SAFETY: as above.
        unsafe {
            let config = sized::read(options)?.config();
            begin(retry, size, RetryBudget::new(&config, Tick(now_ns)))
        }
    }))
}

/// A request is sent for the first time. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_retry_request(
    retry: *mut drywire_retry,
    options: *const drywire_retry_options,
    now_ns: u64,
) -> drywire_status {
    // SAFETY: as above.
    done(unsafe {
        act(retry, |retry| {
            retry.on_request(&sized::read(options)?.config(), Tick(now_ns));
            Ok(())
        })
    })
}

/// Whether to send a failed request again: `DRYWIRE_RETRY_AFTER` or `_GIVE_UP` goes to `decision`.
/// `attempt` counts from 1, `reply` is how it failed (`DRYWIRE_REPLY_*`), `flags` 0 or
/// `DRYWIRE_IDEMPOTENT`, `retry_after_ns` what the server asked to wait or 0, `deadline_ns` when the
/// answer becomes useless or `DRYWIRE_NO_DEADLINE`. `random` spreads the pause over its upper half. NULL
/// options are all defaults.
///
/// Errors: `DRYWIRE_ERR_RANGE` for an unknown `reply` or flag; `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_retry_ask(
    retry: *mut drywire_retry,
    options: *const drywire_retry_options,
    now_ns: u64,
    attempt: u32,
    reply: u32,
    flags: u32,
    retry_after_ns: u64,
    deadline_ns: u64,
    random: u64,
    decision: *mut drywire_decision,
) -> drywire_status {
    // SAFETY: as above.
    unsafe {
        decide(retry, decision, |retry| {
            let failed = Failed {
                attempt: byte(attempt),
                outcome: outcome(reply)?,
                retry_after: span(retry_after_ns),
                idempotent: idempotent(flags)?,
                deadline: moment(deadline_ns),
            };
            let config = sized::read(options)?.config();
            Ok(match retry.may_retry(&config, Tick(now_ns), &failed, random) {
                Retry::After(pause) => drywire_decision {
                    time_ns: nanos(pause),
                    ..drywire_decision::of(DRYWIRE_RETRY_AFTER)
                },
                Retry::GiveUp => drywire_decision::of(DRYWIRE_RETRY_GIVE_UP),
            })
        })
    }
}

/// Whether to send a second copy of a request that is unanswered since `sent_ns`, where 95 % of the
/// answers come within the span `p95_ns`: a `DRYWIRE_HEDGE_*` goes to `decision`. `flags`: 0 or
/// `DRYWIRE_IDEMPOTENT`. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_RANGE` for an unknown flag; `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_retry_hedge(
    retry: *mut drywire_retry,
    options: *const drywire_retry_options,
    now_ns: u64,
    sent_ns: u64,
    p95_ns: u64,
    flags: u32,
    decision: *mut drywire_decision,
) -> drywire_status {
    // SAFETY: as above.
    unsafe {
        decide(retry, decision, |retry| {
            let config = sized::read(options)?.config();
            let idempotent = idempotent(flags)?;
            let (now, sent) = (Tick(now_ns), Tick(sent_ns));
            Ok(match retry.may_hedge(&config, now, sent, span(p95_ns), idempotent) {
                Hedge::At(at) => drywire_decision {
                    time_ns: at.0,
                    next_ns: at.0,
                    ..drywire_decision::of(DRYWIRE_HEDGE_AT)
                },
                Hedge::Now => drywire_decision::of(DRYWIRE_HEDGE_NOW),
                Hedge::No => drywire_decision::of(DRYWIRE_HEDGE_NO),
            })
        })
    }
}

pub(super) const fn outcome(reply: u32) -> Result<Outcome> {
    match reply {
        DRYWIRE_REPLY_OK => Ok(Outcome::Ok),
        DRYWIRE_REPLY_NACK => Ok(Outcome::Nack),
        DRYWIRE_REPLY_ERROR => Ok(Outcome::Error),
        DRYWIRE_REPLY_TIMEOUT => Ok(Outcome::Timeout),
        _ => Err(DRYWIRE_ERR_RANGE),
    }
}

const fn idempotent(flags: u32) -> Result<bool> {
    match flags {
        0 => Ok(false),
        DRYWIRE_IDEMPOTENT => Ok(true),
        _ => Err(DRYWIRE_ERR_RANGE),
    }
}
