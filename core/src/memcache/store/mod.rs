//! The item store: one table of items under one byte limit, a plain data structure without
//! clock, lock or I/O.
//!
//! # Shape
//! * Items shorter than [`SHARED_MIN`] lie inline in a log of 64 KiB segments (`log.rs`): a 24-byte
//!   header, key, value. Overwriting with a value that rounds to the same size happens in place;
//!   otherwise the record is written anew and the old one leaves a hole.
//! * Longer values are [`Bytes`](bytes::Bytes) beside the log (`shared.rs`): a reply in progress
//!   shares them, and an overwrite or delete never tears them.
//! * The table (`index.rs`) grows bucket by bucket: 16 bytes an item, one cache line a lookup.
//! * When full (`reclaim.rs`), a clock hand walks the oldest segment: dead and expired items are
//!   dropped, those used since the last tour get a second chance, the others are evicted. Segments
//!   full of holes are compacted first. Eviction is by item: a large value is evicted alone.
//!
//! # The limit
//! [`Store::footprint`] counts every byte: segments with their free space, table, metadata, values
//! still arriving, values that nobody can get any more but a reply still holds. It includes an
//! allowance for the allocator, so it is an upper bound of what is allocated, and it never exceeds
//! the limit: memory is charged, after making room, *before* it is allocated.
//!
//! # Cost
//! Every call but [`Store::maintain`] takes constant time apart from copying its value, unless it
//! must make room; then the work is proportional to the room it makes, at least one segment
//! (about 1,000 small items). A get allocates nothing; a set allocates a segment, a table page
//! of 8 KiB or a large value's buffer, and nothing once the store is full or values are
//! overwritten in their size.
//!
//! # Shards
//! A store is single-threaded. A host with several threads keeps one store per shard behind locks
//! of its own; all use one [`Hasher`], and [`Counters`] add up.
//!
//! ```
//! use drywire::memcache::expiry::{Expiry, Secs};
//! use drywire::memcache::store::{Body, Config, Hasher, Store, Stored, Verb};
//!
//! let hasher = Hasher::new(42);
//! let mut store = Store::new(Config::new(64 << 20, hasher.clone()))?;
//! let (now, key) = (Secs::new(5), b"greeting");
//! let hash = hasher.hash(key);
//! let stored = store.store(now, hash, key, Verb::Set, 7, Expiry::NEVER, Body::Copy(b"hello"));
//! assert_eq!(stored, Stored::Stored);
//! let hit = store.get(now, hash, key).unwrap();
//! assert_eq!((hit.flags, hit.value.as_slice()), (7, &b"hello"[..]));
//! # Ok::<(), drywire::memcache::store::ConfigError>(())
//! ```

mod budget;
mod config;
mod counters;
mod hash;
mod index;
mod log;
mod number;
mod reclaim;
mod shared;
mod types;
mod write;

#[cfg(test)]
mod tests;

use core::hint::black_box;

use super::expiry::{Expiry, Secs};
use budget::Budget;
pub use config::{
    Config, ConfigError, ITEM_MAX_DEFAULT, ITEM_MAX_GREATEST, ITEM_MAX_LEAST, KEY_MAX,
    LIMIT_GREATEST, LIMIT_LEAST, item_limit,
};
pub use counters::Counters;
pub use hash::Hasher;
use index::Index;
use log::{Cursor, FETCHED, Head, Log, Place, REFERENCED};
pub use shared::Reservation;
use shared::Shared;
pub use types::{Body, DeltaError, Hit, NoMemory, Refusal, Stored, ValueRef, Verb};

/// Values of this length and more are kept as shared [`Bytes`](bytes::Bytes); shorter ones lie
/// inline. Copying less than a page costs no more than sharing it.
pub const SHARED_MIN: usize = 4096;

/// Charged for what exists once.
const BASE_COST: usize = size_of::<Store>() + 256;
/// Segments that the limit is divided into at least.
const SEGMENTS_LEAST: u64 = 16;
/// The smallest segment holds several of the largest inline items.
const SEGMENT_MIN: u64 = 16 * 1024;

/// The item store. See the [module documentation](self).
#[derive(Debug)]
pub struct Store {
    index: Index,
    log: Log,
    shared: Shared,
    budget: Budget,
    hasher: Hasher,
    item_max: u32,
    evicts: bool,
    next_cas: u64,
    cas_step: u64,
    /// Items with a cas below this are flushed: every store gives a higher one.
    flushed_below: u64,
    /// When the pending flush strikes.
    flush_at: Expiry,
    /// Where the clock hand stands, and the bytes of the segment under it that got a second chance.
    hand: Cursor,
    spared: usize,
    crawler: Cursor,
    /// Whether this pass of the crawler has met an item that will expire, or one may have come to
    /// lie behind it.
    met_mortal: bool,
    /// Where compaction looks next.
    sample: usize,
    /// Counts records that went away: a place found before may be stale if it has changed.
    kills: u64,
    counters: Counters,
}

/// What a look-up found.
enum Found {
    Live(Place, Head),
    Expired,
    Flushed,
    Missing,
}

impl Store {
    /// An empty store.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        let segment = (config.limit / SEGMENTS_LEAST).clamp(SEGMENT_MIN, log::SEGMENT_MAX as u64);
        let segment = 1usize << segment.ilog2();
        let mut budget = Budget::new(usize::try_from(config.limit).unwrap_or(usize::MAX));
        budget.charge(BASE_COST + Index::initial_cost() + 2 * (segment + log::SEGMENT_ENTRY_COST));
        Ok(Self {
            index: Index::new(),
            log: Log::new(segment),
            shared: Shared::new(),
            budget,
            hasher: config.hasher,
            item_max: config.item_max,
            evicts: config.evict,
            next_cas: config.cas_first,
            cas_step: config.cas_step,
            flushed_below: 0,
            flush_at: Expiry::NEVER,
            hand: Cursor::NOWHERE,
            spared: 0,
            crawler: Cursor::NOWHERE,
            met_mortal: false,
            sample: 0,
            kills: 0,
            counters: Counters::default(),
        })
    }

    /// Looks a key up. No allocation; typically one cache line of the table and the item's own.
    ///
    /// `hash` is the key's under [`Config::hasher`], here and in all calls; `now` never goes back.
    #[inline]
    pub fn get(&mut self, now: Secs, hash: u64, key: &[u8]) -> Option<Hit<'_>> {
        self.counters.cmd_get += 1;
        self.settle_flush(now);
        let tag = hash as u32;
        let Some(place) = self.index.find(tag, |place| self.log.has_key(place, key)) else {
            self.counters.get_misses += 1;
            return None;
        };
        let head = self.log.head(place);
        if self.is_gone(&head, now) {
            self.counters.get_misses += 1;
            let gone = self.bury(place, &head, tag);
            self.count_gone(&gone);
            return None;
        }
        self.counters.get_hits += 1;
        let used = REFERENCED | FETCHED;
        if head.bits & used != used {
            self.log.set_bits(place, head.bits | used);
        }
        Some(self.hit(place, &head))
    }

    /// Brings the memory that commands for these keys will need into the cache, and changes
    /// nothing. Best with 4 to 16 hashes: the waits for memory then overlap instead of adding up,
    /// so a caller who knows several keys ahead (a get of many keys, pipelined commands) gains
    /// when the store is larger than the processor's cache.
    #[inline]
    pub fn warm(&self, hashes: &[u64]) {
        let buckets = hashes.iter().fold(0, |sum, &hash| sum ^ self.index.touch(hash as u32));
        let records = hashes.iter().filter_map(|&hash| self.index.guess(hash as u32));
        let bytes = records.fold(0, |sum, place| sum ^ self.log.touch(place));
        black_box((buckets, bytes));
    }

    /// Looks a key up and sets its expiry; the cas unique stays. Counts as `cmd_get` and
    /// `cmd_touch`, its outcome as touch.
    pub fn get_and_touch(
        &mut self,
        now: Secs,
        hash: u64,
        key: &[u8],
        expiry: Expiry,
    ) -> Option<Hit<'_>> {
        self.counters.cmd_get += 1;
        let (place, head) = self.touch_item(now, hash, key, expiry, REFERENCED | FETCHED)?;
        Some(self.hit(place, &head))
    }

    /// Sets the expiry of a key; the cas unique stays. False if it is not there.
    pub fn touch(&mut self, now: Secs, hash: u64, key: &[u8], expiry: Expiry) -> bool {
        self.touch_item(now, hash, key, expiry, REFERENCED).is_some()
    }

    /// Removes a key. False if it is not there.
    pub fn delete(&mut self, now: Secs, hash: u64, key: &[u8]) -> bool {
        let tag = hash as u32;
        let Found::Live(place, head) = self.find(now, tag, key) else {
            self.counters.delete_misses += 1;
            return false;
        };
        self.unlink(place, &head, tag);
        self.counters.delete_hits += 1;
        true
    }

    /// Makes everything stored before the beginning of second `at` invisible once that second
    /// comes: at once if it is `now` or past, and then what is stored later in the same second
    /// lives. Replaces a flush that is still pending. Constant time: memory comes back as items
    /// are met, by [`Store::maintain`] or when room is needed.
    pub fn flush_all(&mut self, now: Secs, at: Secs) {
        self.settle_flush(now);
        self.flush_at = Expiry::at(at);
        self.settle_flush(now);
    }

    /// The counters, and the gauges as they are now.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Forgets what was counted (`stats reset`); the gauges stay.
    pub fn reset_counters(&mut self) {
        self.counters.reset();
    }

    /// Bytes charged to the limit now: an upper bound of what is allocated, at most
    /// [`Store::limit`].
    pub fn footprint(&self) -> u64 {
        self.budget.used() as u64
    }

    /// Whether cold items make room for new ones.
    #[must_use]
    pub fn evicts(&self) -> bool {
        self.evicts
    }

    /// The byte limit.
    pub const fn limit(&self) -> u64 {
        self.budget.limit() as u64
    }

    /// The item size limit; see [`item_limit`].
    pub const fn item_max(&self) -> u32 {
        self.item_max
    }

    fn touch_item(
        &mut self,
        now: Secs,
        hash: u64,
        key: &[u8],
        expiry: Expiry,
        bits: u8,
    ) -> Option<(Place, Head)> {
        self.counters.cmd_touch += 1;
        match self.find(now, hash as u32, key) {
            Found::Live(place, mut head) => {
                self.counters.touch_hits += 1;
                self.met_mortal |= expiry != Expiry::NEVER;
                head.expiry = expiry.to_bits();
                head.bits |= bits;
                self.log.set_head(place, &head);
                Some((place, head))
            }
            gone => {
                self.counters.touch_misses += 1;
                self.count_gone(&gone);
                None
            }
        }
    }

    /// Finds a key. An item that is dead already is removed on the way.
    #[inline]
    fn find(&mut self, now: Secs, tag: u32, key: &[u8]) -> Found {
        self.settle_flush(now);
        let Some(place) = self.index.find(tag, |place| self.log.has_key(place, key)) else {
            return Found::Missing;
        };
        let head = self.log.head(place);
        if !self.is_gone(&head, now) {
            return Found::Live(place, head);
        }
        self.bury(place, &head, tag)
    }

    /// Removes an item that was found dead.
    #[cold]
    fn bury(&mut self, place: Place, head: &Head, tag: u32) -> Found {
        self.unlink_gone(place, head, tag);
        if head.cas < self.flushed_below { Found::Flushed } else { Found::Expired }
    }

    const fn count_gone(&mut self, found: &Found) {
        match found {
            Found::Expired => self.counters.get_expired += 1,
            Found::Flushed => self.counters.get_flushed += 1,
            Found::Live(..) | Found::Missing => {}
        }
    }

    #[inline]
    fn hit(&self, place: Place, head: &Head) -> Hit<'_> {
        let value = if head.is(log::SHARED) {
            ValueRef::Shared(self.shared.get(self.log.shared_id(place, head)))
        } else {
            ValueRef::Inline(self.log.tail(place, head))
        };
        Hit { flags: head.flags, cas: head.cas, value }
    }

    /// Lets a pending flush strike. Called before anything else in every operation, so all that
    /// has a cas yet was stored before that second.
    #[inline]
    const fn settle_flush(&mut self, now: Secs) {
        if self.flush_at.is_past(now) {
            self.flushed_below = self.next_cas;
            self.flush_at = Expiry::NEVER;
            self.crawler = Cursor::NOWHERE;
        }
    }

    #[inline]
    const fn is_gone(&self, head: &Head, now: Secs) -> bool {
        Expiry::from_bits(head.expiry).is_past(now) || head.cas < self.flushed_below
    }

    /// Removes an item whose time has come.
    fn unlink_gone(&mut self, place: Place, head: &Head, tag: u32) {
        if !head.is(FETCHED) {
            self.counters.expired_unfetched += 1;
        }
        self.unlink(place, head, tag);
    }

    /// Removes an item from the table and its record from the log.
    fn unlink(&mut self, place: Place, head: &Head, tag: u32) {
        if self.index.remove(tag, place) {
            self.budget.release(index::PAGE_COST);
        }
        self.counters.curr_items -= 1;
        self.discard(place, head);
    }

    /// Removes a record that the table does not point to any more, with its value.
    fn discard(&mut self, place: Place, head: &Head) {
        if head.is(log::SHARED) {
            self.shared.remove(self.log.shared_id(place, head));
        }
        self.counters.bytes -= cost(head);
        self.kills += 1;
        self.log.kill(place);
        self.trim();
    }
}

/// What an item adds to the gauge `bytes`.
const fn cost(head: &Head) -> u64 {
    let shared = if head.is(log::SHARED) { head.len as usize + shared::VALUE_COST } else { 0 };
    (head.size() + shared) as u64
}
