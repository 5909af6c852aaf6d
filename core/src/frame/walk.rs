//! The way through one block of bytes that all faces share.

use core::hint::cold_path;
use core::num::NonZeroUsize;

use super::{Frame, FrameError, Framing, Glance, Step};

/// Where a walk through one block is. The state of the stream stays with the caller.
#[derive(Debug)]
pub(crate) struct Walk<'b, A> {
    /// All of it.
    block: &'b [u8],
    /// The block from the first byte not consumed, if a frame begins there: it may be glanced at.
    /// Else nothing, so that a glance sees none.
    open: &'b [u8],
    /// How many bytes are not consumed otherwise.
    held: usize,
    /// Absolute offset of the block's end.
    end: u64,
    ahead: A,
}

/// What [`Walk::look`] found.
pub(crate) enum Found<'b> {
    Frame(Glance<'b>),
    Error(FrameError),
    /// Nothing before this many more bytes are there.
    Need(NonZeroUsize),
}

impl<'b, A: Default> Walk<'b, A> {
    /// At the front of `block`, which is the stream from the first byte not consumed.
    #[inline(always)]
    pub(crate) fn new<F: Framing<Lookahead = A>>(
        framing: &F,
        state: &F::State,
        block: &'b [u8],
    ) -> Self {
        let end = framing.position(state).wrapping_add(block.len() as u64);
        let mut walk = Self { block, open: block, held: 0, end, ahead: A::default() };
        walk.stand(framing, state, block);
        walk
    }

    /// The block from the first byte not consumed.
    #[inline(always)]
    pub(crate) fn rest(&self) -> &'b [u8] {
        if self.held == 0 {
            return self.open;
        }
        self.block.get(self.block.len().wrapping_sub(self.held)..).unwrap_or_default()
    }

    /// How many bytes of the block are consumed.
    #[inline(always)]
    pub(crate) fn consumed(&self) -> usize {
        self.block.len() - self.rest().len()
    }

    /// The next frame, if it is one of the many that need no second look. The state does not know
    /// of it before [`settle`](Self::settle).
    #[inline(always)]
    pub(crate) fn glance<F: Framing<Lookahead = A>>(&mut self, framing: &F) -> Option<Glance<'b>> {
        let Some(glance) = framing.glance(&mut self.ahead, self.block, self.open) else {
            cold_path();
            return None;
        };
        self.open = glance.rest;
        Some(glance)
    }

    /// Brings the state up to date after a glance that found a frame: before the walk is left.
    #[inline(always)]
    pub(crate) fn settle<F: Framing<Lookahead = A>>(&self, framing: &F, state: &mut F::State) {
        framing.glanced(state, self.end.wrapping_sub(self.open.len() as u64));
    }

    /// Brings the state up to date, whatever was found last.
    #[inline(always)]
    pub(crate) fn leave<F: Framing<Lookahead = A>>(&self, framing: &F, state: &mut F::State) {
        if self.held == 0 {
            self.settle(framing, state);
        }
    }

    /// Whatever comes next. The state is up to date after it.
    #[inline(always)]
    pub(crate) fn look<F: Framing<Lookahead = A>>(
        &mut self,
        framing: &F,
        state: &mut F::State,
    ) -> Found<'b> {
        self.leave(framing, state);
        let looked = look(framing, state, core::mem::take(&mut self.ahead), self.rest());
        self.ahead = looked.ahead;
        self.stand(framing, state, looked.rest);
        looked.found
    }

    /// The frame that was found last.
    #[inline(always)]
    pub(crate) fn frame(&self, found: &Glance<'b>) -> Frame<'b> {
        let Glance { bytes, payload, meta, rest, .. } = *found;
        let to_end = bytes.len() as u64 + rest.len() as u64;
        Frame { at: self.end.wrapping_sub(to_end), bytes, payload, meta }
    }

    #[inline(always)]
    fn stand<F: Framing<Lookahead = A>>(&mut self, framing: &F, state: &F::State, at: &'b [u8]) {
        let none = at.get(at.len()..).unwrap_or_default();
        (self.open, self.held) = if framing.fresh(state) { (at, 0) } else { (none, at.len()) };
    }
}

/// What [`look`] gives back. All of it goes in and out by value, so that the walk itself never has
/// to be in memory.
struct Looked<'b, A> {
    ahead: A,
    rest: &'b [u8],
    found: Found<'b>,
}

#[inline(never)]
fn look<'b, F: Framing>(
    framing: &F,
    state: &mut F::State,
    mut ahead: F::Lookahead,
    mut rest: &'b [u8],
) -> Looked<'b, F::Lookahead> {
    let found = loop {
        match framing.step_in(state, &mut ahead, rest) {
            Step::Frame { payload, meta, consumed } => {
                let (bytes, after) = rest.split_at_checked(consumed).unwrap_or((rest, &[]));
                let start = payload.start;
                rest = after;
                let payload = payload.of(bytes);
                break Found::Frame(Glance { bytes, payload, start, meta, rest });
            }
            Step::Skip { consumed } => rest = rest.get(consumed..).unwrap_or_default(),
            Step::Need(more) => break Found::Need(more),
            Step::Error { error, consumed } => {
                rest = rest.get(consumed..).unwrap_or_default();
                break Found::Error(error);
            }
        }
    };
    Looked { ahead, rest, found }
}
