//! What a session makes of a server before it asks anything of it.

use super::*;

type Answering = Box<dyn Fn() -> Reply + Send + Sync>;

fn opened(answer: impl Fn() -> Reply + Send + Sync + 'static, time: Duration) -> String {
    let fake = Fake::start(move |_, _| answer());
    let site = site(fake.port);
    let opened = Session::open(&site, &site.places.at(0).unwrap(), Instant::now() + time);
    match opened {
        Ok(session) => session.describe(),
        Err(why) => why,
    }
}

const REDIRECT: &str = "HTTP/1.1 307 X\r\nLocation: https://other/\r\nContent-Length: 0\r\n\r\n";
/// A control character in a header is none.
const BAD_REDIRECT: &str = "HTTP/1.1 307 X\r\nLocation: https://other/\x07\r\n\r\n";

/// What `sys/health` is answered with, and what the session says of it.
const STATUSES: [(&str, u16, &str, &str); 8] = [
    ("well", 200, HEALTHY, "(Vault 2.7.2)"),
    ("standby", 429, HEALTHY, "(Vault 2.7.2)"),
    ("sealed", 503, HEALTHY, "the Vault is sealed: unseal it"),
    ("empty", 501, HEALTHY, "the Vault is not initialised"),
    ("secondary", 472, HEALTHY, "disaster recovery secondary"),
    ("web page", 200, "<html>", "as no Vault does"),
    ("other JSON", 200, "{}", "as no Vault does"),
    ("cut", 200, "{\"sealed\":false", "as no Vault does"),
];

#[test]
fn a_server_that_cannot_serve_is_refused_with_its_reason() {
    for (name, status, body, want) in STATUSES {
        let got = opened(move || json(status, body), PATIENCE);
        assert!(got.contains(want), "{name}: {got}");
    }
    let endless = || format!("HTTP/1.1 200 X\r\nA: {}", "x".repeat(60_000)).into_bytes();
    let rows: [(&str, Answering, &str); 5] = [
        (
            "redirect",
            Box::new(|| Reply::Bytes(REDIRECT.into())),
            "it redirects to https://other/, which is refused",
        ),
        (
            "bad head",
            Box::new(|| Reply::Bytes(BAD_REDIRECT.into())),
            "its answer is no HTTP/1.1",
        ),
        (
            "no HTTP",
            Box::new(|| Reply::Close(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec())),
            "its answer is no HTTP/1.1",
        ),
        (
            "closed",
            Box::new(|| Reply::Close(Vec::new())),
            "it closed the connection",
        ),
        (
            "endless head",
            Box::new(move || Reply::Hang(endless())),
            "its answer",
        ),
    ];
    for (name, answer, want) in rows {
        let got = opened(answer, PATIENCE);
        assert!(got.contains(want), "{name}: {got}");
    }
    let got = opened(|| Reply::Hang(Vec::new()), Duration::from_millis(50));
    assert_eq!(got, "it did not answer in time");
}

#[test]
fn an_idle_connection_is_seen_to_end() {
    let fake = healthy(|request, _| match request {
        "GET /v1/transit/keys/bye" => Reply::Bytes(
            b"HTTP/1.1 404 X\r\nConnection: close\r\nContent-Length: 13\r\n\r\n{\"errors\":[]}"
                .to_vec(),
        ),
        _ => json(404, r#"{"errors":[]}"#),
    });
    let mut session = open(&fake);
    for (name, want) in [("there", true), ("bye", false)] {
        let find = Request::Find { name: name.into() };
        let (served, outcomes) = serve(&mut session, vec![find]);
        assert_eq!(shown(outcomes[0].as_ref()), "Ok(Key(None))", "{name}");
        assert_eq!(served.broken, None, "{name}");
        assert_eq!(session.is_quiet(), want, "{name}");
    }
    // It is not opened again behind the pool's back.
    let (served, outcomes) = serve(&mut session, vec![unwrap("k", 1)]);
    assert_eq!(shown(outcomes[0].as_ref()), "untold");
    assert_eq!(served.retry.len(), 1);
    assert!(served.broken.is_some());
}

#[test]
fn requests_bear_token_and_namespace_and_no_others() {
    let fake = healthy(|_, _| json(404, r#"{"errors":[]}"#));
    let mut session = open(&fake);
    serve(&mut session, vec![Request::List]);
    let seen = fake.seen.lock();
    let [(health, _), (list, _)] = seen.as_slice() else {
        panic!("{seen:?}")
    };
    assert!(!health.to_lowercase().contains("x-vault"), "{health}");
    let list = list.to_lowercase();
    for header in [
        "x-vault-token: s.token",
        "x-vault-namespace: team",
        "x-vault-request: true",
    ] {
        assert!(list.contains(header), "{list}");
    }
}
