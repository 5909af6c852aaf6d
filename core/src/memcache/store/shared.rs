//! Large values: memory that the store, arriving bodies and replies in progress share.

use alloc::vec::Vec;
use bytes::Bytes;

use super::budget::Returns;
use super::types::NoMemory;

/// What a value costs beside its bytes: the owner with its counts (48 bytes) and the allocator's
/// bookkeeping for both.
pub(super) const VALUE_COST: usize = 128;

/// Values in a page.
const PAGE: usize = 128;
/// What a page costs in bytes, with its share of the list of pages while that grows.
pub(super) const PAGE_COST: usize = PAGE * size_of::<Entry>() + 96;

/// A buffer with its charge, which goes back when the buffer is freed.
#[derive(Debug)]
pub(super) struct Value {
    bytes: Vec<u8>,
    charge: usize,
    returns: Returns,
}

impl Value {
    /// An empty buffer that has cost nothing yet.
    pub(super) const fn new(returns: Returns) -> Self {
        Self { bytes: Vec::new(), charge: 0, returns }
    }

    /// What it costs to raise the capacity, for the moment in which the old and the new buffer
    /// exist both.
    pub(super) const fn cost_of(&self, capacity: usize) -> usize {
        if self.charge == 0 { capacity + VALUE_COST } else { capacity }
    }

    /// Raises the capacity. The caller has charged [`Value::cost_of`]; returns what of it came
    /// free again.
    pub(super) fn grow(&mut self, capacity: usize) -> Result<usize, NoMemory> {
        let cost = self.cost_of(capacity);
        let old = self.bytes.capacity();
        if self.bytes.try_reserve_exact(capacity - self.bytes.len()).is_err() {
            return Err(NoMemory);
        }
        // try_reserve_exact may round up by its contract; no allocator in use does.
        debug_assert_eq!(self.bytes.capacity(), capacity);
        self.charge += cost - old;
        Ok(old)
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        debug_assert!(self.bytes.len() + piece.len() <= self.bytes.capacity());
        self.bytes.extend_from_slice(piece);
    }

    pub(super) const fn as_slice(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    pub(super) const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) const fn returns(&self) -> &Returns {
        &self.returns
    }

    /// Shares the buffer without copying it.
    pub(super) fn share(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // First the memory, then the charge: the limit is never undercut.
        self.bytes = Vec::new();
        self.returns.give_back(self.charge);
    }
}

/// A value of a storage command that is still arriving. See [`Store::reserve`].
///
/// Its memory follows the bytes received: at most four times as much, and never more than was
/// declared. Dropping it returns everything to the store, with or without the store at hand, so a
/// connection that dies in the middle of a value leaks nothing.
///
/// [`Store::reserve`]: super::Store::reserve
#[derive(Debug)]
#[must_use]
pub struct Reservation {
    pub(super) value: Value,
    declared: usize,
}

impl Reservation {
    pub(super) const fn new(declared: usize, returns: Returns) -> Self {
        Self { value: Value::new(returns), declared }
    }

    /// The bytes received so far.
    pub const fn as_slice(&self) -> &[u8] {
        self.value.as_slice()
    }

    /// The length declared when it was made, in bytes.
    pub const fn declared(&self) -> usize {
        self.declared
    }

    /// How many bytes are still to come.
    pub const fn missing(&self) -> usize {
        self.declared - self.as_slice().len()
    }

    /// The capacity to go on with when `len` bytes will have been received, if the present one
    /// does not do. The last step is large, so that the copying before it stays small.
    pub(super) const fn next_capacity(&self, len: usize) -> Option<usize> {
        if len <= self.value.capacity() {
            None
        } else if len >= self.declared / 4 {
            Some(self.declared)
        } else {
            Some(len * 2)
        }
    }
}

#[derive(Debug)]
enum Entry {
    Free(u32),
    Used(Bytes),
}

/// The shared values of the items, by number.
#[derive(Debug)]
pub(super) struct Shared {
    pages: Vec<Vec<Entry>>,
    /// Head of the list of free entries.
    free: u32,
    /// Charge of the values here, whoever else holds them.
    charge: usize,
}

const NONE: u32 = u32::MAX;

impl Shared {
    pub(super) const fn new() -> Self {
        Self { pages: Vec::new(), free: NONE, charge: 0 }
    }

    /// Charge of the values here, in bytes.
    pub(super) const fn charge(&self) -> usize {
        self.charge
    }

    /// Whether a page must be added before the next [`Shared::insert`].
    pub(super) fn wants_page(&self) -> bool {
        self.free == NONE && self.pages.last().is_none_or(|page| page.len() == PAGE)
    }

    /// Adds a page, [`PAGE_COST`] bytes.
    pub(super) fn add_page(&mut self) {
        self.pages.push(Vec::with_capacity(PAGE));
    }

    /// Keeps a value and gives it a number.
    ///
    /// # Panics
    /// If a page is wanted.
    pub(super) fn insert(&mut self, value: Bytes) -> u32 {
        self.charge += value.len() + VALUE_COST;
        if self.free != NONE {
            let i = self.free;
            let old = core::mem::replace(self.entry(i), Entry::Used(value));
            let Entry::Free(next) = old else { unreachable!("a used entry in the free list") };
            self.free = next;
            return i;
        }
        let last = self.pages.len() - 1;
        let page = &mut self.pages[last];
        assert!(page.len() < PAGE, "a page was added");
        page.push(Entry::Used(value));
        (last * PAGE + page.len() - 1) as u32
    }

    /// The value with this number.
    pub(super) fn get(&self, i: u32) -> &Bytes {
        match &self.pages[i as usize / PAGE][i as usize % PAGE] {
            Entry::Used(value) => value,
            Entry::Free(_) => unreachable!("a record points to a free entry"),
        }
    }

    /// Lets go of a value; its memory comes back when nobody else holds it.
    pub(super) fn remove(&mut self, i: u32) {
        let free = core::mem::replace(&mut self.free, i);
        if let Entry::Used(value) = core::mem::replace(self.entry(i), Entry::Free(free)) {
            self.charge -= value.len() + VALUE_COST;
        }
    }

    fn entry(&mut self, i: u32) -> &mut Entry {
        &mut self.pages[i as usize / PAGE][i as usize % PAGE]
    }
}

#[cfg(test)]
impl Shared {
    pub(super) fn cost(&self) -> usize {
        self.pages.len() * PAGE_COST
    }
}
