//! What routing needs of a head: the path's form, and headers of Vault's and of ours.

use super::super::*;

fn head_of<R>(target: &str, headers: &str, see: impl FnOnce(&Head<'_>) -> R) -> R {
    let mut input = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{headers}\r\n").into_bytes();
    match RequestDecoder::default().step(&mut input, 1024) {
        Ok(Progress::Request(request, _)) => see(&request.head),
        other => panic!("{target}: {other:?}"),
    }
}

#[test]
fn paths_are_decoded_once_or_left() {
    use PathForm::{BadEscape, Decoded, Plain, Unclean, Unprintable};
    for (target, path, form) in [
        ("/v1/a.b/c..d/", "/v1/a.b/c..d/", Plain),
        ("/v1/a/.b/..c", "/v1/a/.b/..c", Plain),
        ("*", "*", Plain),
        ("https://h?q=%zz", "", Plain),
        ("/k%31?q=%31//", "/k1", Decoded),
        ("http://h/k%31", "/k1", Decoded),
        ("/%2e%2e/x%2F%2F", "/../x//", Decoded),
        ("/v1%2Fx/%31", "/v1%2Fx/%31", Decoded),
        ("/%2531", "/%31", Decoded),
        ("/%C3%A9", "/é", Decoded),
        ("/%ff%31", "/%ff%31", Decoded),
        ("/a//b", "/a//b", Unclean),
        ("//", "//", Unclean),
        ("/a/./%31", "/a/./%31", Unclean),
        ("/a/..", "/a/..", Unclean),
        ("/%", "/%", BadEscape),
        ("/a//%4", "/a//%4", BadEscape),
        ("/%g0", "/%g0", BadEscape),
        ("/%+1", "/%+1", BadEscape),
        ("/%00", "/%00", Unprintable),
        ("/a//%C2%A0", "/a//%C2%A0", Unprintable),
    ] {
        let found = head_of(target, "", |head| (head.path.to_owned(), head.path_form));
        assert_eq!(found, (path.to_owned(), form), "{target}");
    }
}

#[test]
fn a_parked_request_keeps_its_decoded_path() {
    let mut input = b"POST /k%2531 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhiGET".to_vec();
    let mut decoder = RequestDecoder::default();
    for round in 0..3 {
        match decoder.step(&mut input, 9) {
            Ok(Progress::Request(found, used)) => {
                assert_eq!(
                    (found.head.path, found.body),
                    ("/k%31", &b"hi"[..]),
                    "{round}"
                );
                assert_eq!(used, input.len() - 3, "{round}");
            }
            other => panic!("round {round}: {other:?}"),
        }
    }
}

#[test]
fn vaults_headers_and_ours() {
    let seen = |headers: &str| {
        head_of("/", headers, |head| {
            let kind = head.content_type.map(str::to_owned);
            (head.namespace, head.server_timing, kind)
        })
    };
    let (absent, root, other) = (Namespace::Absent, Namespace::Root, Namespace::Other);
    for (headers, want) in [
        ("", (absent, false, None)),
        ("X-Vault-Namespace:\r\n", (absent, false, None)),
        ("x-vault-namespace: /\r\n", (root, false, None)),
        ("X-Vault-Namespace: //root\r\n", (root, false, None)),
        ("X-Vault-Namespace: roots\r\n", (other, false, None)),
        ("X-Vault-Namespace: ns1/root\r\n", (other, false, None)),
        ("X-KMS-Server-Timing: 1\r\n", (absent, true, None)),
        ("x-kms-server-timing: TRUE\r\n", (absent, true, None)),
        ("X-KMS-Server-Timing: 0\r\n", (absent, false, None)),
        ("X-KMS-Server-Timing: False\r\n", (absent, false, None)),
        ("X-KMS-Server-Timing:\r\n", (absent, false, None)),
        ("Content-Type: ;x\r\n", (absent, false, None)),
        (
            "Content-Type: Application/Merge-Patch+JSON; charset=utf-8\r\n",
            (absent, false, Some("Application/Merge-Patch+JSON")),
        ),
        (
            "Content-Type: application/json\r\n",
            (absent, false, Some("application/json")),
        ),
    ] {
        let (namespace, timing, kind) = want;
        let want = (namespace, timing, kind.map(str::to_owned));
        assert_eq!(seen(headers), want, "{headers}");
    }
    for value in ["0", "0s", ""] {
        let header = format!("X-Vault-Wrap-TTL: {value}\r\n");
        assert!(!head_of("/", &header, |head| head.wrap_ttl), "{value:?}");
    }
}

#[test]
fn an_answer_may_send_the_client_elsewhere() {
    let mut out = Vec::new();
    let open = begin_response(
        &mut out,
        &ResponseHead {
            status: 307,
            connection: Connection::Silent,
            body: BodyForm::Sent,
            retry_after_s: None,
            server_timing: None,
            stale_items: 0,
            location: Some("/v1/x?y=z"),
            content_type: ResponseHead::JSON,
            date: b"Thu, 01 Jan 1970 00:00:00 GMT",
        },
    );
    end_response(&mut out, open);
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("HTTP/1.1 307 Temporary Redirect\r\n"));
    assert!(text.ends_with("\r\nLocation: /v1/x?y=z\r\n\r\n"), "{text}");
}
