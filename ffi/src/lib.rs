//! The C interface of drywire.
//!
//! `include/drywire.h` is generated from this crate and is its documentation for C programmers;
//! `docs/c-api.md` explains it. Every export is a plain function whose body runs inside
//! `guard`: no panic crosses the boundary, a handle that saw one is poisoned, and a handle used
//! by two calls at once refuses the second.
//!
//! | module | exports |
//! |---|---|
//! | [`status`], [`version`] | codes, names, versions, features |
//! | [`types`], `sized` | the structs that cross the boundary, and how they may grow |
//! | [`framer`], [`codec`] | tier A: framings over the caller's buffers |
//! | [`server`], [`conn`], [`options`] | tier B: the server engine, its connections, protocols made in C |
//! | [`client`], [`request`] | tier C: client machines |
//! | [`policy`] | the guard policies, on structs of the caller's |
//!
//! All unsafe code of the project is in this crate: reading pointers of callers, nothing else.

pub mod client;
pub mod codec;
pub mod conn;
mod custom;
mod domain;
pub mod framer;
mod guard;
pub mod options;
mod output;
pub mod policy;
pub mod request;
pub mod server;
pub mod services;
mod sized;
pub mod status;
pub mod types;
pub mod version;

/// Handles may move between threads, and even wrong use from two is no data race.
const _: () = {
    const fn crosses_threads<T: Send + Sync>() {}
    crosses_threads::<framer::drywire_framer>();
    crosses_threads::<server::drywire_server>();
    crosses_threads::<conn::drywire_conn>();
    crosses_threads::<client::drywire_client>();
    crosses_threads::<services::drywire_work>();
};

#[cfg(test)]
mod tests;
