//! CRC-32C (Castagnoli): reflected polynomial 0x82F63B78, all ones in and out. RFC 3720, B.4.
//!
//! Short runs go to the CPU's own instruction where there is one (SSE 4.2, found out at run time
//! with the feature `std`), else to a table walk of sixteen bytes a step. With `std`, long runs go
//! to the `crc-fast` crate, which cannot be built without.

use super::cpu::Cpu;
use super::track::examined;

/// From this many bytes on the crate is faster.
#[cfg(feature = "std")]
const LONG: usize = 256;

/// CRC-32C of `bytes`.
///
/// ```
/// assert_eq!(drywire::frame::tlv::crc32c(b"123456789"), 0xE306_9283);
/// ```
#[inline(always)]
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c_append(0, bytes)
}

/// CRC-32C of what `crc` is the CRC of, followed by `bytes`.
#[inline]
#[must_use]
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    examined(bytes.len());
    append(
        crc,
        bytes,
        #[inline(always)]
        |register, bytes| {
            #[cfg(target_arch = "x86_64")]
            if let Some(sse) = Cpu::detect().0.as_sse4_2() {
                return by_instruction(sse, register, bytes);
            }
            by_table(register, bytes)
        },
    )
}

/// [`crc32c_append`] with a function for short runs, which takes and gives the bare register.
#[inline(always)]
pub(super) fn append(crc: u32, bytes: &[u8], short: impl Fn(u32, &[u8]) -> u32) -> u32 {
    #[cfg(feature = "std")]
    if bytes.len() >= LONG {
        return long(crc, bytes);
    }
    !short(!crc, bytes)
}

#[cfg(feature = "std")]
#[inline(never)]
fn long(crc: u32, bytes: &[u8]) -> u32 {
    let algorithm = crc_fast::CrcAlgorithm::Crc32Iscsi;
    let mut digest = crc_fast::Digest::new_with_init_state(algorithm, u64::from(!crc));
    digest.update(bytes);
    digest.finalize() as u32
}

#[cfg(target_arch = "x86_64")]
fearless_simd::kernel!(
    fn by_instruction(sse: Sse4_2, register: u32, bytes: &[u8]) -> u32 {
        by_sse(register, bytes)
    }
);

/// The register after `bytes`, for code that is compiled for CPUs with the instruction.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse4.2")]
pub(super) fn by_sse(register: u32, bytes: &[u8]) -> u32 {
    use core::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u32, _mm_crc32_u64};
    #[inline(always)]
    fn words<const N: usize>(register: u64, bytes: &[u8; N], crc: impl Fn(u64, u64) -> u64) -> u64 {
        let words = bytes.as_chunks::<8>().0.iter();
        words.fold(register, |register, word| crc(register, u64::from_le_bytes(*word)))
    }
    let (blocks, mut rest) = bytes.as_chunks::<64>();
    let mut wide = u64::from(register);
    for block in blocks {
        wide = words(wide, block, |r, word| _mm_crc32_u64(r, word));
    }
    // Halved rather than looped: for each size these branches go the same way.
    if let Some((block, after)) = rest.split_first_chunk::<32>() {
        (wide, rest) = (words(wide, block, |r, word| _mm_crc32_u64(r, word)), after);
    }
    if let Some((block, after)) = rest.split_first_chunk::<16>() {
        (wide, rest) = (words(wide, block, |r, word| _mm_crc32_u64(r, word)), after);
    }
    if let Some((block, after)) = rest.split_first_chunk::<8>() {
        (wide, rest) = (words(wide, block, |r, word| _mm_crc32_u64(r, word)), after);
    }
    let mut register = wide as u32;
    if let Some((word, after)) = rest.split_first_chunk::<4>() {
        (register, rest) = (_mm_crc32_u32(register, u32::from_le_bytes(*word)), after);
    }
    for &byte in rest {
        register = _mm_crc32_u8(register, byte);
    }
    register
}

/// `TABLES[k][b]` is the register after the byte `b` and `k` zero bytes.
static TABLES: [[u32; 256]; 16] = tables();

const fn tables() -> [[u32; 256]; 16] {
    let mut tables = [[0; 256]; 16];
    let mut byte = 0;
    while byte < 256 {
        let mut register = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            let carry = register & 1;
            register = (register >> 1) ^ (carry * 0x82F6_3B78);
            bit += 1;
        }
        tables[0][byte] = register;
        byte += 1;
    }
    let mut k = 1;
    while k < 16 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[k - 1][byte];
            tables[k][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        k += 1;
    }
    tables
}

/// The register after `bytes`.
#[inline(always)]
pub(super) fn by_table(mut register: u32, bytes: &[u8]) -> u32 {
    let (blocks, rest) = bytes.as_chunks::<16>();
    for block in blocks {
        register = advance(register, block);
    }
    let (blocks, rest) = rest.as_chunks::<8>();
    for block in blocks {
        register = advance(register, block);
    }
    let (blocks, rest) = rest.as_chunks::<4>();
    for block in blocks {
        register = advance(register, block);
    }
    for &byte in rest {
        register = (register >> 8) ^ TABLES[0][(register as u8 ^ byte) as usize];
    }
    register
}

/// The register after `N` bytes (at least four), all looked up at once.
#[inline(always)]
fn advance<const N: usize>(register: u32, block: &[u8; N]) -> u32 {
    let mut mixed = *block;
    for (byte, seed) in mixed.iter_mut().zip(register.to_le_bytes()) {
        *byte ^= seed;
    }
    let mut register = 0;
    let mut i = 0;
    while i < N {
        register ^= TABLES[N - 1 - i][mixed[i] as usize];
        i += 1;
    }
    register
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bitwise(bytes: &[u8]) -> u32 {
        let mut register = !0u32;
        for &byte in bytes {
            register ^= u32::from(byte);
            for _ in 0..8 {
                let carry = register & 1;
                register = (register >> 1) ^ (carry * 0x82F6_3B78);
            }
        }
        !register
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            bytes in prop::collection::vec(any::<u8>(), 0..700),
            cut in 0usize..700,
        ) {
            let crc = bitwise(&bytes);
            prop_assert_eq!(crc32c(&bytes), crc);
            prop_assert_eq!(!by_table(!0, &bytes), crc);
            #[cfg(feature = "std")]
            prop_assert_eq!(long(0, &bytes), crc);
            let (front, back) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(crc32c_append(crc32c(front), back), crc);
        }
    }

    #[test]
    fn known_answers() {
        // RFC 3720, B.4: 32 bytes of zeros, of ones, ascending.
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xff; 32]), 0x62A8_AB43);
        let ascending: [u8; 32] = core::array::from_fn(|i| i as u8);
        assert_eq!(crc32c(&ascending), 0x46DD_794E);
    }
}
