//! Who is asked: our server as operators run it, and (in `openbao`) the reference.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::exchange::{Answer, exchange};
use super::support::PATIENCE;
use super::support::node::Node;
use super::support::pki::{KeyKind, Pki};
use super::support::site::Site;

/// A server that is asked one request a connection.
pub trait Peer {
    #[allow(dead_code)] // tests/openapi.rs asks one server only.
    fn name(&self) -> &'static str;
    /// `Err`: why there is no answer.
    fn ask(&mut self, request: &[u8], head_only: bool) -> Result<Answer, String>;
}

/// A connection that does not wait forever.
pub fn tcp(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Whether bytes (or the end) have come that were not read.
pub fn arrived(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let came = stream.peek(&mut [0]).is_ok();
    stream.set_nonblocking(false).unwrap();
    came
}

/// The program `kms` with the embedded back end, asked as `cmxBackend`.
pub struct Ours {
    pub node: Node,
    config: Arc<ClientConfig>,
    _site: Site,
}

impl Ours {
    pub fn start(more: &[&str]) -> Self {
        let site = Site::new(KeyKind::P256);
        site.keystore(&["cmxBackend", "cmxDevice"]);
        // The product's own limits, not the small ones of the other tests.
        let limits = ["kms.request.body.max=1m", "kms.hsm.queue.max=1024"];
        let node = Node::start(&site.embedded_config(&[&limits, more].concat()));
        Self {
            config: config(&site.pki, "cmxBackend"),
            node,
            _site: site,
        }
    }
}

fn config(pki: &Pki, name: &str) -> Arc<ClientConfig> {
    let file = |end: &str| pki.path(&format!("{name}.{end}"));
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(pki.path("siteCA.crt")).unwrap();
    roots.add(authority).unwrap();
    let chain = vec![CertificateDer::from_pem_file(file("crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file("key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let made = builder
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key);
    Arc::new(made.unwrap())
}

/// Whether an answer has begun: session tickets come unasked, and are none.
fn answered(tls: &mut StreamOwned<ClientConnection, TcpStream>) -> bool {
    let mut answered = false;
    while !answered && arrived(&tls.sock) {
        let read = tls.conn.read_tls(&mut tls.sock);
        let state = tls.conn.process_new_packets();
        answered =
            !matches!((read, state), (Ok(1..), Ok(state)) if state.plaintext_bytes_to_read() == 0);
    }
    answered
}

impl Peer for Ours {
    fn name(&self) -> &'static str {
        "ours"
    }

    fn ask(&mut self, request: &[u8], head_only: bool) -> Result<Answer, String> {
        let name = ServerName::try_from("localhost").unwrap();
        let mut connection = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        let mut stream = tcp(self.node.port);
        while connection.is_handshaking() {
            let done = connection.complete_io(&mut stream);
            done.map_err(|error| format!("no handshake: {error}"))?;
        }
        let mut tls = StreamOwned::new(connection, stream);
        exchange(&mut tls, request, head_only, answered)
    }
}
