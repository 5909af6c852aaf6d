//! sudoku under fire: a campaign that gets everywhere, and determinism.

mod common;

use drywire_sim::{Fault, sudoku};

#[test]
fn survives_a_swarm() {
    let phases = ["idle", "line", "solving", "replying", "full", "owing", "ending", "refused"];
    let summary = common::survives(&sudoku::trial(), 3000, &phases, &[]);
    assert!(summary.ops > 200_000, "{} operations", summary.ops);
}

/// Goodput, deadlines, refusals and queue, over links that hold up but do not end.
#[test]
fn goodput_is_near_the_ceiling_at_every_load() {
    let mild = ["cut", "short", "delay", "stall", "narrow", "far"];
    let others: Vec<Fault> =
        Fault::ALL.iter().copied().filter(|fault| !mild.contains(&fault.name())).collect();
    let summary = common::survives(&sudoku::overload(), 300, &["idle", "solving"], &others);
    assert!(summary.ops > 200_000, "{} boards", summary.ops);
}

/// Servers that are restarted one after the other: what is judged, and that most of it is judged
/// in many runs.
#[test]
fn a_rolling_restart_loses_nothing() {
    let mut without = Vec::from_iter(Fault::ALL.iter().copied());
    let hit = ["cut", "short", "narrow", "delay", "stall", "hole", "thin", "far", "reset"];
    let planned = ["unreachable", "crash", "power-loss", "drain"];
    without.retain(|fault| !hit.contains(&fault.name()) && !planned.contains(&fault.name()));
    let phases = ["idle", "line", "solving", "replying"];
    let summary = common::survives(&sudoku::rolling(), 200, &phases, &without);
    assert!(summary.ops > 100_000, "{} boards", summary.ops);
}

/// With jobs that come back in any order.
#[test]
fn a_seed_is_a_run_and_so_is_its_script() {
    common::is_deterministic(&sudoku::trial());
    common::is_deterministic(&sudoku::overload());
    common::is_deterministic(&sudoku::rolling());
}
