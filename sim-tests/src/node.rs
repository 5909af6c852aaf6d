//! What runs in the simulated world: bytes in, bytes out.

use crate::io::Io;
use crate::net::LinkId;
use drywire::Tick;

/// A program under simulation: a server, a caller, a proxy, anything that talks over links.
///
/// It sees the world as a program sees its sockets: input waits until it is taken, a write may
/// be accepted in part, links end. It never blocks and never reads a clock; whatever it does,
/// it does inside these calls. [`Serve`](crate::Serve) makes one of any drywire engine. A
/// machine of one's own needs `readable` and usually nothing else:
///
/// ```
/// use drywire_sim::{Io, LinkId, Node};
/// /// Sends back whatever it hears.
/// struct Echo;
/// impl Node for Echo {
///     fn readable(&mut self, io: &mut Io<'_>, link: LinkId) {
///         let heard = io.take_all(link);
///         io.send(link, &heard);
///     }
/// }
/// ```
pub trait Node {
    /// The world begins, or this node was started again.
    fn start(&mut self, io: &mut Io<'_>) {
        let _ = io;
    }

    /// A link is up: one that this node asked for, or one that somebody else opened to it.
    fn opened(&mut self, io: &mut Io<'_>, link: LinkId) {
        let _ = (io, link);
    }

    /// Input has arrived. What is not taken stays, fills the window and slows the peer; there
    /// is no further call for it until more arrives.
    fn readable(&mut self, io: &mut Io<'_>, link: LinkId);

    /// A write met a full window, and there is room now.
    fn writable(&mut self, io: &mut Io<'_>, link: LinkId) {
        let _ = (io, link);
    }

    /// The link ended in one way or the other. After [`Ending::Fin`] this side can still write
    /// and has to [`Io::close`] some time; by default it does so at once. After any other
    /// ending the link is gone.
    fn ended(&mut self, io: &mut Io<'_>, link: LinkId, how: Ending) {
        if how == Ending::Fin {
            io.close(link);
        }
    }

    /// [`Io::again`] asked for this turn.
    fn turn(&mut self, io: &mut Io<'_>, token: u32) {
        let _ = (io, token);
    }

    /// When `woke` is due, by this node's own clock ([`Io::now`]). Asked after every call.
    fn deadline(&self) -> Option<Tick> {
        None
    }

    /// The deadline has come. Afterwards it must be later (I4).
    fn woke(&mut self, io: &mut Io<'_>) {
        let _ = io;
    }

    /// Faults are over: whoever misbehaves on purpose stops it now.
    fn calmed(&mut self, io: &mut Io<'_>) {
        let _ = io;
    }

    /// The operator asks it to finish what it owes and take nothing new.
    fn drain(&mut self, io: &mut Io<'_>) {
        let _ = io;
    }

    /// Its process is killed: what it holds is gone after this. Only to write down for checkers.
    fn dies(&mut self, io: &mut Io<'_>) {
        let _ = io;
    }

    /// Where the conversation on `link` stands, for the coverage matrix and the pictures.
    fn phase(&self, link: LinkId) -> &'static str {
        let _ = link;
        "open"
    }

    /// What it holds for `link`, checked after every event on it (I2).
    fn memory(&self, link: LinkId) -> Memory {
        let _ = link;
        Memory::UNCHECKED
    }

    /// What it holds in total, checked every now and then (I2).
    fn total_memory(&self) -> Memory {
        Memory::UNCHECKED
    }

    /// Links it holds: none, once everybody has gone (I2).
    fn links(&self) -> usize {
        0
    }

    /// What it holds of peers although everybody has gone, in words (I2).
    fn leftover(&self) -> Option<String> {
        None
    }

    /// Something it still owes although nothing is in its way: the unmet obligation, in words.
    /// Asked when the world has come to rest (I4).
    fn owes(&self, io: &Io<'_>) -> Option<String> {
        let _ = io;
        None
    }
}

/// Bytes held, and how many may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes held now.
    pub held: usize,
    /// What was promised as the most.
    pub cap: usize,
}

impl Memory {
    /// Makes no promise.
    pub const UNCHECKED: Self = Self { held: 0, cap: usize::MAX };
}

/// How a link ended, as far as a program can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// The peer ended its direction; everything before was taken. This side can still write.
    Fin,
    /// The connection was reset.
    Reset,
    /// The peer cannot be reached any more.
    TimedOut,
    /// Nobody listens there.
    Refused,
}

impl Ending {
    /// In one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::Reset => "reset",
            Self::TimedOut => "timed out",
            Self::Refused => "refused",
        }
    }
}
