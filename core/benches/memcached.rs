//! The memcached machine alone, without sockets: nanoseconds per pipelined command.
//!
//! `cargo bench -p drywire --bench memcached`: 100-byte values, commands for keys in random
//! order, one engine, input in pieces of 16 KiB, replies taken at once. With 1,000 keys the store
//! fits into the second-level cache, with 100,000 it does not.

use drywire::Tick;
use drywire::conn::{Limits, Peer, Wants};
use drywire::engine::{ConnId, Engine, Local};
use drywire::memcache::store::{Config as StoreConfig, Hasher, Store};
use drywire::memcache::{Config, Part, Server, Shared};
use std::hint::black_box;
use std::time::Instant;

const COMMANDS: u64 = 100_000;
const ROUNDS: usize = 25;

type Memcached = Engine<Server<Local<Part>>>;

fn main() {
    println!("| keys | command | ns, median | ns, best |\n|---|---|---|---|");
    for keys in [1_000, 100_000] {
        measure(keys);
    }
}

fn measure(keys: u64) {
    let hasher = Hasher::new(7);
    let store = Store::new(StoreConfig::new(256 << 20, hasher.clone())).expect("a valid size");
    let shared = Shared::new(Config::new(hasher, 0), Local::one(Part::new(store)));
    let mut engine: Memcached = Engine::new(shared, Limits::default(), 4);
    let id = engine.accept(Tick::ZERO, &Peer::Virtual(1)).expect("room for one");

    let value = "v".repeat(100);
    let set = |key: u64| format!("set key:{key:08} 0 0 100\r\n{value}\r\n");
    let fill: Vec<u8> = (0..keys).flat_map(|key| set(key).into_bytes()).collect();
    feed(&mut engine, id, &fill);

    let mut shuffled = Shuffled(1);
    let mut script = |line: &dyn Fn(u64) -> String| -> Vec<u8> {
        (0..COMMANDS).flat_map(|_| line(shuffled.next() % keys).into_bytes()).collect()
    };
    let scripts = [
        ("get", script(&|key| format!("get key:{key:08}\r\n"))),
        ("gets", script(&|key| format!("gets key:{key:08}\r\n"))),
        ("get, miss", script(&|key| format!("get none:{key:08}\r\n"))),
        ("set", script(&set)),
    ];
    for (name, script) in scripts {
        let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| timed(&mut engine, id, &script)).collect();
        rounds.sort_by(f64::total_cmp);
        println!("| {keys} | {name} | {:.1} | {:.1} |", rounds[ROUNDS / 2], rounds[0]);
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn timed(engine: &mut Memcached, id: ConnId, script: &[u8]) -> f64 {
    let start = Instant::now();
    feed(engine, id, script);
    start.elapsed().as_nanos() as f64 / COMMANDS as f64
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
                if !engine.wants(id).has(Wants::AGAIN) {
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
