//! The laws of framing (`docs/framing.md`), codec by codec, through one harness.

mod conformance;
mod damage;
mod fixed;
mod harness;
mod http;
mod http_strict;
mod length_prefix;
mod line;
mod record;
mod resp;
mod tlv;
