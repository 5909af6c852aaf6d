//! The rules of overload and liveness, as pure functions.
//!
//! Each policy is a small state, a configuration and an input that contains the time: no clock,
//! no random source (a `u64` comes in where one is needed), no allocation, integers only. None
//! panics, whatever the numbers; arithmetic saturates, and a clock that goes backwards counts as
//! standing still. A policy that waits for a moment says which one, and polling it any earlier
//! changes nothing: polling at its deadlines is the same as polling all the time.
//!
//! | the problem | the policy |
//! |---|---|
//! | more requests than can be served in time | [`Admission`]: refuse at the door by predicted wait, give up what waited too long |
//! | a peer sends faster than it is served | [`ReadGate`]: stop reading, with hysteresis; a share per turn |
//! | a peer does not read its answers | [`OutGate`]: bytes, bytes for a time, no progress |
//!
//! ```text
//!               ┌──────────┐   ┌───────────┐            ┌─────────┐
//!   requests ──►│ ReadGate ├──►│ Admission ├──► queue ─►│ workers │
//!               └────▲─────┘   └────┬──────┘     │      └────┬────┘
//!                    │ full         │ shed       │ expired   │
//!                    │              ▼            ▼           ▼
//!   answers ◄──[OutGate]◄───────────────── unsent output ◄───┘
//! ```

pub mod admit;
pub mod out_gate;
pub mod read_gate;

pub use admit::{Admission, Admit, AdmitConfig, Ask, CLASSES, Dequeue, ShedReason, Waited};
pub use out_gate::{Kick, OutGate, OutGateConfig, OutOffer, WhenFull};
pub use read_gate::{Band, Buffered, Full, Read, ReadGate, ReadGateConfig};

use crate::tick::Tick;

/// Nanoseconds from `since` to `now`; zero if the clock went backwards.
const fn elapsed(now: Tick, since: Tick) -> u64 {
    now.0.saturating_sub(since.0)
}

/// `share` percent of `n`.
const fn percent(n: u64, share: u8) -> u64 {
    (n as u128 * share as u128 / 100) as u64
}
