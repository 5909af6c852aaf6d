//! What a transcript says about one connection, as the guards should have seen it.

use super::Watch;
use crate::transcript::{Call, Transcript};
use core::time::Duration;

/// What the server was told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) watch: Watch,
    pub(super) no_progress: u64,
    pub(super) soft_for: u64,
    pub(super) soft: u64,
    pub(super) hard: u64,
}

impl Told {
    pub(super) fn of(transcript: &Transcript) -> Self {
        let field = |shift: u32, bits: u32| transcript.remark >> shift & ((1 << bits) - 1);
        Self {
            watch: if field(0, 8) == 0 { Watch::Pings } else { Watch::Expects },
            no_progress: field(8, 8) * 1_000_000_000,
            soft_for: field(16, 8) * 1_000_000_000,
            soft: field(24, 16) << 10,
            hard: field(40, 16) << 10,
        }
    }
}

/// When the server was done with it, one way or the other; `end` if it never was.
pub(super) fn over(transcript: &Transcript, end: u64) -> u64 {
    [transcript.over, transcript.cut].into_iter().flatten().min().unwrap_or(end)
}

/// The calls before it was over.
pub(super) fn living(transcript: &Transcript) -> &[Call] {
    let over = over(transcript, u64::MAX);
    &transcript.calls[..transcript.calls.partition_point(|call| call.now < over)]
}

pub(super) const fn pending(call: &Call) -> u64 {
    call.produced - call.sent
}

/// The signs of life.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Life {
    /// The last byte came in (or the connection began).
    pub(super) heard: u64,
    /// That, or output that had been blocked was taken.
    pub(super) sign: u64,
    /// Output was taken, or began to wait.
    pub(super) progress: u64,
    /// Output has been waiting ever since.
    pub(super) pending: u64,
}

impl Life {
    pub(super) fn new(first: &Call) -> Self {
        Self { heard: first.now, sign: first.now, progress: first.now, pending: pending(first) }
    }

    pub(super) fn next(&mut self, before: &Call, call: &Call) {
        if call.fed > before.fed {
            self.heard = call.now;
            self.sign = call.now;
        }
        if call.sent > before.sent {
            self.progress = call.now;
            if pending(before) > 0 && call.now > before.now {
                self.sign = call.now;
            }
        } else if pending(before) == 0 && pending(call) > 0 {
            self.progress = call.now;
        }
        self.pending = pending(call);
    }

    /// At the end of `calls`.
    pub(super) fn of(calls: &[Call]) -> Option<Self> {
        let mut life = Self::new(calls.first()?);
        calls.windows(2).for_each(|pair| life.next(&pair[0], &pair[1]));
        Some(life)
    }
}

pub(super) const fn ns(span: Duration) -> u64 {
    span.as_nanos() as u64
}
