//! The server's side of one connection.

use crate::conn::{
    Cx, Fault, FaultKind, HostSettings, Intake, Job, Leave, Limits, Outbox, Peer, Session, Stop,
    Taken, Upkeep,
};
use crate::engine::{JobId, Shards};
use crate::frame::line::{Lines, State};
use crate::guard::{Admission, Admit, AdmitConfig, Ask, Dequeue, Waited};
use crate::sudoku::codec::{
    Board, Id, Reply, Request, RequestError, parse_request, put_reply, request_lines,
};
use crate::sudoku::solver::{self, Verdict};
use crate::sudoku::stats::{self, Gauges, Outcome, Stats};
use crate::tick::Tick;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::marker::PhantomData;
use core::time::Duration;

/// The limits of a connection that fit this protocol: 16 KiB of input hold what is served in one turn
/// ([`Limits::messages_per_turn`]), so that no more is read and put aside for later turns.
#[must_use]
pub fn limits() -> Limits {
    Limits { input: 16 << 10, ..Limits::default() }
}

/// What the server is told once, at its start.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// When to refuse. Its `budget` is the longest wait accepted: 0.8 of the clients' deadline.
    pub admit: AdmitConfig,
    /// Workers that solve for one engine.
    pub workers: u32,
    /// Guesses for one board; see [`solver::solve`].
    pub guesses: u32,
    /// Boards of one connection that are under way; with more it is not read until some are
    /// answered. At least 1.
    pub under_way: u32,
    /// How a worker solves, given the board and its guesses.
    pub solve: fn(&Board, u32) -> Verdict,
    /// Shown by `stats`: what `admit` was made for.
    pub deadline: Duration,
    /// Shown by `stats`: how it is hosted.
    pub host: HostSettings,
}

impl Config {
    /// The defaults of [`AdmitConfig`] with 20 us for a board that nothing is known about, one
    /// worker, 10,000 guesses, 1,024 boards under way, [`solver::solve`], clients that wait for
    /// 50 ms.
    pub const DEFAULT: Self = Self {
        admit: AdmitConfig { service_guess: Duration::from_micros(20), ..AdmitConfig::DEFAULT },
        workers: 1,
        guesses: 10_000,
        under_way: 1024,
        solve: solver::solve,
        deadline: Duration::from_millis(50),
        host: HostSettings::DEFAULT,
    };
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What all sudoku connections of one engine share.
#[derive(Debug)]
pub struct Shared<Sh> {
    config: Config,
    lines: Lines,
    admission: Admission,
    stats: Sh,
    /// Connections of this engine that have boards waiting.
    conns_waiting: usize,
    /// Boards that workers have, and since when they or what made them free takes those workers.
    started: Vec<(JobId, Tick)>,
    /// When workers became free that have not begun anything since, if boards have been waiting.
    freed: VecDeque<Tick>,
    going: Going,
}

/// How long this server will be around.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Going {
    Staying,
    /// It says so to whoever asks, and serves on.
    Announced,
    /// It refuses new boards.
    Refusing,
}

impl<Sh: Shards<Stats>> Shared<Sh> {
    /// A server's state. Engines of one service that are to answer `stats` together share `stats`.
    pub fn new(config: Config, stats: Sh) -> Self {
        Self {
            admission: Admission::new(&config.admit, Tick::ZERO),
            config,
            lines: request_lines(),
            stats,
            conns_waiting: 0,
            started: Vec::new(),
            freed: VecDeque::new(),
            going: Going::Staying,
        }
    }

    /// The mean service time as measured.
    pub const fn service(&self) -> Duration {
        self.admission.service()
    }

    /// A worker takes a board. While boards wait its time runs from the end of the one before,
    /// because a board costs more than solving.
    fn start(&mut self, now: Tick, job: JobId) {
        let since = self.freed.pop_front().unwrap_or(now);
        self.started.push((job, since));
    }

    /// A worker is done: what that says about the service time.
    fn measure(&mut self, now: Tick, job: JobId, waiting: usize) {
        if let Some(place) = self.started.iter().position(|(id, _)| *id == job) {
            self.admission.on_complete(now.since(self.started.swap_remove(place).1));
        }
        if waiting == 0 {
            self.freed.clear();
        } else if self.freed.len() < self.config.workers.max(1) as usize {
            self.freed.push_back(now);
        }
    }
}

/// A board on its way to a worker.
#[derive(Debug)]
pub struct Work {
    id: Id,
    board: Board,
    received: Tick,
    expires_at: Tick,
    guesses: u32,
    solve: fn(&Board, u32) -> Verdict,
}

/// What a worker found.
#[derive(Debug)]
pub struct Found {
    id: Id,
    verdict: Verdict,
    received: Tick,
}

impl Job for Work {
    type Output = Found;

    fn run(self) -> Found {
        let verdict = (self.solve)(&self.board, self.guesses);
        Found { id: self.id, verdict, received: self.received }
    }
}

/// The session of one connection.
#[derive(Debug)]
pub struct Server<Sh> {
    lines: State,
    /// Boards that wait for a worker.
    waiting: u32,
    /// Boards that a worker has.
    running: u32,
    /// When a board last came while another waited, or was refused.
    crowded: Option<Tick>,
    /// One of them has no id: the next line is not looked at before its answer, so that answers
    /// without ids come in the order of their boards.
    nameless: bool,
    /// What to say when all that is owed is said.
    last_words: Option<RequestError>,
    shards: PhantomData<fn() -> Sh>,
}

impl<Sh: Shards<Stats>> Session for Server<Sh> {
    type Shared = Shared<Sh>;
    type Message = Infallible;
    type Job = Work;

    fn open(cx: &mut Cx<'_, Self>, _: &Peer) -> Self {
        note(cx, Stats::opened);
        Self {
            lines: State::default(),
            waiting: 0,
            running: 0,
            crowded: None,
            nameless: false,
            last_words: None,
            shards: PhantomData,
        }
    }

    fn on_input(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault> {
        let lines = cx.shared.lines;
        let mut intake = Intake::new(&lines, self.lines, input);
        loop {
            if self.nameless || self.waiting + self.running >= cx.shared.config.under_way.max(1) {
                intake.stop(Stop::Waiting);
                break;
            }
            let line = match intake.next(cx) {
                Ok(Some(Ok(line))) => line.payload,
                Ok(None) => break,
                Ok(Some(Err(error))) => return Err(error.into()),
                Err(fault) => return Err(self.bad(cx, fault)),
            };
            match parse_request(line) {
                Ok(Request::Solve { id, board }) => self.solve(cx, id, board),
                Ok(Request::Hopeless { id }) => {
                    note(cx, Stats::asked);
                    answer(cx, id, cx.now, Outcome::NoSolution);
                }
                Ok(Request::Ping) => cx.out.put(match cx.shared.going {
                    Going::Staying => b"pong\r\n",
                    Going::Announced | Going::Refusing => b"pong draining\r\n",
                }),
                Ok(Request::Stats) => report(cx),
                Err(error) => {
                    self.last_words = Some(error);
                    return Err(self.bad(cx, Fault::new(FaultKind::Malformed, error.what())));
                }
            }
        }
        self.lines = intake.state();
        Ok(intake.taken())
    }

    fn on_end(&mut self, cx: &mut Cx<'_, Self>, rest: &[u8]) -> Result<(), Fault> {
        if rest.is_empty() {
            return Ok(());
        }
        Err(self.bad(cx, Fault::new(FaultKind::Truncated, "input ended inside a line")))
    }

    fn on_start(&mut self, cx: &mut Cx<'_, Self>, id: JobId, job: &Work, _: Tick) -> bool {
        let waited = Waited { now: cx.now, expires_at: job.expires_at, left: cx.jobs_waiting() };
        self.left_queue(cx);
        match cx.shared.admission.on_dequeue(&waited) {
            Dequeue::Serve => {
                cx.shared.start(cx.now, id);
                self.running += 1;
                true
            }
            Dequeue::Shed(_) => {
                note(cx, Stats::expired);
                self.finish(cx, job.id, job.received, Outcome::TooBusy);
                false
            }
        }
    }

    fn on_done(&mut self, cx: &mut Cx<'_, Self>, job: JobId, found: Found) {
        let waiting = cx.jobs_waiting();
        cx.shared.measure(cx.now, job, waiting);
        self.running = self.running.saturating_sub(1);
        let outcome = match found.verdict {
            Verdict::Solved(board) => Outcome::Solved(board),
            Verdict::NoSolution => Outcome::NoSolution,
            Verdict::GaveUp => Outcome::GaveUp,
        };
        self.finish(cx, found.id, found.received, outcome);
    }

    fn owes(&self) -> bool {
        self.waiting + self.running > 0
    }

    fn on_fault(&mut self, fault: Fault, out: &mut Outbox) {
        let words = match fault.kind {
            FaultKind::TooLong => RequestError::Id,
            _ => RequestError::Cells,
        };
        let words = *self.last_words.get_or_insert(words);
        if !self.owes() {
            say(out, words);
        }
    }

    fn on_close(&mut self, cx: &mut Cx<'_, Self>) {
        if self.waiting > 0 {
            cx.shared.conns_waiting = cx.shared.conns_waiting.saturating_sub(1);
        }
        let id = cx.id;
        cx.shared.started.retain(|(job, _)| job.conn != id);
        let lost = u64::from(self.waiting + self.running);
        let why = cx.close_reason();
        note(cx, |stats| stats.closed(lost, why));
    }

    fn on_leave(cx: &mut Upkeep<'_, Self>, step: Leave) {
        cx.shared.going = match step {
            Leave::Announce => cx.shared.going.max(Going::Announced),
            Leave::RefuseNew => Going::Refusing,
        };
    }

    fn refusal(_: &mut Self::Shared) -> &'static [u8] {
        b"ServerTooBusy\r\n"
    }
}

impl<Sh: Shards<Stats>> Server<Sh> {
    /// A board came: queues it or refuses it.
    fn solve(&mut self, cx: &mut Cx<'_, Self>, id: Id, board: Board) {
        note(cx, Stats::asked);
        if cx.must_shed() {
            note(cx, Stats::shed);
            return self.refuse(cx, id);
        }
        let config = cx.shared.config;
        let waiting = cx.jobs_waiting();
        if waiting == 0 {
            cx.shared.freed.clear();
        }
        let ask = Ask {
            queue_len: waiting,
            queue_bytes: waiting * size_of::<Work>(),
            workers: config.workers,
            oldest: cx.oldest_job(),
            conn_waiting: self.waiting as usize,
            conns_waiting: cx.shared.conns_waiting,
            conn_crowded: self.crowded,
            draining: cx.shared.going == Going::Refusing,
            ..Ask::new(cx.now)
        };
        match cx.shared.admission.admit(&config.admit, &ask) {
            Admit::Accept { expires_at, ahead } => {
                if self.waiting == 0 {
                    cx.shared.conns_waiting += 1;
                } else {
                    self.crowded = Some(cx.now);
                }
                self.waiting += 1;
                self.nameless = id.is_none();
                let Config { guesses, solve, .. } = config;
                let work = Work { id, board, received: cx.now, expires_at, guesses, solve };
                if ahead {
                    cx.spawn_ahead(work)
                } else {
                    cx.spawn(work)
                };
            }
            // Held input would have to be read again; how much output may wait is the business
            // of the connection's limits, which were asked before this line was taken.
            Admit::Shed { .. } | Admit::Hold => self.refuse(cx, id),
        }
    }

    /// A board is not taken in.
    fn refuse(&mut self, cx: &mut Cx<'_, Self>, id: Id) {
        self.crowded = Some(cx.now);
        cx.refused();
        answer(cx, id, cx.now, Outcome::TooBusy);
    }

    /// A board of this connection waits no longer.
    fn left_queue(&mut self, cx: &mut Cx<'_, Self>) {
        self.waiting = self.waiting.saturating_sub(1);
        if self.waiting == 0 {
            cx.shared.conns_waiting = cx.shared.conns_waiting.saturating_sub(1);
        }
    }

    /// The answer to a board that was under way.
    fn finish(&mut self, cx: &mut Cx<'_, Self>, id: Id, received: Tick, outcome: Outcome) {
        if id.is_none() {
            self.nameless = false;
        }
        answer(cx, id, received, outcome);
        if let Some(words) = self.last_words
            && !self.owes()
        {
            say(cx.out, words);
        }
    }

    fn bad(&self, cx: &mut Cx<'_, Self>, fault: Fault) -> Fault {
        note(cx, Stats::bad);
        fault
    }
}

fn say(out: &mut Outbox, words: RequestError) {
    out.put(words.reply());
    out.put(b"\r\n");
}

/// Replies to a board and counts it.
fn answer<Sh: Shards<Stats>>(
    cx: &mut Cx<'_, Server<Sh>>,
    id: Id,
    received: Tick,
    outcome: Outcome,
) {
    let reply = match outcome {
        Outcome::Solved(board) => Reply::Solved(board),
        Outcome::NoSolution => Reply::NoSolution,
        Outcome::TooBusy | Outcome::GaveUp => Reply::TooBusy,
    };
    put_reply(cx.out, id, &reply);
    let now = cx.now;
    note(cx, |stats| stats.answered(now, received, outcome));
}

/// Counts something in this engine's part of the statistics.
fn note<Sh: Shards<Stats>>(cx: &mut Cx<'_, Server<Sh>>, f: impl FnOnce(&mut Stats)) {
    let place = cx.upkeep().place();
    let waiting = cx.jobs_waiting() as u64;
    let part = place.index & (cx.shared.stats.count() - 1);
    cx.shared.stats.with(part, |stats| {
        f(stats);
        stats.waiting = waiting;
    });
}

/// Answers `stats`.
fn report<Sh: Shards<Stats>>(cx: &mut Cx<'_, Server<Sh>>) {
    note(cx, |_| ());
    let mut all = Stats::default();
    for part in 0..cx.shared.stats.count() {
        cx.shared.stats.with(part, |stats| all.add(stats));
    }
    let (held, Shared { admission, config, going, .. }) = (cx.held(), &*cx.shared);
    let gauges = Gauges {
        service: admission.service(),
        standing: admission.standing(cx.now),
        allowed_wait: admission.allowed_wait(&config.admit, cx.now),
        draining: *going != Going::Staying,
        held,
    };
    stats::put(cx.out, cx.now, &all, &gauges);
    stats::put_settings(cx.out, config, cx.limits);
}
