//! Client machines against the server, over connections that break at any byte.

use drywire::Tick;
use drywire::chat::client::{Client, Event, Step};
use drywire::chat::{Config, Server, Shared, limits};
use drywire::conn::{Outbox, Peer, Place, Wants};
use drywire::engine::{ConnId, Engine};
use drywire::fanout;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

struct User {
    client: Client,
    engine: usize,
    link: Option<ConnId>,
    out: Outbox,
    input: Vec<u8>,
    /// Heard: text, and whether it was marked as a possible repeat.
    heard: Vec<(Vec<u8>, bool)>,
    /// Heard: text, and whether it was said before it was in.
    past: Vec<(Vec<u8>, bool)>,
    lost: u64,
    /// Outcomes by number.
    outcomes: BTreeMap<u64, u32>,
    said: u64,
}

struct World {
    engines: Vec<Engine<Server>>,
    users: Vec<User>,
    now: Tick,
}

const ROOM: &[u8] = b"den";

impl World {
    fn new(count: usize, users: u64, fanout: fanout::Config) -> Self {
        let engine = |index| {
            let shared = Shared::new(Config::default(), fanout.clone());
            let mut engine = Engine::<Server>::new(shared, limits(), 1000);
            engine.seat(Place { index, count });
            engine
        };
        let user = |id: u64| {
            let name = format!("user {id}");
            let mut client = Client::new(id, name.as_bytes()).unwrap();
            client.join(ROOM, 0, &mut Outbox::new());
            User {
                client,
                engine: 0,
                link: None,
                out: Outbox::new(),
                input: Vec::new(),
                heard: Vec::new(),
                past: Vec::new(),
                lost: 0,
                outcomes: BTreeMap::new(),
                said: 0,
            }
        };
        let engines = (0..count).map(engine).collect();
        Self { engines, users: (1..=users).map(user).collect(), now: Tick::from_secs(1) }
    }

    fn connect(&mut self, user: usize, engine: usize) {
        let engine = engine % self.engines.len();
        let user = &mut self.users[user];
        if user.link.is_none() {
            user.engine = engine;
            user.link = self.engines[engine].accept(self.now, &Peer::Virtual(1));
            user.out = Outbox::new();
            user.input.clear();
            user.client.connected(self.now, &mut user.out);
        }
    }

    /// Breaks a connection. `silent`: the server does not hear of it.
    fn cut(&mut self, user: usize, silent: bool) {
        let user = &mut self.users[user];
        if let Some(id) = user.link.take() {
            user.client.disconnected();
            if !silent {
                self.engines[user.engine].release(id, self.now);
            }
        }
    }

    fn turn(&mut self, piece: usize) -> bool {
        let now = self.now;
        let mut moved = false;
        let mut letters = Vec::new();
        for engine in &mut self.engines {
            while engine.next_dirty(now).is_some() {}
            letters.extend(std::iter::from_fn(|| engine.next_mail()));
        }
        for letter in letters {
            self.engines[letter.to()].receive_mail(now, letter);
            moved = true;
        }
        for user in &mut self.users {
            let Some(id) = user.link else { continue };
            let engine = &mut self.engines[user.engine];
            if engine.wants(id).has(Wants::AGAIN) {
                engine.resume(id, now);
                moved = true;
            }
            let bytes: Vec<u8> = user.out.slices().flatten().copied().take(piece).collect();
            let n = engine.receive(id, now, &bytes);
            user.out.sent(n);
            moved |= n > 0;
            let bytes: Vec<u8> = engine.outgoing(id).flatten().copied().take(piece).collect();
            engine.sent(id, now, bytes.len());
            moved |= !bytes.is_empty();
            user.input.extend_from_slice(&bytes);
            user.read(now);
            if engine.wants(id).has(Wants::SHUTDOWN) || engine.wants(id).has(Wants::CLOSE) {
                engine.release(id, now);
                user.link = None;
                user.client.disconnected();
                moved = true;
            }
        }
        moved
    }
}

impl User {
    fn read(&mut self, now: Tick) {
        let mut used = 0;
        while let Step::Event { event, used: n } =
            self.client.step(now, &self.input[used..], &mut self.out).expect("a sane server")
        {
            match event {
                Event::Said(message) => {
                    assert_eq!(message.said.room, ROOM);
                    self.heard.push((message.said.text.to_vec(), message.maybe_repeat));
                    self.past.push((message.said.text.to_vec(), message.past));
                    if message.own {
                        *self.outcomes.entry(message.said.number).or_default() += 1;
                    }
                }
                Event::Lost { count, .. } => self.lost += count.unwrap_or(1),
                Event::Refused { number: Some(number), .. } => {
                    *self.outcomes.entry(number).or_default() += 1;
                }
                _ => {}
            }
            used += n;
        }
        self.input.drain(..used);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Connect(usize, usize),
    Cut(usize, bool),
    Say(usize),
    Turn(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let user = || 0usize..3;
    prop_oneof![
        3 => (user(), 0usize..3).prop_map(|(user, engine)| Op::Connect(user, engine)),
        2 => (user(), any::<bool>()).prop_map(|(user, silent)| Op::Cut(user, silent)),
        6 => user().prop_map(Op::Say),
        8 => (1usize..200).prop_map(Op::Turn),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Each say is heard by everyone in one order, once, or again with a mark; each has one
    /// outcome, wherever connections break.
    #[test]
    fn no_gap_and_no_unmarked_repeat(
        engines in 1usize..4,
        ops in prop::collection::vec(op(), 1..200),
    ) {
        let mut world = World::new(engines, 3, fanout::Config::default());
        for user in 0..3 {
            world.connect(user, user);
        }
        while world.turn(usize::MAX) {}
        for op in ops {
            match op {
                Op::Connect(user, engine) => world.connect(user, engine),
                Op::Cut(user, silent) => world.cut(user, silent),
                Op::Say(user) => {
                    let index = user;
                    let user = &mut world.users[index];
                    user.said += 1;
                    let text = format!("{index}:{}", user.said);
                    user.client.say(ROOM, b"", text.as_bytes(), &mut user.out).unwrap();
                }
                Op::Turn(piece) => drop(world.turn(piece)),
            }
        }
        // Taking a name over can end a connection at first.
        for _ in 0..5 {
            for user in 0..3 {
                world.connect(user, user);
            }
            while world.turn(usize::MAX) {}
        }
        let total: u64 = world.users.iter().map(|u| u.said).sum();
        for user in &world.users {
            prop_assert_eq!(user.lost, 0);
            prop_assert_eq!(user.client.unheard(), 0);
            prop_assert_eq!(user.outcomes.len() as u64, user.said);
            let mut firsts: Vec<&Vec<u8>> = Vec::new();
            for (text, marked) in &user.heard {
                if firsts.contains(&text) {
                    prop_assert!(marked, "an unmarked repeat");
                } else {
                    firsts.push(text);
                }
            }
            prop_assert_eq!(firsts.len() as u64, total, "a gap");
            prop_assert_eq!(&user.heard, &world.users[0].heard, "two orders");
        }
    }
}

#[test]
fn a_gap_after_a_long_absence_is_reported_with_its_size() {
    let fanout = fanout::Config { log_messages: 5, ..fanout::Config::default() };
    let mut world = World::new(1, 2, fanout);
    for user in 0..2 {
        world.connect(user, 0);
    }
    while world.turn(usize::MAX) {}
    world.cut(1, false);
    for _ in 0..20 {
        let user = &mut world.users[0];
        user.client.say(ROOM, b"", b"x", &mut user.out).unwrap();
        while world.turn(usize::MAX) {}
    }
    world.connect(1, 0);
    while world.turn(usize::MAX) {}
    let user = &world.users[1];
    // 20 messages and its own going and coming, of which the last 5 are kept; its coming is one.
    assert_eq!((user.heard.len() as u64 + user.lost, user.heard.len()), (21, 4));
}

#[test]
fn a_client_pings_after_silence_and_gives_up_after_more() {
    let mut world = World::new(1, 1, fanout::Config::default());
    world.connect(0, 0);
    while world.turn(usize::MAX) {}
    let user = &mut world.users[0];
    let due = user.client.deadline().unwrap();
    assert_eq!(due, world.now + Duration::from_secs(10));
    user.client.tick(due, &mut user.out).unwrap();
    assert!(!user.out.is_empty());
    world.now = due + Duration::from_millis(3);
    while world.turn(usize::MAX) {}
    let user = &mut world.users[0];
    assert_eq!(user.client.round_trip(), Some(Duration::from_millis(3)));
    let due = user.client.deadline().unwrap();
    user.client.tick(due, &mut user.out).unwrap();
    let due = user.client.deadline().unwrap();
    assert!(user.client.tick(due, &mut user.out).is_err());
}

/// Whatever the length of the name: with two bytes a hello is as long as a welcome.
#[test]
fn a_server_that_repeats_the_hello_is_known_for_an_old_one() {
    for name in [&b"x"[..], b"al", b"somebody"] {
        let mut client = Client::new(7, name).unwrap();
        let mut out = Outbox::new();
        client.connected(Tick::ZERO, &mut out);
        let hello: Vec<u8> = out.slices().flatten().copied().collect();
        let fault = client.step(Tick::ZERO, &hello, &mut out).unwrap_err();
        assert!(fault.what.contains("plain protocol only"), "{fault:?}");
    }
}

#[test]
fn members_are_counted_and_history_is_told_from_news() {
    let mut world = World::new(2, 3, fanout::Config::default());
    world.connect(0, 0);
    while world.turn(usize::MAX) {}
    let user = &mut world.users[0];
    user.client.say(ROOM, b"", b"before", &mut user.out).unwrap();
    while world.turn(usize::MAX) {}
    assert_eq!(user_members(&world, 0), Some(1));
    world.users[1].client = Client::new(2, b"user 2").unwrap();
    world.users[1].client.join(ROOM, 10, &mut Outbox::new());
    assert!(!world.users[1].client.is_current());
    world.connect(1, 1);
    while world.turn(usize::MAX) {}
    assert!(world.users[1].client.is_current());
    assert_eq!((user_members(&world, 0), user_members(&world, 1)), (Some(2), Some(2)));
    world.connect(2, 1);
    while world.turn(usize::MAX) {}
    assert_eq!((user_members(&world, 0), user_members(&world, 1)), (Some(3), Some(3)));
    let user = &mut world.users[0];
    user.client.say(ROOM, b"", b"after", &mut user.out).unwrap();
    while world.turn(usize::MAX) {}
    let past: Vec<_> = world.users[1].past.iter().map(|(text, past)| (&text[..], *past)).collect();
    assert_eq!(past, [(&b"before"[..], true), (b"after", false)]);
    world.cut(2, false);
    while world.turn(usize::MAX) {}
    assert_eq!((user_members(&world, 0), user_members(&world, 1)), (Some(2), Some(2)));
}

fn user_members(world: &World, user: usize) -> Option<u64> {
    world.users[user].client.members(ROOM)
}
