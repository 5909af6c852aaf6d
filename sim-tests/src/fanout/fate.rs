//! What a fan-out server promises about those who do not read, and about those who do.

use crate::check::{OnLink, by_link};
use crate::serve::LONGEST_MAIL;
use crate::transcript::Transcript;
use crate::trial::Run;
use crate::violation::Violation;
use crate::workload::{Op, Outcome, Workload};
use core::time::Duration;

/// What a server told its checkers about itself, in the remark of each transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// So long a peer that is to be kicked may take nothing before its connection is over.
    pub kicked: Duration,
    /// So long any other may.
    pub gone: Duration,
    /// Engines.
    pub loops: usize,
    /// Slow receivers may be served from disk.
    pub disk: bool,
    /// An unused topic outlives the run.
    pub lasting: bool,
    /// No limit on topics or subscriptions is met.
    pub roomy: bool,
    /// Whoever is slow gets the latest message of each key: its topics coalesce, and have room.
    pub keeps: bool,
    /// So little may be under way between its engines that each letter waits for the one before.
    pub narrow: bool,
}

/// Bits of a time in a remark, in milliseconds.
const TIME: u32 = 20;

impl Promise {
    /// As [`Serve::remark`](crate::Serve::remark) takes it.
    #[must_use]
    pub fn remark(&self) -> u64 {
        let flags = [self.narrow, self.disk, self.lasting, self.roomy, self.keeps];
        let flags = flags.iter().fold(self.loops as u64, |all, flag| all << 1 | u64::from(*flag));
        let ms = |time: Duration| time.as_millis() as u64 & ((1 << TIME) - 1);
        (flags << TIME | ms(self.gone)) << TIME | ms(self.kicked)
    }

    /// What the server of this transcript promised.
    #[must_use]
    pub fn of(transcript: &Transcript) -> Self {
        let remark = transcript.remark;
        let ms = |shift: u32| Duration::from_millis(remark >> shift & ((1 << TIME) - 1));
        let flag = |nth: u32| remark >> (2 * TIME + nth) & 1 == 1;
        Self {
            kicked: ms(0),
            gone: ms(TIME),
            loops: (remark >> (2 * TIME + 5)) as usize,
            narrow: flag(4),
            disk: flag(3),
            lasting: flag(2),
            roomy: flag(1),
            keeps: flag(0),
        }
    }
}

/// How late a host's loop may be, and a clock's reading.
const SLACK: Duration = Duration::from_millis(1);

/// What a value may have to wait for where each letter waits for the one before.
pub(crate) const UNDER_WAY: Duration = Duration::from_millis(700);

impl Promise {
    /// Something that is said is in its sender's output, or in a new receiver's, so soon: there,
    /// back, and as much for what was under way.
    #[must_use]
    pub fn soon(&self) -> Duration {
        let soon = LONGEST_MAIL * 8 + Duration::from_millis(20);
        if self.narrow { soon + UNDER_WAY } else { soon }
    }
}

/// Whether a peer was so slow that nothing is promised about its time.
#[must_use]
pub fn behind(transcript: &Transcript) -> bool {
    Duration::from_nanos(transcript.behind) > SLACK
}

/// The connection of a peer that takes nothing is over in time; `is_kicked` says for whom that is
/// the shorter one.
///
/// # Errors
/// One that was not.
pub fn meets_its_fate<W: Workload>(
    run: &Run<'_, W>,
    is_kicked: impl Fn(Option<&OnLink<'_, W>>) -> bool,
) -> Result<(), Violation> {
    let ops = by_link(run);
    for (link, transcript) in (0..).zip(run.transcripts()) {
        let promise = Promise::of(transcript);
        let patience = match is_kicked(ops.get(&crate::net::LinkId(link))) {
            true => promise.kicked,
            false => promise.gone,
        };
        let stuck = Duration::from_nanos(transcript.stuck);
        if stuck > patience + SLACK {
            let text = format!("link {link} took nothing for {stuck:?}, over {patience:?}");
            return Err(Violation::new("deadline", text));
        }
    }
    Ok(())
}

/// Nobody who speaks waits for one who does not read: what it says itself is in its output soon.
/// `needle` knows its beginning, of what does not come from disk.
///
/// # Errors
/// One who waited.
pub fn speaks_freely<W: Workload>(
    run: &Run<'_, W>,
    needle: impl Fn(&Promise, &Op<W::Request, W::Reply>) -> Option<Vec<u8>>,
) -> Result<(), Violation> {
    for (link, ops) in by_link(run) {
        let transcript = &run.transcripts()[link.0 as usize];
        let promise = Promise::of(transcript);
        // Its own slowness is its own.
        if behind(transcript) {
            continue;
        }
        for op in ops {
            if !matches!(op.outcome, Outcome::Answered(_)) || op.bytes.is_empty() {
                continue;
            }
            let Some(needle) = needle(&promise, op) else { continue };
            let Some(fed) = transcript.feeding(op.bytes.end) else { continue };
            let found = memchr::memmem::find(&transcript.produced, &needle);
            let made = found.and_then(|at| transcript.producing((at + needle.len()) as u64));
            let Some(made) = made else { continue };
            let took = Duration::from_nanos(made.now.saturating_sub(fed.now));
            if took > promise.soon() {
                let text = format!(
                    "caller {} heard its own `{:?}` only after {took:?}",
                    op.caller, op.request
                );
                return Err(Violation::new("deadline", text));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remark_says_what_was_promised() {
        for bits in 0..32 {
            let flag = |n: u32| bits >> n & 1 == 1;
            let promise = Promise {
                kicked: Duration::from_millis(11_000),
                gone: Duration::from_secs(310),
                loops: 4,
                disk: flag(0),
                lasting: flag(1),
                roomy: flag(2),
                keeps: flag(3),
                narrow: flag(4),
            };
            let transcript = Transcript { remark: promise.remark(), ..Transcript::default() };
            assert_eq!(Promise::of(&transcript), promise);
        }
    }
}
