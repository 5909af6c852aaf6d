//! Reading lines.

use core::hint::cold_path;

use super::config::{Ending, Lines, Lone, Oversize, Quick, Terminator};
use crate::frame::scan::Lookahead;
use crate::frame::track::{Track, examined};
use crate::frame::{Eof, ErrorKind, Framing, Glance, Meta, Span, Step, need};

/// What a [`Lines`] remembers between steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct State {
    track: Track,
    /// Bytes from the front that hold no decided terminator.
    scanned: u64,
}

const _: () = assert!(size_of::<State>() <= 48);

// The phase is made of these flags.

/// A CR ended the last line: an LF in the first place belongs to it.
const SKIP_LF: u8 = 1;
/// In a refused line, up to its terminator.
const DISCARD: u8 = 2;

/// Some bytes of the line were searched.
const SCANNED: u8 = 4;

/// So many new bytes are a few.
const FEW: usize = 16;

/// What a searched byte turned out to be.
enum Hit {
    /// The end of a line with this much content, this long in all.
    End { content: usize, end: usize, meta: Meta },
    /// Part of the content.
    Data,
    /// The next byte decides.
    Open,
    /// A byte that must not stand there.
    Bad(ErrorKind),
}

impl Framing for Lines {
    type State = State;
    type Lookahead = Lookahead;

    fn step(&self, state: &mut State, avail: &[u8]) -> Step {
        // A few more bytes of a line, none of which ends it: who feeds small pieces comes here for
        // each.
        if !state.track.busy()
            && state.track.phase == SCANNED
            && let Some(more) = avail.get(state.scanned as usize..)
            && more.len() < FEW
            && !more.iter().any(|&byte| self.needles.contain(byte))
        {
            examined(more.len());
            return self.undecided(state, avail);
        }
        self.look(state, &mut Lookahead::default(), avail)
    }

    #[inline(never)]
    fn step_in(&self, state: &mut State, ahead: &mut Lookahead, line: &[u8]) -> Step {
        let step = self.look(state, ahead, line);
        let (Step::Frame { consumed, .. } | Step::Skip { consumed } | Step::Error { consumed, .. }) =
            step
        else {
            ahead.leave(line.len());
            return step;
        };
        ahead.leave(line.len() - consumed);
        step
    }

    #[inline(always)]
    fn fresh(&self, state: &State) -> bool {
        state.track.fresh() && self.quick != Quick::No
    }

    #[inline(always)]
    fn glance<'a>(
        &self,
        ahead: &mut Lookahead,
        block: &'a [u8],
        avail: &'a [u8],
    ) -> Option<Glance<'a>> {
        let before = self.needles.next(ahead, block, avail, || self.max_pending())?;
        let Some(glance) = self.cut(avail, before) else {
            cold_path();
            return None;
        };
        ahead.used();
        Some(glance)
    }

    #[inline(always)]
    fn glanced(&self, state: &mut State, position: u64) {
        state.track.pos = position;
    }

    fn finish(&self, state: &State, rest: &[u8]) -> Eof {
        match state.track.eof() {
            Some(verdict) => verdict,
            None if state.track.phase & DISCARD != 0 => Eof::Discarding,
            None if rest.is_empty() => Eof::Clean,
            None => Eof::Unterminated(Span { start: 0, end: rest.len() }),
        }
    }

    fn position(&self, state: &State) -> u64 {
        state.track.pos
    }

    #[inline(always)]
    fn max_pending(&self) -> usize {
        self.max + self.terminator.len()
    }
}

impl Lines {
    fn look(&self, state: &mut State, ahead: &mut Lookahead, line: &[u8]) -> Step {
        if state.track.busy() {
            return state.track.settle(line.len());
        }
        if state.track.phase & SKIP_LF != 0 {
            match line.first() {
                None => return need(0, 1),
                Some(b'\n') => {
                    state.track.phase &= !SKIP_LF;
                    state.track.advance(1);
                    return Step::Skip { consumed: 1 };
                }
                Some(_) => state.track.phase &= !SKIP_LF,
            }
        }
        if state.track.phase & DISCARD != 0 {
            return self.discard(state, ahead, line);
        }
        // A terminator further off than this ends a line that is too long.
        let far = self.max_pending().min(line.len());
        let mut at = state.scanned as usize;
        while let Some(i) = self.needles.find(ahead, line, at, far) {
            match self.judge(line, i) {
                Hit::End { content, end, meta } if content <= self.max => {
                    state.scanned = 0;
                    let cr = meta.kind == Ending::Cr as u32;
                    state.track.phase = if cr { SKIP_LF } else { 0 };
                    state.track.advance(end);
                    let payload = Span { start: 0, end: content };
                    return Step::Frame { payload, meta, consumed: end };
                }
                Hit::End { .. } => return self.oversize_line(state, line),
                _ if i >= far => break,
                Hit::Data => at = i + 1,
                Hit::Open => break,
                Hit::Bad(_) if i > self.max => break,
                Hit::Bad(kind) => return self.bad_line(state, kind, line, i),
            }
        }
        self.undecided(state, line)
    }

    /// The line that is ended by the hit after `before`, if it is good and nothing unusual about it.
    #[inline(always)]
    fn cut<'a>(&self, avail: &'a [u8], before: usize) -> Option<Glance<'a>> {
        let (content, rest) = avail.split_at_checked(before)?;
        let (&hit, rest) = rest.split_first()?;
        // Never the default. Not a way out of here: where nobody wants these bytes, it is nothing.
        let bytes = avail.get(..before + 1).unwrap_or_default();
        // One number tells of both that LF ends lines and that this one is not too long.
        if before < self.lf_below {
            let meta = Ending::Lf.meta();
            return Some(Glance { bytes, payload: content, start: 0, meta, rest });
        }
        let (payload, meta) = match (self.quick, content.split_last()) {
            (Quick::AnyOf, _) => (content, Ending::one_of(hit)),
            (Quick::CrLf | Quick::LfOrCrLf, Some((b'\r', before))) => (before, Ending::CrLf.meta()),
            (Quick::LfOrCrLf, _) => (content, Ending::Lf.meta()),
            _ => return None,
        };
        let good = payload.len() <= self.max;
        good.then_some(Glance { bytes, payload, start: 0, meta, rest })
    }

    /// Inside a refused line: drops what is here of it.
    #[cold]
    fn discard(&self, state: &mut State, ahead: &mut Lookahead, line: &[u8]) -> Step {
        let mut at = state.scanned as usize;
        while let Some(hit) = self.needles.find(ahead, line, at, line.len()) {
            match self.judge(line, hit) {
                Hit::End { end, meta, .. } => {
                    let cr = meta.kind == Ending::Cr as u32;
                    state.track.phase = if cr { SKIP_LF } else { 0 };
                    state.scanned = 0;
                    state.track.advance(end);
                    return Step::Skip { consumed: end };
                }
                Hit::Open => break,
                Hit::Data | Hit::Bad(_) => at = hit + 1,
            }
        }
        let consumed = self.open_from(line);
        if consumed == 0 {
            return need(0, 1);
        }
        state.scanned = 0;
        state.track.advance(consumed);
        Step::Skip { consumed }
    }

    /// What the searched byte at `i` is.
    #[inline]
    fn judge(&self, line: &[u8], i: usize) -> Hit {
        let end = i + 1;
        let after_cr = || i > 0 && line.get(i - 1) == Some(&b'\r');
        let lf = Hit::End { content: i, end, meta: Ending::Lf.meta() };
        match &self.terminator {
            Terminator::Lf => lf,
            Terminator::LfOrCrLf | Terminator::CrLf if line.get(i) == Some(&b'\r') => {
                // Only searched for where a lone one is an error.
                match line.get(i + 1) {
                    None => Hit::Open,
                    Some(b'\n') => Hit::End { content: i, end: i + 2, meta: Ending::CrLf.meta() },
                    Some(_) => Hit::Bad(ErrorKind::BareCr),
                }
            }
            Terminator::LfOrCrLf | Terminator::CrLf if after_cr() => {
                Hit::End { content: i - 1, end, meta: Ending::CrLf.meta() }
            }
            Terminator::LfOrCrLf => lf,
            Terminator::CrLf if self.lone_lf == Lone::Error => Hit::Bad(ErrorKind::BareLf),
            Terminator::CrLf => Hit::Data,
            Terminator::AnyNewline if line.get(i) == Some(&b'\r') => {
                Hit::End { content: i, end, meta: Ending::Cr.meta() }
            }
            Terminator::AnyNewline => lf,
            Terminator::Delimiter { bytes, len } => {
                let delimiter = bytes.get(..usize::from(*len)).unwrap_or_default();
                match line.get(..end) {
                    Some(upto) if upto.ends_with(delimiter) => {
                        let content = end - delimiter.len();
                        Hit::End { content, end, meta: Ending::Delimiter.meta() }
                    }
                    _ => Hit::Data,
                }
            }
            Terminator::AnyOf { .. } => {
                let byte = line.get(i).copied().unwrap_or_default();
                Hit::End { content: i, end, meta: Ending::one_of(byte) }
            }
        }
    }

    /// All bytes are seen and none ends the line: it waits, unless it is too long by now.
    #[inline(never)]
    fn undecided(&self, state: &mut State, line: &[u8]) -> Step {
        let open = self.open_from(line);
        if open > self.max {
            return self.oversize_line(state, line);
        }
        // Terminators are found by their last byte, except a CR that may not stand alone.
        let again = self.lone_cr == Lone::Error;
        state.scanned = if again { open } else { line.len() } as u64;
        state.track.phase = if state.scanned > 0 { SCANNED } else { 0 };
        need(0, 1)
    }

    /// Where a terminator could have begun whose end is not there yet; else the end of `line`.
    fn open_from(&self, line: &[u8]) -> usize {
        let n = line.len();
        match &self.terminator {
            Terminator::CrLf | Terminator::LfOrCrLf if line.last() == Some(&b'\r') => n - 1,
            Terminator::Delimiter { bytes, len } => {
                let len = usize::from(*len);
                let begins = |&from: &usize| {
                    let tail = line.get(from..).unwrap_or_default();
                    bytes.get(..tail.len()) == Some(tail)
                };
                (n.saturating_sub(len - 1)..n).find(begins).unwrap_or(n)
            }
            _ => n,
        }
    }

    /// The line has more content than allowed: what is known for sure, so that it does not
    /// depend on how much of the line is here.
    #[cold]
    fn oversize_line(&self, state: &mut State, line: &[u8]) -> Step {
        let (declared, limit) = (self.max as u64 + 1, self.max as u64);
        let consumed = self.max + 1;
        debug_assert!(consumed <= line.len());
        match self.oversize {
            Oversize::Fatal => state.track.fail(ErrorKind::TooLarge, self.max, declared, limit),
            Oversize::Skip => {
                state.scanned = 0;
                state.track.phase = DISCARD;
                let size = (declared, limit);
                state.track.refuse(ErrorKind::TooLarge, self.max, size, consumed as u64, line.len())
            }
            Oversize::Truncate => {
                state.scanned = 0;
                state.track.phase = DISCARD;
                state.track.advance(consumed);
                let payload = Span { start: 0, end: self.max };
                Step::Frame { payload, meta: Ending::Cut.meta(), consumed }
            }
        }
    }

    /// The byte at `i` must not stand in a line.
    #[cold]
    fn bad_line(&self, state: &mut State, kind: ErrorKind, line: &[u8], i: usize) -> Step {
        if self.oversize == Oversize::Fatal {
            return state.track.fail(kind, i, 0, 0);
        }
        state.scanned = 0;
        state.track.phase = DISCARD;
        state.track.refuse(kind, i, (0, 0), i as u64 + 1, line.len())
    }
}
