//! What a message to many receivers costs in allocations, counted.

use drywire::Tick;
use drywire::chat::{Config, Server, Shared, limits};
use drywire::conn::{Peer, SHARE_FROM, Wants};
use drywire::engine::Engine;
use drywire::fanout;

/// Allocations, their bytes, and the most that was held, while one message goes to everybody.
fn cost(receivers: usize, size: usize) -> (u64, u64, u64) {
    let shared = Shared::new(Config::default(), fanout::Config::default());
    let mut engine = Engine::<Server>::new(shared, limits(), receivers + 1);
    let peers = 0..=receivers;
    let ids: Vec<_> =
        peers.map(|_| engine.accept(Tick::ZERO, &Peer::Virtual(1)).expect("room")).collect();
    let mut frame = (size as u32).to_be_bytes().to_vec();
    frame.resize(4 + size, b'x');
    let mut say = || {
        let mut delivered = 0;
        engine.receive(ids[0], Tick::ZERO, &frame);
        while let Some(id) = engine.next_dirty(Tick::ZERO) {
            while engine.wants(id).has(Wants::AGAIN) {
                engine.resume(id, Tick::ZERO);
            }
            let n: usize = engine.outgoing(id).map(<[u8]>::len).sum();
            engine.sent(id, Tick::ZERO, n);
            delivered += usize::from(n == frame.len());
        }
        delivered
    };
    // Lists grow, buffers are made that serve again.
    for _ in 0..3 {
        say();
    }
    let mut delivered = 0;
    let counted = allocation_counter::measure(|| delivered = say());
    assert_eq!(delivered, receivers + 1);
    (counted.count_total, counted.bytes_total, counted.bytes_max)
}

#[test]
fn a_message_to_ten_thousand_is_allocated_once() {
    const MANY: u64 = 10_000;
    for size in [64, 1024, 60_000] {
        let (few, many) = (cost(10, size), cost(MANY as usize, size));
        // From `SHARE_FROM` on each receiver keeps a list of what it shares, for a moment.
        let lists = if size >= SHARE_FROM { MANY } else { 0 };
        assert!(many.0 <= few.0 + lists + 8, "{size}: {many:?} allocations, of few {few:?}");
        // Lists of whom to wake, in engine and exchange; not one copy of a large payload each.
        assert!(many.1 - few.1 < MANY * 768, "{size}: {many:?} bytes, of few {few:?}");
        // Never is more than the payload held for longer than a receiver's turn.
        assert!(many.2 - few.2 < MANY * 512, "{size}: {many:?} bytes held, of few {few:?}");
    }
}
