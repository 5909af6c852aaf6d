//! Boards without end: a few of known difficulty, in all their symmetries.

use drywire::sudoku::Board;

/// How hard a board is for the solver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// About 30 clues, no guess needed
    Easy,
    /// Hard for people, and for solvers that count: some guesses
    Hard,
    /// Half easy, a quarter hard, a quarter without a solution
    Mixed,
    /// Contradicts itself in one row
    Unsolvable,
    /// No clue at all
    Blank,
    /// Not digits: answered without solving, which shows what everything else costs
    Hopeless,
}

const EASY: [&[u8; 81]; 2] = [
    b"530070000600195000098000060800060003400803001700020006060000280000419005000080079",
    b"003020600900305001001806400008102900700000008006708200002609500800203009005010300",
];
const HARD: [&[u8; 81]; 4] = [
    b"800000000003600000070090200050007000000045700000100030001000068008500010090000400",
    b"100007090030020008009600500005300900010080002600004000300000010040000007007000300",
    b"000000000000003085001020000000507000004000100090000000500000073002010000000040009",
    b"000000010400000000020000000000050407008000300001090000300400200050100000000806000",
];

/// The cells of a board of this kind, as text.
pub(crate) fn draw(kind: Kind, random: &mut fastrand::Rng) -> [u8; 81] {
    let pick = |from: &[&[u8; 81]], random: &mut fastrand::Rng| turned(random.choice(from), random);
    match kind {
        Kind::Easy => pick(&EASY, random),
        Kind::Hard => pick(&HARD, random),
        Kind::Blank => [b'0'; 81],
        Kind::Hopeless => [b'x'; 81],
        Kind::Unsolvable => {
            let mut cells = pick(&EASY, random);
            let row = random.usize(..9) * 9;
            cells[row..row + 2].fill(b'1' + random.u8(..9));
            cells
        }
        Kind::Mixed => match random.u8(..4) {
            0 | 1 => draw(Kind::Easy, random),
            2 => draw(Kind::Hard, random),
            _ => draw(Kind::Unsolvable, random),
        },
    }
}

/// Whether there is a solution: what the answer has to agree with.
pub(crate) fn solvable(cells: &[u8; 81]) -> bool {
    Board::parse(cells).is_some_and(|board| {
        let rows = board.cells().chunks(9);
        let twice =
            |row: &[u8]| (1..10).any(|digit| row.iter().filter(|cell| **cell == digit).count() > 1);
        !rows.into_iter().any(twice)
    })
}

/// One of the many boards that are the same but for names and places.
fn turned(cells: Option<&&[u8; 81]>, random: &mut fastrand::Rng) -> [u8; 81] {
    let mut digits = *b"123456789";
    random.shuffle(&mut digits);
    let (rows, columns) = (lines(random), lines(random));
    let flip = random.bool();
    let mut turned = [b'0'; 81];
    for (at, cell) in turned.iter_mut().enumerate() {
        let (row, column) = (rows[at / 9], columns[at % 9]);
        let from = if flip { 9 * column + row } else { 9 * row + column };
        *cell = match cells.map_or(b'0', |cells| cells[from]) {
            b'0' => b'0',
            digit => digits[usize::from(digit - b'1')],
        };
    }
    turned
}

/// The nine rows in an order that keeps bands together.
fn lines(random: &mut fastrand::Rng) -> [usize; 9] {
    let mut bands = [0, 1, 2];
    random.shuffle(&mut bands);
    let mut lines = [0; 9];
    for (place, band) in lines.chunks_mut(3).zip(bands) {
        place.copy_from_slice(&[3 * band, 3 * band + 1, 3 * band + 2]);
        random.shuffle(place);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use drywire::sudoku::{Verdict, solver};

    #[test]
    fn boards_are_what_they_are_called() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..50 {
            for kind in [Kind::Easy, Kind::Hard, Kind::Mixed, Kind::Unsolvable, Kind::Blank] {
                let cells = draw(kind, &mut random);
                let board = Board::parse(&cells).unwrap();
                let budget = if kind == Kind::Easy { 0 } else { 10_000 };
                let verdict = solver::solve(&board, budget);
                assert_eq!(
                    matches!(verdict, Verdict::Solved(found) if found.solves(&board)),
                    solvable(&cells),
                    "{kind:?} {board:?}: {verdict:?}"
                );
                assert!(solvable(&cells) || matches!(kind, Kind::Mixed | Kind::Unsolvable));
            }
        }
        assert!(!solvable(&draw(Kind::Hopeless, &mut random)));
    }
}
