//! Reading length-prefixed frames.

use core::hint::cold_path;

use super::config::{Load, window};
use super::varint::{self, Partial, Read};
use super::{LengthPrefix, Oversize};
use crate::frame::track::{Track, examined};
use crate::frame::{Eof, ErrorKind, Framing, Glance, Meta, Span, Step, need};

/// What a [`LengthPrefix`] remembers between steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct State {
    track: Track,
    /// While a varint is incomplete: its first bytes. While a payload is awaited: its length.
    value: u64,
}

const _: () = assert!(size_of::<State>() <= 48);

/// The phase is the number of bytes of the length field that were read, and this flag: the header is read and was good, the payload is not all here.
const AWAITED: u8 = 0x80;

/// What the last frames of a block were, so that a run of frames of one size need not be read.
///
/// A frame cannot be looked at before the end of the one before it is known: that chain (load,
/// swap, add) is most of the time that a small frame takes. In a run the chain is cut: the end is
/// known from the frame before, and only *checked* against the bytes. A wrong guess costs more
/// than the chain, so it takes a run to begin.
///
/// Few numbers, one in two roles: more would not stay in registers beside what the walk and its
/// caller keep there.
#[derive(Clone, Copy, Debug)]
pub struct Lookahead {
    /// The bits of a frame's first eight bytes that are its length field.
    mask: u64,
    /// What they were in the last frame. All other bits are zero in a run, and one before it: no
    /// masked bytes are equal to that.
    expect: u64,
    /// In a run the size of its frames; before it, how often the length was the same again.
    total: usize,
    /// In a run: where the payload begins.
    start: usize,
    /// How often it may still be looked for a run: mixed lengths should not pay for it in the
    /// whole block.
    tries: u32,
}

/// What a header says.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    /// Size of the frame.
    total: usize,
    /// Where its payload begins.
    start: usize,
    /// Size of the length field.
    field: usize,
}

/// A length that was the same so often again makes a run.
const RUN: usize = 2;

/// After so many lengths without a run it is not looked for any more in this block.
const TRIES: u32 = 8;

impl Default for Lookahead {
    fn default() -> Self {
        Self { mask: 0, expect: u64::MAX, total: 0, start: 0, tries: TRIES }
    }
}

impl Framing for LengthPrefix {
    type State = State;
    type Lookahead = Lookahead;

    #[inline]
    fn step(&self, state: &mut State, avail: &[u8]) -> Step {
        if state.track.fresh()
            && let Some(head) = self.read(avail).inspect(|head| examined(head.field))
            && let Some(bytes) = avail.get(..head.total)
        {
            return self.frame(state, bytes, head);
        }
        self.step_slow(state, avail)
    }

    #[inline(always)]
    fn fresh(&self, state: &State) -> bool {
        state.track.fresh()
    }

    #[inline(always)]
    fn glance<'a>(
        &self,
        ahead: &mut Lookahead,
        _: &'a [u8],
        avail: &'a [u8],
    ) -> Option<Glance<'a>> {
        if let Some(front) = avail.first_chunk()
            && u64::from_le_bytes(*front) & ahead.mask == ahead.expect
        {
            let field = usize::from(self.width.fixed().unwrap_or(0));
            return self.cut(avail, Head { total: ahead.total, start: ahead.start, field });
        }
        // The most common shape here, all others behind a call.
        if self.u32_be && ahead.tries == 0 {
            let field = avail.get(self.offset as usize..)?.first_chunk()?;
            return self.cut(avail, self.fixed_head(u32::from_be_bytes(*field).into(), 4)?);
        }
        cold_path();
        let read = self.read_and_learn(*ahead, avail);
        *ahead = read.ahead;
        self.cut(avail, read.head?)
    }

    #[inline(always)]
    fn glanced(&self, state: &mut State, position: u64) {
        state.track.pos = position;
    }

    fn finish(&self, state: &State, rest: &[u8]) -> Eof {
        if let Some(verdict) = state.track.eof() {
            return verdict;
        }
        if rest.is_empty() {
            return Eof::Clean;
        }
        let have = rest.len() as u64;
        match self.step(&mut state.clone(), rest) {
            Step::Need(more) => Eof::Partial { have, need: have + more.get() as u64 },
            _ => Eof::Discarding,
        }
    }

    fn position(&self, state: &State) -> u64 {
        state.track.pos
    }

    fn max_pending(&self) -> usize {
        let varint = if self.width.fixed().is_none() { self.width.most() } else { 0 };
        self.header as usize + usize::from(varint) + self.max
    }
}

impl Lookahead {
    /// Takes note of a frame: its first bytes, which of their bits are the length, what it says.
    fn learn(&mut self, front: u64, mask: u64, head: Head) {
        if mask == 0 || self.tries == 0 {
            return;
        }
        self.tries -= 1;
        let mark = front | !mask;
        let same = if mark == self.expect { self.total + 1 } else { 0 };
        *self = Self { mask, expect: mark, total: same, ..*self };
        if same >= RUN {
            let Head { total, start, .. } = head;
            *self = Self { mask, expect: front & mask, total, start, tries: TRIES };
        }
    }
}

/// A header, and what it adds to the lookahead. By value, so that neither has to be in memory.
struct Learned {
    ahead: Lookahead,
    head: Option<Head>,
}

impl LengthPrefix {
    /// The frame with this header at the front, if it is whole.
    #[inline(always)]
    fn cut<'a>(&self, avail: &'a [u8], head: Head) -> Option<Glance<'a>> {
        examined(head.field);
        let Some((bytes, rest)) = avail.split_at_checked(head.total) else {
            cold_path();
            return None;
        };
        let payload = bytes.get(head.start..)?;
        let meta = self.meta(bytes, head.field);
        Some(Glance { bytes, payload, start: head.start, meta, rest })
    }

    #[inline(never)]
    fn read_and_learn(&self, mut ahead: Lookahead, avail: &[u8]) -> Learned {
        let head = self.read(avail);
        if let Some(head) = head
            && let Some(front) = avail.first_chunk()
        {
            let mask = match self.load {
                // A run knows neither how long its varints are nor where type words begin.
                Load::Varint if self.type_width > 0 => 0,
                Load::Varint => window(self.offset, head.field as u8),
                _ => self.window,
            };
            ahead.learn(u64::from_le_bytes(*front), mask, head);
        }
        Learned { ahead, head }
    }

    /// The header at the front, if it is complete as far as the length goes and that is good.
    #[inline(always)]
    fn read(&self, avail: &[u8]) -> Option<Head> {
        let rest = avail.get(self.offset as usize..)?;
        let (value, field): (u64, usize) = match self.load {
            Load::U8 => ((*rest.first()?).into(), 1),
            Load::U16Be => (u16::from_be_bytes(*rest.first_chunk()?).into(), 2),
            Load::U16Le => (u16::from_le_bytes(*rest.first_chunk()?).into(), 2),
            Load::U24Be => (u64::from(u32::from_be_bytes(*rest.first_chunk()?)) >> 8, 3),
            Load::U24Le => (u64::from(u32::from_le_bytes(*rest.first_chunk()?)) & 0xff_ffff, 3),
            Load::U32Be => (u32::from_be_bytes(*rest.first_chunk()?).into(), 4),
            Load::U32Le => (u32::from_le_bytes(*rest.first_chunk()?).into(), 4),
            Load::U64Be => (u64::from_be_bytes(*rest.first_chunk()?), 8),
            Load::U64Le => (u64::from_le_bytes(*rest.first_chunk()?), 8),
            Load::Varint => return self.read_varint(rest),
        };
        self.fixed_head(value, field)
    }

    /// The header with this number in a length field of fixed width, if that is allowed.
    #[inline(always)]
    fn fixed_head(&self, value: u64, field: usize) -> Option<Head> {
        if value.wrapping_sub(self.least) > self.span {
            cold_path();
            return None;
        }
        let total = (value as usize).wrapping_add_signed(self.bias as isize);
        Some(Head { total, start: self.strip as usize, field })
    }

    #[inline(always)]
    fn read_varint(&self, rest: &[u8]) -> Option<Head> {
        let (value, field) = varint::read(rest, self.width.varint_bits())?;
        let payload = self.payload(value)?;
        Some(self.head(field, payload))
    }

    /// The header of a frame with a good length.
    #[inline(always)]
    fn head(&self, field: usize, payload: usize) -> Head {
        let varint = if self.load == Load::Varint { field } else { 0 };
        let start = self.strip as usize + if self.keep_header { 0 } else { varint };
        Head { total: self.header as usize + varint + payload, start, field }
    }

    #[inline(always)]
    fn meta(&self, frame: &[u8], field: usize) -> Meta {
        Meta::kind(if self.type_width == 0 { 0 } else { self.type_word(frame, field) })
    }

    /// All bytes of a frame are here.
    #[inline(always)]
    fn frame(&self, state: &mut State, frame: &[u8], head: Head) -> Step {
        state.track.advance(head.total);
        let payload = Span { start: head.start, end: head.total };
        Step::Frame { payload, meta: self.meta(frame, head.field), consumed: head.total }
    }

    /// Whatever is not the common case.
    #[cold]
    #[inline(never)]
    fn step_slow(&self, state: &mut State, avail: &[u8]) -> Step {
        if state.track.busy() {
            return state.track.settle(avail.len());
        }
        if state.track.phase & AWAITED != 0 {
            let field = usize::from(state.track.phase & !AWAITED);
            return self.complete(state, avail, field, state.value as usize);
        }
        match self.width.fixed() {
            Some(width) => self.step_fixed(state, avail, usize::from(width)),
            None => self.step_varint(state, avail),
        }
    }

    fn step_fixed(&self, state: &mut State, avail: &[u8], width: usize) -> Step {
        // Nothing is decided before the whole header is here.
        let field = self.offset as usize..self.offset as usize + width;
        let (Some(field), true) = (avail.get(field), avail.len() >= self.header as usize) else {
            return need(avail.len(), self.header as usize);
        };
        examined(width);
        let value = number(field, self.big_endian);
        match self.payload(value) {
            Some(payload) => self.complete(state, avail, width, payload),
            None => self.refuse(state, avail.len(), width, value),
        }
    }

    fn step_varint(&self, state: &mut State, avail: &[u8]) -> Step {
        let offset = self.offset as usize;
        let mut partial = Partial { value: state.value, bytes: state.track.phase };
        loop {
            let at = offset + partial.len();
            let Some(&byte) = avail.get(at) else {
                state.value = partial.value;
                state.track.phase = partial.bytes;
                return need(avail.len(), at + 1);
            };
            examined(1);
            match partial.push(byte, self.width.varint_bits()) {
                Read::Done(value) => {
                    return match self.payload(value) {
                        Some(payload) => self.complete(state, avail, partial.len(), payload),
                        None => self.refuse(state, avail.len(), partial.len(), value),
                    };
                }
                Read::More => {}
                Read::Bad => {
                    let byte = u64::from(byte);
                    return state.track.fail(ErrorKind::NonMinimal, at, byte, 0);
                }
            }
        }
    }

    /// The payload's length for a value of the length field, if that is allowed.
    #[inline(always)]
    fn payload(&self, value: u64) -> Option<usize> {
        let allowed = value.wrapping_sub(self.least) <= self.span;
        allowed.then(|| value.wrapping_add_signed(self.delta) as usize)
    }

    /// The length is good: the frame, or what is missing of it.
    fn complete(&self, state: &mut State, avail: &[u8], field: usize, payload: usize) -> Step {
        let head = self.head(field, payload);
        let Some(bytes) = avail.get(..head.total) else {
            state.value = payload as u64;
            state.track.phase = field as u8 | AWAITED;
            return need(avail.len(), head.total);
        };
        state.value = 0;
        state.track.phase = 0;
        self.frame(state, bytes, head)
    }

    /// The type word, right after the length.
    fn type_word(&self, avail: &[u8], field: usize) -> u32 {
        let start = self.offset as usize + field;
        let word = avail.get(start..start + usize::from(self.type_width)).unwrap_or_default();
        examined(word.len());
        number(word, self.big_endian) as u32
    }

    #[cold]
    fn refuse(&self, state: &mut State, avail: usize, field: usize, value: u64) -> Step {
        let offset = self.offset as usize;
        if value < self.least {
            return state.track.fail(ErrorKind::BadLength, offset, value, self.least);
        }
        // Reported as the size of the payload, so that it compares with the limit.
        let limit = self.max as u64;
        let declared = value.saturating_add_signed(self.delta);
        let varint = if self.width.fixed().is_some() { 0 } else { field };
        let header = u64::from(self.header) + varint as u64;
        match declared.checked_add(header) {
            Some(total) if self.oversize == Oversize::Skip && declared < u64::MAX => {
                state.value = 0;
                state.track.phase = 0;
                state.track.refuse(ErrorKind::TooLarge, offset, (declared, limit), total, avail)
            }
            _ => state.track.fail(ErrorKind::TooLarge, offset, declared, limit),
        }
    }
}

/// A number of at most eight bytes.
#[inline]
fn number(bytes: &[u8], big_endian: bool) -> u64 {
    let push = |n: u64, &byte: &u8| (n << 8) | u64::from(byte);
    if big_endian { bytes.iter().fold(0, push) } else { bytes.iter().rev().fold(0, push) }
}
