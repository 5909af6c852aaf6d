//! The continuation of an outbox on disk.

use crate::conn::Job;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// A scratch file of one receiver, owned by whoever works with it; dropping it frees its space.
pub trait SpillFile: Send {
    /// Writes all of `bytes` at an offset.
    ///
    /// # Errors
    /// [`SpillError`] if they are not all written.
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), SpillError>;
    /// Fills `into` with what was written at an offset.
    ///
    /// # Errors
    /// [`SpillError`] if that cannot be had.
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), SpillError>;
}

/// Opens scratch files; called in a job.
#[derive(Clone)]
pub struct OpenSpill(Arc<dyn Fn() -> Result<Box<dyn SpillFile>, SpillError> + Send + Sync>);

impl OpenSpill {
    /// How to open a scratch file.
    pub fn new<F>(open: F) -> Self
    where
        F: Fn() -> Result<Box<dyn SpillFile>, SpillError> + Send + Sync + 'static,
    {
        Self(Arc::new(open))
    }
}

impl fmt::Debug for OpenSpill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenSpill")
    }
}

/// The storage failed: full, or broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpillError;

impl fmt::Display for SpillError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the storage for slow receivers failed")
    }
}

impl core::error::Error for SpillError {}

/// Bytes moved in one job: the memory it takes.
pub(super) const BATCH: usize = 256 << 10;

/// What a receiver has on disk. One job at a time works on it and owns the file meanwhile.
#[derive(Default)]
pub(super) struct Spill {
    file: Option<Box<dyn SpillFile>>,
    /// Batches on disk, each whole messages, oldest first: offset and length.
    batches: VecDeque<(u64, u32)>,
    end: u64,
    pub(super) working: bool,
    /// The job under way is about what was forgotten.
    stale: bool,
}

impl Spill {
    /// Whether everything written was read back.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Writes a batch of whole messages into a file of at most `most` bytes, used as a ring.
    /// `None` if there is no room.
    pub(super) fn write(
        &mut self,
        bytes: Vec<u8>,
        most: u64,
        open: &OpenSpill,
    ) -> Option<SpillJob> {
        let len = bytes.len() as u64;
        let at = match self.batches.front() {
            None => (len <= most).then_some(0),
            Some(&(front, _)) if self.end > front => {
                let behind = self.end + len <= most;
                if behind { Some(self.end) } else { (len <= front).then_some(0) }
            }
            Some(&(front, _)) => (self.end + len <= front).then_some(self.end),
        }?;
        self.end = at + len;
        self.batches.push_back((at, bytes.len() as u32));
        Some(self.job(at, Work::Write(bytes), Some(open.clone())))
    }

    pub(super) fn read(&mut self) -> Option<SpillJob> {
        let &(at, len) = self.batches.front()?;
        Some(self.job(at, Work::Read(len), None))
    }

    /// Nothing on disk is needed.
    pub(super) fn forget(&mut self) {
        *self = Self { working: self.working, stale: self.working, ..Self::default() };
    }

    /// A job is done; what it read, if it was a read.
    pub(super) fn done(&mut self, done: SpillDone) -> Result<Option<Bytes>, SpillError> {
        self.working = false;
        if core::mem::take(&mut self.stale) {
            return Ok(None);
        }
        self.file = done.file;
        let read = done.result?;
        if read.is_some() {
            self.batches.pop_front();
        }
        Ok(read)
    }

    fn job(&mut self, at: u64, work: Work, open: Option<OpenSpill>) -> SpillJob {
        self.working = true;
        SpillJob { file: self.file.take(), open, at, work }
    }
}

impl fmt::Debug for Spill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spill").field("batches", &self.batches).finish_non_exhaustive()
    }
}

/// Writes to or reads from a receiver's scratch file; run by the host outside the core.
pub struct SpillJob {
    file: Option<Box<dyn SpillFile>>,
    open: Option<OpenSpill>,
    at: u64,
    work: Work,
}

enum Work {
    Write(Vec<u8>),
    Read(u32),
}

/// What a [`SpillJob`] brings back.
pub struct SpillDone {
    file: Option<Box<dyn SpillFile>>,
    result: Result<Option<Bytes>, SpillError>,
}

impl Job for SpillJob {
    type Output = SpillDone;

    fn run(mut self) -> SpillDone {
        let result = self.work();
        SpillDone { file: self.file, result }
    }
}

impl SpillJob {
    fn work(&mut self) -> Result<Option<Bytes>, SpillError> {
        if self.file.is_none() {
            let open = self.open.as_ref().ok_or(SpillError)?;
            self.file = Some((open.0)()?);
        }
        let file = self.file.as_mut().ok_or(SpillError)?;
        match &self.work {
            Work::Write(bytes) => file.write(self.at, bytes).map(|()| None),
            Work::Read(len) => {
                let mut bytes = vec![0; *len as usize];
                file.read(self.at, &mut bytes)?;
                Ok(Some(bytes.into()))
            }
        }
    }
}

impl fmt::Debug for SpillJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpillJob").field("at", &self.at).finish_non_exhaustive()
    }
}

impl fmt::Debug for SpillDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpillDone").field("ok", &self.result.is_ok()).finish_non_exhaustive()
    }
}
