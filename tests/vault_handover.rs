//! A site hands over: its `bao` is pointed at us instead of at its Vault, and its old ciphertexts open.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod vault_support;

use std::fs;
use std::process::Command;

use vault_support::{Bao, ROOT, house, ready};

const PLAINTEXT: &str = "b2xkIHNlY3JldA==";

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn bao_is_pointed_at_us_instead() {
    let house = house();
    let bao = Bao::start(&house);
    let there = |arguments: &[&str]| {
        let mut command = bao.cli(&bao.plain_url());
        said(command.env("VAULT_TOKEN", ROOT).args(arguments))
    };
    there(&["write", "-f", "transit/keys/orders"]);
    let wrap = format!("plaintext={PLAINTEXT}");
    let old = there(&[
        "write",
        "-field=ciphertext",
        "transit/encrypt/orders",
        &wrap,
    ]);
    assert!(old.starts_with("vault:v1:"), "{old}");
    let unwrap = format!("ciphertext={old}");
    let question = [
        "write",
        "-field=plaintext",
        "transit/decrypt/orders",
        &unwrap,
    ];
    assert_eq!(there(&question), PLAINTEXT);

    let file = |name: &str, text: &str| {
        let path = house.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let authority = file("ca.crt", &house.authority.cert_pem());
    let certificate = file("device.crt", &house.device.cert_pem);
    let key = file("device.key", house.device.key_pem.expose());
    let running = ready(&bao, house, "");
    let url = format!("https://localhost:{}", running.address().port());
    let here = |arguments: &[&str]| {
        let mut command = bao.cli(&url);
        command.env("VAULT_CACERT", &authority);
        command.env("VAULT_CLIENT_CERT", &certificate);
        command.env("VAULT_CLIENT_KEY", &key);
        said(command.args(arguments))
    };
    assert_eq!(here(&question), PLAINTEXT, "its old ciphertext, from us");
    let new = here(&[
        "write",
        "-field=ciphertext",
        "transit/encrypt/orders",
        &wrap,
    ]);
    let unwrap = format!("ciphertext={new}");
    let question = [
        "write",
        "-field=plaintext",
        "transit/decrypt/orders",
        &unwrap,
    ];
    assert_eq!(there(&question), PLAINTEXT, "and the way back is open");
    running.stop();
}
