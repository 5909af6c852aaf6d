//! The sudoku workload: boards, each answer checked by the rules of the game.

use super::boards::{self, Kind};
use crate::load::tally::{Class, Tally};
use crate::load::workload::{Ask, What, Workload};
use drywire::conn::Outbox;
use drywire::sudoku::client::{Client, Event, Step, Ticket};
use drywire::sudoku::{Board, Reply};
use std::collections::VecDeque;
use std::sync::Arc;

/// Boards that are drawn before a run and asked again and again.
const POOL: usize = 4096;

/// One thread's requests.
pub(crate) struct Sudoku {
    /// Boards as asked for, and boards that are answered without solving.
    boards: Arc<[[u8; 81]]>,
    hopeless: Arc<[[u8; 81]]>,
    pool: Arc<[[u8; 81]]>,
    next: usize,
    window: usize,
    /// How many more to ask.
    left: u64,
    /// An answer after this many nanoseconds is late.
    deadline: u64,
}

pub(crate) struct Conn {
    client: Client,
    /// By ticket, from `first` on; `None` once answered.
    flights: VecDeque<Option<Flight>>,
    first: u64,
}

#[derive(Clone, Copy)]
struct Flight {
    start: u64,
    board: u32,
}

impl Sudoku {
    pub(crate) fn new(kind: Kind, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let boards: Arc<[_]> = (0..POOL).map(|_| boards::draw(kind, &mut random)).collect();
        let hopeless = Arc::new([boards::draw(Kind::Hopeless, &mut random)]);
        let pool = Arc::clone(&boards);
        Self { boards, hopeless, pool, next: 0, window: 0, left: 0, deadline: u64::MAX }
    }

    fn judge(&self, flight: Flight, reply: &Reply, now: u64, tally: &mut Tally) -> Class {
        let cells = &self.pool[flight.board as usize];
        let in_time = now.saturating_sub(flight.start) <= self.deadline;
        let right = match reply {
            Reply::TooBusy => return Class::Refused,
            Reply::NoSolution => !boards::solvable(cells),
            Reply::Solved(found) => Board::parse(cells).is_some_and(|board| found.solves(&board)),
        };
        if !right {
            tally.complain(|| {
                format!("{} was answered with {reply:?}", String::from_utf8_lossy(cells))
            });
            return Class::Wrong;
        }
        match reply {
            _ if !in_time => Class::Late,
            Reply::NoSolution => Class::NoSolution,
            _ => Class::Ok,
        }
    }
}

impl Conn {
    fn take_flight(&mut self, ticket: Ticket) -> Option<Flight> {
        let place = ticket.0.checked_sub(self.first)? as usize;
        let flight = self.flights.get_mut(place)?.take();
        while let Some(None) = self.flights.front() {
            self.flights.pop_front();
            self.first += 1;
        }
        flight
    }
}

impl Workload for Sudoku {
    type Conn = Conn;

    fn begin(&mut self, ask: &Ask) {
        self.pool = Arc::clone(match ask.what {
            What::Preload | What::Load => &self.boards,
            What::Unserved => &self.hopeless,
        });
        self.next = 0;
        (self.left, self.deadline, self.window) = (ask.left, ask.deadline, ask.window);
    }

    fn open(&mut self) -> Conn {
        Conn { client: Client::new(self.window), flights: VecDeque::new(), first: 0 }
    }

    fn ask(&mut self, conn: &mut Conn, now: u64, out: &mut Outbox, tally: &mut Tally) -> bool {
        if self.left == 0 {
            return false;
        }
        let board = self.next % self.pool.len();
        let Some(ticket) = conn.client.ask_cells(&self.pool[board], out) else { return false };
        debug_assert_eq!(ticket.0, conn.first + conn.flights.len() as u64);
        conn.flights.push_back(Some(Flight { start: now, board: board as u32 }));
        self.next += 1;
        self.left -= 1;
        tally.sent();
        true
    }

    fn take(
        &mut self,
        conn: &mut Conn,
        now: u64,
        input: &[u8],
        tally: &mut Tally,
    ) -> Result<usize, String> {
        let mut used_in_all = 0;
        loop {
            match conn.client.step(&input[used_in_all..]) {
                Ok(Step::Need(_)) => return Ok(used_in_all),
                Ok(Step::Event { event, used }) => {
                    used_in_all += used;
                    match event {
                        Event::Answer { ticket, reply } => {
                            if let Some(flight) = conn.take_flight(ticket) {
                                let class = self.judge(flight, &reply, now, tally);
                                tally.ended(class, flight.start, now);
                            }
                        }
                        Event::Refused => return Err("the server has no room for us".into()),
                        Event::Pong { .. } => {}
                    }
                }
                Err(fault) => return Err(fault.to_string()),
            }
        }
    }

    fn in_flight(&self, conn: &Conn) -> usize {
        conn.client.in_flight()
    }

    fn lose(&mut self, conn: &mut Conn, tally: &mut Tally) {
        conn.client.end();
        while let Some(ticket) = conn.client.next_failed() {
            if let Some(flight) = conn.take_flight(ticket) {
                tally.ended(Class::Lost, flight.start, flight.start);
            }
        }
    }
}
