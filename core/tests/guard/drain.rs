//! Drain: in order, in time, and evenly.

use crate::{Polling, ns};
use drywire::Tick;
use drywire::guard::{Drain, DrainConfig, DrainStep, InFlight};
use proptest::prelude::*;

fn config() -> impl Strategy<Value = DrainConfig> {
    (0u64..40, 0u64..40, 0u64..60, 0u64..120).prop_map(|(announce, grace, spread, hard)| {
        DrainConfig { announce: ns(announce), grace: ns(grace), spread: ns(spread), hard: ns(hard) }
    })
}

#[derive(Clone, Debug)]
enum Op {
    Nothing,
    Answer,
    Acknowledge,
    Leave,
    /// A request, if they are still taken.
    Request,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        5 => Just(Op::Nothing),
        2 => Just(Op::Answer),
        1 => Just(Op::Acknowledge),
        1 => Just(Op::Leave),
        2 => Just(Op::Request),
    ];
    prop::collection::vec(op, 150..200)
}

/// Told connections leave when the tick is over.
fn run(
    config: &DrainConfig,
    ops: &[Op],
    mut load: InFlight,
    start: u64,
    polling: Polling,
) -> Vec<(u64, DrainStep)> {
    let mut drain = Drain::new();
    assert_eq!(drain.deadline(config, &load), None);
    drain.start(Tick(start));
    let mut steps = Vec::new();
    for (at, op) in ops.iter().enumerate() {
        let now = Tick(start + at as u64);
        let before = load;
        match op {
            Op::Nothing => {}
            Op::Answer => load.requests = load.requests.saturating_sub(1),
            Op::Acknowledge => load.acked = (load.acked + 1).min(load.conns),
            Op::Leave => load.conns = load.conns.saturating_sub(1).max(load.closing),
            Op::Request => {
                if drain.accepts() && load.conns > 0 {
                    load.requests += 1;
                }
            }
        }
        load.acked = load.acked.min(load.conns);
        if polling.is_due(now, drain.deadline(config, &load)) || load != before {
            loop {
                let step = drain.poll(config, now, &load);
                match step {
                    DrainStep::None => break,
                    DrainStep::Close(n) => {
                        assert!(load.closing + n <= load.conns, "told more than there are");
                        load.closing += n;
                    }
                    DrainStep::Abort => load = InFlight::NONE,
                    DrainStep::Announce | DrainStep::RefuseNew | DrainStep::Done => {}
                }
                steps.push((at as u64, step));
                assert!(steps.len() < 2000, "it never says that there is nothing");
            }
        }
        let due = drain.deadline(config, &load);
        assert!(due.is_none_or(|due| due > now), "{due:?} is due at {now:?} after a poll");
        load.conns -= load.closing;
        load.closing = 0;
        load.acked = load.acked.min(load.conns);
        // That is a change of the numbers too.
        if drain.poll(config, now, &load) == DrainStep::Done {
            steps.push((at as u64, DrainStep::Done));
        }
    }
    steps
}

fn load() -> impl Strategy<Value = InFlight> {
    (0usize..30, 0usize..50).prop_map(|(requests, conns)| InFlight {
        requests,
        conns,
        ..InFlight::NONE
    })
}

proptest! {
    #[test]
    fn polling_at_deadlines_is_polling_every_tick(
        config in config(), ops in ops(), load in load(), shift in 0u64..1 << 60,
    ) {
        let every = run(&config, &ops, load, 0, Polling::EveryTick);
        prop_assert_eq!(&run(&config, &ops, load, 0, Polling::AtDeadlines), &every);
        prop_assert_eq!(&run(&config, &ops, load, shift, Polling::AtDeadlines), &every);
    }

    /// Every step at most once and in order, done at the hard limit at the latest.
    #[test]
    fn it_ends_in_order_and_in_time(config in config(), ops in ops(), load in load()) {
        let steps = run(&config, &ops, load, 0, Polling::AtDeadlines);
        let rank = |step: &DrainStep| match step {
            DrainStep::Announce => 1,
            DrainStep::RefuseNew => 2,
            DrainStep::Close(_) => 3,
            DrainStep::Abort => 4,
            _ => 5,
        };
        for pair in steps.windows(2) {
            let again = matches!(pair, [(_, DrainStep::Close(_)), (_, DrainStep::Close(_))]);
            prop_assert!(again || rank(&pair[0].1) < rank(&pair[1].1), "{pair:?}");
        }
        let (at, last) = steps.last().unwrap();
        prop_assert_eq!(*last, DrainStep::Done);
        prop_assert!(*at <= config.hard.as_nanos() as u64);
        let aborted = steps.iter().any(|(_, step)| *step == DrainStep::Abort);
        prop_assert!(!aborted || *at == config.hard.as_nanos() as u64, "aborted before its time");
    }

    /// Nothing there: all steps at once.
    #[test]
    fn an_idle_server_is_done_at_once(config in config()) {
        prop_assume!(config.hard > ns(0));
        let steps = run(&config, &[Op::Nothing], InFlight::NONE, 0, Polling::AtDeadlines);
        let steps: Vec<_> = steps.into_iter().map(|(_, step)| step).collect();
        prop_assert_eq!(steps, [DrainStep::Announce, DrainStep::RefuseNew, DrainStep::Done]);
    }

    /// In each tenth of the spread a tenth of the connections is closed.
    #[test]
    fn closes_are_spread_evenly(conns in 1usize..500, spread in 10u64..1000) {
        let config = DrainConfig { announce: ns(0), grace: ns(0), spread: ns(spread), hard: ns(5000) };
        let load = InFlight { conns, ..InFlight::NONE };
        let ops = vec![Op::Nothing; 2 * spread as usize];
        let steps = run(&config, &ops, load, 0, Polling::AtDeadlines);
        let mut closed = 0;
        for (at, step) in steps {
            if let DrainStep::Close(n) = step {
                closed += n as u64;
                let even = (at + 1) * conns as u64 / spread;
                prop_assert!(closed.abs_diff(even) <= 1, "{closed} at {at}, {even} is even");
            }
        }
        prop_assert_eq!(closed, conns as u64);
    }
}
