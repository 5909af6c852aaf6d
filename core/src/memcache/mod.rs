//! memcached: the classic text protocol and the item store behind it.

pub mod expiry;
pub mod store;
