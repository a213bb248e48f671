//! Who gets past the service's handshake, and which alert the others see. TLS 1.3 and 1.2 alike.
#![allow(clippy::unwrap_used)]

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519,
    date_time_ymd,
};
use rustls::{AlertDescription, Error, HandshakeKind};

use super::super::*;
use super::{VERSIONS, client, fixture, issued, meet, own, params, pinning, plain, swap};
use crate::identity::{Stranger, fingerprint};

type Row = (
    &'static str,
    Option<Identity>,
    bool,
    Result<(), (AlertDescription, &'static str)>,
);

fn check(rows: &[Row]) {
    let server = plain("localhost");
    let pinned: Vec<&Identity> = rows
        .iter()
        .filter(|row| row.2)
        .filter_map(|row| row.1.as_ref())
        .collect();
    let config = service_config(&server, swap(pinning(&pinned))).unwrap();
    for (name, shown, _, want) in rows {
        for version in VERSIONS {
            let met = meet(
                &Arc::new(client(version, &server, shown.as_ref())),
                "localhost",
                &config,
            );
            let name = format!("{name}, {version:?}");
            match want {
                Ok(()) => {
                    assert_eq!(
                        (&met.server_error, &met.client_error),
                        (&None, &None),
                        "{name}"
                    );
                    assert!(
                        !met.server.is_handshaking() && !met.client.is_handshaking(),
                        "{name}"
                    );
                    let leaf = &met.server.peer_certificates().unwrap()[0];
                    assert_eq!(leaf, &shown.as_ref().unwrap().chain[0], "{name}");
                }
                Err((alert, text)) => {
                    assert_eq!(
                        met.client_error,
                        Some(Error::AlertReceived(*alert)),
                        "{name}"
                    );
                    let explained = explain(Peer::Client, met.server_error.as_ref().unwrap());
                    assert!(explained.contains(text), "{name}: {explained}");
                    assert!(met.server.is_handshaking(), "{name}");
                }
            }
        }
    }
}

fn ca(common_name: &str) -> (Issuer<'static, KeyPair>, Vec<u8>) {
    let params = params(common_name, |p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let key = KeyPair::generate().unwrap();
    let der = params.self_signed(&key).unwrap().der().to_vec();
    (Issuer::new(params, key), der)
}

fn p256(change: impl FnOnce(&mut CertificateParams)) -> Identity {
    own(&PKCS_ECDSA_P256_SHA256, &params("cmxDevice", change))
}

#[test]
fn strangers_are_refused() {
    let genuine = plain("cmxDevice");
    let thief = Identity {
        chain: genuine.chain.clone(),
        key: plain("thief").key,
    };
    let (hsm_ca, hsm_ca_der) = ca("kmipSigningCA");
    let mut by_hsm_ca = issued(&hsm_ca, &params("cmxDevice", |_| ()));
    by_hsm_ca.chain.push(hsm_ca_der.into());
    // A pin at the end of the chain makes nobody a client: only the leaf counts.
    let mut behind_a_pin = plain("cmxDevice");
    behind_a_pin.chain.push(genuine.chain[0].clone());
    let unknown = Err((AlertDescription::UnknownCA, "pinned by no role: import it"));
    let out_of_date = |text| Err((AlertDescription::CertificateExpired, text));
    check(&[
        (
            "none",
            None,
            false,
            Err((
                AlertDescription::CertificateRequired,
                "showed no certificate",
            )),
        ),
        (
            "out of a foreign CA",
            Some(issued(&ca("foreign").0, &params("x", |_| ()))),
            false,
            unknown,
        ),
        ("out of the HSM's CA", Some(by_hsm_ca), false, unknown),
        ("self-signed", Some(plain("x")), false, unknown),
        (
            "right subject, wrong key",
            Some(plain("cmxDevice")),
            false,
            unknown,
        ),
        ("pin as intermediate", Some(behind_a_pin), false, unknown),
        (
            "pin without its key",
            Some(thief),
            false,
            Err((AlertDescription::DecryptError, "cannot prove its key")),
        ),
        ("genuine", Some(genuine), true, Ok(())),
        (
            "expired pin",
            Some(p256(|p| p.not_after = date_time_ymd(2020, 1, 1))),
            true,
            out_of_date("has expired"),
        ),
        (
            "not yet valid",
            Some(p256(|p| p.not_before = date_time_ymd(4000, 1, 1))),
            true,
            out_of_date("not valid yet"),
        ),
    ]);
}

#[test]
fn unusual_pins_are_accepted() {
    let mut critical = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
    critical.set_criticality(true);
    let server_only = vec![ExtendedKeyUsagePurpose::ServerAuth];
    check(&[
        ("self-signed", Some(p256(|_| ())), true, Ok(())),
        (
            "out of a CA",
            Some(issued(&ca("any").0, &params("cmxDevice", |_| ()))),
            true,
            Ok(()),
        ),
        (
            "CA:TRUE",
            Some(p256(|p| {
                p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            })),
            true,
            Ok(()),
        ),
        (
            "serverAuth only",
            Some(p256(|p| p.extended_key_usages = server_only)),
            true,
            Ok(()),
        ),
        (
            "unknown critical extension",
            Some(p256(|p| p.custom_extensions = vec![critical])),
            true,
            Ok(()),
        ),
        ("X.509 v1", Some(fixture!("v1")), true, Ok(())),
    ]);
}

#[test]
fn every_key_type_of_the_guide_works() {
    let of = |algorithm| Some(own(algorithm, &params("cmxDevice", |_| ())));
    check(&[
        ("RSA-2048", Some(fixture!("rsa2048")), true, Ok(())),
        ("RSA-4096", Some(fixture!("rsa4096")), true, Ok(())),
        ("P-256", of(&PKCS_ECDSA_P256_SHA256), true, Ok(())),
        ("P-384", of(&PKCS_ECDSA_P384_SHA384), true, Ok(())),
        ("P-521", of(&PKCS_ECDSA_P521_SHA512), true, Ok(())),
        ("Ed25519", of(&PKCS_ED25519), true, Ok(())),
    ]);
}

#[test]
fn every_key_type_serves_and_the_hybrid_is_preferred() {
    let device = plain("cmxDevice");
    for (name, server) in [
        ("RSA-2048", fixture!("rsa2048")),
        (
            "P-521",
            own(&PKCS_ECDSA_P521_SHA512, &params("localhost", |_| ())),
        ),
        ("X.509 v1", fixture!("v1")),
    ] {
        let config = service_config(&server, swap(pinning(&[&device]))).unwrap();
        assert_eq!(config.max_early_data_size, 0, "{name}");
        for version in VERSIONS {
            let met = meet(
                &Arc::new(client(version, &server, Some(&device))),
                "localhost",
                &config,
            );
            assert_eq!(
                (met.server_error, met.client_error),
                (None, None),
                "{name}, {version:?}"
            );
            let group = met.server.negotiated_key_exchange_group().unwrap().name();
            let hybrid = version.version == rustls::ProtocolVersion::TLSv1_3;
            assert_eq!(
                group == NamedGroup::X25519MLKEM768,
                hybrid,
                "{name}, {version:?}: {group:?}"
            );
        }
    }
}

#[test]
fn alpn_is_http_1_1_or_nothing() {
    let (server, device) = (plain("localhost"), plain("cmxDevice"));
    let config = service_config(&server, swap(pinning(&[&device]))).unwrap();
    for (name, offered, want) in [
        ("none", vec![], Ok(None)),
        ("http/1.1", vec!["http/1.1"], Ok(Some("http/1.1"))),
        ("h2 too", vec!["h2", "http/1.1"], Ok(Some("http/1.1"))),
        (
            "h2 only",
            vec!["h2"],
            Err(AlertDescription::NoApplicationProtocol),
        ),
    ] {
        for version in VERSIONS {
            let mut client = client(version, &server, Some(&device));
            client.alpn_protocols = offered
                .iter()
                .map(|offer| offer.as_bytes().to_vec())
                .collect();
            let met = meet(&Arc::new(client), "localhost", &config);
            let got = match met.client_error {
                None => Ok(met
                    .server
                    .alpn_protocol()
                    .map(|chosen| String::from_utf8_lossy(chosen).into_owned())),
                Some(Error::AlertReceived(alert)) => Err(alert),
                Some(error) => panic!("{name}: {error}"),
            };
            assert_eq!(
                got,
                want.map(|chosen| chosen.map(str::to_owned)),
                "{name}, {version:?}"
            );
        }
    }
}

#[test]
fn a_swapped_snapshot_counts_at_once() {
    let (server, device) = (plain("localhost"), plain("cmxDevice"));
    let pins = swap(Snapshot::default());
    let config = service_config(&server, Arc::clone(&pins)).unwrap();
    for version in VERSIONS {
        // A new client each time: nothing to resume.
        let meet_anew = || {
            meet(
                &Arc::new(client(version, &server, Some(&device))),
                "localhost",
                &config,
            )
        };
        pins.store(Arc::new(Snapshot::default()));
        assert_eq!(
            meet_anew().client_error,
            Some(Error::AlertReceived(AlertDescription::UnknownCA))
        );
        pins.store(Arc::new(pinning(&[&device])));
        let met = meet_anew();
        assert_eq!(
            (met.server_error, met.server.handshake_kind()),
            (None, Some(HandshakeKind::Full))
        );
        let leaf = &met.server.peer_certificates().unwrap()[0];
        assert_eq!(
            pins.load()
                .identify(leaf, &[], 1_800_000_000)
                .unwrap()
                .fingerprint,
            fingerprint(leaf)
        );

        pins.load()
            .pin(leaf)
            .unwrap()
            .revoked
            .store(true, std::sync::atomic::Ordering::Release);
        assert_eq!(
            meet_anew().client_error,
            Some(Error::AlertReceived(AlertDescription::CertificateRevoked))
        );
        assert_eq!(
            pins.load().identify(leaf, &[], 1_800_000_000).unwrap_err(),
            Stranger::Revoked
        );
    }
}

#[test]
fn a_key_must_belong_to_its_certificate() {
    let (one, other) = (plain("one"), plain("other"));
    let crossed = Identity {
        chain: one.chain.clone(),
        key: other.key,
    };
    let empty = Identity {
        chain: Vec::new(),
        key: one.key.clone_key(),
    };
    let garbage = Identity {
        chain: vec![vec![0x30, 0x01].into()],
        key: one.key.clone_key(),
    };
    for (name, identity, want) in [
        ("good", one, ""),
        ("X.509 v1", fixture!("v1"), ""),
        ("RSA", fixture!("rsa2048"), ""),
        (
            "crossed",
            crossed,
            "the private key does not belong to the certificate: import",
        ),
        ("no chain", empty, "the private key has no certificate"),
        ("garbage", garbage, "no readable X.509"),
        (
            "RSA-1024",
            fixture!("rsa1024"),
            "the private key cannot be used",
        ),
    ] {
        let text =
            check_identity(&identity).map_or_else(|error| error.to_string(), |()| String::new());
        assert!(
            if want.is_empty() {
                text.is_empty()
            } else {
                text.contains(want)
            },
            "{name}: {text}"
        );
        assert_eq!(
            service_config(&identity, swap(Snapshot::default())).is_ok(),
            want.is_empty(),
            "{name}"
        );
    }
}
