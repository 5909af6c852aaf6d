//! The tester is tested: each planted bug is caught, by the right checker, within its budget of
//! seeds; its failure shrinks and replays; a server that never answers does not pass; and the
//! same small protocol without a mistake does.

use drywire_sim::planted::{Planted, canary, kv, planted};
use drywire_sim::{Campaign, Effort, Experiment, Shrunk, replay, shrink};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

#[test]
fn every_planted_bug_is_caught() {
    let bugs = planted();
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    // Shrinking is one thread's work: two bugs at a time.
    let work = || {
        while let Some(bug) = bugs.get(next.fetch_add(1, Relaxed)) {
            let caught = catch(bug);
            found.lock().unwrap().push(caught);
        }
    };
    thread::scope(|scope| drop([scope.spawn(work), scope.spawn(work)]));
    let found = found.into_inner().unwrap();
    let wrong: Vec<_> = found.iter().filter_map(|caught| caught.as_ref().err()).cloned().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(found.len() >= 20, "at least twenty planted bugs");
    let mut small: Vec<_> = found.into_iter().flatten().collect();
    small.sort_unstable_by_key(|small| small.wall);
    let wall = small[small.len() / 2].wall;
    small.sort_unstable_by_key(|small| small.items);
    println!("median: {} items, {wall:.0?}", small[small.len() / 2].items);
}

/// Finds a bug within its budget by the checker that is to find it, shrinks it, and replays its file.
fn catch(bug: &Planted) -> Result<Shrunk, String> {
    let wrong = |what: String| Err(format!("{}: {what}", bug.name));
    let summary = Campaign::new(&*bug.experiment, 0..bug.budget).run();
    let Some(failure) = summary.failures.first() else {
        return wrong(format!("survived {} seeds", summary.seeds));
    };
    let checker = failure.violation.checker;
    if !bug.catchers.contains(&checker) {
        return wrong(format!("caught by {checker}: {}", failure.violation.text));
    }
    let effort = Effort { runs: 3000, time: Duration::from_secs(5) };
    let Some(small) = shrink(&*bug.experiment, failure, effort) else {
        return wrong("does not fail again".to_owned());
    };
    let file = replay::read(&replay::write(&small.failure)).expect("what was written");
    let again = replay::replay(&*bug.experiment, &file, false).violation;
    if again.is_none_or(|v| v.signature != failure.violation.signature) {
        return wrong("its file does not replay".to_owned());
    }
    let seeds = failure.seed.unwrap_or_default() + 1;
    println!(
        "{:58} {seeds:>6} of {:>7} seeds, {:>3} items after {:.0?}: {checker}",
        bug.name, bug.budget, small.items, small.wall
    );
    Ok(small)
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
