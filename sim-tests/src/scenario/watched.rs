//! What a server saw, written down outside of the simulator: by a machine around its machine.

use crate::transcript::{Look, Transcript};
use drywire::Tick;
use drywire::conn::{CloseReason, Deadline, Leave, Limits, Peer, Place, Scratch, Slices, Wants};
use drywire::engine::{ConnId, Done, Letter, Machine, Work};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What each engine of each life of a server saw.
pub(super) type Logs = Arc<Mutex<Vec<Log>>>;

/// What one engine saw.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// By connection, in their order.
    pub(super) transcripts: Vec<Transcript>,
    /// When anything last happened.
    pub(super) end: u64,
    /// By how much its host was late with deadlines, in all (ns).
    pub(super) late: u64,
}

/// Any machine.
pub(super) type Boxed = Box<dyn Machine + Send>;

/// A machine that keeps transcripts, if there is somewhere to keep them.
pub(super) struct Watched {
    inner: Boxed,
    logs: Option<(Logs, usize)>,
    open: BTreeMap<ConnId, Open>,
    events: u64,
}

#[derive(Clone, Copy, Default)]
struct Open {
    at: usize,
    fed: u64,
    sent: u64,
}

impl Watched {
    pub(super) fn new(inner: Boxed, logs: Option<Logs>) -> Self {
        let logs = logs.map(|logs| {
            let mut all = lock(&logs);
            all.push(Log::default());
            let index = all.len() - 1;
            drop(all);
            (logs, index)
        });
        Self { inner, logs, open: BTreeMap::new(), events: 0 }
    }

    /// There is a connection.
    fn begin(&mut self, id: ConnId, now: Tick) {
        if let Some((logs, index)) = &self.logs {
            let log = &mut lock(logs)[*index];
            let open = Open { at: log.transcripts.len(), ..Open::default() };
            log.transcripts.push(Transcript::default());
            self.open.insert(id, open);
        }
        self.look(id, now);
    }

    fn look(&mut self, id: ConnId, now: Tick) {
        let (Some((logs, index)), Some(open)) = (&self.logs, self.open.get(&id)) else { return };
        self.events += 1;
        let (event, now, waiting) = (self.events, now.0, 0);
        let look = Look { event, now, real: now, fed: open.fed, sent: open.sent, waiting };
        let log = &mut lock(logs)[*index];
        log.transcripts[open.at].enter(&*self.inner, id, look);
        log.end = log.end.max(now);
    }

    fn fed(&mut self, id: ConnId, now: Tick, n: usize) {
        if let Some(open) = self.open.get_mut(&id) {
            open.fed += n as u64;
        }
        self.look(id, now);
    }
}

fn lock(logs: &Logs) -> MutexGuard<'_, Vec<Log>> {
    logs.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Machine for Watched {
    fn accept(&mut self, now: Tick, peer: &Peer) -> Option<ConnId> {
        let id = self.inner.accept(now, peer)?;
        self.begin(id, now);
        Some(id)
    }

    fn refuse(&mut self, now: Tick) -> Option<ConnId> {
        let id = self.inner.refuse(now)?;
        self.begin(id, now);
        Some(id)
    }

    fn room<'b>(&self, id: ConnId, scratch: &'b mut Scratch) -> &'b mut [u8] {
        self.inner.room(id, scratch)
    }

    fn ingest(&mut self, id: ConnId, now: Tick, scratch: &Scratch, n: usize) {
        self.inner.ingest(id, now, scratch, n);
        self.fed(id, now, n);
    }

    fn receive(&mut self, id: ConnId, now: Tick, bytes: &[u8]) -> usize {
        let taken = self.inner.receive(id, now, bytes);
        self.fed(id, now, taken);
        taken
    }

    fn end_of_input(&mut self, id: ConnId, now: Tick) {
        self.inner.end_of_input(id, now);
        self.look(id, now);
    }

    fn resume(&mut self, id: ConnId, now: Tick) {
        self.inner.resume(id, now);
        self.look(id, now);
    }

    fn sent(&mut self, id: ConnId, now: Tick, n: usize) {
        // Output that others made must be seen before it is gone.
        self.look(id, now);
        self.inner.sent(id, now, n);
        if let Some(open) = self.open.get_mut(&id) {
            open.sent += n as u64;
        }
        self.look(id, now);
    }

    fn was_shut_down(&mut self, id: ConnId, now: Tick) {
        self.inner.was_shut_down(id, now);
        self.look(id, now);
    }

    fn close(&mut self, id: ConnId, now: Tick) {
        self.inner.close(id, now);
        self.look(id, now);
    }

    fn abort(&mut self, id: ConnId, now: Tick, reason: CloseReason) {
        self.inner.abort(id, now, reason);
        self.look(id, now);
    }

    fn wants(&self, id: ConnId) -> Wants {
        self.inner.wants(id)
    }

    fn outgoing(&self, id: ConnId) -> Slices<'_> {
        self.inner.outgoing(id)
    }

    fn pin_outgoing(&mut self, id: ConnId, segments: &mut Vec<bytes::Bytes>) {
        self.inner.pin_outgoing(id, segments);
    }

    fn close_reason(&self, id: ConnId) -> Option<CloseReason> {
        self.inner.close_reason(id)
    }

    fn next_dirty(&mut self, now: Tick) -> Option<ConnId> {
        let id = self.inner.next_dirty(now)?;
        self.look(id, now);
        Some(id)
    }

    fn next_work(&mut self, now: Tick) -> Option<Work> {
        self.inner.next_work(now)
    }

    fn complete(&mut self, now: Tick, done: Done) {
        self.inner.complete(now, done);
    }

    fn seat(&mut self, place: Place) {
        self.inner.seat(place);
    }

    fn next_mail(&mut self) -> Option<Letter> {
        self.inner.next_mail()
    }

    fn receive_mail(&mut self, now: Tick, letter: Letter) {
        self.inner.receive_mail(now, letter);
    }

    fn deadline(&self) -> Option<Deadline> {
        self.inner.deadline()
    }

    fn gathers_until(&self, now: Tick) -> Option<Tick> {
        self.inner.gathers_until(now)
    }

    fn due(&self, now: Tick, ids: &mut Vec<ConnId>) {
        self.inner.due(now, ids);
    }

    fn tick(&mut self, now: Tick) {
        if let (Some((logs, index)), Some(due)) = (&self.logs, self.inner.deadline()) {
            lock(logs)[*index].late += now.0.saturating_sub(due.at.0);
        }
        self.inner.tick(now);
    }

    fn leave(&mut self, now: Tick, step: Leave) {
        self.inner.leave(now, step);
    }

    fn drain(&mut self, now: Tick) {
        self.inner.drain(now);
    }

    fn release(&mut self, id: ConnId, now: Tick) {
        if let Some(open) = self.open.remove(&id)
            && let Some((logs, index)) = &self.logs
        {
            let transcript = &mut lock(logs)[*index].transcripts[open.at];
            transcript.over.get_or_insert(now.0);
            transcript.released = Some(now.0);
        }
        self.inner.release(id, now);
    }

    fn len(&self) -> usize {
        self.inner.len()
    }

    fn buffered(&self) -> usize {
        self.inner.buffered()
    }

    fn set_buffered_elsewhere(&mut self, bytes: usize) {
        self.inner.set_buffered_elsewhere(bytes);
    }

    fn reads_stopped(&self) -> bool {
        self.inner.reads_stopped()
    }

    fn footprint(&self) -> usize {
        self.inner.footprint()
    }

    fn footprint_of(&self, id: ConnId) -> usize {
        self.inner.footprint_of(id)
    }

    fn limits(&self) -> &Limits {
        self.inner.limits()
    }
}
