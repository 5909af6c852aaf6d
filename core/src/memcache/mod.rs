//! memcached: the classic text protocol and the item store behind it.

pub mod client;
pub mod expiry;
pub mod store;
