//! Where items lie: records behind each other in segments of fixed size.
//!
//! A record is a 24-byte [`Head`], the key, and the value (or, for a shared value, its number in
//! [`Shared`](super::shared::Shared)), rounded up to 8 bytes. Records are only added to the
//! *active* segment; dead ones stay as holes until their segment is emptied and used again. Full
//! segments form a list, oldest first. At least one empty segment is always kept back, so that
//! the living of any segment can be moved together.
//!
//! This file knows bytes and segments, not which items should live: see `reclaim.rs`.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Records start at multiples of this.
const UNIT: usize = 8;
/// Bytes before the key.
const HEAD: usize = 24;
/// log2 of the units in the largest segment (64 KiB).
const UNIT_BITS: u32 = 13;
/// No segment.
pub(super) const NONE: u32 = u32::MAX;

/// The largest segment, in bytes.
pub(super) const SEGMENT_MAX: usize = UNIT << UNIT_BITS;
/// What a segment costs beside its bytes, once: its entry in the list of segments (also while
/// that list is moved to grow) and the allocator's own bookkeeping.
pub(super) const SEGMENT_ENTRY_COST: usize = 3 * size_of::<Segment>() + 32;

/// The item is gone; the record is a hole.
pub(super) const DEAD: u8 = 1;
/// Used since the clock hand last passed.
pub(super) const REFERENCED: u8 = 2;
/// Got at least once since it was stored.
pub(super) const FETCHED: u8 = 4;
/// The value is shared; the record holds its number.
pub(super) const SHARED: u8 = 8;

/// Address of a record: segment number and offset in units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub(super) u32);

impl Place {
    const fn new(segment: u32, offset: usize) -> Self {
        Self(segment << UNIT_BITS | (offset / UNIT) as u32)
    }

    #[inline]
    pub(super) const fn segment(self) -> u32 {
        self.0 >> UNIT_BITS
    }

    #[inline]
    const fn offset(self) -> usize {
        (self.0 & ((1 << UNIT_BITS) - 1)) as usize * UNIT
    }
}

/// The fixed part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) cas: u64,
    pub(super) expiry: u32,
    pub(super) flags: u32,
    /// Length of the value, wherever it lies.
    pub(super) len: u32,
    pub(super) key_len: u8,
    pub(super) bits: u8,
}

impl Head {
    #[inline]
    fn read(bytes: &[u8; HEAD]) -> Self {
        let [
            c0,
            c1,
            c2,
            c3,
            c4,
            c5,
            c6,
            c7,
            e0,
            e1,
            e2,
            e3,
            f0,
            f1,
            f2,
            f3,
            l0,
            l1,
            l2,
            l3,
            key_len,
            bits,
            _,
            _,
        ] = *bytes;
        Self {
            cas: u64::from_le_bytes([c0, c1, c2, c3, c4, c5, c6, c7]),
            expiry: u32::from_le_bytes([e0, e1, e2, e3]),
            flags: u32::from_le_bytes([f0, f1, f2, f3]),
            len: u32::from_le_bytes([l0, l1, l2, l3]),
            key_len,
            bits,
        }
    }

    #[inline]
    fn write(&self, bytes: &mut [u8; HEAD]) {
        bytes[0..8].copy_from_slice(&self.cas.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.expiry.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.flags.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.len.to_le_bytes());
        bytes[20..24].copy_from_slice(&[self.key_len, self.bits, 0, 0]);
    }

    #[inline]
    pub(super) const fn is(&self, bits: u8) -> bool {
        self.bits & bits != 0
    }

    /// Bytes after the key.
    #[inline]
    const fn tail(&self) -> usize {
        if self.is(SHARED) { 4 } else { self.len as usize }
    }

    /// Bytes of the whole record.
    #[inline]
    pub(super) const fn size(&self) -> usize {
        (HEAD + self.key_len as usize + self.tail()).next_multiple_of(UNIT)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No memory.
    Vacant,
    /// Memory, no records.
    Free,
    /// Takes new records.
    Active,
    /// Full, in the list.
    Sealed,
}

#[derive(Debug)]
struct Segment {
    data: Box<[u8]>,
    /// Bytes of records, dead or alive.
    used: u32,
    /// Bytes of living records.
    live: u32,
    /// Counts how often the segment was emptied, so that a remembered offset can be found stale.
    epoch: u32,
    prev: u32,
    next: u32,
    state: State,
}

/// A position in the log that survives between calls: the clock hand, the crawler.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    pub(super) segment: u32,
    offset: u32,
    epoch: u32,
}

impl Cursor {
    pub(super) const NOWHERE: Self = Self { segment: NONE, offset: 0, epoch: 0 };
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Log {
    segments: Vec<Segment>,
    segment_size: usize,
    active: u32,
    oldest: u32,
    newest: u32,
    sealed: u32,
    /// Heads of the lists of free and of vacant segments, linked by `next`.
    free: u32,
    free_len: u32,
    vacant: u32,
    used: usize,
    live: usize,
}

impl Log {
    /// A log with one active and one free segment; the caller accounts for both.
    ///
    /// # Panics
    /// If the size is over [`SEGMENT_MAX`] or not a power of two.
    pub(super) fn new(segment_size: usize) -> Self {
        assert!(segment_size <= SEGMENT_MAX && segment_size.is_power_of_two());
        let mut log = Self {
            segments: Vec::new(),
            segment_size,
            active: NONE,
            oldest: NONE,
            newest: NONE,
            sealed: 0,
            free: NONE,
            free_len: 0,
            vacant: NONE,
            used: 0,
            live: 0,
        };
        log.add_segment();
        log.add_segment();
        log.open_segment();
        log
    }

    pub(super) const fn segment_size(&self) -> usize {
        self.segment_size
    }

    /// Segments that hold or held memory.
    pub(super) const fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Full segments.
    pub(super) const fn sealed(&self) -> usize {
        self.sealed as usize
    }

    /// Empty segments, at least one between calls of the store.
    pub(super) const fn free(&self) -> usize {
        self.free_len as usize
    }

    /// Bytes in holes.
    pub(super) const fn dead(&self) -> usize {
        self.used - self.live
    }

    /// Bytes of living records.
    pub(super) const fn live(&self) -> usize {
        self.live
    }

    pub(super) const fn active(&self) -> u32 {
        self.active
    }

    pub(super) const fn oldest(&self) -> Option<u32> {
        if self.oldest == NONE { None } else { Some(self.oldest) }
    }

    /// Bytes in holes of a full segment; `None` if it is not a full one.
    pub(super) fn holes(&self, segment: u32) -> Option<usize> {
        let s = &self.segments[segment as usize];
        (s.state == State::Sealed).then_some((s.used - s.live) as usize)
    }

    /// Whether the active segment takes a record of this size.
    #[inline]
    pub(super) fn fits(&self, size: usize) -> bool {
        self.segments[self.active as usize].used as usize + size <= self.segment_size
    }

    /// Loads the beginning of a record into the cache.
    #[inline]
    pub(super) fn touch(&self, place: Place) -> u8 {
        let record = self.record(place);
        let line = |i: usize| record.get(i * 64).map_or(0, |&byte| byte);
        line(0) ^ line(1) ^ line(2)
    }

    #[inline]
    pub(super) fn head(&self, place: Place) -> Head {
        Head::read(self.record(place).first_chunk().expect("records have heads"))
    }

    #[inline]
    pub(super) fn set_head(&mut self, place: Place, head: &Head) {
        head.write(self.record_mut(place).first_chunk_mut().expect("records have heads"));
    }

    #[inline]
    pub(super) fn set_bits(&mut self, place: Place, bits: u8) {
        self.record_mut(place)[21] = bits;
    }

    /// Whether a record has this key.
    #[inline]
    pub(super) fn has_key(&self, place: Place, key: &[u8]) -> bool {
        let record = self.record(place);
        record[20] as usize == key.len() && record.get(HEAD..HEAD + key.len()) == Some(key)
    }

    #[inline]
    pub(super) fn key(&self, place: Place, head: &Head) -> &[u8] {
        &self.record(place)[HEAD..][..head.key_len as usize]
    }

    /// The bytes after the key.
    #[inline]
    pub(super) fn tail(&self, place: Place, head: &Head) -> &[u8] {
        &self.record(place)[HEAD + head.key_len as usize..][..head.tail()]
    }

    #[inline]
    pub(super) fn tail_mut(&mut self, place: Place, head: &Head) -> &mut [u8] {
        &mut self.record_mut(place)[HEAD + head.key_len as usize..][..head.tail()]
    }

    /// The number of a shared value.
    pub(super) fn shared_id(&self, place: Place, head: &Head) -> u32 {
        u32::from_le_bytes(
            *self.tail(place, head).first_chunk().expect("shared records hold a number"),
        )
    }

    /// Adds a record.
    ///
    /// # Panics
    /// If it does not fit.
    #[inline]
    pub(super) fn append(&mut self, head: &Head, key: &[u8], tail: &[u8]) -> Place {
        let place = self.advance(head.size());
        let record = self.record_mut(place);
        head.write(record.first_chunk_mut().expect("records have heads"));
        record[HEAD..][..key.len()].copy_from_slice(key);
        record[HEAD + key.len()..][..tail.len()].copy_from_slice(tail);
        place
    }

    /// Copies a record to the active segment. The caller kills the old one.
    ///
    /// # Panics
    /// If it does not fit.
    pub(super) fn copy(&mut self, from: Place, head: &Head) -> Place {
        let size = head.size();
        let to = self.advance(size);
        let (a, b) = (from.segment() as usize, to.segment() as usize);
        if a == b {
            self.segments[a].data.copy_within(from.offset()..from.offset() + size, to.offset());
        } else {
            let [a, b] = self.segments.get_disjoint_mut([a, b]).expect("two segments");
            b.data[to.offset()..][..size].copy_from_slice(&a.data[from.offset()..][..size]);
        }
        self.set_head(to, head);
        to
    }

    /// Makes a record a hole. Its segment, if that was the last living one in it, becomes free
    /// (the active one is used again from its start).
    pub(super) fn kill(&mut self, place: Place) {
        let mut head = self.head(place);
        let size = head.size();
        head.bits |= DEAD;
        self.set_head(place, &head);
        self.live -= size;
        let segment = &mut self.segments[place.segment() as usize];
        segment.live -= size as u32;
        if segment.live > 0 {
            return;
        }
        self.used -= segment.used as usize;
        segment.used = 0;
        segment.epoch = segment.epoch.wrapping_add(1);
        if segment.state == State::Sealed {
            self.unlist(place.segment());
            self.push_free(place.segment());
        }
    }

    /// Adds a free segment. Returns true if it also needed a new entry in the list of segments.
    pub(super) fn add_segment(&mut self) -> bool {
        let data = vec![0; self.segment_size].into_boxed_slice();
        let new_entry = self.vacant == NONE;
        let i = if new_entry {
            let i = self.segments.len() as u32;
            self.segments.push(Segment {
                data,
                used: 0,
                live: 0,
                epoch: 0,
                prev: NONE,
                next: NONE,
                state: State::Free,
            });
            i
        } else {
            let i = self.vacant;
            self.vacant = self.segments[i as usize].next;
            self.segments[i as usize].data = data;
            i
        };
        self.push_free(i);
        new_entry
    }

    /// Whether the next [`Log::add_segment`] needs a new entry.
    pub(super) const fn needs_entry(&self) -> bool {
        self.vacant == NONE
    }

    /// Gives back the memory of a free segment if more than one is free.
    pub(super) fn drop_surplus(&mut self) -> bool {
        if self.free_len < 2 {
            return false;
        }
        let i = self.pop_free();
        let vacant = core::mem::replace(&mut self.vacant, i);
        let segment = &mut self.segments[i as usize];
        segment.data = Box::default();
        segment.state = State::Vacant;
        segment.next = vacant;
        true
    }

    /// Closes the active segment and makes a free one active.
    ///
    /// # Panics
    /// If none is free.
    pub(super) fn open_segment(&mut self) {
        assert!(self.free_len > 0, "a segment is kept back");
        if self.active != NONE {
            if self.segments[self.active as usize].used == 0 {
                self.push_free(self.active);
            } else {
                self.enlist(self.active);
            }
        }
        self.active = self.pop_free();
        self.segments[self.active as usize].state = State::Active;
    }

    /// A cursor at the start of a segment.
    pub(super) fn start_of(&self, segment: u32) -> Cursor {
        Cursor { segment, offset: 0, epoch: self.segments[segment as usize].epoch }
    }

    /// The record under the cursor, which moves behind it; `None` at the end of the segment, or
    /// when it was emptied in the meantime.
    pub(super) fn step(&self, cursor: &mut Cursor) -> Option<(Place, Head)> {
        let segment = self.segments.get(cursor.segment as usize)?;
        if segment.epoch != cursor.epoch || cursor.offset >= segment.used {
            return None;
        }
        let place = Place::new(cursor.segment, cursor.offset as usize);
        let head = self.head(place);
        cursor.offset += head.size() as u32;
        Some((place, head))
    }

    /// Whether the segment was emptied since the cursor was set.
    pub(super) fn is_stale(&self, cursor: &Cursor) -> bool {
        self.segments.get(cursor.segment as usize).is_none_or(|s| s.epoch != cursor.epoch)
    }

    #[inline]
    fn record(&self, place: Place) -> &[u8] {
        &self.segments[place.segment() as usize].data[place.offset()..]
    }

    #[inline]
    fn record_mut(&mut self, place: Place) -> &mut [u8] {
        &mut self.segments[place.segment() as usize].data[place.offset()..]
    }

    #[inline]
    fn advance(&mut self, size: usize) -> Place {
        let segment = &mut self.segments[self.active as usize];
        let offset = segment.used as usize;
        assert!(offset + size <= self.segment_size, "room was made");
        segment.used += size as u32;
        segment.live += size as u32;
        self.used += size;
        self.live += size;
        Place::new(self.active, offset)
    }

    fn push_free(&mut self, i: u32) {
        let segment = &mut self.segments[i as usize];
        segment.state = State::Free;
        segment.next = self.free;
        self.free = i;
        self.free_len += 1;
    }

    fn pop_free(&mut self) -> u32 {
        let i = self.free;
        self.free = self.segments[i as usize].next;
        self.free_len -= 1;
        i
    }

    fn enlist(&mut self, i: u32) {
        let newest = core::mem::replace(&mut self.newest, i);
        let segment = &mut self.segments[i as usize];
        segment.state = State::Sealed;
        segment.prev = newest;
        segment.next = NONE;
        if newest == NONE {
            self.oldest = i;
        } else {
            self.segments[newest as usize].next = i;
        }
        self.sealed += 1;
    }

    fn unlist(&mut self, i: u32) {
        let (prev, next) = (self.segments[i as usize].prev, self.segments[i as usize].next);
        if prev == NONE {
            self.oldest = next;
        } else {
            self.segments[prev as usize].next = next;
        }
        if next == NONE {
            self.newest = prev;
        } else {
            self.segments[next as usize].prev = prev;
        }
        self.sealed -= 1;
    }
}

#[cfg(test)]
impl Log {
    pub(super) fn memory_of(&self, segment: u32) -> usize {
        self.segments[segment as usize].data.len()
    }
}
