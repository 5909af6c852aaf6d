//! Finding the next of a few bytes: in short lines by bit masks of 64 bytes, kept from line to
//! line; in long ones by memchr.
//!
//! Places in a block are counted from its end: a walk only ever shortens the block at its front,
//! so that they stay as they are.

use core::hint::cold_path;

use fearless_simd::prelude::*;
use fearless_simd::{dispatch, u8x64};

use super::cpu::Cpu;
use super::track::examined;

/// Bytes per mask.
const MASK: usize = 64;

/// Bytes searched by masks in one call at most. Without a hit in so many lines are long, and
/// memchr is faster.
const REACH: usize = 512;

/// With fewer bytes than this left, a plain loop is faster.
const FEW: usize = 16;

/// What is searched for, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Search {
    needles: Needles,
    /// The byte of [`Needles::One`].
    one: u8,
    cpu: Cpu,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needles {
    One(u8),
    Two(u8, u8),
    Three(u8, u8, u8),
    Set(Set),
}

/// Any set of bytes: for each low half of a byte, a bit for each upper half; those of the upper
/// halves 0 to 7 in the first table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Set([[u8; 16]; 2]);

/// What a search found, in two registers: a copy of what was just written to memory in parts
/// would have to wait for it.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    /// The hits in the last 64 of the bytes searched; there are none before them. The top bit is
    /// the last byte.
    mask: u64,
    /// How many bytes were searched.
    size: usize,
}

/// What was searched of a block, and the hits in it that are not used yet.
#[derive(Clone, Copy, Debug)]
pub struct Lookahead {
    /// The hits in the last 64 of the bytes searched, the top bit for the last of them. There are
    /// none before those.
    mask: u64,
    /// So many bytes before the end of the block the search ended.
    left: usize,
    /// Which 64 bytes of the block are next, if their mask may be made in line; else [`NOWHERE`].
    inline: usize,
    /// The same, if it takes a call to make their mask.
    called: usize,
    lines: Lines,
}

/// Beyond every block, and far from where numbers end.
const NOWHERE: usize = usize::MAX >> 1;

/// What lines were like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    Short,
    /// The last hit was further on than masks reach.
    Long,
}

impl Default for Lookahead {
    fn default() -> Self {
        let (inline, called) = (NOWHERE, NOWHERE);
        Self { mask: 0, left: usize::MAX, inline, called, lines: Lines::Short }
    }
}

impl Lookahead {
    /// The next hit was used.
    #[inline(always)]
    pub(super) fn used(&mut self) {
        self.mask &= self.mask.wrapping_sub(1);
    }

    /// The walk is now this many bytes before the end of the block.
    pub(super) fn leave(&mut self, left: usize) {
        let gone = self.left.saturating_add(MASK).saturating_sub(left);
        if gone < MASK {
            self.mask &= u64::MAX << gone;
            return;
        }
        self.mask = 0;
        if self.left > left {
            (self.left, self.inline, self.called) = (left, NOWHERE, NOWHERE);
        }
    }

    /// How many bytes before the end of the block what follows the next hit begins. There is one.
    #[inline(always)]
    fn after_next(&self) -> usize {
        self.left.wrapping_add(MASK - 1).wrapping_sub(self.mask.trailing_zeros() as usize)
    }
}

impl Search {
    /// The best way to search for `bytes`, of which there is at least one.
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut set = Set([[0; 16]; 2]);
        for byte in bytes {
            let [row, column] = [byte >> 4, byte & 15].map(usize::from);
            set.0[row / 8][column] |= 1 << (row % 8);
        }
        let mut different = (0..=u8::MAX).filter(|&byte| set.contains(byte));
        let first = core::array::from_fn(|_| different.next());
        let needles = match first {
            [Some(a), Some(b), Some(c), None] => Needles::Three(a, b, c),
            [Some(a), Some(b), None, None] => Needles::Two(a, b),
            [Some(a), None, None, None] => Needles::One(a),
            _ => Needles::Set(set),
        };
        let one = bytes.first().copied().unwrap_or_default();
        Self { needles, one, cpu: Cpu::detect() }
    }

    /// Whether `byte` is one of them.
    #[inline]
    pub(super) fn contain(&self, byte: u8) -> bool {
        match &self.needles {
            Needles::One(a) => byte == *a,
            Needles::Two(a, b) => byte == *a || byte == *b,
            Needles::Three(a, b, c) => byte == *a || byte == *b || byte == *c,
            Needles::Set(set) => set.contains(byte),
        }
    }

    /// The first hit in `avail`, the tail of a block, at or after `from`. Looks no further than
    /// about `to`: `None` says that there is no hit before it.
    #[inline]
    pub(super) fn find(
        &self,
        ahead: &mut Lookahead,
        avail: &[u8],
        from: usize,
        to: usize,
    ) -> Option<usize> {
        ahead.leave(avail.len().saturating_sub(from));
        if ahead.mask == 0 {
            self.search_on(ahead, avail, avail.len().saturating_sub(to));
            // `avail` is not divided as the block is.
            (ahead.inline, ahead.called) = (NOWHERE, NOWHERE);
        }
        (ahead.mask != 0).then(|| avail.len() - ahead.after_next() - 1)
    }

    /// How many bytes of `avail`, the tail of `block` where the walk is, there are before the next
    /// hit. `None` says that there is none in `most` bytes.
    ///
    /// What is searched is taken from `block`, at a place that does not depend on the hits before
    /// it, so that the CPU need not wait for them.
    #[inline(always)]
    pub(super) fn next(
        &self,
        ahead: &mut Lookahead,
        block: &[u8],
        avail: &[u8],
        most: impl Fn() -> usize,
    ) -> Option<usize> {
        if ahead.mask == 0 {
            let (blocks, _) = block.as_chunks::<MASK>();
            if let Some(bytes) = blocks.get(ahead.inline) {
                examined(MASK);
                ahead.mask = dispatch!(Cpu::baseline().0, simd => equal(simd, [self.one])(bytes));
                ahead.inline += 1;
                ahead.left -= MASK;
            }
            if ahead.mask == 0 {
                cold_path();
                if let Some(bytes) = blocks.get(ahead.called) {
                    ahead.mask = self.mask(bytes);
                    ahead.called += 1;
                    ahead.left -= MASK;
                }
            }
            if ahead.mask == 0 {
                cold_path();
                if avail.is_empty() {
                    return None;
                }
                self.search_on(ahead, block, avail.len().saturating_sub(most()));
                if ahead.mask == 0 {
                    return None;
                }
            }
        }
        Some(avail.len().wrapping_sub(ahead.after_next()).wrapping_sub(1))
    }

    /// Searches the rest of `block`, or of a tail of it, until about `until` bytes before its end.
    #[inline(always)]
    fn search_on(&self, ahead: &mut Lookahead, block: &[u8], until: usize) {
        let left = ahead.left.min(block.len());
        let at = block.len() - left;
        let found = match block.get(at..) {
            Some(rest) if left > until => {
                let first = MASK - at % MASK;
                self.search(rest, first, left - until, ahead.lines == Lines::Long)
            }
            _ => Found::default(),
        };
        let lines = match ahead.lines {
            Lines::Long if found.mask == 0 => Lines::Long,
            _ if found.mask != 0 && found.size > REACH => Lines::Long,
            _ => Lines::Short,
        };
        let (left, at) = (left - found.size, at + found.size);
        let (inline, called) = match &self.needles {
            _ if lines == Lines::Long || !at.is_multiple_of(MASK) => (NOWHERE, NOWHERE),
            Needles::One(_) if Cpu::BASELINE => (at / MASK, NOWHERE),
            _ => (NOWHERE, at / MASK),
        };
        *ahead = Lookahead { mask: found.mask, left, inline, called, lines };
    }

    /// The first hits in `bytes`, looking no further than about `to`. The first mask has so many
    /// bytes.
    #[inline(never)]
    fn search(&self, bytes: &[u8], first: usize, to: usize, long: bool) -> Found {
        let to = to.min(bytes.len());
        let mut from = 0;
        if !long && bytes.len() >= FEW {
            let found = self.search_masks(bytes, first, to.min(REACH));
            if found.mask != 0 {
                return found;
            }
            from = found.size;
        }
        let rest = bytes.get(from..to).unwrap_or_default();
        let hit = if rest.len() < FEW {
            rest.iter().position(|&byte| self.contain(byte))
        } else {
            self.find_far(rest)
        };
        examined(hit.map_or(rest.len(), |i| i + 1));
        match hit {
            Some(i) => Found { mask: 1 << 63, size: from + i + 1 },
            None => Found { mask: 0, size: from.max(to) },
        }
    }

    fn find_far(&self, bytes: &[u8]) -> Option<usize> {
        match &self.needles {
            Needles::One(a) => memchr::memchr(*a, bytes),
            Needles::Two(a, b) => memchr::memchr2(*a, *b, bytes),
            Needles::Three(a, b, c) => memchr::memchr3(*a, *b, *c, bytes),
            Needles::Set(set) => {
                dispatch!(self.cpu.0, simd => first(bytes, set.mask_of(simd)))
            }
        }
    }

    #[inline]
    fn search_masks(&self, bytes: &[u8], first: usize, reach: usize) -> Found {
        dispatch!(self.cpu.0, simd => match &self.needles {
            Needles::One(a) => search_masks(bytes, first, reach, equal(simd, [*a])),
            Needles::Two(a, b) => search_masks(bytes, first, reach, equal(simd, [*a, *b])),
            Needles::Three(a, b, c) => {
                search_masks(bytes, first, reach, equal(simd, [*a, *b, *c]))
            }
            Needles::Set(set) => search_masks(bytes, first, reach, set.mask_of(simd)),
        })
    }

    #[inline(never)]
    fn mask(&self, bytes: &[u8; MASK]) -> u64 {
        examined(MASK);
        match &self.needles {
            Needles::One(a) => dispatch!(self.cpu.0, simd => equal(simd, [*a])(bytes)),
            Needles::Two(a, b) => dispatch!(self.cpu.0, simd => equal(simd, [*a, *b])(bytes)),
            Needles::Three(a, b, c) => {
                dispatch!(self.cpu.0, simd => equal(simd, [*a, *b, *c])(bytes))
            }
            Needles::Set(set) => dispatch!(self.cpu.0, simd => set.mask_of(simd)(bytes)),
        }
    }
}

/// A bit for each byte that is one of `needles`.
#[inline(always)]
fn equal<S: Simd, const N: usize>(simd: S, needles: [u8; N]) -> impl Fn(&[u8; MASK]) -> u64 {
    #[inline(always)]
    move |block| {
        let block = u8x64::from_slice(simd, block);
        let mut hits = block.simd_eq(u8x64::splat(simd, needles[0]));
        let mut i = 1;
        while i < N {
            hits |= block.simd_eq(u8x64::splat(simd, needles[i]));
            i += 1;
        }
        hits.to_bitmask()
    }
}

impl Set {
    #[inline]
    fn contains(&self, byte: u8) -> bool {
        let [row, column] = [byte >> 4, byte & 15].map(usize::from);
        self.0[row / 8][column] >> (row % 8) & 1 != 0
    }

    /// A bit for each byte that is in the set.
    #[inline(always)]
    fn mask_of<S: Simd>(&self, simd: S) -> impl Fn(&[u8; MASK]) -> u64 {
        let first = u8x64::block_splat(self.0[0].simd_into(simd));
        let second = u8x64::block_splat(self.0[1].simd_into(simd));
        let bits = [1, 2, 4, 8, 16, 32, 64, 128];
        let mut of_first = [0; 16];
        let mut of_second = [0; 16];
        of_first[..8].copy_from_slice(&bits);
        of_second[8..].copy_from_slice(&bits);
        let of_first = u8x64::block_splat(of_first.simd_into(simd));
        let of_second = u8x64::block_splat(of_second.simd_into(simd));
        #[inline(always)]
        move |block| {
            let block = u8x64::from_slice(simd, block);
            let (row, column) = (block >> 4, block & 15);
            let first =
                first.swizzle_dyn_within_blocks(column) & of_first.swizzle_dyn_within_blocks(row);
            let second =
                second.swizzle_dyn_within_blocks(column) & of_second.swizzle_dyn_within_blocks(row);
            !(first | second).simd_eq(0).to_bitmask()
        }
    }
}

/// The first mask with hits, of those that begin before `reach`. The first one has so many bytes.
#[inline(always)]
fn search_masks(
    bytes: &[u8],
    first: usize,
    reach: usize,
    mask_of: impl Fn(&[u8; MASK]) -> u64,
) -> Found {
    // Of up to as many bytes as a mask has.
    let part = |size: usize, bytes: &[u8], whole: Option<&[u8; MASK]>| {
        examined(size);
        (whole.map_or_else(|| mask_of(&padded(bytes)), &mask_of)) << (MASK - size)
    };
    let (front, rest) = bytes.split_at_checked(first).unwrap_or((bytes, &[]));
    let mask = part(front.len(), front, bytes.first_chunk());
    let mut size = front.len();
    if mask != 0 {
        return Found { mask, size };
    }
    let (whole, tail) = rest.as_chunks::<MASK>();
    for block in whole {
        if size >= reach {
            return Found { mask: 0, size };
        }
        examined(MASK);
        size += MASK;
        let mask = mask_of(block);
        if mask != 0 {
            return Found { mask, size };
        }
    }
    if tail.is_empty() || size >= reach {
        return Found { mask: 0, size };
    }
    let mask = part(tail.len(), tail, None);
    Found { mask, size: size + tail.len() }
}

/// The place of the first hit.
#[inline(always)]
fn first(bytes: &[u8], mask_of: impl Fn(&[u8; MASK]) -> u64) -> Option<usize> {
    let (whole, tail) = bytes.as_chunks::<MASK>();
    let found =
        |(i, mask): (usize, u64)| (mask != 0).then(|| i * MASK + mask.trailing_zeros() as usize);
    let masks = whole.iter().map(&mask_of).enumerate();
    masks
        .into_iter()
        .find_map(found)
        .or_else(|| found((whole.len(), mask_of(&padded(tail)) & ((1 << tail.len()) - 1))))
}

/// Fewer bytes than a block, with zeros behind them.
#[inline(always)]
fn padded(tail: &[u8]) -> [u8; MASK] {
    let mut padded = [0; MASK];
    padded[..tail.len()].copy_from_slice(tail);
    padded
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
            upper in 0u8..16,
            hay in prop::collection::vec(0u8..200, 0..2000),
            sparse: bool,
            shorten in 0usize..3,
        ) {
            // Needles of the given upper halves too.
            let needles: Vec<u8> = needles.iter().map(|b| b ^ upper << 4).collect();
            let hay: Vec<u8> = hay.into_iter().map(|b| if sparse && b < 20 && b % 7 > 0 { 99 } else { b ^ upper << 4 }).collect();
            let search = Search::new(&needles);
            let mut ahead = Lookahead::default();
            // The tail may be shortened up to a hit at once, or stay as it is.
            let (mut gone, mut at, mut found) = (0, 0, Vec::new());
            while let Some(hit) = search.find(&mut ahead, &hay[gone..], at - gone, hay.len() - gone) {
                found.push(gone + hit);
                at = gone + hit + 1;
                match shorten {
                    0 => gone = at,
                    1 => ahead.leave(hay.len() - at),
                    _ => {}
                }
            }
            let plain: Vec<_> = (0..hay.len()).filter(|&i| needles.contains(&hay[i])).collect();
            prop_assert_eq!(found, plain);
            for byte in 0..=255 {
                prop_assert_eq!(search.contain(byte), needles.contains(&byte));
            }
        }

        /// The same for a walk, which glances and takes a step now and then: no search goes on
        /// from a wrong place, and a limit hides nothing for good.
        #[test]
        fn a_walk_finds_what_a_plain_loop_finds(
            needles in prop::collection::vec(0u8..20, 1..6),
            gaps in prop::collection::vec((0usize..900, 0usize..3), 0..40),
            tail in 0usize..700,
            limit in 1usize..1000,
            choices: u64,
        ) {
            let mut hay = Vec::new();
            for &(gap, small) in &gaps {
                hay.resize(hay.len() + [gap, gap % 70, gap % 4][small], 99);
                hay.push(needles[gap % needles.len()]);
            }
            hay.resize(hay.len() + tail, 99);
            let search = Search::new(&needles);
            let (mut ahead, mut gone, mut found) = (Lookahead::default(), 0, Vec::new());
            for turn in 0.. {
                let avail = &hay[gone..];
                let to = limit.min(avail.len());
                match (choices >> (turn % 21 * 3) & 7, search.next(&mut ahead, &hay, avail, || limit)) {
                    // Seen and used.
                    (0..6, Some(before)) => {
                        ahead.used();
                        found.push(gone + before);
                        gone += before + 1;
                        continue;
                    }
                    // Held: a glance is shown nothing.
                    (6, _) => _ = search.next(&mut ahead, &hay, &[], || limit),
                    _ => {}
                }
                // Left to a step, which may consume less than it searched.
                match search.find(&mut ahead, avail, 0, to) {
                    Some(hit) if hit < to => {
                        found.push(gone + hit);
                        gone += hit + 1;
                    }
                    _ if to == avail.len() => break,
                    _ => gone += to,
                }
                ahead.leave(hay.len() - gone);
            }
            let plain: Vec<_> = (0..hay.len()).filter(|&i| needles.contains(&hay[i])).collect();
            prop_assert_eq!(found, plain);
        }
    }
}
