//! In the simulator.

use super::subject::{Subject, client_side};
use super::watched::Watched;
use super::{Report, Scenario, Twist};
use crate::decide::Decider;
use crate::trial::{Experiment as _, Run, Trial};

pub(super) fn run<S: Subject>(scenario: &Scenario, subject: S, twist: Twist, seed: u64) -> Report {
    let serve = move |_: &mut Decider| -> crate::world::Factory {
        Box::new(move |life| {
            Box::new(
                subject.serve(|| Watched::new(twist.around(subject.engine(life)), None)).life(life),
            )
        })
    };
    let plan = scenario.clone();
    let struck = move |run: &Run<'_, S::Work>| {
        let dead = run.transcripts().iter().filter(|t| t.timed_out.is_some()).count();
        plan.check_proves(run.history, Some(dead as u64)).map(|()| 0)
    };
    let trial = Trial::of(&scenario.name, serve, S::work)
        .callers(scenario.callers..=scenario.callers)
        .habits(scenario.habits)
        .exactly(scenario.odds)
        .plan(scenario.plan.clone())
        .expect(client_side(subject))
        .expect(struck);
    let report = S::expect(trial).run(Decider::seeded(seed), false);
    Report {
        violation: report.violation,
        operations: report.ops,
        answered: report.answered,
        undecided: report.undecided,
        time: report.time,
    }
}
