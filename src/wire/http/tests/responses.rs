//! Answers: as we write them, and as our clients read them.

use proptest::prelude::*;

use super::super::*;
use super::MAX;
use crate::wire::Out as _;

fn answered(status: u16, form: BodyForm, connection: Connection, body: &[u8]) -> Vec<u8> {
    let date = b"Mon, 23 Nov 2026 18:28:34 GMT";
    let content_type = ResponseHead::JSON;
    let retry_after_s = (status == 503).then_some(7);
    let mut out = Vec::new();
    let open = begin_response(
        &mut out,
        &ResponseHead {
            status,
            connection,
            body: form,
            retry_after_s,
            server_timing: None,
            stale_items: 0,
            location: None,
            content_type,
            date,
        },
    );
    out.put(body);
    end_response(&mut out, open);
    out
}

#[test]
fn answers_carry_openbaos_headers() {
    let want = "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Type: application/json\r\n\
        Strict-Transport-Security: max-age=31536000; includeSubDomains\r\nDate: Mon, 23 Nov 2026 18:28:34 GMT\r\n\
        Content-Length:          3\r\n\r\nabc";
    assert_eq!(
        String::from_utf8(answered(200, BodyForm::Sent, Connection::Silent, b"abc")).unwrap(),
        want
    );
    let closed =
        String::from_utf8(answered(503, BodyForm::Sent, Connection::Close, b"abc")).unwrap();
    assert!(closed.starts_with("HTTP/1.1 503 Service Unavailable\r\nCache-Control: no-store\r\n"));
    assert!(
        closed.ends_with(
            "Content-Length:          3\r\nRetry-After: 7\r\nConnection: close\r\n\r\nabc"
        )
    );
    let head = String::from_utf8(answered(
        200,
        BodyForm::LengthOnly,
        Connection::Silent,
        b"abc",
    ))
    .unwrap();
    assert!(head.ends_with("Content-Length:          3\r\n\r\n"));
    let untold = answered(200, BodyForm::Untold, Connection::KeepAlive, b"abc");
    let untold = String::from_utf8(untold).unwrap();
    assert!(untold.ends_with(" GMT\r\nConnection: keep-alive\r\n\r\n"));
    assert!(
        !String::from_utf8(answered(204, BodyForm::Sent, Connection::Silent, b""))
            .unwrap()
            .contains("Content-Length")
    );
}

#[test]
fn server_timing_tells_what_applies_in_milliseconds() {
    let told = |queue_us, cache_hit, hsm_us| ServerTiming {
        queue_us,
        cache_hit,
        hsm_us,
    };
    for (name, timing, want) in [
        ("nothing", told(None, None, None), None),
        (
            "a hit",
            told(None, Some(true), None),
            Some("cache;desc=hit;dur=0.0"),
        ),
        (
            "a miss",
            told(Some(1200), Some(false), Some(1_003_456)),
            Some("queue;dur=1.200, cache;desc=miss;dur=0.0, hsm;dur=1003.456"),
        ),
        (
            "a wrap",
            told(Some(7), None, Some(0)),
            Some("queue;dur=0.007, hsm;dur=0.000"),
        ),
    ] {
        let mut out = Vec::new();
        let head = ResponseHead {
            status: 200,
            connection: Connection::Silent,
            body: BodyForm::Sent,
            retry_after_s: None,
            server_timing: Some(timing),
            stale_items: 0,
            location: None,
            content_type: ResponseHead::JSON,
            date: b"Mon, 23 Nov 2026 18:28:34 GMT",
        };
        let open = begin_response(&mut out, &head);
        end_response(&mut out, open);
        let text = String::from_utf8(out).unwrap();
        let found = text
            .lines()
            .find_map(|line| line.strip_prefix("Server-Timing: "));
        assert_eq!(found, want, "{name}");
        assert!(
            text.ends_with("\r\n\r\n") && text.matches("\r\n\r\n").count() == 1,
            "{name}"
        );
    }
}

/// Name, bytes, whether they answer HEAD; status, whether the connection stays open, body.
type Case = (
    &'static str,
    &'static str,
    bool,
    Option<(u16, bool, &'static str)>,
);

const ANSWERS: &[Case] = &[
    (
        "length",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        false,
        Some((200, true, "hi")),
    ),
    (
        "no reason",
        "HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n",
        false,
        Some((404, true, "")),
    ),
    (
        "chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        false,
        Some((200, true, "hi")),
    ),
    (
        "until the end",
        "HTTP/1.0 400 Bad Request\r\n\r\nhi",
        false,
        Some((400, false, "hi")),
    ),
    (
        "HEAD",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        true,
        Some((200, true, "")),
    ),
    (
        "no content",
        "HTTP/1.1 204 No Content\r\n\r\n",
        false,
        Some((204, true, "")),
    ),
    (
        "interim",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
        false,
        Some((200, false, "hi")),
    ),
    ("garbage", "SSH-2.0-x\r\n\r\n", false, None),
];

#[test]
fn answers_that_clients_meet() {
    for &(name, bytes, head_only, want) in ANSWERS {
        let mut input = bytes.as_bytes().to_vec();
        let got = ResponseDecoder::new(head_only)
            .step(&mut input, MAX, true)
            .ok()
            .map(|progress| match progress {
                ResponseProgress::Response(response, used) => {
                    assert_eq!(used, bytes.len(), "{name}");
                    (
                        response.status,
                        response.keep_alive,
                        String::from_utf8(response.body.to_vec()).unwrap(),
                    )
                }
                other => panic!("{name}: {other:?}"),
            });
        assert_eq!(
            got,
            want.map(|(status, keep_alive, body)| (status, keep_alive, body.to_owned())),
            "{name}"
        );
    }
    let mut cut = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh".to_vec();
    assert_eq!(
        ResponseDecoder::new(false).step(&mut cut, MAX, false),
        Ok(ResponseProgress::Need(1))
    );
    assert!(
        ResponseDecoder::new(false)
            .step(&mut cut, MAX, true)
            .is_err()
    );
    let mut open = b"HTTP/1.0 200 OK\r\n\r\nh".to_vec();
    assert_eq!(
        ResponseDecoder::new(false).step(&mut open, MAX, false),
        Ok(ResponseProgress::NeedEnd)
    );
}

proptest! {
    #[test]
    fn what_the_server_writes_the_client_reads(body in proptest::collection::vec(any::<u8>(), 0..300), keep_alive: bool) {
        let mut bytes = answered(503, BodyForm::Sent, Connection::of(keep_alive, true), &body);
        for len in 0..bytes.len() {
            let step = ResponseDecoder::new(false).step(&mut bytes[..len], MAX, false).is_ok_and(
                |progress| matches!(progress, ResponseProgress::Need(missing) if missing > 0));
            prop_assert!(step, "{}", len);
        }
        let all = bytes.len();
        let want = Response { status: 503, keep_alive, retry_after_s: Some(7), body: &body };
        prop_assert_eq!(ResponseDecoder::new(false).step(&mut bytes, MAX, false), Ok(ResponseProgress::Response(want, all)));
    }
}
