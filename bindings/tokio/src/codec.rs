//! Any drywire codec as a [`tokio_util::codec::Decoder`] and [`Encoder`], for `Framed`.
//!
//! `Framed` ends its stream after any error of a decoder. So only fatal errors are errors here;
//! one that costs a frame is an *item*, and the stream goes on:
//!
//! ```
//! use drywire::frame::line::{Lines, Oversize};
//! use drywire_tokio::codec::FrameCodec;
//! use tokio_stream::StreamExt;
//! use tokio_util::codec::FramedRead;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let lines = Lines::lf(5).oversize(Oversize::Skip);
//! let mut framed = FramedRead::new(&b"one\nmuch too long\ntwo\n"[..], FrameCodec::new(lines));
//! assert_eq!(framed.next().await.unwrap().unwrap().unwrap().payload, "one");
//! assert!(framed.next().await.unwrap().unwrap().is_err()); // costs one line, not the stream
//! assert_eq!(framed.next().await.unwrap().unwrap().unwrap().payload, "two");
//! assert!(framed.next().await.is_none());
//! # }
//! ```

use std::fmt;
use std::io;

use bytes::{Bytes, BytesMut};
use drywire::frame::bytes::detach;
use drywire::frame::{
    Encode, EncodeError, Eof, ErrorKind, FrameError, FrameRef, Framing, Meta, Sink, batch,
};
use tokio_util::codec::{Decoder, Encoder};

/// The most that is reserved ahead for a frame, whatever its length says: memory follows the
/// bytes that arrive.
const RESERVE: usize = 64 * 1024;

/// Frames found with one look at the buffer.
const BATCH: usize = 32;

/// A drywire codec for `Framed`, `FramedRead` and `FramedWrite`.
///
/// Frames are slices of the blocks they were read in; [`FrameCodec::detached`] copies small ones
/// out, so that keeping one does not keep its block.
#[derive(Debug)]
pub struct FrameCodec<F: Framing> {
    framing: F,
    state: F::State,
    detach: bool,
    /// Frames of `block` that were found and not given yet, the next one last.
    found: Vec<FrameRef>,
    block: Bytes,
    /// The error that stands after them.
    error: Option<FrameError>,
    ended: bool,
}

/// A frame: what [`FrameCodec`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The message.
    pub payload: Bytes,
    /// What the header or terminator said besides the length.
    pub meta: Meta,
}

/// What ends a stream.
#[derive(Debug)]
#[non_exhaustive]
pub enum CodecError {
    /// The peer broke the framing, fatally.
    Frame(FrameError),
    /// A message that the peer's decoder would refuse. Nothing was written.
    Encode(EncodeError),
    /// The input ended inside a frame: how.
    Truncated(Eof),
    /// The transport failed.
    Io(io::Error),
}

impl<F: Framing> FrameCodec<F> {
    /// A codec at the start of a stream.
    #[must_use]
    pub fn new(framing: F) -> Self {
        Self {
            framing,
            state: F::State::default(),
            detach: false,
            found: Vec::new(),
            block: Bytes::new(),
            error: None,
            ended: false,
        }
    }

    /// Copies small payloads out of the block they came in.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.detach = true;
        self
    }

    /// The codec's state, for codecs that must be told something between frames.
    pub fn state_mut(&mut self) -> &mut F::State {
        &mut self.state
    }

    /// The next frame or error that is known already.
    fn known(&mut self) -> Option<Result<Option<Result<Item, FrameError>>, CodecError>> {
        if let Some(frame) = self.found.pop() {
            let payload = self.block.slice(frame.payload..frame.payload + frame.len);
            let payload = if self.detach { detach(payload) } else { payload };
            if self.found.is_empty() {
                self.block = Bytes::new();
            }
            return Some(Ok(Some(Ok(Item { payload, meta: frame.meta }))));
        }
        let error = self.error.take()?;
        if error.fatal {
            return Some(Err(CodecError::Frame(error)));
        }
        Some(Ok(Some(Err(error))))
    }
}

impl<F: Framing> Decoder for FrameCodec<F> {
    /// A frame, or an error that cost a frame and not the stream.
    type Item = Result<Item, FrameError>;
    type Error = CodecError;

    fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<Self::Item>, CodecError> {
        loop {
            if let Some(known) = self.known() {
                return known;
            }
            let mut refs = [FrameRef::default(); BATCH];
            let done = batch(&self.framing, &mut self.state, buf, &mut refs);
            self.found.extend(refs.iter().take(done.count).rev());
            self.block = buf.split_to(done.consumed).freeze();
            self.error = done.error;
            if done.count == 0 && done.error.is_none() && done.need > 0 {
                buf.reserve(done.need.min(RESERVE));
                return Ok(None);
            }
        }
    }

    fn decode_eof(&mut self, buf: &mut BytesMut) -> Result<Option<Self::Item>, CodecError> {
        if let Some(item) = self.decode(buf)? {
            return Ok(Some(item));
        }
        let eof = self.framing.finish(&self.state, buf);
        // The rest is told about once, and never given as a frame.
        if self.ended || matches!(eof, Eof::Clean | Eof::Discarding) {
            buf.clear();
            return Ok(None);
        }
        self.ended = true;
        buf.clear();
        Err(match eof {
            Eof::Failed(error) => CodecError::Frame(error),
            eof => CodecError::Truncated(eof),
        })
    }
}

/// Appends to the write buffer of a `Framed`.
struct Out<'a>(&'a mut BytesMut);

impl Sink for Out<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

impl<F: Encode> FrameCodec<F> {
    fn put(&self, meta: Meta, payload: &[u8], buf: &mut BytesMut) -> Result<(), CodecError> {
        let len = self.framing.encoded_len(meta, payload).map_err(CodecError::Encode)?;
        buf.reserve(len);
        self.framing.encode(meta, payload, &mut Out(buf)).map_err(CodecError::Encode)?;
        Ok(())
    }
}

impl<F: Encode> Encoder<&[u8]> for FrameCodec<F> {
    type Error = CodecError;

    fn encode(&mut self, payload: &[u8], buf: &mut BytesMut) -> Result<(), CodecError> {
        self.put(Meta::default(), payload, buf)
    }
}

impl<F: Encode> Encoder<Bytes> for FrameCodec<F> {
    type Error = CodecError;

    fn encode(&mut self, payload: Bytes, buf: &mut BytesMut) -> Result<(), CodecError> {
        self.put(Meta::default(), &payload, buf)
    }
}

impl<F: Encode> Encoder<Item> for FrameCodec<F> {
    type Error = CodecError;

    fn encode(&mut self, item: Item, buf: &mut BytesMut) -> Result<(), CodecError> {
        self.put(item.meta, &item.payload, buf)
    }
}

impl From<io::Error> for CodecError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => fmt::Display::fmt(error, f),
            Self::Encode(error) => fmt::Display::fmt(error, f),
            Self::Truncated(Eof::Partial { have, need }) => {
                write!(f, "{}: {have} of {need} bytes", ErrorKind::Truncated.as_str())
            }
            Self::Truncated(_) => f.write_str("the last line has no end"),
            Self::Io(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for CodecError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Frame(error) => Some(error),
            Self::Encode(error) => Some(error),
            Self::Truncated(_) => None,
            Self::Io(error) => Some(error),
        }
    }
}
