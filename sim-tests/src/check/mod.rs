//! What must hold when a run is over, beyond what the world and the callers check all the time.

mod wgl;

pub use wgl::{Decided, Entry, Spec, linearize};

use crate::trial::Run;
use crate::violation::Violation;
use crate::workload::Workload;

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
