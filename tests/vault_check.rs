//! `kms check` as operators run it, with a real OpenBao behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod vault_support;

use std::path::{Path, PathBuf};
use std::process::Command;

use vault_support::service_support::House;
use vault_support::{Bao, house, lines, write_secret};

fn configured(house: &House, text: &str) -> PathBuf {
    let file = house.dir.path().join("kms.properties");
    write_secret(&file, &house.properties(text));
    file
}

/// Exit code, and all that it said.
fn kms(config: &Path, more: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kms"));
    command.args(["check", "--config"]).arg(config).args(more);
    let done = command.output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    (
        done.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

#[test]
fn a_check_says_what_answers_and_how_long_the_token_lives() {
    let house = house();
    let bao = Bao::start(&house);
    let token = bao.token(r#","ttl":"1h""#);
    for (name, set, want) in [
        (
            "good",
            format!("kms.hsm.vault.token={token}"),
            "(Vault 2.7.2); token good for 3",
        ),
        (
            "wrong token",
            "kms.hsm.vault.token=s.wrong".to_owned(),
            "is down: the token is not good (any more) (permission denied)",
        ),
        (
            "no namespace",
            format!("kms.hsm.vault.token={token}\nkms.hsm.vault.namespace=x"),
            "is down: the Vault has no such namespace",
        ),
    ] {
        let config = configured(&house, &lines(bao.port, &set));
        let (code, said) = kms(&config, &[]);
        assert!(said.contains(want), "{name}: {said}");
        // The embedded back end's lines are ignored with a warning.
        assert_eq!(code, 1, "{name}: {said}");
        assert!(!said.contains(&token), "{name}: the token is shown");
    }
    bao.seal();
    let (_, said) = kms(&house.dir.path().join("kms.properties"), &[]);
    assert!(
        said.contains("is down: the Vault is sealed: unseal it"),
        "{said}"
    );
}

#[test]
fn the_printed_policy_is_one() {
    let house = house();
    let bao = Bao::start(&house);
    let config = configured(&house, &lines(bao.port, "kms.hsm.vault.token=t"));
    let (code, printed) = kms(&config, &["--vault-policy"]);
    assert_eq!(code, 0, "{printed}");
    bao.policy("printed", &printed);
    let token = bao.token_of(r#""policies":["printed"]"#);
    for (method, path, want) in [
        ("POST", "transit/keys/k", 200),
        ("GET", "transit/keys/k", 200),
        ("DELETE", "transit/keys/k", 403),
        ("POST", "transit/datakey/plaintext/k", 403),
    ] {
        assert_eq!(bao.ask(method, path, &token, "").0, want, "{method} {path}");
    }
    let embedded = configured(&house, "");
    let (code, said) = kms(&embedded, &["--vault-policy"]);
    assert_eq!(code, 2);
    assert!(said.contains("kms.hsm.protocol is not VAULT"), "{said}");
}

#[test]
fn a_check_sends_a_data_key_there_and_back() {
    let house = house();
    let bao = Bao::start(&house);
    bao.root("POST", "transit/keys/orders", "");
    let token = bao.token(r#","ttl":"1h""#);
    let config = configured(
        &house,
        &lines(bao.port, &format!("kms.hsm.vault.token={token}")),
    );
    for (name, code, want) in [
        (
            &["--key", "orders"][..],
            1,
            "wrapped and unwrapped a data key under 'orders' version 1 in ",
        ),
        (
            &[],
            1,
            "wrapped and unwrapped a data key under 'orders' version 1 in ",
        ),
        (&["--key", "order"], 2, "key 'order': there is no such key"),
    ] {
        let (got, said) = kms(&config, name);
        assert_eq!(got, code, "{name:?}: {said}");
        assert!(said.contains(want), "{name:?}: {said}");
    }
}
