//! Makes a failing run small, so that a person can read it.
//!
//! What is shrunk are decisions, not data: a decision that is taken away becomes the boring one,
//! and because decisions are keyed by the operation they belong to, all others stay as they are.
//! A smaller run counts only if the *same* checker complains with the *same* signature.

use crate::campaign::Failure;
use crate::decide::{Decider, Decisions, Key};
use crate::trial::Experiment;
use core::time::Duration;
use std::time::Instant;

/// How hard to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Runs at most.
    pub runs: u32,
    /// Time at most.
    pub time: Duration,
}

impl Default for Effort {
    fn default() -> Self {
        Self { runs: 4000, time: Duration::from_secs(20) }
    }
}

/// What shrinking came to.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The same failure with fewer decisions.
    pub failure: Failure,
    /// Operations and faults before.
    pub items_before: usize,
    /// Operations and faults now.
    pub items: usize,
    /// Runs that it took.
    pub runs: u32,
    /// Time that it took.
    pub wall: Duration,
}

/// Shrinks a failure; `None` if it does not fail again in the first place.
#[must_use]
pub fn shrink(experiment: &dyn Experiment, failure: &Failure, effort: Effort) -> Option<Shrunk> {
    let mut shrinker = Shrinker {
        experiment,
        failure,
        text: failure.violation.text.clone(),
        begin: Instant::now(),
        effort,
        runs: 0,
    };
    let mut best = failure.decisions.clone();
    if !shrinker.fails(&best) {
        return None;
    }
    let items_before = items(&best);
    loop {
        let before = best.clone();
        shrinker.by_group(&mut best, |(site, _)| site.clone());
        shrinker.by_group(&mut best, |(_, key)| key.who.to_string());
        shrinker.by_group(&mut best, |(site, key)| item(site, *key));
        shrinker.by_group(&mut best, |(site, key)| format!("{site} {key}"));
        shrinker.lower(&mut best);
        if best == before || shrinker.spent() {
            break;
        }
    }
    let mut small = failure.clone();
    small.violation.text.clone_from(&shrinker.text);
    small.decisions = best;
    Some(Shrunk {
        items: items(&small.decisions),
        failure: small,
        items_before,
        runs: shrinker.runs,
        wall: shrinker.begin.elapsed(),
    })
}

/// Operations and faults in a set of decisions.
#[must_use]
pub fn items(decisions: &Decisions) -> usize {
    let mut items: Vec<String> = decisions.keys().map(|(site, key)| item(site, *key)).collect();
    items.sort_unstable();
    items.dedup();
    items.len()
}

/// What a person would count as one: an operation with all that was drawn for it, a fault in it,
/// a setting.
fn item(site: &str, key: Key) -> String {
    match site.split_once('.') {
        Some(("fault", fault)) => format!("{fault} {}.{}", key.who, key.op),
        Some((kind, _)) if key.op > 0 => {
            format!("{} {}.{}", kind.replace("caller", "op"), key.who, key.op)
        }
        _ => format!("{site} {}", key.who),
    }
}

struct Shrinker<'a> {
    experiment: &'a dyn Experiment,
    failure: &'a Failure,
    /// The story of the last run that failed.
    text: String,
    begin: Instant,
    effort: Effort,
    runs: u32,
}

impl Shrinker<'_> {
    fn spent(&self) -> bool {
        self.runs >= self.effort.runs || self.begin.elapsed() >= self.effort.time
    }

    fn fails(&mut self, decisions: &Decisions) -> bool {
        self.runs += 1;
        let report = self.experiment.run(Decider::script(decisions), false);
        let Some(violation) = report.violation else { return false };
        let wanted = &self.failure.violation;
        let same = violation.checker == wanted.checker && violation.signature == wanted.signature;
        if same {
            self.text = violation.text;
        }
        same
    }

    /// Takes away as many groups of decisions as possible: delta debugging (Zeller and
    /// Hildebrandt, 2002), which tries large parts first.
    fn by_group(&mut self, best: &mut Decisions, group: impl Fn(&(String, Key)) -> String) {
        let mut groups: Vec<String> = best.keys().map(&group).collect();
        groups.sort_unstable();
        groups.dedup();
        let mut size = groups.len();
        while size > 0 && !self.spent() {
            let mut at = 0;
            while at < groups.len() && !self.spent() {
                let end = (at + size).min(groups.len());
                let gone = &groups[at..end];
                let less: Decisions = best
                    .iter()
                    .filter(|(k, _)| gone.binary_search(&group(k)).is_err())
                    .map(|(k, v)| (k.clone(), *v))
                    .collect();
                if self.fails(&less) {
                    *best = less;
                    groups.drain(at..end);
                } else {
                    at = end;
                }
            }
            size /= 2;
        }
    }

    /// Makes values smaller, one by one.
    fn lower(&mut self, best: &mut Decisions) {
        let keys: Vec<(String, Key)> = best.keys().cloned().collect();
        for key in keys {
            while let Some(value) = best.get(&key).copied().filter(|v| *v > 1) {
                if self.spent() {
                    return;
                }
                let smaller = [1, value / 2, value - 1].into_iter().find(|v| {
                    let mut less = best.clone();
                    less.insert(key.clone(), *v);
                    self.fails(&less)
                });
                let Some(smaller) = smaller else { break };
                best.insert(key.clone(), smaller);
            }
        }
    }
}
