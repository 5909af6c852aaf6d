//! The hash behind every choice and every digest. **Frozen**: seeds and digests in replay files
//! and regression tests depend on each constant here, so nothing in it may ever change.

/// A bijection of 64-bit numbers in which each input bit changes about half of the output bits
/// (the finaliser of SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", 2014).
#[inline]
#[must_use]
pub const fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A name as a number (FNV-1a, 64 bits).
#[must_use]
pub const fn name(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut h = 0xcbf2_9ce4_8422_2325;
    let mut i = 0;
    while i < bytes.len() {
        h = (h ^ bytes[i] as u64).wrapping_mul(0x0100_0000_01b3);
        i += 1;
    }
    h
}

/// A running 64-bit digest of everything that happened: equal digests, equal runs (I5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// The digest of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(0x6472_7977_6972_6531)
    }

    /// Adds a number.
    #[inline]
    pub fn number(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(0x9fb2_1c65_1e98_df25).rotate_left(29);
    }

    /// Adds bytes and their length.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.number(u64::from_le_bytes(word.try_into().unwrap_or_default()));
        }
        let mut last = [0; 8];
        let rest = words.remainder();
        last[..rest.len()].copy_from_slice(rest);
        self.number(u64::from_le_bytes(last));
        self.number(bytes.len() as u64);
    }

    /// The digest so far.
    #[must_use]
    pub const fn value(self) -> u64 {
        mix(self.0)
    }
}

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen() {
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(name("cut"), 0xf5b9_f719_0cc1_82e3);
        let mut d = Digest::new();
        d.number(7);
        d.bytes(b"thirteen byte");
        assert_eq!(d.value(), 0x6779_e4fc_b4ac_80c7);
    }

    #[test]
    fn lengths_and_order_count() {
        let of = |parts: &[&[u8]]| {
            let mut d = Digest::new();
            parts.iter().for_each(|p| d.bytes(p));
            d.value()
        };
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        assert_ne!(of(&[b"a"]), of(&[b"a\0"]));
    }
}
