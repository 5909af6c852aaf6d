//! One service on one loop: its machine, its sockets, and a connection's turn.

use crate::event_loop::{Common, Moment};
use crate::host::{Carry, Event};
use core::time::Duration;
use drywire::Tick;
use drywire::conn::{CloseReason, Peer, Place, Scratch, Slices, TransportError, Wants};
use drywire::engine::{ConnId, Done, JobId, Machine};
use mio::unix::SourceFd;
use mio::{Interest, Token};
use socket2::Socket;
use std::io::{self, ErrorKind, IoSlice, Read};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::Relaxed;

/// Urgent data ends a read early, so its arrival has to be known.
#[cfg(any(target_os = "linux", target_os = "android"))]
const READ: Interest = Interest::READABLE.add(Interest::PRIORITY);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const READ: Interest = Interest::READABLE;
/// Slices in one vectored write.
const SLICES: usize = 64;
/// Reads that a connection is given to get its unread input out of the way of the last words.
const DISCARDS: usize = 16;

pub(crate) struct Service {
    pub(crate) machine: Box<dyn Machine>,
    /// By the slot of the connection in its engine.
    links: Vec<Option<Link>>,
    scratch: Scratch,
    index: usize,
    /// Jobs that are with the pool.
    pub(crate) at_work: usize,
    pub(crate) beside: Option<Carry>,
    /// What its connections hold, as the other loops were told.
    pub(crate) buffered: usize,
}

/// What the host knows of a connection: 32 bytes.
struct Link {
    socket: Socket,
    id: ConnId,
    number: u64,
    /// Input may be waiting in the socket.
    readable: bool,
    /// A short read does not mean that the socket is drained: the end, an error or urgent data
    /// is behind the data.
    greedy: bool,
    writable: bool,
    /// The loop watches for room to write: only from the first time that a write found none.
    watched: bool,
    /// In the loop's queue.
    queued: bool,
    /// Counts against the limit.
    admitted: bool,
}

/// A connection fresh from a listener.
pub(crate) struct Fresh {
    pub(crate) socket: Socket,
    pub(crate) peer: Peer,
    pub(crate) number: u64,
}

impl Service {
    pub(crate) fn new(
        index: usize,
        mut machine: Box<dyn Machine>,
        place: Place,
        beside: Option<Carry>,
    ) -> Self {
        machine.seat(place);
        let scratch = Scratch::new(machine.limits());
        Self { machine, links: Vec::new(), scratch, index, at_work: 0, beside, buffered: 0 }
    }

    /// Takes a connection in; a refused one stays until it has heard so. The slot is to be queued.
    pub(crate) fn adopt(
        &mut self,
        fresh: Fresh,
        admitted: bool,
        moment: Moment<'_>,
    ) -> Option<u32> {
        let Fresh { socket, peer, number } = fresh;
        let Moment { now, registry, common } = moment;
        let machine = &mut self.machine;
        let id = if admitted { machine.accept(now, &peer) } else { machine.refuse(now) };
        let registered = id.filter(|id| {
            let token = token(self.index, id.slot);
            registry.register(&mut SourceFd(&socket.as_raw_fd()), token, READ).is_ok()
        });
        let Some(id) = registered else {
            if let Some(id) = id {
                self.machine.release(id, now);
            }
            common.gone(admitted);
            common.tell(|| Event::TurnedAway { service: self.index });
            return None;
        };
        common.tell(|| Event::Opened { conn: number, service: self.index, peer: &peer });
        if self.links.len() <= id.slot as usize {
            self.links.resize_with(id.slot as usize + 1, || None);
        }
        self.links[id.slot as usize] = Some(Link {
            socket,
            id,
            number,
            readable: false,
            greedy: false,
            writable: true,
            watched: false,
            queued: true,
            admitted,
        });
        Some(id.slot)
    }

    /// Refuses a connection that cannot be kept: the protocol's words, then the end. What it has
    /// sent already is read first, so that no reset overtakes the words.
    pub(crate) fn turn_away(&mut self, mut socket: &Socket, moment: Moment<'_>) {
        let Moment { now, common, .. } = moment;
        if let Some(id) = self.machine.refuse(now) {
            let _ = send(socket, self.machine.outgoing(id));
            self.machine.release(id, now);
        }
        let _ = socket.shutdown(Shutdown::Write);
        let mut sink = [0; 4096];
        for _ in 0..DISCARDS {
            if !matches!(socket.read(&mut sink), Ok(1..)) {
                break;
            }
        }
        common.tell(|| Event::TurnedAway { service: self.index });
    }

    /// The system reported something. True if the connection is to be queued.
    pub(crate) fn ready(&mut self, slot: u32, event: &mio::event::Event) -> bool {
        let Some(link) = self.links.get_mut(slot as usize).and_then(Option::as_mut) else {
            return false;
        };
        let broken = event.is_error() || event.is_write_closed();
        let greedy = broken || event.is_read_closed() || event.is_priority();
        link.readable |= greedy || event.is_readable();
        link.greedy |= greedy;
        link.writable |= broken || event.is_writable();
        !core::mem::replace(&mut link.queued, true)
    }

    /// Whether a connection had no turn since the last events. It gets one at once, as if the
    /// system had reported that it can be read and written: there may be more events than one
    /// look brings.
    pub(crate) fn unheard(&mut self, slot: u32) -> bool {
        let Some(Some(link)) = self.links.get_mut(slot as usize) else { return false };
        let unheard = !core::mem::replace(&mut link.queued, true);
        link.readable |= unheard;
        link.writable |= unheard;
        unheard
    }

    /// Tells the other loops and services what this one's connections hold, and hears of theirs.
    pub(crate) fn share_buffered(&mut self, common: &Common) {
        let held = self.machine.buffered();
        let mut all = common.buffered.load(Relaxed);
        if held != self.buffered {
            let change = held.wrapping_sub(self.buffered);
            all = common.buffered.fetch_add(change, Relaxed).wrapping_add(change);
            self.buffered = held;
        }
        self.machine.set_buffered_elsewhere(all.saturating_sub(held));
    }

    /// Tells `queue` the slots of connections that something other than their socket touched.
    /// At most one round: those that keep touching each other must not hold up the loop.
    pub(crate) fn touched(&mut self, now: Tick, mut queue: impl FnMut(u32)) {
        for _ in 0..self.machine.len() {
            let Some(id) = self.machine.next_dirty(now) else { return };
            if let Some(Some(link)) = self.links.get_mut(id.slot as usize)
                && !core::mem::replace(&mut link.queued, true)
            {
                queue(id.slot);
            }
        }
    }

    /// A connection's turn: one pass over what it holds, one read, one write, each if wanted. True
    /// if it could go on at once: it is queued again, behind the others.
    pub(crate) fn turn(&mut self, slot: u32, moment: Moment<'_>) -> bool {
        let Moment { now, registry, common } = moment;
        let Some(link) = self.links.get_mut(slot as usize).and_then(Option::as_mut) else {
            return false;
        };
        let (id, machine) = (link.id, &mut *self.machine);
        let mut wants = machine.wants(id);
        // Both: a backlog must not keep input out, nor input the backlog in.
        if wants.has(Wants::AGAIN) {
            machine.resume(id, now);
            wants = machine.wants(id);
        }
        if wants.has(Wants::READ) && link.readable {
            link.read(machine, &mut self.scratch, now, common);
            wants = machine.wants(id);
        }
        if wants.has(Wants::WRITE) && link.writable {
            let token = token(self.index, slot);
            link.write(machine, now, common, |socket| {
                let interest = READ | Interest::WRITABLE;
                registry.reregister(&mut SourceFd(&socket.as_raw_fd()), token, interest)
            });
            wants = machine.wants(id);
        }
        if wants.has(Wants::SHUTDOWN) {
            let _ = link.socket.shutdown(Shutdown::Write);
            machine.was_shut_down(id, now);
            wants = machine.wants(id);
        }
        if wants.has(Wants::CLOSE) {
            self.close(slot, moment);
            return false;
        }
        link.queued = wants.has(Wants::AGAIN)
            || wants.has(Wants::READ) && link.readable
            || wants.has(Wants::WRITE) && link.writable;
        link.queued
    }

    /// A job was done. If it panicked, the answer cannot come any more: its connection fails
    /// visibly, and its slot is to be queued.
    pub(crate) fn bring_back(&mut self, done: Result<Done, JobId>, now: Tick) -> Option<u32> {
        match done {
            Ok(done) => {
                self.machine.complete(now, done);
                None
            }
            Err(job) => self.lose(job.conn, now),
        }
    }

    /// A job of this connection has no result. Its slot, if it is to be queued.
    fn lose(&mut self, id: ConnId, now: Tick) -> Option<u32> {
        self.machine.abort(id, now, CloseReason::Transport(TransportError::Other));
        let link = self.links.get_mut(id.slot as usize)?.as_mut()?;
        (!core::mem::replace(&mut link.queued, true)).then_some(id.slot)
    }

    /// Cuts all connections off; how many of them were still owed something.
    pub(crate) fn abort_all(&mut self, moment: Moment<'_>) -> usize {
        let mut cut = 0;
        for slot in 0..self.links.len() {
            if let Some(link) = &self.links[slot] {
                // One that only wants to read, or to read the rest away, is owed nothing.
                let owed = self.machine.wants(link.id) != Wants::READ;
                cut += usize::from(link.admitted && owed);
                if owed {
                    link.break_off();
                }
                self.machine.abort(link.id, moment.now, CloseReason::Local);
                self.close(slot as u32, moment);
            }
        }
        cut
    }

    fn close(&mut self, slot: u32, moment: Moment<'_>) {
        let Moment { now, common, .. } = moment;
        if let Some(link) = self.links[slot as usize].take() {
            let reason = self.machine.close_reason(link.id);
            if reason.is_some_and(CloseReason::breaks_off) {
                link.break_off();
            }
            self.machine.release(link.id, now);
            common.gone(link.admitted);
            common.tell(|| Event::Closed { conn: link.number, service: self.index, reason });
        }
    }
}

impl Link {
    /// Its end will be a reset, so that the peer sees that something is missing.
    fn break_off(&self) {
        // One that the system has reset already has nothing left to lose.
        let _ = self.socket.set_linger(Some(Duration::ZERO));
    }

    fn read(
        &mut self,
        machine: &mut dyn Machine,
        scratch: &mut Scratch,
        now: Tick,
        common: &Common,
    ) {
        let room = machine.room(self.id, scratch);
        let capacity = room.len();
        match (&self.socket).read(room) {
            Ok(0) => {
                self.readable = false;
                machine.end_of_input(self.id, now);
            }
            Ok(n) => {
                self.readable = self.greedy || n == capacity;
                common.trace(|| Event::Received { conn: self.number, bytes: n });
                machine.ingest(self.id, now, scratch, n);
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => (self.readable, self.greedy) = (false, false),
                ErrorKind::Interrupted => {}
                kind => machine.abort(self.id, now, failed(kind)),
            },
        }
    }

    fn write(
        &mut self,
        machine: &mut dyn Machine,
        now: Tick,
        common: &Common,
        watch: impl FnOnce(&Socket) -> io::Result<()>,
    ) {
        match send(&self.socket, machine.outgoing(self.id)) {
            Ok((sent, all)) => {
                self.writable = all;
                common.trace(|| Event::Sent { conn: self.number, bytes: sent });
                machine.sent(self.id, now, sent);
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => self.writable = false,
                ErrorKind::Interrupted => {}
                kind => return machine.abort(self.id, now, failed(kind)),
            },
        }
        if !self.writable && !self.watched {
            match watch(&self.socket) {
                Ok(()) => self.watched = true,
                Err(error) => machine.abort(self.id, now, failed(error.kind())),
            }
        }
    }
}

/// One write. How many bytes went out, and whether that was all that was offered.
fn send(socket: &Socket, mut slices: Slices<'_>) -> io::Result<(usize, bool)> {
    // A write to a connection that the peer has reset must not raise SIGPIPE.
    let flags = libc::MSG_NOSIGNAL;
    let Some(first) = slices.next() else { return Ok((0, true)) };
    let Some(second) = slices.next() else {
        return socket.send_with_flags(first, flags).map(|n| (n, n == first.len()));
    };
    let mut list = [IoSlice::new(first); SLICES];
    list[1] = IoSlice::new(second);
    let mut used = 2;
    for (place, slice) in list[2..].iter_mut().zip(slices) {
        *place = IoSlice::new(slice);
        used += 1;
    }
    let offered: usize = list[..used].iter().map(|slice| slice.len()).sum();
    socket.send_vectored_with_flags(&list[..used], flags).map(|n| (n, n == offered))
}

/// A connection's token: the service in the top byte, the slot below.
const SERVICE_SHIFT: u32 = usize::BITS - 8;

pub(crate) fn token(service: usize, slot: u32) -> Token {
    Token(service << SERVICE_SHIFT | slot as usize)
}

/// The service and slot of a token made by [`token`].
pub(crate) fn place(token: Token) -> (usize, u32) {
    (token.0 >> SERVICE_SHIFT, (token.0 & ((1 << SERVICE_SHIFT) - 1)) as u32)
}

fn failed(kind: ErrorKind) -> CloseReason {
    CloseReason::Transport(match kind {
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            TransportError::Reset
        }
        ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            TransportError::TimedOut
        }
        _ => TransportError::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small_here() {
        assert!(size_of::<Option<Link>>() <= 32);
    }

    #[test]
    fn tokens_carry_service_and_slot() {
        for (service, slot) in [(0, 0), (254, 7), (3, 0x00ff_ffff)] {
            assert_eq!(place(token(service, slot)), (service, slot));
        }
    }
}
