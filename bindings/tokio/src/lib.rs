//! drywire under tokio.
//!
//! [`codec`] makes any drywire codec a `tokio_util::codec::Decoder` and `Encoder`.

pub mod codec;
