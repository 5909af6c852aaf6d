//! Chat over virtual connections and several engines: order, ledger, bounds, fates.

mod bridge;
mod broker;
mod clients;
mod crowd;
mod fates;
mod mail;
mod net;
mod properties;
mod rooms;
