//! The scenarios of `scenarios/`, each in each world that can bring its faults about.

use drywire_sim::planted::flawed::Flaw;
use drywire_sim::scenario::{Arm, Scenario};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

fn scenarios() -> Vec<Scenario> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = dir.read_dir().expect("the directory").map(|e| e.expect("an entry").path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    files.sort();
    files.iter().map(|path| Scenario::load(path).unwrap_or_else(|e| panic!("{e}"))).collect()
}

fn named(name: &str) -> Scenario {
    scenarios().into_iter().find(|s| s.name == name).unwrap_or_else(|| panic!("no {name}"))
}

/// What went wrong in this run, or how much stayed undecided; `None` if the arm cannot bring its faults about.
fn run(scenario: &Scenario, arm: Arm, seed: u64) -> Option<Result<u64, String>> {
    let report = scenario.run(arm, seed).ok()?;
    let of = format!("{} in {arm}, seed {seed}", scenario.name);
    Some(match report.violation {
        Some(violation) => Err(format!("{of}: {violation}")),
        None => Ok(report.undecided),
    })
}

/// Which scenarios an arm refuses is known: one more would be a fault that nobody sees.
fn all_in(arm: Arm, seeds: impl Fn(&Scenario) -> u64, threads: usize, refused: &[&str]) {
    let scenarios = scenarios();
    let cannot = scenarios.iter().filter(|s| !s.refusals(arm).is_empty());
    assert_eq!(cannot.map(|s| s.name.as_str()).collect::<Vec<_>>(), refused);
    let runs: Vec<_> =
        scenarios.iter().flat_map(|s| (0..seeds(s)).map(move |seed| (s, seed))).collect();
    let (next, undecided) = (AtomicUsize::new(0), AtomicU64::new(0));
    let (begin, slowest) = (Instant::now(), Mutex::new(Vec::new()));
    let failed: Vec<String> = std::thread::scope(|scope| {
        let work = || {
            let mut failed = Vec::new();
            while let Some((scenario, seed)) = runs.get(next.fetch_add(1, Relaxed)) {
                let began = Instant::now();
                let result = run(scenario, arm, *seed);
                slowest.lock().expect("no panic").push((began.elapsed(), &scenario.name, *seed));
                match result {
                    Some(Ok(n)) => drop(undecided.fetch_add(n, Relaxed)),
                    Some(Err(text)) => failed.push(text),
                    None => {}
                }
            }
            failed
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|t| t.join().expect("no panic")).collect()
    });
    let mut slowest = slowest.into_inner().expect("no panic");
    slowest.sort_unstable();
    let slowest: Vec<String> = slowest
        .iter()
        .rev()
        .take(6)
        .map(|(took, name, seed)| format!("{name} {seed}: {took:.1?}"))
        .collect();
    // Shown with --nocapture.
    println!(
        "{arm}: {} scenarios, {} runs, {:.1?}; {}",
        scenarios.len() - refused.len(),
        runs.len(),
        begin.elapsed(),
        slowest.join(", ")
    );
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    // Keys, of ten in each run: from there on the checker would not check.
    let undecided = undecided.into_inner();
    assert!(undecided * 4 <= runs.len() as u64, "{undecided} keys of {} runs", runs.len());
}

#[test]
fn all_in_the_simulator() {
    all_in(Arm::Core, |s| 4 * s.seeds, 2, &[]);
}

#[test]
fn all_in_turmoil() {
    let refused = [
        "chat-freeze",
        "chat-reset",
        "freeze",
        "given-up",
        "reset",
        "sudoku-freeze",
        "sudoku-reset",
        "sudoku-thin-and-narrow",
        "thin-and-narrow",
    ];
    all_in(Arm::Turmoil, |s| s.seeds, 2, &refused);
}

/// In real time, most of which is waiting: many at once.
#[test]
fn all_on_real_sockets() {
    all_in(Arm::Kernel, |_| 1, 16, &["chat-freeze", "freeze", "sudoku-freeze"]);
}

/// The simulator's runs are the same each time.
#[test]
fn a_seed_is_a_run() {
    for name in ["hold", "crash", "bad-callers"] {
        let [a, b] = [0, 1].map(|_| named(name).run(Arm::Core, 3).expect("no refusal"));
        assert_eq!((a.operations, a.answered, a.time), (b.operations, b.answered, b.time));
    }
}

/// An arm is worth something only if it notices: bugs planted between the engine and the host.
fn notices(arm: Arm, flaws: &[Flaw], scenarios: [&str; 2], seeds: u64) {
    let scenarios = scenarios.map(named);
    let missed: Vec<&Flaw> = flaws
        .iter()
        .filter(|flaw| {
            !(0..seeds).any(|seed| {
                let scenario = &scenarios[seed as usize % 2];
                let report = scenario.run_flawed(arm, seed, **flaw).expect("no refusal");
                report.violation.is_some()
            })
        })
        .collect();
    assert!(missed.is_empty(), "not noticed in {arm}: {missed:?}");
}

#[test]
fn the_simulator_notices_planted_bugs() {
    let flaws = [Flaw::PartialSendIsWhole, Flaw::SendsTwice, Flaw::NeverReleases];
    notices(Arm::Core, &flaws, ["thin-and-narrow", "bad-callers"], 12);
}

#[test]
fn turmoil_notices_planted_bugs() {
    let flaws = [
        Flaw::PartialSendIsWhole,
        Flaw::SendsTwice,
        Flaw::EndIsTheEnd,
        Flaw::NeverShutsDown,
        Flaw::NeverReleases,
    ];
    notices(Arm::Turmoil, &flaws, ["bad-callers", "calm"], 12);
}

/// A loopback socket takes small answers whole, so that bugs in partial sends do not show here; that
/// work under way is thrown away at the peer's end does.
#[test]
fn real_sockets_notice_planted_bugs() {
    notices(Arm::Kernel, &[Flaw::EndIsTheEnd], ["sudoku-bad-callers"; 2], 20);
}

/// A run whose faults come when nobody is there any more proves nothing, and says so.
#[test]
fn a_plan_that_meets_nobody_fails() {
    let text = "about = \"late\"\nprotocol = \"memcached\"\n[callers]\ncount = 1\nops = 2\n\
                think = \"1ms\"\n[[fault]]\nat = \"50s\"\nkind = \"abort\"\n";
    let late = Scenario::read("late", text).expect("a scenario");
    for arm in [Arm::Core, Arm::Turmoil] {
        let violation = late.run(arm, 0).expect("no refusal").violation.expect("a violation");
        assert_eq!(violation.checker, "vacuous");
    }
}
