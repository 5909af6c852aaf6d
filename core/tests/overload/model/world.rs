//! One core that reads, refuses and works, in virtual time; the engine on it is the real one.

use super::report::{End, Report, Request};
use super::service::{ANSWER, Desk, Policy, Service};
use super::{Chance, Kind, Load, Shape};
use drywire::Tick;
use drywire::conn::{Limits, Peer, Wants};
use drywire::engine::{ConnId, Engine};
use drywire::guard::AdmitConfig;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

/// The server of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub policy: Policy,
    /// Mean service time, in ns.
    pub service: u64,
    pub shape: Shape,
    /// What looking at a request and refusing one cost, as fractions of the service time.
    pub parse: f64,
    pub refuse: f64,
    /// What a read and a write cost whatever is in them, in ns: part of the service time of a
    /// request that comes alone.
    pub read: u64,
    pub write: u64,
    /// How long the core works, when it has looked at all connections, before it looks again.
    pub slice: u64,
    /// How often the core is taken away from this process, and for how long, in ns.
    pub away: Option<(u64, u64)>,
    /// How often the clients are away, and for how long: what is due then is sent after it.
    pub clients_away: Option<(u64, u64)>,
    /// [`Limits::refusal_pause`].
    pub pause: Duration,
    /// [`Limits::refusal_pause_from`].
    pub pause_from: u32,
    pub conns: usize,
    pub seed: u64,
}

impl Setup {
    /// 100 us of exponentially distributed work, 1 % to look at a request, 1 % to refuse it.
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            policy,
            service: 100_000,
            shape: Shape::Exponential,
            parse: 0.01,
            refuse: 0.01,
            read: 0,
            write: 0,
            slice: 0,
            away: None,
            clients_away: None,
            pause: Duration::ZERO,
            pause_from: 16,
            conns: 100,
            seed: 1,
        }
    }

    /// As [`Setup::new`], for a service of 61 us on real sockets: a read costs 2 us, a write 5 us,
    /// what is in them 0.4 % of a service time to look at and as much to refuse, and the core looks
    /// at its sockets twice a millisecond. Clients give up after 50 ms.
    pub(crate) fn on_sockets(pause: Duration) -> Self {
        let admit = AdmitConfig::for_deadline_after(Duration::from_millis(50), pause);
        Self {
            service: 61_000,
            read: 2_000,
            write: 5_000,
            parse: 0.004,
            refuse: 0.004,
            slice: 500_000,
            pause,
            ..Self::new(Policy::Guard(admit))
        }
    }

    pub(crate) fn run(self, load: &Load) -> Report {
        World::new(self, load).run()
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The next arrival of an open stream.
    Stream(usize),
    /// A request is sent.
    Send(u64),
    /// Its client gives up on it.
    Timeout(u64),
    /// A closed-loop client is done thinking.
    Client(u32),
}

struct Link {
    id: ConnId,
    /// Bytes in the kernel of the server.
    inbox: VecDeque<u8>,
    queued: bool,
    answer: Vec<u8>,
}

pub(crate) struct World<'a> {
    setup: Setup,
    load: &'a Load,
    engine: Engine<Service>,
    links: Vec<Link>,
    /// Which link each slot of the engine belongs to.
    by_slot: Vec<usize>,
    /// Links with something to read, in turn.
    ready: VecDeque<usize>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    chance: Chance,
    /// The time: when the core is free.
    now: u64,
    /// Until when it works and does not look.
    slice_end: u64,
    next_away: u64,
    requests: Vec<Request>,
    calls: u32,
}

impl<'a> World<'a> {
    pub(crate) fn new(setup: Setup, load: &'a Load) -> Self {
        let conns = match load.kind {
            Kind::Closed { clients, .. } => clients,
            Kind::Open(_) | Kind::Flood { .. } => setup.conns,
        };
        let limits = Limits {
            refusal_pause: setup.pause,
            refusal_pause_from: setup.pause_from,
            ..Limits::default()
        };
        let mut engine = Engine::new(Desk::new(setup.policy), limits, conns);
        let mut by_slot = vec![0; conns];
        let links: Vec<Link> = (0..conns)
            .map(|i| {
                let id = engine.accept(Tick::ZERO, &Peer::Virtual(i as u64)).expect("room");
                by_slot[id.slot as usize] = i;
                Link { id, inbox: VecDeque::new(), queued: false, answer: Vec::new() }
            })
            .collect();
        Self {
            setup,
            load,
            engine,
            links,
            by_slot,
            ready: VecDeque::new(),
            events: BinaryHeap::new(),
            sequence: 0,
            chance: Chance(setup.seed),
            now: 0,
            slice_end: 0,
            next_away: 0,
            requests: Vec::new(),
            calls: 0,
        }
    }

    fn run(mut self) -> Report {
        match self.load.kind {
            Kind::Open(_) => self.at(0, Event::Stream(0)),
            Kind::Flood { .. } => {
                self.at(0, Event::Stream(0));
                self.at(0, Event::Stream(1));
            }
            Kind::Closed { clients, think } => {
                for client in 0..clients {
                    let at = self.chance.exponential(think) as u64;
                    self.at(at, Event::Client(client as u32));
                }
            }
        }
        while self.step() {}
        let desk = &self.engine.world().shared;
        let waiting = self.requests.iter().filter(|r| r.end == End::Waiting).count();
        assert_eq!(waiting, 0, "each request is answered once (I1)");
        Report {
            longest_queue: desk.longest,
            requests: self.requests,
            deadline: self.load.deadline,
            service: self.setup.service,
            parse: self.setup.parse,
            refuse: self.setup.refuse,
        }
    }

    fn at(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at, self.sequence, event)));
    }

    /// One step of the core: what the clients did meanwhile, then a connection's turn, or else a
    /// piece of work, or else sleep.
    fn step(&mut self) -> bool {
        if let Some((every, long)) = self.setup.away
            && self.now >= self.next_away
        {
            self.next_away = self.now + every;
            self.now += long;
        }
        while let Some(Reverse((at, ..))) = self.events.peek()
            && *at <= self.now
        {
            let Some(Reverse((at, _, event))) = self.events.pop() else { return false };
            self.happen(at, event);
        }
        let due = self.engine.deadline().map(|due| due.at.0);
        if due.is_some_and(|due| due <= self.now) {
            self.engine.tick(Tick(self.now));
            self.touched();
        }
        if self.now < self.slice_end && self.work() {
            return true;
        }
        if let Some(link) = self.ready.pop_front() {
            self.turn(link);
            if self.ready.is_empty() {
                let gathers = self.engine.gathers_until(Tick(self.now));
                self.slice_end = (self.now + self.setup.slice).max(gathers.map_or(0, |at| at.0));
            }
        } else if !self.work() {
            let next = self.events.peek().map(|Reverse((at, ..))| *at);
            let due = self.engine.deadline().map(|due| due.at.0);
            match next.into_iter().chain(due).min() {
                Some(at) => self.now = self.now.max(at),
                None => return false,
            }
        }
        true
    }

    fn happen(&mut self, at: u64, event: Event) {
        match event {
            Event::Stream(stream) => {
                let (rate, conn) = match &self.load.kind {
                    Kind::Open(profile) => {
                        let rate = profile.iter().find(|(until, _)| at < *until);
                        let Some(&(until, rate)) = rate else { return };
                        if rate == 0.0 {
                            return self.at(until, Event::Stream(stream));
                        }
                        (rate, self.chance.bits() as usize % self.links.len())
                    }
                    Kind::Flood { flooder, .. } if stream == 0 => (*flooder, 0),
                    Kind::Flood { polite, .. } => {
                        (*polite, 1 + self.chance.bits() as usize % (self.links.len() - 1))
                    }
                    Kind::Closed { .. } => return,
                };
                if at >= self.load.until {
                    return;
                }
                self.new_call(at, conn as u32);
                let gap = self.chance.exponential(self.setup.service as f64 / rate);
                self.at(at + (gap as u64).max(1), Event::Stream(stream));
            }
            Event::Client(client) if at < self.load.until => self.new_call(at, client),
            Event::Client(_) => {}
            Event::Send(number) => {
                let Setup { service, read, write, .. } = self.setup;
                let work = self.setup.shape.draw(&mut self.chance, service - read - write);
                let index = self.requests[number as usize].conn as usize;
                let link = &mut self.links[index];
                link.inbox.extend(number.to_be_bytes());
                link.inbox.extend(work.to_be_bytes());
                self.make_ready(index);
                if self.load.retries > 0 {
                    self.at(at + self.load.deadline, Event::Timeout(number));
                }
            }
            Event::Timeout(number) => {
                if self.requests[number as usize].end == End::Waiting {
                    self.retry(at, number);
                }
            }
        }
    }

    fn new_call(&mut self, at: u64, conn: u32) {
        let call = self.calls;
        self.calls += 1;
        self.new_request(Request { at, done: 0, end: End::Waiting, conn, call, attempt: 0 });
    }

    fn new_request(&mut self, request: Request) {
        let sent = self
            .setup
            .clients_away
            .map_or(request.at, |(every, long)| request.at.max(request.at / every * every + long));
        self.at(sent, Event::Send(self.requests.len() as u64));
        self.requests.push(request);
    }

    fn retry(&mut self, at: u64, number: u64) {
        let failed = self.requests[number as usize];
        if failed.attempt < self.load.retries {
            let attempt = failed.attempt + 1;
            self.new_request(Request { at, attempt, end: End::Waiting, ..failed });
        }
    }

    fn make_ready(&mut self, index: usize) {
        let link = &mut self.links[index];
        if !link.queued {
            link.queued = true;
            self.ready.push_back(index);
        }
    }

    /// A connection's turn: what the host loops do.
    fn turn(&mut self, index: usize) {
        let now = Tick(self.now);
        let link = &mut self.links[index];
        link.queued = false;
        let desk = &self.engine.world().shared;
        let (parsed, refused) = (desk.parsed, desk.refused);
        if self.engine.wants(link.id).has(Wants::AGAIN) {
            self.engine.resume(link.id, now);
        } else {
            let n = self.engine.receive(link.id, now, link.inbox.make_contiguous());
            link.inbox.drain(..n);
            self.now += if n > 0 { self.setup.read } else { 0 };
        }
        let id = link.id;
        self.charge(parsed, refused);
        self.flush(index);
        let wants = self.engine.wants(id);
        let readable = wants.has(Wants::READ) && !self.links[index].inbox.is_empty();
        if readable || wants.has(Wants::AGAIN) {
            self.make_ready(index);
        }
    }

    /// The next job, if there is one.
    fn work(&mut self) -> bool {
        let refused = self.engine.world().shared.refused;
        let job = self.engine.next_job(Tick(self.now));
        self.charge(self.engine.world().shared.parsed, refused);
        let worked = job.is_some();
        if let Some((id, job)) = job {
            self.now += job.ns;
            let output = drywire::conn::Job::run(job);
            self.engine.complete(Tick(self.now), id, output);
        }
        self.touched() || worked
    }

    /// Whether there were connections that something other than their input touched: their turn.
    fn touched(&mut self) -> bool {
        let mut any = false;
        while let Some(id) = self.engine.next_dirty(Tick(self.now)) {
            any = true;
            let index = self.by_slot[id.slot as usize];
            let link = &self.links[index];
            if link.inbox.is_empty() || link.queued { self.flush(index) } else { self.turn(index) }
        }
        any
    }

    /// The time that reading and refusing took.
    fn charge(&mut self, parsed: u64, refused: u64) {
        let desk = &self.engine.world().shared;
        let cost = (desk.parsed - parsed) as f64 * self.setup.parse
            + (desk.refused - refused) as f64 * self.setup.refuse;
        self.now += (cost * self.setup.service as f64) as u64;
    }

    /// Everything outgoing reaches the client at once, if it is to be written now.
    fn flush(&mut self, index: usize) {
        let link = &mut self.links[index];
        if !self.engine.wants(link.id).has(Wants::WRITE) {
            return;
        }
        let mut answers = std::mem::take(&mut link.answer);
        for slice in self.engine.outgoing(link.id) {
            answers.extend_from_slice(slice);
        }
        self.now += self.setup.write;
        self.engine.sent(link.id, Tick(self.now), answers.len());
        for answer in answers.chunks_exact(ANSWER) {
            let number = u64::from_be_bytes(answer[..8].try_into().unwrap());
            self.hear(number, answer[8] == 1);
        }
        answers.clear();
        self.links[index].answer = answers;
    }

    fn hear(&mut self, number: u64, done: bool) {
        let now = self.now;
        let request = &mut self.requests[number as usize];
        assert_eq!(request.end, End::Waiting, "answered twice (I1)");
        request.end = if done { End::Done } else { End::Refused };
        request.done = now;
        let in_time = now - request.at <= self.load.deadline;
        let conn = request.conn;
        if let Kind::Closed { think, .. } = self.load.kind {
            let at = now + self.chance.exponential(think) as u64;
            self.at(at, Event::Client(conn));
        }
        // Of one that timed out the next attempt is on its way already.
        if !done && in_time {
            self.retry(now, number);
        }
    }
}
