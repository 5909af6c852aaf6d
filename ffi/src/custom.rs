//! A protocol that the caller writes: a framing cuts requests out of the stream, the caller pulls
//! them, and the answers go out framed, in the order of the requests.

use crate::codec::Codec;
use bytes::Bytes;
use core::time::Duration;
use drywire::Tick;
use drywire::conn::{Cx, Deadline, Fault, FaultKind, Job, Outbox, Peer, Session, Stop, Taken};
use drywire::engine::JobId;
use drywire::frame::{ErrorKind, Meta, Step};
use std::collections::VecDeque;

/// One connection of a custom protocol. Requests leave it as jobs and come back as answers.
pub(crate) struct Custom {
    /// None if there was no memory for it.
    codec: Option<Box<dyn Codec>>,
    /// Requests not yet answered on the wire, oldest first, with their answer if it came early.
    owed: VecDeque<(u64, Option<Bytes>)>,
    last_input: Tick,
    idle: Option<Duration>,
}

/// What all connections of a custom server share.
pub(crate) struct CustomShared {
    pub(crate) codec: Box<dyn Codec>,
    /// Requests of one connection under way at most.
    pub(crate) window: usize,
    pub(crate) idle: Option<Duration>,
}

/// A request on its way to the caller.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: JobId,
    pub(crate) kind: u32,
    pub(crate) payload: Payload,
}

#[derive(Debug)]
pub(crate) enum Payload {
    Frame(Bytes),
    Bad(ErrorKind),
}

/// What a session hands out; the engine knows its name.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) kind: u32,
    pub(crate) payload: Payload,
}

impl Job for Ask {
    /// The framed answer; empty for none.
    type Output = Bytes;
    fn run(self) -> Bytes {
        Bytes::new()
    }
}

impl Custom {
    /// Whether a request waits for its answer.
    pub(crate) fn awaits(&self, token: u64) -> bool {
        self.place(token).is_some_and(|at| self.owed[at].1.is_none())
    }

    fn place(&self, token: u64) -> Option<usize> {
        self.owed.binary_search_by_key(&token, |(number, _)| *number).ok()
    }

    fn ask(&mut self, cx: &mut Cx<'_, Self>, kind: u32, payload: Payload) {
        let id = cx.spawn(Ask { kind, payload });
        self.owed.push_back((id.number, None));
    }
}

impl Session for Custom {
    type Shared = CustomShared;
    type Message = Bytes;
    type Job = Ask;

    fn open(cx: &mut Cx<'_, Self>, _: &Peer) -> Self {
        Self {
            codec: cx.shared.codec.fresh().ok(),
            owed: VecDeque::new(),
            last_input: cx.now,
            idle: cx.shared.idle,
        }
    }

    fn on_input(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault> {
        self.last_input = cx.now;
        let mut used = 0;
        loop {
            if self.owed.len() >= cx.shared.window {
                return Ok(Taken { used, stop: Stop::Waiting });
            }
            if let Some(stop) = cx.stop() {
                return Ok(Taken { used, stop });
            }
            let rest = &input[used..];
            let codec = self.codec.as_mut().ok_or(Fault::new(FaultKind::Refused, "no memory"))?;
            match codec.step(rest) {
                Step::Frame { payload, meta, consumed } => {
                    let payload = copy(payload.of(rest))?;
                    self.ask(cx, meta.kind, Payload::Frame(payload));
                    used += consumed;
                }
                Step::Skip { consumed } => used += consumed,
                Step::Need(more) => {
                    let need = rest.len().saturating_add(more.get());
                    return Ok(Taken { used, stop: Stop::NeedInput(need) });
                }
                Step::Error { error, .. } if error.fatal => {
                    let kind = match error.kind {
                        ErrorKind::TooLarge => FaultKind::TooLong,
                        _ => FaultKind::Malformed,
                    };
                    return Err(Fault::new(kind, error.kind.as_str()));
                }
                Step::Error { error, consumed } => {
                    self.ask(cx, u32::from(error.kind.code()), Payload::Bad(error.kind));
                    used += consumed;
                }
            }
        }
    }

    fn on_post(&mut self, cx: &mut Cx<'_, Self>, message: Bytes) {
        cx.out.put_shared(&message);
    }

    fn on_done(&mut self, cx: &mut Cx<'_, Self>, job: JobId, answer: Bytes) {
        let Some(at) = self.place(job.number) else { return };
        self.owed[at].1 = Some(answer);
        while let Some((_, Some(answer))) = self.owed.front() {
            cx.out.put_shared(answer);
            self.owed.pop_front();
        }
    }

    fn on_tick(&mut self, cx: &mut Cx<'_, Self>) -> Result<(), Fault> {
        match self.deadline() {
            Some(due) if due.at <= cx.now => {
                Err(Fault::new(FaultKind::TimedOut, "no input for too long"))
            }
            _ => Ok(()),
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        // While answers are owed, the silence is this side's.
        let idle = self.idle.filter(|_| self.owed.is_empty())?;
        Some(Deadline { at: self.last_input + idle, why: "idle" })
    }

    fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    fn on_fault(&mut self, _: Fault, _: &mut Outbox) {}

    fn footprint(&self) -> usize {
        let early = self.owed.iter().filter_map(|(_, answer)| answer.as_ref());
        self.owed.capacity() * size_of::<(u64, Option<Bytes>)>()
            + early.map(Bytes::len).sum::<usize>()
    }
}

/// A copy of bytes whose number a peer chose: running out of memory ends its connection, not the
/// process.
fn copy(bytes: &[u8]) -> Result<Bytes, Fault> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len())
        .map_err(|_| Fault::new(FaultKind::Refused, "no memory for a request"))?;
    copy.extend_from_slice(bytes);
    Ok(Bytes::from(copy))
}

/// `payload` as one frame.
pub(crate) fn frame(codec: &dyn Codec, meta: Meta, payload: &[u8]) -> crate::status::Result<Bytes> {
    let len = codec.encoded_len(meta, payload)?;
    let mut frame = Vec::new();
    frame.try_reserve_exact(len).map_err(|_| crate::status::drywire_status::DRYWIRE_ERR_NOMEM)?;
    frame.resize(len, 0);
    codec.encode(meta, payload, &mut frame)?;
    Ok(Bytes::from(frame))
}
