//! Every keystore that an operator may get wrong, with the very words that `kms check`, `kms serve` and a reload have
//! for it: what is refused is refused by all three, a running node serves on with what it had, and what is only
//! doubtful is told by all three.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod service_support;

#[path = "../src/keystore/jks/encoder.rs"]
mod encoder;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use encoder::{Entry, JKS, protect_jks};
use kms::node::Node;
use serde_json::Value;
use service_support::on_disk::{UNWRAP, issue, keystore, replace, start, store, wrap};
use service_support::{House, file};

const PLAINTEXT: &str = "c2VjcmV0IG9mIGEgZGV2aWNl";

/// Whether it is refused, or taken with a warning.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Verdict {
    Refused,
    Warned,
}
use Verdict::{Refused, Warned};

/// Name, what is done to the files, what comes of it, and the words; STORE stands for the keystore's path.
type Row = (&'static str, fn(&House), Verdict, &'static str);

const ROWS: &[Row] = &[
    (
        "a truncated keystore",
        |house| half(house, &good(house)),
        Refused,
        "keystore STORE: the PKCS12 keystore is cut short: copy it again from its source",
    ),
    (
        "a truncated keystore in JKS, whose checksum comes first",
        |house| {
            half(
                house,
                &jks(house, &["kmsServer", "cmxDevice", "cmxBackend"], &[0]),
            );
        },
        Refused,
        "keystore STORE: the store password is wrong, or the file is damaged (its checksum cannot tell which): \
         try it with: kms keystore list FILE",
    ),
    (
        "an empty keystore",
        |house| replace(&store(house), b""),
        Refused,
        "keystore STORE: this is not a keystore: a JKS, JCEKS or PKCS12 file is wanted, and this looks like an empty \
         file; make a keystore with: openssl pkcs12 -export -inkey KEY -in CHAIN -name ALIAS -out NEW.p12, or for a \
         trusted certificate: keytool -importcert -alias ALIAS -file CERT -keystore NEW.p12",
    ),
    (
        "a wrong password",
        |house| {
            let pins = [("cmxDevice", &house.device), ("cmxBackend", &house.backend)];
            let bytes = keystore(&issue(house, "kmsServer", true), &pins, "another");
            replace(&store(house), &bytes);
        },
        Refused,
        "keystore STORE: the store password is wrong, or the file is damaged (its checksum cannot tell which): \
         try it with: kms keystore list FILE",
    ),
    (
        "a key that is not its certificate's",
        |house| {
            replace(
                &store(house),
                &jks(house, &["kmsServer", "cmxDevice", "cmxBackend"], &[2]),
            );
        },
        Refused,
        "keystore STORE: the private key 'kmsserver' does not belong to its certificate: import the certificate that \
         was issued for this key",
    ),
    (
        "a chain in the wrong order",
        |house| {
            replace(
                &store(house),
                &jks(house, &["kmsServer", "cmxDevice", "cmxBackend"], &[1, 0]),
            );
        },
        Warned,
        "the chain of 'kmsserver' is not in order in the keystore: its own certificate must come first, then each \
         issuer. It is used in order, 2 of 2 certificates; kms keystore convert writes it so",
    ),
    (
        "a chain with a certificate of somebody else",
        |house| {
            replace(
                &store(house),
                &jks(house, &["kmsServer", "cmxDevice", "cmxBackend"], &[0, 2]),
            );
        },
        Warned,
        "the chain of 'kmsserver' is not in order in the keystore: its own certificate must come first, then each \
         issuer. It is used in order, 1 of 2 certificates; kms keystore convert writes it so",
    ),
    (
        "two aliases that are the same but for case",
        |house| {
            replace(
                &store(house),
                &jks(house, &["kmsServer", "cmxDevice", "CMXdevice"], &[0]),
            );
        },
        Refused,
        "keystore STORE: the aliases 'cmxDevice' and 'CMXdevice' are the same, as letter case does not count: \
         rename one with: keytool -changealias -alias 'CMXdevice' -destalias NEW",
    ),
    (
        "no keystore",
        |house| fs::remove_file(store(house)).unwrap(),
        Refused,
        "kms.keystore.file: STORE cannot be read: No such file or directory (os error 2)",
    ),
    (
        "a folder in its place",
        |house| {
            fs::remove_file(store(house)).unwrap();
            fs::create_dir(store(house)).unwrap();
        },
        Refused,
        "kms.keystore.file: STORE cannot be read: it is no regular file",
    ),
    (
        "a server alias that is not there",
        |house| properties(house, "kms.server.alias=kmsSever"),
        Refused,
        "kms.server.alias: the keystore has no 'kmssever'; did you mean 'kmsserver'? It holds: kmsserver, cmxbackend, \
         cmxdevice",
    ),
    (
        "a role of which no alias is there",
        |house| {
            properties(
                house,
                "kms.role.audit.aliases=cmxAuditor\nkms.role.audit.operations=read",
            );
        },
        Warned,
        "role `audit` has no certificate: no trusted entry of the keystore matches kms.role.audit.aliases = cmxauditor",
    ),
    (
        "a role of which one alias is not there",
        |house| {
            properties(
                house,
                "kms.role.device.aliases=cmxDevice,cmxDevcie2\nkms.role.backend.aliases=cmxBackend*",
            );
        },
        Warned,
        "role `device` names the alias `cmxdevcie2`, and no trusted entry of the keystore has it: import that \
         certificate, or correct kms.role.device.aliases",
    ),
];

fn good(house: &House) -> Vec<u8> {
    fs::read(store(house)).unwrap()
}

fn half(house: &House, bytes: &[u8]) {
    replace(&store(house), &bytes[..bytes.len() / 2]);
}

fn properties(house: &House, more: &str) {
    replace(
        &file(house, "kms.properties"),
        house.properties(more).as_bytes(),
    );
}

/// A JKS with a server key and two pins under these aliases. Of the chain's certificates 0 is the key's own, 1 its
/// authority's and 2 that of another key.
fn jks(house: &House, aliases: &[&str; 3], chain: &[usize]) -> Vec<u8> {
    let (own, other) = (
        issue(house, "kmsServer", true),
        issue(house, "kmsServer", true),
    );
    let all = [
        &own.cert_der[..],
        house.authority.cert_der(),
        &other.cert_der,
    ];
    let entries = [
        Entry::Key {
            alias: aliases[0].as_bytes(),
            protected: protect_jks(own.key_pkcs8_der.expose(), "secret"),
            chain: chain.iter().map(|&at| all[at]).collect(),
        },
        Entry::Trusted {
            alias: aliases[1].as_bytes(),
            certificate: &house.device.cert_der,
        },
        Entry::Trusted {
            alias: aliases[2].as_bytes(),
            certificate: &house.backend.cert_der,
        },
    ];
    encoder::store(JKS, 2, &entries, "secret")
}

/// `kms check --json`: exit code, errors, warnings.
fn check(house: &House) -> (i32, Vec<String>, Vec<String>) {
    let output = kms(house, &["check", "--json"]);
    let report: Value = serde_json::from_str(&output.1).unwrap_or_else(|_| panic!("{}", output.1));
    let list = |name: &str| {
        let all = report[name].as_array().unwrap().iter();
        all.map(|one| one.as_str().unwrap().to_owned()).collect()
    };
    (output.0, list("errors"), list("warnings"))
}

/// Exit code and output of a command that ends.
fn kms(house: &House, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kms"));
    command
        .args(args)
        .arg("--config")
        .arg(file(house, "kms.properties"));
    let output = command.output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), text)
}

/// A house whose configuration is on the disk, for commands that read it.
fn house() -> House {
    let house = House::build();
    fs::write(file(&house, "kms.properties"), house.properties("")).unwrap();
    house
}

fn words(house: &House, text: &str) -> String {
    text.replace("STORE", store(house).to_str().unwrap())
}

#[test]
fn check_and_start_refuse_or_warn_in_these_words() {
    for (name, spoil, verdict, text) in ROWS {
        let house = house();
        spoil(&house);
        let want = words(&house, text);
        let (code, errors, warnings) = check(&house);
        if *verdict == Refused {
            assert_eq!((code, errors), (2, vec![want.clone()]), "{name}");
            let (code, said) = kms(&house, &["serve"]);
            assert_eq!(code, 2, "{name}: {said}");
            let last = said.lines().last().unwrap();
            assert_eq!(last, format!("kms: {want}"), "{name}: {said}");
        } else {
            assert_eq!((code, errors.len()), (1, 0), "{name}: {errors:?}");
            assert!(warnings.contains(&want), "{name}: {warnings:#?}");
            let config = kms::config::load(&file(&house, "kms.properties"), [])
                .unwrap()
                .config;
            let node = Node::start(&config, kms::node::Options::default()).unwrap();
            drop(node);
        }
    }
}

#[test]
fn a_reload_refuses_or_warns_in_the_same_words_and_the_old_state_serves() {
    let running = start("");
    let house = &running.house;
    let (body, good, text) = (wrap(&running, PLAINTEXT), good(house), house.properties(""));
    let mut old = running.backend();
    for (name, spoil, verdict, told) in ROWS {
        spoil(house);
        let want = words(house, told);
        match (running.node.reloader().reload(), *verdict) {
            (Err(why), Refused) => assert_eq!(why.to_string(), want, "{name}"),
            (Ok(report), Warned) => assert!(report.warnings.contains(&want), "{name}: {report:#?}"),
            (other, _) => panic!("{name}: {other:?}"),
        }
        assert_eq!(
            old.post(UNWRAP, &body).status,
            200,
            "{name}: an open connection"
        );
        assert_eq!(
            running.backend().post(UNWRAP, &body).status,
            200,
            "{name}: a new one"
        );
        let path = store(house);
        if path.is_dir() {
            fs::remove_dir(&path).unwrap();
        }
        replace(&path, &good);
        replace(&file(house, "kms.properties"), text.as_bytes());
        running.node.reloader().reload().unwrap();
    }
    running.stop();
}

#[test]
fn a_chain_in_the_wrong_order_is_sent_in_order() {
    let running = start("");
    let house = &running.house;
    replace(
        &store(house),
        &jks(house, &["kmsServer", "cmxDevice", "cmxBackend"], &[1, 0]),
    );
    running.node.reloader().reload().unwrap();
    let client = running.backend();
    let chain = client.tls.conn.peer_certificates().unwrap();
    assert_eq!(chain.len(), 2);
    assert_eq!(chain[1].as_ref(), house.authority.cert_der());
    running.stop();
}

/// As the service's own user, for root may read everything.
#[test]
fn a_keystore_that_may_not_be_read_is_told_so() {
    let house = house();
    let program = house.dir.path().join("kms");
    fs::copy(env!("CARGO_BIN_EXE_kms"), &program).unwrap();
    let mode = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(house.dir.path(), 0o755);
    mode(&program, 0o755);
    mode(&store(&house), 0o000);
    mode(&file(&house, "kms.properties"), 0o644);
    for args in [["check", "--json"], ["serve", ""]] {
        let args = args.into_iter().filter(|word| !word.is_empty());
        let mut command = Command::new("setpriv");
        if rustix::process::geteuid().is_root() {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        }
        command
            .arg(&program)
            .args(args)
            .arg("--config")
            .arg(file(&house, "kms.properties"));
        let done = command.output().unwrap();
        let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
        let want = words(
            &house,
            "kms.keystore.file: STORE cannot be read: Permission denied (os error 13)",
        );
        assert_eq!(done.status.code(), Some(2), "{said}");
        assert!(said.contains(&want), "{said}");
    }
}
