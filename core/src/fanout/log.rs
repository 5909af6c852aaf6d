//! The last messages of a topic, numbered.

use crate::fanout::Draft;
use alloc::collections::VecDeque;
use bytes::Bytes;
use core::num::NonZeroU64;

/// One message in a topic's log.
#[derive(Clone, Debug)]
pub struct Entry {
    bytes: Bytes,
    plain_at: u32,
    notice: bool,
    key: Bytes,
}

impl Entry {
    /// The encoded message: one allocation, shared by all that hold it.
    #[inline]
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Where the part for receivers of the plain style begins.
    #[inline]
    #[must_use]
    pub const fn plain_at(&self) -> usize {
        self.plain_at as usize
    }

    /// Whether it is an event of the topic rather than a message.
    #[inline]
    #[must_use]
    pub const fn is_notice(&self) -> bool {
        self.notice
    }

    /// What it is about, in a coalescing topic.
    #[must_use]
    pub const fn key(&self) -> &Bytes {
        &self.key
    }

    /// Fills in what only the home knows.
    pub(super) fn seal(draft: Draft, number: u64, unix_ms: u64) -> Self {
        let Draft { mut bytes, number_at, time_at, plain_at, notice, key } = draft;
        for (at, value) in [(number_at, number), (time_at, unix_ms)] {
            if let Some(field) = at.and_then(|at| bytes.get_mut(at as usize..at as usize + 8)) {
                field.copy_from_slice(&value.to_be_bytes());
            }
        }
        Self { bytes: bytes.into(), plain_at, notice, key }
    }

    /// Bytes it counts for.
    #[inline]
    pub(super) fn cost(&self) -> usize {
        self.bytes.len() + self.key.len() + size_of::<Held>()
    }
}

#[derive(Debug)]
struct Held {
    /// The cost of all entries before it, since the topic began.
    offset: u64,
    /// The number of the entry that replaced it.
    by: Option<NonZeroU64>,
    entry: Entry,
}

/// Entries with consecutive numbers.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<Held>,
    first: u64,
    end_offset: u64,
}

impl Log {
    /// An empty log whose next number is `first`.
    pub(super) const fn starting_at(first: u64) -> Self {
        Self { entries: VecDeque::new(), first, end_offset: 0 }
    }

    #[inline]
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    #[inline]
    pub(super) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Cost of all entries, those that are gone included.
    pub(super) const fn end_offset(&self) -> u64 {
        self.end_offset
    }

    /// Cost of the entries held.
    pub(super) fn bytes(&self) -> u64 {
        self.end_offset - self.offset(self.first)
    }

    /// Cost of all entries before `number`; entries that are gone count as the first one held.
    pub(super) fn offset(&self, number: u64) -> u64 {
        let index = number.saturating_sub(self.first) as usize;
        self.entries.get(index).map_or(self.end_offset, |held| held.offset)
    }

    /// The entry `number`, if it is held.
    #[inline]
    pub(super) fn get(&self, number: u64) -> Option<&Entry> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.entries.get(index).map(|held| &held.entry)
    }

    /// Forgets everything and goes on at `first`. Offsets go on where they were.
    pub(super) fn jump(&mut self, first: u64) {
        self.entries.clear();
        self.first = first;
    }

    pub(super) fn push(&mut self, entry: Entry) {
        let offset = self.end_offset;
        self.end_offset += entry.cost() as u64;
        self.entries.push_back(Held { offset, by: None, entry });
    }

    /// The entry `number`, if it is held, was replaced by a later one.
    pub(super) fn replace(&mut self, number: u64, by: u64) {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(held) = index.and_then(|index| self.entries.get_mut(index)) {
            held.by = NonZeroU64::new(by);
        }
    }

    /// Forgets the oldest entry: its number, and of the one that replaced it.
    pub(super) fn pop(&mut self) -> Option<(u64, Entry, Option<u64>)> {
        let Held { by, entry, .. } = self.entries.pop_front()?;
        let number = self.first;
        self.first += 1;
        if self.entries.is_empty() {
            self.entries.shrink_to(64);
        }
        Some((number, entry, by.map(NonZeroU64::get)))
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &Entry)> {
        let first = self.first;
        self.entries.iter().enumerate().map(move |(i, held)| (first + i as u64, &held.entry))
    }

    /// The number of the `count`th message from the end, notices not counted; the first one held
    /// if there are fewer.
    pub(super) fn last(&self, count: u32) -> u64 {
        if count == 0 {
            return self.next();
        }
        let mut messages = self.iter().rev().filter(|(_, entry)| !entry.is_notice());
        messages.nth(count as usize - 1).map_or(self.first, |(number, _)| number)
    }
}
