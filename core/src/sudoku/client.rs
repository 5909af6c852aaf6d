//! The client's side of the protocol, without a socket.
//!
//! [`Client`] is one connection. Each board gets an id of its own, so answers may come in any
//! order, and an answer that nobody asked for, or a second one, is found out. The ledger is
//! invariant I1 seen from this side: each board gets exactly one answer, or is named by
//! [`Client::next_failed`] when the connection ends.
//!
//! ```
//! use drywire::conn::Outbox;
//! use drywire::sudoku::client::{Client, Event, Step};
//! use drywire::sudoku::{Board, Reply};
//!
//! let mut client = Client::new(1);
//! let mut out = Outbox::new();
//! let ticket = client.ask(&Board::parse(&[b'0'; 81]).unwrap(), &mut out).unwrap();
//! assert!(client.ask(&Board::parse(&[b'0'; 81]).unwrap(), &mut out).is_none(), "window of 1");
//! // ... the host sends `out` and receives:
//! let Ok(Step::Event { event, .. }) = client.step(b"0:ServerTooBusy\r\n") else { panic!() };
//! assert_eq!(event, Event::Answer { ticket, reply: Reply::TooBusy });
//! ```

use crate::conn::{Fault, FaultKind, Outbox};
use crate::frame::line::{Lines, State};
use crate::frame::{Framing, Step as Frame};
use crate::sudoku::codec::{Board, CELLS, Id, Reply, parse_reply, put_request, reply_lines};
use alloc::vec::Vec;

/// Names a board of one client: they count up from 0 in the order asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What [`Client::step`] found at the front of the input.
pub type Step = crate::client::Step<Event>;

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The one answer to a board. Whether a solution is right is for the caller to say:
    /// [`Board::solves`].
    Answer {
        /// Which board.
        ticket: Ticket,
        /// The answer.
        reply: Reply,
    },
    /// The answer to [`Client::ping`].
    Pong {
        /// The server goes away: ask elsewhere. What was asked is still answered.
        draining: bool,
    },
    /// A refusal that is no board's: the server has no room for this connection.
    Refused,
}

/// Where every board went: `sent = answered + refused + failed + in flight`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Boards asked.
    pub sent: u64,
    /// ... solved, or without a solution.
    pub answered: u64,
    /// ... refused: not executed.
    pub refused: u64,
    /// ... that will never be answered: the connection ended.
    pub failed: u64,
}

/// One connection, seen from the client. All work is bounded by the bytes handed in; it never
/// panics, whatever the server sends.
#[derive(Clone, Debug)]
pub struct Client {
    lines: Lines,
    state: State,
    /// Boards in flight, by place; the place is a part of the id, so that it is found at once.
    flights: Vec<Option<Ticket>>,
    free: Vec<u32>,
    window: usize,
    ledger: Ledger,
    ended: Option<Option<Fault>>,
}

impl Client {
    /// A fresh connection with at most `window` boards in flight, from 1 to 65,536. Memory: 24
    /// bytes for each.
    #[must_use]
    pub fn new(window: usize) -> Self {
        Self {
            lines: reply_lines(),
            state: State::default(),
            flights: Vec::new(),
            free: Vec::new(),
            window: window.clamp(1, 1 << 16),
            ledger: Ledger::default(),
            ended: None,
        }
    }

    /// Appends a board to `out`. `None`, and nothing is appended, while the window is full or when
    /// the connection has ended.
    pub fn ask(&mut self, board: &Board, out: &mut Outbox) -> Option<Ticket> {
        self.ask_cells(&board.text(), out)
    }

    /// [`Client::ask`] with the cells as they go over the wire; no byte of them may end a line.
    pub fn ask_cells(&mut self, cells: &[u8; CELLS], out: &mut Outbox) -> Option<Ticket> {
        if self.ended.is_some() || self.in_flight() >= self.window {
            return None;
        }
        let ticket = Ticket(self.ledger.sent);
        let place = self.free.pop().unwrap_or(self.flights.len() as u32);
        match self.flights.get_mut(place as usize) {
            Some(flight) => *flight = Some(ticket),
            None => self.flights.push(Some(ticket)),
        }
        self.ledger.sent += 1;
        put_request(out, name(place, ticket), cells);
        Some(ticket)
    }

    /// Appends a `ping`.
    pub fn ping(&mut self, out: &mut Outbox) {
        if self.ended.is_none() {
            out.put(b"ping\r\n");
        }
    }

    /// Reads one reply from the front of `input`, which starts at the first byte not yet consumed.
    ///
    /// # Errors
    /// A [`Fault`] when the server ended with last words or does not speak the protocol. It is
    /// final: the same fault comes again, and what is in flight has failed.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, Fault> {
        if let Some(Some(fault)) = self.ended {
            return Err(fault);
        }
        let mut skipped = 0;
        let found = loop {
            let rest = input.get(skipped..).unwrap_or_default();
            break match self.lines.step(&mut self.state, rest) {
                Frame::Need(more) => return Ok(Step::Need(skipped + rest.len() + more.get())),
                Frame::Skip { consumed } => {
                    skipped += consumed;
                    continue;
                }
                Frame::Error { error, .. } => Err(error.into()),
                Frame::Frame { payload, consumed, .. } => self
                    .settle(payload.of(rest))
                    .map(|event| Step::Event { event, used: skipped + consumed }),
            };
        };
        if let Err(fault) = found {
            self.ended = Some(Some(fault));
        }
        found
    }

    /// The connection is over: hand in all bytes received before calling this.
    pub fn end(&mut self) {
        if self.ended.is_none() {
            self.ended = Some(None);
        }
    }

    /// The next board that will never be answered; `None` once all are named, and as long as the
    /// connection lives.
    pub fn next_failed(&mut self) -> Option<Ticket> {
        self.ended?;
        loop {
            if let Some(ticket) = self.flights.pop()? {
                self.ledger.failed += 1;
                return Some(ticket);
            }
        }
    }

    /// Where every board went.
    #[must_use]
    pub const fn ledger(&self) -> Ledger {
        self.ledger
    }

    /// Boards waiting for their answer.
    #[must_use]
    pub const fn in_flight(&self) -> usize {
        let Ledger { sent, answered, refused, failed } = self.ledger;
        (sent - answered - refused - failed) as usize
    }

    fn settle(&mut self, line: &[u8]) -> Result<Event, Fault> {
        let malformed = |what| Err(Fault::new(FaultKind::Malformed, what));
        let (id, reply) = match line {
            b"pong" => return Ok(Event::Pong { draining: false }),
            b"pong draining" => return Ok(Event::Pong { draining: true }),
            b"Bad Request!" => return malformed("the server says: bad request"),
            b"Id too long!" => return malformed("the server says: id too long"),
            _ => match parse_reply(line) {
                Some((id, Reply::TooBusy)) if id.is_none() => return Ok(Event::Refused),
                Some(answer) => answer,
                None => return malformed("a line that is no reply"),
            },
        };
        let place = place(id).filter(|place| *place < self.flights.len());
        let flight = place.and_then(|place| self.flights[place].as_ref().map(|t| (place, *t)));
        let Some((place, ticket)) =
            flight.filter(|(place, ticket)| name(*place as u32, *ticket) == id)
        else {
            return malformed("an answer to no question");
        };
        self.flights[place] = None;
        self.free.push(place as u32);
        match reply {
            Reply::TooBusy => self.ledger.refused += 1,
            Reply::Solved(_) | Reply::NoSolution => self.ledger.answered += 1,
        }
        Ok(Event::Answer { ticket, reply })
    }
}

/// The id of a board: its place in the low 16 bits, the low bits of its ticket above them, in
/// hexadecimal without leading zeros. So an id is used again after 2^48 boards.
fn name(place: u32, ticket: Ticket) -> Id {
    let mut left = ticket.0 << 16 | u64::from(place & 0xffff);
    let mut text = [0; 16];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b"0123456789abcdef"[(left & 15) as usize];
        left >>= 4;
        if left == 0 || at == 0 {
            return Id::new(&text[at..]).unwrap_or(Id::NONE);
        }
    }
}

/// The place that an id says.
fn place(id: Id) -> Option<usize> {
    let low = id.as_bytes();
    let low = &low[low.len().saturating_sub(4)..];
    low.iter().try_fold(0, |value, byte| {
        let digit = char::from(*byte).to_digit(16)?;
        Some(value << 4 | digit as usize)
    })
}
