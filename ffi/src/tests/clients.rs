//! What clients that others wrote send, recorded by `fuzz/record.py`: the same bytes come back through the
//! C interface as through the Rust API, whole and byte by byte.

use super::server::through_rust;
use super::support::*;
use std::path::Path;

#[test]
fn recorded_clients_get_the_bytes_of_the_rust_api() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/memcached_clients");
    let mut paths: Vec<_> =
        std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    if cfg!(miri) {
        // Hours for all of them: the shortest three (the address sanitizer and valgrind see all, `ffi/check.sh`).
        paths.sort_by_key(|path| path.metadata().unwrap().len());
        paths.truncate(3);
    }
    let (mut clients, mut answered) = (Vec::new(), 0);
    for path in &paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        let (client, _) = name.rsplit_once('-').expect("CLIENT-HASH");
        clients.push(client);
        let stream = std::fs::read(path).unwrap();
        let expected = through_rust(&stream);
        answered += expected.len();
        for (pieces, sends) in
            [(&[usize::MAX][..], &[usize::MAX][..]), (&[1], &[1]), (&[7, 90], &[64])]
        {
            // Each on a server of its own, as in Rust.
            let server = memcached(&defaults());
            let out = server.open(1).drive(&stream, pieces, sends);
            assert!(told(&out) == told(&expected), "{name}, cut as {pieces:?}");
        }
    }
    if cfg!(miri) {
        assert!(answered > 0);
        return;
    }
    clients.dedup();
    for client in
        ["memccapable", "memcslap", "pylibmc", "pymemcache", "python-memcached", "aiomcache"]
    {
        assert!(clients.contains(&client), "no stream of {client}");
    }
    assert!(answered > 10_000, "{answered} bytes of answers");
}

/// Lines, without the statistics that tell of the cuts themselves.
fn told(out: &[u8]) -> Vec<&[u8]> {
    let cuts: [&[u8]; 3] = [b"STAT bytes_read ", b"STAT bytes_written ", b"STAT buffered_bytes "];
    let lines = out.split_inclusive(|b| *b == b'\n');
    lines.map(|line| cuts.into_iter().find(|cut| line.starts_with(cut)).unwrap_or(line)).collect()
}
