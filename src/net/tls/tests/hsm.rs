//! Which HSMs we talk to, and what the operator reads about the others.
#![allow(clippy::unwrap_used)]

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;

use super::super::*;
use super::{VERSIONS, fixture, issued, meet, own, params, plain};
use crate::identity::fingerprint;

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
}

fn ca(common_name: &str, change: impl FnOnce(&mut CertificateParams)) -> Ca {
    let params = params(common_name, |p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(p);
    });
    let key = KeyPair::generate().unwrap();
    let der = params.self_signed(&key).unwrap().der().clone();
    Ca {
        issuer: Issuer::new(params, key),
        der,
    }
}

fn san(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names;
    params("hsm", |p| p.subject_alt_names = subject_alt_names)
}

fn by(authorities: &[&CertificateDer<'static>]) -> HsmTrust {
    let authorities = authorities.iter().map(|&der| der.clone()).collect();
    HsmTrust {
        authorities,
        server_name: None,
        fingerprint: None,
    }
}

fn named(trust: HsmTrust, name: &str) -> HsmTrust {
    HsmTrust {
        server_name: Some(ServerName::try_from(name.to_owned()).unwrap()),
        ..trust
    }
}

fn pinned(identity: &Identity) -> HsmTrust {
    HsmTrust {
        authorities: Vec::new(),
        server_name: None,
        fingerprint: Some(fingerprint(&identity.chain[0])),
    }
}

/// An HSM that asks for no client certificate.
fn serving(
    identity: &Identity,
    version: &'static rustls::SupportedProtocolVersion,
) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap();
    let key = provider()
        .key_provider
        .load_private_key(identity.key.clone_key())
        .unwrap();
    let shown = SingleCertAndKey::from(CertifiedKey::new(identity.chain.clone(), key));
    Arc::new(
        builder
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(shown)),
    )
}

type Row<'a> = (
    &'static str,
    HsmTrust,
    &'a Identity,
    Result<(), &'a [&'a str]>,
);

fn check(rows: &[Row<'_>]) {
    for (name, trust, shown, want) in rows {
        let client = hsm_config(trust, None).unwrap();
        let expected = hsm_server_name(trust, "hsm.example").unwrap();
        for version in VERSIONS {
            let met = meet(&client, &expected.to_str(), &serving(shown, version));
            let error = met.client_error.map(|error| explain(Peer::Hsm, &error));
            match (want, error) {
                (Ok(()), error) => assert_eq!(error, None, "{name}, {version:?}"),
                (Err(_), None) => panic!("{name}, {version:?}: accepted"),
                (Err(words), Some(text)) => {
                    assert!(
                        words.iter().all(|word| text.contains(word)),
                        "{name}, {version:?}: {text}"
                    );
                }
            }
        }
    }
}

#[test]
fn an_authority_vouches_for_a_name() {
    let (good, other) = (ca("kmipSigningCA", |_| ()), ca("other", |_| ()));
    let same_name = ca("kmipSigningCA", |_| ());
    let several = by(&[&other.der, &same_name.der, &good.der]);
    let old = ca("kmipSigningCA", |p| p.not_after = date_time_ymd(2020, 1, 1));
    let hsm = issued(&good.issuer, &san(&["hsm.example"]));
    let by_old = issued(&old.issuer, &san(&["hsm.example"]));
    let address = issued(&good.issuer, &san(&["10.0.0.7"]));
    let at_address = named(by(&[&good.der]), "10.0.0.7");
    let told = named(by(&[&good.der]), "vip.example");
    let vip = issued(&good.issuer, &san(&["vip.example"]));
    let v1 = fixture!("v1");
    let PrivateKeyDer::Pkcs8(v1_key) = &v1.key else {
        panic!("the fixture is PKCS#8")
    };
    let v1_issuer = Issuer::new(params("v1", |_| ()), KeyPair::try_from(v1_key).unwrap());
    let by_v1 = issued(&v1_issuer, &san(&["hsm.example"]));
    check(&[
        ("its authority", by(&[&good.der]), &hsm, Ok(())),
        ("one of several", several, &hsm, Ok(())),
        ("X.509 v1 authority", by(&[&v1.chain[0]]), &by_v1, Ok(())),
        ("anchor past its end", by(&[&old.der]), &by_old, Ok(())),
        ("by address", at_address, &address, Ok(())),
        ("another name, told", told, &vip, Ok(())),
    ]);
}

#[test]
fn no_other_authority_and_no_other_name_will_do() {
    let (good, other) = (ca("kmipSigningCA", |_| ()), ca("other", |_| ()));
    let same_name = ca("kmipSigningCA", |_| ());
    let told = named(by(&[&good.der]), "vip.example");
    let hsm = issued(&good.issuer, &san(&["hsm.example"]));
    let common_name = issued(&good.issuer, &params("hsm.example", |_| ()));
    let names: &[&str] = &["kms.hsm.server.name", "vip.example", "hsm.example"];
    let only_cn: &[&str] = &["kms.hsm.server.name", "kms.hsm.fingerprint", "CN"];
    let authority: &[&str] = &["kms.hsm.ca.alias"];
    check(&[
        ("another name", told, &hsm, Err(names)),
        ("CN only", by(&[&good.der]), &common_name, Err(only_cn)),
        ("another", by(&[&other.der]), &hsm, Err(authority)),
        ("same name", by(&[&same_name.der]), &hsm, Err(authority)),
    ]);
}

/// A leaf of `issuer` valid between these years.
fn dated(issuer: &Ca, from: i32, to: i32) -> Identity {
    let mut params = san(&["hsm.example"]);
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    issued(&issuer.issuer, &params)
}

fn self_signed_ca() -> Identity {
    let mut params = san(&["hsm.example"]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    own(&rcgen::PKCS_ECDSA_P256_SHA256, &params)
}

#[test]
fn faults_of_the_certificate_are_named() {
    let good = ca("kmipSigningCA", |_| ());
    let (expired, early) = (dated(&good, 2019, 2020), dated(&good, 4000, 4001));
    let mut client_only = san(&["hsm.example"]);
    client_only.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client_only = issued(&good.issuer, &client_only);
    let (v1, own_ca) = (fixture!("v1"), self_signed_ca());
    let (by_v1, by_own_ca) = (by(&[&v1.chain[0]]), by(&[&own_ca.chain[0]]));
    let is_expired: &[&str] = &["has expired: renew it", "clock"];
    let is_early: &[&str] = &["not valid yet", "clocks"];
    let is_for_clients: &[&str] = &["serverAuth", "kms.hsm.fingerprint"];
    let is_a_ca: &[&str] = &["CA's certificate as its own", "kms.hsm.fingerprint"];
    let is_v1: &[&str] = &["X.509 version 1", "kms.hsm.fingerprint"];
    check(&[
        ("expired", by(&[&good.der]), &expired, Err(is_expired)),
        ("early", by(&[&good.der]), &early, Err(is_early)),
        (
            "clientAuth",
            by(&[&good.der]),
            &client_only,
            Err(is_for_clients),
        ),
        ("CA as end entity", by_own_ca, &own_ca, Err(is_a_ca)),
        ("X.509 v1", by_v1, &v1, Err(is_v1)),
    ]);
}

#[test]
fn a_fingerprint_accepts_exactly_one_certificate() {
    let expired = dated(&ca("kmipSigningCA", |_| ()), 2019, 2020);
    let (v1, own_ca, stranger) = (fixture!("v1"), self_signed_ca(), plain("hsm.example"));
    let thief = Identity {
        chain: v1.chain.clone(),
        key: plain("thief").key,
    };
    let mismatch: &[&str] = &["shows a certificate with SHA-256", "kms.hsm.fingerprint is"];
    let unproven: &[&str] = &["does not verify"];
    check(&[
        ("X.509 v1", pinned(&v1), &v1, Ok(())),
        ("expired", pinned(&expired), &expired, Ok(())),
        ("CA as end entity", pinned(&own_ca), &own_ca, Ok(())),
        ("another", pinned(&v1), &stranger, Err(mismatch)),
        ("without its key", pinned(&v1), &thief, Err(unproven)),
    ]);
}

#[test]
fn the_hsm_gets_our_certificate_and_its_refusal_is_explained() {
    let clients = ca("clients", |_| ());
    let hsm = plain("hsm.example");
    let ours = issued(&clients.issuer, &params("kmsClient", |_| ()));
    let foreign = fixture!("rsa2048");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(clients.der.clone()).unwrap();
    let asks = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .unwrap();
    for (name, identity, want) in [
        ("ours", Some(&ours), None),
        ("none", None, Some("name its alias in kms.keystore.alias")),
        (
            "foreign",
            Some(&foreign),
            Some("register it or its CA with the HSM"),
        ),
    ] {
        for version in VERSIONS {
            let builder = ServerConfig::builder_with_provider(provider())
                .with_protocol_versions(&[version])
                .unwrap();
            let builder = builder.with_client_cert_verifier(Arc::clone(&asks));
            let server = builder
                .with_single_cert(hsm.chain.clone(), hsm.key.clone_key())
                .unwrap();
            let met = meet(
                &hsm_config(&pinned(&hsm), identity).unwrap(),
                "hsm.example",
                &Arc::new(server),
            );
            let text = met.client_error.map(|error| explain(Peer::Hsm, &error));
            assert_eq!(
                text.is_some(),
                want.is_some(),
                "{name}, {version:?}: {text:?}"
            );
            assert!(
                text.is_none_or(|text| text.contains(want.unwrap())),
                "{name}, {version:?}"
            );
        }
    }
}

#[test]
fn names_and_anchors_are_checked_when_configured() {
    let trust = by(&[]);
    for (host, want) in [
        ("hsm.example", Some("hsm.example")),
        ("10.0.0.7", Some("10.0.0.7")),
        ("::1", Some("::1")),
        ("[::1]", Some("::1")),
        ("", None),
        ("a b", None),
        ("[::1", None),
    ] {
        let name = hsm_server_name(&trust, host);
        assert_eq!(
            name.as_ref()
                .ok()
                .map(|name| name.to_str().into_owned())
                .as_deref(),
            want,
            "{host}"
        );
        assert!(
            name.err()
                .is_none_or(|error| error.to_string().contains("kms.hsm.server.url")),
            "{host}"
        );
    }
    let told = named(by(&[]), "hsm.example");
    assert_eq!(
        hsm_server_name(&told, "10.0.0.7").unwrap().to_str(),
        "hsm.example"
    );

    let text = |trust: &HsmTrust| hsm_config(trust, None).unwrap_err().to_string();
    assert!(
        text(&trust).contains("kms.hsm.ca.alias"),
        "{}",
        text(&trust)
    );
    let garbage = by(&[&ca("good", |_| ()).der, &vec![0x30, 0].into()]);
    assert!(
        text(&garbage).starts_with("certificate 2 of kms.hsm.ca.alias"),
        "{}",
        text(&garbage)
    );
}
