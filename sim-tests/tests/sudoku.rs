//! sudoku under fire: a campaign that gets everywhere, and determinism.

mod common;

use drywire_sim::sudoku;

#[test]
fn survives_a_swarm() {
    let phases = ["idle", "line", "solving", "replying", "full", "owing", "ending", "refused"];
    let summary = common::survives(&sudoku::trial(), 3000, &phases);
    assert!(summary.ops > 200_000, "{} operations", summary.ops);
}

/// With jobs that come back in any order.
#[test]
fn a_seed_is_a_run_and_so_is_its_script() {
    common::is_deterministic(&sudoku::trial());
}
