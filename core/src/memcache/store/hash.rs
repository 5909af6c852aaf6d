//! The keyed hash of item keys.

use core::hash::Hasher as _;
use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;

/// Hashes keys with a seed, so that a client cannot choose keys that collide.
///
/// All shards of one server use the same hasher (it is cheap to clone): the hash is computed once
/// per command, its high bits choose the shard ([`Hasher::shard`]), its low 32 bits the place in
/// the shard's table.
#[derive(Clone, Debug)]
pub struct Hasher {
    shared: SharedSeed,
}

impl Hasher {
    /// A hasher for this seed. The host takes the seed from its random source at start; a fixed
    /// seed gives a fixed trace.
    pub const fn new(seed: u64) -> Self {
        Self { shared: SharedSeed::from_u64(seed) }
    }

    /// The hash of a key: about 2 ns for a short one, no allocation.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let mut state = FoldHasher::with_seed(0x9e37_79b9_7f4a_7c15, &self.shared);
        state.write(key);
        state.finish()
    }

    /// Which of `shards` shards (1 to 65,536) the hash belongs to, from its high bits.
    #[inline]
    pub const fn shard(hash: u64, shards: u32) -> usize {
        (((hash >> 48) * shards as u64) >> 16) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{format, vec};

    #[test]
    fn shard_and_table_bits_are_spread_evenly() {
        let hasher = Hasher::new(7);
        let (mut shards, mut buckets) = (vec![0u32; 6], vec![0u32; 64]);
        for i in 0..60_000 {
            let hash = hasher.hash(format!("key:{i}").as_bytes());
            shards[Hasher::shard(hash, 6)] += 1;
            buckets[(hash & 63) as usize] += 1;
        }
        assert!(shards.iter().all(|&n| (9_500..10_500).contains(&n)), "{shards:?}");
        assert!(buckets.iter().all(|&n| (780..1100).contains(&n)), "{buckets:?}");
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(Hasher::new(1).hash(b"a"), Hasher::new(1).hash(b"a"));
        assert_ne!(Hasher::new(1).hash(b"a"), Hasher::new(2).hash(b"a"));
        assert_ne!(Hasher::new(1).hash(b"a"), Hasher::new(1).hash(b"a\0"));
    }
}
