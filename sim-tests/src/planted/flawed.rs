//! Something between an engine and its host that gets one thing wrong.

use crate::memcache::Shape;
use core::cell::Cell;
use drywire::Tick;
use drywire::conn::{CloseReason, Deadline, Leave, Limits, Peer, Place, Scratch, Slices, Wants};
use drywire::engine::{ConnId, Done, Engine, Letter, Local, Machine, Shards, Work};
use drywire::memcache::store::{Config as StoreConfig, Hasher, Store};
use drywire::memcache::{Config, Part, Server, Shared};
use std::collections::BTreeSet;

/// What it gets wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described in the table of planted bugs")]
pub enum Flaw {
    /// Gets nothing wrong, for comparison.
    Nothing,
    PartialSendIsWhole,
    SendsTwice,
    EndIsTheEnd,
    EndWhilePausedIsLost,
    NeverAgain,
    ReadsOn,
    NeverShutsDown,
    NoDeadlines,
    PausesForEver,
    AlwaysDue,
    NeverReleases,
    TornLine,
    DropsLargeRead,
    DropsOddRead,
    DropsRareRead,
    ForgetsPeer,
    WrongTenant,
    WrongShard,
    LosesLargeInput,
    LosesResults,
    LosesWorkers,
    TicksFirst,
    DrainIsTheEnd,
    LosesMail,
    ShufflesMail,
    SplitHomes,
    StopsClock,
    DeafToUnsub,
    PublishesTwice,
    Mute,
}

/// A machine with a [`Flaw`].
#[derive(Debug)]
pub struct Flawed<M> {
    inner: M,
    flaw: Flaw,
    /// Connections whose last read ended in CR.
    torn: BTreeSet<ConnId>,
    /// The last connection that each slot had.
    tenants: Vec<ConnId>,
    /// Jobs that were brought back.
    back: u64,
    /// Those of them whose connection was gone by then.
    orphans: u64,
    letters: u64,
    /// A letter that the next one overtakes.
    late: Option<Letter>,
}

impl<M: Machine> Flawed<M> {
    /// `inner`, with `flaw`.
    pub fn new(inner: M, flaw: Flaw) -> Self {
        let (torn, tenants) = (BTreeSet::new(), Vec::new());
        Self { inner, flaw, torn, tenants, back: 0, orphans: 0, letters: 0, late: None }
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn unsent(&self, id: ConnId) -> usize {
        self.inner.outgoing(id).map(<[u8]>::len).sum()
    }
}

impl<M: Machine> Machine for Flawed<M> {
    fn accept(&mut self, now: Tick, peer: &Peer) -> Option<ConnId> {
        let id = self.inner.accept(now, peer)?;
        if self.tenants.len() <= id.slot as usize {
            self.tenants.resize(id.slot as usize + 1, id);
        }
        self.tenants[id.slot as usize] = id;
        Some(id)
    }

    fn refuse(&mut self, now: Tick) -> Option<ConnId> {
        self.inner.refuse(now)
    }

    fn room<'b>(&self, id: ConnId, scratch: &'b mut Scratch) -> &'b mut [u8] {
        self.inner.room(id, scratch)
    }

    fn ingest(&mut self, id: ConnId, now: Tick, scratch: &Scratch, n: usize) {
        self.inner.ingest(id, now, scratch, n);
    }

    fn receive(&mut self, id: ConnId, now: Tick, bytes: &[u8]) -> usize {
        let whole = bytes.len();
        let mut bytes = bytes;
        let mut owned;
        match self.flaw {
            Flaw::TornLine => {
                if self.torn.remove(&id) && bytes.first() == Some(&b'\n') {
                    bytes = &bytes[1..];
                }
                if bytes.last() == Some(&b'\r') {
                    owned = bytes.to_vec();
                    owned.push(b'\n');
                    self.torn.insert(id);
                    self.inner.receive(id, now, &owned);
                    return whole;
                }
            }
            Flaw::DropsLargeRead if whole >= 1460 => bytes = &bytes[..whole - 1],
            Flaw::DropsOddRead if whole == 613 => bytes = &bytes[..612],
            Flaw::DropsRareRead if whole == 1021 && id.slot == 3 => bytes = &bytes[..1020],
            Flaw::Mute => return whole,
            Flaw::DeafToUnsub => {
                owned = bytes.to_vec();
                // Another topic, which nobody names.
                for at in memchr::memmem::find_iter(bytes, b"unsub ") {
                    owned[at..at + 6].copy_from_slice(b"sub   ");
                }
                bytes = &owned;
            }
            Flaw::PublishesTwice if is_one_value(bytes) => {
                self.inner.receive(id, now, bytes);
            }
            Flaw::LosesLargeInput => {
                self.inner.receive(id, now, bytes);
                return whole;
            }
            _ => {}
        }
        let taken = self.inner.receive(id, now, bytes);
        if taken == bytes.len() { whole } else { taken }
    }

    fn end_of_input(&mut self, id: ConnId, now: Tick) {
        if self.is(Flaw::EndIsTheEnd) {
            self.inner.abort(id, now, CloseReason::PeerDone);
        } else if !self.is(Flaw::EndWhilePausedIsLost) || self.inner.wants(id).has(Wants::READ) {
            self.inner.end_of_input(id, now);
        }
    }

    fn resume(&mut self, id: ConnId, now: Tick) {
        self.inner.resume(id, now);
    }

    fn sent(&mut self, id: ConnId, now: Tick, n: usize) {
        let unsent = self.unsent(id);
        let n = match self.flaw {
            Flaw::PartialSendIsWhole => unsent,
            Flaw::SendsTwice if n < unsent && n > 1 => n - 1,
            _ => n,
        };
        self.inner.sent(id, now, n);
    }

    fn was_shut_down(&mut self, id: ConnId, now: Tick) {
        self.inner.was_shut_down(id, now);
    }

    fn close(&mut self, id: ConnId, now: Tick) {
        if self.is(Flaw::DrainIsTheEnd) {
            self.inner.abort(id, now, CloseReason::Local);
        }
        self.inner.close(id, now);
    }

    fn abort(&mut self, id: ConnId, now: Tick, reason: CloseReason) {
        let id = match self.flaw {
            Flaw::ForgetsPeer => return,
            // The number of the place, without whose it is.
            Flaw::WrongTenant => {
                let next = (id.slot as usize + 1) % self.tenants.len().max(1);
                if id.generation > 6 { self.tenants[next] } else { id }
            }
            _ => id,
        };
        self.inner.abort(id, now, reason);
    }

    fn wants(&self, id: ConnId) -> Wants {
        let wants = self.inner.wants(id);
        let without = |bit: Wants| {
            [Wants::READ, Wants::WRITE, Wants::AGAIN, Wants::SHUTDOWN, Wants::CLOSE]
                .into_iter()
                .filter(|w| *w != bit && wants.has(*w))
                .fold(Wants::NOTHING, |all, w| all | w)
        };
        match self.flaw {
            Flaw::NeverAgain => without(Wants::AGAIN),
            Flaw::NeverShutsDown => without(Wants::SHUTDOWN),
            _ => wants,
        }
    }

    fn outgoing(&self, id: ConnId) -> Slices<'_> {
        self.inner.outgoing(id)
    }

    fn pin_outgoing(&mut self, id: ConnId, segments: &mut Vec<bytes::Bytes>) {
        self.inner.pin_outgoing(id, segments);
    }

    fn close_reason(&self, id: ConnId) -> Option<CloseReason> {
        self.inner.close_reason(id)
    }

    fn next_dirty(&mut self, now: Tick) -> Option<ConnId> {
        self.inner.next_dirty(now)
    }

    fn next_work(&mut self, now: Tick) -> Option<Work> {
        // Each worker whose client left is thought to be at work for ever.
        if self.is(Flaw::LosesWorkers) && self.orphans >= 2 {
            return None;
        }
        self.inner.next_work(now)
    }

    fn complete(&mut self, now: Tick, done: Done) {
        self.back += 1;
        let gone = self.inner.wants(done.id().conn).has(Wants::CLOSE);
        self.orphans += u64::from(gone);
        if !self.is(Flaw::LosesResults) || !self.back.is_multiple_of(40) {
            self.inner.complete(now, done);
        }
    }

    fn seat(&mut self, place: Place) {
        // The first engine does not know of the last one, and looks for homes without it.
        let unknown = self.is(Flaw::SplitHomes) && place.index == 0 && place.count > 2;
        self.inner.seat(Place { count: place.count - usize::from(unknown), ..place });
    }

    fn next_mail(&mut self) -> Option<Letter> {
        self.inner.next_mail()
    }

    fn receive_mail(&mut self, now: Tick, letter: Letter) {
        self.letters += 1;
        match self.flaw {
            Flaw::LosesMail if self.letters.is_multiple_of(20) => {}
            Flaw::ShufflesMail if self.letters.is_multiple_of(5) && self.late.is_none() => {
                self.late = Some(letter);
            }
            _ => {
                self.inner.receive_mail(now, letter);
                if let Some(late) = self.late.take() {
                    self.inner.receive_mail(now, late);
                }
            }
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        let deadline = self.inner.deadline();
        match self.flaw {
            Flaw::NoDeadlines => None,
            Flaw::PausesForEver => deadline.filter(|due| due.why != "refusal"),
            Flaw::StopsClock => deadline.filter(|due| due.why != "utc_time"),
            Flaw::AlwaysDue => deadline.map(|d| Deadline { at: Tick::ZERO, ..d }),
            _ => deadline,
        }
    }

    fn due(&self, now: Tick, ids: &mut Vec<ConnId>) {
        if !self.is(Flaw::TicksFirst) {
            self.inner.due(now, ids);
        }
    }

    fn tick(&mut self, now: Tick) {
        self.inner.tick(now);
    }

    fn drain(&mut self, now: Tick) {
        if self.is(Flaw::DrainIsTheEnd) {
            self.tenants.iter().for_each(|id| self.inner.abort(*id, now, CloseReason::Local));
        }
        self.inner.drain(now);
    }

    fn leave(&mut self, now: Tick, leave: Leave) {
        self.inner.leave(now, leave);
    }

    fn release(&mut self, id: ConnId, now: Tick) {
        let kept = match self.flaw {
            Flaw::NeverReleases => true,
            Flaw::ForgetsPeer => !self.inner.wants(id).has(Wants::CLOSE),
            _ => false,
        };
        if !kept {
            self.inner.release(id, now);
        }
    }

    fn len(&self) -> usize {
        self.inner.len()
    }

    fn buffered(&self) -> usize {
        self.inner.buffered()
    }

    fn set_buffered_elsewhere(&mut self, bytes: usize) {
        self.inner.set_buffered_elsewhere(bytes);
    }

    fn reads_stopped(&self) -> bool {
        self.inner.reads_stopped()
    }

    fn gathers_until(&self, now: Tick) -> Option<Tick> {
        self.inner.gathers_until(now)
    }

    fn footprint(&self) -> usize {
        self.inner.footprint()
    }

    fn footprint_of(&self, id: ConnId) -> usize {
        self.inner.footprint_of(id)
    }

    fn limits(&self) -> &Limits {
        self.inner.limits()
    }
}

/// Whether this is a value for a topic, and nothing else.
fn is_one_value(bytes: &[u8]) -> bool {
    bytes.starts_with(b"pub ")
        && bytes.ends_with(b"\n")
        && memchr::memchr_iter(b'\n', bytes).count() == 2
}

/// Parts of a store, of which the wrong one is lent now and then.
#[derive(Debug)]
pub struct FlawedShards {
    inner: Local<Part>,
    wrong: bool,
    calls: Cell<u64>,
}

impl Shards<Part> for FlawedShards {
    fn count(&self) -> usize {
        self.inner.count()
    }

    fn with<R>(&mut self, index: usize, f: impl FnOnce(&mut Part) -> R) -> R {
        self.calls.set(self.calls.get() + 1);
        let slip = usize::from(self.wrong && self.calls.get().is_multiple_of(1000));
        self.inner.with((index + slip) % self.inner.count(), f)
    }
}

/// The memcached of `shape`, over [`FlawedShards`].
///
/// # Panics
/// If the store does not accept its configuration: cannot happen for a drawn shape.
#[must_use]
pub fn engine(shape: &Shape, flaw: Flaw) -> Engine<Server<FlawedShards>> {
    let hasher = Hasher::new(7);
    let shards = if flaw == Flaw::WrongShard { 4 } else { shape.shards };
    let part = |_| {
        let mut config = StoreConfig::new((64 << 20) / shards as u64, hasher.clone());
        config.item_max = shape.item_max;
        Part::new(Store::new(config).expect("a limit that the store accepts"))
    };
    let inner = Local::new((0..shards).map(part).collect());
    let shards = FlawedShards { inner, wrong: flaw == Flaw::WrongShard, calls: Cell::new(0) };
    let shared = Shared::new(Config::new(hasher.clone(), 1_800_000_000), shards);
    let mut limits = shape.limits;
    if flaw == Flaw::ReadsOn {
        limits.output_high = 1 << 30;
    }
    Engine::new(shared, limits, shape.connections)
}
