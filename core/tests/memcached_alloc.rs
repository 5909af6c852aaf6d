//! What a command costs in allocations, counted.

use drywire::Tick;
use drywire::conn::{Limits, Peer};
use drywire::engine::{ConnId, Engine, Local};
use drywire::memcache::store::{Config as StoreConfig, Hasher, Store};
use drywire::memcache::{Config, Part, Server, Shared};

type Memcached = Engine<Server<Local<Part>>>;

/// Feeds a batch and takes its replies; returns how many allocations that took.
fn allocations(engine: &mut Memcached, id: ConnId, batch: &[u8]) -> u64 {
    let counted = allocation_counter::measure(|| {
        assert_eq!(engine.receive(id, Tick::ZERO, batch), batch.len());
        let n = engine.outgoing(id).map(<[u8]>::len).sum();
        assert!(n > 0);
        engine.sent(id, Tick::ZERO, n);
    });
    counted.count_total
}

#[test]
fn a_get_and_an_equal_set_allocate_nothing() {
    let hasher = Hasher::new(7);
    let store = Store::new(StoreConfig::new(64 << 20, hasher.clone())).unwrap();
    let shared = Shared::new(Config::new(hasher, 0), Local::one(Part::new(store)));
    let mut engine: Memcached = Engine::new(shared, Limits::default(), 4);
    let id = engine.accept(Tick::ZERO, &Peer::Virtual(1)).unwrap();

    let value = "v".repeat(100);
    let sets: String = (0..100).map(|i| format!("set key:{i} 0 0 100\r\n{value}\r\n")).collect();
    let gets: String = (0..100).map(|i| format!("get key:{i}\r\n")).collect();
    let deltas = "set n 0 0 3\r\n100\r\n".to_owned() + &"incr n 1\r\ntouch n 0\r\n".repeat(40);
    // The first batches fill the store and the engine's pool of output buffers.
    for batch in [&sets, &gets, &deltas] {
        allocations(&mut engine, id, batch.as_bytes());
    }
    assert_eq!(allocations(&mut engine, id, gets.as_bytes()), 0, "100 gets");
    assert_eq!(allocations(&mut engine, id, sets.as_bytes()), 0, "100 sets of equal size");
    assert_eq!(allocations(&mut engine, id, deltas.as_bytes()), 0, "80 small commands");
    let large = format!("set big 0 0 10000\r\n{}\r\n", "x".repeat(10_000));
    allocations(&mut engine, id, large.as_bytes());
    let count = allocations(&mut engine, id, b"get big\r\n");
    assert!(count <= 1, "a large value is shared: {count} allocations");
}
