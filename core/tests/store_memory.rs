//! What the memcached store allocates, seen from the allocator: the footprint is an upper bound,
//! the limit holds at every moment, and the hot paths allocate nothing.

use std::hint::black_box;

use allocation_counter::{AllocationInfo, measure};
use drywire::memcache::expiry::{Expiry, Secs};
use drywire::memcache::store::{
    Body, Config, Hasher, LIMIT_LEAST, Reservation, Store, Stored, ValueRef, Verb,
};

const NOW: Secs = Secs::new(10);

/// A store whose allocations are counted.
struct Counted {
    store: Store,
    hasher: Hasher,
    /// Bytes allocated by the store now.
    allocated: i64,
}

impl Counted {
    fn new(limit: u64) -> Self {
        let hasher = Hasher::new(3);
        let mut config = Config::new(limit, hasher.clone());
        config.item_max = 100_000;
        let mut store = None;
        let info = measure(|| store = Some(Store::new(config).unwrap()));
        Self { store: store.unwrap(), hasher, allocated: info.bytes_current }
    }

    /// Runs one operation and compares the allocator's books with the store's.
    fn run<T>(&mut self, f: impl FnOnce(&mut Store, &Hasher) -> T) -> (T, AllocationInfo) {
        let mut result = None;
        let info = measure(|| result = Some(f(&mut self.store, &self.hasher)));
        let peak = self.allocated + info.bytes_max as i64;
        assert!(peak <= self.store.limit() as i64, "{peak} bytes at one moment");
        self.allocated += info.bytes_current;
        let footprint = self.store.footprint();
        assert!(footprint <= self.store.limit());
        assert!(
            self.allocated <= footprint as i64,
            "{} allocated, {footprint} accounted",
            self.allocated
        );
        (result.unwrap(), info)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> AllocationInfo {
        let (stored, info) = self.run(|store, hasher| {
            store.store(NOW, hasher.hash(key), key, Verb::Set, 0, Expiry::NEVER, Body::Copy(value))
        });
        assert_eq!(stored, Stored::Stored);
        info
    }
}

fn key(i: u64) -> [u8; 10] {
    format!("k{i:09}").into_bytes().try_into().unwrap()
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

#[test]
fn the_footprint_is_an_upper_bound_and_the_limit_holds_at_every_moment() {
    for (limit, ops, keys) in
        [(LIMIT_LEAST, 20_000, 200), (2 << 20, 20_000, 5_000), (16 << 20, 60_000, 60_000)]
    {
        let mut random = Random(limit);
        let mut counted = Counted::new(limit);
        let mut arriving: Vec<Reservation> = Vec::new();
        let mut in_flight = Vec::new();
        let data = vec![b'x'; 100_000];
        for _ in 0..ops {
            let name = key(random.below(keys));
            let len = match random.below(100) {
                0..90 => random.below(200),
                90..98 => random.below(9_000),
                _ => random.below(60_000),
            } as usize;
            match random.below(20) {
                0..10 => {
                    let verb = if len.is_multiple_of(7) { Verb::Append } else { Verb::Set };
                    let _ = counted.run(|store, hasher| {
                        store.store(
                            NOW,
                            hasher.hash(&name),
                            &name,
                            verb,
                            0,
                            Expiry::NEVER,
                            Body::Copy(&data[..len]),
                        )
                    });
                }
                10..14 => {
                    let (hit, _) = counted.run(|store, hasher| {
                        match store.get(NOW, hasher.hash(&name), &name)?.value {
                            ValueRef::Shared(bytes) => Some(bytes.clone()),
                            ValueRef::Inline(_) => None,
                        }
                    });
                    in_flight.extend(hit.filter(|_| in_flight.len() < 3));
                }
                14 => {
                    let _ =
                        counted.run(|store, hasher| store.delete(NOW, hasher.hash(&name), &name));
                }
                15 if arriving.len() < 4 => {
                    arriving.push(counted.store.reserve(len as u32 * 5 / 4))
                }
                15 | 16 => {
                    if let Some(mut reservation) = arriving.pop() {
                        let n = len.min(reservation.missing());
                        let _ =
                            counted.run(|store, _| store.grow(NOW, &mut reservation, &data[..n]));
                        arriving.insert(0, reservation);
                    }
                }
                17 => {
                    if let Some(mut reservation) = arriving.pop() {
                        let _ = counted.run(|store, hasher| {
                            let n = reservation.missing();
                            if store.grow(NOW, &mut reservation, &data[..n]).is_ok() {
                                let (hash, body) =
                                    (hasher.hash(&name), Body::Reserved(reservation));
                                let _ = store.store(
                                    NOW,
                                    hash,
                                    &name,
                                    Verb::Set,
                                    0,
                                    Expiry::NEVER,
                                    body,
                                );
                            }
                        });
                    }
                }
                18 => {
                    let _ = counted.run(|_, _| drop(in_flight.pop()));
                }
                _ => {
                    let _ = counted.run(|store, _| store.maintain(NOW, 50));
                }
            }
        }
        let _ = counted.run(|_, _| (arriving.clear(), in_flight.clear()));
        assert!(counted.store.counters().evictions > 0 || limit > 4 << 20);
    }
}

#[test]
fn a_get_allocates_nothing() {
    let mut counted = Counted::new(16 << 20);
    counted.set(b"small", &[1; 100]);
    counted.set(b"large", &[2; 50_000]);
    for name in [&b"small"[..], b"large", b"absent"] {
        let (_, info) = counted.run(|store, hasher| {
            for _ in 0..100 {
                if let Some(hit) = store.get(NOW, hasher.hash(name), name) {
                    match hit.value {
                        ValueRef::Inline(bytes) => assert_eq!(black_box(bytes).len(), 100),
                        ValueRef::Shared(bytes) => {
                            assert_eq!(black_box(bytes.clone()).len(), 50_000)
                        }
                    }
                }
            }
        });
        assert_eq!(info.count_total, 0, "{}", name.escape_ascii());
    }
}

#[test]
fn an_overwrite_in_size_allocates_nothing() {
    let mut counted = Counted::new(16 << 20);
    for round in 0..3 {
        for i in 0..10_000 {
            let info = counted.set(&key(i), &[round; 100]);
            assert!(round == 0 || info.count_total == 0, "round {round}");
        }
    }
}

#[test]
fn a_full_store_turns_over_in_the_memory_it_has() {
    let mut counted = Counted::new(4 << 20);
    let mut allocations = 0;
    for i in 0..200_000 {
        let info = counted.set(&key(i), &[1; 100]);
        allocations += if i < 100_000 { 0 } else { info.count_total };
    }
    assert!(counted.store.counters().evictions > 150_000);
    // Now and then an uneven spread of hashes takes one more page of the table.
    assert!(allocations <= 3, "{allocations} in the second 100,000 sets");
}
