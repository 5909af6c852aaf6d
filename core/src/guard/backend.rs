//! A backend as one client sees it: what is pending there, how it failed, whether it is out.
//!
//! **Decides** what a backend costs and when it is left alone for a while. A backend that refuses
//! answers fastest of all; a balancer that looks at pending requests or latency is *attracted* by
//! it. So each refusal or failure counts as `penalty` more requests pending, halved every
//! `half_life`. A refusal is no failure: only errors and timeouts in a row put a backend out,
//! longer each time.
//!
//! **Units**: [`Tick`], [`Duration`], requests. **Work**: constant. **Deadline**: none; a backend
//! that is out comes back when [`pick`](crate::guard::pick()) is asked after that moment.
//!
//! **Sources**: Linkerd (a penalty latency per failure); Envoy outlier detection (5 in a row,
//! 30 s × n up to 300 s).
//!
//! ```
//! use drywire::Tick;
//! use drywire::guard::{Backend, BackendConfig, Outcome};
//!
//! let config = BackendConfig::DEFAULT;
//! let mut backend = Backend::new(1, 1);
//! let now = Tick::from_secs(5);
//! let before = backend.cost(&config, now);
//! backend.on_send();
//! backend.on_reply(&config, now, Outcome::Nack);
//! assert!(backend.cost(&config, now) > before, "refusing does not make it attractive");
//! ```

use crate::guard::elapsed;
use crate::tick::{Tick, nanos};
use core::time::Duration;

/// How a request ended, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Answered.
    Ok,
    /// Refused, not executed: too busy, draining.
    Nack,
    /// Failed: the connection broke, or the answer says so.
    Error,
    /// No answer in time.
    Timeout,
}

/// What failures cost. Configuration of [`Backend`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendConfig {
    /// Pending requests that one refusal or failure counts as. Default 8.
    pub penalty: u32,
    /// Half of the penalty is forgotten in this time. Default 1 s.
    pub half_life: Duration,
    /// Failures in a row that put a backend out; 0 for never. Default 5.
    pub out_after: u8,
    /// For how long, times how often it happened. Default 10 s.
    pub out_for: Duration,
    /// For how long at most. Default 5 minutes.
    pub out_max: Duration,
}

impl BackendConfig {
    /// Defaults.
    pub const DEFAULT: Self = Self {
        penalty: 8,
        half_life: Duration::from_secs(1),
        out_after: 5,
        out_for: Duration::from_secs(10),
        out_max: Duration::from_secs(300),
    };
}

impl Default for BackendConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// One backend of one client: 48 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its identity for keyed traffic; stable over restarts and reorderings.
    pub key: u64,
    /// Its share; 0 takes it out.
    pub weight: u32,
    /// Requests sent and not answered.
    pub pending: u32,
    /// It announced that it goes away.
    pub draining: bool,
    failures: u8,
    times_out: u8,
    /// In 1/256 of a request, at `penalty_at`.
    penalty: u64,
    penalty_at: Tick,
    out_until: Tick,
}

/// The unit of [`Backend::cost`].
pub(crate) const REQUEST: u64 = 256;

impl Backend {
    /// A backend that nothing is known about.
    #[must_use]
    pub const fn new(key: u64, weight: u32) -> Self {
        Self {
            key,
            weight,
            pending: 0,
            draining: false,
            failures: 0,
            times_out: 0,
            penalty: 0,
            penalty_at: Tick::ZERO,
            out_until: Tick::ZERO,
        }
    }

    /// A request goes to it.
    pub fn on_send(&mut self) {
        self.pending = self.pending.saturating_add(1);
    }

    /// A request that was sent to it ended.
    pub fn on_reply(&mut self, config: &BackendConfig, now: Tick, outcome: Outcome) {
        self.pending = self.pending.saturating_sub(1);
        if outcome == Outcome::Ok {
            self.failures = 0;
            self.times_out = self.times_out.saturating_sub(1);
            return;
        }
        let more = REQUEST * u64::from(config.penalty.max(1)) + REQUEST;
        self.penalty = self.penalty_left(config, now).saturating_add(more);
        self.penalty_at = self.penalty_at.max(now);
        if outcome == Outcome::Nack || config.out_after == 0 {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= config.out_after {
            self.failures = 0;
            self.times_out = self.times_out.saturating_add(1);
            let span = nanos(config.out_for).saturating_mul(u64::from(self.times_out));
            let until = now.0.saturating_add(span.min(nanos(config.out_max)));
            self.out_until = self.out_until.max(Tick(until));
        }
    }

    /// Whether it is left alone because it failed too often.
    #[must_use]
    pub fn is_out(&self, now: Tick) -> bool {
        now < self.out_until
    }

    /// What it costs to send there: pending requests and penalty, in 1/256 of a request. Not yet
    /// divided by the weight.
    #[must_use]
    pub fn cost(&self, config: &BackendConfig, now: Tick) -> u64 {
        let pending = REQUEST * (u64::from(self.pending) + 1);
        self.penalty_left(config, now).saturating_add(pending)
    }

    /// Halved per half-life, a straight line between.
    fn penalty_left(&self, config: &BackendConfig, now: Tick) -> u64 {
        let half_life = nanos(config.half_life).max(1);
        let passed = elapsed(now, self.penalty_at);
        let halved = u32::try_from(passed / half_life)
            .ok()
            .and_then(|times| self.penalty.checked_shr(times))
            .unwrap_or(0);
        let part = u128::from(halved) * u128::from(passed % half_life) / u128::from(half_life) / 2;
        halved - part as u64
    }
}

impl From<Backend> for [u64; 6] {
    fn from(state: Backend) -> Self {
        let counts = u64::from(state.failures) << 16
            | u64::from(state.times_out) << 8
            | u64::from(state.draining);
        let share = u64::from(state.weight) << 32 | u64::from(state.pending);
        [state.key, share, counts, state.penalty, state.penalty_at.0, state.out_until.0]
    }
}

impl From<[u64; 6]> for Backend {
    fn from(words: [u64; 6]) -> Self {
        let [key, share, counts, penalty, penalty_at, out_until] = words;
        Self {
            key,
            weight: (share >> 32) as u32,
            pending: share as u32,
            draining: counts & 1 != 0,
            failures: (counts >> 16) as u8,
            times_out: (counts >> 8) as u8,
            penalty,
            penalty_at: Tick(penalty_at),
            out_until: Tick(out_until),
        }
    }
}
