//! Writing frames with the 16-byte header.

use super::{
    FLAG_CHECKED, FLAG_MORE, FLAG_PADDED, HEADER, Info, MAGIC, Tlv, VERSION, crc32c, crc32c_append,
    layout,
};
use crate::frame::{Encode, EncodeError, Header, Meta, Patch, Sink};

impl Tlv {
    /// The header of a frame with `len` bytes of body, for a gathered write: header, body,
    /// [`trailer`](Self::trailer).
    ///
    /// # Errors
    /// A body over the limit, or a meta that is no [`Info`].
    #[inline]
    pub fn header(&self, meta: Meta, len: usize) -> Result<Header, EncodeError> {
        let info = Info::of(meta);
        if info.meta() != meta {
            return Err(EncodeError::BadMeta);
        }
        if len > self.max as usize {
            return Err(EncodeError::TooLarge { len: len as u64, limit: self.max.into() });
        }
        let flags = flags(info);
        let mut bytes = [0; HEADER];
        bytes[..2].copy_from_slice(&MAGIC);
        bytes[2] = VERSION | flags;
        bytes[4..6].copy_from_slice(&info.kind.to_le_bytes());
        bytes[6..8].copy_from_slice(&info.stream.to_le_bytes());
        bytes[8..12].copy_from_slice(&(len as u32).to_le_bytes());
        let crc = crc32c(&bytes[..12]);
        bytes[12..].copy_from_slice(&crc.to_le_bytes());
        let mut header = Header::new();
        header.push(&bytes);
        Ok(header)
    }

    /// What follows the body under `header`: padding and the body's CRC, as far as the header
    /// announces them. `body` may come in parts.
    #[inline]
    pub fn trailer<'a>(&self, header: &Header, body: impl IntoIterator<Item = &'a [u8]>) -> Header {
        let mut trailer = Header::new();
        let number = |at: usize| header.get(at..).and_then(<[u8]>::first_chunk);
        let (Some(len), Some(seed)) = (number(8), number(12)) else { return trailer };
        let (len, seed) = (u32::from_le_bytes(*len), u32::from_le_bytes(*seed));
        let flags = header.get(2).copied().unwrap_or_default();
        let (padded, crc_len) = layout(flags, len);
        trailer.push_zeros((padded - u64::from(len)) as usize);
        if crc_len > 0 {
            let crc = body.into_iter().fold(seed, crc32c_append);
            let crc = crc32c_append(crc, &trailer);
            trailer.push(&crc.to_le_bytes());
        }
        trailer
    }

    /// Makes room for the header of a frame whose size is not known yet. Append the body, then
    /// [`finish`](Self::finish).
    pub fn begin<P: Patch>(&self, out: &mut P) -> Open<P> {
        let mark = out.mark();
        out.put(&Header::zeros(HEADER));
        Open { mark, body: out.mark(), from: out.appended() }
    }

    /// Fills in the header and appends the trailer of the frame opened with
    /// [`begin`](Self::begin); returns its size. Only its body may have been appended since.
    ///
    /// # Errors
    /// As [`header`](Self::header); everything since `begin` is taken back then.
    ///
    /// ```
    /// use drywire::conn::Outbox;
    /// use drywire::frame::{Meta, datagram, tlv::Tlv};
    /// let codec = Tlv::new(100);
    /// let mut out = Outbox::new();
    /// let open = codec.begin(&mut out);
    /// out.put(b"as long as ");
    /// out.put(b"it gets");
    /// let n = codec.finish(open, Meta::default(), &mut out)?;
    /// assert_eq!(n, out.len());
    /// let frame = datagram(&codec, out.slices().next().unwrap())?;
    /// assert_eq!(frame.payload, b"as long as it gets");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn finish<P: Patch>(
        &self,
        open: Open<P>,
        meta: Meta,
        out: &mut P,
    ) -> Result<usize, EncodeError> {
        let len = (out.appended() - open.from) as usize;
        match self.header(meta, len) {
            Ok(header) => {
                out.replace(open.mark, HEADER, &header);
                let trailer = self.trailer(&header, out.since(open.body));
                out.put(&trailer);
                Ok(HEADER + len + trailer.len())
            }
            Err(error) => {
                out.take_back(open.mark);
                Err(error)
            }
        }
    }
}

/// A frame whose header is still to be filled in.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Open<P: Patch> {
    mark: P::Mark,
    body: P::Mark,
    from: u64,
}

impl Encode for Tlv {
    fn encoded_len(&self, meta: Meta, payload: &[u8]) -> Result<usize, EncodeError> {
        let info = Info::of(meta);
        if info.meta() != meta {
            return Err(EncodeError::BadMeta);
        }
        if payload.len() > self.max as usize {
            let (len, limit) = (payload.len() as u64, self.max.into());
            return Err(EncodeError::TooLarge { len, limit });
        }
        let (body, trailer) = layout(flags(info), payload.len() as u32);
        Ok(HEADER + (body + trailer) as usize)
    }

    #[inline]
    fn write_checked<S: Sink>(&self, meta: Meta, payload: &[u8], out: &mut S) {
        if let Ok(header) = self.header(meta, payload.len()) {
            out.put(&header);
            out.put(payload);
            out.put(&self.trailer(&header, [payload]));
        }
    }
}

#[inline]
fn flags(info: Info) -> u8 {
    let mut flags = if info.unchecked { 0 } else { FLAG_CHECKED };
    if info.padded {
        flags |= FLAG_PADDED;
    }
    if info.more {
        flags |= FLAG_MORE;
    }
    flags
}
