//! Walking the messages of a stream.

use super::chunk::{Next, Place, next};
use super::head::Defect;
use super::{Body, Http, Part, Piece};
use crate::frame::track::examined;
use crate::frame::{Eof, ErrorKind, FrameError, Framing, Span, Step, need};

/// What an [`Http`] remembers between steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct State {
    pos: u64,
    /// Bytes to come of the body or chunk. After an error: the declared number.
    left: u64,
    /// Bytes of chunks so far. After an error: the limit.
    body: u64,
    /// Bytes of a head or trailer section that hold no end of it; of a chunk line, its length.
    /// After an error: where it is.
    scanned: u32,
    /// How far chunk lines outweigh their data.
    excess: u16,
    /// In a chunk line: the [`Place`].
    place: u8,
    phase: u8,
    flags: u8,
    fault: u8,
}

const _: () = assert!(size_of::<State>() <= 48);

/// The response that is read next answers a HEAD request.
const ANSWERS_HEAD: u8 = 1;
/// An empty line before the head was skipped.
const SKIPPED_LINE: u8 = 2;

/// What comes next in the stream: [`State::phase`].
const HEAD: u8 = 0;
const LENGTH: u8 = 1;
const CHUNK_LINE: u8 = 2;
const CHUNK: u8 = 3;
const CHUNK_CR: u8 = 4;
const CHUNK_LF: u8 = 5;
const TRAILERS: u8 = 6;
const UNTIL_CLOSE: u8 = 7;

/// The longest chunk line with its extensions.
const MAX_LINE: u32 = 1024;
/// Per chunk, this much overhead is free, and twice the chunk's data.
const FREE: u64 = 16;
/// How far all chunk lines of a message may outweigh what is free.
const MAX_EXCESS: u64 = 16 * 1024;

impl State {
    /// The next response answers a HEAD request: it has no body, whatever its head says. Say it
    /// before the head of that response is read.
    pub fn answers_head(&mut self) {
        self.flags |= ANSWERS_HEAD;
    }

    /// Whether the stream is between two messages.
    #[must_use]
    pub fn between_messages(&self) -> bool {
        self.phase == HEAD && self.scanned == 0 && self.fault == 0
    }
}

impl Framing for Http {
    type State = State;
    type Lookahead = ();

    fn step(&self, state: &mut State, avail: &[u8]) -> Step {
        if let Some(error) = state.error() {
            return Step::Error { error, consumed: 0 };
        }
        if avail.is_empty() {
            return need(0, 1);
        }
        match state.phase {
            HEAD => self.head(state, avail),
            LENGTH | CHUNK => self.data(state, avail),
            CHUNK_LINE => self.chunk_line(state, avail),
            CHUNK_CR | CHUNK_LF => state.chunk_end(avail),
            TRAILERS => self.trailers(state, avail),
            _ => state.give(avail.len(), Part::Body(Piece::More)),
        }
    }

    fn finish(&self, state: &State, rest: &[u8]) -> Eof {
        let have = rest.len() as u64;
        if let Some(error) = state.error() {
            return Eof::Failed(error);
        }
        match state.phase {
            UNTIL_CLOSE => Eof::Clean,
            HEAD if have == 0 => Eof::Clean,
            LENGTH => Eof::Partial { have, need: have + state.left },
            // The rest of the chunk, its CR LF, and at least the last chunk.
            CHUNK => Eof::Partial { have, need: have.saturating_add(state.left).saturating_add(7) },
            _ => Eof::Partial { have, need: have + 1 },
        }
    }

    fn position(&self, state: &State) -> u64 {
        state.pos
    }

    fn max_pending(&self) -> usize {
        self.max_head as usize
    }
}

impl Http {
    fn head(&self, state: &mut State, avail: &[u8]) -> Step {
        if self.leading_empty_line && state.flags & SKIPPED_LINE == 0 && avail[0] == b'\r' {
            match avail.get(1) {
                None => return need(1, 2),
                Some(b'\n') => {
                    state.flags |= SKIPPED_LINE;
                    return state.skip(2);
                }
                Some(_) => return state.fail((ErrorKind::BareCr, 0, 0, 0)),
            }
        }
        let end = match self.section_end(state, avail) {
            Ok(Some(end)) => end,
            Ok(None) => return need(avail.len(), avail.len() + 1),
            Err(defect) => return state.fail(defect),
        };
        let head = avail.get(..end).unwrap_or_default();
        examined(end);
        match self.judge_head(head, state.flags & ANSWERS_HEAD != 0) {
            Err(defect) => state.fail(defect),
            Ok(verdict) => {
                state.flags = 0;
                state.left = verdict.length;
                state.phase = match verdict.body {
                    Body::None => HEAD,
                    Body::Length => LENGTH,
                    Body::Chunked => CHUNK_LINE,
                    Body::UntilClose => UNTIL_CLOSE,
                };
                state.give(end, Part::Head(verdict.body))
            }
        }
    }

    /// The end of a block of lines, after the empty line that ends it.
    fn section_end(&self, state: &mut State, avail: &[u8]) -> Result<Option<usize>, Defect> {
        let limit = self.max_head as usize;
        let window = avail.get(..limit).unwrap_or(avail);
        let mut at = state.scanned as usize;
        loop {
            let rest = window.get(at..).unwrap_or_default();
            let hit = memchr::memchr2(b'\r', b'\n', rest);
            examined(hit.map_or(rest.len(), |i| i + 1));
            let Some(i) = hit.map(|i| at + i) else {
                at = window.len();
                break;
            };
            match (window.get(i), window.get(i + 1)) {
                (Some(b'\n'), _) => return Err((ErrorKind::BareLf, i, 0, 0)),
                (_, Some(b'\n')) => {}
                (_, Some(_)) => return Err((ErrorKind::BareCr, i, 0, 0)),
                (_, None) => {
                    at = i;
                    break;
                }
            }
            let before = window.get(i.saturating_sub(2)..i).unwrap_or_default();
            if i == 0 || before == b"\r\n" {
                return Ok(Some(i + 2));
            }
            at = i + 2;
        }
        state.scanned = at as u32;
        if window.len() == limit {
            let (size, max) = (limit as u64 + 1, limit as u64);
            return Err((ErrorKind::TooLarge, 0, size, max));
        }
        Ok(None)
    }

    fn data(&self, state: &mut State, avail: &[u8]) -> Step {
        let n = usize::try_from(state.left).unwrap_or(usize::MAX).min(avail.len());
        state.left -= n as u64;
        let mut piece = Piece::More;
        if state.left == 0 {
            if state.phase == CHUNK {
                state.phase = CHUNK_CR;
            } else {
                state.phase = HEAD;
                piece = Piece::Last;
            }
        }
        state.give(n, Part::Body(piece))
    }

    /// As much of a chunk line as is there.
    fn chunk_line(&self, state: &mut State, avail: &[u8]) -> Step {
        for (i, &byte) in avail.iter().enumerate() {
            examined(1);
            if state.scanned >= MAX_LINE {
                let (size, max) = (u64::from(MAX_LINE) + 1, MAX_LINE.into());
                return state.fail((ErrorKind::TooLarge, i, size, max));
            }
            state.scanned += 1;
            match next(Place::of(state.place), byte) {
                // The size is kept in `left`; sixteen digits fill it.
                Next::Digit(_) if state.scanned > 16 => {
                    return state.fail((ErrorKind::TooLarge, i, state.left, self.max_body));
                }
                Next::Digit(digit) => {
                    state.left = state.left << 4 | digit;
                    state.place = Place::Digit as u8;
                }
                Next::Go(place) => state.place = place as u8,
                Next::End => return self.chunk_begins(state, i),
                Next::Bad => {
                    let kind = match (Place::of(state.place), byte) {
                        (Place::Lf, _) => ErrorKind::BareCr,
                        (_, b'\n') => ErrorKind::BareLf,
                        _ => ErrorKind::Syntax,
                    };
                    return state.fail((kind, i, byte.into(), 0));
                }
            }
        }
        state.skip(avail.len())
    }

    /// A chunk line ends with the LF at `i`: is what it announces allowed?
    fn chunk_begins(&self, state: &mut State, i: usize) -> Step {
        let total = state.body.saturating_add(state.left);
        if total > self.max_body {
            return state.fail((ErrorKind::TooLarge, i, total, self.max_body));
        }
        let free = FREE.saturating_add(state.left.saturating_mul(2));
        let excess = u64::from(state.excess) + u64::from(state.scanned) + 2;
        let excess = excess.saturating_sub(free);
        if excess > MAX_EXCESS {
            return state.fail((ErrorKind::TooLarge, i, excess, MAX_EXCESS));
        }
        state.excess = excess as u16;
        state.body = total;
        state.phase = if state.left == 0 { TRAILERS } else { CHUNK };
        state.scanned = 0;
        state.place = 0;
        state.skip(i + 1)
    }

    fn trailers(&self, state: &mut State, avail: &[u8]) -> Step {
        let end = match self.section_end(state, avail) {
            Ok(Some(end)) => end,
            Ok(None) => return need(avail.len(), avail.len() + 1),
            Err(defect) => return state.fail(defect),
        };
        let section = avail.get(..end).unwrap_or_default();
        examined(end);
        if let Err(defect) = self.judge_trailers(section) {
            return state.fail(defect);
        }
        *state = State { pos: state.pos + end as u64, ..State::default() };
        let payload = Span { start: 0, end: end - 2 };
        Step::Frame { payload, meta: Part::Trailers.meta(), consumed: end }
    }
}

impl State {
    fn give(&mut self, n: usize, part: Part) -> Step {
        self.pos += n as u64;
        self.scanned = 0;
        let payload = Span { start: 0, end: n };
        Step::Frame { payload, meta: part.meta(), consumed: n }
    }

    fn skip(&mut self, consumed: usize) -> Step {
        self.pos += consumed as u64;
        Step::Skip { consumed }
    }

    /// The CR LF after a chunk's data.
    fn chunk_end(&mut self, avail: &[u8]) -> Step {
        let wanted = if self.phase == CHUNK_CR { b'\r' } else { b'\n' };
        let byte = avail[0];
        examined(1);
        if byte != wanted {
            return self.fail((ErrorKind::Syntax, 0, byte.into(), wanted.into()));
        }
        self.phase = if self.phase == CHUNK_CR { CHUNK_LF } else { CHUNK_LINE };
        self.skip(1)
    }

    #[cold]
    fn fail(&mut self, (kind, at, declared, limit): Defect) -> Step {
        self.fault = kind.code();
        self.scanned = at as u32;
        self.left = declared;
        self.body = limit;
        let at = self.pos + u64::from(self.scanned);
        let error = FrameError { kind, fatal: true, at, declared, limit };
        Step::Error { error, consumed: 0 }
    }

    fn error(&self) -> Option<FrameError> {
        let kind = ErrorKind::from_code(self.fault)?;
        let at = self.pos.saturating_add(u64::from(self.scanned));
        Some(FrameError { kind, fatal: true, at, declared: self.left, limit: self.body })
    }
}
