//! CRC-32C (Castagnoli): reflected polynomial 0x82F63B78, all ones in and out. RFC 3720, B.4.
//!
//! With the feature `std`, long runs go to the `crc-fast` crate, which picks the CPU's
//! instructions and cannot be built without std. For the dozen bytes of a header, finding out what
//! the CPU can do costs more than the checksum: there, and without the feature, a table walk of
//! sixteen bytes a step; or the CPU's own instruction, where the program is compiled for such CPUs
//! only (`-C target-cpu=x86-64-v2`). `docs/benchmarks.md` has the numbers.

use super::track::examined;

/// From this many bytes on the crate is faster.
#[cfg(feature = "std")]
const LONG: usize = if cfg!(target_feature = "sse4.2") { 256 } else { 64 };

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
#[inline(always)]
#[must_use]
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    examined(bytes.len());
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

/// `TABLES[k][b]` is the register after the byte `b` and `k` zero bytes.
#[cfg(not(all(target_arch = "x86_64", target_feature = "sse4.2")))]
static TABLES: [[u32; 256]; 16] = tables();

#[cfg(not(all(target_arch = "x86_64", target_feature = "sse4.2")))]
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

/// The register after `bytes`, by the CPU's instruction: only where the whole program is compiled
/// for a CPU that has it.
#[cfg(all(target_arch = "x86_64", target_feature = "sse4.2"))]
#[inline(always)]
fn short(register: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    let step = |crc, word: &[u8; 8]| safe_arch::crc32_u64(crc, u64::from_le_bytes(*word));
    let register = words.iter().fold(u64::from(register), step) as u32;
    let (words, rest) = rest.as_chunks::<4>();
    let step = |crc, word: &[u8; 4]| safe_arch::crc32_u32(crc, u32::from_le_bytes(*word));
    let register = words.iter().fold(register, step);
    rest.iter().fold(register, |crc, &byte| safe_arch::crc32_u8(crc, byte))
}

/// The register after `bytes`.
#[cfg(not(all(target_arch = "x86_64", target_feature = "sse4.2")))]
#[inline(always)]
fn short(mut register: u32, bytes: &[u8]) -> u32 {
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
#[cfg(not(all(target_arch = "x86_64", target_feature = "sse4.2")))]
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
            prop_assert_eq!(!short(!0, &bytes), crc);
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
