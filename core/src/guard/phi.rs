//! The phi detector as a deadline: how long to wait on a link that is itself unsteady.
//!
//! **Decides** the moment at which a peer that beats by itself becomes suspect, from how regular
//! its beats were. "The suspicion passed phi" is the same as "the silence passed
//! `mean + pause + z * deviation`", so instead of a score to be polled there is one time to wait
//! for, in integers. On good links a plain timeout of three intervals
//! ([`Heartbeat`](crate::guard::Heartbeat)) is as good; this earns its keep where a fifth of the
//! packets is lost.
//!
//! **Units**: [`Tick`], [`Duration`]. **Work**: constant. **Deadline**: [`Phi::deadline`].
//!
//! **Sources**: Hayashibara et al., "The phi accrual failure detector", 2004; the logistic
//! approximation of the normal tail as in Akka. z is 5.23, 5.80 and 6.29 for phi 8, 10 and 12.
//!
//! ```
//! use drywire::Tick;
//! use drywire::guard::{Phi, PhiConfig};
//! use core::time::Duration;
//!
//! let config = PhiConfig { deviation_min: Duration::from_millis(100), ..PhiConfig::DEFAULT };
//! let mut phi = Phi::new(&config, Tick::ZERO, Duration::from_secs(1));
//! for s in 1..=100 {
//!     phi.on_beat(&config, Tick::from_secs(s));
//! }
//! // Perfectly regular: 1 s + pause (1 s) + 5.23 * the least deviation.
//! assert_eq!(phi.deadline(&config), Tick::from_millis(100_000 + 2_523));
//! assert!(!phi.suspects(&config, Tick::from_millis(102_522)));
//! assert!(phi.suspects(&config, Tick::from_millis(102_523)));
//! ```

use crate::guard::elapsed;
use crate::tick::{Tick, nanos};
use core::time::Duration;

/// How sure to be. Configuration of [`Phi`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhiConfig {
    /// The threshold, as standard deviations in thousandths: [`PhiConfig::Z8`], `Z10`, `Z12`.
    /// Default phi 8.
    pub z: u32,
    /// A pause of the peer that is tolerated on top. Default 1 s.
    pub pause: Duration,
    /// The deviation counts as at least this. Default 100 ms.
    pub deviation_min: Duration,
}

impl PhiConfig {
    /// phi = 8: one mistake in 10^8 beats, if they were normally distributed.
    pub const Z8: u32 = 5230;
    /// phi = 10.
    pub const Z10: u32 = 5800;
    /// phi = 12.
    pub const Z12: u32 = 6290;
    /// Defaults.
    pub const DEFAULT: Self = Self {
        z: Self::Z8,
        pause: Duration::from_secs(1),
        deviation_min: Duration::from_millis(100),
    };
}

impl Default for PhiConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The state of one peer: 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phi {
    last: Tick,
    /// Moving mean of the gaps, in ns.
    mean: u64,
    /// Moving mean of the squared distance from the mean, in ns^2.
    variance: u128,
}

impl Phi {
    /// The weight of one new gap is 1 / 2^SMOOTHING.
    const SMOOTHING: u32 = 5;

    /// A peer heard now, that is expected to beat every `expected`. Until the gaps have shown
    /// better, their deviation counts as a quarter of it.
    #[must_use]
    pub const fn new(config: &PhiConfig, now: Tick, expected: Duration) -> Self {
        let mean = nanos(expected);
        let least = nanos(config.deviation_min);
        let deviation = if mean / 4 > least { mean / 4 } else { least } as u128;
        Self { last: now, mean, variance: deviation.saturating_mul(deviation) }
    }

    /// A beat came in.
    pub fn on_beat(&mut self, config: &PhiConfig, now: Tick) {
        let gap = elapsed(now, self.last);
        self.last = self.last.max(now);
        // A gap far beyond the threshold was an outage, not a property of the link.
        let gap = gap.min(self.patience(config));
        let off = u128::from(gap.abs_diff(self.mean));
        self.mean = if gap >= self.mean {
            self.mean + ((gap - self.mean) >> Self::SMOOTHING)
        } else {
            self.mean - ((self.mean - gap) >> Self::SMOOTHING)
        };
        let kept = self.variance - (self.variance >> Self::SMOOTHING);
        self.variance = kept.saturating_add(off.saturating_mul(off) >> Self::SMOOTHING);
    }

    /// When the peer becomes suspect, unless it beats before.
    #[must_use]
    pub fn deadline(&self, config: &PhiConfig) -> Tick {
        Tick(self.last.0.saturating_add(self.patience(config)))
    }

    /// Whether it is suspect.
    #[must_use]
    pub fn suspects(&self, config: &PhiConfig, now: Tick) -> bool {
        now >= self.deadline(config)
    }

    /// This process did not run for `gap`: that time was nobody's silence.
    pub fn stalled(&mut self, gap: Duration) {
        self.last = self.last + gap;
    }

    /// The tolerated silence, in ns.
    fn patience(&self, config: &PhiConfig) -> u64 {
        let deviation = self.variance.isqrt().max(u128::from(nanos(config.deviation_min)));
        let margin = deviation.saturating_mul(u128::from(config.z)) / 1000;
        let margin = u64::try_from(margin).unwrap_or(u64::MAX);
        self.mean.saturating_add(nanos(config.pause)).saturating_add(margin)
    }
}

impl From<Phi> for [u64; 4] {
    fn from(state: Phi) -> Self {
        [state.last.0, state.mean, (state.variance >> 64) as u64, state.variance as u64]
    }
}

impl From<[u64; 4]> for Phi {
    fn from(words: [u64; 4]) -> Self {
        let [last, mean, high, low] = words;
        Self { last: Tick(last), mean, variance: u128::from(high) << 64 | u128::from(low) }
    }
}
