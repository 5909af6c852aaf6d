//! memcached under fire: a small campaign, determinism, and every way to cut a small stream.

mod common;

use drywire::Tick;
use drywire::engine::Machine;
use drywire_sim::Campaign;
use drywire_sim::decide::{Decider, Decisions, Key, Odometer, Site};
use drywire_sim::memcache::{self, Shape};

#[test]
fn survives_a_swarm() {
    let phases = ["idle", "line", "keys", "value", "swallow", "replying", "full", "refused"];
    let summary = common::survives(&memcache::trial(), 400, &phases, &[]);
    assert!(summary.ops > 30_000, "{} operations", summary.ops);
}

/// The last seeds that there are end too.
#[test]
fn a_campaign_ends_at_the_last_seed() {
    let trial = memcache::trial();
    let summary = Campaign::new(&trial, u64::MAX - 3..u64::MAX).jobs(2).run();
    assert_eq!((summary.seeds, summary.failures.len()), (3, 0));
}

#[test]
fn a_seed_is_a_run_and_so_is_its_script() {
    common::is_deterministic(&memcache::trial());
}

const CUT: Site = Site::new("test.cut");

/// I3, exhaustively: each of the 2^n ways to cut a stream gives the same replies.
#[test]
fn every_way_to_cut_a_stream_gives_the_same_replies() {
    for stream in [
        &b"set k 0 0 2\r\nab\r\n"[..],
        b"get k\r\nbad\r\nget q\r\n",
        b"set k 0 0 1 noreply",
        b"x\r\n\r\nversion\r\n",
    ] {
        let mut expected = None;
        let mut odometer = Some(Odometer::new());
        let mut runs = 0_u64;
        while let Some(point) = odometer {
            let mut decider = Decider::odometer(point);
            let mut engine = Shape::draw(&mut Decider::script(&Decisions::new())).engine();
            let id = engine.accept(Tick::ZERO, &drywire::conn::Peer::Virtual(1)).expect("room");
            let mut from = 0;
            for at in 1..=stream.len() {
                let key = Key::of(0, at as u32);
                if at == stream.len() || decider.below(CUT, key, 2) == 1 {
                    let mut rest = &stream[from..at];
                    while !rest.is_empty() {
                        let taken = Machine::receive(&mut engine, id, Tick::ZERO, rest);
                        rest = &rest[taken..];
                    }
                    from = at;
                }
            }
            let replies: Vec<u8> = Machine::outgoing(&engine, id).flatten().copied().collect();
            assert_eq!(*expected.get_or_insert_with(|| replies.clone()), replies);
            runs += 1;
            odometer = decider.into_odometer().and_then(Odometer::advance);
        }
        assert_eq!(runs, 1 << (stream.len() - 1));
    }
}
