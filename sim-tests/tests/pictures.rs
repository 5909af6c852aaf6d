//! Pictures hold what happened: checked on one recorded run of memcached.

use drywire_sim::decide::{Decider, Decisions, Key};
use drywire_sim::{Experiment, Trace, What, draw, memcache};
use std::collections::BTreeMap;
use std::process::Command;

/// A small world, written by hand: one caller, a set and a get, the get cut in two.
fn world() -> Trace {
    let mut decisions = Decisions::new();
    let mut decide = |site: &str, op: u32, nth: u32, value| {
        decisions.insert((site.to_owned(), Key { who: 0, op, nth }), value);
    };
    decide("op.kind", 1, 0, 1);
    decide("op.size", 1, 0, 20);
    decide("op.kind", 2, 0, 3);
    decide("fault.cut", 2, 2, 3);
    let report = memcache::trial().run(Decider::script(&decisions), true);
    assert_eq!(report.violation, None);
    report.trace.expect("watched")
}

#[test]
fn the_text_tells_the_story() {
    let text = draw::text(&world());
    for part in [
        "set k0 0 0 20\\r\\n<0.1>",
        "STORED\\r\\n",
        "⚡ cut (3)",
        "\"get\"",
        "\" k0\\r\\n\"",
        "END",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

#[test]
fn the_page_is_whole_and_needs_nothing_else() {
    let trace = world();
    let page = draw::html(&trace, "a <test>", "story & more");
    assert!(page.contains("a &lt;test&gt;") && page.contains("story &amp; more"));
    for outside in ["http://", "https://", "src=", "@import", "<script"] {
        let allowed = page.matches("http://www.w3.org/2000/svg").count();
        let found = page.matches(outside).count();
        assert_eq!(found, if outside == "http://" { allowed } else { 0 }, "{outside}");
    }
    let sent = trace.events.iter().filter(|e| matches!(e.what, What::Sent { .. })).count();
    assert_eq!(page.matches("class='chunk").count(), sent, "an arrow for each chunk");
    assert!(page.contains("class=fault") && page.contains("class=fill"));
    for tag in ["svg", "text", "details", "style", "title", "defs", "marker", "pre"] {
        let opened =
            page.matches(&format!("<{tag} ")).count() + page.matches(&format!("<{tag}>")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

/// The payloads of the capture, read with a reader of its own, by (source, destination) port.
fn payloads(file: &[u8]) -> BTreeMap<(u16, u16), Vec<u8>> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes"));
    let mut streams = BTreeMap::<_, Vec<u8>>::new();
    let mut at = 0;
    while at < file.len() {
        let (kind, len) = (word(at), word(at + 4) as usize);
        assert_eq!(word(at + len - 4) as usize, len, "a block says its length twice");
        if kind == 6 {
            let packet = &file[at + 28..at + 28 + word(at + 20) as usize];
            assert_eq!(usize::from(packet[2]) << 8 | usize::from(packet[3]), packet.len());
            let tcp = &packet[20..];
            let port = |i: usize| u16::from_be_bytes([tcp[i], tcp[i + 1]]);
            streams.entry((port(0), port(2))).or_default().extend_from_slice(&tcp[20..]);
        }
        at += len;
    }
    streams
}

#[test]
fn the_capture_holds_every_byte() {
    let streams = payloads(&draw::pcapng(&world(), 11211));
    let asked = &streams[&(20000, 11211)];
    assert!(asked.starts_with(b"set k0 0 0 20\r\n<0.1>"));
    assert!(asked.ends_with(b"\r\nget k0\r\n"));
    let answered = String::from_utf8_lossy(&streams[&(11211, 20000)]).into_owned();
    assert!(answered.starts_with("STORED\r\nVALUE k0 0 20\r\n<0.1>"), "{answered}");
    assert!(answered.ends_with("\r\nEND\r\n"));
}

/// Where tshark is installed, it reads the capture, finds no bad checksum and no hole in a
/// stream, and dissects memcached.
#[test]
fn tshark_reads_the_capture() {
    if Command::new("tshark").arg("--version").output().is_err() {
        println!("tshark is not installed: only our own reader has looked at the capture");
        return;
    }
    let path = std::env::temp_dir().join(format!("drywire-{}.pcapng", std::process::id()));
    std::fs::write(&path, draw::pcapng(&world(), 11211)).expect("a temporary file");
    let tshark = |more: &[&str]| {
        let out = Command::new("tshark").arg("-r").arg(&path).args(more).output().expect("tshark");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let sums = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"];
    let wrong = "ip.checksum.status == \"Bad\" || tcp.checksum.status == \"Bad\" || \
                 tcp.analysis.lost_segment || tcp.analysis.out_of_order || \
                 tcp.analysis.ack_lost_segment || _ws.malformed";
    let bad = tshark(&[&sums[..], &["-Y", wrong]].concat());
    let commands = tshark(&["-Y", "memcache", "-T", "fields", "-e", "memcache.command"]);
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(bad, "");
    assert!(commands.contains("set") && commands.contains("get"), "{commands}");
}
