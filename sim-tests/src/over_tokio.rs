//! [`Caller`]s over tokio streams: the same callers, requests and misbehaviour as in the
//! simulator, on real sockets and in other simulators.

use crate::caller::{Caller, Do};
use crate::decide::Decider;
use crate::net::LinkId;
use crate::node::Ending;
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
            Do::Abort | Do::Vanish | Do::Close => stream = None,
            Do::Wait(until) => {
                let most = until.map_or(Duration::from_secs(3600), |t| t.since(now()));
                // An early wake-up is no harm: the caller says what is due.
                let most = most.max(Duration::from_millis(1));
                let Some(up) = &mut stream else {
                    tokio::time::sleep(most).await;
                    continue;
                };
                let moved = poll_fn(|cx| {
                    let moved = exchange(cx, Pin::new(&mut *up), caller, now(), around.tainted);
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
) -> Option<Moved> {
    let mut moved = None;
    if !caller.outgoing().is_empty() {
        match stream.as_mut().poll_write(cx, caller.outgoing()) {
            Poll::Ready(Ok(n)) => {
                caller.sent(n);
                moved = Some(Moved::On);
            }
            // What was received before is still read, until that fails too.
            Poll::Ready(Err(_)) => caller.sent(caller.outgoing().len()),
            Poll::Pending => {}
        }
    }
    let mut buf = [0; 16 << 10];
    let appetite = caller.appetite(now).min(buf.len());
    if appetite > 0 {
        let mut buf = ReadBuf::new(&mut buf[..appetite]);
        match stream.poll_read(cx, &mut buf) {
            Poll::Ready(Ok(())) if buf.filled().is_empty() => {
                return Some(Moved::Ended(Ending::Fin));
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
