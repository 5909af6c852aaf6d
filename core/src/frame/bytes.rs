//! Frames as [`Bytes`]: owned, shared, cheap to pass on.
//!
//! All frames of a block are found first; the block is then split off the buffer once, and each
//! frame is a slice of it. That costs one reference count per frame and block, instead of two
//! splits per frame.

use bytes::{Bytes, BytesMut};

use super::{FrameError, FrameRef, Framing, Meta, batch};

/// Frames looked for before the block is split off.
const BLOCK: usize = 64;

/// Payloads up to this size are better copied than kept: see [`detach`].
pub const SMALL: usize = 128;

/// Takes the frames at the front of `buf` and gives each payload, and each error, to `each`.
///
/// Returns at the first fatal error, or when more bytes are needed (how many, at least); `buf`
/// then holds what is not consumed. A payload keeps the whole block it came in alive; [`detach`]
/// avoids that for small ones.
///
/// ```
/// use bytes::{Bytes, BytesMut};
/// use drywire::frame::{bytes::split, length_prefix::LengthPrefix};
/// let codec = LengthPrefix::u8();
/// let mut state = Default::default();
/// let mut buf = BytesMut::from(&b"\x01a\x02bc\x05de"[..]);
/// let mut seen = Vec::new();
/// let need = split(&codec, &mut state, &mut buf, |frame| seen.push(frame.map(|f| f.0)));
/// assert_eq!(seen, [Ok(Bytes::from("a")), Ok(Bytes::from("bc"))]);
/// assert_eq!((need, &buf[..]), (Ok(3), &b"\x05de"[..]));
/// ```
///
/// # Errors
/// The fatal error that ended the stream; it was also given to `each`.
pub fn split<F: Framing>(
    framing: &F,
    state: &mut F::State,
    buf: &mut BytesMut,
    mut each: impl FnMut(Result<(Bytes, Meta), FrameError>),
) -> Result<usize, FrameError> {
    let mut refs = [FrameRef::default(); BLOCK];
    loop {
        let done = batch(framing, state, buf, &mut refs);
        if done.consumed > 0 {
            let block = buf.split_to(done.consumed).freeze();
            for frame in refs.get(..done.count).unwrap_or_default() {
                let payload = block.slice(frame.payload..frame.payload + frame.len);
                each(Ok((payload, frame.meta)));
            }
        }
        if let Some(error) = done.error {
            each(Err(error));
            if error.fatal {
                return Err(error);
            }
        } else if done.need > 0 {
            return Ok(done.need);
        }
    }
}

/// The same bytes, no longer holding on to a larger block if they are few: payloads that are kept
/// for long should not keep 64 KiB alive for 16 bytes.
#[must_use]
pub fn detach(payload: Bytes) -> Bytes {
    if payload.len() <= SMALL { Bytes::copy_from_slice(&payload) } else { payload }
}
