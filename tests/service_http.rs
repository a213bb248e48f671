//! The client API to the letter: headers, keys, methods, paths, framing (openbao-transit.md 2 and 3).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use service_support::transit::{data_of, errors, site};
use service_support::until;

#[test]
fn every_answer_has_openbaos_headers_and_no_others() {
    let (running, mut client) = site();
    for (name, method, path, body) in [
        (
            "success",
            "POST",
            "/v1/transit/encrypt/k1",
            r#"{"plaintext":"aGk="}"#,
        ),
        ("read", "GET", "/v1/transit/keys/k1", ""),
        ("refusal", "POST", "/v1/transit/decrypt/k1", "{}"),
        ("nothing there", "GET", "/v1/transit/keys/nope", ""),
        (
            "batch with failures",
            "POST",
            "/v1/transit/encrypt/k1",
            r#"{"batch_input":[{"plaintext":"!"}]}"#,
        ),
    ] {
        client.ask(method, path, body);
        let answer = client.answer();
        let names: Vec<&str> = answer
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let want = [
            "Cache-Control",
            "Content-Type",
            "Strict-Transport-Security",
            "Date",
            "Content-Length",
        ];
        assert_eq!(names, want, "{name}");
        assert_eq!(answer.header("Cache-Control"), Some("no-store"), "{name}");
        assert_eq!(
            answer.header("Content-Type"),
            Some("application/json"),
            "{name}"
        );
        let hsts = answer.header("Strict-Transport-Security");
        assert_eq!(hsts, Some("max-age=31536000; includeSubDomains"), "{name}");
        let date = answer.header("Date").unwrap();
        assert!(date.len() == 29 && date.ends_with(" GMT"), "{name}: {date}");
    }
    running.stop();
}

#[test]
fn keys_are_created_and_read() {
    let (running, mut client) = site();
    for (name, method, path, body) in [
        ("create", "POST", "/v1/transit/keys/new", ""),
        ("again", "PUT", "/v1/transit/keys/new", "null"),
        (
            "again with a type",
            "POST",
            "/v1/transit/keys/new",
            r#"{"type":"aes256-gcm96"}"#,
        ),
        ("read", "GET", "/v1/transit/keys/new", ""),
    ] {
        client.ask(method, path, body);
        let answer = client.answer();
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
        let (data, warnings) = data_of(name, &answer);
        let (front, rest) = data.split_once("\"keys\":{\"1\":").unwrap();
        let (_, back) = rest.split_once('}').unwrap();
        assert_eq!(
            front,
            r#"{"allow_plaintext_backup":false,"auto_rotate_period":0,"deletion_allowed":false,"derived":false,"exportable":false,"imported_key":false,"#,
            "{name}"
        );
        assert!(back.starts_with(r#","latest_version":1,"min_available_version":0,"min_decryption_version":1,"min_encryption_version":0,"name":"new","soft_deleted":false,"supports_decryption":true,"#), "{name}: {back}");
        assert_eq!(warnings, "null", "{name}");
    }
    client.ask("GET", "/v1/transit/keys/nope", "");
    let answer = client.answer();
    assert_eq!((answer.status, answer.body), (404, errors("")));
    running.stop();
}

#[test]
fn only_who_may_create_keys_does() {
    let (running, mut client) = site();
    let mut device = running.device();
    let denied = "1 error occurred:\\n\\t* permission denied\\n\\n";
    for (name, method, path, body) in [
        (
            "a device creates nothing",
            "POST",
            "/v1/transit/keys/mine",
            "",
        ),
        (
            "nor by wrapping",
            "POST",
            "/v1/transit/encrypt/mine",
            r#"{"plaintext":"aGk="}"#,
        ),
    ] {
        device.ask(method, path, body);
        let answer = device.answer();
        assert_eq!(
            (answer.status, answer.body),
            (403, errors(denied)),
            "{name}"
        );
    }
    assert_eq!(
        client
            .post("/v1/transit/encrypt/upserted", r#"{"plaintext":"aGk="}"#)
            .status,
        200,
        "a creator does"
    );
    running.stop();
}

const OPERATION: &str = "1 error occurred:\\n\\t* unsupported operation\\n\\n";
const PATH: &str = "1 error occurred:\\n\\t* unsupported path\\n\\n";

const REFUSED: &[(&str, &str, u16, &str)] = &[
    ("GET", "/v1/transit/decrypt/k1", 405, OPERATION),
    ("DELETE", "/v1/transit/encrypt/k1", 405, OPERATION),
    (
        "PATCH",
        "/v1/transit/encrypt/k1",
        400,
        "mime: no media type",
    ),
    (
        "OPTIONS",
        "/v1/transit/encrypt/k1",
        400,
        "cannot handle internal-only request operation",
    ),
    ("FOO", "/v1/transit/encrypt/k1", 405, ""),
    ("LIST", "/v1/transit/encrypt/k1", 404, PATH),
    ("POST", "/v1/transit/foo/k1", 404, PATH),
    ("POST", "/v1/transit/decrypt/a/b", 404, PATH),
    ("POST", "/v1/transit/decrypt", 404, PATH),
    (
        "POST",
        "/v1/transit/decrypt/k1/",
        400,
        "cannot write to a path ending in '/'",
    ),
    (
        "POST",
        "/v1/nomount/decrypt/k1",
        404,
        "no handler for route \\\"nomount/decrypt/k1\\\". route entry not found.",
    ),
    ("POST", "/transit/decrypt/k1", 404, ""),
    ("POST", "/v2/transit/decrypt/k1", 404, ""),
    ("GET", "/v1", 404, ""),
    (
        "GET",
        "/v1/",
        404,
        "no handler for route \\\"\\\". route entry not found.",
    ),
    ("POST", "/v1/transit/decrypt/a%20b", 404, PATH),
];

#[test]
fn methods_and_paths_are_refused_as_openbao_does() {
    let (running, mut client) = site();
    for &(method, target, status, text) in REFUSED {
        client.ask(method, target, "{}");
        let answer = client.answer();
        assert_eq!(
            (answer.status, answer.body),
            (status, errors(text)),
            "{method} {target}"
        );
    }
    client.ask("HEAD", "/v1/transit/encrypt/k1", "");
    assert_eq!(
        client.try_answer_to("HEAD").unwrap().status,
        405,
        "HEAD has no body"
    );
    client.ask("HEAD", "/v1/sys/health", "");
    assert_eq!(client.try_answer_to("HEAD").unwrap().status, 200);
    client.ask("GET", "/v1/sys/health", "");
    let health = client.answer();
    assert!(
        health
            .body
            .starts_with("{\"initialized\":true,\"sealed\":false,"),
        "{}",
        health.body
    );
    running.stop();
}

#[test]
fn requests_may_be_framed_in_every_legal_way() {
    let (running, mut client) = site();
    let body = r#"{"plaintext":"aGk="}"#;
    let len = body.len();
    let target = "/v1/transit/encrypt/k1";
    for (name, request) in [
        ("1.0 with keep-alive", format!("POST {target} HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: {len}\r\n\r\n{body}")),
        ("lower-case names", format!("POST {target} HTTP/1.1\r\nhost: h\r\ncontent-length: {len}\r\n\r\n{body}")),
        ("a token is ignored", format!("PUT {target} HTTP/1.1\r\nHost: h\r\nX-Vault-Token: bogus\r\nContent-Length: {len}\r\n\r\n{body}")),
        ("whole URL", format!("POST https://h{target} HTTP/1.1\r\nHost: h\r\nContent-Length: {len}\r\n\r\n{body}")),
        ("form", format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 18\r\n\r\nplaintext=aGVsbG8%3D").replace("18", "20")),
        ("query", format!("POST {target}?a=b HTTP/1.1\r\nHost: h\r\nContent-Length: {len}\r\n\r\n{body}")),
    ] {
        client.send(&request);
        let answer = client.answer();
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
    }
    client.send(format!("POST {target} HTTP/1.1\r\nHost: h\r\nX-Vault-Wrap-TTL: 60s\r\nContent-Length: {len}\r\n\r\n{body}"));
    assert_eq!(client.answer().status, 400, "wrapping of answers");
    client.send(format!(
        "POST {target} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {len}\r\n\r\n"
    ));
    assert_eq!(client.answer().status, 100);
    client.send(body);
    assert_eq!(client.answer().status, 200, "after the 100");
    // A byte a record.
    for byte in service_support::client::request("POST", target, body).bytes() {
        client.send([byte]);
    }
    assert_eq!(client.answer().status, 200, "byte by byte");
    client.send(format!(
        "POST {target} HTTP/1.0\r\nContent-Length: {len}\r\n\r\n{body}"
    ));
    let answer = client.answer();
    assert_eq!(
        (answer.status, answer.header("Connection")),
        (200, None),
        "1.0"
    );
    assert!(client.end());
    until("gone", || running.node.shared().connections() == 0);
    running.stop();
}
