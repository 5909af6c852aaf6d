//! The memcached client.

use super::support::{defaults, memcached, text};
use crate::client::*;
use crate::options::DRYWIRE_DEBUG_VIEWS;
use crate::request::*;
use crate::status::drywire_status::{self, *};
use crate::types::*;
use core::ptr;

struct Client(*mut drywire_client);

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: ours.
        unsafe { drywire_client_free(self.0) };
    }
}

fn client(options: drywire_client_options) -> Client {
    let mut client = ptr::null_mut();
    // SAFETY: valid memory.
    assert_eq!(unsafe { drywire_memcached_client_new(&options, &mut client) }, DRYWIRE_OK);
    Client(client)
}

fn plain() -> drywire_client_options {
    crate::sized::Growing::DEFAULT
}

fn request(verb: u32) -> drywire_memcached_request {
    drywire_memcached_request { verb, ..crate::sized::Growing::DEFAULT }
}

/// What an event said: token, kind, flags, number, texts.
type Seen = (u64, u32, u32, u64, String, String);

impl Client {
    fn submit(&self, now: u64, mut request: drywire_memcached_request, keys: &[&str]) -> u64 {
        self.try_submit(now, &mut request, keys).unwrap()
    }

    fn try_submit(
        &self,
        now: u64,
        request: &mut drywire_memcached_request,
        keys: &[&str],
    ) -> Result<u64, drywire_status> {
        let keys: Vec<_> = keys.iter().map(|k| drywire_bytes::of(k.as_bytes())).collect();
        (request.keys, request.key_count) = (keys.as_ptr(), keys.len());
        let mut token = u64::MAX;
        // SAFETY: live handle and valid memory.
        match unsafe { drywire_client_submit(self.0, now, request, &mut token) } {
            DRYWIRE_OK => Ok(token),
            error => {
                assert_eq!(token, 0);
                Err(error)
            }
        }
    }

    fn take_output(&self, most: usize) -> Vec<u8> {
        let mut iov = [drywire_iov { base: ptr::null_mut(), len: 0 }; 4];
        let (mut n, mut bytes) = (0, 0);
        let mut out = Vec::new();
        // SAFETY: live handle and room for four.
        unsafe {
            let _ = drywire_client_output(self.0, iov.as_mut_ptr(), 4, &mut n, &mut bytes);
            for s in &iov[..n] {
                out.extend(core::slice::from_raw_parts(s.base.cast::<u8>(), s.len));
            }
            out.truncate(most);
            assert_eq!(drywire_client_output_consume(self.0, out.len()), DRYWIRE_OK);
        }
        out
    }

    fn feed(&self, data: &[u8]) -> (drywire_status, usize) {
        let mut consumed = 0;
        // SAFETY: live handle and valid memory.
        let status =
            unsafe { drywire_client_feed(self.0, 0, data.as_ptr(), data.len(), &mut consumed) };
        (status, consumed)
    }

    fn poll(&self) -> Vec<Seen> {
        let mut seen = Vec::new();
        loop {
            let mut events = [drywire_event::new(0, 0); 2];
            let mut n = 0;
            // SAFETY: live handle and room for two.
            let status = unsafe { drywire_client_poll(self.0, events.as_mut_ptr(), 2, &mut n) };
            seen.extend(
                events[..n]
                    .iter()
                    .map(|e| (e.id, e.kind, e.flags, e.num + e.aux, text(e.a), text(e.b))),
            );
            if status == DRYWIRE_OK {
                return seen;
            }
        }
    }

    fn stats(&self) -> drywire_client_stats {
        let mut stats: drywire_client_stats = crate::sized::Growing::DEFAULT;
        // SAFETY: live handle and a sized struct.
        assert_eq!(unsafe { drywire_client_get_stats(self.0, &mut stats) }, DRYWIRE_OK);
        let s = &stats;
        assert_eq!(s.sent, s.answered + s.refused + s.failed + s.in_flight, "I1");
        stats
    }
}

/// Client and server, both through this interface, with every cut of the bytes between them.
#[test]
fn client_and_server_understand_each_other_in_any_pieces() {
    for (piece, flags) in [(usize::MAX, 0), (1, 0), (3, DRYWIRE_DEBUG_VIEWS)] {
        let server = memcached(&defaults());
        let conn = server.open(1);
        let client = client(drywire_client_options { flags, ..plain() });
        let mut set = request(DRYWIRE_MEMCACHED_SET);
        set.value = drywire_bytes::of(b"41");
        set.item_flags = 5;
        assert_eq!(client.submit(0, set, &["n"]), 1);
        let mut incr = request(DRYWIRE_MEMCACHED_INCR);
        incr.num = 1;
        client.submit(0, incr, &["n"]);
        let mut quiet = request(DRYWIRE_MEMCACHED_DELETE);
        quiet.flags = DRYWIRE_REQUEST_NOREPLY;
        assert_eq!(client.submit(0, quiet, &["other"]), 0);
        client.submit(0, request(DRYWIRE_MEMCACHED_GET), &["n", "missing"]);
        client.submit(0, request(DRYWIRE_MEMCACHED_DELETE), &["missing"]);
        client.submit(0, request(DRYWIRE_MEMCACHED_VERSION), &[]);
        let mut seen = Vec::new();
        for _ in 0..10_000 {
            let sent = client.take_output(piece);
            conn.feed(&sent);
            let mut reply = conn.output(4);
            reply.truncate(piece);
            conn.consume(reply.len());
            assert_eq!(client.feed(&reply), (DRYWIRE_OK, reply.len()));
            seen.extend(client.poll());
            if client.stats().in_flight == 0 && sent.is_empty() {
                break;
            }
        }
        let done = |id, flags, num, a: &str| {
            (id, DRYWIRE_EVENT_DONE, flags, num, a.to_owned(), String::new())
        };
        assert_eq!(
            seen,
            [
                done(1, DRYWIRE_OUTCOME_STORED, 0, ""),
                done(2, DRYWIRE_OUTCOME_NUMBER, 42, ""),
                (3, DRYWIRE_EVENT_VALUE, 5, 0, "n".to_owned(), "42".to_owned()),
                done(3, DRYWIRE_OUTCOME_END, 1, ""),
                done(4, DRYWIRE_OUTCOME_NOT_FOUND, 0, ""),
                done(5, DRYWIRE_OUTCOME_VERSION, 0, "1.6.45"),
            ]
        );
        assert_eq!(client.stats().answered, 5);
    }
}

#[test]
fn the_end_of_the_connection_fails_what_waits_exactly_once() {
    let client = client(plain());
    client.submit(0, request(DRYWIRE_MEMCACHED_VERSION), &[]);
    client.submit(0, request(DRYWIRE_MEMCACHED_GET), &["k"]);
    client.submit(0, request(DRYWIRE_MEMCACHED_GET), &["k"]);
    client.feed(b"VERSION x\r\nVALUE k 0 2\r\nab");
    // SAFETY: live handle.
    assert_eq!(unsafe { drywire_client_eof(client.0) }, DRYWIRE_OK);
    let ends: Vec<_> = client.poll().iter().map(|s| (s.0, s.2, s.3)).collect();
    let lost = u64::from((DRYWIRE_ERR_CONNECTION_LOST as i32).unsigned_abs());
    assert_eq!(
        ends,
        [
            (1, DRYWIRE_OUTCOME_VERSION, 0),
            (2, DRYWIRE_OUTCOME_FAILED, lost),
            (3, DRYWIRE_OUTCOME_FAILED, lost),
        ]
    );
    assert_eq!(client.poll(), []);
    assert_eq!(client.feed(b"late").0, DRYWIRE_ERR_STATE);
    let mut late = request(DRYWIRE_MEMCACHED_VERSION);
    assert_eq!(client.try_submit(0, &mut late, &[]), Err(DRYWIRE_ERR_STATE));
    assert_eq!(client.stats().failed, 2);
}

#[test]
fn a_request_out_of_time_ends_the_connection() {
    let client = client(drywire_client_options { timeout_ns: 100, ..plain() });
    client.submit(10, request(DRYWIRE_MEMCACHED_VERSION), &[]);
    let mut patient = request(DRYWIRE_MEMCACHED_VERSION);
    patient.timeout_ns = DRYWIRE_NO_DEADLINE;
    client.submit(11, patient, &[]);
    let mut hasty = request(DRYWIRE_MEMCACHED_VERSION);
    hasty.timeout_ns = 20;
    client.submit(12, hasty, &[]);
    // SAFETY: live handle.
    unsafe {
        assert_eq!(drywire_client_next_deadline(client.0), 32);
        client.feed(b"VERSION 1\r\n");
        assert_eq!(client.poll().len(), 1);
        assert_eq!(drywire_client_tick(client.0, 31), DRYWIRE_OK);
        assert_eq!(client.poll(), []);
        assert_eq!(drywire_client_tick(client.0, 32), DRYWIRE_OK);
        assert_eq!(drywire_client_next_deadline(client.0), DRYWIRE_NO_DEADLINE);
        let why = client.poll().iter().map(|s| s.3).collect::<Vec<_>>();
        assert_eq!(why, [u64::from((DRYWIRE_ERR_TIMED_OUT as i32).unsigned_abs()); 2]);
    }
}

#[test]
fn a_peer_that_speaks_something_else_is_named() {
    let client = client(drywire_client_options { value_max: 10, ..plain() });
    client.submit(0, request(DRYWIRE_MEMCACHED_GET), &["k"]);
    client.feed(b"VALUE k 0 11\r\n");
    assert_eq!(client.poll().len(), 1);
    let mut info = drywire_error_info::none();
    info.struct_size = size_of::<drywire_error_info>() as u32;
    // SAFETY: live handle and a sized struct.
    assert_eq!(unsafe { drywire_client_last_error(client.0, &mut info) }, DRYWIRE_OK);
    assert_eq!(info.code, DRYWIRE_CLIENT_FAULT_VALUE_TOO_LARGE);
    assert_eq!((info.found, info.limit, info.status), (11, 10, DRYWIRE_ERR_PROTOCOL as i32));
}

#[test]
fn what_the_protocol_cannot_carry_is_refused() {
    let client = client(drywire_client_options { window: 1, ..plain() });
    let bad = [
        (request(0), &["k"][..]),
        (request(99), &["k"]),
        (request(DRYWIRE_MEMCACHED_GET), &[]),
        (request(DRYWIRE_MEMCACHED_GET), &["a b"]),
        (request(DRYWIRE_MEMCACHED_DELETE), &[]),
        (request(DRYWIRE_MEMCACHED_DELETE), &["a", "b"]),
        (
            drywire_memcached_request {
                flags: DRYWIRE_REQUEST_NOREPLY,
                ..request(DRYWIRE_MEMCACHED_GET)
            },
            &["k"],
        ),
    ];
    for (mut request, keys) in bad {
        assert_eq!(client.try_submit(0, &mut request, keys), Err(DRYWIRE_ERR_RANGE));
    }
    assert_eq!(client.take_output(99), b"");
    client.submit(0, request(DRYWIRE_MEMCACHED_VERSION), &[]);
    let mut second = request(DRYWIRE_MEMCACHED_VERSION);
    assert_eq!(client.try_submit(0, &mut second, &[]), Err(DRYWIRE_ERR_LIMIT));
    assert_eq!(client.take_output(99), b"version\r\n");
}

/// A caller that feeds without polling is stopped, whatever the peer sends.
#[test]
fn input_that_nobody_polls_is_bounded() {
    let client = client(drywire_client_options { value_max: 0, ..plain() });
    let flood = vec![b'x'; 1 << 20];
    let (status, taken) = client.feed(&flood);
    assert_eq!((status, taken), (DRYWIRE_MORE, 64 << 10));
    assert_eq!(client.feed(&flood), (DRYWIRE_MORE, 0));
}
