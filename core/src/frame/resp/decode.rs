//! Finding the end of a value.

use super::{Kind, Resp, Text, judge};
use crate::frame::track::examined;
use crate::frame::{Eof, ErrorKind, FrameError, Framing, Meta, Span, Step, need};

/// What a [`Resp`] remembers between steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct State {
    pos: u64,
    /// Elements still to come in each open aggregate. After an error: its three numbers.
    open: [u32; Resp::MAX_DEPTH],
    /// Bytes of the value that are decided: the next element begins here, or a bulk string ends.
    done: u32,
    /// Bytes of the current line that hold no end of it.
    line: u16,
    /// Open aggregates, and the flags below.
    depth: u8,
    fault: u8,
}

const _: () = assert!(size_of::<State>() <= 48);

/// In [`State::depth`]: `done` is where a bulk string ends.
const IN_BULK: u8 = 0x80;
/// The value itself has begun; before that there are only attributes.
const BEGUN: u8 = 0x40;
const DEPTH: u8 = 0x3f;

/// The longest text of a length, count, integer or boolean: a sign and 19 digits.
const NUMBER: usize = 20;

/// The fewest bytes of an element: `_ CR LF`. An inline command may have one.
const LEAST: usize = 3;

/// Kind, offset in the value, declared, limit.
type Defect = (ErrorKind, usize, u64, u64);

/// What one look at the next element gives.
enum Look {
    /// It is done; go on.
    Next,
    /// At least this many bytes of the value must be there.
    Await(usize),
    /// An inline command with this much content, this long in all.
    Inline(usize, usize),
}

impl Framing for Resp {
    type State = State;
    type Lookahead = ();

    fn step(&self, state: &mut State, avail: &[u8]) -> Step {
        if let Some(error) = state.error() {
            return Step::Error { error, consumed: 0 };
        }
        // No byte past the limit is looked at: what is not decided by then is too large, however
        // much of it is here.
        let most = self.max_frame as usize;
        let value = avail.get(..most).unwrap_or(avail);
        loop {
            match self.look(state, value) {
                Err(defect) => return state.fail(defect),
                Ok(Look::Next) if state.ended() => {
                    let end = state.done as usize;
                    let kind = value.first().copied().unwrap_or_default();
                    return state.frame(end, end, kind.into());
                }
                Ok(Look::Next) => {}
                Ok(Look::Inline(content, end)) => return state.frame(content, end, 0),
                Ok(Look::Await(total)) if total > most => return state.fail(self.too_large()),
                Ok(Look::Await(total)) => return need(avail.len(), total),
            }
        }
    }

    fn finish(&self, state: &State, rest: &[u8]) -> Eof {
        let have = rest.len() as u64;
        if let Some(error) = state.error() {
            return Eof::Failed(error);
        }
        if have == 0 {
            return Eof::Clean;
        }
        match self.step(&mut state.clone(), rest) {
            Step::Need(more) => Eof::Partial { have, need: have + more.get() as u64 },
            _ => Eof::Discarding,
        }
    }

    fn position(&self, state: &State) -> u64 {
        state.pos
    }

    fn max_pending(&self) -> usize {
        self.max_frame as usize
    }
}

impl State {
    /// Whether everything that belongs to the value is done. Closes what is complete.
    fn ended(&mut self) -> bool {
        if self.depth & IN_BULK != 0 {
            return false;
        }
        while self.depth & DEPTH > 0 && self.open[usize::from(self.depth & DEPTH) - 1] == 0 {
            self.depth -= 1;
        }
        self.depth == BEGUN
    }

    fn frame(&mut self, payload: usize, end: usize, kind: u32) -> Step {
        *self = Self { pos: self.pos + end as u64, ..Self::default() };
        let payload = Span { start: 0, end: payload };
        Step::Frame { payload, meta: Meta::kind(kind), consumed: end }
    }

    #[cold]
    fn fail(&mut self, (kind, at, declared, limit): Defect) -> Step {
        let halves = |n: u64| [n as u32, (n >> 32) as u32];
        let ([d0, d1], [l0, l1], [a0, a1]) = (halves(declared), halves(limit), halves(at as u64));
        self.open = [d0, d1, l0, l1, a0, a1, 0, 0];
        self.fault = kind.code();
        let at = self.pos + at as u64;
        let error = FrameError { kind, fatal: true, at, declared, limit };
        Step::Error { error, consumed: 0 }
    }

    fn error(&self) -> Option<FrameError> {
        let kind = ErrorKind::from_code(self.fault)?;
        let [d0, d1, l0, l1, a0, a1, ..] = self.open.map(u64::from);
        let at = self.pos.saturating_add(a0 | a1 << 32);
        let (declared, limit) = (d0 | d1 << 32, l0 | l1 << 32);
        Some(FrameError { kind, fatal: true, at, declared, limit })
    }
}

impl Resp {
    /// Looks at the element that begins at `done`, or at the end of the open bulk string.
    fn look(&self, state: &mut State, avail: &[u8]) -> Result<Look, Defect> {
        let at = state.done as usize;
        let rest = avail.get(at..).unwrap_or_default();
        if state.depth & IN_BULK != 0 {
            return bulk_end(state, rest, at);
        }
        if at + LEAST > self.max_frame as usize {
            return Err(self.too_large());
        }
        let Some(&first) = rest.first() else { return Ok(Look::Await(at + 1)) };
        let kind = Kind::of(first);
        let outermost = state.depth & (DEPTH | BEGUN) == 0;
        if self.requests && outermost && kind != Some(Kind::Array) {
            if !self.inline {
                return Err((ErrorKind::UnknownType, at, first.into(), 0));
            }
            return self.look_inline(state, rest);
        }
        let Some(kind) = kind.filter(|&kind| self.allows(kind, outermost)) else {
            return Err((ErrorKind::UnknownType, at, first.into(), 0));
        };
        let limit = match kind {
            Kind::Simple | Kind::Error | Kind::BigNumber | Kind::Double => self.max_line.into(),
            _ => NUMBER,
        };
        let Some(end) = line_end(state, rest, at, 1, limit)? else {
            return Ok(Look::Await(at + rest.len() + 1));
        };
        self.element(state, kind, rest.get(1..end).unwrap_or_default(), at)?;
        if state.depth & IN_BULK == 0 {
            return Ok(Look::Next);
        }
        let (rest, at) = (avail.get(state.done as usize..), state.done as usize);
        bulk_end(state, rest.unwrap_or_default(), at)
    }

    /// Whether a value of this type may stand here.
    fn allows(&self, kind: Kind, outermost: bool) -> bool {
        match kind {
            Kind::Push => outermost && !self.requests,
            Kind::Bulk => true,
            Kind::Array => outermost || !self.requests,
            _ => !self.requests,
        }
    }

    /// Takes in a complete line.
    fn element(&self, state: &mut State, kind: Kind, text: &[u8], at: usize) -> Result<(), Defect> {
        examined(text.len());
        let over = |kind, n, limit: u32| Err((kind, at + 1, n, limit.into()));
        let mut bulk = None;
        let mut open = None;
        match judge(kind, text) {
            Text::Good => {}
            Text::Null if !self.requests => {}
            Text::Null | Text::Negative => {
                return Err((ErrorKind::BadLength, at + 1, 0, 0));
            }
            Text::Streamed => return Err((ErrorKind::Unsupported, at + 1, 0, 0)),
            Text::Bad => return Err((ErrorKind::Syntax, at + 1, 0, 0)),
            Text::Number(n) if kind.is_bulk() => {
                if n > self.max_bulk.into() {
                    return over(ErrorKind::TooLarge, n, self.max_bulk);
                }
                if kind == Kind::Verbatim && n < 4 {
                    return Err((ErrorKind::BadLength, at + 1, n, 4));
                }
                bulk = Some(n as u32);
            }
            Text::Number(n) => {
                let n = if kind.is_pairs() { n.saturating_mul(2) } else { n };
                if n > self.max_count.into() {
                    return over(ErrorKind::TooMany, n, self.max_count);
                }
                open = Some(n as u32);
            }
        }
        let depth = usize::from(state.depth & DEPTH);
        // An attribute is no element of what it stands in: it belongs to the next one.
        if kind != Kind::Attribute {
            match depth.checked_sub(1).and_then(|level| state.open.get_mut(level)) {
                Some(left) => *left -= 1,
                None => state.depth |= BEGUN,
            }
        }
        if let Some(count) = open {
            if depth >= self.max_depth.into() {
                let (deep, max) = (depth as u64 + 1, self.max_depth.into());
                return Err((ErrorKind::TooDeep, at, deep, max));
            }
            state.open[depth] = count;
            state.depth += 1;
        }
        state.done += 1 + text.len() as u32 + 2;
        state.line = 0;
        if let Some(len) = bulk {
            state.depth |= IN_BULK;
            let end = state.done.saturating_add(len);
            if end.saturating_add(2) > self.max_frame {
                return Err(self.too_large());
            }
            state.done = end;
        }
        Ok(())
    }

    /// The value does not fit the limit; how large it would be is not known.
    fn too_large(&self) -> Defect {
        let limit = u64::from(self.max_frame);
        (ErrorKind::TooLarge, 0, limit + 1, limit)
    }

    /// An inline command: a line that ends with LF or CR LF.
    fn look_inline(&self, state: &mut State, line: &[u8]) -> Result<Look, Defect> {
        let limit = usize::from(self.max_line);
        let from = usize::from(state.line);
        let window = line.get(from..line.len().min(limit + 2)).unwrap_or_default();
        let hit = memchr::memchr2(b'\r', b'\n', window).map(|i| from + i);
        examined(hit.map_or(window.len(), |i| i + 1 - from));
        match hit.map(|i| (i, line.get(i), line.get(i + 1))) {
            Some((i, ..)) if i > limit => {}
            Some((i, Some(b'\n'), _)) => return Ok(Look::Inline(i, i + 1)),
            Some((i, _, Some(b'\n'))) => return Ok(Look::Inline(i, i + 2)),
            Some((i, _, Some(_))) => return Err((ErrorKind::BareCr, i, 0, 0)),
            Some((i, _, None)) => {
                state.line = i as u16;
                return Ok(Look::Await(i + 2));
            }
            None if line.len() <= limit => {
                state.line = line.len() as u16;
                return Ok(Look::Await(line.len() + 1));
            }
            None => {}
        }
        let (size, max) = (limit as u64 + 1, limit as u64);
        Err((ErrorKind::TooLarge, limit, size, max))
    }
}

/// The CR LF after a bulk string, which ends at `at`.
fn bulk_end(state: &mut State, rest: &[u8], at: usize) -> Result<Look, Defect> {
    examined(rest.len().min(2));
    for (i, wanted) in [b'\r', b'\n'].into_iter().enumerate() {
        match rest.get(i) {
            None => return Ok(Look::Await(at + i + 1)),
            Some(&byte) if byte != wanted => {
                return Err((ErrorKind::Syntax, at + i, byte.into(), wanted.into()));
            }
            Some(_) => {}
        }
    }
    state.done += 2;
    state.depth &= !IN_BULK;
    Ok(Look::Next)
}

/// Where the CR LF of the line in `rest` begins; its text begins at `from` and has at most `limit`
/// bytes.
fn line_end(
    state: &mut State,
    rest: &[u8],
    at: usize,
    from: usize,
    limit: usize,
) -> Result<Option<usize>, Defect> {
    let start = usize::from(state.line).max(from);
    let last = from + limit;
    let window = rest.get(start..rest.len().min(last + 1)).unwrap_or_default();
    let hit = memchr::memchr2(b'\r', b'\n', window).map(|i| start + i);
    examined(hit.map_or(window.len(), |i| i + 1 - start));
    match hit.map(|i| (i, rest.get(i), rest.get(i + 1))) {
        Some((i, Some(b'\n'), _)) => Err((ErrorKind::BareLf, at + i, 0, 0)),
        Some((i, _, Some(b'\n'))) => Ok(Some(i)),
        Some((i, _, Some(_))) => Err((ErrorKind::BareCr, at + i, 0, 0)),
        Some((i, _, None)) => {
            state.line = i as u16;
            Ok(None)
        }
        None if rest.len() <= last => {
            state.line = rest.len() as u16;
            Ok(None)
        }
        None => {
            let (size, limit) = (limit as u64 + 1, limit as u64);
            Err((ErrorKind::TooLarge, at + last, size, limit))
        }
    }
}
