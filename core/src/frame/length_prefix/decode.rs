//! Reading length-prefixed frames.

use super::config::Load;
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

impl Framing for LengthPrefix {
    type State = State;
    type Lookahead = ();

    #[inline]
    fn step(&self, state: &mut State, avail: &[u8]) -> Step {
        match self.glance(state, &mut (), avail, 0) {
            Some(frame) => frame.into(),
            None => self.step_slow(state, avail),
        }
    }

    /// The next frame cannot be looked at before this one's end is known: that chain (load, swap,
    /// add) is the time a small frame takes, so nothing else is in it.
    #[inline(always)]
    fn glance(&self, state: &mut State, _: &mut (), block: &[u8], from: usize) -> Option<Glance> {
        if !state.track.fresh() {
            return None;
        }
        let avail = block.get(from..)?;
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
            Load::Varint => return self.glance_varint(state, avail, rest),
        };
        if value.wrapping_sub(self.least) > self.span {
            return None;
        }
        let total = (value as usize).wrapping_add_signed(self.bias as isize);
        if avail.len() < total {
            return None;
        }
        examined(field);
        state.track.advance(total);
        let kind = if self.type_width == 0 { 0 } else { self.type_word(avail, field) };
        let payload = Span { start: self.strip as usize, end: total };
        Some(Glance { payload, meta: Meta::kind(kind), consumed: total })
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

impl LengthPrefix {
    #[inline(always)]
    fn glance_varint(&self, state: &mut State, avail: &[u8], rest: &[u8]) -> Option<Glance> {
        let (value, field) = varint::read(rest, self.width.varint_bits())?;
        let total = self.header as usize + field + self.payload(value)?;
        if avail.len() < total {
            return None;
        }
        examined(field);
        Some(self.frame(state, avail, field, total))
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
        let varint = if self.load == Load::Varint { field } else { 0 };
        let total = self.header as usize + varint + payload;
        if avail.len() < total {
            state.value = payload as u64;
            state.track.phase = field as u8 | AWAITED;
            return need(avail.len(), total);
        }
        state.value = 0;
        state.track.phase = 0;
        self.frame(state, avail, field, total).into()
    }

    #[inline(always)]
    fn frame(&self, state: &mut State, avail: &[u8], field: usize, total: usize) -> Glance {
        let varint = if self.load == Load::Varint { field } else { 0 };
        state.track.advance(total);
        let kind = if self.type_width == 0 { 0 } else { self.type_word(avail, field) };
        let start = self.strip as usize + if self.keep_header { 0 } else { varint };
        Glance { payload: Span { start, end: total }, meta: Meta::kind(kind), consumed: total }
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
