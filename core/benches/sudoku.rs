//! The solver alone: what a board costs, and the costliest board that a search of them finds.
//!
//! `cargo bench -p drywire --bench sudoku`: the board that takes longest is one that uses up its
//! guesses ([`GUESSES`], what `drywire serve` allows) and makes each of them follow many singles.
//! It is looked for by climbing: change a cell, keep the change if the board takes longer.

use drywire::sudoku::{Board, Verdict, solver};
use std::hint::black_box;
use std::time::Instant;

/// The default of `drywire serve --sudoku-guesses`.
const GUESSES: u32 = 10_000;
const ROUNDS: usize = 25;
/// Climbs from different starts, and steps of each.
const CLIMBS: u64 = 40;
const STEPS: u32 = 400;

const KNOWN: [(&str, &[u8; 81]); 6] = [
    (
        "easy: no guess needed",
        b"530070000600195000098000060800060003400803001700020006060000280000419005000080079",
    ),
    (
        "hard for people",
        b"800000000003600000070090200050007000000045700000100030001000068008500010090000400",
    ),
    (
        "hard for a solver that counts up",
        b"000000000000003085001020000000507000004000100090000000500000073002010000000040009",
    ),
    (
        "17 clues",
        b"000000010400000000020000000000050407008000300001090000300400200050100000000806000",
    ),
    ("blank", b"000000000000000000000000000000000000000000000000000000000000000000000000000000000"),
    (
        "no solution, found late",
        b"000005080000601043000000000010500000000106000300000005530000061000000004000000000",
    ),
];

fn main() {
    println!("| board | verdict | us, median | us, best |\n|---|---|--:|--:|");
    for (name, cells) in KNOWN {
        row(name, &Board::parse(cells).expect("81 digits"));
    }
    let worst = climb();
    row("the worst of a search", &worst);
    let text: String = worst.cells().iter().map(|cell| char::from(b'0' + cell)).collect();
    println!("\nworst board: {text}");
}

fn row(name: &str, board: &Board) {
    let mut rounds: Vec<u64> = (0..ROUNDS).map(|_| timed(board)).collect();
    rounds.sort_unstable();
    let verdict = match solver::solve(board, GUESSES) {
        Verdict::Solved(_) => "solved",
        Verdict::NoSolution => "no solution",
        Verdict::GaveUp => "given up",
    };
    let us = |ns: u64| ns as f64 / 1e3;
    println!("| {name} | {verdict} | {:.1} | {:.1} |", us(rounds[ROUNDS / 2]), us(rounds[0]));
}

/// The slowest board of all climbs. Times decide, so that two runs differ a little.
fn climb() -> Board {
    let mut random = Random(1);
    let mut best = (0, [0; 81]);
    for climb in 0..CLIMBS {
        // From few clues to many: few leave the search wide, many make each guess long.
        let mut cells = [0; 81];
        for _ in 0..12 + climb % 12 {
            place(&mut cells, &mut random);
        }
        let mut cost = cost(&cells);
        for _ in 0..STEPS {
            let mut changed = cells;
            changed[random.below(81)] = 0;
            place(&mut changed, &mut random);
            let now = self::cost(&changed);
            if now >= cost {
                (cost, cells) = (now, changed);
            }
        }
        best = best.max((cost, cells));
    }
    Board::parse(&best.1.map(|digit| b'0' + digit)).expect("81 digits")
}

/// A digit in a cell where no other clue forbids it, if such a one is hit in a few tries.
fn place(cells: &mut [u8; 81], random: &mut Random) {
    for _ in 0..20 {
        let (at, digit) = (random.below(81), random.below(9) as u8 + 1);
        let same_unit = |other: usize| {
            other / 9 == at / 9
                || other % 9 == at % 9
                || (other / 27 == at / 27 && other % 9 / 3 == at % 9 / 3)
        };
        if (0..81).all(|other| cells[other] != digit || !same_unit(other)) {
            cells[at] = digit;
            return;
        }
    }
}

/// The best of three, so that an interruption does not look like a hard board.
fn cost(cells: &[u8; 81]) -> u64 {
    let board = Board::parse(&cells.map(|digit| b'0' + digit)).expect("81 digits");
    (0..3).map(|_| timed(&board)).min().expect("three")
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn timed(board: &Board) -> u64 {
    let start = Instant::now();
    black_box(solver::solve(black_box(board), GUESSES));
    start.elapsed().as_nanos() as u64
}

/// Xorshift: the climbs need variety, not quality.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }
}
