//! Engines whose threads do not get to run: what waits for them is bounded, nobody waits for
//! them, and what they were not told is a marked gap.

use crate::net::Net;
use drywire::chat::codec::{Event, Request};
use drywire::conn::CloseReason;
use drywire::fanout::{Config, Fate, Start};
use std::time::Duration;

const WINDOW: usize = 64 << 10;

fn config(fate: Fate) -> Config {
    let keep_unused = Duration::from_secs(1);
    Config { fate, window: WINDOW, log_bytes: 256 << 10, keep_unused, ..Config::default() }
}

/// A room whose home is engine 0 of two, with a member on each.
fn room(fate: Fate) -> (Net, &'static [u8], [usize; 2]) {
    let mut net = Net::new(2, config(fate));
    let (ann, bob) = (net.connect(0, Some((1, "ann"))), net.connect(1, Some((2, "bob"))));
    // Of a few names some have their home on each engine: the one whose messages need no mail.
    let names: [&[u8]; 6] = [b"a", b"b", b"c", b"d", b"e", b"f"];
    for name in names {
        net.request(ann, Request::Join { room: name, start: Start::Next });
        net.turn(usize::MAX, 0);
        let at_home = net.mail() == 0;
        net.settle();
        if at_home {
            net.request(bob, Request::Join { room: name, start: Start::Next });
            net.settle();
            return (net, name, [ann, bob]);
        }
        net.request(ann, Request::Leave { room: name });
        net.settle();
    }
    panic!("all rooms have their home on one engine");
}

fn say(net: &mut Net, peer: usize, room: &[u8], number: u64) {
    let (again, key, text) = (false, &b"score"[..], &[b'x'; 1000][..]);
    net.request(peer, Request::Say { room, number, again, key, text });
    net.settle();
}

/// The numbers of what a peer heard said; panics at an unmarked gap. And how many were lost.
fn heard(net: &Net, peer: usize) -> (Vec<u64>, u64) {
    let (mut next, mut numbers, mut lost) = (None, Vec::new(), 0);
    for event in net.events(peer) {
        match event {
            Event::Joined { next: n, .. } => next = Some(n),
            Event::Presence { seq, .. } => next = next.max(Some(seq + 1)),
            Event::Said(said) => {
                assert_eq!(next, Some(said.seq), "a gap that was not reported");
                next = Some(said.seq + 1);
                numbers.push(said.number);
            }
            Event::Lost { from, count, .. } => {
                assert_eq!(next, Some(from));
                next = Some(from + count);
                lost += count;
            }
            _ => {}
        }
    }
    (numbers, lost)
}

#[test]
fn an_engine_that_sleeps_costs_a_window_and_delays_nobody() {
    let (mut net, room, [ann, _]) = room(Fate::DropOldest);
    net.asleep = Some(1);
    for number in 1..=2000 {
        say(&mut net, ann, room, number);
        assert_eq!(heard(&net, ann).0.len() as u64, number, "the speaker is not held up");
        let mail = net.engines[0].world().shared.exchange().mail();
        assert!(mail < WINDOW + 2048, "{mail} bytes");
        assert!(net.mail() <= WINDOW / 1000 + 8, "{} letters", net.mail());
    }
}

#[test]
fn what_it_missed_is_told_from_the_log_or_is_a_gap() {
    // As much as the log holds: nothing is lost.
    let (mut net, room, [ann, bob]) = room(Fate::Kick);
    net.asleep = Some(1);
    (1..=150).for_each(|number| say(&mut net, ann, room, number));
    net.asleep = None;
    net.settle();
    assert_eq!(heard(&net, bob), ((1..=150).collect(), 0));
    // More than it holds: the fate of a receiver that fell out of the log.
    for (fate, kicked) in [(Fate::DropOldest, false), (Fate::Coalesce, false), (Fate::Kick, true)] {
        let (mut net, room, [ann, bob]) = self::room(fate);
        net.asleep = Some(1);
        (1..=1000).for_each(|number| say(&mut net, ann, room, number));
        net.asleep = None;
        net.settle();
        let (numbers, lost) = heard(&net, bob);
        if kicked {
            net.pass(Duration::from_secs(1));
            assert!(matches!(net.peers[bob].closed, Some(CloseReason::Fault(_))), "{fate:?}");
            continue;
        }
        assert!(lost > 0 && numbers.last() == Some(&1000), "{fate:?}: {lost}, {numbers:?}");
        assert_eq!(numbers.len() as u64 + lost, 1000, "{fate:?}");
        // And on as before.
        say(&mut net, ann, room, 1001);
        say(&mut net, bob, room, 1002);
        assert!(heard(&net, bob).0.ends_with(&[1000, 1001, 1002]), "{fate:?}");
    }
}

/// Found by the simulator (chat, seed 64279): its engine follows the room no longer, and a newcomer
/// there brings the log of another life, whose numbers begin again.
#[test]
fn who_is_leaving_hears_nothing_of_a_room_that_began_anew() {
    let (mut net, room, [ann, bob]) = room(Fate::DropOldest);
    net.peers[bob].stuck = true;
    (1..=100).for_each(|number| say(&mut net, ann, room, number));
    net.end(bob);
    net.request(ann, Request::Leave { room });
    net.pass(Duration::from_secs(3));
    net.request(ann, Request::Join { room, start: Start::Next });
    let carl = net.connect(1, Some((3, "carl")));
    net.request(carl, Request::Join { room, start: Start::Next });
    net.settle();
    (1001..=1150).for_each(|number| say(&mut net, ann, room, number));
    net.peers[bob].stuck = false;
    net.settle();
    let (numbers, lost) = heard(&net, bob);
    assert!((1..).zip(&numbers).all(|(i, number)| i == *number), "{numbers:?}");
    assert!(numbers.len() < 100 && numbers.len() as u64 + lost >= 100, "{lost}, {numbers:?}");
    assert_eq!(heard(&net, carl), ((1001..=1150).collect(), 0));
}

#[test]
fn requests_to_a_home_that_sleeps_are_held_back_and_all_answered() {
    let (mut net, room, [_, bob]) = room(Fate::Kick);
    net.asleep = Some(0);
    // Far more than the window, of every kind.
    for number in 0..3000u64 {
        match number % 3 {
            0 => net.request(bob, Request::Who { room }),
            1 => {
                let (again, key, text) = (false, &b""[..], &b"hi"[..]);
                net.request(bob, Request::Say { room, number, again, key, text });
            }
            _ => {
                // Not a member of this one: joined and left again.
                let room = b"elsewhere";
                net.request(bob, Request::Join { room, start: Start::Next });
                net.request(bob, Request::Leave { room });
            }
        }
        net.settle();
        let mail = net.engines[1].world().shared.exchange().mail();
        // Requests, and what is too little to be confirmed yet.
        assert!(mail < WINDOW + WINDOW / 4 + 1024, "{mail} bytes");
        assert!(net.mail() <= WINDOW / 256 + 8, "{} letters", net.mail());
    }
    // Connections that cannot wait are refused at twice as much.
    for _ in 0..2000 {
        let late = net.connect(1, None);
        net.settle();
        net.reset(late);
        let mail = net.engines[1].world().shared.exchange().mail();
        assert!(mail < 5 * WINDOW, "{mail} bytes");
    }
    net.asleep = None;
    net.settle();
    let events = net.events(bob);
    let count = |wanted: fn(&Event<'_>) -> bool| events.iter().filter(|e| wanted(e)).count();
    assert_eq!(count(|e| matches!(e, Event::Roster { .. })), 1000);
    assert_eq!(count(|e| matches!(e, Event::Said(_))), 1000);
    // A room that is not left yet cannot be joined, nor left twice.
    let joins = |e: &Event<'_>| {
        matches!(e, Event::Joined { room: b"elsewhere", .. } | Event::Refused { request: 1, .. })
    };
    let leaves = |e: &Event<'_>| {
        matches!(e, Event::Left { room: b"elsewhere" } | Event::Refused { request: 2, .. })
    };
    assert_eq!(count(joins), 1000);
    assert_eq!(count(leaves), 1000);
    let mail = net.engines[1].world().shared.exchange().mail();
    assert!(mail < WINDOW / 4, "{mail} bytes: all was answered");
}
