//! Bugs of slow work: admission, expiry, jobs.

use super::flawed::{Flaw, Flawed};
use super::{Planted, Row};
use crate::sudoku::{Prompt, Shape, Sudoku, TakesOne};
use crate::trial::Trial;
use crate::world::Factory;
use core::time::Duration;
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
    WRONG.iter().map(|&(wrong, name, area, catchers, budget)| {
        let experiment = Box::new(trial(name, wrong));
        Planted { name, area, catchers, budget, experiment }
    })
}

const HOUR: Duration = Duration::from_secs(3600);

#[rustfmt::skip]
const WRONG: &[Row<Wrong>] = &[
    (Wrong::Told(|c| c.solve = solves_another), "one board in nine gets the solution of another", "sudoku", &["reply"], 50),
    (Wrong::Told(|c| c.solve = gives_up_quietly), "a board that was given up has no solution", "sudoku", &["reply"], 400),
    (Wrong::Told(|c| (c.admit.budget, c.admit.target, c.admit.give_up) = (HOUR, HOUR, HOUR)), "nothing is ever refused", "admission", &["deadline"], 2000),
    (Wrong::Told(|c| c.admit.give_up = HOUR), "boards that waited too long are solved all the same", "admission", &["deadline"], 10_000),
    (Wrong::Told(|c| c.solve = |_, _| Verdict::GaveUp), "boards are given up without trying", "sudoku", &["shed"], 50),
    (Wrong::Machine(Flaw::LosesResults), "one result in forty is lost", "jobs", &["live", "leak"], 400),
    (Wrong::Machine(Flaw::LosesWorkers), "a worker whose client left never returns", "jobs", &["live", "leak"], 1000),
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
    Trial::of(name, serve, Sudoku::new).expect(Prompt).expect(TakesOne)
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
