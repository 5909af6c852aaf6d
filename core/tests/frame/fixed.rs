//! Fixed-size records under the laws.

use drywire::frame::fixed::Fixed;
use drywire::frame::{Encode, EncodeError, Eof, Meta};
use proptest::prelude::*;

use super::harness::{check, stepped};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn laws_hold(len in 1usize..20, input in prop::collection::vec(any::<u8>(), 0..80), seed: u64) {
        let codec = Fixed::new(len).unwrap();
        let told = check(&codec, &input, seed);
        let whole: Vec<&[u8]> = input.chunks_exact(len).collect();
        prop_assert_eq!(told.payloads(), whole);
        let have = (input.len() % len) as u64;
        let need = len as u64;
        prop_assert_eq!(told.eof, if have == 0 { Eof::Clean } else { Eof::Partial { have, need } });
    }
}

#[test]
fn only_its_own_length_is_encoded() {
    let codec = Fixed::new(3).unwrap();
    let mut wire = Vec::new();
    assert_eq!(codec.encode(Meta::default(), b"abc", &mut wire), Ok(3));
    assert_eq!(stepped(&codec, &wire, &[]).payloads(), [b"abc"]);
    let wrong = |len| Err(EncodeError::WrongLength { len, must: 3 });
    assert_eq!(codec.encode(Meta::default(), b"ab", &mut wire), wrong(2));
    assert_eq!(codec.encode(Meta::default(), b"abcd", &mut wire), wrong(4));
    assert_eq!(codec.encode(Meta::kind(1), b"abc", &mut wire), Err(EncodeError::BadMeta));
    assert!(Fixed::new(0).is_err() && Fixed::new(usize::MAX).is_err());
}
