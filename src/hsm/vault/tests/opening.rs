//! What a session makes of a server before it asks anything of it.

use super::*;

fn opened(answer: impl Fn() -> Reply + Send + Sync + 'static, time: Duration) -> String {
    let fake = Fake::start(move |_, _| answer());
    let site = site(fake.port);
    let opened = Session::open(&site, &site.addresses[0], Instant::now() + time);
    match opened {
        Ok(session) => session.describe(),
        Err(why) => why,
    }
}

#[test]
fn a_server_that_cannot_serve_is_refused_with_its_reason() {
    let raw = |text: &str| Reply::Bytes(text.as_bytes().to_vec());
    let rows: [(&str, Box<dyn Fn() -> Reply + Send + Sync>, &str); 13] = [
        ("well", Box::new(|| json(200, HEALTHY)), "(Vault 2.7.2)"),
        ("standby", Box::new(|| json(429, HEALTHY)), "(Vault 2.7.2)"),
        (
            "sealed",
            Box::new(|| json(503, HEALTHY)),
            "the Vault is sealed: unseal it",
        ),
        (
            "empty",
            Box::new(|| json(501, HEALTHY)),
            "the Vault is not initialised",
        ),
        (
            "secondary",
            Box::new(|| json(472, HEALTHY)),
            "disaster recovery secondary",
        ),
        (
            "web page",
            Box::new(|| json(200, "<html>")),
            "as no Vault does",
        ),
        (
            "other JSON",
            Box::new(|| json(200, "{}")),
            "as no Vault does",
        ),
        (
            "cut",
            Box::new(|| json(200, "{\"sealed\":false")),
            "as no Vault does",
        ),
        (
            "redirect",
            Box::new(move || {
                raw("HTTP/1.1 307 X\r\nLocation: https://other/\x07\r\nContent-Length: 0\r\n\r\n")
            }),
            "no HTTP/1.1",
        ),
        (
            "clean redirect",
            Box::new(move || {
                raw("HTTP/1.1 307 X\r\nLocation: https://other/\r\nContent-Length: 0\r\n\r\n")
            }),
            "it redirects to https://other/, which is refused",
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
            Box::new(|| {
                Reply::Hang(format!("HTTP/1.1 200 X\r\nA: {}", "x".repeat(60_000)).into_bytes())
            }),
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
