//! The byte limit and who may give back to it.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Bytes charged against a limit.
///
/// Most charges are returned by the store itself. Those of shared values come back when the last
/// holder drops them, which may be a connection on another thread: they are added to a counter
/// that both own.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    /// Charged minus released by the store itself, wrapping together with `returned`.
    charged: usize,
    returned: Arc<AtomicUsize>,
}

/// The way back for the charge of a shared value.
#[derive(Clone, Debug)]
pub(super) struct Returns(Arc<AtomicUsize>);

impl Returns {
    pub(super) fn give_back(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Release);
    }
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, charged: 0, returned: Arc::default() }
    }

    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn used(&self) -> usize {
        self.charged.wrapping_sub(self.returned.load(Ordering::Acquire))
    }

    /// Whether so many more bytes stay within the limit.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.used().checked_add(bytes).is_some_and(|total| total <= self.limit)
    }

    pub(super) const fn charge(&mut self, bytes: usize) {
        self.charged = self.charged.wrapping_add(bytes);
    }

    pub(super) const fn release(&mut self, bytes: usize) {
        self.charged = self.charged.wrapping_sub(bytes);
    }

    pub(super) fn returns(&self) -> Returns {
        Returns(Arc::clone(&self.returned))
    }

    /// Whether charges returned there come back here.
    pub(super) fn owns(&self, returns: &Returns) -> bool {
        Arc::ptr_eq(&self.returned, &returns.0)
    }
}
