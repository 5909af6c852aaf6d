//! The heartbeat: whether the peer is alive.
//!
//! **Decides** when to ping, when a peer is suspect and when it is dead. Any received byte proves
//! life, so a busy connection is never pinged: only after `interval` without input one ping goes
//! out, and never a second before an answer. The pong is due `pong` after the ping *left our
//! buffer*; the peer is dead `timeout` after its last byte, or then, whichever is later.
//!
//! ```text
//!   last byte         ping out                                  dead: NoPong
//!      │── interval ────►│── pong (1.5 intervals) ──────────►·      │
//!      │── timeout (3 intervals) ──────────────────────────────────►│
//! ```
//!
//! A slow link is not a dead one: when our output was blocked, every bit of it that the transport
//! takes extends the patience ([`Heartbeat::progressed`]); no progress at all for `stall` with
//! output pending is a cause of death of its own. Only progress of *blocked* output counts: an
//! idle kernel buffer takes bytes for a peer that is long gone. Our own stalls are nobody's
//! fault: [`Heartbeat::stalled`].
//!
//! Heartbeats belong on the connection and into the loop that does the work, otherwise they prove
//! nothing. Put a ping in front of bulk output, at the next message boundary, except where a pong
//! also means "everything before it was processed".
//!
//! **Units**: [`Tick`], [`Duration`]. **Work**: constant. **Deadline**: [`Heartbeat::deadline`];
//! traffic only stores a time, so the timer fires early now and then and is set again.
//!
//! **Sources**: RFC 1122 4.2.3.6; gRPC keepalive (A8, A9) and its issues 15871 and 22963 (pings
//! behind bulk data); AMQP 0-9-1 4.2.7; Lifeguard (Dadgar et al. 2018) for the own stall.
//!
//! ```
//! use drywire::Tick;
//! use drywire::guard::{Beat, Death, Heartbeat, HeartbeatConfig, Line};
//! use core::time::Duration;
//!
//! let config = HeartbeatConfig::every(Duration::from_secs(10));
//! let mut beat = Heartbeat::new(&config, Tick::ZERO, 0x8000_0000_0000_0000);
//! let idle = Line::IDLE;
//! let ping_at = beat.deadline(&config, &idle).unwrap();
//! assert_eq!(ping_at, Tick::from_secs(10)); // +-20 % by the random number
//! assert_eq!(beat.poll(&config, ping_at, &idle), Beat::Ping);
//! beat.ping_left(ping_at);
//! let suspect_at = beat.deadline(&config, &idle).unwrap();
//! assert_eq!(beat.poll(&config, suspect_at, &idle), Beat::Suspect(2));
//! let dead_at = beat.deadline(&config, &idle).unwrap();
//! assert_eq!(dead_at, Tick::from_secs(30));
//! assert_eq!(beat.poll(&config, dead_at, &idle), Beat::Dead(Death::NoPong));
//! ```

use crate::guard::elapsed;
use crate::tick::{Tick, nanos};
use core::time::Duration;

/// How to tell a dead peer. Configuration of [`Heartbeat`]. [`Duration::ZERO`] switches a rule off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// Silence after which a ping goes out; also the unit of [`Beat::Suspect`]. Zero: the peer
    /// does the pinging.
    pub interval: Duration,
    /// Silence after which the peer is dead.
    pub timeout: Duration,
    /// Time for a pong, from the moment the ping left.
    pub pong: Duration,
    /// How long pending output may make no progress.
    pub stall: Duration,
}

impl HeartbeatConfig {
    /// A ping after `interval` of silence, death after three intervals, 1.5 of them for the pong.
    /// 10 s suits the internet, 1 s a LAN; below 1 s expect false alarms.
    #[must_use]
    pub const fn every(interval: Duration) -> Self {
        let ns = nanos(interval);
        Self {
            interval,
            timeout: Duration::from_nanos(ns.saturating_mul(3)),
            pong: Duration::from_nanos(ns.saturating_add(ns / 2)),
            stall: Duration::from_nanos(ns.saturating_mul(3)),
        }
    }

    /// For the side that does not ping: death after three of the peer's intervals.
    #[must_use]
    pub const fn expect_every(interval: Duration) -> Self {
        Self { interval: Duration::ZERO, ..Self::every(interval) }
    }
}

/// What the transport is doing. Input of [`Heartbeat::poll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Bytes of ours that wait for the transport.
    pub pending: usize,
    /// When it last took some of them, or when they began to wait, whichever is later
    /// ([`OutGate::progress`](crate::guard::OutGate::progress)): what was taken before the output
    /// was empty is no beginning. Only looked at while `pending`.
    pub progress: Tick,
}

impl Line {
    /// Nothing is pending.
    pub const IDLE: Self = Self { pending: 0, progress: Tick::ZERO };
}

/// What to do.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Nothing.
    None,
    /// Send a ping, ahead of bulk output; tell [`Heartbeat::ping_left`] when its last byte went.
    Ping,
    /// The peer has been silent for this many intervals; said once for each from the second on.
    Suspect(u8),
    /// The peer is dead: end the connection. Said once; nothing follows.
    Dead(Death),
}

/// How a peer died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Death {
    /// No byte for the whole timeout.
    Silent,
    /// No answer to a ping that left in time.
    NoPong,
    /// It takes none of our output.
    Stalled,
}

/// The state of one connection's heartbeat: 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    last_rx: Tick,
    /// The last sign of life: that, or progress of blocked output.
    life: Tick,
    /// When the outstanding ping left, or was made; or when the first one is due.
    ping_at: Tick,
    ping: Ping,
    said: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ping {
    /// None yet, and nothing received.
    First,
    None,
    Queued,
    Left,
    /// It is not of interest any more.
    Dead,
}

impl Heartbeat {
    /// A connection that begins (or begins again) now. `random` spreads the first ping over
    /// +-20 % of the interval.
    #[must_use]
    pub const fn new(config: &HeartbeatConfig, now: Tick, random: u64) -> Self {
        let interval = nanos(config.interval);
        let spread = ((interval / 5 * 2) as u128 * random as u128) >> 64;
        let first = (interval - interval / 5).saturating_add(spread as u64);
        let ping_at = Tick(now.0.saturating_add(first));
        Self { last_rx: now, life: now, ping_at, ping: Ping::First, said: 0 }
    }

    /// Bytes came in, whichever.
    pub fn received(&mut self, now: Tick) {
        if self.ping == Ping::Dead {
            return;
        }
        self.last_rx = self.last_rx.max(now);
        self.life = self.life.max(now);
        self.ping = Ping::None;
        self.said = 0;
    }

    /// The transport took output that it had refused before: the peer takes it, slowly.
    pub fn progressed(&mut self, now: Tick) {
        self.life = self.life.max(now);
    }

    /// The last byte of the outstanding ping went to the transport.
    pub fn ping_left(&mut self, now: Tick) {
        if self.ping == Ping::Queued {
            self.ping = Ping::Left;
            self.ping_at = self.ping_at.max(now);
        }
    }

    /// What to do now. Ask until it says [`Beat::None`].
    pub fn poll(&mut self, config: &HeartbeatConfig, now: Tick, line: &Line) -> Beat {
        if self.ping == Ping::Dead {
            return Beat::None;
        }
        if line.pending == 0 {
            // Whatever was queued has left.
            self.ping_left(now);
        }
        if let Some((at, death)) = self.death(config, line)
            && now >= at
        {
            self.ping = Ping::Dead;
            return Beat::Dead(death);
        }
        if self.ping_due(config).is_some_and(|at| now >= at) {
            self.ping = Ping::Queued;
            self.ping_at = now;
            return Beat::Ping;
        }
        let silent = self.intervals_of_silence(config, now);
        if silent > self.said.max(1) {
            self.said = silent;
            return Beat::Suspect(silent);
        }
        Beat::None
    }

    /// When [`Heartbeat::poll`] is due next, while `line` stays as it is.
    #[must_use]
    pub fn deadline(&self, config: &HeartbeatConfig, line: &Line) -> Option<Tick> {
        if self.ping == Ping::Dead {
            return None;
        }
        let death = self.death(config, line).map(|(at, _)| at);
        [death, self.ping_due(config), self.suspect_due(config)].into_iter().flatten().min()
    }

    /// This process did not run for `gap`: that time was nobody's silence.
    pub fn stalled(&mut self, gap: Duration) {
        self.last_rx = self.last_rx + gap;
        self.life = self.life + gap;
        self.ping_at = self.ping_at + gap;
    }

    /// When the last byte came in.
    #[must_use]
    pub const fn last_received(&self) -> Tick {
        self.last_rx
    }

    /// When and of what the peer dies if nothing changes.
    fn death(&self, config: &HeartbeatConfig, line: &Line) -> Option<(Tick, Death)> {
        let stalled = rule(config.stall)
            .filter(|_| line.pending > 0)
            .and_then(|stall| line.progress.0.checked_add(stall))
            .map(|at| (Tick(at), Death::Stalled));
        let silent = rule(config.timeout).and_then(|timeout| {
            let silent = self.life.0.checked_add(timeout)?;
            if rule(config.interval).is_none() {
                return Some((Tick(silent), Death::Silent));
            }
            // It is our turn to ask first, and the question has to be out.
            if self.ping != Ping::Left {
                return None;
            }
            let no_pong = self.ping_at.max(self.life).0.checked_add(nanos(config.pong))?;
            Some((Tick(silent.max(no_pong)), Death::NoPong))
        });
        [stalled, silent].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn ping_due(&self, config: &HeartbeatConfig) -> Option<Tick> {
        let interval = rule(config.interval)?;
        match self.ping {
            Ping::First => Some(self.ping_at),
            Ping::None => self.last_rx.0.checked_add(interval).map(Tick),
            Ping::Queued | Ping::Left | Ping::Dead => None,
        }
    }

    fn suspect_due(&self, config: &HeartbeatConfig) -> Option<Tick> {
        let next = self.said.max(1).checked_add(1)?;
        let silence = rule(config.interval)?.checked_mul(u64::from(next))?;
        self.life.0.checked_add(silence).map(Tick)
    }

    fn intervals_of_silence(&self, config: &HeartbeatConfig, now: Tick) -> u8 {
        let silence = elapsed(now, self.life);
        let intervals = rule(config.interval).map_or(0, |interval| silence / interval);
        u8::try_from(intervals).unwrap_or(u8::MAX)
    }
}

/// A span that is not switched off, in ns.
fn rule(span: Duration) -> Option<u64> {
    Some(nanos(span)).filter(|ns| *ns > 0)
}

impl From<Heartbeat> for [u64; 4] {
    fn from(state: Heartbeat) -> Self {
        [
            state.last_rx.0,
            state.life.0,
            state.ping_at.0,
            u64::from(state.said) << 8 | state.ping as u64,
        ]
    }
}

impl From<[u64; 4]> for Heartbeat {
    fn from(words: [u64; 4]) -> Self {
        let [last_rx, life, ping_at, rest] = words;
        let ping = match rest & 0xff {
            0 => Ping::First,
            1 => Ping::None,
            2 => Ping::Queued,
            3 => Ping::Left,
            _ => Ping::Dead,
        };
        let [last_rx, life, ping_at] = [last_rx, life, ping_at].map(Tick);
        Self { last_rx, life, ping_at, ping, said: (rest >> 8) as u8 }
    }
}
