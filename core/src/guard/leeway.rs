//! How much later those that wait could begin.

use crate::tick::Tick;
use core::time::Duration;

/// A lower bound for all that are in a queue in which nobody waits longer than a span: the least
/// of those that came in the last two such spans. Whoever came before is gone. In ns, 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leeway {
    recent: u64,
    earlier: u64,
    /// From when on who was recent is earlier.
    turns_at: Tick,
}

impl Leeway {
    /// Of an empty queue.
    pub(super) const fn new() -> Self {
        Self { recent: u64::MAX, earlier: u64::MAX, turns_at: Tick::ZERO }
    }

    /// Forgets who is gone. To be called before the others.
    pub(super) fn observe(&mut self, now: Tick, span: Duration, empty: bool) {
        if empty || now >= self.turns_at {
            let earlier = if empty { u64::MAX } else { self.recent };
            *self = Self { recent: u64::MAX, earlier, turns_at: now + span };
        }
    }

    /// All that wait can begin so much later.
    pub(super) fn least(&self) -> u64 {
        self.recent.min(self.earlier)
    }

    /// One more waits, behind the others, and can begin so much later than it is expected to.
    pub(super) fn queued(&mut self, leeway: u64) {
        self.recent = self.recent.min(leeway);
    }

    /// All that wait will begin so much later than they were expected to.
    pub(super) fn delayed(&mut self, by: u64) {
        for leeway in [&mut self.recent, &mut self.earlier] {
            *leeway = leeway.saturating_sub(by);
        }
    }
}

impl From<Leeway> for [u64; 3] {
    fn from(state: Leeway) -> Self {
        [state.recent, state.earlier, state.turns_at.0]
    }
}

impl From<[u64; 3]> for Leeway {
    fn from([recent, earlier, turns_at]: [u64; 3]) -> Self {
        Self { recent, earlier, turns_at: Tick(turns_at) }
    }
}
