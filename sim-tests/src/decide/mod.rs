//! Every choice of a run, in one place.
//!
//! Whatever a simulation could do differently (which request comes next, where a write is cut,
//! whether a link is reset) is asked of the [`Decider`] as `(site, key, n)`: *what kind of
//! choice*, *whose*, *out of how many*. The answer 0 is always the boring one: no fault, no
//! delay, the smallest size.
//!
//! Answers are a function of the question's identity, not of the order in which questions come:
//! taking one operation or one fault out of a run leaves all other answers as they were. That is
//! what makes shrinking work, and it is why a [`Key`] names an operation.

mod hash;
mod odometer;

pub use hash::{Digest, mix, name};
pub use odometer::Odometer;

use core::fmt;
use std::collections::{BTreeMap, HashMap};

/// A kind of choice. Its name is part of the replay format: never rename one.
#[derive(Clone, Copy)]
pub struct Site {
    /// What stands in replay files: letters, digits, `.`, `-`.
    pub name: &'static str,
    id: u64,
}

impl Site {
    /// The kind of choice called `name`.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, id: hash::name(name) }
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Whose choice it is: the `nth` question of this kind about operation `op` of caller `who`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The caller.
    pub who: u32,
    /// The operation, from 1; 0 for what belongs to the caller as a whole.
    pub op: u32,
    /// Counts questions of one kind within the operation.
    pub nth: u32,
}

impl Key {
    /// The first question of a kind about operation `op` of caller `who`.
    #[must_use]
    pub const fn of(who: u32, op: u32) -> Self {
        Self { who, op, nth: 0 }
    }

    /// The same with another ordinal.
    #[must_use]
    pub const fn nth(self, nth: u32) -> Self {
        Self { nth, ..self }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.who, self.op, self.nth)
    }
}

/// How likely a rare thing is, in parts of 65,536.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chance(pub u32);

impl Chance {
    /// Never, unless a script says so.
    pub const NEVER: Self = Self(0);
    /// Each time.
    pub const ALWAYS: Self = Self(1 << 16);

    /// One time in `n`.
    #[must_use]
    pub const fn one_in(n: u32) -> Self {
        match (1_u32 << 16).checked_div(n) {
            Some(parts) => Self(parts),
            None => Self::NEVER,
        }
    }
}

/// The answers of a run that are not boring: all that is needed to have it again.
pub type Decisions = BTreeMap<(String, Key), u64>;

/// A question, as an interactive driver sees it.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// What kind of choice.
    pub site: Site,
    /// Whose.
    pub key: Key,
    /// Answers are below this.
    pub n: u64,
    /// Whether it asks for a fault or another rare event.
    pub rare: bool,
}

/// A person, or a program, that answers.
pub type Asked = Box<dyn FnMut(&Question) -> u64 + Send>;

/// Answers all questions of a run. See the [module](self).
pub struct Decider {
    driver: Driver,
    record: Option<Decisions>,
    asked: u64,
}

enum Driver {
    Seed(u64),
    Script(HashMap<(u64, Key), u64>),
    Bytes { bytes: Vec<u8>, at: usize },
    Odometer(Odometer),
    Interactive(Asked),
}

impl Decider {
    /// Answers from a hash of `seed`, the site and the key.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::new(Driver::Seed(mix(seed)))
    }

    /// Answers as written; what is not written is 0.
    #[must_use]
    pub fn script(decisions: &Decisions) -> Self {
        let answers = decisions.iter().map(|((site, key), v)| ((name(site), *key), *v)).collect();
        Self::new(Driver::Script(answers))
    }

    /// Answers from a fuzzer's bytes, in order; 0 when they are used up.
    #[must_use]
    pub fn bytes(bytes: Vec<u8>) -> Self {
        Self::new(Driver::Bytes { bytes, at: 0 })
    }

    /// Answers of one point of an exhaustive walk; get the odometer back with
    /// [`Decider::into_odometer`].
    #[must_use]
    pub fn odometer(odometer: Odometer) -> Self {
        Self::new(Driver::Odometer(odometer))
    }

    /// Asks somebody.
    #[must_use]
    pub fn interactive(asked: Asked) -> Self {
        Self::new(Driver::Interactive(asked))
    }

    fn new(driver: Driver) -> Self {
        Self { driver, record: None, asked: 0 }
    }

    /// Keeps the answers that are not 0.
    #[must_use]
    pub fn recording(mut self) -> Self {
        self.record = Some(Decisions::new());
        self
    }

    /// The answers kept so far that are not 0.
    #[must_use]
    pub fn decisions(&self) -> Option<&Decisions> {
        self.record.as_ref()
    }

    /// The odometer, moved on to its next point; `None` when this driver is another one.
    #[must_use]
    pub fn into_odometer(self) -> Option<Odometer> {
        match self.driver {
            Driver::Odometer(o) => Some(o),
            _ => None,
        }
    }

    /// Questions answered so far.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked
    }

    /// A number below `n`, each as likely as the others; 0 if `n` is 0.
    #[inline]
    pub fn below(&mut self, site: Site, key: Key, n: u64) -> u64 {
        if n <= 1 {
            return 0;
        }
        self.asked += 1;
        let value = match &mut self.driver {
            Driver::Seed(seed) => reduce(draw(*seed, site, key), n),
            Driver::Script(s) => s.get(&(site.id, key)).copied().unwrap_or(0).min(n - 1),
            Driver::Bytes { bytes, at } => reduce(next(bytes, at, width(n)), n),
            Driver::Odometer(o) => o.next(n),
            Driver::Interactive(asked) => asked(&Question { site, key, n, rare: false }).min(n - 1),
        };
        self.keep(site, key, value)
    }

    /// 0 most of the time; with `chance` a number in `1..n`.
    #[inline]
    pub fn rare(&mut self, site: Site, key: Key, chance: Chance, n: u64) -> u64 {
        if n <= 1 {
            return 0;
        }
        // A script replays what was recorded, whatever the chance was then.
        if chance == Chance::NEVER && !matches!(self.driver, Driver::Script(_)) {
            return 0;
        }
        self.asked += 1;
        let value = match &mut self.driver {
            Driver::Seed(seed) => {
                let h = draw(*seed, site, key);
                if (h & 0xffff) < u64::from(chance.0) { 1 + reduce(mix(h), n - 1) } else { 0 }
            }
            Driver::Script(s) => s.get(&(site.id, key)).copied().unwrap_or(0).min(n - 1),
            Driver::Bytes { bytes, at } => match next(bytes, at, 1) >> 56 {
                b if b >= 0xe0 => 1 + reduce(next(bytes, at, width(n)), n - 1),
                _ => 0,
            },
            Driver::Odometer(o) => o.next(n),
            Driver::Interactive(asked) => asked(&Question { site, key, n, rare: true }).min(n - 1),
        };
        self.keep(site, key, value)
    }

    /// A number up to `max`, small ones more likely: each power of two as likely as the next.
    #[inline]
    pub fn size(&mut self, site: Site, key: Key, max: u64) -> u64 {
        if max == 0 {
            return 0;
        }
        let raw = match &mut self.driver {
            Driver::Seed(seed) => {
                let h = draw(*seed, site, key);
                let bits = reduce(h, u64::from(u64::BITS - max.leading_zeros()) + 1);
                let value = mix(h) & ((1_u128 << bits) - 1) as u64;
                value.min(max)
            }
            _ => return self.below(site, key, max.saturating_add(1)),
        };
        self.asked += 1;
        self.keep(site, key, raw)
    }

    /// A setting of the run that only steers how likely other answers are, so that a script
    /// does not need it: from its own stream, never recorded. 0 under a script.
    pub fn setting(&mut self, what: Site, n: u64) -> u64 {
        match &mut self.driver {
            Driver::Seed(seed) if n > 1 => reduce(mix(draw(!*seed, what, Key::default())), n),
            Driver::Bytes { bytes, at } if n > 1 => reduce(next(bytes, at, 1), n),
            _ => 0,
        }
    }

    #[inline]
    fn keep(&mut self, site: Site, key: Key, value: u64) -> u64 {
        if value != 0
            && let Some(record) = &mut self.record
        {
            record.insert((site.name.to_owned(), key), value);
        }
        value
    }
}

impl fmt::Debug for Decider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let driver = match self.driver {
            Driver::Seed(_) => "seed",
            Driver::Script(_) => "script",
            Driver::Bytes { .. } => "bytes",
            Driver::Odometer(_) => "odometer",
            Driver::Interactive(_) => "interactive",
        };
        f.debug_struct("Decider").field("driver", &driver).field("asked", &self.asked).finish()
    }
}

#[inline]
fn draw(seed: u64, site: Site, key: Key) -> u64 {
    let whose = (u64::from(key.who) << 32) | u64::from(key.op);
    mix(mix(seed ^ site.id ^ mix(whose)).wrapping_add(u64::from(key.nth)))
}

/// Maps a full-width number to one below `n` without a division.
#[inline]
fn reduce(h: u64, n: u64) -> u64 {
    ((u128::from(h) * u128::from(n)) >> 64) as u64
}

/// Bytes of fuzzer input that a choice out of `n` is worth.
fn width(n: u64) -> usize {
    (u64::BITS - (n - 1).leading_zeros()).div_ceil(8) as usize
}

/// The next `width` fuzzer bytes, as a fraction of the full range.
fn next(bytes: &[u8], at: &mut usize, width: usize) -> u64 {
    let mut value = [0; 8];
    let take = width.min(bytes.len() - *at);
    value[..take].copy_from_slice(&bytes[*at..*at + take]);
    *at += take;
    u64::from_be_bytes(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: Site = Site::new("test.site");
    const OTHER: Site = Site::new("test.other");

    #[test]
    fn answers_depend_on_identity_alone() {
        let mut forwards = Decider::seeded(7);
        let mut backwards = Decider::seeded(7);
        let keys: Vec<Key> = (0..50).map(|i| Key::of(i % 3, i).nth(i % 2)).collect();
        let a: Vec<u64> = keys.iter().map(|k| forwards.below(SITE, *k, 1000)).collect();
        let mut b: Vec<u64> = keys.iter().rev().map(|k| backwards.below(SITE, *k, 1000)).collect();
        b.reverse();
        assert_eq!(a, b);
        assert_ne!(a, keys.iter().map(|k| forwards.below(OTHER, *k, 1000)).collect::<Vec<_>>());
    }

    #[test]
    fn a_script_repeats_a_seed() {
        let mut seed = Decider::seeded(3).recording();
        let ask = |d: &mut Decider| -> Vec<u64> {
            (0..200)
                .flat_map(|i| {
                    let key = Key::of(1, i);
                    [
                        d.below(SITE, key, 4),
                        d.rare(OTHER, key, Chance::one_in(8), 10),
                        d.size(Site::new("test.size"), key, 1 << 20),
                    ]
                })
                .collect()
        };
        let first = ask(&mut seed);
        let decisions = seed.decisions().cloned().unwrap_or_default();
        assert!(decisions.values().all(|v| *v != 0));
        assert_eq!(first, ask(&mut Decider::script(&decisions)));
        assert!(ask(&mut Decider::script(&Decisions::new())).iter().all(|v| *v == 0));
    }

    #[test]
    fn rare_is_as_rare_as_asked() {
        let mut d = Decider::seeded(1);
        let hits = (0..100_000)
            .filter(|i| d.rare(SITE, Key::of(0, *i), Chance::one_in(50), 3) != 0)
            .count();
        assert!((1700..2300).contains(&hits), "{hits}");
        assert!((0..1000).all(|i| d.rare(SITE, Key::of(1, i), Chance::ALWAYS, 3) != 0));
        assert!((0..1000).all(|i| d.rare(SITE, Key::of(2, i), Chance::NEVER, 3) == 0));
    }

    #[test]
    fn sizes_are_spread_over_magnitudes() {
        let mut d = Decider::seeded(2);
        let mut seen = [0_u32; 21];
        for i in 0..20_000 {
            let v = d.size(SITE, Key::of(0, i), 1_000_000);
            assert!(v <= 1_000_000);
            seen[(u64::BITS - v.leading_zeros()) as usize] += 1;
        }
        assert!(seen.iter().all(|n| *n > 300), "{seen:?}");
    }

    #[test]
    fn bytes_are_used_in_order_and_then_everything_is_boring() {
        let mut d = Decider::bytes(vec![0xff, 0x80, 0x01]);
        assert_eq!(d.rare(SITE, Key::default(), Chance::one_in(9), 3), 2);
        assert_eq!(d.below(SITE, Key::default(), 256), 1);
        for _ in 0..10 {
            assert_eq!(d.below(SITE, Key::default(), 256), 0);
            assert_eq!(d.rare(SITE, Key::default(), Chance::ALWAYS, 2), 0);
        }
    }
}
