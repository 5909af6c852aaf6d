//! Slow work on its way to the host.

use crate::conn::{Conn, Job, Session};
use crate::engine::{ConnId, Engine, JobId, World};
use crate::tick::Tick;
use alloc::collections::VecDeque;

/// Jobs that wait for a worker.
pub(crate) struct Jobs<S: Session> {
    /// Those that are to be before the others.
    ahead: VecDeque<Waiting<S>>,
    queue: VecDeque<Waiting<S>>,
    number: u64,
}

pub(super) struct Waiting<S: Session> {
    pub(super) id: JobId,
    pub(super) job: S::Job,
    pub(super) since: Tick,
    pub(super) ahead: bool,
}

/// Connections that pause as they were refused something, all until the same time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pausing {
    until: Tick,
    count: usize,
}

impl Pausing {
    pub(crate) fn began(&mut self, until: Tick) {
        let count = if self.until == until { self.count } else { 0 };
        *self = Self { until, count: count + 1 };
    }
}

impl<S: Session> Engine<S> {
    /// The next job to run, oldest first, those of [`Cx::spawn_ahead`] before the others; ask when a
    /// worker is free for it. Jobs that their session takes back ([`Session::on_start`]) and those of
    /// connections that are gone are skipped; taking one back touches its connection, also when
    /// `None` is returned, so ask [`Engine::next_dirty`] afterwards.
    ///
    /// [`Cx::spawn_ahead`]: crate::conn::Cx::spawn_ahead
    pub fn next_job(&mut self, now: Tick) -> Option<(JobId, S::Job)> {
        self.start_job(now).map(|waiting| (waiting.id, waiting.job))
    }

    pub(super) fn start_job(&mut self, now: Tick) -> Option<Waiting<S>> {
        while let Some(waiting) = self.world.jobs.pop() {
            let Waiting { id, ref job, since, .. } = waiting;
            let start =
                |conn: &mut Conn<S>, world: &mut World<S>| conn.start(now, world, id, job, since);
            match self.with(id.conn, now, start) {
                Some(true) => return Some(waiting),
                Some(false) => self.mark_dirty(id.conn.slot),
                None => {}
            }
        }
        None
    }

    /// A job is done. The result for a connection that is gone is dropped.
    pub fn complete(&mut self, now: Tick, id: JobId, output: <S::Job as Job>::Output) {
        self.with(id.conn, now, |conn, world| conn.done(now, world, id, output));
        if self.conn(id.conn).is_some() {
            self.mark_dirty(id.conn.slot);
        }
    }

    /// Under a burden of refusals, if at least a quarter of the connections pause: when their pauses
    /// end, see [`Limits::refusal_pause`]. Until then few are to be read, and a host that does
    /// jobs on the thread of its sockets better stays with them. `None`: it looks after its sockets
    /// as often as ever, for those who were not refused.
    ///
    /// [`Limits::refusal_pause`]: crate::conn::Limits::refusal_pause
    #[must_use]
    pub fn gathers_until(&self, now: Tick) -> Option<Tick> {
        let end = self.world.refusals.pauses_until(self.world.limits.refusal_pause_from, now)?;
        let Pausing { until, count } = self.world.pausing;
        let open = self.slots.len() - self.free.len();
        // With a half, goodput at six times the capacity is below nine tenths of the ceiling
        // (`core/tests/overload`); the fewer it takes, the more of the others wait for them.
        (until == end && 4 * count >= open).then_some(end)
    }
}

impl<S: Session> Jobs<S> {
    pub(crate) fn push(&mut self, now: Tick, conn: ConnId, job: S::Job, ahead: bool) -> JobId {
        self.number += 1;
        let id = JobId { conn, number: self.number };
        let queue = if ahead { &mut self.ahead } else { &mut self.queue };
        queue.push_back(Waiting { id, job, since: now, ahead });
        id
    }

    pub(super) fn pop(&mut self) -> Option<Waiting<S>> {
        self.ahead.pop_front().or_else(|| self.queue.pop_front())
    }

    pub(crate) fn oldest(&self) -> Option<Tick> {
        let fronts = [self.ahead.front(), self.queue.front()];
        fronts.into_iter().flatten().map(|waiting| waiting.since).min()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.ahead.len() + self.queue.len()
    }

    /// Bytes held.
    pub(super) fn held(&self) -> usize {
        (self.ahead.capacity() + self.queue.capacity()) * size_of::<Waiting<S>>()
    }
}

impl<S: Session> Default for Jobs<S> {
    fn default() -> Self {
        Self { ahead: VecDeque::new(), queue: VecDeque::new(), number: 0 }
    }
}
