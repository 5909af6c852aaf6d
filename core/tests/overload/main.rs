//! The service at 0.5 to 10 times its capacity, in virtual time, through the real engine.
//!
//! Measured against the best that is possible when looking at a request and refusing one cost 1 %
//! of a service time each. The bars are those of `docs/overload.md`; the example `overload` draws
//! the curves.

#[allow(dead_code, reason = "the example needs more of it")]
mod model;

use drywire::guard::AdmitConfig;
use model::report::{End, Figures};
use model::{Kind, Load, MS, Policy, Report, S, Setup, Shape};
use std::time::Duration;

const UNBOUNDED: Policy = Policy::Count(usize::MAX);
const LOADS: [f64; 9] = [0.5, 0.8, 0.95, 1.0, 1.2, 2.0, 4.0, 6.0, 10.0];

fn guard(deadline: u64) -> Policy {
    Policy::Guard(AdmitConfig::for_deadline(Duration::from_nanos(deadline)))
}

/// Goodput, latency and refusals of the settled part of a run.
fn check(what: &str, report: &Report, until: u64) {
    let f = report.figures(S, until);
    let deadline = report.deadline as f64 / MS as f64;
    assert!(f.goodput >= 0.95 * f.ceiling, "{what}: {f:?}");
    assert!(f.p99 <= deadline, "{what}: {f:?}");
    assert!(f.late <= 0.001, "{what}: {f:?}");
    assert!(f.refusal_p99 <= 5.0, "{what}: {f:?}");
    // A flat queue: never more than what the whole budget holds, and the noise of the estimate.
    let most = report.deadline / report.service * 3 / 2;
    assert!(report.longest_queue as u64 <= most, "{what}: {} waited", report.longest_queue);
}

#[test]
fn open_loop_goodput_is_near_the_ceiling_at_every_load() {
    for x in LOADS {
        for seed in [1, 2] {
            let report = Setup { seed, ..Setup::new(guard(50 * MS)) }.run(&Load::open(x, 3));
            check(&format!("{x}, seed {seed}"), &report, 3 * S);
        }
    }
    for x in [0.95, 1.2, 10.0] {
        for shape in [Shape::Fixed, Shape::Bimodal] {
            let report = Setup { shape, ..Setup::new(guard(50 * MS)) }.run(&Load::open(x, 3));
            check(&format!("{x}, {shape:?}"), &report, 3 * S);
        }
        for deadline in [10 * MS, 200 * MS] {
            let load = Load { deadline, ..Load::open(x, 3) };
            let report = Setup::new(guard(deadline)).run(&load);
            check(&format!("{x}, deadline {deadline} ns"), &report, 3 * S);
        }
        let costly = Setup { parse: 0.02, refuse: 0.03, ..Setup::new(guard(50 * MS)) };
        check(&format!("{x}, costly refusals"), &costly.run(&Load::open(x, 3)), 3 * S);
    }
}

#[test]
fn closed_loop_goodput_is_near_the_ceiling_at_every_load() {
    for x in LOADS {
        let setup = Setup::new(guard(50 * MS));
        check(&format!("{x}"), &setup.run(&Load::closed(x, setup.service, 3)), 3 * S);
    }
}

/// A refusal that comes alone costs a read and a write, a ninth of the service time here.
#[test]
fn lone_refusals_are_gathered() {
    for x in LOADS.into_iter().filter(|x| *x <= 6.0).chain([3.0, 5.0]) {
        let report = Setup::on_sockets(Duration::from_millis(4)).run(&Load::open(x, 3));
        let f = report.figures(S, 3 * S);
        assert!(f.goodput >= 0.9 * f.ceiling && f.late <= 0.001, "{x}: {f:?}");
        assert!(f.p99 <= 20.0 && f.refusal_p99 <= 5.0, "{x}: {f:?}");
        assert!(x > 1.0 || f.refusal_p99 <= 1.0, "few are refused, and at once: {x}: {f:?}");
    }
    let f = Setup::on_sockets(Duration::ZERO).run(&Load::open(5.0, 3)).figures(S, 3 * S);
    assert!(f.goodput < 0.6 * f.ceiling, "without the pause: {f:?}");
}

/// When the core was away, all connections are refused at once and pause in step. The queue lasts
/// until they are read again, so that it is not taken for one that does not stand.
#[test]
fn pauses_that_fall_into_step_do_not_empty_the_queue() {
    let pause = Duration::from_millis(4);
    for x in [2.0, 3.0, 5.0] {
        let away = Some((100 * MS, 6 * MS));
        let report = Setup { away, ..Setup::on_sockets(pause) }.run(&Load::open(x, 3));
        let f = report.figures(S, 3 * S);
        // Of the time that the core was there.
        assert!(f.goodput >= 0.94 * 0.88 * f.ceiling && f.late <= 0.001, "{x}: {f:?}");
        assert!(f.p99 <= 30.0 && f.refusal_p99 <= 10.0, "{x}: {f:?}");
    }
}

/// A moment without requests, in an overload that goes on, does not open the door to all that come
/// after it: they would wait as long as clients do, and the last of them in vain.
#[test]
fn a_gap_in_an_overload_is_no_calm() {
    for x in [1.5, 2.0, 3.0, 5.0] {
        let clients_away = Some((100 * MS, 4 * MS));
        let setup = Setup { clients_away, ..Setup::on_sockets(Duration::from_millis(4)) };
        let f = setup.run(&Load::open(x, 3)).figures(S, 3 * S);
        assert!(f.goodput >= 0.9 * f.ceiling && f.late == 0.0, "{x}: {f:?}");
        assert!(f.p99 <= 20.0 && f.refusal_p99 <= 5.0, "{x}: {f:?}");
    }
}

/// What the curves look like without the guard: this is how the tests above would fail.
#[test]
fn an_unbounded_queue_answers_nobody_in_time() {
    for x in [1.2, 4.0] {
        let f = Setup::new(UNBOUNDED).run(&Load::open(x, 3)).figures(S, 3 * S);
        assert!(f.goodput < 0.01 && f.p50 > 100.0, "{f:?}");
    }
}

#[test]
fn a_step_to_ten_times_the_load_is_taken_at_once() {
    let load = Load::profile(vec![(2 * S, 0.5), (4 * S, 10.0), (6 * S, 0.5)], 6);
    for seed in 1..6 {
        let report = Setup { seed, ..Setup::new(guard(50 * MS)) }.run(&load);
        let late = report.requests.iter().filter(|r| r.end == End::Done && !report.in_time(r));
        assert_eq!(late.count(), 0, "late answers");
        // 300 ms after the step it has settled, 300 ms after its end it is over.
        let during = report.figures(2 * S + 300 * MS, 4 * S);
        assert!(during.goodput >= 0.95 * during.ceiling && during.p99 <= 20.0, "{during:?}");
        let settling = report.figures(2 * S, 2 * S + 300 * MS);
        assert!(settling.goodput >= 0.9 * settling.ceiling, "{settling:?}");
        let after = report.figures(4 * S + 300 * MS, 6 * S);
        assert_eq!(after.refused, 0.0, "{after:?}");
        assert!(after.p99 < 3.0, "{after:?}");
    }
}

/// A refusal is false if without any refusals the answer would have come in time.
#[test]
fn bursts_are_not_refused() {
    for (percent, most) in [(10, 0.001), (30, 0.001), (60, 0.001), (80, 0.01), (90, 0.01)] {
        let load = Load::bursts(percent * 50 * MS / 100, 10);
        let guarded = Setup::new(guard(50 * MS)).run(&load);
        let unguarded = Setup::new(UNBOUNDED).run(&load);
        assert_eq!(guarded.requests.len(), unguarded.requests.len(), "the same trace");
        let pairs = guarded.requests.iter().zip(&unguarded.requests);
        let falsely = pairs.filter(|(g, u)| g.end == End::Refused && unguarded.in_time(u)).count();
        let share = falsely as f64 / guarded.requests.len() as f64;
        assert!(share <= most, "bursts of {percent} % of the deadline: {share}");
    }
}

#[test]
fn retries_do_not_keep_an_overload_alive() {
    let load =
        Load { retries: 3, ..Load::profile(vec![(3 * S, 0.8), (4 * S, 3.8), (8 * S, 0.8)], 8) };
    for seed in [1, 2] {
        let report = Setup { seed, ..Setup::new(guard(50 * MS)) }.run(&load);
        assert!(report.calls_answered(0, 3 * S) > 0.999);
        assert!(report.calls_answered(4 * S + 200 * MS, 8 * S) > 0.999, "recovered within 0.2 s");
    }
    let never = Setup::new(UNBOUNDED).run(&load);
    assert!(never.calls_answered(6 * S, 8 * S) < 0.1, "without the guard it never recovers");
}

#[test]
fn one_flooder_does_not_hurt_the_polite() {
    let polite = |flooder: f64| -> Figures {
        let kind = Kind::Flood { flooder, polite: 0.5 };
        let setup = Setup { conns: 101, ..Setup::new(guard(50 * MS)) };
        let mut report = setup.run(&Load { kind, ..Load::open(0.0, 4) });
        report.requests.retain(|r| r.conn > 0);
        report.figures(S, 4 * S)
    };
    let alone = polite(0.0001);
    let beside = polite(10.0);
    let share = |f: &Figures| f.goodput / f.offered;
    assert!(share(&beside) >= 0.98 * share(&alone), "{beside:?}");
    assert!(beside.p99 <= 10.0 && beside.refused <= 0.02, "{beside:?}");
}

/// Those who ask for little do not wait in the queue that another fills, neither when its burst
/// arrives nor later.
#[test]
fn a_flood_is_not_noticed_by_who_asks_for_little() {
    let kind = Kind::Flood { flooder: 10.0, polite: 0.02 };
    let setup = Setup { conns: 51, ..Setup::new(guard(50 * MS)) };
    let mut report = setup.run(&Load { kind, ..Load::open(0.0, 4) });
    report.requests.retain(|r| r.conn > 0);
    for (from, until) in [(0, S / 2), (S, 4 * S)] {
        let f = report.figures(from, until);
        assert!(f.p99 <= 1.0 && f.refused == 0.0, "{f:?}");
    }
}
