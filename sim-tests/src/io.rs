//! What a node may do.

use crate::decide::{Chance, Decider, Key, Site};
use crate::fault::Fault;
use crate::net::{Call, Due, End, LinkId, Net, NodeId, Then};
use crate::trace;
use crate::transcript::Transcript;
use crate::violation::Violation;
use core::fmt;
use drywire::Tick;

/// What a node may do, and what it can see: lent for the length of one call.
pub struct Io<'a> {
    pub(crate) net: &'a mut Net,
    pub(crate) node: NodeId,
}

impl Io<'_> {
    /// The time by this node's clock.
    #[must_use]
    pub fn now(&self) -> Tick {
        self.net.local(self.node)
    }

    /// The real time, which no node knows: for histories and pictures.
    #[must_use]
    pub fn real_now(&self) -> Tick {
        Tick(self.net.now)
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Input that has arrived and is not taken. Empty if the link is gone.
    #[must_use]
    pub fn input(&self, link: LinkId) -> &[u8] {
        let end = self.end(link);
        match self.net.links[link.0 as usize].state[end] {
            End::Open => self.net.links[link.0 as usize].pipes[1 - end].input(),
            _ => &[],
        }
    }

    /// Takes the first `n` bytes of the input, which makes room for the peer.
    pub fn take(&mut self, link: LinkId, n: usize) {
        if n > 0 {
            let end = self.end(link);
            self.net.mark(5, link, n as u64);
            self.net.take(link, end, n);
        }
    }

    /// Takes all input.
    pub fn take_all(&mut self, link: LinkId) -> Vec<u8> {
        let all = self.input(link).to_vec();
        self.take(link, all.len());
        all
    }

    /// Writes as much of `bytes` as the window takes now, and returns how much: possibly 0. If
    /// that is not all, [`Node::writable`](crate::Node::writable) comes when there is room.
    pub fn write(&mut self, link: LinkId, bytes: &[u8]) -> usize {
        let end = self.end(link);
        self.net.write(link, end, bytes)
    }

    /// Sends all of `bytes`; what the window does not take now waits in an endless buffer, which
    /// counts as this node's memory.
    pub fn send(&mut self, link: LinkId, bytes: &[u8]) {
        let end = self.end(link);
        let waiting = !self.net.links[link.0 as usize].backlog[end].is_empty();
        let n = if waiting { 0 } else { self.net.write(link, end, bytes) };
        let l = &mut self.net.links[link.0 as usize];
        if l.state[end] == End::Open {
            l.backlog[end].extend_from_slice(&bytes[n..]);
        }
    }

    /// Whether a write would be accepted at all.
    #[must_use]
    pub fn room(&self, link: LinkId) -> usize {
        let end = self.end(link);
        self.net.links[link.0 as usize].pipes[end].room()
    }

    /// Whether faults are over.
    #[must_use]
    pub fn calm(&self) -> bool {
        self.net.calm
    }

    /// Ends this node's direction, after what [`Io::send`] still holds; the other one stays.
    pub fn finish(&mut self, link: LinkId) {
        let end = self.end(link);
        if self.net.links[link.0 as usize].backlog[end].is_empty() {
            self.net.finish(link, end);
        } else {
            self.net.links[link.0 as usize].then[end] = Then::Finish;
        }
    }

    /// Closes the link, after what [`Io::send`] still holds. With unread input it becomes a
    /// reset, as with real sockets.
    pub fn close(&mut self, link: LinkId) {
        let end = self.end(link);
        if self.net.links[link.0 as usize].backlog[end].is_empty() {
            self.net.close(link, end);
        } else {
            self.net.links[link.0 as usize].then[end] = Then::Close;
        }
    }

    /// Resets the link.
    pub fn reset(&mut self, link: LinkId) {
        let end = self.end(link);
        self.net.reset(link, end);
    }

    /// This end falls silent for ever, as if its machine had lost its power. Once faults are
    /// over it is a reset.
    pub fn vanish(&mut self, link: LinkId) {
        let end = self.end(link);
        if self.net.calm {
            self.net.reset(link, end);
        } else {
            self.net.silence(link, end);
        }
    }

    /// Opens a link to another node. [`Node::opened`](crate::Node::opened) or
    /// [`Node::ended`](crate::Node::ended) tells how it went. `key` says whose it is: all
    /// choices about the link are asked with that caller and operation.
    pub fn connect(&mut self, to: NodeId, key: Key) -> LinkId {
        self.net.connect(self.node, to, key.who, key.op, key.nth)
    }

    /// From here on, choices about this link belong to operation `op` of its caller.
    pub fn begin(&mut self, link: LinkId, op: u32) {
        let l = &mut self.net.links[link.0 as usize];
        l.op = op;
        l.nth = 0;
    }

    /// Asks for a [`Node::turn`](crate::Node::turn) after everybody else's.
    pub fn again(&mut self, token: u32) {
        let node = self.node;
        self.net.soon.push_back(Due::Call(node, Call::Turn(token)));
    }

    /// Asks for a [`Node::turn`](crate::Node::turn) after `delay` nanoseconds of real time.
    pub fn turn_after(&mut self, delay: u64, token: u32) {
        let node = self.node;
        self.net.after(delay, Due::Call(node, Call::Turn(token)));
    }

    /// Chance.
    pub fn decider(&mut self) -> &mut Decider {
        &mut self.net.decider
    }

    /// Whether and how `fault` happens to operation `key`: 0 if not. Counted for `link`.
    pub fn roll(&mut self, fault: Fault, key: Key, n: u64, link: Option<LinkId>) -> u64 {
        let value = self.net.roll(fault, key, n);
        if value > 0
            && let Some(link) = link
        {
            self.net.hit(fault, link, value);
        }
        value
    }

    /// How likely the run makes `fault`.
    #[must_use]
    pub fn chance(&self, fault: Fault) -> Chance {
        self.net.faults.chance(fault)
    }

    /// Brings a fault down on a node after `delay` nanoseconds.
    pub fn strike(&mut self, fault: Fault, value: u64, node: NodeId, delay: u64) {
        self.net.after(delay, Due::Hit { fault, value: value as u32, node });
    }

    /// Whose choice the next one about `link` is.
    pub fn key(&mut self, link: LinkId) -> Key {
        let l = &mut self.net.links[link.0 as usize];
        l.nth += 1;
        Key { who: l.who, op: l.op, nth: l.nth * 2 }
    }

    /// A decision that is no fault.
    pub fn below(&mut self, site: Site, key: Key, n: u64) -> u64 {
        self.net.decider.below(site, key, n)
    }

    /// Stops the run: a rule was broken.
    pub fn fail(&mut self, violation: Violation) {
        let node = self.node;
        self.net.record(node, None, trace::What::Violation(violation.text.clone()));
        self.net.fail(violation);
    }

    /// Leaves a line for the reader of a picture; free when nobody will look.
    pub fn note(&mut self, link: Option<LinkId>, text: impl FnOnce() -> String) {
        if self.net.trace.is_some() {
            let node = self.node;
            self.net.record(node, link, trace::What::Note(text()));
        }
    }

    /// Whether bytes that this node reads on `link` may have been changed on the way.
    #[must_use]
    pub fn tainted(&self, link: LinkId) -> bool {
        self.net.links[link.0 as usize].tainted[self.end(link)]
    }

    /// Whether bytes that the peer reads on `link` may have been changed on the way.
    #[must_use]
    pub fn peer_tainted(&self, link: LinkId) -> bool {
        self.net.links[link.0 as usize].tainted[1 - self.end(link)]
    }

    /// This node goes away and ends `link`: see [`Io::excused`].
    pub fn excuse(&mut self, link: LinkId) {
        self.net.links[link.0 as usize].excused = true;
    }

    /// Whether the server of `link` was killed or drained, so that answers may be missing at a
    /// peaceful end.
    #[must_use]
    pub fn excused(&self, link: LinkId) -> bool {
        self.net.links[link.0 as usize].excused
    }

    /// Enters a fault that a node brought about by itself.
    pub fn hit(&mut self, fault: Fault, link: LinkId, value: u64) {
        self.net.hit(fault, link, value);
    }

    /// Where an accepting node writes down what it took in and what it answered, if the run
    /// keeps that.
    pub fn transcript(&mut self, link: LinkId) -> Option<&mut Transcript> {
        self.net.transcripts.as_mut().map(|t| &mut t[link.0 as usize])
    }

    /// Whether transcripts are kept.
    #[must_use]
    pub fn keeps_transcripts(&self) -> bool {
        self.net.transcripts.is_some()
    }

    #[inline]
    fn end(&self, link: LinkId) -> usize {
        self.net.end_of(link, self.node)
    }
}

impl fmt::Debug for Io<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io").field("node", &self.node).field("now", &self.now()).finish()
    }
}
