//! What llhttp in strict mode refuses, this codec refuses too: its cases, written anew. And what
//! it accepts but for good reasons this one does not.

use drywire::frame::Framing;
use drywire::frame::http::Http;

use super::harness::Event;
use super::http::check;

/// Whether the stream has an error.
fn refuses(wire: &[u8]) -> bool {
    let told = check(&Http::requests(), wire, 11);
    matches!(told.events.last(), Some(Event::Error(error)) if error.fatal)
}

fn with_fields(fields: &str, body: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}").into_bytes()
}

fn chunked(body: &str) -> Vec<u8> {
    with_fields("Transfer-Encoding: chunked\r\n", body)
}

#[test]
fn transfer_encodings_that_llhttp_refuses() {
    for (fields, why) in [
        ("Transfer-Encoding:\r\nContent-Length: 5\r\n", "empty, with a length"),
        ("Content-Length: 10\r\nTransfer-Encoding:\r\nTransfer-Encoding:\r\n", "empty, repeated"),
        ("Transfer-Encoding: pigeons\r\n", "unknown coding"),
        ("Transfer-Encoding: identity\r\nContent-Length: 5\r\n", "identity with a length"),
        ("Content-Length: 1\r\nTransfer-Encoding: identity\r\n", "a length with identity"),
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "a length with chunked"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", "chunked with a length"),
        ("Transfer-Encoding: chunked, deflate\r\n", "chunked not last"),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: deflate\r\n",
            "chunked not last, two fields",
        ),
        ("Transfer-Encoding: chunkedchunked\r\n", "not a coding"),
        ("Transfer-Encoding: chunked\r\n  abc\r\n", "folded"),
    ] {
        assert!(refuses(&with_fields(fields, "5\r\nhello\r\n0\r\n\r\n")), "{why}");
    }
}

#[test]
fn content_lengths_that_llhttp_refuses() {
    for (fields, why) in [
        ("Content-Length: 1000000000000000000000\r\n", "overflow"),
        ("Content-Length: 1\r\nContent-Length: 2\r\n", "two"),
        ("Content-Length: 4 2\r\n", "a space inside"),
        ("Content-Length: 13 37\r\n", "two numbers"),
        ("Content-Length:\r\n", "empty"),
        ("Content-Length: -1\r\n", "negative"),
        ("Content-Length: +1\r\n", "a sign"),
        ("Content-Length: 1,1\r\n", "a list"),
        ("Content-Length: 0x1\r\n", "a prefix"),
        ("Content\rLength: 3\r\n", "CR for a dash"),
    ] {
        assert!(refuses(&with_fields(fields, "abc")), "{why}");
    }
}

#[test]
fn chunks_that_llhttp_refuses() {
    for (body, why) in [
        ("2 erfrferferf\r\naa\r\n0 rrrr\r\n\r\n", "no semicolon before an extension"),
        ("2;\r\naa\r\n0\r\n\r\n", "nothing after the semicolon"),
        ("5;a=\"abc\";b=\"def; ghi\r\nhello\r\n0\r\n\r\n", "an open quote"),
        ("3\r\nfoo\r\n\r\n", "no last chunk"),
        ("3 \n  \r\nfoo\r\n\r\n", "bytes after the size"),
        ("5\r\r;ABCD\r\n34\r\nE\r\n0\r\n\r\n", "CR CR after the size"),
        ("5\r\nABCDE0\r\n\r\n", "no CR LF after the data"),
        ("a \r\n0123456789\r\n0\r\n\r\n", "a space after the size"),
        ("1\nA\n0\n\n", "LF only"),
        ("1\r\nA\n0\r\n\r\n", "LF after the data"),
        ("1\r\nAX\r\n0\r\n\r\n", "more data than announced"),
        ("g\r\n", "not a digit"),
        ("-1\r\n", "a sign"),
        ("0x1\r\nA\r\n0\r\n\r\n", "a prefix"),
        ("\r\n", "no size"),
        (";x\r\n", "no size, an extension"),
        ("1;a\nb\r\nA\r\n0\r\n\r\n", "LF inside an extension"),
        ("fffffffffffffffff\r\n", "overflow"),
        ("0\r\nX\r\n\r\n", "a trailer without a colon"),
        ("0\r\nX : 1\r\n\r\n", "whitespace before a trailer's colon"),
        ("0\r\nX: 1\n\r\n", "LF after a trailer"),
    ] {
        assert!(refuses(&chunked(body)), "{why}");
    }
}

#[test]
fn heads_that_llhttp_refuses() {
    for (head, why) in [
        ("GET / ICE/1.0\r\nHost: a\r\n\r\n", "another protocol"),
        ("GET / IHTTP/1.0\r\nHost: a\r\n\r\n", "not quite the protocol"),
        ("PUT / RTSP/1.0\r\nHost: a\r\n\r\n", "RTSP"),
        ("GET / HTTP/5.6\r\n\r\n", "a version there is not"),
        ("GET / HTTP/1.1\r\nFoo: 1\rBar: 2\r\n\r\n", "CR between fields"),
        (
            "POST / HTTP/1.1\r\nx:x\nTransfer-Encoding: chunked\r\n\r\n1\r\nA\r\n0\r\n\r\n",
            "LF between fields",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\n\rZGET /evil: HTTP/1.1\r\nHost: a\r\n\r\n",
            "CR, then another request",
        ),
        ("POST / HTTP/1.1\r\nx:\rTransfer-Encoding: chunked\r\n\r\n", "CR in an empty value"),
        ("POST / HTTP/1.1\r\nx:\nTransfer-Encoding: chunked\r\n\r\n", "LF in an empty value"),
        ("GET / HTTP/1.1\r\nFo@: Failure\r\n\r\n", "a name that is no token"),
        ("GET / HTTP/1.1\r\nFoo\x01test: Bar\r\n\r\n", "a control byte in a name"),
        ("GET / HTTP/1.1\r\n: Bar\r\n\r\n", "no name"),
        ("GET / HTTP/1.1\r\nname\r\n : value\r\n\r\n", "a folded name"),
        ("GET / HTTP/1.1\r\n Host: foo\r\n\r\n", "a space after the start line"),
        ("GET / HTTP/1.1\r\nFoo: bar\r\n Content-Length: 38\r\n\r\n", "a folded value"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "a space before the colon"),
        ("POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n1\nA\n0\n\n", "LF only"),
        ("GET / HTTP/1.1\r\nx: a\0b\r\n\r\n", "NUL in a value"),
    ] {
        assert!(refuses(head.as_bytes()), "{why}");
    }
}

/// llhttp takes these; they are refused here.
#[test]
fn what_only_this_codec_refuses() {
    for (wire, why) in [
        (
            with_fields("Transfer-Encoding: deflate, chunked\r\n", "0\r\n\r\n"),
            "a coding we cannot undo",
        ),
        (
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
            "chunked in 1.0",
        ),
        (chunked("00000000000000001\r\nA\r\n0\r\n\r\n"), "more than 16 digits"),
        (chunked("0\r\nContent-Length: 5\r\n\r\n"), "a length in the trailers"),
        (chunked("0\r\nHost: b\r\n\r\n"), "a host in the trailers"),
    ] {
        assert!(refuses(&wire), "{why}");
    }
}

/// Neither side refuses these.
#[test]
fn what_both_accept() {
    for (wire, why) in [
        (chunked("a\r\n0123456789\r\n0\r\n\r\n"), "lower case"),
        (chunked("A\r\n0123456789\r\n0\r\n\r\n"), "upper case"),
        (chunked("5\r\nhello\r\n6\r\n world\r\n000\r\n\r\n"), "zeros"),
        (chunked("5\r\nhello\r\n0\r\nVary: *\r\nX-Sum: 1\r\n\r\n"), "trailers"),
        (chunked("5;a;b=c;d=\"e \\\"f\\\"; g\"\r\nhello\r\n0\r\n\r\n"), "extensions"),
        (with_fields("conTENT-Length: 003\r\n", "abc"), "zeros in a length, mixed case"),
        (with_fields("Content-Length:  3 \r\n", "abc"), "spaces around a length"),
        (with_fields("Transfer-Encoding: Chunked\r\n", "0\r\n\r\n"), "mixed case"),
    ] {
        assert!(!refuses(&wire), "{why}");
        assert!(Http::requests().max_pending() >= wire.len());
    }
}
