//! The ping-flood guard: how many pings a peer may send.
//!
//! **Decides** whether to answer a ping. A pong costs us what the ping costs the peer, so pings
//! are paced: `burst` at once, one more per `gap`. One beyond that is not answered (the peer hears
//! from us anyway), and after `strikes` of those without a proper one between them it is a flood.
//!
//! **Units**: [`Tick`], [`Duration`]. **Work**: constant. **No deadline**: nothing happens by
//! itself.
//!
//! **Sources**: gRPC A8 (ping strikes, GOAWAY `too_many_pings`); the pacing is the generic cell
//! rate algorithm (ITU-T I.371).
//!
//! ```
//! use drywire::Tick;
//! use drywire::guard::{PeerPing, PingFlood, PingFloodConfig};
//!
//! let config = PingFloodConfig { burst: 1, strikes: 1, ..PingFloodConfig::DEFAULT };
//! let mut guard = PingFlood::new();
//! let now = Tick::from_secs(100);
//! assert_eq!(guard.on_peer_ping(&config, now), PeerPing::Pong);
//! assert_eq!(guard.on_peer_ping(&config, now), PeerPing::IgnoreExcess);
//! assert_eq!(guard.on_peer_ping(&config, now), PeerPing::KickFlood);
//! ```

use crate::tick::{Tick, nanos};
use core::time::Duration;

/// How often a peer may ping. Configuration of [`PingFlood`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingFloodConfig {
    /// One ping per this span in the long run. Default 500 ms.
    pub gap: Duration,
    /// Pings at once; at least one. Default 5.
    pub burst: u32,
    /// Unanswered pings in a row that are tolerated. Default 20.
    pub strikes: u32,
}

impl PingFloodConfig {
    /// Defaults.
    pub const DEFAULT: Self = Self { gap: Duration::from_millis(500), burst: 5, strikes: 20 };
}

impl Default for PingFloodConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What to do with a ping of the peer.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerPing {
    /// Answer it.
    Pong,
    /// Do not answer it.
    IgnoreExcess,
    /// End the connection.
    KickFlood,
}

/// The state of one connection: 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PingFlood {
    /// When the pings answered so far will be paid for.
    paid_at: Tick,
    strikes: u32,
}

impl PingFlood {
    /// No ping yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { paid_at: Tick::ZERO, strikes: 0 }
    }

    /// The peer sent a ping.
    pub fn on_peer_ping(&mut self, config: &PingFloodConfig, now: Tick) -> PeerPing {
        let gap = nanos(config.gap);
        let credit = gap.saturating_mul(u64::from(config.burst.max(1) - 1));
        if self.paid_at.0 <= now.0.saturating_add(credit) {
            self.paid_at = Tick(self.paid_at.max(now).0.saturating_add(gap));
            self.strikes = 0;
            PeerPing::Pong
        } else {
            self.strikes = self.strikes.saturating_add(1);
            if self.strikes > config.strikes { PeerPing::KickFlood } else { PeerPing::IgnoreExcess }
        }
    }
}

impl From<PingFlood> for [u64; 2] {
    fn from(state: PingFlood) -> Self {
        [state.paid_at.0, u64::from(state.strikes)]
    }
}

impl From<[u64; 2]> for PingFlood {
    fn from(words: [u64; 2]) -> Self {
        let [paid_at, strikes] = words;
        Self { paid_at: Tick(paid_at), strikes: strikes as u32 }
    }
}
