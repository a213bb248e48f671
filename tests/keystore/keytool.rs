//! Stores that keytool wrote, whole and damaged.

use super::make::{KEY, Lab, STORE};
use super::{Corpus, Java, Ours, Refused, WORLDLY};

pub fn guide_cases(corpus: &mut Corpus, kind: &str, lab: &Lab) {
    // JKS and JCEKS have no length: there only the digest tells.
    let digest = "store password is wrong";
    for (file, java, cut, tail) in [
        ("default.jks", "PKCS12", "cut short", "7 bytes follow"),
        ("legacy.p12", "PKCS12", "cut short", "7 bytes follow"),
        ("old.jks", "JKS", digest, digest),
        ("old.jceks", "JCEKS", digest, digest),
    ] {
        let whole = lab.read(file);
        corpus.add(
            format!("{kind} {file}"),
            java,
            whole.clone(),
            STORE,
            Java(5),
        );
        corpus.add(
            format!("{kind} {file}, wrong password"),
            java,
            whole.clone(),
            "Changeit",
            Refused("store password is wrong"),
        );
        for length in [whole.len() / 2, whole.len() - 1] {
            corpus.add(
                format!("{kind} {file} cut to {length}"),
                java,
                whole[..length].to_vec(),
                STORE,
                Refused(cut),
            );
        }
        corpus.add(
            format!("{kind} {file} with a tail"),
            java,
            [&whole[..], b"7 bytes"].concat(),
            STORE,
            Refused(tail),
        );
        for part in 1..5 {
            let mut flipped = whole.clone();
            flipped[whole.len() * part / 5] ^= 0x20;
            corpus.add(
                format!("{kind} {file}, a bit flipped at {part}/5"),
                java,
                flipped,
                STORE,
                Refused(""),
            );
        }
    }
}

pub fn keytool_cases(corpus: &mut Corpus, lab: &Lab) {
    key_passwords(corpus, lab);
    let own = ["-deststorepass", STORE, "-destkeypass", STORE];
    for alias in ["kmsServer", "KMSserver"] {
        let exact = ["-destalias", alias, "-deststoretype", "CaseExactJKS"];
        lab.import_key(
            "kmsServer.p12",
            "kmsserver",
            "exact.jks",
            &[&own[..], &exact].concat(),
        );
    }
    corpus.add(
        "CaseExactJKS",
        "CaseExactJKS",
        lab.read("exact.jks"),
        STORE,
        Refused("letter case does not count"),
    );
    lab.import_key(
        "kmsServer.p12",
        "kmsserver",
        "upper.p12",
        &[&own[..], &["-destalias", "KMSSERVER"]].concat(),
    );
    lab.import_key("other.p12", "other", "upper.p12", &own);
    lab.import_trusted("CMXDEVICE", "kmsServer.crt", "upper.p12", STORE, &[]);
    corpus.add(
        "upper case, two CAs of one name, a pin that is a leaf",
        "PKCS12",
        lab.read("upper.p12"),
        STORE,
        Java(3),
    );
    without_mac(corpus, lab);
    secret_keys(corpus, lab);
    worldly(corpus, lab);
}

fn key_passwords(corpus: &mut Corpus, lab: &Lab) {
    let other_key = ["-deststorepass", STORE, "-destkeypass", KEY];
    for (file, kind) in [
        ("key.jks", "JKS"),
        ("key.jceks", "JCEKS"),
        ("key.p12", "PKCS12"),
    ] {
        lab.import_key(
            "kmsServer.p12",
            "kmsserver",
            file,
            &[&other_key[..], &["-deststoretype", kind]].concat(),
        );
        let want = if kind == "PKCS12" {
            Java(1)
        } else {
            Refused("does not open the private key 'kmsserver'")
        };
        corpus.add(
            format!("{file} without key password"),
            kind,
            lab.read(file),
            STORE,
            want,
        );
        if kind != "PKCS12" {
            corpus.add(
                format!("{file} with key password"),
                kind,
                lab.read(file),
                STORE,
                Java(1),
            );
            corpus.0.last_mut().unwrap().key_password = Some(KEY);
        }
    }
}

/// Files that anybody could have changed.
fn without_mac(corpus: &mut Corpus, lab: &Lab) {
    let open_door = [
        "-J-Dkeystore.pkcs12.macAlgorithm=NONE",
        "-J-Dkeystore.pkcs12.certProtectionAlgorithm=NONE",
    ];
    lab.convert(
        "default.jks",
        "nomac.p12",
        &[&["-deststoretype", "PKCS12"], &open_door[..]].concat(),
    );
    corpus.add(
        "no MAC",
        "PKCS12",
        lab.read("nomac.p12"),
        STORE,
        Refused("has no MAC"),
    );
    lab.import_trusted("cmxDevice", "cmxDevice.crt", "pins.p12", STORE, &open_door);
    corpus.add(
        "only pins, no MAC",
        "PKCS12",
        lab.read("pins.p12"),
        STORE,
        Refused("has no MAC"),
    );
    corpus.add(
        "only pins, no MAC, wrong password",
        "PKCS12",
        lab.read("pins.p12"),
        "wrong",
        Refused("has no MAC"),
    );
}

fn secret_keys(corpus: &mut Corpus, lab: &Lab) {
    for (file, kind) in [("default.jks", "PKCS12"), ("old.jceks", "JCEKS")] {
        let to = format!("secret.{kind}");
        lab.write(&to, &lab.read(file));
        let args = [
            "-genseckey",
            "-alias",
            "aeskey",
            "-keyalg",
            "AES",
            "-keysize",
            "256",
            "-keystore",
            &to,
        ];
        lab.keytool(&[&args[..], &["-storepass", STORE, "-storetype", kind]].concat());
        let want = if kind == "JCEKS" {
            Refused("'aeskey' is a secret key")
        } else {
            Ours(5)
        };
        corpus.add(
            format!("secret key in {kind}"),
            kind,
            lab.read(&to),
            STORE,
            want,
        );
    }
}

fn worldly(corpus: &mut Corpus, lab: &Lab) {
    for kind in ["PKCS12", "JKS"] {
        let to = format!("worldly.{kind}");
        lab.import_trusted(
            "cmxDevice-ÄÖ鍵",
            "cmxDevice.crt",
            &to,
            STORE,
            &["-storetype", kind],
        );
        corpus.add(
            format!("worldly alias in {kind}"),
            kind,
            lab.read(&to),
            STORE,
            Java(1),
        );
    }
    let worldly = [
        "-deststorepass",
        WORLDLY,
        "-destkeypass",
        WORLDLY,
        "-deststoretype",
        "JKS",
    ];
    lab.import_key("kmsClient.p12", "kmsclient", "worldly.jks", &worldly);
    corpus.add(
        "worldly password in JKS",
        "JKS",
        lab.read("worldly.jks"),
        WORLDLY,
        Java(1),
    );
}
