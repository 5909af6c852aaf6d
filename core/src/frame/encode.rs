//! Where encoded frames go.

use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, DerefMut};

use super::{EncodeError, Framing, Meta};
use crate::conn::{Mark, Outbox};

/// Something bytes are appended to: an [`Outbox`] or a `Vec<u8>`.
pub trait Sink {
    /// Appends a copy of `bytes`.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Sink for Outbox {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        Self::put(self, bytes);
    }
}

/// A [`Sink`] in which bytes already appended can be changed: for lengths known only afterwards.
///
/// Marks stay good while nothing before them is sent or taken back.
pub trait Patch: Sink {
    /// A position.
    type Mark: Copy + fmt::Debug;

    /// Where the next byte goes.
    fn mark(&self) -> Self::Mark;

    /// Bytes appended so far, for differences.
    fn appended(&self) -> u64;

    /// Replaces the `len` bytes appended at `mark` by the bytes of `with`, which are not more.
    fn replace(&mut self, mark: Self::Mark, len: usize, with: &[u8]);

    /// Takes back everything appended since `mark`.
    fn take_back(&mut self, mark: Self::Mark);

    /// The bytes appended since `mark`, in parts.
    fn since(&self, mark: Self::Mark) -> impl Iterator<Item = &[u8]>;
}

impl Patch for Vec<u8> {
    type Mark = usize;

    fn mark(&self) -> usize {
        self.len()
    }

    fn appended(&self) -> u64 {
        self.len() as u64
    }

    fn replace(&mut self, mark: usize, len: usize, with: &[u8]) {
        self.splice(mark..mark + len, with.iter().copied());
    }

    fn take_back(&mut self, mark: usize) {
        self.truncate(mark);
    }

    fn since(&self, mark: usize) -> impl Iterator<Item = &[u8]> {
        self.get(mark..).into_iter()
    }
}

impl Patch for Outbox {
    type Mark = Mark;

    fn mark(&self) -> Mark {
        Self::mark(self)
    }

    fn appended(&self) -> u64 {
        self.sent_total() + self.len() as u64
    }

    fn replace(&mut self, mark: Mark, len: usize, with: &[u8]) {
        Self::replace(self, mark, len, with);
    }

    fn take_back(&mut self, mark: Mark) {
        self.truncate(mark);
    }

    fn since(&self, mark: Mark) -> impl Iterator<Item = &[u8]> {
        Self::since(self, mark)
    }
}

/// A framing that can also be written. It refuses what its own decoder would refuse: an error
/// means that nothing was written.
///
/// `meta` is what [`Step::Frame`](super::Step::Frame) gives when the frame is read back; where a
/// codec has nothing to say there, [`Meta::default`].
pub trait Encode: Framing {
    /// Size of the whole frame around `payload`, which passed every check.
    ///
    /// # Errors
    /// Whatever the decoder would refuse.
    fn encoded_len(&self, meta: Meta, payload: &[u8]) -> Result<usize, EncodeError>;

    /// Writes the frame around `payload`, for which [`encoded_len`](Encode::encoded_len) was `Ok`.
    #[doc(hidden)]
    fn write_checked<S: Sink>(&self, meta: Meta, payload: &[u8], out: &mut S);

    /// Appends the frame around `payload`; returns its size.
    ///
    /// # Errors
    /// As [`encoded_len`](Encode::encoded_len); nothing is appended then.
    #[inline(always)]
    fn encode<S: Sink>(
        &self,
        meta: Meta,
        payload: &[u8],
        out: &mut S,
    ) -> Result<usize, EncodeError> {
        let len = self.encoded_len(meta, payload)?;
        self.write_checked(meta, payload, out);
        Ok(len)
    }

    /// Writes the frame around `payload` to the front of `out`; returns its size.
    ///
    /// # Errors
    /// [`EncodeError::NoRoom`] with the size needed; otherwise as
    /// [`encoded_len`](Encode::encoded_len). Nothing is written then.
    #[inline(always)]
    fn encode_slice(
        &self,
        meta: Meta,
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<usize, EncodeError> {
        let needed = self.encoded_len(meta, payload)?;
        let room = out.get_mut(..needed).ok_or(EncodeError::NoRoom { needed })?;
        self.write_checked(meta, payload, &mut Fill { room, at: 0 });
        Ok(needed)
    }
}

/// A slice being filled from the front. What does not fit is dropped: callers check first.
struct Fill<'a> {
    room: &'a mut [u8],
    at: usize,
}

impl Sink for Fill<'_> {
    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) {
        if let Some(to) = self.room.get_mut(self.at..self.at + bytes.len()) {
            to.copy_from_slice(bytes);
            self.at += bytes.len();
        }
    }
}

/// The bytes before or after a payload, on the stack: for gathered writes that leave the payload
/// where it is. Derefs to a byte slice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl Header {
    /// The longest header or trailer of any codec.
    pub const MAX: usize = 64;

    #[inline]
    pub(super) const fn new() -> Self {
        Self { bytes: [0; Self::MAX], len: 0 }
    }

    /// `n` zero bytes.
    #[inline]
    pub(super) fn zeros(n: usize) -> Self {
        let mut header = Self::new();
        header.push_zeros(n);
        header
    }

    /// Appends `bytes`; codecs check that their headers fit when they are configured.
    #[inline(always)]
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let at = usize::from(self.len);
        if let Some(to) = self.bytes.get_mut(at..at + bytes.len()) {
            to.copy_from_slice(bytes);
            self.len += bytes.len() as u8;
        }
    }

    /// Appends `n` zero bytes.
    #[inline]
    pub(super) fn push_zeros(&mut self, n: usize) {
        self.len = (usize::from(self.len) + n).min(Self::MAX) as u8;
    }
}

impl Deref for Header {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl DerefMut for Header {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
