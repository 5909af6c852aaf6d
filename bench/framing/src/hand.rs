//! What one would write by hand for one format and one purpose: no state to resume from, no
//! configuration, no errors. The limit to measure against.

use crate::measure::{Stream, Sum};

const CHUNK: usize = 64 * 1024;

#[inline(always)]
fn frame(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let len = u32::from_be_bytes(*len) as usize;
    if len > 1 << 20 {
        return None;
    }
    rest.split_at_checked(len)
}

/// u32 big-endian, the whole stream at once.
pub(crate) fn length_prefix() -> impl FnMut(&Stream) -> Sum {
    |stream| {
        let (mut sum, mut rest) = (Sum::default(), &stream.bytes[..]);
        while let Some((payload, after)) = frame(rest) {
            sum.add(payload);
            rest = after;
        }
        sum
    }
}

/// The same in chunks: frames inside a chunk in place, the others through a buffer.
pub(crate) fn length_prefix_carry() -> impl FnMut(&Stream) -> Sum {
    let mut carry: Vec<u8> = Vec::with_capacity(2 * CHUNK);
    move |stream| {
        let mut sum = Sum::default();
        for chunk in stream.bytes.chunks(CHUNK) {
            let mut rest = chunk;
            if !carry.is_empty() {
                if carry.len() < 4 {
                    let (front, back) = rest.split_at((4 - carry.len()).min(rest.len()));
                    carry.extend_from_slice(front);
                    rest = back;
                }
                let Some(len) = carry.first_chunk::<4>() else { continue };
                let total = 4 + u32::from_be_bytes(*len) as usize;
                let (front, back) = rest.split_at((total - carry.len()).min(rest.len()));
                carry.extend_from_slice(front);
                rest = back;
                if carry.len() < total {
                    continue;
                }
                sum.add(&carry[4..]);
                carry.clear();
            }
            while let Some((payload, after)) = frame(rest) {
                sum.add(payload);
                rest = after;
            }
            carry.extend_from_slice(rest);
        }
        sum
    }
}

/// LF, one memchr for each line.
pub(crate) fn lines() -> impl FnMut(&Stream) -> Sum {
    |stream| {
        let (mut sum, mut rest) = (Sum::default(), &stream.bytes[..]);
        while let Some(i) = memchr::memchr(b'\n', rest) {
            sum.add(&rest[..i]);
            rest = &rest[i + 1..];
        }
        sum
    }
}

#[inline(always)]
fn tlv(stream: &[u8], crc: impl Fn(u32, &[u8]) -> u32, verify: bool) -> Sum {
    let (mut sum, mut rest) = (Sum::default(), stream);
    while let Some((header, after)) = rest.split_first_chunk::<16>() {
        let word = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let len = word(8) as usize;
        let seed = crc(0, &header[..12]);
        if header[..2] != [0xF5, 0xD7] || (verify && seed != word(12)) || len > 1 << 20 {
            break;
        }
        let Some((body, after)) = after.split_at_checked(len) else { break };
        let Some((trailer, after)) = after.split_first_chunk::<4>() else { break };
        let sum_of_body = crc(seed, body);
        if verify && sum_of_body != u32::from_le_bytes(*trailer) {
            break;
        }
        sum.add(body);
        sum.bytes += (sum_of_body & 1) as usize;
        rest = after;
    }
    sum
}

pub(crate) fn tlv_crc_fast() -> impl FnMut(&Stream) -> Sum {
    |stream| {
        let crc = |seed: u32, bytes: &[u8]| {
            let algorithm = crc_fast::CrcAlgorithm::Crc32Iscsi;
            let mut digest = crc_fast::Digest::new_with_init_state(algorithm, u64::from(!seed));
            digest.update(bytes);
            digest.finalize() as u32
        };
        tlv(&stream.bytes, crc, true)
    }
}

pub(crate) fn tlv_crc32c() -> impl FnMut(&Stream) -> Sum {
    |stream| tlv(&stream.bytes, crc32c::crc32c_append, true)
}

/// The IEEE polynomial: the speed of the crate, the sums do not match the stream.
pub(crate) fn tlv_crc32fast() -> impl FnMut(&Stream) -> Sum {
    |stream| {
        let crc = |seed: u32, bytes: &[u8]| {
            let mut hasher = crc32fast::Hasher::new_with_initial(seed);
            hasher.update(bytes);
            hasher.finalize()
        };
        tlv(&stream.bytes, crc, false)
    }
}
