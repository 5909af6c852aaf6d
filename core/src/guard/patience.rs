//! Patience with a peer that is slow to ask: the idle limit and the whole-request deadline.
//!
//! **Decides** when a connection that does nothing, or that never finishes what it began, is
//! ended. A limit per read does not stop a peer that sends one byte a second; so the second limit
//! runs from the first byte of a request to its last.
//!
//! | the connection | limit | cause |
//! |---|---|---|
//! | between requests, nothing owed | `idle` since then | [`Lapse::Idle`] |
//! | inside a request | `request` since its first byte | [`Lapse::Request`] |
//! | owed an answer, or answers not taken yet | none here: the server's own bound, the output gate | – |
//!
//! **Units**: [`Tick`], [`Duration`]. **Work**: constant. **Deadline**: [`Patience::deadline`].
//!
//! **Sources**: memcached's `idle_timeout`; nginx `client_header_timeout` (the whole header) in
//! contrast to `client_body_timeout` (one read).
//!
//! ```
//! use drywire::Tick;
//! use drywire::guard::{Lapse, Patience, PatienceConfig, Progress};
//! use core::time::Duration;
//!
//! let config = PatienceConfig { idle: Duration::from_secs(60), request: Duration::from_secs(5) };
//! let mut patience = Patience::new(Tick::ZERO);
//! // One byte a second of a request that never ends.
//! for s in 10..15 {
//!     patience.observe(Tick::from_secs(s), Progress::Partial);
//!     assert_eq!(patience.poll(&config, Tick::from_secs(s)), None);
//! }
//! assert_eq!(patience.deadline(&config), Some(Tick::from_secs(15)));
//! assert_eq!(patience.poll(&config, Tick::from_secs(15)), Some(Lapse::Request));
//! ```

use crate::guard::elapsed;
use crate::tick::{Tick, nanos};
use core::time::Duration;

/// The limits. Configuration of [`Patience`]. [`Duration::ZERO`] switches one off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatienceConfig {
    /// Between two requests.
    pub idle: Duration,
    /// From the first byte of a request to its last.
    pub request: Duration,
}

/// Where the connection is after some input, or after an answer left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Between requests, and nothing is owed or unsent.
    Idle,
    /// Inside the same request as before.
    Partial,
    /// Inside a request, and at least one was finished since the last look.
    NextPartial,
    /// An answer is owed or not taken yet.
    Busy,
}

/// Which limit was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lapse {
    /// It was idle for too long.
    Idle,
    /// A request took too long to arrive.
    Request,
}

/// The state of one connection: 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    since: Tick,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Request,
    Busy,
    Over,
}

impl Patience {
    /// A connection that begins now, idle.
    #[must_use]
    pub const fn new(now: Tick) -> Self {
        Self { since: now, phase: Phase::Idle }
    }

    /// Bytes came in or went out, and this is where that left the connection. Idle input (an
    /// empty line, a ping) starts the idle time anew.
    pub fn observe(&mut self, now: Tick, progress: Progress) {
        if self.phase == Phase::Over {
            return;
        }
        let phase = match progress {
            Progress::Idle => Phase::Idle,
            Progress::Partial | Progress::NextPartial => Phase::Request,
            Progress::Busy => Phase::Busy,
        };
        if progress != Progress::Partial || self.phase != Phase::Request {
            self.since = self.since.max(now);
        }
        self.phase = phase;
    }

    /// Whether a limit is broken now: said once, nothing follows.
    #[must_use]
    pub fn poll(&mut self, config: &PatienceConfig, now: Tick) -> Option<Lapse> {
        let (limit, lapse) = self.limit(config)?;
        if elapsed(now, self.since) < limit {
            return None;
        }
        self.phase = Phase::Over;
        Some(lapse)
    }

    /// When [`Patience::poll`] is due.
    #[must_use]
    pub fn deadline(&self, config: &PatienceConfig) -> Option<Tick> {
        let (limit, _) = self.limit(config)?;
        self.since.0.checked_add(limit).map(Tick)
    }

    /// This process did not run for `gap`: that time does not count.
    pub fn stalled(&mut self, gap: Duration) {
        self.since = self.since + gap;
    }

    fn limit(&self, config: &PatienceConfig) -> Option<(u64, Lapse)> {
        let (limit, lapse) = match self.phase {
            Phase::Idle => (config.idle, Lapse::Idle),
            Phase::Request => (config.request, Lapse::Request),
            Phase::Busy | Phase::Over => return None,
        };
        Some((nanos(limit), lapse)).filter(|(limit, _)| *limit > 0)
    }
}

impl From<Patience> for [u64; 2] {
    fn from(state: Patience) -> Self {
        [state.since.0, state.phase as u64]
    }
}

impl From<[u64; 2]> for Patience {
    fn from(words: [u64; 2]) -> Self {
        let [since, phase] = words;
        let phase = match phase {
            0 => Phase::Idle,
            1 => Phase::Request,
            2 => Phase::Busy,
            _ => Phase::Over,
        };
        Self { since: Tick(since), phase }
    }
}
