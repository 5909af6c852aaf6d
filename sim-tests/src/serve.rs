//! Any drywire engine as a node: the simulator's host loop.

use crate::decide::Site;
use crate::io::Io;
use crate::net::LinkId;
use crate::node::{Ending, Memory, Node};
use crate::transcript;
use crate::violation::Violation;
use core::fmt;
use core::time::Duration;
use drywire::Tick;
use drywire::conn::{CloseReason, FaultKind, Peer, Scratch, TransportError, Wants};
use drywire::engine::{ConnId, Done, Machine, Work};

/// Names the phase of a connection.
pub type Phase<M> = fn(&M, ConnId) -> &'static str;

/// A server: an engine, and a host loop that is as lazy as the contract of [`Machine`] allows.
///
/// It moves bytes and obeys `wants`; it knows no protocol. Which of the two ways of feeding is
/// used, how many bytes at a time, and when a job finishes are decisions.
pub struct Serve<M> {
    machine: M,
    scratch: Scratch,
    /// By link.
    tenants: Vec<Option<Tenant>>,
    /// By slot.
    links: Vec<LinkId>,
    cap: usize,
    total_cap: usize,
    phase: Phase<M>,
    workers: usize,
    /// What a quick job takes, in nanoseconds.
    quick: u64,
    /// Jobs that ran and whose results are on their way back, by turn token.
    results: Vec<Option<Done>>,
    life: u32,
    remark: u64,
    storing: bool,
    /// Calls into the machine that were written down.
    calls: u64,
}

#[derive(Debug)]
struct Tenant {
    id: ConnId,
    fed: u64,
    sent: u64,
    produced: u64,
    /// A turn is on its way.
    again: bool,
    /// The peer's end was passed on.
    ended: bool,
}

const FEED: Site = Site::new("serve.feed");
const WORK: Site = Site::new("serve.work");
/// A quick job if nothing else is said, in nanoseconds, and how often it may be doubled.
const JOB: u64 = 10_000;
const DOUBLED: u64 = 16;
/// No job takes longer.
pub const LONGEST_JOB: Duration = Duration::from_nanos(JOB << DOUBLED);
/// Turn tokens from here on are results of jobs.
const RESULTS: u32 = 1 << 31;
/// Steps in one call from which on the loop is said to spin.
const SPIN: u32 = 100_000;

impl<M: Machine> Serve<M> {
    /// A machine that serves every link opened to this node.
    pub fn new(machine: M) -> Self {
        let limits = *machine.limits();
        Self {
            machine,
            scratch: Scratch::new(&limits),
            tenants: Vec::new(),
            links: Vec::new(),
            cap: usize::MAX,
            total_cap: usize::MAX,
            phase: by_wants,
            workers: 1,
            quick: JOB,
            results: Vec::new(),
            life: 0,
            remark: 0,
            storing: false,
            calls: 0,
        }
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

    /// Holds all connections together to `cap` bytes.
    #[must_use]
    pub fn total_cap(self, total_cap: usize) -> Self {
        Self { total_cap, ..self }
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

    /// The machine.
    pub fn inner(&self) -> &M {
        &self.machine
    }

    fn tenant(&mut self, link: LinkId) -> Option<&mut Tenant> {
        self.tenants.get_mut(link.0 as usize)?.as_mut()
    }

    /// Does whatever can be done for one connection now.
    fn pump(&mut self, io: &mut Io<'_>, link: LinkId) {
        for _ in 0..SPIN {
            let Some(id) = self.tenant(link).map(|t| t.id) else { return };
            let wants = self.machine.wants(id);
            if wants.has(Wants::CLOSE) {
                let reason = self.machine.close_reason(id);
                io.note(Some(link), || match reason {
                    Some(reason) => format!("over: {reason}"),
                    None => "over".to_owned(),
                });
                match reason {
                    // Something owed is lost: the peer must be able to see that.
                    Some(CloseReason::SlowReader | CloseReason::Transport(_)) => io.reset(link),
                    _ => io.close(link),
                }
                self.release(io, link);
                return;
            }
            let mut moved = false;
            if wants.has(Wants::WRITE) {
                moved |= self.send(io, link, id);
            }
            if wants.has(Wants::SHUTDOWN) {
                io.finish(link);
                self.machine.was_shut_down(id, io.now());
                moved = true;
            }
            if wants.has(Wants::READ) {
                moved |= self.feed(io, link, id);
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

    fn send(&mut self, io: &mut Io<'_>, link: LinkId, id: ConnId) -> bool {
        let mut sent = 0;
        for slice in self.machine.outgoing(id) {
            let n = io.write(link, slice);
            sent += n;
            if n < slice.len() {
                break;
            }
        }
        if sent > 0 {
            self.machine.sent(id, io.now(), sent);
            if let Some(t) = self.tenant(link) {
                t.sent += sent as u64;
            }
            self.look(io, link);
        }
        sent > 0
    }

    fn feed(&mut self, io: &mut Io<'_>, link: LinkId, id: ConnId) -> bool {
        let waiting = io.input(link).len();
        if waiting == 0 {
            return false;
        }
        let key = io.key(link);
        let way = io.below(FEED, key, 2);
        let now = io.now();
        let taken = if way == 1 {
            // As a host reads from a socket: into the shared scratch buffer.
            let room = self.machine.room(id, &mut self.scratch);
            let n = waiting.min(room.len());
            room[..n].copy_from_slice(&io.input(link)[..n]);
            if n > 0 {
                self.machine.ingest(id, now, &self.scratch, n);
            }
            n
        } else {
            self.machine.receive(id, now, io.input(link))
        };
        io.take(link, taken);
        if let Some(t) = self.tenant(link) {
            t.fed += taken as u64;
        }
        self.look(io, link);
        taken > 0
    }

    /// Writes down what a call into the machine changed.
    fn look(&mut self, io: &mut Io<'_>, link: LinkId) {
        if !self.storing {
            return;
        }
        let Some(t) = self.tenants[link.0 as usize].as_mut() else { return };
        // Once it is ending, what it reads is thrown away.
        let caught_up =
            self.machine.wants(t.id).has(Wants::READ) && self.machine.close_reason(t.id).is_none();
        self.calls += 1;
        let (event, now) = (self.calls, io.now().0);
        let Some(transcript) = io.transcript(link) else { return };
        let mut skip = (t.produced - t.sent) as usize;
        for slice in self.machine.outgoing(t.id) {
            if skip < slice.len() {
                transcript.produced.extend_from_slice(&slice[skip..]);
            }
            skip = skip.saturating_sub(slice.len());
        }
        t.produced = transcript.produced.len() as u64;
        let (fed, produced) = (t.fed, t.produced);
        transcript.calls.push(transcript::Call { event, now, fed, produced, caught_up });
        match self.machine.close_reason(t.id) {
            None => {}
            Some(CloseReason::Fault(fault)) if fault.kind == FaultKind::TimedOut => {
                transcript.over.get_or_insert(now);
                transcript.timed_out.get_or_insert(now);
            }
            Some(_) => {
                transcript.over.get_or_insert(now);
            }
        }
    }

    /// What follows every call: connections that others touched, and jobs.
    fn settle(&mut self, io: &mut Io<'_>) {
        for _ in 0..SPIN {
            let mut moved = false;
            // First, because a job that waited too long is refused here: that touches its connection.
            if self.results.iter().flatten().count() < self.workers
                && let Some(work) = self.machine.next_work(io.now())
            {
                self.work(io, work);
                moved = true;
            }
            while let Some(id) = self.machine.next_dirty(io.now()) {
                let link = self.links[id.slot as usize];
                if self.tenant(link).is_some_and(|t| t.id == id) {
                    self.look(io, link);
                    self.pump(io, link);
                }
                moved = true;
            }
            if !moved {
                return;
            }
        }
        io.fail(Violation::new("live", "connections stay dirty for ever"));
    }

    /// Runs a job; its result comes back later, in any order.
    fn work(&mut self, io: &mut Io<'_>, work: Work) {
        let id = work.id();
        let link = self.links[id.conn.slot as usize];
        let done = work.run();
        let slot = self.results.iter().position(Option::is_none).unwrap_or_else(|| {
            self.results.push(None);
            self.results.len() - 1
        });
        self.results[slot] = Some(done);
        let key = io.key(link);
        let slow = io.decider().size(WORK, key, DOUBLED);
        let longest = u64::try_from(LONGEST_JOB.as_nanos()).unwrap_or(u64::MAX);
        io.turn_after((self.quick << slow).min(longest), RESULTS + slot as u32);
    }

    fn release(&mut self, io: &mut Io<'_>, link: LinkId) {
        let now = io.now().0;
        if let Some(transcript) = io.transcript(link) {
            transcript.over.get_or_insert(now);
        }
        if let Some(t) = self.tenants.get_mut(link.0 as usize).and_then(Option::take) {
            self.machine.release(t.id, io.now());
        }
    }
}

impl<M: Machine> Node for Serve<M> {
    fn start(&mut self, io: &mut Io<'_>) {
        self.storing = io.keeps_transcripts();
    }

    fn opened(&mut self, io: &mut Io<'_>, link: LinkId) {
        let Some(id) = self.machine.accept(io.now(), &Peer::Virtual(u64::from(link.0))) else {
            io.reset(link);
            return;
        };
        if self.tenants.len() <= link.0 as usize {
            self.tenants.resize_with(link.0 as usize + 1, || None);
        }
        let tenant = Tenant { id, fed: 0, sent: 0, produced: 0, again: false, ended: false };
        self.tenants[link.0 as usize] = Some(tenant);
        if self.links.len() <= id.slot as usize {
            self.links.resize(id.slot as usize + 1, link);
        }
        self.links[id.slot as usize] = link;
        if let Some(transcript) = io.transcript(link) {
            (transcript.life, transcript.remark) = (self.life, self.remark);
        }
        self.look(io, link);
        self.pump(io, link);
        self.settle(io);
    }

    fn readable(&mut self, io: &mut Io<'_>, link: LinkId) {
        self.pump(io, link);
        self.settle(io);
    }

    fn writable(&mut self, io: &mut Io<'_>, link: LinkId) {
        self.pump(io, link);
        self.settle(io);
    }

    fn ended(&mut self, io: &mut Io<'_>, link: LinkId, how: Ending) {
        let Some(t) = self.tenant(link) else { return };
        let id = t.id;
        if how == Ending::Fin {
            t.ended = true;
            self.machine.end_of_input(id, io.now());
            self.look(io, link);
            self.pump(io, link);
        } else {
            let error = match how {
                Ending::TimedOut => TransportError::TimedOut,
                _ => TransportError::Reset,
            };
            self.machine.abort(id, io.now(), CloseReason::Transport(error));
            self.release(io, link);
        }
        self.settle(io);
    }

    fn turn(&mut self, io: &mut Io<'_>, token: u32) {
        if token >= RESULTS {
            // None, or another one's, if the job was begun in an earlier life.
            let done = self.results.get_mut((token - RESULTS) as usize).and_then(Option::take);
            if let Some(done) = done {
                self.machine.complete(io.now(), done);
            }
        } else {
            let link = LinkId(token);
            if let Some(t) = self.tenant(link) {
                t.again = false;
                let id = t.id;
                self.machine.resume(id, io.now());
                self.look(io, link);
                self.pump(io, link);
            }
        }
        self.settle(io);
    }

    fn deadline(&self) -> Option<Tick> {
        self.machine.deadline().map(|d| d.at)
    }

    fn woke(&mut self, io: &mut Io<'_>) {
        self.machine.tick(io.now());
        self.settle(io);
    }

    fn drain(&mut self, io: &mut Io<'_>) {
        self.machine.drain(io.now());
        self.settle(io);
    }

    fn phase(&self, link: LinkId) -> &'static str {
        match self.tenants.get(link.0 as usize) {
            Some(Some(t)) => (self.phase)(&self.machine, t.id),
            Some(None) => "closed",
            None => "opening",
        }
    }

    fn memory(&self, link: LinkId) -> Memory {
        let held = match self.tenants.get(link.0 as usize) {
            Some(Some(t)) => self.machine.footprint_of(t.id),
            _ => 0,
        };
        Memory { held, cap: self.cap }
    }

    fn total_memory(&self) -> Memory {
        if self.total_cap == usize::MAX {
            return Memory::UNCHECKED;
        }
        Memory { held: self.machine.footprint(), cap: self.total_cap }
    }

    fn links(&self) -> usize {
        self.machine.len()
    }

    fn owes(&self, io: &Io<'_>) -> Option<String> {
        for (link, tenant) in self.tenants.iter().enumerate() {
            let Some(t) = tenant else { continue };
            let link = LinkId(link as u32);
            let wants = self.machine.wants(t.id);
            let unsent: usize = self.machine.outgoing(t.id).map(<[u8]>::len).sum();
            let waiting = io.input(link).len();
            let where_ = format!("link {} in phase {} wants {wants:?}", link.0, self.phase(link));
            if t.ended {
                return Some(format!("{where_}: the peer ended long ago, and it is still held"));
            }
            if self.machine.close_reason(t.id).is_some() {
                return Some(format!("{where_}: it has been ending for long, and is still held"));
            }
            if unsent > 0 && io.room(link) > 0 {
                return Some(format!("{where_}: {unsent} bytes are owed and could be sent"));
            }
            if waiting > 0 && unsent == 0 {
                return Some(format!(
                    "{where_}: {waiting} bytes wait to be read, nothing is pending"
                ));
            }
        }
        let held = self.tenants.iter().flatten().count();
        (held != self.machine.len()).then(|| {
            format!("the engine holds {} connections for {held} links", self.machine.len())
        })
    }
}

impl<M> fmt::Debug for Serve<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").field("tenants", &self.tenants).finish_non_exhaustive()
    }
}

/// The phase as every host can see it.
fn by_wants<M: Machine>(machine: &M, id: ConnId) -> &'static str {
    let wants = machine.wants(id);
    if wants.has(Wants::CLOSE) {
        "over"
    } else if machine.close_reason(id).is_some() {
        if wants.has(Wants::READ) { "lingering" } else { "draining" }
    } else if wants.has(Wants::WRITE) {
        if wants.has(Wants::READ) { "replying" } else { "paused" }
    } else if machine.footprint_of(id) > 0 {
        "message"
    } else {
        "idle"
    }
}
