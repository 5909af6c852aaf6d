//! Admission and the gates.

use super::{Numbers, made, never, ns, said, some};
use crate::policy::{admission::*, gates::*, pause::*};
use crate::sized::Growing;
use crate::status::drywire_status::*;
use crate::types::DRYWIRE_NO_DEADLINE;
use drywire::Tick;
use drywire::guard::*;

fn shed(reason: ShedReason) -> u32 {
    use ShedReason::*;
    1 + [Draining, Late, Wait, Standing, Share, Full, Expired]
        .iter()
        .position(|known| *known == reason)
        .expect("a reason that C has no number for") as u32
}

pub(super) fn admission(n: &mut Numbers<'_>) {
    let mut options = drywire_admission_options::DEFAULT;
    let mut config = AdmitConfig::DEFAULT;
    if n.bit() {
        let deadline = n.u64();
        config = AdmitConfig::for_deadline(ns(deadline));
        // SAFETY: valid pointers throughout.
        let status = unsafe { drywire_admission_options_for_deadline(&mut options, deadline) };
        assert_eq!(status, DRYWIRE_OK);
    }
    if n.bit() {
        options.shares = [n.u32() as u8, 80, n.u32() as u8, 3];
        (options.queue_max, options.queue_bytes) = (n.u64(), n.u64());
        (options.conn_out, options.service_guess_ns) = (n.u64(), n.u64());
        config = AdmitConfig {
            shares: options.shares,
            queue_max: options.queue_max as usize,
            queue_bytes: options.queue_bytes as usize,
            conn_out: options.conn_out as usize,
            service_guess: ns(options.service_guess_ns),
            ..config
        };
    }
    let mut now = n.u64();
    let mut rust = Admission::new(&config, Tick(now));
    // SAFETY: valid pointers throughout.
    let mut c = made(|to, size| unsafe { drywire_admission_init(to, size, &options, now) });
    for _ in 0..20 {
        let mut ask = drywire_admission_ask::DEFAULT;
        now = n.later(&mut now);
        let mut same = Ask::new(Tick(now));
        if n.bit() {
            ask.queue_len = n.u64();
            ask.queue_bytes = n.u64();
            ask.workers = n.u32();
            ask.request_class = n.u32() % 6;
            ask.oldest_ns = n.u64();
            ask.cost_ns = n.u64();
            ask.deadline_ns = n.u64();
            ask.conn_out = n.u64();
            ask.conn_waiting = n.u64();
            ask.conns_waiting = n.u64();
            ask.conn_crowded_ns = n.u64();
            ask.flags = n.u32() % 2;
            same = Ask {
                now: Tick(now),
                queue_len: ask.queue_len as usize,
                queue_bytes: ask.queue_bytes as usize,
                workers: ask.workers,
                oldest: some(ask.oldest_ns),
                class: ask.request_class as u8,
                cost: some(ask.cost_ns).map(|cost| ns(cost.0)),
                deadline: some(ask.deadline_ns),
                conn_out: ask.conn_out as usize,
                conn_waiting: ask.conn_waiting as usize,
                conns_waiting: ask.conns_waiting as usize,
                conn_crowded: some(ask.conn_crowded_ns),
                draining: ask.flags == 1,
            };
        }
        let answer = rust.admit(&config, &same);
        let wait = rust.predicted_wait(&same);
        let expected = match answer {
            Admit::Accept { expires_at, ahead } => (1, u32::from(ahead), wait, expires_at.0),
            Admit::Shed { reason, retry_after } => {
                (2, shed(reason), wait, retry_after.as_nanos() as u64)
            }
            Admit::Hold => (3, 0, wait, 0),
        };
        // SAFETY: as above.
        let found = said(|d| unsafe { drywire_admission_admit(&mut c, &options, now, &ask, d) });
        assert_eq!(found, (expected, DRYWIRE_NO_DEADLINE));
        let (expires, left) = (n.u64(), n.below(3));
        let waited = Waited { now: Tick(now), expires_at: Tick(expires), left: left as usize };
        let expected = match rust.on_dequeue(&waited) {
            Dequeue::Serve => (4, 0, 0, 0),
            Dequeue::Shed(reason) => (2, shed(reason), 0, 0),
        };
        // SAFETY: as above.
        let found = said(|d| unsafe { drywire_admission_dequeue(&mut c, now, expires, left, d) });
        assert_eq!(found.0, expected);
        let service = n.u64();
        rust.on_complete(ns(service));
        // SAFETY: as above.
        assert_eq!(unsafe { drywire_admission_complete(&mut c, service) }, DRYWIRE_OK);
        assert_eq!(c.state, <[u64; 6]>::from(rust));
    }
}

pub(super) fn read_gate(n: &mut Numbers<'_>) {
    let mut options = drywire_read_gate_options::DEFAULT;
    let mut config = ReadGateConfig::DEFAULT;
    if n.bit() {
        (options.turn_messages, options.turn_bytes) = (n.u32(), n.u64());
        (options.conn_in_high, options.conn_in_low) = (n.u64(), n.u64());
        (options.conn_out_high, options.conn_out_low) = (n.u64(), n.u64());
        (options.queue_high, options.queue_low) = (n.u64(), n.u64());
        (options.total_high, options.total_low) = (n.u64(), n.u64());
        let band = |high, low| Band::new(high as usize, low as usize);
        config = ReadGateConfig {
            conn_in: band(options.conn_in_high, options.conn_in_low),
            conn_out: band(options.conn_out_high, options.conn_out_low),
            queue: band(options.queue_high, options.queue_low),
            total: band(options.total_high, options.total_low),
            turn_messages: options.turn_messages,
            turn_bytes: options.turn_bytes as usize,
        };
    }
    let mut rust = ReadGate::new();
    // SAFETY: valid pointers throughout.
    let mut c = made(|to, size| unsafe { drywire_read_gate_init(to, size) });
    for _ in 0..20 {
        let (i, o, q, t) = (n.u64(), n.u64(), n.u64(), n.u64());
        let buffered = Buffered {
            conn_in: i as usize,
            conn_out: o as usize,
            queue: q as usize,
            total: t as usize,
        };
        let expected = match rust.poll(&config, &buffered) {
            Read::Go { bytes, messages } => (1, messages, bytes as u64, 0),
            Read::TurnOver => (2, 0, 0, 0),
            Read::Stop(Full::ConnIn) => (3, 1, 0, 0),
            Read::Stop(Full::ConnOut) => (3, 2, 0, 0),
            Read::Stop(Full::Queue) => (3, 3, 0, 0),
            Read::Stop(Full::Total) => (3, 4, 0, 0),
            Read::Stop(other) => panic!("C has no number for {other:?}"),
        };
        // SAFETY: as above.
        let found = said(|d| unsafe { drywire_read_gate_poll(&mut c, &options, i, o, q, t, d) });
        assert_eq!(found.0, expected);
        let (bytes, messages) = (n.u64(), n.u32());
        rust.took(bytes as usize, messages);
        // SAFETY: as above.
        assert_eq!(unsafe { drywire_read_gate_took(&mut c, bytes, messages) }, DRYWIRE_OK);
        if n.bit() {
            rust.new_turn();
            // SAFETY: as above.
            assert_eq!(unsafe { drywire_read_gate_new_turn(&mut c) }, DRYWIRE_OK);
        }
        assert_eq!(c.state, <[u64; 2]>::from(rust));
    }
}

fn kick(kick: Kick) -> u32 {
    match kick {
        Kick::HardBytes => 1,
        Kick::SoftTooLong => 2,
        Kick::NoProgress => 3,
        other => panic!("C has no number for {other:?}"),
    }
}

pub(super) fn out_gate(n: &mut Numbers<'_>) {
    let (mut options, mut config) = if n.bit() {
        (drywire_out_gate_options::DEFAULT, OutGateConfig::REPLIES)
    } else {
        // SAFETY: valid pointers throughout.
        let fanout = made(|to, size| unsafe { drywire_out_gate_options_init_fanout(to, size) });
        (fanout, OutGateConfig::CHAT)
    };
    if n.bit() {
        options.when_full = n.u32() % 3;
        (options.hard, options.soft, options.stall) = (n.u64(), n.u64(), n.u64());
        (options.soft_for_ns, options.no_progress_ns) = (n.u64(), n.u64());
        (options.stall_each_ns, options.stall_total_ns) = (n.u64(), n.u64());
        config = OutGateConfig {
            hard: options.hard as usize,
            soft: options.soft as usize,
            soft_for: ns(options.soft_for_ns),
            no_progress: ns(options.no_progress_ns),
            full: [WhenFull::DropNew, WhenFull::DropOldest, WhenFull::Conflate]
                [options.when_full as usize],
            stall: options.stall as usize,
            stall_each: ns(options.stall_each_ns),
            stall_total: ns(options.stall_total_ns),
        };
    }
    let (mut rust, mut now) = (OutGate::new(), n.u64());
    // SAFETY: as above.
    let mut c = made(|to, size| unsafe { drywire_out_gate_init(to, size) });
    for _ in 0..20 {
        now = n.later(&mut now);
        let (pending, len, droppable) = (n.u64(), n.u64(), n.bit());
        let offer = rust.offer(&config, Tick(now), pending as usize, len as usize, droppable);
        let expected = match offer {
            OutOffer::Queue => (1, 0, 0, 0),
            OutOffer::QueueAndStall(pause) => (1, 0, 0, pause.as_nanos() as u64),
            OutOffer::DropNew => (2, 0, 0, 0),
            OutOffer::DropOldest { bytes } => (3, 0, bytes as u64, 0),
            OutOffer::Conflate => (4, 0, 0, 0),
            OutOffer::Kick(why) => (5, kick(why), 0, 0),
            OutOffer::Gone => (6, 0, 0, 0),
        };
        let flags = u32::from(droppable);
        // SAFETY: as above.
        let found = said(|d| unsafe {
            drywire_out_gate_offer(&mut c, &options, now, pending, len, flags, d)
        });
        assert_eq!(found.0, expected);
        let (sent, pending) = (n.u64(), n.u64());
        rust.sent(&config, Tick(now), sent as usize, pending as usize);
        let status =
            // SAFETY: as above.
            unsafe { drywire_out_gate_sent(&mut c, &options, now, sent, pending) };
        assert_eq!(status, DRYWIRE_OK);
        now = n.later(&mut now);
        let expected = rust.poll(&config, Tick(now), pending as usize);
        let expected = expected.map_or((0, 0, 0, 0), |why| (5, kick(why), 0, 0));
        let next = never(rust.deadline(&config, pending as usize));
        // SAFETY: as above.
        let found = said(|d| unsafe { drywire_out_gate_poll(&mut c, &options, now, pending, d) });
        assert_eq!(found, (expected, next));
        if n.bit() {
            let gap = n.u64();
            rust.stalled(ns(gap));
            // SAFETY: as above.
            assert_eq!(unsafe { drywire_out_gate_stalled(&mut c, gap) }, DRYWIRE_OK);
        }
        // SAFETY: as above.
        let (next, progress) = unsafe {
            let next = drywire_out_gate_next_deadline(&c, &options, pending);
            (next, drywire_out_gate_progress(&c))
        };
        assert_eq!(next, never(rust.deadline(&config, pending as usize)));
        assert_eq!(progress, rust.progress().0);
        assert_eq!(c.state, <[u64; 4]>::from(rust));
    }
}

pub(super) fn refusal_pause(n: &mut Numbers<'_>) {
    let mut now = n.u64();
    let (mut rust_window, mut rust) = (RefusalWindow::new(), RefusalPause::new());
    // SAFETY: valid pointers throughout.
    let mut window = made(|to, size| unsafe { drywire_refusal_window_init(to, size) });
    // SAFETY: as above.
    let mut c = made(|to, size| unsafe { drywire_refusal_pause_init(to, size) });
    for _ in 0..20 {
        now = n.later(&mut now);
        if n.bit() {
            let (length, from, requests) = (n.u64(), n.u32(), n.u32());
            let end = rust_window.refused(ns(length), from, requests, Tick(now));
            let mut until = 0;
            // SAFETY: as above.
            let status = unsafe {
                drywire_refusal_window_refused(&mut window, length, from, requests, now, &mut until)
            };
            assert_eq!((status, until), (DRYWIRE_OK, never(end)));
            rust.refused(end);
            // SAFETY: as above.
            assert_eq!(unsafe { drywire_refusal_pause_refused(&mut c, until) }, DRYWIRE_OK);
        }
        let from = n.u32();
        // SAFETY: as above.
        let until = unsafe { drywire_refusal_window_pauses_until(&window, from, now) };
        assert_eq!(until, never(rust_window.pauses_until(from, Tick(now))));
        if n.bit() {
            rust.drained();
            // SAFETY: as above.
            assert_eq!(unsafe { drywire_refusal_pause_drained(&mut c) }, DRYWIRE_OK);
        }
        now = n.later(&mut now);
        rust.poll(Tick(now));
        let what = u32::from(rust.holds_input()) + u32::from(rust.holds_output());
        // SAFETY: as above.
        let found = said(|d| unsafe { drywire_refusal_pause_poll(&mut c, now, d) });
        assert_eq!(found, ((what, 0, 0, 0), never(rust.deadline())));
        // SAFETY: as above.
        assert_eq!(unsafe { drywire_refusal_pause_next_deadline(&c) }, never(rust.deadline()));
    }
}
