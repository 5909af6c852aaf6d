//! A client that keeps an exact ledger, behaves badly when told to, and works on any transport.

mod misdeeds;

use crate::decide::{Decider, Key, Site};
use crate::fault::Faults;
use crate::net::LinkId;
use crate::node::Ending;
use crate::plan::{Nemesis, Strike};
use crate::violation::Violation;
use crate::workload::{Draw, History, Op, Outcome, Said, Word, Workload};
use core::fmt;
use core::time::Duration;
use drywire::Tick;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// How much a caller asks, and how patient it is. Everything else about it is a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habits {
    /// Operations drawn (some are left out).
    pub ops: u32,
    /// Requests in flight at most; each caller draws its own depth up to this.
    pub depth: u32,
    /// An operation without an answer for so long is given up, with its connection.
    pub patience: Duration,
    /// Connections made at most.
    pub connections: u32,
    /// How long it stays connected after its last answer.
    pub stay: Duration,
    /// The longest pause between two operations; drawn pauses go up to a second.
    pub think: Duration,
    /// Operations begin on schedule ([`Workload::pause`]), however many wait for an answer.
    pub open_loop: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            ops: 30,
            depth: 32,
            patience: Duration::from_secs(120),
            connections: 40,
            stay: Duration::ZERO,
            think: Duration::MAX,
            open_loop: false,
        }
    }
}

/// A client as a pure machine: [`Caller::poll`] says what to do next.
pub struct Caller<W: Workload> {
    who: u32,
    work: W,
    habits: Habits,
    faults: Faults,
    history: Rc<RefCell<History<W>>>,
    depth: usize,
    state: State,
    /// Bytes to send, those before `out_head` sent.
    out: Vec<u8>,
    out_head: usize,
    /// Bytes ever put into `out` on this connection.
    out_total: u64,
    input: Vec<u8>,
    /// Indices into the history, oldest first.
    owed: VecDeque<usize>,
    /// Requests that ask for no reply, on this connection.
    silent: Vec<usize>,
    next: u32,
    /// Not before this.
    wait: Tick,
    link: LinkId,
    /// Nothing more is sent on this connection.
    closing: bool,
    /// What was sent may make the server end the connection.
    may_end: bool,
    connections: u32,
    deaf_until: Tick,
    drip: Option<(usize, u64)>,
    drip_at: Tick,
    drip_until: Tick,
    /// It does nothing until then, though its machine lives.
    hung_until: Tick,
    hung: bool,
    /// What it does at which time, soonest first.
    plan: VecDeque<(Tick, Nemesis)>,
    /// Do this as soon as everything is sent.
    cut_off: Option<Do>,
    calm: bool,
    /// A bit was flipped somewhere on this connection.
    tainted: bool,
    wrong: Option<Violation>,
    last_word: Tick,
    heard: Vec<Word<W::Reply>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down,
    Opening,
    Up,
    /// Our direction is ended; answers still come.
    Half,
    Done,
}

/// What a caller wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    /// Open a connection; say `connected` or `ended`.
    Connect,
    /// The next operation begins: tag the link, roll the dice, then poll again.
    Begin(u32),
    /// End our direction, once `outgoing` is sent.
    Finish,
    /// Reset the connection.
    Abort,
    /// Fall silent.
    Vanish,
    /// Close.
    Close,
    /// Send `outgoing`, read, and poll again at that time or when something happens.
    Wait(Option<Tick>),
    /// There is nothing more to do.
    Done,
}

const DEPTH: Site = Site::new("caller.depth");
const THINK: Site = Site::new("caller.think");

impl<W: Workload> Caller<W> {
    /// Caller number `who`; what it does is entered in `history`.
    pub fn new(
        who: u32,
        work: W,
        habits: Habits,
        faults: Faults,
        decider: &mut Decider,
        history: Rc<RefCell<History<W>>>,
    ) -> Self {
        let most = u64::from(habits.depth.max(1) - 1);
        let depth = match habits.open_loop {
            true => usize::MAX,
            false => 1 + decider.size(DEPTH, Key::of(who, 0), most) as usize,
        };
        Self {
            who,
            work,
            habits,
            faults,
            history,
            depth,
            state: State::Down,
            out: Vec::new(),
            out_head: 0,
            out_total: 0,
            input: Vec::new(),
            owed: VecDeque::new(),
            silent: Vec::new(),
            next: 0,
            wait: Tick::ZERO,
            link: LinkId(u32::MAX),
            closing: false,
            may_end: false,
            connections: 0,
            deaf_until: Tick::ZERO,
            drip: None,
            drip_at: Tick::ZERO,
            drip_until: Tick(u64::MAX),
            hung_until: Tick::ZERO,
            hung: false,
            plan: VecDeque::new(),
            cut_off: None,
            calm: false,
            tainted: false,
            wrong: None,
            last_word: Tick::ZERO,
            heard: Vec::new(),
        }
    }

    /// What of `strikes` it is to do, and when; at its first moment on a connection after that.
    #[must_use]
    pub fn plan(mut self, strikes: &[Strike]) -> Self {
        let mine = strikes.iter().filter(|s| s.nemesis.is_of_callers() && s.hits(self.who));
        self.plan = mine.map(|s| (s.at, s.nemesis)).collect();
        self.plan.make_contiguous().sort_by_key(|(at, _)| *at);
        self
    }

    /// Its number.
    #[must_use]
    pub fn who(&self) -> u32 {
        self.who
    }

    /// Under which key the next connection is opened.
    #[must_use]
    pub fn connect_key(&self) -> Key {
        Key { who: self.who, op: self.next + 1, nth: self.connections }
    }

    /// Whether everything was asked and everything has ended.
    #[must_use]
    pub fn done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether it has begun its last operation.
    #[must_use]
    pub fn asked_all(&self) -> bool {
        self.next >= self.habits.ops
    }

    /// Faults are over: it reads on, and misbehaves no more.
    pub fn calm(&mut self) {
        self.calm = true;
        self.deaf_until = Tick::ZERO;
        self.hung_until = Tick::ZERO;
        self.drip = None;
        self.plan.clear();
        self.faults = Faults::NONE;
    }

    /// A bit was flipped on this connection: an answer may never be recognised.
    pub fn taint(&mut self) {
        self.tainted = true;
    }

    /// How long an answer may take. Once faults are over, what is owed must arrive, unless it
    /// was garbled.
    fn patience(&self) -> Duration {
        match (self.calm, self.tainted) {
            (false, _) => self.habits.patience,
            (true, true) => self.habits.patience.min(Duration::from_secs(10)),
            (true, false) => Duration::MAX,
        }
    }

    /// A breach that it noticed.
    pub fn take_violation(&mut self) -> Option<Violation> {
        self.wrong.take()
    }

    /// What it still waits for, in words.
    #[must_use]
    pub fn owes(&self) -> Option<String> {
        if self.state == State::Done {
            return None;
        }
        let history = self.history.borrow();
        if let Some(at) = self.owed.front() {
            let op = &history[*at];
            return Some(format!(
                "operation {} was never answered and its connection stays up: `{:?}`",
                op.number, op.request
            ));
        }
        Some(format!(
            "not done: `{:?}`, {} of {} operations",
            self.state, self.next, self.habits.ops
        ))
    }

    /// The next thing to do. Call again after doing it.
    pub fn poll(&mut self, now: Tick, decider: &mut Decider) -> Do {
        match self.state {
            State::Done => Do::Done,
            State::Opening => Do::Wait(None),
            State::Down => {
                if self.next >= self.habits.ops || self.connections >= self.habits.connections {
                    self.state = State::Done;
                    return Do::Done;
                }
                if now < self.wait {
                    return Do::Wait(Some(self.wait));
                }
                self.state = State::Opening;
                self.connections += 1;
                Do::Connect
            }
            State::Up | State::Half => self.poll_up(now, decider),
        }
    }

    fn poll_up(&mut self, now: Tick, decider: &mut Decider) -> Do {
        while let Some((_, what)) = self.plan.pop_front_if(|(at, _)| *at <= now) {
            self.misdo(now, what);
        }
        self.hung = now < self.hung_until;
        if self.hung {
            return Do::Wait(Some(self.hung_until));
        }
        if let Some(what) = self.cut_off
            && self.out_head == self.out.len()
        {
            self.cut_off = None;
            self.lose(now, Outcome::Abandoned);
            return what;
        }
        if self.state == State::Up && !self.closing && self.owed.len() < self.depth {
            while self.next < self.habits.ops && now >= self.wait {
                self.next += 1;
                if self.begin(now, decider) {
                    return Do::Begin(self.next);
                }
            }
            self.closing = self.next >= self.habits.ops
                && self.owed.is_empty()
                && self.out_head == self.out.len()
                && now >= self.last_word + self.habits.stay;
        }
        if self.state == State::Up && self.closing && self.out_head == self.out.len() {
            self.state = State::Half;
            return Do::Finish;
        }
        let oldest = self.owed.front().map(|at| self.history.borrow()[*at].invoked);
        if let Some(oldest) = oldest
            && now >= oldest + self.patience()
        {
            self.lose(now, Outcome::Failed(Ending::TimedOut));
            return Do::Abort;
        }
        let mut until = oldest.map(|t| t + self.patience());
        let mut sooner = |t: Tick| until = Some(until.map_or(t, |u| u.min(t)));
        if self.state == State::Up && !self.closing && self.owed.len() < self.depth {
            if self.next < self.habits.ops {
                sooner(self.wait);
            } else if self.owed.is_empty() && self.out_head == self.out.len() {
                sooner(self.last_word + self.habits.stay);
            }
        }
        if let Some((at, _)) = self.plan.front() {
            sooner(*at);
        }
        if self.deaf_until > now {
            sooner(self.deaf_until);
        }
        if self.drip.is_some() && self.drip_at > now {
            sooner(self.drip_at);
        }
        Do::Wait(until)
    }

    /// Draws the next operation and appends its bytes. False if it is left out.
    fn begin(&mut self, now: Tick, decider: &mut Decider) -> bool {
        let key = Key::of(self.who, self.next);
        let mut draw = Draw { decider, key, of: self.habits.ops };
        let Some(request) = self.work.draw(&mut draw) else { return false };
        self.wait = self.next_at(now, decider);
        let from = self.out.len();
        self.work.encode(&request, &mut self.out);
        let len = self.out.len() - from;
        let bytes = self.out_total..self.out_total + len as u64;
        self.out_total = bytes.end;
        let silent = self.work.silent(&request);
        if self.work.last(&request) {
            (self.closing, self.may_end) = (true, true);
        }
        let mut history = self.history.borrow_mut();
        if silent {
            self.silent.push(history.len());
        } else {
            self.owed.push_back(history.len());
        }
        history.push(Op {
            caller: self.who,
            number: self.next,
            link: self.link,
            request,
            silent,
            bytes,
            invoked: now,
            returned: None,
            outcome: Outcome::Pending,
        });
        true
    }

    /// When the next operation may begin, once this one has.
    fn next_at(&mut self, now: Tick, decider: &mut Decider) -> Tick {
        let key = Key::of(self.who, self.next);
        if self.habits.open_loop {
            // From when this one was due: who comes late catches up.
            let of = self.habits.ops;
            return self.wait + self.work.pause(&mut Draw { decider, key, of });
        }
        let think = decider.size(THINK, key, 24);
        if think > 8 && !self.calm {
            now + Duration::from_micros(1 << (think - 4)).min(self.habits.think)
        } else {
            now
        }
    }

    /// The connection is up, over `link`.
    pub fn connected(&mut self, now: Tick, link: LinkId) {
        self.state = State::Up;
        self.link = link;
        self.wait = self.wait.max(now);
        self.last_word = now;
        self.out.clear();
        (self.out_head, self.out_total) = (0, 0);
        self.input.clear();
        (self.closing, self.may_end, self.tainted) = (false, false, false);
        self.cut_off = None;
        self.work.connected();
        self.react();
    }

    /// What its work says by itself.
    fn react(&mut self) {
        let before = self.out.len();
        self.work.react(&mut self.out);
        self.out_total += (self.out.len() - before) as u64;
    }

    /// All that was heard so far, if its work listens.
    pub fn take_heard(&mut self) -> Vec<Word<W::Reply>> {
        core::mem::take(&mut self.heard)
    }

    /// Bytes to send.
    #[must_use]
    pub fn outgoing(&self) -> &[u8] {
        if self.hung { &[] } else { &self.out[self.out_head..] }
    }

    /// The first `n` bytes of `outgoing` were sent.
    pub fn sent(&mut self, n: usize) {
        self.out_head += n;
        if self.out_head == self.out.len() {
            self.out.clear();
            self.out_head = 0;
        }
    }

    /// Bytes from the server.
    pub fn received(&mut self, now: Tick, bytes: &[u8], tainted: bool) {
        self.input.extend_from_slice(bytes);
        let mut used = 0;
        loop {
            let heard = {
                let history = self.history.borrow();
                let mut owed = self.owed.iter().map(|at| &history[*at].request);
                self.work.hear(&mut owed, &self.input[used..])
            };
            match heard {
                Ok(None) => break,
                Ok(Some(heard)) => {
                    used += heard.used;
                    self.heard(now, heard.what, tainted);
                    if self.state == State::Up && self.cut_off.is_none() {
                        self.react();
                    }
                }
                Err(_) if tainted => {
                    // A flipped bit made nonsense of it: a sane client hangs up.
                    self.input.clear();
                    self.out.clear();
                    self.out_head = 0;
                    (self.closing, self.may_end) = (true, true);
                    self.cut_off = Some(Do::Abort);
                    return;
                }
                Err(text) => {
                    self.fail("reply", text);
                    break;
                }
            }
        }
        self.input.drain(..used);
    }

    fn heard(&mut self, now: Tick, what: Said<W::Reply>, tainted: bool) {
        if self.work.listens() {
            self.last_word = now;
            let (Said::Answer(_, word)
            | Said::Event(word)
            | Said::Lost(word)
            | Said::Refusal(word)) = &what;
            let (caller, link, what) = (self.who, self.link, word.clone());
            self.heard.push(Word { caller, link, at: now, what });
        }
        match what {
            Said::Answer(nth, reply) => {
                self.last_word = now;
                let Some(at) = self.owed.remove(nth) else {
                    if !tainted {
                        self.fail("ledger", format!("an answer without a request: `{reply:?}`"));
                    }
                    return;
                };
                let op = &mut self.history.borrow_mut()[at];
                op.returned = Some(now);
                op.outcome = Outcome::Answered(reply);
            }
            Said::Event(_) => {}
            Said::Lost(loss) => {
                let mut history = self.history.borrow_mut();
                self.owed.retain(|at| {
                    let op = &mut history[*at];
                    let lost = self.work.lost_with(&op.request, &loss);
                    if lost {
                        (op.returned, op.outcome) = (Some(now), Outcome::Refused);
                    }
                    !lost
                });
            }
            Said::Refusal(_) => {
                self.may_end = true;
                self.closing = true;
                self.settle(now, &Outcome::Refused);
            }
        }
    }

    /// The connection ended, or could not be made. True if the caller should close its side.
    pub fn ended(&mut self, now: Tick, how: Ending, excused: bool) -> bool {
        if how == Ending::Fin {
            if !self.input.is_empty() && !excused && self.wrong.is_none() && !self.may_end {
                self.fail(
                    "reply",
                    format!("the connection ended inside a reply: `{}`", show(&self.input)),
                );
            }
            if let Some(at) = self.owed.front()
                && !self.may_end
                && !excused
            {
                let text = {
                    let op = &self.history.borrow()[*at];
                    format!(
                        "the server ended the connection in peace and owes operation {}: `{:?}`",
                        op.number, op.request
                    )
                };
                self.fail("ledger", text);
            }
        }
        self.lose(now, Outcome::Failed(how));
        how == Ending::Fin
    }

    /// Everything unanswered on this connection ends in `outcome`; the next connection comes
    /// after a while.
    fn lose(&mut self, now: Tick, outcome: Outcome<W::Reply>) {
        self.settle(now, &outcome);
        self.out.clear();
        self.out_head = 0;
        self.input.clear();
        self.state = State::Down;
        self.deaf_until = Tick::ZERO;
        (self.hung_until, self.hung) = (Tick::ZERO, false);
        self.wait = now + Duration::from_millis(10 << self.connections.min(8));
    }

    fn settle(&mut self, now: Tick, outcome: &Outcome<W::Reply>) {
        let mut history = self.history.borrow_mut();
        for at in self.owed.drain(..) {
            history[at].returned = Some(now);
            history[at].outcome = outcome.clone();
        }
        for at in self.silent.drain(..) {
            history[at].returned = Some(now);
            history[at].outcome = Outcome::Silent;
        }
    }

    fn fail(&mut self, checker: &'static str, text: String) {
        if self.wrong.is_none() {
            self.wrong = Some(Violation::new(checker, format!("caller {}: {text}", self.who)));
        }
    }
}

impl<W: Workload> fmt::Debug for Caller<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("who", &self.who)
            .field("state", &self.state)
            .field("next", &self.next)
            .field("owed", &self.owed.len())
            .finish_non_exhaustive()
    }
}

fn show(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(60)].escape_ascii().to_string()
}
