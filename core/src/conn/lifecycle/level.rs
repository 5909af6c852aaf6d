//! What a connection wants and when it is due: facts, read off what is buffered and where it is.

use super::{Conn, Phase};
use crate::conn::{Deadline, Limits, Session, Stop, Wants};
use crate::engine::World;

impl<S: Session> Conn<S> {
    /// What the connection wants now.
    #[must_use]
    pub fn wants(&self, world: &World<S>) -> Wants {
        if self.phase == Phase::Over {
            return Wants::CLOSE;
        }
        let mut wants = Wants::NOTHING;
        if self.wants_read(world) {
            wants |= Wants::READ;
        }
        if self.wants_write(&world.limits) {
            wants |= Wants::WRITE;
        }
        if self.wants_again(world) || self.wants_refill(world) {
            wants |= Wants::AGAIN;
        }
        if self.phase == Phase::Draining && self.out.is_empty() && !self.owes() {
            wants |= Wants::SHUTDOWN;
        }
        wants
    }

    /// When [`Conn::tick`] is due next, and why.
    #[must_use]
    pub fn deadline(&self, limits: &Limits) -> Option<Deadline> {
        match self.phase {
            Phase::Open => {
                let own = self.session.as_ref().and_then(S::deadline);
                let slow = self.gate.deadline(&limits.output, self.out.len());
                let slow = slow.map(|at| Deadline { at, why: "slow reader" });
                let paused = self.pause.deadline().map(|at| Deadline { at, why: "refusal" });
                let all = [own, self.stalled(limits), slow, self.idle(limits), paused];
                all.into_iter().flatten().min()
            }
            Phase::Draining => self.stalled(limits),
            Phase::Lingering => Some(Deadline { at: self.since + limits.linger, why: "linger" }),
            Phase::Over => None,
        }
    }

    /// When a connection that nothing happens on is ended.
    pub(super) fn idle(&self, limits: &Limits) -> Option<Deadline> {
        if limits.idle.is_zero() || !self.out.is_empty() || self.owes() {
            return None;
        }
        let at = self.heard_at.max(self.taken_at) + limits.idle;
        Some(Deadline { at, why: "idle" })
    }

    /// When an ending connection whose peer takes no output is given up. While a job runs and
    /// nothing is there to be sent, the job's own bound applies.
    pub(super) fn stalled(&self, limits: &Limits) -> Option<Deadline> {
        (self.is_ending() && !self.out.is_empty()).then(|| {
            let since = self.since.max(self.gate.progress());
            Deadline { at: since + limits.drain_stall, why: "drain" }
        })
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ended || self.reason.is_some()
    }

    pub(super) fn owes(&self) -> bool {
        self.session.as_ref().is_some_and(|s| s.owes() || s.has_backlog())
    }

    /// Whether the session still hears of posts and wakes.
    pub(super) fn hears(&self) -> bool {
        match self.phase {
            Phase::Open => true,
            Phase::Draining => self.owes(),
            Phase::Lingering | Phase::Over => false,
        }
    }

    /// A function of what is buffered, never of remembered edges (I4).
    pub(super) fn wants_read(&self, world: &World<S>) -> bool {
        !self.ended
            && match self.phase {
                Phase::Open => {
                    self.reason.is_none()
                        && matches!(self.stop, Stop::NeedInput(_))
                        && !self.pause.holds_input()
                        && self.out.len() < world.marks().high
                }
                Phase::Lingering => true,
                Phase::Draining | Phase::Over => false,
            }
    }

    pub(super) fn wants_write(&self, limits: &Limits) -> bool {
        let held = self.phase == Phase::Open
            && self.pause.holds_output()
            && !self.ended
            && self.reason.is_none()
            && self.out.len() <= limits.output_low;
        !self.out.is_empty() && !held
    }

    pub(super) fn wants_again(&self, world: &World<S>) -> bool {
        self.phase == Phase::Open
            && match self.stop {
                Stop::Budget => self.out.len() < world.marks().high,
                Stop::OutputFull => self.out.len() <= world.marks().low,
                Stop::NeedInput(_) | Stop::Waiting | Stop::Closing => false,
            }
    }

    pub(super) fn wants_refill(&self, world: &World<S>) -> bool {
        self.hears()
            && (self.woken
                || self.out.len() <= world.marks().low
                    && self.session.as_ref().is_some_and(S::has_backlog))
    }
}
