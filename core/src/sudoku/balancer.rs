//! A client of several servers: each board goes to the one with the least pending of two.
//!
//! [`Balancer`] holds one [`Client`] for each server and a queue of boards that wait for one. Each
//! board is answered, or named by [`Balancer::next_lost`], once. One that a server refused is asked
//! again elsewhere, and so is one whose connection broke unless that is forbidden (solving twice
//! does no harm): after a pause, as long as the retry budget and the time for it last. A server
//! that announces that it goes away gets no more boards and is left once it has answered what it
//! owes, so that it can be restarted without a board lost; one that comes back is asked whether it
//! stays before it gets any.
//!
//! The host owns sockets and time: it calls [`Balancer::connected`] and
//! [`Balancer::disconnected`], sends [`Balancer::outgoing`], hands in what it receives, closes
//! a connection when [`Balancer::may_leave`] says so, and calls [`Balancer::send`] after each of
//! these and at [`Balancer::deadline`]. All work is bounded by the bytes handed in and the boards
//! held.

use crate::conn::{Fault, Outbox};
use crate::guard::{
    Backend, BackendConfig, Failed, How, Outcome, Pick, PickConfig, Retry, RetryBudget,
    RetryConfig, pick,
};
use crate::sudoku::client::{Client, Event, Step, Ticket};
use crate::sudoku::codec::{Board, Reply};
use crate::tick::Tick;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

/// How a [`Balancer`] behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalancerConfig {
    /// Boards in flight at each server at most, from 1 to 65,536. Default 64.
    pub window: usize,
    /// What failures cost a server.
    pub backend: BackendConfig,
    /// How often, and after which pause, a board is asked again.
    pub retry: RetryConfig,
    /// A board is given up when it has no answer for so long. Default 10 s.
    pub patience: Duration,
    /// Whether a board is asked again whose connection broke, although it may have been solved.
    /// Default true.
    pub repeat: bool,
}

impl BalancerConfig {
    /// Defaults.
    pub const DEFAULT: Self = Self {
        window: 64,
        backend: BackendConfig::DEFAULT,
        retry: RetryConfig::DEFAULT,
        patience: Duration::from_secs(10),
        repeat: true,
    };
}

impl Default for BalancerConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What is known of a board that gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Nobody solved it: whoever was asked refused it.
    NotExecuted,
    /// A server may have solved it: its connection broke, or its time was over.
    Unknown,
}

/// A board with the caller's name for it.
#[derive(Clone, Copy, Debug)]
struct Question {
    name: u64,
    board: Board,
    /// When it is given up.
    until: Tick,
    /// How often it was asked.
    attempt: u8,
    /// Where it was asked last, if that did not bring an answer.
    avoid: Option<usize>,
    /// Somebody may have solved it.
    unknown: bool,
}

/// One server.
#[derive(Debug)]
struct Server {
    backend: Backend,
    /// `None` while there is no connection.
    client: Option<Client>,
    /// It answered on this connection.
    greeted: bool,
    out: Outbox,
    carry: Vec<u8>,
    asked: BTreeMap<Ticket, Question>,
}

/// Several servers as one.
#[derive(Debug)]
pub struct Balancer {
    config: BalancerConfig,
    pick: PickConfig,
    servers: Vec<Server>,
    waiting: VecDeque<Question>,
    /// Those that did not work out, until the next [`Balancer::send`].
    failed: Vec<(Question, Outcome)>,
    /// Those that are asked again, by when.
    paused: BTreeMap<(Tick, u64), Question>,
    pauses: u64,
    budget: RetryBudget,
    lost: VecDeque<(u64, Lost)>,
    /// No board is given up before this.
    expires: Tick,
}

/// Later than anything.
const NEVER: Tick = Tick(u64::MAX);

impl Balancer {
    /// For so many servers, none of them connected.
    #[must_use]
    pub fn new(servers: usize, config: BalancerConfig) -> Self {
        let server = |key| Server {
            backend: Backend::new(key, 1),
            client: None,
            greeted: false,
            out: Outbox::new(),
            carry: Vec::new(),
            asked: BTreeMap::new(),
        };
        let pending_max = u32::try_from(config.window).unwrap_or(u32::MAX);
        Self {
            pick: PickConfig { backend: config.backend, pending_max, ..PickConfig::DEFAULT },
            servers: (0..servers as u64).map(server).collect(),
            waiting: VecDeque::new(),
            failed: Vec::new(),
            paused: BTreeMap::new(),
            pauses: 0,
            budget: RetryBudget::new(&config.retry, Tick::ZERO),
            lost: VecDeque::new(),
            expires: NEVER,
            config,
        }
    }

    /// There is a fresh connection to server `at`. It is asked whether it stays, and gets no board
    /// before it says so: whoever goes away would refuse them.
    pub fn connected(&mut self, at: usize) {
        let server = &mut self.servers[at];
        let mut client = Client::new(self.config.window);
        server.out = Outbox::new();
        client.ping(&mut server.out);
        server.client = Some(client);
        server.greeted = false;
        server.backend.draining = false;
        server.carry = Vec::new();
    }

    /// The connection to server `at` is gone, and what it owed has failed.
    pub fn disconnected(&mut self, at: usize, now: Tick) {
        let server = &mut self.servers[at];
        server.client = None;
        server.greeted = false;
        let asked = core::mem::take(&mut server.asked);
        if !asked.is_empty() {
            // One failure, however much was on its way: otherwise a server with five boards in
            // flight would be out after one crash, and with fifty for minutes.
            server.backend.pending = 1;
            server.backend.on_reply(&self.config.backend, now, Outcome::Error);
        }
        for (_, question) in asked {
            let question = Question { avoid: Some(at), unknown: true, ..question };
            self.failed.push((question, Outcome::Error));
        }
    }

    /// Takes a board in; it is sent by the next [`Balancer::send`].
    pub fn ask(&mut self, now: Tick, name: u64, board: Board) {
        let until = now + self.config.patience;
        self.expires = self.expires.min(until);
        let question = Question { name, board, until, attempt: 0, avoid: None, unknown: false };
        self.waiting.push_back(question);
    }

    /// Gives up what is over, decides what is asked again, and sends what waits as far as servers
    /// can take it. `random` is uniform, and called up to twice for each board.
    pub fn send(&mut self, now: Tick, mut random: impl FnMut() -> u64) {
        self.expire(now);
        for (question, outcome) in core::mem::take(&mut self.failed) {
            self.again(now, question, outcome, random());
        }
        while let Some(due) = self.paused.first_entry()
            && due.key().0 <= now
        {
            self.waiting.push_back(due.remove());
        }
        while let Some(mut question) = self.waiting.front().copied() {
            let pool: Vec<Backend> = self.servers.iter().map(Server::view).collect();
            let to = |avoid, random| pick(&self.pick, &pool, How::LeastPending, avoid, now, random);
            let random = random();
            let picked = match to(question.avoid, random) {
                // Better the one that failed than nowhere.
                Pick::NoneAlive if question.avoid.is_some() => to(None, random),
                picked => picked,
            };
            let Pick::To(at) = picked else { return };
            let server = &mut self.servers[at];
            let Some(client) = &mut server.client else { return };
            let Some(ticket) = client.ask(&question.board, &mut server.out) else { return };
            self.waiting.pop_front();
            if question.attempt == 0 {
                self.budget.on_request(&self.config.retry, now);
            }
            question.attempt = question.attempt.saturating_add(1);
            server.backend.on_send();
            server.asked.insert(ticket, question);
        }
    }

    /// When [`Balancer::send`] is due by itself.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        let paused = self.paused.first_key_value().map_or(NEVER, |((at, _), _)| *at);
        let failed = if self.failed.is_empty() { NEVER } else { Tick::ZERO };
        Some(paused.min(failed).min(self.expires)).filter(|at| *at < NEVER)
    }

    /// The next board that gets no answer, and what is known of it.
    pub fn next_lost(&mut self) -> Option<(u64, Lost)> {
        self.lost.pop_front()
    }

    /// Gives up boards whose time is over, wherever they are.
    fn expire(&mut self, now: Tick) {
        if now < self.expires {
            return;
        }
        let (lost, mut next) = (&mut self.lost, NEVER);
        let mut over = |question: &Question, sent: bool| {
            let over = question.until <= now;
            if over {
                let unknown = Question { unknown: question.unknown || sent, ..*question };
                lost.push_back((question.name, unknown.lost()));
            } else {
                next = next.min(question.until);
            }
            over
        };
        self.waiting.retain(|question| !over(question, false));
        self.paused.retain(|_, question| !over(question, false));
        self.failed.retain(|(question, _)| !over(question, false));
        for server in &mut self.servers {
            let backend = &mut server.backend;
            server.asked.retain(|_, question| {
                let over = over(question, true);
                if over {
                    backend.on_reply(&self.config.backend, now, Outcome::Timeout);
                }
                !over
            });
        }
        self.expires = next;
    }

    /// A board failed: is it asked again?
    fn again(&mut self, now: Tick, question: Question, outcome: Outcome, random: u64) {
        let failed = Failed {
            attempt: question.attempt,
            idempotent: self.config.repeat,
            deadline: Some(question.until),
            ..Failed::new(outcome)
        };
        match self.budget.may_retry(&self.config.retry, now, &failed, random) {
            Retry::After(pause) => {
                self.pauses += 1;
                self.paused.insert((now + pause, self.pauses), question);
            }
            Retry::GiveUp => self.lost.push_back((question.name, question.lost())),
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
                        Event::Pong { draining } => {
                            server.greeted = true;
                            server.backend.draining |= draining;
                        }
                        Event::Refused => server.backend.draining = true,
                        Event::Answer { ticket, reply } => {
                            let Some(question) = server.asked.remove(&ticket) else { continue };
                            let refused = reply == Reply::TooBusy;
                            let outcome = if refused { Outcome::Nack } else { Outcome::Ok };
                            server.backend.on_reply(&self.config.backend, now, outcome);
                            if refused {
                                let question = Question { avoid: Some(at), ..question };
                                self.failed.push((question, outcome));
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

    /// Boards that are neither with a server nor answered or lost.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len() + self.failed.len() + self.paused.len()
    }

    /// Boards that server `at` owes.
    #[must_use]
    pub fn pending(&self, at: usize) -> usize {
        self.servers[at].asked.len()
    }
}

impl Server {
    /// What is known of it; no weight before it has answered. What was given up is still pending.
    fn view(&self) -> Backend {
        let mut backend = self.backend;
        let in_flight = self.client.as_ref().map_or(0, Client::in_flight);
        backend.pending = u32::try_from(in_flight).unwrap_or(u32::MAX);
        backend.weight = u32::from(self.greeted);
        backend
    }
}

impl Question {
    const fn lost(&self) -> Lost {
        if self.unknown { Lost::Unknown } else { Lost::NotExecuted }
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

    fn balancer(servers: usize, window: usize) -> Balancer {
        Balancer::new(servers, BalancerConfig { window, ..BalancerConfig::DEFAULT })
    }

    fn hears(balancer: &mut Balancer, at: usize, now: Tick, text: &str) {
        balancer.receive(at, now, text.as_bytes(), |_, _| ()).unwrap();
    }

    fn board() -> Board {
        Board::parse(EASY).unwrap()
    }

    proptest! {
        /// Every board ends exactly once, whatever servers refuse, break, leave and return.
        #[test]
        fn every_board_ends_once(
            repeat: bool,
            steps in prop::collection::vec((0u8..9, 0usize..3, any::<u64>()), 1..200),
        ) {
            let config = BalancerConfig { window: 4, repeat, ..BalancerConfig::DEFAULT };
            let mut balancer = Balancer::new(3, config);
            let mut owed: Vec<Vec<String>> = vec![Vec::new(); 3];
            let mut ends = BTreeMap::new();
            let (mut asked, mut now) = (0, Tick::ZERO);
            for (what, at, random) in steps {
                now = now + Duration::from_millis(random % 1000);
                let mut line = |balancer: &mut Balancer, text: String| {
                    let ended = |name, _: &Reply| *ends.entry(name).or_insert(0) += 1;
                    balancer.receive(at, now, text.as_bytes(), ended).unwrap();
                };
                match what {
                    0 | 1 => {
                        balancer.disconnected(at, now);
                        owed[at].clear();
                        if what == 0 {
                            balancer.connected(at);
                        }
                    }
                    2 => line(&mut balancer, "pong draining\r\n".into()),
                    3 => line(&mut balancer, "pong\r\n".into()),
                    4 | 5 if !owed[at].is_empty() => {
                        let count = owed[at].len();
                        let id = owed[at].swap_remove(random as usize % count);
                        let reply = if what == 4 { "NoSolution" } else { "ServerTooBusy" };
                        line(&mut balancer, std::format!("{id}:{reply}\r\n"));
                    }
                    _ => {
                        balancer.ask(now, asked, board());
                        asked += 1;
                    }
                }
                balancer.send(now, || random.rotate_left(7));
                for (at, owed) in owed.iter_mut().enumerate() {
                    owed.extend(taken(&mut balancer, at));
                }
                while let Some((name, _)) = balancer.next_lost() {
                    *ends.entry(name).or_insert(0) += 1;
                }
            }
            balancer.send(now + config.patience, || 0);
            while let Some((name, _)) = balancer.next_lost() {
                *ends.entry(name).or_insert(0) += 1;
            }
            prop_assert_eq!((balancer.waiting(), balancer.deadline()), (0, None));
            prop_assert_eq!(ends.len() as u64, asked);
            prop_assert!(ends.values().all(|times| *times == 1));
        }
    }

    #[test]
    fn a_server_that_drains_gets_nothing_more_and_is_left_when_it_owes_nothing() {
        let (mut balancer, now) = (balancer(2, 16), Tick::ZERO);
        for at in 0..2 {
            balancer.connected(at);
            hears(&mut balancer, at, now, "pong\r\n");
        }
        (0..8).for_each(|name| balancer.ask(now, name, board()));
        balancer.send(now, || 1 << 63);
        let owed = [taken(&mut balancer, 0), taken(&mut balancer, 1)];
        assert!(owed.iter().all(|owed| owed.len() == 4), "{owed:?}");
        hears(&mut balancer, 0, now, "pong draining\r\n");
        (8..12).for_each(|name| balancer.ask(now, name, board()));
        balancer.send(now, || 1 << 63);
        assert_eq!((taken(&mut balancer, 0).len(), taken(&mut balancer, 1).len()), (0, 4));
        assert!(!balancer.may_leave(0));
        for id in &owed[0] {
            hears(&mut balancer, 0, now, &std::format!("{id}:NoSolution\r\n"));
        }
        assert!(balancer.may_leave(0) && !balancer.may_leave(1));
        // Whoever comes back gets nothing before it says that it stays.
        balancer.disconnected(0, now);
        balancer.connected(0);
        (12..16).for_each(|name| balancer.ask(now, name, board()));
        balancer.send(now, || 1 << 63);
        assert_eq!((taken(&mut balancer, 0).len(), taken(&mut balancer, 1).len()), (0, 4));
        hears(&mut balancer, 0, now, "pong\r\n");
        (16..20).for_each(|name| balancer.ask(now, name, board()));
        balancer.send(now, || 1 << 63);
        assert_eq!(taken(&mut balancer, 0).len(), 4);
    }

    #[test]
    fn a_refused_board_is_asked_elsewhere_after_a_pause_and_not_for_ever() {
        let (mut balancer, mut now) = (balancer(2, 8), Tick::ZERO);
        for at in 0..2 {
            balancer.connected(at);
            hears(&mut balancer, at, now, "pong\r\n");
        }
        balancer.ask(now, 7, board());
        let mut before = None;
        for _ in 0..RetryConfig::DEFAULT.attempts {
            balancer.send(now, || 0);
            let at = (0..2).find(|at| balancer.pending(*at) > 0).expect("it is asked");
            assert_ne!(before.replace(at), Some(at), "elsewhere");
            let id = taken(&mut balancer, at).remove(0);
            hears(&mut balancer, at, now, &std::format!("{id}:ServerTooBusy\r\n"));
            balancer.send(now, || 0);
            assert_eq!(balancer.pending(0) + balancer.pending(1), 0, "not at once");
            now = balancer.deadline().expect("a time");
        }
        assert_eq!(balancer.next_lost(), Some((7, Lost::NotExecuted)));
    }

    /// It may have been solved: only who may repeat it asks again.
    #[test]
    fn a_board_that_broke_is_repeated_only_where_that_is_allowed() {
        for repeat in [false, true] {
            let config = BalancerConfig { repeat, ..BalancerConfig::DEFAULT };
            let (mut balancer, now) = (Balancer::new(1, config), Tick::ZERO);
            balancer.connected(0);
            hears(&mut balancer, 0, now, "pong\r\n");
            balancer.ask(now, 7, board());
            balancer.send(now, || 0);
            balancer.disconnected(0, now);
            balancer.send(now, || 0);
            assert_eq!(balancer.next_lost(), (!repeat).then_some((7, Lost::Unknown)));
            assert_eq!(balancer.waiting(), usize::from(repeat));
        }
    }

    /// A crash with much in flight keeps nobody away from whoever comes back.
    #[test]
    fn a_lost_connection_is_one_failure() {
        let (mut balancer, now) = (balancer(2, 64), Tick::ZERO);
        for at in 0..2 {
            balancer.connected(at);
            hears(&mut balancer, at, now, "pong\r\n");
        }
        (0..64).for_each(|name| balancer.ask(now, name, board()));
        balancer.send(now, || 1 << 63);
        assert!(balancer.pending(0) > 20);
        balancer.disconnected(0, now);
        balancer.connected(0);
        hears(&mut balancer, 0, now, "pong\r\n");
        let backend = balancer.servers[0].backend;
        assert!(!backend.is_out(now));
        let penalty = backend.cost(&BackendConfig::DEFAULT, now) / 256;
        assert!(penalty <= 10, "as {penalty} boards");
    }
}
