//! The memcached server against a naive map: every reply is predicted, time moves by hand.

use drywire::Tick;
use drywire::conn::{Limits, Peer};
use drywire::engine::{ConnId, Engine, Local};
use drywire::memcache::store::{Config as StoreConfig, Hasher, Store};
use drywire::memcache::{Config, Part, Server, Shared};
use proptest::prelude::*;
use std::collections::BTreeMap;

const UNIX_START: i64 = 1_800_000_000;
const MONTH: i64 = 60 * 60 * 24 * 30;

#[derive(Clone, Debug)]
enum Op {
    Store {
        verb: &'static str,
        key: u8,
        flags: u32,
        exptime: Exptime,
        value: Vec<u8>,
    },
    Cas {
        key: u8,
        stale: bool,
        value: Vec<u8>,
    },
    Get {
        keys: Vec<u8>,
        cas: bool,
    },
    Gat {
        key: u8,
        exptime: Exptime,
    },
    Delete {
        key: u8,
    },
    Delta {
        key: u8,
        up: bool,
        by: u64,
    },
    Touch {
        key: u8,
        exptime: Exptime,
    },
    Flush {
        delay: i64,
    },
    /// Milliseconds pass.
    Sleep(u64),
}

#[derive(Clone, Copy, Debug)]
enum Exptime {
    Raw(i64),
    /// An absolute Unix time, this far from now.
    Absolute(i64),
}

impl Exptime {
    fn wire(self, now: i64) -> i64 {
        match self {
            Self::Raw(n) => n,
            Self::Absolute(n) => UNIX_START + now + n,
        }
    }

    /// The second in which the item is gone; `None` for never.
    fn until(self, now: i64) -> Option<i64> {
        match self.wire(now) {
            0 => None,
            n if n < 0 => Some(0),
            n if n <= MONTH => Some(now + n),
            n => Some(n - UNIX_START),
        }
    }
}

#[derive(Clone, Debug)]
struct Item {
    value: Vec<u8>,
    flags: u32,
    until: Option<i64>,
    /// Counts changes of the value: what cas must tell apart.
    version: u64,
    stored: i64,
}

#[derive(Default)]
struct Model {
    items: BTreeMap<u8, Item>,
    now_ms: u64,
    versions: u64,
    /// Items stored before this second are gone from it on.
    flush: Option<i64>,
    /// The unique last seen for a version of a key.
    uniques: BTreeMap<u64, u64>,
    last_seen: BTreeMap<u8, (u64, u64)>,
}

impl Model {
    fn now(&self) -> i64 {
        (self.now_ms / 1000) as i64
    }

    fn live(&mut self, key: u8) -> Option<&mut Item> {
        let now = self.now();
        let flush = self.flush.filter(|at| *at <= now);
        let gone = self.items.get(&key).is_some_and(|item| {
            item.until.is_some_and(|until| until <= now) || flush.is_some_and(|at| item.stored < at)
        });
        if gone {
            self.items.remove(&key);
        }
        self.items.get_mut(&key)
    }

    fn put(&mut self, key: u8, value: Vec<u8>, flags: u32, until: Option<i64>) {
        self.versions += 1;
        let item = Item { value, flags, until, version: self.versions, stored: self.now() };
        self.items.insert(key, item);
    }

    fn change(&mut self, key: u8, value: Vec<u8>) {
        let (now, version) = (self.now(), self.versions + 1);
        self.versions = version;
        let Some(item) = self.live(key) else { return };
        (item.value, item.version, item.stored) = (value, version, now);
    }

    /// The expected reply to an operation that is not a cas or gets.
    fn apply(&mut self, op: &Op) -> Vec<u8> {
        let now = self.now();
        let found =
            |found: bool, yes: &str| if found { yes.into() } else { "NOT_FOUND".to_owned() };
        let reply = match op {
            Op::Store { verb, key, flags, exptime, value } => {
                let old = self.live(*key).cloned();
                let until = exptime.until(now);
                match (*verb, old) {
                    ("set", _) | ("add", None) | ("replace", Some(_)) => {
                        self.put(*key, value.clone(), *flags, until);
                        "STORED".to_owned()
                    }
                    ("append", Some(old)) => {
                        self.change(*key, [&old.value[..], value].concat());
                        "STORED".to_owned()
                    }
                    ("prepend", Some(old)) => {
                        self.change(*key, [value, &old.value[..]].concat());
                        "STORED".to_owned()
                    }
                    _ => "NOT_STORED".to_owned(),
                }
            }
            Op::Delete { key } => {
                let there = self.live(*key).is_some();
                self.items.remove(key);
                found(there, "DELETED")
            }
            Op::Touch { key, exptime } => {
                let item = self.live(*key);
                let there = item.is_some();
                if let Some(item) = item {
                    item.until = exptime.until(now);
                }
                found(there, "TOUCHED")
            }
            Op::Delta { key, up, by } => match self.live(*key).map(|item| item.value.clone()) {
                None => "NOT_FOUND".to_owned(),
                Some(value) => match number(&value) {
                    None => {
                        "CLIENT_ERROR cannot increment or decrement non-numeric value".to_owned()
                    }
                    Some(n) => {
                        let n = if *up { n.wrapping_add(*by) } else { n.saturating_sub(*by) };
                        let mut text = n.to_string().into_bytes();
                        text.resize(text.len().max(value.len()), b' ');
                        self.change(*key, text);
                        n.to_string()
                    }
                },
            },
            Op::Flush { delay } => {
                // What an earlier flush has taken stays gone when a newer one replaces it.
                for key in 0..4 {
                    self.live(key);
                }
                self.flush = Some(if *delay <= 0 { now } else { now + delay });
                if *delay <= 0 {
                    self.items.clear();
                }
                "OK".to_owned()
            }
            Op::Get { .. } | Op::Gat { .. } | Op::Cas { .. } | Op::Sleep(_) => unreachable!(),
        };
        (reply + "\r\n").into_bytes()
    }
}

/// What incr accepts: a number, perhaps with spaces around it.
fn number(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?.trim_matches(' ');
    if text.starts_with('-') { None } else { text.parse().ok() }
}

struct Rig {
    engine: Engine<Server<Local<Part>>>,
    id: ConnId,
    model: Model,
}

impl Rig {
    fn new() -> Self {
        let hasher = Hasher::new(7);
        let store = Store::new(StoreConfig::new(64 << 20, hasher.clone())).unwrap();
        let shared = Shared::new(Config::new(hasher, UNIX_START), Local::one(Part::new(store)));
        let mut engine = Engine::new(shared, Limits::default(), 4);
        let id = engine.accept(Tick::ZERO, &Peer::Virtual(1)).unwrap();
        Self { engine, id, model: Model::default() }
    }

    fn call(&mut self, request: &[u8]) -> Vec<u8> {
        let now = Tick::from_millis(self.model.now_ms);
        self.engine.tick(now);
        assert_eq!(self.engine.receive(self.id, now, request), request.len());
        let reply: Vec<u8> = self.engine.outgoing(self.id).flatten().copied().collect();
        self.engine.sent(self.id, now, reply.len());
        reply
    }

    fn step(&mut self, op: &Op, noreply: bool) {
        let now = self.model.now();
        let request = wire(op, now, if noreply { " noreply" } else { "" });
        match op {
            Op::Sleep(ms) => self.model.now_ms += ms,
            Op::Get { keys, cas } => self.get(&request, keys, *cas),
            Op::Gat { key, exptime } => {
                if let Some(item) = self.model.live(*key) {
                    item.until = exptime.until(now);
                    // What is shown is what was there, even if it dies of this.
                    let item = item.clone();
                    let expect = shown(*key, &item, None) + "END\r\n";
                    assert_eq!(text(&self.call(&request)), expect, "{op:?}");
                } else {
                    assert_eq!(text(&self.call(&request)), "END\r\n", "{op:?}");
                }
            }
            Op::Cas { key, stale, value } => {
                let seen = self.model.last_seen.get(key).copied();
                let (version, unique) = seen.unwrap_or((0, 0));
                let unique = if *stale { unique.wrapping_add(1 << 60) } else { unique };
                let request = format!("cas {key} 3 0 {} {unique}\r\n", value.len());
                let reply = self.call(&[request.as_bytes(), value, b"\r\n"].concat());
                let expect = match self.model.live(*key) {
                    None => "NOT_FOUND\r\n",
                    Some(item) if item.version == version && !stale => {
                        self.model.put(*key, value.clone(), 3, None);
                        "STORED\r\n"
                    }
                    Some(_) => "EXISTS\r\n",
                };
                assert_eq!(text(&reply), expect, "{op:?}");
            }
            _ => {
                let expect = self.model.apply(op);
                let reply = self.call(&request);
                let error = expect.starts_with(b"CLIENT_ERROR");
                let expect = if noreply { Vec::new() } else { expect };
                assert_eq!(text(&reply), text(&expect), "{op:?} at {now}, error: {error}");
            }
        }
    }

    fn get(&mut self, request: &[u8], keys: &[u8], cas: bool) {
        let reply = self.call(request);
        let reply = text(&reply);
        let mut expect = String::new();
        let mut uniques = reply.lines().filter(|l| l.starts_with("VALUE ")).map(|line| {
            line.rsplit(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0)
        });
        for key in keys {
            let Some(item) = self.model.live(*key).cloned() else { continue };
            let unique = cas.then(|| uniques.next().unwrap_or(0));
            expect += &shown(*key, &item, unique);
            if let Some(unique) = unique {
                let known = *self.model.uniques.entry(item.version).or_insert(unique);
                assert_eq!(known, unique, "the unique changed, the value did not");
                self.model.last_seen.insert(*key, (item.version, unique));
            }
        }
        assert_eq!(reply, expect + "END\r\n");
        let mut all: Vec<_> = self.model.uniques.values().collect();
        all.dedup();
        assert_eq!(all.len(), self.model.uniques.len(), "later values have larger uniques");
    }
}

fn shown(key: u8, item: &Item, unique: Option<u64>) -> String {
    let cas = unique.map_or_else(String::new, |unique| format!(" {unique}"));
    format!("VALUE {key} {} {}{cas}\r\n{}\r\n", item.flags, item.value.len(), text(&item.value))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn wire(op: &Op, now: i64, noreply: &str) -> Vec<u8> {
    match op {
        Op::Store { verb, key, flags, exptime, value } => {
            let line =
                format!("{verb} {key} {flags} {} {}{noreply}\r\n", exptime.wire(now), value.len());
            [line.as_bytes(), value, b"\r\n"].concat()
        }
        Op::Get { keys, cas } => {
            let keys: Vec<_> = keys.iter().map(u8::to_string).collect();
            format!("{} {}\r\n", if *cas { "gets" } else { "get" }, keys.join(" ")).into_bytes()
        }
        Op::Gat { key, exptime } => format!("gat {} {key}\r\n", exptime.wire(now)).into_bytes(),
        Op::Delete { key } => format!("delete {key}{noreply}\r\n").into_bytes(),
        Op::Delta { key, up, by } => {
            format!("{} {key} {by}{noreply}\r\n", if *up { "incr" } else { "decr" }).into_bytes()
        }
        Op::Touch { key, exptime } => {
            format!("touch {key} {}{noreply}\r\n", exptime.wire(now)).into_bytes()
        }
        Op::Flush { delay } => format!("flush_all {delay}{noreply}\r\n").into_bytes(),
        Op::Cas { .. } | Op::Sleep(_) => Vec::new(),
    }
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0u8..4;
    let exptime = || {
        prop_oneof![
            6 => Just(Exptime::Raw(0)),
            3 => (1i64..4).prop_map(Exptime::Raw),
            1 => (-2i64..0).prop_map(Exptime::Raw),
            1 => prop::sample::select(vec![MONTH, MONTH + 1, i64::MAX, i64::MIN]).prop_map(Exptime::Raw),
            2 => (-2i64..4).prop_map(Exptime::Absolute),
        ]
    };
    let value = || {
        prop_oneof![
            4 => "[a-z]{0,12}".prop_map(String::into_bytes),
            4 => "[0-9]{1,3}".prop_map(String::into_bytes),
            1 => "[0-9 +-]{0,6}".prop_map(String::into_bytes),
            1 => prop::sample::select(vec![u64::MAX, u64::MAX - 1, 0])
                .prop_map(|n| n.to_string().into_bytes()),
            1 => Just(b"18446744073709551616".to_vec()),
            1 => (0usize..9000).prop_map(|n| vec![b'L'; n]),
        ]
    };
    let verb = prop::sample::select(vec!["set", "set", "add", "replace", "append", "prepend"]);
    prop_oneof![
        8 => (verb, key.clone(), any::<u32>(), exptime(), value()).prop_map(
            |(verb, key, flags, exptime, value)| Op::Store { verb, key, flags, exptime, value }
        ),
        3 => (key.clone(), any::<bool>(), value())
            .prop_map(|(key, stale, value)| Op::Cas { key, stale, value }),
        8 => (prop::collection::vec(key.clone(), 1..6), any::<bool>())
            .prop_map(|(keys, cas)| Op::Get { keys, cas }),
        1 => (key.clone(), exptime()).prop_map(|(key, exptime)| Op::Gat { key, exptime }),
        1 => key.clone().prop_map(|key| Op::Delete { key }),
        4 => (key.clone(), any::<bool>(), prop_oneof![0u64..200, any::<u64>()])
            .prop_map(|(key, up, by)| Op::Delta { key, up, by }),
        1 => (key, exptime()).prop_map(|(key, exptime)| Op::Touch { key, exptime }),
        1 => (-1i64..4).prop_map(|delay| Op::Flush { delay }),
        4 => prop_oneof![1u64..1500, Just(1000), Just(999)].prop_map(Op::Sleep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_server_is_a_map(ops in prop::collection::vec((op(), prop::bool::weighted(0.2)), 1..80)) {
        let mut rig = Rig::new();
        for (op, noreply) in &ops {
            rig.step(op, *noreply);
        }
    }
}

#[test]
fn a_number_wraps_up_and_stops_at_zero() {
    let mut rig = Rig::new();
    rig.call(b"set k 9 0 20\r\n18446744073709551615\r\n");
    assert_eq!(rig.call(b"incr k 1\r\n"), b"0\r\n");
    assert_eq!(rig.call(b"get k\r\n"), b"VALUE k 9 20\r\n0                   \r\nEND\r\n");
    assert_eq!(rig.call(b"decr k 1\r\n"), b"0\r\n");
    assert_eq!(rig.call(b"incr k 18446744073709551615\r\n"), b"18446744073709551615\r\n");
    assert_eq!(
        rig.call(b"incr k 18446744073709551616\r\n"),
        b"CLIENT_ERROR invalid numeric delta argument\r\n"
    );
}
