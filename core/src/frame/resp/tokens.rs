//! What a value holds, without building it.

use super::{Kind, Resp, Text, judge};

/// One element of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// How many aggregates it stands in.
    pub depth: usize,
    /// Its type. A null of RESP2 (`$-1`, `*-1`) is [`Kind::Null`].
    pub kind: Kind,
    /// The content: of a bulk string its bytes, of an aggregate the text of its count, of
    /// everything else the line without type byte and end.
    pub data: &'a [u8],
    /// Values in the aggregate (a pair counts as two); zero for everything else.
    pub count: u32,
}

/// The elements of a value that a [`Resp`] framed, depth first and in order. Ends early if the
/// bytes are not one. Allocates nothing; linear in the bytes.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    rest: &'a [u8],
    open: [u32; Resp::MAX_DEPTH],
    depth: usize,
}

impl<'a> Tokens<'a> {
    /// The elements of `frame`, the bytes of a whole frame that is no inline command.
    #[must_use]
    pub fn new(frame: &'a [u8]) -> Self {
        Self { rest: frame, open: [0; Resp::MAX_DEPTH], depth: 0 }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        while self.depth > 0 && self.open[self.depth - 1] == 0 {
            self.depth -= 1;
        }
        let (&first, line) = self.rest.split_first()?;
        let kind = Kind::of(first)?;
        let end = memchr::memchr(b'\r', line)?;
        let text = line.get(..end)?;
        self.rest = line.get(end + 2..)?;
        let depth = self.depth;
        let mut token = Token { depth, kind, data: text, count: 0 };
        match judge(kind, text) {
            Text::Null => token = Token { kind: Kind::Null, data: b"", ..token },
            Text::Number(n) if kind.is_bulk() => {
                let n = usize::try_from(n).ok()?;
                token.data = self.rest.get(..n)?;
                self.rest = self.rest.get(n..)?.get(2..)?;
            }
            Text::Number(n) => {
                let n = u32::try_from(n).ok()?;
                token.count = if kind.is_pairs() { n.checked_mul(2)? } else { n };
            }
            Text::Good => {}
            _ => return None,
        }
        if kind != Kind::Attribute && depth > 0 {
            self.open[depth - 1] -= 1;
        }
        if kind.is_aggregate() && token.kind == kind {
            *self.open.get_mut(depth)? = token.count;
            self.depth += 1;
        }
        Some(token)
    }
}
