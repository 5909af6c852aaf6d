//! The memcached machine alone, without sockets: nanoseconds per pipelined command.
//!
//! `cargo bench -p drywire --bench memcached`: 100,000 keys, 100-byte values, commands for keys
//! in random order, one engine, input in pieces of 16 KiB, replies taken at once.

use drywire::Tick;
use drywire::conn::{Limits, Peer};
use drywire::engine::{ConnId, Engine, Local};
use drywire::memcache::store::{Config as StoreConfig, Hasher, Store};
use drywire::memcache::{Config, Part, Server, Shared};
use std::hint::black_box;
use std::time::Instant;

const KEYS: u64 = 100_000;
const COMMANDS: u64 = 100_000;
const ROUNDS: usize = 15;

type Memcached = Engine<Server<Local<Part>>>;

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn main() {
    let hasher = Hasher::new(7);
    let store = Store::new(StoreConfig::new(256 << 20, hasher.clone())).expect("a valid size");
    let shared = Shared::new(Config::new(hasher, 0), Local::one(Part::new(store)));
    let mut engine: Memcached = Engine::new(shared, Limits::default(), 4);
    let id = engine.accept(Tick::ZERO, &Peer::Virtual(1)).expect("room for one");

    let value = "v".repeat(100);
    let mut shuffled = Shuffled(1);
    let sets = script(&mut shuffled, |key| format!("set {key} 0 0 100\r\n{value}\r\n"));
    let all: Vec<u8> = (0..KEYS)
        .flat_map(|i| format!("set key:{i:08} 0 0 100\r\n{value}\r\n").into_bytes())
        .collect();
    feed(&mut engine, id, &all);
    let gets = script(&mut shuffled, |key| format!("get {key}\r\n"));
    let gets_cas = script(&mut shuffled, |key| format!("gets {key}\r\n"));
    let misses = script(&mut shuffled, |key| format!("get x{key}\r\n"));
    println!("| command | ns, median | ns, best |\n|---|---|---|");
    for (name, script) in [("get", gets), ("gets", gets_cas), ("get, miss", misses), ("set", sets)]
    {
        let mut rounds: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let start = Instant::now();
                feed(&mut engine, id, &script);
                start.elapsed().as_nanos() as f64 / COMMANDS as f64
            })
            .collect();
        rounds.sort_by(f64::total_cmp);
        println!("| {name} | {:.1} | {:.1} |", rounds[ROUNDS / 2], rounds[0]);
    }
}

fn script(shuffled: &mut Shuffled, line: impl Fn(String) -> String) -> Vec<u8> {
    (0..COMMANDS)
        .flat_map(|_| line(format!("key:{:08}", shuffled.next() % KEYS)).into_bytes())
        .collect()
}

/// What a host does: pieces in, replies out.
fn feed(engine: &mut Memcached, id: ConnId, script: &[u8]) {
    for piece in script.chunks(16 << 10) {
        let mut left = piece;
        while !left.is_empty() {
            left = &left[engine.receive(id, Tick::ZERO, left)..];
            loop {
                let n: usize = engine.outgoing(id).map(|s| black_box(s).len()).sum();
                engine.sent(id, Tick::ZERO, n);
                if !engine.wants(id).has(drywire::conn::Wants::AGAIN) {
                    break;
                }
                engine.resume(id, Tick::ZERO);
            }
        }
    }
}

/// A small generator of numbers without pattern; the same in every run.
struct Shuffled(u64);

impl Shuffled {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}
