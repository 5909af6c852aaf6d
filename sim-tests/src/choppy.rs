//! A stream that does everything a stream may do and usually does not: reads and writes of odd
//! lengths, "not now" for no reason, flipped bits. Works around any tokio stream, in any test.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use drywire_sim::choppy::Choppy;
//! use drywire_sim::decide::Decider;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! let (ours, theirs) = tokio::io::duplex(64);
//! let mut ours = Choppy::new(ours, Decider::seeded(7));
//! let mut theirs = Choppy::new(theirs, Decider::seeded(8));
//! tokio::join!(
//!     async { ours.write_all(&[1; 1000]).await.unwrap() },
//!     async { theirs.read_exact(&mut [0; 1000]).await.unwrap() },
//! );
//! # });
//! ```

use crate::decide::{Chance, Decider, Key, Site};
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How often each kind of mischief happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mischief {
    /// A read or write is cut short.
    pub short: Chance,
    /// "Not now", and awake again at once.
    pub pending: Chance,
    /// A bit of a read is flipped.
    pub flip: Chance,
}

impl Default for Mischief {
    /// Short every other time, "not now" one time in eight, no flipped bits.
    fn default() -> Self {
        Self { short: Chance::one_in(2), pending: Chance::one_in(8), flip: Chance::NEVER }
    }
}

/// The stream. See the [module](self).
#[derive(Debug)]
pub struct Choppy<S> {
    inner: S,
    decider: Decider,
    mischief: Mischief,
    key: Key,
    pieces: Option<Arc<AtomicUsize>>,
}

const SHORT_READ: Site = Site::new("choppy.short-read");
const SHORT_WRITE: Site = Site::new("choppy.short-write");
const PENDING: Site = Site::new("choppy.pending");
const FLIP: Site = Site::new("choppy.flip");

impl<S> Choppy<S> {
    /// `inner`, with the usual mischief.
    pub fn new(inner: S, decider: Decider) -> Self {
        Self { inner, decider, mischief: Mischief::default(), key: Key::default(), pieces: None }
    }

    /// With this mischief instead.
    #[must_use]
    pub fn mischief(self, mischief: Mischief) -> Self {
        Self { mischief, ..self }
    }

    /// No read or write is larger than what `most` says at that time; 0 for no limit.
    #[must_use]
    pub fn pieces(self, most: Arc<AtomicUsize>) -> Self {
        Self { pieces: Some(most), ..self }
    }

    /// The stream inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Says "not now" now and then; never twice in a row.
    fn not_now(&mut self, cx: &Context<'_>) -> bool {
        self.key.nth += 1;
        let not_now = self.key.op == 0
            && self.decider.rare(PENDING, Key { op: 0, ..self.key }, self.mischief.pending, 2) == 1;
        self.key.op = u32::from(not_now);
        if not_now {
            cx.waker().wake_by_ref();
        }
        not_now
    }

    fn cut(&mut self, site: Site, all: usize) -> usize {
        let most = self.pieces.as_ref().map_or(0, |most| most.load(Relaxed));
        let all = if most == 0 { all } else { all.min(most) };
        let key = Key { op: 0, ..self.key };
        let cut = self.decider.rare(site, key, self.mischief.short, all.max(2) as u64);
        if cut == 0 { all } else { (cut as usize).min(all) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Choppy<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if this.not_now(cx) {
            return Poll::Pending;
        }
        let most = this.cut(SHORT_READ, buf.remaining());
        let mut part = vec![0; most];
        let mut part = ReadBuf::new(&mut part);
        ready!(Pin::new(&mut this.inner).poll_read(cx, &mut part))?;
        let bytes = part.filled_mut();
        let bits = bytes.len() as u64 * 8;
        let key = Key { op: 0, ..this.key };
        let flip = this.decider.rare(FLIP, key, this.mischief.flip, bits + 1);
        if flip > 0 {
            bytes[(flip - 1) as usize / 8] ^= 1 << ((flip - 1) % 8);
        }
        buf.put_slice(bytes);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Choppy<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.not_now(cx) {
            return Poll::Pending;
        }
        let most = this.cut(SHORT_WRITE, bytes.len());
        Pin::new(&mut this.inner).poll_write(cx, &bytes[..most])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    /// Every byte arrives once and in order, in many pieces.
    #[tokio::test]
    async fn nothing_is_lost() {
        for seed in 0..50 {
            let (ours, theirs) = duplex(100);
            let mut ours = Choppy::new(ours, Decider::seeded(seed));
            let mut theirs = Choppy::new(theirs, Decider::seeded(!seed));
            let sent: Vec<u8> = (0..5000_u32).map(|i| (i % 251) as u8).collect();
            let mut heard = Vec::new();
            let writing = async {
                ours.write_all(&sent).await.expect("taken");
                ours.shutdown().await.expect("ended");
            };
            let reading = async { theirs.read_to_end(&mut heard).await.expect("an end") };
            tokio::join!(writing, reading);
            assert_eq!(heard, sent);
        }
    }

    #[tokio::test]
    async fn a_flip_is_one_bit() {
        let (mut ours, theirs) = duplex(100);
        let mischief =
            Mischief { flip: Chance::ALWAYS, short: Chance::NEVER, ..Mischief::default() };
        let mut theirs = Choppy::new(theirs, Decider::seeded(1)).mischief(mischief);
        ours.write_all(&[0; 50]).await.expect("taken");
        let mut heard = [0; 50];
        let n = theirs.read(&mut heard).await.expect("read");
        assert_eq!(n, 50);
        assert_eq!(heard.iter().map(|b| b.count_ones()).sum::<u32>(), 1);
    }
}
