//! A client of several servers: each board goes to the one with the least pending of two.
//!
//! [`Balancer`] holds one [`Client`] for each server and a queue of boards that wait for one. It
//! never gives up a board by itself: one that a server refused, or whose connection broke, is
//! asked again elsewhere (solving twice does no harm). A server that announces that it goes away
//! gets no more boards and is left once it has answered what it owes, so that it can be restarted
//! without a board lost.
//!
//! The host owns sockets and time: it calls [`Balancer::connected`] and
//! [`Balancer::disconnected`], sends [`Balancer::outgoing`], hands in what it receives, and closes
//! a connection when [`Balancer::may_leave`] says so. All work is bounded by the bytes handed in
//! and the boards held.

use crate::conn::{Fault, Outbox};
use crate::guard::{Backend, How, Outcome, Pick, PickConfig, pick};
use crate::sudoku::client::{Client, Event, Step, Ticket};
use crate::sudoku::codec::{Board, Reply};
use crate::tick::Tick;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

/// A board with the caller's name for it.
#[derive(Clone, Copy, Debug)]
struct Question {
    name: u64,
    board: Board,
    /// Where it was asked last, if that did not bring an answer.
    avoid: Option<usize>,
}

/// One server.
#[derive(Debug)]
struct Server {
    backend: Backend,
    /// `None` while there is no connection.
    client: Option<Client>,
    out: Outbox,
    carry: Vec<u8>,
    asked: BTreeMap<Ticket, Question>,
}

/// Several servers as one.
#[derive(Debug)]
pub struct Balancer {
    config: PickConfig,
    servers: Vec<Server>,
    waiting: VecDeque<Question>,
    window: usize,
}

impl Balancer {
    /// For so many servers, none of them connected, with at most `window` boards in flight at each.
    #[must_use]
    pub fn new(servers: usize, window: usize) -> Self {
        let server = |key| Server {
            backend: Backend::new(key, 1),
            client: None,
            out: Outbox::new(),
            carry: Vec::new(),
            asked: BTreeMap::new(),
        };
        let pending_max = u32::try_from(window).unwrap_or(u32::MAX);
        Self {
            config: PickConfig { pending_max, ..PickConfig::DEFAULT },
            servers: (0..servers as u64).map(server).collect(),
            waiting: VecDeque::new(),
            window,
        }
    }

    /// There is a fresh connection to server `at`.
    pub fn connected(&mut self, at: usize) {
        let server = &mut self.servers[at];
        server.client = Some(Client::new(self.window));
        server.backend.draining = false;
        server.out = Outbox::new();
        server.carry = Vec::new();
    }

    /// The connection to server `at` is gone: what it owed is asked elsewhere.
    pub fn disconnected(&mut self, at: usize, now: Tick) {
        let server = &mut self.servers[at];
        server.client = None;
        for (_, question) in core::mem::take(&mut server.asked) {
            server.backend.on_reply(&self.config.backend, now, Outcome::Error);
            self.waiting.push_front(Question { avoid: Some(at), ..question });
        }
    }

    /// Takes a board in; it is sent by the next [`Balancer::send`].
    pub fn ask(&mut self, name: u64, board: Board) {
        self.waiting.push_back(Question { name, board, avoid: None });
    }

    /// Sends what waits as far as servers can take it. `random` is called once for each board.
    pub fn send(&mut self, now: Tick, mut random: impl FnMut() -> u64) {
        while let Some(question) = self.waiting.front().copied() {
            let pool: Vec<Backend> = self.servers.iter().map(Server::view).collect();
            let to =
                |avoid, random| pick(&self.config, &pool, How::LeastPending, avoid, now, random);
            let picked = match to(question.avoid, random()) {
                // Better the one that failed than nowhere.
                Pick::NoneAlive if question.avoid.is_some() => to(None, random()),
                picked => picked,
            };
            let Pick::To(at) = picked else { return };
            let server = &mut self.servers[at];
            let Some(client) = &mut server.client else { return };
            let Some(ticket) = client.ask(&question.board, &mut server.out) else { return };
            self.waiting.pop_front();
            server.backend.on_send();
            server.asked.insert(ticket, question);
        }
    }

    /// Asks every server whether it stays.
    pub fn ping(&mut self) {
        for server in &mut self.servers {
            if let Some(client) = &mut server.client {
                client.ping(&mut server.out);
            }
        }
    }

    /// What is to be sent to server `at`.
    pub fn outgoing(&mut self, at: usize) -> &mut Outbox {
        &mut self.servers[at].out
    }

    /// Bytes came from server `at`. Each board that is answered is given to `answered`.
    ///
    /// # Errors
    /// A [`Fault`] when the server does not speak the protocol: close the connection and say
    /// [`Balancer::disconnected`].
    pub fn receive(
        &mut self,
        at: usize,
        now: Tick,
        bytes: &[u8],
        mut answered: impl FnMut(u64, &Reply),
    ) -> Result<(), Fault> {
        let server = &mut self.servers[at];
        let Some(client) = &mut server.client else { return Ok(()) };
        server.carry.extend_from_slice(bytes);
        let mut used_in_all = 0;
        let end = loop {
            match client.step(&server.carry[used_in_all..]) {
                Ok(Step::Need(_)) => break Ok(()),
                Err(fault) => break Err(fault),
                Ok(Step::Event { event, used }) => {
                    used_in_all += used;
                    match event {
                        Event::Pong { draining } => server.backend.draining |= draining,
                        Event::Refused => server.backend.draining = true,
                        Event::Answer { ticket, reply } => {
                            let Some(question) = server.asked.remove(&ticket) else { continue };
                            let refused = reply == Reply::TooBusy;
                            let outcome = if refused { Outcome::Nack } else { Outcome::Ok };
                            server.backend.on_reply(&self.config.backend, now, outcome);
                            if refused {
                                let again = Question { avoid: Some(at), ..question };
                                self.waiting.push_back(again);
                            } else {
                                answered(question.name, &reply);
                            }
                        }
                    }
                }
            }
        };
        server.carry.drain(..used_in_all);
        end
    }

    /// Whether server `at` goes away and owes nothing: its connection can be closed.
    #[must_use]
    pub fn may_leave(&self, at: usize) -> bool {
        let server = &self.servers[at];
        server.backend.draining && server.asked.is_empty()
    }

    /// Boards that are neither answered nor with a server.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Boards that server `at` owes.
    #[must_use]
    pub fn pending(&self, at: usize) -> usize {
        self.servers[at].asked.len()
    }
}

impl Server {
    /// What is known of it; no weight without a connection.
    fn view(&self) -> Backend {
        let mut backend = self.backend;
        backend.weight = u32::from(self.client.is_some());
        backend
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;
    use std::vec;

    const EASY: &[u8; 81] =
        b"530070000600195000098000060800060003400803001700020006060000280000419005000080079";

    /// The ids of the boards that wait to be sent to a server.
    fn taken(balancer: &mut Balancer, at: usize) -> Vec<String> {
        let out = balancer.outgoing(at);
        let bytes: Vec<u8> = out.slices().flatten().copied().collect();
        out.sent(bytes.len());
        let text = String::from_utf8(bytes).unwrap();
        text.lines().filter_map(|line| Some(line.split_once(':')?.0.into())).collect()
    }

    proptest! {
        /// Every board is answered exactly once, whatever servers refuse, break, leave and return.
        #[test]
        fn no_board_is_lost(steps in prop::collection::vec((0u8..8, 0usize..3, any::<u64>()), 1..200)) {
            let board = Board::parse(EASY).unwrap();
            let mut balancer = Balancer::new(3, 4);
            let mut owed: Vec<Vec<String>> = vec![Vec::new(); 3];
            let mut answers = BTreeMap::new();
            let (mut asked, mut now) = (0, Tick::ZERO);
            let run = |balancer: &mut Balancer, owed: &mut Vec<Vec<String>>, now: &mut Tick,
                           answers: &mut BTreeMap<u64, u32>, asked: &mut u64,
                           (what, at, random): (u8, usize, u64)| {
                *now = *now + core::time::Duration::from_millis(random % 5000);
                let mut line = |balancer: &mut Balancer, text: String| {
                    balancer.receive(at, *now, text.as_bytes(), |name, _| {
                        *answers.entry(name).or_insert(0) += 1;
                    }).unwrap();
                };
                match what {
                    0 => { balancer.connected_again(at, *now); owed[at].clear(); }
                    1 => { balancer.disconnected(at, *now); owed[at].clear(); }
                    2 => line(balancer, "pong draining\r\n".into()),
                    3 | 4 if !owed[at].is_empty() => {
                        let count = owed[at].len();
                        let id = owed[at].swap_remove(random as usize % count);
                        let reply = if what == 3 { "NoSolution" } else { "ServerTooBusy" };
                        line(balancer, std::format!("{id}:{reply}\r\n"));
                    }
                    _ => { balancer.ask(*asked, board); *asked += 1; }
                }
                balancer.send(*now, || random.rotate_left(7));
                for (at, owed) in owed.iter_mut().enumerate() {
                    owed.extend(taken(balancer, at));
                }
            };
            for step in steps {
                run(&mut balancer, &mut owed, &mut now, &mut answers, &mut asked, step);
            }
            let before_the_end = asked;
            for at in 0..3 {
                run(&mut balancer, &mut owed, &mut now, &mut answers, &mut asked, (0, at, 1));
            }
            for round in 0..4 * before_the_end + 4 {
                for at in 0..3 {
                    if !owed[at].is_empty() {
                        let step = (3, at, round * 997);
                        run(&mut balancer, &mut owed, &mut now, &mut answers, &mut asked, step);
                    }
                }
            }
            prop_assert_eq!(balancer.waiting(), 0);
            prop_assert_eq!(answers.len() as u64, asked);
            prop_assert!(answers.values().all(|times| *times == 1));
        }
    }

    impl Balancer {
        fn connected_again(&mut self, at: usize, now: Tick) {
            self.disconnected(at, now);
            self.connected(at);
        }
    }

    #[test]
    fn a_server_that_drains_gets_nothing_more_and_is_left_when_it_owes_nothing() {
        let board = Board::parse(EASY).unwrap();
        let mut balancer = Balancer::new(2, 8);
        balancer.connected(0);
        balancer.connected(1);
        (0..8).for_each(|name| balancer.ask(name, board));
        balancer.send(Tick::ZERO, || 1 << 63);
        let owed = [taken(&mut balancer, 0), taken(&mut balancer, 1)];
        assert!(owed.iter().all(|owed| owed.len() == 4), "{owed:?}");
        balancer.receive(0, Tick::ZERO, b"pong draining\r\n", |_, _| ()).unwrap();
        (8..12).for_each(|name| balancer.ask(name, board));
        balancer.send(Tick::ZERO, || 1 << 63);
        assert_eq!((taken(&mut balancer, 0).len(), taken(&mut balancer, 1).len()), (0, 4));
        assert!(!balancer.may_leave(0));
        for id in &owed[0] {
            let line = std::format!("{id}:NoSolution\r\n");
            balancer.receive(0, Tick::ZERO, line.as_bytes(), |_, _| ()).unwrap();
        }
        assert!(balancer.may_leave(0) && !balancer.may_leave(1));
    }
}
