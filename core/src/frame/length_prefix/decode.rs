//! Reading length-prefixed frames.

use super::varint::{Partial, Read};
use super::{LengthPrefix, Oversize};
use crate::frame::track::{Track, examined};
use crate::frame::{Eof, ErrorKind, Framing, Meta, Span, Step, need};

/// What a [`LengthPrefix`] remembers between steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct State {
    track: Track,
    /// While a varint is incomplete: its first bytes. While a payload is awaited: its length.
    value: u64,
    /// Bytes of the length field that were read; [`AWAITED`] is set once it is complete.
    field: u8,
}

const _: () = assert!(size_of::<State>() <= 48);

/// In [`State::field`]: the header is read and was good, the payload is not all here.
const AWAITED: u8 = 0x80;

impl Framing for LengthPrefix {
    type State = State;
    type Lookahead = ();

    #[inline]
    fn step(&self, state: &mut State, avail: &[u8]) -> Step {
        if state.track.busy() {
            return state.track.settle(avail.len());
        }
        if state.field & AWAITED != 0 {
            let field = usize::from(state.field & !AWAITED);
            return self.complete(state, avail, field, state.value as usize);
        }
        match self.width.fixed() {
            Some(width) => self.step_fixed(state, avail, usize::from(width)),
            None => self.step_varint(state, avail),
        }
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
    #[inline]
    fn step_fixed(&self, state: &mut State, avail: &[u8], width: usize) -> Step {
        let Some(value) = self.load(avail, width) else {
            return need(avail.len(), self.header as usize);
        };
        examined(width);
        match self.payload(value) {
            Some(payload) => self.complete(state, avail, width, payload),
            None => self.refuse(state, avail.len(), width, value),
        }
    }

    /// The length field, in one load where eight bytes are there. `None` before the whole header
    /// is: nothing is decided earlier.
    #[inline]
    fn load(&self, avail: &[u8], width: usize) -> Option<u64> {
        if avail.len() < self.header as usize {
            return None;
        }
        let field = avail.get(self.offset as usize..)?;
        if let Some(eight) = field.first_chunk::<8>() {
            let unused = 64 - 8 * width as u32;
            return Some(if self.big_endian {
                u64::from_be_bytes(*eight) >> unused
            } else {
                u64::from_le_bytes(*eight) << unused >> unused
            });
        }
        Some(number(field.get(..width)?, self.big_endian))
    }

    #[inline]
    fn step_varint(&self, state: &mut State, avail: &[u8]) -> Step {
        let offset = self.offset as usize;
        let mut partial = Partial { value: state.value, bytes: state.field };
        loop {
            let at = offset + partial.len();
            let Some(&byte) = avail.get(at) else {
                state.value = partial.value;
                state.field = partial.bytes;
                return need(avail.len(), self.header as usize + partial.len() + 1);
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
    #[inline]
    fn payload(&self, value: u64) -> Option<usize> {
        let allowed = value.wrapping_sub(self.least) <= self.span;
        allowed.then(|| value.wrapping_add_signed(self.delta) as usize)
    }

    /// The length is good: the frame, or what is missing of it.
    #[inline]
    fn complete(&self, state: &mut State, avail: &[u8], field: usize, payload: usize) -> Step {
        let varint = if self.width.fixed().is_some() { 0 } else { field };
        let header = self.header as usize + varint;
        let total = header + payload;
        if avail.len() < total {
            state.value = payload as u64;
            state.field = field as u8 | AWAITED;
            return need(avail.len(), total);
        }
        state.track.advance(total);
        state.value = 0;
        state.field = 0;
        let kind = if self.type_width == 0 { 0 } else { self.type_word(avail, field) };
        let start = if self.keep_header { 0 } else { self.strip as usize + varint };
        Step::Frame { payload: Span { start, end: total }, meta: Meta::kind(kind), consumed: total }
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
                state.field = 0;
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
