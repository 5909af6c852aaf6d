//! What clients of both kinds see.

use crate::net::Net;
use drywire::chat::codec::{Event, Request, Said};
use drywire::chat::{Server, Shared, codec};
use drywire::conn::{CloseReason, Peer};
use drywire::engine::Engine;
use drywire::fanout::{Config, Start};
use drywire::frame::frames;
use std::time::Duration;

fn texts<'a>(events: &[Event<'a>]) -> Vec<&'a [u8]> {
    let text = |event: &Event<'a>| match event {
        Event::Said(said) => Some(said.text),
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

#[test]
fn plain_clients_all_hear_every_message_the_sender_included() {
    for engines in 1..4 {
        let mut net = Net::new(engines, Config::default());
        for i in 0..3 {
            net.connect(i % engines, None);
        }
        net.settle();
        net.say_plainly(0, b"one");
        net.say_plainly(0, b"");
        net.settle();
        net.say_plainly(1, b"two");
        net.settle();
        for peer in 0..3 {
            assert_eq!(net.payloads(peer), [&b"one"[..], b"", b"two"], "{engines} engines");
        }
    }
}

#[test]
fn a_frame_over_the_limit_ends_the_connection_after_what_is_owed() {
    let mut net = Net::new(1, Config::default());
    let peer = net.connect(0, None);
    net.say_plainly(peer, b"good");
    net.send(peer, &65_537u32.to_be_bytes());
    net.settle();
    assert!(matches!(net.peers[peer].closed, Some(CloseReason::Fault(_))));
}

#[test]
fn a_longest_message_passes() {
    let mut net = Net::new(2, Config::default());
    let (a, b) = (net.connect(0, None), net.connect(1, None));
    net.settle();
    let text = vec![7; 65_536];
    net.say_plainly(a, &text);
    net.settle();
    assert_eq!(net.payloads(b), [&text[..]]);
}

#[test]
fn half_close_after_speaking_still_hears_it_all() {
    for engines in 1..4 {
        let mut net = Net::new(engines, Config::default());
        let peer = net.connect(engines - 1, None);
        for i in 0..50u8 {
            net.say_plainly(peer, &[i; 3000]);
        }
        net.end(peer);
        net.settle();
        assert_eq!(net.payloads(peer).len(), 50, "{engines} engines");
        assert_eq!(net.peers[peer].closed, Some(CloseReason::PeerDone));
    }
}

#[test]
fn a_speaker_that_is_kicked_as_it_leaves_hears_why() {
    // Its first message is gone from the log before it could be given it.
    let config = Config { log_messages: 1, ..Config::default() };
    let mut engine = Engine::<Server>::new(
        Shared::new(drywire::chat::Config::default(), config),
        drywire::chat::limits(),
        4,
    );
    let now = drywire::Tick::from_secs(1);
    let id = engine.accept(now, &Peer::Virtual(1)).expect("room");
    engine.receive(id, now, b"\0\0\0\x01a\0\0\0\x01b");
    engine.end_of_input(id, now);
    while let Some(id) = engine.next_dirty(now) {
        engine.resume(id, now);
    }
    engine.tick(now);
    let heard: Vec<u8> = engine.outgoing(id).flatten().copied().collect();
    assert!(heard[4..].starts_with(b"-- too slow"), "{}", heard.escape_ascii());
}

#[test]
fn a_leave_is_answered_also_behind_a_half_close() {
    for engines in 1..4 {
        for room in [&b"den"[..], b"hall", b"attic"] {
            let mut net = Net::new(engines, Config::default());
            let ann = net.connect(engines - 1, Some((1, "ann")));
            net.request(ann, Request::Join { room, start: Start::Next });
            net.settle();
            net.request(ann, Request::Leave { room });
            net.end(ann);
            net.settle();
            let left = |event: &Event<'_>| *event == Event::Left { room };
            assert_eq!(net.events(ann).iter().filter(|e| left(e)).count(), 1, "{engines} engines");
        }
    }
}

#[test]
fn a_server_that_was_away_for_an_hour_pings_before_it_gives_anyone_up() {
    let shared = Shared::new(drywire::chat::Config::default(), Config::default());
    let mut engine = Engine::<Server>::new(shared, drywire::chat::limits(), 1);
    let now = drywire::Tick::from_secs(1);
    let id = engine.accept(now, &Peer::Virtual(1)).expect("room");
    let mut hello = Vec::new();
    codec::encode_hello(&mut hello, 1, b"ann");
    engine.receive(id, now, &hello);
    let welcome = engine.outgoing(id).map(<[u8]>::len).sum();
    engine.sent(id, now, welcome);
    let back = now + Duration::from_secs(3600);
    for _ in 0..3 {
        engine.tick(back);
        assert_eq!(engine.close_reason(id), None);
    }
    engine.tick(back + Duration::from_secs(9));
    assert_eq!(engine.close_reason(id), None, "it has had no time to answer");
}

#[test]
fn a_connection_over_the_limit_hears_why_in_a_message() {
    let shared = Shared::new(drywire::chat::Config::default(), Config::default());
    let mut engine = Engine::<Server>::new(shared, drywire::chat::limits(), 1);
    let now = drywire::Tick::from_secs(1);
    engine.accept(now, &Peer::Virtual(1)).expect("room");
    let id = engine.refuse(now).expect("room for a refusal");
    let heard: Vec<u8> = engine.outgoing(id).flatten().copied().collect();
    let mut state = Default::default();
    let frame =
        frames(&codec::plain(), &mut state, &heard).next().expect("a frame").expect("a good one");
    assert_eq!(frame.payload, b"-- the server takes no more connections --");
    assert_eq!(heard.len(), 4 + frame.payload.len());
}

#[test]
fn a_plain_client_never_meets_the_extension() {
    let mut net = Net::new(1, Config::default());
    let plain = net.connect(0, None);
    let ann = net.connect(0, Some((1, "ann")));
    net.settle();
    net.request(ann, Request::Join { room: b"lobby", start: Start::Next });
    let say = |text| Request::Say { room: b"lobby", number: 1, again: false, key: b"", text };
    net.request(ann, say(b"hello"));
    net.settle();
    net.say_plainly(plain, b"hi");
    net.settle();
    assert_eq!(net.payloads(plain), [&b"hello"[..], b"hi"]);
    let events = net.events(ann);
    assert_eq!(texts(&events), [&b"hello"[..], b"hi"]);
    assert!(matches!(events[0], Event::Welcome { .. }));
    let Event::Said(Said { seq, from: 1, number: 1, name: b"ann", .. }) = events[2] else {
        panic!("{events:?}")
    };
    // Coming was the first entry of the room.
    assert_eq!(seq, 2);
}

#[test]
fn who_comes_and_goes_is_told_and_names_are_unique() {
    for engines in 1..4 {
        let mut net = Net::new(engines, Config::default());
        let join = Request::Join { room: b"den", start: Start::Next };
        let ann = net.connect(0, Some((1, "ann")));
        net.request(ann, join);
        net.settle();
        let bob = net.connect(engines - 1, Some((2, "bob")));
        net.request(bob, join);
        net.settle();
        let other = net.connect(engines / 2, Some((3, "bob")));
        net.request(other, join);
        net.settle();
        net.request(ann, Request::Who { room: b"den" });
        net.settle();
        net.end(bob);
        net.settle();
        let seen: Vec<_> = net
            .events(ann)
            .iter()
            .filter_map(|event| match event {
                Event::Presence { came, name, .. } => Some((*came, name.to_vec())),
                _ => None,
            })
            .collect();
        assert_eq!(seen, [(true, b"bob".to_vec()), (false, b"bob".to_vec())]);
        let events = net.events(ann);
        let roster = events.iter().find_map(|event| match event {
            Event::Roster { total, names, .. } => Some((*total, names.collect::<Vec<_>>())),
            _ => None,
        });
        assert_eq!(roster, Some((2, vec![&b"ann"[..], b"bob"])));
        let refused = net.events(other);
        assert!(matches!(refused[1], Event::Refused { code: 4, room: b"den", .. }), "{refused:?}");
    }
}

#[test]
fn history_is_repeated_on_joining() {
    for engines in 1..4 {
        let mut net = Net::new(engines, Config::default());
        let ann = net.connect(0, Some((1, "ann")));
        net.request(ann, Request::Join { room: b"den", start: Start::Next });
        for i in 0..10 {
            let text = &[b'0' + i][..];
            net.request(
                ann,
                Request::Say { room: b"den", number: 0, again: false, key: b"", text },
            );
        }
        net.settle();
        let bob = net.connect(engines - 1, Some((2, "bob")));
        net.request(bob, Request::Join { room: b"den", start: Start::Last(3) });
        net.settle();
        assert_eq!(texts(&net.events(bob)), [&b"7"[..], b"8", b"9"], "{engines} engines");
    }
}

#[test]
fn a_client_comes_back_without_gap_or_repeat() {
    for engines in 1..4 {
        let mut net = Net::new(engines, Config::default());
        let say = |text| Request::Say { room: b"den", number: 0, again: false, key: b"", text };
        let ann = net.connect(0, Some((1, "ann")));
        let bob = net.connect(engines - 1, Some((2, "bob")));
        for peer in [ann, bob] {
            net.request(peer, Request::Join { room: b"den", start: Start::Next });
        }
        net.settle();
        net.request(ann, say(b"1"));
        net.settle();
        let (mut life, mut last) = (0, 0);
        for event in net.events(bob) {
            match event {
                Event::Joined { life: l, .. } => life = l,
                Event::Said(said) => last = said.seq,
                _ => {}
            }
        }
        net.reset(bob);
        net.request(ann, say(b"2"));
        net.request(ann, say(b"3"));
        net.settle();
        let again = net.connect(0, Some((2, "bob")));
        let start = Start::After { life, number: last };
        net.request(again, Request::Join { room: b"den", start });
        net.settle();
        net.request(ann, say(b"4"));
        net.settle();
        let events = net.events(again);
        assert_eq!(texts(&events), [&b"2"[..], b"3", b"4"], "{engines} engines");
        assert!(!events.iter().any(|e| matches!(e, Event::Lost { .. })));
    }
}

#[test]
fn a_name_is_taken_over_by_its_owner_only() {
    let mut net = Net::new(2, Config::default());
    let join = Request::Join { room: b"den", start: Start::Next };
    let first = net.connect(0, Some((7, "ann")));
    net.request(first, join);
    net.settle();
    let second = net.connect(1, Some((7, "ann")));
    net.request(second, join);
    net.settle();
    assert!(matches!(net.events(second)[1], Event::Joined { .. }));
    let bye = net.events(first);
    assert!(matches!(bye.last(), Some(Event::Bye { .. })), "{bye:?}");
    assert!(net.peers[first].closed.is_some());
    // Nobody came or went in the eyes of the room.
    assert!(!net.events(second).iter().any(|e| matches!(e, Event::Presence { .. })));
}

#[test]
fn silence_is_pinged_and_then_ended() {
    let mut net = Net::new(1, Config::default());
    let quiet = net.connect(0, Some((1, "quiet")));
    let plain = net.connect(0, None);
    net.pass(Duration::from_secs(29));
    assert!(matches!(net.events(quiet)[1], Event::Ping(_)));
    assert_eq!(net.peers[quiet].closed, None);
    net.pass(Duration::from_secs(2));
    assert!(net.peers[quiet].closed.is_some());
    assert!(matches!(net.events(quiet).last(), Some(Event::Bye { .. })));
    net.pass(Duration::from_secs(3600));
    assert!(net.peers[plain].closed.is_none(), "plain clients know no heartbeats");
}

#[test]
fn unused_rooms_are_freed() {
    let mut net = Net::new(2, Config::default());
    let ann = net.connect(0, Some((1, "ann")));
    for room in [&b"a"[..], b"b", b"c"] {
        net.request(ann, Request::Join { room, start: Start::Next });
    }
    net.settle();
    net.end(ann);
    net.pass(Duration::from_secs(1300));
    let topics = |net: &Net| -> usize {
        net.engines.iter().map(|e| e.world().shared.exchange().topics()).sum()
    };
    assert_eq!(topics(&net), 0);
}
