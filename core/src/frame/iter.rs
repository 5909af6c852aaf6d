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

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let at = self.framing.position(self.state);
        let glance = self.framing.glance(self.state, &mut self.ahead, self.buf, self.at);
        if let Some(frame) = glance
            && let Some(bytes) = self.buf.get(self.at..self.at + frame.consumed)
        {
            self.at += frame.consumed;
            return Some(Ok(Frame {
                at,
                bytes,
                payload: frame.payload.of(bytes),
                meta: frame.meta,
            }));
        }
        if self.failed {
            return None;
        }
        let ahead = core::mem::take(&mut self.ahead);
        let slow = slow(self.framing, self.state, ahead, self.buf, self.at);
        self.ahead = slow.ahead;
        self.at = slow.at;
        self.failed = matches!(slow.item, Some(Err(error)) if error.fatal);
        slow.item
    }
}

/// What [`slow`] gives back. All of it goes in and out by value, so that the iterator itself never
/// has to be in memory.
struct Slow<'b, L> {
    ahead: L,
    at: usize,
    item: Option<Result<Frame<'b>, FrameError>>,
}

#[inline(never)]
fn slow<'b, F: Framing>(
    framing: &F,
    state: &mut F::State,
    mut ahead: F::Lookahead,
    buf: &'b [u8],
    mut at: usize,
) -> Slow<'b, F::Lookahead> {
    let item = loop {
        let rest = buf.get(at..).unwrap_or_default();
        let position = framing.position(state);
        match framing.step_in(state, &mut ahead, buf, at) {
            Step::Frame { payload, meta, consumed } => {
                at += consumed;
                let (bytes, payload) = (rest.get(..consumed).unwrap_or_default(), payload.of(rest));
                break Some(Ok(Frame { at: position, bytes, payload, meta }));
            }
            Step::Skip { consumed } => at += consumed,
            Step::Need(_) => break None,
            Step::Error { error, consumed } => {
                at += consumed;
                break Some(Err(error));
            }
        }
    };
    Slow { ahead, at, item }
}
