//! What a sudoku server promises about time.

use super::work::{Reply, Request, Sudoku};
use crate::check::{Check, answers, by_link};
use crate::fault::Fault;
use crate::serve::LONGEST_JOB;
use crate::trial::Run;
use crate::violation::Violation;
use crate::workload::Outcome;
use core::time::Duration;

/// The longest job of the simulator's host, and how late its loop may be.
const SERVICE: Duration = LONGEST_JOB.saturating_add(Duration::from_millis(50));

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
                // A board that is refused by its beginning may be answered before its end is read.
                let took = Duration::from_nanos(call.now.saturating_sub(fed.now));
                if took > deadline + SERVICE {
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

/// A server that has nothing to do takes a board.
#[derive(Clone, Copy, Debug)]
pub struct TakesOne;

impl Check<Sudoku> for TakesOne {
    fn check(&self, run: &Run<'_, Sudoku>) -> Result<u64, Violation> {
        if time_was_tampered_with(run) {
            return Ok(0);
        }
        let mut last = None;
        for op in run.history {
            if !matches!(op.request, Request::Board { .. }) {
                continue;
            }
            let idle = last.is_none_or(|last| op.invoked >= last + Duration::from_secs(1));
            // What is on its way later than its caller may come when it likes.
            let (Outcome::Answered(reply), Some(returned)) = (&op.outcome, op.returned) else {
                return Ok(0);
            };
            let alone = run.history.iter().all(|other| {
                core::ptr::eq(other, op)
                    || other.invoked >= returned
                    || other.returned.is_some_and(|at| at <= op.invoked)
                    || !matches!(other.request, Request::Board { .. })
            });
            let guesses = run.transcripts()[op.link.0 as usize].remark as u32;
            if *reply == Reply::TooBusy && idle && alone && guesses >= 10_000 {
                let text = format!("operation {}.{} was refused at leisure", op.caller, op.number);
                return Err(Violation::new("shed", text));
            }
            last = last.max(Some(returned));
        }
        Ok(0)
    }

    fn needs_transcripts(&self) -> bool {
        true
    }
}

fn time_was_tampered_with(run: &Run<'_, Sudoku>) -> bool {
    let matrix = run.world.matrix();
    let faults = [Fault::Freeze, Fault::Clock];
    faults.iter().any(|fault| matrix.phases().iter().any(|phase| matrix.hits(*fault, phase) > 0))
}
