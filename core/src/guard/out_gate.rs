//! The output gate: what to do with a peer that does not read fast enough.
//!
//! **Decides** what happens to a message for a connection whose output is piling up, and when
//! such a connection is given up. Bytes alone judge a fast link wrongly and time alone a slow
//! one, so there are three limits:
//!
//! | limit | broken when | cause |
//! |---|---|---|
//! | hard | pending bytes would pass `hard` | [`Kick::HardBytes`] |
//! | soft | more than `soft` pending for `soft_for` without a break | [`Kick::SoftTooLong`] |
//! | progress | something pending, and the transport took nothing for `no_progress` | [`Kick::NoProgress`] |
//!
//! Messages that may be lost (presence, tickers) are dropped or conflated at the hard limit
//! instead. From `stall` on the *producer* is slowed down first, a little per message and never
//! more than `stall_total` for one episode, so that one stuck reader can not freeze a room. On a
//! kick discard what is pending; at most one short reason follows, if it fits.
//!
//! **Units**: bytes, [`Tick`], [`Duration`]. **Work**: constant. **Deadline**: [`OutGate::deadline`].
//! Our own stalls are not the peer's fault: [`OutGate::stalled`].
//!
//! **Sources**: NATS server (pending bytes, write deadline, producer stall from 75 %), Redis
//! (client-output-buffer-limit: hard, and soft for a time).
//!
//! ```
//! use drywire::Tick;
//! use drywire::guard::{Kick, OutGate, OutGateConfig, OutOffer};
//! use core::time::Duration;
//!
//! let config = OutGateConfig { no_progress: Duration::from_secs(10), ..OutGateConfig::CHAT };
//! let mut gate = OutGate::new();
//! let now = Tick::from_secs(1);
//! assert_eq!(gate.offer(&config, now, 0, 500, false), OutOffer::Queue);
//! // Nothing of it was taken for ten seconds.
//! let due = gate.deadline(&config, 500).unwrap();
//! assert_eq!(due, Tick::from_secs(11));
//! assert_eq!(gate.poll(&config, due, 500), Some(Kick::NoProgress));
//! assert_eq!(gate.poll(&config, due, 500), None, "a kick is said once");
//! ```

use crate::guard::elapsed;
use crate::tick::{Tick, nanos};
use core::time::Duration;

/// The limits on one connection's output. Configuration of [`OutGate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutGateConfig {
    /// Bytes pending at most. One message is always taken when nothing is pending.
    pub hard: usize,
    /// More than this many bytes are tolerated for `soft_for` only.
    pub soft: usize,
    /// How long; [`Duration::MAX`] is for ever.
    pub soft_for: Duration,
    /// How long the transport may take nothing while something is pending; [`Duration::MAX`] is
    /// for ever.
    pub no_progress: Duration,
    /// What to do at the hard limit with a message that may be lost.
    pub full: WhenFull,
    /// Pending bytes from which the producer is slowed down; [`usize::MAX`] for never.
    pub stall: usize,
    /// How long it pauses for one message.
    pub stall_each: Duration,
    /// And for one episode, until pending is below `stall` again.
    pub stall_total: Duration,
}

impl OutGateConfig {
    /// For fan-out (chat, hub): 1 MiB hard, 256 KiB for 10 s, 10 s without progress, producers
    /// slowed down by 2 ms a message from 768 KiB on, 10 ms in one episode.
    pub const CHAT: Self = Self {
        hard: 1 << 20,
        soft: 256 << 10,
        soft_for: Duration::from_secs(10),
        no_progress: Duration::from_secs(10),
        full: WhenFull::DropNew,
        stall: 768 << 10,
        stall_each: Duration::from_millis(2),
        stall_total: Duration::from_millis(10),
    };

    /// For replies: 4 MiB hard, no soft limit (reading stops at the read gate's mark long before),
    /// 10 s without progress.
    pub const REPLIES: Self = Self {
        hard: 4 << 20,
        soft: 4 << 20,
        soft_for: Duration::MAX,
        no_progress: Duration::from_secs(10),
        full: WhenFull::DropNew,
        stall: usize::MAX,
        stall_each: Duration::ZERO,
        stall_total: Duration::ZERO,
    };
}

/// What happens at the hard limit to a message that may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The new one is dropped.
    DropNew,
    /// The oldest ones make room.
    DropOldest,
    /// It replaces the pending message about the same thing.
    Conflate,
}

/// What to do with a message.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOffer {
    /// Queue it.
    Queue,
    /// Queue it, and let its producer pause.
    QueueAndStall(Duration),
    /// Drop it, and count it.
    DropNew,
    /// Drop pending droppable messages of at least this many bytes, then queue it.
    DropOldest {
        /// Bytes to make room for.
        bytes: usize,
    },
    /// Replace the pending message about the same thing; if there is none, drop it.
    Conflate,
    /// End the connection; do not queue it.
    Kick(Kick),
    /// The connection was kicked before: emit nothing.
    Gone,
}

/// Why a reader was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kick {
    /// More bytes than allowed would be pending.
    HardBytes,
    /// Too many bytes for too long.
    SoftTooLong,
    /// The transport took nothing for too long.
    NoProgress,
}

/// The state of one connection's output: 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutGate {
    /// When the transport last took bytes, or output began to wait.
    progress: Tick,
    /// When pending passed `soft`; [`Tick::MAX`] if it is not above.
    soft_since: Tick,
    /// Pauses asked for in this episode, in ns.
    stalled: u64,
    busy: bool,
    kicked: bool,
}

impl Default for OutGate {
    fn default() -> Self {
        Self::new()
    }
}

impl OutGate {
    /// Nothing is pending.
    #[must_use]
    pub const fn new() -> Self {
        Self { progress: Tick::ZERO, soft_since: Tick::MAX, stalled: 0, busy: false, kicked: false }
    }

    /// A message of `len` bytes is to follow the `pending` bytes.
    pub fn offer(
        &mut self,
        config: &OutGateConfig,
        now: Tick,
        pending: usize,
        len: usize,
        droppable: bool,
    ) -> OutOffer {
        if self.kicked {
            return OutOffer::Gone;
        }
        if let Some(kick) = self.poll(config, now, pending) {
            return OutOffer::Kick(kick);
        }
        let after = pending.saturating_add(len);
        if pending > 0 && after > config.hard {
            return match (droppable, config.full) {
                (false, _) => {
                    self.kicked = true;
                    OutOffer::Kick(Kick::HardBytes)
                }
                (true, WhenFull::DropOldest) if len <= config.hard => {
                    self.observe(config, now, config.hard);
                    OutOffer::DropOldest { bytes: after - config.hard }
                }
                (true, WhenFull::Conflate) => OutOffer::Conflate,
                (true, _) => OutOffer::DropNew,
            };
        }
        self.observe(config, now, after);
        if after < config.stall {
            return OutOffer::Queue;
        }
        let left = nanos(config.stall_total).saturating_sub(self.stalled);
        let pause = nanos(config.stall_each).min(left);
        self.stalled = self.stalled.saturating_add(pause);
        if pause == 0 {
            OutOffer::Queue
        } else {
            OutOffer::QueueAndStall(Duration::from_nanos(pause))
        }
    }

    /// The transport took `n` bytes; `pending` are left.
    pub fn sent(&mut self, config: &OutGateConfig, now: Tick, n: usize, pending: usize) {
        if n > 0 {
            self.progress = self.progress.max(now);
        }
        self.observe(config, now, pending);
    }

    /// Whether this reader is to be given up: said once.
    #[must_use]
    pub fn poll(&mut self, config: &OutGateConfig, now: Tick, pending: usize) -> Option<Kick> {
        if self.kicked {
            return None;
        }
        self.observe(config, now, pending);
        let kick = if pending > 0 && elapsed(now, self.progress) >= nanos(config.no_progress) {
            Kick::NoProgress
        } else if self.soft_since != Tick::MAX
            && elapsed(now, self.soft_since) >= nanos(config.soft_for)
        {
            Kick::SoftTooLong
        } else {
            return None;
        };
        self.kicked = true;
        Some(kick)
    }

    /// When [`OutGate::poll`] is due, while `pending` stays as it is.
    #[must_use]
    pub fn deadline(&self, config: &OutGateConfig, pending: usize) -> Option<Tick> {
        if self.kicked || pending == 0 {
            return None;
        }
        let progress = self.progress.0.checked_add(nanos(config.no_progress));
        let soft = if self.soft_since == Tick::MAX || pending <= config.soft {
            None
        } else {
            self.soft_since.0.checked_add(nanos(config.soft_for))
        };
        [progress, soft].into_iter().flatten().min().map(Tick)
    }

    /// This process did not run for `gap`: that time does not count.
    pub fn stalled(&mut self, gap: Duration) {
        self.progress = self.progress + gap;
        if self.soft_since != Tick::MAX {
            self.soft_since = self.soft_since + gap;
        }
    }

    /// When the transport last took bytes, or output began to wait.
    #[must_use]
    pub const fn progress(&self) -> Tick {
        self.progress
    }

    /// Notices that output began to wait, and on which side of the marks it is: for callers that
    /// append without an offer. Does not kick.
    pub fn observe(&mut self, config: &OutGateConfig, now: Tick, pending: usize) {
        if pending > 0 && !self.busy {
            self.progress = self.progress.max(now);
        }
        self.busy = pending > 0;
        if pending <= config.soft {
            self.soft_since = Tick::MAX;
        } else if self.soft_since == Tick::MAX {
            self.soft_since = now;
        }
        if pending < config.stall {
            self.stalled = 0;
        }
    }
}

impl From<OutGate> for [u64; 4] {
    fn from(state: OutGate) -> Self {
        let flags = u64::from(state.busy) | u64::from(state.kicked) << 1;
        [state.progress.0, state.soft_since.0, state.stalled, flags]
    }
}

impl From<[u64; 4]> for OutGate {
    fn from(words: [u64; 4]) -> Self {
        let [progress, soft_since, stalled, flags] = words;
        Self {
            progress: Tick(progress),
            soft_since: Tick(soft_since),
            stalled,
            busy: flags & 1 != 0,
            kicked: flags & 2 != 0,
        }
    }
}
