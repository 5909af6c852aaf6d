//! The network: links, their faults, the event heap, and what happens to bytes on the way.

mod transit;
mod weather;

use crate::clock::Clock;
use crate::decide::{Decider, Digest, Key};
use crate::fault::{Fault, Faults};
use crate::link::{Fin, Pipe};
use crate::node::Ending;
use crate::trace::{self, Trace};
use crate::transcript::Transcript;
use crate::violation::Violation;
use core::cmp::Reverse;
use drywire::Tick;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

pub(crate) use weather::Weather;

/// A link's number: counts up, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

/// A node's number, in the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

/// One way between two machines, and the state of both ends.
#[derive(Debug)]
pub(crate) struct Link {
    /// Who opened it, who accepted it.
    pub(crate) ends: [NodeId; 2],
    pub(crate) state: [End; 2],
    /// `pipes[e]` is written by end `e`.
    pub(crate) pipes: [Pipe; 2],
    /// What `Io::send` could not write yet.
    pub(crate) backlog: [Vec<u8>; 2],
    /// What to do once the backlog is out.
    pub(crate) then: [Then; 2],
    pub(crate) who: u32,
    pub(crate) op: u32,
    pub(crate) nth: u32,
    latency: u64,
    /// What may come on top of it, for each piece.
    jitter: u64,
    /// Bytes a second; 0 = no limit.
    rate: u64,
    /// Pieces have up to so many bytes; 0 = no limit.
    cut: u64,
    /// It is reset once so many bytes were launched by that end.
    reset_at: [u64; 2],
    /// A bit was flipped on the way to that end.
    pub(crate) tainted: [bool; 2],
    /// The server was killed or drained meanwhile: it may end in peace and owe answers.
    pub(crate) excused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    GoOn,
    Finish,
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Opening,
    Open,
    /// The program closed it, or knows that it is gone.
    Gone,
    /// The machine lost its power: it neither hears nor speaks.
    Silent,
    /// The machine is back and knows nothing of this link.
    Forgotten,
}

impl End {
    /// The program has nothing to do with it any more.
    pub(crate) const fn is_over(self) -> bool {
        matches!(self, Self::Gone | Self::Silent | Self::Forgotten)
    }
}

/// A node's calls that are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Start,
    Opened(LinkId),
    Readable(LinkId),
    Writable(LinkId),
    Ended(LinkId, Ending),
    Turn(u32),
    Woke,
    Drain,
    Nudge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Call(NodeId, Call),
    Arrive {
        link: LinkId,
        reader: u8,
        n: u32,
    },
    Fin {
        link: LinkId,
        reader: u8,
    },
    Reset {
        link: LinkId,
        end: u8,
        how: Ending,
    },
    Wake(NodeId),
    Thaw(NodeId),
    Restart(NodeId),
    Hit {
        fault: Fault,
        value: u32,
        node: NodeId,
    },
    /// The `n`th strike of the plan.
    Planned(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    at: u64,
    seq: u64,
    due: Due,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What the network knows of a node's machine.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) clock: Clock,
    pub(crate) frozen: bool,
    pub(crate) down: bool,
    /// Calls that came while it was frozen.
    pub(crate) missed: VecDeque<Call>,
    /// The real time of the earliest wake under way.
    pub(crate) armed: u64,
    /// What is planned for the connections that it opens, by whom they are to.
    pub(crate) weather: BTreeMap<NodeId, Weather>,
}

/// Links, time and chance. Nodes reach it through [`Io`](crate::Io).
pub(crate) struct Net {
    pub(crate) now: u64,
    seq: u64,
    heap: BinaryHeap<Reverse<Entry>>,
    /// Due now, behind everything in the heap that is due now.
    pub(crate) soon: VecDeque<Due>,
    pub(crate) links: Vec<Link>,
    pub(crate) places: Vec<Place>,
    pub(crate) decider: Decider,
    pub(crate) faults: Faults,
    pub(crate) digest: Digest,
    pub(crate) trace: Option<Trace>,
    /// Faults that hit and are not in the matrix yet.
    pub(crate) hits: Vec<(Fault, LinkId)>,
    pub(crate) violation: Option<Violation>,
    pub(crate) transcripts: Option<Vec<Transcript>>,
    pub(crate) events: u64,
    pub(crate) calm: bool,
}

/// One way without faults.
const LATENCY: u64 = 20_000;
const WINDOW: usize = 64 << 10;
const CONNECT_TIMEOUT: u64 = 3_000_000_000;
const MS: u64 = 1_000_000;

impl Net {
    pub(crate) fn new(decider: Decider, faults: Faults) -> Self {
        Self {
            now: 0,
            seq: 0,
            heap: BinaryHeap::new(),
            soon: VecDeque::new(),
            links: Vec::new(),
            places: Vec::new(),
            decider,
            faults,
            digest: Digest::new(),
            trace: None,
            hits: Vec::new(),
            violation: None,
            transcripts: None,
            events: 0,
            calm: false,
        }
    }

    pub(crate) fn after(&mut self, delay: u64, due: Due) {
        self.at(self.now.saturating_add(delay), due);
    }

    #[inline]
    pub(crate) fn at(&mut self, at: u64, due: Due) {
        if at <= self.now {
            self.soon.push_back(due);
        } else {
            self.seq += 1;
            self.heap.push(Reverse(Entry { at, seq: self.seq, due }));
        }
    }

    /// The next thing due, no later than `until`; moves the time.
    #[inline]
    pub(crate) fn next(&mut self, until: u64) -> Option<Due> {
        let first = self.heap.peek().map(|e| e.0.at);
        if first.is_none_or(|at| at > self.now)
            && let Some(due) = self.soon.pop_front()
        {
            return Some(due);
        }
        if first? > until {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        self.now = entry.at;
        Some(entry.due)
    }

    #[inline]
    pub(crate) fn local(&self, node: NodeId) -> Tick {
        self.places[node.0 as usize].clock.read(self.now)
    }

    #[inline]
    pub(crate) fn end_of(&self, link: LinkId, node: NodeId) -> usize {
        usize::from(self.links[link.0 as usize].ends[0] != node)
    }

    #[inline]
    pub(crate) fn mark(&mut self, kind: u64, link: LinkId, n: u64) {
        self.digest.number(self.now ^ (kind << 56) ^ (u64::from(link.0) << 32));
        self.digest.number(n);
    }

    pub(crate) fn record(&mut self, node: NodeId, link: Option<LinkId>, what: trace::What) {
        let at = Tick(self.now);
        if let Some(trace) = &mut self.trace {
            trace.events.push(trace::Event { at, node, link, phase: "", what });
        }
    }

    pub(crate) fn hit(&mut self, fault: Fault, link: LinkId, value: u64) {
        self.hits.push((fault, link));
        if self.trace.is_some() {
            let node = self.links[link.0 as usize].ends[1];
            self.record(node, Some(link), trace::What::Fault(fault, value));
        }
    }

    /// Writes down that bytes came to lie in the socket of who accepted.
    pub(crate) fn arrived(&mut self, link: LinkId, reader: usize, n: u64) {
        let now = self.local(self.links[link.0 as usize].ends[reader]).0;
        if let Some(transcripts) = self.transcripts.as_mut().filter(|_| reader == 1) {
            let arrivals = &mut transcripts[link.0 as usize].arrivals;
            let before = arrivals.last().map_or(0, |(_, came)| *came);
            arrivals.push((now, before + n));
        }
    }

    pub(crate) fn fail(&mut self, violation: Violation) {
        if self.violation.is_none() {
            self.violation = Some(violation);
        }
    }

    pub(crate) fn connect(
        &mut self,
        from: NodeId,
        to: NodeId,
        who: u32,
        op: u32,
        nth: u32,
    ) -> LinkId {
        let link = LinkId(self.links.len() as u32);
        let key = Key::of(who, op).nth(nth);
        let weather = self.places[from.0 as usize].weather.get(&to).copied().unwrap_or_default();
        let mut window = weather.window;
        let narrow = self.roll(Fault::Narrow, key, 17) as u32;
        if narrow > 0 {
            window = (1 << (narrow - 1)).max(self.faults.grain());
        }
        let far = self.roll(Fault::Far, key, 10) as u32;
        let latency = if far > 0 { (MS / 2) << far } else { weather.latency };
        self.links.push(Link {
            ends: [from, to],
            state: [End::Opening; 2],
            pipes: [Pipe::new(window), Pipe::new(window)],
            backlog: [Vec::new(), Vec::new()],
            then: [Then::GoOn; 2],
            who,
            op,
            nth: nth << 16,
            latency,
            jitter: weather.jitter,
            rate: weather.rate,
            cut: weather.cut,
            reset_at: [u64::MAX; 2],
            tainted: [false; 2],
            excused: false,
        });
        if let Some(trace) = &mut self.trace {
            trace.links.push([from, to]);
        }
        if let Some(transcripts) = &mut self.transcripts {
            transcripts.push(Transcript::default());
        }
        for (fault, value) in [(Fault::Narrow, narrow), (Fault::Far, far)] {
            if value > 0 {
                self.hit(fault, link, u64::from(value));
            }
        }
        let unreachable = self.roll(Fault::Unreachable, key, 3);
        if unreachable > 0 {
            self.hit(Fault::Unreachable, link, unreachable);
        }
        // The handshake needs both directions, and is tried again for a while.
        let [to_server, to_caller] = weather.dark_until;
        let dark = to_server.max(to_caller).saturating_sub(self.now);
        for end in 0..2 {
            self.links[link.0 as usize].pipes[end].hole_until = weather.dark_until[end];
        }
        let (delay, how) = match unreachable {
            0 if dark < CONNECT_TIMEOUT && !self.places[to.0 as usize].down => {
                self.after(dark + latency, Due::Call(to, Call::Opened(link)));
                self.after(dark + 2 * latency, Due::Call(from, Call::Opened(link)));
                return link;
            }
            0 if dark > 0 => (CONNECT_TIMEOUT, Ending::TimedOut),
            2 => (CONNECT_TIMEOUT, Ending::TimedOut),
            _ => (2 * latency, Ending::Refused),
        };
        self.links[link.0 as usize].state[1] = End::Gone;
        self.after(delay, Due::Reset { link, end: 0, how });
        link
    }

    /// Whether and how `fault` happens.
    #[inline]
    pub(crate) fn roll(&mut self, fault: Fault, key: Key, n: u64) -> u64 {
        if self.calm {
            0
        } else {
            self.decider.rare(fault.site(), key, self.faults.chance(fault), n)
        }
    }

    pub(crate) fn write(&mut self, link: LinkId, end: usize, bytes: &[u8]) -> usize {
        let l = &mut self.links[link.0 as usize];
        if l.state[end] != End::Open || l.pipes[end].fin != Fin::None || bytes.is_empty() {
            return 0;
        }
        l.nth += 1;
        let key = Key { who: l.who, op: l.op, nth: l.nth * 2 + end as u32 };
        let mut allowed = bytes.len();
        let short = self.roll(Fault::Short, key, 18);
        if short > 0 {
            // 1 = would block, 17 = all but nothing missing.
            allowed = allowed * (short as usize - 1) / 17;
            self.hit(Fault::Short, link, short);
            // Whoever tries again before it is told is not told more often for it.
            let due = self.now + 50_000;
            let l = &mut self.links[link.0 as usize];
            if l.pipes[end].tells_at <= self.now {
                l.pipes[end].tells_at = due;
                let node = l.ends[end];
                self.at(due, Due::Call(node, Call::Writable(link)));
            }
        }
        let l = &mut self.links[link.0 as usize];
        let n = l.pipes[end].write(&bytes[..allowed]);
        if n < bytes.len() {
            l.pipes[end].writer_waits = short == 0;
        }
        if n > 0 {
            self.digest.bytes(&bytes[..n]);
            self.mark(1, link, end as u64);
            self.launch(link, end, key);
        }
        n
    }

    pub(crate) fn finish(&mut self, link: LinkId, end: usize) {
        let l = &mut self.links[link.0 as usize];
        if l.state[end] != End::Open || l.pipes[end].fin != Fin::None {
            return;
        }
        l.pipes[end].fin = Fin::Launched;
        let at = l.pipes[end].busy_until.max(self.now.max(l.pipes[end].hole_until) + l.latency);
        let node = l.ends[end];
        self.mark(2, link, end as u64);
        self.record(node, Some(link), trace::What::Finished);
        self.at(at, Due::Fin { link, reader: 1 - end as u8 });
    }

    pub(crate) fn close(&mut self, link: LinkId, end: usize) {
        let l = &mut self.links[link.0 as usize];
        if l.state[end].is_over() {
            return;
        }
        // A connection that was never accepted is reset with its listener.
        let accepted = l.state[end] == End::Open || end == 0;
        if l.pipes[1 - end].input().is_empty() && accepted {
            self.finish(link, end);
            let l = &mut self.links[link.0 as usize];
            l.state[end] = End::Gone;
            let node = l.ends[end];
            self.record(node, Some(link), trace::What::Closed);
        } else {
            // As a kernel does: closing with unread input destroys the connection.
            self.reset(link, end);
        }
    }

    pub(crate) fn reset(&mut self, link: LinkId, end: usize) {
        let l = &mut self.links[link.0 as usize];
        if l.state[end].is_over() {
            return;
        }
        l.state[end] = End::Gone;
        l.pipes[1 - end].drop_all();
        let (latency, node) = (l.latency, l.ends[end]);
        self.mark(3, link, end as u64);
        self.record(node, Some(link), trace::What::Aborted);
        self.after(latency, Due::Reset { link, end: 1 - end as u8, how: Ending::Reset });
    }

    /// The machine at that end has lost its power.
    pub(crate) fn silence(&mut self, link: LinkId, end: usize) {
        let l = &mut self.links[link.0 as usize];
        if !l.state[end].is_over() {
            l.state[end] = End::Silent;
            self.mark(4, link, end as u64);
        }
    }

    pub(crate) fn take(&mut self, link: LinkId, end: usize, n: usize) {
        let l = &mut self.links[link.0 as usize];
        let pipe = &mut l.pipes[1 - end];
        pipe.take(n);
        let (writer, latency) = (l.ends[1 - end], l.latency);
        if pipe.writer_waits && n > 0 {
            pipe.writer_waits = false;
            self.after(latency, Due::Call(writer, Call::Writable(link)));
        }
        self.tell_end(link, end);
    }

    /// Says that the stream has ended, once everything before is taken.
    pub(crate) fn tell_end(&mut self, link: LinkId, reader: usize) {
        let l = &mut self.links[link.0 as usize];
        let pipe = &mut l.pipes[1 - reader];
        if pipe.fin == Fin::Arrived && pipe.input().is_empty() && l.state[reader] == End::Open {
            pipe.fin = Fin::Told;
            let node = l.ends[reader];
            self.soon.push_back(Due::Call(node, Call::Ended(link, Ending::Fin)));
        }
    }

    /// Writes what `Io::send` left over, and closes if that was asked for meanwhile.
    pub(crate) fn flush(&mut self, link: LinkId, end: usize) {
        let backlog = core::mem::take(&mut self.links[link.0 as usize].backlog[end]);
        let n = if backlog.is_empty() { 0 } else { self.write(link, end, &backlog) };
        let l = &mut self.links[link.0 as usize];
        l.backlog[end] = backlog;
        l.backlog[end].drain(..n);
        if l.backlog[end].is_empty() {
            match core::mem::replace(&mut l.then[end], Then::GoOn) {
                Then::GoOn => {}
                Then::Finish => self.finish(link, end),
                Then::Close => self.close(link, end),
            }
        }
    }
}
