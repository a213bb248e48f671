//! What becomes of jobs, whatever the server answers.

use super::*;

/// An envelope of results.
fn results(items: &str) -> String {
    format!(
        r#"{{"request_id":"x","lease_id":"","renewable":false,"lease_duration":0,"data":{{"batch_results":[{items}]}},"wrap_info":null,"warnings":null,"auth":null}}"#
    )
}

const GOOD: &str = r#"{"plaintext":"b25l","reference":""}"#;

/// The server's answer to an unwrap; what the job is told; whether the connection ends, and the job is
/// to be asked again.
#[test]
fn every_answer_to_an_unwrap_has_its_meaning() {
    let chunked = format!(
        "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        results(GOOD).len(),
        results(GOOD)
    );
    let escaped = results(GOOD).replace("b25l", "b2\\u0035l");
    let whole = |status: u16, text: &str| json(status, &format!(r#"{{"errors":["{text}"]}}"#));
    let close = |text: &str| Reply::Close(text.as_bytes().to_vec());
    let rows: Vec<(&str, Reply, &str, bool, bool)> = vec![
        ("good", json(200, &results(GOOD)), "one", false, false),
        (
            "chunked",
            Reply::Bytes(chunked.into_bytes()),
            "one",
            false,
            false,
        ),
        ("escaped", json(200, &escaped), "one", false, false),
        (
            "refused item",
            json(
                400,
                &results(
                    r#"{"plaintext":"","error":"cipher: message authentication failed","reference":""}"#,
                ),
            ),
            "Err(AuthenticationFailed)",
            false,
            false,
        ),
        (
            "refused in a 500",
            json(
                500,
                &results(r#"{"plaintext":"","error":"unable to get x","reference":""}"#),
            ),
            "Err(Rejected(\"unable to get x\"))",
            false,
            false,
        ),
        (
            "no key",
            whole(400, "encryption key not found"),
            "Err(ObjectNotFound)",
            false,
            false,
        ),
        (
            "soft-deleted",
            whole(400, "refusing to use soft-deleted key"),
            "Rejected(\"refusing",
            false,
            false,
        ),
        (
            "denied",
            whole(403, "permission denied"),
            "Declined(\"the Vault refuses POST /v1/transit/decrypt/k",
            false,
            false,
        ),
        (
            "namespace",
            whole(404, "namespace not found"),
            "kms.hsm.vault.namespace",
            false,
            false,
        ),
        (
            "mount",
            whole(404, "no handler for route \\\"x\\\""),
            "kms.hsm.vault.mount",
            false,
            false,
        ),
        (
            "internal",
            whole(500, "1 error occurred:\\n\\t* oh"),
            "Declined(\"the Vault answers HTTP 500: oh\")",
            false,
            false,
        ),
        ("rate", whole(429, "quota"), "Err(Busy)", false, false),
        (
            "sealed",
            whole(503, "Vault is sealed"),
            "untold",
            true,
            true,
        ),
        ("bad gateway", json(502, "<html>"), "untold", true, true),
        ("redirect", json(307, ""), "untold", true, true),
        ("closed", close(""), "untold", true, true),
        (
            "cut",
            close("HTTP/1.1 200 X\r\nContent-Length: 99\r\n\r\n{\"data\":"),
            "Err(Unavailable(",
            true,
            false,
        ),
        (
            "cut head",
            close("HTTP/1.1 200 X\r\nContent-"),
            "Err(Unavailable(",
            true,
            false,
        ),
        (
            "web page",
            json(200, "<html>"),
            "Err(Protocol(\"its answer is no JSON",
            true,
            false,
        ),
        (
            "empty",
            json(200, ""),
            "Err(Protocol(\"its answer is no JSON",
            true,
            false,
        ),
        (
            "no results",
            json(200, "{}"),
            "Err(Protocol(\"its answer holds no results",
            false,
            false,
        ),
        (
            "two results",
            json(200, &results(&format!("{GOOD},{GOOD}"))),
            "another number of items",
            true,
            false,
        ),
        (
            "none",
            json(200, &results("")),
            "another number of items",
            true,
            false,
        ),
        (
            "empty item",
            json(200, &results("{}")),
            "an item of its answer is empty",
            false,
            false,
        ),
        (
            "no base64",
            json(200, &results(r#"{"plaintext":"!!"}"#)),
            "its plaintext is no base64",
            false,
            false,
        ),
        (
            "huge, told",
            Reply::Hang(b"HTTP/1.1 200 X\r\nContent-Length: 999999999\r\n\r\n{".to_vec()),
            "longer than any to what was asked",
            true,
            false,
        ),
        (
            "huge, untold",
            Reply::Hang(format!("HTTP/1.1 200 X\r\n\r\n{}", " ".repeat(90_000)).into_bytes()),
            "longer than any to what was asked",
            true,
            false,
        ),
    ];
    for (name, reply, want, broken, retry) in rows {
        let reply = parking_lot::Mutex::new(Some(reply));
        let fake = healthy(move |_, _| reply.lock().take().expect("one request"));
        let mut session = open(&fake);
        let (served, outcomes) = serve(&mut session, vec![unwrap("k", 1)]);
        let got = shown(outcomes[0].as_ref());
        assert!(got.contains(want), "{name}: {got}");
        assert_eq!(
            served.broken.is_some(),
            broken,
            "{name}: {:?}",
            served.broken
        );
        assert_eq!(served.retry.len(), usize::from(retry), "{name}");
        assert_eq!(served.busy, name == "rate", "{name}");
    }
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
fn jobs_of_one_key_are_one_request_and_results_go_back_in_order() {
    let fake = healthy(|request, _| match request {
        "POST /v1/transit/decrypt/k" => json(
            400,
            &results(&format!(
                r#"{GOOD},{{"plaintext":"","error":"x","reference":""}},{{"plaintext":"dHdv","reference":""}}"#
            )),
        ),
        "POST /v1/transit/encrypt/k" => json(
            200,
            &results(r#"{"ciphertext":"vault:v1:AAAA","key_version":1,"reference":""}"#),
        ),
        _ => json(200, &results(GOOD)),
    });
    let mut session = open(&fake);
    let wrap = Request::Encrypt {
        object: object("k"),
        plaintext: crate::secret::SecretBytes::from_slice(b"one"),
        associated_data: b"aad".to_vec(),
    };
    let derived = Request::Decrypt {
        object: object("k").derived(b"ctx"),
        sealed: vec![9; 30],
        associated_data: Vec::new(),
    };
    let requests = vec![
        unwrap("k", 1),
        wrap,
        unwrap("l", 1),
        unwrap("k", 2),
        unwrap("k", 3),
        Request::Decrypt {
            object: ObjectId("of another back end".into()),
            sealed: vec![0; 30],
            associated_data: Vec::new(),
        },
    ];
    let (served, outcomes) = serve(&mut session, requests);
    let got: Vec<_> = outcomes
        .iter()
        .map(|outcome| shown(outcome.as_ref()))
        .collect();
    let want = [
        "one",
        "Ok(Sealed([0, 0, 0]))",
        "one",
        "Err(Rejected(\"x\"))",
        "two",
        "Err(ObjectNotFound)",
    ];
    assert_eq!(got, want);
    assert_eq!(served.broken, None);
    let bodies = fake.bodies("POST /v1/transit/decrypt/k");
    assert_eq!(bodies.len(), 1);
    assert_eq!(bodies[0].matches("\"ciphertext\":\"vault:v1:").count(), 3);
    assert_eq!(
        fake.bodies("POST /v1/transit/encrypt/k"),
        [r#"{"batch_input":[{"plaintext":"b25l","key_version":1,"associated_data":"YWFk"}]}"#]
    );
    // An item with a context goes apart from those without.
    let (_, outcomes) = serve(&mut session, vec![derived, unwrap("l", 1)]);
    assert_eq!(outcomes.len(), 2);
    let bodies = fake.bodies("POST /v1/transit/decrypt/k");
    assert!(bodies[1].contains(",\"context\":\"Y3R4\""), "{}", bodies[1]);
}

/// Answers every item, and refuses more strings than a Vault reads, or more items than `items_max`.
fn strict(items_max: usize) -> Fake {
    healthy(move |_, body| {
        let items = body.matches("\"ciphertext\"").count();
        let strings = body.matches('"').count() / 2;
        if strings > 1000 || items > items_max {
            let text =
                "refused JSON input due to high complexity: exceeded maximum number of strings";
            return json(400, &format!(r#"{{"errors":["{text}"]}}"#));
        }
        json(200, &results(&vec![GOOD; items].join(",")))
    })
}

#[test]
fn messages_stay_below_what_a_vault_reads() {
    for (name, associated_data, count, want) in [
        ("plain", &b""[..], 600, vec![499, 101]),
        ("with data", b"a", 400, vec![249, 151]),
    ] {
        let fake = strict(usize::MAX);
        let mut session = open(&fake);
        let request = |at: usize| Request::Decrypt {
            object: object("k"),
            sealed: vec![u8::try_from(at % 256).unwrap(); 1],
            associated_data: associated_data.to_vec(),
        };
        let (served, outcomes) = serve(&mut session, (0..count).map(request).collect());
        assert!(
            outcomes
                .iter()
                .all(|outcome| shown(outcome.as_ref()) == "one"),
            "{name}"
        );
        assert_eq!(served.learnt, None, "{name}");
        let bodies = fake.bodies("POST /v1/transit/decrypt/k");
        let sizes: Vec<_> = bodies
            .iter()
            .map(|body| body.matches("\"ciphertext\"").count())
            .collect();
        assert_eq!(sizes, want, "{name}");
    }
}

#[test]
fn a_vault_that_reads_less_is_learnt() {
    let fake = strict(5);
    let mut session = open(&fake);
    let requests = (0..16).map(|at| unwrap("k", at)).collect();
    let (served, outcomes) = serve(&mut session, requests);
    assert!(
        outcomes
            .iter()
            .all(|outcome| shown(outcome.as_ref()) == "one")
    );
    assert_eq!(served.learnt.map(|learnt| learnt.items), Some(4));
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
    let mut session = Session::open(&site, &site.addresses[0], Instant::now() + PATIENCE).unwrap();
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
