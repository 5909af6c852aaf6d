//! The solver alone, on this thread.

use super::boards::{self, Kind};
use crate::load::closed::{Progress, nanos};
use crate::load::phase::Runner;
use crate::load::tally::{Class, Tally};
use core::sync::atomic::Ordering;
use core::time::Duration;
use drywire::sudoku::{Board, Verdict, solver};
use std::time::Instant;

/// Boards that are drawn before a run and solved again and again.
const POOL: usize = 1000;
/// As many as the server spends on one board by default.
const GUESSES: u32 = 10_000;

pub(super) struct Local {
    boards: Vec<(Board, Class)>,
}

impl Local {
    /// Draws the boards and solves each once, to know what is right.
    pub(super) fn new(kind: Kind, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let classed = |cells: [u8; 81]| {
            let board = Board::parse(&cells)?;
            let class = match solver::solve(&board, GUESSES) {
                Verdict::Solved(found) if found.solves(&board) => Class::Ok,
                Verdict::NoSolution if !boards::solvable(&cells) => Class::NoSolution,
                // Its guesses are used up.
                Verdict::GaveUp => Class::Refused,
                Verdict::Solved(_) | Verdict::NoSolution => Class::Wrong,
            };
            Some((board, class))
        };
        Self {
            boards: (0..POOL).filter_map(|_| classed(boards::draw(kind, &mut random))).collect(),
        }
    }
}

impl Runner for Local {
    fn run(&mut self, duration: Option<Duration>, progress: &Progress) -> Tally {
        let (mut tally, start) = (Tally::new(), Instant::now());
        let duration = duration.unwrap_or(Duration::MAX);
        while start.elapsed() < duration && !self.boards.is_empty() {
            for (board, class) in &self.boards {
                tally.sent();
                let before = nanos(start.elapsed());
                core::hint::black_box(solver::solve(core::hint::black_box(board), GUESSES));
                tally.ended(*class, before, nanos(start.elapsed()));
            }
            progress.answered.store(tally.counts().answered(), Ordering::Relaxed);
        }
        tally
    }
}
