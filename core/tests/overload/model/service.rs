//! A service whose requests cost time: 16 bytes in (number, work in ns), 9 bytes out (number,
//! whether it was done). Admission is the guard's, or one of its rivals.

use drywire::Tick;
use drywire::conn::{Cx, Fault, FaultKind, Job, Peer, Session, Stop, Taken};
use drywire::engine::JobId;
use drywire::guard::{Admission, Admit, AdmitConfig, Ask, Dequeue, Waited};
use std::time::Duration;

/// Length of a request.
pub(crate) const REQUEST: usize = 16;
/// Length of an answer.
pub(crate) const ANSWER: usize = 9;

/// Who decides what is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Policy {
    /// [`drywire::guard::Admission`].
    Guard(AdmitConfig),
    /// At most this many waiting; [`usize::MAX`] for an unbounded queue.
    Count(usize),
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Desk {
    policy: Policy,
    admission: Admission,
    conns_waiting: usize,
    /// Requests looked at.
    pub parsed: u64,
    /// Refusals written.
    pub refused: u64,
    /// The longest queue seen.
    pub longest: usize,
}

impl Desk {
    pub(crate) fn new(policy: Policy) -> Self {
        let config = match policy {
            Policy::Guard(config) => config,
            Policy::Count(_) => AdmitConfig::DEFAULT,
        };
        Self {
            policy,
            admission: Admission::new(&config, Tick::ZERO),
            conns_waiting: 0,
            parsed: 0,
            refused: 0,
            longest: 0,
        }
    }
}

/// One request on its way through a worker.
#[derive(Debug)]
pub(crate) struct Work {
    number: u64,
    /// How long it takes: for the model only, the policies do not see it.
    pub ns: u64,
    expires_at: Tick,
}

/// What comes back.
#[derive(Debug)]
pub(crate) struct Worked {
    number: u64,
    ns: u64,
}

impl Job for Work {
    type Output = Worked;
    fn run(self) -> Worked {
        Worked { number: self.number, ns: self.ns }
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Service {
    waiting: usize,
    crowded: Option<Tick>,
    under_way: usize,
}

impl Service {
    fn answer(cx: &mut Cx<'_, Self>, number: u64, done: bool) {
        cx.out.put(&number.to_be_bytes());
        cx.out.put_u8(u8::from(done));
        cx.shared.refused += u64::from(!done);
    }

    fn admit(&self, cx: &mut Cx<'_, Self>) -> Option<(Tick, bool)> {
        let queue_len = cx.jobs_waiting();
        let oldest = cx.oldest_job();
        let desk = &mut *cx.shared;
        desk.longest = desk.longest.max(queue_len);
        match desk.policy {
            Policy::Guard(config) => {
                let ask = Ask {
                    queue_len,
                    oldest,
                    conn_out: cx.out.len(),
                    conn_waiting: self.waiting,
                    conns_waiting: desk.conns_waiting,
                    conn_crowded: self.crowded,
                    ..Ask::new(cx.now)
                };
                match desk.admission.admit(&config, &ask) {
                    Admit::Accept { expires_at, ahead } => Some((expires_at, ahead)),
                    Admit::Shed { .. } => None,
                    Admit::Hold => unreachable!("the output limit is below the one of the guard"),
                }
            }
            Policy::Count(most) => (queue_len < most).then_some((Tick::MAX, false)),
        }
    }
}

impl Session for Service {
    type Shared = Desk;
    type Message = std::convert::Infallible;
    type Job = Work;

    fn open(_: &mut Cx<'_, Self>, _: &Peer) -> Self {
        Self { waiting: 0, crowded: None, under_way: 0 }
    }

    fn on_input(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault> {
        let mut used = 0;
        let stop = loop {
            let Some(request) = input[used..].first_chunk::<REQUEST>() else {
                break Stop::NeedInput(REQUEST);
            };
            if let Some(stop) = cx.stop() {
                break stop;
            }
            used += REQUEST;
            cx.shared.parsed += 1;
            let number = u64::from_be_bytes(request[..8].try_into().unwrap());
            let ns = u64::from_be_bytes(request[8..].try_into().unwrap());
            let admitted = self.admit(cx);
            if self.waiting > 0 || admitted.is_none() {
                self.crowded = Some(cx.now);
            }
            match admitted {
                Some((expires_at, ahead)) => {
                    let work = Work { number, ns, expires_at };
                    if ahead {
                        cx.spawn_ahead(work)
                    } else {
                        cx.spawn(work)
                    };
                    cx.shared.conns_waiting += usize::from(self.waiting == 0);
                    self.waiting += 1;
                    self.under_way += 1;
                }
                None => {
                    cx.refused();
                    Self::answer(cx, number, false);
                }
            }
        };
        Ok(Taken { used, stop })
    }

    fn on_end(&mut self, _: &mut Cx<'_, Self>, rest: &[u8]) -> Result<(), Fault> {
        if rest.is_empty() {
            Ok(())
        } else {
            Err(Fault::new(FaultKind::Truncated, "half a request"))
        }
    }

    fn on_start(&mut self, cx: &mut Cx<'_, Self>, _: JobId, work: &Work, _: Tick) -> bool {
        self.waiting -= 1;
        let left = cx.jobs_waiting();
        let desk = &mut *cx.shared;
        desk.conns_waiting -= usize::from(self.waiting == 0);
        let Policy::Guard(_) = desk.policy else { return true };
        let waited = Waited { now: cx.now, expires_at: work.expires_at, left };
        let serve = desk.admission.on_dequeue(&waited) == Dequeue::Serve;
        if !serve {
            self.under_way -= 1;
            Self::answer(cx, work.number, false);
        }
        serve
    }

    fn on_done(&mut self, cx: &mut Cx<'_, Self>, _: JobId, worked: Worked) {
        self.under_way -= 1;
        cx.shared.admission.on_complete(Duration::from_nanos(worked.ns));
        Self::answer(cx, worked.number, true);
    }

    fn owes(&self) -> bool {
        self.under_way > 0
    }
}
