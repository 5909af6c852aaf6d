//! What is written down for the checkers.

use super::Serve;
use crate::io::Io;
use crate::net::LinkId;
use crate::transcript::{Look, Transcript};
use drywire::engine::Machine;

impl<M: Machine> Serve<M> {
    /// Writes down what a call into the machine changed.
    pub(super) fn look(&mut self, io: &mut Io<'_>, link: LinkId) {
        if !self.storing {
            return;
        }
        let Some(t) = self.tenants[link.0 as usize].as_mut() else { return };
        self.calls += 1;
        let (event, now, real) = (self.calls, io.now().0, io.real_now().0);
        let waiting = io.input(link).len();
        let Some(transcript) = io.transcript(link) else { return };
        let look = Look { event, now, real, fed: t.fed, sent: t.sent, waiting };
        transcript.enter(&self.machines[t.at], t.id, look);
        t.produced = transcript.produced.len() as u64;
        if t.produced > t.sent {
            t.stuck.get_or_insert(now);
            t.behind.get_or_insert(now);
        }
    }

    /// The peer took something: how long did it let the rest wait?
    pub(super) fn took_some(&mut self, io: &mut Io<'_>, link: LinkId) {
        let now = io.now().0;
        let Some(t) = self.tenant(link) else { return };
        let (stuck, mut behind) = (t.stuck.take(), t.behind);
        if t.produced > t.sent {
            t.stuck = Some(now);
        } else {
            behind = t.behind.take();
        }
        if let Some(transcript) = io.transcript(link) {
            let since = |at: Option<u64>| at.map_or(0, |at| now.saturating_sub(at));
            transcript.stuck = transcript.stuck.max(since(stuck));
            transcript.behind = transcript.behind.max(since(behind));
        }
    }

    /// Enters the time in the transcripts of all connections.
    pub(super) fn mark(&self, io: &mut Io<'_>, enter: impl Fn(&mut Transcript, u64)) {
        let now = io.now().0;
        for (link, tenant) in self.tenants.iter().enumerate() {
            if tenant.is_some()
                && let Some(transcript) = io.transcript(LinkId(link as u32))
            {
                enter(transcript, now);
            }
        }
    }
}
