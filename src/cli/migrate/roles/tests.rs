//! Keystores as sites may have them, and who is who in them.
#![allow(clippy::unwrap_used)]

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::*;
use crate::keystore::Format;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn params(common_name: &str, ca: bool) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.is_ca = if ca {
        IsCa::Ca(BasicConstraints::Unconstrained)
    } else {
        IsCa::ExplicitNoCa
    };
    params
}

fn authority(common_name: &str) -> Authority {
    CertifiedIssuer::self_signed(params(common_name, true), KeyPair::generate().unwrap()).unwrap()
}

fn der_of(authority: &Authority) -> CertificateDer<'static> {
    CertificateDer::from(authority.der().to_vec())
}

fn issued(common_name: &str, by: &Authority) -> (CertificateDer<'static>, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let made = params(common_name, false).signed_by(&key, by).unwrap();
    (CertificateDer::from(made.der().to_vec()), key)
}

fn key_entry(alias: &str, common_name: &str, by: &Authority) -> KeyEntry {
    let (certificate, key) = issued(common_name, by);
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    KeyEntry {
        alias: alias.to_owned(),
        key: PrivateKeyDer::from(key),
        chain: vec![certificate],
    }
}

/// Two authorities, the keys that they have issued, and a client of the public one.
struct Lab {
    public: Authority,
    hsm: Authority,
}

impl Lab {
    fn derive(&self, trusted: Vec<(&str, CertificateDer<'static>)>) -> Roles {
        let entry = |(alias, certificate): (&str, CertificateDer<'static>)| TrustedEntry {
            alias: alias.to_owned(),
            certificate,
        };
        let store = Keystore {
            keys: vec![
                key_entry("acmeserver", "kms.acme.example", &self.public),
                key_entry("acmeclient", "kmsClient.acme.example", &self.hsm),
            ],
            trusted: trusted.into_iter().map(entry).collect(),
            format: Format::Pkcs12,
            secrets: Vec::new(),
            mended: Vec::new(),
        };
        let own = Own {
            server: &store.keys[0],
            client: Some(&store.keys[1]),
            authorities: Vec::new(),
        };
        derive(&store, &own)
    }

    fn client(&self, common_name: &str) -> CertificateDer<'static> {
        issued(common_name, &self.public).0
    }
}

fn lab() -> Lab {
    Lab {
        public: authority("Public Root"),
        hsm: authority("Internal Root"),
    }
}

#[test]
fn aliases_of_the_guide_need_no_lines() {
    let lab = lab();
    let roles = lab.derive(vec![
        ("kmipsigningca", der_of(&lab.hsm)),
        ("cmxbackend", lab.client("x")),
        ("cmxdevice", lab.client("y")),
        ("cmxdevice20240512", lab.client("z")),
    ]);
    let want = Roles {
        authorities: vec!["kmipsigningca".to_owned()],
        ..Roles::default()
    };
    assert_eq!(roles, want);
}

#[test]
fn other_aliases_are_told_by_alias_subject_and_issuer() {
    let lab = lab();
    let roles = lab.derive(vec![
        ("root-of-ours", der_of(&lab.hsm)),
        ("connected-back-end", lab.client("x")),
        ("laptops", lab.client("cmxDevice.acme.example")),
        ("acme_device_2024", lab.client("y")),
        ("publicroot", der_of(&lab.public)),
    ]);
    assert_eq!(roles.authorities, ["root-of-ours"]);
    assert_eq!(roles.backend, ["connected-back-end"]);
    assert_eq!(roles.device, ["acme_device_2024", "laptops"]);
    assert!(roles.decide.is_empty(), "{roles:?}");
    let notes = roles.notes.join("\n");
    assert!(
        notes.contains("'root-of-ours' is the HSM's authority"),
        "{notes}"
    );
    assert!(
        notes.contains("'publicroot' (CN=Public Root) is an authority of other"),
        "{notes}"
    );
}

#[test]
fn what_nothing_tells_is_safe_and_told() {
    let lab = lab();
    let (first, second) = (authority("First"), authority("Second"));
    for (name, trusted, authorities, device, decide) in [
        (
            "a client that nothing tells",
            vec![
                ("kmipsigningca", der_of(&lab.hsm)),
                ("acme", lab.client("acme")),
            ],
            &["kmipsigningca"][..],
            &["acme"][..],
            "It got the role device",
        ),
        (
            "a self-signed certificate that is an authority too",
            vec![
                ("kmipsigningca", der_of(&lab.hsm)),
                ("acme", der_of(&first)),
            ],
            &["kmipsigningca"],
            &[],
            "may be an authority or a self-signed client",
        ),
        (
            "two authorities",
            vec![("one", der_of(&first)), ("two", der_of(&second))],
            &["one", "two"],
            &[],
            "which of one, two vouches for the HSM?",
        ),
        (
            "a name that tells of the HSM",
            vec![("one", der_of(&first)), ("eskm-ca", der_of(&second))],
            &["eskm-ca"],
            &[],
            "'one' (CN=First) may be an authority",
        ),
        ("none", vec![("cmxdevice", lab.client("d"))], &[], &[], ""),
    ] {
        let roles = lab.derive(trusted);
        assert_eq!(roles.authorities, authorities, "{name}");
        assert_eq!(
            (&*roles.device, &*roles.backend),
            (
                &device.iter().map(|&one| one.to_owned()).collect::<Vec<_>>()[..],
                &[][..]
            ),
            "{name}"
        );
        assert!(
            roles.decide.join("\n").contains(decide),
            "{name}: {roles:?}"
        );
    }
}

#[test]
fn one_certificate_under_two_aliases_has_one_role() {
    let lab = lab();
    let shared = lab.client("shared");
    let roles = lab.derive(vec![
        ("copy", shared.clone()),
        ("acmebackend", shared),
        ("cmxdevice", lab.client("d")),
        ("ca", der_of(&lab.hsm)),
    ]);
    assert_eq!(roles.backend, ["acmebackend", "copy"]);
    assert!(
        roles.notes[0].contains("'copy' holds the same certificate as 'acmebackend'"),
        "{roles:?}"
    );
}
