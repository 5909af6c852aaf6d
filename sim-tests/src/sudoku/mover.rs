//! A client of several servers that come and go: the core's balancer, its health checks, and a
//! ledger of every board and of every time that it was asked. Works on any transport.

use super::work::{Cells, Reply, Request, Sudoku};
use crate::decide::{Decider, Key, Site};
use crate::net::LinkId;
use crate::node::Ending;
use crate::violation::Violation;
use crate::workload::{History, Op, Outcome, Said, Workload};
use core::time::Duration;
use drywire::Tick;
use drywire::conn::Outbox;
use drywire::sudoku::Board;
use drywire::sudoku::balancer::{Balancer, BalancerConfig, Lost};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ways {
    /// How it balances, and how it insists.
    pub config: BalancerConfig,
    /// Boards that it asks (some are left out).
    pub boards: u32,
    /// The mean time between two of them.
    pub pace: Duration,
    /// How often it asks each server whether it stays.
    pub beat: Duration,
    /// After how long without an answer to that it leaves.
    pub silence: Duration,
    /// After how long it tries again to connect.
    pub again: Duration,
    /// What it gets wrong.
    pub mistake: Option<Mistake>,
}

/// A bug on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Whoever it left, it never calls again.
    NeverReturns,
    /// It stays with whoever says that it goes away.
    Stays,
}

/// What became of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Answered.
    Answered,
    /// Told as lost.
    Lost(Lost),
}

/// A board that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When.
    pub at: Tick,
    /// What became of it, and when.
    pub end: Option<(Tick, End)>,
}

/// What a client wants done. Ask again after doing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Open a connection to this server; say `connected` or `ended`.
    Connect(usize),
    /// Close the connection to this server.
    HangUp(usize),
    /// Send what is outgoing; nothing else to do until then, or until something comes.
    Wait(Option<Tick>),
    /// Everything was asked and everything has ended.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down,
    Opening,
    Up,
}

/// Its side of one server.
#[derive(Debug)]
struct Door {
    state: State,
    link: LinkId,
    /// When it calls again.
    at: Tick,
    work: Sudoku,
    input: Vec<u8>,
    /// Bytes that were written down on this connection.
    total: u64,
    /// Indices into the history, oldest first.
    owed: VecDeque<usize>,
}

/// The client.
#[derive(Debug)]
pub struct Mover {
    who: u32,
    ways: Ways,
    balancer: Balancer,
    history: Rc<RefCell<History<Sudoku>>>,
    /// By number; `None` for what was left out.
    asked: Vec<Option<Asked>>,
    doors: Vec<Door>,
    due: Tick,
    beat_at: Tick,
    drawn: u32,
    wrong: Option<Violation>,
}

const KIND: Site = Site::new("op.kind");
const GAP: Site = Site::new("mover.gap");
const PICK: Site = Site::new("mover.pick");

impl Mover {
    /// Client `who` of so many servers.
    #[must_use]
    pub fn new(
        who: u32,
        servers: usize,
        ways: Ways,
        history: Rc<RefCell<History<Sudoku>>>,
    ) -> Self {
        let door = |_| Door {
            state: State::Down,
            link: LinkId(u32::MAX),
            at: Tick::ZERO,
            work: Sudoku::new(who),
            input: Vec::new(),
            total: 0,
            owed: VecDeque::new(),
        };
        Self {
            who,
            ways,
            balancer: Balancer::new(servers, ways.config),
            history,
            asked: Vec::new(),
            doors: (0..servers).map(door).collect(),
            due: Tick::ZERO + ways.pace,
            beat_at: Tick::ZERO,
            drawn: 0,
            wrong: None,
        }
    }

    /// Its number.
    #[must_use]
    pub fn who(&self) -> u32 {
        self.who
    }

    /// The board that it began to ask last, from 1.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.asked.len() as u32
    }

    /// Each board that was asked, by its number, and what became of it.
    pub fn boards(&self) -> impl Iterator<Item = (u32, Asked)> {
        (1..).zip(&self.asked).filter_map(|(number, asked)| Some((number, (*asked)?)))
    }

    /// Whether it has begun to ask its last board.
    #[must_use]
    pub fn asked_all(&self) -> bool {
        self.number() >= self.ways.boards
    }

    /// Whether everything has ended.
    #[must_use]
    pub fn done(&self) -> bool {
        self.settled() && self.doors.iter().all(|door| door.state == State::Down)
    }

    fn settled(&self) -> bool {
        self.asked_all() && self.asked.iter().flatten().all(|asked| asked.end.is_some())
    }

    /// What it still waits for, in words.
    #[must_use]
    pub fn owes(&self) -> Option<String> {
        let waiting = self.boards().find(|(_, asked)| asked.end.is_none());
        match waiting {
            Some((number, _)) => Some(format!("board {number} is neither answered nor lost")),
            None => (!self.done()).then(|| "not done".to_owned()),
        }
    }

    /// A breach that it noticed.
    pub fn take_violation(&mut self) -> Option<Violation> {
        self.wrong.take()
    }

    /// The next thing to do.
    pub fn poll(&mut self, now: Tick, decider: &mut Decider) -> Move {
        while now >= self.due && !self.asked_all() {
            self.ask(now, decider);
        }
        if now >= self.beat_at {
            self.beat_at = now + self.ways.beat;
            self.balancer.ping();
        }
        let (key, drawn) = (Key::of(self.who, self.number()), &mut self.drawn);
        self.balancer.send(now, || {
            *drawn += 1;
            decider.below(PICK, key.nth(*drawn), 1 << 32) << 32
        });
        while let Some((name, lost)) = self.balancer.next_lost() {
            self.end(name, now, End::Lost(lost));
        }
        self.write_down(now);
        for at in 0..self.doors.len() {
            let silent = self.hears_by(at).is_some_and(|by| by <= now);
            let left = self.settled() || self.balancer.may_leave(at);
            match self.doors[at].state {
                State::Down if !self.settled() && self.doors[at].at <= now => {
                    self.doors[at].state = State::Opening;
                    return Move::Connect(at);
                }
                State::Up if silent || left => {
                    let how = if silent { Ending::TimedOut } else { Ending::Fin };
                    self.lose(at, now, how);
                    return Move::HangUp(at);
                }
                _ => {}
            }
        }
        if self.done() {
            return Move::Done;
        }
        let doors = (0..self.doors.len()).filter_map(|at| match self.doors[at].state {
            State::Down => (!self.settled()).then_some(self.doors[at].at),
            State::Opening => None,
            State::Up => self.hears_by(at),
        });
        let asks = (!self.asked_all()).then_some(self.due);
        let others = [Some(self.beat_at), asks, self.balancer.deadline()];
        Move::Wait(doors.chain(others.into_iter().flatten()).min())
    }

    /// When the first health check that server `at` has not answered is too old.
    fn hears_by(&self, at: usize) -> Option<Tick> {
        let history = self.history.borrow();
        let mut owed = self.doors[at].owed.iter().map(|op| &history[*op]);
        let oldest = owed.find(|op| op.request == Request::Ping)?.invoked;
        Some(oldest + self.ways.silence)
    }

    fn ask(&mut self, now: Tick, decider: &mut Decider) {
        let number = self.number() + 1;
        let key = Key::of(self.who, number);
        self.due = self.due + self.ways.pace / 2;
        self.due = self.due + self.ways.pace * decider.below(GAP, key, 16) as u32 / 15;
        let asked = decider.below(KIND, key, 64) > 0;
        self.asked.push(asked.then_some(Asked { at: now, end: None }));
        if asked && let Some(board) = Board::parse(Cells::numbered(number).bytes()) {
            self.balancer.ask(now, u64::from(number), board);
        }
    }

    fn end(&mut self, name: u64, now: Tick, end: End) {
        match self.asked.get_mut(name as usize - 1) {
            Some(Some(asked)) if asked.end.is_none() => asked.end = Some((now, end)),
            before => {
                let text = format!("board {name} ends as {end:?} again: {before:?}");
                self.fail("ledger", text);
            }
        }
    }

    /// Enters in the history what the balancer wants to send: it is not asked what that was.
    fn write_down(&mut self, now: Tick) {
        for (at, door) in self.doors.iter_mut().enumerate() {
            if door.state != State::Up {
                continue;
            }
            let out = self.balancer.outgoing(at);
            let total = out.sent_total() + out.len() as u64;
            let fresh = (total - door.total) as usize;
            let all: Vec<u8> = out.slices().flatten().copied().collect();
            for line in all[all.len() - fresh..].split_inclusive(|byte| *byte == b'\n') {
                let bytes = door.total..door.total + line.len() as u64;
                door.total = bytes.end;
                let request = Request::read(line);
                let number = match &request {
                    Request::Board { cells, .. } => cells.number(),
                    _ => self.asked.len() as u32,
                };
                let mut history = self.history.borrow_mut();
                door.owed.push_back(history.len());
                history.push(Op {
                    caller: self.who,
                    number,
                    link: door.link,
                    request,
                    silent: false,
                    bytes,
                    invoked: now,
                    returned: None,
                    outcome: Outcome::Pending,
                });
            }
        }
    }

    /// The connection to server `at` is up, over `link`.
    pub fn connected(&mut self, at: usize, link: LinkId) {
        let door = &mut self.doors[at];
        (door.state, door.link, door.total) = (State::Up, link, 0);
        door.input.clear();
        door.work.connected();
        self.balancer.connected(at);
    }

    /// What is to be sent to server `at`.
    pub fn outgoing(&mut self, at: usize) -> &mut Outbox {
        self.balancer.outgoing(at)
    }

    /// Bytes came from server `at`.
    pub fn received(&mut self, at: usize, now: Tick, bytes: &[u8]) {
        self.doors[at].input.extend_from_slice(bytes);
        loop {
            let (door, history) = (&mut self.doors[at], self.history.borrow());
            let mut owed = door.owed.iter().map(|op| &history[*op].request);
            let heard = door.work.hear(&mut owed, &door.input);
            drop(history);
            match heard {
                Ok(None) => return,
                Ok(Some(heard)) => {
                    let words: Vec<u8> = door.input.drain(..heard.used).collect();
                    match heard.what {
                        Said::Answer(nth, reply) => {
                            let op = door.owed.remove(nth);
                            self.settle(op, now, &Outcome::Answered(reply));
                        }
                        Said::Refusal(_) => {
                            let owed = core::mem::take(&mut door.owed);
                            self.settle(owed, now, &Outcome::Refused);
                        }
                        Said::Event(_) | Said::Lost(_) => {}
                    }
                    self.pass_on(at, now, &words);
                }
                Err(text) => return self.fail("reply", text),
            }
        }
    }

    /// One reply, for the balancer.
    fn pass_on(&mut self, at: usize, now: Tick, words: &[u8]) {
        let leaves = words.starts_with(b"pong draining");
        let deaf = leaves && self.ways.mistake == Some(Mistake::Stays);
        let words = if deaf { b"pong\r\n" } else { words };
        let mut answered = None;
        let read = self.balancer.receive(at, now, words, |name, _| answered = Some(name));
        if let Err(fault) = read {
            self.fail("reply", format!("the balancer does not understand: {fault:?}"));
        }
        if let Some(name) = answered {
            self.end(name, now, End::Answered);
        }
    }

    /// The connection to server `at` ended, or could not be made.
    pub fn ended(&mut self, at: usize, now: Tick, how: Ending, excused: bool) {
        let door = &self.doors[at];
        if how == Ending::Fin && !excused && !door.owed.is_empty() {
            let text = format!("server {at} ended in peace and owes {} answers", door.owed.len());
            self.fail("ledger", text);
        }
        self.lose(at, now, how);
    }

    fn lose(&mut self, at: usize, now: Tick, how: Ending) {
        let door = &mut self.doors[at];
        let was_there = door.state == State::Up;
        let returns = self.ways.mistake != Some(Mistake::NeverReturns) || !was_there;
        door.at = if returns { now + self.ways.again } else { Tick(u64::MAX) };
        door.state = State::Down;
        let owed = core::mem::take(&mut door.owed);
        self.settle(owed, now, &Outcome::Failed(how));
        self.balancer.disconnected(at, now);
    }

    fn settle(&self, ops: impl IntoIterator<Item = usize>, now: Tick, outcome: &Outcome<Reply>) {
        let mut history = self.history.borrow_mut();
        for op in ops {
            history[op].returned = Some(now);
            history[op].outcome = outcome.clone();
        }
    }

    fn fail(&mut self, checker: &'static str, text: String) {
        if self.wrong.is_none() {
            self.wrong = Some(Violation::new(checker, format!("client {}: {text}", self.who)));
        }
    }
}
