//! One harness for every codec: runs a stream through it in every way there is and checks that
//! all of them tell the same, and that each step keeps the contract of `Framing`.
//!
//! The fuzz targets use this file too.
#![allow(dead_code, unreachable_pub, reason = "each user of the harness takes a part of it")]

use std::fmt::Debug;
use std::ops::ControlFlow;

use drywire::frame::bytes::split;
use drywire::frame::{
    Eof, FrameError, FrameRef, Framing, Joiner, Meta, Step, batch, datagram, frames,
};

/// What a stream turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Frame { at: u64, bytes: Vec<u8>, payload: Vec<u8>, meta: Meta },
    Error(FrameError),
}

impl Event {
    pub fn payload(&self) -> Option<&[u8]> {
        match self {
            Self::Frame { payload, .. } => Some(payload),
            Self::Error(_) => None,
        }
    }

    pub fn error(&self) -> Option<FrameError> {
        match self {
            Self::Frame { .. } => None,
            Self::Error(error) => Some(*error),
        }
    }
}

/// All events of a stream, each with the number of bytes that had been fed when it came, and the
/// verdict at the end of input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub events: Vec<Event>,
    pub fed: Vec<usize>,
    pub eof: Eof,
}

impl Told {
    pub fn payloads(&self) -> Vec<&[u8]> {
        self.events.iter().filter_map(Event::payload).collect()
    }

    pub fn errors(&self) -> Vec<FrameError> {
        self.events.iter().filter_map(Event::error).collect()
    }
}

/// Feeds `input`, cut after each of the ascending `cuts`, to bare steps and checks the contract
/// of each step on the way (laws 4 and 5).
pub fn stepped<F: Framing>(framing: &F, input: &[u8], cuts: &[usize]) -> Told {
    let mut state = F::State::default();
    let (mut events, mut fed_at) = (Vec::new(), Vec::new());
    let mut consumed_total = 0;
    let mut failed = false;
    // Nothing may be told before this many bytes are fed.
    let mut quiet = 0;
    for fed in cuts.iter().copied().chain([input.len()]) {
        let mut steps = 0;
        while !failed {
            let avail = &input[consumed_total..fed];
            assert_eq!(framing.position(&state), consumed_total as u64, "position");
            steps += 1;
            assert!(steps <= input.len() + 2, "more steps than bytes");
            let step = framing.step(&mut state, avail);
            assert!(matches!(step, Step::Need(_)) || fed >= quiet, "{step:?} before byte {quiet}");
            match step {
                Step::Frame { payload, meta, consumed } => {
                    assert!((1..=avail.len()).contains(&consumed), "frame of {consumed} bytes");
                    assert!(payload.start <= payload.end && payload.end <= consumed);
                    events.push(Event::Frame {
                        at: consumed_total as u64,
                        bytes: avail[..consumed].to_vec(),
                        payload: payload.of(avail).to_vec(),
                        meta,
                    });
                    fed_at.push(fed);
                    consumed_total += consumed;
                }
                Step::Skip { consumed } => {
                    assert!((1..=avail.len()).contains(&consumed), "skip of {consumed} bytes");
                    consumed_total += consumed;
                }
                Step::Need(more) => {
                    assert!(
                        avail.len().saturating_add(more.get()) <= framing.max_pending().max(1),
                        "needs {more} more than {} bytes, the most is {}",
                        avail.len(),
                        framing.max_pending()
                    );
                    quiet = fed + more.get();
                    break;
                }
                Step::Error { error, consumed } => {
                    assert_eq!(consumed == 0, error.fatal, "a fatal error consumes nothing");
                    assert!(consumed <= avail.len());
                    assert!(error.at >= consumed_total as u64, "an error before its frame");
                    assert!(error.at <= fed as u64, "an error in bytes not seen");
                    events.push(Event::Error(error));
                    fed_at.push(fed);
                    consumed_total += consumed;
                    if error.fatal {
                        failed = true;
                        let again = framing.step(&mut state, &[]);
                        assert_eq!(again, Step::Error { error, consumed: 0 }, "latched");
                    }
                }
            }
        }
    }
    let rest = &input[consumed_total..];
    Told { events, fed: fed_at, eof: framing.finish(&state, rest) }
}

/// The same through a [`Joiner`], with its memory law (6).
pub fn joined<F: Framing + Clone>(framing: &F, input: &[u8], cuts: &[usize]) -> Told {
    let mut joiner = Joiner::new(framing.clone());
    let (mut events, mut fed_at) = (Vec::new(), Vec::new());
    let mut from = 0;
    for fed in cuts.iter().copied().chain([input.len()]) {
        let chunk = &input[from..fed];
        let used = joiner.push(chunk, |event| {
            events.push(own(event));
            fed_at.push(fed);
            ControlFlow::Continue(())
        });
        from = fed;
        if joiner.failed().is_some() {
            let again = joiner.push(b"more", |_| panic!("an event after a fatal error"));
            assert_eq!(again, 0);
            break;
        }
        assert_eq!(used, chunk.len(), "all is taken");
        let most = framing.max_pending();
        assert!(joiner.buffered() <= most, "{} of {most} bytes held", joiner.buffered());
        assert!(joiner.footprint() <= (2 * fed + 512).min(most.max(512)), "memory");
    }
    Told { events, fed: fed_at, eof: joiner.finish() }
}

/// The same through a [`Joiner`] whose consumer breaks after every event.
pub fn joined_breaking<F: Framing + Clone>(
    framing: &F,
    input: &[u8],
    cuts: &[usize],
) -> Vec<Event> {
    let mut joiner = Joiner::new(framing.clone());
    let mut events = Vec::new();
    let mut from = 0;
    for fed in cuts.iter().copied().chain([input.len()]) {
        while joiner.failed().is_none() {
            let before = events.len();
            from += joiner.push(&input[from..fed], |event| {
                events.push(own(event));
                ControlFlow::Break(())
            });
            assert!(events.len() <= before + 1, "an event after the break");
            if events.len() == before {
                assert_eq!(from, fed);
                break;
            }
        }
    }
    events
}

/// The events of one buffer, through the iterator (and the codec's lookahead).
pub fn iterated<F: Framing>(framing: &F, input: &[u8]) -> Vec<Event> {
    let mut state = F::State::default();
    let mut it = frames(framing, &mut state, input);
    let mut events = Vec::new();
    for event in it.by_ref() {
        events.push(own(event));
    }
    let consumed = it.consumed();
    assert_eq!(framing.position(&state), consumed as u64);
    events
}

/// The events of one buffer, in batches of `size`.
pub fn batched<F: Framing>(framing: &F, input: &[u8], size: usize) -> Vec<Event> {
    let mut state = F::State::default();
    let mut out = vec![FrameRef::default(); size];
    let (mut events, mut from) = (Vec::new(), 0);
    loop {
        let at = framing.position(&state);
        let rest = &input[from..];
        let done = batch(framing, &mut state, rest, &mut out);
        events.extend(out[..done.count].iter().map(|frame| Event::Frame {
            at: at + frame.start as u64,
            bytes: rest[frame.start..frame.end].to_vec(),
            payload: frame.payload_of(rest).to_vec(),
            meta: frame.meta,
        }));
        events.extend(done.error.map(Event::Error));
        from += done.consumed;
        if done.need > 0 || done.error.is_some_and(|error| error.fatal) {
            return events;
        }
    }
}

/// Payloads and errors of a stream through the `Bytes` face.
fn split_bytes<F: Framing>(framing: &F, input: &[u8], cuts: &[usize]) -> Vec<Event> {
    let mut state = F::State::default();
    let (mut buf, mut events) = (bytes::BytesMut::new(), Vec::new());
    let mut from = 0;
    for fed in cuts.iter().copied().chain([input.len()]) {
        buf.extend_from_slice(&input[from..fed]);
        from = fed;
        let need = split(framing, &mut state, &mut buf, |event| {
            events.push(match event {
                Ok((payload, meta)) => {
                    Event::Frame { at: 0, bytes: Vec::new(), payload: payload.to_vec(), meta }
                }
                Err(error) => Event::Error(error),
            });
        });
        if need.is_err() {
            break;
        }
    }
    events
}

/// Without what the `Bytes` face does not tell.
fn bare(events: &[Event]) -> Vec<Event> {
    let bare = |event: &Event| match event {
        Event::Frame { payload, meta, .. } => {
            Event::Frame { at: 0, bytes: Vec::new(), payload: payload.clone(), meta: *meta }
        }
        Event::Error(error) => Event::Error(*error),
    };
    events.iter().map(bare).collect()
}

fn own(event: Result<drywire::frame::Frame<'_>, FrameError>) -> Event {
    match event {
        Ok(frame) => Event::Frame {
            at: frame.at,
            bytes: frame.bytes.to_vec(),
            payload: frame.payload.to_vec(),
            meta: frame.meta,
        },
        Err(error) => Event::Error(error),
    }
}

/// Laws 1, 2, 4, 5 and 6 for one stream: every way of cutting and reading it tells the same.
/// Returns what it tells.
pub fn check<F: Framing + Clone + Debug>(framing: &F, input: &[u8], seed: u64) -> Told {
    let whole = check_split(framing, input, seed, |_, _| false);
    let every: Vec<usize> = (1..input.len()).collect();
    earliest(framing, input, &stepped(framing, input, &every));
    whole
}

/// The same, for a codec that gives some frames in pieces as they arrive: `joins` says whether
/// the second event goes on with the first. Without law 2.
pub fn check_split<F: Framing + Clone + Debug>(
    framing: &F,
    input: &[u8],
    seed: u64,
    joins: fn(Meta, Meta) -> bool,
) -> Told {
    let same = |cuts: &[usize]| compare(framing, input, cuts, joins);
    let every: Vec<usize> = (1..input.len()).collect();
    same(&every);
    same(&every.iter().copied().filter(|i| i % 7 == 0).collect::<Vec<_>>());
    if input.len() <= 12 {
        for bits in 0u32..1 << every.len() {
            let cut = |i: &usize| bits >> (i - 1) & 1 == 1;
            same(&every.iter().copied().filter(cut).collect::<Vec<_>>());
        }
    } else {
        let mut random = Random(seed);
        for _ in 0..8 {
            let sparse = 1 + random.below(20);
            same(&every.iter().copied().filter(|_| random.below(sparse) == 0).collect::<Vec<_>>());
        }
    }
    same(&[])
}

/// Every face tells the same of a stream that comes whole and of one that is cut; returns what.
pub fn compare<F: Framing + Clone + Debug>(
    framing: &F,
    input: &[u8],
    cuts: &[usize],
    joins: fn(Meta, Meta) -> bool,
) -> Told {
    let join = |events: Vec<Event>| join(events, joins);
    let mut whole = stepped(framing, input, &[]);
    alone(framing, input, &whole);
    whole.events = join(whole.events);
    assert_eq!(join(iterated(framing, input)), whole.events, "iterator");
    assert_eq!(join(batched(framing, input, 1)), whole.events, "batches of one");
    assert_eq!(join(batched(framing, input, 5)), whole.events, "batches of five");
    let told = stepped(framing, input, cuts);
    assert_eq!(join(told.events), whole.events, "cut at {cuts:?}");
    assert_eq!(told.eof, whole.eof, "cut at {cuts:?}");
    let told = joined(framing, input, cuts);
    assert_eq!(join(told.events), whole.events, "joined, cut at {cuts:?}");
    assert_eq!(told.eof, whole.eof, "joined, cut at {cuts:?}");
    let breaking = joined_breaking(framing, input, cuts);
    assert_eq!(join(breaking), whole.events, "breaking, {cuts:?}");
    let split = bare(&join(split_bytes(framing, input, cuts)));
    assert_eq!(split, bare(&whole.events), "bytes, {cuts:?}");
    whole
}

/// Makes one event of those that go on with each other.
fn join(events: Vec<Event>, joins: fn(Meta, Meta) -> bool) -> Vec<Event> {
    let mut joined: Vec<Event> = Vec::new();
    for event in events {
        match (joined.last_mut(), event) {
            (
                Some(Event::Frame { bytes, payload, meta, .. }),
                Event::Frame { bytes: b, payload: p, meta: m, .. },
            ) if joins(*meta, m) => {
                bytes.extend(b);
                payload.extend(p);
                *meta = m;
            }
            (_, event) => joined.push(event),
        }
    }
    joined
}

/// As a datagram, a stream of exactly one frame is that frame, and everything else an error.
fn alone<F: Framing>(framing: &F, input: &[u8], whole: &Told) {
    let frame = datagram(framing, input);
    match &whole.events[..] {
        [Event::Frame { bytes, payload, meta, .. }, ..] if bytes.len() == input.len() => {
            let frame = frame.expect("one frame");
            assert_eq!((frame.bytes, frame.payload, frame.meta), (&bytes[..], &payload[..], *meta));
        }
        _ => assert!(frame.expect_err("not one frame").fatal),
    }
}

/// Law 2: fed byte by byte, each event comes with the same prefix that tells it when that prefix
/// is all there is; and a frame comes with its last byte.
fn earliest<F: Framing>(framing: &F, input: &[u8], bytewise: &Told) {
    for (i, event) in bytewise.events.iter().enumerate() {
        let fed = bytewise.fed[i];
        let known = stepped(framing, &input[..fed], &[]).events;
        assert_eq!(known.get(i), Some(event), "depends on bytes after it");
        if let Event::Frame { at, bytes, .. } = event {
            let end = *at as usize + bytes.len();
            // A line cut at the limit may have to wait for what follows a CR or half a delimiter.
            assert!(fed >= end && fed <= end + 8, "frame ending at {end} told at {fed}");
        }
    }
}

/// Splitmix64: test inputs from a seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }
}
