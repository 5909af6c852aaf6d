//! What befalls a machine: planned strikes, faults, death and the next life.

use super::World;
use crate::client::{DISPERSE, PLANNED};
use crate::fault::Fault;
use crate::io::Io;
use crate::link::Fin;
use crate::net::{Call, Due, End, LinkId, NodeId};
use crate::node::Ending;
use crate::plan::Nemesis;
use crate::trace::What;
use core::time::Duration;

impl World {
    /// A strike of the plan is due.
    pub(super) fn planned(&mut self, nth: usize) {
        let Some(plan) = self.plan.as_ref().filter(|_| !self.net.calm) else { return };
        let (strike, mob) = (&plan.strikes[nth], plan.mob);
        let nemesis = strike.nemesis;
        let nanos = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        let struck = (0..).zip(&plan.servers).filter(|(at, _)| strike.is_at(*at));
        let servers: Vec<NodeId> = struck.map(|(_, server)| *server).collect();
        let of_servers = match nemesis {
            Nemesis::Crash { lasts } => Some((Fault::Crash, lasts)),
            Nemesis::PowerLoss { lasts } => Some((Fault::PowerLoss, lasts)),
            Nemesis::Drain { lasts } => Some((Fault::Drain, lasts)),
            Nemesis::Freeze { lasts } => Some((Fault::Freeze, lasts)),
            _ => None,
        };
        if let Some((fault, lasts)) = of_servers {
            servers.into_iter().for_each(|server| self.befall(fault, 0, nanos(lasts), server));
        } else if let Nemesis::Storm { connections, lasts } = nemesis {
            if let Some(mob) = mob {
                self.net.after(nanos(lasts), Due::Call(mob, Call::Turn(DISPERSE)));
                self.call(mob, Call::Turn(PLANNED + connections));
            }
        } else {
            let callers = (0..).zip(&plan.callers).filter(|(who, _)| strike.hits(*who));
            let nodes: Vec<NodeId> = callers.map(|(_, node)| *node).collect();
            for node in nodes {
                self.net.record(node, None, What::Note(format!("{nemesis:?}")));
                servers.iter().for_each(|server| self.net.plan(node, *server, nemesis));
            }
        }
    }

    pub(super) fn hit(&mut self, fault: Fault, value: u32, node: NodeId) {
        let ms = 1_000_000_u64;
        let span = match fault {
            Fault::Freeze => (10 * ms) << value.min(11),
            Fault::Crash | Fault::PowerLoss => ms << value.min(13),
            Fault::Drain => (100 * ms) << value.min(8),
            _ => 0,
        };
        self.befall(fault, value, span, node);
    }

    /// A fault hits a node, for `span` nanoseconds if it is one that lasts.
    pub(super) fn befall(&mut self, fault: Fault, value: u32, span: u64, node: NodeId) {
        let at = node.0 as usize;
        if self.net.calm || self.net.places[at].down {
            return;
        }
        self.befell.insert(fault);
        let ends: Vec<(LinkId, usize)> = self.open_ends(node);
        for (link, end) in &ends {
            if *end == 1 {
                self.net.hit(fault, *link, u64::from(value));
            }
            if matches!(fault, Fault::Crash | Fault::Drain) {
                self.net.links[link.0 as usize].excused = true;
            }
        }
        self.count_hits();
        self.net.digest.number(self.net.now ^ (11 << 56) ^ (fault as u64) << 8 ^ u64::from(value));
        match fault {
            Fault::Freeze if self.net.places[at].frozen => {}
            Fault::Freeze => {
                self.net.places[at].frozen = true;
                self.net.after(span, Due::Thaw(node));
            }
            Fault::Clock => {
                self.net.set_clock(node, value);
                self.net.places[at].armed = u64::MAX;
                self.net.after(0, Due::Wake(node));
            }
            Fault::Crash | Fault::PowerLoss => self.kill(node, fault == Fault::Crash, span),
            Fault::Drain => {
                self.call(node, Call::Drain);
                let replace = Due::Hit { fault: Fault::Crash, value: 1, node };
                self.net.after(span, replace);
            }
            Fault::Storm => self.call(node, Call::Turn(value)),
            _ => {}
        }
    }

    /// Ends a node's life, in silence if its process had no time to die; the next one begins after
    /// `span` nanoseconds.
    pub(super) fn kill(&mut self, node: NodeId, heard: bool, span: u64) {
        let at = node.0 as usize;
        let ends = self.open_ends(node);
        if let Some(mut dying) = self.slots[at].node.take() {
            dying.dies(&mut Io { net: &mut self.net, node });
        }
        let place = &mut self.net.places[at];
        (place.down, place.frozen) = (true, false);
        place.missed.clear();
        let mut io = Io { net: &mut self.net, node };
        for (link, _) in ends {
            if heard {
                io.net.links[link.0 as usize].backlog = [Vec::new(), Vec::new()];
                io.close(link);
            } else {
                io.vanish(link);
            }
        }
        self.net.after(span, Due::Restart(node));
    }

    pub(super) fn restart(&mut self, node: NodeId) {
        let at = node.0 as usize;
        // What the old life left behind is answered with resets.
        let calm = self.net.calm;
        for (link, end) in self.silent_ends(node) {
            let l = &mut self.net.links[link.0 as usize];
            l.state[end] = End::Forgotten;
            // A peer that is still sending finds out; an idle one only when it tries.
            if calm || !l.pipes[1 - end].is_empty() || l.pipes[1 - end].fin != Fin::None {
                let reset = Due::Reset { link, end: 1 - end as u8, how: Ending::Reset };
                self.net.after(20_000, reset);
            }
        }
        let slot = &mut self.slots[at];
        let Some(make) = slot.make.as_mut() else { return };
        slot.life += 1;
        slot.node = Some(make(slot.life));
        self.net.places[at].down = false;
        self.net.places[at].armed = u64::MAX;
        self.net.record(node, None, What::Note(format!("life {} begins", slot.life)));
        self.call(node, Call::Start);
    }

    pub(super) fn open_ends(&self, node: NodeId) -> Vec<(LinkId, usize)> {
        self.ends_in(node, |s| matches!(s, End::Open | End::Opening))
    }

    pub(super) fn silent_ends(&self, node: NodeId) -> Vec<(LinkId, usize)> {
        self.ends_in(node, |s| s == End::Silent)
    }

    pub(super) fn ends_in(
        &self,
        node: NodeId,
        state: impl Fn(End) -> bool,
    ) -> Vec<(LinkId, usize)> {
        let mut found = Vec::new();
        for (i, l) in self.net.links.iter().enumerate() {
            for end in 0..2 {
                if l.ends[end] == node && state(l.state[end]) {
                    found.push((LinkId(i as u32), end));
                }
            }
        }
        found
    }

    /// Enters the hits in the matrix, with the phase of the accepting side.
    pub(super) fn count_hits(&mut self) {
        for (fault, link) in core::mem::take(&mut self.net.hits) {
            let acceptor = self.net.links[link.0 as usize].ends[1];
            let phase = match &self.slots[acceptor.0 as usize].node {
                Some(node) => node.phase(link),
                None => "down",
            };
            self.matrix.hit(fault, phase);
        }
    }
}
