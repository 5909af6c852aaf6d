//! Tests that look inside; what needs only the interface is in `core/tests/`.

mod model;
mod rules;

use super::*;
use std::vec::Vec;

/// A store with its clock and hasher, so that tests read like commands.
struct Bench {
    store: Store,
    hasher: Hasher,
    now: Secs,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let hasher = Hasher::new(11);
        let mut config = Config::new(LIMIT_LEAST, hasher.clone());
        config.item_max = 128 * 1024;
        change(&mut config);
        Self { store: Store::new(config).unwrap(), hasher, now: Secs::new(10) }
    }

    fn verb(&mut self, verb: Verb, key: &[u8], flags: u32, expiry: Expiry, value: &[u8]) -> Stored {
        let hash = self.hasher.hash(key);
        self.store.store(self.now, hash, key, verb, flags, expiry, Body::Copy(value))
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Stored {
        self.verb(Verb::Set, key, 0, Expiry::NEVER, value)
    }

    fn get(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        let hash = self.hasher.hash(key);
        self.store.get(self.now, hash, key).map(|hit| hit.value.as_slice().to_vec())
    }

    fn cas(&mut self, key: &[u8]) -> u64 {
        let hash = self.hasher.hash(key);
        self.store.get(self.now, hash, key).unwrap().cas
    }

    fn delete(&mut self, key: &[u8]) -> bool {
        let hash = self.hasher.hash(key);
        self.store.delete(self.now, hash, key)
    }

    fn incr(&mut self, key: &[u8], delta: u64) -> Result<u64, DeltaError> {
        let hash = self.hasher.hash(key);
        self.store.incr(self.now, hash, key, delta)
    }

    fn decr(&mut self, key: &[u8], delta: u64) -> Result<u64, DeltaError> {
        let hash = self.hasher.hash(key);
        self.store.decr(self.now, hash, key, delta)
    }

    fn touch(&mut self, key: &[u8], at: u32) -> bool {
        let hash = self.hasher.hash(key);
        self.store.touch(self.now, hash, key, Expiry::at(Secs::new(at)))
    }

    fn flush(&mut self, at: u32) {
        self.store.flush_all(self.now, Secs::new(at));
    }

    fn at(&mut self, now: u32) -> &mut Self {
        self.now = Secs::new(now);
        self
    }

    /// Runs upkeep over the whole store, until there is nothing more to do at this moment.
    fn maintain_all(&mut self) {
        let done = (0..100_000).any(|_| !self.store.maintain(self.now, 100));
        assert!(done, "upkeep never ends");
    }

    /// Counts everything again. `held` are bytes charged for values outside the items.
    fn check(&self, held: usize) {
        let store = &self.store;
        assert!(store.footprint() <= store.limit(), "{} over {}", store.footprint(), store.limit());
        let (mut items, mut live, mut dead, mut bytes, mut large) = (0, 0, 0, 0, 0);
        let mut memory = 0;
        for segment in 0..store.log.segments() as u32 {
            memory += log::SEGMENT_ENTRY_COST + store.log.memory_of(segment);
            let mut cursor = store.log.start_of(segment);
            while let Some((place, head)) = store.log.step(&mut cursor) {
                if head.is(log::DEAD) {
                    dead += head.size();
                    continue;
                }
                let key = store.log.key(place, &head);
                let tag = self.hasher.hash(key) as u32;
                assert_eq!(store.index.find(tag, |p| store.log.has_key(p, key)), Some(place));
                if head.is(log::SHARED) {
                    let value = store.shared.get(store.log.shared_id(place, &head));
                    assert_eq!(value.len(), head.len as usize);
                    large += value.len() + shared::VALUE_COST;
                }
                items += 1;
                live += head.size();
                bytes += cost(&head);
            }
        }
        assert_eq!((store.log.live(), store.log.dead()), (live, dead));
        assert_eq!(store.index.entries(), items);
        assert_eq!((store.counters.curr_items, store.counters.bytes), (items as u64, bytes));
        assert_eq!(store.shared.charge(), large);
        assert!(store.log.free() >= 1, "a segment is kept back");
        let expected = BASE_COST + memory + store.index.cost() + store.shared.cost() + large + held;
        assert_eq!(store.footprint(), expected as u64);
    }
}
