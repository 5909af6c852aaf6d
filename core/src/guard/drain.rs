//! Drain: how a server goes away without losing a request.
//!
//! **Decides** the order of a shutdown or restart, with a last moment for each step:
//!
//! ```text
//!   Serving ── start ──► announcing ──────► refusing ─────────► closing ────────► Done
//!                        all told, or       nothing in flight,  no connection
//!                        `announce`         or `grace`          left
//!                            └────────── `hard` at the latest: Abort ──────────────►
//! ```
//!
//! *Announcing*: heartbeats and health answers carry the draining flag, everything is still
//! served; clients move. *Refusing*: new work gets a "not executed, retry elsewhere", what is in
//! flight finishes. *Closing*: connections are closed evenly over `spread`, so that their owners
//! do not all reconnect to the next server at once. Peers that understand no announcement are
//! given the same time by silence: stop the heartbeats for `announce`.
//!
//! **Units**: [`Tick`], [`Duration`], connections. **Work**: constant. **Deadline**:
//! [`Drain::deadline`].
//!
//! **Sources**: NATS lame duck mode (closes spread over the time left); gRPC GOAWAY (RFC 9113
//! 6.8); S. Chen, "Linux multi-threaded server programming", 9.3 (stop the heartbeats first).
//!
//! ```
//! use drywire::Tick;
//! use drywire::guard::{Drain, DrainConfig, DrainStep, InFlight};
//! use core::time::Duration;
//!
//! let config = DrainConfig::DEFAULT;
//! let mut drain = Drain::new();
//! let now = Tick::from_secs(100);
//! drain.start(now);
//! let load = InFlight { requests: 3, conns: 2, ..InFlight::NONE };
//! assert_eq!(drain.poll(&config, now, &load), DrainStep::Announce);
//! assert_eq!(drain.poll(&config, now, &load), DrainStep::None);
//! // Both clients have answered that they moved.
//! let load = InFlight { acked: 2, ..load };
//! assert_eq!(drain.poll(&config, now, &load), DrainStep::RefuseNew);
//! assert!(!drain.accepts());
//! // The last answer is out, the connections can go, the first one at once.
//! let load = InFlight { requests: 0, ..load };
//! assert_eq!(drain.poll(&config, now, &load), DrainStep::Close(1));
//! assert_eq!(drain.poll(&config, now, &InFlight::NONE), DrainStep::Done);
//! ```

use crate::guard::elapsed;
use crate::tick::{Tick, nanos};
use core::time::Duration;

/// How long each step may take. Configuration of [`Drain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainConfig {
    /// Serving on while clients are told. Default 5 s: two of their health checks.
    pub announce: Duration,
    /// Refusing new work while what is in flight finishes. Default 10 s.
    pub grace: Duration,
    /// Closing the connections, evenly. Default 5 s.
    pub spread: Duration,
    /// Everything together. Default 25 s: less than the 30 s after which supervisors kill.
    pub hard: Duration,
}

impl DrainConfig {
    /// Defaults.
    pub const DEFAULT: Self = Self {
        announce: Duration::from_secs(5),
        grace: Duration::from_secs(10),
        spread: Duration::from_secs(5),
        hard: Duration::from_secs(25),
    };
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What is still there. Input of [`Drain::poll`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    /// Requests accepted and not answered.
    pub requests: usize,
    /// Open connections.
    pub conns: usize,
    /// Those of them that were told to close already.
    pub closing: usize,
    /// Those of them that acknowledged the announcement, or need none.
    pub acked: usize,
}

impl InFlight {
    /// Nothing is left.
    pub const NONE: Self = Self { requests: 0, conns: 0, closing: 0, acked: 0 };
}

/// What to do next.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainStep {
    /// Nothing until the deadline, or until the numbers change.
    None,
    /// Tell everybody, and go on serving. Once.
    Announce,
    /// Refuse new connections and new requests, not executed. Once.
    RefuseNew,
    /// Close this many more connections, each after what it is owed.
    Close(usize),
    /// Time is up: end everything that is left, visibly. Once.
    Abort,
    /// Exit. Once.
    Done,
}

/// The state of one server: 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    started: Tick,
    /// When the phase began.
    since: Tick,
    /// Connections to be closed when closing began.
    conns: usize,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Starting,
    Announcing,
    Refusing,
    Closing,
    Aborted,
    Done,
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl Drain {
    /// A server that serves.
    #[must_use]
    pub const fn new() -> Self {
        Self { started: Tick::ZERO, since: Tick::ZERO, conns: 0, phase: Phase::Serving }
    }

    /// The server is to go away. Only the first call counts.
    pub fn start(&mut self, now: Tick) {
        if self.phase == Phase::Serving {
            *self = Self { started: now, since: now, conns: 0, phase: Phase::Starting };
        }
    }

    /// What to do now. Ask until it says [`DrainStep::None`]; at the deadline, and whenever the
    /// numbers changed.
    pub fn poll(&mut self, config: &DrainConfig, now: Tick, load: &InFlight) -> DrainStep {
        let lasting = elapsed(now, self.since);
        match self.phase {
            Phase::Serving | Phase::Done => DrainStep::None,
            Phase::Aborted => self.enter(Phase::Done, now, DrainStep::Done),
            _ if elapsed(now, self.started) >= nanos(config.hard) => {
                self.enter(Phase::Aborted, now, DrainStep::Abort)
            }
            Phase::Starting => self.enter(Phase::Announcing, now, DrainStep::Announce),
            Phase::Announcing => {
                if load.acked >= load.conns || lasting >= nanos(config.announce) {
                    self.enter(Phase::Refusing, now, DrainStep::RefuseNew)
                } else {
                    DrainStep::None
                }
            }
            Phase::Refusing => {
                if load.requests == 0 || lasting >= nanos(config.grace) {
                    self.conns = load.conns;
                    let _ = self.enter(Phase::Closing, now, DrainStep::None);
                    self.close(config, now, load)
                } else {
                    DrainStep::None
                }
            }
            Phase::Closing => self.close(config, now, load),
        }
    }

    /// When [`Drain::poll`] is due next, while the numbers stay as they are.
    #[must_use]
    pub fn deadline(&self, config: &DrainConfig, load: &InFlight) -> Option<Tick> {
        let step = match self.phase {
            Phase::Serving | Phase::Done => return None,
            Phase::Starting | Phase::Aborted => return Some(self.since),
            Phase::Announcing => self.since.0.checked_add(nanos(config.announce)),
            Phase::Refusing => self.since.0.checked_add(nanos(config.grace)),
            Phase::Closing => self.next_close(config, load),
        };
        let hard = self.started.0.checked_add(nanos(config.hard));
        [step, hard].into_iter().flatten().min().map(Tick)
    }

    /// Whether new connections and requests are taken.
    #[must_use]
    pub fn accepts(&self) -> bool {
        self.phase < Phase::Refusing
    }

    /// Whether heartbeats and health answers carry the draining flag.
    #[must_use]
    pub fn announces(&self) -> bool {
        self.phase > Phase::Serving
    }

    fn close(&mut self, config: &DrainConfig, now: Tick, load: &InFlight) -> DrainStep {
        if load.requests == 0 && load.conns == 0 {
            return self.enter(Phase::Done, now, DrainStep::Done);
        }
        // At the first moment one closes, at the last all are.
        let spread = u128::from(nanos(config.spread));
        let passed = u128::from(elapsed(now, self.since));
        let left = spread.saturating_sub(passed + 1) * self.conns as u128;
        let may_stay = left.checked_div(spread).map_or(0, |n| n as usize);
        let open = load.conns.saturating_sub(load.closing);
        match open.saturating_sub(may_stay) {
            0 => DrainStep::None,
            n => DrainStep::Close(n),
        }
    }

    /// The first moment at which one connection fewer may stay.
    fn next_close(&self, config: &DrainConfig, load: &InFlight) -> Option<u64> {
        let open = load.conns.saturating_sub(load.closing);
        if open == 0 {
            return None;
        }
        let spread = u128::from(nanos(config.spread));
        // The most time left for which left * conns / spread < open, as `close` counts it.
        let left = (spread * open as u128).div_ceil(self.conns.max(1) as u128);
        let passed = spread.saturating_sub(left);
        self.since.0.checked_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    fn enter(&mut self, phase: Phase, now: Tick, step: DrainStep) -> DrainStep {
        self.phase = phase;
        self.since = now;
        step
    }
}

impl From<Drain> for [u64; 4] {
    fn from(state: Drain) -> Self {
        [state.started.0, state.since.0, state.conns as u64, state.phase as u64]
    }
}

impl From<[u64; 4]> for Drain {
    fn from(words: [u64; 4]) -> Self {
        let [started, since, conns, phase] = words;
        let phase = match phase {
            0 => Phase::Serving,
            1 => Phase::Starting,
            2 => Phase::Announcing,
            3 => Phase::Refusing,
            4 => Phase::Closing,
            5 => Phase::Aborted,
            _ => Phase::Done,
        };
        let conns = usize::try_from(conns).unwrap_or(usize::MAX);
        Self { started: Tick(started), since: Tick(since), conns, phase }
    }
}
