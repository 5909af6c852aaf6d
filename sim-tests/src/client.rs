//! Callers in the simulated world, and the mob that storms a server.

use crate::caller::{Caller, Do};
use crate::decide::Key;
use crate::fault::Fault;
use crate::io::Io;
use crate::net::{LinkId, NodeId};
use crate::node::{Ending, Node};
use crate::workload::Workload;
use drywire::Tick;
use std::cell::RefCell;
use std::rc::Rc;

/// A [`Caller`] as a node that calls `server`.
pub(crate) struct CallerNode<W: Workload> {
    caller: Rc<RefCell<Caller<W>>>,
    server: NodeId,
    mob: Option<NodeId>,
    link: Option<LinkId>,
    due: Option<Tick>,
    calm: bool,
}

/// What callers bring down on the server, and how many ways there are.
const STRIKES: [(Fault, u64); 6] = [
    (Fault::Freeze, 12),
    (Fault::Clock, 8),
    (Fault::Crash, 14),
    (Fault::PowerLoss, 14),
    (Fault::Drain, 9),
    (Fault::Storm, 65),
];

impl<W: Workload> CallerNode<W> {
    pub(crate) fn new(caller: Rc<RefCell<Caller<W>>>, server: NodeId, mob: Option<NodeId>) -> Self {
        Self { caller, server, mob, link: None, due: None, calm: false }
    }

    fn go(&mut self, io: &mut Io<'_>) {
        let caller = Rc::clone(&self.caller);
        let mut caller = caller.borrow_mut();
        if io.calm() && !self.calm {
            self.calm = true;
            caller.calm();
        }
        if self.link.is_some_and(|l| io.tainted(l) || io.peer_tainted(l)) {
            caller.taint();
        }
        loop {
            self.read(io, &mut caller);
            if let Some(violation) = caller.take_violation() {
                io.fail(violation);
                return;
            }
            let now = io.now();
            let next = caller.poll(now, io.decider());
            match (next, self.link) {
                (Do::Connect, _) => {
                    self.link = Some(io.connect(self.server, caller.connect_key()));
                }
                (Do::Begin(op), Some(link)) => self.begin(io, &mut caller, link, op),
                (Do::Finish, Some(link)) => io.finish(link),
                (Do::Abort, Some(link)) => {
                    io.reset(link);
                    self.link = None;
                }
                (Do::Vanish, Some(link)) => {
                    io.vanish(link);
                    self.link = None;
                }
                (Do::Close, Some(link)) => {
                    io.close(link);
                    self.link = None;
                }
                (Do::Wait(until), _) => {
                    let unsent = caller.outgoing().len();
                    self.write(io, &mut caller);
                    if unsent > 0 && caller.outgoing().is_empty() {
                        // Something may have waited for that.
                        continue;
                    }
                    self.due = until;
                    return;
                }
                _ => {
                    self.due = None;
                    return;
                }
            }
        }
    }

    fn begin(&self, io: &mut Io<'_>, caller: &mut Caller<W>, link: LinkId, op: u32) {
        io.begin(link, op);
        let now = io.now();
        for (fault, value) in caller.misbehave(now, io.decider()) {
            io.hit(fault, link, value);
        }
        let key = Key::of(caller.who(), op);
        for (fault, n) in STRIKES {
            let value = io.roll(fault, key, n, None);
            if value == 0 {
                continue;
            }
            let delay = 20_000 * (value % 4);
            match (fault, self.mob) {
                (Fault::Storm, Some(mob)) => {
                    io.hit(Fault::Storm, link, value);
                    io.strike(fault, value, mob, delay);
                }
                (Fault::Storm, None) => {}
                _ => io.strike(fault, value, self.server, delay),
            }
        }
    }

    fn write(&self, io: &mut Io<'_>, caller: &mut Caller<W>) {
        if let Some(link) = self.link
            && !caller.outgoing().is_empty()
        {
            let n = io.write(link, caller.outgoing());
            caller.sent(n);
        }
    }

    fn read(&self, io: &mut Io<'_>, caller: &mut Caller<W>) {
        let Some(link) = self.link else { return };
        let waiting = io.input(link).len();
        if waiting == 0 {
            return;
        }
        let now = io.now();
        let n = waiting.min(caller.appetite(now));
        if n > 0 {
            let tainted = io.tainted(link) || io.peer_tainted(link);
            caller.received(now, &io.input(link)[..n], tainted);
            io.take(link, n);
        }
    }
}

impl<W: Workload> Node for CallerNode<W> {
    fn start(&mut self, io: &mut Io<'_>) {
        self.go(io);
    }

    fn opened(&mut self, io: &mut Io<'_>, link: LinkId) {
        if self.link == Some(link) {
            self.caller.borrow_mut().connected(io.now(), link);
            self.go(io);
        }
    }

    fn readable(&mut self, io: &mut Io<'_>, link: LinkId) {
        if self.link == Some(link) {
            self.go(io);
        }
    }

    fn writable(&mut self, io: &mut Io<'_>, link: LinkId) {
        if self.link == Some(link) {
            self.go(io);
        }
    }

    fn ended(&mut self, io: &mut Io<'_>, link: LinkId, how: Ending) {
        if self.link != Some(link) {
            return;
        }
        let excused = io.excused(link) || io.tainted(link) || io.peer_tainted(link);
        let close = self.caller.borrow_mut().ended(io.now(), how, excused);
        if close {
            io.close(link);
        }
        self.link = None;
        self.go(io);
    }

    fn deadline(&self) -> Option<Tick> {
        self.due
    }

    fn woke(&mut self, io: &mut Io<'_>) {
        self.due = None;
        self.go(io);
    }

    fn calmed(&mut self, io: &mut Io<'_>) {
        self.go(io);
    }

    fn owes(&self, _: &Io<'_>) -> Option<String> {
        self.caller.borrow().owes()
    }
}

/// Opens many connections at once and treats them badly: some are reset at once, some never say
/// anything, some never read, and some do not let go even when the server has ended.
pub(crate) struct Mob {
    server: NodeId,
    links: Vec<LinkId>,
    storms: u32,
    calmed: u32,
}

impl Mob {
    pub(crate) fn new(server: NodeId) -> Self {
        Self { server, links: Vec::new(), storms: 0, calmed: 0 }
    }

    fn storm(&mut self, io: &mut Io<'_>, connections: u32) {
        self.storms += 1;
        for nth in 0..connections {
            let key = Key { who: u32::from(io.node().0), op: self.storms, nth };
            self.links.push(io.connect(self.server, key));
        }
    }

    /// It keeps its end for ever.
    const fn clings(link: LinkId) -> bool {
        link.0 % 8 == 3
    }
}

/// Turns from here on end what is left of a storm.
pub(crate) const DISPERSE: u32 = 1 << 20;
/// Turns from here on are planned storms of so many connections, which somebody else ends.
pub(crate) const PLANNED: u32 = 1 << 24;

impl Node for Mob {
    fn turn(&mut self, io: &mut Io<'_>, token: u32) {
        if token >= PLANNED {
            self.storm(io, token - PLANNED);
            return;
        }
        if token >= DISPERSE {
            let stay = self.calmed < 2;
            for link in core::mem::take(&mut self.links) {
                if stay && Self::clings(link) {
                    self.links.push(link);
                } else {
                    io.reset(link);
                }
            }
            return;
        }
        self.storm(io, token * 4);
        io.turn_after(200_000 << (token % 16), DISPERSE);
    }

    fn opened(&mut self, io: &mut Io<'_>, link: LinkId) {
        match link.0 % 4 {
            0 => io.reset(link),
            1 => io.finish(link),
            2 => io.send(link, b"\r"),
            _ => {}
        }
    }

    fn calmed(&mut self, io: &mut Io<'_>) {
        self.calmed += 1;
        self.turn(io, DISPERSE);
    }

    fn readable(&mut self, io: &mut Io<'_>, link: LinkId) {
        // Half of them never read.
        if link.0.is_multiple_of(2) {
            io.take_all(link);
        }
    }

    fn ended(&mut self, io: &mut Io<'_>, link: LinkId, how: Ending) {
        if how == Ending::Fin && !Self::clings(link) {
            io.close(link);
        }
    }
}
