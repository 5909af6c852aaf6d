//! One file, three worlds: what is asked and what goes wrong, as text, run in the simulator, in
//! turmoil and on real sockets, and judged by the same rules in each.
//!
//! `sim-tests/scenarios/README.md` is the guide; [`Scenario::read`] refuses what it does not know.

mod core_arm;
mod format;
mod kernel;
mod proxy;
mod subject;
mod turmoil_arm;
mod watched;

pub use format::ScenarioError;

use crate::caller::Habits;
use crate::fault::Faults;
use crate::plan::{Nemesis, Strike};
#[cfg(feature = "planted-bugs")]
use crate::planted::flawed::{Flaw, Flawed};
use crate::violation::Violation;
use crate::workload::{Op, Outcome};
use core::fmt;
use core::time::Duration;
use drywire::engine::Machine;
use subject::{Beats, Boards, Items, Rooms, Seen, Subject};
use watched::{Boxed, Log};

/// What is run. See the [module](self).
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file's name, without its ending.
    pub name: String,
    /// What it is for.
    pub about: String,
    /// What is served.
    pub protocol: Protocol,
    /// How many seeds it is worth: what is asked differs by seed.
    pub seeds: u64,
    /// How many callers.
    pub callers: u32,
    /// How much each asks.
    pub habits: Habits,
    /// How likely callers misbehave around each operation.
    pub odds: Faults,
    /// Connections that the server holds.
    pub connections: usize,
    /// How long the server lets a connection take none of its output.
    pub no_progress: Duration,
    /// Answers that there must be at least, so that a run in which nothing works proves nothing.
    pub answered: u64,
    /// Connections that the server must have given up as silent, at least.
    pub dead: u64,
    /// Callers that must get an answer to everything.
    pub unhurt: Vec<u32>,
    /// What goes wrong when.
    pub plan: Vec<Strike>,
}

/// What is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// memcached
    Memcached,
    /// sudoku
    Sudoku,
    /// chat
    Chat,
    /// The small protocol of [`crate::guard`]: a heartbeat, and limits on time.
    Guarded,
}

/// A world to run it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// This crate's simulator: the engine alone, under virtual links and virtual time.
    Core,
    /// The tokio host in turmoil: several hosts, virtual time.
    Turmoil,
    /// The mio host on loopback sockets, behind a proxy that does harm, in real time.
    Kernel,
}

impl Arm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Core, Self::Turmoil, Self::Kernel];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Turmoil => "turmoil",
            Self::Kernel => "kernel",
        }
    }

    /// Why this arm cannot bring `nemesis` about, if it cannot.
    #[must_use]
    pub fn cannot(self, nemesis: Nemesis) -> Option<&'static str> {
        const MS: Duration = Duration::from_millis(1);
        let whole = |d: Duration| d.subsec_nanos().is_multiple_of(1_000_000);
        match (self, nemesis) {
            (Self::Turmoil, Nemesis::Thin { .. }) => Some("turmoil has no bandwidth"),
            (Self::Turmoil, Nemesis::Narrow { .. }) => Some("turmoil counts segments, not bytes"),
            (Self::Turmoil, Nemesis::Reset { .. }) => Some("turmoil resets nothing from outside"),
            (Self::Turmoil, Nemesis::Latency { least, most })
                if !whole(least)
                    || !whole(most)
                    || least.is_zero()
                    || least != most && least > MS =>
            {
                Some("turmoil's latencies are whole milliseconds, and ranges begin at 1 ms")
            }
            (Self::Turmoil | Self::Kernel, Nemesis::Freeze { .. }) => {
                Some("the server cannot be stopped and its clock left to run")
            }
            _ => None,
        }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The first rule that was broken.
    pub violation: Option<Violation>,
    /// Operations begun.
    pub operations: u64,
    /// Those that were answered.
    pub answered: u64,
    /// Histories that no checker could decide within its budget.
    pub undecided: u64,
    /// How long it took, in the time of the arm.
    pub time: Duration,
}

impl Scenario {
    /// Each fault that `arm` cannot bring about, by name, and why.
    #[must_use]
    pub fn refusals(&self, arm: Arm) -> Vec<String> {
        let refuse = |s: &Strike| {
            arm.cannot(s.nemesis).map(|why| format!("{}: {why}", format::kind(s.nemesis)))
        };
        self.plan.iter().filter_map(refuse).collect()
    }

    /// Runs it once.
    ///
    /// # Errors
    /// What `arm` cannot bring about: nothing is run then.
    pub fn run(&self, arm: Arm, seed: u64) -> Result<Report, Vec<String>> {
        self.run_as(arm, seed, Twist::default())
    }

    /// Runs it with a server that has a known bug.
    ///
    /// # Errors
    /// As [`Scenario::run`].
    #[cfg(feature = "planted-bugs")]
    pub fn run_flawed(&self, arm: Arm, seed: u64, flaw: Flaw) -> Result<Report, Vec<String>> {
        self.run_as(arm, seed, Twist { flaw: Some(flaw) })
    }

    fn run_as(&self, arm: Arm, seed: u64, twist: Twist) -> Result<Report, Vec<String>> {
        let refusals = self.refusals(arm);
        if !refusals.is_empty() {
            return Err(refusals);
        }
        Ok(match self.protocol {
            Protocol::Memcached => self.run_on(arm, seed, Items::new(self, seed), twist),
            Protocol::Sudoku => self.run_on(arm, seed, Boards::new(self), twist),
            Protocol::Guarded => self.run_on(arm, seed, Beats::new(self), twist),
            Protocol::Chat => self.run_on(arm, seed, Rooms::new(self), twist),
        })
    }

    fn run_on<S: Subject>(&self, arm: Arm, seed: u64, subject: S, twist: Twist) -> Report {
        match arm {
            Arm::Core => core_arm::run(self, subject, twist, seed),
            Arm::Turmoil => turmoil_arm::run(self, subject, twist, seed),
            Arm::Kernel => kernel::run(self, subject, twist, seed),
        }
    }

    fn replaces_the_server(&self) -> bool {
        self.plan.iter().any(|s| s.nemesis.replaces_the_server())
    }

    /// A plan proves something only if it met callers at work, and had its effect. `dead`: how many
    /// were given up as silent, unless time meant nothing.
    fn check_proves<Q, R>(&self, history: &[Op<Q, R>], dead: Option<u64>) -> Result<(), Violation> {
        for strike in &self.plan {
            let met = history.iter().any(|op| strike.hits(op.caller) && op.invoked >= strike.at);
            if !met {
                let text = format!(
                    "{} at {:?} met nobody: its callers had asked everything by then",
                    format::kind(strike.nemesis),
                    strike.at.since(drywire::Tick::ZERO)
                );
                return Err(Violation::new("vacuous", text));
            }
        }
        let least = |what: &str, found: u64, least: u64| {
            let text = format!("{found} {what}, and {least} are expected");
            if found < least { Err(Violation::new("vacuous", text)) } else { Ok(()) }
        };
        least("answers", answered(history), self.answered)?;
        let Some(dead) = dead else { return Ok(()) };
        least("connections given up as silent", dead, self.dead)?;
        let hurt = history.iter().find(|op| {
            let answered = matches!(op.outcome, Outcome::Answered(_) | Outcome::Silent);
            self.unhurt.contains(&op.caller) && !answered
        });
        hurt.map_or(Ok(()), |op| {
            let text = format!(
                "nothing was to happen to caller {}, and its operation {} was not answered",
                op.caller, op.number
            );
            Err(Violation::new("unhurt", text))
        })
    }

    /// Judges what was seen outside of the simulator.
    fn judge<S: Subject>(
        &self,
        subject: S,
        seen: &Seen<'_, S>,
        breaches: Vec<Violation>,
        time: Duration,
    ) -> Report {
        let (history, mut undecided) = (seen.history, 0);
        let pending = history.iter().find(|op| matches!(op.outcome, Outcome::Pending));
        let violation = breaches.into_iter().next().or_else(|| {
            if let Some(op) = pending {
                let (who, number) = (op.caller, op.number);
                let text = format!("operation {who}.{number} has no outcome: `{:?}`", op.request);
                return Some(Violation::new("ledger", text));
            }
            match subject.judge(seen) {
                Ok(n) => undecided = n,
                Err(violation) => return Some(violation),
            }
            let all = seen.logs.iter().flat_map(|log: &Log| &log.transcripts);
            let dead = all.filter(|transcript| transcript.timed_out.is_some()).count();
            let dead = if seen.stalled() { None } else { Some(dead as u64) };
            self.check_proves(history, dead).err()
        });
        let operations = history.len() as u64;
        Report { violation, operations, answered: answered(history), undecided, time }
    }
}

/// What is put around the engines: nothing, or a known bug.
#[derive(Clone, Copy, Default)]
struct Twist {
    #[cfg(feature = "planted-bugs")]
    flaw: Option<Flaw>,
}

impl Twist {
    fn around(self, engine: impl Machine + Send + 'static) -> Boxed {
        #[cfg(feature = "planted-bugs")]
        if let Some(flaw) = self.flaw {
            return Box::new(Flawed::new(engine, flaw));
        }
        Box::new(engine)
    }
}

fn answered<Q, R>(history: &[Op<Q, R>]) -> u64 {
    history.iter().filter(|op| matches!(op.outcome, Outcome::Answered(_))).count() as u64
}
