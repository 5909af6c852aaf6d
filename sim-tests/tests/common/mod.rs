//! What the campaign of every protocol has to show.

use drywire_sim::decide::{Decider, Decisions};
use drywire_sim::{Campaign, Experiment, Fault, Summary, replay};

/// Runs `seeds` seeds; none fails or stays undecided, every fault hits but those of `without`, and something is cut in
/// each of `phases`: a campaign is worth something only if it got everywhere.
pub(crate) fn survives(
    trial: &dyn Experiment,
    seeds: u64,
    phases: &[&str],
    without: &[Fault],
) -> Summary {
    let summary = Campaign::new(trial, 0..seeds).jobs(2).run();
    if let Some(failure) = summary.failures.first() {
        panic!("{}\n{}", failure.violation, replay::write(failure));
    }
    assert_eq!(summary.undecided, 0);
    for fault in Fault::ALL.iter().filter(|fault| !without.contains(fault)) {
        let hits: u64 =
            summary.matrix.phases().iter().map(|p| summary.matrix.hits(*fault, p)).sum();
        assert!(hits > 0, "{fault} never hit");
    }
    for phase in phases {
        assert!(summary.matrix.hits(Fault::Cut, phase) > 0, "nothing was cut in {phase}");
    }
    summary
}

/// I5: the same seed gives the same run, and so does the script of its decisions; the script of
/// no decisions, which shrinking works towards, is the empty run.
pub(crate) fn is_deterministic(trial: &dyn Experiment) {
    for seed in 0..40 {
        let first = trial.run(Decider::seeded(seed).recording(), false);
        let again = trial.run(Decider::seeded(seed), true);
        let script = trial.run(Decider::script(&first.decisions), false);
        assert_eq!(first.digest, again.digest, "seed {seed}, watched");
        assert_eq!(first.digest, script.digest, "seed {seed}, from its script");
        assert_eq!(first.events, script.events);
    }
    let empty = trial.run(Decider::script(&Decisions::new()), false);
    assert_eq!((empty.violation, empty.ops), (None, 0));
}
