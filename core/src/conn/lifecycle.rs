//! A connection's buffers and lifecycle around its session.

mod level;

use crate::conn::{
    CloseReason, Cx, Deadline, Fault, FaultKind, Limits, Outbox, Peer, Scratch, Session, Slices,
    Stop, Taken,
};
use crate::engine::{ConnId, JobId, World};
use crate::guard::{OutGate, RefusalPause};
use crate::tick::Tick;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use core::time::Duration;

/// One connection: a [`Session`], the input it has not consumed, its [`Outbox`] and where it is
/// in its life. An [`Engine`](crate::engine::Engine) holds many; alone it is driven with a
/// [`World`].
///
/// Feed: [`room`](Self::room) + [`ingest`](Self::ingest) or [`receive`](Self::receive),
/// [`end_of_input`](Self::end_of_input), [`resume`](Self::resume), [`tick`](Self::tick),
/// [`sent`](Self::sent), [`was_shut_down`](Self::was_shut_down).
/// Ask: [`wants`](Self::wants), [`deadline`](Self::deadline), [`outgoing`](Self::outgoing),
/// [`close_reason`](Self::close_reason).
/// Command: [`close`](Self::close), [`abort`](Self::abort).
///
/// ```text
///   Open ──peer's end, quit, close, fault──► Draining ──all sent──► (SHUTDOWN) ──► Lingering
///    │                                          │                                     │
///    └───────────── abort, no progress ─────────┴──────────► Over (CLOSE) ◄── end, time, bytes
/// ```
pub struct Conn<S> {
    /// None for a connection that was refused at the door.
    session: Option<S>,
    id: ConnId,
    phase: Phase,
    /// The peer has ended its input, or the transport says so.
    ended: bool,
    /// Why the session stopped last; `None` before the first input.
    stop: Stop,
    reason: Option<CloseReason>,
    /// Input received and not consumed.
    carry: Vec<u8>,
    out: Outbox,
    /// When it began to end; lingering: when that began.
    since: Tick,
    /// When the peer last took output.
    taken_at: Tick,
    /// When input last came in.
    heard_at: Tick,
    /// Whether the peer reads its output.
    gate: OutGate,
    /// Whether it is read again after a refusal.
    pause: RefusalPause,
    /// The shared state has news that the session has not looked at.
    woken: bool,
    /// Bytes discarded while lingering.
    discarded: usize,
    /// What the world counts as held here.
    held: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Input is executed.
    Open,
    /// No more input is executed; answers may still come from jobs, output is being sent.
    Draining,
    /// Our side is shut down; input is discarded.
    Lingering,
    /// The socket can go.
    Over,
}

/// The largest carry-over that is copied in front of new input instead of appending that to it:
/// copied with every read, so that it must stay small for time to be linear in the bytes (I3).
const IN_FRONT: usize = 1024;

impl<S: Session> Conn<S> {
    /// A connection that was just accepted.
    pub fn open(now: Tick, id: ConnId, peer: &Peer, world: &mut World<S>) -> Self {
        let mut out = Outbox::new();
        let session = S::open(&mut Cx::new(now, id, Tick::ZERO, &mut out, world), peer);
        let mut conn = Self::new(now, id, Some(session), out, Phase::Open);
        conn.settle(now, world);
        conn
    }

    /// A connection past the limit: it is told so and closed.
    pub fn refused(now: Tick, id: ConnId, world: &mut World<S>) -> Self {
        let mut out = Outbox::new();
        out.put(S::refusal(&mut world.shared));
        let mut conn = Self::new(now, id, None, out, Phase::Draining);
        conn.reason = Some(CloseReason::Refused);
        conn.since = now;
        conn.account(world);
        conn
    }

    fn new(now: Tick, id: ConnId, session: Option<S>, out: Outbox, phase: Phase) -> Self {
        Self {
            session,
            id,
            phase,
            ended: false,
            stop: Stop::NeedInput(1),
            reason: None,
            carry: Vec::new(),
            out,
            since: Tick::ZERO,
            taken_at: Tick::ZERO,
            heard_at: now,
            gate: OutGate::new(),
            pause: RefusalPause::new(),
            woken: false,
            discarded: 0,
            held: 0,
        }
    }

    /// Lends the part of `scratch` that input is to be read into, with a small carry-over in
    /// front of it. Empty when the connection does not want READ.
    pub fn room<'b>(&self, world: &World<S>, scratch: &'b mut Scratch) -> &'b mut [u8] {
        if !self.wants_read(world) {
            return &mut [];
        }
        let limits = &world.limits;
        let carry = self.carry.len();
        if carry > IN_FRONT {
            return &mut scratch.buf[..limits.input - carry];
        }
        scratch.buf[..carry].copy_from_slice(&self.carry);
        &mut scratch.buf[carry..limits.input]
    }

    /// The host read `n` bytes into what [`Conn::room`] lent, just now, from the same `scratch`.
    /// Zero is no input, not the end of it.
    ///
    /// # Panics
    /// If `n` is more than was lent: caller misuse.
    pub fn ingest(&mut self, now: Tick, world: &mut World<S>, scratch: &Scratch, n: usize) {
        let carry = self.carry.len();
        assert!(carry + n <= world.limits.input, "ingest({n}) is more than was lent");
        self.heard(now, n);
        if self.phase != Phase::Open {
            self.discard(n);
        } else if carry > IN_FRONT {
            self.carry.extend_from_slice(&scratch.buf[..n]);
            self.execute(now, world, None, n);
        } else {
            self.execute(now, world, Some(&scratch.buf[..carry + n]), n);
        }
        self.settle(now, world);
    }

    /// Takes input from the caller's memory, copying what is left over. Returns how many bytes
    /// were taken: fewer than given only when a cap is reached; offer the rest again when READ is
    /// wanted.
    pub fn receive(&mut self, now: Tick, world: &mut World<S>, bytes: &[u8]) -> usize {
        if !self.wants_read(world) || bytes.is_empty() {
            return 0;
        }
        self.heard(now, bytes.len());
        if self.phase != Phase::Open {
            self.discard(bytes.len());
            self.settle(now, world);
            return bytes.len();
        }
        let n = bytes.len().min(world.limits.input - self.carry.len());
        if self.carry.is_empty() {
            self.execute(now, world, Some(&bytes[..n]), n);
        } else {
            self.carry.extend_from_slice(&bytes[..n]);
            self.execute(now, world, None, n);
        }
        self.settle(now, world);
        n
    }

    /// The peer will send no more (end of file). What was received before is still answered.
    pub fn end_of_input(&mut self, now: Tick, world: &mut World<S>) {
        if !self.ended {
            self.begin_to_end(now);
            self.ended = true;
            self.settle(now, world);
        }
    }

    /// Continues after AGAIN.
    pub fn resume(&mut self, now: Tick, world: &mut World<S>) {
        let again = self.wants_again(world);
        if self.wants_refill(world) {
            self.woken = false;
            world.lend_memory(&mut self.out);
            self.with_session(now, world, |session, cx| session.on_wake(cx));
        }
        // Decided before the refill: an endless backlog must not keep input out.
        if again {
            self.execute(now, world, None, 0);
        }
        self.settle(now, world);
    }

    /// Delivers a message another connection posted.
    pub fn post(&mut self, now: Tick, world: &mut World<S>, message: S::Message) {
        if self.hears() && self.out.len() >= world.limits.output.hard {
            self.kick(now, world);
        } else if self.hears() {
            self.with_session(now, world, |session, cx| session.on_post(cx, message));
            self.settle(now, world);
        }
    }

    /// A worker is free for a job; whether it is to be run.
    pub fn start(
        &mut self,
        now: Tick,
        world: &mut World<S>,
        id: JobId,
        job: &S::Job,
        queued_at: Tick,
    ) -> bool {
        let start = |session: &mut S, cx: &mut Cx<'_, S>| session.on_start(cx, id, job, queued_at);
        let Some(run) = self.with_session(now, world, start) else { return false };
        if run {
            self.settle(now, world);
        } else {
            self.job_ended(now, world);
        }
        run
    }

    /// The shared state has news for the session: AGAIN is wanted.
    pub fn wake(&mut self) {
        self.woken = true;
        if self.stop == Stop::Waiting {
            self.stop = Stop::Budget;
        }
    }

    /// Brings the result of a job back.
    pub fn done(
        &mut self,
        now: Tick,
        world: &mut World<S>,
        job: JobId,
        output: <S::Job as crate::conn::Job>::Output,
    ) {
        if matches!(self.phase, Phase::Open | Phase::Draining) {
            self.with_session(now, world, |session, cx| session.on_done(cx, job, output));
            self.job_ended(now, world);
        }
    }

    /// Time has passed. Cheap when nothing is due.
    pub fn tick(&mut self, now: Tick, world: &mut World<S>) {
        self.pause.poll(now);
        let Some(due) = self.deadline(&world.limits) else { return };
        if due.at > now {
            return;
        }
        let limits = world.limits;
        let is_due = |due: Option<Deadline>| due.is_some_and(|due| due.at <= now);
        match self.phase {
            Phase::Open if is_due(self.stalled(&limits)) => self.kick(now, world),
            Phase::Open if self.gate.poll(&limits.output, now, self.out.len()).is_some() => {
                self.kick(now, world);
            }
            Phase::Open if is_due(self.idle(&limits)) => self.drain(now, CloseReason::Idle),
            Phase::Open => {
                if let Some(Err(fault)) = self.with_session(now, world, |s, cx| s.on_tick(cx)) {
                    self.fault(now, fault);
                }
            }
            Phase::Draining => self.kick(now, world),
            Phase::Lingering => self.over(now, world),
            Phase::Over => {}
        }
        self.settle(now, world);
    }

    /// The unsent bytes, in order.
    #[must_use]
    pub fn outgoing(&self) -> Slices<'_> {
        self.out.slices()
    }

    /// Unsent bytes.
    #[must_use]
    pub fn outgoing_len(&self) -> usize {
        self.out.len()
    }

    /// As [`Outbox::pin`].
    pub fn pin_outgoing(&mut self) -> impl Iterator<Item = &Bytes> {
        self.out.pin()
    }

    /// The host has sent the first `n` outgoing bytes; any part of them is fine.
    ///
    /// # Panics
    /// If `n` is more than what is outgoing: caller misuse.
    pub fn sent(&mut self, now: Tick, world: &mut World<S>, n: usize) {
        self.out.sent(n);
        if n > 0 {
            self.taken_at = now;
        }
        self.gate.sent(&world.limits.output, now, n, self.out.len());
        self.settle(now, world);
    }

    /// The host has shut the write side down, as SHUTDOWN asked.
    pub fn was_shut_down(&mut self, now: Tick, world: &mut World<S>) {
        if self.phase == Phase::Draining {
            self.phase = Phase::Lingering;
            self.since = now;
            self.settle(now, world);
        }
    }

    /// Why the connection ended or is ending; `None` while it is open.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.reason
    }

    /// Ends the connection from this side: complete messages already received are answered,
    /// everything owed is sent, then it closes.
    pub fn close(&mut self, now: Tick, world: &mut World<S>) {
        if self.phase != Phase::Open {
            return;
        }
        self.begin_to_end(now);
        self.reason = self.reason.or(Some(CloseReason::Local));
        self.settle(now, world);
    }

    /// Ends the connection at once; what is still owed fails with it, visibly for the peer.
    pub fn abort(&mut self, now: Tick, world: &mut World<S>, reason: CloseReason) {
        if self.phase != Phase::Over {
            // An end that was on its way in peace is none if something of it is lost.
            if !self.out.is_empty() || self.owes() {
                self.reason = Some(reason);
            }
            self.reason = self.reason.or(Some(reason));
            self.over(now, world);
        }
    }

    /// This process did not run for `gap`: nothing of it counts against the peer.
    pub fn lost_time(&mut self, gap: Duration) {
        self.since = self.since + gap;
        self.heard_at = self.heard_at + gap;
        self.taken_at = self.taken_at + gap;
        self.gate.stalled(gap);
        if let Some(session) = self.session.as_mut() {
            session.on_lost_time(gap);
        }
    }

    /// The session, for tests and for hosts that look in from outside.
    #[must_use]
    pub fn session(&self) -> Option<&S> {
        self.session.as_ref()
    }

    /// Bytes of memory this connection holds outside itself.
    #[must_use]
    pub fn footprint(&self) -> usize {
        self.carry.capacity() + self.out.footprint() + self.session.as_ref().map_or(0, S::footprint)
    }

    /// Runs the session over `input`, or over the carry-over if `None`. `fresh` bytes are new.
    fn execute(&mut self, now: Tick, world: &mut World<S>, input: Option<&[u8]>, fresh: usize) {
        let len = input.map_or(self.carry.len(), <[u8]>::len);
        if matches!(self.stop, Stop::NeedInput(n) if len < n) {
            if let Some(input) = input {
                self.keep(input, 0, fresh);
            }
            return;
        }
        world.lend_memory(&mut self.out);
        let Some(session) = self.session.as_mut() else { return };
        let mut cx = Cx::new(now, self.id, self.taken_at, &mut self.out, world);
        let bytes = input.unwrap_or(&self.carry);
        let taken = session.on_input(&mut cx, bytes);
        if cx.refused > 0 {
            let (refused, limits) = (cx.refused, world.limits);
            // Output held back by us is not to look like a peer that takes none.
            let length = limits.refusal_pause.min(limits.output.no_progress / 2);
            let from = limits.refusal_pause_from;
            let end = world.refusals.refused(length, from, refused, now);
            if let Some(end) = end.filter(|_| !self.pause.holds_input()) {
                world.pausing.began(end);
            }
            self.pause.refused(end);
        }
        let taken = taken.and_then(|taken| check(taken, len, &world.limits));
        match taken {
            Ok(Taken { used, stop }) => {
                self.stop = stop;
                match input {
                    Some(input) => self.keep(input, used, fresh),
                    None if used == len => self.carry = Vec::new(),
                    None => drop(self.carry.drain(..used)),
                }
                if stop == Stop::Closing {
                    self.drain(now, CloseReason::Finished);
                }
            }
            Err(fault) => self.fault(now, fault),
        }
    }

    /// One job less is under way: what waited for it can go on.
    fn job_ended(&mut self, now: Tick, world: &mut World<S>) {
        if self.stop == Stop::Waiting {
            self.stop = Stop::Budget;
        }
        self.settle(now, world);
    }

    /// Makes `input[used..]` the carry-over; the last `fresh` bytes of `input` are not in it yet.
    fn keep(&mut self, input: &[u8], used: usize, fresh: usize) {
        if used == input.len() {
            if self.carry.capacity() != 0 {
                self.carry = Vec::new();
            }
        } else if used == 0 {
            self.carry.extend_from_slice(&input[input.len() - fresh..]);
        } else {
            self.carry.clear();
            self.carry.extend_from_slice(&input[used..]);
        }
    }

    /// Takes every step of the lifecycle that needs nothing from outside.
    fn settle(&mut self, now: Tick, world: &mut World<S>) {
        if self.phase == Phase::Open && matches!(self.stop, Stop::NeedInput(_)) {
            if self.ended {
                let rest = core::mem::take(&mut self.carry);
                match self.with_session(now, world, |session, cx| session.on_end(cx, &rest)) {
                    Some(Err(fault)) => self.fault(now, fault),
                    _ => self.drain(now, CloseReason::PeerDone),
                }
            } else if let Some(reason) = self.reason {
                // Not before: who leaves something in it would do the rest as one who has left.
                self.with_session(now, world, |session, cx| session.on_drain(cx));
                self.drain(now, reason);
            }
        }
        if self.phase == Phase::Draining && self.ended && self.out.is_empty() && !self.owes() {
            self.over(now, world);
        }
        if self.phase == Phase::Lingering
            && (self.ended || self.discarded > world.limits.linger_bytes)
        {
            self.over(now, world);
        }
        self.gate.observe(&world.limits.output, now, self.out.len());
        if self.out.is_empty() {
            self.pause.drained();
            if self.out.owns_memory() {
                world.take_memory(&mut self.out);
            }
        }
        self.account(world);
    }

    /// Tells the world what is held here.
    #[inline]
    fn account(&mut self, world: &mut World<S>) {
        let held = self.carry.len() + self.out.len();
        if held != self.held {
            world.held.change(&world.limits, self.held, held);
            self.held = held;
        }
    }

    fn heard(&mut self, now: Tick, n: usize) {
        if n > 0 {
            self.heard_at = now;
        }
    }

    fn drain(&mut self, now: Tick, reason: CloseReason) {
        self.begin_to_end(now);
        self.phase = Phase::Draining;
        self.reason = self.reason.or(Some(reason));
        self.carry = Vec::new();
    }

    /// Whatever else ends it too gives its peer no more time to take the output.
    fn begin_to_end(&mut self, now: Tick) {
        if !self.is_ending() {
            self.since = now;
        }
    }

    fn fault(&mut self, now: Tick, fault: Fault) {
        if let Some(session) = self.session.as_mut() {
            session.on_fault(fault, &mut self.out);
        }
        self.drain(now, CloseReason::Fault(fault));
    }

    /// Its output is lost with it.
    fn kick(&mut self, now: Tick, world: &mut World<S>) {
        self.reason = Some(CloseReason::SlowReader);
        self.over(now, world);
    }

    fn over(&mut self, now: Tick, world: &mut World<S>) {
        self.phase = Phase::Over;
        let reason = self.reason;
        self.with_session(now, world, |session, cx| {
            cx.closed = reason;
            session.on_close(cx);
        });
        self.session = None;
        self.carry = Vec::new();
        self.out.clear();
        self.account(world);
    }

    fn discard(&mut self, n: usize) {
        self.discarded = self.discarded.saturating_add(n);
    }

    fn with_session<R>(
        &mut self,
        now: Tick,
        world: &mut World<S>,
        f: impl FnOnce(&mut S, &mut Cx<'_, S>) -> R,
    ) -> Option<R> {
        let session = self.session.as_mut()?;
        Some(f(session, &mut Cx::new(now, self.id, self.taken_at, &mut self.out, world)))
    }
}

/// A session that asks for the impossible would wait for ever: make that a visible failure.
fn check(taken: Taken, len: usize, limits: &Limits) -> Result<Taken, Fault> {
    debug_assert!(taken.used <= len, "a session consumed more than there is");
    if let Stop::NeedInput(n) = taken.stop {
        let left = len - taken.used;
        debug_assert!(n > left, "a session needs {n} bytes and has {left}");
        if n > limits.input {
            return Err(Fault::new(FaultKind::TooLong, "a message is longer than the input limit"));
        }
    }
    Ok(taken)
}

impl<S: fmt::Debug> fmt::Debug for Conn<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("id", &self.id)
            .field("phase", &self.phase)
            .field("ended", &self.ended)
            .field("stop", &self.stop)
            .field("carry", &self.carry.len())
            .field("outgoing", &self.out.len())
            .field("session", &self.session)
            .finish()
    }
}
