//! Admission over a model queue: what is offered is served, refused, expired or still waiting.

use crate::ns;
use drywire::Tick;
use drywire::guard::{Admission, Admit, AdmitConfig, Ask, CLASSES, Dequeue, ShedReason, Waited};
use proptest::prelude::*;
use std::collections::VecDeque;

/// A unit of time that every share and half of it divides.
const UNIT: u64 = 400;

#[derive(Clone, Debug)]
enum Op {
    Arrive {
        class: u8,
        deadline: Option<u64>,
        conn: usize,
    },
    /// A worker is free.
    Take,
    /// A worker is done after this many units.
    Complete(u64),
}

fn ops() -> impl Strategy<Value = Vec<(u64, Op)>> {
    let arrive = (0u8..6, prop::option::weighted(0.3, 0u64..200), 0usize..3)
        .prop_map(|(class, deadline, conn)| Op::Arrive { class, deadline, conn });
    let op = prop_oneof![5 => arrive, 3 => Just(Op::Take), 1 => (0u64..20).prop_map(Op::Complete)];
    prop::collection::vec((prop_oneof![4 => 0u64..3, 1 => 0u64..100], op), 0..200)
}

fn config(scale: u64) -> AdmitConfig {
    AdmitConfig {
        budget: ns(40 * UNIT * scale),
        give_up: ns(50 * UNIT * scale),
        target: ns(10 * UNIT * scale),
        interval: ns(60 * UNIT * scale),
        service_guess: ns(2 * UNIT * scale),
        queue_max: 30,
        ..AdmitConfig::DEFAULT
    }
}

struct Request {
    number: usize,
    conn: usize,
    enqueued_at: Tick,
    expires_at: Tick,
    ahead: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Served(usize),
    Refused(usize, ShedReason),
    Held(usize),
}

/// A queue in front of one worker, as a service would keep it.
struct Model {
    config: AdmitConfig,
    admission: Admission,
    queue: VecDeque<Request>,
    now: Tick,
    offered: usize,
    ends: Vec<End>,
}

impl Model {
    fn new(scale: u64, start: u64) -> Self {
        let config = config(scale);
        let now = Tick(start);
        let admission = Admission::new(&config, now);
        Self { config, admission, queue: VecDeque::new(), now, offered: 0, ends: Vec::new() }
    }

    fn ask(&self, scale: u64, class: u8, deadline: Option<u64>, conn: usize) -> Ask {
        let of = |c: usize| self.queue.iter().filter(|r| r.conn == c).count();
        Ask {
            queue_len: self.queue.len(),
            oldest: self.queue.iter().map(|r| r.enqueued_at).min(),
            class,
            deadline: deadline.map(|units| Tick(self.now.0 + units * UNIT * scale)),
            conn_waiting: of(conn),
            conns_waiting: (0..3).filter(|c| of(*c) > 0).count(),
            ..Ask::new(self.now)
        }
    }

    fn head(&self) -> Option<Waited> {
        self.queue.front().map(|r| Waited {
            now: self.now,
            expires_at: r.expires_at,
            left: self.queue.len() - 1,
        })
    }

    fn step(&mut self, scale: u64, op: &Op) {
        match *op {
            Op::Arrive { class, deadline, conn } => {
                let ask = self.ask(scale, class, deadline, conn);
                let number = self.offered;
                self.offered += 1;
                match self.admission.admit(&self.config, &ask) {
                    Admit::Accept { expires_at, ahead } => {
                        let (enqueued_at, before) =
                            (self.now, self.queue.partition_point(|r| r.ahead));
                        let place = if ahead { before } else { self.queue.len() };
                        let request = Request { number, conn, enqueued_at, expires_at, ahead };
                        self.queue.insert(place, request);
                    }
                    Admit::Shed { reason, .. } => self.ends.push(End::Refused(number, reason)),
                    Admit::Hold => self.ends.push(End::Held(number)),
                }
            }
            Op::Take => {
                while let Some(head) = self.head() {
                    let number = self.queue.pop_front().unwrap().number;
                    match self.admission.on_dequeue(&head) {
                        Dequeue::Serve => {
                            self.ends.push(End::Served(number));
                            break;
                        }
                        Dequeue::Shed(reason) => self.ends.push(End::Refused(number, reason)),
                    }
                }
            }
            Op::Complete(units) => self.admission.on_complete(ns(units * UNIT * scale)),
        }
    }

    fn run(mut self, scale: u64, ops: &[(u64, Op)]) -> Self {
        for (units, op) in ops {
            self.now = Tick(self.now.0 + units * UNIT * scale);
            self.step(scale, op);
        }
        self
    }
}

proptest! {
    /// Each request ends exactly once or waits.
    #[test]
    fn nothing_is_lost_or_answered_twice(ops in ops()) {
        let model = Model::new(1, 0).run(1, &ops);
        prop_assert_eq!(model.offered, model.ends.len() + model.queue.len());
        let mut seen: Vec<usize> = model.queue.iter().map(|r| r.number).collect();
        seen.extend(model.ends.iter().map(|end| match end {
            End::Served(n) | End::Refused(n, _) | End::Held(n) => *n,
        }));
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..model.offered).collect::<Vec<_>>());
    }

    /// When the epoch is, and (with a constant service time) how long a unit is, do not show.
    #[test]
    fn translation_and_scale_do_not_show(ops in ops(), shift in 0u64..1 << 60, scale in 1u64..1000) {
        let base = Model::new(1, 0).run(1, &ops).ends;
        prop_assert_eq!(&Model::new(1, shift).run(1, &ops).ends, &base);
        let constant: Vec<_> = ops
            .iter()
            .map(|(dt, op)| (*dt, if let Op::Complete(_) = op { Op::Complete(2) } else { op.clone() }))
            .collect();
        let base = Model::new(1, 0).run(1, &constant).ends;
        prop_assert_eq!(&Model::new(scale, 0).run(scale, &constant).ends, &base);
    }

    /// What may be waited is between the target and the budget, never rises while the queue is not
    /// empty, is the target once that was so for the interval, and the budget again after an
    /// eighth of it without requests.
    #[test]
    fn the_wait_allowed_follows_the_queue(ops in ops()) {
        let mut model = Model::new(1, 0);
        let (budget, target, interval) = (model.config.budget, model.config.target, model.config.interval);
        let (mut before, mut filled) = (budget, None);
        for (units, op) in &ops {
            let was_empty = model.queue.is_empty();
            model.now = Tick(model.now.0 + units * UNIT);
            model.step(1, op);
            let allowed = model.admission.allowed_wait(&model.config, model.now);
            prop_assert!((target..=budget).contains(&allowed));
            if model.queue.is_empty() {
                filled = None;
                let mut calm = model.admission;
                let now = model.now + interval / 8;
                let _ = calm.admit(&model.config, &Ask::new(now));
                prop_assert_eq!(calm.allowed_wait(&model.config, now), budget);
            } else {
                prop_assert!(was_empty || allowed <= before);
                let since = *filled.get_or_insert(model.now);
                if model.now.since(since) >= interval {
                    prop_assert_eq!(allowed, target);
                }
            }
            before = allowed;
        }
    }

    /// What a request meets at the door, in every state a trace can reach.
    #[test]
    fn the_door_keeps_its_promises(ops in ops(), class in 0u8..6, deadline in prop::option::of(0u64..200)) {
        let model = Model::new(1, 0).run(1, &ops);
        let ask = model.ask(1, class, deadline, 0);
        let admit = |ask: &Ask| model.admission.clone().admit(&model.config, ask);
        let verdict = admit(&ask);
        let ahead = matches!(verdict, Admit::Accept { ahead: true, .. });
        let wait = if ahead { 0 } else { model.admission.predicted_wait(&ask) };
        let left = ask.deadline.map(|at| at.0 - ask.now.0);

        // No late accept.
        if left.is_some_and(|left| wait > left || left == 0) {
            let late = matches!(verdict, Admit::Shed { reason: ShedReason::Late, .. });
            prop_assert!(late, "{verdict:?} with {wait} to wait and {left:?} left");
        } else {
            // No false shed.
            let age = ask.oldest.map_or(0, |at| ask.now.0 - at.0);
            let stuck = age > 2 * model.config.give_up.as_nanos() as u64;
            let share = u64::from(model.config.shares[usize::from(class).min(CLASSES - 1)]);
            let part = |d: std::time::Duration| d.as_nanos() as u64 * share / 100;
            let allowed = part(model.admission.allowed_wait(&model.config, ask.now));
            let within = wait <= allowed && !stuck && ask.queue_len < model.config.queue_max;
            let fresh = !model.admission.standing(ask.now) || wait <= allowed / 2;
            if ask.queue_len == 0 || (within && fresh) {
                prop_assert!(matches!(verdict, Admit::Accept { .. }), "{verdict:?} for {ask:?}");
            }
        }
        // Monotone: a longer queue, an older head, a lower class never help.
        if matches!(verdict, Admit::Shed { .. }) && ask.queue_len > 0 {
            for worse in [
                Ask { queue_len: ask.queue_len + 1, conns_waiting: ask.conns_waiting + 1, ..ask },
                Ask {
                    queue_len: ask.queue_len * 3,
                    conn_waiting: ask.conn_waiting * 3,
                    conns_waiting: ask.conns_waiting * 3,
                    ..ask
                },
                Ask { oldest: ask.oldest.map(|at| Tick(at.0.saturating_sub(1000))), ..ask },
                Ask { class: ask.class + 1, ..ask },
                Ask { queue_bytes: usize::MAX, ..ask },
                Ask { draining: true, ..ask },
            ] {
                let verdict = admit(&worse);
                prop_assert!(matches!(verdict, Admit::Shed { .. }), "{verdict:?} for {worse:?}");
            }
        }
        // An accepted request is worth starting at once; whoever has some waiting goes behind them.
        if let Admit::Accept { expires_at, ahead } = verdict {
            prop_assert!(expires_at >= ask.now);
            prop_assert!(!ahead || (ask.conn_waiting == 0 && ask.queue_len >= 8 * ask.conns_waiting));
        }
        let drained = matches!(admit(&Ask { draining: true, ..ask }), Admit::Shed { .. });
        prop_assert!(drained);
        let unread = Ask { conn_out: model.config.conn_out, ..ask };
        prop_assert_eq!(admit(&unread), Admit::Hold);
    }

    /// A waiting request is served until it expires, and never after; waiting has its limit.
    #[test]
    fn expiry_is_exact(ops in ops(), past in 0u64..100_000) {
        let model = Model::new(1, 0).run(1, &ops);
        let Some(head) = model.head() else { return Ok(()) };
        let enqueued_at = model.queue[0].enqueued_at;
        prop_assert!(head.expires_at <= enqueued_at + model.config.give_up);
        let expires_at = head.expires_at;
        for now in [head.now, expires_at, Tick(expires_at.0 + 1), Tick(head.now.0 + past)] {
            let verdict = model.admission.clone().on_dequeue(&Waited { now, ..head });
            prop_assert_eq!(verdict == Dequeue::Serve, now <= expires_at);
        }
    }

    /// A burst at workers that have all just begun something: who is taken in is started in time,
    /// whatever goes ahead of it.
    #[test]
    fn nobody_is_taken_in_to_expire(
        service in 10_000u64..5_000_000,
        workers in 1u32..9,
        conns_waiting in 0usize..3,
        pause in 0u64..2_000_000,
    ) {
        // Only the wait is to close the door.
        let service_guess = ns(service);
        let config = AdmitConfig { service_guess, queue_max: usize::MAX, ..AdmitConfig::DEFAULT };
        let mut admission = Admission::new(&config, Tick::ZERO);
        let begun = Tick::from_millis(1);
        let burst = Ask { workers, conns_waiting, conn_waiting: 1, ..Ask::new(begun) };
        let mut last = begun;
        let mut queue = 0;
        let mut join = |queue| admission.admit(&config, &Ask { queue_len: queue, ..burst });
        while let Admit::Accept { expires_at, .. } = join(queue) {
            (last, queue) = (expires_at, queue + 1);
        }
        let rounds = config.budget.as_nanos() as u64 / service;
        prop_assert!(queue as u64 + 3 * u64::from(workers) >= rounds * u64::from(workers), "{queue}");

        // Each `service` the workers begin `workers` requests, those that came to go ahead first.
        let (mut now, mut waiting, mut asked, mut ahead, mut went) = (begun, queue, begun, 0, 0);
        while waiting > 0 {
            now = now + ns(service);
            while asked < now {
                let queue_len = waiting + ahead;
                let polite = Ask { now: asked, queue_len, conn_waiting: 0, ..burst };
                let verdict = admission.admit(&config, &polite);
                if matches!(verdict, Admit::Accept { ahead: true, .. }) {
                    (ahead, went) = (ahead + 1, went + 1);
                }
                asked = asked + ns(pause + 1000);
            }
            let first = ahead.min(workers as usize);
            ahead -= first;
            waiting -= waiting.min(workers as usize - first);
            prop_assert!(now <= last || queue == 1, "{waiting} of {queue} at {now:?}, {last:?}");
        }
        prop_assert!(conns_waiting > 0 || went == 0, "that is switched off");
    }

    /// The moving mean stays between the least and the greatest sample and near the exact one.
    #[test]
    fn the_mean_follows_the_samples(samples in prop::collection::vec(0u64..1 << 50, 1..200)) {
        let config = AdmitConfig { service_guess: ns(samples[0]), ..AdmitConfig::DEFAULT };
        let mut admission = Admission::new(&config, Tick::ZERO);
        let mut exact = samples[0] as f64;
        for sample in &samples {
            admission.on_complete(ns(*sample));
            exact += (*sample as f64 - exact) / 64.0;
        }
        let got = admission.service().as_nanos() as f64;
        prop_assert!((got - exact).abs() <= 65.0 + exact * 1e-9, "{got} for {exact}");
    }
}

#[test]
fn a_wrong_estimate_heals_through_the_empty_queue() {
    let config = AdmitConfig { service_guess: ns(u64::MAX), ..AdmitConfig::DEFAULT };
    let mut admission = Admission::new(&config, Tick::ZERO);
    let behind_one = Ask { queue_len: 1, ..Ask::new(Tick::from_secs(1)) };
    assert!(matches!(admission.admit(&config, &behind_one), Admit::Shed { .. }));
    let mut now = Tick::from_secs(1);
    let mut served = 0;
    while matches!(admission.admit(&config, &behind_one), Admit::Shed { .. }) {
        now = now + ns(1_000_000);
        let ask = Ask { deadline: Some(now + ns(50_000_000)), ..Ask::new(now) };
        let Admit::Accept { expires_at, .. } = admission.admit(&config, &ask) else { panic!() };
        let waited = Waited { now, expires_at, left: 0 };
        assert_eq!(admission.on_dequeue(&waited), Dequeue::Serve);
        admission.on_complete(ns(100_000));
        served += 1;
    }
    assert!(served < 2000, "{served}");
}

#[test]
fn in_a_standing_queue_the_connection_that_fills_it_gives_way() {
    let config = AdmitConfig::DEFAULT;
    let mut admission = Admission::new(&config, Tick::ZERO);
    // Not empty from here on.
    assert!(matches!(admission.admit(&config, &Ask::new(Tick::ZERO)), Admit::Accept { .. }));
    // 30 waiting: 3 ms, below the target of 5 ms, above half of it.
    let crowd = Ask { queue_len: 30, conns_waiting: 6, ..Ask::new(Tick::from_secs(1)) };
    let polite = Ask { conn_waiting: 1, ..crowd };
    let flooder = Ask { conn_waiting: 25, ..crowd };
    assert!(matches!(admission.admit(&config, &polite), Admit::Accept { .. }));
    let verdict = admission.admit(&config, &flooder);
    assert!(matches!(verdict, Admit::Shed { reason: ShedReason::Share, .. }));
    let alone = Ask { conns_waiting: 1, conn_waiting: 30, ..crowd };
    assert!(
        matches!(admission.admit(&config, &alone), Admit::Accept { .. }),
        "all of it is its share"
    );
}
