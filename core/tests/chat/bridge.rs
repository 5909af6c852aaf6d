//! Servers that share rooms by way of a broker: one order for all, each say answered once, each loss
//! and gap marked.

use crate::broker::{Broker, ENGINES, Heard, ROOMS, Server, Stored, World, op};
use drywire::chat::codec::{Event, Request};
use drywire::fanout::Config;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 192 } else { 2048 }))]

    #[test]
    fn one_order_a_ledger_and_marked_losses(
        ops in prop::collection::vec(op(), 1..120),
        whole in any::<bool>(),
    ) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
            if whole {
                world.servers.iter_mut().filter(|s| s.net.asleep.is_none()).for_each(|s| s.net.settle());
            }
        }
        world.heal();
        world.check();
    }
}

/// A server with its listener, linked to a broker; and one who speaks there.
fn linked() -> (Server, Broker, usize) {
    let (mut server, broker) = (Server::new(1), Broker::default());
    let speaker = server.net.connect(1, Some((1, "ann")));
    server.join(speaker);
    server.link(&broker);
    server.net.settle();
    (server, broker, speaker)
}

fn say(server: &mut Server, speaker: usize, room: &[u8], number: u64) {
    let (again, key, text) = (false, &b""[..], &[b'x'; 1000][..]);
    server.net.request(speaker, Request::Say { room, number, again, key, text });
    server.net.settle();
}

/// What another process says.
fn stored(process: u64, count: u64) -> Stored {
    let said = drywire::chat::codec::Said {
        room: ROOMS[0],
        from: process,
        number: count,
        ..drywire::chat::codec::Said::NOTHING
    };
    let mut payload = vec![1];
    payload.extend_from_slice(&process.to_be_bytes());
    payload.extend_from_slice(&count.to_be_bytes());
    payload.extend_from_slice(&drywire::chat::codec::said(&said).bytes);
    Stored { topic: ROOMS[0].to_vec(), payload }
}

#[test]
fn what_the_broker_refuses_is_refused_and_the_next_is_said() {
    let (mut server, mut broker, speaker) = linked();
    (1..=3).for_each(|number| say(&mut server, speaker, ROOMS[1], number));
    while server.publish() {}
    assert!(server.arrive(&mut broker));
    server.refuse(&mut broker);
    assert!(server.arrive(&mut broker));
    while server.feed(&broker, &mut 0) {}
    server.net.settle();
    let said = |number| Heard::Said { from: 1, number, again: false };
    assert_eq!(server.heard(server.listener)[ROOMS[1]], [said(1), said(3)]);
    let (heard, refused) = server.answers(speaker, 1);
    assert_eq!(heard.into_keys().collect::<Vec<_>>(), [(1, false), (3, false)]);
    assert_eq!(refused, BTreeSet::from([2]));
}

/// Its first copy is under way on a lost link, its second is refused.
fn refused_behind_a_copy() -> (Server, Broker, usize) {
    let (mut server, mut broker, speaker) = linked();
    say(&mut server, speaker, ROOMS[1], 1);
    assert!(server.publish());
    server.lose(&mut broker);
    server.link(&broker);
    assert!(server.publish());
    server.refuse(&mut broker);
    server.net.settle();
    let (heard, refused) = server.answers(speaker, 1);
    assert!(heard.is_empty() && refused.is_empty(), "not known yet");
    assert_eq!(server.bridge().pending(), 1);
    (server, broker, speaker)
}

#[test]
fn what_is_refused_while_an_older_copy_comes_is_heard() {
    let (mut server, mut broker, speaker) = refused_behind_a_copy();
    broker.log.extend(broker.late.remove(0).into_iter().map(|(_, stored)| Ok(stored)));
    server.link(&broker);
    while server.feed(&broker, &mut 0) {}
    server.net.settle();
    let (heard, refused) = server.answers(speaker, 1);
    assert_eq!((heard, refused), (BTreeMap::from([((1, false), 1)]), BTreeSet::new()));
}

#[test]
fn what_is_refused_and_passed_by_a_later_one_is_refused() {
    let (mut server, mut broker, speaker) = refused_behind_a_copy();
    server.link(&broker);
    server.net.settle();
    say(&mut server, speaker, ROOMS[1], 2);
    assert!(server.publish() && server.publish() && server.arrive(&mut broker));
    broker.log.remove(0).unwrap();
    assert!(server.arrive(&mut broker));
    while server.feed(&broker, &mut 0) {}
    server.net.settle();
    let (heard, refused) = server.answers(speaker, 1);
    assert_eq!((heard, refused), (BTreeMap::from([((2, false), 1)]), BTreeSet::from([1])));
}

#[test]
fn what_is_held_is_counted_over_all_engines_and_the_bridge() {
    let (mut server, mut broker, speaker) = linked();
    let ask = |server: &mut Server, peer: usize| {
        server.net.request(peer, Request::Stats);
        server.net.request(peer, Request::Stats);
        server.net.settle();
        let all = server.net.events(peer);
        let texts = all.iter().filter_map(|event| match event {
            Event::Stats { text } => Some(String::from_utf8(text.to_vec()).unwrap()),
            _ => None,
        });
        let texts: Vec<_> = texts.collect();
        let stats: BTreeMap<_, u64> = texts[texts.len() - 1]
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(key, value)| (key.to_owned(), value.parse().unwrap()))
            .collect();
        (texts.len(), stats)
    };
    (1..=3).for_each(|number| say(&mut server, speaker, ROOMS[1], number));
    for (asked, peer) in [(2, server.listener), (2, speaker)] {
        let (answers, stats) = ask(&mut server, peer);
        assert_eq!(answers, asked, "each question has an answer");
        let of = |key: &str| stats[key];
        assert_eq!((of("engines"), of("curr_connections")), (ENGINES as u64, 2), "{stats:?}");
        // The lobby, which both have left, and the others.
        assert_eq!((of("topics"), of("members")), (1 + ROOMS.len() as u64, 2 * ROOMS.len() as u64));
        assert_eq!((of("bridge_linked"), of("bridge_losses"), of("bridge_pending")), (1, 0, 3));
        assert!(of("log_bytes") > 0 && of("mail_bytes") >= 3000, "{stats:?}");
        assert!(of("footprint_bytes") > of("log_bytes") + of("mail_bytes") / 2, "{stats:?}");
    }
    // Without the link too, and from an engine that slept meanwhile.
    server.lose(&mut broker);
    server.net.asleep = Some(2);
    server.net.request(speaker, Request::Stats);
    server.net.settle();
    server.net.asleep = None;
    let (answers, stats) = ask(&mut server, speaker);
    assert_eq!(answers, 5);
    assert_eq!((stats["bridge_linked"], stats["bridge_losses"]), (0, 1));
}

#[test]
fn repeats_of_the_last_1024_processes_are_known() {
    let (mut server, mut broker, _) = linked();
    let message = |process| Ok(stored(process, 1));
    broker.log.extend((1..=1025).map(|n| message(10_000 + n)));
    // All but the one that was silent for longest are remembered.
    broker.log.extend((2..=1025).map(|n| message(10_000 + n)));
    broker.log.push(message(10_001));
    while server.feed(&broker, &mut 0) {
        server.net.settle();
    }
    let heard = server.heard(server.listener).remove(ROOMS[0]).unwrap();
    let from = |n: u64| Heard::Said { from: 10_000 + n, number: 1, again: false };
    let all: Vec<_> = (1..=1025).chain([1]).map(from).collect();
    assert_eq!(heard, all);
    assert!(server.bridge().footprint() < 128 << 10, "{}", server.bridge().footprint());
}

#[test]
fn an_engine_that_sleeps_bounds_what_is_read_and_what_is_marked() {
    let (mut server, mut broker, _) = linked();
    let window = Config::default().window;
    for asleep in 0..ENGINES {
        server.net.asleep = Some(asleep);
        let first = broker.log.len();
        broker.log.extend((1..=6000).map(|n| Ok(stored(77, (first + n) as u64))));
        while server.feed(&broker, &mut 0) {
            server.net.settle();
        }
        // Over and over: lost, and back behind a gap.
        for round in 0..5000 {
            server.lose(&mut broker);
            server.bridge().connected(true);
            server.linked = true;
            if round % 50 == 0 {
                server.net.settle();
            }
        }
        server.net.settle();
        let footprint = server.bridge().footprint();
        assert!(footprint < window + ENGINES * (window / 4) + 4096, "{footprint} bytes");
        server.net.asleep = None;
        server.net.settle();
        while server.feed(&broker, &mut 0) {
            server.net.settle();
        }
        assert!(server.bridge().has_room());
    }
    // All was heard, or fell out of the room's log, which is marked as a loss.
    let events = server.net.events(server.listener);
    assert!(
        matches!(events.last(), Some(Event::Said(said)) if said.number == 18_000),
        "{:?}",
        events.last()
    );
    assert!(events.iter().any(|event| matches!(event, Event::Link { state: 2, .. })));
}
