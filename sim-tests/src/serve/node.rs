//! The host loop as a node: what it does when something happens.

use super::{LETTERS, LOOP, RESULTS, Serve, Tenant};
use crate::io::Io;
use crate::net::LinkId;
use crate::node::{Ending, Memory, Node};
use drywire::Tick;
use drywire::conn::{CloseReason, Peer, TransportError, Wants};
use drywire::engine::{ConnId, Machine};

impl<M: Machine> Node for Serve<M> {
    fn start(&mut self, io: &mut Io<'_>) {
        self.storing = io.keeps_transcripts();
    }

    fn opened(&mut self, io: &mut Io<'_>, link: LinkId) {
        let at = match self.machines.len() {
            1 => 0,
            several => {
                let key = io.key(link);
                io.below(LOOP, key, several as u64) as usize
            }
        };
        let peer = Peer::Virtual(u64::from(link.0));
        let accepted = match self.departure.drain.accepts() {
            true => self.machines[at].accept(io.now(), &peer),
            false => self.machines[at].refuse(io.now()),
        };
        let Some(id) = accepted else {
            io.reset(link);
            return;
        };
        if self.tenants.len() <= link.0 as usize {
            self.tenants.resize_with(link.0 as usize + 1, || None);
        }
        let (fed, sent, produced, again, ended) = (0, 0, 0, false, false);
        let (stuck, behind) = (None, None);
        let tenant = Tenant { at, id, fed, sent, produced, again, ended, stuck, behind };
        self.tenants[link.0 as usize] = Some(tenant);
        let links = &mut self.links[at];
        if links.len() <= id.slot as usize {
            links.resize(id.slot as usize + 1, link);
        }
        links[id.slot as usize] = link;
        if let Some(transcript) = io.transcript(link) {
            (transcript.life, transcript.remark) = (self.life, self.remark);
        }
        self.look(io, link);
        self.pump(io, link);
        self.after(io);
    }

    fn readable(&mut self, io: &mut Io<'_>, link: LinkId) {
        self.pump(io, link);
        self.after(io);
    }

    fn writable(&mut self, io: &mut Io<'_>, link: LinkId) {
        self.pump(io, link);
        self.after(io);
    }

    fn ended(&mut self, io: &mut Io<'_>, link: LinkId, how: Ending) {
        let Some(t) = self.tenant(link) else { return };
        let (at, id) = (t.at, t.id);
        if how == Ending::Fin {
            t.ended = true;
            self.machines[at].end_of_input(id, io.now());
            self.look(io, link);
            self.pump(io, link);
        } else {
            let error = match how {
                Ending::TimedOut => TransportError::TimedOut,
                _ => TransportError::Reset,
            };
            self.machines[at].abort(id, io.now(), CloseReason::Transport(error));
            self.release(io, link);
        }
        self.after(io);
    }

    fn turn(&mut self, io: &mut Io<'_>, token: u32) {
        if token >= RESULTS {
            // None, or another one's, if the job was begun in an earlier life.
            let done = self.results.get_mut((token - RESULTS) as usize).and_then(Option::take);
            if let Some((at, done)) = done {
                self.machines[at].complete(io.now(), done);
            }
        } else if token >= LETTERS {
            let pair = (token - LETTERS) as usize;
            self.deliver(io, (pair >> 8, pair & 255));
        } else {
            let link = LinkId(token);
            if let Some(t) = self.tenant(link) {
                t.again = false;
                let (at, id) = (t.at, t.id);
                self.machines[at].resume(id, io.now());
                self.look(io, link);
                self.pump(io, link);
            }
        }
        self.after(io);
    }

    fn deadline(&self) -> Option<Tick> {
        let machines = self.machines.iter().filter_map(|m| m.deadline().map(|d| d.at)).min();
        let config = self.departure.config.as_ref();
        let config = config.filter(|_| self.departure.drain.announces());
        let leaving = config.and_then(|c| self.departure.drain.deadline(c, &self.in_flight()));
        [machines, leaving].into_iter().flatten().min()
    }

    fn woke(&mut self, io: &mut Io<'_>) {
        for at in 0..self.machines.len() {
            // Whoever is due is heard first: what waits was only not read yet.
            let mut due = Vec::new();
            self.machines[at].due(io.now(), &mut due);
            for id in due {
                let link = self.links[at][id.slot as usize];
                if self.tenant(link).is_some_and(|t| t.at == at && t.id == id) {
                    self.pump(io, link);
                }
            }
            self.machines[at].tick(io.now());
        }
        self.after(io);
    }

    fn drain(&mut self, io: &mut Io<'_>) {
        if self.departure.drain.announces() {
            return;
        }
        if self.departure.config.is_some() {
            self.departure.drain.start(io.now());
            self.mark(io, |transcript, now| transcript.departing = Some(now));
            self.depart(io);
        } else {
            for machine in &mut self.machines {
                machine.drain(io.now());
            }
            self.after(io);
        }
    }

    fn dies(&mut self, io: &mut Io<'_>) {
        for link in 0..self.tenants.len() {
            self.took_some(io, LinkId(link as u32));
        }
        self.mark(io, |transcript, now| transcript.cut = Some(now));
    }

    fn phase(&self, link: LinkId) -> &'static str {
        match self.tenants.get(link.0 as usize) {
            Some(Some(t)) => (self.phase)(&self.machines[t.at], t.id),
            Some(None) => "closed",
            None => "opening",
        }
    }

    fn memory(&self, link: LinkId) -> Memory {
        let held = match self.tenants.get(link.0 as usize) {
            Some(Some(t)) => self.machines[t.at].footprint_of(t.id),
            _ => 0,
        };
        Memory { held, cap: self.cap }
    }

    fn total_memory(&self) -> Memory {
        if self.total_cap == usize::MAX {
            return Memory::UNCHECKED;
        }
        let held = self.machines.iter().map(self.held).sum();
        Memory { held, cap: self.total_cap }
    }

    fn links(&self) -> usize {
        self.machines.iter().map(Machine::len).sum()
    }

    fn leftover(&self) -> Option<String> {
        self.machines.iter().find_map(self.leftover)
    }

    fn owes(&self, io: &Io<'_>) -> Option<String> {
        for (link, tenant) in self.tenants.iter().enumerate() {
            let Some(t) = tenant else { continue };
            let link = LinkId(link as u32);
            let machine = &self.machines[t.at];
            let wants = machine.wants(t.id);
            let unsent: usize = machine.outgoing(t.id).map(<[u8]>::len).sum();
            let waiting = io.input(link).len();
            let where_ = format!("link {} in phase {} wants {wants:?}", link.0, self.phase(link));
            if t.ended {
                return Some(format!("{where_}: the peer ended long ago, and it is still held"));
            }
            if machine.close_reason(t.id).is_some() {
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
        let conns = self.links();
        (held != conns).then(|| format!("the engine holds {conns} connections for {held} links"))
    }
}

/// The phase as every host can see it.
pub(super) fn by_wants<M: Machine>(machine: &M, id: ConnId) -> &'static str {
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
