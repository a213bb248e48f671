//! Clients that never pause while a document's commands are run, with the files that the document has handed out.
//!
//! They come as through a load balancer: each new connection goes to a node whose `/readyz` is 200. Must never be
//! true: a request that failed and is not told.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kms::keystore;
use kms::secret::SecretString;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::support::{PATIENCE, wait_until};

/// Requests of one connection, so that there are always new ones.
const REQUESTS_MAX: usize = 40;
const TIMEOUT: Duration = Duration::from_secs(30);

/// A node as the balancer knows it.
pub struct Node {
    pub service: SocketAddr,
    pub health: SocketAddr,
    ready: AtomicBool,
}

impl Node {
    pub fn new(service: u16, health: u16) -> Self {
        Self {
            service: ([127, 0, 0, 1], service).into(),
            health: ([127, 0, 0, 1], health).into(),
            ready: AtomicBool::new(false),
        }
    }

    /// What the balancer asks all the time.
    fn look(&self) {
        let answer = || -> io::Result<bool> {
            let mut tcp = TcpStream::connect_timeout(&self.health, TIMEOUT)?;
            tcp.set_read_timeout(Some(TIMEOUT))?;
            tcp.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
            let mut text = String::new();
            tcp.read_to_string(&mut text)?;
            Ok(text.starts_with("HTTP/1.1 200"))
        };
        self.ready
            .store(answer().unwrap_or(false), Ordering::Release);
    }
}

/// A client certificate as its holder has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    pub p12: PathBuf,
    pub password: PathBuf,
}

/// One client.
pub struct Client {
    pub name: &'static str,
    holder: Mutex<Holder>,
    /// It may be refused from now on.
    given_up: AtomicBool,
    served: AtomicUsize,
    refused: AtomicUsize,
}

impl Client {
    pub fn new(name: &'static str, holder: Holder) -> Self {
        Self {
            name,
            holder: Mutex::new(holder),
            given_up: AtomicBool::new(false),
            served: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        }
    }

    /// From its next connection on.
    pub fn hand(&self, holder: Holder) {
        *self.holder.lock().unwrap() = holder;
    }

    pub fn give_up(&self, given_up: bool) {
        self.given_up.store(given_up, Ordering::Release);
    }

    /// Waits until it has been served some more.
    pub fn is_served(&self) {
        self.grows("is not served any more", &self.served);
    }

    /// Waits until it has been refused some more.
    pub fn is_refused(&self) {
        self.grows("is not refused", &self.refused);
    }

    fn grows(&self, what: &str, count: &AtomicUsize) {
        let from = count.load(Ordering::Acquire);
        wait_until(&format!("{} {what}", self.name), PATIENCE, || {
            (count.load(Ordering::Acquire) > from + 5).then_some(())
        });
    }

    pub fn count(&self) -> usize {
        self.served.load(Ordering::Acquire)
    }
}

/// What all clients share.
pub struct Load {
    pub nodes: Vec<Node>,
    /// PEM of the authority of the server's certificate.
    pub authority: PathBuf,
    pub ciphertext: String,
    pub plaintext: &'static str,
    pub over: AtomicBool,
    pub failures: Mutex<Vec<String>>,
}

impl Load {
    /// The balancer's eye.
    pub fn watch(&self) {
        while !self.over.load(Ordering::Acquire) {
            self.nodes.iter().for_each(Node::look);
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Connection after connection.
    pub fn go_on(&self, client: &Client) {
        let mut turn = 0;
        while !self.over.load(Ordering::Acquire) {
            turn += 1;
            let ready: Vec<&Node> = self
                .nodes
                .iter()
                .filter(|node| node.ready.load(Ordering::Acquire))
                .collect();
            let Some(node) = ready.get(turn % ready.len().max(1)) else {
                std::thread::park_timeout(Duration::from_millis(20));
                continue;
            };
            let holder = client.holder.lock().unwrap().clone();
            let given_up = client.given_up.load(Ordering::Acquire);
            let Err(why) = self.one_connection(client, node, &holder) else {
                continue;
            };
            // Given up meanwhile counts as well: it may have been cut in between.
            if given_up || client.given_up.load(Ordering::Acquire) {
                client.refused.fetch_add(1, Ordering::AcqRel);
            } else {
                let p12 = holder.p12.display();
                let why = format!("{} with {p12} at {}: {why}", client.name, node.service);
                self.failures.lock().unwrap().push(why);
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn one_connection(&self, client: &Client, node: &Node, holder: &Holder) -> Result<(), String> {
        let mut stream = self
            .connect(node, holder)
            .map_err(|error| format!("connecting: {error}"))?;
        for number in 0..REQUESTS_MAX {
            let told = |error| format!("request {number} of a connection: {error}");
            let (status, answer, closes) = self
                .unwrap(&mut stream)
                .map_err(|error| told(error.to_string()))?;
            if status != 200 || !answer.contains(self.plaintext) {
                return Err(told(format!("{status} {answer}")));
            }
            client.served.fetch_add(1, Ordering::AcqRel);
            if closes || self.over.load(Ordering::Acquire) {
                break;
            }
        }
        Ok(())
    }

    fn connect(
        &self,
        node: &Node,
        holder: &Holder,
    ) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let mut tcp = TcpStream::connect_timeout(&node.service, TIMEOUT)?;
        tcp.set_read_timeout(Some(TIMEOUT))?;
        tcp.set_write_timeout(Some(TIMEOUT))?;
        let config = Arc::new(config(&self.authority, holder));
        let mut connection =
            ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp)?;
        }
        Ok(StreamOwned::new(connection, tcp))
    }

    /// Status, body, and whether the server ends the connection.
    fn unwrap(
        &self,
        stream: &mut StreamOwned<ClientConnection, TcpStream>,
    ) -> io::Result<(u16, String, bool)> {
        let body = format!("{{\"ciphertext\":\"{}\"}}", self.ciphertext);
        let head = "POST /v1/transit/decrypt/orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
        let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes())?;
        stream.flush()?;
        let mut seen = Vec::new();
        loop {
            if let Some(answer) = whole(&seen) {
                return Ok(answer);
            }
            let mut piece = [0; 4096];
            let count = stream.read(&mut piece)?;
            if count == 0 {
                return Err(io::Error::other("the connection ended in an answer"));
            }
            seen.extend_from_slice(&piece[..count]);
        }
    }
}

fn whole(seen: &[u8]) -> Option<(u16, String, bool)> {
    let text = String::from_utf8_lossy(seen);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(held, _)| held.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
    };
    let length: usize = header("content-length")?.parse().ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let closes = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    (body.len() >= length).then(|| (status, body.to_owned(), closes))
}

/// With the files as they were handed out.
fn config(authority: &Path, holder: &Holder) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(authority).unwrap())
        .unwrap();
    let password = std::fs::read_to_string(&holder.password).unwrap();
    let password = SecretString::new(password.lines().next().unwrap().to_owned());
    let store = keystore::open(&std::fs::read(&holder.p12).unwrap(), &password, None).unwrap();
    let entry = &store.keys[0];
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(entry.chain.clone(), entry.key.clone_key())
        .unwrap()
}
