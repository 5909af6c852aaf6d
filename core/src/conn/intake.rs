//! The loop of a session whose messages are frames.

use crate::conn::{Cx, Fault, FaultKind, Session, Stop, Taken};
use crate::frame::{ErrorKind, Frame, FrameError, Framing, Step};

/// Takes frames off a session's input, asking [`Cx::stop`] between them.
///
/// ```
/// # use drywire::conn::*;
/// # use drywire::frame::{Framing, line::{Lines, State}};
/// # struct Echo { lines: State }
/// # impl Session for Echo {
/// #     type Shared = (); type Message = (); type Job = NoJob;
/// #     fn open(_: &mut Cx<'_, Self>, _: &Peer) -> Self { Echo { lines: State::default() } }
/// fn on_input(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault> {
///     let codec = Lines::lf_or_crlf(80);
///     let mut intake = Intake::new(&codec, self.lines, input);
///     while let Some(frame) = intake.next(cx)? {
///         match frame {
///             Ok(line) => cx.out.put(line.payload),
///             Err(refused) => cx.out.put(refused.kind.as_str().as_bytes()),
///         }
///         cx.out.put(b"\r\n");
///     }
///     self.lines = intake.state();
///     Ok(intake.taken())
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Intake<'a, F: Framing> {
    codec: &'a F,
    state: F::State,
    ahead: F::Lookahead,
    input: &'a [u8],
    used: usize,
    stop: Stop,
}

impl<'a, F: Framing> Intake<'a, F> {
    /// Begins at the front of `input`, which is what [`Session::on_input`] was given.
    pub fn new(codec: &'a F, state: F::State, input: &'a [u8]) -> Self {
        let ahead = F::Lookahead::default();
        Self { codec, state, ahead, input, used: 0, stop: Stop::NeedInput(1) }
    }

    /// The next frame, or the error in its place after which the codec goes on. `None` when it is
    /// time to return [`Intake::taken`].
    ///
    /// # Errors
    /// A fatal error of the codec, as a [`Fault`].
    pub fn next<S: Session>(
        &mut self,
        cx: &mut Cx<'_, S>,
    ) -> Result<Option<Result<Frame<'a>, FrameError>>, Fault> {
        let left = self.input.len() - self.used;
        if left == 0 {
            self.stop = Stop::NeedInput(1);
            return Ok(None);
        }
        if let Some(stop) = cx.stop() {
            self.stop = stop;
            return Ok(None);
        }
        loop {
            let at = self.codec.position(&self.state);
            let rest = self.input.get(self.used..).unwrap_or_default();
            match self.codec.step_in(&mut self.state, &mut self.ahead, self.input, self.used) {
                Step::Frame { payload, meta, consumed } => {
                    self.used += consumed;
                    let bytes = rest.get(..consumed).unwrap_or_default();
                    return Ok(Some(Ok(Frame { at, bytes, payload: payload.of(rest), meta })));
                }
                Step::Skip { consumed } => self.used += consumed,
                Step::Need(more) => {
                    self.stop = Stop::NeedInput(rest.len() + more.get());
                    return Ok(None);
                }
                Step::Error { error, consumed: 0 } => return Err(error.into()),
                Step::Error { error, consumed } => {
                    self.used += consumed;
                    return Ok(Some(Err(error)));
                }
            }
        }
    }

    /// The protocol is over: [`Intake::taken`] says [`Stop::Closing`], or another reason to stop.
    pub fn stop(&mut self, stop: Stop) {
        self.stop = stop;
    }

    /// What the codec remembers: keep it for the next call.
    pub const fn state(&self) -> F::State {
        self.state
    }

    /// What to return from [`Session::on_input`].
    pub const fn taken(&self) -> Taken {
        Taken { used: self.used, stop: self.stop }
    }
}

impl From<FrameError> for Fault {
    fn from(error: FrameError) -> Self {
        let kind = match error.kind {
            ErrorKind::TooLarge | ErrorKind::TooMany | ErrorKind::TooDeep => FaultKind::TooLong,
            ErrorKind::Truncated => FaultKind::Truncated,
            _ => FaultKind::Malformed,
        };
        Self::new(kind, error.kind.as_str())
    }
}
