//! All frames of one buffer.

use super::walk::{Found, Walk};
use super::{Frame, FrameError, Framing};

/// The frames at the front of `buf`, borrowed from it, with the errors between them.
///
/// `state` belongs to the stream and `buf` starts at its first unconsumed byte. The iterator ends
/// where more bytes are needed or after a fatal error; then drop [`Frames::consumed`] bytes.
/// Work is linear in the bytes; nothing is allocated.
#[inline]
pub fn frames<'a, 'b, F: Framing>(
    framing: &'a F,
    state: &'a mut F::State,
    buf: &'b [u8],
) -> Frames<'a, 'b, F> {
    let walk = Walk::new(framing, state, buf);
    Frames { framing, state, walk, needed: 0, ended: false }
}

/// Iterator of [`frames`].
#[derive(Debug)]
pub struct Frames<'a, 'b, F: Framing> {
    framing: &'a F,
    state: &'a mut F::State,
    walk: Walk<'b, F::Lookahead>,
    needed: usize,
    ended: bool,
}

impl<F: Framing> Frames<'_, '_, F> {
    /// Bytes of the buffer that are done with.
    #[must_use]
    pub fn consumed(&self) -> usize {
        self.walk.consumed()
    }

    /// Once the iterator has ended: at least this many more bytes must arrive before there can be
    /// another item. Zero before that, and after a fatal error.
    #[must_use]
    pub fn needed(&self) -> usize {
        self.needed
    }
}

impl<'b, F: Framing> Iterator for Frames<'_, 'b, F> {
    type Item = Result<Frame<'b>, FrameError>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(found) = self.walk.glance(self.framing) {
            self.walk.settle(self.framing, self.state);
            return Some(Ok(self.walk.frame(&found)));
        }
        if self.ended {
            return None;
        }
        match self.walk.look(self.framing, self.state) {
            Found::Frame(found) => Some(Ok(self.walk.frame(&found))),
            Found::Error(error) => {
                self.ended = error.fatal;
                Some(Err(error))
            }
            Found::Need(more) => {
                self.ended = true;
                self.needed = more.get();
                None
            }
        }
    }
}
