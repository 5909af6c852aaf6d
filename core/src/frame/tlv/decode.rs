//! Reading frames with the 16-byte header.

use core::hint::cold_path;

use super::{
    Damage, FLAG_CHECKED, FLAG_MORE, FLAG_PADDED, FLAG_RESERVED, HEADER, Info, MAGIC, Tlv, VERSION,
    crc32c, crc32c_append, layout,
};
#[cfg(target_arch = "x86_64")]
use crate::frame::crc::by_sse;
use crate::frame::crc::{append, by_table};
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

/// The next frames of a block, found whole and good. They are checked in one go, so that the CPU's
/// instruction for the checksum is in the loop instead of behind a call for each.
#[derive(Clone, Copy, Debug)]
pub struct Lookahead {
    sizes: Sizes,
    /// The next one begins this many bytes before the end of the block.
    left: usize,
    /// How many to look for next time.
    most: u32,
}

/// Sizes of frames, the next one lowest, sixteen bits each, in two registers. Larger frames are not
/// looked for; with those the call no longer matters. (One number of 128 bits would be shifted
/// slowly by some CPUs.)
#[derive(Clone, Copy, Debug, Default)]
struct Sizes {
    next: u64,
    /// After those in `next`; none if there are none in `next`.
    then: u64,
    /// So many frames of the first size come before all of these.
    same: u32,
}

impl Default for Lookahead {
    fn default() -> Self {
        Self { sizes: Sizes::default(), left: usize::MAX, most: 1 }
    }
}

/// At most so many frames are checked ahead, and no more once this many bytes are.
const AHEAD: u32 = 8;
const AHEAD_BYTES: usize = 4096;
/// If they are all of one size, so many more of it at most, in as many bytes again.
const AHEAD_SAME: u32 = 56;

impl Framing for Tlv {
    type State = State;
    type Lookahead = Lookahead;

    fn step(&self, state: &mut State, avail: &[u8]) -> Step {
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
        if ahead.sizes.next == 0 || ahead.left != avail.len() {
            cold_path();
            // Who takes few frames at a time off a block forgets the others each time.
            ahead.sizes = self.look_ahead(avail, ahead.most);
            ahead.most = (ahead.most * AHEAD).min(AHEAD + AHEAD_SAME);
            ahead.left = avail.len();
        }
        let size = usize::from(ahead.sizes.next as u16);
        let (bytes, rest) = avail.split_at_checked(size)?;
        let (header, _) = bytes.split_first_chunk::<HEADER>()?;
        let payload = bytes.get(HEADER..size - 4)?;
        if ahead.sizes.same > 0 {
            ahead.sizes.same -= 1;
        } else {
            ahead.sizes.next >>= 16;
            if ahead.sizes.next == 0 {
                ahead.sizes = Sizes { next: ahead.sizes.then, ..Sizes::default() };
            }
        }
        ahead.left = rest.len();
        let front = u64::from_le_bytes(*header.first_chunk()?);
        let info = Info {
            kind: (front >> 32) as u16,
            stream: (front >> 48) as u16,
            more: front as u32 & MORE != 0,
            padded: false,
            unchecked: false,
        };
        Some(Glance { bytes, payload, start: HEADER, meta: info.meta(), rest })
    }

    #[inline(always)]
    fn glanced(&self, state: &mut State, position: u64) {
        state.track.pos = position;
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
    #[inline(never)]
    fn look_ahead(&self, avail: &[u8], most: u32) -> Sizes {
        #[cfg(target_arch = "x86_64")]
        if let Some(sse) = self.cpu.0.as_sse4_2() {
            return run_by_instruction(sse, self.max, avail, most);
        }
        run(self.max, avail, most, by_table)
    }

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

#[cfg(target_arch = "x86_64")]
fearless_simd::kernel!(
    fn run_by_instruction(sse: Sse4_2, max: u32, avail: &[u8], most: u32) -> Sizes {
        run(max, avail, most, |register, bytes| by_sse(register, bytes))
    }
);

/// Around the body.
const AROUND: u32 = HEADER as u32 + 4;

/// The sizes of the frames at the front of `avail`, `most` of them, as far as they are whole, good
/// and of the common kind: checked, not padded, not empty, not large.
#[inline(always)]
fn run(max: u32, avail: &[u8], most: u32, short: impl Fn(u32, &[u8]) -> u32 + Copy) -> Sizes {
    let max = max.min(u32::from(u16::MAX) - AROUND);
    // In at the top, so that each shift is by a constant; the first four, and the last four.
    let (mut first, mut last) = (0, 0);
    let mut count = 0;
    let mut rest = avail;
    while count < most.min(AHEAD) {
        let Some((size, after)) = good(max, rest, short) else { break };
        last = last >> 16 | u64::from(size) << 48;
        count += 1;
        if count == AHEAD / 2 {
            first = last;
        }
        rest = after;
        if avail.len() - rest.len() >= AHEAD_BYTES {
            break;
        }
    }
    match count {
        0 => Sizes::default(),
        1..4 => Sizes { next: last >> (16 * (AHEAD / 2 - count)), then: 0, same: 0 },
        4 => Sizes { next: last, then: 0, same: 0 },
        5..AHEAD => Sizes { next: first, then: last >> (16 * (AHEAD - count)), same: 0 },
        _ if first != last || last != last.rotate_left(16) => {
            Sizes { next: first, then: last, same: 0 }
        }
        _ => {
            let size = usize::from(last as u16).max(1);
            let more = (AHEAD_BYTES / size).min((most - AHEAD) as usize);
            let like = rest.chunks_exact(size).take(more);
            let same = like.take_while(|frame| is_good(frame, short)).count();
            Sizes { next: first, then: last, same: same as u32 }
        }
    }
}

/// Whether all of `frame` is a frame.
#[inline(always)]
fn is_good(frame: &[u8], short: impl Fn(u32, &[u8]) -> u32 + Copy) -> bool {
    let len = (frame.len() as u32).wrapping_sub(AROUND);
    good(len, frame, short).is_some_and(|(size, _)| size as usize == frame.len())
}

/// The size of the frame at the front of `avail`, and what follows it.
#[inline(always)]
fn good(max: u32, avail: &[u8], short: impl Fn(u32, &[u8]) -> u32 + Copy) -> Option<(u32, &[u8])> {
    let (header, after) = avail.split_first_chunk::<HEADER>()?;
    let [front, len, received] = [0, 8, 12].map(|at| {
        let word = header.get(at..).and_then(<[u8]>::first_chunk);
        word.map_or(0, |word| u32::from_le_bytes(*word))
    });
    if front & !MORE != FRONT || len > max || len == 0 {
        return None;
    }
    let (body, after) = after.split_at_checked(len as usize)?;
    let (trailer, after) = after.split_first_chunk()?;
    examined(12);
    let crc = append(0, &header[..12], short);
    if crc != received {
        return None;
    }
    examined(body.len());
    let whole = append(crc, body, short) == u32::from_le_bytes(*trailer);
    whole.then_some((len + AROUND, after))
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
