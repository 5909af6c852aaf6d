//! The part of a state that most codecs share.

use super::{Eof, ErrorKind, FrameError, Step};

/// Where a codec is in its stream, what it is discarding, and the error it stopped at.
///
/// Plain integers, and every bit pattern is harmless: the C API keeps states in the caller's
/// memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Track {
    /// Absolute offset of the first byte not consumed.
    pub(super) pos: u64,
    /// Bytes of a refused frame still to be dropped; or, once latched, the declared value.
    skip: u64,
    /// Once latched: the limit of the error.
    limit: u64,
    /// Once latched: where the error is, relative to `pos`.
    at: u32,
    /// The latched error's code, zero while the stream is good.
    fault: u8,
    /// Not zero while there is something to settle before looking for a frame.
    busy: u8,
    /// The codec's own: where it is inside a frame. Zero between frames, so that one look tells
    /// whether a frame begins here and nothing stands before it.
    pub(super) phase: u8,
}

impl Track {
    /// Whether there is something to settle before looking for a frame.
    #[inline(always)]
    pub(super) fn busy(&self) -> bool {
        self.busy != 0
    }

    /// Whether a frame begins here and nothing is to be settled first.
    #[inline(always)]
    pub(super) fn fresh(&self) -> bool {
        self.busy | self.phase == 0
    }

    /// Settles it: the latched error, or the next bytes to drop.
    #[cold]
    pub(super) fn settle(&mut self, avail: usize) -> Step {
        if let Some(error) = self.fault() {
            return Step::Error { error, consumed: 0 };
        }
        if avail == 0 {
            return super::need(0, 1);
        }
        let consumed = usize::try_from(self.skip).unwrap_or(usize::MAX).min(avail);
        self.skip -= consumed as u64;
        self.busy = u8::from(self.skip > 0);
        self.pos += consumed as u64;
        Step::Skip { consumed }
    }

    /// The first `consumed` bytes are a frame or skipped.
    #[inline(always)]
    pub(super) fn advance(&mut self, consumed: usize) {
        self.pos += consumed as u64;
    }

    /// A fatal error at `at` bytes from here: remembered, and given again at every later step.
    #[cold]
    pub(super) fn fail(&mut self, kind: ErrorKind, at: usize, declared: u64, limit: u64) -> Step {
        self.fault = kind.code();
        self.busy = 1;
        self.at = at as u32;
        self.skip = declared;
        self.limit = limit;
        let at = self.pos + u64::from(self.at);
        let error = FrameError { kind, fatal: true, at, declared, limit };
        Step::Error { error, consumed: 0 }
    }

    /// An error that costs the `total` bytes of one frame, of which `avail` (at least one) are
    /// here; the others are dropped as they come.
    #[cold]
    pub(super) fn refuse(
        &mut self,
        kind: ErrorKind,
        at: usize,
        (declared, limit): (u64, u64),
        total: u64,
        avail: usize,
    ) -> Step {
        let error = FrameError { kind, fatal: false, at: self.pos + at as u64, declared, limit };
        let consumed = usize::try_from(total).unwrap_or(usize::MAX).min(avail);
        self.skip = total - consumed as u64;
        self.busy = u8::from(self.skip > 0);
        self.pos += consumed as u64;
        Step::Error { error, consumed }
    }

    /// The latched error.
    pub(super) fn fault(&self) -> Option<FrameError> {
        let kind = ErrorKind::from_code(self.fault)?;
        let at = self.pos.saturating_add(u64::from(self.at));
        Some(FrameError { kind, fatal: true, at, declared: self.skip, limit: self.limit })
    }

    /// The verdict at the end of input, if this part has one.
    pub(super) fn eof(&self) -> Option<Eof> {
        match self.fault() {
            Some(error) => Some(Eof::Failed(error)),
            None if self.skip > 0 => Some(Eof::Discarding),
            None => None,
        }
    }
}

/// Counts bytes of the stream that a codec looks at. In the crate's own tests it holds the codecs
/// to the law that no byte is searched twice; elsewhere it is nothing.
#[inline]
pub(super) fn examined(bytes: usize) {
    #[cfg(test)]
    EXAMINED.with(|count| count.set(count.get() + bytes as u64));
    #[cfg(not(test))]
    let _ = bytes;
}

#[cfg(test)]
std::thread_local! {
    /// Bytes [`examined`] on this thread.
    pub(super) static EXAMINED: core::cell::Cell<u64> = const { core::cell::Cell::new(0) };
}
