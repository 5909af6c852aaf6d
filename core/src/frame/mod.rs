//! Framing: cutting a byte stream into messages, without copying and without losing count.
//!
//! Every codec here is a value that describes a wire format (its configuration) and one pure
//! function, [`Framing::step`]. The caller owns all bytes and a small [`Copy`] state; nothing in
//! this module allocates, except the two layers that say so ([`Joiner`] and [`bytes`]).
//!
//! ```text
//!            Framing::step(&self, &mut State, &[u8]) -> Step      one frame, error or "need more"
//!                │
//!   ┌────────────┼──────────────┬─────────────┬───────────────────────┐
//! frames()     Joiner         batch()      bytes::split      drywire-tokio: Decoder/Encoder
//! iterator     chunks in,     plain data   `Bytes` frames,   for `tokio_util::codec::Framed`
//! over one     only what      out: C and   one split per
//! buffer       straddles is   Python       block
//!              copied
//! ```
//!
//! # What every codec promises
//! - **Chunk-invariant**: however the input is cut up, the same frames and errors come out, at the
//!   same absolute offsets, each with the byte that decides it and never later.
//! - **Progress**: a frame consumes at least one byte, so no input gives endless empty frames.
//! - **Conservation**: frames, skipped bytes, bytes consumed by errors and the rest tile the
//!   stream exactly.
//! - **Bounded**: limits are checked on the header, before anything is awaited. An announced
//!   length allocates nothing; a refused frame is discarded as it arrives.
//! - **Linear**: the state remembers how far was searched; no byte is searched twice.
//! - **Nothing is promoted**: what is left at the end of input is described by
//!   [`Framing::finish`] and never turned into a frame.
//!
//! The tests in `core/tests/frame` hold every codec to these laws through one harness;
//! `docs/framing.md` has the conformance table.
//!
//! # Example
//! ```
//! use drywire::frame::{Frame, Joiner, frames, length_prefix::LengthPrefix};
//! use core::ops::ControlFlow;
//!
//! // u32 big-endian length, then the payload; at most 1 KiB of it.
//! let codec = LengthPrefix::u32_be(1024);
//! let wire = b"\0\0\0\x05hello\0\0\0\x02hi\0\0";
//!
//! // All frames of one buffer, borrowed from it.
//! let mut state = Default::default();
//! let mut it = frames(&codec, &mut state, wire);
//! assert_eq!(it.next().unwrap()?.payload, b"hello");
//! assert_eq!(it.next().unwrap()?.payload, b"hi");
//! assert!(it.next().is_none());
//! assert_eq!(it.consumed(), 15); // two bytes of the next header are left
//!
//! // The same from chunks as a socket delivers them.
//! let mut joiner = Joiner::new(codec);
//! let mut seen = Vec::new();
//! for chunk in wire.chunks(3) {
//!     joiner.push(chunk, |event| {
//!         seen.push(event.map(|frame: Frame<'_>| frame.payload.to_vec()));
//!         ControlFlow::Continue(())
//!     });
//! }
//! assert_eq!(seen, [Ok(b"hello".to_vec()), Ok(b"hi".to_vec())]);
//! # Ok::<(), drywire::frame::FrameError>(())
//! ```

mod batch;
pub mod bytes;
mod cpu;
mod crc;
mod encode;
mod error;
#[cfg(test)]
mod examined;
pub mod fixed;
pub mod http;
mod iter;
mod joiner;
pub mod length_prefix;
pub mod line;
pub mod record;
pub mod resp;
mod scan;
pub mod tlv;
mod track;
pub(crate) mod walk;

use core::fmt::Debug;
use core::num::NonZeroUsize;

pub use batch::{Batch, FrameRef, batch};
pub use encode::{Encode, Header, Patch, Sink};
pub use error::{ConfigError, EncodeError, ErrorKind, FrameError};
pub use iter::{Frames, frames};
pub use joiner::Joiner;

/// A framing: how to find the next message at the front of a byte stream.
///
/// A value of the implementing type is a validated configuration, shared and immutable; what
/// changes is in the [`State`](Framing::State). No method allocates, blocks or panics, whatever
/// the bytes are.
pub trait Framing {
    /// What is remembered between steps: at most 48 bytes of plain integers. The default is the
    /// start of a stream.
    type State: Copy + Default + Eq + Debug;

    /// What a walk over one contiguous block may remember about *that block* (search results a
    /// step already paid for, frames already checked). Start each block with the default.
    type Lookahead: Default + Debug;

    /// Looks at the front of the stream and says what is there.
    ///
    /// `avail` starts at the first byte not yet consumed and holds at least the bytes it held at
    /// the previous step, less those consumed then. The caller drops the bytes that the returned
    /// [`Step`] consumed and calls again until it says [`Step::Need`] or a fatal [`Step::Error`].
    ///
    /// Work is bounded by the bytes not seen before, plus a constant.
    fn step(&self, state: &mut Self::State, avail: &[u8]) -> Step;

    /// [`step`](Framing::step) for a caller that walks one block in place: `avail` is the block
    /// from the first byte not yet consumed to its end, so that its length tells where it is.
    ///
    /// Gives exactly what `step` gives; `ahead` only saves searching the block again.
    #[inline(always)]
    fn step_in(&self, state: &mut Self::State, ahead: &mut Self::Lookahead, avail: &[u8]) -> Step {
        let _ = ahead;
        self.step(state, avail)
    }

    /// Whether a frame begins here and nothing is to be settled before it, so that
    /// [`glance`](Framing::glance) may be asked. It stays so until the next step.
    #[inline(always)]
    fn fresh(&self, state: &Self::State) -> bool {
        let _ = state;
        false
    }

    /// The frame at the front of `avail`, if it is whole and good and nothing unusual about it.
    /// `None` says nothing at all: ask [`step_in`](Framing::step_in). Of no bytes it is `None`.
    ///
    /// `block` is all of the block that the walk is in, of which `avail` is the tail (or empty):
    /// what is loaded at a place that is counted from there need not wait for the frames before.
    ///
    /// A walk asks this first. It is the part of a step that is worth inlining: it neither reads
    /// nor writes the state, and its result stays in registers, where a [`Step`] would go through
    /// memory. For small frames that costs more than reading them.
    #[inline(always)]
    fn glance<'a>(
        &self,
        ahead: &mut Self::Lookahead,
        block: &'a [u8],
        avail: &'a [u8],
    ) -> Option<Glance<'a>> {
        let _ = (ahead, block, avail);
        None
    }

    /// The frames that [`glance`](Framing::glance) gave are consumed: the first byte not consumed
    /// is at this absolute offset.
    #[inline(always)]
    fn glanced(&self, state: &mut Self::State, position: u64) {
        let _ = (state, position);
    }

    /// Judges the end of input: `rest` are the bytes left after the last step (which said
    /// [`Step::Need`]). Changes nothing; the caller decides what the verdict means.
    fn finish(&self, state: &Self::State, rest: &[u8]) -> Eof;

    /// Absolute offset in the stream of the first byte not yet consumed.
    fn position(&self, state: &Self::State) -> u64;

    /// The most bytes that can be waiting without a decision: header, largest payload and
    /// trailer. A buffer of this size is always enough; [`Step::Need`] never asks for more.
    fn max_pending(&self) -> usize;
}

/// What [`Framing::step`] found at the front of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// The first `consumed` bytes (at least one) are one frame.
    Frame {
        /// The message inside the frame.
        payload: Span,
        /// What the header or terminator said besides the length.
        meta: Meta,
        /// The whole frame: header, payload, trailer or terminator.
        consumed: usize,
    },
    /// The first `consumed` bytes (at least one) belong to no frame: the rest of a refused one.
    /// The error for it was already given; nothing is reported here.
    Skip {
        /// How many bytes to drop.
        consumed: usize,
    },
    /// Neither a frame nor an error can come before this many *more* bytes are there, so that
    /// there is no use in asking. Exact where a length is known, never more than
    /// [`Framing::max_pending`] in all, and no reason to allocate: the peer may never send them.
    Need(NonZeroUsize),
    /// The stream breaks the format here.
    Error {
        /// What is wrong, where, and what would be allowed.
        error: FrameError,
        /// Bytes to drop. Zero exactly if the error is fatal: then every later step gives the
        /// same error at once.
        consumed: usize,
    },
}

/// A frame that [`Framing::glance`] saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance<'a> {
    /// The whole frame.
    pub bytes: &'a [u8],
    /// The message inside it.
    pub payload: &'a [u8],
    /// Where in the frame the message begins.
    pub start: usize,
    /// What the header or terminator said besides the length.
    pub meta: Meta,
    /// What follows the frame.
    pub rest: &'a [u8],
}

impl From<Glance<'_>> for Step {
    #[inline(always)]
    fn from(glance: Glance<'_>) -> Self {
        let Glance { bytes, payload, start, meta, .. } = glance;
        let payload = Span { start, end: start + payload.len() };
        Self::Frame { payload, meta, consumed: bytes.len() }
    }
}

/// A range of bytes, relative to the bytes a step was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The bytes of the span in `avail`, which must be what the step was given.
    #[inline(always)]
    #[must_use]
    pub fn of<'a>(&self, avail: &'a [u8]) -> &'a [u8] {
        avail.get(self.start..self.end).unwrap_or_default()
    }

    /// Length in bytes.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether the span holds no byte.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.end == self.start
    }
}

/// What a frame carries besides its payload. Each codec documents both numbers; zero where a
/// codec has nothing to say. Encoding takes the same value that decoding gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Meta {
    /// The type of the message, or how it ended.
    pub kind: u32,
    /// A second number.
    pub extra: u32,
}

impl Meta {
    /// Only a kind.
    #[inline]
    #[must_use]
    pub const fn kind(kind: u32) -> Self {
        Self { kind, extra: 0 }
    }
}

/// One frame, borrowed from the bytes it was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Absolute offset of its first byte in the stream.
    pub at: u64,
    /// Header, payload, trailer: all of it.
    pub bytes: &'a [u8],
    /// The message.
    pub payload: &'a [u8],
    /// What the header or terminator said besides the length.
    pub meta: Meta,
}

/// What the end of input means, from [`Framing::finish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Eof {
    /// Between frames: nothing is missing.
    Clean,
    /// Inside a frame.
    Partial {
        /// Bytes of it that arrived.
        have: u64,
        /// Bytes it needs in all, as far as that can be known yet (more than `have`).
        need: u64,
    },
    /// A line without its terminator: the bytes that would have been its content.
    Unterminated(Span),
    /// Inside a frame that was refused already, or after bytes that were.
    Discarding,
    /// After a fatal error.
    Failed(FrameError),
}

/// Exactly one frame that fills `datagram`: for UDP, files of one record, shared memory.
///
/// # Errors
/// The codec's own error; [`ErrorKind::Truncated`] if bytes are missing;
/// [`ErrorKind::TrailingBytes`] if bytes follow.
///
/// ```
/// use drywire::frame::{datagram, ErrorKind, length_prefix::LengthPrefix};
/// let codec = LengthPrefix::u16_be(100);
/// assert_eq!(datagram(&codec, b"\0\x02hi")?.payload, b"hi");
/// assert_eq!(datagram(&codec, b"\0\x02h").unwrap_err().kind, ErrorKind::Truncated);
/// assert_eq!(datagram(&codec, b"\0\x02hi!").unwrap_err().kind, ErrorKind::TrailingBytes);
/// # Ok::<(), drywire::frame::FrameError>(())
/// ```
pub fn datagram<'a, F: Framing>(framing: &F, datagram: &'a [u8]) -> Result<Frame<'a>, FrameError> {
    let len = datagram.len() as u64;
    match framing.step(&mut F::State::default(), datagram) {
        Step::Frame { payload, meta, consumed } if consumed == datagram.len() => {
            Ok(Frame { at: 0, bytes: datagram, payload: payload.of(datagram), meta })
        }
        Step::Frame { consumed, .. } => {
            let limit = consumed as u64;
            Err(FrameError {
                kind: ErrorKind::TrailingBytes,
                fatal: true,
                at: limit,
                declared: len,
                limit,
            })
        }
        Step::Error { error, .. } => Err(FrameError { fatal: true, ..error }),
        Step::Need(more) => Err(FrameError {
            kind: ErrorKind::Truncated,
            fatal: true,
            at: len,
            declared: len.saturating_add(more.get() as u64),
            limit: len,
        }),
        Step::Skip { .. } => Err(FrameError {
            kind: ErrorKind::Truncated,
            fatal: true,
            at: 0,
            declared: len,
            limit: len,
        }),
    }
}

/// `needed - have` as a step, when that is more than nothing.
#[inline]
fn need(have: usize, needed: usize) -> Step {
    Step::Need(NonZeroUsize::new(needed.saturating_sub(have)).unwrap_or(NonZeroUsize::MIN))
}
