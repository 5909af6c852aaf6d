//! A client of the guarded protocol: requests, bulk, tellings, pings, and pongs for the server's.

use super::session::PIECE;
use crate::decide::Site;
use crate::workload::{Draw, Heard, Said, Workload};

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `q`, with so many bytes of text.
    Ask(usize),
    /// `b`: so many pieces.
    Bulk(u32),
    /// `t`: so many thousand bytes to others.
    Tell(u32),
    /// `o`, so many times.
    Pings(u32),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done.
    Done,
    /// `x`: not executed.
    Refused,
    /// A piece of bulk, something told, a pong, a ping; or last words.
    Other,
}

/// What clients like to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taste {
    /// Talk, and be silent.
    Talk,
    /// Let others send them much.
    Load,
    /// Ask, break no rule, and say nothing to others: what a kernel takes for them is no sign of
    /// their life, and looks like one.
    Behave,
}

/// A caller's side.
#[derive(Debug)]
pub struct Guest {
    taste: Taste,
    pongs: usize,
    /// So much of what is to be heard has no end of a line.
    searched: usize,
}

const KIND: Site = Site::new("op.kind");
const SIZE: Site = Site::new("op.size");

impl Guest {
    /// A caller.
    #[must_use]
    pub fn new(taste: Taste) -> Self {
        Self { taste, pongs: 0, searched: 0 }
    }
}

impl Workload for Guest {
    type Request = Request;
    type Reply = Reply;

    fn draw(&mut self, draw: &mut Draw<'_>) -> Option<Request> {
        let kind = draw.below(KIND, 16);
        let (bulk, tell) = match self.taste {
            Taste::Talk | Taste::Behave => (19, 3),
            Taste::Load => (59, 23),
        };
        let mut size = |max| draw.size(SIZE, max);
        Some(match (kind, self.taste) {
            (0, _) => return None,
            (1..9, Taste::Talk | Taste::Behave) | (1..4, Taste::Load) => {
                Request::Ask(size(1000) as usize)
            }
            (9..12, Taste::Talk | Taste::Behave) | (4..10, Taste::Load) => {
                Request::Bulk(1 + size(bulk) as u32)
            }
            (12..15, Taste::Talk) => Request::Pings(1 + size(80) as u32),
            (_, Taste::Behave) => Request::Ask(size(1000) as usize),
            _ => Request::Tell(1 + size(tell) as u32),
        })
    }

    fn encode(&mut self, request: &Request, to: &mut Vec<u8>) {
        let line = match request {
            Request::Ask(size) => format!("q{}\n", "y".repeat(*size)),
            Request::Bulk(n) => format!("b{n}\n"),
            Request::Tell(n) => format!("t{n}\n"),
            Request::Pings(n) => "o\n".repeat(*n as usize),
        };
        to.extend_from_slice(line.as_bytes());
    }

    fn hear(
        &mut self,
        owed: &mut dyn Iterator<Item = &Request>,
        bytes: &[u8],
    ) -> Result<Option<Heard<Reply>>, String> {
        let searched = core::mem::take(&mut self.searched).min(bytes.len());
        let Some(end) = memchr::memchr(b'\n', &bytes[searched..]) else {
            self.searched = bytes.len();
            return Ok(None);
        };
        let end = searched + end;
        let wrong = || Err(format!("`{}`", bytes[..end.min(60)].escape_ascii()));
        // Bulk takes its time, and the rest overtakes it.
        let mut answers = |bulk: bool| {
            let mut owed = owed.enumerate();
            owed.find(|(_, r)| matches!(r, Request::Bulk(_)) == bulk).map(|(nth, _)| nth)
        };
        let what = match &bytes[..end] {
            b"?" => {
                self.pongs += 1;
                Said::Event(Reply::Other)
            }
            b"O" => Said::Event(Reply::Other),
            [b'c', rest @ ..] if rest.len() == PIECE - 2 => Said::Event(Reply::Other),
            [b'e', rest @ ..] if rest.len().is_multiple_of(1000) => Said::Event(Reply::Other),
            [b'~', _] => Said::Refusal(Reply::Other),
            b"d" | b"Q" | b"T" => match answers(bytes[0] == b'd') {
                Some(nth) => Said::Answer(nth, Reply::Done),
                None => return wrong(),
            },
            b"x" | b"xb" => match answers(end == 2) {
                Some(nth) => Said::Answer(nth, Reply::Refused),
                None => return wrong(),
            },
            _ => return wrong(),
        };
        Ok(Some(Heard { used: end + 1, what }))
    }

    fn react(&mut self, to: &mut Vec<u8>) {
        to.extend(b"!\n".repeat(core::mem::take(&mut self.pongs)));
    }

    fn silent(&self, request: &Request) -> bool {
        matches!(request, Request::Pings(_))
    }

    fn connected(&mut self) {
        (self.pongs, self.searched) = (0, 0);
    }
}
