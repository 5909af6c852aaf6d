//! One direction of a link: a byte pipe with a window.
//!
//! ```text
//!    written ──► launched ──► arrived ──► taken
//!            cut, delayed,           read by the
//!            stalled, flipped         other end
//! ```
//! The four counts only grow and never overtake each other: what is delivered is a prefix of what
//! was sent, in order, and `written - taken` never passes the window. `tests/laws.rs` holds the
//! pipe to that.

/// One direction of a link.
#[derive(Debug, Default)]
pub struct Pipe {
    /// Bytes written and not yet taken, behind `head` dead ones.
    bytes: Vec<u8>,
    head: usize,
    written: u64,
    launched: u64,
    arrived: u64,
    taken: u64,
    window: usize,
    /// The writer met a full window and has not been told of room since.
    pub(crate) writer_waits: bool,
    /// When the writer is told next that it may try again, as the transport took less than it could.
    pub(crate) tells_at: u64,
    /// Nothing launched later arrives earlier than this (nanoseconds).
    pub(crate) busy_until: u64,
    /// Bytes vanish into this direction until that moment.
    pub(crate) hole_until: u64,
    /// How far the end of the stream has come.
    pub(crate) fin: Fin,
}

/// How far the end of a stream has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fin {
    #[default]
    None,
    /// Under way behind the last byte; the writer writes no more.
    Launched,
    /// At the other end, perhaps behind bytes not yet taken.
    Arrived,
    /// The reader knows.
    Told,
}

impl Pipe {
    /// An empty pipe that holds at most `window` bytes between the two programs.
    #[must_use]
    pub fn new(window: usize) -> Self {
        Self { window, ..Self::default() }
    }

    /// Bytes that can be written now.
    #[inline]
    #[must_use]
    pub fn room(&self) -> usize {
        self.window.saturating_sub((self.written - self.taken) as usize)
    }

    /// Writes as much of `bytes` as there is room for; returns how much.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.room());
        self.bytes.extend_from_slice(&bytes[..n]);
        self.written += n as u64;
        n
    }

    /// Bytes written that are not under way yet.
    #[inline]
    #[must_use]
    pub fn unlaunched(&self) -> usize {
        (self.written - self.launched) as usize
    }

    /// Sends the next `n` unlaunched bytes on their way; returns the stream offset of the first.
    #[inline]
    pub fn launch(&mut self, n: usize) -> u64 {
        debug_assert!(n <= self.unlaunched(), "launched bytes were written");
        let from = self.launched;
        self.launched += n as u64;
        from
    }

    /// Flips one bit of a byte that is written and not yet taken.
    pub fn flip(&mut self, offset: u64, bit: u8) {
        debug_assert!((self.taken..self.written).contains(&offset), "a byte that is in the pipe");
        let at = self.head + (offset - self.taken) as usize;
        if let Some(byte) = self.bytes.get_mut(at) {
            *byte ^= 1 << (bit & 7);
        }
    }

    /// The next `n` bytes under way have arrived.
    #[inline]
    pub fn arrive(&mut self, n: usize) {
        debug_assert!(self.arrived + n as u64 <= self.launched, "arrived bytes were launched");
        self.arrived += n as u64;
    }

    /// What has arrived and is not taken.
    #[inline]
    #[must_use]
    pub fn input(&self) -> &[u8] {
        &self.bytes[self.head..self.head + (self.arrived - self.taken) as usize]
    }

    /// The bytes from stream offset `from` on, `n` of them, as they are in the pipe now.
    #[must_use]
    pub fn peek(&self, from: u64, n: usize) -> &[u8] {
        let at = self.head + (from - self.taken) as usize;
        &self.bytes[at..at + n]
    }

    /// The reader takes the first `n` bytes of the input.
    ///
    /// # Panics
    /// If `n` is more than there is: the node under test claims bytes it was not given.
    #[inline]
    pub fn take(&mut self, n: usize) {
        assert!(n <= self.input().len(), "took {n} bytes of {}", self.input().len());
        self.taken += n as u64;
        self.head += n;
        if self.head == self.bytes.len() {
            self.bytes.clear();
            self.head = 0;
        } else if self.head >= 4096 && self.head * 2 >= self.bytes.len() {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
    }

    /// Loses everything that is not taken, for ever.
    pub fn drop_all(&mut self) {
        *self = Self {
            written: self.written,
            launched: self.written,
            arrived: self.written,
            taken: self.written,
            window: self.window,
            fin: self.fin,
            ..Self::default()
        };
    }

    /// Makes the window at least `window`; true if the writer was waiting for that.
    pub(crate) fn widen(&mut self, window: usize) -> bool {
        self.window = self.window.max(window);
        core::mem::take(&mut self.writer_waits)
    }

    /// Bytes ever written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Bytes ever launched.
    #[must_use]
    pub fn launched(&self) -> u64 {
        self.launched
    }

    /// Bytes ever arrived.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.arrived
    }

    /// Bytes ever taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Everything written was taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.written == self.taken
    }
}
