//! The item store: one table of items under one byte limit.
#![allow(unused_variables, dead_code)]

mod config;
mod counters;
mod hash;

use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::sync::atomic::AtomicU64;

use super::expiry::{Expiry, Secs};
pub use config::{
    Config, ConfigError, ITEM_MAX_DEFAULT, ITEM_MAX_GREATEST, ITEM_MAX_LEAST, KEY_MAX,
    LIMIT_GREATEST, LIMIT_LEAST, item_limit,
};
pub use counters::Counters;
pub use hash::Hasher;

/// Values of this length and more are kept as shared [`Bytes`]; shorter ones lie inline.
pub const SHARED_MIN: usize = 4096;

/// An item found by [`Store::get`].
#[derive(Debug)]
pub struct Hit<'a> {
    /// The client's flags.
    pub flags: u32,
    /// The item's cas unique, never 0.
    pub cas: u64,
    /// The value.
    pub value: ValueRef<'a>,
}

/// A value in the store.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    /// Shorter than [`SHARED_MIN`]: the caller copies it before it calls the store again.
    Inline(&'a [u8]),
    /// A clone stays whole and unchanged whatever happens to the item. Its memory stays charged
    /// to the store until the last clone is dropped.
    Shared(&'a Bytes),
}

impl<'a> ValueRef<'a> {
    /// The bytes, wherever they are.
    #[inline]
    pub fn as_slice(self) -> &'a [u8] {
        match self {
            Self::Inline(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// A storage command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Stores in any case.
    Set,
    /// Stores if the key is not there.
    Add,
    /// Stores if the key is there.
    Replace,
    /// Puts the bytes behind the value, keeping flags and expiry.
    Append,
    /// Puts the bytes before the value, keeping flags and expiry.
    Prepend,
    /// Stores if the item still has this cas unique.
    Cas(u64),
}

/// The value of a storage command.
#[derive(Debug)]
pub enum Body<'a> {
    /// It arrived whole and is copied.
    Copy(&'a [u8]),
    /// It arrived in pieces; a large one becomes the item without a copy.
    Reserved(Reservation),
}

/// The outcome of a storage command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Stored {
    /// Done.
    Stored,
    /// The condition of add, replace, append or prepend does not hold, or append or prepend would
    /// make the item too large.
    NotStored,
    /// The item has another cas unique.
    Exists,
    /// cas for a key that is not there.
    NotFound,
    /// Over the item size limit. A `set` has dropped the old value, everything else kept it.
    TooLarge,
    /// No room, and nothing may be removed. A `set` has dropped the old value, everything else
    /// kept it.
    NoMemory,
}

/// Why a session gave up a storage command before its value was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The declared length is over [`item_limit`].
    TooLarge,
    /// [`Store::grow`] failed.
    NoMemory,
}

/// No room: everything that may be removed has been, or nothing may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

/// Why incr or decr failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeltaError {
    /// No such key.
    NotFound,
    /// The value is not a decimal number of 64 bits.
    NonNumeric,
    /// The new number is longer and there is no room for it.
    NoMemory,
}

/// A value that is still arriving. See [`Store::reserve`].
///
/// Dropping it returns everything to the store, with or without the store at hand, so a
/// connection that dies in the middle of a value leaks nothing.
#[derive(Debug)]
#[must_use]
pub struct Reservation {
    bytes: Vec<u8>,
    declared: u32,
    ledger: Arc<AtomicU64>,
}

impl Reservation {
    /// The bytes received so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes are still to come.
    pub fn missing(&self) -> usize {
        self.declared as usize - self.bytes.len()
    }
}

/// The item store. See the [module documentation](self).
#[derive(Debug)]
pub struct Store {
    counters: Counters,
}

impl Store {
    /// An empty store.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        todo!()
    }

    /// Looks a key up.
    pub fn get(&mut self, now: Secs, hash: u64, key: &[u8]) -> Option<Hit<'_>> {
        todo!()
    }

    /// Looks a key up and sets its expiry; the cas unique stays.
    pub fn get_and_touch(
        &mut self,
        now: Secs,
        hash: u64,
        key: &[u8],
        expiry: Expiry,
    ) -> Option<Hit<'_>> {
        todo!()
    }

    /// Sets the expiry of a key; the cas unique stays. False if it is not there.
    pub fn touch(&mut self, now: Secs, hash: u64, key: &[u8], expiry: Expiry) -> bool {
        todo!()
    }

    /// Removes a key. False if it is not there.
    pub fn delete(&mut self, now: Secs, hash: u64, key: &[u8]) -> bool {
        todo!()
    }

    /// Adds to a number, wrapping at 2^64.
    pub fn incr(
        &mut self,
        now: Secs,
        hash: u64,
        key: &[u8],
        delta: u64,
    ) -> Result<u64, DeltaError> {
        todo!()
    }

    /// Subtracts from a number, stopping at 0.
    pub fn decr(
        &mut self,
        now: Secs,
        hash: u64,
        key: &[u8],
        delta: u64,
    ) -> Result<u64, DeltaError> {
        todo!()
    }

    /// Runs a storage command. The value must be complete.
    #[allow(clippy::too_many_arguments)]
    pub fn store(
        &mut self,
        now: Secs,
        hash: u64,
        key: &[u8],
        verb: Verb,
        flags: u32,
        expiry: Expiry,
        body: Body<'_>,
    ) -> Stored {
        todo!()
    }

    /// Records that a storage command was given up before its value was complete, once its data
    /// block has been swallowed: counts it, and drops the old value if it was a `set`.
    pub fn refuse(&mut self, now: Secs, hash: u64, key: &[u8], verb: Verb, why: Refusal) {
        todo!()
    }

    /// Starts a value of `declared` bytes that will arrive in pieces. Takes no memory yet.
    pub fn reserve(&self, declared: u32) -> Reservation {
        todo!()
    }

    /// Adds a piece to a value that is arriving.
    ///
    /// # Panics
    /// If the piece goes beyond the declared length, or the reservation is another store's.
    pub fn grow(
        &mut self,
        now: Secs,
        reservation: &mut Reservation,
        piece: &[u8],
    ) -> Result<(), NoMemory> {
        todo!()
    }

    /// Makes everything stored before the beginning of second `at` invisible, once that second
    /// comes (at once if it is `now` or past). Replaces a flush that is still pending. Constant
    /// time.
    pub fn flush_all(&mut self, now: Secs, at: Secs) {
        todo!()
    }

    /// One bounded step of upkeep.
    pub fn maintain(&mut self, now: Secs, budget: u32) -> bool {
        todo!()
    }

    /// The counters and gauges.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Forgets what was counted; the gauges stay.
    pub fn reset_counters(&mut self) {
        self.counters.reset();
    }

    /// Bytes charged to the limit now.
    pub fn footprint(&self) -> u64 {
        todo!()
    }

    /// The byte limit.
    pub fn limit(&self) -> u64 {
        todo!()
    }

    /// The item size limit; see [`item_limit`].
    pub fn item_max(&self) -> u32 {
        todo!()
    }
}
