//! The loop of a session whose messages are frames.

use crate::conn::{Cx, Fault, FaultKind, Session, Stop, Taken};
use crate::frame::walk::{Found, Walk};
use crate::frame::{ErrorKind, Frame, FrameError, Framing};

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
    walk: Walk<'a, F::Lookahead>,
    stop: Stop,
}

impl<'a, F: Framing> Intake<'a, F> {
    /// Begins at the front of `input`, which is what [`Session::on_input`] was given.
    pub fn new(codec: &'a F, state: F::State, input: &'a [u8]) -> Self {
        let walk = Walk::new(codec, &state, input);
        Self { codec, state, walk, stop: Stop::NeedInput(1) }
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
        if self.walk.rest().is_empty() {
            self.stop = Stop::NeedInput(1);
            return Ok(None);
        }
        if let Some(stop) = cx.stop() {
            self.stop = stop;
            return Ok(None);
        }
        let found = match self.walk.glance(self.codec) {
            Some(found) => {
                self.walk.settle(self.codec, &mut self.state);
                found
            }
            None => match self.walk.look(self.codec, &mut self.state) {
                Found::Frame(found) => found,
                Found::Need(more) => {
                    self.stop = Stop::NeedInput(self.walk.rest().len() + more.get());
                    return Ok(None);
                }
                Found::Error(error) if error.fatal => return Err(error.into()),
                Found::Error(error) => return Ok(Some(Err(error))),
            },
        };
        Ok(Some(Ok(self.walk.frame(&found))))
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
    pub fn taken(&self) -> Taken {
        Taken { used: self.walk.consumed(), stop: self.stop }
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
