//! Writing length-prefixed frames.

use super::config::Load;
use super::{LengthPrefix, varint};
use crate::frame::{Encode, EncodeError, Header, Meta, Patch, Sink};

impl LengthPrefix {
    /// The header of a frame with `len` bytes of payload: for a gathered write that leaves the
    /// payload where it is. Opaque bytes are zero; fill them in through the slice.
    ///
    /// # Errors
    /// What the decoder would refuse, and a length that the field cannot hold.
    ///
    /// ```
    /// use drywire::frame::{Meta, length_prefix::LengthPrefix};
    /// let header = LengthPrefix::u16_be(500).header(Meta::default(), 5)?;
    /// assert_eq!(*header, *b"\0\x05");
    /// # Ok::<(), drywire::frame::EncodeError>(())
    /// ```
    #[inline(always)]
    pub fn header(&self, meta: Meta, len: usize) -> Result<Header, EncodeError> {
        let value = self.value(meta, len)?;
        let mut header = Header::new();
        header.push_zeros(self.offset as usize);
        let mut before = self.offset as usize;
        match self.width.fixed() {
            Some(width) => {
                self.push_number(&mut header, value, usize::from(width));
                before += usize::from(width);
            }
            None => {
                let (bytes, n) = varint::write(value);
                header.push(bytes.get(..n).unwrap_or_default());
            }
        }
        if self.type_width != 0 {
            self.push_number(&mut header, u64::from(meta.kind), usize::from(self.type_width));
            before += usize::from(self.type_width);
        }
        header.push_zeros(self.header as usize - before);
        Ok(header)
    }

    /// Makes room for the header of a frame whose size is not known yet. Append the payload, then
    /// [`finish`](Self::finish).
    pub fn begin<P: Patch>(&self, out: &mut P) -> Open<P> {
        let mark = out.mark();
        let varint = if self.width.fixed().is_some() { 0 } else { self.width.most() };
        let reserved = self.header as usize + usize::from(varint);
        out.put(Header::zeros(reserved).as_ref());
        Open { mark, reserved, from: out.appended() }
    }

    /// Fills in the header of the frame opened with [`begin`](Self::begin); returns the size of
    /// the frame. Nothing but its payload may have been appended since.
    ///
    /// # Errors
    /// As [`header`](Self::header); everything since `begin` is taken back then.
    ///
    /// ```
    /// use drywire::conn::Outbox;
    /// use drywire::frame::{Meta, length_prefix::LengthPrefix};
    /// let codec = LengthPrefix::u32_be(500);
    /// let mut out = Outbox::new();
    /// let open = codec.begin(&mut out);
    /// out.put(b"seven");
    /// out.put_u64(77);
    /// assert_eq!(codec.finish(open, Meta::default(), &mut out)?, 11);
    /// assert_eq!(out.slices().next(), Some(&b"\0\0\0\x07seven77"[..]));
    /// # Ok::<(), drywire::frame::EncodeError>(())
    /// ```
    pub fn finish<P: Patch>(
        &self,
        open: Open<P>,
        meta: Meta,
        out: &mut P,
    ) -> Result<usize, EncodeError> {
        let payload = (out.appended() - open.from) as usize;
        match self.header(meta, payload) {
            Ok(header) => {
                out.replace(open.mark, open.reserved, &header);
                Ok(header.len() + payload)
            }
            Err(error) => {
                out.take_back(open.mark);
                Err(error)
            }
        }
    }

    /// What to write into the length field.
    #[inline(always)]
    fn value(&self, meta: Meta, len: usize) -> Result<u64, EncodeError> {
        let too_large = |limit: u64| EncodeError::TooLarge { len: len as u64, limit };
        if len > self.max {
            return Err(too_large(self.max as u64));
        }
        let smallest = self.delta.max(0) as u64;
        if (len as u64) < smallest {
            return Err(EncodeError::WrongLength { len: len as u64, must: smallest });
        }
        let value = (len as u64).wrapping_sub(self.delta as u64);
        let most = self.width.max_value();
        if value > most {
            return Err(too_large(most.saturating_add_signed(self.delta)));
        }
        let type_bits = 8 * u32::from(self.type_width);
        if meta.extra != 0 || u64::from(meta.kind) >> type_bits != 0 {
            return Err(EncodeError::BadMeta);
        }
        Ok(value)
    }

    #[inline(always)]
    fn push_number(&self, header: &mut Header, value: u64, width: usize) {
        if self.big_endian {
            header.push(value.to_be_bytes().get(8 - width..).unwrap_or_default());
        } else {
            header.push(value.to_le_bytes().get(..width).unwrap_or_default());
        }
    }
}

/// A frame whose header is still to be filled in.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Open<P: Patch> {
    mark: P::Mark,
    reserved: usize,
    from: u64,
}

/// Encodes the payload without its header, whatever [`keep_header`](super::Builder::keep_header)
/// and [`strip`](super::Builder::strip) show of it when decoding. Opaque bytes are zero.
impl Encode for LengthPrefix {
    #[inline(always)]
    fn encoded_len(&self, meta: Meta, payload: &[u8]) -> Result<usize, EncodeError> {
        let value = self.value(meta, payload.len())?;
        let varint = if self.width.fixed().is_some() { 0 } else { varint::len(value) };
        Ok(self.header as usize + varint + payload.len())
    }

    #[inline]
    fn encode_slice(
        &self,
        meta: Meta,
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<usize, EncodeError> {
        let value = self.value(meta, payload.len())?;
        let room = match self.load {
            // Nothing but the field before the payload: put there at once.
            Load::U16Be if self.header == 2 => front(out, payload, (value as u16).to_be_bytes()),
            Load::U16Le if self.header == 2 => front(out, payload, (value as u16).to_le_bytes()),
            Load::U32Be if self.header == 4 => front(out, payload, (value as u32).to_be_bytes()),
            Load::U32Le if self.header == 4 => front(out, payload, (value as u32).to_le_bytes()),
            _ => {
                let header = self.header(meta, payload.len())?;
                let needed = header.len() + payload.len();
                let room = out.get_mut(..needed).ok_or(EncodeError::NoRoom { needed })?;
                let (front, back) = room.split_at_mut(header.len());
                front.copy_from_slice(&header);
                Ok((back, needed))
            }
        };
        let (room, needed) = room?;
        room.copy_from_slice(payload);
        Ok(needed)
    }

    #[inline(always)]
    fn write_checked<S: Sink>(&self, meta: Meta, payload: &[u8], out: &mut S) {
        if let Ok(header) = self.header(meta, payload.len()) {
            out.put(&header);
            out.put(payload);
        }
    }
}

/// Writes a header of a known size; gives the place of the payload after it and the frame's size.
#[inline(always)]
fn front<'a, const N: usize>(
    out: &'a mut [u8],
    payload: &[u8],
    header: [u8; N],
) -> Result<(&'a mut [u8], usize), EncodeError> {
    let needed = N + payload.len();
    let room = out.get_mut(..needed).and_then(<[u8]>::split_first_chunk_mut);
    let (front, back) = room.ok_or(EncodeError::NoRoom { needed })?;
    *front = header;
    Ok((back, needed))
}
