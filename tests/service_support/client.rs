//! A blocking client on rustls' own stream: a second opinion on our TLS and HTTP.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use kms::cli::pki::Issued;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{House, PATIENCE, private_key};

pub struct Client {
    pub tls: StreamOwned<ClientConnection, TcpStream>,
    seen: Vec<u8>,
}

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(held, _)| held.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// The configuration of a client with `identity`.
pub fn config(
    house: &House,
    identity: Option<&Issued>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let own = || house.authority.cert_der().to_vec();
    let voucher = house.vouched_by.clone().unwrap_or_else(own);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(voucher)).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match identity {
        Some(issued) => {
            let chain = vec![CertificateDer::from(issued.cert_der.clone())];
            builder
                .with_client_auth_cert(chain, private_key(issued))
                .unwrap()
        }
        None => builder.with_no_client_auth(),
    })
}

/// A TCP connection that does not wait forever.
pub fn tcp(address: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.set_write_timeout(Some(PATIENCE)).unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}

impl Client {
    pub fn connect(
        house: &House,
        identity: Option<&Issued>,
        address: SocketAddr,
    ) -> io::Result<Self> {
        Self::with(config(house, identity, rustls::ALL_VERSIONS), tcp(address))
    }

    pub fn with(config: Arc<ClientConfig>, mut tcp: TcpStream) -> io::Result<Self> {
        let name = ServerName::try_from("localhost").unwrap();
        let mut connection = ClientConnection::new(config, name).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp)?;
        }
        Ok(Self {
            tls: StreamOwned::new(connection, tcp),
            seen: Vec::new(),
        })
    }

    /// Over a stream whose handshake may still be going on.
    pub fn from_stream(tls: StreamOwned<ClientConnection, TcpStream>) -> Self {
        Self {
            tls,
            seen: Vec::new(),
        }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("send");
    }

    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.tls.write_all(bytes.as_ref())?;
        self.tls.flush()
    }

    /// Sends a request with a body.
    pub fn ask(&mut self, method: &str, path: &str, body: &str) {
        self.send(request(method, path, body));
    }

    pub fn post(&mut self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, body);
        self.answer()
    }

    /// As [`Client::post`]; `Err` when the connection ends before the answer is whole.
    pub fn try_answer_after(&mut self, path: &str, body: &str) -> io::Result<Answer> {
        self.try_send(request("POST", path, body))?;
        self.try_answer()
    }

    /// The next answer; `Err` when the connection ends before it is whole.
    pub fn try_answer(&mut self) -> io::Result<Answer> {
        self.try_answer_to("POST")
    }

    pub fn try_answer_to(&mut self, method: &str) -> io::Result<Answer> {
        loop {
            if let Some((answer, used)) = parse(&self.seen, method == "HEAD") {
                self.seen.drain(..used);
                return Ok(answer);
            }
            let mut chunk = [0; 16 * 1024];
            match self.tls.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.seen.extend_from_slice(&chunk[..read]),
            }
        }
    }

    /// On a non-blocking socket: writes what waits. False: nothing was written.
    pub fn write_some(&mut self) -> bool {
        if !self.tls.conn.wants_write() {
            return false;
        }
        match self.tls.conn.write_tls(&mut self.tls.sock) {
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// On a non-blocking socket: takes in what has arrived.
    pub fn read_some(&mut self) {
        match self.tls.conn.read_tls(&mut self.tls.sock) {
            Ok(0) => panic!("the server closed"),
            Ok(_) => _ = self.tls.conn.process_new_packets().unwrap(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
        let mut chunk = [0; 16 * 1024];
        while let Ok(read @ 1..) = self.tls.conn.reader().read(&mut chunk) {
            self.seen.extend_from_slice(&chunk[..read]);
        }
    }

    /// An answer that has arrived whole.
    pub fn whole_answer(&mut self) -> Option<Answer> {
        let (answer, used) = parse(&self.seen, false)?;
        self.seen.drain(..used);
        Some(answer)
    }

    pub fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer")
    }

    /// Asserts that nothing but the end comes, and says whether it came with `close_notify`.
    pub fn end(&mut self) -> bool {
        assert_eq!(
            String::from_utf8_lossy(&self.seen),
            "",
            "bytes before the end"
        );
        let mut chunk = [0; 1024];
        match self.tls.read(&mut chunk) {
            Ok(0) => true,
            Ok(read) => panic!("not the end: {:?}", String::from_utf8_lossy(&chunk[..read])),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                panic!("the connection was not closed")
            }
            Err(_) => false,
        }
    }

    /// Ends the sending side of the socket.
    pub fn shut_down(&mut self, with_notify: bool) {
        if with_notify {
            self.tls.conn.send_close_notify();
            self.tls.flush().unwrap();
        }
        self.tls.sock.shutdown(Shutdown::Write).unwrap();
    }
}

pub fn request(method: &str, path: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn parse(seen: &[u8], head_only: bool) -> Option<(Answer, usize)> {
    let head_len = seen.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&seen[..head_len - 4]).expect("ASCII");
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().expect("a status");
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').expect("a header"))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer {
        status,
        headers,
        body: String::new(),
    };
    let length: usize = answer
        .header("Content-Length")
        .map_or(0, |value| value.parse().expect("a length"));
    if status == 100 || head_only {
        return Some((answer, head_len));
    }
    let body = seen.get(head_len..head_len + length)?;
    answer.body = String::from_utf8(body.to_vec()).expect("UTF-8");
    Some((answer, head_len + length))
}
