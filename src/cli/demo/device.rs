//! A small blocking client: one mutual TLS connection, one request at a time.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::net::pipe::{Pipe, SCRATCH_BYTES_MIN};
use crate::net::tls::{self, HsmTrust, Identity};
use crate::wire::http::{self, RequestHead, ResponseDecoder, ResponseProgress};
use crate::wire::transit::{self, Verb};

use super::folder::Folder;

const TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A client with one of the demo's certificates.
pub(super) struct Device {
    pipe: Pipe<TcpStream>,
    host: String,
    scratch: Zeroizing<Vec<u8>>,
}

impl Device {
    /// Connects to `address` as the holder of `name`.crt and `name`.key.
    pub(super) fn connect(
        folder: &Folder,
        name: &str,
        address: SocketAddr,
    ) -> Result<Self, String> {
        let certificate = |name: &str| {
            let file = folder.file(&format!("{name}.crt"));
            CertificateDer::from_pem_file(&file)
                .map_err(|error| format!("{}: {error}", file.display()))
        };
        let key_file = folder.file(&format!("{name}.key"));
        let key = PrivateKeyDer::from_pem_file(&key_file)
            .map_err(|error| format!("{}: {error}", key_file.display()))?;
        let trust = HsmTrust {
            authorities: vec![certificate("ca")?],
            server_name: None,
            fingerprint: None,
        };
        let identity = Identity {
            chain: vec![certificate(name)?],
            key,
        };
        let config = tls::hsm_config(&trust, Some(&identity)).map_err(|error| error.to_string())?;
        let server =
            tls::hsm_server_name(&trust, "localhost").map_err(|error| error.to_string())?;
        let stream =
            TcpStream::connect_timeout(&address, TIMEOUT).map_err(|error| error.to_string())?;
        let timed = stream
            .set_read_timeout(Some(TIMEOUT))
            .and_then(|()| stream.set_write_timeout(Some(TIMEOUT)))
            .and_then(|()| stream.set_nodelay(true));
        timed.map_err(|error| error.to_string())?;
        let pipe = Pipe::client(config, server, stream).map_err(|error| error.to_string())?;
        let scratch = Zeroizing::new(vec![0; 2 * SCRATCH_BYTES_MIN]);
        let mut device = Self {
            pipe,
            host: address.to_string(),
            scratch,
        };
        device.shake_hands()?;
        Ok(device)
    }

    fn shake_hands(&mut self) -> Result<(), String> {
        while !self.pipe.is_established() {
            self.pipe.flush().map_err(|error| error.to_string())?;
            let received = self
                .pipe
                .receive(&mut self.scratch, |_| {})
                .map_err(|error| format!("TLS handshake: {error}"))?;
            if received.closed || received.bytes == 0 {
                return Err("the server ended the TLS handshake".to_owned());
            }
        }
        self.pipe
            .flush()
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    /// TLS version and key exchange, for people.
    pub(super) fn describe(&self) -> String {
        self.pipe.describe()
    }

    /// `POST /v1/transit/keys/:name`.
    pub(super) fn create_key(&mut self, name: &str) -> Result<(), String> {
        self.post(&format!("/v1/transit/keys/{name}"), b"{}")
            .map(|_| ())
    }

    /// `POST /v1/transit/encrypt/:name`; returns the ciphertext.
    pub(super) fn encrypt(&mut self, name: &str, plaintext: &str) -> Result<String, String> {
        let body = Zeroizing::new(format!("{{\"plaintext\":\"{plaintext}\"}}"));
        let answer = self.post(&format!("/v1/transit/encrypt/{name}"), body.as_bytes())?;
        text_of(Verb::Encrypt, &answer).map(|text| text.to_string())
    }

    /// `POST /v1/transit/decrypt/:name`; returns the plaintext, still base64.
    pub(super) fn decrypt(
        &mut self,
        name: &str,
        ciphertext: &str,
    ) -> Result<Zeroizing<String>, String> {
        let body = format!("{{\"ciphertext\":\"{ciphertext}\"}}");
        let answer = self.post(&format!("/v1/transit/decrypt/{name}"), body.as_bytes())?;
        text_of(Verb::Decrypt, &answer)
    }

    fn post(&mut self, target: &str, body: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
        let mut request = Zeroizing::new(Vec::with_capacity(512 + body.len()));
        let head = RequestHead {
            method: "POST",
            target,
            host: &self.host,
            headers: &[("Content-Type", "application/json")],
            keep_alive: true,
        };
        http::write_request(&mut *request, &head, body);
        let sent = self.pipe.send(&request).and_then(|()| self.pipe.flush());
        sent.map_err(|error| error.to_string())?;
        let mut decoder = ResponseDecoder::new(false);
        let mut input = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES_MAX));
        loop {
            let received = self
                .pipe
                .receive(&mut self.scratch, |plaintext| {
                    input.extend_from_slice(plaintext);
                })
                .map_err(|error| error.to_string())?;
            if let Ok(ResponseProgress::Response(response, _)) =
                decoder.step(&mut input, ANSWER_BYTES_MAX, received.closed)
            {
                if response.status != 200 {
                    let text = String::from_utf8_lossy(response.body).into_owned();
                    return Err(format!("{target} was answered {}: {text}", response.status));
                }
                return Ok(Zeroizing::new(response.body.to_vec()));
            }
            if received.closed || received.bytes == 0 {
                return Err(format!("{target} was not answered"));
            }
        }
    }
}

fn text_of(verb: Verb, answer: &[u8]) -> Result<Zeroizing<String>, String> {
    let text = transit::parse_answer(verb, answer)
        .ok()
        .and_then(|answer| answer.items.into_iter().next())
        .and_then(|item| item.text);
    let text = text.ok_or_else(|| format!("the answer has no {}", verb.result_field()))?;
    Ok(Zeroizing::new(text.as_str().to_owned()))
}
