//! A discrete-event model around the real engine: clients, one core, virtual time. Shared by the
//! tests and by the example that draws the curves.

pub(crate) mod chance;
pub(crate) mod load;
pub(crate) mod report;
pub(crate) mod service;
pub(crate) mod world;

pub(crate) use chance::{Chance, Shape};
pub(crate) use load::{Kind, Load};
pub(crate) use report::Report;
pub(crate) use service::Policy;
pub(crate) use world::Setup;

/// One millisecond.
pub(crate) const MS: u64 = 1_000_000;
/// One second.
pub(crate) const S: u64 = 1000 * MS;
