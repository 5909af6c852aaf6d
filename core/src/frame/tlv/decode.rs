//! Reading frames with the 16-byte header.

use super::{
    Damage, FLAG_CHECKED, FLAG_MORE, FLAG_PADDED, FLAG_RESERVED, HEADER, Info, MAGIC, Tlv, VERSION,
    crc32c, crc32c_append, layout,
};
use crate::frame::track::{Track, examined};
use crate::frame::{Eof, ErrorKind, Framing, Glance, Span, Step, need};

/// What a [`Tlv`] remembers between steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct State {
    track: Track,
    /// Once the header is read: the running CRC of the body, and how many bytes it covers.
    crc: u32,
    summed: u32,
    len: u32,
    flags: u8,
}

const _: () = assert!(size_of::<State>() <= 48);

/// A phase: the header was read and is valid.
const BODY: u8 = 1;
/// The first four bytes of the common frames, as a little-endian number, and the bit in it that
/// may differ.
const FRONT: u32 = u32::from_le_bytes([MAGIC[0], MAGIC[1], VERSION | FLAG_CHECKED, 0]);
const MORE: u32 = (FLAG_MORE as u32) << 16;
/// In a gap that was reported, looking for a valid header.
const HUNTING: u8 = 2;

impl Framing for Tlv {
    type State = State;
    type Lookahead = ();

    #[inline]
    fn step(&self, state: &mut State, avail: &[u8]) -> Step {
        match self.glance(state, &mut (), avail, 0) {
            Some(frame) => frame.into(),
            None => self.step_slow(state, avail),
        }
    }

    #[inline(always)]
    fn glance(&self, state: &mut State, _: &mut (), block: &[u8], from: usize) -> Option<Glance> {
        if !state.track.fresh() {
            return None;
        }
        let (header, rest) = block.get(from..)?.split_first_chunk::<HEADER>()?;
        let (front, back) = header.split_first_chunk::<8>()?;
        let (front, back) = (u64::from_le_bytes(*front), u64::from_le_bytes(*back.first_chunk()?));
        let (len, received) = (back as u32, (back >> 32) as u32);
        if front as u32 & !MORE != FRONT || len > self.max || len == 0 {
            return None;
        }
        let (body, rest) = rest.split_at_checked(len as usize)?;
        let trailer = rest.first_chunk()?;
        let crc = crc32c(&header[..12]);
        if crc != received || crc32c_append(crc, body) != u32::from_le_bytes(*trailer) {
            return None;
        }
        let info = Info {
            kind: (front >> 32) as u16,
            stream: (front >> 48) as u16,
            more: front as u32 & MORE != 0,
            padded: false,
            unchecked: false,
        };
        let end = HEADER + len as usize;
        state.track.advance(end + 4);
        Some(Glance { payload: Span { start: HEADER, end }, meta: info.meta(), consumed: end + 4 })
    }

    fn finish(&self, state: &State, rest: &[u8]) -> Eof {
        if let Some(verdict) = state.track.eof() {
            return verdict;
        }
        let have = rest.len() as u64;
        if state.track.phase & HUNTING != 0 {
            return Eof::Discarding;
        }
        if state.track.phase & BODY != 0 {
            let (body, trailer) = layout(state.flags, state.len);
            return Eof::Partial { have, need: HEADER as u64 + body + trailer };
        }
        if have == 0 { Eof::Clean } else { Eof::Partial { have, need: HEADER as u64 } }
    }

    fn position(&self, state: &State) -> u64 {
        state.track.pos
    }

    fn max_pending(&self) -> usize {
        HEADER + (self.max as usize).next_multiple_of(8) + 4
    }
}

/// What is wrong, where in the frame, and the two numbers of the error.
type Defect = (ErrorKind, usize, (u64, u64));

impl Tlv {
    /// Whatever is not the common case.
    #[inline(never)]
    fn step_slow(&self, state: &mut State, avail: &[u8]) -> Step {
        if state.track.busy() {
            return state.track.settle(avail.len());
        }
        if state.track.phase & BODY == 0 {
            let Some((header, _)) = avail.split_first_chunk::<HEADER>() else {
                return self.incomplete(state, avail);
            };
            if let Err((kind, at, (declared, limit))) = self.read_header(state, header) {
                return self.bad_header(state, avail, kind, at, (declared, limit));
            }
            if state.len > self.max {
                return self.oversize(state, avail.len());
            }
            state.track.phase = BODY;
        }
        self.body(state, avail)
    }

    /// Checks a header and takes its length, flags and CRC into the state.
    #[inline]
    fn read_header(&self, state: &mut State, header: &[u8; HEADER]) -> Result<(), Defect> {
        let [m0, m1, version_flags, class, ..] = *header;
        if [m0, m1] != MAGIC || version_flags & (0xf0 | FLAG_RESERVED) != VERSION || class != 0 {
            return Err(defect_of(header).unwrap_or((ErrorKind::BadMagic, 0, (0, 0))));
        }
        let word = |at: usize| {
            header.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b))
        };
        let crc = crc32c(&header[..12]);
        let received = word(12);
        if crc != received {
            return Err((ErrorKind::HeaderChecksum, 12, (received.into(), crc.into())));
        }
        state.len = word(8);
        state.flags = version_flags & 0xf;
        state.crc = crc;
        state.summed = 0;
        Ok(())
    }

    /// The header is valid and allowed: sums what is here of the body and, with the last byte,
    /// decides.
    #[inline]
    fn body(&self, state: &mut State, avail: &[u8]) -> Step {
        let (body, trailer) = layout(state.flags, state.len);
        let (body, total) = (HEADER + body as usize, HEADER + (body + trailer) as usize);
        if trailer > 0 {
            let summed = HEADER + state.summed as usize;
            if let Some(fresh) = avail.get(summed..body.min(avail.len())) {
                state.crc = crc32c_append(state.crc, fresh);
                state.summed += fresh.len() as u32;
            }
        }
        if avail.len() < total {
            return need(avail.len(), total);
        }
        state.track.phase = 0;
        if trailer > 0 {
            let received = avail.get(body..).and_then(<[u8]>::first_chunk);
            let received = received.map_or(0, |b| u32::from_le_bytes(*b));
            if received != state.crc {
                let numbers = (received.into(), state.crc.into());
                return self.refuse(state, ErrorKind::BodyChecksum, body, numbers, total);
            }
        }
        let end = HEADER + state.len as usize;
        if end < body
            && let Some(at) = avail.get(end..body).and_then(|pad| pad.iter().position(|&b| b != 0))
        {
            return self.refuse(state, ErrorKind::BadPadding, end + at, (0, 0), total);
        }
        state.track.advance(total);
        let number = |at| avail.get(at..).and_then(<[u8]>::first_chunk);
        let number = |at| number(at).map_or(0, |b| u16::from_le_bytes(*b));
        let info = Info {
            kind: number(4),
            stream: number(6),
            more: state.flags & FLAG_MORE != 0,
            padded: state.flags & FLAG_PADDED != 0,
            unchecked: state.flags & FLAG_CHECKED == 0,
        };
        let payload = Span { start: HEADER, end };
        Step::Frame { payload, meta: info.meta(), consumed: total }
    }

    /// Less than a header: what of it is already wrong, or how much is missing.
    #[cold]
    fn incomplete(&self, state: &mut State, avail: &[u8]) -> Step {
        match defect_of(avail) {
            Some((kind, at, numbers)) => self.bad_header(state, avail, kind, at, numbers),
            // Each of the first four bytes can be wrong on its own.
            None if avail.len() < 4 => need(0, 1),
            None => need(avail.len(), HEADER),
        }
    }

    #[cold]
    fn bad_header(
        &self,
        state: &mut State,
        avail: &[u8],
        kind: ErrorKind,
        at: usize,
        numbers: (u64, u64),
    ) -> Step {
        if self.damage != Damage::Resync {
            return state.track.fail(kind, at, numbers.0, numbers.1);
        }
        if state.track.phase & HUNTING == 0 {
            state.track.phase = HUNTING;
            return state.track.refuse(kind, at, numbers, 1, avail.len());
        }
        let next = avail.get(1..).and_then(|rest| memchr::memchr(MAGIC[0], rest));
        let consumed = next.map_or(avail.len(), |i| i + 1);
        examined(consumed);
        state.track.advance(consumed);
        Step::Skip { consumed }
    }

    #[cold]
    fn oversize(&self, state: &mut State, avail: usize) -> Step {
        let (len, max) = (u64::from(state.len), u64::from(self.max));
        if self.damage == Damage::Fatal {
            return state.track.fail(ErrorKind::TooLarge, 8, len, max);
        }
        let (body, trailer) = layout(state.flags, state.len);
        state.track.phase = 0;
        let total = HEADER as u64 + body + trailer;
        state.track.refuse(ErrorKind::TooLarge, 8, (len, max), total, avail)
    }

    /// A whole frame with a valid header and a bad body.
    #[cold]
    fn refuse(
        &self,
        state: &mut State,
        kind: ErrorKind,
        at: usize,
        numbers: (u64, u64),
        total: usize,
    ) -> Step {
        if self.damage == Damage::Fatal {
            return state.track.fail(kind, at, numbers.0, numbers.1);
        }
        state.track.refuse(kind, at, numbers, total as u64, total)
    }
}

/// The first byte that cannot stand where it does, among the first four of a header.
fn defect_of(header: &[u8]) -> Option<Defect> {
    let front = header.get(..4).unwrap_or(header);
    examined(front.len());
    front.iter().enumerate().find_map(|(at, &byte)| {
        let kind = match at {
            0 if byte == 0 => ErrorKind::ZeroFill,
            0 | 1 if byte != MAGIC[at] => ErrorKind::BadMagic,
            2 if byte & 0xf0 != VERSION => ErrorKind::BadVersion,
            2 if byte & FLAG_RESERVED != 0 => ErrorKind::Reserved,
            3 if byte != 0 => ErrorKind::Reserved,
            _ => return None,
        };
        Some((kind, at, (byte.into(), 0)))
    })
}
