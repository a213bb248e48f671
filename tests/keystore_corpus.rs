//! Keystores made by the real keytool and openssl: what we read is what Java reads, or is refused
//! with the right error. Needs openssl 3 and JDK 17 (`./test` installs them).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::pedantic, missing_docs)]

use std::collections::HashMap;
use std::process::Command;

use kms::keystore::{Keystore, KeystoreError, NewEntry, open, write_pkcs12};
use kms::secret::SecretString;
use ring::digest::{SHA256, digest};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

#[allow(dead_code)]
#[path = "../src/keystore/jks/encoder.rs"]
mod encoder;
#[path = "keystore/make.rs"]
mod make;

use make::{KEY, Lab, P12, STORE};

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
    fn add(&mut self, name: impl Into<String>, kind: &'static str, bytes: Vec<u8>, password: &'static str, want: Want) {
        self.0.push(Case { name: name.into(), bytes, kind, password, key_password: None, want });
    }
}

fn secret(text: &str) -> SecretString {
    SecretString::new(text.to_owned())
}

fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The lines that `Oracle.java` would print.
fn lines(store: &Keystore) -> Vec<String> {
    let keys = store.keys.iter().map(|entry| {
        let chain: String = entry.chain.iter().map(|der| format!(" {}", sha256(der))).collect();
        format!("key {} {}{chain}", entry.alias, sha256(entry.key.secret_der()))
    });
    let trusted = store.trusted.iter().map(|entry| format!("trusted {} {}", entry.alias, sha256(&entry.certificate)));
    let mut lines: Vec<_> = keys.chain(trusted).collect();
    lines.sort();
    lines
}

fn guide_cases(corpus: &mut Corpus, kind: &str, lab: &Lab) {
    for (file, java, end) in
        [("default.jks", "PKCS12", ""), ("legacy.p12", "PKCS12", ""), ("old.jks", "JKS", "sum"), ("old.jceks", "JCEKS", "sum")]
    {
        let whole = lab.read(file);
        corpus.add(format!("{kind} {file}"), java, whole.clone(), STORE, Java(5));
        corpus.add(format!("{kind} {file}, wrong password"), java, whole.clone(), "Changeit", Refused("store password is wrong"));
        let cut = if end == "sum" { "store password is wrong" } else { "cut short" };
        for length in [whole.len() / 2, whole.len() - 1] {
            corpus.add(format!("{kind} {file} cut to {length}"), java, whole[..length].to_vec(), STORE, Refused(cut));
        }
        let tail = if end == "sum" { "store password is wrong" } else { "7 bytes follow" };
        corpus.add(format!("{kind} {file} with a tail"), java, [&whole[..], b"7 bytes"].concat(), STORE, Refused(tail));
        for part in 1..5 {
            let mut flipped = whole.clone();
            flipped[whole.len() * part / 5] ^= 0x20;
            corpus.add(format!("{kind} {file}, a bit flipped at {part}/5"), java, flipped, STORE, Refused(""));
        }
    }
}

fn keytool_cases(corpus: &mut Corpus, lab: &Lab) {
    let own = ["-deststorepass", STORE, "-destkeypass", STORE];
    let other_key = ["-deststorepass", STORE, "-destkeypass", KEY];
    for (file, kind) in [("key.jks", "JKS"), ("key.jceks", "JCEKS"), ("key.p12", "PKCS12")] {
        lab.import_key("kmsServer.p12", "kmsserver", file, &[&other_key[..], &["-deststoretype", kind]].concat());
        let want = if kind == "PKCS12" { Java(1) } else { Refused("does not open the private key 'kmsserver'") };
        corpus.add(format!("{file} without key password"), kind, lab.read(file), STORE, want);
        if kind != "PKCS12" {
            corpus.add(format!("{file} with key password"), kind, lab.read(file), STORE, Java(1));
            corpus.0.last_mut().unwrap().key_password = Some(KEY);
        }
    }
    for alias in ["kmsServer", "KMSserver"] {
        let exact = ["-destalias", alias, "-deststoretype", "CaseExactJKS"];
        lab.import_key("kmsServer.p12", "kmsserver", "exact.jks", &[&own[..], &exact].concat());
    }
    corpus.add("CaseExactJKS", "CaseExactJKS", lab.read("exact.jks"), STORE, Refused("letter case does not count"));
    lab.import_key("kmsServer.p12", "kmsserver", "upper.p12", &[&own[..], &["-destalias", "KMSSERVER"]].concat());
    lab.import_key("other.p12", "other", "upper.p12", &own);
    lab.import_trusted("CMXDEVICE", "kmsServer.crt", "upper.p12", STORE, &[]);
    corpus.add("upper case, two CAs of one name, a pin that is a leaf", "PKCS12", lab.read("upper.p12"), STORE, Java(3));

    let open_door = ["-J-Dkeystore.pkcs12.macAlgorithm=NONE", "-J-Dkeystore.pkcs12.certProtectionAlgorithm=NONE"];
    lab.convert("default.jks", "nomac.p12", &[&["-deststoretype", "PKCS12"], &open_door[..]].concat());
    corpus.add("no MAC", "PKCS12", lab.read("nomac.p12"), STORE, Refused("has no MAC"));
    lab.import_trusted("cmxDevice", "cmxDevice.crt", "pins.p12", STORE, &open_door);
    corpus.add("only pins, no MAC", "PKCS12", lab.read("pins.p12"), STORE, Refused("has no MAC"));
    corpus.add("only pins, no MAC, wrong password", "PKCS12", lab.read("pins.p12"), "wrong", Refused("has no MAC"));

    for (file, kind) in [("default.jks", "PKCS12"), ("old.jceks", "JCEKS")] {
        let to = format!("secret.{kind}");
        lab.write(&to, &lab.read(file));
        let args = ["-genseckey", "-alias", "aeskey", "-keyalg", "AES", "-keysize", "256", "-keystore", &to];
        lab.keytool(&[&args[..], &["-storepass", STORE, "-storetype", kind]].concat());
        let want = if kind == "JCEKS" { Refused("'aeskey' is a secret key") } else { Ours(5) };
        corpus.add(format!("secret key in {kind}"), kind, lab.read(&to), STORE, want);
    }
    for kind in ["PKCS12", "JKS"] {
        let to = format!("worldly.{kind}");
        lab.import_trusted("cmxDevice-ÄÖ鍵", "cmxDevice.crt", &to, STORE, &["-storetype", kind]);
        corpus.add(format!("worldly alias in {kind}"), kind, lab.read(&to), STORE, Java(1));
    }
    let worldly = ["-deststorepass", WORLDLY, "-destkeypass", WORLDLY, "-deststoretype", "JKS"];
    lab.import_key("kmsClient.p12", "kmsclient", "worldly.jks", &worldly);
    corpus.add("worldly password in JKS", "JKS", lab.read("worldly.jks"), WORLDLY, Java(1));
}

fn openssl_cases(corpus: &mut Corpus, lab: &Lab) {
    let old = |name| ["-legacy", "-certpbe", name, "-keypbe", name];
    let both = |name| ["-keypbe", name, "-certpbe", name];
    for (name, options, want) in [
        ("as it is", &[][..], Java(1)),
        ("legacy", &["-legacy"], Java(1)),
        ("3DES for both", &["-legacy", "-descert"], Java(1)),
        ("SHA-512 MAC", &["-macalg", "sha512"], Java(1)),
        ("AES-128, SHA-1 MAC", &["-macalg", "sha1", "-keypbe", "AES-128-CBC", "-certpbe", "AES-128-CBC"], Java(1)),
        ("AES-192", &both("AES-192-CBC"), Ours(1)),
        ("plain", &both("NONE"), Ours(1)),
        ("PBES2 3DES", &both("des-ede3-cbc"), Refused("PBES2 with 3DES, which is not supported: convert it with: openssl")),
        ("RC2-128", &old("PBE-SHA1-RC2-128"), Refused("PBE-SHA1-RC2-128, which is not supported: convert it with: keytool")),
        ("RC4-128", &old("PBE-SHA1-RC4-128"), Refused("PBE-SHA1-RC4-128")),
        ("MD5-DES", &old("PBE-MD5-DES"), Refused("PBE-MD5-DES")),
        ("2DES", &old("PBE-SHA1-2DES"), Refused("PBE-SHA1-2DES, which is not supported: convert it with: openssl")),
        ("one iteration", &["-iter", "1"], Java(1)),
        ("2,000,000 iterations", &["-iter", "2000000"], Refused("2000000 hash iterations")),
        ("no MAC", &["-nomac"], Refused("has no MAC")),
        ("named chain", &["-caname", "intermediateX", "-caname", "rootX"], Java(1)),
    ] {
        lab.export("kmsServer", "x.p12", P12, &[options, &["-name", "kmsServer"]].concat());
        corpus.add(format!("openssl, {name}"), "PKCS12", lab.read("x.p12"), P12, want);
    }
    lab.export("kmsServer", "x.p12", P12, &[]);
    corpus.add("openssl, no name", "PKCS12", lab.read("x.p12"), P12, Java(1));
    lab.export("kmsServer", "x.p12", "", &["-name", "kmsServer"]);
    corpus.add("openssl, empty password", "PKCS12", lab.read("x.p12"), "", Java(1));
    lab.export("kmsServer", "x.p12", WORLDLY, &["-name", "kmsServer"]);
    corpus.add("openssl, worldly password", "PKCS12", lab.read("x.p12"), WORLDLY, Ours(1));
    lab.export("kmsServer", "x.p12", P12, &["-in", "kmsServer.crt", "-name", "kmsServer"]);
    corpus.add("openssl, leaf only", "PKCS12", lab.read("x.p12"), P12, Java(1));
    let shuffled: Vec<_> = ["root.crt", "kmsServer.crt", "int.crt"].iter().flat_map(|crt| lab.read(crt)).collect();
    lab.write("shuffled.crt", &shuffled);
    lab.export("kmsServer", "x.p12", P12, &["-in", "shuffled.crt", "-name", "kmsServer"]);
    corpus.add("openssl, shuffled", "PKCS12", lab.read("x.p12"), P12, Java(1));
    let pass = format!("pass:{P12}");
    lab.openssl(&["pkcs12", "-export", "-nokeys", "-in", "cmxDevice.crt", "-out", "x.p12", "-passout", &pass]);
    corpus.add("openssl, certificate only", "PKCS12", lab.read("x.p12"), P12, Refused("none is marked as trusted"));
}

fn our_own_cases(corpus: &mut Corpus, lab: &Lab) {
    let key = |name| PrivateKeyDer::from_pem_file(lab.path(name)).unwrap();
    let chain = |name| CertificateDer::pem_file_iter(lab.path(name)).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    lab.openssl(&["pkcs8", "-topk8", "-nocrypt", "-in", "kmsServer.key", "-out", "kmsServer.pk8"]);
    lab.openssl(&["pkcs8", "-topk8", "-nocrypt", "-in", "kmsClient.key", "-out", "kmsClient.pk8"]);
    let (server, client, device) = (key("kmsServer.pk8"), key("kmsClient.pk8"), chain("cmxDevice.crt"));
    let (server_chain, client_chain) = (chain("kmsServer.chain.crt"), chain("kmsClient.chain.crt"));
    let entries = [
        NewEntry::Key { alias: "kmsclient", key: &client, chain: &client_chain },
        NewEntry::Key { alias: "kmsserver", key: &server, chain: &server_chain },
        NewEntry::Trusted { alias: "cmxDevice", certificate: &device[0] },
    ];
    corpus.add("written by us", "PKCS12", write_pkcs12(&entries, &secret(STORE)).unwrap(), STORE, Java(3));
    let one = write_pkcs12(&entries[..1], &secret(STORE)).unwrap();
    corpus.add("one key written by us", "PKCS12", one, STORE, Java(1));

    let pin = [encoder::Entry::Trusted { alias: b"cmxdevice", certificate: &device[0] }];
    for version in [1, 2] {
        let file = encoder::store(encoder::JKS, version, &pin, STORE);
        corpus.add(format!("JKS version {version}"), "JKS", file, STORE, Java(1));
    }
    // The outer SEQUENCE with a length of four bytes becomes one of indefinite length.
    let der = lab.read("default.jks");
    assert_eq!(der[..2], [0x30, 0x82]);
    let ber = [&[0x30, 0x80], &der[4..], &[0, 0]].concat();
    corpus.add("BER", "PKCS12", ber, STORE, Refused("written in BER (indefinite lengths) and not in DER: convert it with: keytool"));
}

/// What Java says of each file that it is asked about.
fn ask_java(folder: &std::path::Path, corpus: &Corpus) -> HashMap<usize, Vec<String>> {
    let mut java = Command::new("java");
    java.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]).env("LC_ALL", "C.UTF-8");
    java.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/java/Oracle.java"));
    for (index, case) in corpus.0.iter().enumerate().filter(|(_, case)| matches!(case.want, Java(_))) {
        let file = folder.join(format!("{index}.store"));
        std::fs::write(&file, &case.bytes).unwrap();
        java.arg(&file).args([case.kind, case.password, case.key_password.unwrap_or(case.password)]);
    }
    let done = java.output().expect("java is needed");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let said = String::from_utf8(done.stdout).unwrap();
    let mut answers = HashMap::new();
    for part in said.split("file ").skip(1) {
        let mut lines = part.lines().map(str::to_owned);
        let file = lines.next().unwrap();
        let index = file.rsplit('/').next().and_then(|name| name.strip_suffix(".store")).unwrap().parse().unwrap();
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
    guide_cases(&mut corpus, "rsa", &labs[0]);
    guide_cases(&mut corpus, "ec", &labs[1]);
    keytool_cases(&mut corpus, &labs[1]);
    openssl_cases(&mut corpus, &labs[1]);
    our_own_cases(&mut corpus, &labs[1]);
    let answers = ask_java(folder.path(), &corpus);
    let mut failures = Vec::new();
    for (index, case) in corpus.0.iter().enumerate() {
        let opened = open(&case.bytes, &secret(case.password), case.key_password.map(secret).as_ref());
        if let Err(fault) = judge(case, &opened, answers.get(&index)) {
            failures.push(format!("{}: {fault}", case.name));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), corpus.0.len(), failures.join("\n"));
}

fn judge(case: &Case, opened: &Result<Keystore, KeystoreError>, java: Option<&Vec<String>>) -> Result<(), String> {
    match (&case.want, opened) {
        (Refused(text), Err(error)) if error.to_string().contains(text) => Ok(()),
        (Refused(text), Err(error)) => Err(format!("the error '{error}' does not say '{text}'")),
        (Refused(_), Ok(store)) => Err(format!("opened: {store:?}")),
        (_, Err(error)) => Err(error.to_string()),
        (Ours(count), Ok(store)) if lines(store).len() == *count => Ok(()),
        (Java(count), Ok(store)) if Some(&lines(store)) == java && lines(store).len() == *count => Ok(()),
        (_, Ok(store)) => Err(format!("\n  ours {:#?}\n  Java {java:#?}", lines(store))),
    }
}
