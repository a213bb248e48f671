//! Stores that openssl wrote, and our own as others see them.

use kms::keystore::{NewEntry, write_pkcs12};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::make::{Lab, P12, STORE};
use super::{Corpus, Java, Ours, Refused, WORLDLY, Want, encoder, secret};

/// Options of `openssl pkcs12 -export`, and what must come of the file.
#[rustfmt::skip]
const OPTIONS: [(&str, &[&str], Want); 16] = [
        ("as it is", &[], Java(1)),
        ("legacy", &["-legacy"], Java(1)),
        ("3DES for both", &["-legacy", "-descert"], Java(1)),
        ("SHA-512 MAC", &["-macalg", "sha512"], Java(1)),
        (
            "AES-128, SHA-1 MAC",
            &[
                "-macalg",
                "sha1",
                "-keypbe",
                "AES-128-CBC",
                "-certpbe",
                "AES-128-CBC",
            ],
            Java(1),
        ),
        ("AES-192", &["-keypbe", "AES-192-CBC", "-certpbe", "AES-192-CBC"], Ours(1)),
        ("plain", &["-keypbe", "NONE", "-certpbe", "NONE"], Ours(1)),
        (
            "PBES2 3DES",
            &["-keypbe", "des-ede3-cbc", "-certpbe", "des-ede3-cbc"],
            Refused("PBES2 with 3DES, which is not supported: convert it with: openssl"),
        ),
        (
            "RC2-128",
            &["-legacy", "-certpbe", "PBE-SHA1-RC2-128", "-keypbe", "PBE-SHA1-RC2-128"],
            Refused("PBE-SHA1-RC2-128, which is not supported: convert it with: keytool"),
        ),
        (
            "RC4-128",
            &["-legacy", "-certpbe", "PBE-SHA1-RC4-128", "-keypbe", "PBE-SHA1-RC4-128"],
            Refused("PBE-SHA1-RC4-128"),
        ),
        ("MD5-DES", &["-legacy", "-certpbe", "PBE-MD5-DES", "-keypbe", "PBE-MD5-DES"], Refused("PBE-MD5-DES")),
        (
            "2DES",
            &["-legacy", "-certpbe", "PBE-SHA1-2DES", "-keypbe", "PBE-SHA1-2DES"],
            Refused("PBE-SHA1-2DES, which is not supported: convert it with: openssl"),
        ),
        ("one iteration", &["-iter", "1"], Java(1)),
        (
            "2,000,000 iterations",
            &["-iter", "2000000"],
            Refused("2000000 hash iterations"),
        ),
        ("no MAC", &["-nomac"], Refused("has no MAC")),
        (
            "named chain",
            &["-caname", "intermediateX", "-caname", "rootX"],
            Java(1),
        ),
];

pub fn openssl_cases(corpus: &mut Corpus, lab: &Lab) {
    for (name, options, want) in OPTIONS {
        lab.export(
            "kmsServer",
            "x.p12",
            P12,
            &[options, &["-name", "kmsServer"]].concat(),
        );
        corpus.add(
            format!("openssl, {name}"),
            "PKCS12",
            lab.read("x.p12"),
            P12,
            want,
        );
    }
    names_and_passwords(corpus, lab);
    orders(corpus, lab);
}

fn names_and_passwords(corpus: &mut Corpus, lab: &Lab) {
    lab.export("kmsServer", "x.p12", P12, &[]);
    corpus.add(
        "openssl, no name",
        "PKCS12",
        lab.read("x.p12"),
        P12,
        Java(1),
    );
    lab.export("kmsServer", "x.p12", "", &["-name", "kmsServer"]);
    corpus.add(
        "openssl, empty password",
        "PKCS12",
        lab.read("x.p12"),
        "",
        Java(1),
    );
    lab.export("kmsServer", "x.p12", WORLDLY, &["-name", "kmsServer"]);
    corpus.add(
        "openssl, worldly password",
        "PKCS12",
        lab.read("x.p12"),
        WORLDLY,
        Ours(1),
    );
    lab.export(
        "kmsServer",
        "x.p12",
        P12,
        &["-in", "kmsServer.crt", "-name", "kmsServer"],
    );
    corpus.add(
        "openssl, leaf only",
        "PKCS12",
        lab.read("x.p12"),
        P12,
        Java(1),
    );
}

fn orders(corpus: &mut Corpus, lab: &Lab) {
    let shuffled: Vec<_> = ["root.crt", "kmsServer.crt", "int.crt"]
        .iter()
        .flat_map(|crt| lab.read(crt))
        .collect();
    lab.write("shuffled.crt", &shuffled);
    lab.export(
        "kmsServer",
        "x.p12",
        P12,
        &["-in", "shuffled.crt", "-name", "kmsServer"],
    );
    corpus.add(
        "openssl, shuffled",
        "PKCS12",
        lab.read("x.p12"),
        P12,
        Java(1),
    );
    let pass = format!("pass:{P12}");
    lab.openssl(&[
        "pkcs12",
        "-export",
        "-nokeys",
        "-in",
        "cmxDevice.crt",
        "-out",
        "x.p12",
        "-passout",
        &pass,
    ]);
    corpus.add(
        "openssl, certificate only",
        "PKCS12",
        lab.read("x.p12"),
        P12,
        Refused("none is marked as trusted"),
    );
}

pub fn our_own_cases(corpus: &mut Corpus, lab: &Lab) {
    let key = |name| PrivateKeyDer::from_pem_file(lab.path(name)).unwrap();
    let chain = |name| {
        CertificateDer::pem_file_iter(lab.path(name))
            .unwrap()
            .map(Result::unwrap)
            .collect::<Vec<_>>()
    };
    for (sec1, pkcs8) in [
        ("kmsServer.key", "kmsServer.pk8"),
        ("kmsClient.key", "kmsClient.pk8"),
    ] {
        lab.openssl(&["pkcs8", "-topk8", "-nocrypt", "-in", sec1, "-out", pkcs8]);
    }
    let (server, client, device) = (
        key("kmsServer.pk8"),
        key("kmsClient.pk8"),
        chain("cmxDevice.crt"),
    );
    let (server_chain, client_chain) = (chain("kmsServer.chain.crt"), chain("kmsClient.chain.crt"));
    let entries = [
        NewEntry::Key {
            alias: "kmsclient",
            key: &client,
            chain: &client_chain,
        },
        NewEntry::Key {
            alias: "kmsserver",
            key: &server,
            chain: &server_chain,
        },
        NewEntry::Trusted {
            alias: "cmxDevice",
            certificate: &device[0],
        },
    ];
    corpus.add(
        "written by us",
        "PKCS12",
        write_pkcs12(&entries, &secret(STORE)).unwrap(),
        STORE,
        Java(3),
    );
    let one = write_pkcs12(&entries[..1], &secret(STORE)).unwrap();
    corpus.add("one key written by us", "PKCS12", one, STORE, Java(1));

    re_encoded(corpus, lab, &device[0]);
}

/// What neither tool writes.
fn re_encoded(corpus: &mut Corpus, lab: &Lab, device: &CertificateDer<'_>) {
    let pin = [encoder::Entry::Trusted {
        alias: b"cmxdevice",
        certificate: device,
    }];
    for version in [1, 2] {
        let file = encoder::store(encoder::JKS, version, &pin, STORE);
        corpus.add(
            format!("JKS version {version}"),
            "JKS",
            file,
            STORE,
            Java(1),
        );
    }
    // The outer SEQUENCE with a length of four bytes becomes one of indefinite length.
    let der = lab.read("default.jks");
    assert_eq!(der[..2], [0x30, 0x82]);
    let ber = [&[0x30, 0x80], &der[4..], &[0, 0]].concat();
    corpus.add(
        "BER",
        "PKCS12",
        ber,
        STORE,
        Refused("written in BER (indefinite lengths) and not in DER: convert it with: keytool"),
    );
}
