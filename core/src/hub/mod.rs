//! The hub: publish and subscribe by line.
//!
//! ```text
//!   sub weather\r\n             ─►  pub weather\r\nsunny\r\n      the last value at once,
//!                                   pub weather\r\nrain\r\n       then every one that comes
//!   unsub weather\r\n
//!   pub weather\r\nsnow\r\n     ─►  to all subscribers, the publisher too if it subscribed
//! ```
//!
//! A topic is everything behind the first space; content is the line after it. `utc_time` is the
//! server's own topic: the time, every second, for as long as anyone listens. A line that is none
//! of these ends the connection. What is over a limit is answered with `error` and the reason.
//! `docs/hub.md` says more.
//!
//! | limit | value |
//! |---|---|
//! | topic | 255 bytes |
//! | content | 65,536 bytes, no line feed |
//! | subscriptions of one connection, topics, memory | [`fanout::Config`](crate::fanout::Config) |
//!
//! ```
//! use drywire::hub::{Server, Shared, limits};
//! use drywire::conn::Peer;
//! use drywire::engine::Engine;
//! use drywire::fanout::Config;
//! use drywire::Tick;
//!
//! let mut engine: Engine<Server> = Engine::new(Shared::new(Config::default()), limits(), 1024);
//! let now = Tick::from_secs(1);
//! let a = engine.accept(now, &Peer::Virtual(1)).unwrap();
//! engine.receive(a, now, b"pub weather\r\nsunny\r\n");
//! let b = engine.accept(now, &Peer::Virtual(2)).unwrap();
//! engine.receive(b, now, b"sub weather\r\n");
//! assert_eq!(engine.next_dirty(now), Some(b));
//! engine.resume(b, now);
//! let heard: Vec<u8> = engine.outgoing(b).flatten().copied().collect();
//! assert_eq!(heard, b"pub weather\r\nsunny\r\n");
//! ```

pub mod client;
mod clock;
pub mod codec;
mod server;

pub use clock::{TIME_LEN, UTC_TIME, utc_time};
pub use server::{Server, Shared, limits};
