//! An engine without its protocol's types: all that a host needs to know.

use crate::conn::{
    CloseReason, Deadline, Job, Leave, Limits, Peer, Place, Scratch, Session, Slices, Wants,
};
use crate::engine::jobs::Waiting;
use crate::engine::{ConnId, Engine, JobId, Letter};
use crate::tick::Tick;
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use core::any::Any;
use core::fmt;

/// What hosts drive: any [`Engine`], whatever its protocol. Each method does what the method of
/// the same name of [`Engine`] does.
#[expect(missing_docs, reason = "documented once, on Engine")]
pub trait Machine {
    fn accept(&mut self, now: Tick, peer: &Peer) -> Option<ConnId>;
    fn refuse(&mut self, now: Tick) -> Option<ConnId>;
    fn room<'b>(&self, id: ConnId, scratch: &'b mut Scratch) -> &'b mut [u8];
    fn ingest(&mut self, id: ConnId, now: Tick, scratch: &Scratch, n: usize);
    fn receive(&mut self, id: ConnId, now: Tick, bytes: &[u8]) -> usize;
    fn end_of_input(&mut self, id: ConnId, now: Tick);
    fn resume(&mut self, id: ConnId, now: Tick);
    fn sent(&mut self, id: ConnId, now: Tick, n: usize);
    fn was_shut_down(&mut self, id: ConnId, now: Tick);
    fn close(&mut self, id: ConnId, now: Tick);
    fn abort(&mut self, id: ConnId, now: Tick, reason: CloseReason);
    fn wants(&self, id: ConnId) -> Wants;
    fn outgoing(&self, id: ConnId) -> Slices<'_>;
    fn pin_outgoing(&mut self, id: ConnId, segments: &mut Vec<Bytes>);
    fn close_reason(&self, id: ConnId) -> Option<CloseReason>;
    fn next_dirty(&mut self, now: Tick) -> Option<ConnId>;
    fn next_work(&mut self, now: Tick) -> Option<Work>;
    fn complete(&mut self, now: Tick, done: Done);
    fn seat(&mut self, place: Place);
    fn next_mail(&mut self) -> Option<Letter>;
    fn receive_mail(&mut self, now: Tick, letter: Letter);
    fn deadline(&self) -> Option<Deadline>;
    fn due(&self, now: Tick, ids: &mut Vec<ConnId>);
    fn tick(&mut self, now: Tick);
    fn leave(&mut self, now: Tick, step: Leave);
    fn drain(&mut self, now: Tick);
    fn release(&mut self, id: ConnId, now: Tick);
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn buffered(&self) -> usize;
    fn set_buffered_elsewhere(&mut self, bytes: usize);
    fn reads_stopped(&self) -> bool;
    fn gathers_until(&self, now: Tick) -> Option<Tick>;
    fn footprint(&self) -> usize;
    fn footprint_of(&self, id: ConnId) -> usize;
    fn limits(&self) -> &Limits;
}

/// A job that any thread can run.
pub struct Work {
    id: JobId,
    ahead: bool,
    run: Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>,
}

impl Work {
    /// Whose job it is.
    #[must_use]
    pub const fn id(&self) -> JobId {
        self.id
    }

    /// Whether it went ahead of others ([`Cx::spawn_ahead`]). A host that does several jobs on the
    /// thread of its sockets sends the answer to this one before it goes on.
    ///
    /// [`Cx::spawn_ahead`]: crate::conn::Cx::spawn_ahead
    #[must_use]
    pub const fn is_ahead(&self) -> bool {
        self.ahead
    }

    /// Does the work; bring what it returns back with [`Machine::complete`].
    #[must_use]
    pub fn run(self) -> Done {
        Done { id: self.id, output: (self.run)() }
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Work").field(&self.id).finish()
    }
}

/// The result of a [`Work`].
pub struct Done {
    id: JobId,
    output: Box<dyn Any + Send>,
}

impl Done {
    /// Whose job it was.
    #[must_use]
    pub const fn id(&self) -> JobId {
        self.id
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Done").field(&self.id).finish()
    }
}

impl<S: Session> Machine for Engine<S> {
    fn accept(&mut self, now: Tick, peer: &Peer) -> Option<ConnId> {
        self.accept(now, peer)
    }
    fn refuse(&mut self, now: Tick) -> Option<ConnId> {
        self.refuse(now)
    }
    fn room<'b>(&self, id: ConnId, scratch: &'b mut Scratch) -> &'b mut [u8] {
        self.room(id, scratch)
    }
    fn ingest(&mut self, id: ConnId, now: Tick, scratch: &Scratch, n: usize) {
        self.ingest(id, now, scratch, n);
    }
    fn receive(&mut self, id: ConnId, now: Tick, bytes: &[u8]) -> usize {
        self.receive(id, now, bytes)
    }
    fn end_of_input(&mut self, id: ConnId, now: Tick) {
        self.end_of_input(id, now);
    }
    fn resume(&mut self, id: ConnId, now: Tick) {
        self.resume(id, now);
    }
    fn sent(&mut self, id: ConnId, now: Tick, n: usize) {
        self.sent(id, now, n);
    }
    fn was_shut_down(&mut self, id: ConnId, now: Tick) {
        self.was_shut_down(id, now);
    }
    fn close(&mut self, id: ConnId, now: Tick) {
        self.close(id, now);
    }
    fn abort(&mut self, id: ConnId, now: Tick, reason: CloseReason) {
        self.abort(id, now, reason);
    }
    fn wants(&self, id: ConnId) -> Wants {
        self.wants(id)
    }
    fn outgoing(&self, id: ConnId) -> Slices<'_> {
        self.outgoing(id)
    }
    fn pin_outgoing(&mut self, id: ConnId, segments: &mut Vec<Bytes>) {
        self.pin_outgoing(id, segments);
    }
    fn close_reason(&self, id: ConnId) -> Option<CloseReason> {
        self.close_reason(id)
    }
    fn next_dirty(&mut self, now: Tick) -> Option<ConnId> {
        self.next_dirty(now)
    }
    fn next_work(&mut self, now: Tick) -> Option<Work> {
        let Waiting { id, job, ahead, .. } = self.start_job(now)?;
        Some(Work { id, ahead, run: Box::new(move || Box::new(job.run())) })
    }
    fn complete(&mut self, now: Tick, done: Done) {
        match done.output.downcast::<<S::Job as Job>::Output>() {
            Ok(output) => self.complete(now, done.id, *output),
            Err(_) => debug_assert!(false, "the result of another engine's job"),
        }
    }
    fn seat(&mut self, place: Place) {
        self.seat(place);
    }
    fn next_mail(&mut self) -> Option<Letter> {
        self.next_mail()
    }
    fn receive_mail(&mut self, now: Tick, letter: Letter) {
        self.receive_mail(now, letter);
    }
    fn deadline(&self) -> Option<Deadline> {
        self.deadline()
    }
    fn due(&self, now: Tick, ids: &mut Vec<ConnId>) {
        self.due(now, ids);
    }
    fn tick(&mut self, now: Tick) {
        self.tick(now);
    }
    fn leave(&mut self, now: Tick, step: Leave) {
        self.leave(now, step);
    }
    fn drain(&mut self, now: Tick) {
        self.drain(now);
    }
    fn release(&mut self, id: ConnId, now: Tick) {
        self.release(id, now);
    }
    fn len(&self) -> usize {
        self.len()
    }
    fn buffered(&self) -> usize {
        self.buffered()
    }
    fn set_buffered_elsewhere(&mut self, bytes: usize) {
        self.set_buffered_elsewhere(bytes);
    }
    fn reads_stopped(&self) -> bool {
        self.reads_stopped()
    }
    fn gathers_until(&self, now: Tick) -> Option<Tick> {
        self.gathers_until(now)
    }
    fn footprint(&self) -> usize {
        self.footprint()
    }
    fn footprint_of(&self, id: ConnId) -> usize {
        self.footprint_of(id)
    }
    fn limits(&self) -> &Limits {
        self.limits()
    }
}
