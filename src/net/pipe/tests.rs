//! A buffered rustls peer against a pipe, in memory.
#![allow(clippy::unwrap_used)]

use std::io::Cursor;

use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConnection, Error, RootCertStore};

use super::*;
use crate::cli::pki::{Authority, Issued, Leaf};

/// Reads what the peer wrote, keeps what is written.
#[derive(Default)]
struct Memory {
    input: Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self.input.read(space)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn issue(authority: &Authority, server: bool) -> Issued {
    let sans: &[&str] = if server { &["localhost"] } else { &[] };
    let leaf = Leaf {
        common_name: "leaf",
        sans,
        server,
        client: !server,
        days: 1,
    };
    authority.issue(&leaf).unwrap()
}

fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(authority.cert_der().to_vec()))
        .unwrap();
    roots
}

fn shown(issued: &Issued) -> (Vec<CertificateDer<'static>>, PrivatePkcs8KeyDer<'static>) {
    let key = PrivatePkcs8KeyDer::from(issued.key_pkcs8_der.expose().to_vec());
    (vec![issued.cert_der.clone().into()], key)
}

/// A client's record that was falsified on its way, or that is none.
#[test]
fn a_broken_record_ends_in_one_alert() {
    let authority = Authority::new("CA").unwrap();
    let (chain, key) = shown(&issue(&authority, true));
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key.into())
        .unwrap();
    let server = Arc::new(server);
    for (name, place, flip, want) in [
        ("tag", -1_isize, 1, rustls::AlertDescription::BadRecordMac),
        ("type", 0, 0x80, rustls::AlertDescription::DecodeError),
        ("length", 3, 0x7f, rustls::AlertDescription::DecodeError),
    ] {
        let client = ClientConfig::builder()
            .with_root_certificates(roots(&authority))
            .with_no_client_auth();
        let host = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::new(client), host).unwrap();
        let mut pipe = Pipe::server(Arc::clone(&server), Memory::default()).unwrap();
        let mut scratch = vec![0; SCRATCH_BYTES_MIN];
        let mut turn = |client: &mut ClientConnection, falsify: bool| {
            let mut sent = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut sent).unwrap();
            }
            if falsify {
                let place = place.rem_euclid(isize::try_from(sent.len()).unwrap());
                sent[usize::try_from(place).unwrap()] ^= flip;
            }
            pipe.stream_mut().input = Cursor::new(sent);
            let received = pipe.receive(&mut scratch, |_| {});
            pipe.flush().unwrap();
            (received, std::mem::take(&mut pipe.stream_mut().output))
        };
        while client.is_handshaking() || client.wants_write() {
            let (received, answered) = turn(&mut client, false);
            received.unwrap();
            client.read_tls(&mut &answered[..]).unwrap();
            client.process_new_packets().unwrap();
        }
        client.writer().write_all(b"request").unwrap();
        let (received, answered) = turn(&mut client, true);
        assert!(received.is_err(), "{name}");
        let record = 5 + usize::from(u16::from_be_bytes([answered[3], answered[4]]));
        assert_eq!(answered.len(), record, "{name}: one alert");
        client.read_tls(&mut &answered[..]).unwrap();
        let seen = client.process_new_packets().unwrap_err();
        assert_eq!(seen, Error::AlertReceived(want), "{name}");
    }
}

/// Certificate, verification and Finished come in one record; the first of them is refused.
#[test]
fn a_refused_certificate_amid_a_flight_ends_in_an_alert() {
    let (authority, stranger) = (Authority::new("CA").unwrap(), Authority::new("CA").unwrap());
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots(&authority)));
    let (chain, key) = shown(&issue(&authority, true));
    let server = ServerConfig::builder()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, key.into())
        .unwrap();
    let (chain, key) = shown(&issue(&stranger, false));
    let client = ClientConfig::builder()
        .with_root_certificates(roots(&authority))
        .with_client_auth_cert(chain, key.into())
        .unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut pipe = Pipe::server(Arc::new(server), Memory::default()).unwrap();
    let mut scratch = vec![0; SCRATCH_BYTES_MIN];
    let refused = (0..8).find_map(|_| {
        let mut sent = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut sent).unwrap();
        }
        pipe.stream_mut().input = Cursor::new(sent);
        let received = pipe.receive(&mut scratch, |_| {});
        pipe.flush().unwrap();
        let answered = std::mem::take(&mut pipe.stream_mut().output);
        let mut answered = &answered[..];
        let mut seen = Ok(());
        while !answered.is_empty() && seen.is_ok() {
            client.read_tls(&mut answered).unwrap();
            seen = client.process_new_packets().map(|_| ());
        }
        received.err().map(|error| (error, seen))
    });
    let (error, seen) = refused.unwrap();
    assert!(
        matches!(error, PipeError::Tls(Error::InvalidCertificate(_))),
        "{error}"
    );
    assert!(matches!(seen, Err(Error::AlertReceived(_))), "{seen:?}");
}
