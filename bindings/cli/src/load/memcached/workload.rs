//! The memcached workload: gets and sets on random keys, each answer checked.

use crate::load::content::{KeyBuffer, Keys, Shape};
use crate::load::tally::{Class, Tally};
use crate::load::workload::{Ask, What, Workload};
use core::ops::Range;
use drywire::conn::Outbox;
use drywire::memcache::client::{Client, Event, Limits, Outcome, Request, Step, Verb};
use std::collections::VecDeque;

/// What to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Op {
    /// Reads only
    Get,
    /// Writes only
    Set,
    /// Nine reads for each write
    Mixed,
}

/// One thread's requests and what it knows about its keys.
pub(crate) struct Memcached {
    shape: Shape,
    keys: Keys,
    op: Op,
    mode: Mode,
    /// How many more to ask.
    left: u64,
    /// An answer after this many nanoseconds is late.
    deadline: u64,
    window: usize,
    random: fastrand::Rng,
    key: KeyBuffer,
    value: Vec<u8>,
}

enum Mode {
    /// Each key once, in order; the next place to store at.
    Preload(u32),
    Random,
}

pub(crate) struct Conn {
    client: Client,
    /// Oldest first, as the replies come.
    flights: VecDeque<Flight>,
}

struct Flight {
    /// Place in `Keys`.
    place: u32,
    start: u64,
    asked: Asked,
}

enum Asked {
    Set,
    Get {
        /// The oldest version that is no outdated answer.
        oldest: u32,
        found: Found,
    },
}

enum Found {
    Nothing,
    Right,
    Wrong,
}

impl Memcached {
    /// Works on the key numbers in `range`, asking for `op`.
    pub(crate) fn new(shape: Shape, range: Range<u32>, op: Op, seed: u64) -> Self {
        Self {
            shape,
            random: fastrand::Rng::with_seed(seed ^ u64::from(range.start)),
            keys: Keys::new(range),
            op,
            mode: Mode::Random,
            left: 0,
            deadline: u64::MAX,
            window: 0,
            key: KeyBuffer::new(),
            value: Vec::new(),
        }
    }

    /// The next request: a place, and whether to store there.
    #[inline]
    fn choose(&mut self) -> Option<(u32, bool)> {
        match &mut self.mode {
            Mode::Preload(next) => {
                let place = *next;
                *next += 1;
                (place < self.keys.len()).then_some((place, true))
            }
            Mode::Random => {
                let place = self.random.u32(..self.keys.len());
                let store = match self.op {
                    Op::Get => false,
                    Op::Set => true,
                    Op::Mixed => self.random.u8(..10) == 0,
                };
                Some((place, store))
            }
        }
    }

    /// A value came for the oldest request in flight.
    #[inline]
    fn check(&mut self, flight: &mut Flight, key: &[u8], data: &[u8], tally: &mut Tally) {
        let Asked::Get { oldest, found } = &mut flight.asked else { return };
        let number = self.keys.number(flight.place);
        let version = self.shape.version(number, data);
        let right = key == self.shape.key(number, &mut self.key)
            && version.is_some_and(|version| self.keys.may_be(flight.place, *oldest, version));
        *found = if right { Found::Right } else { Found::Wrong };
        if !right {
            tally.complain(|| {
                let key = String::from_utf8_lossy(key);
                let len = data.len();
                match version {
                    Some(version) => format!("key {number}: got version {version} of {key}, stored was {oldest} when it was asked for"),
                    None => format!("key {number}: got {len} bytes of {key} that were never stored there"),
                }
            });
        }
    }

    /// The final reply to the oldest request came: its class.
    #[inline]
    fn finish(
        &mut self,
        flight: &Flight,
        outcome: Outcome<'_>,
        now: u64,
        tally: &mut Tally,
    ) -> Class {
        if matches!(flight.asked, Asked::Set) {
            self.keys.end_set(flight.place, outcome == Outcome::Stored);
        }
        let class = match (&flight.asked, outcome) {
            (Asked::Set, Outcome::Stored)
            | (Asked::Get { found: Found::Right, .. }, Outcome::End { .. }) => Class::Ok,
            (Asked::Get { found: Found::Nothing, .. }, Outcome::End { .. }) => Class::Miss,
            (_, Outcome::Refused { text, .. }) if text == TOO_BUSY => return Class::Refused,
            (_, Outcome::Refused { .. }) => Class::Error,
            _ => Class::Wrong,
        };
        if matches!(class, Class::Error | Class::Wrong) {
            tally.complain(|| match outcome {
                Outcome::Refused { kind, text } => {
                    format!("{kind:?} error reply: {}", String::from_utf8_lossy(text))
                }
                _ => format!("a set was answered with {outcome:?}"),
            });
        }
        let in_time = now.saturating_sub(flight.start) <= self.deadline;
        if !in_time && matches!(class, Class::Ok | Class::Miss) { Class::Late } else { class }
    }
}

/// How the server says that it refuses because of load.
const TOO_BUSY: &[u8] = b"server too busy";

impl Workload for Memcached {
    type Conn = Conn;

    fn begin(&mut self, ask: &Ask) {
        self.mode = match ask.what {
            What::Preload => Mode::Preload(0),
            What::Load | What::Unserved => Mode::Random,
        };
        (self.left, self.deadline, self.window) = (ask.left, ask.deadline, ask.window);
    }

    fn open(&mut self) -> Conn {
        let limits = Limits { window: self.window, ..Limits::default() };
        let limits = Limits { value: limits.value.max(self.shape.value_size()), ..limits };
        Conn { client: Client::new(limits), flights: VecDeque::new() }
    }

    #[inline]
    fn ask(&mut self, conn: &mut Conn, now: u64, out: &mut Outbox, tally: &mut Tally) -> bool {
        // Any of the next requests may be a set, for which there has to be a key.
        if self.left == 0 || conn.flights.len() >= self.window || self.keys.all_busy() {
            return false;
        }
        let Some((place, store)) = self.choose() else { return false };
        self.left -= 1;
        let (place, asked, sent) = if store {
            let (place, version) = self.keys.start_set(place);
            let number = self.keys.number(place);
            let key = self.shape.key(number, &mut self.key);
            let value = self.shape.value(number, version, &mut self.value);
            let set = Request::Store {
                verb: Verb::Set,
                key,
                flags: 0,
                exptime: 0,
                value,
                noreply: false,
            };
            (place, Asked::Set, conn.client.send(&set, out))
        } else {
            let key = self.shape.key(self.keys.number(place), &mut self.key);
            let get = Request::Get { keys: &[key], cas: false, touch: None };
            let oldest = self.keys.start_get(place);
            (place, Asked::Get { oldest, found: Found::Nothing }, conn.client.send(&get, out))
        };
        debug_assert!(matches!(sent, Ok(Some(_))), "keys and values are within the limits");
        conn.flights.push_back(Flight { place, start: now, asked });
        tally.sent();
        true
    }

    #[inline]
    fn take(
        &mut self,
        conn: &mut Conn,
        now: u64,
        input: &[u8],
        tally: &mut Tally,
    ) -> Result<usize, String> {
        let mut used_in_all = 0;
        loop {
            let rest = &input[used_in_all..];
            let event = match conn.client.step(rest) {
                Ok(Step::Need(_)) => return Ok(used_in_all),
                Ok(Step::Event { event, used }) => {
                    used_in_all += used;
                    event
                }
                Err(fault) => return Err(fault.to_string()),
            };
            match event {
                Event::Value { value, .. } => {
                    if let Some(flight) = conn.flights.front_mut() {
                        self.check(flight, value.key, value.data, tally);
                    }
                }
                Event::Done { outcome, .. } => {
                    if let Some(flight) = conn.flights.pop_front() {
                        let class = self.finish(&flight, outcome, now, tally);
                        tally.ended(class, flight.start, now);
                    }
                }
                Event::Stat { .. } => {}
            }
        }
    }

    fn in_flight(&self, conn: &Conn) -> usize {
        conn.flights.len()
    }

    fn lose(&mut self, conn: &mut Conn, tally: &mut Tally) {
        conn.client.end();
        while conn.client.next_failed().is_some() {}
        for flight in conn.flights.drain(..) {
            // A lost set may still be carried out; its key stays busy and is not stored to again.
            tally.ended(Class::Lost, flight.start, flight.start);
        }
    }
}
