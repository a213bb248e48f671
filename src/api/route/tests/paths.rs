//! Escapes, segments, names.

use super::*;

const ESCAPE: &str = "invalid URL escape in the path: a percent sign needs two hexadecimal digits";
const PRINT: &str = "the path holds a character that cannot be printed";
const RELATIVE: &str = "relative paths not supported";

fn nowhere(path: &str) -> String {
    format!("no handler for route \"{path}\". route entry not found.")
}

#[test]
fn escapes_are_decoded_once() {
    for (line, want) in [
        ("POST /v1/transit/encrypt/k%31", "Encrypt(\"k1\")"),
        ("POST /v1/transit/encrypt/%6B%5f", "Encrypt(\"k_\")"),
        ("POST /v1/transit%2Fencrypt/k1", "Encrypt(\"k1\")"),
        ("POST /v1/transit/encrypt%2fk1", "Encrypt(\"k1\")"),
        ("POST /%76%31/transit/encrypt/k1", "Encrypt(\"k1\")"),
        ("GET /v1/transit/%6beys/k", "ReadKey(\"k\")"),
        ("POST /v1/transit/encrypt/a..b", "Encrypt(\"a..b\")"),
    ] {
        assert_eq!(routed(line, ""), Ok(want.to_owned()), "{line}");
    }
}

/// Method and path, status, text.
const NOWHERE: &[(&str, u16, &str)] = &[
    ("POST /v1/transit/foo/k1", 404, PATH),
    ("POST /v1/transit/decrypt/a/b", 404, PATH),
    ("POST /v1/transit/decrypt/a%2Fb", 404, PATH),
    ("POST /v1/transit/decrypt", 404, PATH),
    ("POST /v1/transit/decrypt/a%20b", 404, PATH),
    ("POST /v1/transit/decrypt/a+b", 404, PATH),
    ("POST /v1/transit/decrypt/%C3%A9", 404, PATH),
    ("POST /v1/transit/decrypt/%ff", 404, PATH),
    ("POST /v1/transit/decrypt/%252e", 404, PATH),
    ("POST /v1/transit/decrypt/k1;a", 404, PATH),
    ("POST /v1/transit/decrypt/k1#f", 404, PATH),
    ("POST /v1/transit/decrypt/k1%3fx", 404, PATH),
    ("POST /v1/transit/decrypt/-a", 404, PATH),
    ("POST /v1/transit/decrypt/a-", 404, PATH),
    ("POST /v1/transit/decrypt/k%2", 400, ESCAPE),
    ("POST /v1/transit/decrypt/k%zz", 400, ESCAPE),
    ("POST /v1/transit/decrypt/k%", 400, ESCAPE),
    ("POST /v1/transit//decrypt/k%", 400, ESCAPE),
    ("GET /%", 400, ESCAPE),
    ("POST /v1/transit/decrypt/%00", 400, PRINT),
    ("POST /v1/transit/decrypt/k1%0a", 400, PRINT),
    ("POST /v1/transit/decrypt/k1%7f", 400, PRINT),
    ("GET /v1/nomount/%C2%80", 400, PRINT),
    ("GET /v1/nomount/%E2%80%A8", 400, PRINT),
    ("FOO /v1/transit//%00", 400, PRINT),
    ("POST /v1/transit/decrypt/k1/", 400, SLASH),
    ("POST /v1/transit/decrypt/k1%2F", 400, SLASH),
    ("POST /v1/transit/decrypt/", 400, SLASH),
    ("POST /v1/transit/", 400, SLASH),
    ("PUT /v1/transit/keys/", 400, SLASH),
    ("POST /v1/transit/datakey/plaintext/", 400, SLASH),
    ("POST /v1/auth/", 400, SLASH),
    ("POST /v1/sys/health/", 400, SLASH),
    ("POST /v1/transit", 404, PATH),
    ("GET /v1/transit/", 404, PATH),
    ("POST /v1/transit/datakey", 404, PATH),
    ("POST /v1/transit/datakey/plaintext", 404, PATH),
    ("POST /v1/transit/datakey/foo/k1/x", 404, PATH),
    ("POST /v1/transit/datakey/-a/k1", 404, PATH),
    ("GET /v1/transit/keys/k1/", 404, PATH),
    ("POST /v1/transit/keys/k1/zzz", 404, PATH),
    ("POST /v1/transit/keys/k1/rotate/", 400, SLASH),
    ("GET /v1/sys/foo", 404, PATH),
    ("GET /v1/sys/mounts", 404, PATH),
    ("GET /v1/sys/health/x", 404, PATH),
    ("GET /v1/sys/health%2F", 404, PATH),
    ("GET /v1/auth/token/lookup-self/", 404, PATH),
    ("GET /v1/auth/token/create", 404, PATH),
    ("POST /v1/transit/%2e%2e/encrypt/k1", 400, RELATIVE),
    ("GET /v1/transit/%2e/encrypt/k1", 400, RELATIVE),
    ("GET /v1/nomount/..%2fx", 400, RELATIVE),
    ("GET /v1/%2e%2e", 400, RELATIVE),
    ("FOO /v1/%2e%2e", 405, ""),
    ("POST /transit/decrypt/k1", 404, ""),
    ("POST /v2/transit/decrypt/k1", 404, ""),
    ("POST /v2//transit", 404, ""),
    ("POST //v1/transit/decrypt/k1", 404, ""),
    ("GET /../v1/transit/decrypt/k1", 404, ""),
    ("FOO /foo", 404, ""),
    ("GET /foo?list=x", 404, ""),
    ("OPTIONS *", 404, ""),
    ("GET /v1", 404, ""),
    ("GET /ui/", 404, ""),
];

#[test]
fn names_and_paths_that_are_none() {
    for (line, status, text) in NOWHERE {
        assert_eq!(
            routed(line, ""),
            Err((*status, (*text).to_owned())),
            "{line}"
        );
    }
    for (line, path) in [
        ("POST /v1/nomount/decrypt/k1", "nomount/decrypt/k1"),
        ("GET /v1/", ""),
        ("GET /v1/?list=1", "/"),
        ("LIST /v1/", "/"),
        ("LIST /v1/nomount/x", "nomount/x/"),
        ("GET /v1/nomount/keys/?list=1", "nomount/keys/"),
        ("GET /v1/a%2F%2Fx", "a//x"),
        ("GET /v1/%2F/x", "//x"),
        ("GET /v1/...", "..."),
        ("GET /v1/auth", "auth"),
        ("POST /v1/auth/foo/login", "auth/foo/login"),
        ("GET /v1/x%20y", "x y"),
        ("GET /v1/%C3%A9", "é"),
        ("GET /v1/%22%5c%3c", "\\\"\\\\<"),
    ] {
        assert_eq!(routed(line, ""), Err((404, nowhere(path))), "{line}");
    }
}

#[test]
fn paths_that_are_not_clean_are_sent_to_the_clean_one() {
    for (line, location) in [
        ("GET /", "/ui/"),
        ("POST /", "/ui/"),
        ("GET /ui", "/ui/"),
        ("POST /v1/transit//encrypt/k1", "/v1/transit/encrypt/k1"),
        ("FOO /v1/transit//encrypt/k1", "/v1/transit/encrypt/k1"),
        ("GET /v1/./transit/encrypt/k1", "/v1/transit/encrypt/k1"),
        ("GET /v1/transit/../transit/keys", "/v1/transit/keys"),
        ("GET /v1///transit///keys///", "/v1/transit/keys/"),
        (
            "GET /v1/transit//encrypt//k1?a=b&c=%20",
            "/v1/transit/encrypt/k1?a=b&c=%20",
        ),
        ("GET /v1/transit//a?", "/v1/transit/a"),
        ("GET /v1/a//%20b%2F<x>", "/v1/a/%20b%2F%3Cx%3E"),
        ("GET /v1/a//{b}|\\^`#\"", "/v1/a/%7Bb%7D%7C%5C%5E%60%23%22"),
        ("GET /v1/transit/encrypt/..", "/v1/transit"),
        ("GET /v1/transit/encrypt/k1/.", "/v1/transit/encrypt/k1"),
        ("GET /v1/a/b/../", "/v1/a/"),
        ("GET /v1/.", "/v1/"),
        ("GET /v1/x/..", "/v1/"),
        ("GET /v1/..", "/"),
        ("GET /v1/../..", "/"),
        ("GET /v1/../x", "/x"),
        ("GET /v1/../..//evil.example", "/evil.example"),
        ("GET /v1/sys", "/v1/sys/"),
        ("PUT /v1/sys?x=1", "/v1/sys/?x=1"),
        ("GET /v1//sys", "/v1/sys/"),
        ("GET /v1/sys//health/", "/v1/sys/health/"),
    ] {
        let want = Err((307, location.to_owned()));
        assert_eq!(routed(line, ""), want, "{line}");
    }
    // Before the redirect: a list parameter that is no truth value.
    assert_eq!(
        routed("GET /v1/a//b?list=zz", ""),
        Err((400, String::new()))
    );
}

#[test]
fn long_names_are_served_up_to_the_limit() {
    for (len, served) in [(300, true), (512, true), (513, false), (3000, false)] {
        let name = "n".repeat(len);
        let found = routed(&format!("POST /v1/transit/encrypt/{name}"), "");
        if served {
            assert_eq!(found, Ok(format!("Encrypt({name:?})")), "{len}");
        } else {
            let text = format!("the key name is {len} bytes long: at most 512 are served");
            assert_eq!(found, Err((400, text)), "{len}");
        }
    }
}
