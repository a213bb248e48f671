//! Requests that are refused: those that two readers could take differently, and those over a limit.

use super::*;

#[test]
fn messages_with_two_readings_are_refused() {
    for (name, lines) in [
        (
            "both lengths",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        ),
        (
            "differing lengths",
            "Content-Length: 1\r\nContent-Length: 2\r\n",
        ),
        ("list of lengths", "Content-Length: 1, 1\r\n"),
        ("signed length", "Content-Length: +1\r\n"),
        ("empty length", "Content-Length:\r\n"),
        (
            "coding twice",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ),
        ("folded", "A: b\r\n c: d\r\n"),
        ("space before colon", "Content-Length : 1\r\n"),
        ("NUL", "A: b\0\r\n"),
        ("bare carriage return", "A: b\rContent-Length: 1\r\n"),
        ("no colon", "Abc\r\n"),
        ("no name", ": b\r\n"),
        ("two hosts", "Host: x\r\n"),
    ] {
        assert!(
            matches!(fault(request(lines)), Some(HttpError::Malformed(_))),
            "{name}"
        );
    }
}

#[test]
fn other_refusals() {
    let lines = |line: &str| request(line);
    let start = |line: &str| format!("{line}\r\nHost: h\r\n\r\n").into_bytes();
    for (name, input, status) in [
        ("gzip", lines("Transfer-Encoding: gzip, chunked\r\n"), 501),
        ("expectation", lines("Expect: magic\r\n"), 417),
        (
            "length over the limit",
            lines("Content-Length: 1001\r\n"),
            413,
        ),
        (
            "length of many digits",
            lines("Content-Length: 99999999999999999999999\r\n"),
            413,
        ),
        (
            "chunk over the limit",
            [lines("Transfer-Encoding: chunked\r\n"), b"3e9\r\n".to_vec()].concat(),
            413,
        ),
        (
            "too many headers",
            lines(&"A: b\r\n".repeat(limits::HTTP_HEADERS_MAX)),
            431,
        ),
        (
            "head without end",
            vec![b'a'; limits::HTTP_HEAD_BYTES_MAX],
            431,
        ),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\n".to_vec(), 505),
        ("TLS", b"\x16\x03\x01".to_vec(), 400),
        ("no version", start("GET /"), 400),
        ("space in target", start("GET /a b HTTP/1.1"), 400),
        ("two spaces", start("GET  HTTP/1.1"), 400),
        ("relative target", start("GET a HTTP/1.1"), 400),
        ("no host", b"GET / HTTP/1.1\r\n\r\n".to_vec(), 400),
        (
            "chunked 1.0",
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
            400,
        ),
    ] {
        assert_eq!(fault(input).map(HttpError::status), Some(status), "{name}");
    }
}
