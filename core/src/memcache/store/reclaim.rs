//! Making room: compaction of segments full of holes, the clock hand that evicts, and the crawler
//! that finds what has expired.

use super::log::{Cursor, DEAD, FETCHED, Head, Place, REFERENCED, SEGMENT_ENTRY_COST, SHARED};
use super::types::NoMemory;
use super::{Expiry, Secs, Store, index};

/// Segments compared when one is chosen for compaction.
const SAMPLES: usize = 32;
/// A segment is worth compacting from this share of holes on (one in four: three bytes moved for
/// one gained), or, if nothing may be evicted instead, from a smaller one.
const WORTH: usize = 4;
const WORTH_LAST: usize = 16;
/// Under pressure, compaction comes before eviction while holes are at least this share of all
/// records (one in eight).
const PRESSING: usize = 8;
const PRESSING_LAST: usize = 32;
/// Without pressure, holes may take half as much as the living records and this many segments.
const IDLE_SEGMENTS: usize = 4;
/// Compactions at most before a new segment is taken.
const TIDY: usize = 3;
/// Records looked at for dead ones before a store that may not evict refuses.
const LAST_RESORT: u32 = 512;

/// What has been tried for one request, so that it ends.
struct Effort {
    compactions: usize,
    sweeps: usize,
    crawled: bool,
}

impl Store {
    /// One bounded step of background upkeep, at most `budget` records and one segment: removes
    /// items that have expired or been flushed, closes up a segment when holes take much space.
    ///
    /// Returns whether more can become due without a change from outside: false when a whole pass
    /// over the store has ended, nothing in it will ever expire and no flush is pending. Everything
    /// is correct without upkeep, but expired items hold memory until they are met.
    pub fn maintain(&mut self, now: Secs, budget: u32) -> bool {
        self.settle_flush(now);
        let ended = self.crawl(now, budget);
        if self.is_wasteful() {
            self.compact(now);
        }
        let mortal = self.flush_at != Expiry::NEVER || self.met_mortal;
        self.met_mortal &= !ended;
        !ended || mortal || self.is_wasteful()
    }

    /// Makes room for `cost` bytes and charges them.
    #[inline]
    pub(super) fn pay(&mut self, now: Secs, cost: usize) -> Result<(), NoMemory> {
        if !self.budget.fits(cost) {
            self.make_room(now, cost)?;
        }
        self.budget.charge(cost);
        Ok(())
    }

    /// Makes room for a record in the active segment. May move and evict items.
    pub(super) fn make_record_room(&mut self, now: Secs, size: usize) -> Result<(), NoMemory> {
        for _ in 0..TIDY {
            if self.log.fits(size) || !self.is_wasteful() || !self.compact(now) {
                break;
            }
        }
        let entry = if self.log.needs_entry() { SEGMENT_ENTRY_COST } else { 0 };
        let cost = self.log.segment_size() + entry;
        let mut effort = Effort::new();
        while !self.log.fits(size) {
            if self.log.free() > 1 {
                self.log.open_segment();
            } else if self.budget.fits(cost) {
                self.budget.charge(cost);
                self.log.add_segment();
            } else {
                self.reclaim(now, cost, &mut effort)?;
            }
        }
        Ok(())
    }

    /// Gives the memory of segments back that will hardly be needed soon.
    #[inline]
    pub(super) fn trim(&mut self) {
        while self.log.free() > 2 && self.log.drop_surplus() {
            self.budget.release(self.log.segment_size());
        }
    }

    fn make_room(&mut self, now: Secs, need: usize) -> Result<(), NoMemory> {
        // Do not empty the store for a request that cannot be met: what connections hold stays.
        let segments = (self.log.sealed() + self.log.free() - 1) * self.log.segment_size();
        let fixed = self.budget.used().saturating_sub(segments + self.shared.charge());
        if fixed.saturating_add(need) > self.budget.limit() {
            return Err(NoMemory);
        }
        let mut effort = Effort::new();
        while !self.budget.fits(need) {
            if self.log.drop_surplus() {
                self.budget.release(self.log.segment_size());
            } else {
                self.reclaim(now, need, &mut effort)?;
            }
        }
        Ok(())
    }

    /// One step towards a free segment or `need` bytes under the limit.
    fn reclaim(&mut self, now: Secs, need: usize, effort: &mut Effort) -> Result<(), NoMemory> {
        let (dead, segment) = (self.log.dead(), self.log.segment_size());
        let share = if self.evicts { PRESSING } else { PRESSING_LAST };
        let pressing = dead >= segment && dead * share >= dead + self.log.live();
        if pressing && effort.compactions < 2 * WORTH * (1 + need / segment) {
            effort.compactions += 1;
            if self.compact(now) || !self.evicts {
                return Ok(());
            }
        }
        if !self.evicts {
            if core::mem::replace(&mut effort.crawled, true) {
                return Err(NoMemory);
            }
            self.crawl(now, LAST_RESORT);
            return Ok(());
        }
        // In one tour every item loses its second chance, in the next it goes.
        effort.sweeps += 1;
        if effort.sweeps > 2 * self.log.sealed() + 8 {
            return Err(NoMemory);
        }
        self.sweep(now, need);
        Ok(())
    }

    /// Moves the clock hand through (the rest of) the oldest segment: the dead are passed, the
    /// expired dropped, those used since the last tour moved on, the others evicted. Stops early
    /// when enough is free, unless the segment kept back had to be opened: then the segment under
    /// the hand is emptied, so that there is one again.
    fn sweep(&mut self, now: Secs, need: usize) {
        if self.log.is_stale(&self.hand) {
            self.hand = self.log.start_of(self.log.oldest().unwrap_or_else(|| self.log.active()));
            self.spared = 0;
        }
        // Only large values can be gained in the active segment, and their records stay there.
        let in_place = self.hand.segment == self.log.active();
        loop {
            let met = self.log.free() > 1 || self.budget.fits(need);
            if met && self.log.free() > 0 {
                return;
            }
            let Some((place, head)) = self.log.step(&mut self.hand) else {
                if in_place {
                    self.hand = Cursor::NOWHERE;
                }
                if self.log.is_stale(&self.hand) {
                    return;
                }
                // The hand came here when the segment was active; now its beginning is due too.
                self.hand = self.log.start_of(self.hand.segment);
                continue;
            };
            if head.is(DEAD) || (in_place && !head.is(SHARED)) {
                continue;
            }
            let tag = self.tag(place, &head);
            let unused = Head { bits: head.bits & !REFERENCED, ..head };
            if self.is_gone(&head, now) {
                self.counters.reclaimed += 1;
                self.unlink_gone(place, &head, tag);
            } else if in_place && head.is(REFERENCED) {
                self.log.set_head(place, &unused);
            } else if met {
                self.relocate(place, &head, tag);
            } else if head.is(REFERENCED)
                && self.spared + head.size() <= self.log.segment_size() / 2
            {
                self.spared += head.size();
                self.relocate(place, &unused, tag);
            } else {
                self.counters.evictions += 1;
                self.counters.evicted_unfetched += u64::from(!head.is(FETCHED));
                self.unlink(place, &head, tag);
            }
        }
    }

    /// Whether holes take so much that memory should be closed up rather than added.
    fn is_wasteful(&self) -> bool {
        self.log.dead() > self.log.live() / 2 + IDLE_SEGMENTS * self.log.segment_size()
    }

    /// Empties the segment with the most holes of a few, moving the living. False if none is
    /// worth it.
    fn compact(&mut self, now: Secs) -> bool {
        let segments = self.log.segments();
        let worth = if self.evicts { WORTH } else { WORTH_LAST };
        let mut best = (self.log.segment_size() / worth, None);
        for _ in 0..SAMPLES.min(segments) {
            let segment = self.sample % segments;
            self.sample = segment + 1;
            let under_hand = self.hand.segment == segment as u32 && !self.log.is_stale(&self.hand);
            if let Some(holes) =
                self.log.holes(segment as u32).filter(|&n| n >= best.0 && !under_hand)
            {
                best = (holes, Some(segment as u32));
            }
        }
        let Some(segment) = best.1 else { return false };
        let mut cursor = self.log.start_of(segment);
        while let Some((place, head)) = self.log.step(&mut cursor) {
            if head.is(DEAD) {
                continue;
            }
            let tag = self.tag(place, &head);
            if self.is_gone(&head, now) {
                self.counters.reclaimed += 1;
                self.unlink_gone(place, &head, tag);
            } else {
                self.relocate(place, &head, tag);
            }
        }
        self.trim();
        true
    }

    /// Looks at the next `budget` records for items that have expired or been flushed. True at
    /// the end of the store.
    fn crawl(&mut self, now: Secs, budget: u32) -> bool {
        for _ in 0..budget {
            let Some((place, head)) = self.log.step(&mut self.crawler) else {
                let next = self.crawler.segment.wrapping_add(1);
                if next as usize >= self.log.segments() {
                    self.crawler = Cursor::NOWHERE;
                    return true;
                }
                self.crawler = self.log.start_of(next);
                continue;
            };
            if head.is(DEAD) {
                continue;
            }
            self.counters.crawler_items_checked += 1;
            if self.is_gone(&head, now) {
                self.counters.crawler_reclaimed += 1;
                self.unlink_gone(place, &head, self.tag(place, &head));
            } else {
                self.met_mortal |= Expiry::from_bits(head.expiry) != Expiry::NEVER;
            }
        }
        false
    }

    /// Moves a record to the active segment, opening the one kept back if need be.
    fn relocate(&mut self, place: Place, head: &Head, tag: u32) {
        if !self.log.fits(head.size()) {
            self.log.open_segment();
        }
        self.met_mortal |= Expiry::from_bits(head.expiry) != Expiry::NEVER;
        let new = self.log.copy(place, head);
        self.index.replace(tag, place, new);
        self.kills += 1;
        self.log.kill(place);
    }

    fn tag(&self, place: Place, head: &Head) -> u32 {
        self.hasher.hash(self.log.key(place, head)) as u32
    }
}

impl Effort {
    const fn new() -> Self {
        Self { compactions: 0, sweeps: 0, crawled: false }
    }
}

const _: () = assert!(index::PAGE_COST < super::SEGMENT_MIN as usize, "a segment pays for a page");
