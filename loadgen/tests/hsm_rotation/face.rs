//! What the simulated HSM shows and whom it lets in, to be changed while it runs.

use std::sync::{Arc, Mutex};

use kms::cli::pki::{Authority, Issued};
use kms_loadgen::sim::tls::Shown;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
};

#[derive(Debug)]
struct Inner {
    shown: Mutex<Arc<CertifiedKey>>,
    accepts: Mutex<Arc<dyn ClientCertVerifier>>,
    /// Certificates of those that were let in, in order.
    seen: Mutex<Vec<CertificateDer<'static>>>,
}

/// Changes it.
#[derive(Clone, Debug)]
pub struct Face(Arc<Inner>);

fn certified(issued: &Issued) -> Arc<CertifiedKey> {
    let key = PrivatePkcs8KeyDer::from(issued.key_pkcs8_der.expose().to_vec());
    let key = aws_lc_rs::sign::any_supported_type(&PrivateKeyDer::from(key)).unwrap();
    let chain = vec![CertificateDer::from(issued.cert_der.clone())];
    Arc::new(CertifiedKey::new(chain, key))
}

fn verifier(authorities: &[&Authority]) -> Arc<dyn ClientCertVerifier> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        let der = CertificateDer::from(authority.cert_der().to_vec());
        roots.add(der).unwrap();
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .unwrap()
}

impl Face {
    pub fn new(shown: &Issued, accepts: &[&Authority]) -> Self {
        Self(Arc::new(Inner {
            shown: Mutex::new(certified(shown)),
            accepts: Mutex::new(verifier(accepts)),
            seen: Mutex::default(),
        }))
    }

    /// From the next handshake on.
    pub fn show(&self, issued: &Issued) {
        *self.0.shown.lock().unwrap() = certified(issued);
    }

    /// From the next handshake on.
    pub fn accept(&self, authorities: &[&Authority]) {
        *self.0.accepts.lock().unwrap() = verifier(authorities);
    }

    /// How many were let in so far.
    pub fn count(&self) -> usize {
        self.0.seen.lock().unwrap().len()
    }

    /// Certificates of those that were let in after so many.
    pub fn since(&self, count: usize) -> Vec<CertificateDer<'static>> {
        self.0.seen.lock().unwrap()[count..].to_vec()
    }

    /// For the simulator.
    pub fn tls(&self) -> Shown {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(Arc::new(self.clone()))
            .with_cert_resolver(Arc::new(self.clone()));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Shown {
            valid: Arc::new(config),
            expired: None,
            future: None,
        }
    }

    fn accepts(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.0.accepts.lock().unwrap())
    }
}

impl ResolvesServerCert for Face {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.shown.lock().unwrap()))
    }
}

impl ClientCertVerifier for Face {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.accepts().verify_client_cert(leaf, above, now)?;
        self.0.seen.lock().unwrap().push(leaf.clone().into_owned());
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.accepts().verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.accepts().verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.accepts().supported_verify_schemes()
    }
}
