//! The core without std: an engine serves a request with nothing underneath.

#![no_std]
#![forbid(unsafe_code)]

use drywire::Tick;
use drywire::conn::{Limits, Peer};
use drywire::engine::{Engine, Local};
use drywire::memcache::store::{Config as StoreConfig, Hasher, Store};
use drywire::memcache::{Config, Part, Server, Shared};

#[global_allocator]
static HEAP: emballoc::Allocator<{ 1 << 20 }> = emballoc::Allocator::new();

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Keeps the machinery linked in.
pub fn serve() -> usize {
    let hasher = Hasher::new(1);
    let Ok(store) = Store::new(StoreConfig::new(1 << 20, hasher.clone())) else { return 0 };
    let shared = Shared::new(Config::new(hasher, 0), Local::one(Part::new(store)));
    let mut engine: Engine<Server<_>> = Engine::new(shared, Limits::default(), 1);
    let Some(id) = engine.accept(Tick::ZERO, &Peer::Virtual(0)) else { return 0 };
    engine.receive(id, Tick::ZERO, b"version\r\n");
    engine.outgoing(id).map(<[u8]>::len).sum()
}
