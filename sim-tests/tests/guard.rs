//! The rules of liveness, gates and drains under fire: campaigns that get everywhere, and
//! determinism.

mod common;

use drywire_sim::guard;

const PHASES: [&str; 7] =
    ["idle", "request", "asked", "replying", "paused", "refusing", "draining"];

#[test]
fn heartbeats_survive_a_swarm() {
    let summary = common::survives(&guard::heartbeat(), 2000, &PHASES, &[]);
    assert!(summary.ops > 80_000, "{} operations", summary.ops);
}

#[test]
fn gates_survive_a_swarm() {
    let summary = common::survives(&guard::gates(), 1000, &PHASES, &[]);
    assert!(summary.ops > 30_000, "{} operations", summary.ops);
}

#[test]
fn drains_survive_a_swarm() {
    let summary = common::survives(&guard::drain(), 2000, &PHASES, &[]);
    assert!(summary.ops > 80_000, "{} operations", summary.ops);
}

#[test]
fn a_seed_is_a_run_and_so_is_its_script() {
    common::is_deterministic(&guard::heartbeat());
    common::is_deterministic(&guard::gates());
    common::is_deterministic(&guard::drain());
}
