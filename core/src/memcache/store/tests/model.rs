//! The store beside a naive map, under limits so tight that it evicts all the time.

use bytes::Bytes;
use proptest::prelude::*;
use std::collections::HashMap;
use std::string::String;
use std::vec;
use std::vec::Vec;

use super::*;
use crate::memcache::store::shared::VALUE_COST;

#[derive(Clone, Debug)]
enum Op {
    Store {
        verb: u8,
        key: u16,
        len: usize,
        ttl: u32,
        flags: u32,
    },
    Get(u16),
    /// Gets and keeps the shared value, as a slow reader would.
    Hold(u16),
    Release,
    GetAndTouch(u16, u32),
    Touch(u16, u32),
    Delete(u16),
    Number(u16, u64),
    Incr(u16, u64),
    Decr(u16, u64),
    Advance(u32),
    Flush(u32),
    Maintain(u32),
    Reserve(u32),
    Grow(usize, usize),
    Finish {
        slot: usize,
        verb: u8,
        key: u16,
    },
    Cancel(usize),
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![
        6 => 0usize..80,
        3 => 80usize..1500,
        2 => 4080usize..4110,
        1 => 4096usize..40_000,
        1 => 100_000usize..140_000,
    ]
}

fn op(keys: u16) -> impl Strategy<Value = Op> {
    let key = move || 0..keys;
    let ttl = || prop_oneof![5 => Just(0u32), 2 => 1u32..6];
    prop_oneof![
        12 => (0u8..8, key(), len(), ttl(), 0u32..3).prop_map(|(verb, key, len, ttl, flags)| Op::Store {
            verb, key, len, ttl, flags
        }),
        10 => key().prop_map(Op::Get),
        2 => key().prop_map(Op::Hold),
        1 => Just(Op::Release),
        1 => (key(), ttl()).prop_map(|(k, t)| Op::GetAndTouch(k, t)),
        1 => (key(), ttl()).prop_map(|(k, t)| Op::Touch(k, t)),
        2 => key().prop_map(Op::Delete),
        1 => (key(), any::<u64>()).prop_map(|(k, n)| Op::Number(k, n)),
        1 => (key(), any::<u64>()).prop_map(|(k, n)| Op::Incr(k, n)),
        1 => (key(), any::<u64>()).prop_map(|(k, n)| Op::Decr(k, n)),
        1 => (0u32..3).prop_map(Op::Advance),
        1 => prop_oneof![9 => 1u32..8, 1 => Just(0u32)].prop_map(Op::Flush),
        1 => (1u32..500).prop_map(Op::Maintain),
        2 => (0u32..120_000).prop_map(Op::Reserve),
        6 => (0usize..4, 0usize..60_000).prop_map(|(slot, n)| Op::Grow(slot, n)),
        3 => (0usize..4, 0u8..8, key()).prop_map(|(slot, verb, key)| Op::Finish { slot, verb, key }),
        1 => (0usize..4).prop_map(Op::Cancel),
    ]
}

#[derive(Clone, Debug)]
struct Item {
    value: Vec<u8>,
    flags: u32,
    cas: u64,
    expiry: Expiry,
}

/// What a command answered, in a form that the model can also make.
#[derive(Debug, PartialEq)]
enum Answer {
    Hit(Option<(Vec<u8>, u32)>),
    Done(bool),
    Number(Result<u64, DeltaError>),
    Stored(Stored),
}

struct Run {
    bench: Bench,
    model: HashMap<u16, Item>,
    flush_at: Option<u32>,
    /// Items that the model holds no more because the store evicted them.
    lost: u64,
    last_cas: u64,
    bytes: u8,
    reservations: Vec<Reservation>,
    held: Vec<(Bytes, Vec<u8>)>,
}

impl Run {
    fn new(limit: u64, evict: bool) -> Self {
        let bench = Bench::new(|config| {
            config.limit = limit;
            config.evict = evict;
        });
        Self {
            bench,
            model: HashMap::new(),
            flush_at: None,
            lost: 0,
            last_cas: 0,
            bytes: 0,
            reservations: vec![],
            held: vec![],
        }
    }

    fn key(key: u16) -> Vec<u8> {
        // From 1 to 250 bytes.
        let mut bytes = std::format!("{key}").into_bytes();
        bytes.resize(bytes.len().max(usize::from(key) % 250), b'k');
        bytes
    }

    fn value(&mut self, len: usize) -> Vec<u8> {
        self.bytes = self.bytes.wrapping_add(31);
        (0..len).map(|i| self.bytes ^ (i as u8).wrapping_mul(7)).collect()
    }

    fn expiry(&self, ttl: u32) -> Expiry {
        if ttl == 0 { Expiry::NEVER } else { Expiry::at(Secs::new(self.bench.now.get() + ttl)) }
    }

    fn live(&mut self, key: u16) -> Option<&mut Item> {
        let now = self.bench.now;
        self.model.get_mut(&key).filter(|item| !item.expiry.is_past(now))
    }

    /// Compares an answer with the model's; the model may have to learn that the item was evicted.
    fn judge(&mut self, key: u16, answer: &Answer, mut expected: impl FnMut(&mut Self) -> Answer) {
        let wanted = expected(self);
        if *answer == wanted {
            return;
        }
        assert!(self.live(key).is_some(), "{answer:?} instead of {wanted:?}");
        self.model.remove(&key);
        self.lost += 1;
        let wanted = expected(self);
        assert_eq!(*answer, wanted);
    }

    fn store(
        &mut self,
        verb: u8,
        key: u16,
        value: &[u8],
        flags: u32,
        ttl: u32,
        reserved: Option<Reservation>,
    ) {
        let expiry = self.expiry(ttl);
        let cas = self.live(key).map_or(7, |item| item.cas);
        let verb = match verb {
            0..=2 => Verb::Set,
            3 => Verb::Add,
            4 => Verb::Replace,
            5 => Verb::Append,
            6 => Verb::Prepend,
            _ => Verb::Cas(cas),
        };
        let name = Self::key(key);
        let (hash, now) = (self.bench.hasher.hash(&name), self.bench.now);
        let body = reserved.map_or(Body::Copy(value), Body::Reserved);
        let stored = self.bench.store.store(now, hash, &name, verb, flags, expiry, body);
        if stored == Stored::NoMemory {
            if verb == Verb::Set {
                self.model.remove(&key);
            }
            return;
        }
        let item_max = self.bench.store.item_max();
        let limit = |flags| item_limit(item_max, name.len(), flags) as usize;
        let mut written = None;
        self.judge(key, &Answer::Stored(stored), |run| {
            written = None;
            if value.len() > limit(flags) {
                if verb == Verb::Set {
                    run.model.remove(&key);
                }
                return Answer::Stored(Stored::TooLarge);
            }
            let new = Item { value: value.to_vec(), flags, cas: 0, expiry };
            let old = run.live(key).cloned();
            let item = match (verb, old) {
                (Verb::Add, Some(_)) | (Verb::Replace | Verb::Append | Verb::Prepend, None) => None,
                (Verb::Cas(_), None) => return Answer::Stored(Stored::NotFound),
                (Verb::Cas(unique), Some(old)) if unique != old.cas => {
                    return Answer::Stored(Stored::Exists);
                }
                (Verb::Append, Some(old)) => {
                    Some(Item { value: [&old.value, value].concat(), ..old })
                }
                (Verb::Prepend, Some(old)) => {
                    Some(Item { value: [value, &old.value].concat(), ..old })
                }
                _ => Some(new),
            };
            written = item.filter(|item| item.value.len() <= limit(item.flags));
            Answer::Stored(if written.is_some() { Stored::Stored } else { Stored::NotStored })
        });
        if let Some(item) = written {
            self.model.insert(key, item);
            self.learn_cas(key);
        }
    }

    /// After a change the store must know the item, under a new cas unique.
    fn learn_cas(&mut self, key: u16) {
        let name = Self::key(key);
        let hash = self.bench.hasher.hash(&name);
        let hit = self.bench.store.get(self.bench.now, hash, &name);
        let Some(item) = self.model.get_mut(&key) else { return };
        if item.expiry.is_past(self.bench.now) {
            assert!(hit.is_none());
            return;
        }
        let hit = hit.expect("just stored");
        assert!(hit.cas > self.last_cas, "a cas unique came again");
        self.last_cas = hit.cas;
        item.cas = hit.cas;
    }

    fn number(&mut self, key: u16, change: impl Fn(u64) -> u64, answer: Result<u64, DeltaError>) {
        if answer == Err(DeltaError::NoMemory) {
            return;
        }
        let mut changed = false;
        self.judge(key, &Answer::Number(answer), |run| {
            let Some(item) = run.live(key) else {
                return Answer::Number(Err(DeltaError::NotFound));
            };
            let text = String::from_utf8_lossy(&item.value).trim().parse::<u64>();
            let Ok(number) = text else { return Answer::Number(Err(DeltaError::NonNumeric)) };
            let mut digits = std::format!("{}", change(number)).into_bytes();
            digits.resize(digits.len().max(item.value.len()), b' ');
            item.value = digits;
            changed = true;
            Answer::Number(Ok(change(number)))
        });
        if changed {
            self.learn_cas(key);
        }
    }

    fn run(&mut self, op: &Op) {
        let now = self.bench.now;
        let name = |key: &u16| Self::key(*key);
        match op {
            Op::Store { verb, key, len, ttl, flags } => {
                let value = self.value(*len);
                self.store(*verb, *key, &value, *flags, *ttl, None);
            }
            Op::Number(key, number) => {
                let value = std::format!("{number}").into_bytes();
                self.store(0, *key, &value, 0, 0, None);
            }
            Op::Get(key) | Op::Hold(key) | Op::GetAndTouch(key, _) => {
                let (hash, name) = (self.bench.hasher.hash(&name(key)), name(key));
                let expiry =
                    if let Op::GetAndTouch(_, ttl) = op { Some(self.expiry(*ttl)) } else { None };
                let hit = match expiry {
                    Some(expiry) => self.bench.store.get_and_touch(now, hash, &name, expiry),
                    None => self.bench.store.get(now, hash, &name),
                };
                if let (Op::Hold(_), Some(Hit { value: ValueRef::Shared(bytes), .. })) = (op, hit) {
                    self.held.push((bytes.clone(), bytes.to_vec()));
                }
                let cas = hit.map(|hit| hit.cas);
                let answer = Answer::Hit(hit.map(|hit| (hit.value.as_slice().to_vec(), hit.flags)));
                self.judge(*key, &answer, |run| {
                    Answer::Hit(run.live(*key).map(|item| {
                        assert!(cas.is_none_or(|cas| cas == item.cas));
                        item.expiry = expiry.unwrap_or(item.expiry);
                        (item.value.clone(), item.flags)
                    }))
                });
            }
            Op::Release => self.held.truncate(self.held.len() / 2),
            Op::Touch(key, ttl) => {
                let expiry = self.expiry(*ttl);
                let hash = self.bench.hasher.hash(&name(key));
                let answer = Answer::Done(self.bench.store.touch(now, hash, &name(key), expiry));
                self.judge(*key, &answer, |run| {
                    Answer::Done(run.live(*key).map(|item| item.expiry = expiry).is_some())
                });
            }
            Op::Delete(key) => {
                let answer = Answer::Done(self.bench.delete(&name(key)));
                self.judge(*key, &answer, |run| Answer::Done(run.live(*key).is_some()));
                self.model.remove(key);
            }
            Op::Incr(key, delta) => {
                let answer = self.bench.incr(&name(key), *delta);
                self.number(*key, |n| n.wrapping_add(*delta), answer);
            }
            Op::Decr(key, delta) => {
                let answer = self.bench.decr(&name(key), *delta);
                self.number(*key, |n| n.saturating_sub(*delta), answer);
            }
            Op::Advance(secs) => {
                let now = now.get() + secs;
                self.bench.at(now);
                if self.flush_at.is_some_and(|at| at <= now) {
                    self.model.clear();
                    self.flush_at = None;
                }
            }
            Op::Flush(delay) => {
                self.bench.flush(now.get() + delay);
                self.flush_at = (*delay > 0).then_some(now.get() + delay);
                if *delay == 0 {
                    self.model.clear();
                }
            }
            Op::Maintain(budget) => {
                self.bench.store.maintain(now, *budget);
            }
            Op::Reserve(len) => {
                if self.reservations.len() < 4 {
                    self.reservations.push(self.bench.store.reserve(*len));
                }
            }
            Op::Grow(slot, n) => {
                let piece = self.value(*n);
                if let Some(reservation) = self.reservations.get_mut(*slot) {
                    let n = piece.len().min(reservation.missing());
                    let before = reservation.as_slice().len();
                    let grown = self.bench.store.grow(now, reservation, &piece[..n]);
                    assert_eq!(
                        reservation.as_slice().len(),
                        before + if grown.is_ok() { n } else { 0 }
                    );
                }
            }
            Op::Finish { slot, verb, key } => {
                if *slot < self.reservations.len() {
                    let mut reservation = self.reservations.swap_remove(*slot);
                    let rest = self.value(reservation.missing());
                    if self.bench.store.grow(now, &mut reservation, &rest).is_ok() {
                        let value = reservation.as_slice().to_vec();
                        self.store(*verb, *key, &value, 1, 0, Some(reservation));
                    }
                }
            }
            Op::Cancel(slot) => {
                if *slot < self.reservations.len() {
                    drop(self.reservations.swap_remove(*slot));
                }
            }
        }
        for (bytes, copy) in &self.held {
            assert_eq!(&bytes[..], &copy[..], "a value in flight changed");
        }
        assert!(self.lost <= self.bench.store.counters.evictions, "lost without being evicted");
        assert!(self.bench.store.footprint() <= self.bench.store.limit());
    }

    /// Everything is given back in the end.
    fn finish(mut self) {
        self.reservations.clear();
        self.held.clear();
        self.bench.check(0);
        self.bench.flush(0);
        self.bench.maintain_all();
        self.bench.check(0);
        let store = &self.bench.store;
        assert_eq!(
            (store.counters.curr_items, store.counters.bytes, store.shared.charge()),
            (0, 0, 0)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    #[test]
    fn a_full_store_is_a_map_that_forgets_what_it_counts(ops in prop::collection::vec(op(60), 1..700)) {
        let mut run = Run::new(LIMIT_LEAST, true);
        ops.iter().for_each(|op| run.run(op));
        run.finish();
    }

    #[test]
    fn a_store_with_room_is_a_map(ops in prop::collection::vec(op(12), 1..400)) {
        let mut run = Run::new(16 << 20, true);
        ops.iter().for_each(|op| run.run(op));
        assert_eq!((run.lost, run.bench.store.counters.evictions), (0, 0));
        run.finish();
    }

    #[test]
    fn a_store_that_may_not_evict_loses_nothing(ops in prop::collection::vec(op(60), 1..700)) {
        let mut run = Run::new(LIMIT_LEAST, false);
        ops.iter().for_each(|op| run.run(op));
        assert_eq!((run.lost, run.bench.store.counters.evictions), (0, 0));
        run.finish();
    }
}

/// Small items by the thousand: compaction and the clock hand move records all the time.
#[test]
fn churn_of_small_items_keeps_the_books() {
    let mut run = Run::new(1 << 20, true);
    let mut random = 1u64;
    for step in 0..60_000u32 {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (key, dice) = ((random >> 40) as u16 % 12_000, random >> 33 & 15);
        let len = (random >> 50) as usize % 120;
        match dice {
            0..=8 => run.run(&Op::Store { verb: 0, key, len, ttl: (dice == 8).into(), flags: 0 }),
            9..=12 => run.run(&Op::Get(key)),
            13 => run.run(&Op::Delete(key)),
            14 => run.run(&Op::Store { verb: 5, key, len: len / 4, ttl: 0, flags: 0 }),
            _ => run.run(&Op::Advance(u32::from(step % 50 == 0))),
        }
        if step % 1_000 == 0 {
            run.bench.check(0);
        }
    }
    let counters = run.bench.store.counters;
    assert!(counters.evictions > 1_000 && counters.reclaimed > 100, "{counters:?}");
    run.finish();
}

/// A reply that is still being sent keeps its memory charged, and the limit holds.
#[test]
fn values_in_flight_stay_charged() {
    let mut run = Run::new(LIMIT_LEAST, true);
    let value = run.value(50_000);
    run.store(0, 1, &value, 0, 0, None);
    run.run(&Op::Hold(1));
    run.run(&Op::Delete(1));
    run.bench.check(50_000 + VALUE_COST);
    for key in 2..40 {
        let value = run.value(30_000);
        run.store(0, key, &value, 0, 0, None);
        run.bench.check(50_000 + VALUE_COST);
    }
    run.held.clear();
    run.bench.check(0);
}
