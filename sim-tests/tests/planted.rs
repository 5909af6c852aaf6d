//! The tester is tested: each planted bug is caught, by the right checker, within its budget of
//! seeds; its failure shrinks and replays; a server that never answers does not pass; and the
//! same small protocol without a mistake does.

use drywire_sim::planted::{canary, kv, planted};
use drywire_sim::{Campaign, Effort, Experiment, replay, shrink};
use std::time::Duration;

#[test]
fn every_planted_bug_is_caught() {
    let mut wrong = Vec::new();
    let (mut walls, mut sizes) = (Vec::new(), Vec::new());
    println!(
        "{:58} {:>6} {:>7} {:>5} {:>8}  caught by",
        "bug", "seeds", "budget", "items", "shrink"
    );
    for bug in planted() {
        let summary = Campaign::new(&*bug.experiment, 0..bug.budget).jobs(2).run();
        let Some(failure) = summary.failures.first() else {
            wrong.push(format!("{}: survived {} seeds", bug.name, summary.seeds));
            continue;
        };
        let checker = failure.violation.checker;
        if !bug.catchers.contains(&checker) {
            wrong.push(format!("{}: caught by {checker}: {}", bug.name, failure.violation.text));
        }
        let effort = Effort { runs: 3000, time: Duration::from_secs(5) };
        let Some(small) = shrink(&*bug.experiment, failure, effort) else {
            wrong.push(format!("{}: does not fail again", bug.name));
            continue;
        };
        let file = replay::read(&replay::write(&small.failure)).expect("what was written");
        let again = replay::replay(&*bug.experiment, &file, false).violation;
        if again.is_none_or(|v| v.signature != failure.violation.signature) {
            wrong.push(format!("{}: its file does not replay", bug.name));
        }
        let seeds = failure.seed.unwrap_or_default() + 1;
        println!(
            "{:58} {seeds:>6} {:>7} {:>5} {:>8.0?}  {checker}",
            bug.name, bug.budget, small.items, small.wall
        );
        walls.push(small.wall);
        sizes.push(small.items);
    }
    walls.sort_unstable();
    sizes.sort_unstable();
    println!("median: {} items, {:.0?}", sizes[sizes.len() / 2], walls[walls.len() / 2]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(walls.len() >= 20, "at least twenty planted bugs");
}

#[test]
fn the_canary_does_not_pass() {
    let canary = canary();
    let summary = Campaign::new(&canary, 0..20).run();
    assert!(!summary.failures.is_empty(), "{} lives", canary.name());
}

#[test]
fn without_a_mistake_the_small_protocol_passes() {
    let trial = kv::trial("kv", None);
    let summary = Campaign::new(&trial, 0..1500).jobs(2).run();
    if let Some(failure) = summary.failures.first() {
        panic!("{}\n{}", failure.violation, replay::write(failure));
    }
    assert_eq!(summary.undecided, 0);
}
