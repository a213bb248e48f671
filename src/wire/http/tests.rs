#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;
use crate::limits;

mod again;
mod head;
mod refusals;
mod responses;

const MAX: usize = 1000;

/// A request of these header lines.
fn request(lines: &str) -> Vec<u8> {
    format!("POST /p HTTP/1.1\r\nHost: h\r\n{lines}\r\n").into_bytes()
}

fn fault(mut input: Vec<u8>) -> Option<HttpError> {
    RequestDecoder::default().step(&mut input, MAX).err()
}

/// Feeds `input` byte by byte, obeying `Need`, and returns path, body and bytes used.
fn trickle(input: &[u8]) -> (String, Vec<u8>, usize) {
    let mut buffer = Vec::new();
    let mut decoder = RequestDecoder::default();
    loop {
        match decoder.step(&mut buffer, MAX).unwrap() {
            Progress::Request(request, used) => {
                return (request.head.path.to_owned(), request.body.to_vec(), used);
            }
            Progress::Need(missing) | Progress::NeedAfterContinue(missing) => {
                assert!(
                    missing > 0 && buffer.len() + missing <= input.len(),
                    "{missing} after {}",
                    buffer.len()
                );
                buffer.push(input[buffer.len()]);
            }
        }
    }
}

type HeadRow = (
    &'static str,
    &'static str,
    &'static str,
    Option<&'static str>,
    bool,
    &'static str,
);

/// Name, bytes, path, query, whether the connection stays open, body.
const HEADS: &[HeadRow] = &[
    (
        "plain",
        "POST /v1/a%20b HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi",
        "/v1/a b",
        None,
        true,
        "hi",
    ),
    (
        "no length",
        "POST / HTTP/1.1\r\nHost: h\r\n\r\n",
        "/",
        None,
        true,
        "",
    ),
    (
        "query",
        "GET /p?list=true&x HTTP/1.1\r\nHost: h\r\n\r\n",
        "/p",
        Some("list=true&x"),
        true,
        "",
    ),
    (
        "empty query",
        "GET /p? HTTP/1.1\r\nHost: h\r\n\r\n",
        "/p",
        Some(""),
        true,
        "",
    ),
    (
        "URL",
        "GET HTTPS://h:1/p?q HTTP/1.1\r\nHost: h\r\n\r\n",
        "/p",
        Some("q"),
        true,
        "",
    ),
    (
        "star",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        "*",
        None,
        true,
        "",
    ),
    (
        "line feeds",
        "POST / HTTP/1.1\nHost: h\nContent-Length:1\n\nx",
        "/",
        None,
        true,
        "x",
    ),
    (
        "empty line before",
        "\r\nPOST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
        "/",
        None,
        true,
        "x",
    ),
    (
        "close",
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: foo, CLOSE\r\n\r\n",
        "/",
        None,
        false,
        "",
    ),
    ("1.0", "GET / HTTP/1.0\r\n\r\n", "/", None, false, ""),
    (
        "1.0 kept",
        "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
        "/",
        None,
        true,
        "",
    ),
    (
        "same length twice",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "/",
        None,
        true,
        "x",
    ),
];

#[test]
fn heads() {
    for &(name, bytes, path, query, keep_alive, body) in HEADS {
        let mut input = bytes.as_bytes().to_vec();
        let Progress::Request(request, used) =
            RequestDecoder::default().step(&mut input, MAX).unwrap()
        else {
            panic!("{name}");
        };
        assert_eq!(
            (
                request.head.path,
                request.head.query,
                request.head.keep_alive
            ),
            (path, query, keep_alive),
            "{name}"
        );
        assert_eq!(
            (request.body, used),
            (body.as_bytes(), bytes.len()),
            "{name}"
        );
        assert_eq!(
            trickle(bytes.as_bytes()),
            (path.to_owned(), body.into(), bytes.len()),
            "{name}"
        );
    }
}

#[test]
fn headers_that_matter() {
    for (line, wrap_ttl, form) in [
        ("X-Vault-Wrap-TTL: 60s\r\n", true, false),
        ("X-Vault-Wrap-TTL: 0\r\n", false, false),
        ("X-Vault-Wrap-TTL:\r\n", false, false),
        (
            "Content-Type: Application/X-WWW-Form-Urlencoded; charset=utf-8\r\n",
            false,
            true,
        ),
        ("Content-Type: application/json\r\n", false, false),
    ] {
        let mut input = request(line);
        let Progress::Request(request, _) =
            RequestDecoder::default().step(&mut input, MAX).unwrap()
        else {
            panic!("{line}");
        };
        assert_eq!(
            (request.head.wrap_ttl, request.head.form),
            (wrap_ttl, form),
            "{line}"
        );
    }
}

#[test]
fn chunked_bodies() {
    let head = request("Transfer-Encoding: Chunked\r\n");
    for (name, body, want) in [
        ("empty", "0\r\n\r\n", Some("")),
        (
            "two, extension, trailers",
            "2;a=\"b\"\r\nhe\r\n03 ; x\r\nllo\r\n0\r\nA: b\r\nC: d\r\n\r\n",
            Some("hello"),
        ),
        (
            "capital digits",
            "A\r\n0123456789\r\n0\r\n\r\n",
            Some("0123456789"),
        ),
        ("line feed only", "2\nhe\r\n0\r\n\r\n", None),
        ("sign", "+2\r\nhe\r\n0\r\n\r\n", None),
        ("prefix", "0x2\r\nhe\r\n0\r\n\r\n", None),
        ("no size", "\r\nhe\r\n0\r\n\r\n", None),
        ("huge", "fffffffffffffffff\r\n", None),
        ("longer than said", "2\r\nhel\r\n0\r\n\r\n", None),
        ("bad trailer", "0\r\nA b\r\n\r\n", None),
        ("garbage", "zz", None),
    ] {
        let input = [&head[..], body.as_bytes(), b"GET /next"].concat();
        let mut copy = input.clone();
        let mut decoder = RequestDecoder::default();
        match (decoder.step(&mut copy, MAX), want) {
            (Ok(Progress::Request(request, used)), Some(want)) => {
                assert_eq!(
                    (request.body, used),
                    (want.as_bytes(), head.len() + body.len()),
                    "{name}"
                );
                assert_eq!(trickle(&input).1, want.as_bytes(), "{name}");
            }
            (Err(_), None) => {}
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn pipelined_requests_follow_each_other() {
    let mut input = [request("Content-Length: 1\r\n"), b"a".to_vec(), request("")].concat();
    let mut decoder = RequestDecoder::default();
    let Progress::Request(first, used) = decoder.step(&mut input, MAX).unwrap() else {
        panic!()
    };
    assert_eq!(first.body, b"a");
    decoder.reset();
    let left = input.len() - used;
    assert!(
        matches!(decoder.step(&mut input[used..], MAX), Ok(Progress::Request(_, rest)) if rest == left)
    );
}

#[test]
fn continue_is_reported_once_and_only_when_the_body_is_missing() {
    let mut input = request("Expect: 100-Continue\r\nContent-Length: 2\r\n");
    let mut decoder = RequestDecoder::default();
    assert_eq!(
        decoder.step(&mut input, MAX),
        Ok(Progress::NeedAfterContinue(2))
    );
    assert_eq!(decoder.step(&mut input, MAX), Ok(Progress::Need(2)));
    input.push(b'a');
    assert_eq!(
        RequestDecoder::default().step(&mut input, MAX),
        Ok(Progress::Need(1))
    );
    let mut large = request("Expect: 100-continue\r\nContent-Length: 2000\r\n");
    assert_eq!(
        RequestDecoder::default().step(&mut large, MAX),
        Err(HttpError::BodyTooLarge)
    );
}

proptest! {
    #[test]
    fn what_the_client_writes_the_server_reads(body in proptest::collection::vec(any::<u8>(), 0..300), keep_alive: bool) {
        let mut bytes = Vec::new();
        let head = RequestHead { method: "PUT", target: "/v1/x?y=z", host: "h", headers: &[("A", "b")], keep_alive };
        write_request(&mut bytes, &head, &body);
        let (path, read, used) = trickle(&bytes);
        prop_assert_eq!((path.as_str(), read, used), ("/v1/x", body, bytes.len()));
    }

    #[test]
    fn mutated_requests_never_panic(at in 0usize..90, byte in any::<u8>(), split in 0usize..90) {
        let mut input = [request("Transfer-Encoding: chunked\r\nA: b\r\n"), b"5;x\r\nhello\r\n1\r\n!\r\n0\r\nT: t\r\n\r\n".to_vec()].concat();
        let len = input.len();
        input[at % len] = byte;
        let mut decoder = RequestDecoder::default();
        if decoder.step(&mut input[..split % len], MAX).is_ok_and(|progress| !matches!(progress, Progress::Request(..))) {
            let _ = decoder.step(&mut input, MAX);
        }
    }
}
