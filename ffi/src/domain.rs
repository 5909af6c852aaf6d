//! What a server and its connections share: the engine and what callers were shown of it.

use crate::custom::{Custom, Payload};
use crate::guard::Guarded;
use crate::output::{Dead, Shown};
use crate::status::{Result, drywire_status};
use bytes::BytesMut;
use drywire::Tick;
use drywire::conn::{Limits, Scratch};
use drywire::engine::{ConnId, Engine, Local, Machine};
use drywire::memcache::{Part, Server};
use drywire_status::{DRYWIRE_ERR_GONE, DRYWIRE_ERR_STATE};
use std::sync::Arc;

/// Shared by the handle of a server and those of its connections, so that they may be freed in
/// any order.
pub(crate) type Domain = Arc<Guarded<Inner>>;

pub(crate) struct Inner {
    pub(crate) engine: Kind,
    pub(crate) limits: Limits,
    scratch: Scratch,
    /// The connection whose input is being read into `scratch`.
    reserved: Option<ConnId>,
    slots: Vec<Slot>,
    /// Connections whose output was shown, is not consumed and not pinned.
    at_risk: Vec<ConnId>,
    /// The latest time seen: time never goes backwards.
    pub(crate) now: Tick,
    /// Requests handed out by the last poll, which still borrows from them.
    pub(crate) polled: Vec<crate::custom::Request>,
    /// Connections that are due and not told of yet, the next one last.
    due: Vec<ConnId>,
    dead: Dead<BytesMut>,
    debug_views: bool,
    pub(crate) totals: Totals,
}

/// The engine of one protocol.
pub(crate) enum Kind {
    Memcached(Box<Engine<Server<Local<Part>>>>),
    Custom(Box<Engine<Custom>>),
    /// One that answers by itself and that nothing here has to look into.
    Plain(Box<dyn Machine + Send>),
}

impl Kind {
    #[inline]
    fn machine(&self) -> &dyn Machine {
        match self {
            Self::Memcached(engine) => &**engine,
            Self::Custom(engine) => &**engine,
            Self::Plain(engine) => &**engine,
        }
    }

    #[inline]
    fn machine_mut(&mut self) -> &mut dyn Machine {
        match self {
            Self::Memcached(engine) => &mut **engine,
            Self::Custom(engine) => &mut **engine,
            Self::Plain(engine) => &mut **engine,
        }
    }
}

/// Counted here for all protocols alike.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) accepted: u64,
    pub(crate) overloaded: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// What is kept for each connection beside the engine.
#[derive(Default)]
struct Slot {
    generation: u32,
    /// Not freed.
    open: bool,
    /// The caller's pointer, as a number: nothing here may follow it.
    user: usize,
    shown: Shown,
}

impl Inner {
    pub(crate) fn new(engine: Kind, limits: Limits, debug_views: bool) -> Self {
        Self {
            engine,
            limits,
            scratch: Scratch::new(&limits),
            reserved: None,
            slots: Vec::new(),
            at_risk: Vec::new(),
            now: Tick::ZERO,
            polled: Vec::new(),
            due: Vec::new(),
            dead: Dead::default(),
            debug_views,
            totals: Totals::default(),
        }
    }

    #[inline]
    pub(crate) fn machine(&mut self) -> &mut dyn Machine {
        self.engine.machine_mut()
    }

    /// Before anything changes: no read may be under way, and what callers still look at must not
    /// move. Returns the time to use.
    #[inline]
    pub(crate) fn begin(&mut self, now: u64) -> Result<Tick> {
        if self.reserved.is_some() {
            return Err(DRYWIRE_ERR_STATE);
        }
        if !self.at_risk.is_empty() {
            self.pin_shown();
        }
        Ok(self.clock(now))
    }

    /// Looks who is due at `now`, unless some that were are still to be told.
    pub(crate) fn list_due(&mut self, now: Tick) {
        if self.due.is_empty() {
            self.engine.machine().due(now, &mut self.due);
            self.due.reverse();
        }
    }

    /// The next of them that is still there.
    pub(crate) fn next_due(&mut self) -> Option<ConnId> {
        loop {
            let id = self.due.pop()?;
            if self.slot(id).is_some_and(|slot| slot.open) {
                return Some(id);
            }
        }
    }

    pub(crate) fn all_due_told(&self) -> bool {
        self.due.is_empty()
    }

    pub(crate) fn forget_due(&mut self) {
        self.due.clear();
    }

    /// The views of the last poll are over.
    pub(crate) fn end_polled(&mut self) {
        for request in self.polled.drain(..) {
            if self.debug_views
                && let Payload::Frame(bytes) = request.payload
                && let Ok(bytes) = bytes.try_into_mut()
            {
                self.dead.bury(bytes);
            }
        }
    }

    #[inline]
    fn clock(&mut self, now: u64) -> Tick {
        self.now = self.now.max(Tick(now));
        self.now
    }

    #[cold]
    fn pin_shown(&mut self) {
        for id in std::mem::take(&mut self.at_risk) {
            self.pin(id);
        }
    }

    fn pin(&mut self, id: ConnId) {
        let mut segments = Vec::new();
        self.machine().pin_outgoing(id, &mut segments);
        if let Some(slot) = self.slot(id) {
            slot.shown.pin(segments);
        }
    }

    pub(crate) fn opened(&mut self, id: ConnId, user: usize) {
        let place = id.slot as usize;
        if place >= self.slots.len() {
            self.slots.resize_with(place + 1, Slot::default);
        }
        self.totals.accepted += 1;
        let shown = Shown::new(self.debug_views);
        self.slots[place] = Slot { generation: id.generation, open: true, user, shown };
    }

    /// Forgets a connection, whatever state it is in.
    pub(crate) fn release(&mut self, id: ConnId) {
        if self.reserved == Some(id) {
            self.reserved = None;
        }
        if !self.at_risk.is_empty() {
            self.at_risk.retain(|other| *other != id);
            self.pin_shown();
        }
        let now = self.now;
        self.machine().release(id, now);
        if let Some(slot) = self.slot(id) {
            slot.open = false;
            slot.shown = Shown::default();
        }
    }

    #[inline]
    fn slot(&mut self, id: ConnId) -> Option<&mut Slot> {
        self.slots.get_mut(id.slot as usize).filter(|slot| slot.generation == id.generation)
    }

    #[inline]
    pub(crate) fn user(&mut self, id: ConnId) -> usize {
        self.slot(id).map_or(0, |slot| slot.user)
    }

    /// Lends room for input; the read must end with `commit`.
    pub(crate) fn reserve(&mut self, id: ConnId) -> Result<&mut [u8]> {
        if self.reserved.is_some() {
            return Err(DRYWIRE_ERR_STATE);
        }
        let room = self.engine.machine().room(id, &mut self.scratch);
        if !room.is_empty() {
            self.reserved = Some(id);
        }
        Ok(room)
    }

    pub(crate) fn commit(&mut self, id: ConnId, now: u64, n: usize, lent: usize) -> Result<()> {
        if self.reserved != Some(id) {
            return Err(DRYWIRE_ERR_STATE);
        }
        if n > lent {
            return Err(drywire_status::DRYWIRE_ERR_RANGE);
        }
        self.reserved = None;
        let now = self.begin(now)?;
        self.totals.bytes_in += n as u64;
        if n > 0 {
            self.engine.machine_mut().ingest(id, now, &self.scratch, n);
        }
        Ok(())
    }

    /// Lets `look` show output of a connection.
    #[inline]
    pub(crate) fn show<R>(
        &mut self,
        id: ConnId,
        look: impl FnOnce(&mut Shown, drywire::conn::Slices<'_>) -> R,
    ) -> Result<R> {
        let slot = self
            .slots
            .get_mut(id.slot as usize)
            .filter(|slot| slot.generation == id.generation)
            .ok_or(DRYWIRE_ERR_GONE)?;
        let result = look(&mut slot.shown, self.engine.machine().outgoing(id));
        if slot.shown.at_risk() && !self.at_risk.contains(&id) {
            self.at_risk.push(id);
        }
        Ok(result)
    }

    /// The caller has sent `n` bytes of what it was shown.
    #[inline]
    pub(crate) fn consume(&mut self, id: ConnId, now: u64, n: usize) -> Result<()> {
        if self.reserved.is_some() {
            return Err(DRYWIRE_ERR_STATE);
        }
        let shown = &mut self.slot(id).ok_or(DRYWIRE_ERR_GONE)?.shown;
        shown.consume(n)?;
        if !shown.at_risk() {
            self.at_risk.retain(|other| *other != id);
        }
        let now = self.begin(now)?;
        self.totals.bytes_out += n as u64;
        let machine = self.machine();
        // A connection that ended meanwhile has dropped its output.
        let unsent: usize = machine.outgoing(id).map(<[u8]>::len).sum();
        machine.sent(id, now, n.min(unsent));
        Ok(())
    }
}

/// A connection's name as callers see it; never 0.
#[inline]
pub(crate) const fn id_of(id: ConnId) -> u64 {
    ((id.generation as u64) << 32 | id.slot as u64).wrapping_add(1)
}

/// The connection that a caller's number names.
#[inline]
pub(crate) const fn conn_of(id: u64) -> ConnId {
    let id = id.wrapping_sub(1);
    ConnId { slot: id as u32, generation: (id >> 32) as u32 }
}
