//! What must hold when a run is over, beyond what the world and the callers check all the time.

mod delivered;
mod order;
mod wgl;

pub use delivered::Delivered;
pub use order::{Answers, OnLink, answers, by_link};
pub use wgl::{Decided, Entry, Spec, linearize};

use crate::fault::Fault;
use crate::trial::Run;
use crate::violation::Violation;
use crate::workload::Workload;
use core::time::Duration;

/// A rule about a finished run.
pub trait Check<W: Workload>: Send + Sync {
    /// Looks at the run. Returns how many questions it could not decide within its budget.
    ///
    /// # Errors
    /// The breach.
    fn check(&self, run: &Run<'_, W>) -> Result<u64, Violation>;

    /// It reads [`Run::transcripts`].
    fn needs_transcripts(&self) -> bool {
        false
    }
}

impl<W: Workload, F> Check<W> for F
where
    F: Fn(&Run<'_, W>) -> Result<u64, Violation> + Send + Sync,
{
    fn check(&self, run: &Run<'_, W>) -> Result<u64, Violation> {
        self(run)
    }
}

/// Whether the server was frozen or its clock moved: nothing is promised about its time then.
#[must_use]
pub fn time_was_tampered_with<W: Workload>(run: &Run<'_, W>) -> bool {
    was_hit(run, &[Fault::Freeze, Fault::Clock])
}

/// Whether one of `faults` hit.
#[must_use]
pub fn was_hit<W: Workload>(run: &Run<'_, W>, faults: &[Fault]) -> bool {
    let matrix = run.world.matrix();
    let hit = |fault| matrix.phases().iter().any(|phase| matrix.hits(fault, phase) > 0);
    faults.iter().any(|fault| run.world.befell(*fault) || hit(*fault))
}

/// A connection that is not heard for `after` is over, not before and at most `slack` later, by
/// the server's clock. Not for runs in which the server is frozen, replaced or its clock moved.
#[derive(Clone, Copy, Debug)]
pub struct SilentIsOver {
    /// The server's promise.
    pub after: Duration,
    /// How late it may be.
    pub slack: Duration,
}

impl<W: Workload> Check<W> for SilentIsOver {
    fn check(&self, run: &Run<'_, W>) -> Result<u64, Violation> {
        let wrong = |text: String| Err(Violation::new("deadline", text));
        for (link, transcript) in run.transcripts().iter().enumerate() {
            let mut heard = match transcript.calls.first() {
                Some(first) => first.now,
                None => continue,
            };
            let mut fed = 0;
            for call in &transcript.calls {
                // What it reads after it gave up is thrown away.
                let given_up = transcript.timed_out.is_some_and(|at| call.now >= at);
                if call.fed > fed && !given_up {
                    (heard, fed) = (call.now, call.fed);
                }
            }
            let due = heard + self.after.as_nanos() as u64;
            let late = due + self.slack.as_nanos() as u64;
            let over = transcript.over;
            if over.is_none_or(|at| at > late) && run.world.now().0 > late {
                return wrong(format!("link {link} was last heard at {heard} ns and is kept"));
            }
            if let Some(at) = transcript.timed_out
                && at < due
            {
                return wrong(format!("link {link} was heard at {heard} ns and reaped at {at} ns"));
            }
        }
        Ok(0)
    }

    fn needs_transcripts(&self) -> bool {
        true
    }
}
