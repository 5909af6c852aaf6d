//! sudoku under fire: a campaign that gets everywhere, and determinism.

use drywire_sim::decide::{Decider, Decisions};
use drywire_sim::{Campaign, Experiment, Fault, replay, sudoku};

#[test]
fn survives_a_swarm() {
    let trial = sudoku::trial();
    let summary = Campaign::new(&trial, 0..3000).jobs(2).run();
    if let Some(failure) = summary.failures.first() {
        panic!("{}\n{}", failure.violation, replay::write(failure));
    }
    assert!(summary.ops > 200_000, "{} operations", summary.ops);
    for fault in Fault::ALL {
        let hits: u64 =
            summary.matrix.phases().iter().map(|p| summary.matrix.hits(*fault, p)).sum();
        assert!(hits > 0, "{fault} never hit");
    }
    for phase in ["idle", "line", "solving", "replying", "full", "owing", "ending", "refused"] {
        assert!(summary.matrix.hits(Fault::Cut, phase) > 0, "nothing was cut in {phase}");
    }
}

/// I5, with jobs that come back in any order.
#[test]
fn a_seed_is_a_run_and_so_is_its_script() {
    let trial = sudoku::trial();
    for seed in 0..40 {
        let first = trial.run(Decider::seeded(seed).recording(), false);
        let again = trial.run(Decider::seeded(seed), true);
        let script = trial.run(Decider::script(&first.decisions), false);
        assert_eq!(first.digest, again.digest, "seed {seed}, watched");
        assert_eq!(first.digest, script.digest, "seed {seed}, from its script");
    }
    assert_eq!(trial.run(Decider::script(&Decisions::new()), false).ops, 0);
}
