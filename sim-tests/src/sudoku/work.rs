//! The requests of a sudoku client, drawn; their bytes; the answers, judged by the rules of the
//! game.

use crate::decide::{Key, Site};
use crate::workload::{Draw, Heard, Said, Workload};
use core::fmt;
use std::collections::BTreeMap;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A board, with an id or (empty) without.
    Board {
        /// What comes back with the answer.
        id: String,
        /// The board.
        cells: Cells,
        /// Whether it has a solution.
        solvable: bool,
    },
    /// 81 cells that are no digits: never solved, answered at once.
    Hopeless {
        /// What comes back with the answer.
        id: String,
    },
    /// `ping`
    Ping,
    /// `stats`
    Stats,
    /// A line of so many bytes that is no request; the end.
    Bad(usize),
    /// A line of so many bytes, over what is allowed; the end.
    Long(usize),
}

impl Request {
    /// The health check, or the board with a solution, that a client wrote as `line`.
    pub(super) fn read(line: &[u8]) -> Self {
        let board = || {
            let (id, cells) = core::str::from_utf8(line).ok()?.trim_end().split_once(':')?;
            let cells = Cells(cells.as_bytes().try_into().ok()?);
            Some(Self::Board { id: id.to_owned(), cells, solvable: true })
        };
        board().unwrap_or(Self::Ping)
    }

    /// What comes back with the answer, if anything does.
    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Self::Board { id, .. } | Self::Hopeless { id } => Some(id),
            _ => None,
        }
    }
}

/// 81 digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Cells([u8; 81]);

impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.escape_ascii(), f)
    }
}

impl Cells {
    const HOPELESS: Self = Self([b'.'; 81]);

    /// A board that says its number, up to 65,535, by what it leaves open.
    pub(super) fn numbered(number: u32) -> Self {
        let mut cells = Sudoku::board(u64::from(number % 9), 1, 81);
        for bit in (0..16).filter(|bit| number >> bit & 1 == 1) {
            cells[bit] = b'0';
        }
        Self(cells)
    }

    /// The number that it says.
    pub(super) fn number(&self) -> u32 {
        (0..16).filter(|bit| self.0[*bit] == b'0').map(|bit| 1 << bit).sum()
    }

    pub(super) fn bytes(&self) -> &[u8; 81] {
        &self.0
    }

    fn clues(&self) -> usize {
        self.0.iter().filter(|cell| **cell != b'0').count()
    }

    /// Whether `answer` is a full grid by the rules of the game that keeps all clues. Written
    /// down here once more, because what is tested may not judge itself.
    #[must_use]
    pub fn solved_by(&self, answer: &[u8]) -> bool {
        let kept = |at: usize| self.0[at] == b'0' || self.0[at] == answer[at];
        let whole = |unit: [usize; 9]| {
            (b'1'..=b'9').all(|digit| unit.iter().any(|at| answer[*at] == digit))
        };
        let line = |of: &dyn Fn(usize, usize) -> usize| {
            (0..9).all(|n| whole(core::array::from_fn(|i| of(n, i))))
        };
        answer.len() == 81
            && (0..81).all(kept)
            && line(&|row, i| 9 * row + i)
            && line(&|column, i| column + 9 * i)
            && line(&|n, i| 27 * (n / 3) + 3 * (n % 3) + 9 * (i / 3) + i % 3)
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A right solution.
    Solved,
    /// `NoSolution`
    NoSolution,
    /// `ServerTooBusy`
    TooBusy,
    /// `pong`, or `pong draining`.
    Pong {
        /// The server goes away.
        draining: bool,
    },
    /// The statistics whose values are single numbers.
    Stats(BTreeMap<String, u64>),
    /// `Bad Request!` or `Id too long!`
    LastWords,
}

/// A caller's sudoku.
#[derive(Debug)]
pub struct Sudoku {
    who: u32,
    /// Nothing was asked on this connection yet.
    fresh: bool,
    /// Boards of this connection that were answered while others had the same id: which of them
    /// was meant only the other answers show.
    mixed_up: Vec<(String, Cells, bool)>,
}

const NAMELESS: Site = Site::new("caller.nameless");
const KIND: Site = Site::new("op.kind");
const CLUES: Site = Site::new("op.clues");
const WHICH: Site = Site::new("op.key");
const NAME: Site = Site::new("op.name");
const SIZE: Site = Site::new("op.size");

/// The longest line that a server takes.
const LINE_MAX: usize = 98;
/// No reply line is longer, nor the list of numbers of the statistics' last lines.
const REPLY_MAX: usize = 4096;

impl Sudoku {
    /// The sudoku of caller `who`.
    #[must_use]
    pub fn new(who: u32) -> Self {
        Self { who, fresh: true, mixed_up: Vec::new() }
    }

    /// One of 9 relabelled grids, with so many clues (in 81) left at places that `places` gives.
    fn board(digits: u64, places: u64, clues: u64) -> [u8; 81] {
        let mut chance = places | 1;
        core::array::from_fn(|at| {
            let (row, column) = (at / 9, at % 9);
            let digit = (3 * (row % 3) + row / 3 + column + digits as usize) % 9;
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if (chance >> 33) % 81 < clues { b'1' + digit as u8 } else { b'0' }
        })
    }

    /// The first request on a connection, or a board that is solved at once.
    pub(super) fn plain(&mut self, draw: &mut Draw<'_>) -> Request {
        if core::mem::take(&mut self.fresh) {
            return Request::Ping;
        }
        let cells = Cells(Self::board(draw.below(WHICH, 9), 1, 81));
        Request::Board { id: format!("{}.{}", self.who, draw.key.op), cells, solvable: true }
    }

    fn id(&self, draw: &mut Draw<'_>) -> String {
        let sometimes_nameless = draw.decider.below(NAMELESS, Key::of(self.who, 0), 2) == 1;
        match draw.below(NAME, 8) {
            0 if sometimes_nameless => String::new(),
            // Often in flight more than once.
            1 => "twin".to_owned(),
            2 => "sixteen bytes id".to_owned(),
            _ => format!("{}.{}", self.who, draw.key.op),
        }
    }
}

impl Workload for Sudoku {
    type Request = Request;
    type Reply = Reply;

    fn draw(&mut self, draw: &mut Draw<'_>) -> Option<Request> {
        let kind = draw.below(KIND, 32);
        if kind == 0 {
            return None;
        }
        // A connection that is refused at the door hears what a board without an id may hear.
        if core::mem::take(&mut self.fresh) {
            return Some(Request::Ping);
        }
        Some(match kind {
            1..24 => {
                let clues = [81, 45, 30, 22, 12, 0][draw.below(CLUES, 6) as usize];
                let (digits, places) = (draw.below(WHICH, 9), draw.below_nth(WHICH, 1, 1 << 16));
                let mut cells = Self::board(digits, places, clues);
                let solvable = draw.below_nth(CLUES, 1, 8) < 7;
                if !solvable {
                    // Twice the same digit in one row.
                    let row = 9 * draw.below_nth(WHICH, 2, 9) as usize;
                    cells[row + 2] = b'1' + digits as u8;
                    cells[row + 7] = cells[row + 2];
                }
                Request::Board { id: self.id(draw), cells: Cells(cells), solvable }
            }
            24..27 => Request::Hopeless { id: self.id(draw) },
            27..29 => Request::Ping,
            29 => Request::Stats,
            30 => Request::Bad(draw.size(SIZE, 80) as usize),
            _ => Request::Long(LINE_MAX + 1 + draw.size(SIZE, 4000) as usize),
        })
    }

    fn encode(&mut self, request: &Request, to: &mut Vec<u8>) {
        let named = |id: &str, to: &mut Vec<u8>| {
            to.extend_from_slice(id.as_bytes());
            to.extend_from_slice(if id.is_empty() { b"" } else { b":" });
        };
        match request {
            Request::Board { id, cells, .. } => {
                named(id, to);
                to.extend_from_slice(&cells.0);
            }
            Request::Hopeless { id } => {
                named(id, to);
                to.extend_from_slice(&Cells::HOPELESS.0);
            }
            Request::Ping => to.extend_from_slice(b"ping"),
            Request::Stats => to.extend_from_slice(b"stats"),
            Request::Bad(len) => to.extend(core::iter::repeat_n(b'7', *len)),
            Request::Long(len) => to.extend(core::iter::repeat_n(b'8', *len)),
        }
        // Either end of a line is fine.
        to.extend_from_slice(if to.len().is_multiple_of(2) { b"\r\n" } else { b"\n" });
    }

    fn hear(
        &mut self,
        owed: &mut dyn Iterator<Item = &Request>,
        bytes: &[u8],
    ) -> Result<Option<Heard<Reply>>, String> {
        let Some((line, used)) = line(bytes)? else { return Ok(None) };
        let mut owed: Vec<&Request> = owed.collect();
        // A board without an id is answered before the next line is looked at.
        let nameless = |r: &&Request| matches!(r, Request::Board { id, .. } if id.is_empty());
        owed.truncate(owed.iter().position(nameless).map_or(usize::MAX, |first| first + 1));
        let at_the_door = match owed.first() {
            Some(first) => **first == Request::Ping,
            None => self.fresh,
        };
        if line == "ServerTooBusy" && at_the_door {
            return Ok(Some(Heard { used, what: Said::Refusal(Reply::TooBusy) }));
        }
        let (nth, reply, used) = match line {
            "pong" | "pong draining" => {
                let reply = Reply::Pong { draining: line != "pong" };
                (find(&owed, line, |r| *r == Request::Ping)?, reply, used)
            }
            "Bad Request!" => {
                (last(&owed, line, |r| matches!(r, Request::Bad(_)))?, Reply::LastWords, used)
            }
            "Id too long!" => {
                (last(&owed, line, |r| matches!(r, Request::Long(_)))?, Reply::LastWords, used)
            }
            _ if line.starts_with("task_queue_size ") => {
                let Some((values, used)) = statistics(bytes)? else { return Ok(None) };
                let nth = find(&owed, "statistics", |r| *r == Request::Stats)?;
                (nth, Reply::Stats(values), used)
            }
            _ => {
                let (nth, reply) = self.answer(&owed, line)?;
                (nth, reply, used)
            }
        };
        Ok(Some(Heard { used, what: Said::Answer(nth, reply) }))
    }

    fn last(&self, request: &Request) -> bool {
        matches!(request, Request::Bad(_) | Request::Long(_))
    }

    fn connected(&mut self) {
        self.fresh = true;
        self.mixed_up.clear();
    }
}

impl Sudoku {
    /// The answer to a board with an id that no other one has, if `bytes` begins with one.
    pub(super) fn hear_plain(
        owed: &mut dyn Iterator<Item = &Request>,
        bytes: &[u8],
    ) -> Option<Heard<Reply>> {
        let (line, used) = line(bytes).ok()??;
        let (name, word) = line.split_once(':')?;
        let (nth, asked) = owed.enumerate().find(|(_, request)| request.id() == Some(name))?;
        let Request::Board { cells, .. } = asked else { return None };
        let reply = match word {
            "ServerTooBusy" => Reply::TooBusy,
            digits if cells.solved_by(digits.as_bytes()) => Reply::Solved,
            _ => return None,
        };
        Some(Heard { used, what: Said::Answer(nth, reply) })
    }

    /// Which board `line` answers, and how.
    fn answer(&mut self, owed: &[&Request], line: &str) -> Result<(usize, Reply), String> {
        let (name, word) = line.split_once(':').unwrap_or(("", line));
        let fits = |cells: &Cells, solvable: bool| match word {
            "ServerTooBusy" => *cells != Cells::HOPELESS,
            "NoSolution" => !solvable,
            digits => cells.solved_by(digits.as_bytes()),
        };
        let named = |r: &Request| match r {
            Request::Board { id, cells, solvable } if id == name => {
                Some((cells.clone(), *solvable))
            }
            Request::Hopeless { id } if id == name => Some((Cells::HOPELESS, false)),
            _ => None,
        };
        let boards = || owed.iter().enumerate().filter_map(|(at, r)| Some((at, named(r)?)));
        // Of several that it fits, the one that fewest answers fit.
        let best = boards()
            .filter(|(_, (cells, solvable))| fits(cells, *solvable))
            .max_by_key(|(at, (cells, _))| (cells.clues(), usize::MAX - at));
        let swapped = || {
            let mut mixed_up = self.mixed_up.iter();
            let meant = mixed_up.any(|(id, cells, able)| id == name && fits(cells, *able));
            meant.then(|| boards().next()).flatten()
        };
        let (nth, _) = best.or_else(swapped).ok_or_else(|| {
            format!("nothing that is to be answered now can have the answer `{line}`")
        })?;
        if boards().count() > 1 {
            self.mixed_up.extend(boards().map(|(_, (cells, able))| (name.to_owned(), cells, able)));
        }
        Ok((
            nth,
            match word {
                "ServerTooBusy" => Reply::TooBusy,
                "NoSolution" => Reply::NoSolution,
                _ => Reply::Solved,
            },
        ))
    }
}

/// The first of `owed` that `line` can answer.
fn find(owed: &[&Request], line: &str, fits: impl Fn(&Request) -> bool) -> Result<usize, String> {
    owed.iter().position(|r| fits(r)).ok_or_else(|| format!("`{line}`, and nobody waits for that"))
}

/// What ends a connection comes after everything that is owed.
fn last(owed: &[&Request], line: &str, fits: impl Fn(&Request) -> bool) -> Result<usize, String> {
    match find(owed, line, fits)? {
        0 => Ok(0),
        n => Err(format!("`{line}` came before {n} answers that were owed: `{:?}`", owed[0])),
    }
}

/// The line at the front of `bytes`, and its length with its end.
fn line(bytes: &[u8]) -> Result<Option<(&str, usize)>, String> {
    let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
        if bytes.len() > REPLY_MAX {
            return Err("an endless line".to_owned());
        }
        return Ok(None);
    };
    let shown = || bytes[..end].escape_ascii().to_string();
    let line = bytes[..end]
        .strip_suffix(b"\r")
        .ok_or_else(|| format!("a line without CR: `{}`", shown()))?;
    let text = core::str::from_utf8(line).map_err(|_| format!("no text: `{}`", shown()))?;
    Ok(Some((text, end + 1)))
}

type Statistics = BTreeMap<String, u64>;

/// Lines up to `END`, whose sums must be right.
fn statistics(bytes: &[u8]) -> Result<Option<(Statistics, usize)>, String> {
    let mut values = Statistics::new();
    let mut at = 0;
    loop {
        let Some((line, used)) = line(&bytes[at..])? else { return Ok(None) };
        at += used;
        if line == "END" {
            break;
        }
        let Some((key, value)) = line.split_once(' ') else {
            return Err(format!("`{line}` in the statistics"));
        };
        if let Ok(value) = value.parse() {
            values.insert(key.to_owned(), value);
        }
    }
    let get = |key: &str| values.get(key).copied().ok_or_else(|| format!("no `{key}`"));
    let ended = get("total_responses")? + get("dropped_requests")? + get("lost_requests")?;
    let total = get("total_requests")?;
    if ended > total || get("total_solved")? > get("total_responses")? {
        return Err(format!("statistics that do not add up: {ended} of {total}: {values:?}"));
    }
    Ok(Some((values, at)))
}
