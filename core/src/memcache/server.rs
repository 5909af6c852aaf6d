//! The server's side of one connection.

use crate::conn::{
    Cx, Deadline, Fault, FaultKind, HostSettings, Limits, NoJob, Outbox, Peer, Session, Stop,
    Taken, Upkeep,
};
use crate::engine::Shards;
use crate::memcache::command::{self, Command, DECLARED_MAX, Error, LINE_MAX, Storage};
use crate::memcache::expiry::{Expiry, Secs, flush_time};
use crate::memcache::retrieve::{Ahead, Progress, Retrieval};
use crate::memcache::stats::{self, Traffic};
use crate::memcache::store::{
    Body, DeltaError, Hasher, KEY_MAX, Refusal, Reservation, Store, Stored, item_limit,
};
use crate::tick::Tick;
use alloc::boxed::Box;
use core::convert::Infallible;
use core::marker::PhantomData;
use core::time::Duration;

/// One part of the server's state: a host with many threads puts a lock around each.
#[derive(Debug)]
pub struct Part {
    /// A share of the items, chosen by key.
    pub store: Store,
    /// What connections did; only part 0 counts.
    pub traffic: Traffic,
}

impl Part {
    /// A part around `store`.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, traffic: Traffic::default() }
    }
}

/// What the server is told once, at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Unix time, in seconds, at the host's tick 0: for absolute expiry times.
    pub unix_start: i64,
    /// The hasher that all stores of this server were made with.
    pub hasher: Hasher,
    /// Whether `flush_all` may be used.
    pub flush: bool,
    /// Shown by `stats`: the process id.
    pub pid: u32,
    /// Shown by `stats`: how it is hosted.
    pub host: HostSettings,
    /// Shown by `stats settings`: the caps of each connection, as the engine has them.
    pub limits: Limits,
}

impl Config {
    /// Defaults around `hasher`, for a server whose tick 0 is at `unix_start`.
    #[must_use]
    pub fn new(hasher: Hasher, unix_start: i64) -> Self {
        Self {
            unix_start,
            hasher,
            flush: true,
            pid: 0,
            host: HostSettings::DEFAULT,
            limits: Limits::default(),
        }
    }
}

/// What all memcached connections of one engine share: a way to the parts, and the settings.
#[derive(Debug)]
pub struct Shared<Sh> {
    pub(super) shards: Sh,
    pub(super) config: Config,
    /// The stores' item size limit.
    pub(super) item_max: u32,
    /// Counted here first, so that traffic takes no lock.
    pub(super) local: Traffic,
    /// When the stores need their next step of upkeep.
    upkeep: Option<Tick>,
}

impl<Sh: Shards<Part>> Shared<Sh> {
    /// A server's state over `shards`.
    pub fn new(config: Config, mut shards: Sh) -> Self {
        let item_max = shards.with(0, |part| part.store.item_max());
        Self { shards, config, item_max, local: Traffic::default(), upkeep: None }
    }

    /// The parts, for hosts and tests that look in from outside.
    pub const fn shards_mut(&mut self) -> &mut Sh {
        &mut self.shards
    }

    #[inline]
    pub(super) fn secs(&self, now: Tick) -> Secs {
        Secs::new(u32::try_from(now.as_secs()).unwrap_or(u32::MAX))
    }

    pub(super) fn expiry(&self, exptime: i64, now: Secs) -> Expiry {
        Expiry::from_exptime(exptime, now, self.config.unix_start)
    }

    /// Where a key lives: its part and its hash.
    #[inline]
    pub(super) fn place(&self, key: &[u8]) -> (usize, u64) {
        let hash = self.config.hasher.hash(key);
        (Hasher::shard(hash, self.shards.count() as u32), hash)
    }

    /// Adds what was counted here to part 0.
    pub(super) fn settle(&mut self) {
        let local = core::mem::take(&mut self.local);
        self.shards.with(0, |part| part.traffic += local);
    }

    fn wake_upkeep(&mut self, now: Tick) {
        if self.upkeep.is_none() {
            self.upkeep = Some(now + UPKEEP);
        }
    }
}

/// Between two steps of upkeep.
const UPKEEP: Duration = Duration::from_secs(1);
/// A pass over all items of a part takes about this many steps: what expires is gone in a minute.
const UPKEEP_STEPS: u64 = 60;
/// Items looked at in each part in one step at least.
const UPKEEP_LEAST: u64 = 2000;

/// The server's side of one memcached connection: the classic text protocol.
///
/// Holds nothing while idle; between the pieces of a value that does not arrive whole, the line's
/// fields and a [`Reservation`] in the store that grows with the bytes received. The largest
/// single reply is one value.
#[derive(Debug)]
pub struct Server<Sh> {
    state: State,
    shards: PhantomData<fn(Sh)>,
}

#[derive(Debug)]
enum State {
    /// At the beginning of a line, of which `searched` bytes hold no line end.
    Line { searched: usize },
    /// Inside a list of keys.
    Keys(Retrieval),
    /// Inside a value.
    Value(Box<Arriving>),
    /// Swallowing the value of a refused line, then saying so.
    Swallow { left: u64, reply: Option<Error> },
    /// Swallowing the rest of a key list after its error.
    SwallowLine,
}

/// A value that did not arrive whole.
#[derive(Debug)]
struct Arriving {
    verb: crate::memcache::store::Verb,
    key: [u8; KEY_MAX],
    key_len: u8,
    flags: u32,
    expiry: Expiry,
    noreply: bool,
    body: Reservation,
    /// The bytes behind the value, of which there must be CR LF.
    tail: [u8; 2],
    tail_len: u8,
}

impl<Sh: Shards<Part>> Session for Server<Sh> {
    type Shared = Shared<Sh>;
    type Message = Infallible;
    type Job = NoJob;

    fn open(cx: &mut Cx<'_, Self>, _: &Peer) -> Self {
        cx.shared.shards.with(0, |part| part.traffic.opened());
        Self { state: State::Line { searched: 0 }, shards: PhantomData }
    }

    fn on_input(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault> {
        let before = cx.out.len();
        let mut used = 0;
        let mut ahead = Ahead::new(input, matches!(self.state, State::Keys(_)));
        let stop = loop {
            match self.step(cx, &input[used..], &mut ahead) {
                Ok((n, next)) => {
                    used += n;
                    if let Some(stop) = next {
                        break stop;
                    }
                }
                Err(fault) => return Err(fault),
            }
        };
        let local = &mut cx.shared.local;
        local.bytes_read += used as u64;
        local.bytes_written += (cx.out.len() - before) as u64;
        local.conn_yields += u64::from(stop == Stop::Budget);
        Ok(Taken { used, stop })
    }

    fn on_end(&mut self, _: &mut Cx<'_, Self>, rest: &[u8]) -> Result<(), Fault> {
        if rest.is_empty() && matches!(self.state, State::Line { .. }) {
            Ok(())
        } else {
            Err(Fault::new(FaultKind::Truncated, "input ended inside a command"))
        }
    }

    fn on_fault(&mut self, fault: Fault, out: &mut Outbox) {
        if fault.kind == FaultKind::TooLong {
            out.put(Error::LineTooLong.reply());
        }
    }

    fn on_close(&mut self, cx: &mut Cx<'_, Self>) {
        cx.shared.settle();
        let why = cx.close_reason();
        cx.shared.shards.with(0, |part| part.traffic.closed(why));
    }

    fn refusal(shared: &mut Shared<Sh>) -> &'static [u8] {
        shared.shards.with(0, |part| part.traffic.rejected_connections += 1);
        b"ERROR Too many open connections\r\n"
    }

    fn upkeep_due(shared: &Shared<Sh>) -> Option<Deadline> {
        shared.upkeep.map(|at| Deadline { at, why: "expiry" })
    }

    fn upkeep(cx: &mut Upkeep<'_, Self>) {
        let now = cx.shared.secs(cx.now);
        let mut more = false;
        for index in 0..cx.shared.shards.count() {
            more |= cx.shared.shards.with(index, |part| {
                let items = part.store.counters().curr_items / UPKEEP_STEPS;
                let budget = u32::try_from(items.max(UPKEEP_LEAST)).unwrap_or(u32::MAX);
                part.store.maintain(now, budget)
            });
        }
        cx.shared.upkeep = more.then(|| cx.now + UPKEEP);
    }

    fn footprint(&self) -> usize {
        // The reservation is charged to the store.
        match self.state {
            State::Value(_) => size_of::<Arriving>(),
            _ => 0,
        }
    }
}

/// How a step went: bytes consumed, and whether to stop.
type Step = Result<(usize, Option<Stop>), Fault>;

impl<Sh> Server<Sh> {
    /// Where in a command the input stands, in one word, for logs and pictures.
    #[must_use]
    pub const fn phase(&self) -> &'static str {
        match self.state {
            State::Line { searched: 0 } => "idle",
            State::Line { .. } => "line",
            State::Keys(_) => "keys",
            State::Value(_) => "value",
            State::Swallow { .. } | State::SwallowLine => "swallow",
        }
    }
}

impl<Sh: Shards<Part>> Server<Sh> {
    /// One step on `input`, which starts at the first byte not consumed.
    #[inline]
    fn step(&mut self, cx: &mut Cx<'_, Self>, input: &[u8], ahead: &mut Ahead<'_>) -> Step {
        match &mut self.state {
            State::Line { searched } => {
                let searched = *searched;
                self.line(cx, input, searched, ahead)
            }
            State::Keys(_) => Ok(self.keys(cx, input, ahead)),
            State::Value(_) => Ok(self.value(cx, input)),
            State::Swallow { left, reply } => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= n as u64;
                if *left > 0 {
                    return Ok((n, Some(Stop::NeedInput(1))));
                }
                if let Some(error) = reply {
                    cx.out.put(error.reply());
                }
                self.state = State::Line { searched: 0 };
                Ok((n, None))
            }
            State::SwallowLine => match memchr::memchr(b'\n', input) {
                Some(end) => {
                    self.state = State::Line { searched: 0 };
                    Ok((end + 1, None))
                }
                None => Ok((input.len(), Some(Stop::NeedInput(1)))),
            },
        }
    }

    #[inline]
    fn line(
        &mut self,
        cx: &mut Cx<'_, Self>,
        input: &[u8],
        searched: usize,
        ahead: &mut Ahead<'_>,
    ) -> Step {
        if input.is_empty() {
            return Ok((0, Some(Stop::NeedInput(1))));
        }
        if let Some(stop) = cx.stop() {
            return Ok((0, Some(stop)));
        }
        let shed = cx.must_shed();
        if searched == 0
            && !shed
            && let Some((retrieval, n)) = Retrieval::begin(input)
            && let Some(used) = retrieval.run_single(cx, &input[n..], ahead)
        {
            return Ok((n + used, None));
        }
        let window = &input[..input.len().min(LINE_MAX)];
        let Some(end) = memchr::memchr(b'\n', &window[searched..]).map(|i| searched + i) else {
            if input.len() < LINE_MAX {
                self.state = State::Line { searched: input.len() };
                return Ok((0, Some(Stop::NeedInput(input.len() + 1))));
            }
            let Some((retrieval, n)) = Retrieval::begin(input) else {
                return Err(Fault::new(FaultKind::TooLong, "a command line over 2048 bytes"));
            };
            if shed {
                cx.refused();
                cx.shared.local.shed_requests += 1;
                cx.out.put(Error::TooBusy.reply());
                self.state = State::SwallowLine;
                return Ok((n, None));
            }
            self.state = State::Keys(retrieval);
            return Ok((n, None));
        };
        self.state = State::Line { searched: 0 };
        let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
        if shed && self.shed(cx, line) {
            return Ok((end + 1, None));
        }
        if let Some((retrieval, n)) = Retrieval::begin(line) {
            if let Err(error) = retrieval.check(&line[n..]) {
                cx.out.put(error.reply());
                return Ok((end + 1, None));
            }
            self.state = State::Keys(retrieval);
            let (used, stop) = self.keys(cx, &input[n..], ahead);
            return Ok((n + used, stop));
        }
        match command::parse(line) {
            Ok(Command::Store(storage)) => {
                let used = self.store(cx, storage, &input[end + 1..]);
                Ok((end + 1 + used, None))
            }
            Ok(Command::Quit) => Ok((end + 1, Some(Stop::Closing))),
            Ok(command) => {
                execute(cx, command);
                Ok((end + 1, None))
            }
            Err(refused) if refused.error == Error::Unknown && command::is_http(line) => {
                Err(Fault::new(FaultKind::Refused, "this is memcached, not HTTP"))
            }
            Err(refused) if refused.swallow > 0 => {
                self.state = State::Swallow { left: refused.swallow, reply: Some(refused.error) };
                Ok((end + 1, None))
            }
            Err(refused) => {
                cx.out.put(refused.error.reply());
                Ok((end + 1, None))
            }
        }
    }

    /// Refuses a command that would be executed, if it is one that may be refused: what tells
    /// about the server, ends the connection or is wrong anyway is answered as always.
    fn shed(&mut self, cx: &mut Cx<'_, Self>, line: &[u8]) -> bool {
        let (noreply, swallow) = match command::parse(line) {
            _ if Retrieval::begin(line).is_some() => (false, 0),
            Ok(Command::Store(storage)) => (storage.noreply, u64::from(storage.len) + 2),
            Ok(
                Command::Delete { noreply, .. }
                | Command::Delta { noreply, .. }
                | Command::Touch { noreply, .. }
                | Command::FlushAll { noreply, .. },
            ) => (noreply, 0),
            Ok(_) | Err(_) => return false,
        };
        cx.refused();
        cx.shared.local.shed_requests += 1;
        let error = (!noreply).then_some(Error::TooBusy);
        if swallow > 0 {
            self.state = State::Swallow { left: swallow, reply: error };
        } else if let Some(error) = error {
            cx.out.put(error.reply());
        }
        true
    }

    #[inline]
    fn keys(
        &mut self,
        cx: &mut Cx<'_, Self>,
        input: &[u8],
        ahead: &mut Ahead<'_>,
    ) -> (usize, Option<Stop>) {
        let State::Keys(retrieval) = &mut self.state else { return (0, None) };
        let (used, progress) = retrieval.run(cx, input, ahead);
        match progress {
            Progress::Done => {
                self.state = State::Line { searched: 0 };
                (used, None)
            }
            Progress::Bad(error) => {
                if error == Error::TooBusy {
                    cx.refused();
                    cx.shared.local.shed_requests += 1;
                }
                cx.out.put(error.reply());
                self.state = State::SwallowLine;
                (used, None)
            }
            Progress::Stopped(stop) => (used, Some(stop)),
        }
    }

    /// Runs a storage command on what follows its line; returns how much of that was consumed.
    fn store(&mut self, cx: &mut Cx<'_, Self>, line: Storage<'_>, input: &[u8]) -> usize {
        debug_assert!(u64::from(line.len) <= DECLARED_MAX);
        let shared = &mut *cx.shared;
        let now = shared.secs(cx.now);
        let (shard, hash) = shared.place(line.key);
        let expiry = shared.expiry(line.exptime, now);
        let len = line.len as usize;
        if line.len > item_limit(shared.item_max, line.key.len(), line.flags) {
            shared.shards.with(shard, |part| {
                part.store.refuse(now, hash, line.key, line.verb, Refusal::TooLarge);
            });
            let reply = (!line.noreply).then_some(Error::TooLarge);
            self.state = State::Swallow { left: u64::from(line.len) + 2, reply };
            return 0;
        }
        if input.len() >= len + 2 {
            let (value, tail) = (&input[..len], &input[len..len + 2]);
            if tail != b"\r\n" {
                reply(cx.out, line.noreply, Error::BadDataChunk.reply());
                return len + 2;
            }
            shared.wake_upkeep(cx.now);
            let stored = shared.shards.with(shard, |part| {
                let body = Body::Copy(value);
                part.store.store(now, hash, line.key, line.verb, line.flags, expiry, body)
            });
            reply(cx.out, line.noreply, stored_reply(stored));
            return len + 2;
        }
        let body = shared.shards.with(shard, |part| part.store.reserve(line.len));
        let mut key = [0; KEY_MAX];
        key[..line.key.len()].copy_from_slice(line.key);
        self.state = State::Value(Box::new(Arriving {
            verb: line.verb,
            key,
            key_len: line.key.len() as u8,
            flags: line.flags,
            expiry,
            noreply: line.noreply,
            body,
            tail: [0; 2],
            tail_len: 0,
        }));
        0
    }

    /// Takes a piece of a value.
    fn value(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> (usize, Option<Stop>) {
        if input.is_empty() {
            return (0, Some(Stop::NeedInput(1)));
        }
        let State::Value(arriving) = &mut self.state else { return (0, None) };
        let shared = &mut *cx.shared;
        let now = shared.secs(cx.now);
        let key = &arriving.key[..usize::from(arriving.key_len)];
        let (shard, hash) = shared.place(key);
        let n = arriving.body.missing().min(input.len());
        if n > 0 {
            let grown = shared.shards.with(shard, |part| {
                part.store.grow(now, &mut arriving.body, &input[..n]).inspect_err(|_| {
                    part.store.refuse(now, hash, key, arriving.verb, Refusal::NoMemory);
                })
            });
            if grown.is_err() {
                let reply = (!arriving.noreply).then_some(Error::OutOfMemory);
                let left = arriving.body.missing() as u64 + 2;
                self.state = State::Swallow { left, reply };
                return (0, None);
            }
        }
        let mut used = n;
        while arriving.body.missing() == 0 && arriving.tail_len < 2 && used < input.len() {
            arriving.tail[usize::from(arriving.tail_len)] = input[used];
            arriving.tail_len += 1;
            used += 1;
        }
        if arriving.tail_len < 2 {
            return (used, Some(Stop::NeedInput(1)));
        }
        let done = core::mem::replace(&mut self.state, State::Line { searched: 0 });
        let State::Value(done) = done else { return (used, None) };
        let Arriving { verb, key, key_len, flags, expiry, noreply, body, tail, .. } = *done;
        if tail == *b"\r\n" {
            shared.wake_upkeep(cx.now);
            let key = &key[..usize::from(key_len)];
            let stored = shared.shards.with(shard, |part| {
                part.store.store(now, hash, key, verb, flags, expiry, Body::Reserved(body))
            });
            reply(cx.out, noreply, stored_reply(stored));
        } else {
            reply(cx.out, noreply, Error::BadDataChunk.reply());
        }
        (used, None)
    }
}

/// Runs a command that is one line.
fn execute<Sh: Shards<Part>>(cx: &mut Cx<'_, Server<Sh>>, command: Command<'_>) {
    let shared = &mut *cx.shared;
    let now = shared.secs(cx.now);
    match command {
        Command::Delete { key, noreply } => {
            let (shard, hash) = shared.place(key);
            let gone = shared.shards.with(shard, |part| part.store.delete(now, hash, key));
            let text: &[u8] = if gone { b"DELETED\r\n" } else { b"NOT_FOUND\r\n" };
            reply(cx.out, noreply, text);
        }
        Command::Delta { key, delta, up, noreply } => {
            let (shard, hash) = shared.place(key);
            let result = shared.shards.with(shard, |part| match up {
                true => part.store.incr(now, hash, key, delta),
                false => part.store.decr(now, hash, key, delta),
            });
            match result {
                Ok(_) if noreply => {}
                Ok(number) => {
                    cx.out.put_u64(number);
                    cx.out.put(b"\r\n");
                }
                Err(DeltaError::NotFound) => reply(cx.out, noreply, b"NOT_FOUND\r\n"),
                Err(DeltaError::NonNumeric) => reply(cx.out, noreply, Error::NonNumeric.reply()),
                Err(DeltaError::NoMemory) => reply(cx.out, noreply, Error::OutOfMemory.reply()),
            }
        }
        Command::Touch { key, exptime, noreply } => {
            let (shard, hash) = shared.place(key);
            let expiry = shared.expiry(exptime, now);
            let found = shared.shards.with(shard, |part| part.store.touch(now, hash, key, expiry));
            let text: &[u8] = if found { b"TOUCHED\r\n" } else { b"NOT_FOUND\r\n" };
            reply(cx.out, noreply, text);
        }
        Command::FlushAll { noreply, .. } if !shared.config.flush => {
            reply(cx.out, noreply, Error::FlushNotAllowed.reply());
        }
        Command::FlushAll { delay, noreply } => {
            let at = flush_time(delay, now, shared.config.unix_start);
            for index in 0..shared.shards.count() {
                shared.shards.with(index, |part| part.store.flush_all(now, at));
            }
            shared.local.cmd_flush += 1;
            shared.wake_upkeep(cx.now);
            reply(cx.out, noreply, b"OK\r\n");
        }
        Command::Version => {
            cx.out.put(b"VERSION ");
            cx.out.put(super::VERSION);
            cx.out.put(b"\r\n");
        }
        Command::Verbosity { noreply } => reply(cx.out, noreply, b"OK\r\n"),
        Command::Stats(topic) => stats::put(cx, topic),
        // Handled where the line's end and what follows it are known.
        Command::Store(_) | Command::Quit => {}
    }
}

fn reply(out: &mut Outbox, noreply: bool, text: &[u8]) {
    if !noreply {
        out.put(text);
    }
}

const fn stored_reply(stored: Stored) -> &'static [u8] {
    match stored {
        Stored::Stored => b"STORED\r\n",
        Stored::NotStored => b"NOT_STORED\r\n",
        Stored::Exists => b"EXISTS\r\n",
        Stored::NotFound => b"NOT_FOUND\r\n",
        Stored::TooLarge => Error::TooLarge.reply(),
        Stored::NoMemory => Error::OutOfMemory.reply(),
    }
}
