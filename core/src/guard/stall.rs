//! The own-stall guard: was it the peers that were silent, or were we away?
//!
//! **Decides** whether this process did not run for a while (stopped, swapped out, stuck in one
//! callback): it woke up much later than it had asked to. Then everybody looks dead at once, and
//! nobody is. Shift what is measured against peers by the gap ([`Heartbeat::stalled`],
//! [`OutGate::stalled`], [`Patience::stalled`]), and declare nobody dead before everything
//! readable was read once.
//!
//! At most the time since the last look is given back, less `slack`: a loop that is always late
//! still gets older, and finds the dead in the end.
//!
//! **Units**: [`Tick`], [`Duration`]. **Work**: constant. **No deadline.**
//!
//! **Source**: A. Dadgar et al., "Lifeguard: local health awareness for more accurate failure
//! detection", 2018, reduced to one process that can watch its own clock.
//!
//! ```
//! use drywire::Tick;
//! use drywire::guard::StallGuard;
//! use core::time::Duration;
//!
//! let slack = Duration::from_millis(200);
//! let mut guard = StallGuard::new(Tick::ZERO);
//! // Asked to be woken at 5 s, and was: a long sleep is no stall.
//! assert_eq!(guard.woke(slack, Tick::from_secs(5), Some(Tick::from_secs(5))), None);
//! // Asked for 6 s, came back at 16 s.
//! let gap = guard.woke(slack, Tick::from_secs(16), Some(Tick::from_secs(6)));
//! assert_eq!(gap, Some(Duration::from_millis(10_800)));
//! ```
//!
//! [`Heartbeat::stalled`]: crate::guard::Heartbeat::stalled
//! [`OutGate::stalled`]: crate::guard::OutGate::stalled
//! [`Patience::stalled`]: crate::guard::Patience::stalled

use crate::guard::elapsed;
use crate::tick::{Tick, nanos};
use core::time::Duration;

/// The state of one loop: 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StallGuard {
    last: Tick,
}

impl StallGuard {
    /// A loop that begins now.
    #[must_use]
    pub const fn new(now: Tick) -> Self {
        Self { last: now }
    }

    /// The loop looks at the clock; it had asked to be woken at `due`, if at all. The gap to give
    /// back, if it comes more than `slack` too late. Without `due` nobody was waiting for a moment.
    #[must_use]
    pub fn woke(&mut self, slack: Duration, now: Tick, due: Option<Tick>) -> Option<Duration> {
        let away = elapsed(now, self.last);
        let late = due.map_or(0, |due| elapsed(now, due.max(self.last)));
        self.last = self.last.max(now);
        let slack = nanos(slack);
        (late > slack).then(|| Duration::from_nanos(away - slack))
    }

    /// Whether so little time has passed since the last look that [`StallGuard::woke`] can be left
    /// out; this counts as a look then. For loops that look often and would have to ask for `due`.
    #[inline]
    #[must_use]
    pub fn is_prompt(&mut self, slack: Duration, now: Tick) -> bool {
        let prompt = elapsed(now, self.last) <= nanos(slack);
        if prompt {
            self.last = self.last.max(now);
        }
        prompt
    }
}

impl From<StallGuard> for [u64; 1] {
    fn from(state: StallGuard) -> Self {
        [state.last.0]
    }
}

impl From<[u64; 1]> for StallGuard {
    fn from(words: [u64; 1]) -> Self {
        let [last] = words.map(Tick);
        Self { last }
    }
}
