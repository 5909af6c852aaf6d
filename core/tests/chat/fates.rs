//! Receivers that do not read, under each fate.

use crate::net::Net;
use drywire::chat::codec::{Event, Request};
use drywire::conn::CloseReason;
use drywire::fanout::{Config, Fate, OpenSpill, SpillError, SpillFile, Start};
use drywire::guard::OutGateConfig;
use std::collections::BTreeMap;
use std::time::Duration;

struct Memory(Vec<u8>);

impl SpillFile for Memory {
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), SpillError> {
        let end = at as usize + bytes.len();
        self.0.resize(self.0.len().max(end), 0);
        self.0[at as usize..end].copy_from_slice(bytes);
        Ok(())
    }
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), SpillError> {
        let bytes = self.0.get(at as usize..at as usize + into.len()).ok_or(SpillError)?;
        into.copy_from_slice(bytes);
        Ok(())
    }
}

pub(crate) fn memory() -> OpenSpill {
    OpenSpill::new(|| Ok(Box::new(Memory(Vec::new()))))
}

const ROOM: &[u8] = b"den";

/// A room with a speaker and a listener that reads nothing while `rounds` KiB are said, each with
/// one of ten keys.
fn stuck(fate: Fate, rounds: u64, config: Config) -> (Net, usize, usize) {
    let mut net = Net::new(1, Config { fate, ..config });
    let speaker = net.connect(0, Some((1, "speaker")));
    let listener = net.connect(0, Some((2, "listener")));
    for peer in [speaker, listener] {
        net.request(peer, Request::Join { room: ROOM, start: Start::Next });
        net.settle();
    }
    net.peers[listener].stuck = true;
    for number in 0..rounds {
        let key = format!("key {}", number % 10);
        let text = [b'x'; 1024];
        let (again, key) = (false, key.as_bytes());
        net.request(speaker, Request::Say { room: ROOM, number, again, key, text: &text });
        net.settle();
        net.now = net.now + Duration::from_millis(1);
    }
    (net, speaker, listener)
}

/// The numbers heard, and how many were reported lost.
fn heard(net: &Net, peer: usize) -> (Vec<u64>, u64) {
    let mut lost = 0;
    let mut numbers = Vec::new();
    let mut next = None;
    for event in net.events(peer) {
        match event {
            Event::Joined { next: n, .. } => next = Some(n),
            Event::Said(said) => {
                assert_eq!(next, Some(said.seq), "a gap that was not reported");
                next = Some(said.seq + 1);
                numbers.push(said.number);
            }
            Event::Presence { seq, .. } => {
                assert_eq!(next, Some(seq));
                next = Some(seq + 1);
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
fn kick_by_bytes_is_prompt_and_says_why() {
    let (mut net, speaker, listener) = stuck(Fate::Kick, 2000, Config::default());
    net.peers[listener].stuck = false;
    net.settle();
    let Some(CloseReason::Fault(fault)) = net.peers[listener].closed else {
        panic!("{:?}", net.peers[listener].closed)
    };
    assert!(fault.what.contains("too many bytes"), "{fault}");
    let events = net.events(listener);
    let Some(Event::Bye { reason }) = events.last() else { panic!("no reason") };
    assert_eq!(*reason, fault.what.as_bytes());
    let (numbers, lost) = heard(&net, listener);
    assert_eq!((numbers.first(), lost), (Some(&0), 0));
    assert_eq!(heard(&net, speaker).0.len(), 2000, "the speaker was not held up");
}

#[test]
fn kick_for_no_progress_comes_in_time() {
    let (mut net, _, listener) = stuck(Fate::Kick, 3, Config::default());
    let since = net.now;
    net.pass(Duration::from_millis(9_990));
    assert!(net.peers[listener].closed.is_none());
    // Kicked after 10 s; it may then take what is owed for 10 s more.
    net.pass(Duration::from_millis(10_100));
    assert!(net.peers[listener].closed.is_some());
    assert!(net.peers[listener].closed_at.since(since) < Duration::from_millis(20_010));
}

#[test]
fn a_bulge_for_too_long_is_kicked_and_a_short_one_is_not() {
    for (takes, kicked) in [(0, true), (600, false)] {
        let (mut net, _, listener) = stuck(Fate::Kick, 500, Config::default());
        for _ in 0..110 {
            // A trickle: never without progress.
            net.peers[listener].stuck = false;
            net.turn(64 + takes * 100, usize::MAX);
            net.peers[listener].stuck = true;
            net.pass(Duration::from_millis(100));
        }
        assert_eq!(net.engines[0].close_reason(net.peers[listener].id).is_some(), kicked);
    }
}

#[test]
fn drop_oldest_reports_each_loss() {
    let (mut net, _, listener) = stuck(Fate::DropOldest, 3000, Config::default());
    net.peers[listener].stuck = false;
    net.settle();
    let (numbers, lost) = heard(&net, listener);
    assert_eq!(numbers.len() as u64 + lost, 3000);
    assert_eq!(numbers.last(), Some(&2999));
    assert!(lost > 1000, "{lost}");
    assert!(net.peers[listener].closed.is_none());
}

#[test]
fn coalesce_gives_the_latest_of_each_key() {
    let (mut net, speaker, listener) = stuck(Fate::Coalesce, 5000, Config::default());
    net.peers[listener].stuck = false;
    net.settle();
    let (numbers, lost) = heard(&net, listener);
    assert_eq!(numbers.len() as u64 + lost, 5000);
    assert_eq!(&numbers[numbers.len() - 10..], (4990..5000).collect::<Vec<_>>());
    // What was in the outbox, and once each key.
    assert!(numbers.len() < 60, "{}", numbers.len());
    assert_eq!(heard(&net, speaker), ((0..5000).collect(), 0), "a good reader gets every value");
}

#[test]
fn a_key_that_is_rarely_updated_survives_in_a_coalescing_room() {
    let mut net = Net::new(1, Config { fate: Fate::Coalesce, ..Config::default() });
    let speaker = net.connect(0, Some((1, "speaker")));
    net.request(speaker, Request::Join { room: ROOM, start: Start::Next });
    net.settle();
    let listener = net.connect(0, Some((2, "listener")));
    net.request(listener, Request::Join { room: ROOM, start: Start::Next });
    net.settle();
    net.peers[listener].stuck = true;
    for number in 0..4000 {
        let key: &[u8] = if number == 100 { b"rare" } else { b"usual" };
        let (again, text) = (false, &[b'x'; 1024][..]);
        net.request(speaker, Request::Say { room: ROOM, number, again, key, text });
        net.settle();
    }
    net.peers[listener].stuck = false;
    net.settle();
    let (numbers, _) = heard(&net, listener);
    assert_eq!(numbers[numbers.len() - 2..], [100, 3999]);
}

#[test]
fn spill_replays_everything_in_order() {
    let config = Config { spill: Some(memory()), ..Config::default() };
    let (mut net, _, listener) = stuck(Fate::Spill, 8000, config);
    let held = net.footprint();
    assert!(held < 3 << 20, "{held} bytes in memory");
    net.peers[listener].stuck = false;
    net.settle();
    assert_eq!(heard(&net, listener), ((0..8000).collect(), 0));
    assert!(net.peers[listener].closed.is_none());
}

#[test]
fn spill_is_bounded() {
    let config = Config { spill: Some(memory()), spill_bytes: 2 << 20, ..Config::default() };
    let (mut net, _, listener) = stuck(Fate::Spill, 8000, config);
    net.peers[listener].stuck = false;
    net.settle();
    let Some(CloseReason::Fault(fault)) = net.peers[listener].closed else { panic!() };
    assert!(fault.what.contains("storage"), "{fault}");
    assert_eq!(heard(&net, listener).1, 0);
}

#[test]
fn a_stuck_member_may_still_speak() {
    let (mut net, speaker, listener) = stuck(Fate::DropOldest, 2000, Config::default());
    let (number, text) = (1, &b"still here"[..]);
    net.request(listener, Request::Say { room: ROOM, number, again: false, key: b"", text });
    net.settle();
    let events = net.events(speaker);
    assert!(events.iter().any(|e| matches!(e, Event::Said(said) if said.text == text)));
}

#[test]
fn a_member_that_takes_nothing_outlives_its_fate_by_minutes_and_no_more() {
    let (mut net, _, listener) = stuck(Fate::DropOldest, 200, Config::default());
    // A plain one, because an extended one that never answers a ping is given up sooner.
    let plain = net.connect(0, None);
    net.settle();
    net.peers[plain].stuck = true;
    net.say_plainly(plain, b"unread");
    net.pass(Duration::from_secs(290));
    assert_eq!(net.peers[plain].closed, None);
    net.pass(Duration::from_secs(20));
    assert!(net.peers[plain].closed.is_some() && net.peers[listener].closed.is_some());
}

/// In no room, with nothing to be had but the server's own words.
#[test]
fn answers_that_nobody_takes_are_waited_for_no_longer_than_messages() {
    let mut net = Net::new(1, Config::default());
    let peer = net.connect(0, Some((1, "peer")));
    let id = net.peers[peer].id;
    net.peers[peer].stuck = true;
    net.settle();
    net.pass(Duration::from_millis(9_990));
    assert_eq!(net.engines[0].close_reason(id), None);
    net.pass(Duration::from_millis(20));
    let reason = net.engines[0].close_reason(id);
    assert!(matches!(reason, Some(CloseReason::Fault(f)) if f.what.contains("nothing was read")));
}

/// Two limits on time at once: that one does not lead to a kick, because all that waits was said
/// to it, does not put off the other.
#[test]
fn many_bytes_for_long_do_not_put_off_the_kick_for_no_progress() {
    let slow = OutGateConfig { soft: 2 << 10, ..OutGateConfig::CHAT };
    let (mut net, _, listener) = stuck(Fate::Kick, 3, Config { slow, ..Config::default() });
    net.peers[listener].stuck = false;
    net.turn(64, usize::MAX);
    net.peers[listener].stuck = true;
    net.pass(Duration::from_millis(10_010));
    let reason = net.engines[0].close_reason(net.peers[listener].id);
    assert!(matches!(reason, Some(CloseReason::Fault(_))), "{reason:?}");
}

/// What is said after a member has gone does not replace what it still is to have.
#[test]
fn who_leaves_a_coalescing_room_has_the_latest_of_until_then() {
    for leaves in [false, true] {
        let (mut net, speaker, listener) = stuck(Fate::Coalesce, 200, Config::default());
        if leaves {
            net.request(listener, Request::Leave { room: ROOM });
        } else {
            net.end(listener);
        }
        net.settle();
        for number in 200..300 {
            let (again, key) = (false, format!("key {}", number % 10));
            let (key, text) = (key.as_bytes(), &b"late"[..]);
            net.request(speaker, Request::Say { room: ROOM, number, again, key, text });
        }
        net.settle();
        net.peers[listener].stuck = false;
        net.settle();
        let (numbers, _) = heard(&net, listener);
        assert_eq!(&numbers[numbers.len() - 10..], (190..200).collect::<Vec<_>>());
    }
}

/// ... and if it is gone by then, it is not said to have been replaced.
#[test]
fn who_leaves_a_coalescing_room_hears_that_the_latest_of_until_then_is_gone() {
    // Its engine goes on listening, or begins again when much was said meanwhile.
    let ways =
        [(1, false, false), (1, true, false), (2, false, false), (2, true, false), (2, true, true)];
    for (engines, leaves, again) in ways {
        let config = Config { fate: Fate::Coalesce, log_messages: 6, ..Config::default() };
        let mut net = Net::new(engines, config);
        let speaker = net.connect(0, Some((1, "speaker")));
        let listener = net.connect(engines - 1, Some((2, "listener")));
        let other = net.connect(engines - 1, Some((3, "other")));
        let join = |net: &mut Net, peer| {
            net.request(peer, Request::Join { room: ROOM, start: Start::Next });
            net.settle();
        };
        [speaker, listener].into_iter().for_each(|peer| join(&mut net, peer));
        if !again {
            join(&mut net, other);
        }
        net.peers[listener].stuck = true;
        // The keys 0 to 3 at the end are the latest; two of them are replaced when it has left.
        for number in 0..410 {
            if number == 400 {
                match leaves {
                    true => net.request(listener, Request::Leave { room: ROOM }),
                    false => net.end(listener),
                }
                net.settle();
            }
            let key = if number < 400 { number % 4 } else { number % 2 };
            let (again, key, text) = (false, &[b'0' + key as u8][..], &[b'x'; 1024][..]);
            net.request(speaker, Request::Say { room: ROOM, number, again, key, text });
            net.settle();
        }
        if again {
            join(&mut net, other);
        }
        net.peers[listener].stuck = false;
        net.settle();
        let (numbers, _) = heard(&net, listener);
        assert_eq!(numbers[numbers.len() - 2..], [398, 399], "{engines} {leaves} {again}");
        let seqs: BTreeMap<_, _> = net.events(speaker).into_iter().filter_map(said).collect();
        let mut whys = BTreeMap::new();
        for event in net.events(listener) {
            if let Event::Lost { from, count, why, .. } = event {
                whys.extend((from..from + count).map(|seq| (seq, why)));
            }
        }
        let why = |number| whys.get(&seqs[&number]).copied();
        assert_eq!([396, 397].map(why), [Some(1), Some(1)], "{whys:?}");
    }
}

fn said(event: Event<'_>) -> Option<(u64, u64)> {
    match event {
        Event::Said(said) => Some((said.number, said.seq)),
        _ => None,
    }
}

/// The latest message of a key that there was no room to keep was not replaced by another.
#[test]
fn what_was_not_replaced_is_not_said_to_be() {
    for engines in 1..3 {
        let config = Config { fate: Fate::Coalesce, keys: 2, ..Config::default() };
        let mut net = Net::new(engines, config);
        let speaker = net.connect(0, Some((1, "speaker")));
        let listener = net.connect(engines - 1, Some((2, "listener")));
        for peer in [speaker, listener] {
            net.request(peer, Request::Join { room: ROOM, start: Start::Next });
            net.settle();
        }
        net.peers[listener].stuck = true;
        for number in 0..4000 {
            let key = match number {
                100..103 => &b"abc"[number as usize - 100..][..1],
                _ => b"usual",
            };
            let (again, text) = (false, &[b'x'; 1024][..]);
            net.request(speaker, Request::Say { room: ROOM, number, again, key, text });
            net.settle();
        }
        net.peers[listener].stuck = false;
        net.settle();
        let (numbers, _) = heard(&net, listener);
        assert_eq!(numbers[numbers.len() - 3..], [101, 102, 3999]);
        let rare = net.events(speaker).into_iter().find_map(|event| match event {
            Event::Said(said) if said.number == 100 => Some(said.seq),
            _ => None,
        });
        let mut whys = Vec::new();
        for event in net.events(listener) {
            if let Event::Lost { from, count, why, .. } = event {
                let over_rare = (from..from + count).contains(&rare.expect("it was said"));
                whys.push((over_rare, why));
            }
        }
        assert!(whys.contains(&(true, 1)) && whys.contains(&(false, 2)), "{whys:?}");
        assert!(!whys.contains(&(true, 2)), "{whys:?}");
    }
}

#[test]
fn ten_thousand_members_share_one_copy() {
    let mut net = Net::new(1, Config::default());
    let speaker = net.connect(0, None);
    for _ in 0..10_000 {
        net.connect(0, None);
    }
    net.settle();
    net.say_plainly(speaker, &[b'x'; 60_000]);
    // The message is in; nobody has taken it yet.
    for peer in &mut net.peers {
        peer.stuck = true;
    }
    let before = net.footprint();
    net.turn(usize::MAX, 0);
    let room = net.engines[0].world().shared.exchange().footprint();
    assert!(room < 16 << 20, "{room}");
    assert!(net.footprint() - before < 2 << 20, "{}", net.footprint() - before);
}
