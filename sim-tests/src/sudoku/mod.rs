//! sudoku under fire: slow work, answered in any order or refused in time.

mod mover;
pub(crate) mod offered;
mod promises;
pub(crate) mod rolling;
mod work;

pub use mover::{Asked, End, Mistake, Move, Mover, Ways};
pub use offered::{Goodput, Offered, Service, overload};
pub use promises::{Prompt, TakesOne};
pub use rolling::{DEPARTURE, Rolling, WAYS, rolling};
pub use work::{Cells, Reply, Request, Sudoku};

use crate::check::Delivered;
use crate::decide::{Decider, Key, Site};
use crate::fault::{Covers, Fault, Rare};
use crate::serve::Serve;
use crate::trial::Trial;
use crate::world::Factory;
use core::time::Duration;
use drywire::conn::{Limits, Session};
use drywire::engine::{ConnId, Engine, Local, Machine};
use drywire::guard::AdmitConfig;
use drywire::sudoku::{self, Config, Server, Shared, Stats, Work};

/// The engine under test.
pub type SudokuEngine = Engine<Server<Local<Stats>>>;

/// The limits of one run of a server, drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Each connection's.
    pub limits: Limits,
    /// Connections held.
    pub connections: usize,
    /// After how long clients give up.
    pub deadline: Duration,
    /// Jobs at a time.
    pub workers: u32,
    /// What a quick board takes.
    pub quick: Duration,
    /// Guesses for one board.
    pub guesses: u32,
    /// Boards of one connection under way at most.
    pub under_way: u32,
}

const NARROW: Site = Site::new("sudoku.narrow");
const QUICK: Site = Site::new("sudoku.quick");
const INPUT: Site = Site::new("sudoku.input");
const OUTPUT: Site = Site::new("sudoku.output");
const TURN: Site = Site::new("sudoku.turn");
const CONNECTIONS: Site = Site::new("sudoku.connections");
const DEADLINE: Site = Site::new("sudoku.deadline");
const WORKERS: Site = Site::new("sudoku.workers");
const GUESSES: Site = Site::new("sudoku.guesses");
const UNDER_WAY: Site = Site::new("sudoku.under-way");
const PAUSE: Site = Site::new("sudoku.pause");

impl Shape {
    /// Draws one; all-zero decisions give the defaults.
    pub fn draw(decider: &mut Decider) -> Self {
        let key = Key::default();
        let mut limits = sudoku::limits();
        // What is promised about time needs room: half of the servers have it.
        let narrow = decider.below(NARROW, key, 2) == 1;
        if narrow {
            // What recorded decisions were made of.
            limits = Limits::default();
            limits.input >>= decider.below(INPUT, key, 7);
            limits.output_high >>= decider.below(OUTPUT, key, 12);
            limits.output_low = limits.output_high / 4;
            limits.messages_per_turn >>= decider.below(TURN, key, 8);
        }
        let deadline = [50, 10, 200, 1000][decider.below(DEADLINE, key, 4) as usize];
        // As `drywire serve` has it: an eighth of the deadline at most.
        let pause = [0, 0, 1, 4][decider.below(PAUSE, key, 4) as usize].min(deadline / 8);
        limits.refusal_pause = Duration::from_millis(pause);
        Self {
            limits,
            connections: 1024 >> decider.below(CONNECTIONS, key, 10),
            deadline: Duration::from_millis(deadline),
            workers: 1 + decider.below(WORKERS, key, 4) as u32,
            quick: Duration::from_micros(
                [10, 100, 1000, 5000][decider.below(QUICK, key, 4) as usize],
            ),
            guesses: [10_000, 10_000, 100, 0][decider.below(GUESSES, key, 4) as usize],
            under_way: if narrow { 1024 >> decider.below(UNDER_WAY, key, 11) } else { 1024 },
        }
    }

    /// What the server is told.
    #[must_use]
    pub fn config(&self) -> Config {
        Config {
            admit: AdmitConfig::for_deadline_after(self.deadline, self.limits.refusal_pause),
            workers: self.workers,
            guesses: self.guesses,
            under_way: self.under_way,
            ..Config::DEFAULT
        }
    }

    /// A server of this shape.
    #[must_use]
    pub fn engine(&self, config: Config) -> SudokuEngine {
        let shared = Shared::new(config, Local::one(Stats::default()));
        Engine::new(shared, self.limits, self.connections)
    }

    /// What one connection may hold (I2): input, boards under way, output up to its mark and what
    /// those boards and one report of statistics may add to it, with the slack of a growing
    /// buffer, or a recycled output buffer.
    #[must_use]
    pub fn cap(&self) -> usize {
        let boards = self.under_way as usize;
        let output = self.limits.output_high + 101 * boards + 4096;
        2 * self.limits.input + boards * 2 * size_of::<Work>() + (2 * output).max(128 << 10) + 2048
    }

    /// A host of this shape.
    pub fn serve<M: Machine>(&self, machine: M) -> Serve<M> {
        let serve = Serve::new(machine).workers(self.workers as usize).quick(self.quick);
        serve.cap(self.cap()).remark(self.remark())
    }

    /// For the checkers, of each connection: the deadline in milliseconds, unless limits are so
    /// small that boards may wait elsewhere than in the queue; how much may be guessed.
    fn remark(&self) -> u64 {
        let refusal_pause = self.limits.refusal_pause;
        let wide = self.limits == Limits { refusal_pause, ..sudoku::limits() };
        let wide = wide && self.under_way == 1024;
        let deadline = if wide { self.deadline.as_millis() as u64 } else { 0 };
        deadline << 32 | u64::from(self.guesses)
    }
}

/// The server, for each of its lives.
#[must_use]
pub fn serve(decider: &mut Decider) -> Factory {
    let shape = Shape::draw(decider);
    Box::new(move |life| {
        Box::new(shape.serve(shape.engine(shape.config())).phases(phase).life(life))
    })
}

/// The phases of a sudoku connection.
fn phase(engine: &SudokuEngine, id: ConnId) -> &'static str {
    let Some(conn) = engine.conn(id) else { return "over" };
    let owes = conn.session().is_some_and(Session::owes);
    if conn.close_reason().is_some() {
        return match conn.session() {
            Some(_) if owes => "owing",
            Some(_) => "ending",
            None => "refused",
        };
    }
    if conn.outgoing_len() >= engine.limits().output_high {
        "full"
    } else if owes {
        "solving"
    } else if conn.outgoing_len() > 0 {
        "replying"
    } else if conn.footprint() > 0 {
        "line"
    } else {
        "idle"
    }
}

const COVERS: Covers = Covers {
    phases: &[
        "opening", "idle", "line", "solving", "replying", "full", "owing", "ending", "refused",
        "closed", "down",
    ],
    rare: &[
        Rare {
            phase: "full",
            faults: Fault::OF_CALLERS,
            why: "output is full when a caller does not read, and such a one seldom asks more",
        },
        Rare {
            phase: "owing",
            faults: Fault::OF_CALLERS,
            why: "nothing is asked on a connection that ends",
        },
        Rare {
            phase: "ending",
            faults: Fault::OF_CALLERS,
            why: "nothing is asked on a connection that ends",
        },
    ],
    seeds: 20_000,
};

/// sudoku under everything.
#[must_use]
pub fn trial() -> Trial<Sudoku> {
    Trial::of("sudoku", serve, Sudoku::new)
        .expect(Prompt)
        .expect(TakesOne)
        .expect(Delivered)
        .covers(COVERS)
        .sometimes("a board was refused", |run| run.heard(|_, reply| *reply == Reply::TooBusy))
        .sometimes("a board had no solution", |run| {
            run.heard(|_, reply| *reply == Reply::NoSolution)
        })
        .sometimes("a bad line was answered", |run| {
            run.heard(|_, reply| *reply == Reply::LastWords)
        })
}
