//! Any drywire engine as a node: the simulator's host loop.

mod depart;
mod node;
mod watch;

use crate::decide::{Key, Site};
use crate::io::Io;
use crate::net::LinkId;
use crate::violation::Violation;
use core::fmt;
use core::time::Duration;
use depart::Departure;
use drywire::conn::{Place, Scratch, Wants};
use drywire::engine::{ConnId, Done, Letter, Machine, Work};
use drywire::guard::DrainConfig;
use std::collections::{BTreeMap, VecDeque};

/// Names the phase of a connection.
pub type Phase<M> = fn(&M, ConnId) -> &'static str;
/// Names what a machine should not hold once everybody has gone.
pub type Leftover<M> = fn(&M) -> Option<String>;

/// A server: an engine, and a host loop that is as lazy as the contract of [`Machine`] allows.
///
/// It moves bytes and obeys `wants`; it knows no protocol. Which of the two ways of feeding is
/// used, how many bytes at a time, and when a job finishes are decisions. With several engines, as
/// of a host with a loop on each thread, so are the engine of a connection and how long each
/// letter between two engines takes; letters of one engine to another keep their order.
pub struct Serve<M> {
    /// One for each loop of the host.
    machines: Vec<M>,
    scratch: Scratch,
    /// By link.
    tenants: Vec<Option<Tenant>>,
    /// By machine and slot.
    links: Vec<Vec<LinkId>>,
    /// Letters under way, by sender and receiver.
    mail: BTreeMap<(usize, usize), VecDeque<Letter>>,
    letters: u32,
    departure: Departure,
    leftover: Leftover<M>,
    held: fn(&M) -> usize,
    cap: usize,
    total_cap: usize,
    phase: Phase<M>,
    workers: usize,
    /// What a quick job takes, in nanoseconds.
    quick: u64,
    /// How often it may be doubled.
    doubled: u64,
    /// Jobs that ran and whose results are on their way back, by turn token.
    results: Vec<Option<(usize, Done)>>,
    life: u32,
    remark: u64,
    storing: bool,
    /// Calls into the machine that were written down.
    calls: u64,
}

#[derive(Debug)]
struct Tenant {
    /// The machine.
    at: usize,
    id: ConnId,
    fed: u64,
    sent: u64,
    produced: u64,
    /// A turn is on its way.
    again: bool,
    /// The peer's end was passed on.
    ended: bool,
    /// Since when something waits for the peer of which it took nothing.
    stuck: Option<u64>,
    /// Since when it has not taken everything.
    behind: Option<u64>,
}

const FEED: Site = Site::new("serve.feed");
const WORK: Site = Site::new("serve.work");
const LOOP: Site = Site::new("serve.loop");
const MAIL: Site = Site::new("serve.mail");
/// A quick job if nothing else is said, in nanoseconds, and how often it may be doubled.
const JOB: u64 = 10_000;
const DOUBLED: u64 = 16;
/// No job takes longer.
pub const LONGEST_JOB: Duration = Duration::from_nanos(JOB << DOUBLED);
/// A letter takes up to 2^20 ns.
const LATE: u64 = 20;
/// No letter between engines takes longer.
pub const LONGEST_MAIL: Duration = Duration::from_nanos(1 << LATE);
/// Turn tokens from here on are letters: sender and receiver.
const LETTERS: u32 = 1 << 30;
/// Turn tokens from here on are results of jobs.
const RESULTS: u32 = 1 << 31;
/// Steps in one call from which on the loop is said to spin.
const SPIN: u32 = 100_000;

impl<M: Machine> Serve<M> {
    /// A machine that serves every link opened to this node.
    pub fn new(machine: M) -> Self {
        Self::several(vec![machine])
    }

    /// The machines of one service, which share the links and write each other.
    ///
    /// # Panics
    /// Without a machine.
    pub fn several(mut machines: Vec<M>) -> Self {
        let count = machines.len();
        if count > 1 {
            for (index, machine) in machines.iter_mut().enumerate() {
                machine.seat(Place { index, count });
            }
        }
        let limits = *machines[0].limits();
        Self {
            machines,
            mail: BTreeMap::new(),
            letters: 0,
            leftover: |_| None,
            held: M::footprint,
            scratch: Scratch::new(&limits),
            tenants: Vec::new(),
            links: vec![Vec::new(); count],
            departure: Departure::default(),
            cap: usize::MAX,
            total_cap: usize::MAX,
            phase: node::by_wants,
            workers: 1,
            quick: JOB,
            doubled: DOUBLED,
            results: Vec::new(),
            life: 0,
            remark: 0,
            storing: false,
            calls: 0,
        }
    }

    /// Goes away in steps when it is drained, as `config` says, instead of at once.
    #[must_use]
    pub fn departing(self, config: DrainConfig) -> Self {
        Self { departure: Departure { config: Some(config), ..self.departure }, ..self }
    }

    /// Tells in which phase a connection is, better than `wants` can.
    #[must_use]
    pub fn phases(self, phase: Phase<M>) -> Self {
        Self { phase, ..self }
    }

    /// Holds each connection to `cap` bytes, checked after every event on it.
    #[must_use]
    pub fn cap(self, cap: usize) -> Self {
        Self { cap, ..self }
    }

    /// Holds all machines together to `total_cap` bytes, of what `held` finds in each.
    #[must_use]
    pub fn total_cap(self, total_cap: usize, held: fn(&M) -> usize) -> Self {
        Self { total_cap, held, ..self }
    }

    /// Runs so many jobs at a time.
    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// What a quick job takes; a slow one takes up to 2^16 times as much, and [`LONGEST_JOB`] at
    /// most. 10 us if not said.
    #[must_use]
    pub fn quick(self, quick: Duration) -> Self {
        Self { quick: u64::try_from(quick.as_nanos()).unwrap_or(u64::MAX), ..self }
    }

    /// Every job is a quick one.
    #[must_use]
    pub fn steady(self) -> Self {
        Self { doubled: 0, ..self }
    }

    /// Which life of the server this is, for transcripts.
    #[must_use]
    pub fn life(self, life: u32) -> Self {
        Self { life, ..self }
    }

    /// A number for the checkers, entered in every transcript.
    #[must_use]
    pub fn remark(self, remark: u64) -> Self {
        Self { remark, ..self }
    }

    /// Finds in a machine what should not be left once everybody has gone.
    #[must_use]
    pub fn leftover(self, leftover: Leftover<M>) -> Self {
        Self { leftover, ..self }
    }

    /// The (first) machine.
    pub fn inner(&self) -> &M {
        &self.machines[0]
    }

    fn tenant(&mut self, link: LinkId) -> Option<&mut Tenant> {
        self.tenants.get_mut(link.0 as usize)?.as_mut()
    }

    /// Does whatever can be done for one connection now.
    fn pump(&mut self, io: &mut Io<'_>, link: LinkId) {
        for _ in 0..SPIN {
            let Some((at, id)) = self.tenant(link).map(|t| (t.at, t.id)) else { return };
            let wants = self.machines[at].wants(id);
            if wants.has(Wants::CLOSE) {
                let reason = self.machines[at].close_reason(id);
                io.note(Some(link), || match reason {
                    Some(reason) => format!("over: {reason}"),
                    None => "over".to_owned(),
                });
                match reason {
                    // Something owed is lost: the peer must be able to see that.
                    Some(reason) if reason.breaks_off() => io.reset(link),
                    _ => {
                        if let Some(transcript) = io.transcript(link) {
                            transcript.in_peace = true;
                        }
                        io.close(link);
                    }
                }
                self.release(io, link);
                return;
            }
            let mut moved = false;
            if wants.has(Wants::WRITE) {
                moved |= self.send(io, link, (at, id));
            }
            if wants.has(Wants::SHUTDOWN) {
                io.finish(link);
                self.machines[at].was_shut_down(id, io.now());
                moved = true;
            }
            if wants.has(Wants::READ) {
                moved |= self.feed(io, link, (at, id));
            }
            if !moved {
                if wants.has(Wants::AGAIN)
                    && let Some(t) = self.tenant(link)
                    && !t.again
                {
                    t.again = true;
                    io.again(link.0);
                }
                return;
            }
        }
        io.fail(Violation::new("live", "the host loop spins: the engine wants and never has"));
    }

    fn send(&mut self, io: &mut Io<'_>, link: LinkId, (at, id): (usize, ConnId)) -> bool {
        let unsent: usize = self.machines[at].outgoing(id).map(<[u8]>::len).sum();
        if self.tenant(link).is_some_and(|t| t.sent + unsent as u64 > t.produced) {
            // It came from others, since the last look.
            self.look(io, link);
        }
        let mut sent = 0;
        for slice in self.machines[at].outgoing(id) {
            let n = io.write(link, slice);
            sent += n;
            if n < slice.len() {
                break;
            }
        }
        if sent > 0 {
            self.machines[at].sent(id, io.now(), sent);
            if let Some(t) = self.tenant(link) {
                t.sent += sent as u64;
            }
            self.took_some(io, link);
            self.look(io, link);
        }
        sent > 0
    }

    fn feed(&mut self, io: &mut Io<'_>, link: LinkId, (at, id): (usize, ConnId)) -> bool {
        let waiting = io.input(link).len();
        if waiting == 0 {
            return false;
        }
        let key = io.key(link);
        let way = io.below(FEED, key, 2);
        let now = io.now();
        let taken = if way == 1 {
            // As a host reads from a socket: into the shared scratch buffer.
            let room = self.machines[at].room(id, &mut self.scratch);
            let n = waiting.min(room.len());
            room[..n].copy_from_slice(&io.input(link)[..n]);
            if n > 0 {
                self.machines[at].ingest(id, now, &self.scratch, n);
            }
            n
        } else {
            self.machines[at].receive(id, now, io.input(link))
        };
        io.take(link, taken);
        if let Some(t) = self.tenant(link) {
            t.fed += taken as u64;
        }
        self.look(io, link);
        taken > 0
    }

    /// What follows every call: connections that others touched, and jobs.
    fn settle(&mut self, io: &mut Io<'_>) {
        for _ in 0..SPIN {
            let mut moved = false;
            for at in 0..self.machines.len() {
                moved |= self.settle_one(io, at);
            }
            if !moved {
                return;
            }
        }
        io.fail(Violation::new("live", "connections stay dirty for ever"));
    }

    fn settle_one(&mut self, io: &mut Io<'_>, at: usize) -> bool {
        let mut moved = false;
        // First, because a job that waited too long is refused here: that touches its connection.
        let workers = self.workers * self.machines.len();
        if self.results.iter().flatten().count() < workers
            && let Some(work) = self.machines[at].next_work(io.now())
        {
            self.work(io, at, work);
            moved = true;
        }
        while let Some(id) = self.machines[at].next_dirty(io.now()) {
            let link = self.links[at][id.slot as usize];
            if self.tenant(link).is_some_and(|t| t.at == at && t.id == id) {
                self.look(io, link);
                self.pump(io, link);
            }
            moved = true;
        }
        while let Some(letter) = self.machines[at].next_mail() {
            self.letters += 1;
            let (from, to) = (letter.from(), letter.to());
            let key = Key { who: (from << 8 | to) as u32, op: self.letters, nth: self.life };
            let late = io.decider().size(MAIL, key, LATE);
            let delay = if late == 0 { 0 } else { 1 << late };
            self.mail.entry((from, to)).or_default().push_back(letter);
            io.turn_after(delay, LETTERS + (from << 8 | to) as u32);
        }
        moved
    }

    /// The next letter arrives: the oldest, whichever was to arrive now.
    fn deliver(&mut self, io: &Io<'_>, (from, to): (usize, usize)) {
        // None if it was written in an earlier life.
        let letter = self.mail.get_mut(&(from, to)).and_then(VecDeque::pop_front);
        if let Some(letter) = letter {
            self.machines[to].receive_mail(io.now(), letter);
        }
    }

    /// Runs a job; its result comes back later, in any order.
    fn work(&mut self, io: &mut Io<'_>, at: usize, work: Work) {
        let id = work.id();
        let link = self.links[at][id.conn.slot as usize];
        let done = work.run();
        let slot = self.results.iter().position(Option::is_none).unwrap_or_else(|| {
            self.results.push(None);
            self.results.len() - 1
        });
        self.results[slot] = Some((at, done));
        let key = io.key(link);
        let slow = io.decider().size(WORK, key, self.doubled);
        let longest = u64::try_from(LONGEST_JOB.as_nanos()).unwrap_or(u64::MAX);
        io.turn_after((self.quick << slow).min(longest), RESULTS + slot as u32);
    }

    fn after(&mut self, io: &mut Io<'_>) {
        self.settle(io);
        self.depart(io);
    }

    fn release(&mut self, io: &mut Io<'_>, link: LinkId) {
        let now = io.now().0;
        self.took_some(io, link);
        if let Some(transcript) = io.transcript(link) {
            transcript.over.get_or_insert(now);
            transcript.released = Some(now);
        }
        if let Some(t) = self.tenants.get_mut(link.0 as usize).and_then(Option::take) {
            self.machines[t.at].release(t.id, io.now());
        }
    }
}

impl<M> fmt::Debug for Serve<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").field("tenants", &self.tenants).finish_non_exhaustive()
    }
}
