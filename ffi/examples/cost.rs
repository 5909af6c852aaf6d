//! A pipelined memcached get through the Rust API, N times, for callgrind: what `check/cost.c` does
//! through the C interface.

use drywire::Tick;
use drywire::conn::{Limits, Peer};
use drywire::engine::{ConnId, Engine, Local};
use drywire::memcache::store::{Config as StoreConfig, Hasher, Store};
use drywire::memcache::{Config, Part, Server, Shared};

type Memcached = Engine<Server<Local<Part>>>;

fn turn(engine: &mut Memcached, id: ConnId, data: &[u8]) -> usize {
    let now = Tick(1);
    assert_eq!(engine.receive(id, now, data), data.len());
    let bytes = engine.outgoing(id).map(<[u8]>::len).sum();
    engine.sent(id, now, bytes);
    bytes
}

fn main() {
    let n = std::env::args().nth(1).and_then(|n| n.parse().ok()).expect("usage: cost N");
    let hasher = Hasher::new(0);
    let store = Store::new(StoreConfig::new(64 << 20, hasher.clone())).expect("a sane limit");
    let shared = Shared::new(Config::new(hasher, 0), Local::one(Part::new(store)));
    let mut engine: Memcached = Engine::new(shared, Limits::default(), 1024);
    let id = engine.accept(Tick(1), &Peer::Virtual(0)).expect("room");
    let gets = b"get key\r\n".repeat(50);
    turn(&mut engine, id, b"set key 0 0 32\r\n0123456789abcdef0123456789abcdef\r\n");
    turn(&mut engine, id, &gets);
    let sum: usize = (0..n).map(|_| turn(&mut engine, id, &gets)).sum();
    println!("{sum}");
}
