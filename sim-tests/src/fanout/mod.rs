//! What the trials of chat and of the hub share: the shape of a fan-out server, what it promises
//! about those who do not read, and one order out of what many heard.

mod fate;
mod shape;
mod streams;

pub(crate) use fate::UNDER_WAY;
pub use fate::{Promise, behind, meets_its_fate, speaks_freely};
pub(crate) use shape::CONNECTIONS;
pub use shape::{Shape, phase};
pub use streams::{Item, Streams};

use crate::caller::Habits;
use crate::fault::{Covers, Fault, Faults, Rare};
use crate::trial::Trial;
use crate::workload::Workload;
use core::time::Duration;

const COVERS: Covers = Covers {
    phases: &[
        "opening", "idle", "message", "replying", "behind", "draining", "owing", "ending",
        "refused", "closed", "down",
    ],
    rare: &[
        Rare { phase: Rare::ANY, faults: &[Fault::Flip], why: "no bits are flipped" },
        Rare {
            phase: "draining",
            faults: Fault::OF_CALLERS,
            why: "nothing is asked on a connection that ends",
        },
        Rare {
            phase: "owing",
            faults: Fault::OF_CALLERS,
            why: "nothing is asked on a connection that ends",
        },
        Rare {
            phase: "behind",
            faults: Fault::OF_CALLERS,
            why: "who is behind does not read, and such a one seldom asks more",
        },
    ],
    seeds: 20_000,
};

/// What every client of a fan-out server does and meets: everything but bits flipped, which such a
/// server has no way to notice.
#[must_use]
pub fn crowd<W: Workload + 'static>(trial: Trial<W>) -> Trial<W> {
    // Long enough to hear what others say, and shorter than the silence between two pings or
    // two strokes of a clock, after which it would never go.
    let stay = Duration::from_millis(800);
    trial
        .habits(Habits { stay, ..Habits::default() })
        .faults(Faults::all().except(&[Fault::Flip]))
        .covers(COVERS)
}
