//! Two rustls ends in memory: no socket, no clock of ours. Certificates are made on the spot; what
//! rcgen cannot make (X.509 v1, RSA) lies in tests/data/tls, made with openssl 3 for 100 years:
//! `openssl req -x509 -newkey rsa:N`, and `openssl x509 -req -signkey` without extensions for v1.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client_cas;
mod clients;
mod hsm;
mod resumption;

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, SignatureAlgorithm};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, Connection, Error, ServerConnection, SupportedProtocolVersion};

use super::*;
use crate::identity::{CertificateFacts, RoleSpec, fingerprint};

pub(super) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// Certificate parameters with a common name and a change.
pub(super) fn params(
    common_name: &str,
    change: impl FnOnce(&mut CertificateParams),
) -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    change(&mut params);
    params
}

/// A self-signed identity.
pub(super) fn own(algorithm: &'static SignatureAlgorithm, params: &CertificateParams) -> Identity {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let leaf = params.self_signed(&key).unwrap();
    identity(leaf.der().to_vec(), key.serialize_der())
}

/// A self-signed P-256 identity.
pub(super) fn plain(common_name: &str) -> Identity {
    own(&PKCS_ECDSA_P256_SHA256, &params(common_name, |_| ()))
}

/// A P-256 identity out of a CA.
pub(super) fn issued(issuer: &rcgen::Issuer<'_, KeyPair>, params: &CertificateParams) -> Identity {
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, issuer).unwrap();
    identity(leaf.der().to_vec(), key.serialize_der())
}

pub(super) fn identity(leaf: Vec<u8>, pkcs8: Vec<u8>) -> Identity {
    Identity {
        chain: vec![leaf.into()],
        key: PrivatePkcs8KeyDer::from(pkcs8).into(),
    }
}

macro_rules! fixture {
    ($name:literal) => {
        crate::net::tls::tests::identity(
            include_bytes!(concat!("../../../../tests/data/tls/", $name, ".crt.der")).to_vec(),
            include_bytes!(concat!("../../../../tests/data/tls/", $name, ".key.der")).to_vec(),
        )
    };
}
pub(super) use fixture;

/// A snapshot that pins the leaf of each as a device.
pub(super) fn pinning(identities: &[&Identity]) -> Snapshot {
    let trusted = identities.iter().enumerate().map(|(number, identity)| {
        let der = identity.chain[0].to_vec();
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        CertificateFacts {
            alias: format!("cmxDevice{number}"),
            subject: parsed.subject().to_string(),
            not_before_unix_s: parsed.validity().not_before.timestamp(),
            not_after_unix_s: parsed.validity().not_after.timestamp(),
            spki: parsed.public_key().raw.to_vec(),
            der: der.clone(),
        }
    });
    Snapshot::build(
        &RoleSpec::defaults(),
        trusted.collect::<Vec<_>>(),
        &[],
        1,
        0,
    )
    .unwrap()
    .0
}

pub(super) fn swap(snapshot: Snapshot) -> Arc<ArcSwap<Snapshot>> {
    Arc::new(ArcSwap::from_pointee(snapshot))
}

/// A client of exactly one TLS version that knows the server by its fingerprint. Key and
/// certificate are not compared, so that a thief of certificates can be played.
pub(super) fn client(
    version: &'static SupportedProtocolVersion,
    server: &Identity,
    shown: Option<&Identity>,
) -> ClientConfig {
    let provider = provider();
    let trust = HsmTrust {
        authorities: Vec::new(),
        server_name: None,
        fingerprint: Some(fingerprint(&server.chain[0])),
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap();
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(super::hsm::verifier(&trust, &provider).unwrap());
    match shown {
        Some(identity) => {
            let key = provider
                .key_provider
                .load_private_key(identity.key.clone_key())
                .unwrap();
            let shown = CertifiedKey::new(identity.chain.clone(), key);
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
        }
        None => builder.with_no_client_auth(),
    }
}

/// Both ends after the handshake, and the first error of each.
pub(super) struct Met {
    pub(super) client: Connection,
    pub(super) server: ServerConnection,
    pub(super) client_error: Option<Error>,
    pub(super) server_error: Option<Error>,
}

/// Carries everything `from` has to say to `to`; true: there was something.
fn carry(from: &mut Connection, to: &mut Connection, error: &mut Option<Error>) -> bool {
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let mut rest = wire.as_slice();
    while !rest.is_empty() && error.is_none() {
        to.read_tls(&mut rest).unwrap();
        *error = to.process_new_packets().err();
    }
    !wire.is_empty()
}

/// Lets the two shake hands until neither has anything more to say.
pub(super) fn meet(client: &Arc<ClientConfig>, name: &str, server: &Arc<ServerConfig>) -> Met {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = Connection::from(ClientConnection::new(Arc::clone(client), name).unwrap());
    let mut server = Connection::from(ServerConnection::new(Arc::clone(server)).unwrap());
    let (mut client_error, mut server_error) = (None, None);
    loop {
        let said = carry(&mut client, &mut server, &mut server_error);
        let answered = carry(&mut server, &mut client, &mut client_error);
        if !said && !answered {
            break;
        }
    }
    let Connection::Server(server) = server else {
        panic!("it was the server")
    };
    Met {
        client,
        server,
        client_error,
        server_error,
    }
}
