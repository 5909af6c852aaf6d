//! drywire: a protocol engine that can be run dry.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod chat;
pub mod conn;
pub mod engine;
pub mod fanout;
pub mod frame;
pub mod guard;
pub mod hub;
pub mod memcache;
pub mod sudoku;
mod tick;

pub use tick::Tick;
