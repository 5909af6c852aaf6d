//! A rolling restart: one server after the other goes away, in steps or all at once, and comes
//! back, while clients that balance over all of them ask boards.

use super::mover::{Asked, End, Move, Mover, Ways};
use super::offered::Service;
use super::work::{Reply, Request, Sudoku};
use crate::check::{Check as _, Delivered, was_hit};
use crate::decide::{Chance, Decider, Key, Site};
use crate::fault::{Fault, Faults};
use crate::io::Io;
use crate::net::{LinkId, NodeId};
use crate::node::{Ending, Node};
use crate::panics;
use crate::plan::{Nemesis, Strike};
use crate::trial::{Experiment, Report, Run, drive, report};
use crate::violation::Violation;
use crate::workload::{History, Op, Outcome};
use crate::world::{Factory, World};
use core::time::Duration;
use drywire::Tick;
use drywire::guard::{BackendConfig, DrainConfig, RetryConfig};
use drywire::sudoku::balancer::{BalancerConfig, Lost};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// How a server goes away, with a tenth of the usual times or less.
pub const DEPARTURE: DrainConfig = DrainConfig {
    announce: Duration::from_millis(60),
    grace: Duration::from_millis(60),
    spread: Duration::from_millis(60),
    hard: Duration::from_millis(250),
};

/// How clients balance.
pub const WAYS: Ways = Ways {
    config: BalancerConfig {
        window: 16,
        backend: BackendConfig {
            half_life: Duration::from_millis(20),
            out_for: Duration::from_millis(100),
            out_max: Duration::from_millis(200),
            ..BackendConfig::DEFAULT
        },
        retry: RetryConfig { backoff: Duration::from_millis(5), floor: 10, ..RetryConfig::DEFAULT },
        patience: Duration::from_millis(150),
        repeat: true,
    },
    boards: 0,
    pace: Duration::from_millis(8),
    beat: Duration::from_millis(10),
    silence: Duration::from_millis(40),
    again: Duration::from_millis(20),
    mistake: None,
};

/// When the first server goes away, how long it takes, and when the next one does.
const FIRST: Duration = Duration::from_millis(100);
const AWAY: Duration = Duration::from_millis(300);
const ROUND: Duration = Duration::from_millis(1000);
/// So long after a server is back it has its share again: it was called, whatever it is thought
/// to have done wrong is over, and the penalties for that are forgotten.
const RECOVERS: Duration = Duration::from_millis(350);

const SERVERS: Site = Site::new("rolling.servers");
const CLIENTS: Site = Site::new("rolling.clients");
const HOW: Site = Site::new("rolling.how");
const SERVICE: Site = Site::new("rolling.service");
const BRIEF: Site = Site::new("rolling.brief");
const SLOW: Site = Site::new("rolling.slow");
const REPEAT: Site = Site::new("rolling.repeat");
const ROUGH: Site = Site::new("rolling.rough");

/// What slows nothing down and ends nothing.
const MILD: [Fault; 3] = [Fault::Cut, Fault::Short, Fault::Narrow];
/// What does.
const ROUGHER: [Fault; 7] = [
    Fault::Delay,
    Fault::Stall,
    Fault::Hole,
    Fault::Thin,
    Fault::Far,
    Fault::Reset,
    Fault::Unreachable,
];

/// One run, drawn.
#[derive(Clone, Debug)]
struct Setting {
    servers: usize,
    clients: u32,
    service: Service,
    ways: Ways,
    /// Servers refuse and close before everybody has moved.
    brief: bool,
    rough: bool,
    plan: Vec<Strike>,
}

impl Setting {
    /// Draws one; all-zero decisions leave every server where it is.
    fn draw(decider: &mut Decider) -> Self {
        let key = Key::default();
        let servers = 2 + decider.below(SERVERS, key, 2) as usize;
        let strikes = (0..servers as u32).filter_map(|server| {
            let lasts = AWAY;
            let nemesis = match decider.below(HOW, key.nth(server), 6) {
                0 => return None,
                4 => Nemesis::Crash { lasts },
                5 => Nemesis::PowerLoss { lasts },
                _ => Nemesis::Drain { lasts },
            };
            let at = Tick::ZERO + FIRST + ROUND * server;
            Some(Strike { at, callers: Vec::new(), server: Some(server), nemesis })
        });
        let plan = strikes.collect();
        let clients = 1 + decider.below(CLIENTS, key, 4) as u32;
        // With four milliseconds one server is not enough for all clients.
        let service = [300, 1000, 4000][decider.below(SERVICE, key, 3) as usize];
        let mut ways = WAYS;
        ways.boards = ((FIRST + ROUND * servers as u32).as_millis() / 8) as u32;
        ways.config.repeat = decider.below(REPEAT, key, 2) == 1;
        if decider.below(SLOW, key, 3) == 2 {
            // Boards run out of time before anybody notices that a server is gone.
            ways.silence = AWAY + Duration::from_millis(100);
        }
        Self {
            servers,
            clients,
            service: Service {
                workers: 1,
                service: Duration::from_micros(service),
                deadline: Duration::from_millis(40),
                pause: Duration::ZERO,
            },
            ways,
            brief: decider.below(BRIEF, key, 3) == 2,
            rough: decider.below(ROUGH, key, 2) == 1,
            plan,
        }
    }

    fn departure(&self) -> DrainConfig {
        let brief = Duration::from_millis(2);
        if self.brief {
            DrainConfig { announce: brief, spread: brief, ..DEPARTURE }
        } else {
            DEPARTURE
        }
    }

    /// Whether this server does not leave in steps.
    fn dies(&self, server: NodeId) -> bool {
        self.plan.iter().any(|strike| {
            let drains = matches!(strike.nemesis, Nemesis::Drain { .. });
            strike.is_at(usize::from(server.0)) && !drains
        })
    }

    fn faults(&self) -> Faults {
        // They are rolled for each write, and a client makes a thousand.
        let mild = Faults::all().only(&MILD).coarse(64);
        let rare = |faults: Faults, fault: &Fault| faults.with(*fault, Chance::one_in(800));
        if self.rough {
            ROUGHER.iter().fold(mild, rare).with(Fault::Delay, Chance::one_in(30))
        } else {
            mild
        }
    }
}

/// Makes a server of a run, for each of its lives.
pub(crate) type Serving = fn(&Service, u32, DrainConfig) -> Box<dyn Node>;

/// The trial: a rolling restart of servers under clients that balance over them.
#[derive(Debug)]
pub struct Rolling {
    name: String,
    serve: Serving,
    /// What clients get wrong.
    twist: fn(&mut Ways),
}

/// Servers that are restarted one after the other, and clients that move.
#[must_use]
pub fn rolling() -> Rolling {
    let right: Serving = |service, life, departure| {
        let engine = service.shape().engine(service.config());
        let host = service.serve(engine).phases(super::phase);
        Box::new(host.life(life).departing(departure))
    };
    rolling_of("rolling", right, |_| ())
}

pub(crate) fn rolling_of(name: &str, serve: Serving, twist: fn(&mut Ways)) -> Rolling {
    Rolling { name: name.to_owned(), serve, twist }
}

impl Experiment for Rolling {
    fn name(&self) -> &str {
        &self.name
    }

    fn run(&self, mut decider: Decider, watch: bool) -> Report {
        let setting = Setting::draw(&mut decider);
        let faults = setting.faults().swarm(&mut decider);
        let history: Rc<RefCell<History<Sudoku>>> = Rc::default();
        let mut world = World::new(decider, faults);
        if watch {
            world.record();
        }
        world.keep_transcripts();
        let servers: Vec<NodeId> = (0..setting.servers)
            .map(|at| {
                let (serve, service, departure) =
                    (self.serve, setting.service, setting.departure());
                let make: Factory = Box::new(move |life| serve(&service, life, departure));
                world.add_restartable(&format!("server {at}"), make)
            })
            .collect();
        let mut ways = setting.ways;
        (self.twist)(&mut ways);
        let clients: Vec<_> = (0..setting.clients)
            .map(|who| {
                let mover = Mover::new(who, setting.servers, ways, Rc::clone(&history));
                let mover = Rc::new(RefCell::new(mover));
                let node = MoverNode {
                    mover: Rc::clone(&mover),
                    servers: servers.clone(),
                    links: vec![None; setting.servers],
                    begun: vec![0; setting.servers],
                    due: None,
                };
                world.add(&format!("client {who}"), Box::new(node));
                mover
            })
            .collect();
        world.plan(&setting.plan, servers, None, Vec::new());
        let driven = panics::catch(|| {
            let all = |what: fn(&Mover) -> bool| clients.iter().all(|c| what(&c.borrow()));
            let times = (Duration::from_secs(1), Duration::from_secs(30));
            drive(&mut world, times, || all(Mover::asked_all), || all(Mover::done));
            if world.violation().is_some() {
                return None;
            }
            let (history, work) = (history.borrow(), &|| Sudoku::new(0));
            let run = Run { history: &history, heard: &[], world: &world, work };
            let boards = clients.iter().flat_map(|client| {
                let client = client.borrow();
                let of = |(number, asked)| ((client.who(), number), asked);
                client.boards().map(of).collect::<Vec<_>>()
            });
            Judge::new(&setting, &run, boards.collect()).judge().err()
        });
        let (mut asked, mut answered) = (0, 0);
        for client in clients.iter().filter_map(|client| client.try_borrow().ok()) {
            for (_, board) in client.boards() {
                asked += 1;
                answered += u64::from(matches!(board.end, Some((_, End::Answered))));
            }
        }
        report(world, driven, (asked, answered, 0))
    }
}

/// A [`Mover`] as a node.
struct MoverNode {
    mover: Rc<RefCell<Mover>>,
    servers: Vec<NodeId>,
    links: Vec<Option<LinkId>>,
    /// The board under which choices about each link are made.
    begun: Vec<u32>,
    due: Option<Tick>,
}

impl MoverNode {
    fn at(&self, link: LinkId) -> Option<usize> {
        self.links.iter().position(|up| *up == Some(link))
    }

    fn go(&mut self, io: &mut Io<'_>) {
        let mover = Rc::clone(&self.mover);
        let mut mover = mover.borrow_mut();
        let now = io.now();
        for (at, link) in self.links.iter().enumerate() {
            if let Some(link) = *link
                && !io.input(link).is_empty()
            {
                let bytes = io.take_all(link);
                mover.received(at, now, &bytes);
            }
        }
        loop {
            if let Some(violation) = mover.take_violation() {
                io.fail(violation);
                return;
            }
            match mover.poll(now, io.decider()) {
                Move::Connect(at) => {
                    let (who, op) = (mover.who() << 8 | at as u32, mover.number());
                    // Tells calls for the same board apart: they are further than that from each other.
                    let nth = (now.0 / 1_000_000) as u32;
                    self.links[at] = Some(io.connect(self.servers[at], Key { who, op, nth }));
                }
                Move::HangUp(at) => {
                    if let Some(link) = self.links[at].take() {
                        io.close(link);
                    }
                }
                Move::Wait(until) => {
                    self.due = until;
                    break;
                }
                Move::Done => {
                    self.due = None;
                    break;
                }
            }
        }
        for (at, link) in self.links.iter().enumerate() {
            let bytes: Vec<u8> = mover.outgoing(at).slices().flatten().copied().collect();
            let Some(link) = link.filter(|_| !bytes.is_empty()) else { continue };
            let number = mover.number();
            if core::mem::replace(&mut self.begun[at], number) != number {
                io.begin(link, number);
            }
            let sent = io.write(link, &bytes);
            mover.outgoing(at).sent(sent);
        }
    }
}

impl Node for MoverNode {
    fn start(&mut self, io: &mut Io<'_>) {
        self.go(io);
    }

    fn opened(&mut self, io: &mut Io<'_>, link: LinkId) {
        if let Some(at) = self.at(link) {
            self.mover.borrow_mut().connected(at, link);
            self.go(io);
        }
    }

    fn readable(&mut self, io: &mut Io<'_>, _: LinkId) {
        self.go(io);
    }

    fn writable(&mut self, io: &mut Io<'_>, _: LinkId) {
        self.go(io);
    }

    fn ended(&mut self, io: &mut Io<'_>, link: LinkId, how: Ending) {
        if let Some(at) = self.at(link) {
            let excused = io.excused(link);
            self.mover.borrow_mut().ended(at, io.now(), how, excused);
            self.links[at] = None;
            if how == Ending::Fin {
                io.close(link);
            }
            self.go(io);
        }
    }

    fn deadline(&self) -> Option<Tick> {
        self.due
    }

    fn woke(&mut self, io: &mut Io<'_>) {
        self.due = None;
        self.go(io);
    }

    fn owes(&self, _: &Io<'_>) -> Option<String> {
        self.mover.borrow().owes()
    }
}

type Board = (u32, u32);
type Attempt<'a> = &'a Op<Request, Reply>;

/// What must hold of a finished run.
struct Judge<'a> {
    setting: &'a Setting,
    run: &'a Run<'a, Sudoku>,
    boards: BTreeMap<Board, Asked>,
    /// Each time that a board was asked, in order.
    attempts: BTreeMap<Board, Vec<Attempt<'a>>>,
}

fn wrong(checker: &'static str, text: String) -> Result<(), Violation> {
    Err(Violation::new(checker, text))
}

/// Surely not executed, as the client was told.
fn refused(attempt: Attempt<'_>) -> bool {
    matches!(attempt.outcome, Outcome::Refused | Outcome::Answered(Reply::TooBusy))
}

fn answered(attempt: Attempt<'_>) -> bool {
    matches!(attempt.outcome, Outcome::Answered(_)) && !refused(attempt)
}

impl<'a> Judge<'a> {
    fn new(setting: &'a Setting, run: &'a Run<'a, Sudoku>, boards: BTreeMap<Board, Asked>) -> Self {
        let mut attempts: BTreeMap<Board, Vec<Attempt<'a>>> = BTreeMap::new();
        for op in run.history.iter().filter(|op| op.request != Request::Ping) {
            attempts.entry((op.caller, op.number)).or_default().push(op);
        }
        Self { setting, run, boards, attempts }
    }

    fn judge(&self) -> Result<(), Violation> {
        Delivered.check(self.run)?;
        let executed = self.executed();
        for (board, asked) in &self.boards {
            let attempts = self.attempts(*board);
            let Some((at, end)) = asked.end else {
                return wrong("ledger", format!("board {board:?} has no end"));
            };
            if at > asked.at + WAYS.config.patience {
                let took = at.since(asked.at);
                return wrong("deadline", format!("board {board:?} ended after {took:?}: {end:?}"));
            }
            self.told(*board, (at, end), attempts, &executed)?;
            self.retried(*board, attempts)?;
        }
        self.within_the_budget()?;
        // Whoever is slowed down, cut off or overloaded may lose boards, visibly, and his share.
        if was_hit(self.run, &ROUGHER) || self.setting.service.service > Duration::from_millis(1) {
            return Ok(());
        }
        self.shares()?;
        if self.setting.brief { Ok(()) } else { self.nothing_lost() }
    }

    fn attempts(&self, board: Board) -> &[Attempt<'a>] {
        self.attempts.get(&board).map_or(&[], Vec::as_slice)
    }

    /// The boards that a server solved, whether its client heard of it or not: by link and id.
    fn executed(&self) -> BTreeSet<(LinkId, String)> {
        let mut executed = BTreeSet::new();
        for (link, transcript) in (0..).zip(self.run.transcripts()) {
            let said = String::from_utf8_lossy(&transcript.produced);
            let results = said.lines().filter_map(|line| line.split_once(':'));
            let results = results.filter(|(_, word)| *word != "ServerTooBusy");
            executed.extend(results.map(|(id, _)| (LinkId(link), id.to_owned())));
        }
        executed
    }

    /// A board has one end, and it is the truth: an answer came, or nobody executed it, or that
    /// cannot be known. Where that cannot be known, it is not asked again unless that is allowed.
    fn told(
        &self,
        board: Board,
        (at, end): (Tick, End),
        attempts: &[Attempt<'_>],
        executed: &BTreeSet<(LinkId, String)>,
    ) -> Result<(), Violation> {
        let solved = |op: &&Attempt<'_>| {
            op.request.id().is_some_and(|id| executed.contains(&(op.link, id.to_owned())))
        };
        let fits = match end {
            End::Answered => attempts.iter().any(|op| answered(op)),
            End::Lost(Lost::NotExecuted) => {
                attempts.iter().all(|op| refused(op)) && !attempts.iter().any(|op| solved(&op))
            }
            // What comes after its time is over, nobody waited for.
            End::Lost(Lost::Unknown) => {
                attempts.iter().any(|op| !refused(op) || op.returned.is_some_and(|then| then >= at))
            }
        };
        let outcomes = || attempts.iter().map(|op| &op.outcome).collect::<Vec<_>>();
        if !fits {
            return wrong("told", format!("board {board:?} ended as {end:?}: {:?}", outcomes()));
        }
        let perhaps = attempts.iter().filter(|op| !refused(op)).count();
        if perhaps > 1 && !self.setting.ways.config.repeat {
            return wrong(
                "twice",
                format!("board {board:?} may have been executed {perhaps} times: {:?}", outcomes()),
            );
        }
        Ok(())
    }

    /// Asked again only after a pause, longer each time, and not for ever.
    fn retried(&self, board: Board, attempts: &[Attempt<'_>]) -> Result<(), Violation> {
        let retry = &self.setting.ways.config.retry;
        if attempts.len() > usize::from(retry.attempts) {
            return wrong("retry", format!("board {board:?} was asked {} times", attempts.len()));
        }
        let mut least = retry.backoff / 2;
        for pair in attempts.windows(2) {
            let failed = pair[0].returned.unwrap_or(Tick(u64::MAX));
            if pair[1].invoked < failed + least {
                let after = pair[1].invoked.since(failed);
                let text = format!("board {board:?} was asked again after {after:?}");
                return wrong("retry", text);
            }
            least *= 2;
        }
        Ok(())
    }

    /// Each client's retries are a share of its boards and a few a second.
    fn within_the_budget(&self) -> Result<(), Violation> {
        let retry = &self.setting.ways.config.retry;
        let last = self.attempts.values().flatten().map(|op| op.invoked).max();
        let time = last.unwrap_or_default().since(Tick::ZERO).as_millis() as u64;
        for who in 0..self.setting.clients {
            let mine = self.attempts.range((who, 0)..(who + 1, 0)).map(|(_, all)| all.len() as u64);
            let (boards, all) = mine.fold((0, 0), |(boards, all), n| (boards + 1, all + n));
            let allowed = u64::from(retry.burst)
                + boards * u64::from(retry.percent) / 100
                + time * u64::from(retry.floor) / 1000;
            if all - boards > allowed {
                let text = format!("client {who} asked again {} times: {allowed}", all - boards);
                return wrong("retry", text);
            }
        }
        Ok(())
    }

    /// Every board is answered that was not with a server that died.
    fn nothing_lost(&self) -> Result<(), Violation> {
        let died = |op: &Attempt<'_>| {
            matches!(op.outcome, Outcome::Failed(_))
                && self.setting.dies(self.run.world.acceptor(op.link))
        };
        let lost = self.boards.iter().find(|(board, asked)| {
            let answered = matches!(asked.end, Some((_, End::Answered)));
            !answered && !self.attempts(**board).iter().any(died)
        });
        lost.map_or(Ok(()), |(board, asked)| wrong("lost", format!("board {board:?}: {asked:?}")))
    }

    /// Who came back gets its share of the boards again: a quarter of an even one at least.
    fn shares(&self) -> Result<(), Violation> {
        for strike in &self.setting.plan {
            let from = strike.at + AWAY + RECOVERS;
            let until = strike.at + ROUND;
            let server = strike.server.unwrap_or_default() as usize;
            let then = self.attempts.values().flatten();
            let then = then.filter(|op| (from..until).contains(&op.invoked));
            let (mut all, mut its) = (0, 0);
            for op in then {
                all += 1;
                its += usize::from(self.run.world.acceptor(op.link) == NodeId(server as u16));
            }
            if all >= 40 && its * 4 * self.setting.servers < all {
                let text = format!("server {server} is back, and gets {its} of {all} boards");
                return wrong("share", text);
            }
        }
        Ok(())
    }
}
