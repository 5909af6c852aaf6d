//! One experiment: a server, its callers, the faults between them, and what must hold.

use crate::caller::{Caller, Habits};
use crate::campaign::Campaign;
use crate::check::Check;
use crate::client::{CallerNode, Mob};
use crate::decide::{Decider, Decisions, Key, Site};
use crate::fault::{Covers, Faults, Matrix};
use crate::net::LinkId;
use crate::panics;
use crate::plan::Strike;
use crate::trace::Trace;
use crate::transcript::Transcript;
use crate::violation::Violation;
use crate::workload::{History, Outcome, Word, Workload};
use crate::world::{Factory, World};
use core::fmt;
use core::ops::{Range, RangeInclusive};
use core::time::Duration;
use drywire::Tick;
use std::cell::RefCell;
use std::rc::Rc;

/// Something that can be run under a decider and judged: what the command line, the shrinker and
/// the pictures work on.
pub trait Experiment: Send + Sync {
    /// Its name, as in replay files.
    fn name(&self) -> &str;
    /// Runs it once. Same answers, same run (I5).
    fn run(&self, decider: Decider, watch: bool) -> Report;
    /// The matrix that many seeds must fill, if it has one.
    fn covers(&self) -> Option<Covers> {
        None
    }
    /// What many seeds must come to at least once; see [`Trial::sometimes`].
    fn marks(&self) -> Vec<&'static str> {
        Vec::new()
    }
}

/// What one run came to.
#[derive(Debug)]
pub struct Report {
    /// The first rule that was broken.
    pub violation: Option<Violation>,
    /// Equal digests, equal runs.
    pub digest: u64,
    /// Things that happened.
    pub events: u64,
    /// Operations begun.
    pub ops: u64,
    /// Those that were answered.
    pub answered: u64,
    /// Simulated time.
    pub time: Duration,
    /// Histories that no checker could decide within its budget.
    pub undecided: u64,
    /// Which faults hit in which phases.
    pub matrix: Matrix,
    /// Which of [`Experiment::marks`] it came to.
    pub marks: Vec<&'static str>,
    /// All that is needed to have it again, if the decider was recording.
    pub decisions: Decisions,
    /// What happened, if watched.
    pub trace: Option<Trace>,
    /// The decider, for drivers that go on.
    pub decider: Decider,
}

/// What a checker sees of a finished run.
pub struct Run<'a, W: Workload> {
    /// What was asked and what came of it.
    pub history: &'a History<W>,
    /// What each caller heard, in its order, if the workload listens.
    pub heard: &'a [Word<W::Reply>],
    /// The world after it.
    pub world: &'a World,
    /// A workload, to read streams with.
    pub work: &'a dyn Fn() -> W,
}

impl<W: Workload> fmt::Debug for Run<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("history", &self.history).finish_non_exhaustive()
    }
}

impl<W: Workload> Run<'_, W> {
    /// What the servers took in and answered, by link.
    #[must_use]
    pub fn transcripts(&self) -> &[Transcript] {
        self.world.transcripts()
    }

    /// Whether some request was answered so.
    pub fn heard(&self, is: impl Fn(&W::Request, &W::Reply) -> bool) -> bool {
        self.history.iter().any(|op| match &op.outcome {
            Outcome::Answered(reply) => is(&op.request, reply),
            _ => false,
        })
    }

    /// Whether some caller heard this, asked for or not, if the workload listens.
    pub fn listened(&self, is: impl Fn(&W::Reply) -> bool) -> bool {
        self.heard.iter().any(|word| is(&word.what))
    }

    /// Whether either side may have read other bytes than the other one wrote.
    #[must_use]
    pub fn tainted(&self, link: LinkId) -> bool {
        self.world.tainted(link, 0) || self.world.tainted(link, 1)
    }

    /// Whether the server may have read other bytes than the caller wrote.
    #[must_use]
    pub fn server_tainted(&self, link: LinkId) -> bool {
        self.world.tainted(link, 1)
    }
}

type Serving = Box<dyn Fn(&mut Decider) -> Factory + Send + Sync>;
type Calling<W> = Box<dyn Fn(u32) -> W + Send + Sync>;
type Mark<W> = Box<dyn Fn(&Run<'_, W>) -> bool + Send + Sync>;

/// A server under callers under faults. See `docs/test-your-protocol.md`.
pub struct Trial<W: Workload> {
    name: String,
    serve: Serving,
    work: Calling<W>,
    callers: RangeInclusive<u32>,
    habits: Habits,
    faults: Faults,
    swarm: bool,
    checks: Vec<Box<dyn Check<W>>>,
    transcripts: bool,
    tail: Duration,
    keepalive: Duration,
    covers: Option<Covers>,
    marks: Vec<(&'static str, Mark<W>)>,
    plan: Vec<Strike>,
}

const CALLERS: Site = Site::new("trial.callers");
/// The phase of faults ends then at the latest.
const FAULTS_UNTIL: Tick = Tick::from_secs(600);
/// Everything owed must have arrived so long after faults are over.
const CALM: Duration = Duration::from_secs(120);

impl<W: Workload + 'static> Trial<W> {
    /// A trial of the server that `serve` makes. `serve` may draw its limits; what it returns
    /// makes the server, for each life anew.
    #[must_use]
    pub fn of(
        name: &str,
        serve: impl Fn(&mut Decider) -> Factory + Send + Sync + 'static,
        work: impl Fn(u32) -> W + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.to_owned(),
            serve: Box::new(serve),
            work: Box::new(work),
            callers: 1..=8,
            habits: Habits::default(),
            faults: Faults::all(),
            swarm: true,
            checks: Vec::new(),
            transcripts: false,
            tail: Duration::from_secs(30),
            keepalive: Duration::from_secs(1),
            covers: None,
            marks: Vec::new(),
            plan: Vec::new(),
        }
    }

    /// So many callers; each run draws a number.
    #[must_use]
    pub fn callers(self, callers: RangeInclusive<u32>) -> Self {
        Self { callers, ..self }
    }

    /// How much each caller asks.
    #[must_use]
    pub fn habits(self, habits: Habits) -> Self {
        Self { habits, ..self }
    }

    /// These faults, at these rates; each run draws which of them it uses.
    #[must_use]
    pub fn faults(self, faults: Faults) -> Self {
        Self { faults, swarm: true, ..self }
    }

    /// These faults, in every run, at exactly these rates.
    #[must_use]
    pub fn exactly(self, faults: Faults) -> Self {
        Self { faults, swarm: false, ..self }
    }

    /// One more thing that must hold.
    #[must_use]
    pub fn expect(mut self, check: impl Check<W> + 'static) -> Self {
        self.transcripts |= check.needs_transcripts();
        self.checks.push(Box::new(check));
        self
    }

    /// How long the world is left alone after the last answer, before it must be at rest.
    #[must_use]
    pub fn tail(self, tail: Duration) -> Self {
        Self { tail, ..self }
    }

    /// How long after the faults a system notices that a peer's machine is gone. A server that
    /// promises to notice earlier by itself is held to that.
    #[must_use]
    pub fn keepalive(self, keepalive: Duration) -> Self {
        Self { keepalive, ..self }
    }

    /// A campaign of so many seeds or more must hit each phase with each fault that can.
    #[must_use]
    pub fn covers(self, covers: Covers) -> Self {
        Self { covers: Some(covers), ..self }
    }

    /// Something that is no breach of a rule, and that many seeds must come to all the same, or
    /// the trial does not get where it should: asked about each good run. A campaign names what it
    /// never came to.
    #[must_use]
    pub fn sometimes(
        mut self,
        mark: &'static str,
        is: impl Fn(&Run<'_, W>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.marks.push((mark, Box::new(is)));
        self
    }

    /// These faults besides, at their times.
    #[must_use]
    pub fn plan(self, plan: Vec<Strike>) -> Self {
        Self { plan, ..self }
    }

    /// Runs these seeds on this thread alone; see [`Campaign`] for more.
    #[must_use]
    pub fn seeds(&self, seeds: Range<u64>) -> Campaign<'_> {
        Campaign::new(self, seeds)
    }
}

/// Lets faults happen until everything is asked, what is owed arrive, and the world come to rest;
/// then nothing may be owed or held.
pub(crate) fn drive(
    world: &mut World,
    (keepalive, tail): (Duration, Duration),
    asked_all: impl Fn() -> bool,
    done: impl Fn() -> bool,
) {
    world.run_while(FAULTS_UNTIL, || !asked_all());
    world.calm(keepalive);
    world.nudge();
    let until = world.now() + CALM;
    world.run_while(until, || !done());
    world.run_for(tail);
    world.check_rest();
    // Now even those go who would not let go.
    world.nudge();
    world.run_for(Duration::from_secs(2));
    world.check_gone();
}

/// What a run came to: `driven` is what was found by whoever drove it, or how it panicked.
pub(crate) fn report(
    mut world: World,
    driven: Result<Option<Violation>, Violation>,
    (ops, answered, undecided): (u64, u64, u64),
) -> Report {
    let violation = match driven {
        Ok(found) => world.violation().cloned().or(found),
        Err(violation) => Some(violation),
    };
    let trace = world.take_trace();
    Report {
        violation,
        digest: world.digest(),
        events: world.events(),
        ops,
        answered,
        time: world.now().since(Tick::ZERO),
        undecided,
        matrix: world.matrix().clone(),
        marks: Vec::new(),
        decisions: world.decisions().cloned().unwrap_or_default(),
        trace,
        decider: world.into_decider(),
    }
}

impl<W: Workload + 'static> Experiment for Trial<W> {
    fn name(&self) -> &str {
        &self.name
    }

    fn covers(&self) -> Option<Covers> {
        self.covers
    }

    fn marks(&self) -> Vec<&'static str> {
        self.marks.iter().map(|(mark, _)| *mark).collect()
    }

    fn run(&self, mut decider: Decider, watch: bool) -> Report {
        let faults = if self.swarm { self.faults.swarm(&mut decider) } else { self.faults };
        let (least, most) = (*self.callers.start(), *self.callers.end());
        let count =
            least + decider.below(CALLERS, Key::default(), u64::from(most - least) + 1) as u32;
        let factory = (self.serve)(&mut decider);
        let history: Rc<RefCell<History<W>>> = Rc::default();
        let callers: Vec<_> = (0..count)
            .map(|who| {
                let work = (self.work)(who);
                let history = Rc::clone(&history);
                let caller = Caller::new(who, work, self.habits, faults, &mut decider, history);
                Rc::new(RefCell::new(caller.plan(&self.plan)))
            })
            .collect();

        let mut world = World::new(decider, faults);
        if watch {
            world.record();
        }
        if self.transcripts {
            world.keep_transcripts();
        }
        let server = world.add_restartable("server", factory);
        let mob = world.add("mob", Box::new(Mob::new(server)));
        let nodes = callers.iter().enumerate().map(|(who, caller)| {
            let node = CallerNode::new(Rc::clone(caller), server, Some(mob));
            world.add(&format!("caller {who}"), Box::new(node))
        });
        let nodes = nodes.collect();
        if !self.plan.is_empty() {
            world.plan(&self.plan, vec![server], Some(mob), nodes);
        }

        let mut undecided = 0;
        let mut marks = Vec::new();
        let driven = panics::catch(|| {
            let all = |what: fn(&Caller<W>) -> bool| callers.iter().all(|c| what(&c.borrow()));
            let times = (self.keepalive, self.tail);
            drive(&mut world, times, || all(Caller::asked_all), || all(Caller::done));
            if world.violation().is_some() {
                return None;
            }
            let history = history.borrow();
            if let Some(op) = history.iter().find(|op| matches!(op.outcome, Outcome::Pending)) {
                let text = format!(
                    "operation {}.{} has no outcome: `{:?}`",
                    op.caller, op.number, op.request
                );
                return Some(Violation::new("ledger", text));
            }
            let heard: Vec<_> = callers.iter().flat_map(|c| c.borrow_mut().take_heard()).collect();
            let work = &|| (self.work)(0);
            let run = Run { history: &history, heard: &heard, world: &world, work };
            for check in &self.checks {
                match check.check(&run) {
                    Ok(n) => undecided += n,
                    Err(violation) => return Some(violation),
                }
            }
            let hit = self.marks.iter().filter(|(_, is)| is(&run));
            marks.extend(hit.map(|(mark, _)| *mark));
            None
        });
        let ops = history.try_borrow().map_or(0, |h| h.len() as u64);
        let is_answered =
            |op: &&crate::workload::Op<_, _>| matches!(op.outcome, Outcome::Answered(_));
        let answered = history.try_borrow().map_or(0, |h| h.iter().filter(is_answered).count());
        Report { marks, ..report(world, driven, (ops, answered as u64, undecided)) }
    }
}
