//! Damage to TLV frames is found, and the frames after it are not lost (law 9).

use drywire::frame::tlv::{Damage, Info, Tlv};
use drywire::frame::{Encode, Framing, Step, frames};

use super::harness::Random;

fn frame(info: Info, body: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    Tlv::new(Tlv::MAX).encode(info.meta(), body, &mut wire).unwrap();
    wire
}

fn accepted(wire: &[u8]) -> bool {
    let codec = Tlv::new(1 << 16);
    matches!(codec.step(&mut Default::default(), wire), Step::Frame { .. })
}

fn flip(wire: &mut [u8], bit: usize) {
    wire[bit / 8] ^= 1 << (bit % 8);
}

#[test]
fn every_flip_of_one_two_or_three_bits_is_found() {
    for (info, body) in [
        (Info::default(), &b"drywire!"[..]),
        (Info { padded: true, kind: 7, stream: 0xfffe, ..Info::default() }, b"abc"),
        (Info { more: true, ..Info::default() }, b""),
    ] {
        let mut wire = frame(info, body);
        assert!(accepted(&wire));
        let bits = wire.len() * 8;
        for a in 0..bits {
            flip(&mut wire, a);
            assert!(!accepted(&wire), "bit {a}");
            for b in a + 1..bits {
                flip(&mut wire, b);
                assert!(!accepted(&wire), "bits {a}, {b}");
                for c in b + 1..bits {
                    flip(&mut wire, c);
                    assert!(!accepted(&wire), "bits {a}, {b}, {c}");
                    flip(&mut wire, c);
                }
                flip(&mut wire, b);
            }
            flip(&mut wire, a);
        }
    }
}

#[test]
fn every_pair_of_flips_in_a_64_byte_frame_is_found() {
    let mut wire = frame(Info::default(), &[0x5a; 44]);
    assert_eq!(wire.len(), 64);
    for a in 0..512 {
        for b in a + 1..512 {
            flip(&mut wire, a);
            flip(&mut wire, b);
            assert!(!accepted(&wire), "bits {a}, {b}");
            flip(&mut wire, a);
            flip(&mut wire, b);
        }
    }
}

/// Every burst of up to 11 bits, and a sample of each longer length up to 32, everywhere.
#[test]
fn every_burst_up_to_32_bits_is_found() {
    let good = frame(Info::default(), b"a burst may cross from header to body");
    let mut random = Random(32);
    let bits = good.len() * 8;
    let try_burst = |start: usize, len: usize, inner: u64| {
        // First and last bit of a burst are wrong by definition.
        let pattern = 1 | inner << 1 | 1 << (len - 1);
        let mut wire = good.clone();
        for bit in 0..len {
            if pattern >> bit & 1 == 1 {
                flip(&mut wire, start + bit);
            }
        }
        assert!(!accepted(&wire), "burst of {len} at {start}: {pattern:b}");
    };
    for len in 1..=32 {
        for start in 0..=bits - len {
            let free: u32 = len.saturating_sub(2) as u32;
            if len <= 11 {
                (0..1 << free).for_each(|inner| try_burst(start, len, inner));
            } else {
                (0..20).for_each(|_| try_burst(start, len, random.below(1 << free)));
            }
        }
    }
}

/// A million frames, each damaged at random (bits, bytes, cuts, swaps): none is accepted.
#[test]
fn a_million_damaged_frames_and_none_accepted() {
    let mut random = Random(0x7151);
    let mut damaged = 0;
    while damaged < 1_000_000 {
        let body = random.bytes(24);
        let body = &body[..random.below(25) as usize];
        let info = Info { kind: random.next() as u16, ..Info::default() };
        let good = frame(info, body);
        for _ in 0..20 {
            let mut wire = good.clone();
            let at = |random: &mut Random| random.below(good.len() as u64) as usize;
            match random.below(5) {
                0 => (0..=random.below(8)).for_each(|_| flip(&mut wire, at(&mut random) * 8)),
                1 => wire[at(&mut random)] = random.next() as u8,
                2 => {
                    let (from, with) = (at(&mut random), random.bytes(8));
                    let len = (good.len() - from).min(8);
                    wire[from..from + len].copy_from_slice(&with[..len]);
                }
                3 => wire.swap(at(&mut random), at(&mut random)),
                _ => {
                    wire.remove(at(&mut random));
                    wire.push(random.next() as u8);
                }
            }
            if wire != good {
                damaged += 1;
                assert!(!accepted(&wire), "{wire:x?} from {good:x?}");
            }
        }
    }
}

/// Whatever one frame of three suffers, the other two arrive and nothing that was not sent.
#[test]
fn after_damage_every_later_frame_is_recovered() {
    let sent: Vec<Vec<u8>> = (0..3u8).map(|i| vec![i; 5 + usize::from(i)]).collect();
    let wires: Vec<Vec<u8>> = sent.iter().map(|body| frame(Info::default(), body)).collect();
    let codec = Tlv::new(1 << 12).damage(Damage::Resync);
    let read = |wire: &[u8]| {
        let mut state = Default::default();
        let read: Vec<_> =
            frames(&codec, &mut state, wire).flatten().map(|f| f.payload.to_vec()).collect();
        read
    };
    let others = [sent[0].clone(), sent[2].clone()];
    let mut random = Random(9);
    for bit in 0..wires[1].len() * 8 {
        let mut bad = wires[1].clone();
        flip(&mut bad, bit);
        assert_eq!(read(&[&wires[0][..], &bad, &wires[2]].concat()), others, "bit {bit}");
        // Garbage of any length in its place. (A frame cut short with a valid header is another
        // matter: its length says what is skipped.)
        let len = random.below(40) as usize;
        let garbage = random.bytes(len);
        assert_eq!(read(&[&wires[0][..], &garbage, &wires[2]].concat()), others, "{garbage:x?}");
    }
}
