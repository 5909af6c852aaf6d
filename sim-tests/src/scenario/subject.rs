//! The protocols that scenarios can serve.

use super::Scenario;
use super::watched::Log;
use crate::chat::{self, Chat, ChatEngine};
use crate::check::Check;
use crate::decide::{Decider, Decisions};
use crate::guard::{self, GuardedEngine, Guest, Hours};
use crate::memcache::{self, ClientSide, Memcache, MemcacheEngine, Witness};
use crate::serve::Serve;
use crate::sudoku::{self, Sudoku, SudokuEngine};
use crate::trial::Trial;
use crate::violation::Violation;
use crate::workload::{Op, Word, Workload};
use core::time::Duration;
use drywire::engine::Machine;

/// An operation of a subject's history.
pub(super) type Asked<S> =
    Op<<<S as Subject>::Work as Workload>::Request, <<S as Subject>::Work as Workload>::Reply>;

/// What a subject's callers heard.
pub(super) type Heard<S> = Vec<Word<<<S as Subject>::Work as Workload>::Reply>>;

/// What is known of a run in any arm.
pub(super) struct Seen<'a, S: Subject> {
    pub(super) history: &'a [Asked<S>],
    /// What callers heard, if they listen.
    pub(super) heard: &'a [Word<<S::Work as Workload>::Reply>],
    /// Which life of the server an operation belongs to.
    pub(super) life: &'a dyn Fn(&Asked<S>) -> u32,
    /// What the servers saw, outside of the simulator and if they are watched.
    pub(super) logs: &'a [Log],
    /// How late a host may be, and whether what it was late excuses it: on a real machine.
    pub(super) slack: Duration,
    pub(super) real: bool,
}

impl<S: Subject> Seen<'_, S> {
    /// A real machine stood still for so long that what was planned by time means nothing.
    pub(super) fn stalled(&self) -> bool {
        self.real && self.logs.iter().any(|log| log.late > 1_000_000_000)
    }
}

/// A protocol: its server, its callers, and what must hold beyond the ledger.
pub(super) trait Subject: Copy + Send + Sync + 'static {
    type Work: Workload + 'static;
    type Engine: Machine + Send + 'static;
    /// Its rules are about what the server saw.
    const WATCHED: bool = false;

    fn work(who: u32) -> Self::Work;
    /// A server, empty, in one of its lives.
    fn engine(self, life: u32) -> Self::Engine;
    /// On how many loops it runs where there can be several.
    fn loops(self) -> usize {
        1
    }
    /// The simulator's host for what `make` makes.
    fn serve<M: Machine>(self, make: impl Fn() -> M) -> Serve<M>;
    /// Expects what only the simulator can see.
    fn expect(trial: Trial<Self::Work>) -> Trial<Self::Work>;
    /// Judges by what was seen; how much stayed undecided.
    fn judge(self, seen: &Seen<'_, Self>) -> Result<u64, Violation>;
}

/// memcached.
#[derive(Clone, Copy)]
pub(super) struct Items(memcache::Shape);

impl Items {
    /// Limits differ by seed.
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        let mut shape = memcache::Shape::draw(&mut Decider::seeded(seed));
        shape.connections = scenario.connections;
        shape.item_max = 1 << 20;
        shape.limits.output.no_progress = scenario.no_progress;
        Self(shape)
    }
}

impl Subject for Items {
    type Work = Memcache;
    type Engine = MemcacheEngine;

    fn work(who: u32) -> Memcache {
        Memcache::timeless(who)
    }

    fn engine(self, _: u32) -> MemcacheEngine {
        self.0.engine()
    }

    fn serve<M: Machine>(self, make: impl Fn() -> M) -> Serve<M> {
        Serve::new(make()).cap(self.0.cap()).remark(u64::from(self.0.item_max))
    }

    fn expect(trial: Trial<Memcache>) -> Trial<Memcache> {
        trial.expect(Witness)
    }

    fn judge(self, seen: &Seen<'_, Self>) -> Result<u64, Violation> {
        ClientSide { item_max: self.0.item_max }.judge_lives(seen.history, seen.life)
    }
}

/// sudoku. Each answer is judged as it is heard.
#[derive(Clone, Copy)]
pub(super) struct Boards(sudoku::Shape);

impl Boards {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let mut shape = sudoku::Shape::draw(&mut plain());
        shape.connections = scenario.connections;
        shape.limits.output.no_progress = scenario.no_progress;
        Self(shape)
    }
}

impl Subject for Boards {
    type Work = Sudoku;
    type Engine = SudokuEngine;

    fn work(who: u32) -> Sudoku {
        Sudoku::new(who)
    }

    fn engine(self, _: u32) -> SudokuEngine {
        self.0.engine(self.0.config())
    }

    fn serve<M: Machine>(self, make: impl Fn() -> M) -> Serve<M> {
        self.0.serve(make())
    }

    fn expect(trial: Trial<Sudoku>) -> Trial<Sudoku> {
        trial.expect(sudoku::Prompt).expect(sudoku::TakesOne)
    }

    fn judge(self, _: &Seen<'_, Self>) -> Result<u64, Violation> {
        Ok(0)
    }
}

/// The small protocol that keeps all rules about one connection, its heartbeat first.
#[derive(Clone, Copy)]
pub(super) struct Beats(guard::Shape);

impl Beats {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let mut shape = guard::Shape::draw(&mut plain());
        shape.limits.output.no_progress = scenario.no_progress;
        Self(shape)
    }
}

impl Subject for Beats {
    type Work = Guest;
    type Engine = GuardedEngine;
    const WATCHED: bool = true;

    fn work(_: u32) -> Guest {
        Guest::new(guard::Taste::Behave)
    }

    fn engine(self, _: u32) -> GuardedEngine {
        self.0.engine(self.0.rules())
    }

    fn serve<M: Machine>(self, make: impl Fn() -> M) -> Serve<M> {
        self.0.serve(make(), 0)
    }

    fn expect(trial: Trial<Guest>) -> Trial<Guest> {
        guard::expect(trial)
    }

    fn judge(self, seen: &Seen<'_, Self>) -> Result<u64, Violation> {
        let slack = u64::try_from(seen.slack.as_nanos()).unwrap_or(u64::MAX);
        for log in seen.logs {
            let slack = slack + if seen.real { log.late } else { 0 };
            for (link, transcript) in log.transcripts.iter().enumerate() {
                guard::lived(link, transcript, Hours { end: log.end, tampered: false, slack })?;
            }
        }
        Ok(0)
    }
}

/// Chat, on two loops where there can be several.
#[derive(Clone, Copy)]
pub(super) struct Rooms {
    no_progress: Duration,
}

impl Rooms {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self { no_progress: scenario.no_progress }
    }

    fn shape(self) -> crate::fanout::Shape {
        let mut shape = chat::shape(&mut plain());
        shape.limits.output.no_progress = self.no_progress;
        shape.loops = self.loops();
        shape
    }
}

impl Subject for Rooms {
    type Work = Chat;
    type Engine = ChatEngine;

    fn work(who: u32) -> Chat {
        Chat::new(who)
    }

    fn engine(self, life: u32) -> ChatEngine {
        chat::engine(&self.shape().at(life))
    }

    fn loops(self) -> usize {
        2
    }

    fn serve<M: Machine>(self, make: impl Fn() -> M) -> Serve<M> {
        self.shape().serve(|_| make())
    }

    fn expect(trial: Trial<Chat>) -> Trial<Chat> {
        trial.expect(chat::Prompt)
    }

    fn judge(self, seen: &Seen<'_, Self>) -> Result<u64, Violation> {
        chat::OneOrder::holds(seen.heard).map(|()| 0)
    }
}

/// Draws the first of everything.
fn plain() -> Decider {
    Decider::script(&Decisions::new())
}

/// What callers saw, as a check of the simulator's runs.
pub(super) fn client_side<S: Subject>(subject: S) -> impl Check<S::Work> {
    move |run: &crate::trial::Run<'_, S::Work>| {
        let links: Vec<_> = run.history.iter().map(|op| op.link).collect();
        if links.iter().any(|link| run.tainted(*link)) {
            return Ok(0);
        }
        let life = |op: &Asked<S>| run.transcripts().get(op.link.0 as usize).map_or(0, |t| t.life);
        let (history, heard, life) = (run.history.as_slice(), run.heard, &life);
        let seen = Seen { history, heard, life, logs: &[], slack: Duration::ZERO, real: false };
        // What cannot be decided from outside, the witness has decided.
        subject.judge(&seen).map(|_| 0)
    }
}
