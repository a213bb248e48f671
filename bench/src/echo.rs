//! The floor of row P2: the least that mio and rustls can do. One thread, mutual TLS, reads one
//! record, writes the same bytes back to everybody. No HTTP, no JSON, no cache, no limits.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::Path;
use std::sync::Arc;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

const LISTENER: Token = Token(usize::MAX);

struct Peer {
    stream: TcpStream,
    tls: ServerConnection,
}

/// Serves `answer` on `address` with the PEM files in `folder`, until the process is stopped.
pub fn serve(address: SocketAddr, folder: &Path, answer: &[u8]) -> io::Result<()> {
    serve_on(
        StdListener::bind(address)?,
        &tls(folder).map_err(io::Error::other)?,
        answer,
    )
}

fn tls(folder: &Path) -> Result<Arc<ServerConfig>, Box<dyn std::error::Error + Send + Sync>> {
    let ca = CertificateDer::from_pem_file(folder.join("ca.pem"))?;
    let leaf = CertificateDer::from_pem_file(folder.join("server.pem"))?;
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key"))?;
    server_config(ca, leaf, key)
}

fn server_config(
    ca: CertificateDer<'static>,
    leaf: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, Box<dyn std::error::Error + Send + Sync>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca)?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![leaf], key)?;
    Ok(Arc::new(config))
}

fn serve_on(listener: StdListener, tls: &Arc<ServerConfig>, answer: &[u8]) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(256);
    let mut peers: HashMap<Token, Peer> = HashMap::new();
    let mut next = 0;
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    poll.registry()
                        .register(&mut stream, Token(next), interest)?;
                    let tls = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
                    peers.insert(Token(next), Peer { stream, tls });
                    next += 1;
                }
            } else if let Some(peer) = peers.get_mut(&event.token())
                && !echo(peer, answer)
            {
                peers.remove(&event.token());
            }
        }
    }
}

/// One read, one answer for a record, one write. False: the connection is over.
fn echo(peer: &mut Peer, answer: &[u8]) -> bool {
    match peer.tls.read_tls(&mut peer.stream) {
        Ok(0) => return false,
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(_) => return false,
    }
    let Ok(state) = peer.tls.process_new_packets() else {
        let _ = peer.tls.write_tls(&mut peer.stream);
        return false;
    };
    if state.plaintext_bytes_to_read() > 0 {
        let mut request = [0; 4096];
        let read = peer.tls.reader().read(&mut request);
        if !matches!(read, Ok(1..)) || peer.tls.writer().write_all(answer).is_err() {
            return false;
        }
    }
    while peer.tls.wants_write() {
        match peer.tls.write_tls(&mut peer.stream) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => return false,
        }
    }
    true
}

#[cfg(test)]
pub(crate) mod tests;
