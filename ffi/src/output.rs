//! Output that callers look at: how long its addresses stay good.

use crate::status::{Result, drywire_status};
use crate::types::{OutArray, drywire_bytes, drywire_iov};
use bytes::Bytes;
use drywire_status::DRYWIRE_ERR_RANGE;
use std::collections::VecDeque;

/// What the caller was shown of one connection's output and has not consumed.
///
/// The promise: segments stay where they are until they are consumed or the connection is freed.
/// An outbox moves its bytes when it grows, so they are pinned before anything may be appended,
/// and kept alive here in case the connection drops them. Callers who consume everything before
/// their next call never pay for that.
#[derive(Default)]
pub(crate) struct Shown {
    len: usize,
    pinned: Vec<Bytes>,
    copies: Option<Copies>,
}

impl Shown {
    /// With `debug`, each view is a copy that is overwritten as soon as it may not be used.
    pub(crate) fn new(debug: bool) -> Self {
        Self { copies: debug.then(Copies::default), ..Self::default() }
    }

    /// Shows `slices`; returns how many bytes the array took.
    #[inline]
    pub(crate) fn show<'a>(
        &mut self,
        slices: impl Iterator<Item = &'a [u8]>,
        iov: &mut OutArray<drywire_iov>,
    ) -> usize {
        self.len = 0;
        for slice in slices {
            if iov.is_full() {
                break;
            }
            self.len += slice.len();
            let view = match &mut self.copies {
                None => drywire_bytes::of(slice),
                Some(copies) => copies.add(slice, self.len),
            };
            iov.push(drywire_iov { base: view.data.cast_mut().cast(), len: view.len });
        }
        self.len
    }

    /// Copies the front of `slices` into the caller's buffer.
    pub(crate) fn copy<'a>(
        &mut self,
        slices: impl Iterator<Item = &'a [u8]>,
        buf: &mut OutArray<u8>,
    ) {
        for slice in slices {
            buf.extend(slice);
        }
        self.len = self.len.max(buf.len());
    }

    /// Whether something must be pinned before output may change.
    #[inline]
    pub(crate) const fn at_risk(&self) -> bool {
        self.len > 0
    }

    /// Keeps what was shown alive: `segments` are all unsent bytes. If there are none, the
    /// connection has dropped them and what was kept before stays.
    pub(crate) fn pin(&mut self, segments: Vec<Bytes>) {
        if !segments.is_empty() {
            self.pinned = segments;
        }
    }

    /// The caller has sent `n` bytes of what was shown.
    #[inline]
    pub(crate) fn consume(&mut self, n: usize) -> Result<()> {
        if n > self.len {
            return Err(DRYWIRE_ERR_RANGE);
        }
        self.len -= n;
        if self.len == 0 && !self.pinned.is_empty() {
            self.pinned.clear();
        }
        if let Some(copies) = &mut self.copies {
            copies.consume(n);
        }
        Ok(())
    }
}

/// Views that are copies, each in its own allocation.
#[derive(Default)]
struct Copies {
    /// With the position in the stream at which each ends. No boxes: to move a box ends what was
    /// borrowed from it, and views are.
    live: VecDeque<(u64, Vec<u8>)>,
    consumed: u64,
    dead: Dead<Vec<u8>>,
}

/// Bytes that may not be looked at any more: overwritten and kept a while, so that a late look sees
/// the pattern.
pub(crate) struct Dead<T>(VecDeque<T>);

impl<T> Default for Dead<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: AsMut<[u8]>> Dead<T> {
    pub(crate) fn bury(&mut self, mut bytes: T) {
        bytes.as_mut().fill(POISON);
        self.0.push_back(bytes);
        if self.0.len() > DEAD_KEPT {
            self.0.pop_front();
        }
    }
}

/// What bytes turn into when they may not be looked at any more.
const POISON: u8 = 0xDD;
const DEAD_KEPT: usize = 256;

impl Copies {
    fn add(&mut self, slice: &[u8], end: usize) -> drywire_bytes {
        let copy = slice.to_vec();
        let view = drywire_bytes::of(&copy);
        self.live.push_back((self.consumed + end as u64, copy));
        view
    }

    fn consume(&mut self, n: usize) {
        self.consumed += n as u64;
        let consumed = self.consumed;
        let mut kept = VecDeque::new();
        for (end, copy) in self.live.drain(..) {
            if end <= consumed {
                self.dead.bury(copy);
            } else {
                kept.push_back((end, copy));
            }
        }
        self.live = kept;
    }
}
