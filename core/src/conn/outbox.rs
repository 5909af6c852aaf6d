//! What a connection still has to send: inline bytes and shared segments, in order.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;

/// Payloads from this length on are worth sharing instead of copying
/// (measured: a copy is cheaper than a reference count and an extra slice below about 2-4 KiB).
pub const SHARE_FROM: usize = 2048;

/// An ordered queue of bytes to send, made of inline bytes (replies are appended in place) and
/// shared segments (large values, broadcasts: sent without a copy).
///
/// It grows as needed: the *session* stops between messages when [`Outbox::len`] passes the high
/// mark (see [`Limits`](crate::conn::Limits)). A drained outbox owns no memory beyond what the
/// engine's pool takes back.
///
/// ```
/// use drywire::conn::Outbox;
/// let mut out = Outbox::new();
/// out.put(b"VALUE k 0 ");
/// out.put_u64(5);
/// out.put(b"\r\nhello\r\n");
/// let mut sent = 0;
/// for slice in out.slices() {
///     sent += slice.len(); // hand them to one vectored write
/// }
/// out.sent(sent);
/// assert!(out.is_empty());
/// ```
#[derive(Debug, Default)]
pub struct Outbox {
    /// All inline bytes not yet dropped; those before `head` are sent.
    inline: Vec<u8>,
    head: usize,
    /// Shared segments, each to be sent when inline bytes up to `at` are out.
    shared: VecDeque<Shared>,
    /// Unsent bytes in `shared`.
    shared_len: usize,
    /// Bytes ever appended and ever sent: positions that survive every partial send.
    sent_total: u64,
}

#[derive(Debug)]
struct Shared {
    /// Offset in `inline` before which this segment goes out.
    at: usize,
    bytes: Bytes,
}

impl Outbox {
    /// An empty outbox; allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { inline: Vec::new(), head: 0, shared: VecDeque::new(), shared_len: 0, sent_total: 0 }
    }

    /// Appends a copy of `bytes`.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        self.inline.extend_from_slice(bytes);
    }

    /// Appends one byte.
    #[inline]
    pub fn put_u8(&mut self, byte: u8) {
        self.inline.push(byte);
    }

    /// Appends a number in decimal, without the formatting machinery.
    #[inline]
    pub fn put_u64(&mut self, n: u64) {
        self.inline.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
    }

    /// Appends `bytes` by reference from [`SHARE_FROM`] bytes on, by copy below.
    ///
    /// A shared segment keeps its whole allocation alive until it is sent.
    #[inline]
    pub fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARE_FROM {
            self.put(bytes);
        } else {
            self.shared_len += bytes.len();
            self.shared.push_back(Shared { at: self.inline.len(), bytes: bytes.clone() });
        }
    }

    /// Makes room for `n` more inline bytes in one step.
    #[inline]
    pub fn reserve(&mut self, n: usize) {
        self.inline.reserve(n);
    }

    /// Where the next byte goes; pass it to [`Outbox::patch`] or [`Outbox::truncate`].
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { inline: self.inline.len(), shared: self.shared.len(), sent_total: self.sent_total }
    }

    /// Overwrites inline bytes appended at `mark`: a length known only after the body.
    ///
    /// # Panics
    /// If bytes were sent since `mark` was taken or fewer than `bytes.len()` inline bytes follow
    /// it: caller misuse, no input can cause it while patching inside one call.
    pub fn patch(&mut self, mark: Mark, bytes: &[u8]) {
        assert_eq!(mark.sent_total, self.sent_total, "patch after bytes were sent");
        self.inline[mark.inline..mark.inline + bytes.len()].copy_from_slice(bytes);
    }

    /// Replaces the `len` inline bytes appended at `mark` by `bytes`, which are not more: a
    /// header of variable width, known only after the body.
    ///
    /// # Panics
    /// If `bytes` is longer than `len`, and as [`Outbox::patch`]: caller misuse.
    pub fn replace(&mut self, mark: Mark, len: usize, bytes: &[u8]) {
        let surplus =
            len.checked_sub(bytes.len()).expect("replaced by no more bytes than were there");
        self.patch(mark, bytes);
        if surplus > 0 {
            let from = mark.inline + bytes.len();
            self.inline.drain(from..from + surplus);
            for shared in self.shared.iter_mut().skip(mark.shared) {
                shared.at -= surplus;
            }
        }
    }

    /// Takes back everything appended since `mark`.
    ///
    /// # Panics
    /// If bytes were sent since `mark` was taken: caller misuse.
    pub fn truncate(&mut self, mark: Mark) {
        assert_eq!(mark.sent_total, self.sent_total, "truncate after bytes were sent");
        self.inline.truncate(mark.inline);
        while self.shared.len() > mark.shared {
            if let Some(s) = self.shared.pop_back() {
                self.shared_len -= s.bytes.len();
            }
        }
    }

    /// Unsent bytes.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.inline.len() - self.head + self.shared_len
    }

    /// Whether everything is sent.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes sent since the beginning.
    #[must_use]
    pub fn sent_total(&self) -> u64 {
        self.sent_total
    }

    /// The unsent bytes in order, as slices for one vectored write. Never yields an empty slice.
    #[must_use]
    pub fn slices(&self) -> Slices<'_> {
        Slices { outbox: self, at: self.head, next_shared: 0 }
    }

    /// The bytes appended since `mark`, as slices: for a checksum that follows them.
    ///
    /// # Panics
    /// If bytes were sent since `mark` was taken: caller misuse.
    #[must_use]
    pub fn since(&self, mark: Mark) -> Slices<'_> {
        assert_eq!(mark.sent_total, self.sent_total, "looked back after bytes were sent");
        Slices { outbox: self, at: mark.inline, next_shared: mark.shared }
    }

    /// Drops the first `n` unsent bytes: the host has sent them.
    ///
    /// # Panics
    /// If `n` is more than [`Outbox::len`]: caller misuse.
    pub fn sent(&mut self, n: usize) {
        assert!(n <= self.len(), "sent({n}) with only {} bytes outgoing", self.len());
        self.sent_total += n as u64;
        let mut left = n;
        while left > 0 {
            let inline_until = self.shared.front().map_or(self.inline.len(), |s| s.at);
            let inline = left.min(inline_until - self.head);
            self.head += inline;
            left -= inline;
            if left == 0 {
                break;
            }
            let Some(front) = self.shared.front_mut() else { break };
            let part = left.min(front.bytes.len());
            front.bytes = front.bytes.slice(part..);
            self.shared_len -= part;
            left -= part;
            if front.bytes.is_empty() {
                self.shared.pop_front();
            }
        }
        if self.is_empty() {
            self.inline.clear();
            self.head = 0;
        } else if self.head >= 4096 && self.head * 2 >= self.inline.len() {
            self.compact();
        }
    }

    /// Fixes the unsent bytes in memory: from now on they stay where they are until they are sent,
    /// whatever is appended. For hosts that hand addresses to the kernel and come back later.
    ///
    /// Returns all unsent segments in order; a clone keeps its bytes alive beyond this outbox. No
    /// byte is copied; costs one allocation if there are inline bytes that were not fixed yet.
    pub fn pin(&mut self) -> impl Iterator<Item = &Bytes> {
        if self.inline.len() > self.head {
            let inline = Bytes::from(core::mem::take(&mut self.inline));
            let mut segments = VecDeque::with_capacity(2 * self.shared.len() + 1);
            let mut at = self.head;
            let mut push = |bytes: Bytes| {
                if !bytes.is_empty() {
                    segments.push_back(Shared { at: 0, bytes });
                }
            };
            for s in self.shared.drain(..) {
                push(inline.slice(at..s.at));
                push(s.bytes);
                at = s.at;
            }
            push(inline.slice(at..));
            self.shared_len += inline.len() - self.head;
            self.shared = segments;
        } else {
            self.inline.clear();
            for s in &mut self.shared {
                s.at = 0;
            }
        }
        self.head = 0;
        self.shared.iter().map(|s| &s.bytes)
    }

    /// Bytes of memory held, sent or not. Shared segments count in full.
    #[must_use]
    pub fn footprint(&self) -> usize {
        self.inline.capacity() + self.shared_len + self.shared.capacity() * size_of::<Shared>()
    }

    /// Gives the memory of a drained outbox away, for another connection to use.
    pub(crate) fn take_spare(&mut self) -> Vec<u8> {
        debug_assert!(self.is_empty());
        self.head = 0;
        self.shared = VecDeque::new();
        core::mem::take(&mut self.inline)
    }

    /// Whether the outbox owns inline memory.
    pub(crate) fn owns_memory(&self) -> bool {
        self.inline.capacity() != 0 || self.shared.capacity() != 0
    }

    /// Takes over the memory of `spare`, an empty vector.
    pub(crate) fn give_spare(&mut self, spare: Vec<u8>) {
        debug_assert!(spare.is_empty() && self.inline.capacity() == 0);
        self.inline = spare;
    }

    /// Drops all unsent bytes: the connection is lost.
    pub(crate) fn clear(&mut self) {
        *self = Self { sent_total: self.sent_total, ..Self::new() };
    }

    /// Moves the unsent inline bytes to the front; amortised over the bytes sent before them.
    fn compact(&mut self) {
        self.inline.drain(..self.head);
        for s in &mut self.shared {
            s.at -= self.head;
        }
        self.head = 0;
    }
}

/// A position in an [`Outbox`].
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    inline: usize,
    shared: usize,
    sent_total: u64,
}

/// Iterator over the unsent bytes of an [`Outbox`].
#[derive(Clone, Debug)]
pub struct Slices<'a> {
    outbox: &'a Outbox,
    at: usize,
    next_shared: usize,
}

impl Slices<'_> {
    /// Nothing to send.
    pub(crate) fn none() -> Self {
        static EMPTY: Outbox = Outbox::new();
        EMPTY.slices()
    }
}

impl<'a> Iterator for Slices<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let next = self.outbox.shared.get(self.next_shared);
        let until = next.map_or(self.outbox.inline.len(), |s| s.at);
        if self.at < until {
            let slice = &self.outbox.inline[self.at..until];
            self.at = until;
            return Some(slice);
        }
        self.next_shared += 1;
        next.map(|s| &s.bytes[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn unsent(out: &Outbox) -> Vec<u8> {
        let mut all = Vec::new();
        for slice in out.slices() {
            assert!(!slice.is_empty());
            all.extend_from_slice(slice);
        }
        all
    }

    proptest! {
        /// Whatever is appended and however it is sent, bytes leave once and in order.
        #[test]
        fn conserves_bytes(ops in prop::collection::vec((0u8..5, 0usize..9000), 1..60)) {
            let mut out = Outbox::new();
            let mut model: VecDeque<u8> = VecDeque::new();
            for (i, (op, n)) in ops.into_iter().enumerate() {
                let fill = i as u8;
                match op {
                    0 => {
                        let n = n % 300;
                        out.put(&vec![fill; n]);
                        model.extend(core::iter::repeat_n(fill, n));
                    }
                    1 => {
                        out.put_shared(&Bytes::from(vec![fill; n]));
                        model.extend(core::iter::repeat_n(fill, n));
                    }
                    2 => {
                        let mark = out.mark();
                        out.put(b"to be taken back");
                        out.put_shared(&Bytes::from(vec![0; n]));
                        out.truncate(mark);
                    }
                    3 => {
                        let n = n.min(out.len());
                        out.sent(n);
                        model.drain(..n);
                    }
                    _ => {
                        let pinned: Vec<u8> = out.pin().flatten().copied().collect();
                        prop_assert_eq!(pinned, unsent(&out));
                    }
                }
                prop_assert_eq!(out.len(), model.len());
                prop_assert_eq!(unsent(&out), model.iter().copied().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn large_segments_are_not_copied() {
        let value = Bytes::from(vec![7; 1 << 20]);
        let mut out = Outbox::new();
        out.put(b"head ");
        out.put_shared(&value);
        out.put(b" tail");
        let slices: Vec<_> = out.slices().collect();
        assert_eq!(slices.len(), 3);
        assert_eq!(slices[1].as_ptr(), value.as_ptr());
        out.sent(5 + 100);
        assert_eq!(out.slices().next().map(<[u8]>::as_ptr), Some(value[100..].as_ptr()));
    }

    #[test]
    fn replacing_by_less_moves_what_follows() {
        let value = Bytes::from(vec![7; SHARE_FROM]);
        let mut out = Outbox::new();
        out.put(b"ab");
        let at = out.mark();
        out.put(&[0; 5]);
        out.put(b"cd");
        out.put_shared(&value);
        out.put(b"ef");
        out.replace(at, 5, b"12");
        assert_eq!(unsent(&out), [b"ab12cd", &value[..], b"ef"].concat());
        let since: Vec<u8> = out.since(at).flatten().copied().collect();
        assert_eq!(since, [b"12cd", &value[..], b"ef"].concat());
    }

    /// Addresses handed out after `pin` stay good through appends and partial sends.
    #[test]
    fn pinned_bytes_do_not_move() {
        let value = Bytes::from(vec![7; SHARE_FROM]);
        let mut out = Outbox::new();
        out.put(b"not sent yet");
        out.sent(4);
        out.put_shared(&value);
        out.put(b" tail");
        let pinned: Vec<Bytes> = out.pin().cloned().collect();
        let lens: Vec<usize> = pinned.iter().map(Bytes::len).collect();
        assert_eq!(lens, [8, SHARE_FROM, 5]);
        out.put(&[1; 100_000]);
        out.sent(10);
        let slices: Vec<_> = out.slices().collect();
        assert_eq!(slices[0].as_ptr(), pinned[1][2..].as_ptr());
        assert_eq!(slices[1].as_ptr(), pinned[2].as_ptr());
        assert_eq!(slices[2].len(), 100_000);
    }

    #[test]
    fn patching_fills_in_a_length() {
        let mut out = Outbox::new();
        out.put(b"ab");
        let at = out.mark();
        out.put(&[0; 4]);
        out.put(b"body");
        out.patch(at, &4u32.to_be_bytes());
        assert_eq!(unsent(&out), b"ab\0\0\0\x04body");
    }
}
