//! Keys and values that can be checked: a value follows from its key and its version.

use crate::Failure;
use core::ops::Range;

/// Longest key of memcached.
const MAX_KEY: usize = 250;
/// The bytes of a value that hold its version.
const VERSION: usize = size_of::<u32>();
/// Values start at this many different places of the pad.
const OFFSETS: usize = 4096;

/// How keys and values look; the same in all threads of a run, and in all runs with one seed.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    key_size: usize,
    value_size: usize,
    /// Bytes from which all values are cut. They hold line ends and protocol words, so that a
    /// peer that looks for those in values is found out.
    pad: Box<[u8]>,
}

impl Shape {
    /// # Errors
    /// If the keys do not fit in `key_size` or a value cannot hold its version.
    pub(crate) fn new(
        keys: u64,
        key_size: u64,
        value_size: u64,
        seed: u64,
    ) -> Result<Self, Failure> {
        let digits = u64::from(keys.saturating_sub(1).max(1).ilog10()) + 1;
        if keys == 0 || keys > u64::from(u32::MAX) {
            return Err(Failure::usage(format!("--keys {keys}: 1 to {} are allowed", u32::MAX)));
        }
        if key_size > MAX_KEY as u64 || key_size < digits + 1 {
            return Err(Failure::usage(format!(
                "--key-size {key_size}: {keys} keys need {} to {MAX_KEY} bytes",
                digits + 1
            )));
        }
        if value_size < VERSION as u64 || value_size > 1 << 30 {
            return Err(Failure::usage(format!(
                "--value-size {value_size}: {VERSION} bytes (a value holds its version) to 1G are allowed"
            )));
        }
        let (key_size, value_size) = (key_size as usize, value_size as usize);
        let mut random = fastrand::Rng::with_seed(seed);
        let mut pad = Vec::with_capacity(value_size + OFFSETS);
        while pad.len() < value_size + OFFSETS {
            match random.u8(..) {
                0..8 => pad.extend_from_slice(b"\r\nEND\r\n"),
                8..16 => pad.extend_from_slice(b"VALUE k 0 9\r\n"),
                byte => pad.push(byte),
            }
        }
        Ok(Self { key_size, value_size, pad: pad.into() })
    }

    pub(crate) fn value_size(&self) -> usize {
        self.value_size
    }

    /// `k` and the number, filled up with zeros.
    #[inline]
    pub(crate) fn key<'a>(&self, number: u32, buffer: &'a mut KeyBuffer) -> &'a [u8] {
        let key = &mut buffer.0[..self.key_size];
        let mut rest = number;
        for digit in key[1..].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        key
    }

    /// Writes the value of a key's version.
    #[inline]
    pub(crate) fn value<'a>(&self, number: u32, version: u32, buffer: &'a mut Vec<u8>) -> &'a [u8] {
        buffer.clear();
        buffer.extend_from_slice(&version.to_le_bytes());
        buffer.extend_from_slice(self.tail(number, version));
        buffer
    }

    /// The version of this key whose value `data` is; `None` if it is no value of the key.
    #[inline]
    pub(crate) fn version(&self, number: u32, data: &[u8]) -> Option<u32> {
        let (version, tail) = data.split_first_chunk::<VERSION>()?;
        let version = u32::from_le_bytes(*version);
        (tail == self.tail(number, version)).then_some(version)
    }

    fn tail(&self, number: u32, version: u32) -> &[u8] {
        let mixed =
            (u64::from(number) << 32 | u64::from(version)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let offset = (mixed >> 52) as usize;
        &self.pad[offset..offset + self.value_size - VERSION]
    }
}

/// Where a key is written.
pub(crate) struct KeyBuffer([u8; MAX_KEY]);

impl KeyBuffer {
    pub(crate) fn new() -> Self {
        Self([b'k'; MAX_KEY])
    }
}

/// What one thread knows of its share of the keys. No other thread touches these keys, and each
/// has at most one set in flight, so that a get has a known range of right answers.
pub(crate) struct Keys {
    first: u32,
    items: Vec<Item>,
    busy: usize,
}

#[derive(Clone, Copy)]
struct Item {
    /// The newest version that was sent.
    newest: u32,
    /// The newest version that was acknowledged; `UNKNOWN` before the first.
    stored: u32,
    /// A set is in flight.
    busy: bool,
}

const UNKNOWN: u32 = u32::MAX;

impl Keys {
    pub(crate) fn new(range: Range<u32>) -> Self {
        let item = Item { newest: 0, stored: UNKNOWN, busy: false };
        Self { first: range.start, items: vec![item; range.len()], busy: 0 }
    }

    pub(crate) fn len(&self) -> u32 {
        self.items.len() as u32
    }

    /// The key number at this place.
    pub(crate) fn number(&self, place: u32) -> u32 {
        self.first + place
    }

    /// Whether each key has a set in flight.
    pub(crate) fn all_busy(&self) -> bool {
        self.busy == self.items.len()
    }

    /// Starts a set at `place` or the next place without one in flight: (place, new version).
    /// There must be fewer sets in flight than keys.
    #[inline]
    pub(crate) fn start_set(&mut self, mut place: u32) -> (u32, u32) {
        while self.items[place as usize].busy {
            place = (place + 1) % self.len();
        }
        let item = &mut self.items[place as usize];
        // Neither 0 nor UNKNOWN, also after four billion sets.
        item.newest = (item.newest + 1) % UNKNOWN;
        item.busy = true;
        self.busy += 1;
        (place, item.newest)
    }

    /// The set in flight at `place` ended; `stored` unless the server refused it.
    #[inline]
    pub(crate) fn end_set(&mut self, place: u32, stored: bool) {
        let item = &mut self.items[place as usize];
        item.busy = false;
        self.busy -= 1;
        item.stored = if stored { item.newest } else { UNKNOWN };
    }

    /// A get starts: the oldest version that may answer it.
    #[inline]
    pub(crate) fn start_get(&self, place: u32) -> u32 {
        self.items[place as usize].stored
    }

    /// Whether `version` may answer a get that began when `oldest` was stored.
    #[inline]
    pub(crate) fn may_be(&self, place: u32, oldest: u32, version: u32) -> bool {
        oldest == UNKNOWN || (oldest..=self.items[place as usize].newest).contains(&version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_size_asked_for_and_differ() {
        let shape = Shape::new(100_000, 10, 100, 1).unwrap();
        let mut buffer = KeyBuffer::new();
        assert_eq!(shape.key(0, &mut buffer), b"k000000000");
        assert_eq!(shape.key(99_999, &mut buffer), b"k000099999");
        let tight = Shape::new(100_000, 6, 4, 1).unwrap();
        assert_eq!(tight.key(99_999, &mut buffer), b"k99999");
    }

    #[test]
    fn a_value_tells_its_version_and_no_other_key_has_it() {
        for size in [4, 5, 32, 100, 100_000] {
            let shape = Shape::new(1000, 10, size, 7).unwrap();
            let mut buffer = Vec::new();
            for version in [0, 1, 70_000, u32::MAX] {
                let value = shape.value(5, version, &mut buffer).to_vec();
                assert_eq!((value.len() as u64, shape.version(5, &value)), (size, Some(version)));
                assert_eq!(shape.version(5, &value[..value.len() - 1]), None, "shorter");
                assert_eq!(shape.version(5, &[&value[..], b"x"].concat()), None, "longer");
                if size >= 32 {
                    assert_eq!(shape.version(6, &value), None, "another key");
                    let mut broken = value.clone();
                    *broken.last_mut().unwrap() ^= 1;
                    assert_eq!(shape.version(5, &broken), None, "one bit");
                }
            }
        }
    }

    #[test]
    fn impossible_shapes_are_usage_errors() {
        for (keys, key_size, value_size) in
            [(0, 10, 10), (1 << 33, 20, 10), (100_000, 5, 10), (10, 251, 10), (10, 10, 3)]
        {
            assert_eq!(Shape::new(keys, key_size, value_size, 0).unwrap_err().code, 2);
        }
        assert!(Shape::new(1, 2, 4, 0).is_ok());
    }

    #[test]
    fn a_get_may_see_what_was_stored_or_is_on_its_way_and_nothing_older() {
        let mut keys = Keys::new(10..12);
        assert_eq!((keys.len(), keys.number(1)), (2, 11));
        let unknown = keys.start_get(0);
        assert!(keys.may_be(0, unknown, 1234), "left by somebody else");
        let (place, first) = keys.start_set(0);
        assert_eq!(place, 0);
        assert_eq!(keys.start_set(0).0, 1, "one set in flight for a key");
        keys.end_set(0, true);
        let oldest = keys.start_get(0);
        let (_, second) = keys.start_set(0);
        assert!(keys.may_be(0, oldest, first) && keys.may_be(0, oldest, second));
        assert!(!keys.may_be(0, oldest, second + 1), "never sent");
        keys.end_set(0, true);
        assert!(!keys.may_be(0, keys.start_get(0), first), "outdated");
        keys.start_set(0);
        keys.end_set(0, false);
        assert!(keys.may_be(0, keys.start_get(0), second), "a refused set leaves it open");
    }
}
