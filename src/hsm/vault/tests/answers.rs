//! What becomes of jobs, whatever the server answers.

use super::*;

/// The server's answer to an unwrap; what the job is told.
struct Row(&'static str, Reply, &'static str);

/// The connection stands, and the job is done.
fn done() -> Vec<Row> {
    let good = results(GOOD);
    let chunked = format!(
        "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{good}\r\n0\r\n\r\n",
        good.len(),
    );
    let escaped = good.replace("b25l", "b2\\u0035l");
    vec![
        Row("good", json(200, &good), "one"),
        Row("chunked", Reply::Bytes(chunked.into_bytes()), "one"),
        Row("escaped", json(200, &escaped), "one"),
    ]
}

/// Whole refusals: status and text, and what the job is told.
const WHOLE: [(&str, u16, &str, &str); 7] = [
    (
        "no key",
        400,
        "encryption key not found",
        "Err(ObjectNotFound)",
    ),
    ("soft-deleted", 400, "refusing to", "Rejected(\"refusing to"),
    (
        "denied",
        403,
        "no",
        "Declined(\"the Vault refuses POST /v1/transit/decrypt/k",
    ),
    (
        "namespace",
        404,
        "namespace not found",
        "kms.hsm.vault.namespace",
    ),
    ("mount", 404, "no handler for route", "kms.hsm.vault.mount"),
    (
        "internal",
        500,
        "1 error occurred:\\n\\t* oh",
        "the Vault answers HTTP 500: oh",
    ),
    ("rate", 429, "quota", "Err(Busy)"),
];

/// The connection stands, and the job is told.
fn told() -> Vec<Row> {
    let failed = |text: &str| {
        results(&format!(
            r#"{{"plaintext":"","error":"{text}","reference":""}}"#
        ))
    };
    let unauthentic = failed("cipher: message authentication failed");
    let empty = "an item of its answer is empty";
    let no_base64 = results(r#"{"plaintext":"!!"}"#);
    let mut rows = vec![
        Row(
            "refused item",
            json(400, &unauthentic),
            "Err(AuthenticationFailed)",
        ),
        Row(
            "refused in a 500",
            json(500, &failed("no x")),
            "Err(Rejected(\"no x\"))",
        ),
        Row("no results", json(200, "{}"), "its answer holds no results"),
        Row("empty item", json(200, &results("{}")), empty),
        Row("no base64", json(200, &no_base64), "plaintext is no base64"),
    ];
    for (name, status, text, want) in WHOLE {
        let whole = json(status, &format!(r#"{{"errors":["{text}"]}}"#));
        rows.push(Row(name, whole, want));
    }
    rows
}

/// The connection ends, and the job is told.
fn broken() -> Vec<Row> {
    let close = |text: &str| Reply::Close(text.as_bytes().to_vec());
    let cut = "HTTP/1.1 200 X\r\nContent-Length: 99\r\n\r\n{\"data\":";
    let two = results(&format!("{GOOD},{GOOD}"));
    let huge = b"HTTP/1.1 200 X\r\nContent-Length: 999999999\r\n\r\n{";
    let endless = format!("HTTP/1.1 200 X\r\n\r\n{}", " ".repeat(90_000));
    let too_long = "longer than any to what was asked";
    vec![
        Row("cut", close(cut), "Err(Unavailable("),
        Row(
            "cut head",
            close("HTTP/1.1 200 X\r\nContent-"),
            "Err(Unavailable(",
        ),
        Row(
            "web page",
            json(200, "<html>"),
            "Err(Protocol(\"its answer is no JSON",
        ),
        Row(
            "empty",
            json(200, ""),
            "Err(Protocol(\"its answer is no JSON",
        ),
        Row("two results", json(200, &two), "another number of items"),
        Row("none", json(200, &results("")), "another number of items"),
        Row("huge, told", Reply::Hang(huge.to_vec()), too_long),
        Row("huge, untold", Reply::Hang(endless.into_bytes()), too_long),
    ]
}

/// The connection ends, and the job is to be asked again.
fn again() -> Vec<Row> {
    let sealed = json(503, r#"{"errors":["Vault is sealed"]}"#);
    vec![
        Row("sealed", sealed, "untold"),
        Row("bad gateway", json(502, "<html>"), "untold"),
        Row("redirect", json(307, ""), "untold"),
        Row("closed", Reply::Close(Vec::new()), "untold"),
    ]
}

#[test]
fn every_answer_to_an_unwrap_has_its_meaning() {
    for (rows, is_broken, retry) in [
        (done(), false, 0),
        (told(), false, 0),
        (broken(), true, 0),
        (again(), true, 1),
    ] {
        for Row(name, reply, want) in rows {
            let reply = parking_lot::Mutex::new(Some(reply));
            let fake = healthy(move |_, _| reply.lock().take().expect("one request"));
            let mut session = open(&fake);
            let (served, outcomes) = serve(&mut session, vec![unwrap("k", 1)]);
            let got = shown(outcomes[0].as_ref());
            assert!(got.contains(want), "{name}: {got}");
            assert_eq!(
                served.broken.is_some(),
                is_broken,
                "{name}: {:?}",
                served.broken
            );
            assert_eq!(served.retry.len(), retry, "{name}");
            assert_eq!(served.busy, name == "rate", "{name}");
        }
    }
}

/// Each byte changed, cut or doubled: refused or read, never a panic.
#[test]
fn mutated_answers_are_survived() {
    let key = r#"{"data":{"name":"k","type":"x","keys":{"1":{"creation_time":"2026-11-23T18:31:55Z"},"2":5},"min_decryption_version":1}}"#;
    let auth = r#"{"auth":{"client_token":"s.x","lease_duration":30,"renewable":true}}"#;
    let list = r#"{"data":{"keys":["a","b/"]},"errors":["1 error occurred:\n\t* x\n\n"]}"#;
    let all = results(GOOD);
    for body in [key, auth, list, &all] {
        for at in 0..body.len() {
            for byte in [b'"', b'{', b'}', b'[', b',', b'\\', b'0', b'T', 0xff] {
                let mut changed = body.as_bytes().to_vec();
                changed[at] = byte;
                survive(&changed);
            }
            survive(&body.as_bytes()[..at]);
            survive(&[&body.as_bytes()[..at], &body.as_bytes()[at / 2..]].concat());
        }
    }
}

fn survive(body: &[u8]) {
    let _ = super::super::record::read(body, &"k".into());
    let _ = super::super::login::read_auth(body);
    let _ = super::super::keys::names(body);
    let _ = super::super::json::errors(body);
    let _ = crate::wire::transit::parse_answer(crate::wire::transit::Verb::Decrypt, body);
}

#[test]
fn a_slow_answer_ends_with_the_deadline() {
    for (name, bytes) in [
        ("silent", ""),
        ("dripping", "HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n{"),
    ] {
        let fake = healthy(|_, _| Reply::Hang(bytes.as_bytes().to_vec()));
        let mut session = open(&fake);
        let (late, told) = job(unwrap("k", 1), Duration::from_millis(60));
        let served = session.serve(vec![late], None);
        assert_eq!(
            told.try_recv().unwrap().unwrap_err(),
            HsmError::TimedOut,
            "{name}"
        );
        assert!(served.broken.is_some(), "{name}");
        // One that has time yet is to be asked elsewhere.
        let mut session = open(&fake);
        let (patient, told) = job(unwrap("k", 1), PATIENCE);
        let until = Instant::now() + Duration::from_millis(60);
        let served = session.serve(vec![patient], Some(until));
        assert_eq!(
            (served.retry.len(), told.try_recv().is_err()),
            (1, true),
            "{name}"
        );
    }
}

#[test]
fn a_change_is_not_made_twice() {
    let rotate = || Request::Rotate { name: "k".into() };
    let create = || Request::Create { name: "k".into() };
    let find = || Request::Find { name: "k".into() };
    for (name, request, reply, want, retry) in [
        (
            "rotate, closed",
            rotate(),
            Reply::Close(Vec::new()),
            "Err(Unavailable(",
            false,
        ),
        (
            "create, closed",
            create(),
            Reply::Close(Vec::new()),
            "untold",
            true,
        ),
        (
            "find, closed",
            find(),
            Reply::Close(Vec::new()),
            "untold",
            true,
        ),
        (
            "rotate, sealed",
            rotate(),
            json(503, r#"{"errors":["Vault is sealed"]}"#),
            "untold",
            true,
        ),
        (
            "rotate, absent",
            rotate(),
            json(400, r#"{"errors":["key not found"]}"#),
            "Ok(Key(None))",
            false,
        ),
        (
            "find, odd",
            find(),
            json(200, r#"{"data":{"name":"other","keys":{"1":1}}}"#),
            "Err(Protocol(",
            false,
        ),
    ] {
        let reply = parking_lot::Mutex::new(Some(reply));
        let fake = healthy(move |_, _| reply.lock().take().expect("one request"));
        let (served, outcomes) = serve(&mut open(&fake), vec![request]);
        let got = shown(outcomes[0].as_ref());
        assert!(got.contains(want), "{name}: {got}");
        assert_eq!(served.retry.len(), usize::from(retry), "{name}");
    }
}

#[test]
fn older_vaults_answer_changes_without_words() {
    let fake = healthy(|request, _| match request {
        "GET /v1/transit/keys/k" => json(200, r#"{"data":{"name":"k","keys":{"1":1,"2":2}}}"#),
        _ => Reply::Bytes(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
    });
    let mut session = open(&fake);
    for request in [
        Request::Create { name: "k".into() },
        Request::Rotate { name: "k".into() },
    ] {
        let (_, outcomes) = serve(&mut session, vec![request]);
        let Some(Ok(Answer::Key(Some(record)))) = &outcomes[0] else {
            panic!("{outcomes:?}")
        };
        assert_eq!(record.latest(), 2);
    }
}

/// A thread that keeps the token gives another when one is refused: the request is sent once more.
#[test]
fn a_refused_token_is_replaced_once() {
    let fake = Fake::start(|request, _| match request {
        "GET /v1/sys/health" => json(200, HEALTHY),
        _ => json(403, r#"{"errors":["permission denied"]}"#),
    });
    let site = site(fake.port);
    // Free to be suspected.
    site.book
        .checked(Instant::now().checked_sub(PATIENCE).unwrap());
    let keeper = Arc::clone(&site);
    let keeper = std::thread::spawn(move || {
        keeper.book.rest(None);
        keeper.book.give(SecretString::new("s.newer".to_owned()));
        keeper.book.checked(Instant::now());
    });
    let mut session = Session::open(
        &site,
        &site.places.at(0).unwrap(),
        Instant::now() + PATIENCE,
    )
    .unwrap();
    let (_, outcomes) = serve(&mut session, vec![unwrap("k", 1)]);
    assert!(shown(outcomes[0].as_ref()).contains("Declined"));
    keeper.join().unwrap();
    let seen = fake.seen.lock();
    let tokens: Vec<_> = seen
        .iter()
        .filter(|(head, _)| head.starts_with("POST"))
        .map(|(head, _)| head.contains("s.newer"))
        .collect();
    assert_eq!(tokens, [false, true], "asked twice, then no more");
}

/// What a look at the server comes to when it answers so to a question about a key that is not there.
#[test]
fn a_narrow_policy_is_no_trouble_of_the_servers() {
    let denied = "1 error occurred:\\n\\t* permission denied\\n\\n";
    for (name, status, said, want) in [
        ("no such key", 404, "", "Ok(())"),
        ("a narrow policy", 403, denied, "Ok(())"),
        ("at its limit", 429, "quota", "Ok(())"),
        ("no engine", 404, "no handler for route", "Err(Refuses("),
        ("no namespace", 404, "namespace not found", "Err(Refuses("),
        ("broken", 502, "bad gateway", "Err(Broken("),
    ] {
        let body = format!(r#"{{"errors":["{said}"]}}"#);
        let fake = healthy(move |request, _| {
            assert_eq!(request, "GET /v1/transit/keys/connected-kms-no-such-key");
            json(status, &body)
        });
        let got = open(&fake).probe(Instant::now() + PATIENCE);
        assert!(format!("{got:?}").starts_with(want), "{name}: {got:?}");
    }
}
