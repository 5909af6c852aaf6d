//! The world: nodes, the net between them, and the loop that lets things happen.

mod harm;

use crate::decide::{Decider, Decisions, Key, Site};
use crate::fault::{Fault, Faults, Matrix};
use crate::io::Io;
use crate::link::Fin;
use crate::net::{Call, Due, End, LinkId, Net, NodeId, Place};
use crate::node::{Ending, Memory, Node};
use crate::plan::Strike;
use crate::trace::{Trace, What};
use crate::transcript::Transcript;
use crate::violation::Violation;
use core::fmt;
use core::time::Duration;
use drywire::Tick;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Makes a node, for each of its lives (0, 1, ...).
pub type Factory = Box<dyn FnMut(u32) -> Box<dyn Node>>;

/// Nodes and links under one [`Decider`].
///
/// Time jumps from one event to the next, so idle time costs nothing. Whatever a node does wrong
/// by itself (memory over its promise, a deadline that stays due, an obligation unmet at rest)
/// stops the world with a [`Violation`].
pub struct World {
    /// How often a node was frozen and ran again.
    thaws: u32,
    net: Net,
    slots: Vec<Slot>,
    matrix: Matrix,
    /// Faults of machines, of those without connections too.
    befell: BTreeSet<Fault>,
    names: Vec<String>,
    plan: Option<Planned>,
    /// Events at the present moment.
    crowd: u32,
    last: u64,
}

/// Who the strikes of a plan are about.
struct Planned {
    strikes: Vec<Strike>,
    servers: Vec<NodeId>,
    mob: Option<NodeId>,
    callers: Vec<NodeId>,
}

struct Slot {
    node: Option<Box<dyn Node>>,
    make: Option<Factory>,
    life: u32,
    wakes: u32,
    woken: u64,
}

/// Events at one moment, and wakes in a row at one moment, from which on time is said to stand
/// still.
const CROWD: u32 = 2_000_000;
const WAKES: u32 = 1000;
/// Total memory is looked at once in so many events of a node.
const TOTAL_EVERY: u64 = 64;

const CLOCK_FIRST: Site = Site::new("thaw.clock-first");

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(decider: Decider, faults: Faults) -> Self {
        Self {
            net: Net::new(decider, faults),
            thaws: 0,
            slots: Vec::new(),
            matrix: Matrix::default(),
            befell: BTreeSet::new(),
            names: Vec::new(),
            plan: None,
            crowd: 0,
            last: 0,
        }
    }

    /// Keeps what happens, for pictures.
    pub fn record(&mut self) {
        self.net.trace = Some(Trace::default());
    }

    /// Keeps what servers took in and answered, for checkers.
    pub fn keep_transcripts(&mut self) {
        self.net.transcripts = Some(Vec::new());
    }

    /// Adds a node. It starts when the world runs.
    pub fn add(&mut self, name: &str, node: Box<dyn Node>) -> NodeId {
        self.settle(name, Slot { node: Some(node), make: None, life: 0, wakes: 0, woken: 0 })
    }

    /// Adds a node that can crash and start again.
    pub fn add_restartable(&mut self, name: &str, mut make: Factory) -> NodeId {
        let node = Some(make(0));
        self.settle(name, Slot { node, make: Some(make), life: 0, wakes: 0, woken: 0 })
    }

    fn settle(&mut self, name: &str, slot: Slot) -> NodeId {
        let id = NodeId(self.slots.len() as u16);
        self.slots.push(slot);
        self.names.push(name.to_owned());
        self.net.places.push(Place {
            clock: crate::clock::Clock::default(),
            frozen: false,
            down: false,
            missed: VecDeque::new(),
            armed: u64::MAX,
            weather: BTreeMap::new(),
        });
        self.net.after(0, Due::Call(id, Call::Start));
        id
    }

    /// The real time.
    #[must_use]
    pub fn now(&self) -> Tick {
        Tick(self.net.now)
    }

    /// Lets things happen until `until`, or until a rule is broken.
    pub fn run_until(&mut self, until: Tick) {
        while self.step(until) {}
        if self.net.violation.is_none() {
            self.net.now = self.net.now.max(until.0);
        }
    }

    /// Lets things happen for `span`.
    pub fn run_for(&mut self, span: Duration) {
        self.run_until(self.now() + span);
    }

    /// Lets things happen while `busy` says so, at most until `until`.
    pub fn run_while(&mut self, until: Tick, mut busy: impl FnMut() -> bool) {
        while busy() && self.step(until) {}
    }

    /// Lets the next thing happen, if there is one before `until`.
    pub fn step(&mut self, until: Tick) -> bool {
        if self.net.violation.is_some() {
            return false;
        }
        let Some(due) = self.net.next(until.0) else { return false };
        self.net.events += 1;
        if self.net.now == self.last {
            self.crowd += 1;
            if self.crowd > CROWD {
                let text =
                    format!("time stands still at {} ns: {CROWD} events and no end", self.last);
                self.net.fail(Violation::new("live", text));
            }
        } else {
            (self.last, self.crowd) = (self.net.now, 0);
        }
        let told = self.net.trace.as_ref().map(|t| t.events.len());
        self.happen(due);
        if let Some(told) = told {
            self.name_phases(told);
        }
        if !self.net.hits.is_empty() {
            self.count_hits();
        }
        true
    }

    /// From here on nothing new goes wrong: links heal, what is under way arrives. Peers of
    /// machines that are gone are told so after `keepalive`.
    pub fn calm(&mut self, keepalive: Duration) {
        self.net.calm(u64::try_from(keepalive.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Asks every node whether it still owes something although nothing is in its way.
    pub fn check_rest(&mut self) {
        for at in 0..self.slots.len() {
            let node = NodeId(at as u16);
            let Some(n) = self.slots[at].node.as_ref() else { continue };
            let owed = n.owes(&Io { net: &mut self.net, node });
            let over = check_memory(n.total_memory(), &self.names[at], None);
            if let Some(owed) = owed {
                self.net.fail(Violation::new("live", format!("{}: {owed}", self.names[at])));
            }
            if let Some(over) = over {
                self.net.fail(over);
            }
        }
    }

    /// Once everybody has gone, no node may hold a link.
    pub fn check_gone(&mut self) {
        for (slot, name) in self.slots.iter().zip(&self.names) {
            let held = slot.node.as_ref().map_or(0, |n| n.links());
            if held > 0 {
                let text = format!("{name}: everybody has gone, and it still holds {held} links");
                self.net.fail(Violation::new("leak", text));
            } else if let Some(left) = slot.node.as_ref().and_then(|n| n.leftover()) {
                let text = format!("{name}: everybody has gone, and there is still {left}");
                self.net.fail(Violation::new("leak", text));
            }
        }
    }

    /// Gives every node a turn.
    pub fn nudge(&mut self) {
        for at in 0..self.slots.len() {
            self.net.after(0, Due::Call(NodeId(at as u16), Call::Nudge));
        }
    }

    /// Brings these faults about at their times, unless the world is calm by then: between
    /// `callers` and `servers`; storms come from `mob`. What callers do themselves is their own
    /// plan.
    pub(crate) fn plan(
        &mut self,
        strikes: &[Strike],
        servers: Vec<NodeId>,
        mob: Option<NodeId>,
        callers: Vec<NodeId>,
    ) {
        for (nth, strike) in (0..).zip(strikes) {
            self.net.at(strike.at.0, Due::Planned(nth));
        }
        self.plan = Some(Planned { strikes: strikes.to_vec(), servers, mob, callers });
    }

    /// Brings a fault down on a node now.
    pub fn strike(&mut self, fault: Fault, value: u32, node: NodeId) {
        self.net.after(0, Due::Hit { fault, value, node });
    }

    /// The first rule that was broken.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.net.violation.as_ref()
    }

    /// Equal digests, equal runs.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.net.digest.value()
    }

    /// Things that happened.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.net.events
    }

    /// Which faults hit in which phases.
    #[must_use]
    pub fn matrix(&self) -> &Matrix {
        &self.matrix
    }

    /// Whether `fault` hit a machine, connected or not.
    #[must_use]
    pub fn befell(&self, fault: Fault) -> bool {
        self.befell.contains(&fault)
    }

    /// The decisions that were not boring, if the decider was recording.
    #[must_use]
    pub fn decisions(&self) -> Option<&Decisions> {
        self.net.decider.decisions()
    }

    /// What servers took in and answered, by link; empty if not kept.
    #[must_use]
    pub fn transcripts(&self) -> &[Transcript] {
        self.net.transcripts.as_deref().unwrap_or_default()
    }

    /// Whether bytes were changed on the way to the given end (0 = who opened, 1 = who accepted).
    #[must_use]
    pub fn tainted(&self, link: LinkId, end: usize) -> bool {
        self.net.links[link.0 as usize].tainted[end]
    }

    /// Who accepted `link`, or was to.
    #[must_use]
    pub fn acceptor(&self, link: LinkId) -> NodeId {
        self.net.links[link.0 as usize].ends[1]
    }

    /// What happened, if recorded.
    #[must_use]
    pub fn take_trace(&mut self) -> Option<Trace> {
        let mut trace = self.net.trace.take()?;
        trace.lanes = self.names.clone();
        Some(trace)
    }

    /// The decider, with its record or odometer.
    #[must_use]
    pub fn into_decider(self) -> Decider {
        self.net.decider
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Call(node, call) => self.call(node, call),
            Due::Arrive { link, reader, n } => self.arrive(link, usize::from(reader), n as usize),
            Due::Fin { link, reader } => {
                let reader = usize::from(reader);
                let l = &mut self.net.links[link.0 as usize];
                if matches!(l.state[reader], End::Open | End::Opening) {
                    l.pipes[1 - reader].fin = Fin::Arrived;
                    self.net.mark(6, link, reader as u64);
                    self.net.tell_end(link, reader);
                } else if l.state[reader] == End::Forgotten {
                    let end = 1 - reader as u8;
                    self.net.after(20_000, Due::Reset { link, end, how: Ending::Reset });
                }
            }
            Due::Reset { link, end, how } => self.was_reset(link, usize::from(end), how),
            Due::Wake(node) => self.wake(node),
            Due::Thaw(node) => {
                let place = &mut self.net.places[node.0 as usize];
                place.frozen = false;
                let missed = core::mem::take(&mut place.missed);
                // Some loops look at the time before they read.
                self.thaws += 1;
                let key = Key { who: u32::from(node.0), op: 0, nth: self.thaws };
                if self.net.decider.below(CLOCK_FIRST, key, 2) == 1 {
                    self.wake(node);
                }
                for call in missed {
                    self.call(node, call);
                }
                self.wake(node);
            }
            Due::Restart(node) => self.restart(node),
            Due::Hit { fault, value, node } => self.hit(fault, value, node),
            Due::Planned(nth) => self.planned(nth as usize),
        }
    }

    fn arrive(&mut self, link: LinkId, reader: usize, n: usize) {
        let l = &mut self.net.links[link.0 as usize];
        match l.state[reader] {
            End::Gone | End::Forgotten => {
                // Data for a socket that is closed: the kernel answers with a reset.
                self.net
                    .after(20_000, Due::Reset { link, end: 1 - reader as u8, how: Ending::Reset });
            }
            End::Silent => {}
            End::Open | End::Opening => {
                l.pipes[1 - reader].arrive(n);
                let waiting = l.pipes[1 - reader].input().len();
                let node = l.ends[reader];
                self.net.arrived(link, reader, n as u64);
                self.net.mark(7, link, n as u64);
                self.net.record(node, Some(link), What::Arrived { n, waiting });
                self.call(node, Call::Readable(link));
            }
        }
    }

    fn was_reset(&mut self, link: LinkId, end: usize, how: Ending) {
        let l = &mut self.net.links[link.0 as usize];
        if l.state[end].is_over() {
            return;
        }
        l.state[end] = End::Gone;
        l.pipes[1 - end].drop_all();
        l.backlog[end] = Vec::new();
        let node = l.ends[end];
        self.net.mark(8, link, end as u64);
        self.call(node, Call::Ended(link, how));
    }

    fn call(&mut self, id: NodeId, call: Call) {
        let at = id.0 as usize;
        let place = &mut self.net.places[at];
        if place.down {
            if let Call::Opened(link) = call {
                self.net.links[link.0 as usize].state[1] = End::Gone;
                self.net.after(20_000, Due::Reset { link, end: 0, how: Ending::Refused });
            }
            return;
        }
        if place.frozen {
            place.missed.push_back(call);
            return;
        }
        let Some(node) = self.slots[at].node.as_mut() else { return };
        let mut io = Io { net: &mut self.net, node: id };
        let mut of = None;
        match call {
            Call::Start => node.start(&mut io),
            Call::Opened(link) => {
                of = Some(link);
                let l = &mut io.net.links[link.0 as usize];
                let end = usize::from(l.ends[0] != id);
                if l.state[end] != End::Opening {
                    return;
                }
                l.state[end] = End::Open;
                io.net.mark(9, link, end as u64);
                io.net.record(id, Some(link), What::Opened);
                node.opened(&mut io, link);
                self.net.tell_end(link, end);
            }
            Call::Readable(link) => {
                if io.input(link).is_empty() {
                    return;
                }
                of = Some(link);
                node.readable(&mut io, link);
            }
            Call::Writable(link) => {
                let l = &mut io.net.links[link.0 as usize];
                let end = usize::from(l.ends[0] != id);
                if l.state[end] != End::Open {
                    return;
                }
                of = Some(link);
                let had = !l.backlog[end].is_empty();
                if had {
                    io.net.flush(link, end);
                }
                let l = &io.net.links[link.0 as usize];
                if l.backlog[end].is_empty() && l.state[end] == End::Open {
                    node.writable(&mut io, link);
                }
            }
            Call::Ended(link, how) => {
                of = Some(link);
                io.net.record(id, Some(link), What::Ended(how));
                node.ended(&mut io, link, how);
            }
            Call::Turn(token) => node.turn(&mut io, token),
            Call::Woke => {
                io.net.digest.number(io.net.now ^ (10 << 56) ^ u64::from(id.0));
                io.net.record(id, None, What::Woke);
                node.woke(&mut io);
            }
            Call::Drain => node.drain(&mut io),
            Call::Nudge => node.calmed(&mut io),
        }
        self.after_call(id, of);
    }

    /// Re-arms the node's deadline and looks at its memory.
    #[inline]
    fn after_call(&mut self, id: NodeId, link: Option<LinkId>) {
        let at = id.0 as usize;
        let Some(node) = self.slots[at].node.as_ref() else { return };
        if let Some(deadline) = node.deadline() {
            let place = &mut self.net.places[at];
            let real = place.clock.when(deadline).max(self.net.now);
            if real < place.armed {
                place.armed = real;
                self.net.at(real, Due::Wake(id));
            }
        }
        if let Some(link) = link {
            let mut memory = node.memory(link);
            let l = &self.net.links[link.0 as usize];
            memory.held += l.backlog[usize::from(l.ends[0] != id)].len();
            if memory.held > memory.cap {
                self.net.fail(over(memory, &self.names[at], Some(link)));
            }
        }
        if self.net.events.is_multiple_of(TOTAL_EVERY)
            && let Some(over) = check_memory(node.total_memory(), &self.names[at], None)
        {
            self.net.fail(over);
        }
    }

    fn wake(&mut self, id: NodeId) {
        let at = id.0 as usize;
        let (now, place) = (self.net.now, &mut self.net.places[at]);
        if place.armed <= now {
            place.armed = u64::MAX;
        }
        if place.frozen || place.down {
            return;
        }
        let local = place.clock.read(now);
        let slot = &mut self.slots[at];
        let Some(node) = slot.node.as_ref() else { return };
        if node.deadline().is_some_and(|d| d <= local) {
            slot.wakes = if slot.woken == now { slot.wakes + 1 } else { 0 };
            slot.woken = now;
            if slot.wakes > WAKES {
                let text = format!("{}: its deadline stays due after it woke", self.names[at]);
                self.net.fail(Violation::new("live", text));
                return;
            }
            self.call(id, Call::Woke);
        } else {
            self.after_call(id, None);
        }
    }

    /// Adds the phase of the accepting side to what was recorded from `first` on.
    fn name_phases(&mut self, first: usize) {
        let Some(trace) = &mut self.net.trace else { return };
        for event in &mut trace.events[first..] {
            let Some(link) = event.link else { continue };
            let acceptor = self.net.links[link.0 as usize].ends[1];
            let node = self.slots[acceptor.0 as usize].node.as_ref();
            event.phase = node.map_or("down", |n| n.phase(link));
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now())
            .field("nodes", &self.names)
            .field("links", &self.net.links.len())
            .field("events", &self.net.events)
            .finish_non_exhaustive()
    }
}

fn check_memory(memory: Memory, name: &str, link: Option<LinkId>) -> Option<Violation> {
    (memory.held > memory.cap).then(|| over(memory, name, link))
}

fn over(memory: Memory, name: &str, link: Option<LinkId>) -> Violation {
    let Memory { held, cap } = memory;
    let text = match link {
        Some(LinkId(n)) => format!("{name} holds {held} bytes for link {n}, its cap is {cap}"),
        None => format!("{name} holds {held} bytes in total, its cap is {cap}"),
    };
    Violation::new("footprint", text)
}
