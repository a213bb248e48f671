//! Requests and responses: however the bytes are cut, the reading is the same.

use std::fmt::Write as _;

use kms::wire::http::{
    BodyForm, Connection, Head, HttpError, Method, Namespace, PathForm, Progress, RequestDecoder,
    RequestHead, ResponseDecoder, ResponseHead, ResponseProgress, begin_response, end_response,
    write_request,
};
use kms::wire::put_decimal;

/// Small, so that mutants reach it.
const BODY_BYTES_MAX: usize = 4096;
/// Longer inputs are not fed byte by byte.
const TRICKLE_BYTES_MAX: usize = 1024;

/// What a decoder came to, owned.
#[derive(Debug, Eq, PartialEq)]
enum Came {
    To(String, usize),
    Short,
    Refused,
}

/// Pipelined requests.
pub fn request(data: &[u8]) {
    let mut rest = data;
    while let Came::To(_, used) = check_request(rest) {
        rest = &rest[used..];
    }
}

fn check_request(data: &[u8]) -> Came {
    let whole = step_request(&mut RequestDecoder::default(), &mut data.to_vec());
    if let Came::To(_, used) = whole {
        assert!(
            (1..=data.len()).contains(&used),
            "used {used} of {}",
            data.len()
        );
        round_trip(&data[..used]);
    }
    if data.len() <= TRICKLE_BYTES_MAX {
        let (mut decoder, mut seen) = (RequestDecoder::default(), Vec::new());
        let mut came = Came::Short;
        for &byte in data {
            seen.push(byte);
            came = step_request(&mut decoder, &mut seen);
            if came != Came::Short {
                break;
            }
        }
        assert_eq!(came, whole, "in single bytes, and whole");
    }
    whole
}

fn step_request(decoder: &mut RequestDecoder, input: &mut [u8]) -> Came {
    let came = |progress: Result<Progress<'_>, HttpError>| match progress {
        Ok(Progress::Request(request, used)) => {
            assert!(request.body.len() <= BODY_BYTES_MAX);
            Some(Came::To(format!("{request:?}"), used))
        }
        Ok(Progress::Need(more)) => {
            assert_ne!(more, 0);
            Some(Came::Short)
        }
        Ok(Progress::NeedAfterContinue(more)) => {
            assert_ne!(more, 0);
            None
        }
        Err(error) => {
            assert!((400..=599).contains(&error.status()) && !error.to_string().is_empty());
            Some(Came::Refused)
        }
    };
    came(decoder.step(input, BODY_BYTES_MAX)).unwrap_or_else(|| {
        let again = decoder.step(input, BODY_BYTES_MAX);
        assert!(
            !matches!(again, Ok(Progress::NeedAfterContinue(_))),
            "100 Continue twice"
        );
        came(again).expect("just ruled out")
    })
}

/// The headers that make a head what it is.
fn headers_of<'a>(head: &Head<'a>) -> Vec<(&'static str, &'a str)> {
    let mut headers = Vec::new();
    if head.wrap_ttl {
        headers.push(("X-Vault-Wrap-TTL", "60"));
    }
    if head.server_timing {
        headers.push(("X-KMS-Server-Timing", "1"));
    }
    match head.namespace {
        Namespace::Absent => {}
        Namespace::Root => headers.push(("X-Vault-Namespace", "root")),
        Namespace::Other => headers.push(("X-Vault-Namespace", "n")),
    }
    if let Some(kind) = head.content_type {
        headers.push(("Content-Type", kind));
    }
    headers
}

/// A target that decodes to `path`: every byte but the first slash escaped.
fn escape_all(path: &str) -> String {
    let tail = path.strip_prefix('/').expect("only a path is decoded");
    tail.bytes().fold("/".to_owned(), |mut target, byte| {
        write!(target, "%{byte:02x}").expect("a String takes all");
        target
    })
}

/// What was read, written by our client and read again, is the same.
fn round_trip(data: &[u8]) {
    let mut read = data.to_vec();
    let mut decoder = RequestDecoder::default();
    let mut progress = decoder.step(&mut read, BODY_BYTES_MAX);
    if matches!(progress, Ok(Progress::NeedAfterContinue(_))) {
        panic!("a whole request is not waited for");
    }
    let Ok(Progress::Request(request, _)) = &mut progress else {
        panic!("{progress:?} of a request read before");
    };
    let head = &request.head;
    let Some(method) = name_of(head.method) else {
        return;
    };
    let path = match head.path_form {
        PathForm::Decoded => escape_all(head.path),
        _ => head.path.to_owned(),
    };
    let target = head
        .query
        .map_or(path.clone(), |query| format!("{path}?{query}"));
    let headers = headers_of(head);
    let mut same = request.clone();
    same.head.http_1_1 = true;
    let keep_alive = head.keep_alive;
    let head = RequestHead {
        method,
        target: &target,
        host: "k",
        headers: &headers,
        keep_alive,
    };
    let mut written = Vec::new();
    write_request(&mut written, &head, same.body);
    let len = written.len();
    let again = RequestDecoder::default()
        .step(&mut written, BODY_BYTES_MAX)
        .map(|progress| format!("{progress:?}"));
    // Spelling the head in full can take it over its limit.
    if again != Err(HttpError::HeadTooLarge) {
        assert_eq!(again, Ok(format!("{:?}", Progress::Request(same, len))));
    }
}

fn name_of(method: Method) -> Option<&'static str> {
    Some(match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::List => "LIST",
        Method::Patch => "PATCH",
        Method::Options => "OPTIONS",
        Method::Scan => "SCAN",
        _ => return None,
    })
}

/// One answer to one request; the first byte says whether it was a HEAD and whether the peer closed.
pub fn response(data: &[u8]) {
    let Some((&how, data)) = data.split_first() else {
        return;
    };
    let (head_only, ended) = (how & 1 != 0, how & 2 != 0);
    let step = |decoder: &mut ResponseDecoder, input: &mut [u8], ended| match decoder.step(
        input,
        BODY_BYTES_MAX,
        ended,
    ) {
        Ok(ResponseProgress::Response(response, used)) => {
            assert!(used <= data.len() && response.body.len() <= BODY_BYTES_MAX);
            Came::To(format!("{response:?}"), used)
        }
        Ok(ResponseProgress::Need(more)) => {
            assert!(more > 0 && !ended);
            Came::Short
        }
        Ok(ResponseProgress::NeedEnd) => {
            assert!(!ended);
            Came::Short
        }
        Err(_) => Came::Refused,
    };
    let whole = step(
        &mut ResponseDecoder::new(head_only),
        &mut data.to_vec(),
        ended,
    );
    if data.len() > TRICKLE_BYTES_MAX {
        return;
    }
    let (mut decoder, mut seen) = (ResponseDecoder::new(head_only), Vec::new());
    let mut came = Came::Short;
    for &byte in data {
        seen.push(byte);
        came = step(&mut decoder, &mut seen, false);
        if came != Came::Short {
            break;
        }
    }
    if came == Came::Short {
        came = step(&mut decoder, &mut seen, ended);
    }
    assert_eq!(came, whole, "in single bytes, and whole");
}

const HEAD: &str = " HTTP/1.1\r\nHost: kms\r\n";

/// Requests that are in order.
pub fn request_seeds() -> Vec<Vec<u8>> {
    let post = |headers: &str, body: &str| {
        format!("POST /v1/transit/decrypt/demo{HEAD}{headers}\r\n{body}")
    };
    let chunked = "Transfer-Encoding: chunked\r\n";
    [
        format!("GET /v1/sys/health?a=b{HEAD}\r\n"),
        post("Content-Length: 2\r\n", "{}"),
        post("Expect: 100-continue\r\nContent-Length: 2\r\n", "{}"),
        post(chunked, "2;x=y\r\n{}\r\n1\r\n \r\n0\r\nTrailer: 1\r\n\r\n"),
        post("Connection: close\r\nX-Vault-Wrap-TTL: 60\r\n", ""),
        post(
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n",
            "a=b",
        ),
        "\r\nPUT / HTTP/1.0\nConnection: keep-alive\n\n".to_owned(),
        format!("HEAD /v1/sys/health{HEAD}\r\nGET /2{HEAD}\r\n"),
        format!(
            "{}{}",
            post(chunked, "1\r\n \r\n0\r\n\r\n"),
            post("Content-Length: 1\r\n", "x")
        ),
    ]
    .map(String::into_bytes)
    .to_vec()
}

/// Answers that are in order.
pub fn response_seeds() -> Vec<Vec<u8>> {
    let mut ours = vec![0];
    let date = b"Thu, 01 Jan 1970 00:00:00 GMT";
    let (content_type, retry_after_s) = (ResponseHead::JSON, Some(1));
    let head = ResponseHead {
        status: 503,
        connection: Connection::Silent,
        body: BodyForm::Sent,
        retry_after_s,
        server_timing: None,
        stale_items: 0,
        location: None,
        content_type,
        date,
    };
    let open = begin_response(&mut ours, &head);
    put_decimal(&mut ours, 12345);
    end_response(&mut ours, open);
    let texts = [
        "\x01HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        "\x00HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        "\x00HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "\x02HTTP/1.0 200 OK\r\nRetry-After: 7\r\n\r\nto the end",
        "\x00HTTP/1.1 204 No Content\r\n\r\n",
    ];
    let mut all = vec![ours];
    all.extend(texts.map(|text| text.as_bytes().to_vec()));
    all
}

/// Words of the language.
pub const TOKENS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b": ",
    b"Content-Length: 1\r\n",
    b"Content-Length: ",
    b"Connection: close\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"0\r\n\r\n",
    b"POST",
    b"GET",
    b"HEAD",
    b"?",
    b"%00",
    b"\t",
    b"4096",
    b"4097",
    b"18446744073709551616",
];
