//! The pause after a refusal: bounded, off unless many are refused, all pauses end together, the
//! same polled at its deadlines as all the time.

use crate::{Polling, ns};
use drywire::Tick;
use drywire::guard::{RefusalPause, RefusalWindow};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Op {
    Refused,
    Drained,
    Nothing,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![1 => Just(Op::Refused), 1 => Just(Op::Drained), 4 => Just(Op::Nothing)];
    prop::collection::vec(op, 0..200)
}

/// One op each tick from `start` on; whether input and output are held after it.
fn run(length: u64, from: u32, ops: &[Op], start: u64, polling: Polling) -> Vec<(bool, bool)> {
    let mut window = RefusalWindow::new();
    let mut pause = RefusalPause::new();
    let step = |(at, op): (u64, &Op)| {
        let now = Tick(start + at);
        if polling.is_due(now, pause.deadline()) {
            pause.poll(now);
        }
        match op {
            Op::Refused => pause.refused(window.refused(ns(length), from, 1, now)),
            Op::Drained => pause.drained(),
            Op::Nothing => {}
        }
        assert!(pause.deadline().is_none_or(|at| at > now), "no spinning");
        (pause.holds_input(), pause.holds_output())
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

    /// Whoever is held was refused less than a pause ago; output is held only once the refusal and
    /// what was before it is sent.
    #[test]
    fn only_the_refused_wait_and_not_for_long(length in 0u64..20, from in 0u32..6, ops in ops()) {
        let mut refused = None;
        let held = run(length, from, &ops, 1, Polling::AtDeadlines);
        for (at, (op, (input, output))) in ops.iter().zip(held).enumerate() {
            if matches!(op, Op::Refused) {
                refused = Some(at);
            }
            let since = refused.map_or(&[][..], |refused| &ops[refused..=at]);
            prop_assert!(!input || since.len() as u64 <= length, "{}", at);
            let last = since.iter().rev().find(|op| !matches!(op, Op::Nothing));
            prop_assert_eq!(output, input && matches!(last, Some(Op::Drained)), "{}", at);
        }
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
