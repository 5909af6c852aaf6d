//! The laws of framing (`docs/framing.md`), codec by codec, through one harness.

mod harness;
mod length_prefix;
mod line;
