//! The laws of framing (`docs/framing.md`), codec by codec, through one harness.

mod conformance;
mod corpus;
mod damage;
mod fixed;
mod harness;
mod http;
mod http_strict;
mod length_prefix;
mod line;
mod record;
mod resp;
#[path = "../../../fuzz/src/targets.rs"]
mod targets;
mod tlv;
