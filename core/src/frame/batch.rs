//! Many frames in one call, as plain data: for callers that pay per call (C, Python).

use super::walk::{Found, Walk};
use super::{FrameError, Framing, Meta};

/// Where one frame is, relative to the buffer that was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FrameRef {
    /// First byte of the frame, header included.
    pub start: usize,
    /// First byte of the payload.
    pub payload: usize,
    /// Length of the payload in bytes.
    pub len: usize,
    /// One past the last byte of the frame, trailer or terminator included.
    pub end: usize,
    /// What the header or terminator said besides the length.
    pub meta: Meta,
}

impl FrameRef {
    /// The payload, in the buffer that was given to [`batch`].
    #[inline]
    #[must_use]
    pub fn payload_of<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        buf.get(self.payload..self.payload + self.len).unwrap_or_default()
    }
}

/// What [`batch`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Batch {
    /// Frames found, the first so many of the array.
    pub count: usize,
    /// Bytes of the buffer that are done with.
    pub consumed: usize,
    /// At least this many more bytes must arrive before the next frame can be complete; zero if
    /// the array is full or an error stopped the batch, and a further call would find more.
    pub need: usize,
    /// The error that stands after those frames. Its bytes are among the consumed, unless it is
    /// fatal.
    pub error: Option<FrameError>,
}

/// Finds frames at the front of `buf` until `out` is full, more bytes are needed, or an error
/// stands in the way. Allocates nothing; bounded by the buffer.
///
/// ```
/// use drywire::frame::{FrameRef, batch, line::Lines};
/// let codec = Lines::lf(80);
/// let mut state = Default::default();
/// let mut out = [FrameRef::default(); 8];
/// let buf = b"one\ntwo\nthr";
/// let done = batch(&codec, &mut state, buf, &mut out);
/// assert_eq!((done.count, done.consumed, done.need), (2, 8, 1));
/// assert_eq!(out[1].payload_of(buf), b"two");
/// ```
#[inline]
pub fn batch<F: Framing>(
    framing: &F,
    state: &mut F::State,
    buf: &[u8],
    out: &mut [FrameRef],
) -> Batch {
    let mut walk = Walk::new(framing, state, buf);
    let mut done = Batch::default();
    let mut places = out.iter_mut();
    while !places.as_slice().is_empty() {
        let found = match walk.glance(framing) {
            Some(found) => found,
            None => match walk.look(framing, state) {
                Found::Frame(found) => found,
                Found::Need(more) => {
                    done.need = more.get();
                    break;
                }
                Found::Error(error) => {
                    done.error = Some(error);
                    break;
                }
            },
        };
        if let Some(place) = places.next() {
            let end = buf.len() - found.rest.len();
            let start = end - found.bytes.len();
            let (payload, len) = (start + found.start, found.payload.len());
            *place = FrameRef { start, payload, len, end, meta: found.meta };
            done.count += 1;
        }
    }
    walk.leave(framing, state);
    done.consumed = walk.consumed();
    done
}
