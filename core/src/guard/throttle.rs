//! The client throttle: not sending what would be refused anyway.
//!
//! **Decides**, on the client's side, whether a request is sent at all. A refusal is cheap but not
//! free; past some load refusing is all a server does. A client that sees most of its requests
//! refused rejects some itself, with probability `(requests - k * accepted) / (requests + 1)` over
//! the last two minutes. It never stops entirely: probes find out when the server is back.
//!
//! k = 2 lets one refusal through for each success; take 1.1 where refusing costs the server as
//! much as serving (a cache).
//!
//! **Units**: [`Tick`], [`Duration`], percent. **Work**: constant (ten slots). **No deadline**:
//! only counted when asked.
//!
//! **Source**: B. Beyer et al., "Site Reliability Engineering", 2016, chapter 21, client-side
//! throttling.
//!
//! ```
//! use drywire::Tick;
//! use drywire::guard::{Throttle, ThrottleConfig, Throttled};
//!
//! let config = ThrottleConfig::DEFAULT;
//! let mut throttle = Throttle::new(Tick::ZERO);
//! for i in 0..100 {
//!     let now = Tick::from_millis(i);
//!     let _ = throttle.ask(&config, now, u64::MAX); // never accepted
//! }
//! // 100 requests, none accepted: nine of ten are not sent.
//! assert_eq!(throttle.ask(&config, Tick::from_millis(100), 0), Throttled::LocalShed);
//! assert_eq!(throttle.ask(&config, Tick::from_millis(100), u64::MAX), Throttled::Send);
//! ```

use crate::guard::elapsed;
use crate::tick::{Tick, nanos};
use core::time::Duration;

/// How much to hold back. Configuration of [`Throttle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleConfig {
    /// k, in percent: 200 sends up to twice what was accepted. Default 200.
    pub k_percent: u32,
    /// What is remembered. Default 2 minutes.
    pub window: Duration,
    /// The most that is held back, in percent; 99 at most. Default 90.
    pub most_percent: u8,
}

impl ThrottleConfig {
    /// Defaults.
    pub const DEFAULT: Self =
        Self { k_percent: 200, window: Duration::from_secs(120), most_percent: 90 };
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Whether to send.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttled {
    /// Send it.
    Send,
    /// Refuse it here, not sent.
    LocalShed,
}

const SLOTS: usize = 10;

/// The state of one client towards one service: 96 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    slots: [Slot; SLOTS],
    /// When the current slot began.
    slot_at: Tick,
    current: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Slot {
    requests: u32,
    accepted: u32,
}

impl Throttle {
    /// Nothing was sent yet.
    #[must_use]
    pub const fn new(now: Tick) -> Self {
        Self { slots: [Slot { requests: 0, accepted: 0 }; SLOTS], slot_at: now, current: 0 }
    }

    /// Whether a request goes out. It is counted here, before it is sent, and also if it is not.
    pub fn ask(&mut self, config: &ThrottleConfig, now: Tick, random: u64) -> Throttled {
        self.turn(config, now);
        let (requests, accepted) = self.sums();
        let slot = &mut self.slots[usize::from(self.current)];
        slot.requests = slot.requests.saturating_add(1);
        // random / 2^64 < (requests - k * accepted) / (requests + 1), in percent.
        let over = (u128::from(requests) * 100)
            .saturating_sub(u128::from(accepted) * u128::from(config.k_percent));
        let draw = u128::from(random) * (u128::from(requests) + 1) * 100;
        let cap = u128::from(config.most_percent.min(99)) << 64;
        if draw < over << 64 && u128::from(random) * 100 < cap {
            Throttled::LocalShed
        } else {
            Throttled::Send
        }
    }

    /// The server took a request: answered it, with success or not, instead of refusing it.
    pub fn on_accepted(&mut self, config: &ThrottleConfig, now: Tick) {
        self.turn(config, now);
        let slot = &mut self.slots[usize::from(self.current)];
        slot.accepted = slot.accepted.saturating_add(1);
    }

    /// Requests and acceptances remembered.
    fn sums(&self) -> (u64, u64) {
        self.slots.iter().fold((0, 0), |(requests, accepted), slot| {
            (requests + u64::from(slot.requests), accepted + u64::from(slot.accepted))
        })
    }

    /// Forgets the slots that are out of the window.
    fn turn(&mut self, config: &ThrottleConfig, now: Tick) {
        let span = (nanos(config.window) / SLOTS as u64).max(1);
        let passed = elapsed(now, self.slot_at) / span;
        for _ in 0..passed.min(SLOTS as u64) {
            self.current = (self.current + 1) % SLOTS as u8;
            self.slots[usize::from(self.current)] = Slot::default();
        }
        self.slot_at = Tick(self.slot_at.0.saturating_add(passed.saturating_mul(span)));
    }
}

impl From<Throttle> for [u64; 12] {
    fn from(state: Throttle) -> Self {
        let mut words = [state.slot_at.0; SLOTS + 2];
        words[1] = u64::from(state.current);
        for (word, slot) in words[2..].iter_mut().zip(state.slots) {
            *word = u64::from(slot.requests) << 32 | u64::from(slot.accepted);
        }
        words
    }
}

impl From<[u64; 12]> for Throttle {
    fn from(words: [u64; 12]) -> Self {
        let [slot_at, current, slots @ ..] = words;
        let slots = slots.map(|word| Slot { requests: (word >> 32) as u32, accepted: word as u32 });
        Self { slots, slot_at: Tick(slot_at), current: (current % SLOTS as u64) as u8 }
    }
}
