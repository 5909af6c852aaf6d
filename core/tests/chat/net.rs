//! A service of several engines and its peers, without a network: every queue can be delayed,
//! every send cut, every reader stuck.

use drywire::Tick;
use drywire::chat::codec::{self, Event};
use drywire::chat::{Config, Server, Shared, limits};
use drywire::conn::{CloseReason, Job, Limits, Peer, Place, Wants};
use drywire::engine::{ConnId, Engine, Letter};
use drywire::fanout::{self, Bridge};
use drywire::frame::frames;
use std::collections::VecDeque;
use std::time::Duration;

pub(crate) struct Net {
    pub(crate) engines: Vec<Engine<Server>>,
    pub(crate) now: Tick,
    pub(crate) peers: Vec<Client>,
    /// An engine whose thread does not get to run.
    pub(crate) asleep: Option<usize>,
    /// What stands for other servers, if rooms are shared with them.
    pub(crate) bridge: Option<Bridge>,
    mail: VecDeque<Letter>,
}

/// One peer, and everything it heard.
pub(crate) struct Client {
    pub(crate) engine: usize,
    pub(crate) id: ConnId,
    pub(crate) extended: bool,
    pub(crate) heard: Vec<u8>,
    pub(crate) stuck: bool,
    pub(crate) ended: bool,
    pub(crate) closed: Option<CloseReason>,
    pub(crate) closed_at: Tick,
    input: VecDeque<u8>,
}

impl Net {
    pub(crate) fn new(count: usize, fanout: fanout::Config) -> Self {
        Self::with(count, fanout, Config::default())
    }

    pub(crate) fn with(count: usize, fanout: fanout::Config, config: Config) -> Self {
        let engine = |index| {
            let shared = Shared::new(config.clone(), fanout.clone());
            let limits = Limits { output_low: 2 << 10, ..limits() };
            let mut engine = Engine::new(shared, limits, 100_000);
            engine.seat(Place { index, count });
            engine
        };
        let engines = (0..count).map(engine).collect();
        let bridge = fanout.bridged.then(|| Bridge::new(count, fanout.process, codec::redraft));
        let (now, peers, mail) = (Tick::from_secs(1), Vec::new(), VecDeque::new());
        Self { engines, now, peers, asleep: None, bridge, mail }
    }

    /// A new peer; with a name it says hello.
    pub(crate) fn connect(&mut self, engine: usize, name: Option<(u64, &str)>) -> usize {
        let id = self.engines[engine].accept(self.now, &Peer::Virtual(1)).expect("room");
        let mut input = Vec::new();
        if let Some((id, name)) = name {
            codec::encode_hello(&mut input, id, name.as_bytes());
        }
        self.peers.push(Client {
            engine,
            id,
            extended: name.is_some(),
            heard: Vec::new(),
            stuck: false,
            ended: false,
            closed: None,
            closed_at: Tick::ZERO,
            input: input.into(),
        });
        self.peers.len() - 1
    }

    pub(crate) fn request(&mut self, peer: usize, request: codec::Request<'_>) {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        self.send(peer, &bytes);
    }

    pub(crate) fn say_plainly(&mut self, peer: usize, text: &[u8]) {
        self.send(peer, &(text.len() as u32).to_be_bytes());
        self.send(peer, text);
    }

    pub(crate) fn send(&mut self, peer: usize, bytes: &[u8]) {
        if !self.peers[peer].ended {
            self.peers[peer].input.extend(bytes);
        }
    }

    pub(crate) fn end(&mut self, peer: usize) {
        self.peers[peer].ended = true;
    }

    pub(crate) fn reset(&mut self, peer: usize) {
        let Client { engine, id, .. } = self.peers[peer];
        self.engines[engine].release(id, self.now);
        self.peers[peer].closed.get_or_insert(CloseReason::Local);
        self.peers[peer].ended = true;
    }

    /// One turn of every peer, with pieces of at most `piece` bytes; then at most `letters` are
    /// carried. Whether anything moved.
    pub(crate) fn turn(&mut self, piece: usize, letters: usize) -> bool {
        let mut moved = false;
        let asleep = self.asleep;
        for (_, engine) in self.engines.iter_mut().enumerate().filter(|(i, _)| Some(*i) != asleep) {
            if engine.deadline().is_some_and(|due| due.at <= self.now) {
                engine.tick(self.now);
            }
            while let Some((id, job)) = engine.next_job(self.now) {
                engine.complete(self.now, id, job.run());
                moved = true;
            }
            while engine.next_dirty(self.now).is_some() {}
        }
        for peer in 0..self.peers.len() {
            moved |= self.peer_turn(peer, piece);
        }
        for engine in &mut self.engines {
            self.mail.extend(std::iter::from_fn(|| engine.next_mail()));
        }
        if let Some(bridge) = &mut self.bridge {
            self.mail.extend(std::iter::from_fn(|| bridge.next_mail()));
        }
        let mut kept = VecDeque::new();
        for _ in 0..letters.min(self.mail.len()) {
            let letter = self.mail.pop_front().expect("counted");
            if Some(letter.to()) == asleep {
                kept.push_back(letter);
                continue;
            }
            match (self.engines.get_mut(letter.to()), &mut self.bridge) {
                (Some(engine), _) => engine.receive_mail(self.now, letter),
                (None, bridge) => bridge.as_mut().expect("mail to a bridge").receive(letter),
            }
            moved = true;
        }
        kept.append(&mut self.mail);
        self.mail = kept;
        moved
    }

    fn peer_turn(&mut self, peer: usize, piece: usize) -> bool {
        let now = self.now;
        let client = &mut self.peers[peer];
        if client.closed.is_some() || Some(client.engine) == self.asleep {
            return false;
        }
        let (engine, id) = (&mut self.engines[client.engine], client.id);
        let mut moved = false;
        let wants = engine.wants(id);
        if wants.has(Wants::AGAIN) {
            engine.resume(id, now);
            moved = true;
        }
        if wants.has(Wants::READ) && !client.input.is_empty() {
            let n = piece.min(client.input.len());
            let bytes: Vec<u8> = client.input.iter().take(n).copied().collect();
            client.input.drain(..engine.receive(id, now, &bytes));
            moved = true;
        } else if wants.has(Wants::READ) && client.ended && client.input.is_empty() {
            engine.end_of_input(id, now);
            moved = true;
        }
        if engine.wants(id).has(Wants::WRITE) && !client.stuck {
            let mut left = piece;
            let before = client.heard.len();
            for slice in engine.outgoing(id) {
                let n = left.min(slice.len());
                client.heard.extend_from_slice(&slice[..n]);
                left -= n;
            }
            engine.sent(id, now, client.heard.len() - before);
            moved = true;
        }
        if engine.wants(id).has(Wants::SHUTDOWN) {
            engine.was_shut_down(id, now);
            client.ended = true;
            moved = true;
        }
        if engine.wants(id).has(Wants::CLOSE) {
            client.closed = engine.close_reason(id);
            client.closed_at = now;
            engine.release(id, now);
            moved = true;
        }
        moved
    }

    /// Turns until nothing moves. Panics if that never comes (I4).
    pub(crate) fn settle(&mut self) {
        for _ in 0..100_000 {
            if !self.turn(usize::MAX, usize::MAX) {
                return;
            }
        }
        panic!("it never settles");
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let awake = self.engines.iter().enumerate().filter(|(i, _)| Some(*i) != self.asleep);
            let due = awake.filter_map(|(_, engine)| engine.deadline()).map(|d| d.at).min();
            match due.filter(|at| *at <= end) {
                Some(at) => self.now = at.max(Tick(self.now.0 + 1)),
                None => break,
            }
        }
        self.now = end;
        self.settle();
    }

    /// The payloads of all whole frames a peer heard; for an extended one those from its welcome
    /// on.
    pub(crate) fn payloads(&self, peer: usize) -> Vec<&[u8]> {
        let client = &self.peers[peer];
        let codec = codec::extended();
        let mut state = Default::default();
        let all = frames(&codec, &mut state, &client.heard).map(|f| f.expect("a frame").payload);
        let plain = |payload: &&[u8]| client.extended && !payload.starts_with(codec::MAGIC);
        all.skip_while(plain).collect()
    }

    pub(crate) fn events(&self, peer: usize) -> Vec<Event<'_>> {
        self.payloads(peer).into_iter().map(|p| Event::parse(p).expect("an event")).collect()
    }

    /// Messages between engines that were not delivered.
    pub(crate) fn mail(&self) -> usize {
        self.mail.iter().map(Letter::count).sum()
    }

    /// Bytes held by all engines: connections, rooms, queues.
    pub(crate) fn footprint(&self) -> usize {
        let engines = self.engines.iter();
        engines.map(|e| e.footprint() + e.world().shared.exchange().footprint()).sum()
    }
}
