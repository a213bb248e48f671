//! Which of several refusals is made.

use super::*;
use crate::api::{Command, parse};
use crate::wire::http::Request;

const JSON: &str = "failed to decode JSON input: unexpected EOF";
const NAMESPACE: &str = "namespace not found";
const WRAP: &str =
    "response wrapping (X-Vault-Wrap-TTL) is not served: the answer would carry plaintext";

fn parsed(line: &str, headers: &str, body: &str) -> Result<&'static str, (u16, String)> {
    let read = |request: &Request<'_>| {
        let request = Request {
            head: request.head.clone(),
            body: body.as_bytes(),
        };
        match parse(&request) {
            Ok(Command::Datakey { plaintext, .. }) => {
                Ok(if plaintext { "plaintext" } else { "wrapped" })
            }
            Ok(_) => Ok("a command"),
            Err(fault) => Err((fault.status, fault.text.into_owned())),
        }
    };
    with_request(line, headers, read)
}

#[test]
fn namespaces() {
    let other = "operation unavailable in namespaces";
    for (line, value, want) in [
        ("GET /v1/transit/keys/k", "", None),
        ("GET /v1/transit/keys/k", "/", None),
        ("GET /v1/transit/keys/k", "//", None),
        ("GET /v1/transit/keys/k", "root", None),
        ("GET /v1/transit/keys/k", "root/", None),
        ("GET /v1/transit/keys/k", "//root", None),
        ("GET /v1/transit/keys/k", "ns1/", Some((404, NAMESPACE))),
        ("GET /v1/transit/keys/k", "Root", Some((404, NAMESPACE))),
        ("GET /v1/transit/foo", "ns1", Some((404, NAMESPACE))),
        ("OPTIONS /v1/transit/foo", "ns1", Some((404, NAMESPACE))),
        ("FOO /v1/transit/foo", "ns1", Some((405, ""))),
        ("POST /v1/transit/encrypt/", "ns1", Some((404, NAMESPACE))),
        ("GET /v1/sys/health", "", None),
        ("GET /v1/sys/health", "root", Some((400, other))),
        ("GET /v1/sys/init", "ns1", Some((400, other))),
        ("GET /v1/sys/leader", "ns1", None),
        ("GET /v1/sys/seal-status", "ns1", None),
    ] {
        let found = parsed(line, &format!("X-Vault-Namespace: {value}\r\n"), "");
        let want = want.map_or(Ok("a command"), |(status, text)| {
            Err((status, text.to_owned()))
        });
        assert_eq!(found, want, "{line} in {value:?}");
    }
    let twice = "X-Vault-Namespace: root\r\nX-Vault-Namespace: ns1\r\n";
    assert!(parsed("GET /v1/transit/keys/k", twice, "").is_ok());
}

/// Line, headers, body, status, text.
const ORDER: &[(&str, &str, &str, u16, &str)] = &[
    ("POST /v1/transit/sign/k1", "", "{\"p", 400, JSON),
    ("POST /v1/transit/foo", "", "{\"p", 400, JSON),
    ("POST /v1/nomount/x", "", "{\"p", 400, JSON),
    ("POST /v1/transit/encrypt/k1/", "", "{\"p", 400, JSON),
    ("POST /v1/transit/encrypt/a%20b", "", "{\"p", 400, JSON),
    ("POST /v1/transit/keys", "", "{\"p", 400, JSON),
    ("POST /v1/transit/%2e%2e/x", "", "{\"p", 400, JSON),
    ("PUT /v1/sys/init", "", "{\"p", 400, JSON),
    ("POST /v1/auth/token/lookup-self", "", "{\"x\":", 400, JSON),
    ("POST /v1/auth/token/revoke-self", "", "{\"x\":", 400, JSON),
    ("POST /v1/auth/cert/login", "", "{\"x\":", 400, JSON),
    (
        "POST /v1/auth/token/renew-self",
        "",
        "{\"increment\":-1,\"name\":{}}",
        400,
        "Field validation failed: error converting input for field \"increment\": cannot provide negative \
         value '-1'",
    ),
    (
        "POST /v1/auth/cert/login",
        "",
        "{\"name\":{},\"increment\":-1}",
        400,
        "Field validation failed: error converting input for field \"name\": '' expected type 'string', \
         got unconvertible type 'map[string]interface {}'",
    ),
    ("POST /v1/sys/health", "", "{\"p", 405, ""),
    ("POST /foo", "", "{\"p", 404, ""),
    ("DELETE /v1/transit/encrypt/k1", "", "{\"p", 405, OPERATION),
    ("FOO /v1/transit/encrypt/k1", "", "{\"p", 405, ""),
    (
        "POST /v1/transit/encrypt/k1",
        "X-Vault-Namespace: ns1\r\n",
        "{\"p",
        400,
        JSON,
    ),
    (
        "POST /v1/transit/encrypt/k1",
        "X-Vault-Namespace: ns1\r\n",
        "{\"plaintext\":{}}",
        404,
        NAMESPACE,
    ),
    (
        "POST /v1/transit/%2e%2e/x",
        "X-Vault-Namespace: ns1\r\n",
        "{}",
        400,
        "relative paths not supported",
    ),
    (
        "GET /v1/transit/keys/k",
        "X-Vault-Wrap-TTL: 60s\r\nX-Vault-Namespace: ns1\r\n",
        "",
        404,
        NAMESPACE,
    ),
    (
        "GET /v1/transit/keys/k",
        "X-Vault-Wrap-TTL: 60s\r\n",
        "",
        400,
        WRAP,
    ),
    (
        "POST /v1/auth/cert/login",
        "X-Vault-Wrap-TTL: 60s\r\n",
        "",
        400,
        WRAP,
    ),
    (
        "POST /v1/transit/foo",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "%zz",
        400,
        "error parsing form data",
    ),
    (
        "PATCH /v1/transit/keys/k",
        "Content-Type: application/json\r\n",
        "{}",
        415,
        "PATCH requires Content-Type of application/merge-patch+json, provided application/json",
    ),
    (
        "PATCH /v1/transit/keys/k",
        "Content-Type: application/merge-patch+json; charset=utf-8\r\n",
        "{}",
        405,
        OPERATION,
    ),
    (
        "PATCH /v1/transit/keys/k",
        "Content-Type: application/merge-patch+json\r\n",
        "{\"p",
        400,
        JSON,
    ),
    (
        "PATCH /v1/transit/keys/",
        "Content-Type: application/merge-patch+json\r\n",
        "{}",
        400,
        SLASH,
    ),
    (
        "PATCH /v1/transit/foo",
        "Content-Type: application/merge-patch+json\r\n",
        "{}",
        404,
        PATH,
    ),
];

#[test]
fn refusals_come_in_openbaos_order() {
    for (line, headers, body, status, text) in ORDER {
        let want = Err((*status, (*text).to_owned()));
        assert_eq!(
            parsed(line, headers, body),
            want,
            "{line} {headers:?} {body}"
        );
    }
}

#[test]
fn bodies_that_do_not_matter_are_not_read() {
    for line in [
        "GET /v1/transit/keys/k1",
        "DELETE /v1/transit/keys/k1",
        "LIST /v1/transit/keys",
        "GET /v1/auth/token/lookup-self",
        "GET /v1/sys/health",
    ] {
        assert_eq!(parsed(line, "", "{\"p"), Ok("a command"), "{line}");
    }
}

#[test]
fn data_keys() {
    let kind = "Invalid path, must be 'plaintext' or 'wrapped'";
    let bits = "Field validation failed: error converting input for field \"bits\": '' cannot parse \
                value as 'int': strconv.ParseInt: invalid syntax";
    let context = "failed to base64-decode context";
    for (path, body, want) in [
        ("plaintext/k1", "", Ok("plaintext")),
        ("wrapped/k1", "null", Ok("wrapped")),
        ("%70laintext/k1", "{}", Ok("plaintext")),
        ("plaintext/k1", "{\"bits\":7}", Ok("plaintext")),
        ("foo/k1", "{}", Err(kind)),
        ("foo/k1", "{\"context\":\"!!\"}", Err(kind)),
        ("foo/k1", "{\"bits\":\"x\"}", Err(bits)),
        ("plaintext/k1", "{\"context\":\"!!\"}", Err(context)),
        (
            "plaintext/k1",
            "{\"context\":\"!!\",\"bits\":7}",
            Err(context),
        ),
    ] {
        let line = format!("POST /v1/transit/datakey/{path}");
        let want = want.map_err(|text| (400, text.to_owned()));
        assert_eq!(parsed(&line, "", body), want, "{path} {body}");
    }
}
