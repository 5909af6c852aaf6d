//! All frames of one buffer.

use super::{Frame, FrameError, Framing, Step};

/// The frames at the front of `buf`, borrowed from it, with the errors between them.
///
/// `state` belongs to the stream and `buf` starts at its first unconsumed byte. The iterator ends
/// where more bytes are needed or after a fatal error; then drop [`Frames::consumed`] bytes.
/// Work is linear in the bytes; nothing is allocated.
pub fn frames<'a, 'b, F: Framing>(
    framing: &'a F,
    state: &'a mut F::State,
    buf: &'b [u8],
) -> Frames<'a, 'b, F> {
    Frames { framing, state, buf, at: 0, ahead: F::Lookahead::default(), failed: false }
}

/// Iterator of [`frames`].
#[derive(Debug)]
pub struct Frames<'a, 'b, F: Framing> {
    framing: &'a F,
    state: &'a mut F::State,
    buf: &'b [u8],
    at: usize,
    ahead: F::Lookahead,
    failed: bool,
}

impl<F: Framing> Frames<'_, '_, F> {
    /// Bytes of the buffer that are done with.
    #[must_use]
    pub fn consumed(&self) -> usize {
        self.at
    }
}

impl<'b, F: Framing> Iterator for Frames<'_, 'b, F> {
    type Item = Result<Frame<'b>, FrameError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        loop {
            let rest = self.buf.get(self.at..)?;
            let at = self.framing.position(self.state);
            match self.framing.step_in(self.state, &mut self.ahead, self.buf, self.at) {
                Step::Frame { payload, meta, consumed } => {
                    self.at += consumed;
                    let (bytes, payload) = (rest.get(..consumed)?, payload.of(rest));
                    return Some(Ok(Frame { at, bytes, payload, meta }));
                }
                Step::Skip { consumed } => self.at += consumed,
                Step::Need(_) => return None,
                Step::Error { error, consumed } => {
                    self.at += consumed;
                    self.failed = error.fatal;
                    return Some(Err(error));
                }
            }
        }
    }
}
