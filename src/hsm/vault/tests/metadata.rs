//! The Azure login against a metadata service and a Vault that answer whatever the test says.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::azure::{Azure, LoginError, log_in_with};
use super::*;

const MACHINE: &str = r#"{"compute":{"name":"vm","resourceGroupName":"rg","subscriptionId":"s","vmScaleSetName":"set"}}"#;
const TOKEN: &str = r#"{"access_token":"e.y.J","expires_in":"3599","expires_on":"1506484173"}"#;
const LOGIN: &str = r#"{"auth":{"client_token":"s.new","lease_duration":30,"renewable":true}}"#;

/// Logs in at one server that is both; the first answers of the metadata service have these statuses.
fn log_in(
    statuses: &'static [u16],
    vault: (u16, &'static str),
) -> (Result<String, LoginError>, Fake) {
    let asked = AtomicUsize::new(0);
    let fake = Fake::start(move |request, _| {
        if request.starts_with("POST /v1/auth/azure/login") {
            return json(vault.0, vault.1);
        }
        let status = statuses.get(asked.fetch_add(1, Ordering::Relaxed));
        match status.copied().unwrap_or(200) {
            200 if request.contains("/instance") => json(200, MACHINE),
            200 => json(200, TOKEN),
            status => json(status, r#"{"error":"e","error_description":"why"}"#),
        }
    });
    let azure = Azure {
        role: "kms".to_owned(),
        path: "/v1/auth/azure/login".to_owned(),
        resource: "https://vault.example/".to_owned(),
        metadata: ([127, 0, 0, 1], fake.port).into(),
    };
    let done = log_in_with(&site(fake.port), &azure, PATIENCE, &[0; 6]);
    (done.map(|(token, _)| token.expose().to_owned()), fake)
}

#[test]
fn what_passes_is_tried_again_and_what_does_not_is_not() {
    for (name, statuses, want, asked) in [
        ("at once", &[][..], "Ok(\"s.new\")", 2),
        ("after a while", &[429, 500, 404, 503], "Ok(\"s.new\")", 6),
        ("updated", &[410, 410, 410, 410, 410], "Ok(\"s.new\")", 7),
        ("busy for ever", &[429; 9], "HTTP 429 e: why", 5),
        ("updating for ever", &[410; 9], "it is being updated", 6),
        (
            "refused",
            &[400],
            "Err(Refused(\"Azure's metadata service: HTTP 400 e: why\"))",
            1,
        ),
    ] {
        let (done, fake) = log_in(statuses, (200, LOGIN));
        let got = format!("{done:?}");
        assert!(got.contains(want), "{name}: {got}");
        let seen = fake.seen.lock();
        let metadata = seen.iter().filter(|(head, _)| head.starts_with("GET"));
        assert_eq!(metadata.count(), asked, "{name}");
    }
}

#[test]
fn the_login_shows_the_machine_and_its_token() {
    let (_, fake) = log_in(&[], (200, LOGIN));
    let seen = fake.seen.lock();
    let [(instance, _), (token, _), (login, body)] = seen.as_slice() else {
        panic!("{seen:?}")
    };
    for head in [instance, token] {
        let lower = head.to_lowercase();
        assert!(lower.contains("\r\nmetadata: true"), "{head}");
        assert!(lower.contains("api-version=2018-02-01"), "{head}");
        assert!(!lower.contains("x-vault"), "{head}");
    }
    assert!(
        token.contains("&resource=https%3A%2F%2Fvault.example%2F "),
        "{token}"
    );
    assert!(
        login.to_lowercase().contains("x-vault-namespace: team"),
        "{login}"
    );
    assert!(!login.to_lowercase().contains("x-vault-token"), "{login}");
    assert_eq!(
        body,
        r#"{"role":"kms","jwt":"e.y.J","subscription_id":"s","resource_group_name":"rg","vm_name":"vm","vmss_name":"set"}"#
    );
}

#[test]
fn a_refused_login_is_told_from_a_server_in_trouble() {
    for (status, body, want) in [
        (
            400,
            r#"{"errors":["role \"x\" could not be found"]}"#,
            "Refused(\"role \\\"x\\\" could not be found (HTTP 400)",
        ),
        (
            403,
            r#"{"errors":["permission denied"]}"#,
            "kms.hsm.vault.auth.azure.path",
        ),
        (500, r#"{"errors":["oh"]}"#, "Trouble(\"oh (HTTP 500)"),
        (
            503,
            r#"{"errors":["Vault is sealed"]}"#,
            "it answers HTTP 503: Vault is sealed",
        ),
        (200, "{}", "its answer to a login has no token"),
        (200, "<html>", "its answer to a login is no JSON"),
    ] {
        let got = format!("{:?}", log_in(&[], (status, body)).0);
        assert!(got.contains(want), "{status} {body}: {got}");
    }
}
