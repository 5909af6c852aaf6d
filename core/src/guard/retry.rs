//! Retries and hedges under one budget.
//!
//! **Decides** whether a failed request is sent again, and when; and whether a slow one is sent a
//! second time. Three retries turn a spike of one second into four times the load, for ever: the
//! retries are what keeps it failing. So there is a budget: a share of the requests, plus a little
//! per second for clients that send few, up to a burst. It is safe as long as
//! load × (1 + share) stays below the capacity.
//!
//! | the failure | again? |
//! |---|---|
//! | refused, not executed ([`Outcome::Nack`]) | yes, on another server, after what it asked for |
//! | an error or a timeout | only if the request is idempotent |
//! | the last attempt, the deadline too near, the budget empty | no |
//!
//! Never send a retry to the server that failed: pass it to [`pick`](crate::guard::pick()) as the
//! one to avoid. A hedge (a second copy when the first is slower than 95 % of all) costs about 5 %
//! of load and comes out of the same budget; never hedge after a refusal.
//!
//! **Units**: [`Tick`], [`Duration`]. **Work**: constant. **No deadline** of its own: it returns
//! when to act.
//!
//! **Sources**: Finagle's retry budget (20 % and 10 a second); "Site Reliability Engineering",
//! chapter 22 (10 %, 3 attempts); J. Dean and L. Barroso, "The Tail at Scale", CACM 56(2), 2013
//! (hedged requests).
//!
//! ```
//! use drywire::Tick;
//! use drywire::guard::{Failed, Outcome, Retry, RetryBudget, RetryConfig};
//!
//! let config = RetryConfig { burst: 1, floor: 0, ..RetryConfig::DEFAULT };
//! let now = Tick::from_secs(1);
//! let mut budget = RetryBudget::new(&config, now);
//! let failed = Failed { attempt: 1, ..Failed::new(Outcome::Nack) };
//! assert!(matches!(budget.may_retry(&config, now, &failed, 7), Retry::After(_)));
//! assert_eq!(budget.may_retry(&config, now, &failed, 7), Retry::GiveUp, "spent");
//! for _ in 0..10 {
//!     budget.on_request(&config, now); // ten requests pay for one retry
//! }
//! assert!(matches!(budget.may_retry(&config, now, &failed, 7), Retry::After(_)));
//! ```

use crate::guard::{Outcome, elapsed};
use crate::tick::{Tick, nanos};
use core::time::Duration;

/// How much to insist. Configuration of [`RetryBudget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    /// Retries per hundred requests. Default 10.
    pub percent: u32,
    /// Retries per second on top. Default 1.
    pub floor: u32,
    /// Retries saved up at most. Default 10.
    pub burst: u32,
    /// Attempts of one request, the first included. Default 3.
    pub attempts: u8,
    /// The pause before the first retry, doubled for each further one. Default 10 ms.
    pub backoff: Duration,
    /// The longest pause, unless the server asked for more. Default 1 s.
    pub backoff_max: Duration,
}

impl RetryConfig {
    /// Defaults.
    pub const DEFAULT: Self = Self {
        percent: 10,
        floor: 1,
        burst: 10,
        attempts: 3,
        backoff: Duration::from_millis(10),
        backoff_max: Duration::from_secs(1),
    };
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A request that failed. Input of [`RetryBudget::may_retry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Which attempt it was, from 1.
    pub attempt: u8,
    /// How it failed.
    pub outcome: Outcome,
    /// What the server asked to wait; zero if it did not.
    pub retry_after: Duration,
    /// Whether it may be executed twice.
    pub idempotent: bool,
    /// When the answer becomes useless.
    pub deadline: Option<Tick>,
}

impl Failed {
    /// The first attempt of a request that must not be executed twice.
    #[must_use]
    pub const fn new(outcome: Outcome) -> Self {
        Self { attempt: 1, outcome, retry_after: Duration::ZERO, idempotent: false, deadline: None }
    }
}

/// Whether to send again.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Yes, after this pause, elsewhere. It is paid for.
    After(Duration),
    /// No: the failure is the answer.
    GiveUp,
}

/// Whether to send a second copy.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hedge {
    /// Ask again then.
    At(Tick),
    /// Yes. It is paid for.
    Now,
    /// No.
    No,
}

/// The state of one client: 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// Billionths of a retry.
    balance: u64,
    /// When the floor was last paid in.
    paid_at: Tick,
}

/// One retry.
const ONE: u64 = 1_000_000_000;

impl RetryBudget {
    /// A full budget.
    #[must_use]
    pub const fn new(config: &RetryConfig, now: Tick) -> Self {
        Self { balance: ONE * config.burst as u64, paid_at: now }
    }

    /// A request is sent for the first time.
    pub fn on_request(&mut self, config: &RetryConfig, now: Tick) {
        self.pay_floor(config, now);
        self.pay(config, ONE / 100 * u64::from(config.percent));
    }

    /// Whether to send a failed request again. `random` spreads the pause over its upper half.
    pub fn may_retry(
        &mut self,
        config: &RetryConfig,
        now: Tick,
        failed: &Failed,
        random: u64,
    ) -> Retry {
        let safe = match failed.outcome {
            Outcome::Ok => false,
            Outcome::Nack => true,
            Outcome::Error | Outcome::Timeout => failed.idempotent,
        };
        if !safe || failed.attempt >= config.attempts {
            return Retry::GiveUp;
        }
        let doubled = 1u64.checked_shl(u32::from(failed.attempt.max(1) - 1)).unwrap_or(u64::MAX);
        let most = nanos(config.backoff).saturating_mul(doubled).min(nanos(config.backoff_max));
        let half = most / 2;
        let spread = (u128::from(most - half) * u128::from(random)) >> 64;
        let pause = (half + spread as u64).max(nanos(failed.retry_after));
        let at = now.0.saturating_add(pause);
        if failed.deadline.is_some_and(|deadline| at >= deadline.0) || !self.take(config, now) {
            return Retry::GiveUp;
        }
        Retry::After(Duration::from_nanos(pause))
    }

    /// Whether to send a second copy of a request that is unanswered since `sent_at`, where 95 %
    /// of the answers come within `p95`.
    pub fn may_hedge(
        &mut self,
        config: &RetryConfig,
        now: Tick,
        sent_at: Tick,
        p95: Duration,
        idempotent: bool,
    ) -> Hedge {
        let Some(at) = sent_at.0.checked_add(nanos(p95)).filter(|_| idempotent) else {
            return Hedge::No;
        };
        if now.0 < at {
            Hedge::At(Tick(at))
        } else if self.take(config, now) {
            Hedge::Now
        } else {
            Hedge::No
        }
    }

    fn take(&mut self, config: &RetryConfig, now: Tick) -> bool {
        self.pay_floor(config, now);
        match self.balance.checked_sub(ONE) {
            Some(left) => {
                self.balance = left;
                true
            }
            None => false,
        }
    }

    fn pay_floor(&mut self, config: &RetryConfig, now: Tick) {
        let passed = elapsed(now, self.paid_at);
        self.paid_at = self.paid_at.max(now);
        self.pay(config, passed.saturating_mul(u64::from(config.floor)));
    }

    fn pay(&mut self, config: &RetryConfig, amount: u64) {
        let most = ONE * u64::from(config.burst);
        self.balance = self.balance.saturating_add(amount).min(most);
    }
}

impl From<RetryBudget> for [u64; 2] {
    fn from(state: RetryBudget) -> Self {
        [state.balance, state.paid_at.0]
    }
}

impl From<[u64; 2]> for RetryBudget {
    fn from(words: [u64; 2]) -> Self {
        let [balance, paid_at] = words;
        Self { balance, paid_at: Tick(paid_at) }
    }
}
