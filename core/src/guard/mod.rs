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
//! | refusing is dear | [`RefusalPause`]: who was refused is read a moment later, many at once |
//! | a peer does not read its answers | [`OutGate`]: bytes, bytes for a time, no progress |
//! | a peer never finishes its request, or never begins one | [`Patience`]: whole-request deadline, idle limit |
//! | a peer is gone and TCP does not say so | [`Heartbeat`]: one ping after silence, a deadline for the pong |
//! | the link is so bad that a fixed deadline is wrong | [`Phi`]: a deadline from what the link was like |
//! | a peer pings without end | [`PingFlood`]: paced pongs, strikes |
//! | this process itself was away | [`StallGuard`]: time that counts against nobody |
//! | this server has to go | [`Drain`]: announce, refuse, spread the closes, stop |
//! | the server refuses most of what we send | [`Throttle`]: do not send it |
//! | retries keep an overload alive | [`RetryBudget`]: a share of the requests |
//! | several servers, of different strength and health | [`pick()`] among [`Backend`]s |
//!
//! ```text
//!   client                                   server
//!   ┌────────────────────────┐               ┌──────────────────────────────────────────────────┐
//!   │ Throttle ─► pick ──────┼── requests ──►│ ReadGate ─► Admission ─► queue ─► workers        │
//!   │     ▲        ▲         │               │    ▲  Patience   │ shed    │ expired   │         │
//!   │ RetryBudget  Backend ◄─┼── answers ◄───┼─ OutGate ◄───────┴─────────┴───────────┘         │
//!   │                        │               │                                                  │
//!   │ Heartbeat, Phi ◄───────┼── beats ─────►│ Heartbeat, PingFlood ◄─ draining flag ─ Drain    │
//!   └────────────────────────┘               └──── StallGuard watches the loop itself ──────────┘
//! ```
//!
//! Each state is also a few plain numbers (`From` both ways), so that it can lie in memory that is
//! not Rust's, as the C interface has it; any numbers are a state.
//!
//! `docs/overload.md` says how they fit together and how to choose the numbers.

pub mod admit;
pub mod backend;
pub mod drain;
pub mod heartbeat;
mod leeway;
pub mod out_gate;
pub mod patience;
pub mod phi;
pub mod pick;
pub mod ping_flood;
pub mod read_gate;
pub mod refusal_pause;
pub mod retry;
pub mod stall;
pub mod throttle;

pub use admit::{Admission, Admit, AdmitConfig, Ask, CLASSES, Dequeue, ShedReason, Waited};
pub use backend::{Backend, BackendConfig, Outcome};
pub use drain::{Drain, DrainConfig, DrainStep, InFlight};
pub use heartbeat::{Beat, Death, Heartbeat, HeartbeatConfig, Line};
pub use out_gate::{Kick, OutGate, OutGateConfig, OutOffer, WhenFull};
pub use patience::{Lapse, Patience, PatienceConfig, Progress};
pub use phi::{Phi, PhiConfig};
pub use pick::{How, Pick, PickConfig, pick};
pub use ping_flood::{PeerPing, PingFlood, PingFloodConfig};
pub use read_gate::{Band, Buffered, Full, Read, ReadGate, ReadGateConfig};
pub use refusal_pause::{RefusalPause, RefusalWindow};
pub use retry::{Failed, Hedge, Retry, RetryBudget, RetryConfig};
pub use stall::StallGuard;
pub use throttle::{Throttle, ThrottleConfig, Throttled};

use crate::tick::Tick;

/// Nanoseconds from `since` to `now`; zero if the clock went backwards.
const fn elapsed(now: Tick, since: Tick) -> u64 {
    now.0.saturating_sub(since.0)
}

/// `share` percent of `n`.
const fn percent(n: u64, share: u8) -> u64 {
    (n as u128 * share as u128 / 100) as u64
}
