//! The trait a protocol implements, and what it is lent while it runs.

use crate::conn::{CloseReason, Limits, Outbox};
use crate::engine::{ConnId, Held, JobId, Queues, World};
use crate::tick::Tick;
use core::fmt;
use core::time::Duration;

/// One connection's protocol: bytes in, replies appended to `cx.out`, deadlines out.
///
/// A session never sees a socket, a clock or another session. It is called by its
/// [`Conn`](crate::conn::Conn), which owns input that is not yet consumed, the [`Outbox`] and the
/// lifecycle, so a session holds only what its protocol has to remember between two messages.
///
/// `docs/write-a-protocol.md` builds one from nothing.
pub trait Session: Sized {
    /// State shared by all connections of one engine, lent as `&mut` for each call.
    type Shared;
    /// What connections post to each other, and engines of one service mail to each other;
    /// [`core::convert::Infallible`] if they do not.
    type Message: Send + 'static;
    /// Slow work that leaves the core and comes back; [`NoJob`] if there is none.
    type Job: Job;

    /// A connection was accepted. A protocol whose server speaks first writes to `cx.out`.
    fn open(cx: &mut Cx<'_, Self>, peer: &Peer) -> Self;

    /// Parses and executes as many whole messages as `input` holds, appending replies.
    ///
    /// `input` starts at the first byte not yet consumed. Between messages ask [`Cx::stop`] and
    /// return what it says. Bytes left over are presented again, with more behind them; remember
    /// how far they were searched, so that the work stays linear in the bytes (I3).
    ///
    /// # Errors
    /// A [`Fault`] when the peer broke the framing: no further input is looked at. Replies
    /// already appended are still delivered (I1).
    fn on_input(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault>;

    /// The peer will send no more. `rest` is what `on_input` left: less than a message.
    ///
    /// # Errors
    /// By default a non-empty rest is [`FaultKind::Truncated`].
    fn on_end(&mut self, cx: &mut Cx<'_, Self>, rest: &[u8]) -> Result<(), Fault> {
        let _ = cx;
        if rest.is_empty() {
            Ok(())
        } else {
            Err(Fault::new(FaultKind::Truncated, "input ended inside a message"))
        }
    }

    /// Another connection posted `message`.
    fn on_post(&mut self, cx: &mut Cx<'_, Self>, message: Self::Message) {
        let _ = (cx, message);
    }

    /// A worker is free for `job`, which has waited since `queued_at`. False takes it back: it is
    /// not run and `on_done` is not called for it, so answer it here.
    fn on_start(
        &mut self,
        cx: &mut Cx<'_, Self>,
        id: JobId,
        job: &Self::Job,
        queued_at: Tick,
    ) -> bool {
        let _ = (cx, id, job, queued_at);
        true
    }

    /// Someone called [`Upkeep::wake`] for this connection, or its outbox has drained to
    /// [`Limits::output_low`](crate::conn::Limits::output_low) while it
    /// [has a backlog](Session::has_backlog): append what waits in the shared state, as far as
    /// there is room. Input left behind a [`Stop::Waiting`] is offered again afterwards.
    ///
    /// Also called while the connection is ending, if it has a backlog or still owes answers.
    fn on_wake(&mut self, cx: &mut Cx<'_, Self>) {
        let _ = cx;
    }

    /// Whether more output waits outside the outbox, to be appended by [`Session::on_wake`] when
    /// there is room. An ending connection stays until its backlog is delivered, so `on_wake`
    /// with an empty outbox must append something or turn this false (I4).
    fn has_backlog(&self) -> bool {
        false
    }

    /// A job of this connection finished.
    fn on_done(&mut self, cx: &mut Cx<'_, Self>, job: JobId, output: <Self::Job as Job>::Output) {
        let _ = (cx, job, output);
    }

    /// The moment named by [`Session::deadline`] has come. Afterwards the deadline must be later
    /// than `cx.now` (I4).
    ///
    /// # Errors
    /// A [`Fault`], for instance [`FaultKind::TimedOut`], ends the connection.
    fn on_tick(&mut self, cx: &mut Cx<'_, Self>) -> Result<(), Fault> {
        let _ = cx;
        Ok(())
    }

    /// When `on_tick` is due, and why (for logs). Asked after every call; keep it cheap.
    fn deadline(&self) -> Option<Deadline> {
        None
    }

    /// This process did not run for `gap` (it was stopped, or stuck): nothing of it counts against
    /// the peer. A session that measures the peer's silence passes it on, for instance to
    /// [`Heartbeat::stalled`](crate::guard::Heartbeat::stalled).
    fn on_lost_time(&mut self, gap: Duration) {
        let _ = gap;
    }

    /// Whether answers are outstanding (jobs under way): the connection stays open after the
    /// peer's end of input until this turns false.
    fn owes(&self) -> bool {
        false
    }

    /// The server is going away: announce it, if the protocol can. Complete messages that were
    /// received before have been executed, no other will be; the connection ends when what is owed
    /// is sent. Not called if the peer ends its input first: then [`Session::on_end`] is.
    fn on_drain(&mut self, cx: &mut Cx<'_, Self>) {
        let _ = cx;
    }

    /// Last words for a fault; they follow the replies already owed.
    fn on_fault(&mut self, fault: Fault, out: &mut Outbox) {
        let _ = (fault, out);
    }

    /// The connection is over; give back what the shared state holds for it. Called exactly once.
    /// What is written to `cx.out` is never sent.
    fn on_close(&mut self, cx: &mut Cx<'_, Self>) {
        let _ = cx;
    }

    /// A connection past the limit was refused: what it is told before it is closed.
    fn refusal(shared: &mut Self::Shared) -> &'static [u8] {
        let _ = shared;
        b""
    }

    /// When the shared state needs [`Session::upkeep`] next; `None` if never.
    fn upkeep_due(shared: &Self::Shared) -> Option<Deadline> {
        let _ = shared;
        None
    }

    /// A bounded step of work on the shared state that belongs to no connection: expiry, clocks.
    /// Afterwards `upkeep_due` must be later than `cx.now` (I4).
    fn upkeep(cx: &mut Upkeep<'_, Self>) {
        let _ = cx;
    }

    /// The server will go away: say so to whoever asks, or refuse new work, as `step` says. The
    /// connections stay; [`Session::on_drain`] of each ends them.
    fn on_leave(cx: &mut Upkeep<'_, Self>, step: Leave) {
        let _ = (cx, step);
    }

    /// Engine number `from` of this service, on another thread, mailed `message`. Mail from one
    /// engine arrives in the order it was sent.
    fn on_mail(cx: &mut Upkeep<'_, Self>, from: usize, message: Self::Message) {
        let _ = (cx, from, message);
    }

    /// Bytes of memory held by this session outside itself (reservations, tables), for the
    /// accounting of I2.
    fn footprint(&self) -> usize {
        0
    }
}

/// What a [`Session`] is lent for one call.
pub struct Cx<'a, S: Session> {
    /// The time of this call.
    pub now: Tick,
    /// This connection.
    pub id: ConnId,
    /// Replies go here.
    pub out: &'a mut Outbox,
    /// When the peer last took output; [`Tick::ZERO`] if it never did.
    pub taken_at: Tick,
    /// The state shared by all connections of the engine.
    pub shared: &'a mut S::Shared,
    pub(crate) queues: &'a mut Queues<S>,
    pub(crate) jobs: &'a mut crate::engine::Jobs<S>,
    pub(crate) budget: u32,
    pub(crate) high: usize,
    /// Output at which all connections together hold what they may.
    pub(crate) room: usize,
    pub(crate) held: Held,
    pub(crate) limits: &'a Limits,
    pub(crate) closed: Option<CloseReason>,
    pub(crate) refused: u32,
}

impl<'a, S: Session> Cx<'a, S> {
    pub(crate) fn new(
        now: Tick,
        id: ConnId,
        taken_at: Tick,
        out: &'a mut Outbox,
        world: &'a mut World<S>,
    ) -> Self {
        let high = world.marks().high;
        let others = world.held.bytes().saturating_sub(out.len());
        Self {
            now,
            id,
            room: world.limits.total.saturating_sub(others),
            out,
            taken_at,
            shared: &mut world.shared,
            queues: &mut world.queues,
            jobs: &mut world.jobs,
            budget: world.limits.messages_per_turn,
            high,
            held: world.held,
            limits: &world.limits,
            closed: None,
            refused: 0,
        }
    }

    /// Between two messages: whether to stop now, and the reason to return.
    ///
    /// Counts one message against this turn's budget. At least one message is admitted per turn.
    #[inline]
    pub fn stop(&mut self) -> Option<Stop> {
        if self.out.len() >= self.high {
            return Some(Stop::OutputFull);
        }
        match self.budget.checked_sub(1) {
            Some(left) => {
                self.budget = left;
                None
            }
            None => Some(Stop::Budget),
        }
    }

    /// Whether all connections together hold as much as [`Limits::total`] allows: a request that
    /// begins now is to be refused, with as few bytes as the protocol has for that.
    ///
    /// [`Limits::total`]: crate::conn::Limits::total
    #[inline]
    #[must_use]
    pub fn must_shed(&self) -> bool {
        self.out.len() >= self.room
    }

    /// In [`Session::on_input`], for each request that is refused because there is too much to do.
    /// If there are many of them, the connection is read again after [`Limits::refusal_pause`].
    ///
    /// [`Limits::refusal_pause`]: crate::conn::Limits::refusal_pause
    #[inline]
    pub const fn refused(&mut self) {
        self.refused = self.refused.saturating_add(1);
    }

    /// What all connections held when this call began.
    #[must_use]
    pub const fn held(&self) -> Held {
        self.held
    }

    /// Why the connection is over, in [`Session::on_close`]; `None` before.
    #[must_use]
    pub const fn close_reason(&self) -> Option<CloseReason> {
        self.closed
    }

    /// Sends `message` to another connection of this engine; delivered after this call, in order.
    /// A connection that is gone by then is skipped.
    pub fn post(&mut self, to: ConnId, message: S::Message) {
        self.queues.posts.push_back((to, message));
    }

    /// What belongs to the shared state rather than to this connection: waking and mailing.
    pub fn upkeep(&mut self) -> Upkeep<'_, S> {
        Upkeep { now: self.now, shared: self.shared, queues: self.queues }
    }

    /// Hands slow work to the host; [`Session::on_done`] brings the result, in any order.
    pub fn spawn(&mut self, job: S::Job) -> JobId {
        self.jobs.push(self.now, self.id, job, false)
    }

    /// As [`Cx::spawn`], before all that wait, but for others that were to go ahead. Who does this
    /// sees to it that the rest is not kept waiting for ever; [`guard::Admission`] says when.
    ///
    /// [`guard::Admission`]: crate::guard::Admission
    pub fn spawn_ahead(&mut self, job: S::Job) -> JobId {
        self.jobs.push(self.now, self.id, job, true)
    }

    /// Jobs waiting for a worker, over all connections of the engine.
    #[must_use]
    pub fn jobs_waiting(&self) -> usize {
        self.jobs.waiting()
    }

    /// Since when the oldest of them waits.
    #[must_use]
    pub fn oldest_job(&self) -> Option<Tick> {
        self.jobs.oldest()
    }
}

/// The steps of leaving before connections are ended; see [`crate::guard::Drain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leave {
    /// Tell who asks, and serve on.
    Announce,
    /// Refuse new work, not executed.
    RefuseNew,
}

/// What [`Session::upkeep`] and [`Session::on_mail`] are lent.
pub struct Upkeep<'a, S: Session> {
    /// The time of this call.
    pub now: Tick,
    /// The state shared by all connections of the engine.
    pub shared: &'a mut S::Shared,
    pub(crate) queues: &'a mut Queues<S>,
}

impl<S: Session> Upkeep<'_, S> {
    /// As [`Cx::post`].
    pub fn post(&mut self, to: ConnId, message: S::Message) {
        self.queues.posts.push_back((to, message));
    }

    /// Has [`Session::on_wake`] of a connection of this engine called in its next turn: once,
    /// however often it is woken until then. The cheap way to tell many
    /// connections that the shared state has news; what the news is, they find there.
    #[inline]
    pub fn wake(&mut self, id: ConnId) {
        self.queues.wakes.push(id);
    }

    /// Sends `message` to another engine of this service, or, with [`Place::count`], to what the
    /// host has set up beside them. Its [`Session::on_mail`] gets it
    /// later, on its own thread, in order with all mail from this engine.
    ///
    /// Hosts carry whatever is written, and nobody waits: how much may be under way to an engine
    /// that is slow is for the protocol to bound, as [`fanout`](crate::fanout) does.
    ///
    /// # Panics
    /// If `to` is this engine or none: caller misuse.
    pub fn mail(&mut self, to: usize, message: S::Message) {
        self.queues.mail(to, message);
    }

    /// Which engine of the service this is, of how many: 0 of 1 unless the host runs several.
    #[must_use]
    pub fn place(&self) -> Place {
        self.queues.place
    }
}

/// An engine's place among the engines of one service, which a host runs one per thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its number, from 0.
    pub index: usize,
    /// How many there are.
    pub count: usize,
}

impl Place {
    /// An engine on its own.
    pub const ALONE: Self = Self { index: 0, count: 1 };
}

/// What [`Session::on_input`] did.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Bytes consumed.
    pub used: usize,
    /// Why it stopped.
    pub stop: Stop,
}

/// Why a session stopped reading its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It needs at least this many bytes from the first unconsumed one; more than there are,
    /// and no more than [`Limits::input`](crate::conn::Limits::input).
    NeedInput(usize),
    /// Enough output is waiting; continue when it has drained.
    OutputFull,
    /// This turn's share is used up; continue after the others had theirs.
    Budget,
    /// A job must finish before the next message can be looked at.
    Waiting,
    /// The protocol is over (`quit`): deliver what is owed, then close.
    Closing,
}

/// Slow work, run by the host outside the core: a pure function of its own data.
pub trait Job: Send + 'static {
    /// What comes back to [`Session::on_done`].
    type Output: Send + 'static;
    /// Does the work. Must end by itself within a bounded time.
    fn run(self) -> Self::Output;
}

/// The job type of protocols that have none.
#[derive(Clone, Copy, Debug)]
pub enum NoJob {}

impl Job for NoJob {
    type Output = core::convert::Infallible;
    fn run(self) -> Self::Output {
        match self {}
    }
}

/// A moment at which something is due, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    /// When.
    pub at: Tick,
    /// What for, for logs and pictures: "idle", "linger".
    pub why: &'static str,
}

/// The peer broke the protocol beyond repair; the connection ends after its last words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The class of the fault.
    pub kind: FaultKind,
    /// What exactly was wrong.
    pub what: &'static str,
}

impl Fault {
    /// A fault of class `kind`; `what` names the broken rule.
    #[must_use]
    pub const fn new(kind: FaultKind, what: &'static str) -> Self {
        Self { kind, what }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.what)
    }
}

impl core::error::Error for Fault {}

/// Classes of [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The bytes are no message of this protocol.
    Malformed,
    /// The peer asks for something this server does not do.
    Refused,
    /// The peer was silent, or too slow, for too long.
    TimedOut,
    /// The peer did not read what was sent to it.
    TooSlow,
    /// A message is longer than allowed.
    TooLong,
    /// Input ended inside a message.
    Truncated,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed input",
            Self::Refused => "refused",
            Self::TimedOut => "timed out",
            Self::TooSlow => "too slow a reader",
            Self::TooLong => "too long",
            Self::Truncated => "truncated input",
        })
    }
}

/// Who is at the other end, as far as the host knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// A TCP peer.
    Tcp(core::net::SocketAddr),
    /// A unix-socket peer.
    Unix,
    /// A peer inside a simulator or test, by number.
    Virtual(u64),
}
