use super::*;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

fn unsent(out: &Outbox) -> Vec<u8> {
    out.slices().flatten().copied().collect()
}

fn encoded(request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
    let mut out = Outbox::new();
    Client::new(Limits::default()).send(request, &mut out).map(|_| unsent(&out))
}

const SET: Request<'static> = Request::Store {
    verb: Verb::Set,
    key: b"k",
    flags: 0,
    exptime: 0,
    value: b"v",
    noreply: false,
};
const GET: Request<'static> = Request::Get { keys: &[b"k"], cas: false, touch: None };
const DELETE: Request<'static> = Request::Delete { key: b"k", noreply: false };

fn get(n: usize, cas: bool) -> Request<'static> {
    const KEYS: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];
    Request::Get { keys: &KEYS[..n], cas, touch: None }
}

#[test]
fn every_request_looks_as_protocol_txt_says() {
    let keys: &[&[u8]] = &[b"a", b"bc"];
    let store = |verb, noreply| Request::Store {
        verb,
        key: b"k",
        flags: 7,
        exptime: -1,
        value: b"x\r\ny",
        noreply,
    };
    let table: &[(Request<'_>, &[u8])] = &[
        (Request::Get { keys, cas: false, touch: None }, b"get a bc\r\n"),
        (Request::Get { keys, cas: true, touch: None }, b"gets a bc\r\n"),
        (Request::Get { keys, cas: false, touch: Some(60) }, b"gat 60 a bc\r\n"),
        (Request::Get { keys, cas: true, touch: Some(-2) }, b"gats -2 a bc\r\n"),
        (store(Verb::Set, false), b"set k 7 -1 4\r\nx\r\ny\r\n"),
        (store(Verb::Add, true), b"add k 7 -1 4 noreply\r\nx\r\ny\r\n"),
        (store(Verb::Replace, false), b"replace k 7 -1 4\r\nx\r\ny\r\n"),
        (store(Verb::Append, false), b"append k 7 -1 4\r\nx\r\ny\r\n"),
        (store(Verb::Prepend, false), b"prepend k 7 -1 4\r\nx\r\ny\r\n"),
        (
            store(Verb::Cas(u64::MAX), true),
            b"cas k 7 -1 4 18446744073709551615 noreply\r\nx\r\ny\r\n",
        ),
        (DELETE, b"delete k\r\n"),
        (Request::Delete { key: b"noreply", noreply: true }, b"delete noreply noreply\r\n"),
        (Request::Incr { key: b"k", delta: 1, noreply: false }, b"incr k 1\r\n"),
        (Request::Decr { key: b"k", delta: 0, noreply: true }, b"decr k 0 noreply\r\n"),
        (
            Request::Touch { key: b"k", exptime: i32::MIN, noreply: false },
            b"touch k -2147483648\r\n",
        ),
        (Request::FlushAll { delay: None, noreply: false }, b"flush_all\r\n"),
        (Request::FlushAll { delay: Some(9), noreply: true }, b"flush_all 9 noreply\r\n"),
        (Request::Verbosity { level: 1, noreply: false }, b"verbosity 1\r\n"),
        (Request::Version, b"version\r\n"),
        (Request::Stats(Stats::General), b"stats\r\n"),
        (Request::Stats(Stats::Reset), b"stats reset\r\n"),
        (Request::Quit, b"quit\r\n"),
    ];
    for (request, bytes) in table {
        assert_eq!(encoded(request).as_deref(), Ok(*bytes), "{request:?}");
    }
}

#[test]
fn what_the_protocol_cannot_carry_is_refused_and_leaves_no_trace() {
    let (longest, too_long) = (vec![b'k'; 250], vec![b'k'; 251]);
    assert!(encoded(&Request::Delete { key: &longest, noreply: false }).is_ok());
    for key in [&b""[..], b"a b", b"a\r", b"a\nb", b"\0", b"tab\t", b"\x7f", &too_long] {
        let mut out = Outbox::new();
        out.put(b"before");
        let mut client = Client::new(Limits::default());
        for request in [
            Request::Get { keys: &[b"good", key], cas: false, touch: None },
            Request::Store {
                verb: Verb::Set,
                key,
                flags: 0,
                exptime: 0,
                value: b"",
                noreply: false,
            },
            Request::Delete { key, noreply: false },
            Request::Incr { key, delta: 1, noreply: false },
            Request::Decr { key, delta: 1, noreply: true },
            Request::Touch { key, exptime: 0, noreply: false },
        ] {
            assert_eq!(client.send(&request, &mut out), Err(Refusal::BadKey), "{key:?}");
        }
        assert_eq!((unsent(&out), client.ledger()), (b"before".to_vec(), Ledger::default()));
    }
    assert_eq!(encoded(&Request::Get { keys: &[], cas: false, touch: None }), Err(Refusal::NoKey));

    let mut client = Client::new(Limits { window: 1, value: 3 });
    let mut out = Outbox::new();
    let store = |value| Request::Store {
        verb: Verb::Set,
        key: b"k",
        flags: 0,
        exptime: 0,
        value,
        noreply: false,
    };
    assert_eq!(
        client.send(&store(b"1234"), &mut out),
        Err(Refusal::ValueTooLarge { len: 4, limit: 3 })
    );
    assert_eq!(client.send(&store(b"123"), &mut out), Ok(Some(RequestId(0))));
    assert_eq!(client.send(&GET, &mut out), Err(Refusal::WindowFull { limit: 1 }));
    assert_eq!(client.send(&Request::Delete { key: b"k", noreply: true }, &mut out), Ok(None));
    assert_eq!(client.ledger(), Ledger { sent: 1, unacknowledged: 1, ..Ledger::default() });
}

#[test]
fn only_get_and_gets_may_be_long() {
    let key = [b'k'; 100];
    let keys: Vec<&[u8]> = vec![&key; 1900];
    let long = |touch, keys| encoded(&Request::Get { keys, cas: false, touch });
    assert!(long(None, &keys).is_ok_and(|line| line.len() > 187_000));
    assert!(long(Some(0), &keys[..20]).is_ok());
    assert_eq!(
        long(Some(0), &keys[..21]),
        Err(Refusal::LineTooLong { len: 5 + 21 * 101 + 2, limit: 2048 })
    );
}

/// Everything a client says about a stream of replies, as text, whatever the pieces.
fn transcript(
    limits: Limits,
    requests: &[Request<'_>],
    cuts: &[usize],
    input: &[u8],
) -> Vec<String> {
    let mut client = Client::new(limits);
    let mut out = Outbox::new();
    for request in requests {
        client.send(request, &mut out).expect("the script is within the limits");
    }
    let mut said = Vec::new();
    let mut consumed = 0;
    let mut need = 0;
    let mut broken = false;
    for end in cuts.iter().copied().chain([input.len()]) {
        while !broken {
            match client.step(&input[consumed..end]) {
                Ok(Step::Need(n)) => {
                    assert!(n > end - consumed, "needs what it has");
                    need = n;
                    break;
                }
                Ok(Step::Event { event, used }) => {
                    assert!(end - consumed >= need && used > 0, "an event earlier than announced");
                    (consumed, need) = (consumed + used, 0);
                    said.push(alloc::format!("{event:?}"));
                }
                Err(fault) => {
                    assert_eq!(client.step(&input[consumed..end]), Err(fault), "a fault is final");
                    said.push(alloc::format!("{fault:?}"));
                    broken = true;
                }
            }
        }
        let now = client.ledger();
        assert_eq!(now.sent, now.answered + now.refused + now.failed + client.in_flight() as u64);
    }
    client.end();
    assert_eq!(client.send(&GET, &mut out), Err(Refusal::Closed));
    while let Some(id) = client.next_failed() {
        said.push(alloc::format!("failed {id:?}"));
    }
    let end = client.ledger();
    assert_eq!((end.sent, client.in_flight()), (end.answered + end.refused + end.failed, 0));
    said
}

/// Requests, the replies to them, and what the client has to say.
type Script = (Vec<Request<'static>>, &'static [u8], Vec<&'static str>);

fn scripts() -> Vec<Script> {
    let stats = Request::Stats(Stats::General);
    vec![
        (
            vec![get(2, false), SET],
            b"VALUE a 5 5\r\nEND\r\n\r\nEND\r\nSTORED\r\n",
            vec![
                "Value { id: RequestId(0), value: Value { key: [97], flags: 5, cas: None, data: [69, 78, 68, 13, 10] } }",
                "Done { id: RequestId(0), outcome: End { hits: 1 } }",
                "Done { id: RequestId(1), outcome: Stored }",
            ],
        ),
        (
            vec![get(1, true), get(1, false)],
            b"VALUE a 4294967295 0 18446744073709551615\r\n\r\nEND\r\nEND\r\n",
            vec![
                "Value { id: RequestId(0), value: Value { key: [97], flags: 4294967295, cas: Some(18446744073709551615), data: [] } }",
                "Done { id: RequestId(0), outcome: End { hits: 1 } }",
                "Done { id: RequestId(1), outcome: End { hits: 0 } }",
            ],
        ),
        (
            vec![SET, SET, SET, SET, DELETE, DELETE],
            b"NOT_STORED\r\nEXISTS\r\nNOT_FOUND\r\nSERVER_ERROR out of memory storing object\r\nDELETED\r\nNOT_FOUND\r\n",
            vec![
                "Done { id: RequestId(0), outcome: NotStored }",
                "Done { id: RequestId(1), outcome: Exists }",
                "Done { id: RequestId(2), outcome: NotFound }",
                "Done { id: RequestId(3), outcome: Refused { kind: Server, text: [111, 117, 116, 32, 111, 102, 32, 109, 101, 109, 111, 114, 121, 32, 115, 116, 111, 114, 105, 110, 103, 32, 111, 98, 106, 101, 99, 116] } }",
                "Done { id: RequestId(4), outcome: Deleted }",
                "Done { id: RequestId(5), outcome: NotFound }",
            ],
        ),
        (
            vec![
                Request::Incr { key: b"k", delta: 1, noreply: false },
                Request::Touch { key: b"k", exptime: 0, noreply: false },
                Request::FlushAll { delay: None, noreply: true },
                Request::FlushAll { delay: None, noreply: false },
                Request::Version,
                Request::Stats(Stats::Reset),
                stats,
            ],
            b"18446744073709551615\r\nTOUCHED\r\nOK\r\nVERSION 1.6\r\nRESET\r\nSTAT a 1\r\nSTAT e\r\nSTAT b c d\r\nEND\r\n",
            vec![
                "Done { id: RequestId(0), outcome: Number(18446744073709551615) }",
                "Done { id: RequestId(1), outcome: Touched }",
                "Done { id: RequestId(2), outcome: Ok }",
                "Done { id: RequestId(3), outcome: Version([49, 46, 54]) }",
                "Done { id: RequestId(4), outcome: Ok }",
                "Stat { id: RequestId(5), name: [97], value: [49] }",
                "Stat { id: RequestId(5), name: [101], value: [] }",
                "Stat { id: RequestId(5), name: [98], value: [99, 32, 100] }",
                "Done { id: RequestId(5), outcome: End { hits: 3 } }",
            ],
        ),
        // The connection ends in the middle: each request still has one outcome.
        (
            vec![get(2, false), GET, SET],
            b"VALUE a 0 1\r\nx\r\nVALUE b 0 10\r\n12345",
            vec![
                "Value { id: RequestId(0), value: Value { key: [97], flags: 0, cas: None, data: [120] } }",
                "failed RequestId(0)",
                "failed RequestId(1)",
                "failed RequestId(2)",
            ],
        ),
        // A refused connection, as memcached says it.
        (
            vec![GET, GET],
            b"ERROR Too\r\n",
            vec!["Done { id: RequestId(0), outcome: Refused { kind: Error, text: [84, 111, 111] } }", "failed RequestId(1)"],
        ),
        (
            vec![SET, GET],
            b"STORED\r\nVALUE k 0 4\r\nabcdef\r\nEND\r\n",
            vec![
                "Done { id: RequestId(0), outcome: Stored }",
                "ReplyFault { code: BadDataEnd, at: 8 }",
                "failed RequestId(1)",
            ],
        ),
        (vec![GET], b"END\nEND\r\n", vec!["ReplyFault { code: Malformed, at: 0 }", "failed RequestId(0)"]),
        (
            vec![GET],
            b"END\r\nEND\r\nEND\r\n",
            vec!["Done { id: RequestId(0), outcome: End { hits: 0 } }", "ReplyFault { code: Unsolicited, at: 5 }"],
        ),
    ]
}

#[test]
fn short_scripts_read_the_same_under_every_pair_of_cuts() {
    for (requests, replies, expected) in scripts() {
        for first in 0..=replies.len() {
            for second in first..=replies.len() {
                let said = transcript(Limits::default(), &requests, &[first, second], replies);
                assert_eq!(said, expected, "cut at {first} and {second}");
            }
        }
        let bytewise: Vec<usize> = (0..replies.len()).collect();
        assert_eq!(transcript(Limits::default(), &requests, &bytewise, replies), expected);
    }
}

#[test]
fn broken_replies_are_named() {
    let limits = Limits { value: 10, ..Limits::default() };
    let of = |requests: &[Request<'_>], replies: &[u8]| {
        transcript(limits, requests, &[], replies).remove(0)
    };
    let fault = |code| alloc::format!("{:?}", ReplyFault { code, at: 0 });
    let too_large = |declared| fault(FaultCode::ValueTooLarge { declared, limit: 10 });
    assert_eq!(of(&[GET], b"VALUE k 0 11\r\n"), too_large(11), "before any of it arrives");
    assert_eq!(of(&[GET], b"VALUE k 0 18446744073709551615\r\n"), too_large(u64::MAX));
    for line in [
        &b"\r\n"[..],
        b"END \r\n",
        b"end\r\n",
        b"VALUE\r\n",
        b"VALUE  0 1\r\n",
        b"VALUE k 0\r\n",
        b"VALUE k 0 -1\r\n",
        b"VALUE k 0 18446744073709551616\r\n",
        b"VALUE k 4294967296 1\r\n",
        b"VALUE k 0 1 2 3\r\n",
        b"STAT\r\n",
        b"12a\r\n",
        b"\xff\r\n",
    ] {
        assert_eq!(of(&[GET], line), fault(FaultCode::Malformed), "{line:?}");
    }
    for (request, reply) in [
        (GET, &b"STORED\r\n"[..]),
        (GET, b"VALUE k 0 0 1\r\n\r\n"),
        (get(1, true), b"VALUE a 0 0\r\n\r\n"),
        (SET, b"END\r\n"),
        (SET, b"DELETED\r\n"),
        (DELETE, b"STORED\r\n"),
        (Request::Version, b"OK\r\n"),
        (Request::Quit, b"OK\r\n"),
    ] {
        let code =
            if request == Request::Quit { FaultCode::Unsolicited } else { FaultCode::Unexpected };
        assert_eq!(of(&[request], reply), fault(code), "{request:?}");
    }
    let twice = transcript(limits, &[GET], &[], b"VALUE k 0 0\r\n\r\nVALUE k 0 0\r\n\r\nEND\r\n");
    assert_eq!(twice[1], "ReplyFault { code: Unexpected, at: 15 }", "more values than keys");
}

#[test]
fn a_line_without_an_end_is_given_up_at_the_limit() {
    let line = [b'x'; MAX_LINE];
    let codec = ReplyCodec::new(0);
    let mut state = ReplyState::default();
    assert_eq!(codec.step(&mut state, &line[1..]), Ok(reply::Step::Need(MAX_LINE)));
    let fault = Err(ReplyFault { code: FaultCode::LineTooLong, at: 0 });
    assert_eq!(codec.step(&mut state, &line), fault);
    assert_eq!(
        codec.step(&mut ReplyState::default(), &[&line[..], b"\r\n"].concat()),
        fault,
        "also if the end is there"
    );
}

#[test]
fn after_quit_replies_still_come_and_requests_no_longer_go() {
    let mut client = Client::new(Limits::default());
    let mut out = Outbox::new();
    assert_eq!(client.send(&GET, &mut out), Ok(Some(RequestId(0))));
    assert_eq!(client.send(&Request::Quit, &mut out), Ok(None));
    assert_eq!(client.send(&GET, &mut out), Err(Refusal::Closed));
    assert_eq!(client.next_failed(), None, "the connection still lives");
    let done = Event::Done { id: RequestId(0), outcome: Outcome::End { hits: 0 } };
    assert_eq!(client.step(b"END\r\n"), Ok(Step::Event { event: done, used: 5 }));
    client.end();
    assert_eq!(client.next_failed(), None);
    assert_eq!(
        client.ledger(),
        Ledger { sent: 1, answered: 1, unacknowledged: 1, ..Ledger::default() }
    );
}

#[test]
fn memory_follows_the_window_only() {
    let mut client = Client::new(Limits { window: 100, ..Limits::default() });
    assert_eq!(client.footprint(), 0);
    let mut out = Outbox::new();
    while client.send(&GET, &mut out).is_ok() {}
    for _ in 0..10_000 {
        assert!(matches!(client.step(b"END\r\n"), Ok(Step::Event { used: 5, .. })));
        assert!(client.send(&GET, &mut out).is_ok());
    }
    assert_eq!(client.in_flight(), 100);
    assert!(client.footprint() <= 16 * 128, "{}", client.footprint());
}

/// Bytes that look like replies often enough to get far.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&[u8]; 10] = [
        b"VALUE k 0 3\r\n",
        b"VALUE k 1 2 9\r\n",
        b"abc\r\n",
        b"END\r\n",
        b"STORED\r\n",
        b"STAT a b\r\n",
        b"ERROR\r\n",
        b"7\r\n",
        b"\r",
        b"\n",
    ];
    let piece = prop::sample::select(&PIECES[..]).prop_map(<[u8]>::to_vec);
    let random = prop::collection::vec(any::<u8>(), 0..20);
    prop::collection::vec(prop_oneof![8 => piece, 1 => random], 0..40)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    /// Arbitrary bytes: no panic, a balanced ledger (asserted inside), the same words for
    /// every way to cut them.
    #[test]
    fn any_bytes_under_any_cuts(input in noise(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let requests = [get(4, false), SET, GET, Request::Stats(Stats::General), get(2, true), SET, GET, GET];
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        let whole = transcript(Limits::default(), &requests, &[], &input);
        prop_assert_eq!(transcript(Limits::default(), &requests, &cuts, &input), whole);
    }

    /// Long valid streams: every value comes back as it was, under any cuts.
    #[test]
    fn values_survive_any_cuts(
        values in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..3000), 1..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..50),
    ) {
        let mut input = Vec::new();
        for value in &values {
            input.extend_from_slice(alloc::format!("VALUE k 3 {}\r\n", value.len()).as_bytes());
            input.extend_from_slice(value);
            input.extend_from_slice(b"\r\nEND\r\n");
        }
        let requests = vec![GET; values.len()];
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        let said = transcript(Limits::default(), &requests, &cuts, &input);
        prop_assert_eq!(said.len(), 2 * values.len());
        for (i, value) in values.iter().enumerate() {
            let tail = alloc::format!("data: {value:?} }} }}");
            prop_assert!(said[2 * i].ends_with(&tail));
        }
    }
}
