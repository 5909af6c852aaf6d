//! What a sudoku server promises about time.

use super::work::{Reply, Request, Sudoku};
use crate::check::{Check, answers, by_link, time_was_tampered_with};
use crate::serve::LONGEST_JOB;
use crate::trial::Run;
use crate::violation::Violation;
use crate::workload::Outcome;
use core::time::Duration;
use std::collections::BTreeMap;

/// The longest job by the server's clock, which may be a fifth too fast, and how late the host's
/// loop may be.
fn service() -> Duration {
    LONGEST_JOB * 6 / 5 + Duration::from_millis(50)
}

/// A board is answered, one way or the other, before a client with the server's deadline has given
/// up, by the server's clock: it waits no longer than that for a worker, and is then solved or
/// refused. Where the server is frozen or its clock moved, nothing is promised; nor where a board
/// waits in the connection (behind one without an id, or for a share of small limits).
#[derive(Clone, Copy, Debug)]
pub struct Prompt;

impl Check<Sudoku> for Prompt {
    fn check(&self, run: &Run<'_, Sudoku>) -> Result<u64, Violation> {
        if time_was_tampered_with(run) {
            return Ok(0);
        }
        for (link, ops) in by_link(run) {
            let transcript = &run.transcripts()[link.0 as usize];
            let deadline = Duration::from_millis(transcript.remark >> 32);
            let nameless = |r: &Request| matches!(r, Request::Board { id, .. } if id.is_empty());
            if deadline.is_zero()
                || run.server_tainted(link)
                || ops.iter().any(|op| nameless(&op.request))
            {
                continue;
            }
            for (op, answer) in ops.iter().zip(answers(run, link, &ops)?) {
                let (Some((reply, call)), Some(fed)) = (answer, transcript.feeding(op.bytes.end))
                else {
                    continue;
                };
                // Of several with one id, any of the answers may be this one's.
                let twins = ops.iter().filter(|other| other.request.id() == op.request.id());
                if op.request.id().is_some() && twins.count() > 1 {
                    continue;
                }
                // A board that is refused by its beginning may be answered before its end is read.
                let took = Duration::from_nanos(call.now.saturating_sub(fed.now));
                if took > deadline + service() {
                    return Err(Violation::new(
                        "deadline",
                        format!(
                            "operation {}.{} had to wait {took:?} for `{reply:?}`, and clients \
                             give up after {deadline:?}",
                            op.caller, op.number
                        ),
                    ));
                }
            }
        }
        Ok(0)
    }

    fn needs_transcripts(&self) -> bool {
        true
    }
}

/// A server that has nothing to do takes a board: of those that were answered by one life of a
/// server not all were refused.
#[derive(Clone, Copy, Debug)]
pub struct TakesOne;

impl Check<Sudoku> for TakesOne {
    fn check(&self, run: &Run<'_, Sudoku>) -> Result<u64, Violation> {
        if time_was_tampered_with(run) {
            return Ok(0);
        }
        // By life: boards, and those of them that were surely refused.
        let mut lives: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for op in run.history {
            let transcript = &run.transcripts()[op.link.0 as usize];
            // One that is given up may have been.
            if matches!(op.request, Request::Board { .. }) && transcript.remark as u32 >= 10_000 {
                let (boards, refused) = lives.entry(transcript.life).or_default();
                *boards += 1;
                *refused += u64::from(op.outcome == Outcome::Answered(Reply::TooBusy));
            }
        }
        match lives.iter().find(|(_, (boards, refused))| boards == refused) {
            None => Ok(0),
            Some((life, (boards, _))) => {
                let text = format!("life {life} refused each of its {boards} boards");
                Err(Violation::new("shed", text))
            }
        }
    }

    fn needs_transcripts(&self) -> bool {
        true
    }
}
