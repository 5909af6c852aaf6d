//! Shared state cut into parts, so that a host may put a lock around each.

use alloc::vec::Vec;

/// A set of equal parts of some state, addressed by number.
///
/// A protocol whose state may be shared between threads reaches it through this trait. The core
/// has no locks: [`Local`] is a plain vector; a host with many threads brings one that locks.
pub trait Shards<T> {
    /// How many parts there are: a power of two, never changes.
    fn count(&self) -> usize;
    /// Lends part `index` for the length of `f`. Do not call it from inside `f`.
    fn with<R>(&mut self, index: usize, f: impl FnOnce(&mut T) -> R) -> R;
}

/// Parts that belong to one engine alone.
#[derive(Clone, Debug)]
pub struct Local<T>(Vec<T>);

impl<T> Local<T> {
    /// One part: what a single engine needs.
    #[must_use]
    pub fn one(part: T) -> Self {
        Self(alloc::vec![part])
    }

    /// Several parts.
    ///
    /// # Panics
    /// If their number is not a power of two: caller misuse.
    #[must_use]
    pub fn new(parts: Vec<T>) -> Self {
        assert!(parts.len().is_power_of_two(), "the number of shards is a power of two");
        Self(parts)
    }

    /// The parts, to look at.
    #[must_use]
    pub fn parts(&self) -> &[T] {
        &self.0
    }
}

impl<T> Shards<T> for Local<T> {
    #[inline]
    fn count(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn with<R>(&mut self, index: usize, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0[index])
    }
}
