//! The hub under fire: a campaign that gets everywhere, and determinism.

mod common;

use drywire_sim::{Fault, hub};

#[test]
fn survives_a_swarm() {
    let phases = ["idle", "message", "replying", "behind", "draining", "ending"];
    let summary = common::survives(&hub::trial(), 3000, &phases, &[Fault::Flip]);
    assert!(summary.ops > 150_000, "{} operations", summary.ops);
}

/// With several engines, letters between them and jobs in any order.
#[test]
fn a_seed_is_a_run_and_so_is_its_script() {
    common::is_deterministic(&hub::trial());
}
