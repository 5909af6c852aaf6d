//! The table from hashes to records: linear hashing (Litwin, "Linear Hashing: A New Tool for File
//! and Table Addressing", VLDB 1980) with buckets of one cache line.
//!
//! The table grows by one bucket at a time, so there is never a second table, a copy or a stall,
//! and its memory comes in pages that the owner supplies. A lookup reads one cache line of the
//! table; a full bucket goes on in spill buckets. Entries keep 32 bits of the hash: growing and
//! most misses never touch a record.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::log::Place;

/// Entries in a bucket.
const SLOTS: usize = 7;
/// Buckets in a page.
const PAGE: usize = 128;
/// Average entries per main bucket above which a bucket is split. Higher saves memory, but then
/// the buckets that still wait for their split spill.
const SPLIT_ABOVE: usize = 4;
/// Average entries per main bucket below which the last one is folded back.
const FOLD_BELOW: usize = 1;
/// No bucket.
const NONE: u32 = u32::MAX;

/// What a page costs in bytes: the buckets, and its share of the list of pages while that grows
/// and of the allocator's own bookkeeping.
pub(super) const PAGE_COST: usize = PAGE * size_of::<Bucket>() + 64;

/// One cache line. The last tag is the number of entries, the last place the next spill bucket.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u32; SLOTS + 1],
    places: [u32; SLOTS + 1],
}

impl Bucket {
    const EMPTY: Self = Self { tags: [0; SLOTS + 1], places: [NONE; SLOTS + 1] };

    #[inline]
    const fn len(&self) -> usize {
        self.tags[SLOTS] as usize
    }

    #[inline]
    const fn next(&self) -> u32 {
        self.places[SLOTS]
    }

    /// A bit for each entry that has this tag.
    #[inline]
    fn matches(&self, tag: u32) -> u32 {
        let mut bits = 0;
        for (i, &other) in self.tags.iter().enumerate() {
            bits |= u32::from(other == tag) << i;
        }
        bits & !(u32::MAX << self.len())
    }

    fn position(&self, tag: u32, place: Place) -> Option<usize> {
        (0..self.len().min(SLOTS)).find(|&i| self.tags[i] == tag && self.places[i] == place.0)
    }

    fn push(&mut self, tag: u32, place: u32) {
        let i = self.len();
        self.tags[i] = tag;
        self.places[i] = place;
        self.tags[SLOTS] += 1;
    }

    fn pop(&mut self) -> (u32, u32) {
        self.tags[SLOTS] -= 1;
        let i = self.len();
        (self.tags[i], self.places[i])
    }
}

/// A growing array that never moves its elements.
#[derive(Debug)]
struct Pages(Vec<Box<[Bucket; PAGE]>>);

impl Pages {
    fn add(&mut self) {
        self.0.push(Box::new([Bucket::EMPTY; PAGE]));
    }

    const fn buckets(&self) -> usize {
        self.0.len() * PAGE
    }

    #[inline]
    fn at(&self, i: u32) -> &Bucket {
        &self.0[i as usize / PAGE][i as usize % PAGE]
    }

    #[inline]
    fn at_mut(&mut self, i: u32) -> &mut Bucket {
        &mut self.0[i as usize / PAGE][i as usize % PAGE]
    }
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Index {
    main: Pages,
    spill: Pages,
    /// Main buckets in use; those behind them in the last page are empty.
    count: u32,
    /// The least 2^n - 1 that covers every main bucket.
    mask: u32,
    /// Spill buckets that were ever in use.
    spilled: u32,
    /// Head of the list of spill buckets that are free again.
    spare: u32,
    len: usize,
}

impl Index {
    /// An empty table that owns its first two pages; the caller accounts for them.
    pub(super) fn new() -> Self {
        let (mut main, mut spill) = (Pages(Vec::new()), Pages(Vec::new()));
        main.add();
        spill.add();
        Self {
            main,
            spill,
            count: PAGE as u32,
            mask: PAGE as u32 - 1,
            spilled: 0,
            spare: NONE,
            len: 0,
        }
    }

    /// What [`Index::new`] costs in bytes.
    pub(super) const fn initial_cost() -> usize {
        2 * PAGE_COST
    }

    /// The place with this tag for which `is` holds. `is` is asked for places with an equal tag
    /// only.
    #[inline]
    pub(super) fn find(&self, tag: u32, is: impl Fn(Place) -> bool) -> Option<Place> {
        let mut bucket = self.main.at(self.home(tag));
        loop {
            let mut bits = bucket.matches(tag);
            while bits != 0 {
                let place = Place(bucket.places[bits.trailing_zeros() as usize]);
                if is(place) {
                    return Some(place);
                }
                bits &= bits - 1;
            }
            if bucket.next() == NONE {
                return None;
            }
            bucket = self.spill.at(bucket.next());
        }
    }

    /// Loads the bucket of a hash into the cache.
    #[inline]
    pub(super) fn touch(&self, tag: u32) -> u32 {
        self.main.at(self.home(tag)).tags[SLOTS]
    }

    /// The first place with this tag in its main bucket.
    #[inline]
    pub(super) fn guess(&self, tag: u32) -> Option<Place> {
        let bucket = self.main.at(self.home(tag));
        let bits = bucket.matches(tag);
        (bits != 0).then(|| Place(bucket.places[bits.trailing_zeros() as usize]))
    }

    /// Whether a page must be added before the next [`Index::insert`].
    #[inline]
    pub(super) const fn wants_page(&self) -> bool {
        self.wants_spill() || self.wants_main()
    }

    /// Adds the page that is wanted, [`PAGE_COST`] bytes.
    pub(super) fn add_page(&mut self) {
        if self.wants_spill() {
            self.spill.add();
        } else {
            self.main.add();
        }
    }

    /// Adds an entry; there must be none for this key yet.
    ///
    /// # Panics
    /// If a page is wanted.
    pub(super) fn insert(&mut self, tag: u32, place: Place) {
        self.push(self.home(tag), tag, place.0);
        self.len += 1;
        if self.len > self.count as usize * SPLIT_ABOVE
            && (self.count as usize) < self.main.buckets()
        {
            self.split();
        }
    }

    /// Points an entry to another place.
    pub(super) fn replace(&mut self, tag: u32, old: Place, new: Place) {
        let home = self.home(tag);
        if let Some((spill, i)) = self.locate(home, tag, old) {
            self.bucket_mut(home, spill).places[i] = new.0;
        }
    }

    /// Takes an entry out. Returns true when that freed a page of [`PAGE_COST`] bytes.
    pub(super) fn remove(&mut self, tag: u32, place: Place) -> bool {
        let home = self.home(tag);
        let Some((at, hole)) = self.locate(home, tag, place) else { return false };
        // The last entry of the chain fills the hole: every bucket but the last stays full.
        let (mut before, mut last) = (None, None);
        let mut end = self.main.at(home);
        while end.next() != NONE {
            before = last;
            last = Some(end.next());
            end = self.spill.at(end.next());
        }
        let moved = self.bucket_mut(home, last).pop();
        if last != at || hole != self.bucket_mut(home, last).len() {
            let bucket = self.bucket_mut(home, at);
            (bucket.tags[hole], bucket.places[hole]) = moved;
        }
        if let Some(empty) = last.filter(|&i| self.spill.at(i).len() == 0) {
            self.bucket_mut(home, before).places[SLOTS] = NONE;
            self.free_spill(empty);
        }
        self.len -= 1;
        self.len < self.count as usize * FOLD_BELOW && self.fold()
    }

    const fn wants_spill(&self) -> bool {
        self.spare == NONE && self.spilled as usize == self.spill.buckets()
    }

    const fn wants_main(&self) -> bool {
        self.len >= self.count as usize * SPLIT_ABOVE && self.count as usize == self.main.buckets()
    }

    #[inline]
    const fn home(&self, tag: u32) -> u32 {
        let i = tag & self.mask;
        if i < self.count { i } else { i & (self.mask >> 1) }
    }

    /// The bucket of a chain (`None` is the main one) and the slot that hold an entry.
    fn locate(&self, home: u32, tag: u32, place: Place) -> Option<(Option<u32>, usize)> {
        let mut spill = None;
        let mut bucket = self.main.at(home);
        loop {
            if let Some(i) = bucket.position(tag, place) {
                return Some((spill, i));
            }
            debug_assert_ne!(bucket.next(), NONE, "a record without an entry");
            if bucket.next() == NONE {
                return None;
            }
            spill = Some(bucket.next());
            bucket = self.spill.at(bucket.next());
        }
    }

    /// The main bucket `home`, or a spill bucket.
    fn bucket_mut(&mut self, home: u32, spill: Option<u32>) -> &mut Bucket {
        match spill {
            None => self.main.at_mut(home),
            Some(i) => self.spill.at_mut(i),
        }
    }

    fn push(&mut self, home: u32, tag: u32, place: u32) {
        let mut last = None;
        let mut bucket = self.main.at(home);
        while bucket.next() != NONE {
            last = Some(bucket.next());
            bucket = self.spill.at(bucket.next());
        }
        if bucket.len() == SLOTS {
            let fresh = self.take_spill();
            self.bucket_mut(home, last).places[SLOTS] = fresh;
            last = Some(fresh);
        }
        self.bucket_mut(home, last).push(tag, place);
    }

    fn take_spill(&mut self) -> u32 {
        if self.spare == NONE {
            self.spilled += 1;
            return self.spilled - 1;
        }
        let i = self.spare;
        self.spare = self.spill.at(i).next();
        *self.spill.at_mut(i) = Bucket::EMPTY;
        i
    }

    fn free_spill(&mut self, i: u32) {
        *self.spill.at_mut(i) = Bucket::EMPTY;
        self.spill.at_mut(i).places[SLOTS] = self.spare;
        self.spare = i;
    }

    /// Adds one main bucket and moves to it what belongs there. The chains afterwards need no more
    /// spill buckets than the one before, each freed before it can be needed again.
    fn split(&mut self) {
        if self.count > self.mask {
            self.mask = self.mask * 2 + 1;
        }
        let old = self.count & (self.mask >> 1);
        self.count += 1;
        self.rehome(old);
    }

    /// Takes back the last main bucket, if that needs no new page. Returns true when it was the
    /// last of its page, which is then freed.
    fn fold(&mut self) -> bool {
        if self.count as usize <= PAGE || self.wants_spill() {
            return false;
        }
        self.count -= 1;
        let gone = self.count;
        self.mask = self.count.next_power_of_two() - 1;
        self.rehome(gone);
        if self.main.buckets() - self.count as usize >= PAGE {
            self.main.0.pop();
            return true;
        }
        false
    }

    /// Puts every entry of a chain where it belongs now.
    fn rehome(&mut self, from: u32) {
        let mut bucket = core::mem::replace(self.main.at_mut(from), Bucket::EMPTY);
        loop {
            for i in 0..bucket.len().min(SLOTS) {
                self.push(self.home(bucket.tags[i]), bucket.tags[i], bucket.places[i]);
            }
            let next = bucket.next();
            if next == NONE {
                return;
            }
            bucket = *self.spill.at(next);
            self.free_spill(next);
        }
    }
}

#[cfg(test)]
impl Index {
    pub(super) const fn entries(&self) -> usize {
        self.len
    }

    pub(super) const fn cost(&self) -> usize {
        (self.main.0.len() + self.spill.0.len()) * PAGE_COST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn insert(index: &mut Index, tag: u32, place: u32) {
        while index.wants_page() {
            index.add_page();
        }
        index.insert(tag, Place(place));
    }

    fn tag(i: u32) -> u32 {
        i.wrapping_mul(0x9e37_79b9).rotate_left(13)
    }

    #[test]
    fn grows_shrinks_and_forgets_nothing() {
        let mut index = Index::new();
        for i in 0..50_000 {
            insert(&mut index, tag(i), i);
        }
        assert!(index.main.buckets() >= 50_000 / SPLIT_ABOVE);
        assert!(index.spill.buckets() < index.main.buckets() / 3, "{}", index.spill.buckets());
        for i in 0..50_000 {
            assert_eq!(index.find(tag(i), |p| p.0 == i), Some(Place(i)));
        }
        let mut freed = 0;
        for i in 0..50_000 {
            freed += usize::from(index.remove(tag(i), Place(i)));
            assert_eq!(index.find(tag(i), |p| p.0 == i), None);
            if i % 97 == 0 && i < 49_999 {
                assert!(index.find(tag(49_999), |p| p.0 == 49_999).is_some());
            }
        }
        assert_eq!(index.len, 0);
        assert_eq!(index.main.0.len(), 1, "freed {freed} pages");
    }

    #[test]
    fn equal_tags_share_a_chain() {
        let mut index = Index::new();
        for i in 0..100 {
            insert(&mut index, 5, i);
        }
        for i in 0..100 {
            assert!(index.find(5, |p| p.0 == i).is_some());
        }
        index.replace(5, Place(40), Place(1000));
        assert!(index.find(5, |p| p.0 == 40).is_none());
        for i in (0..100).filter(|&i| i != 40) {
            index.remove(5, Place(i));
        }
        assert_eq!(index.find(5, |_| true), Some(Place(1000)));
    }

    proptest::proptest! {
        #[test]
        fn behaves_like_a_map(ops in proptest::collection::vec((0u32..3, 0u32..4_000, 0u32..40), 1..3_000)) {
            let mut index = Index::new();
            let mut model = BTreeMap::new();
            for (kind, key, spread) in ops {
                // Few different tags, so that chains are long.
                let t = tag(key) & !(u32::MAX << spread.clamp(3, 31));
                match kind {
                    2 => if model.remove(&(key, t)).is_some() { index.remove(t, Place(key)); },
                    _ => if model.insert((key, t), ()).is_none() { insert(&mut index, t, key) },
                }
            }
            proptest::prop_assert_eq!(index.len, model.len());
            for &(key, t) in model.keys() {
                proptest::prop_assert_eq!(index.find(t, |p| p.0 == key), Some(Place(key)));
            }
        }
    }
}
