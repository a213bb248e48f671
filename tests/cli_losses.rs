//! What a hasty order to `kms keystore` and `kms cert` must not lose: private keys, secret keys, the old file; and what
//! becomes of a command whose reader has left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const PASSWORD: &str = "changeit-1";

fn run(folder: &Path, program: &str, line: &str) -> (i32, String) {
    let mut command = Command::new(program);
    command.current_dir(folder).args(line.split(' '));
    let done = command
        .env("KMS_KEYSTORE_PASSWORD", PASSWORD)
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed ({error}): run ./test install"));
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    (done.status.code().unwrap_or(-1), said)
}

fn good(folder: &Path, program: &str, line: &str) -> String {
    let (code, said) = run(folder, program, line);
    assert_eq!(code, 0, "{program} {line}: {said}");
    said
}

const KMS: &str = env!("CARGO_BIN_EXE_kms");

/// A trial's certificates, in a folder of its own.
fn trial() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    good(folder.path(), KMS, "cert new t");
    folder
}

fn keytool(folder: &Path, line: &str) -> String {
    good(folder, "keytool", &format!("{line} -storepass {PASSWORD}"))
}

#[test]
fn a_private_key_is_kept_by_whoever_replaces_its_certificate_alone() {
    let folder = trial();
    let at = folder.path();
    let store = at.join("t/kmsKeystore.p12");
    // Signed anew for the same key, as keytool -importcert takes it.
    good(
        at,
        "openssl",
        "x509 -in t/kmsServer.crt -signkey t/kmsServer.key -days 300 -set_serial 77 -out again.crt",
    );
    let line = "keystore import t/kmsKeystore.p12 --alias kmsServer --cert again.crt";
    let (code, said) = run(at, KMS, line);
    assert!(code == 2 && said.contains("--replace"), "{said}");
    good(at, KMS, &format!("{line} --replace"));
    let listed = keytool(at, "-list -v -keystore t/kmsKeystore.p12 -alias kmsServer");
    assert!(
        listed.contains("PrivateKeyEntry") && listed.contains("Serial number: 4d"),
        "{listed}"
    );
    let before = fs::read(&store).unwrap();
    for (name, source) in [
        ("a certificate of another key", "--cert t/cmxDevice.crt"),
        (
            "another keystore's certificate",
            "--from trusted.p12 --from-password-file pw",
        ),
    ] {
        fs::write(at.join("pw"), PASSWORD).unwrap();
        if !at.join("trusted.p12").exists() {
            good(at, KMS, "keystore init trusted.p12");
            good(
                at,
                KMS,
                "keystore import trusted.p12 --alias a --cert t/cmxDevice.crt",
            );
        }
        let line =
            format!("keystore import t/kmsKeystore.p12 --alias kmsServer --replace {source}");
        let (code, said) = run(at, KMS, &line);
        assert!(code == 2 && said.contains("private key"), "{name}: {said}");
        assert!(fs::read(&store).unwrap() == before, "{name}");
    }
}

#[test]
fn a_secret_key_is_told_and_not_dropped() {
    let folder = trial();
    let at = folder.path();
    keytool(
        at,
        "-genseckey -alias theirs -keyalg AES -keysize 256 -storetype PKCS12 -keystore s.p12",
    );
    keytool(
        at,
        "-importcert -noprompt -alias cmxDevice -file t/cmxDevice.crt -keystore s.p12",
    );
    let before = fs::read(at.join("s.p12")).unwrap();
    let said = good(at, KMS, "keystore list s.p12");
    assert!(
        said.contains("entries 2") && said.contains("theirs: secret key"),
        "{said}"
    );
    for line in [
        "keystore import s.p12 --alias cmxBackend --cert t/cmxBackend.crt",
        "keystore remove s.p12 --alias cmxDevice",
        "keystore convert s.p12 --to other.p12",
    ] {
        let (code, said) = run(at, KMS, line);
        assert!(
            code == 2 && said.contains("-delete -alias 'theirs'"),
            "{line}: {said}"
        );
    }
    assert!(fs::read(at.join("s.p12")).unwrap() == before && !at.join("other.p12").exists());
}

#[test]
fn a_password_that_pkcs12_cannot_have_is_changed_on_the_way() {
    let folder = trial();
    let at = folder.path();
    let old = "p\u{e4}ssw\u{f6}rd";
    fs::write(at.join("old"), old).unwrap();
    fs::write(at.join("new"), PASSWORD).unwrap();
    fs::write(at.join("short"), "x").unwrap();
    let line = format!(
        "-importcert -noprompt -alias a -file t/ca.crt -storetype JKS -keystore a.jks -storepass {old}"
    );
    good(at, "keytool", &line);
    let convert = "keystore convert a.jks --to a.p12 --password-file old";
    for (more, want) in [
        ("", "--to-password-file"),
        (" --to-password-file short", "at least 6"),
    ] {
        let (code, said) = run(at, KMS, &format!("{convert}{more}"));
        assert!(code == 2 && said.contains(want), "{said}");
    }
    good(at, KMS, &format!("{convert} --to-password-file new"));
    assert!(keytool(at, "-list -keystore a.p12").contains("trustedCertEntry"));
}

/// Name, arguments (`|` between them), what is told; exit code 2 each.
const BAD: &[(&str, &str, &str)] = &[
    (
        "no alias",
        "keystore|import|t/kmsKeystore.p12|--alias||--cert|t/ca.crt",
        "--alias",
    ),
    (
        "an alias of two lines",
        "keystore|import|t/kmsKeystore.p12|--alias|a\nb|--cert|t/ca.crt",
        "--alias",
    ),
    (
        "an alias with a space behind",
        "keystore|import|t/kmsKeystore.p12|--alias|a |--cert|t/ca.crt",
        "--alias",
    ),
    ("no name", "cert|csr|x|--common-name|", "--common-name"),
    (
        "no keystore",
        "keystore|import|none.p12|--alias|a|--cert|t/ca.crt",
        "kms keystore init none.p12",
    ),
    (
        "a wrong password",
        "keystore|list|t/kmsKeystore.p12|--password-file|t/ca.crt",
        "give the right password",
    ),
    (
        "no password file",
        "keystore|list|t/kmsKeystore.p12|--password-file|none",
        "the password file none",
    ),
    (
        "a folder that is there",
        "cert|handover|t|--url|https://x|--cert|t/cmxBackend.crt|--key|t/cmxBackend.key",
        "t exists",
    ),
    (
        "key of another",
        "cert|verify|t/ca.crt|--key|t/cmxBackend.key",
        "'t/cmxBackend.key'",
    ),
    (
        "no audit key",
        "audit|verify|t/ca.crt|--key-file|none",
        "--key-file: none cannot be read",
    ),
    (
        "a wrong audit key",
        "audit|verify|t/ca.crt|--key-file|t/ca.crt",
        "64 hexadecimal digits",
    ),
];

#[test]
fn what_is_bad_is_told_with_its_remedy() {
    let folder = trial();
    for (name, line, want) in BAD {
        let mut command = Command::new(KMS);
        command.current_dir(folder.path()).args(line.split('|'));
        let done = command
            .env("KMS_KEYSTORE_PASSWORD", PASSWORD)
            .output()
            .unwrap();
        let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
        assert!(
            done.status.code() == Some(2) && said.contains(want),
            "{name}: {said}"
        );
    }
    let said = run(
        folder.path(),
        KMS,
        "cert verify t/kmsServer.crt --ca t/kmipSigningCA.crt --json",
    );
    let json: serde_json::Value = serde_json::from_str(&said.1).unwrap();
    assert_eq!(said.0, 2);
    assert_eq!(json["certificates"][0]["subject"], "CN=kmsServer");
    assert_eq!(json["errors"].as_array().map(Vec::len), Some(1), "{json}");
}

#[test]
fn a_reader_that_leaves_is_no_panic_and_a_full_disk_is_told() {
    let folder = trial();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    for (name, out, code, want) in [
        ("nobody reads", Stdio::from(writer), 141, ""),
        (
            "disk full",
            Stdio::from(full),
            2,
            "kms: standard output cannot be written",
        ),
    ] {
        let done = Command::new(KMS)
            .current_dir(folder.path())
            .args(["keystore", "list", "t/kmsKeystore.p12"])
            .env("KMS_KEYSTORE_PASSWORD", PASSWORD)
            .stdout(out)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(code), "{name}: {said}");
        assert!(
            said.starts_with(want) && said.is_empty() == want.is_empty(),
            "{name}: {said}"
        );
    }
}
