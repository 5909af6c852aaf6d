//! Chat over virtual connections and several engines: order, ledger, bounds, fates.

mod clients;
mod crowd;
mod fates;
mod net;
mod properties;
mod rooms;
