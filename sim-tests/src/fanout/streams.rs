//! One order out of what many heard of it, where nothing is numbered.
//!
//! Each listener hears a run of consecutive messages, with the gaps that it is told of. If there is
//! one order, then a message has the same neighbours at everybody who heard it and them without a
//! gap, a gap that is told is as long as others can tell, and following what came before what never
//! leads back.

use core::fmt::Debug;
use std::collections::BTreeMap;

/// What one listener heard next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<K> {
    /// This message. In one order, each is there once.
    Heard(K),
    /// So many are missing here; `None`: nobody knows how many, perhaps none.
    Gap(Option<u64>),
    /// It listens anew: what comes may be the last message once more, or any later one.
    Anew,
}

/// What all listeners heard.
#[derive(Debug)]
pub struct Streams<K> {
    names: Vec<K>,
    known: BTreeMap<K, usize>,
    /// By message: what is known to be somewhere behind it.
    behind: Vec<Vec<usize>>,
    /// By message: the one right behind it, and the one right before it.
    next: Vec<Option<usize>>,
    last: Vec<Option<usize>>,
    /// Gaps that were told: between which messages, and how long.
    gaps: Vec<(usize, usize, u64)>,
}

impl<K> Default for Streams<K> {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            known: BTreeMap::new(),
            behind: Vec::new(),
            next: Vec::new(),
            last: Vec::new(),
            gaps: Vec::new(),
        }
    }
}

impl<K: Ord + Clone + Debug> Streams<K> {
    /// Adds what one listener heard, in its order.
    ///
    /// # Errors
    /// Somebody else heard something between two of its messages.
    pub fn hear(&mut self, stream: impl IntoIterator<Item = Item<K>>) -> Result<(), String> {
        let mut before = None;
        let (mut gap, mut anew) = (Some(0), true);
        for item in stream {
            match item {
                Item::Gap(more) => gap = gap.zip(more).map(|(n, more)| n + more),
                Item::Anew => anew = true,
                Item::Heard(message) => {
                    let at = self.at(message);
                    if let Some(before) = before {
                        if anew {
                            self.follows(before, at);
                        } else {
                            self.heard(before, at, gap)?;
                        }
                    }
                    (before, gap, anew) = (Some(at), Some(0), false);
                }
            }
        }
        Ok(())
    }

    /// It is known otherwise that `first` was before `second`, or is the same.
    pub fn before(&mut self, first: K, second: K) {
        let (first, second) = (self.at(first), self.at(second));
        self.follows(first, second);
    }

    /// Whether `first` is known to be before `second`.
    #[must_use]
    pub fn is_before(&self, first: &K, second: &K) -> bool {
        let (Some(&first), Some(&second)) = (self.known.get(first), self.known.get(second)) else {
            return false;
        };
        let mut seen = vec![false; self.names.len()];
        let mut open = vec![first];
        while let Some(at) = open.pop() {
            for &to in &self.behind[at] {
                if to == second {
                    return true;
                }
                if !core::mem::replace(&mut seen[to], true) {
                    open.push(to);
                }
            }
        }
        false
    }

    /// Whether all of it is one order. `exact`: a gap is told with its size; otherwise it may
    /// count what is no message.
    ///
    /// # Errors
    /// Two messages that came in two orders, or a gap of the wrong size.
    pub fn check(&self, exact: bool) -> Result<(), String> {
        let mut waits = vec![0_usize; self.names.len()];
        self.behind.iter().flatten().for_each(|to| waits[*to] += 1);
        let mut free: Vec<usize> = (0..waits.len()).filter(|at| waits[*at] == 0).collect();
        let mut placed = 0;
        while let Some(at) = free.pop() {
            placed += 1;
            for &to in &self.behind[at] {
                waits[to] -= 1;
                if waits[to] == 0 {
                    free.push(to);
                }
            }
        }
        if placed < waits.len() {
            return Err(self.circle(&waits));
        }
        for &(from, to, told) in &self.gaps {
            let mut at = from;
            let mut steps = 0;
            while let Some(next) = self.next[at].filter(|_| at != to) {
                (at, steps) = (next, steps + 1);
            }
            if at == to && (exact && steps != told + 1 || steps > told + 1) {
                return Err(format!(
                    "{told} messages were told to be lost between {:?} and {:?}, and others heard {}",
                    self.names[from],
                    self.names[to],
                    steps - 1
                ));
            }
        }
        Ok(())
    }

    /// Walks among what could not be placed until it comes back to where it was.
    fn circle(&self, waits: &[usize]) -> String {
        let stuck = |at: &usize| waits[*at] > 0;
        // What comes before a stuck message is stuck as well, some of it.
        let mut seen = vec![false; waits.len()];
        let mut at = (0..waits.len()).find(stuck).unwrap_or_default();
        while !core::mem::replace(&mut seen[at], true) {
            let before =
                (0..waits.len()).filter(stuck).find(|from| self.behind[*from].contains(&at));
            at = before.unwrap_or(at);
        }
        let to = self.behind[at].iter().find(|to| stuck(to)).copied().unwrap_or(at);
        format!("{:?} and {:?} in two orders", self.names[at], self.names[to])
    }

    fn heard(&mut self, before: usize, at: usize, gap: Option<u64>) -> Result<(), String> {
        self.follows(before, at);
        if before == at {
            return Err(format!("{:?} twice", self.names[at]));
        }
        match gap {
            Some(0) => {
                let next = *self.next[before].get_or_insert(at);
                let last = *self.last[at].get_or_insert(before);
                if next != at || last != before {
                    let (a, b) = if next != at { (before, next) } else { (last, at) };
                    return Err(format!(
                        "{:?} came right behind {:?}, and others heard {:?} behind {:?}: a gap in silence",
                        self.names[at], self.names[before], self.names[b], self.names[a]
                    ));
                }
            }
            Some(told) => self.gaps.push((before, at, told)),
            None => {}
        }
        Ok(())
    }

    fn follows(&mut self, before: usize, at: usize) {
        if before != at && !self.behind[before].contains(&at) {
            self.behind[before].push(at);
        }
    }

    fn at(&mut self, message: K) -> usize {
        let names = &mut self.names;
        let at = *self.known.entry(message).or_insert_with_key(|message| {
            names.push(message.clone());
            names.len() - 1
        });
        self.behind.resize_with(self.names.len(), Vec::new);
        self.next.resize(self.names.len(), None);
        self.last.resize(self.names.len(), None);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Item::{Anew, Gap, Heard};

    fn judge(streams: &[&[Item<u8>]]) -> Result<(), String> {
        let mut all = Streams::default();
        for stream in streams {
            all.hear(stream.iter().copied())?;
        }
        all.check(true)
    }

    #[test]
    fn runs_of_one_order_are_fine() {
        let all: &[_] = &[Heard(1), Heard(2), Heard(3), Heard(4), Heard(5)];
        assert_eq!(
            judge(&[all, &[Heard(2), Heard(3)], &[Heard(1), Gap(Some(2)), Heard(4)]]),
            Ok(())
        );
        assert_eq!(judge(&[all, &[Heard(2), Gap(None), Heard(4)]]), Ok(()));
        assert_eq!(judge(&[all, &[Heard(2), Anew, Heard(2), Heard(3)]]), Ok(()));
        assert_eq!(judge(&[all, &[Heard(2), Anew, Heard(4), Heard(5)]]), Ok(()));
    }

    #[test]
    fn what_is_not_one_order_is_told() {
        let all: &[_] = &[Heard(1), Heard(2), Heard(3), Heard(4)];
        for (wrong, why) in [
            (&[Heard(2), Gap(None), Heard(1)][..], "two orders"),
            (&[Heard(2), Heard(1)], "a gap in silence"),
            (&[Heard(1), Heard(3)], "a gap in silence"),
            (&[Heard(1), Gap(Some(1)), Heard(4)], "lost between"),
            (&[Heard(1), Gap(Some(3)), Heard(4)], "lost between"),
            (&[Heard(3), Anew, Heard(2)], "two orders"),
            (&[Heard(2), Heard(2)], "twice"),
            (&[Heard(4), Gap(None), Heard(2)], "two orders"),
        ] {
            let told = judge(&[all, wrong]);
            assert!(told.as_ref().is_err_and(|text| text.contains(why)), "{wrong:?}: {told:?}");
        }
        // Nobody heard it all.
        let ring = [[Heard(1), Gap(None), Heard(2)], [Heard(2), Gap(None), Heard(3)]];
        let told = judge(&[&ring[0], &ring[1], &[Heard(3), Gap(None), Heard(1)]]);
        assert!(told.is_err_and(|text| text.contains("two orders")));
    }

    #[test]
    fn before_is_found_through_others() {
        let mut all = Streams::default();
        all.hear([Heard(1), Heard(2)]).unwrap();
        all.hear([Heard(2), Gap(None), Heard(3)]).unwrap();
        all.before(3, 4);
        assert!(all.is_before(&1, &4) && !all.is_before(&4, &1) && !all.is_before(&1, &1));
    }
}
