//! The compact profile: an 8-byte header and one checksum, for messages up to 64 KiB on reliable
//! transports.

use super::{crc32c, crc32c_append};
use crate::frame::track::{Track, examined};
use crate::frame::{
    Encode, EncodeError, Eof, ErrorKind, Framing, Header, Meta, Sink, Span, Step, need,
};

/// First byte of a frame: the profile and its version.
const MAGIC: u8 = 0xF6;
/// Bytes of a header.
const HEADER: usize = 8;

/// Frames with the 8-byte header.
///
/// ```text
///  0      1      2        4             8
/// +------+------+--------+-------------+------ - - -
/// | F6   | type | length | CRC-32C     | body
/// +------+------+--------+-------------+------ - - -
/// ```
/// Little-endian; the CRC covers the first four bytes and the body. Without a checksum of the
/// header a length cannot be trusted after damage, so that any damage is fatal.
/// [`Meta::kind`] is the type.
///
/// ```
/// use drywire::frame::{Encode, Meta, datagram, tlv::Compact};
/// let codec = Compact::new(1000);
/// let mut wire = [0; 10];
/// codec.encode_slice(Meta::kind(7), b"hi", &mut wire)?;
/// assert_eq!(wire[..4], *b"\xF6\x07\x02\0");
/// assert_eq!(datagram(&codec, &wire)?.payload, b"hi");
/// wire[9] ^= 1;
/// assert!(datagram(&codec, &wire).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compact {
    max: u16,
}

/// What a [`Compact`] remembers between steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct State {
    track: Track,
    /// The CRC so far, of the first four bytes and `summed` bytes of the body.
    crc: u32,
    summed: u16,
    len: u16,
    /// Whether the header was read.
    body: u8,
}

const _: () = assert!(size_of::<State>() <= 48);

impl Compact {
    /// The largest body.
    pub const MAX: usize = u16::MAX as usize;

    /// Bodies of at most `max` bytes ([`Compact::MAX`] if it is more).
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max: max.min(Self::MAX) as u16 }
    }

    /// The header of a frame around `payload`, for a gathered write.
    ///
    /// # Errors
    /// A body over the limit, or a type over 255.
    #[inline]
    pub fn header(&self, meta: Meta, payload: &[u8]) -> Result<Header, EncodeError> {
        self.encoded_len(meta, payload)?;
        let [l0, l1] = (payload.len() as u16).to_le_bytes();
        let front = [MAGIC, meta.kind as u8, l0, l1];
        let mut header = Header::new();
        header.push(&front);
        header.push(&crc32c_append(crc32c(&front), payload).to_le_bytes());
        Ok(header)
    }
}

impl Framing for Compact {
    type State = State;
    type Lookahead = ();

    #[inline]
    fn step(&self, state: &mut State, avail: &[u8]) -> Step {
        if state.track.busy() {
            return state.track.settle(avail.len());
        }
        if state.body == 0 {
            if let Some(&first) = avail.first()
                && first != MAGIC
            {
                let zero = if first == 0 { ErrorKind::ZeroFill } else { ErrorKind::BadMagic };
                return state.track.fail(zero, 0, first.into(), 0);
            }
            let Some(front) = avail.first_chunk::<4>() else {
                return need(avail.len(), if avail.is_empty() { 1 } else { 4 });
            };
            examined(front.len());
            let len = u16::from_le_bytes([front[2], front[3]]);
            if len > self.max {
                return state.track.fail(ErrorKind::TooLarge, 2, len.into(), self.max.into());
            }
            *state = State { body: 1, len, crc: crc32c(front), ..*state };
            state.summed = 0;
        }
        let total = HEADER + usize::from(state.len);
        let summed = HEADER + usize::from(state.summed);
        if let Some(fresh) = avail.get(summed..total.min(avail.len())) {
            state.crc = crc32c_append(state.crc, fresh);
            state.summed += fresh.len() as u16;
        }
        if avail.len() < total {
            return need(avail.len(), total);
        }
        let received = avail.get(4..).and_then(<[u8]>::first_chunk);
        let received = received.map_or(0, |b| u32::from_le_bytes(*b));
        if received != state.crc {
            let crc = u64::from(state.crc);
            return state.track.fail(ErrorKind::BodyChecksum, 4, received.into(), crc);
        }
        state.body = 0;
        state.track.advance(total);
        let kind = avail.get(1).copied().map_or(0, u32::from);
        let payload = Span { start: HEADER, end: total };
        Step::Frame { payload, meta: Meta::kind(kind), consumed: total }
    }

    fn finish(&self, state: &State, rest: &[u8]) -> Eof {
        let have = rest.len() as u64;
        match state.track.eof() {
            Some(verdict) => verdict,
            None if have == 0 => Eof::Clean,
            None if state.body == 0 => Eof::Partial { have, need: HEADER as u64 },
            None => Eof::Partial { have, need: HEADER as u64 + u64::from(state.len) },
        }
    }

    fn position(&self, state: &State) -> u64 {
        state.track.pos
    }

    fn max_pending(&self) -> usize {
        HEADER + usize::from(self.max)
    }
}

impl Encode for Compact {
    fn encoded_len(&self, meta: Meta, payload: &[u8]) -> Result<usize, EncodeError> {
        if meta.extra != 0 || meta.kind > 0xff {
            return Err(EncodeError::BadMeta);
        }
        if payload.len() > usize::from(self.max) {
            let (len, limit) = (payload.len() as u64, self.max.into());
            return Err(EncodeError::TooLarge { len, limit });
        }
        Ok(HEADER + payload.len())
    }

    fn write_checked<S: Sink>(&self, meta: Meta, payload: &[u8], out: &mut S) {
        if let Ok(header) = self.header(meta, payload) {
            out.put(&header);
            out.put(payload);
        }
    }
}
