//! What the back end does and does not do for clients: sharing, deadlines, failures, purges.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use kms::hsm::HsmError;
use service_support::fake_hsm::{decrypt_body, sealed};
use service_support::{DECRYPT, ENCRYPT, Running, holding, unhurried, until};

#[test]
fn a_late_answer_is_not_given_to_the_next_request() {
    let running = holding("kms.hsm.timeout.ms=50", unhurried());
    let mut device = running.device();
    let late = device.post(DECRYPT, &decrypt_body(b"late"));
    assert_eq!(
        (late.status, late.header("Retry-After")),
        (504, Some("1")),
        "{}",
        late.body
    );
    device.ask("POST", DECRYPT, &decrypt_body(b"next"));
    running.hsm().wait_for_held(2);
    running.hsm().release(2);
    let next = device.answer();
    assert!(
        next.body.contains("bmV4dA==") || next.status == 504,
        "{}",
        next.body
    );
    assert!(!next.body.contains("bGF0ZQ=="), "{}", next.body);
    assert_eq!(running.node.shared().engine.in_flight(), 0);
    running.stop();
}

#[test]
fn a_leaders_deadline_is_not_shared() {
    let running = holding("kms.hsm.timeout.ms=5000", unhurried());
    let (mut leader, mut joiner) = (running.device(), running.device());
    leader.ask("POST", DECRYPT, &decrypt_body(b"x"));
    running.hsm().wait_for_held(1);
    joiner.ask("POST", DECRYPT, &decrypt_body(b"x"));
    until("the join", || {
        running.node.shared().metrics.sum(|worker| &worker.joins) == 1
    });
    running.hsm().fail(Some(HsmError::TimedOut));
    running.hsm().release(1);
    assert_eq!(leader.answer().status, 504);
    running.hsm().wait_for_held(1);
    running.hsm().fail(None);
    running.hsm().release_all();
    assert_eq!(joiner.answer().status, 200, "asked for itself");
    running.stop();
}

#[test]
fn the_key_itself_may_be_waited_for() {
    let running = Running::fake("kms.hsm.timeout.ms=5000", unhurried());
    running.hsm().hold();
    let (mut leader, mut joiner) = (running.device(), running.device());
    leader.ask("POST", DECRYPT, &decrypt_body(b"x"));
    running.hsm().wait_for_held(1);
    joiner.ask("POST", DECRYPT, &decrypt_body(b"x"));
    let mut reader = running.device();
    reader.ask("GET", "/v1/transit/keys/k", "");
    // One answer of another connection: what was sent before it has been read by one worker each.
    assert_eq!(running.device().post("/v1/nothing", "").status, 404);
    running.hsm().release_all();
    for answer in [leader.answer(), joiner.answer(), reader.answer()] {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    running.stop();
}

#[test]
fn equal_misses_of_many_clients_are_one_job() {
    let running = Running::fake("", unhurried());
    let mut devices: Vec<_> = (0..20).map(|_| running.device()).collect();
    assert_eq!(devices[0].post(DECRYPT, &decrypt_body(b"warm")).status, 200);
    running.hsm().hold();
    for device in &mut devices {
        device.ask("POST", DECRYPT, &decrypt_body(b"same"));
    }
    until("all joined", || {
        running.node.shared().metrics.sum(|worker| &worker.joins) == 19
    });
    running.hsm().release_all();
    for device in &mut devices {
        assert!(device.answer().body.contains("c2FtZQ=="));
    }
    assert_eq!(running.hsm().count("decrypt"), 2);
    // Wraps are never shared, and never fill the cache.
    let wrapped = devices[0].post(ENCRYPT, r#"{"plaintext":"bmV3"}"#);
    assert!(wrapped.body.contains(&sealed(b"new")), "{}", wrapped.body);
    assert_eq!(devices[0].post(DECRYPT, &decrypt_body(b"new")).status, 200);
    assert_eq!(
        running.hsm().count("decrypt"),
        3,
        "asked, though this node has just wrapped it"
    );
    running.stop();
}

type Row = (
    &'static str,
    HsmError,
    u16,
    Option<&'static str>,
    &'static str,
);

fn faults() -> Vec<Row> {
    vec![
        (
            "queue full",
            HsmError::Overloaded,
            503,
            Some("1"),
            "too many operations wait for the HSM",
        ),
        (
            "gone",
            HsmError::Unavailable("no route".into()),
            503,
            Some("1"),
            "the HSM is not reachable",
        ),
        (
            "slow",
            HsmError::TimedOut,
            504,
            Some("1"),
            "the HSM did not answer in time",
        ),
        (
            "lying",
            HsmError::Protocol("an unknown item"),
            502,
            None,
            "the HSM's answer could not be used: an unknown item",
        ),
        (
            "no memory",
            HsmError::NoLockedMemory,
            503,
            Some("1"),
            "no locked memory is free for the key",
        ),
        (
            "dropped",
            HsmError::Abandoned,
            503,
            Some("1"),
            "the server is stopping",
        ),
        (
            "no object",
            HsmError::ObjectNotFound,
            400,
            None,
            "encryption key not found",
        ),
    ]
}

#[test]
fn failures_of_the_hsm_are_told_and_warm_keys_served() {
    let running = Running::fake("", unhurried());
    let mut device = running.device();
    assert_eq!(device.post(DECRYPT, &decrypt_body(b"warm")).status, 200);
    let cold = decrypt_body(b"cold");
    for (name, fault, status, retry, text) in faults() {
        running.hsm().fail(Some(fault));
        for path in [DECRYPT, ENCRYPT] {
            let body = if path == DECRYPT {
                cold.clone()
            } else {
                r#"{"plaintext":"aGk="}"#.to_owned()
            };
            let answer = device.post(path, &body);
            assert_eq!(
                (answer.status, answer.header("Retry-After")),
                (status, retry),
                "{name}: {}",
                answer.body
            );
            assert_eq!(
                answer.body,
                format!("{{\"errors\":[\"{text}\"]}}\n"),
                "{name}"
            );
            let batch = device.post(path, &format!("{{\"batch_input\":[{body}]}}"));
            assert_eq!(
                (batch.status, batch.header("Retry-After")),
                (status, retry),
                "{name}: {}",
                batch.body
            );
            assert!(
                batch.body.contains(&format!("\"error\":\"{text}\"")),
                "{name}: {}",
                batch.body
            );
        }
        assert_eq!(
            device.post(DECRYPT, &decrypt_body(b"warm")).status,
            200,
            "{name}: warm"
        );
    }
    running.hsm().fail(None);
    assert_eq!(
        device.post(DECRYPT, &cold).status,
        200,
        "recovers at once: only refusals are remembered"
    );
    running.stop();
}

#[test]
fn a_refused_ciphertext_is_asked_about_once() {
    let running = Running::fake("", unhurried());
    let mut device = running.device();
    let body = decrypt_body(b"x").replace("VFRU", "AAAA");
    for _ in 0..3 {
        let answer = device.post(DECRYPT, &body);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (
                400,
                "{\"errors\":[\"cipher: message authentication failed\"]}\n"
            )
        );
    }
    assert_eq!(running.hsm().count("decrypt"), 1);
    running.stop();
}

#[test]
fn a_purge_during_a_fill_keeps_the_fill_out() {
    let running = Running::fake("", unhurried());
    let mut device = running.device();
    assert_eq!(device.post(DECRYPT, &decrypt_body(b"warm")).status, 200);
    running.hsm().hold();
    device.ask("POST", DECRYPT, &decrypt_body(b"begun"));
    running.hsm().wait_for_held(1);
    running.node.shared().engine.cache().purge_all();
    running.hsm().release_all();
    assert_eq!(
        device.answer().status,
        200,
        "whoever asked before is answered"
    );
    assert_eq!(device.post(DECRYPT, &decrypt_body(b"begun")).status, 200);
    assert_eq!(running.hsm().count("decrypt"), 3, "asked again");
    running.stop();
}

#[test]
fn a_dropped_job_is_answered() {
    let running = Running::fake("", unhurried());
    let mut device = running.device();
    running.hsm().hold();
    device.ask("POST", DECRYPT, &decrypt_body(b"x"));
    running.hsm().wait_for_held(1);
    running.hsm().drop_one();
    assert_eq!(device.answer().status, 503);
    assert_eq!(running.node.shared().engine.in_flight(), 0);
    running.stop();
}
