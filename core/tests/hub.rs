//! The hub over virtual connections: what is heard, what is refused, what is freed.

mod common;

use common::{Schedule, run};
use drywire::Tick;
use drywire::conn::{CloseReason, Limits, Outbox, Peer, Place, Wants};
use drywire::engine::{ConnId, Engine};
use drywire::fanout::Config;
use drywire::hub::client::{Client, Event, Step, Value};
use drywire::hub::{Server, Shared, limits};
use proptest::prelude::*;
use std::time::Duration;

struct Hub {
    engines: Vec<Engine<Server>>,
    now: Tick,
}

impl Hub {
    fn new(count: usize, config: Config) -> Self {
        let engine = |index| {
            let mut engine = Engine::new(Shared::new(config.clone()), limits(), 1000);
            engine.seat(Place { index, count });
            engine
        };
        Self { engines: (0..count).map(engine).collect(), now: Tick::from_secs(1) }
    }

    fn connect(&mut self, engine: usize) -> (usize, ConnId) {
        (engine, self.engines[engine].accept(self.now, &Peer::Virtual(1)).unwrap())
    }

    fn send(&mut self, (engine, id): (usize, ConnId), bytes: &str) {
        let mut rest = bytes.as_bytes();
        while !rest.is_empty() {
            let n = self.engines[engine].receive(id, self.now, rest);
            rest = &rest[n..];
            self.settle();
        }
    }

    /// All of it, before any other engine has had a turn.
    fn send_at_once(&mut self, (engine, id): (usize, ConnId), bytes: &str) {
        assert_eq!(self.engines[engine].receive(id, self.now, bytes.as_bytes()), bytes.len());
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            let mut moved = false;
            let mut letters = Vec::new();
            for engine in &mut self.engines {
                if engine.deadline().is_some_and(|d| d.at <= self.now) {
                    engine.tick(self.now);
                }
                while let Some(id) = engine.next_dirty(self.now) {
                    while engine.wants(id).has(Wants::AGAIN) {
                        engine.resume(id, self.now);
                    }
                    moved = true;
                }
                letters.extend(std::iter::from_fn(|| engine.next_mail()));
            }
            moved |= !letters.is_empty();
            for letter in letters {
                self.engines[letter.to()].receive_mail(self.now, letter);
            }
            if !moved {
                return;
            }
        }
    }

    fn heard(&mut self, (engine, id): (usize, ConnId)) -> String {
        self.settle();
        let bytes: Vec<u8> = self.engines[engine].outgoing(id).flatten().copied().collect();
        self.engines[engine].sent(id, self.now, bytes.len());
        String::from_utf8(bytes).unwrap()
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let due = self.engines.iter().filter_map(Engine::deadline).map(|d| d.at).min();
            let Some(at) = due.filter(|at| *at <= end) else { break };
            self.now = at;
        }
        self.now = end;
    }
}

#[test]
fn the_last_value_comes_at_once_and_then_each_one() {
    for engines in 1..4 {
        let mut hub = Hub::new(engines, Config::default());
        let publisher = hub.connect(0);
        hub.send(publisher, "pub a b\r\none\r\npub a b\ntwo\npub other\r\n\r\n");
        let subscriber = hub.connect(engines - 1);
        hub.send(subscriber, "sub a b\r\n");
        assert_eq!(hub.heard(subscriber), "pub a b\r\ntwo\r\n");
        hub.send(subscriber, "sub a b\r\n");
        assert_eq!(hub.heard(subscriber), "", "to ask again changes nothing");
        hub.send(publisher, "pub a b\r\nthree\r\n");
        assert_eq!(hub.heard(subscriber), "pub a b\r\nthree\r\n");
        hub.send(subscriber, "sub other\r\nunsub a b\r\npub a b\r\nfour\r\n");
        assert_eq!(hub.heard(subscriber), "pub other\r\n\r\n");
        assert_eq!(hub.heard(publisher), "");
    }
}

/// Who changes its mind before a topic's home has answered asked for nothing that it did not get.
#[test]
fn to_subscribe_and_unsubscribe_at_once_is_no_error() {
    for engines in 1..4 {
        let mut hub = Hub::new(engines, Config::default());
        for engine in 0..engines {
            let peer = hub.connect(engine);
            let (sub, unsub) = (format!("sub {engine}\r\n"), format!("unsub {engine}\r\n"));
            hub.send_at_once(peer, &format!("{sub}{unsub}{sub}{unsub}"));
            assert_eq!(hub.heard(peer), "");
            let publish = format!("pub {engine}\r\n1\r\n");
            hub.send_at_once(peer, &format!("{sub}{unsub}{sub}{publish}"));
            assert_eq!(hub.heard(peer), publish);
        }
    }
}

#[test]
fn the_clock_strikes_while_someone_listens() {
    for engines in 1..4 {
        let config = Config { unix_ms: 1_790_000_000_500, ..Config::default() };
        let mut hub = Hub::new(engines, config);
        hub.pass(Duration::from_secs(5));
        let listener = hub.connect(engines - 1);
        hub.send(listener, "sub utc_time\r\n");
        assert_eq!(hub.heard(listener), "pub utc_time\r\n20260921 14:13:26.500000\r\n");
        hub.pass(Duration::from_millis(600));
        assert_eq!(hub.heard(listener), "pub utc_time\r\n20260921 14:13:27.000000\r\n");
        hub.pass(Duration::from_secs(3));
        assert_eq!(hub.heard(listener).lines().count(), 6);
        hub.send(listener, "unsub utc_time\r\n");
        hub.pass(Duration::from_secs(10));
        let clock = |d: drywire::conn::Deadline| d.why == "utc_time";
        assert!(!hub.engines.iter().filter_map(Engine::deadline).any(clock), "an idle hub sleeps");
        hub.send(listener, "sub utc_time\r\n");
        assert_eq!(hub.heard(listener), "pub utc_time\r\n20260921 14:13:40.100000\r\n");
        hub.send(listener, "pub utc_time\r\nnoon\r\n");
        assert_eq!(hub.heard(listener), "error utc_time is the server's own topic\r\n");
    }
}

#[test]
fn a_line_that_is_no_command_ends_the_connection_and_says_why() {
    for (line, why) in [
        ("nonsense\r\n", "without a space"),
        ("get k\r\n", "unknown verb"),
        ("error x\r\n", "unknown verb"),
        (&format!("sub {}\r\n", "t".repeat(256)), "255 bytes"),
        (&"x".repeat(70_000), "too large"),
    ] {
        let mut engine = Engine::<Server>::new(Shared::new(Config::default()), limits(), 8);
        let script = format!("sub a\r\n{line}sub b\r\n");
        let outcome = run(&mut engine, script.as_bytes(), &Schedule::whole());
        let text = String::from_utf8(outcome.bytes).unwrap();
        assert!(text.starts_with("error ") && text.contains(why), "{text}");
        assert!(matches!(outcome.reason, Some(CloseReason::Fault(_))));
    }
}

#[test]
fn limits_refuse_and_the_connection_goes_on() {
    for engines in 1..4 {
        let config = Config { subscriptions: 2, topics: 2, ..Config::default() };
        let mut hub = Hub::new(engines, config);
        let peer = hub.connect(0);
        hub.send(peer, "sub a\r\nsub b\r\nsub c\r\n");
        assert_eq!(hub.heard(peer), "error too many subscriptions on this connection\r\n");
        hub.send(peer, "unsub a\r\nsub c\r\npub c\r\nx\r\n");
        assert_eq!(hub.heard(peer), "pub c\r\nx\r\n", "{engines} engines");
    }
}

#[test]
fn refusals_that_nobody_takes_are_waited_for_no_longer_than_values() {
    for subscribed in [false, true] {
        let mut hub = Hub::new(1, Config::default());
        let peer = hub.connect(0);
        if subscribed {
            hub.send(peer, "sub a\r\npub a\r\nx\r\n");
        }
        // What came before is taken, and then nothing.
        let taken = hub.engines[0].outgoing(peer.1).map(<[u8]>::len).sum();
        hub.send(peer, "pub utc_time\r\nnoon\r\n");
        hub.engines[0].sent(peer.1, hub.now, taken);
        hub.pass(Duration::from_millis(9_990));
        assert_eq!(hub.engines[0].close_reason(peer.1), None);
        hub.pass(Duration::from_millis(20));
        assert!(matches!(hub.engines[0].close_reason(peer.1), Some(CloseReason::Fault(_))));
    }
}

/// Kicked in a drain, with requests that have not had their turn.
#[test]
fn last_words_are_the_last() {
    let config = Config { log_bytes: 1024, ..Config::default() };
    let limits = Limits { messages_per_turn: 1, ..limits() };
    let mut engine = Engine::<Server>::new(Shared::new(config), limits, 8);
    let now = Tick::from_secs(1);
    let [slow, quick] = [1, 2].map(|n| engine.accept(now, &Peer::Virtual(n)).unwrap());
    engine.receive(slow, now, b"sub a\r\npub utc_time\r\nnoon\r\npub b\r\n1\r\n");
    let value = format!("pub a\r\n{}\r\n", "x".repeat(2000));
    for _ in 0..2 {
        engine.receive(quick, now, value.as_bytes());
        while engine.wants(quick).has(Wants::AGAIN) {
            engine.resume(quick, now);
        }
    }
    engine.close(slow, now);
    for _ in 0..10 {
        engine.resume(slow, now);
    }
    let heard: Vec<u8> = engine.outgoing(slow).flatten().copied().collect();
    let heard = String::from_utf8(heard).unwrap();
    assert!(heard.ends_with("error too slow: too many bytes are waiting\r\n"), "{heard}");
}

#[test]
fn a_topic_in_use_is_never_forgotten_for_another() {
    let mut hub = Hub::new(1, Config { topics: 2, ..Config::default() });
    let peer = hub.connect(0);
    hub.send(peer, "sub a\r\nsub b\r\npub c\r\nx\r\n");
    assert_eq!(hub.heard(peer), "error too many topics\r\n");
    hub.send(peer, "unsub b\r\npub c\r\nx\r\nsub c\r\n");
    assert_eq!(hub.heard(peer), "pub c\r\nx\r\n");
}

#[test]
fn unused_topics_are_freed_in_time() {
    let mut hub = Hub::new(2, Config::default());
    let peer = hub.connect(0);
    for i in 0..100 {
        hub.send(peer, &format!("pub topic {i}\r\n{i}\r\n"));
    }
    let topics = |hub: &Hub| -> usize {
        hub.engines.iter().map(|e| e.world().shared.exchange().topics()).sum()
    };
    assert_eq!(topics(&hub), 100);
    hub.pass(Duration::from_secs(1201));
    assert_eq!(topics(&hub), 0);
}

proptest! {
    /// I3: neither the cuts of the input nor the sizes of the sends show.
    #[test]
    fn schedules_do_not_show(
        lines in prop::collection::vec(("(pub|sub)", 0u8..4, "[a-z]{0,20}"), 0..30),
        schedule in Schedule::any(),
    ) {
        let script: String = lines
            .iter()
            .map(|(verb, topic, content)| match verb.as_str() {
                "pub" => format!("pub t{topic}\r\n{content}\r\n"),
                verb => format!("{verb} t{topic}\r\n"),
            })
            .collect();
        let outcome = |schedule: &Schedule| {
            let mut engine = Engine::<Server>::new(Shared::new(Config::default()), limits(), 8);
            let outcome = run(&mut engine, script.as_bytes(), schedule);
            // Topics of one subscriber take turns; each has its own order.
            let mut pairs: Vec<Vec<u8>> = Vec::new();
            let lines: Vec<&[u8]> = outcome.bytes.split(|b| *b == b'\n').collect();
            pairs.extend(lines.chunks(2).map(|pair| pair.concat()));
            pairs.sort_by(|a, b| a.get(..7).cmp(&b.get(..7)));
            (pairs, outcome.reason)
        };
        prop_assert_eq!(outcome(&schedule), outcome(&Schedule::whole()));
        prop_assert_eq!(outcome(&Schedule::byte_by_byte()), outcome(&Schedule::whole()));
    }

    /// The client reads what the server writes, however it is cut up.
    #[test]
    fn client_reads_values_in_any_pieces(
        values in prop::collection::vec(("[a-z ]{0,10}", "[ -~]{0,50}"), 0..20),
        piece in 1usize..40,
    ) {
        let mut out = Outbox::new();
        let mut peer = Client::new();
        peer.connected(&mut out);
        for (topic, content) in &values {
            prop_assert!(peer.publish(topic.as_bytes(), content.as_bytes(), &mut out));
        }
        let wire: Vec<u8> = out.slices().flatten().copied().collect();
        let mut client = Client::new();
        let (mut input, mut seen) = (Vec::new(), Vec::new());
        let mut need = 0;
        for chunk in wire.chunks(piece) {
            input.extend_from_slice(chunk);
            while input.len() >= need {
                match client.step(&input).unwrap() {
                    Step::Need(n) => {
                        prop_assert!(n > input.len());
                        need = n;
                    }
                    Step::Event { event: Event::Value(value), used } => {
                        let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
                        seen.push((text(value.topic), text(value.content)));
                        input.drain(..used);
                        need = 0;
                    }
                    Step::Event { .. } => prop_assert!(false),
                }
            }
        }
        prop_assert_eq!(seen, values);
    }
}

#[test]
fn a_client_that_comes_back_marks_what_may_be_a_gap_or_a_repeat() {
    let mut client = Client::new();
    let mut out = Outbox::new();
    client.subscribe(b"a", &mut out);
    assert!(out.is_empty(), "not connected");
    client.connected(&mut out);
    let value = |client: &mut Client, content: &str| {
        let wire = format!("pub a\r\n{content}\r\n");
        let Ok(Step::Event { event: Event::Value(Value { resumed, repeat, .. }), .. }) =
            client.step(wire.as_bytes())
        else {
            panic!()
        };
        (resumed, repeat)
    };
    assert_eq!(value(&mut client, "1"), (false, false));
    for (content, mark) in [("1", (true, true)), ("3", (true, false))] {
        client.disconnected();
        let mut out = Outbox::new();
        client.connected(&mut out);
        assert!(client.subscribe(b"a", &mut out), "which it is: nothing changes");
        assert_eq!(out.slices().collect::<Vec<_>>(), [&b"sub a\r\n"[..]]);
        assert_eq!(value(&mut client, content), mark);
        assert_eq!(value(&mut client, "2"), (false, false));
    }
}
