//! Many connections around one shared state, still without a socket.
//!
//! An [`Engine`] owns the connections of one service on one thread. Hosts see it as a
//! [`Machine`]: the same calls without the protocol's types, so that one host loop serves any
//! protocol.
//!
//! ```text
//!   host ──accept, ingest, sent, tick, complete──►  Engine ── Conn ── Session ─┐
//!     ◄──wants, outgoing, deadline, next_dirty,───     │                       │ &mut Shared
//!        next_work, next_mail                          └── posts, jobs, timers ┘
//! ```
//!
//! A service may run one engine per thread. They share nothing: an engine mails messages to
//! another, and the host carries the [`Letter`]s, each pair of engines in order.

mod held;
mod jobs;
mod machine;
mod mail;
mod shards;

pub use held::Held;
pub(crate) use jobs::{Jobs, Pausing};
pub use machine::{Done, Machine, Work};
pub use mail::Letter;
pub(crate) use mail::Queues;
pub use shards::{Local, Shards};

use crate::conn::{
    CloseReason, Conn, Deadline, Leave, Limits, Outbox, Peer, Place, Scratch, Session, Slices,
    Upkeep, Wants,
};
use crate::guard::{Band, RefusalWindow, StallGuard};
use crate::tick::Tick;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// A connection's name: never reused, so that a late result for a dead connection finds nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    /// Index of its place; small, reused.
    pub slot: u32,
    /// Which tenant of that place.
    pub generation: u32,
}

/// A job's name: the connection that asked and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId {
    /// Who gets the result.
    pub conn: ConnId,
    /// Counts the jobs of this engine.
    pub number: u64,
}

/// What the connections of one engine share; alone it drives single [`Conn`]s in tests.
pub struct World<S: Session> {
    /// The protocol's shared state.
    pub shared: S::Shared,
    /// The caps of each connection.
    pub limits: Limits,
    pub(crate) queues: Queues<S>,
    pub(crate) jobs: Jobs<S>,
    pub(crate) held: Held,
    /// What was refused lately.
    pub(crate) refusals: RefusalWindow,
    /// Who pauses for it.
    pub(crate) pausing: Pausing,
    /// Memory of drained outboxes, for the next connection that answers.
    spare: Vec<Vec<u8>>,
}

impl<S: Session> World<S> {
    /// How many drained output buffers are kept, and how large at most.
    const SPARE: usize = 16;
    const SPARE_CAPACITY: usize = 128 << 10;

    /// A world around `shared`.
    #[must_use]
    pub fn new(shared: S::Shared, limits: Limits) -> Self {
        Self {
            shared,
            limits,
            queues: Queues::new(),
            jobs: Jobs::default(),
            held: Held::default(),
            refusals: RefusalWindow::new(),
            pausing: Pausing::default(),
            spare: Vec::new(),
        }
    }

    /// From where on a connection stops at its waiting output, and down to where.
    #[inline]
    pub(crate) const fn marks(&self) -> Band {
        self.held.marks(&self.limits)
    }

    #[inline]
    pub(crate) fn lend_memory(&mut self, out: &mut Outbox) {
        if !out.owns_memory()
            && let Some(spare) = self.spare.pop()
        {
            out.give_spare(spare);
        }
    }

    #[inline]
    pub(crate) fn take_memory(&mut self, out: &mut Outbox) {
        let spare = out.take_spare();
        if self.spare.len() < Self::SPARE && spare.capacity() <= Self::SPARE_CAPACITY {
            self.spare.push(spare);
        }
    }
}

/// Many connections of one protocol on one thread.
///
/// Every call names the connection and, where it matters, the time. Calls with an id that is
/// gone do nothing, and `wants` of it is CLOSE. After any call look at [`Engine::wants`] of that
/// connection, and before sleeping at [`Engine::next_dirty`], [`Engine::next_job`] and
/// [`Engine::deadline`].
pub struct Engine<S: Session> {
    world: World<S>,
    slots: Vec<Slot<S>>,
    free: Vec<u32>,
    /// Connections that others touched, each once.
    dirty: VecDeque<u32>,
    /// One entry for each connection whose deadline is armed.
    timers: BTreeSet<(Tick, u32)>,
    max_conns: usize,
    draining: bool,
    /// Whether this process was away.
    stall: StallGuard,
    /// It was: nobody is given up before everything readable was read once.
    back: bool,
}

struct Slot<S> {
    generation: u32,
    dirty: bool,
    /// The tick in `timers`; [`Tick::MAX`] if none. Never later than the deadline.
    armed: Tick,
    conn: Option<Conn<S>>,
}

/// Connections beyond the limit that may be around to hear their refusal.
const REFUSED_AT_ONCE: usize = 64;
/// Posts delivered in one call before the host gets its turn.
const POSTS_PER_CALL: usize = 4096;

impl<S: Session> Engine<S> {
    /// An engine for at most `max_conns` connections around `shared`.
    #[must_use]
    pub fn new(shared: S::Shared, limits: Limits, max_conns: usize) -> Self {
        Self {
            world: World::new(shared, limits),
            slots: Vec::new(),
            free: Vec::new(),
            dirty: VecDeque::new(),
            timers: BTreeSet::new(),
            max_conns,
            draining: false,
            stall: StallGuard::new(Tick::ZERO),
            back: false,
        }
    }

    /// A new connection. Past the limit, or while draining, it is refused in the protocol's
    /// words: it still gets an id, is told so and closed. `None` when too many of those are
    /// around already: drop the socket.
    pub fn accept(&mut self, now: Tick, peer: &Peer) -> Option<ConnId> {
        if self.draining || self.len() >= self.max_conns {
            return self.refuse(now);
        }
        self.look(now);
        let id = self.vacant();
        let conn = Conn::open(now, id, peer, &mut self.world);
        self.occupy(id, conn);
        self.after(id.slot, now);
        Some(id)
    }

    /// A new connection that the host has no room for: told so in the protocol's words.
    pub fn refuse(&mut self, now: Tick) -> Option<ConnId> {
        self.look(now);
        if self.len() >= self.max_conns.saturating_add(REFUSED_AT_ONCE) {
            return None;
        }
        let id = self.vacant();
        let conn = Conn::refused(now, id, &mut self.world);
        self.occupy(id, conn);
        self.after(id.slot, now);
        Some(id)
    }

    /// See [`Conn::room`].
    pub fn room<'b>(&self, id: ConnId, scratch: &'b mut Scratch) -> &'b mut [u8] {
        match self.conn(id) {
            Some(conn) => conn.room(&self.world, scratch),
            None => &mut [],
        }
    }

    /// See [`Conn::ingest`].
    pub fn ingest(&mut self, id: ConnId, now: Tick, scratch: &Scratch, n: usize) {
        self.with(id, now, |conn, world| conn.ingest(now, world, scratch, n));
    }

    /// See [`Conn::receive`].
    pub fn receive(&mut self, id: ConnId, now: Tick, bytes: &[u8]) -> usize {
        self.with(id, now, |conn, world| conn.receive(now, world, bytes)).unwrap_or(0)
    }

    /// See [`Conn::end_of_input`].
    pub fn end_of_input(&mut self, id: ConnId, now: Tick) {
        self.with(id, now, |conn, world| conn.end_of_input(now, world));
    }

    /// See [`Conn::resume`].
    pub fn resume(&mut self, id: ConnId, now: Tick) {
        self.with(id, now, |conn, world| conn.resume(now, world));
    }

    /// See [`Conn::sent`].
    pub fn sent(&mut self, id: ConnId, now: Tick, n: usize) {
        self.with(id, now, |conn, world| conn.sent(now, world, n));
    }

    /// See [`Conn::was_shut_down`].
    pub fn was_shut_down(&mut self, id: ConnId, now: Tick) {
        self.with(id, now, |conn, world| conn.was_shut_down(now, world));
    }

    /// See [`Conn::close`].
    pub fn close(&mut self, id: ConnId, now: Tick) {
        self.with(id, now, |conn, world| conn.close(now, world));
    }

    /// See [`Conn::abort`].
    pub fn abort(&mut self, id: ConnId, now: Tick, reason: CloseReason) {
        self.with(id, now, |conn, world| conn.abort(now, world, reason));
    }

    /// What a connection wants; CLOSE if it is gone.
    #[inline]
    #[must_use]
    pub fn wants(&self, id: ConnId) -> Wants {
        self.conn(id).map_or(Wants::CLOSE, |conn| conn.wants(&self.world))
    }

    /// The unsent bytes of a connection, in order; nothing if it is gone.
    #[must_use]
    pub fn outgoing(&self, id: ConnId) -> Slices<'_> {
        self.conn(id).map_or_else(Slices::none, Conn::outgoing)
    }

    /// Fixes the unsent bytes of a connection in memory, see [`Outbox::pin`], and appends all of
    /// them to `segments`.
    pub fn pin_outgoing(&mut self, id: ConnId, segments: &mut Vec<Bytes>) {
        let Some(slot) = self.slots.get_mut(id.slot as usize) else { return };
        if let Some(conn) = slot.conn.as_mut().filter(|_| slot.generation == id.generation) {
            segments.extend(conn.pin_outgoing().cloned());
        }
    }

    /// Sends `message` to a connection from outside, as [`Cx::post`](crate::conn::Cx::post) does
    /// from another one. A connection that is gone is skipped.
    pub fn post(&mut self, now: Tick, to: ConnId, message: S::Message) {
        self.world.queues.posts.push_back((to, message));
        self.deliver(now);
    }

    /// Why a connection ended or is ending.
    #[must_use]
    pub fn close_reason(&self, id: ConnId) -> Option<CloseReason> {
        self.conn(id).and_then(Conn::close_reason)
    }

    /// A connection, to look at.
    #[inline]
    #[must_use]
    pub fn conn(&self, id: ConnId) -> Option<&Conn<S>> {
        let slot = self.slots.get(id.slot as usize)?;
        if slot.generation == id.generation { slot.conn.as_ref() } else { None }
    }

    /// This engine's place among those of its service; the host says so before the first
    /// connection. [`Place::ALONE`] otherwise.
    pub fn seat(&mut self, place: Place) {
        self.world.queues.seat(place);
    }

    /// The next connection that something other than its own socket touched (a post, a wake, a
    /// job, a deadline): look at its wants. Delivers posts and wakes that are still under way.
    pub fn next_dirty(&mut self, now: Tick) -> Option<ConnId> {
        self.deliver(now);
        self.hand_out_wakes();
        if self.world.held.take_resumed() {
            (0..self.slots.len() as u32).for_each(|slot| self.mark_dirty(slot));
        }
        while let Some(slot) = self.dirty.pop_front() {
            let s = &mut self.slots[slot as usize];
            s.dirty = false;
            if s.conn.is_some() {
                return Some(ConnId { slot, generation: s.generation });
            }
        }
        None
    }

    /// The next bundle of messages for another engine of this service. The host carries it to
    /// that engine's [`Engine::receive_mail`]; bundles between two engines keep their order.
    pub fn next_mail(&mut self) -> Option<Letter> {
        self.world.queues.next_mail()
    }

    /// Mail from another engine of this service has arrived.
    pub fn receive_mail(&mut self, now: Tick, letter: Letter) {
        let from = letter.from();
        for message in letter.open::<S::Message>() {
            let World { shared, queues, .. } = &mut self.world;
            S::on_mail(&mut Upkeep { now, shared, queues }, from, message);
            self.deliver(now);
        }
    }

    /// When [`Engine::tick`] is due next, and why. May be early, never late.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        if !self.world.queues.posts.is_empty() || !self.world.queues.wakes.is_empty() {
            return Some(Deadline { at: Tick::ZERO, why: "posts" });
        }
        let conns = self.timers.first().map(|&(at, slot)| {
            let conn = self.slots[slot as usize].conn.as_ref();
            let deadline = conn.and_then(|c| c.deadline(&self.world.limits));
            Deadline { at, why: deadline.map_or("stale", |d| d.why) }
        });
        [conns, S::upkeep_due(&self.world.shared)].into_iter().flatten().min()
    }

    /// Appends the connections whose deadlines a [`Engine::tick`] at `now` finds due. Whatever
    /// waits in their sockets is to be brought first: a loop that was away would otherwise blame
    /// a peer for a silence in which it was only not listened to.
    pub fn due(&self, now: Tick, ids: &mut Vec<ConnId>) {
        for &(_, slot) in self.timers.range(..=(now, u32::MAX)) {
            let s = &self.slots[slot as usize];
            let deadline = s.conn.as_ref().and_then(|conn| conn.deadline(&self.world.limits));
            if deadline.is_some_and(|due| due.at <= now) {
                ids.push(ConnId { slot, generation: s.generation });
            }
        }
    }

    /// Time has passed: fires what is due. Work is bounded by the number of due deadlines. Hosts
    /// read what waits for the connections that are [`Engine::due`] before.
    ///
    /// Called later than asked for by more than [`Limits::own_stall`], this process was away: the
    /// time is given back to every connection, and none of them is given up before the host had
    /// its chance to bring what waits in the sockets, which is until the next call.
    pub fn tick(&mut self, now: Tick) {
        self.look(now);
        if !core::mem::take(&mut self.back) {
            self.fire(now);
        }
        if S::upkeep_due(&self.world.shared).is_some_and(|d| d.at <= now) {
            let World { shared, queues, .. } = &mut self.world;
            S::upkeep(&mut Upkeep { now, shared, queues });
        }
        self.deliver(now);
    }

    fn fire(&mut self, now: Tick) {
        // Each armed connection once: a session whose deadline stays due cannot hang the host.
        for _ in 0..self.timers.len() {
            let Some(&(at, slot)) = self.timers.first().filter(|(at, _)| *at <= now) else { break };
            self.timers.remove(&(at, slot));
            let s = &mut self.slots[slot as usize];
            s.armed = Tick::MAX;
            if let Some(conn) = s.conn.as_mut() {
                if conn.deadline(&self.world.limits).is_some_and(|d| d.at <= now) {
                    conn.tick(now, &mut self.world);
                    self.mark_dirty(slot);
                    debug_assert!(
                        self.slots[slot as usize]
                            .conn
                            .as_ref()
                            .and_then(|c| c.deadline(&self.world.limits))
                            .is_none_or(|d| d.at > now),
                        "a deadline is still due after its tick (I4)"
                    );
                }
                self.rearm(slot);
            }
        }
    }

    /// The server will go away; connections stay and are accepted. See [`Session::on_leave`].
    pub fn leave(&mut self, now: Tick, step: Leave) {
        let World { shared, queues, .. } = &mut self.world;
        S::on_leave(&mut Upkeep { now, shared, queues }, step);
        self.deliver(now);
    }

    /// The server is going away: no new connections, each one finishes what it owes.
    pub fn drain(&mut self, now: Tick) {
        self.draining = true;
        for slot in 0..self.slots.len() as u32 {
            let s = &mut self.slots[slot as usize];
            if let Some(conn) = s.conn.as_mut() {
                conn.close(now, &mut self.world);
                self.mark_dirty(slot);
                self.rearm(slot);
            }
        }
        self.deliver(now);
    }

    /// Forgets a connection whose socket is closed. One that was not over is aborted.
    pub fn release(&mut self, id: ConnId, now: Tick) {
        let aborted = CloseReason::Transport(crate::conn::TransportError::Other);
        let Some(()) = self.with(id, now, |conn, world| conn.abort(now, world, aborted)) else {
            return;
        };
        let slot = &mut self.slots[id.slot as usize];
        slot.conn = None;
        slot.generation = slot.generation.wrapping_add(1);
        if slot.armed != Tick::MAX {
            self.timers.remove(&(slot.armed, id.slot));
            slot.armed = Tick::MAX;
        }
        self.free.push(id.slot);
    }

    /// Connections held, refused ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether no connection is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Unconsumed input and unsent output of all connections, in bytes.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.world.held.here()
    }

    /// What other engines hold that share [`Limits::total`] with this one, in bytes. May be told
    /// late; ask [`Engine::next_dirty`] afterwards.
    pub fn set_buffered_elsewhere(&mut self, bytes: usize) {
        self.world.held.set_elsewhere(&self.world.limits, bytes);
    }

    /// Whether connections are not read because of what all of them hold, see [`Held::stopped`].
    #[must_use]
    pub fn reads_stopped(&self) -> bool {
        self.world.held.stopped()
    }

    /// The shared state and the limits.
    #[must_use]
    pub fn world(&self) -> &World<S> {
        &self.world
    }

    /// The caps of each connection; hosts size their [`Scratch`] by them.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.world.limits
    }

    /// The shared state, to change it from outside.
    pub fn shared_mut(&mut self) -> &mut S::Shared {
        &mut self.world.shared
    }

    /// Bytes of memory held by connections and queues, the shared state not counted.
    #[must_use]
    pub fn footprint(&self) -> usize {
        let conns: usize =
            self.slots.iter().filter_map(|s| s.conn.as_ref()).map(Conn::footprint).sum();
        conns
            + self.slots.capacity() * size_of::<Slot<S>>()
            + self.world.spare.iter().map(Vec::capacity).sum::<usize>()
            + self.world.queues.footprint()
            + self.world.jobs.held()
    }

    /// Bytes of memory that one connection holds; 0 if it is gone.
    #[must_use]
    pub fn footprint_of(&self, id: ConnId) -> usize {
        self.conn(id).map_or(0, Conn::footprint)
    }

    /// Runs `f` on a connection, then delivers posts and re-arms its deadline.
    #[inline]
    fn with<R>(
        &mut self,
        id: ConnId,
        now: Tick,
        f: impl FnOnce(&mut Conn<S>, &mut World<S>) -> R,
    ) -> Option<R> {
        self.look(now);
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let conn = slot.conn.as_mut()?;
        let result = f(conn, &mut self.world);
        self.after(id.slot, now);
        Some(result)
    }

    #[inline]
    fn after(&mut self, slot: u32, now: Tick) {
        self.rearm(slot);
        if !self.world.queues.posts.is_empty() {
            self.deliver(now);
        }
    }

    /// Every call brings the time: this is where a gap shows, before anything is done about it.
    #[inline]
    fn look(&mut self, now: Tick) {
        if !self.stall.is_prompt(self.world.limits.own_stall, now) {
            self.came_late(now);
        }
    }

    #[cold]
    fn came_late(&mut self, now: Tick) {
        let limits = self.world.limits;
        let conns = || self.slots.iter().filter_map(|slot| slot.conn.as_ref());
        // Without a deadline that was missed nothing was lost, whatever the timers had asked for.
        let missed = conns().filter_map(|conn| conn.deadline(&limits)).any(|due| due.at < now);
        let asked = self.timers.first().map(|(at, _)| *at).filter(|_| missed);
        if let Some(gap) = self.stall.woke(limits.own_stall, now, asked) {
            self.back = true;
            for conn in self.slots.iter_mut().filter_map(|slot| slot.conn.as_mut()) {
                conn.lost_time(gap);
            }
        }
    }

    /// Keeps `timers` at or before the connection's deadline. Lazy: a deadline that moved
    /// later is found when the earlier one fires, so traffic pays nothing.
    #[inline]
    fn rearm(&mut self, slot: u32) {
        let s = &mut self.slots[slot as usize];
        let at = s.conn.as_ref().and_then(|c| c.deadline(&self.world.limits)).map(|d| d.at);
        if let Some(at) = at.filter(|at| *at < s.armed) {
            if s.armed != Tick::MAX {
                self.timers.remove(&(s.armed, slot));
            }
            self.timers.insert((at, slot));
            s.armed = at;
        }
    }

    fn deliver(&mut self, now: Tick) {
        for _ in 0..POSTS_PER_CALL {
            let Some((to, message)) = self.world.queues.posts.pop_front() else { return };
            let Some(slot) = self.slots.get_mut(to.slot as usize) else { continue };
            if slot.generation != to.generation {
                continue;
            }
            if let Some(conn) = slot.conn.as_mut() {
                conn.post(now, &mut self.world, message);
                self.mark_dirty(to.slot);
                self.rearm(to.slot);
            }
        }
    }

    fn hand_out_wakes(&mut self) {
        for id in self.world.queues.wakes.drain(..) {
            let Some(slot) = self.slots.get_mut(id.slot as usize) else { continue };
            if slot.generation == id.generation
                && let Some(conn) = slot.conn.as_mut()
            {
                conn.wake();
                if !core::mem::replace(&mut slot.dirty, true) {
                    self.dirty.push_back(id.slot);
                }
            }
        }
    }

    fn mark_dirty(&mut self, slot: u32) {
        let s = &mut self.slots[slot as usize];
        if !s.dirty {
            s.dirty = true;
            self.dirty.push_back(slot);
        }
    }

    fn vacant(&mut self) -> ConnId {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
            self.slots.push(Slot { generation: 0, dirty: false, armed: Tick::MAX, conn: None });
            slot
        });
        ConnId { slot, generation: self.slots[slot as usize].generation }
    }

    fn occupy(&mut self, id: ConnId, conn: Conn<S>) {
        self.slots[id.slot as usize].conn = Some(conn);
    }
}

impl<S: Session> fmt::Debug for Engine<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("conns", &self.len())
            .field("draining", &self.draining)
            .finish_non_exhaustive()
    }
}
