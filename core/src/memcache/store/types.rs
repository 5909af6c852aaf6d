//! What goes into the store and comes out of it.

use bytes::Bytes;

use super::shared::Reservation;

/// An item found by [`Store::get`](super::Store::get).
#[derive(Clone, Copy, Debug)]
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
    /// Shorter than [`SHARED_MIN`](super::SHARED_MIN): the caller copies it before it calls the
    /// store again.
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

impl Body<'_> {
    /// The bytes, wherever they are.
    pub const fn as_slice(&self) -> &[u8] {
        match self {
            Self::Copy(bytes) => bytes,
            Self::Reserved(reservation) => reservation.as_slice(),
        }
    }
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
    /// The declared length is over [`item_limit`](super::item_limit).
    TooLarge,
    /// [`Store::grow`](super::Store::grow) failed.
    NoMemory,
}

/// No room: everything that may be removed has been, or nothing may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

/// Why incr or decr failed. The item is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeltaError {
    /// No such key.
    NotFound,
    /// The value is not a decimal number of 64 bits.
    NonNumeric,
    /// The new number is longer than the old value and there is no room for it.
    NoMemory,
}
