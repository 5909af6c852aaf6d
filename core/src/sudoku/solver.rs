//! The solver: bounded in steps, so that no board can hold a thread.
//!
//! Candidates as bit masks; naked and hidden singles are followed to their end, then the cell with
//! the fewest candidates is guessed, depth first. Guesses are counted, and a board that needs more
//! than its budget is given up: the number of instructions is bounded for any input, and the same
//! on every machine. `docs/sudoku.md` has the worst case in microseconds.
//!
//! A search with a budget is what the service needs and what solver crates do not offer; the
//! fastest of them also needs std, and its licence asks more of users than ours.
//!
//! **Work**: bounded by the budget; no allocation; about 12 KiB of stack.

use crate::sudoku::Board;

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A solution, one of possibly several.
    Solved(Board),
    /// There is none.
    NoSolution,
    /// The budget was used up before either was known.
    GaveUp,
}

/// Solves a board with at most `budget` guesses.
#[must_use]
pub fn solve(board: &Board, budget: u32) -> Verdict {
    let mut grid = Grid::EMPTY;
    for (cell, digit) in (0..).zip(board.cells()) {
        if *digit != 0 && grid.place(cell, 1 << (digit - 1)).is_err() {
            return Verdict::NoSolution;
        }
    }
    let mut left = budget;
    match grid.search(&mut left) {
        Search::Solved(grid) => Verdict::Solved(grid.board()),
        Search::Contradiction => Verdict::NoSolution,
        Search::OutOfBudget => Verdict::GaveUp,
    }
}

/// All nine digits.
const ALL: u16 = 0x1ff;
const CELLS: usize = 81;

/// Rows, columns, boxes: the cells of each.
const UNITS: [[u8; 9]; 27] = units();
/// The 20 cells that share a unit with a cell.
const PEERS: [[u8; 20]; CELLS] = peers();

/// What is known of each cell.
#[derive(Clone, Copy)]
struct Grid {
    /// Digits that are still possible; one bit in a placed cell.
    candidates: [u16; CELLS],
    /// Cells whose digit was taken from their peers, as bits.
    placed: u128,
}

struct Contradiction;

enum Search {
    Solved(Grid),
    Contradiction,
    OutOfBudget,
}

impl Grid {
    const EMPTY: Self = Self { candidates: [ALL; CELLS], placed: 0 };

    /// Places the digit with this bit, and every single that follows from it.
    fn place(&mut self, cell: u8, bit: u16) -> Result<(), Contradiction> {
        if self.candidates[usize::from(cell)] & bit == 0 {
            return Err(Contradiction);
        }
        self.candidates[usize::from(cell)] = bit;
        // Each cell is entered once, when one candidate is left.
        let mut singles = [0u8; CELLS];
        singles[0] = cell;
        let (mut done, mut found) = (0, usize::from(self.placed >> cell & 1 == 0));
        self.placed |= 1 << cell;
        while done < found {
            let cell = usize::from(singles[done]);
            done += 1;
            let bit = self.candidates[cell];
            for &peer in &PEERS[cell] {
                let there = &mut self.candidates[usize::from(peer)];
                if *there & bit == 0 {
                    continue;
                }
                *there &= !bit;
                if *there == 0 {
                    return Err(Contradiction);
                }
                if there.is_power_of_two() && self.placed >> peer & 1 == 0 {
                    self.placed |= 1 << peer;
                    singles[found] = peer;
                    found += 1;
                }
            }
        }
        Ok(())
    }

    /// Places digits that have one place left in a unit, until none is found.
    fn hidden_singles(&mut self) -> Result<(), Contradiction> {
        loop {
            let before = self.placed;
            for unit in &UNITS {
                let (mut once, mut twice, mut fixed) = (0, 0, 0);
                for &cell in unit {
                    let here = self.candidates[usize::from(cell)];
                    twice |= once & here;
                    once |= here;
                    fixed |= if here.is_power_of_two() { here } else { 0 };
                }
                if once != ALL {
                    return Err(Contradiction);
                }
                let mut hidden = once & !twice & !fixed;
                while hidden != 0 {
                    let bit = hidden & hidden.wrapping_neg();
                    hidden ^= bit;
                    let at =
                        unit.iter().find(|cell| self.candidates[usize::from(**cell)] & bit != 0);
                    self.place(*at.ok_or(Contradiction)?, bit)?;
                }
            }
            if self.placed == before || self.is_full() {
                return Ok(());
            }
        }
    }

    /// Recursion ends: each level places at least one of 81 cells.
    fn search(mut self, budget: &mut u32) -> Search {
        if !self.is_full() && self.hidden_singles().is_err() {
            return Search::Contradiction;
        }
        let Some(cell) = self.tightest() else { return Search::Solved(self) };
        let mut left = self.candidates[usize::from(cell)];
        while left != 0 {
            let bit = left & left.wrapping_neg();
            left ^= bit;
            let Some(less) = budget.checked_sub(1) else { return Search::OutOfBudget };
            *budget = less;
            let mut guess = self;
            if guess.place(cell, bit).is_ok() {
                match guess.search(budget) {
                    Search::Contradiction => {}
                    end => return end,
                }
            }
        }
        Search::Contradiction
    }

    const fn is_full(&self) -> bool {
        self.placed == (1 << CELLS) - 1
    }

    /// The open cell with the fewest candidates.
    fn tightest(&self) -> Option<u8> {
        let (mut best, mut fewest) = (None, u32::MAX);
        let mut open = !self.placed & ((1 << CELLS) - 1);
        while open != 0 {
            let cell = open.trailing_zeros();
            open &= open - 1;
            let count = self.candidates[cell as usize].count_ones();
            if count < fewest {
                (best, fewest) = (Some(cell as u8), count);
                if count == 2 {
                    break;
                }
            }
        }
        best
    }

    fn board(&self) -> Board {
        Board(self.candidates.map(|bit| bit.trailing_zeros() as u8 + 1))
    }
}

const fn units() -> [[u8; 9]; 27] {
    let mut units = [[0; 9]; 27];
    let mut i = 0;
    while i < 9 {
        let mut j = 0;
        while j < 9 {
            units[i][j] = (9 * i + j) as u8;
            units[9 + i][j] = (9 * j + i) as u8;
            units[18 + i][j] = (27 * (i / 3) + 3 * (i % 3) + 9 * (j / 3) + j % 3) as u8;
            j += 1;
        }
        i += 1;
    }
    units
}

const fn peers() -> [[u8; 20]; CELLS] {
    let mut peers = [[0; 20]; CELLS];
    let mut a = 0;
    while a < CELLS {
        let (mut b, mut n) = (0, 0);
        while b < CELLS {
            let same_box = a / 27 == b / 27 && a % 9 / 3 == b % 9 / 3;
            if a != b && (a / 9 == b / 9 || a % 9 == b % 9 || same_box) {
                peers[a][n] = b as u8;
                n += 1;
            }
            b += 1;
        }
        a += 1;
    }
    peers
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ENOUGH: u32 = 100_000;

    fn solved(cells: &[u8; 81]) -> Board {
        let board = Board::parse(cells).unwrap();
        match solve(&board, ENOUGH) {
            Verdict::Solved(solution) if solution.solves(&board) => solution,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn hard_boards_are_solved() {
        for cells in [
            // Published as hard for people (the first two), for counting solvers, and 17 clues.
            b"800000000003600000070090200050007000000045700000100030001000068008500010090000400",
            b"100007090030020008009600500005300900010080002600004000300000010040000007007000300",
            b"000000000000003085001020000000507000004000100090000000500000073002010000000040009",
            b"000000010400000000020000000000050407008000300001090000300400200050100000000806000",
            &[b'0'; 81],
        ] {
            let _ = solved(cells);
        }
    }

    #[test]
    fn a_solution_is_its_own_solution_and_a_wrong_one_has_none() {
        let full = solved(&[b'0'; 81]);
        assert_eq!(solve(&full, 0), Verdict::Solved(full));
        for cell in 0..81 {
            let mut wrong = full;
            wrong.0[cell] = wrong.0[cell] % 9 + 1;
            assert_eq!(solve(&wrong, 0), Verdict::NoSolution);
        }
    }

    #[test]
    fn what_no_clue_contradicts_may_still_have_no_solution() {
        // The last cell of the first row can be neither 9 (in its column) nor anything else.
        let mut cells = [b'0'; 81];
        cells[..8].copy_from_slice(b"12345678");
        cells[9 * 4 + 8] = b'9';
        assert_eq!(solve(&Board::parse(&cells).unwrap(), ENOUGH), Verdict::NoSolution);
    }

    #[test]
    fn the_budget_ends_a_search() {
        let board = Board::parse(&[b'0'; 81]).unwrap();
        assert_eq!(solve(&board, 3), Verdict::GaveUp);
    }

    proptest! {
        /// Against checking by hand: whatever is called a solution is one, and boards made by
        /// taking clues out of a solution are never called unsolvable.
        #[test]
        fn holes_are_filled(mask in prop::collection::vec(any::<bool>(), 81), first in 0u8..9) {
            let mut seed = [b'0'; 81];
            seed[0] = b'1' + first;
            let full = solved(&seed);
            let mut holes = full;
            for (cell, keep) in holes.0.iter_mut().zip(&mask) {
                *cell *= u8::from(*keep);
            }
            match solve(&holes, ENOUGH) {
                Verdict::Solved(found) => prop_assert!(found.solves(&holes)),
                other => prop_assert!(false, "{other:?}"),
            }
        }

        #[test]
        fn any_board_ends_within_its_budget(
            cells in prop::collection::vec(prop_oneof![6 => Just(0u8), 1 => 1u8..10], 81)
        ) {
            let board = Board(cells.try_into().unwrap());
            if let Verdict::Solved(found) = solve(&board, 300) {
                prop_assert!(found.solves(&board));
            }
        }
    }
}
