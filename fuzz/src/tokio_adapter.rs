//! The tokio face tells what the core tells.
#![allow(unreachable_pub, reason = "the fuzz crate and a test both take it")]

use bytes::BytesMut;
use drywire::frame::length_prefix::{LengthPrefix, Oversize, Width};
use drywire::frame::line::{self, Lines};
use drywire::frame::tlv::{Damage, Tlv};
use drywire::frame::{FrameError, Framing, frames};
use drywire_tokio::codec::{CodecError, FrameCodec};
use tokio_util::codec::Decoder;

/// Fragment size, codec, limit, stream.
pub fn tokio_adapter(data: &[u8]) {
    let [fragment, which, max, stream @ ..] = data else { return };
    let (fragment, max) = (usize::from(*fragment).max(1), usize::from(*max));
    match which % 3 {
        0 => same(Lines::lf_or_crlf(max).oversize(line::Oversize::Skip), stream, fragment),
        1 => same(Tlv::new(max).damage(Damage::Resync), stream, fragment),
        _ => {
            let builder = LengthPrefix::builder(Width::U8, max).oversize(Oversize::Skip);
            same(builder.build().expect("a plain shape"), stream, fragment);
        }
    }
}

fn same<F: Framing>(framing: F, stream: &[u8], fragment: usize) {
    let mut state = F::State::default();
    let core: Vec<Result<Vec<u8>, FrameError>> = frames(&framing, &mut state, stream)
        .map(|event| event.map(|frame| frame.payload.to_vec()))
        .collect();
    let (mut codec, mut buf, mut told) = (FrameCodec::new(framing), BytesMut::new(), Vec::new());
    'stream: for chunk in stream.chunks(fragment) {
        buf.extend_from_slice(chunk);
        loop {
            match codec.decode(&mut buf) {
                Ok(Some(event)) => told.push(event.map(|item| item.payload.to_vec())),
                Ok(None) => break,
                Err(CodecError::Frame(error)) => {
                    told.push(Err(error));
                    break 'stream;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(buf.capacity() <= 256 * 1024);
    }
    assert_eq!(told, core);
}
