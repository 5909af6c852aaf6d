//! LEB128, one byte at a time and in the shortest form only.
//!
//! Source: DWARF, section "Variable Length Data"; protobuf, "Base 128 Varints".

use super::Width;

/// A number of which the first bytes were read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Partial {
    pub(crate) value: u64,
    pub(crate) bytes: u8,
}

/// What one more byte made of a number.
pub(crate) enum Read {
    /// It is complete.
    Done(u64),
    /// It goes on.
    More,
    /// It is not in its shortest form, or too large for its width, from this byte on.
    Bad,
}

impl Partial {
    /// Bytes read.
    #[inline]
    pub(crate) fn len(self) -> usize {
        usize::from(self.bytes)
    }

    /// Takes the next byte of a number of at most `bits` bits.
    #[inline]
    pub(crate) fn push(&mut self, byte: u8, bits: u32) -> Read {
        let shift = u32::from(self.bytes) * 7;
        let part = u64::from(byte & 0x7f);
        let left = bits.saturating_sub(shift);
        // In the last byte there may be is neither a continuation nor a bit over the width.
        if left == 0 || (left <= 7 && u32::from(byte) >> left != 0) {
            return Read::Bad;
        }
        self.value |= part << shift;
        self.bytes += 1;
        if byte & 0x80 != 0 {
            Read::More
        } else if byte == 0 && self.bytes > 1 {
            Read::Bad
        } else {
            Read::Done(self.value)
        }
    }
}

/// The number at the front of `bytes` and how many of them it takes; `None` if it is incomplete
/// or bad.
#[inline(always)]
pub(crate) fn read(bytes: &[u8], bits: u32) -> Option<(u64, usize)> {
    let &first = bytes.first()?;
    if first < 0x80 {
        return Some((first.into(), 1));
    }
    read_long(bytes, bits)
}

#[inline]
fn read_long(bytes: &[u8], bits: u32) -> Option<(u64, usize)> {
    let mut partial = Partial::default();
    for &byte in bytes {
        match partial.push(byte, bits) {
            Read::Done(value) => return Some((value, partial.len())),
            Read::More => {}
            Read::Bad => return None,
        }
    }
    None
}

impl Width {
    /// Bits of a varint's number.
    #[inline]
    pub(super) const fn varint_bits(self) -> u32 {
        if matches!(self, Self::Varint64) { 64 } else { 32 }
    }
}

/// Writes `value` in the shortest form; returns the bytes and how many there are.
#[inline]
pub(crate) fn write(mut value: u64) -> ([u8; 10], usize) {
    let mut bytes = [0; 10];
    let mut len = 0;
    for byte in &mut bytes {
        *byte = (value & 0x7f) as u8;
        value >>= 7;
        len += 1;
        if value == 0 {
            break;
        }
        *byte |= 0x80;
    }
    (bytes, len)
}

/// Bytes that [`write`] takes.
#[inline]
pub(crate) fn len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8], bits: u32) -> Result<Option<u64>, usize> {
        let mut partial = Partial::default();
        for (i, &byte) in bytes.iter().enumerate() {
            match partial.push(byte, bits) {
                Read::Done(value) => return Ok(Some(value)),
                Read::More => {}
                Read::Bad => return Err(i),
            }
        }
        Ok(None)
    }

    proptest! {
        #[test]
        fn round_trips(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let (bytes, n) = write(value);
            prop_assert_eq!(n, len(value));
            prop_assert_eq!(read(&bytes[..n], 64), Ok(Some(value)));
            let small = value as u32;
            let (bytes, n) = write(u64::from(small));
            prop_assert_eq!(read(&bytes[..n], 32), Ok(Some(u64::from(small))));
        }
    }

    #[test]
    fn refuses_long_forms_at_the_first_impossible_byte() {
        assert_eq!(read(&[0x80, 0x00], 32), Err(1));
        assert_eq!(read(&[0xff, 0x80, 0x00], 32), Err(2));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x0f], 32), Ok(Some(u64::from(u32::MAX))));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x10], 32), Err(4));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x8f], 32), Err(4));
        let mut most = [0xff; 10];
        most[9] = 0x01;
        assert_eq!(read(&most, 64), Ok(Some(u64::MAX)));
        most[9] = 0x02;
        assert_eq!(read(&most, 64), Err(9));
        most[9] = 0x81;
        assert_eq!(read(&most, 64), Err(9));
        assert_eq!(read(&[0x80; 4], 32), Ok(None));
    }
}
