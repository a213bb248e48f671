//! How jobs become requests: by key, in order, and no larger than a Vault reads.

use super::*;

fn unwrap_of(object: ObjectId) -> Request {
    Request::Decrypt {
        object,
        sealed: vec![9; 30],
        associated_data: Vec::new(),
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
    let foreign = unwrap_of(ObjectId("of another back end".into()));
    let [first, second, third, other] =
        [("k", 1), ("k", 2), ("k", 3), ("l", 1)].map(|(name, byte)| unwrap(name, byte));
    let requests = vec![first, wrap, other, second, third, foreign];
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
    let (_, outcomes) = serve(
        &mut session,
        vec![unwrap_of(object("k").derived(b"ctx")), unwrap("l", 1)],
    );
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
