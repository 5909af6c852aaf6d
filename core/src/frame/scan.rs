//! Finding the next of a few bytes: for short lines by a bit mask of 64 bytes at a time, which
//! costs one search per 64 bytes instead of one per line; for long ones by memchr.

use wide::u8x16;

use super::track::examined;

/// Bytes per mask.
const BLOCK: usize = 64;

/// After this many blocks without a hit, lines are long and memchr is faster.
const SHORT: usize = 4;

/// With fewer bytes than this left, a plain loop is faster.
const FEW: usize = 16;

/// What is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needles {
    One(u8),
    Two(u8, u8),
    Three(u8, u8, u8),
    /// Four to eight bytes, the last one repeated.
    Few([u8; 8]),
    /// Any set, by a bit per byte.
    Set([u64; 4]),
}

/// The hits in one stretch of a block that were found and not yet used.
#[derive(Clone, Copy, Debug)]
pub struct Lookahead {
    /// Where the stretch of 64 bytes begins in the block; bit 0 of the mask is this place.
    start: usize,
    mask: u64,
    /// The last hit was far from the one before it.
    far: bool,
}

/// The lookahead after a search, and the hit.
type Found = (Lookahead, Option<usize>);

impl Default for Lookahead {
    /// A stretch that no block reaches: nothing is known.
    fn default() -> Self {
        Self { start: usize::MAX - BLOCK, mask: 0, far: false }
    }
}

impl Lookahead {
    /// The first place at or after `from` that the mask does not cover.
    #[inline(always)]
    fn uncovered(&self, from: usize) -> usize {
        let covered = from.wrapping_sub(self.start) < BLOCK;
        if covered { self.start + BLOCK } else { from }
    }

    /// The next known hit at or after `from`.
    #[inline(always)]
    pub(super) fn next(&self, from: usize) -> Option<usize> {
        let offset = from.wrapping_sub(self.start);
        if offset >= BLOCK {
            return None;
        }
        let mask = self.mask >> offset;
        (mask != 0).then(|| from + mask.trailing_zeros() as usize)
    }
}

impl Needles {
    /// The best way to search for `bytes`, of which there is at least one.
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut set = [0u64; 4];
        for &byte in bytes {
            set[usize::from(byte >> 6)] |= 1 << (byte & 63);
        }
        let mut few = [0; 8];
        let mut n = 0;
        for byte in 0..=u8::MAX {
            if !contains(&set, byte) {
                continue;
            }
            match few.get_mut(n..) {
                // All places from here on: the rest repeats the last byte.
                Some(places) if !places.is_empty() => places.fill(byte),
                _ => return Self::Set(set),
            }
            n += 1;
        }
        match n {
            0 | 1 => Self::One(few[0]),
            2 => Self::Two(few[0], few[1]),
            3 => Self::Three(few[0], few[1], few[2]),
            _ => Self::Few(few),
        }
    }

    /// Whether `byte` is one of them.
    #[inline]
    pub(super) fn contain(&self, byte: u8) -> bool {
        match self {
            Self::One(a) => byte == *a,
            Self::Two(a, b) => byte == *a || byte == *b,
            Self::Three(a, b, c) => byte == *a || byte == *b || byte == *c,
            Self::Few(few) => few.contains(&byte),
            Self::Set(set) => contains(set, byte),
        }
    }

    /// The next hit at or after `from`, if it is known or in the next 64 bytes and there is one
    /// needle: the part of [`find`](Self::find) that is worth inlining.
    #[inline(always)]
    pub(super) fn glance(&self, ahead: &mut Lookahead, block: &[u8], from: usize) -> Option<usize> {
        if let Some(hit) = ahead.next(from) {
            return Some(hit);
        }
        let Self::One(needle) = self else { return None };
        let start = ahead.uncovered(from);
        let next = block.get(start..)?.first_chunk::<BLOCK>()?;
        if ahead.far {
            return None;
        }
        examined(BLOCK);
        // Also when there is none: then it is known.
        *ahead = Lookahead { start, mask: equal(next, [*needle]), far: false };
        ahead.next(start)
    }

    /// The first hit at or after `from`. Looks no further than about `to`: `None` says that there
    /// is no hit before it.
    #[inline(always)]
    pub(super) fn find(
        &self,
        ahead: &mut Lookahead,
        block: &[u8],
        from: usize,
        to: usize,
    ) -> Option<usize> {
        if let Some(hit) = ahead.next(from) {
            return Some(hit);
        }
        // The lookahead goes in and comes out by value: it may stay in registers meanwhile.
        let found;
        (*ahead, found) = self.refill(*ahead, block, from, to);
        found
    }

    /// [`find`](Self::find) where nothing is known yet. Each kind of needles has its own loop, or
    /// the compiler would set up all of them for each search.
    #[inline]
    fn refill(&self, ahead: Lookahead, block: &[u8], from: usize, to: usize) -> Found {
        let from = ahead.uncovered(from);
        match self {
            Self::One(a) => self.refill_with(ahead, block, from, to, |b| equal(b, [*a])),
            Self::Two(a, b) => self.refill_with(ahead, block, from, to, |x| equal(x, [*a, *b])),
            Self::Three(a, b, c) => {
                self.refill_with(ahead, block, from, to, |x| equal(x, [*a, *b, *c]))
            }
            Self::Few(few) => self.refill_with(ahead, block, from, to, |x| equal(x, *few)),
            Self::Set(set) => self.refill_with(ahead, block, from, to, |x| {
                let bit = |mask, (i, &byte)| mask | (u64::from(contains(set, byte)) << i);
                x.iter().enumerate().fold(0, bit)
            }),
        }
    }

    #[inline(never)]
    fn refill_with(
        &self,
        ahead: Lookahead,
        block: &[u8],
        from: usize,
        to: usize,
        mask_of: impl Fn(&[u8; BLOCK]) -> u64,
    ) -> Found {
        let mut at = from;
        for _ in 0..if ahead.far { 0 } else { SHORT } {
            let rest = block.get(at..).unwrap_or_default();
            if at >= to || rest.len() < FEW {
                break;
            }
            let mask = match rest.first_chunk::<BLOCK>() {
                Some(full) => mask_of(full),
                None => {
                    let mut padded = [0; BLOCK];
                    padded[..rest.len()].copy_from_slice(rest);
                    mask_of(&padded) & ((1 << rest.len()) - 1)
                }
            };
            examined(rest.len().min(BLOCK));
            if mask != 0 {
                let hit = at + mask.trailing_zeros() as usize;
                return (Lookahead { start: at, mask, far: false }, Some(hit));
            }
            at += BLOCK;
        }
        let Some(rest) = block.get(at..to) else { return (ahead, None) };
        if rest.len() < FEW {
            let hit = rest.iter().position(|&byte| self.contain(byte));
            examined(hit.map_or(rest.len(), |i| i + 1));
            return (ahead, hit.map(|i| at + i));
        }
        let hit = self.find_far(rest).map(|i| at + i);
        let far = hit.is_some_and(|hit| hit - from >= SHORT * BLOCK);
        (Lookahead { far, ..ahead }, hit)
    }

    fn find_far(&self, bytes: &[u8]) -> Option<usize> {
        let hit = match self {
            Self::One(a) => memchr::memchr(*a, bytes),
            Self::Two(a, b) => memchr::memchr2(*a, *b, bytes),
            Self::Three(a, b, c) => memchr::memchr3(*a, *b, *c, bytes),
            Self::Few(few) => {
                let (blocks, tail) = bytes.as_chunks::<BLOCK>();
                let found = blocks.iter().position(|block| equal(block, *few) != 0);
                let from = found.unwrap_or(blocks.len()) * BLOCK;
                let last = found.and_then(|i| blocks.get(i)).map_or(tail, |block| &block[..]);
                last.iter().position(|byte| few.contains(byte)).map(|i| from + i)
            }
            Self::Set(set) => bytes.iter().position(|&byte| contains(set, byte)),
        };
        examined(hit.map_or(bytes.len(), |i| i + 1));
        hit
    }
}

#[inline]
fn contains(set: &[u64; 4], byte: u8) -> bool {
    set[usize::from(byte >> 6)] >> (byte & 63) & 1 != 0
}

/// A bit for each byte of `block` that is one of `needles`.
#[inline(always)]
fn equal<const N: usize>(block: &[u8; BLOCK], needles: [u8; N]) -> u64 {
    let (lanes, _) = block.as_chunks::<16>();
    let needles = needles.map(u8x16::splat);
    lanes.iter().rev().fold(0, |mask, lane| {
        let lane = u8x16::new(*lane);
        let hits = needles.iter().fold(u8x16::ZERO, |hits, &needle| hits | lane.simd_eq(needle));
        (mask << 16) | u64::from(hits.to_bitmask() & 0xffff)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        /// Every hit is found, in order, whatever the needles, the offsets and the lookahead.
        #[test]
        fn finds_what_a_plain_loop_finds(
            needles in prop::collection::vec(0u8..20, 1..12),
            hay in prop::collection::vec(0u8..200, 0..2000),
            sparse: bool,
        ) {
            let hay: Vec<u8> = hay.into_iter().map(|b| if sparse && b < 20 && b % 7 > 0 { 99 } else { b }).collect();
            let search = Needles::new(&needles);
            let mut ahead = Lookahead::default();
            let (mut at, mut found) = (0, Vec::new());
            while let Some(hit) = search.find(&mut ahead, &hay, at, hay.len()) {
                found.push(hit);
                at = hit + 1;
            }
            let plain: Vec<_> = (0..hay.len()).filter(|&i| needles.contains(&hay[i])).collect();
            prop_assert_eq!(found, plain);
            for byte in 0..=255 {
                prop_assert_eq!(search.contain(byte), needles.contains(&byte));
            }
        }
    }
}
