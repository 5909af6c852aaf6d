//! Measures the memcached item store alone: resident memory per item and time per operation.
//!
//! `cargo run --release -p drywire --example store_numbers` (Linux: it reads /proc/self/statm).

#![expect(clippy::disallowed_methods, reason = "measuring needs a clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use drywire::memcache::expiry::{Expiry, Secs};
use drywire::memcache::store::{Body, Config, Hasher, Store, Stored, Verb};

const NOW: Secs = Secs::new(1);

struct Bench {
    store: Store,
    hasher: Hasher,
    random: u64,
}

impl Bench {
    fn new(limit: u64) -> Self {
        let hasher = Hasher::new(1);
        Self {
            store: Store::new(Config::new(limit, hasher.clone())).expect("a good limit"),
            hasher,
            random: 1,
        }
    }

    fn set(&mut self, key: &[u8], value: &[u8]) {
        let hash = self.hasher.hash(key);
        let stored =
            self.store.store(NOW, hash, key, Verb::Set, 0, Expiry::NEVER, Body::Copy(value));
        assert_eq!(stored, Stored::Stored);
    }

    fn below(&mut self, n: u32) -> u32 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (((self.random >> 32) * u64::from(n)) >> 32) as u32
    }
}

fn key(mut i: u32) -> [u8; 10] {
    let mut key = *b"k000000000";
    for digit in key[1..].iter_mut().rev() {
        *digit = b'0' + (i % 10) as u8;
        i /= 10;
    }
    key
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 =
        statm.split(' ').nth(1).and_then(|field| field.parse().ok()).expect("a number of pages");
    pages * 4096
}

/// Random keys and their hashes, made before the clock starts.
fn random_keys(b: &mut Bench, from: u32, keys: u32) -> Vec<([u8; 10], u64)> {
    let mut one = || key(from + b.below(keys));
    let made: Vec<[u8; 10]> = (0..200_000).map(|_| one()).collect();
    made.into_iter().map(|key| (key, b.hasher.hash(&key))).collect()
}

/// Nanoseconds per key, the best of many short rounds: other programs then disturb few of them.
fn time(keys: &[([u8; 10], u64)], mut f: impl FnMut(&[([u8; 10], u64)])) -> f64 {
    let round = |chunk: &[([u8; 10], u64)]| {
        let start = Instant::now();
        f(chunk);
        start.elapsed().as_secs_f64() * 1e9 / chunk.len() as f64
    };
    keys.chunks(1_000).cycle().take(1_000).map(round).fold(f64::MAX, f64::min)
}

fn memory() {
    let mut b = Bench::new(1 << 30);
    let start = Instant::now();
    for i in 0..1_000_000 {
        b.set(&key(i), &[b'v'; 32]);
    }
    let items = b.store.counters().curr_items as f64;
    println!("1,000,000 items of 10 + 32 bytes:");
    println!(
        "  whole process, above key and value   {:6.1} bytes/item",
        resident() as f64 / items - 42.0
    );
    println!(
        "  accounted, above key and value       {:6.1} bytes/item",
        b.store.footprint() as f64 / items - 42.0
    );
    println!(
        "  filling                              {:6.1} ns/set",
        start.elapsed().as_secs_f64() * 1e9 / items
    );
    gets(&mut b, 1_000_000, 32);
}

fn gets(b: &mut Bench, keys: u32, len: usize) {
    let mut out = Vec::with_capacity(len);
    let (present, absent) = (random_keys(b, 0, keys), random_keys(b, keys, keys));
    let mut get = |store: &mut Store, key: &[u8], hash| {
        let hit = store.get(NOW, hash, key).expect("a hit");
        out.clear();
        out.extend_from_slice(hit.value.as_slice());
        black_box(&out);
    };
    let hit = time(&present, |chunk| {
        for (key, hash) in chunk {
            get(&mut b.store, key, *hash);
        }
    });
    let warmed = time(&present, |chunk| {
        for chunk in chunk.chunks_exact(8) {
            b.store.warm(&std::array::from_fn::<u64, 8, _>(|i| chunk[i].1));
            for (key, hash) in chunk {
                get(&mut b.store, key, *hash);
            }
        }
    });
    let miss = time(&absent, |chunk| {
        for (key, hash) in chunk {
            assert!(black_box(b.store.get(NOW, *hash, key)).is_none());
        }
    });
    let value = vec![b'w'; len];
    let set = time(&present, |chunk| {
        for (key, _) in chunk {
            b.set(key, &value);
        }
    });
    println!("  get hit with copy, random key        {hit:6.1} ns");
    println!("  the same, 8 keys warmed at a time    {warmed:6.1} ns");
    println!("  get miss, random key                 {miss:6.1} ns");
    println!("  overwrite in size, random key        {set:6.1} ns");
}

fn cached() {
    for items in [1_000, 10_000, 100_000] {
        let mut b = Bench::new(64 << 20);
        for i in 0..items {
            b.set(&key(i), &[b'v'; 100]);
        }
        println!("{items} items of 10 + 100 bytes:");
        gets(&mut b, items, 100);
    }
}

fn full() {
    let mut b = Bench::new(64 << 20);
    let mut i = 0;
    for _ in 0..1_000_000 {
        b.set(&key(i), &[b'v'; 100]);
        i += 1;
    }
    let some = random_keys(&mut b, 0, 1);
    let set = time(&some, |chunk| {
        for _ in chunk {
            b.set(&key(i), &[b'v'; 100]);
            i += 1;
        }
    });
    let mut times: Vec<Duration> = Vec::with_capacity(1_000_000);
    for _ in 0..1_000_000 {
        let hot = key(i - b.below(100_000));
        let _ = b.store.get(NOW, b.hasher.hash(&hot), &hot);
        let one = Instant::now();
        b.set(&key(i), &[b'v'; 100]);
        times.push(one.elapsed());
        i += 1;
    }
    times.sort_unstable();
    let quantile = |per_million: usize| times[per_million].as_secs_f64() * 1e6;
    println!("a full store of 64 MiB, new items of 10 + 100 bytes:");
    println!("  set that evicts                      {set:6.1} ns");
    println!(
        "  50 / 99.9 / 99.99 % of such sets     {:.1} / {:.1} / {:.1} us",
        quantile(500_000),
        quantile(999_000),
        quantile(999_900)
    );
    let items = b.store.counters().curr_items;
    println!(
        "  items held                           {items} ({:.1} bytes each)",
        (64 << 20) as f64 / items as f64
    );
    let mut churn = b.store.counters().evictions;
    let start = Instant::now();
    for _ in 0..1_000_000 {
        let (n, len) = (b.below(300_000), b.below(200) as usize);
        b.set(&key(n), &[b'v'; 200][..len]);
    }
    let ns = start.elapsed().as_secs_f64() * 1e3;
    churn = b.store.counters().evictions - churn;
    println!("  set of 0 to 200 bytes, 300,000 keys  {ns:6.1} ns ({churn} evictions)");
}

fn main() {
    memory();
    cached();
    full();
}
