//! Bugs of slow work: admission, expiry, jobs.

use super::flawed::{Flaw, Flawed};
use super::{Planted, Row};
use crate::check::Delivered;
use crate::node::Node;
use crate::sudoku::offered::overload_of;
use crate::sudoku::rolling::{Serving, rolling_of};
use crate::sudoku::{Mistake, Prompt, Service, Shape, Sudoku, TakesOne, Ways};
use crate::trial::Trial;
use crate::world::Factory;
use core::time::Duration;
use drywire::guard::DrainConfig;
use drywire::sudoku::{Board, Config, Verdict, solver};

/// What is wrong.
#[derive(Clone, Copy)]
enum Wrong {
    /// The host or the engine: what stands between them.
    Machine(Flaw),
    /// What the server was told.
    Told(fn(&mut Config)),
}

pub(super) fn planted() -> impl Iterator<Item = Planted> {
    let overloaded = OVERLOADED.iter().map(|&(wrong, name, area, catchers, budget)| {
        let experiment = Box::new(overload_of(name, wrong));
        Planted { name, area, catchers, budget, experiment }
    });
    let wrong = WRONG.iter().map(|&(wrong, name, area, catchers, budget)| {
        let experiment = Box::new(trial(name, wrong));
        Planted { name, area, catchers, budget, experiment }
    });
    let rolling = ROLLING.iter().map(|&((serve, ways), name, area, catchers, budget)| {
        let experiment = Box::new(rolling_of(name, serve, ways));
        Planted { name, area, catchers, budget, experiment }
    });
    wrong.chain(overloaded).chain(rolling)
}

/// A rolling restart of servers, with clients, of which either gets something wrong.
type Rolled = (Serving, fn(&mut Ways));

const RIGHT: Serving = |s, life, leaves| leaving(s, Flaw::Nothing, life, leaves);

#[rustfmt::skip]
const ROLLING: &[Row<Rolled>] = &[
    ((|s, life, leaves| leaving(s, Flaw::DrainIsTheEnd, life, leaves), |_| ()), "restart: closing drops the boards that are owed", "drain", &["drain"], 1000),
    ((|s, life, leaves| leaving(s, Flaw::Nothing, life, DrainConfig { hard: Duration::ZERO, ..leaves }), |_| ()), "restart: who leaves ends everything at once", "drain", &["lost"], 1000),
    ((RIGHT, |ways| ways.mistake = Some(Mistake::Stays)), "restart: a client stays with whoever says that it goes away", "balancer", &["lost"], 4000),
    ((RIGHT, |ways| ways.mistake = Some(Mistake::NeverReturns)), "restart: who came back gets nothing", "balancer", &["share"], 400),
    ((RIGHT, |ways| ways.config.repeat = true), "restart: what may have been executed is asked again", "retries", &["twice"], 400),
    ((RIGHT, |ways| ways.config.retry.backoff = Duration::ZERO), "restart: what was refused is asked again at once", "retries", &["retry"], 400),
    ((RIGHT, |ways| (ways.config.retry.burst, ways.config.retry.percent) = (1000, 100)), "restart: retries have no budget", "retries", &["retry"], 400),
    ((RIGHT, |ways| ways.config.patience = HOUR), "restart: a board is never given up", "deadlines", &["deadline"], 400),
];

fn leaving(service: &Service, flaw: Flaw, life: u32, leaves: DrainConfig) -> Box<dyn Node> {
    let engine = service.shape().engine(service.config());
    Box::new(service.serve(Flawed::new(engine, flaw)).life(life).departing(leaves))
}

/// A server under open-loop load that gets something wrong.
type Overloaded = fn(&Service) -> Box<dyn Node>;

#[rustfmt::skip]
const OVERLOADED: &[Row<Overloaded>] = &[
    (|s| told(s, |c| (c.admit.budget, c.admit.target, c.admit.give_up) = (HOUR, HOUR, HOUR)), "overload: nothing is ever refused", "admission", &["goodput", "deadline", "queue"], 20),
    (|s| told(s, |c| c.admit.interval = HOUR), "overload: a queue that stands is left standing", "admission", &["queue"], 100),
    (|s| told(s, |c| c.admit.queue_max = 1), "overload: hardly anybody may wait", "admission", &["goodput"], 100),
    (|s| told(s, |c| (c.admit.budget, c.admit.target) = (HOUR, HOUR)), "overload: who cannot be served is refused when its time is over", "admission", &["prompt", "queue"], 100),
    (|s| Box::new(s.serve(s.shape().engine(s.config())).workers(s.workers.div_ceil(2) as usize)), "overload: half of the workers do nothing", "jobs", &["goodput"], 50),
];

fn told(service: &Service, twist: fn(&mut Config)) -> Box<dyn Node> {
    let mut config = service.config();
    twist(&mut config);
    Box::new(service.serve(service.shape().engine(config)))
}

const HOUR: Duration = Duration::from_secs(3600);

#[rustfmt::skip]
const WRONG: &[Row<Wrong>] = &[
    (Wrong::Told(|c| c.solve = solves_another), "one board in nine gets the solution of another", "sudoku", &["reply"], 50),
    (Wrong::Told(|c| c.solve = gives_up_quietly), "a board that was given up has no solution", "sudoku", &["reply"], 400),
    (Wrong::Told(|c| (c.admit.budget, c.admit.target, c.admit.give_up) = (HOUR, HOUR, HOUR)), "nothing is ever refused", "admission", &["deadline"], 2000),
    (Wrong::Told(|c| c.admit.give_up = HOUR), "boards that waited too long are solved all the same", "admission", &["deadline"], 10_000),
    (Wrong::Told(|c| c.solve = |_, _| Verdict::GaveUp), "boards are given up without trying", "sudoku", &["shed"], 50),
    (Wrong::Machine(Flaw::DrainIsTheEnd), "a drain drops boards under way", "drain", &["drain", "live", "leak"], 2000),
    (Wrong::Machine(Flaw::LosesResults), "one result in forty is lost", "jobs", &["live", "leak"], 400),
    (Wrong::Machine(Flaw::LosesWorkers), "a worker whose client left never returns", "jobs", &["live", "leak"], 1000),
    (Wrong::Machine(Flaw::PausesForEver), "whoever was refused is never read again", "admission", &["live"], 400),
    (Wrong::Machine(Flaw::EndIsTheEnd), "a half-close cancels boards under way", "sudoku", &["ledger", "reply"], 50),
    (Wrong::Machine(Flaw::TornLine), "CR at the end of a read is the end of a board's line", "framing", &["reply", "ledger", "live"], 100),
];

fn trial(name: &str, wrong: Wrong) -> Trial<Sudoku> {
    let serve = move |decider: &mut crate::decide::Decider| -> Factory {
        let shape = Shape::draw(decider);
        Box::new(move |life| {
            let (mut config, mut flaw) = (shape.config(), Flaw::Nothing);
            match wrong {
                Wrong::Machine(machine) => flaw = machine,
                Wrong::Told(twist) => twist(&mut config),
            }
            Box::new(shape.serve(Flawed::new(shape.engine(config), flaw)).life(life))
        })
    };
    Trial::of(name, serve, Sudoku::new).expect(Prompt).expect(TakesOne).expect(Delivered)
}

fn solves_another(board: &Board, guesses: u32) -> Verdict {
    let mut cells = board.text();
    if cells[0] == b'7' {
        (cells[0], cells[1]) = (b'0', b'7');
    }
    Board::parse(&cells).map_or(Verdict::NoSolution, |board| solver::solve(&board, guesses))
}

fn gives_up_quietly(board: &Board, guesses: u32) -> Verdict {
    match solver::solve(board, guesses) {
        Verdict::GaveUp => Verdict::NoSolution,
        verdict => verdict,
    }
}
