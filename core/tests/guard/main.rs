//! The properties of the guard policies, for arbitrary traces and arbitrary numbers.

mod admit;
mod beat;
mod drain;
mod epoch;
mod extremes;
mod gates;
mod pause;
mod pick;
mod retry;

use drywire::Tick;
use std::time::Duration;

/// Nanoseconds: most traces count in single ticks, so that every moment can be tried.
pub(crate) const fn ns(n: u64) -> Duration {
    Duration::from_nanos(n)
}

/// Polls as often as allowed, or only when the policy says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polling {
    EveryTick,
    AtDeadlines,
}

impl Polling {
    pub(crate) const BOTH: [Self; 2] = [Self::EveryTick, Self::AtDeadlines];

    pub(crate) fn is_due(self, now: Tick, deadline: Option<Tick>) -> bool {
        self == Self::EveryTick || deadline.is_some_and(|at| now >= at)
    }
}
