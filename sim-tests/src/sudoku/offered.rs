//! Open-loop load: boards come on schedule, whatever became of those before, at half to ten times
//! what the workers can do. What is solved in time is held against the most that could have been.

use super::Shape;
use super::work::{Reply, Request, Sudoku};
use crate::caller::Habits;
use crate::check::{Check, answers, by_link, was_hit};
use crate::decide::{Chance, Decider, Key, Site};
use crate::fault::{Fault, Faults};
use crate::serve::Serve;
use crate::trial::{Run, Trial};
use crate::violation::Violation;
use crate::workload::{Draw, Heard, Outcome, Workload};
use crate::world::Factory;
use core::time::Duration;
use drywire::conn::Limits;
use drywire::engine::Machine;
use drywire::sudoku::{self, Config};
use std::collections::BinaryHeap;

/// Offered boards, in percent of what the workers can do.
const LOADS: [u64; 12] = [50, 80, 95, 100, 120, 150, 200, 300, 400, 600, 800, 1000];
const CALLERS: u32 = 8;
/// How long boards are offered, counted in boards that the workers can do meanwhile.
const BOARDS: u64 = 300;
/// Boards that a caller sends at once, in a run with bursts.
const BURSTS: [u64; 3] = [1, 1, 4];

const LOAD: Site = Site::new("offered.load");
const BURST: Site = Site::new("offered.burst");
const EACH: Site = Site::new("offered.each");
const KIND: Site = Site::new("op.kind");
const GAP: Site = Site::new("offered.gap");
const WORKERS: Site = Site::new("offered.workers");
const DEADLINE: Site = Site::new("offered.deadline");
const PAUSE: Site = Site::new("offered.pause");

/// The workers take one board in so long, together.
fn each(decider: &mut Decider) -> Duration {
    Duration::from_micros([300, 200][decider.below(EACH, Key::default(), 2) as usize])
}

/// A server with workers of known speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// Jobs at a time.
    pub workers: u32,
    /// What each takes.
    pub service: Duration,
    /// After how long clients give up.
    pub deadline: Duration,
    /// For how long whoever was refused is not read.
    pub pause: Duration,
}

impl Service {
    /// Draws one.
    pub fn draw(decider: &mut Decider) -> Self {
        let key = Key::default();
        let workers = [1, 2, 4][decider.below(WORKERS, key, 3) as usize];
        let deadline = [40, 30, 20][decider.below(DEADLINE, key, 3) as usize];
        let pause = [0, 0, 1, 2][decider.below(PAUSE, key, 4) as usize];
        Self {
            workers,
            service: each(decider) * workers,
            deadline: Duration::from_millis(deadline),
            pause: Duration::from_millis(pause),
        }
    }

    /// The server's limits.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape {
            limits: Limits { refusal_pause: self.pause, ..sudoku::limits() },
            connections: 64,
            deadline: self.deadline,
            workers: self.workers,
            quick: self.service,
            guesses: 10_000,
            under_way: 1 << 16,
        }
    }

    /// What the server is told.
    #[must_use]
    pub fn config(&self) -> Config {
        let mut config = self.shape().config();
        config.admit.service_guess = self.service;
        config
    }

    /// A host for it.
    pub fn serve<M: Machine>(&self, machine: M) -> Serve<M> {
        let serve = Serve::new(machine).workers(self.workers as usize).quick(self.service);
        serve.steady().remark(self.remark())
    }

    fn remark(&self) -> u64 {
        u64::from(self.workers)
            | (self.service.as_micros() as u64) << 8
            | (self.deadline.as_millis() as u64) << 32
            | (self.pause.as_millis() as u64) << 48
    }

    fn of(remark: u64) -> Self {
        let field = |shift: u32, bits: u32| remark >> shift & ((1 << bits) - 1);
        Self {
            workers: field(0, 8) as u32,
            service: Duration::from_micros(field(8, 24)),
            deadline: Duration::from_millis(field(32, 16)),
            pause: Duration::from_millis(field(48, 16)),
        }
    }
}

/// A caller that sends boards on schedule: with exponential pauses, one or a few at a time.
#[derive(Debug)]
pub struct Offered {
    sudoku: Sudoku,
    /// What it will have paused for when its next board is due.
    at: Duration,
    load: Option<Load>,
}

/// What is drawn for all callers together.
#[derive(Clone, Copy, Debug)]
struct Load {
    /// Boards at a time.
    burst: u64,
    /// The mean pause between two bursts of one caller.
    pause: Duration,
    /// For how long boards are offered.
    span: Duration,
}

impl Load {
    fn draw(decider: &mut Decider) -> Self {
        let (key, each) = (Key::default(), each(decider));
        let burst = BURSTS[decider.below(BURST, key, BURSTS.len() as u64) as usize];
        let load = LOADS[decider.below(LOAD, key, LOADS.len() as u64) as usize];
        let pause = each * CALLERS * burst as u32 * 100 / load as u32;
        Self { burst, pause, span: each * BOARDS as u32 }
    }
}

impl Offered {
    /// Caller `who`.
    #[must_use]
    pub fn new(who: u32) -> Self {
        Self { sudoku: Sudoku::new(who), at: Duration::ZERO, load: None }
    }
}

impl Workload for Offered {
    type Request = Request;
    type Reply = Reply;

    fn draw(&mut self, draw: &mut Draw<'_>) -> Option<Request> {
        let load = *self.load.get_or_insert_with(|| Load::draw(draw.decider));
        if self.at > load.span || draw.below(KIND, 64) == 0 {
            return None;
        }
        Some(self.sudoku.plain(draw))
    }

    fn pause(&mut self, draw: &mut Draw<'_>) -> Duration {
        let load = *self.load.get_or_insert_with(|| Load::draw(draw.decider));
        if !u64::from(draw.key.op).is_multiple_of(load.burst) {
            return Duration::ZERO;
        }
        let pause = exponential(load.pause, draw.below(GAP, 1 << 32) as u32);
        self.at += pause;
        pause
    }

    fn encode(&mut self, request: &Request, to: &mut Vec<u8>) {
        self.sudoku.encode(request, to);
    }

    fn hear(
        &mut self,
        owed: &mut dyn Iterator<Item = &Request>,
        bytes: &[u8],
    ) -> Result<Option<Heard<Reply>>, String> {
        // Whatever else it is, there is nobody whom it could be an answer to.
        match Sudoku::hear_plain(owed, bytes) {
            Some(heard) => Ok(Some(heard)),
            None => self.sudoku.hear(owed, bytes),
        }
    }

    fn last(&self, request: &Request) -> bool {
        self.sudoku.last(request)
    }

    fn connected(&mut self) {
        self.sudoku.connected();
    }
}

/// Exponentially distributed; in integers, so that it is the same on every machine: the logarithm
/// is a parabola between powers of two, wrong by less than 0.6 % of the mean.
fn exponential(mean: Duration, chance: u32) -> Duration {
    let x = u64::from(chance) + 1;
    let power = x.ilog2();
    // x = 2^power (1 + part), in units of 2^-16.
    let part = ((x << 16) >> power) - (1 << 16);
    let bulge = (part * ((1 << 16) - part)) >> 16;
    let log = (u64::from(power) << 16) + part + bulge * 22_713 / 65_536;
    // Times ln 2.
    let nepers = (((32 << 16) - log.min(32 << 16)) * 45_426) >> 16;
    Duration::from_nanos((mean.as_nanos() as u64).saturating_mul(nepers) >> 16)
}

/// One board, by the server's clock in ns.
#[derive(Clone, Copy, Debug)]
struct Offer {
    /// It lay in the socket.
    came: u64,
    read: u64,
    answered: u64,
    solved: bool,
}

/// Of what was offered as much is solved in time as nine tenths of what could have been, whatever
/// the load; what is taken in is solved within its deadline, the rest refused at once; the queue
/// is cut to what its target allows; and everything is answered.
#[derive(Clone, Copy, Debug)]
pub struct Goodput;

impl Check<Offered> for Goodput {
    fn check(&self, run: &Run<'_, Offered>) -> Result<u64, Violation> {
        let Some(remark) = run.transcripts().iter().find(|t| !t.calls.is_empty()).map(|t| t.remark)
        else {
            return Ok(0);
        };
        let service = Service::of(remark);
        if let Some(op) = run.history.iter().find(|op| !matches!(op.outcome, Outcome::Answered(_)))
        {
            let text = format!("{}.{} ended as {:?}", op.caller, op.number, op.outcome);
            return Err(Violation::new("ledger", text));
        }
        let mut offers = Vec::new();
        for (link, ops) in by_link(run) {
            let transcript = &run.transcripts()[link.0 as usize];
            for (op, answer) in ops.iter().zip(answers(run, link, &ops)?) {
                if let Request::Board { .. } = op.request
                    && let Some(came) = transcript.arriving(op.bytes.end)
                    && let Some(read) = transcript.feeding(op.bytes.end).map(|call| call.now)
                    && let Some((reply, call)) = answer
                {
                    let solved = reply == Reply::Solved;
                    offers.push(Offer { came, read, answered: call.now, solved });
                }
            }
        }
        offers.sort_unstable_by_key(|offer| offer.came);
        // What comes late comes together, and each pause after a refusal lets in a turn of it.
        let piled_up = was_hit(run, &[Fault::Delay, Fault::Stall, Fault::Narrow]);
        judge(&service, &offers, piled_up)
    }

    fn needs_transcripts(&self) -> bool {
        true
    }
}

fn judge(service: &Service, offers: &[Offer], piled_up: bool) -> Result<u64, Violation> {
    if offers.is_empty() {
        return Ok(0);
    }
    let ms = |ns: u64| ns as f64 / 1e6;
    let wrong = |checker: &'static str, text: String| {
        let end = offers.last().map_or(0, |last| last.came) - offers[0].came;
        let can = end as f64 / service.service.as_nanos() as f64 * f64::from(service.workers);
        let load = offers.len() as f64 / can.max(1.0);
        let text = format!("{text}; {load:.2} times what can be done by {service:?}");
        Err(Violation::new(checker, text))
    };
    let ns = |span: Duration| span.as_nanos() as u64;
    let (deadline, each) = (ns(service.deadline), ns(service.service));
    let took = |offer: &Offer| offer.answered - offer.came;
    let solved = || offers.iter().filter(|offer| offer.solved);

    let admit = service.config().admit;
    let most = ceiling(service, offers, ns(admit.target) + each);
    // What is in the queue when no more is offered is no matter of throughput.
    let end = offers.last().map_or(0, |last| last.came);
    let in_time = |offer: &&Offer| took(offer) <= deadline && offer.answered <= end;
    let good = solved().filter(in_time).count() as u64;
    // Of few boards one makes a difference.
    if good + 3 < most * 9 / 10 {
        let text =
            format!("{good} of {} boards were solved in time, {most} could be", offers.len());
        return wrong("goodput", text);
    }
    // Begun within the deadline.
    if let Some(late) = solved().find(|offer| took(offer) > deadline + each) {
        let text = format!("{} ms for a board, {} are allowed", ms(took(late)), ms(deadline));
        return wrong("deadline", text);
    }
    let since = |offer: &Offer| if piled_up { offer.read } else { offer.came };
    let refused = offers.iter().filter(|offer| !offer.solved);
    let mut refusals: Vec<u64> = refused.map(|offer| offer.answered - since(offer)).collect();
    let prompt = 5_000_000 + ns(service.pause);
    if refusals.len() >= 100
        && let Some(slow) = percentile(&mut refusals, 99).filter(|slow| *slow > prompt)
    {
        return wrong("prompt", format!("{} ms for the 99th refusal of 100", ms(slow)));
    }
    let mut waits = standing(each, ns(admit.interval), offers);
    let flat = 2 * ns(admit.target) + each;
    if let Some(wait) = percentile(&mut waits, 90).filter(|wait| *wait > flat) {
        return wrong("queue", format!("one in ten waits {} ms in a standing queue", ms(wait)));
    }
    Ok(0)
}

/// How long those waited who were taken into a queue that had not been empty for `interval`.
fn standing(each: u64, interval: u64, offers: &[Offer]) -> Vec<u64> {
    let mut solved: Vec<Offer> = offers.iter().filter(|offer| offer.solved).copied().collect();
    solved.sort_unstable_by_key(|offer| offer.read);
    let (mut since, mut until) = (0, 0);
    let mut waits = Vec::new();
    for offer in solved {
        if offer.read >= until {
            since = offer.read;
        }
        let begun = offer.answered - each;
        until = until.max(begun);
        if offer.read > since + interval {
            waits.push(begun - offer.read);
        }
    }
    waits
}

/// The most boards that can be solved within `deadline` ns, and before the last one comes, if it is
/// known which: each as soon as there is a worker, but for those that would be late. With a deadline
/// as short as the target of a queue that stands this is all that the workers can do, under a load
/// that lasts; where load comes and goes a longer queue could do more, and make everybody wait.
fn ceiling(service: &Service, offers: &[Offer], deadline: u64) -> u64 {
    let each = service.service.as_nanos() as u64;
    let mut free: BinaryHeap<_> = (0..service.workers).map(|_| core::cmp::Reverse(0)).collect();
    let mut solved = 0;
    let end = offers.last().map_or(0, |last| last.came);
    for offer in offers {
        let begin = free.peek().map_or(0, |at| at.0).max(offer.came);
        if begin + each <= end.min(offer.came + deadline) {
            free.pop();
            free.push(core::cmp::Reverse(begin + each));
            solved += 1;
        }
    }
    solved
}

fn percentile(values: &mut [u64], percent: usize) -> Option<u64> {
    let at = values.len() * percent / 100;
    (at < values.len()).then(|| *values.select_nth_unstable(at).1)
}

/// Ten times what a server can do, and half of it, over links that are not perfect.
#[must_use]
pub fn overload() -> Trial<Offered> {
    overload_of("overload", |service| {
        let engine = service.shape().engine(service.config());
        Box::new(service.serve(engine).phases(super::phase))
    })
}

pub(crate) fn overload_of(
    name: &str,
    serve: impl Fn(&Service) -> Box<dyn crate::node::Node> + Copy + Send + Sync + 'static,
) -> Trial<Offered> {
    let factory = move |decider: &mut Decider| -> Factory {
        let service = Service::draw(decider);
        Box::new(move |_| serve(&service))
    };
    // What ends a connection or holds up answers would leave open what could have been solved.
    let faults = Faults::all().coarse(8192).only(&[
        Fault::Cut,
        Fault::Short,
        Fault::Delay,
        Fault::Stall,
        Fault::Narrow,
        Fault::Far,
    ]);
    let faults = faults.with(Fault::Delay, Chance::one_in(500));
    let faults = faults.with(Fault::Stall, Chance::one_in(5000));
    let ops = (BOARDS * LOADS[LOADS.len() - 1] / 100) as u32;
    let habits = Habits { ops, open_loop: true, connections: 1, ..Habits::default() };
    Trial::of(name, factory, Offered::new)
        .callers(CALLERS..=CALLERS)
        .habits(habits)
        .faults(faults)
        .expect(Goodput)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_exponential() {
        let mean = Duration::from_millis(1);
        let steps = 1 << 16;
        let drawn: Vec<f64> = (0..steps)
            .map(|i| exponential(mean, ((2 * i + 1) << 15) as u32).as_secs_f64() * 1000.0)
            .collect();
        let average = drawn.iter().sum::<f64>() / steps as f64;
        assert!((0.99..1.01).contains(&average), "{average}");
        for at in [0.1, 0.5, 0.9, 0.99] {
            let (got, wanted) = (drawn[(steps as f64 * at) as usize], -f64::ln(at));
            assert!((got - wanted).abs() < 0.006, "{at}: {got}, not {wanted}");
        }
    }

    #[test]
    fn the_ceiling_is_what_the_workers_can_do() {
        let service = Service {
            workers: 2,
            service: Duration::from_millis(2),
            deadline: Duration::from_millis(10),
            pause: Duration::ZERO,
        };
        let offers = |every: u64, count: u64| -> Vec<Offer> {
            (0..count)
                .map(|i| Offer { came: i * every, read: 0, answered: 0, solved: false })
                .collect()
        };
        assert_eq!(
            ceiling(&service, &offers(2_000_000, 100), 10_000_000),
            99,
            "half of it, and the last"
        );
        let twice = ceiling(&service, &offers(500_000, 1000), 10_000_000);
        assert!((497..=500).contains(&twice), "twice: {twice}");
        let mut at_once = offers(0, 100);
        at_once.extend(offers(1_000_000_000, 2));
        assert_eq!(ceiling(&service, &at_once, 10_000_000), 10, "at once: what the deadline holds");
    }
}
