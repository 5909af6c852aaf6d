//! Linearizability of a history: is there one order of all operations, each at some moment
//! between its call and its return, that a sequential object could have answered like this?
//!
//! The search is that of Wing and Gong (1993) with the cache of Lowe (2017): walk the history,
//! take any operation whose call has come and that no unfinished return forbids, undo when stuck,
//! and never visit the same (set taken, state) twice. An operation whose outcome is unknown may
//! take effect at any time from its call on, or never.

use core::hash::Hash;
use std::collections::HashSet;

/// A sequential object.
pub trait Spec {
    /// Its state.
    type State: Clone + Eq + Hash;
    /// An operation, with the reply that came of it, if one did.
    type Op;
    /// The state before everything.
    fn start(&self) -> Self::State;
    /// The state after `op`, if the object could have answered so; `None` if not.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State>;
}

/// An operation in a history.
#[derive(Clone, Debug)]
pub struct Entry<O> {
    /// When it was called, on any scale.
    pub call: u64,
    /// When it returned; `None` if its outcome is unknown: it may even never take effect.
    pub ret: Option<u64>,
    /// What was done and what came of it.
    pub op: O,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// There is such an order.
    Yes,
    /// There is none. The longest order found reaches so many operations.
    No(usize),
    /// The budget of steps is used up.
    Undecided,
}

/// Looks for an order, within `budget` steps.
///
/// Linear in the history when calls do not overlap; exponential in the number that overlap at
/// one time, in the worst case.
pub fn linearize<S: Spec>(spec: &S, history: &[Entry<S::Op>], budget: u64) -> Decided {
    let mut order: Vec<usize> = (0..history.len()).collect();
    order.sort_by_key(|i| history[*i].call);
    let must = history.iter().filter(|e| e.ret.is_some()).count();
    let mut search = Search {
        spec,
        history,
        order: &order,
        taken: vec![0; history.len().div_ceil(64)],
        first: 0,
        seen: HashSet::new(),
        budget,
        best: 0,
        must,
        done: 0,
    };
    search.run()
}

struct Search<'a, S: Spec> {
    spec: &'a S,
    history: &'a [Entry<S::Op>],
    /// By call.
    order: &'a [usize],
    /// Bits by position in `order`.
    taken: Vec<u64>,
    /// Everything before is taken.
    first: usize,
    seen: HashSet<(Vec<u64>, usize, S::State)>,
    budget: u64,
    best: usize,
    /// Operations that returned, and how many of them are taken.
    must: usize,
    done: usize,
}

/// A choice that was made, to be undone.
struct Frame<T> {
    position: usize,
    first: usize,
    before: T,
}

impl<S: Spec> Search<'_, S> {
    fn run(&mut self) -> Decided {
        let mut state = self.spec.start();
        let mut stack: Vec<Frame<S::State>> = Vec::new();
        let mut from = self.first;
        loop {
            if self.done == self.must {
                return Decided::Yes;
            }
            match self.choose(&state, from) {
                Some((position, next)) => {
                    let first = self.first;
                    self.take(position);
                    let before = core::mem::replace(&mut state, next);
                    stack.push(Frame { position, first, before });
                    self.best = self.best.max(self.done);
                    from = self.first;
                }
                None if self.budget == 0 => return Decided::Undecided,
                None => {
                    let Some(frame) = stack.pop() else { return Decided::No(self.best) };
                    self.give_back(frame.position, frame.first);
                    state = frame.before;
                    from = frame.position + 1;
                }
            }
        }
    }

    /// The next operation, at `from` or later in the order of calls, that may come now.
    fn choose(&mut self, state: &S::State, from: usize) -> Option<(usize, S::State)> {
        // Nothing may be taken that was called after an untaken operation had returned.
        let mut horizon = u64::MAX;
        for position in self.first..self.order.len() {
            let entry = &self.history[self.order[position]];
            if entry.call > horizon {
                break;
            }
            if self.is_taken(position) {
                continue;
            }
            horizon = horizon.min(entry.ret.unwrap_or(u64::MAX));
            if position < from {
                continue;
            }
            if self.budget == 0 {
                return None;
            }
            self.budget -= 1;
            let Some(next) = self.spec.step(state, &entry.op) else { continue };
            if self.is_new(position, &next) {
                return Some((position, next));
            }
        }
        None
    }

    fn is_new(&mut self, position: usize, next: &S::State) -> bool {
        let mut taken = self.taken.clone();
        taken[position / 64] |= 1 << (position % 64);
        // Everything before `first` is taken: no need to keep those words.
        let taken = taken.split_off(self.first / 64);
        self.seen.insert((taken, self.first / 64, next.clone()))
    }

    fn is_taken(&self, position: usize) -> bool {
        self.taken[position / 64] >> (position % 64) & 1 == 1
    }

    fn take(&mut self, position: usize) {
        self.taken[position / 64] |= 1 << (position % 64);
        self.done += usize::from(self.history[self.order[position]].ret.is_some());
        while self.first < self.order.len() && self.is_taken(self.first) {
            self.first += 1;
        }
    }

    fn give_back(&mut self, position: usize, first: usize) {
        self.taken[position / 64] &= !(1 << (position % 64));
        self.done -= usize::from(self.history[self.order[position]].ret.is_some());
        self.first = first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A register of one byte: writes, and reads that saw a value.
    struct Register;

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Write(u8),
        Read(u8),
    }

    impl Spec for Register {
        type State = u8;
        type Op = Op;
        fn start(&self) -> u8 {
            0
        }
        fn step(&self, state: &u8, op: &Op) -> Option<u8> {
            match op {
                Op::Write(v) => Some(*v),
                Op::Read(v) => (v == state).then_some(*state),
            }
        }
    }

    fn entry(call: u64, ret: impl Into<Option<u64>>, op: Op) -> Entry<Op> {
        Entry { call, ret: ret.into(), op }
    }

    #[test]
    fn overlapping_writes_may_come_in_any_order() {
        let mut history = vec![
            entry(1, 10, Op::Write(1)),
            entry(2, 10, Op::Write(2)),
            entry(11, 12, Op::Read(1)),
        ];
        assert_eq!(linearize(&Register, &history, 1000), Decided::Yes);
        history.push(entry(13, 14, Op::Read(2)));
        assert!(matches!(linearize(&Register, &history, 1000), Decided::No(3)));
    }

    #[test]
    fn a_stale_read_is_found() {
        let history = [entry(1, 2, Op::Write(1)), entry(3, 4, Op::Read(0))];
        assert_eq!(linearize(&Register, &history, 1000), Decided::No(1));
    }

    #[test]
    fn an_unknown_outcome_may_take_effect_late_or_never() {
        let lost = entry(1, None, Op::Write(7));
        for last in [7, 0] {
            let history = [lost.clone(), entry(5, 6, Op::Read(0)), entry(8, 9, Op::Read(last))];
            assert_eq!(linearize(&Register, &history, 1000), Decided::Yes);
        }
        let history = [lost, entry(5, 6, Op::Read(7)), entry(8, 9, Op::Read(0))];
        assert!(matches!(linearize(&Register, &history, 1000), Decided::No(_)));
    }

    #[test]
    fn a_budget_too_small_is_undecided() {
        let mut history: Vec<_> = (0..40).map(|i| entry(i, 100, Op::Write(i as u8))).collect();
        history.push(entry(101, 102, Op::Read(200)));
        assert_eq!(linearize(&Register, &history, 5000), Decided::Undecided);
    }

    #[test]
    fn long_histories_of_one_client_take_linear_work() {
        let history: Vec<_> = (0..20_000)
            .map(|i| {
                let op = if i % 2 == 0 { Op::Write(i as u8) } else { Op::Read((i - 1) as u8) };
                entry(2 * i, 2 * i + 1, op)
            })
            .collect();
        assert_eq!(linearize(&Register, &history, 20_000), Decided::Yes);
    }

    /// Against the definition: all orders of small histories.
    #[test]
    fn agrees_with_trying_all_orders() {
        let mut seed = 1;
        let mut next = move |n: u64| {
            seed = crate::decide::mix(seed);
            seed % n
        };
        let (mut yes, mut no) = (0, 0);
        for _ in 0..3000 {
            let history: Vec<_> = (0..5)
                .map(|_| {
                    let call = next(8) * 2;
                    let op = match next(2) {
                        0 => Op::Write(next(3) as u8),
                        _ => Op::Read(next(3) as u8),
                    };
                    let unknown = matches!(op, Op::Write(_)) && next(4) == 0;
                    entry(call, (!unknown).then(|| call + 1 + 2 * next(4)), op)
                })
                .collect();
            let expected = brute(&history, 0, 0);
            let got = linearize(&Register, &history, 1 << 20);
            assert_eq!(matches!(got, Decided::Yes), expected, "{history:?}");
            yes += u32::from(expected);
            no += u32::from(!expected);
        }
        assert!(yes > 300 && no > 300, "{yes} {no}");
    }

    fn brute(history: &[Entry<Op>], taken: u32, state: u8) -> bool {
        let left = |i: &usize| taken >> i & 1 == 0;
        let open: Vec<usize> = (0..history.len()).filter(left).collect();
        if open.iter().all(|i| history[*i].ret.is_none()) {
            return true;
        }
        let horizon = open.iter().filter_map(|i| history[*i].ret).min().unwrap_or(u64::MAX);
        open.iter().any(|i| {
            history[*i].call <= horizon
                && Register
                    .step(&state, &history[*i].op)
                    .is_some_and(|next| brute(history, taken | 1 << i, next))
        })
    }
}
