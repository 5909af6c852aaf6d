//! Frames from chunks as a socket delivers them.

use alloc::vec::Vec;
use core::ops::ControlFlow;

use super::walk::{Found, Walk};
use super::{Eof, Frame, FrameError, Framing, Step};

/// The least that is copied of a chunk when a frame began in an earlier one.
const PIECE: usize = 256;

/// Turns chunks into frames and copies only the frames that straddle two of them.
///
/// Memory follows the bytes received: the carried tail is at most twice the bytes of the frame
/// that have arrived, and never more than [`Framing::max_pending`], whatever length was declared.
/// Between frames it holds nothing of the stream; [`Joiner::shrink`] returns the memory.
///
/// See the [module](super) for an example.
#[derive(Debug)]
pub struct Joiner<F: Framing> {
    framing: F,
    state: F::State,
    /// Bytes of earlier chunks, from `head` on not yet consumed.
    carry: Vec<u8>,
    head: usize,
    /// Bytes to come before anything can be said of the carried ones; zero if something can be.
    needed: usize,
    failed: Option<FrameError>,
}

impl<F: Framing> Joiner<F> {
    /// A joiner at the start of a stream. Allocates nothing yet.
    #[must_use]
    pub fn new(framing: F) -> Self {
        Self {
            framing,
            state: F::State::default(),
            carry: Vec::new(),
            head: 0,
            needed: 0,
            failed: None,
        }
    }

    /// Gives each frame that `chunk` completes, and each error, to `each`; returns how many bytes
    /// of the chunk were taken.
    ///
    /// All of them are, unless `each` breaks (back-pressure: push the rest of the chunk again
    /// later, an empty one if nothing is left) or the stream has failed. A fatal error is given
    /// once; after it nothing is taken any more, see [`Joiner::failed`].
    pub fn push<E>(&mut self, chunk: &[u8], mut each: E) -> usize
    where
        E: FnMut(Result<Frame<'_>, FrameError>) -> ControlFlow<()>,
    {
        let mut used = 0;
        if self.failed.is_some() {
            return 0;
        }
        if self.head < self.carry.len() {
            if chunk.len() < self.needed {
                self.needed -= chunk.len();
                self.keep(chunk);
                return chunk.len();
            }
            match self.straddle(chunk, &mut each) {
                ControlFlow::Continue(taken) => used = taken,
                ControlFlow::Break(taken) => return taken,
            }
        }
        let rest = chunk.get(used..).unwrap_or_default();
        let mut walk = Walk::new(&self.framing, &self.state, rest);
        loop {
            let mut found = match walk.look(&self.framing, &mut self.state) {
                Found::Frame(found) => found,
                Found::Need(more) => {
                    self.needed = more.get();
                    self.keep(walk.rest());
                    return chunk.len();
                }
                Found::Error(error) => {
                    if self.give(error, &mut each).is_break() {
                        return chunk.len() - walk.rest().len();
                    }
                    continue;
                }
            };
            // A loop of its own: it need not carry what only a look changes.
            loop {
                if each(Ok(walk.frame(&found))).is_break() {
                    walk.leave(&self.framing, &mut self.state);
                    return chunk.len() - walk.rest().len();
                }
                match walk.glance(&self.framing) {
                    Some(next) => found = next,
                    None => break,
                }
            }
        }
    }

    /// What the end of input means now.
    #[must_use]
    pub fn finish(&self) -> Eof {
        self.framing.finish(&self.state, self.rest())
    }

    /// The bytes of the incomplete frame at the end of what was pushed.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        self.carry.get(self.head..).unwrap_or_default()
    }

    /// How many bytes are held back: non-zero means a frame has begun.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.carry.len() - self.head
    }

    /// At least this many bytes must arrive before the next frame can be complete.
    #[must_use]
    pub fn needed(&self) -> usize {
        self.needed
    }

    /// The fatal error that ended the stream.
    #[must_use]
    pub fn failed(&self) -> Option<FrameError> {
        self.failed
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn footprint(&self) -> usize {
        self.carry.capacity()
    }

    /// Returns memory that no byte is waiting in.
    pub fn shrink(&mut self) {
        if self.head > 0 {
            self.carry.drain(..self.head);
            self.head = 0;
        }
        self.carry.shrink_to_fit();
    }

    /// The codec.
    #[must_use]
    pub fn framing(&self) -> &F {
        &self.framing
    }

    /// The codec's state.
    #[must_use]
    pub fn state(&self) -> &F::State {
        &self.state
    }

    /// The codec's state, for codecs that must be told something between frames.
    pub fn state_mut(&mut self) -> &mut F::State {
        &mut self.state
    }

    /// Works through the carried bytes, adding pieces of `chunk` until what straddles is decided.
    /// Gives the bytes of the chunk that were taken.
    fn straddle<E>(&mut self, chunk: &[u8], each: &mut E) -> ControlFlow<usize, usize>
    where
        E: FnMut(Result<Frame<'_>, FrameError>) -> ControlFlow<()>,
    {
        // Bytes of the chunk in the carry: they are given back when a frame ends among them.
        let mut lent = 0;
        loop {
            if self.needed > 0 {
                let left = chunk.get(lent..).unwrap_or_default();
                if left.is_empty() {
                    return ControlFlow::Break(chunk.len());
                }
                let pending = self.buffered();
                let room = self.framing.max_pending().saturating_sub(pending).max(1);
                // What is known to be missing; else a part of what is there, so that the work of
                // copying and the number of looks both stay small.
                let unknown = if self.needed == 1 { PIECE.max(pending / 4) } else { 0 };
                let piece = self.needed.max(unknown).min(room);
                let piece = left.get(..piece).unwrap_or(left);
                lent += piece.len();
                self.keep(piece);
                self.needed = 0;
            }
            let at = self.framing.position(&self.state);
            let rest = self.carry.get(self.head..).unwrap_or_default();
            let flow = match self.framing.step(&mut self.state, rest) {
                Step::Frame { payload, meta, consumed } => {
                    let bytes = rest.get(..consumed).unwrap_or_default();
                    self.head += consumed;
                    each(Ok(Frame { at, bytes, payload: payload.of(rest), meta }))
                }
                Step::Skip { consumed } => {
                    self.head += consumed;
                    ControlFlow::Continue(())
                }
                Step::Need(more) => {
                    self.needed = more.get();
                    continue;
                }
                Step::Error { error, consumed } => {
                    self.head += consumed;
                    self.give(error, each)
                }
            };
            let pending = self.buffered();
            if pending <= lent {
                // All that came before this chunk is consumed: go on inside the chunk.
                let taken = lent - pending;
                self.carry.clear();
                self.head = 0;
                return match flow {
                    ControlFlow::Continue(()) => ControlFlow::Continue(taken),
                    ControlFlow::Break(()) => ControlFlow::Break(taken),
                };
            }
            if flow.is_break() {
                // Earlier bytes are still waiting: keep those of the chunk out of the carry.
                self.carry.truncate(self.carry.len() - lent);
                return ControlFlow::Break(0);
            }
        }
    }

    /// Appends to the carry: by doubling, never past what one frame may need.
    #[inline]
    fn keep(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.head > 0 {
            self.carry.drain(..self.head);
            self.head = 0;
        }
        let len = self.carry.len() + bytes.len();
        if len > self.carry.capacity() {
            let roomy = self.carry.capacity().saturating_mul(2).min(self.framing.max_pending());
            self.carry.reserve_exact(roomy.max(len) - self.carry.len());
        }
        self.carry.extend_from_slice(bytes);
    }

    #[cold]
    fn give<E>(&mut self, error: FrameError, each: &mut E) -> ControlFlow<()>
    where
        E: FnMut(Result<Frame<'_>, FrameError>) -> ControlFlow<()>,
    {
        let flow = each(Err(error));
        if error.fatal {
            self.failed = Some(error);
            return ControlFlow::Break(());
        }
        flow
    }
}
