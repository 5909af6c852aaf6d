//! The policies through C decide what they decide in Rust, on any trace of calls with any numbers
//! (I6).

mod gates;
mod peers;
mod sending;

use crate::policy::{admission::*, gates::*, heartbeat::*, peers::*, pick::*, sending::*, *};
use crate::sized::Growing;
use crate::status::drywire_status::{self, *};
use crate::types::DRYWIRE_NO_DEADLINE;
use core::ptr;
use core::time::Duration;
use drywire::Tick;
use proptest::prelude::*;

/// A source of numbers: a list read round and round.
struct Numbers<'a>(std::iter::Cycle<std::slice::Iter<'a, u64>>);

impl Numbers<'_> {
    fn u64(&mut self) -> u64 {
        *self.0.next().unwrap()
    }
    fn u32(&mut self) -> u32 {
        self.u64() as u32
    }
    fn below(&mut self, n: u64) -> u64 {
        self.u64() % n
    }
    fn bit(&mut self) -> bool {
        self.below(2) == 1
    }
    /// Mostly forwards.
    fn later(&mut self, now: &mut u64) -> u64 {
        let step = self.u64();
        let wild = step.is_multiple_of(97);
        *now = if wild { step } else { now.saturating_add(step >> (step % 64)) };
        *now
    }
}

fn ns(n: u64) -> Duration {
    Duration::from_nanos(n)
}

fn never(at: Option<Tick>) -> u64 {
    at.map_or(DRYWIRE_NO_DEADLINE, |at| at.0)
}

fn some(ns: u64) -> Option<Tick> {
    (ns != DRYWIRE_NO_DEADLINE).then_some(Tick(ns))
}

/// `what`, `why`, `num`, `time_ns`.
type Said = (u32, u32, u64, u64);

/// What a call decided; it must have gone well.
fn said(call: impl FnOnce(*mut drywire_decision) -> drywire_status) -> (Said, u64) {
    let mut d = drywire_decision { what: 99, why: 99, num: 99, time_ns: 99, next_ns: 99 };
    assert_eq!(call(&mut d), DRYWIRE_OK);
    ((d.what, d.why, d.num, d.time_ns), d.next_ns)
}

fn made<T: Growing>(init: impl FnOnce(*mut T, usize) -> drywire_status) -> T {
    let mut value = T::DEFAULT;
    assert_eq!(init(&mut value, size_of::<T>()), DRYWIRE_OK);
    value
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 256 }))]

    #[test]
    fn policies_decide_as_in_rust(
        numbers in prop::collection::vec(
            prop_oneof![
                Just(0), Just(1), Just(2), Just(u64::MAX - 1), Just(u64::MAX), Just(1 << 63),
                any::<u64>(), 0u64..1000, 0u64..100_000_000_000,
            ],
            1..97,
        )
    ) {
        let all = [
            gates::admission,
            gates::read_gate,
            gates::out_gate,
            gates::refusal_pause,
            peers::heartbeat,
            peers::phi_and_patience,
            peers::floods_and_stalls,
            peers::drain,
            sending::sending,
            sending::picking,
        ];
        for policy in all {
            policy(&mut Numbers(numbers.iter().cycle()));
        }
    }
}

#[test]
fn a_state_has_to_be_made_first_and_may_be_longer() {
    #[repr(C)]
    struct Longer {
        beat: drywire_heartbeat,
        more: u64,
    }
    let mut zeros =
        Longer { beat: drywire_heartbeat { struct_size: 0, ..Growing::DEFAULT }, more: 9 };
    let whole = size_of::<Longer>();
    // The library may touch all that `whole` says: it is given a pointer to all of it.
    let zeros = &raw mut zeros;
    let beat = zeros.cast::<drywire_heartbeat>();
    // SAFETY: valid pointers throughout.
    unsafe {
        assert_eq!(drywire_heartbeat_received(beat, 1), DRYWIRE_ERR_ABI);
        let short = whole - 16;
        let status = drywire_heartbeat_init(beat, short, ptr::null(), 1, 1);
        assert_eq!(status, DRYWIRE_ERR_ABI);
        // A state of a later header: longer, and this library leaves the rest alone.
        let status = drywire_heartbeat_init(beat, whole, ptr::null(), 1, 1);
        assert_eq!((status, (*zeros).more), (DRYWIRE_OK, 0));
        assert_eq!(drywire_heartbeat_received(beat, 5), DRYWIRE_OK);
        assert_eq!((*beat).struct_size as usize, whole);
        (*zeros).more = 1;
        assert_eq!(drywire_heartbeat_received(beat, 6), DRYWIRE_ERR_ABI);
    }
}

#[test]
fn unknown_numbers_are_refused_and_change_nothing() {
    // SAFETY: valid pointers throughout.
    unsafe {
        let mut gate: drywire_out_gate = made(|to, size| drywire_out_gate_init(to, size));
        let before = gate.state;
        let mut d = drywire_decision::NOTHING;
        let status = drywire_out_gate_offer(&mut gate, ptr::null(), 5, 1, 1, 2, &mut d);
        assert_eq!((status, d, gate.state), (DRYWIRE_ERR_RANGE, drywire_decision::NOTHING, before));
        let wrong = drywire_out_gate_options { when_full: 3, ..Growing::DEFAULT };
        let status = drywire_out_gate_poll(&mut gate, &wrong, 5, 1, &mut d);
        assert_eq!((status, gate.state), (DRYWIRE_ERR_RANGE, before));
        let mut patience: drywire_patience = made(|to, size| drywire_patience_init(to, size, 0));
        assert_eq!(drywire_patience_observe(&mut patience, 1, 4), DRYWIRE_ERR_RANGE);
        let mut options = drywire_heartbeat_options::DEFAULT;
        let status = drywire_heartbeat_options_every(&mut options, 1, 2);
        assert_eq!((status, options.interval_ns), (DRYWIRE_ERR_RANGE, 10_000_000_000));
        let ask = drywire_admission_ask { flags: 2, ..Growing::DEFAULT };
        let mut queue: drywire_admission =
            made(|to, size| drywire_admission_init(to, size, ptr::null(), 0));
        let status = drywire_admission_admit(&mut queue, ptr::null(), 1, &ask, &mut d);
        assert_eq!(status, DRYWIRE_ERR_RANGE);
        let mut retry: drywire_retry =
            made(|to, size| drywire_retry_init(to, size, ptr::null(), 0));
        let status = drywire_retry_ask(&mut retry, ptr::null(), 1, 1, 4, 0, 0, 9, 1, &mut d);
        assert_eq!(status, DRYWIRE_ERR_RANGE);
        let status = drywire_pick(ptr::null(), ptr::null(), 0, 2, 0, 0, 0, 0, &mut d);
        assert_eq!(status, DRYWIRE_ERR_RANGE);
        let status = drywire_pick(ptr::null(), ptr::null(), 0, 0, 0, 0, 0, 0, &mut d);
        assert_eq!((status, d.what), (DRYWIRE_OK, DRYWIRE_PICK_NONE_ALIVE));
    }
}
