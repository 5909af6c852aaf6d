//! Servers behind the C interface, driven by a host loop written in C, under the simulator's
//! faults: the library's memcached, judged as the Rust engine is, and a protocol that its author
//! wrote in C. What is loaded is the shared library, through its exported functions alone.

#[path = "simulated/host.rs"]
mod host;

use drywire_sim::decide::{Decider, Key, Site};
use drywire_sim::memcache::{Memcache, Shape, Witness};
use drywire_sim::sudoku;
use drywire_sim::{
    Campaign, Draw, Effort, Experiment, Fault, Faults, Heard, Said, Trial, Workload, replay, shrink,
};
use host::Program;

const DEBUG_VIEWS: Site = Site::new("c.debug_views");

/// The memcached trial of `drywire_sim`, with the C host in the place of its own.
fn memcached(flags: &[&str]) -> Trial<Memcache> {
    let program = Program::compile(&["sim_host.c", "memcached.c"], flags);
    let serve = move |decider: &mut Decider| -> drywire_sim::Factory {
        let shape = Shape { shards: 1, ..Shape::draw(decider) };
        let debug_views = decider.below(DEBUG_VIEWS, Key::default(), 2);
        let settings = [
            shape.limits.input as u64,
            shape.limits.output_high as u64,
            shape.limits.output_low as u64,
            u64::from(shape.limits.messages_per_turn),
            u64::from(shape.item_max),
            shape.connections as u64,
            debug_views,
        ];
        Box::new(move |life| Box::new(program.start(&settings, life, u64::from(shape.item_max))))
    };
    Trial::of("memcached through C", serve, Memcache::new).expect(Witness)
}

fn fine(trial: &dyn Experiment, seeds: u64) -> drywire_sim::Summary {
    let summary = Campaign::new(trial, 0..seeds).jobs(2).run();
    if let Some(failure) = summary.failures.first() {
        panic!("{}\n{}", failure.violation, replay::write(failure));
    }
    assert_eq!(summary.undecided, 0);
    summary
}

#[test]
fn memcached_through_c_survives_a_swarm() {
    let trial = memcached(&[]);
    let summary = fine(&trial, 300);
    assert!(summary.ops > 20_000, "{} operations", summary.ops);
    for fault in Fault::ALL {
        let phases = summary.matrix.phases();
        let hits: u64 = phases.iter().map(|phase| summary.matrix.hits(*fault, phase)).sum();
        assert!(hits > 0, "{fault} never hit");
    }
}

/// I5: nothing in the library or in the loop depends on addresses, clocks or chance.
#[test]
fn a_seed_is_a_run_and_so_is_its_script() {
    let trial = memcached(&[]);
    for seed in 0..40 {
        let first = trial.run(Decider::seeded(seed).recording(), false);
        let again = trial.run(Decider::seeded(seed), true);
        let script = trial.run(Decider::script(&first.decisions), false);
        assert_eq!(first.digest, again.digest, "seed {seed}, watched");
        assert_eq!(first.digest, script.digest, "seed {seed}, from its script");
    }
}

/// Mistakes of a host in C are found.
#[test]
fn planted_damage_is_found() {
    for (plant, checkers) in [
        ("-DPLANT_PARTIAL_SEND_TAKEN_FOR_WHOLE", &["reply", "ledger", "live"][..]),
        ("-DPLANT_INPUT_TAKEN_THAT_WAS_NOT_CONSUMED", &["reply", "ledger", "live", "witness"]),
        ("-DPLANT_AGAIN_FORGOTTEN", &["live", "ledger"]),
        ("-DPLANT_END_OF_INPUT_FORGOTTEN", &["live", "leak", "ledger"]),
    ] {
        let trial = memcached(&[plant]);
        let summary = Campaign::new(&trial, 0..300).jobs(2).failures(1).run();
        let failure = summary.failures.first().unwrap_or_else(|| panic!("{plant} is not found"));
        let checker = failure.violation.checker;
        assert!(checkers.contains(&checker), "{plant}: {}", failure.violation);
    }
}

/// The sudoku trial of `drywire_sim`: slow work that leaves the server and comes back.
fn sudoku(flags: &[&str]) -> Trial<sudoku::Sudoku> {
    let program = Program::compile(&["sim_host.c", "sudoku.c"], flags);
    let serve = move |decider: &mut Decider| -> drywire_sim::Factory {
        let shape = sudoku::Shape::draw(decider);
        let config = shape.config();
        let settings = [
            shape.limits.input.max(2048) as u64, // the least that C may ask for
            shape.limits.output_high as u64,
            shape.limits.output_low as u64,
            u64::from(shape.limits.messages_per_turn),
            shape.connections as u64,
            shape.deadline.as_nanos() as u64,
            u64::from(shape.workers),
            u64::from(shape.guesses),
            u64::from(shape.under_way),
            config.admit.service_guess.as_nanos() as u64,
        ];
        // As the trial has it: promises about time hold where the limits leave room.
        let wide = shape.limits == drywire::sudoku::limits() && shape.under_way == 1024;
        let deadline = if wide { shape.deadline.as_millis() as u64 } else { 0 };
        let remark = deadline << 32 | u64::from(shape.guesses);
        Box::new(move |life| Box::new(program.start(&settings, life, remark).quick(shape.quick)))
    };
    Trial::of("sudoku through C", serve, sudoku::Sudoku::new)
        .expect(sudoku::Prompt)
        .expect(sudoku::TakesOne)
}

#[test]
fn sudoku_through_c_survives_a_swarm() {
    let summary = fine(&sudoku(&[]), 200);
    assert!(summary.ops > 5_000, "{} operations", summary.ops);
    let broken = sudoku(&["-DPLANT_RESULT_FORGOTTEN"]);
    let summary = Campaign::new(&broken, 0..100).jobs(2).failures(1).run();
    let failure = summary.failures.first().expect("lost results are found");
    assert!(
        ["live", "ledger", "leak"].contains(&failure.violation.checker),
        "{}",
        failure.violation
    );
}

/// What the guide shows: `docs/test-your-protocol.md`.
#[test]
fn a_protocol_written_in_c_is_tested_like_any_other() {
    let trial = |flags: &[&str]| {
        // [guide]
        let program = Program::compile(&["sim_host.c", "adder.c"], flags);
        let trial = Trial::of(
            "adder in C",
            move |_| Box::new(move |life| Box::new(program.start(&[], life, 0))),
            |_caller| Sums,
        )
        .faults(Faults::all().except(&[Fault::Flip]));
        // [end]
        trial
    };
    fine(&trial(&["-DFIXED"]), 300);

    let broken = trial(&[]);
    let summary = broken.seeds(0..1000).run();
    let failure = summary.failures.first().expect("the bug shows");
    let small = shrink(&broken, failure, Effort::default()).expect("it fails again");
    assert_eq!(small.failure.violation.checker, "reply");
    assert!(small.failure.violation.text.contains("is not `what?`"), "{}", small.failure.violation);
    assert!(small.items <= 20, "{} items", small.items);
    let again =
        replay::replay(&broken, &replay::read(&replay::write(&small.failure)).unwrap(), false);
    assert_eq!(again.violation, Some(small.failure.violation));
}

/// Sums, one after the other.
struct Sums;

const KIND: Site = Site::new("adder.kind");
const FIRST: Site = Site::new("adder.first");

impl Workload for Sums {
    type Request = (u64, u64);
    type Reply = u64;

    fn draw(&mut self, draw: &mut Draw<'_>) -> Option<(u64, u64)> {
        (draw.below(KIND, 8) > 0).then(|| (draw.size(FIRST, 1 << 40), u64::from(draw.key.op)))
    }

    fn encode(&mut self, (a, b): &(u64, u64), to: &mut Vec<u8>) {
        to.extend_from_slice(format!("{a}+{b}\n").as_bytes());
    }

    fn hear(
        &mut self,
        owed: &mut dyn Iterator<Item = &(u64, u64)>,
        bytes: &[u8],
    ) -> Result<Option<Heard<u64>>, String> {
        let Some(end) = bytes.iter().position(|b| *b == b'\n') else { return Ok(None) };
        let line = String::from_utf8_lossy(&bytes[..end]);
        let (a, b) = owed.next().ok_or("a reply without a request")?;
        match line.parse() {
            Ok(sum) if sum == a + b => {
                Ok(Some(Heard { used: end + 1, what: Said::Answer(0, sum) }))
            }
            _ => Err(format!("{a}+{b} is not `{line}`")),
        }
    }
}

/// The guide shows these files as they are.
#[test]
fn the_guide_is_current() {
    let guide = include_str!("../../docs/test-your-protocol.md");
    let adder = include_str!("simulated/adder.c");
    let from = adder.find("/* A protocol in C").expect("its beginning");
    let block = format!("```c\n{}```\n", &adder[from..]);
    assert!(guide.contains(&block), "the guide does not show ffi/tests/simulated/adder.c");
    let me = include_str!("simulated.rs");
    let (_, rest) = me.split_once("// [guide]\n").expect("the part for the guide");
    let (part, _) = rest.split_once("        // [end]").expect("its end");
    let part: String =
        part.lines().map(|line| format!("{}\n", line.trim_start_matches("        "))).collect();
    for line in part.lines() {
        assert!(guide.contains(line), "the guide does not show {line}");
    }
}
