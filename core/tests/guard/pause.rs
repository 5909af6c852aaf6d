//! The pause after a refusal: bounded, off unless many are refused, all pauses end together, the
//! same polled at its deadlines as all the time.

use crate::{Polling, ns};
use drywire::Tick;
use drywire::guard::{RefusalPause, RefusalWindow};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Op {
    Refused,
    /// Input was read, and nothing of it refused.
    Served,
    Drained,
    /// Input came.
    Input,
    Nothing,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => Just(Op::Refused),
        1 => Just(Op::Served),
        4 => Just(Op::Drained),
        4 => Just(Op::Input),
        12 => Just(Op::Nothing),
    ];
    prop::collection::vec(op, 0..200)
}

/// After an op.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    input: bool,
    output: bool,
    /// For how long input has been there unread.
    unread: Option<u64>,
}

/// One op each tick from `start` on.
fn run(length: u64, from: u32, ops: &[Op], start: u64, polling: Polling) -> Vec<Held> {
    let mut window = RefusalWindow::new();
    let mut pause = RefusalPause::new();
    let (mut sent, mut came) = (true, None);
    let step = |(at, op): (u64, &Op)| {
        let now = Tick(start + at);
        if polling.is_due(now, pause.deadline()) {
            pause.poll(now);
        }
        came = came.filter(|_| pause.holds_input());
        match op {
            Op::Refused => {
                pause.refused(window.refused(ns(length), from, 1, now));
                sent = false;
            }
            Op::Served => pause.served(),
            Op::Drained => {
                pause.drained();
                sent = true;
            }
            Op::Input if came.is_none() => {
                if sent {
                    pause.input_waits(window.waits_until(ns(length), from, now, now));
                }
                came = Some(at);
            }
            Op::Input | Op::Nothing => {}
        }
        came = came.filter(|_| pause.holds_input());
        assert!(pause.deadline().is_none_or(|at| at > now), "no spinning");
        let unread = came.map(|came| at - came);
        Held { input: pause.holds_input(), output: pause.holds_output(), unread }
    };
    (0..).zip(ops).map(step).collect()
}

/// Gaps, and how many are refused after each.
fn refusals() -> impl Strategy<Value = Vec<(u64, u32)>> {
    prop::collection::vec((0u64..30, 1u32..4), 1..100)
}

/// When each of `refusals` is served again, with the moment it happened.
fn ends(length: u64, from: u32, refusals: &[(u64, u32)]) -> Vec<(u64, Option<u64>)> {
    let mut window = RefusalWindow::new();
    let mut now = 1;
    let each = |(gap, count): &(u64, u32)| {
        now += gap;
        let end = window.refused(ns(length), from, *count, Tick(now));
        assert_eq!(end, window.pauses_until(from, Tick(now)), "so for the next one");
        (now, end.map(|end| end.0))
    };
    refusals.iter().map(each).collect()
}

proptest! {
    #[test]
    fn polling_at_deadlines_is_polling_every_tick(
        length in 0u64..20, from in 0u32..6, ops in ops(), start in 1u64..1 << 60
    ) {
        let [every, due] = Polling::BOTH.map(|polling| run(length, from, &ops, 1, polling));
        prop_assert_eq!(&every, &due);
        prop_assert_eq!(every, run(length, from, &ops, start, Polling::AtDeadlines), "the epoch shows");
    }

    /// Nor does the unit of time.
    #[test]
    fn scale_does_not_show(length in 1u64..20, from in 0u32..6, refusals in refusals(), scale in 1u64..50) {
        let longer: Vec<_> = refusals.iter().map(|(gap, count)| (gap * scale, *count)).collect();
        let waits = |scale, ends: Vec<(u64, Option<u64>)>| -> Vec<_> {
            ends.into_iter().map(|(now, end)| end.map(|end| (end - now) / scale)).collect()
        };
        prop_assert_eq!(
            waits(1, ends(length, from, &refusals)),
            waits(scale, ends(length * scale, from, &longer))
        );
    }

    /// A pause is never longer than it may be, and never without a burden: so many refusals within
    /// two lengths. Where so many come within one, there is one.
    #[test]
    fn a_pause_has_its_burden_and_is_bounded(
        length in 1u64..40, from in 1u32..8, refusals in refusals()
    ) {
        let ends = ends(length, from, &refusals);
        for (place, (now, end)) in ends.iter().enumerate() {
            let within = |span: u64| -> u32 {
                let seen = ends[..=place].iter().zip(&refusals);
                seen.filter(|((at, _), _)| now - at < span).map(|(_, (_, count))| count).sum()
            };
            match end {
                Some(end) => {
                    prop_assert!(*end > *now && end - now <= length);
                    prop_assert!(within(2 * length) >= from, "{place} without a burden");
                }
                // A length lies in two spans; one of them has half of what came in it.
                None => prop_assert!(within(length) < 2 * from, "{place} is a burden"),
            }
        }
    }

    /// While there is somebody refused in each span, all pauses end on one grid, however late
    /// whoever serves comes to the ends of them.
    #[test]
    fn pauses_end_together(
        length in 1u64..40, from in 0u32..2, refusals in prop::collection::vec((0u64..40, 1u32..4), 1..100)
    ) {
        let kept: Vec<_> = refusals.into_iter().map(|(gap, count)| (gap % length, count)).collect();
        let ends = ends(length, from, &kept);
        let first = ends[0].1.expect("one is enough");
        for (now, end) in &ends {
            let end = end.expect("one is enough");
            prop_assert_eq!((end - first) % length, 0, "at {}", now);
        }
    }

    /// Whoever is held was refused, or has input waiting, for less than a pause; output is held only
    /// once the refusal and what was before it is sent.
    #[test]
    fn only_the_refused_wait_and_not_for_long(length in 0u64..20, from in 0u32..6, ops in ops()) {
        let (mut refused, mut sent) = (None, true);
        let held = run(length, from, &ops, 1, Polling::AtDeadlines);
        for ((at, op), Held { input, output, unread }) in (0..).zip(&ops).zip(held) {
            match op {
                Op::Refused => (refused, sent) = (Some(at), false),
                Op::Drained => sent = true,
                Op::Served | Op::Input | Op::Nothing => {}
            }
            let since_refused = refused.map(|refused: u64| at - refused);
            prop_assert!(!input || unread.or(since_refused) < Some(length), "{at}: held too long");
            prop_assert!(!input || refused.is_some(), "{at}: nobody waits who was not refused");
            prop_assert_eq!(output, input && sent, "{}", at);
        }
    }

    /// What came is left for a pause, less an eighth at most, to a bound that all share.
    #[test]
    fn input_waits_from_when_it_came(
        length in 1u64..1 << 40, requests in 1u32..5, gap in 0u64..1 << 40, age in 0u64..1 << 41
    ) {
        let mut window = RefusalWindow::new();
        let first = Tick(1 << 42);
        let end = window.refused(ns(length), 3, requests, first).map(|end| end.0);
        let now = first.0 + gap % (2 * length);
        let step = (length / 8).max(1);
        let last = now - age + length;
        match window.waits_until(ns(length), 3, Tick(now - age), Tick(now)) {
            Some(Tick(at)) => {
                prop_assert!(now < at && at <= last && last - at < step, "{at} for {last}");
                prop_assert_eq!(at.abs_diff(end.expect("a burden")) % step, 0);
            }
            None => prop_assert!(requests < 3 || last < now + step, "it is to wait"),
        }
        let served = {
            let mut pause = RefusalPause::new();
            pause.refused(end.map(Tick));
            pause.poll(Tick(first.0 + length));
            (0..3).for_each(|_| pause.served());
            pause.input_waits(Some(Tick(first.0 + 2 * length)));
            pause
        };
        prop_assert!(!served.holds_input(), "who was served since is read at once");
    }

    /// A lone refusal is followed by none.
    #[test]
    fn a_refusal_among_few_is_told_and_forgotten(
        length in 1u64..40, from in 2u32..8, gaps in prop::collection::vec(0u64..100, 1..100)
    ) {
        // At most one less than `from` in any two lengths.
        let each = 2 * length / u64::from(from - 1) + 1;
        let rare: Vec<_> = gaps.into_iter().map(|gap| (gap + each, 1)).collect();
        prop_assert!(ends(length, from, &rare).iter().all(|(_, end)| end.is_none()));
    }
}

#[test]
fn a_clock_that_goes_back_or_another_length_prolongs_nothing() {
    let mut window = RefusalWindow::new();
    let pauses = [(100, 1000), (100, 10), (100, 1000), (7, 500), (40, 30)]
        .map(|(length, now)| window.refused(ns(length), 1, 1, Tick(now)).map(|end| end.0 - now));
    assert!(
        pauses
            .iter()
            .zip([100, 100, 100, 7, 40])
            .all(|(end, most)| end.is_some_and(|end| end <= most))
    );
    assert_eq!(window.refused(ns(0), 1, 1, Tick(31)), None, "off");
}
