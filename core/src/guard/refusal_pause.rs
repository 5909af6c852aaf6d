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
//! waits.
//!
//! When a pause ends depends on what its host knows. One that learns of input by reading it has all
//! pauses end with their span, so that all who were refused are served in one go. One that is told of
//! input before it reads (epoll, kqueue) passes that on, and the input of whoever was refused
//! lately waits from when it came, however long that was after the refusal: as many reads less as there
//! are pauses in which nothing comes. These ends are on a grid of an eighth of a pause, so that they
//! too come together.
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

/// Into how many parts a pause is cut: pauses that begin at any time end at the bounds of these.
const GRID: u64 = 8;
/// So many reads in a row of which nothing was refused, and the next input is read at once. With one
/// it would be so after each moment in which the queue is short, at three times the capacity in
/// every fourth read; with two goodput is lower by a hundredth, with five it is not higher
/// (`core/tests/overload`).
const SERVED: u8 = 3;

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

    /// Until when input that came at `since` is left unread, if its connection was refused something
    /// lately: at most `length` from then, by less than an eighth of it sooner. `since` is now for
    /// what is still to come after a refusal. `None`: it is read at once, because there is no burden,
    /// or because it has waited for so long.
    #[inline]
    #[must_use]
    pub fn waits_until(&self, length: Duration, from: u32, since: Tick, now: Tick) -> Option<Tick> {
        // The span may be over, and nobody refused yet in the next one.
        let (spans, lately) = if now < self.end {
            (self.end, self.count.max(self.before))
        } else {
            (self.end + length, self.count)
        };
        if lately < from || now >= spans || spans == Tick::MAX {
            return None;
        }
        let (Tick(end), Tick(last)) = (self.end, since.min(now) + length);
        // The end of the span is on the grid.
        let step = ((Tick::ZERO + length).0 / GRID).max(1);
        let at = match last.checked_sub(end) {
            Some(after) => end + after / step * step,
            None => end.saturating_sub((end - last).div_ceil(step).saturating_mul(step)),
        };
        (at > now.0).then_some(Tick(at))
    }

    /// When the pause of whoever would be refused now ends, if it ends with the span; `None` if there
    /// would be none.
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
    /// Something was refused under a burden, less than [`SERVED`] reads ago: how many are missing.
    lately: u8,
    /// Input waits for the end of it.
    input: bool,
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
        Self { until: Tick::MAX, drained: false, lately: 0, input: false }
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
            (self.until, self.lately, self.input) = (end, SERVED, false);
        }
    }

    /// Input was read outside of a pause, and nothing of it refused. After three such reads in a row
    /// the next does not wait.
    #[inline]
    pub const fn served(&mut self) {
        if !self.holds_input() {
            self.lately = self.lately.saturating_sub(1);
        }
    }

    /// Input came, and all output is sent. If something was refused lately, it is left unread until
    /// `end`, as [`RefusalWindow::waits_until`] said; a pause that goes on longer is not cut
    /// short. For the first input that waits.
    #[inline]
    pub fn input_waits(&mut self, end: Option<Tick>) {
        let Some(end) = end.filter(|_| self.lately > 0 && !self.input) else { return };
        if self.holds_input() {
            self.until = self.until.max(end);
        } else {
            (self.until, self.drained) = (end, true);
        }
        self.input = true;
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
            (self.until, self.input) = (Tick::MAX, false);
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
        let flags = u64::from(state.drained) | u64::from(state.input) << 1;
        [state.until.0, flags | u64::from(state.lately) << 2]
    }
}

impl From<[u64; 2]> for RefusalPause {
    fn from(words: [u64; 2]) -> Self {
        let [until, flags] = words;
        let lately = (flags >> 2 & 3) as u8;
        Self { until: Tick(until), drained: flags & 1 == 1, input: flags & 2 == 2, lately }
    }
}
