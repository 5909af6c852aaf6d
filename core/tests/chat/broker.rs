//! A model of servers that share rooms by way of a broker, without a network: broker, links and
//! engines take their steps in any order, and it is known what everybody has to hear.

use crate::net::Net;
use drywire::chat::codec::{Event, Request};
use drywire::fanout::{Config, Fate, Start};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const SERVERS: usize = 2;
pub(crate) const ENGINES: usize = 3;
const SPEAKERS: usize = 4;
/// Their homes are on different engines.
pub(crate) const ROOMS: [&[u8]; 4] = [b"den", b"ops", b"a.b *", b"tea"];
/// Version, id, count; then a frame.
const HEADER: usize = 17;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Say {
        speaker: usize,
        room: usize,
        size: usize,
    },
    /// The speaker's connection is lost; it comes back there and says what it had no answer to.
    Cut {
        speaker: usize,
        server: usize,
        engine: usize,
    },
    Turn {
        server: usize,
        piece: usize,
        letters: usize,
    },
    Sleep {
        server: usize,
        engine: Option<usize>,
    },
    Publish {
        server: usize,
        count: usize,
    },
    /// What was published reaches the broker's log.
    Arrive {
        server: usize,
        count: usize,
    },
    Refuse {
        server: usize,
    },
    Feed {
        server: usize,
        count: usize,
    },
    Link {
        server: usize,
    },
    Lose {
        server: usize,
    },
    /// What was published on a lost link reaches the log after all.
    Late {
        which: usize,
        count: usize,
    },
    /// The log forgets its oldest.
    Evict {
        count: usize,
    },
    /// The broker's disk is lost.
    Wipe,
    /// Someone else publishes.
    Strange {
        bytes: Vec<u8>,
    },
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let server = || 0..SERVERS;
    let speaker = || 0..SPEAKERS;
    prop_oneof![
        10 => (speaker(), 0..ROOMS.len(), 0usize..2000)
            .prop_map(|(speaker, room, size)| Op::Say { speaker, room, size }),
        1 => (speaker(), server(), 0..ENGINES)
            .prop_map(|(speaker, server, engine)| Op::Cut { speaker, server, engine }),
        10 => (server(), 1usize..3000, 0usize..6)
            .prop_map(|(server, piece, letters)| Op::Turn { server, piece, letters }),
        1 => (server(), prop::option::of(0..ENGINES))
            .prop_map(|(server, engine)| Op::Sleep { server, engine }),
        5 => (server(), 1usize..5).prop_map(|(server, count)| Op::Publish { server, count }),
        5 => (server(), 1usize..5).prop_map(|(server, count)| Op::Arrive { server, count }),
        1 => server().prop_map(|server| Op::Refuse { server }),
        5 => (server(), 1usize..5).prop_map(|(server, count)| Op::Feed { server, count }),
        3 => server().prop_map(|server| Op::Link { server }),
        2 => server().prop_map(|server| Op::Lose { server }),
        2 => (0usize..4, 1usize..3).prop_map(|(which, count)| Op::Late { which, count }),
        1 => (1usize..4).prop_map(|count| Op::Evict { count }),
        1 => Just(Op::Wipe),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| Op::Strange { bytes }),
    ]
}

/// What someone who listens all the time hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Heard {
    Said { from: u64, number: u64, again: bool },
    Link(u8),
}

const DOWN: Heard = Heard::Link(0);
const UP: Heard = Heard::Link(1);
const GAP: Heard = Heard::Link(2);

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) topic: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Stored {
    /// Whose it is, its count, and what listeners hear of it.
    fn read(&self) -> (u64, u64, Heard) {
        let number = |at: usize| u64::from_be_bytes(self.payload[at..at + 8].try_into().unwrap());
        let event = Event::parse(&self.payload[HEADER + 4..]).unwrap();
        let Event::Said(said) = event else { panic!("{event:?} was published") };
        let heard = Heard::Said { from: said.from, number: said.number, again: said.again };
        (number(1), number(9), heard)
    }
}

/// A broker's log, and what is on its way there.
#[derive(Default)]
pub(crate) struct Broker {
    /// Which of its lives this is.
    born: u64,
    pub(crate) log: Vec<Result<Stored, Vec<u8>>>,
    first: usize,
    /// Of lost links.
    pub(crate) late: Vec<VecDeque<(u64, Stored)>>,
}

pub(crate) struct Server {
    id: u64,
    pub(crate) net: Net,
    pub(crate) linked: bool,
    /// Which log was read, and how far.
    position: Option<(u64, usize)>,
    read: usize,
    /// What was there as the link stood.
    target: usize,
    wire: VecDeque<(u64, Stored)>,
    /// One that listens in all rooms, all the time.
    pub(crate) listener: usize,
    /// What it has to hear.
    expected: BTreeMap<Vec<u8>, Vec<Heard>>,
    counts: BTreeMap<u64, u64>,
    /// Its own that were published and not read.
    own: VecDeque<Own>,
    /// Links there were.
    links: usize,
    down: bool,
}

struct Own {
    stored: Stored,
    /// The link it was first published on.
    link: usize,
    /// Whether a gap may have been it.
    missed: bool,
}

struct Speaker {
    id: u64,
    server: usize,
    peer: usize,
    cut: bool,
    /// By number: the room, the text, and whether it was said again.
    says: BTreeMap<u64, (usize, usize, bool)>,
}

pub(crate) struct World {
    broker: Broker,
    pub(crate) servers: Vec<Server>,
    speakers: Vec<Speaker>,
    number: u64,
    strange: u64,
}

impl Server {
    pub(crate) fn new(id: u64) -> Self {
        let fate = Fate::DropOldest;
        let config = Config { bridged: true, process: id, fate, ..Config::default() };
        let mut net = Net::new(ENGINES, config);
        let name = format!("listener {id}");
        let listener = net.connect(id as usize % ENGINES, Some((1000 + id, &name)));
        let expected = ROOMS.iter().map(|room| (room.to_vec(), Vec::new())).collect();
        let mut server = Self {
            id,
            net,
            linked: false,
            position: None,
            read: 0,
            target: 0,
            wire: VecDeque::new(),
            listener,
            expected,
            counts: BTreeMap::new(),
            own: VecDeque::new(),
            links: 0,
            down: false,
        };
        server.join(listener);
        server.net.settle();
        server
    }

    pub(crate) fn join(&mut self, peer: usize) {
        ROOMS.iter().for_each(|room| {
            self.net.request(peer, Request::Join { room, start: Start::Next });
        });
    }

    pub(crate) fn bridge(&mut self) -> &mut drywire::fanout::Bridge {
        self.net.bridge.as_mut().expect("it is bridged")
    }

    fn expect(&mut self, heard: Heard) {
        self.expected.values_mut().for_each(|all| all.push(heard));
    }

    pub(crate) fn lose(&mut self, broker: &mut Broker) {
        self.bridge().disconnected();
        if !core::mem::replace(&mut self.down, true) {
            self.expect(DOWN);
        }
        self.linked = false;
        broker.late.push(core::mem::take(&mut self.wire));
    }

    /// As the host does: what it reads from, and whether that leaves a gap.
    pub(crate) fn link(&mut self, broker: &Broker) {
        if self.linked {
            return;
        }
        let gap;
        (self.read, gap) = match self.position {
            None => (broker.first, false),
            Some((born, read)) if born == broker.born && read >= broker.first => (read, false),
            Some(_) => (broker.first, true),
        };
        self.bridge().connected(gap);
        if gap {
            self.gap();
        } else if self.down {
            self.expect(UP);
        }
        self.links += 1;
        (self.down, self.linked, self.target) = (false, true, broker.log.len());
        self.caught_up(broker);
    }

    fn gap(&mut self) {
        self.expect(GAP);
        self.own.iter_mut().for_each(|own| own.missed = true);
    }

    /// What others may have heard from here, and cannot be read any more, is heard now.
    fn missed_before(&mut self, count: u64) {
        let before = |own: &mut Own| own.stored.read().1 <= count;
        while let Some(Own { stored, missed, .. }) = self.own.pop_front_if(before) {
            let (_, this, heard) = stored.read();
            if this < count && missed {
                self.expected.get_mut(&stored.topic).unwrap().push(heard);
            }
        }
    }

    fn caught_up(&mut self, broker: &Broker) {
        if self.read >= self.target {
            self.bridge().caught_up();
            self.position.get_or_insert((broker.born, self.read));
        }
    }

    pub(crate) fn feed(&mut self, broker: &Broker, strange: &mut u64) -> bool {
        if !self.linked || !self.bridge().has_room() {
            return false;
        }
        let next = self.read.max(broker.first);
        let Some(entry) = broker.log.get(next) else { return false };
        if next > self.read && self.position.is_some() {
            self.bridge().gap();
            self.gap();
        }
        self.read = next + 1;
        self.position = Some((broker.born, self.read));
        match entry {
            Ok(stored) => {
                assert!(self.bridge().stored(&stored.topic, &stored.payload, 7));
                let (process, count, heard) = stored.read();
                if self.counts.get(&process).is_none_or(|last| count > *last) {
                    self.counts.insert(process, count);
                    if process == self.id {
                        self.missed_before(count);
                    }
                    self.expected.get_mut(&stored.topic).unwrap().push(heard);
                }
            }
            Err(bytes) => {
                assert!(!self.bridge().stored(ROOMS[0], bytes, 7), "{bytes:?} is a message");
                *strange += 1;
            }
        }
        self.caught_up(broker);
        true
    }

    pub(crate) fn publish(&mut self) -> bool {
        let linked = self.linked;
        let Some(outgoing) = self.bridge().next_publish() else { return false };
        assert!(linked, "published without a link");
        let stored = Stored { topic: outgoing.topic.to_vec(), payload: outgoing.payload };
        if self.own.back().is_none_or(|last| last.stored.read().1 < outgoing.count) {
            self.own.push_back(Own { stored: stored.clone(), link: self.links, missed: false });
        }
        self.wire.push_back((outgoing.count, stored));
        true
    }

    pub(crate) fn arrive(&mut self, broker: &mut Broker) -> bool {
        let Some((_, stored)) = self.wire.pop_front() else { return false };
        broker.log.push(Ok(stored));
        true
    }

    /// The broker does not take the next one, and says so.
    pub(crate) fn refuse(&mut self, broker: &mut Broker) {
        let Some((count, _)) = self.wire.pop_front() else { return };
        let own = self.own.iter().find(|own| own.stored.read().1 == count);
        // While an older copy may still come, or has, it is not known that it never will.
        let settled = own.is_none_or(|own| !own.missed && own.link == self.links);
        assert_eq!(self.bridge().refused(count), settled);
        if settled {
            self.own.retain(|own| own.stored.read().1 != count);
        } else {
            self.lose(broker);
        }
    }

    pub(crate) fn heard(&self, peer: usize) -> BTreeMap<Vec<u8>, Vec<Heard>> {
        let mut all: BTreeMap<_, Vec<_>> = ROOMS.iter().map(|r| (r.to_vec(), Vec::new())).collect();
        for event in self.net.events(peer) {
            let (room, heard) = match event {
                Event::Said(said) => {
                    let (from, number, again) = (said.from, said.number, said.again);
                    (said.room, Heard::Said { from, number, again })
                }
                Event::Link { room, state, .. } => (room, Heard::Link(state)),
                Event::Lost { .. } => panic!("{event:?}"),
                _ => continue,
            };
            all.get_mut(room).expect("a room").push(heard);
        }
        all
    }

    /// The says that a peer had an answer to: how many, by number and mark, and the refused ones.
    pub(crate) fn answers(
        &self,
        peer: usize,
        id: u64,
    ) -> (BTreeMap<(u64, bool), u32>, BTreeSet<u64>) {
        let (mut heard, mut refused) = (BTreeMap::new(), BTreeSet::new());
        for event in self.net.events(peer) {
            match event {
                Event::Said(said) if said.from == id => {
                    *heard.entry((said.number, said.again)).or_insert(0) += 1;
                }
                Event::Refused { request, number, code, .. } => {
                    assert_eq!((request, code), (3, 9), "only for want of a link");
                    assert!(refused.insert(number), "refused twice");
                }
                _ => {}
            }
        }
        (heard, refused)
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let mut servers: Vec<_> = (0..SERVERS as u64).map(|id| Server::new(id + 1)).collect();
        let speaker = |n: usize| {
            let (id, server) = (n as u64 + 1, n % SERVERS);
            let net = &mut servers[server].net;
            let peer = net.connect(n % ENGINES, Some((id, &format!("speaker {id}"))));
            servers[server].join(peer);
            servers[server].net.settle();
            Speaker { id, server, peer, cut: false, says: BTreeMap::new() }
        };
        let speakers = (0..SPEAKERS).map(speaker).collect();
        Self { broker: Broker::default(), servers, speakers, number: 0, strange: 0 }
    }

    fn say(&mut self, speaker: usize, number: u64) {
        let Speaker { server, peer, says, .. } = &self.speakers[speaker];
        let (room, size, again) = says[&number];
        let (room, text) = (ROOMS[room], &vec![b'x'; size][..]);
        let say = Request::Say { room, number, again, key: b"", text };
        self.servers[*server].net.request(*peer, say);
    }

    fn cut(&mut self, speaker: usize, to: usize, engine: usize) {
        let Speaker { id, server, peer, cut, .. } = self.speakers[speaker];
        if core::mem::replace(&mut self.speakers[speaker].cut, true) || cut {
            return;
        }
        let (heard, refused) = self.servers[server].answers(peer, id);
        self.servers[server].net.reset(peer);
        let peer = self.servers[to].net.connect(engine, Some((id, &format!("speaker {id}"))));
        self.servers[to].join(peer);
        let speaker_now = &mut self.speakers[speaker];
        (speaker_now.server, speaker_now.peer) = (to, peer);
        let answered =
            |number: u64| heard.contains_key(&(number, false)) || refused.contains(&number);
        speaker_now.says.retain(|number, _| !answered(*number));
        speaker_now.says.values_mut().for_each(|(.., again)| *again = true);
        let numbers: Vec<_> = speaker_now.says.keys().copied().collect();
        // A say before the answer to its join is refused: it comes behind that.
        self.servers[to].net.asleep = None;
        self.servers[to].net.settle();
        numbers.into_iter().for_each(|number| self.say(speaker, number));
    }

    pub(crate) fn apply(&mut self, op: &Op) {
        let Self { broker, servers, .. } = self;
        match *op {
            Op::Say { speaker, room, size } => {
                self.number += 1;
                self.speakers[speaker].says.insert(self.number, (room, size, false));
                self.say(speaker, self.number);
            }
            Op::Cut { speaker, server, engine } => self.cut(speaker, server, engine),
            Op::Turn { server, piece, letters } => drop(servers[server].net.turn(piece, letters)),
            Op::Sleep { server, engine } => servers[server].net.asleep = engine,
            Op::Publish { server, count } => several(count, || servers[server].publish()),
            Op::Arrive { server, count } => several(count, || servers[server].arrive(broker)),
            Op::Refuse { server } => servers[server].refuse(broker),
            Op::Feed { server, count } => {
                several(count, || servers[server].feed(broker, &mut self.strange));
            }
            Op::Link { server } => servers[server].link(broker),
            Op::Lose { server } => servers[server].lose(broker),
            Op::Late { which, count } => {
                let which = which % broker.late.len().max(1);
                let late = broker.late.get_mut(which);
                let come = late.into_iter().flat_map(|late| late.drain(..count.min(late.len())));
                broker.log.extend(come.map(|(_, stored)| Ok(stored)));
            }
            // It makes room for what comes: that stays.
            Op::Evict { count } => {
                broker.first = (broker.first + count).min(broker.log.len().saturating_sub(1));
            }
            Op::Wipe => {
                servers.iter_mut().for_each(|server| server.lose(broker));
                *broker = Broker { born: broker.born + 1, ..Broker::default() };
            }
            // Chance could make a header, but no frame behind it.
            Op::Strange { ref bytes } => broker.log.push(Err(bytes.clone())),
        }
    }

    /// Everything that is under way arrives, over links that stand.
    pub(crate) fn heal(&mut self) {
        for late in core::mem::take(&mut self.broker.late) {
            self.broker.log.extend(late.into_iter().map(|(_, stored)| Ok(stored)));
        }
        let mut moved = true;
        while core::mem::take(&mut moved) {
            for server in &mut self.servers {
                server.net.asleep = None;
                server.net.settle();
                server.link(&self.broker);
                while server.publish() || server.arrive(&mut self.broker) {
                    moved = true;
                }
                while server.feed(&self.broker, &mut self.strange) {
                    moved = true;
                }
                server.net.settle();
                if server.read < server.target && server.bridge().has_room() {
                    // What it reads for is gone: a host does not wait for it for ever.
                    server.lose(&mut self.broker);
                    moved = true;
                }
            }
        }
    }

    pub(crate) fn check(&mut self) {
        for server in &mut self.servers {
            assert_eq!(server.heard(server.listener), server.expected, "server {}", server.id);
            assert_eq!(server.bridge().pending(), 0);
            for all in server.expected.values() {
                let mut once = BTreeSet::new();
                let mut unmarked =
                    all.iter().filter(|heard| matches!(heard, Heard::Said { again: false, .. }));
                assert!(unmarked.all(|heard| once.insert(heard)), "a repeat that is not marked");
            }
            let footprint = server.bridge().footprint();
            assert!(footprint < (ENGINES + 1) * (256 << 10) + 4096, "{footprint} bytes");
        }
        let strange: u64 = self.servers.iter_mut().map(|server| server.bridge().strange()).sum();
        assert_eq!(strange, self.strange);
        for speaker in &self.speakers {
            let (heard, refused) = self.servers[speaker.server].answers(speaker.peer, speaker.id);
            for (&number, &(.., again)) in &speaker.says {
                let answers = heard.get(&(number, again)).copied().unwrap_or(0);
                let answers = answers + u32::from(refused.contains(&number));
                assert_eq!(answers, 1, "{number} of {} has {answers} answers", speaker.id);
                if refused.contains(&number) {
                    let said = Heard::Said { from: speaker.id, number, again };
                    let mut all = self.servers.iter().flat_map(|s| s.expected.values());
                    assert!(!all.any(|all| all.contains(&said)), "refused, and heard");
                }
            }
        }
    }
}

/// So many steps, or as many as there are.
fn several(count: usize, mut step: impl FnMut() -> bool) {
    for _ in 0..count {
        if !step() {
            return;
        }
    }
}
