//! [`Caller`]s over tokio streams: the same callers, requests and misbehaviour as in the
//! simulator, on real sockets and in other simulators.

use crate::caller::{Caller, Do};
use crate::decide::Decider;
use crate::net::LinkId;
use crate::node::Ending;
use crate::sudoku::{Move, Mover};
use crate::violation::Violation;
use crate::workload::Workload;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use drywire::Tick;
use std::io::{self, ErrorKind};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

/// What a call needs to know of its surroundings.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<C> {
    /// The time, the same for all callers.
    pub clock: C,
    /// A server may be killed or drained: a peaceful end may leave answers owed.
    pub excused: bool,
    /// Bits may be flipped on the way.
    pub tainted: bool,
}

/// Lets `caller` do everything it has to do, over connections that `connect` makes.
///
/// # Errors
/// The breach that the caller noticed.
pub async fn call<W: Workload, S: AsyncRead + AsyncWrite + Unpin>(
    caller: &mut Caller<W>,
    decider: &mut Decider,
    around: Surroundings<impl Fn() -> Tick>,
    mut connect: impl AsyncFnMut() -> io::Result<S>,
) -> Result<(), Violation> {
    let now = &around.clock;
    let mut stream: Option<S> = None;
    // A write on it has failed.
    let mut broken = false;
    // Those that fell silent: neither an end nor a reset must come from them while this lasts.
    let mut silent = Vec::new();
    let mut links = 0;
    loop {
        if let Some(violation) = caller.take_violation() {
            return Err(violation);
        }
        match caller.poll(now(), decider) {
            Do::Done => return Ok(()),
            Do::Connect => {
                links += 1;
                match timeout(Duration::from_secs(5), connect()).await {
                    Ok(Ok(fresh)) => {
                        caller.connected(now(), LinkId(caller.who() << 16 | links));
                        stream = Some(fresh);
                        broken = false;
                    }
                    Ok(Err(_)) => drop(caller.ended(now(), Ending::Refused, true)),
                    Err(_) => drop(caller.ended(now(), Ending::TimedOut, true)),
                }
            }
            Do::Begin(_) => drop(caller.misbehave(now(), decider)),
            Do::Finish => {
                if let Some(stream) = &mut stream {
                    // One that is gone is noticed at the next read.
                    let _ = timeout(Duration::from_secs(5), stream.shutdown()).await;
                }
            }
            Do::Vanish => silent.extend(stream.take()),
            Do::Abort | Do::Close => stream = None,
            Do::Wait(until) => {
                let most = until.map_or(Duration::from_secs(3600), |t| t.since(now()));
                // An early wake-up is no harm: the caller says what is due.
                let most = most.max(Duration::from_millis(1));
                let Some(up) = &mut stream else {
                    tokio::time::sleep(most).await;
                    continue;
                };
                let moved = poll_fn(|cx| {
                    let moved = exchange(
                        cx,
                        Pin::new(&mut *up),
                        caller,
                        now(),
                        around.tainted,
                        &mut broken,
                    );
                    if moved.is_none() { Poll::Pending } else { Poll::Ready(moved) }
                });
                if let Ok(Some(Moved::Ended(how))) = timeout(most, moved).await {
                    caller.ended(now(), how, around.excused || around.tainted);
                    stream = None;
                }
            }
        }
    }
}

/// A connection of a [`Mover`].
enum Way<S> {
    Closed,
    Opening(Pin<Box<dyn Future<Output = io::Result<S>>>>),
    Open(S),
}

/// Lets `mover` do everything it has to do, over connections that `connect` makes to each of
/// `servers`, which may be killed or drained. The low four bits of a link are its server.
///
/// # Errors
/// The breach that it noticed.
pub async fn balance<S: AsyncRead + AsyncWrite + Unpin>(
    mover: &mut Mover,
    decider: &mut Decider,
    servers: usize,
    clock: impl Fn() -> Tick,
    mut connect: impl FnMut(usize) -> Pin<Box<dyn Future<Output = io::Result<S>>>>,
) -> Result<(), Violation> {
    let mut ways: Vec<Way<S>> = (0..servers).map(|_| Way::Closed).collect();
    let mut links = 0;
    loop {
        if let Some(violation) = mover.take_violation() {
            return Err(violation);
        }
        match mover.poll(clock(), decider) {
            Move::Done => return Ok(()),
            Move::Connect(at) => ways[at] = Way::Opening(connect(at)),
            Move::HangUp(at) => ways[at] = Way::Closed,
            Move::Wait(until) => {
                let most = until.map_or(Duration::from_secs(3600), |t| t.since(clock()));
                let moved = poll_fn(|cx| {
                    let mut moved = false;
                    for (at, way) in ways.iter_mut().enumerate() {
                        moved |= advance(cx, mover, at, way, (clock(), &mut links));
                    }
                    if moved { Poll::Ready(()) } else { Poll::Pending }
                });
                // An early wake-up is no harm: the mover says what is due.
                let _ = timeout(most.max(Duration::from_millis(1)), moved).await;
            }
        }
    }
}

/// One step of a mover's connection: made, written, read or ended. False if nothing moved.
fn advance<S: AsyncRead + AsyncWrite + Unpin>(
    cx: &mut Context<'_>,
    mover: &mut Mover,
    at: usize,
    way: &mut Way<S>,
    (now, links): (Tick, &mut u32),
) -> bool {
    let ended = match way {
        Way::Closed => return false,
        Way::Opening(opening) => match opening.as_mut().poll(cx) {
            Poll::Pending => return false,
            Poll::Ready(Err(_)) => Ending::Refused,
            Poll::Ready(Ok(stream)) => {
                *way = Way::Open(stream);
                *links += 1;
                mover.connected(at, LinkId(mover.who() << 24 | *links << 4 | at as u32));
                return true;
            }
        },
        Way::Open(stream) => {
            let mut moved = false;
            let out: Vec<u8> = mover.outgoing(at).slices().flatten().copied().collect();
            if !out.is_empty() {
                match Pin::new(&mut *stream).poll_write(cx, &out) {
                    Poll::Ready(Ok(n)) => {
                        mover.outgoing(at).sent(n);
                        moved = true;
                    }
                    // What was received before is still read, and the end seen there.
                    Poll::Ready(Err(_)) => mover.outgoing(at).sent(out.len()),
                    Poll::Pending => {}
                }
            }
            let mut buf = [0; 4 << 10];
            let mut buf = ReadBuf::new(&mut buf);
            match Pin::new(&mut *stream).poll_read(cx, &mut buf) {
                Poll::Pending => return moved,
                Poll::Ready(Err(_)) => Ending::Reset,
                Poll::Ready(Ok(())) if buf.filled().is_empty() => Ending::Fin,
                Poll::Ready(Ok(())) => {
                    mover.received(at, now, buf.filled());
                    return true;
                }
            }
        }
    };
    *way = Way::Closed;
    mover.ended(at, now, ended, true);
    true
}

enum Moved {
    On,
    Ended(Ending),
}

/// One write and one read, as far as they are wanted and possible.
fn exchange<W: Workload>(
    cx: &mut Context<'_>,
    mut stream: Pin<&mut (impl AsyncRead + AsyncWrite)>,
    caller: &mut Caller<W>,
    now: Tick,
    tainted: bool,
    broken: &mut bool,
) -> Option<Moved> {
    let mut moved = None;
    if !caller.outgoing().is_empty() {
        match stream.as_mut().poll_write(cx, caller.outgoing()) {
            Poll::Ready(Ok(n)) => {
                caller.sent(n);
                moved = Some(Moved::On);
            }
            // What was received before is still read. A kernel tells of a reset once: whoever
            // hears of it in a write reads an end in peace afterwards, and that is none.
            Poll::Ready(Err(_)) => {
                caller.sent(caller.outgoing().len());
                *broken = true;
            }
            Poll::Pending => {}
        }
    }
    let mut buf = [0; 16 << 10];
    let appetite = caller.appetite(now).min(buf.len());
    if appetite > 0 {
        let mut buf = ReadBuf::new(&mut buf[..appetite]);
        match stream.poll_read(cx, &mut buf) {
            Poll::Ready(Ok(())) if buf.filled().is_empty() => {
                return Some(Moved::Ended(if *broken { Ending::Reset } else { Ending::Fin }));
            }
            Poll::Ready(Ok(())) => {
                caller.received(now, buf.filled(), tainted);
                moved = Some(Moved::On);
            }
            Poll::Ready(Err(error)) => {
                return Some(Moved::Ended(match error.kind() {
                    ErrorKind::TimedOut => Ending::TimedOut,
                    _ => Ending::Reset,
                }));
            }
            Poll::Pending => {}
        }
    }
    moved
}
