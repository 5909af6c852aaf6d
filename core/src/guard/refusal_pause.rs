//! The pause after a refusal: who was refused is served a moment later, so that refusing gets cheap.
//!
//! **Decides** when a connection is read again, and written to again, after a request of it was
//! refused. Under overload most requests are refused, and one that comes alone costs a read and a
//! write whatever it is told: an order of magnitude more than looking at it. What comes during the
//! pause gathers outside, what is answered meanwhile gathers inside, and all of it takes one read
//! and one write. The same pause slows down a client that asks again as soon as it was refused.
//!
//! Only where refusing is a burden: [`RefusalWindow`] counts what is refused on all connections in
//! spans as long as a pause, and says that there is one only if it was `from` or more in this span
//! or the one before. A refusal among few is told and forgotten; a server that keeps up never
//! waits. All pauses end with their span, so that all who were refused are served in one go, and
//! the work between is not interrupted.
//!
//! The refusal itself is written before the pause is a pause for output, so are those in it of
//! what had been read already, and these do not prolong it. So a request waits
//! at most one pause before it is looked at, and its answer at most one more: choose it below the
//! time within which refusals are to come, and subtract twice of it from the deadline that
//! [`Admission`](crate::guard::Admission) is given.
//!
//! **Units**: [`Tick`], [`Duration`]. **Work**: constant. **Deadline**: the end of the pause.
//!
//! **Sources**: interrupt moderation of network cards and Linux' NAPI (poll instead of one
//! interrupt a packet, only under load); J. Mogul and K. Ramakrishnan, "Eliminating receive livelock
//! in an interrupt-driven kernel", 1997.
//!
//! ```
//! use drywire::Tick;
//! use drywire::guard::{RefusalPause, RefusalWindow};
//! use core::time::Duration;
//!
//! let (length, from) = (Duration::from_millis(2), 3);
//! let mut window = RefusalWindow::new();
//! let mut pause = RefusalPause::new();
//! let end = window.refused(length, from, 2, Tick::from_millis(10));
//! pause.refused(end);
//! assert!(!pause.holds_input(), "two refusals are no burden");
//! let end = window.refused(length, from, 1, Tick::from_millis(11));
//! pause.refused(end);
//! assert!(pause.holds_input() && !pause.holds_output(), "the refusal is still to be sent");
//! pause.drained();
//! assert!(pause.holds_output());
//! assert_eq!(pause.deadline(), Some(Tick::from_millis(12)));
//! pause.poll(Tick::from_millis(12));
//! assert!(!pause.holds_input() && !pause.holds_output());
//! ```

use crate::tick::Tick;
use core::time::Duration;

/// What is refused on all connections together, in spans as long as a pause: 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusalWindow {
    /// When this span ends; zero before the first.
    end: Tick,
    /// Refusals in the span before, and in this one.
    before: u32,
    count: u32,
}

impl Default for RefusalWindow {
    fn default() -> Self {
        Self::new()
    }
}

impl RefusalWindow {
    /// Nobody was refused.
    #[must_use]
    pub const fn new() -> Self {
        Self { end: Tick::ZERO, before: 0, count: 0 }
    }

    /// So many requests were refused, which came in one read. When whoever sent them is served
    /// again: at the end of the span, at most `length` from now; `None`: at once, because there
    /// were less than `from` of them in this span and in the one before. A `length` of zero is
    /// off, and so is one whose end no [`Tick`] can name.
    #[inline]
    pub fn refused(
        &mut self,
        length: Duration,
        from: u32,
        requests: u32,
        now: Tick,
    ) -> Option<Tick> {
        if length.is_zero() {
            return None;
        }
        let longest = now + length;
        if now >= self.end || self.end > longest {
            // One span follows the other while somebody is refused in each: a loop that comes a
            // little late to the end of the pauses shortens the next, it does not shift all.
            let next = self.end + length;
            let follows = now >= self.end && next > now && self.end != Tick::ZERO;
            (self.end, self.before) = if follows { (next, self.count) } else { (longest, 0) };
            self.count = 0;
        }
        self.count = self.count.saturating_add(requests);
        self.pauses_until(from, now)
    }

    /// When the pause of whoever would be refused now ends; `None` if there would be none.
    #[inline]
    #[must_use]
    pub fn pauses_until(&self, from: u32, now: Tick) -> Option<Tick> {
        let burden = self.count.max(self.before) >= from;
        (burden && now < self.end && self.end != Tick::MAX).then_some(self.end)
    }
}

/// The state of one connection: 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusalPause {
    /// [`Tick::MAX`] if there is no pause.
    until: Tick,
    /// What was there to be sent when it began is sent.
    drained: bool,
}

impl Default for RefusalPause {
    fn default() -> Self {
        Self::new()
    }
}

impl RefusalPause {
    /// No pause.
    #[must_use]
    pub const fn new() -> Self {
        Self { until: Tick::MAX, drained: false }
    }

    /// A request was refused: a pause until `end` begins, unless there is one already or
    /// [`RefusalWindow::refused`] said that there is none.
    #[inline]
    pub const fn refused(&mut self, end: Option<Tick>) {
        // One more in it, of what had been read already: it is not held back either.
        self.drained = false;
        if let Some(end) = end
            && !self.holds_input()
        {
            self.until = end;
        }
    }

    /// All output is sent: what comes from now on waits for the end of the pause.
    #[inline]
    pub const fn drained(&mut self) {
        self.drained = true;
    }

    /// Ends the pause if its time has come.
    #[inline]
    pub fn poll(&mut self, now: Tick) {
        if self.until <= now {
            self.until = Tick::MAX;
        }
    }

    /// Whether the connection is not to be read.
    #[inline]
    #[must_use]
    pub const fn holds_input(&self) -> bool {
        self.until.0 != Tick::MAX.0
    }

    /// Whether the connection is not to be written to.
    #[inline]
    #[must_use]
    pub const fn holds_output(&self) -> bool {
        self.holds_input() && self.drained
    }

    /// When the pause ends; `None` if there is none.
    #[inline]
    #[must_use]
    pub const fn deadline(&self) -> Option<Tick> {
        if self.holds_input() { Some(self.until) } else { None }
    }
}

impl From<RefusalWindow> for [u64; 2] {
    fn from(state: RefusalWindow) -> Self {
        [state.end.0, u64::from(state.before) << 32 | u64::from(state.count)]
    }
}

impl From<[u64; 2]> for RefusalWindow {
    fn from(words: [u64; 2]) -> Self {
        let [end, counts] = words;
        Self { end: Tick(end), before: (counts >> 32) as u32, count: counts as u32 }
    }
}

impl From<RefusalPause> for [u64; 2] {
    fn from(state: RefusalPause) -> Self {
        [state.until.0, u64::from(state.drained)]
    }
}

impl From<[u64; 2]> for RefusalPause {
    fn from(words: [u64; 2]) -> Self {
        let [until, drained] = words;
        Self { until: Tick(until), drained: drained & 1 == 1 }
    }
}
