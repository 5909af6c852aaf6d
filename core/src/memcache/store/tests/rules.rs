//! One test for each rule of the protocol that the store decides.

use std::format;
use std::vec;
use std::vec::Vec;

use super::*;

fn bench() -> Bench {
    Bench::new(|_| {})
}

#[test]
fn conditions_of_the_verbs() {
    let mut b = bench();
    assert_eq!(b.verb(Verb::Replace, b"k", 1, Expiry::NEVER, b"x"), Stored::NotStored);
    assert_eq!(b.verb(Verb::Append, b"k", 1, Expiry::NEVER, b"x"), Stored::NotStored);
    assert_eq!(b.verb(Verb::Cas(1), b"k", 1, Expiry::NEVER, b"x"), Stored::NotFound);
    assert_eq!(b.verb(Verb::Add, b"k", 1, Expiry::NEVER, b"x"), Stored::Stored);
    assert_eq!(b.verb(Verb::Add, b"k", 2, Expiry::NEVER, b"y"), Stored::NotStored);
    let cas = b.cas(b"k");
    assert_eq!(b.verb(Verb::Cas(0), b"k", 2, Expiry::NEVER, b"y"), Stored::Exists);
    assert_eq!(b.verb(Verb::Cas(cas), b"k", 2, Expiry::NEVER, b"y"), Stored::Stored);
    assert_eq!(b.verb(Verb::Cas(cas), b"k", 2, Expiry::NEVER, b"z"), Stored::Exists);
    assert_eq!(b.verb(Verb::Replace, b"k", 3, Expiry::NEVER, b"zz"), Stored::Stored);
    assert_eq!(b.get(b"k").unwrap(), b"zz");
    assert!(b.delete(b"k") && !b.delete(b"k"));
    let c = b.store.counters;
    assert_eq!((c.cas_hits, c.cas_misses, c.cas_badval), (1, 1, 2));
    assert_eq!((c.delete_hits, c.delete_misses, c.curr_items, c.total_items), (1, 1, 0, 3));
    b.check(0);
}

#[test]
fn append_and_prepend_keep_flags_and_expiry() {
    let mut b = bench();
    let _ = b.verb(Verb::Set, b"k", 9, Expiry::at(Secs::new(12)), b"b");
    assert_eq!(b.verb(Verb::Append, b"k", 1, Expiry::NEVER, b"c"), Stored::Stored);
    assert_eq!(b.verb(Verb::Prepend, b"k", 1, Expiry::NEVER, b"a"), Stored::Stored);
    let hash = b.hasher.hash(b"k");
    let hit = b.store.get(b.now, hash, b"k").unwrap();
    assert_eq!((hit.flags, hit.value.as_slice()), (9, &b"abc"[..]));
    assert_eq!(b.at(12).get(b"k"), None);
}

#[test]
fn append_crosses_into_shared_values_and_set_back() {
    let mut b = bench();
    let mut model = vec![b'a'; SHARED_MIN - 2];
    let _ = b.set(b"k", &model);
    for piece in [b'b', b'c', b'd', b'e'] {
        assert_eq!(b.verb(Verb::Append, b"k", 0, Expiry::NEVER, &[piece]), Stored::Stored);
        model.push(piece);
        assert_eq!(b.get(b"k").unwrap(), model);
        b.check(0);
    }
    assert_eq!(b.verb(Verb::Prepend, b"k", 0, Expiry::NEVER, &[b'z'; 10_000]), Stored::Stored);
    model.splice(0..0, [b'z'; 10_000]);
    assert_eq!(b.get(b"k").unwrap(), model);
    let _ = b.set(b"k", b"small");
    b.check(0);
    assert_eq!(b.get(b"k").unwrap(), b"small");
}

#[test]
fn the_item_size_limit_is_exact() {
    for flags in [0, 1] {
        let mut b = bench();
        let limit = item_limit(b.store.item_max(), 1, flags) as usize;
        let verb =
            |b: &mut Bench, verb, len| b.verb(verb, b"k", flags, Expiry::NEVER, &vec![1; len]);
        assert_eq!(verb(&mut b, Verb::Set, limit), Stored::Stored);
        assert_eq!(verb(&mut b, Verb::Append, 1), Stored::NotStored);
        assert_eq!(b.get(b"k").unwrap().len(), limit);
        assert_eq!(verb(&mut b, Verb::Add, limit + 1), Stored::TooLarge);
        assert_eq!(verb(&mut b, Verb::Replace, limit + 1), Stored::TooLarge);
        assert_eq!(b.get(b"k").unwrap().len(), limit, "add and replace keep the old value");
        assert_eq!(verb(&mut b, Verb::Set, limit + 1), Stored::TooLarge);
        assert_eq!(b.get(b"k"), None, "set drops it");
        assert_eq!(b.store.counters.store_too_large, 3);
        b.check(0);
    }
}

#[test]
fn a_refused_body_drops_the_old_value_of_a_set_only() {
    let mut b = bench();
    let hash = b.hasher.hash(b"k");
    let _ = b.set(b"k", b"v");
    b.store.refuse(b.now, hash, b"k", Verb::Add, Refusal::TooLarge);
    b.store.refuse(b.now, hash, b"k", Verb::Cas(1), Refusal::NoMemory);
    assert_eq!(b.get(b"k").unwrap(), b"v");
    b.store.refuse(b.now, hash, b"k", Verb::Set, Refusal::NoMemory);
    assert_eq!(b.get(b"k"), None);
    assert_eq!((b.store.counters.store_too_large, b.store.counters.store_no_memory), (1, 2));
}

#[test]
fn incr_and_decr() {
    let mut b = bench();
    assert_eq!(b.incr(b"n", 1), Err(DeltaError::NotFound));
    let _ = b.verb(Verb::Set, b"n", 5, Expiry::NEVER, b"100");
    let cas = b.cas(b"n");
    assert_eq!(b.decr(b"n", 1), Ok(99));
    assert_eq!(b.get(b"n").unwrap(), b"99 ", "in place, filled up");
    assert_ne!(b.cas(b"n"), cas);
    assert_eq!(b.incr(b"n", 901), Ok(1000));
    assert_eq!(b.get(b"n").unwrap(), b"1000");
    assert_eq!(b.decr(b"n", 2000), Ok(0), "stops at 0");
    assert_eq!(b.get(b"n").unwrap(), b"0   ");
    assert_eq!(b.incr(b"n", u64::MAX), Ok(u64::MAX));
    assert_eq!(b.incr(b"n", 2), Ok(1), "wraps at 2^64");
    assert_eq!(b.get(b"n").unwrap(), format!("{:<20}", 1).as_bytes());
    let hash = b.hasher.hash(b"n");
    assert_eq!(b.store.get(b.now, hash, b"n").unwrap().flags, 5);
    for text in [&b"-1"[..], b"1x", b"", b" ", b"18446744073709551616"] {
        let _ = b.set(b"n", text);
        let cas = b.cas(b"n");
        assert_eq!(b.incr(b"n", 1), Err(DeltaError::NonNumeric));
        assert_eq!((b.get(b"n").unwrap(), b.cas(b"n")), (text.to_vec(), cas));
    }
    for text in [&b" 5"[..], b"+5", b"005", b"5  "] {
        let _ = b.set(b"n", text);
        assert_eq!(b.incr(b"n", 1), Ok(6));
        assert_eq!(b.get(b"n").unwrap(), format!("{:<1$}", 6, text.len()).as_bytes());
    }
    let _ = b.set(b"n", &[b'1'; SHARED_MIN]);
    assert_eq!(b.incr(b"n", 1), Err(DeltaError::NonNumeric));
    let c = b.store.counters;
    assert_eq!((c.incr_hits, c.incr_misses, c.decr_hits, c.decr_misses), (7, 1, 2, 0));
    b.check(0);
}

#[test]
fn items_expire_at_the_start_of_their_second() {
    let mut b = bench();
    let _ = b.verb(Verb::Set, b"k", 0, Expiry::at(Secs::new(12)), b"v");
    let _ = b.verb(Verb::Set, b"past", 0, Expiry::PAST, b"v");
    assert_eq!(b.get(b"past"), None);
    assert!(b.at(11).get(b"k").is_some());
    assert!(b.touch(b"k", 13));
    assert!(b.at(12).get(b"k").is_some());
    assert_eq!(b.at(13).get(b"k"), None);
    assert!(!b.touch(b"k", 99) && !b.delete(b"k"));
    assert_eq!(b.verb(Verb::Add, b"k", 0, Expiry::NEVER, b"new"), Stored::Stored);
    let c = b.store.counters;
    assert_eq!((c.get_expired, c.get_flushed, c.expired_unfetched), (2, 0, 1));
    assert_eq!((c.touch_hits, c.touch_misses, c.cmd_touch, c.curr_items), (1, 1, 2, 1));
}

#[test]
fn touch_keeps_the_cas_unique_and_reaches_further_than_the_first_expiry() {
    let mut b = bench();
    let _ = b.verb(Verb::Set, b"k", 3, Expiry::at(Secs::new(12)), b"v");
    let cas = b.cas(b"k");
    let hash = b.hasher.hash(b"k");
    let hit = b.store.get_and_touch(b.now, hash, b"k", Expiry::NEVER).unwrap();
    assert_eq!((hit.cas, hit.flags, hit.value.as_slice()), (cas, 3, &b"v"[..]));
    assert_eq!(b.at(1000).get(b"k").unwrap(), b"v");
    assert!(b.store.get_and_touch(Secs::new(1000), hash, b"k", Expiry::PAST).is_some());
    assert_eq!(b.get(b"k"), None);
    assert!(b.store.get_and_touch(Secs::new(1000), hash, b"k", Expiry::NEVER).is_none());
    let c = b.store.counters;
    assert_eq!((c.cmd_touch, c.touch_hits, c.touch_misses), (3, 2, 1));
}

#[test]
fn flush_now_spares_what_the_same_second_brings_later() {
    let mut b = bench();
    let _ = b.set(b"old", b"v");
    b.flush(10);
    let _ = b.set(b"new", b"v");
    assert_eq!((b.get(b"old"), b.get(b"new").unwrap()), (None, b"v".to_vec()));
    assert_eq!(b.store.counters.get_flushed, 1);
    assert_eq!(b.verb(Verb::Append, b"old", 0, Expiry::NEVER, b"v"), Stored::NotStored);
    assert_eq!(b.incr(b"old", 1), Err(DeltaError::NotFound));
}

#[test]
fn a_delayed_flush_takes_everything_stored_before_its_moment() {
    let mut b = bench();
    let _ = b.set(b"before", b"v");
    b.flush(12);
    let _ = b.set(b"between", b"v");
    b.at(11);
    let _ = b.set(b"last second", b"v");
    assert!(b.get(b"before").is_some());
    b.at(12);
    let _ = b.set(b"after", b"v");
    assert_eq!((b.get(b"before"), b.get(b"between"), b.get(b"last second")), (None, None, None));
    assert!(b.get(b"after").is_some());
    assert!(b.at(20).get(b"after").is_some(), "it strikes once");
}

#[test]
fn a_new_flush_replaces_a_pending_one() {
    let mut b = bench();
    let _ = b.set(b"k", b"v");
    b.flush(12);
    b.flush(30);
    assert!(b.at(29).get(b"k").is_some());
    assert_eq!(b.at(30).get(b"k"), None);
    let _ = b.set(b"k", b"v");
    b.flush(40);
    b.flush(30);
    let _ = b.set(b"new", b"v");
    assert_eq!(b.get(b"k"), None);
    assert!(b.at(50).get(b"new").is_some(), "the pending flush is gone");
}

#[test]
fn cas_uniques_of_shards_differ() {
    let mut shards: Vec<Bench> = (0..3)
        .map(|i| {
            Bench::new(|c| {
                c.cas_first = i + 1;
                c.cas_step = 3;
            })
        })
        .collect();
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..50u32 {
        for shard in &mut shards {
            let _ = shard.set(b"k", &round.to_le_bytes());
            assert!(seen.insert(shard.cas(b"k")));
        }
    }
}

#[test]
fn overwriting_in_size_stays_in_place() {
    let mut b = bench();
    for i in 0..500u32 {
        let _ = b.set(format!("k{i:03}").as_bytes(), &[1; 100]);
    }
    let (footprint, live) = (b.store.footprint(), b.store.log.live());
    for round in 0..100u8 {
        for i in 0..500u32 {
            assert_eq!(b.set(format!("k{i:03}").as_bytes(), &[round; 100]), Stored::Stored);
        }
    }
    assert_eq!((b.store.footprint(), b.store.log.live(), b.store.log.dead()), (footprint, live, 0));
}

#[test]
fn items_in_use_outlive_the_others() {
    let mut b = Bench::new(|c| c.limit = 1 << 20);
    for i in 0..200u32 {
        let _ = b.set(format!("hot{i}").as_bytes(), &[1; 100]);
    }
    for i in 0..50_000u32 {
        let _ = b.set(format!("cold{i}").as_bytes(), &[2; 100]);
        assert!(b.get(format!("hot{}", i % 200).as_bytes()).is_some(), "hot item lost after {i}");
    }
    let c = b.store.counters;
    assert!(c.evictions > 40_000 && c.evicted_unfetched == c.evictions, "{c:?}");
    b.check(0);
}

#[test]
fn a_large_value_is_evicted_alone() {
    let mut b = Bench::new(|c| c.limit = 2 << 20);
    for i in 0..40u32 {
        let _ = b.set(format!("large{i}").as_bytes(), &vec![1; 100_000]);
        let _ = b.set(format!("small{i}").as_bytes(), &[2; 50]);
        b.check(0);
    }
    assert!((0..40u32).all(|i| b.get(format!("small{i}").as_bytes()).is_some()));
    let kept = (0..40u32).filter(|i| b.get(format!("large{i}").as_bytes()).is_some()).count();
    assert!((15..20).contains(&kept), "{kept}");
}

#[test]
fn holes_are_closed_up_before_anything_is_evicted() {
    let mut b = Bench::new(|c| c.limit = 1 << 20);
    // 800 KiB of items, of which every second one then changes its size over and over.
    for i in 0..5_000u32 {
        let _ = b.set(format!("k{i:05}").as_bytes(), &[1; 120]);
    }
    for round in 0..20usize {
        for i in (0..5_000u32).step_by(2) {
            assert_eq!(b.set(format!("k{i:05}").as_bytes(), &vec![1; 80 + round]), Stored::Stored);
        }
        b.check(0);
    }
    assert_eq!((b.store.counters.evictions, b.store.counters.curr_items), (0, 5_000));
    assert!((0..5_000u32).all(|i| b.get(format!("k{i:05}").as_bytes()).is_some()));
}

#[test]
fn memory_follows_the_items_down() {
    let mut b = Bench::new(|c| c.limit = 32 << 20);
    let empty = b.store.footprint();
    for i in 0..50_000u32 {
        let _ =
            b.verb(Verb::Set, format!("k{i}").as_bytes(), 0, Expiry::at(Secs::new(20)), &[1; 100]);
    }
    assert!(b.store.footprint() > 50_000 * 136);
    b.at(20).maintain_all();
    b.check(0);
    let c = b.store.counters;
    assert_eq!((c.curr_items, c.crawler_reclaimed, c.crawler_items_checked), (0, 50_000, 50_000));
    let left = b.store.footprint() - empty;
    assert!(left < 400_000, "{left} bytes more than at the start");
}

#[test]
fn upkeep_rests_when_nothing_can_become_due() {
    let mut b = bench();
    assert!(!b.store.maintain(b.now, 1000));
    let _ = b.set(b"k", b"v");
    assert!(b.store.maintain(b.now, 1), "the pass is not at its end");
    assert!(!b.store.maintain(b.now, 1000));
    b.flush(12);
    assert!(b.store.maintain(b.now, 1000), "a flush is pending");
    assert!(!b.at(12).store.maintain(Secs::new(12), 1000));
    let _ = b.verb(Verb::Set, b"k", 0, Expiry::at(Secs::new(20)), b"v");
    assert!(b.at(19).store.maintain(Secs::new(19), 1000), "an item will expire");
    assert!(!b.at(20).store.maintain(Secs::new(20), 1000));
    assert_eq!(b.store.counters.curr_items, 0);
}

#[test]
fn upkeep_closes_holes_without_pressure() {
    let mut b = Bench::new(|c| c.limit = 32 << 20);
    for i in 0..50_000u32 {
        let _ = b.set(format!("k{i}").as_bytes(), &[1; 100]);
    }
    for i in (0..50_000u32).filter(|i| i % 4 != 0) {
        assert!(b.delete(format!("k{i}").as_bytes()));
    }
    let before = b.store.footprint();
    for _ in 0..300 {
        b.store.maintain(b.now, 10);
    }
    b.check(0);
    assert!(b.store.footprint() < before / 2, "{} of {before}", b.store.footprint());
    assert!((0..50_000u32).step_by(4).all(|i| b.get(format!("k{i}").as_bytes()).is_some()));
}

#[test]
fn without_eviction_a_full_store_refuses_and_keeps() {
    let mut b = Bench::new(|c| c.evict = false);
    let full =
        (0..u32::MAX).find(|i| b.set(format!("k{i}").as_bytes(), &[1; 200]) == Stored::NoMemory);
    let full = full.unwrap();
    assert!(full > 500, "{full}");
    assert_eq!(b.verb(Verb::Replace, b"k0", 0, Expiry::NEVER, &[3; 2000]), Stored::NoMemory);
    assert_eq!(b.set(b"k1", &[3; 2000]), Stored::NoMemory, "and a set drops the old value");
    assert_eq!((b.get(b"k0").unwrap(), b.get(b"k1")), (vec![1; 200], None));
    assert!((2..full).all(|i| b.get(format!("k{i}").as_bytes()).is_some()));
    for i in 2..full / 2 {
        assert!(b.delete(format!("k{i}").as_bytes()));
    }
    assert_eq!(b.set(b"k1", &[3; 2000]), Stored::Stored, "room again");
    assert_eq!((b.store.counters.evictions, b.store.counters.store_no_memory), (0, 3));
    b.check(0);
}

#[test]
fn reservations_are_charged_as_they_grow_and_returned() {
    let mut b = bench();
    let empty = b.store.footprint();
    let mut many: Vec<Reservation> = (0..1_000).map(|_| b.store.reserve(100_000)).collect();
    assert_eq!(b.store.footprint(), empty, "a declared length takes no memory");
    let mut grown = 0;
    for reservation in &mut many {
        grown += usize::from(b.store.grow(b.now, reservation, &[7; 1_000]).is_ok());
        assert!(b.store.footprint() <= b.store.limit());
    }
    assert!((50..200).contains(&grown), "{grown}");
    drop(many);
    assert_eq!(b.store.footprint(), empty);
    let mut one = b.store.reserve(100_000);
    for piece in [7u8; 100_000].chunks(999) {
        assert_eq!(b.store.grow(b.now, &mut one, piece), Ok(()));
        let charged = (b.store.footprint() - empty) as usize;
        assert!(charged <= 4 * one.as_slice().len() + shared::VALUE_COST, "{charged}");
    }
    assert_eq!(b.store.footprint() - empty, 100_000 + shared::VALUE_COST as u64);
    let (hash, pointer) = (b.hasher.hash(b"k"), one.as_slice().as_ptr());
    let stored = b.store.store(b.now, hash, b"k", Verb::Set, 0, Expiry::NEVER, Body::Reserved(one));
    assert_eq!(stored, Stored::Stored);
    assert_eq!(
        b.store.get(b.now, hash, b"k").unwrap().value.as_slice().as_ptr(),
        pointer,
        "not copied"
    );
    b.check(0);
}

#[test]
fn an_impossible_request_empties_nothing() {
    let mut b = bench();
    let _ = b.set(b"k", b"v");
    let mut pinned = b.store.reserve(120_000);
    assert_eq!(b.store.grow(b.now, &mut pinned, &[1; 120_000]), Ok(()));
    let mut other = b.store.reserve(120_000);
    assert_eq!(b.store.grow(b.now, &mut other, &[1; 120_000]), Err(NoMemory));
    assert_eq!(b.get(b"k").unwrap(), b"v");
    assert_eq!(b.store.counters.evictions, 0);
}

#[test]
#[should_panic(expected = "a reservation of another store")]
fn a_reservation_belongs_to_its_store() {
    let (mut a, b) = (bench(), bench());
    let mut reservation = b.store.reserve(10);
    let _ = a.store.grow(a.now, &mut reservation, b"x");
}
