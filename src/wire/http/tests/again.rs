//! A parked request is decoded again when it goes on.

use super::super::*;

#[test]
fn a_whole_request_is_the_same_however_often_it_is_asked_for() {
    for (name, request) in [
        (
            "length",
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            "chunks",
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        ),
        (
            "chunks and trailers",
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
        ),
    ] {
        for behind in ["", "GET / HTTP/1.1\r\n", "Looks: like a trailer\r\n\r\n"] {
            let mut input = format!("{request}{behind}").into_bytes();
            let mut decoder = RequestDecoder::default();
            for round in 0..3 {
                match decoder.step(&mut input, 1024) {
                    Ok(Progress::Request(found, used)) => {
                        assert_eq!(
                            (found.body, used),
                            (&b"hello"[..], request.len()),
                            "{name}, {round}"
                        );
                    }
                    other => panic!("{name}, round {round}: {other:?}"),
                }
            }
        }
    }
}
