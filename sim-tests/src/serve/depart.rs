//! How the host goes away, step by step.

use super::Serve;
use crate::io::Io;
use crate::node::Node;
use drywire::conn::{CloseReason, Leave, TransportError, Wants};
use drywire::engine::{ConnId, Machine};
use drywire::guard::{Drain, DrainConfig, DrainStep, InFlight};

/// The steps, and where it stands.
#[derive(Debug, Default)]
pub(super) struct Departure {
    pub(super) config: Option<DrainConfig>,
    pub(super) drain: Drain,
}

impl<M: Machine> Serve<M> {
    /// What going away waits for. Nobody here acknowledges an announcement.
    pub(super) fn in_flight(&self) -> InFlight {
        let mut load = InFlight { conns: self.links(), ..InFlight::NONE };
        for t in self.tenants.iter().flatten() {
            let wants = self.machines[t.at].wants(t.id);
            load.closing += usize::from(self.machines[t.at].close_reason(t.id).is_some());
            load.requests += usize::from(wants.has(Wants::WRITE) || wants.has(Wants::AGAIN));
        }
        load
    }

    /// Takes the steps of going away that are due.
    pub(super) fn depart(&mut self, io: &mut Io<'_>) {
        let Some(config) = self.departure.config else { return };
        if !self.departure.drain.announces() {
            return;
        }
        loop {
            let load = self.in_flight();
            match self.departure.drain.poll(&config, io.now(), &load) {
                DrainStep::None | DrainStep::Done => return,
                DrainStep::Announce => self.leave(io, Leave::Announce),
                DrainStep::RefuseNew => {
                    self.leave(io, Leave::RefuseNew);
                    self.mark(io, |transcript, now| transcript.refusing = Some(now));
                }
                DrainStep::Close(n) => {
                    let open = self.tenants.iter().flatten().map(|t| (t.at, t.id));
                    let open =
                        open.filter(|(at, id)| self.machines[*at].close_reason(*id).is_none());
                    let ids: Vec<(usize, ConnId)> = open.take(n).collect();
                    for (at, id) in ids {
                        let link = self.links[at][id.slot as usize];
                        io.excuse(link);
                        self.machines[at].close(id, io.now());
                        self.look(io, link);
                        self.pump(io, link);
                    }
                }
                DrainStep::Abort => {
                    let ids: Vec<(usize, ConnId)> =
                        self.tenants.iter().flatten().map(|t| (t.at, t.id)).collect();
                    for (at, id) in ids {
                        let lost = CloseReason::Transport(TransportError::Other);
                        self.machines[at].abort(id, io.now(), lost);
                        self.pump(io, self.links[at][id.slot as usize]);
                    }
                }
            }
            self.settle(io);
        }
    }

    fn leave(&mut self, io: &Io<'_>, step: Leave) {
        for machine in &mut self.machines {
            machine.leave(io.now(), step);
        }
    }
}
