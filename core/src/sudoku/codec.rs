//! The lines of the protocol, read and written.

use crate::conn::Outbox;
use crate::frame::line::Lines;
use core::fmt;

/// Cells of a board.
pub const CELLS: usize = 81;
/// The longest id, in bytes.
pub const ID_MAX: usize = 16;
/// The longest request line without its end: an id, the colon, the cells.
pub const LINE_MAX: usize = ID_MAX + 1 + CELLS;

/// How requests are framed: LF or CRLF, at most [`LINE_MAX`] bytes.
#[must_use]
pub fn request_lines() -> Lines {
    Lines::lf_or_crlf(LINE_MAX)
}

/// How replies are framed; the longest is as long as the longest request.
#[must_use]
pub fn reply_lines() -> Lines {
    Lines::lf_or_crlf(LINE_MAX)
}

/// A board, row by row: digits, 0 for a blank cell.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Board(pub(super) [u8; CELLS]);

impl Board {
    /// A board from 81 ASCII digits; `None` if a byte is none.
    #[must_use]
    pub fn parse(cells: &[u8; CELLS]) -> Option<Self> {
        let mut board = *cells;
        for cell in &mut board {
            *cell = cell.wrapping_sub(b'0');
            if *cell > 9 {
                return None;
            }
        }
        Some(Self(board))
    }

    /// The cells: 0 to 9.
    #[must_use]
    pub const fn cells(&self) -> &[u8; CELLS] {
        &self.0
    }

    /// As 81 ASCII digits.
    #[must_use]
    pub fn text(&self) -> [u8; CELLS] {
        self.0.map(|digit| b'0' + digit)
    }

    /// Whether this is a full, valid grid that keeps all clues of `board`.
    #[must_use]
    pub fn solves(&self, board: &Self) -> bool {
        let (mut rows, mut columns, mut boxes) = ([0u16; 9], [0u16; 9], [0u16; 9]);
        for (at, (&digit, &clue)) in self.0.iter().zip(&board.0).enumerate() {
            if !(1..=9).contains(&digit) || (clue != 0 && clue != digit) {
                return false;
            }
            let (row, column) = (at / 9, at % 9);
            rows[row] |= 1 << digit;
            columns[column] |= 1 << digit;
            boxes[row / 3 * 3 + column / 3] |= 1 << digit;
        }
        rows.iter().chain(&columns).chain(&boxes).all(|seen| *seen == 0x3fe)
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|digit| write!(f, "{digit}"))
    }
}

/// What a client calls a request; it comes back with the answer. Empty if it gave none.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id {
    bytes: [u8; ID_MAX],
    len: u8,
}

impl Id {
    /// No id.
    pub const NONE: Self = Self { bytes: [0; ID_MAX], len: 0 };

    /// An id; `None` if it is too long.
    #[must_use]
    pub fn new(id: &[u8]) -> Option<Self> {
        let mut bytes = [0; ID_MAX];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(Self { bytes, len: id.len() as u8 })
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// A request line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Solve this.
    Solve {
        /// Its name.
        id: Id,
        /// The board.
        board: Board,
    },
    /// 81 bytes that are not all digits: there is no solution.
    Hopeless {
        /// Its name.
        id: Id,
    },
    /// `ping`: is anybody there, and for how long?
    Ping,
    /// `stats`
    Stats,
}

/// Why a line is no request. Fatal: what the next line belongs to is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// Not 81 cells.
    Cells,
    /// More than [`ID_MAX`] bytes before the colon.
    Id,
}

impl RequestError {
    /// What the peer is told, without a line end.
    #[must_use]
    pub const fn reply(self) -> &'static [u8] {
        match self {
            Self::Cells => b"Bad Request!",
            Self::Id => b"Id too long!",
        }
    }

    /// The broken rule.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Cells => "a request is [id:] and 81 cells",
            Self::Id => "an id has at most 16 bytes",
        }
    }
}

/// Reads a request line without its end. The first colon ends the id.
///
/// # Errors
/// [`RequestError`] for anything but 81 cells, or an id that is too long.
pub fn parse_request(line: &[u8]) -> Result<Request, RequestError> {
    // The cells have a fixed size, so the colon is found without a search in the common case.
    let (id, cells) = match line.iter().take(ID_MAX + 1).position(|byte| *byte == b':') {
        Some(at) => (&line[..at], &line[at + 1..]),
        None if line.contains(&b':') => return Err(RequestError::Id),
        None => (&line[..0], line),
    };
    let Ok(cells) = <&[u8; CELLS]>::try_from(cells) else {
        return match line {
            b"ping" => Ok(Request::Ping),
            b"stats" => Ok(Request::Stats),
            _ => Err(RequestError::Cells),
        };
    };
    let id = Id::new(id).ok_or(RequestError::Id)?;
    Ok(Board::parse(cells).map_or(Request::Hopeless { id }, |board| Request::Solve { id, board }))
}

/// Appends a request for a board.
pub fn put_request(out: &mut Outbox, id: Id, cells: &[u8; CELLS]) {
    put_id(out, id);
    out.put(cells);
    out.put(b"\r\n");
}

/// An answer to a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A solution.
    Solved(Board),
    /// There is none.
    NoSolution,
    /// Refused, not executed, or given up: try later or elsewhere.
    TooBusy,
}

/// Appends an answer.
pub fn put_reply(out: &mut Outbox, id: Id, reply: &Reply) {
    put_id(out, id);
    match reply {
        Reply::Solved(board) => out.put(&board.text()),
        Reply::NoSolution => out.put(b"NoSolution"),
        Reply::TooBusy => out.put(b"ServerTooBusy"),
    }
    out.put(b"\r\n");
}

/// Reads an answer line without its end.
#[must_use]
pub fn parse_reply(line: &[u8]) -> Option<(Id, Reply)> {
    let (id, body) = match line.iter().position(|byte| *byte == b':') {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (&line[..0], line),
    };
    let reply = match body {
        b"NoSolution" => Reply::NoSolution,
        b"ServerTooBusy" => Reply::TooBusy,
        _ => Reply::Solved(Board::parse(body.try_into().ok()?)?),
    };
    Some((Id::new(id)?, reply))
}

fn put_id(out: &mut Outbox, id: Id) {
    if !id.is_none() {
        out.put(id.as_bytes());
        out.put_u8(b':');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const BLANK: [u8; CELLS] = [b'0'; CELLS];

    fn line(id: &[u8], cells: &[u8]) -> Vec<u8> {
        [id, cells].concat()
    }

    #[test]
    fn requests_are_read() {
        let board = Board::parse(&BLANK).unwrap();
        let id = |text: &[u8]| Id::new(text).unwrap();
        for (prefix, expected) in [
            (&b""[..], &b""[..]),
            (b":", &b""[..]),
            (b"7:", &b"7"[..]),
            (b"0123456789abcdef:", &b"0123456789abcdef"[..]),
        ] {
            let expected = Ok(Request::Solve { id: id(expected), board });
            assert_eq!(parse_request(&line(prefix, &BLANK)), expected);
        }
        let mut wrong = BLANK;
        wrong[80] = b':';
        assert_eq!(parse_request(&line(b"7:", &wrong)), Ok(Request::Hopeless { id: id(b"7") }));
        assert_eq!(parse_request(b"ping"), Ok(Request::Ping));
        assert_eq!(parse_request(b"stats"), Ok(Request::Stats));
        for bad in [&b"abc"[..], b"", b"7:", &BLANK[..80], b"7:ping", b"PING"] {
            assert_eq!(parse_request(bad), Err(RequestError::Cells), "{bad:?}");
        }
        assert_eq!(parse_request(b"0123456789abcdefg:1"), Err(RequestError::Id));
    }

    #[test]
    fn a_grid_is_judged_by_the_rules() {
        let mut grid = [0u8; CELLS];
        for (at, cell) in grid.iter_mut().enumerate() {
            let (row, column) = (at / 9, at % 9);
            *cell = ((3 * row + row / 3 + column) % 9) as u8 + 1;
        }
        let (full, blank) = (Board(grid), Board::parse(&BLANK).unwrap());
        assert!(full.solves(&blank) && full.solves(&full));
        assert!(!blank.solves(&blank));
        let mut clue = blank;
        clue.0[0] = full.0[0] % 9 + 1;
        assert!(!full.solves(&clue), "a clue was changed");
        grid.swap(0, 9);
        assert!(!Board(grid).solves(&blank), "rows are wrong, columns right");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            id in prop::collection::vec(prop_oneof![Just(b'a'), Just(0u8), 128u8..], 0..=ID_MAX),
            cells in prop::collection::vec(0u8..10, CELLS),
            kind in 0usize..3,
        ) {
            let (id, board) = (Id::new(&id).unwrap(), Board(cells.try_into().unwrap()));
            let text = |put: &dyn Fn(&mut Outbox)| {
                let mut out = Outbox::new();
                put(&mut out);
                let bytes: Vec<u8> = out.slices().flatten().copied().collect();
                bytes.strip_suffix(b"\r\n").unwrap().to_vec()
            };
            let request = text(&|out| put_request(out, id, &board.text()));
            prop_assert!(request.len() <= LINE_MAX);
            prop_assert_eq!(parse_request(&request), Ok(Request::Solve { id, board }));
            let reply = [Reply::Solved(board), Reply::NoSolution, Reply::TooBusy][kind];
            let line = text(&|out| put_reply(out, id, &reply));
            prop_assert_eq!(parse_reply(&line), Some((id, reply)));
        }

        #[test]
        fn no_line_panics(line in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = (parse_request(&line), parse_reply(&line));
        }
    }
}
