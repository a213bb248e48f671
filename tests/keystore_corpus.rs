//! Keystores made by the real keytool and openssl: what we read is what Java reads, or is refused
//! with the right error. Needs openssl 3 and JDK 17 (`./test` installs them).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    missing_docs
)]

use std::collections::HashMap;
use std::process::Command;

use kms::keystore::{Keystore, KeystoreError, open};
use kms::secret::SecretString;
use ring::digest::{SHA256, digest};

#[path = "../src/keystore/jks/encoder.rs"]
mod encoder;
#[path = "keystore/keytool.rs"]
mod keytool;
#[path = "keystore/make.rs"]
mod make;
#[path = "keystore/openssl.rs"]
mod openssl;

use make::Lab;

/// Latin, Cyrillic and Chinese.
const WORLDLY: &str = "pässwörd-ключ-鍵";

/// What must come of a file.
enum Want {
    /// As many entries as this, each the same as in Java.
    Java(usize),
    /// As many entries as this; Java cannot read the file, or sees more or fewer.
    Ours(usize),
    /// An error whose text holds this.
    Refused(&'static str),
}
use Want::{Java, Ours, Refused};

struct Case {
    name: String,
    bytes: Vec<u8>,
    kind: &'static str,
    password: &'static str,
    key_password: Option<&'static str>,
    want: Want,
}

#[derive(Default)]
struct Corpus(Vec<Case>);

impl Corpus {
    fn add(
        &mut self,
        name: impl Into<String>,
        kind: &'static str,
        bytes: Vec<u8>,
        password: &'static str,
        want: Want,
    ) {
        self.0.push(Case {
            name: name.into(),
            bytes,
            kind,
            password,
            key_password: None,
            want,
        });
    }
}

fn secret(text: &str) -> SecretString {
    SecretString::new(text.to_owned())
}

fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The lines that `Oracle.java` would print.
fn lines(store: &Keystore) -> Vec<String> {
    let keys = store.keys.iter().map(|entry| {
        let chain: String = entry
            .chain
            .iter()
            .map(|der| format!(" {}", sha256(der)))
            .collect();
        format!(
            "key {} {}{chain}",
            entry.alias,
            sha256(entry.key.secret_der())
        )
    });
    let trusted = store
        .trusted
        .iter()
        .map(|entry| format!("trusted {} {}", entry.alias, sha256(&entry.certificate)));
    let mut lines: Vec<_> = keys.chain(trusted).collect();
    lines.sort();
    lines
}

/// What Java says of each file that it is asked about.
fn ask_java(folder: &std::path::Path, corpus: &Corpus) -> HashMap<usize, Vec<String>> {
    let mut java = Command::new("java");
    java.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
        .env("LC_ALL", "C.UTF-8");
    java.arg(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/java/Oracle.java"
    ));
    for (index, case) in corpus
        .0
        .iter()
        .enumerate()
        .filter(|(_, case)| matches!(case.want, Java(_)))
    {
        let file = folder.join(format!("{index}.store"));
        std::fs::write(&file, &case.bytes).unwrap();
        java.arg(&file).args([
            case.kind,
            case.password,
            case.key_password.unwrap_or(case.password),
        ]);
    }
    let done = java.output().expect("java is needed");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let said = String::from_utf8(done.stdout).unwrap();
    let mut answers = HashMap::new();
    for part in said.split("file ").skip(1) {
        let mut lines = part.lines().map(str::to_owned);
        let file = lines.next().unwrap();
        let index = file
            .rsplit('/')
            .next()
            .and_then(|name| name.strip_suffix(".store"))
            .unwrap()
            .parse()
            .unwrap();
        answers.insert(index, lines.collect());
    }
    answers
}

#[test]
fn keytools_and_openssls_stores_are_read_as_java_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let labs = std::thread::scope(|scope| {
        let path = folder.path();
        let make = |kind| {
            scope.spawn(move || {
                let lab = Lab::new(path, kind);
                lab.guide_stores();
                lab
            })
        };
        [make("rsa"), make("ec")].map(|made| made.join().unwrap())
    });
    let mut corpus = Corpus::default();
    keytool::guide_cases(&mut corpus, "rsa", &labs[0]);
    keytool::guide_cases(&mut corpus, "ec", &labs[1]);
    keytool::keytool_cases(&mut corpus, &labs[1]);
    openssl::openssl_cases(&mut corpus, &labs[1]);
    openssl::our_own_cases(&mut corpus, &labs[1]);
    let answers = ask_java(folder.path(), &corpus);
    let mut failures = Vec::new();
    for (index, case) in corpus.0.iter().enumerate() {
        let opened = open(
            &case.bytes,
            &secret(case.password),
            case.key_password.map(secret).as_ref(),
        );
        if let Err(fault) = judge(case, &opened, answers.get(&index)) {
            failures.push(format!("{}: {fault}", case.name));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        corpus.0.len(),
        failures.join("\n")
    );
}

fn judge(
    case: &Case,
    opened: &Result<Keystore, KeystoreError>,
    java: Option<&Vec<String>>,
) -> Result<(), String> {
    match (&case.want, opened) {
        (Refused(text), Err(error)) if error.to_string().contains(text) => Ok(()),
        (Refused(text), Err(error)) => Err(format!("the error '{error}' does not say '{text}'")),
        (Refused(_), Ok(store)) => Err(format!("opened: {store:?}")),
        (_, Err(error)) => Err(error.to_string()),
        (Ours(count), Ok(store)) if lines(store).len() == *count => Ok(()),
        (Java(count), Ok(store)) if Some(&lines(store)) == java && lines(store).len() == *count => {
            Ok(())
        }
        (_, Ok(store)) => Err(format!("\n  ours {:#?}\n  Java {java:#?}", lines(store))),
    }
}
