//! What a server took in before it went away is answered.

use super::{Check, by_link, order};
use crate::trial::Run;
use crate::violation::Violation;
use crate::workload::Workload;

/// A server that ends a connection of its own accord (a drain) has answered everything that it
/// had taken in by then, unless that connection failed visibly. Callers cannot judge this: they
/// do not know how much the server had read.
#[derive(Clone, Copy, Debug)]
pub struct Delivered;

impl<W: Workload> Check<W> for Delivered {
    fn check(&self, run: &Run<'_, W>) -> Result<u64, Violation> {
        for (link, ops) in by_link(run) {
            let transcript = &run.transcripts()[link.0 as usize];
            let Some(drained) = transcript.drained.filter(|_| transcript.in_peace) else {
                continue;
            };
            if run.tainted(link) {
                continue;
            }
            let (answers, refused) = order::said(run, link, &ops)?;
            if refused {
                continue;
            }
            // Of several with one id, an answer may be any one's: they are counted.
            let due = ops.iter().filter(|op| !op.silent && op.bytes.end <= drained).count();
            let answered = answers.iter().flatten().count();
            if answered < due {
                let text = format!(
                    "link {}: {due} requests were taken in before the drain, and {answered} answered",
                    link.0
                );
                return Err(Violation::new("drain", text));
            }
        }
        Ok(0)
    }

    fn needs_transcripts(&self) -> bool {
        true
    }
}
