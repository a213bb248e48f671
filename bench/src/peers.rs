//! The servers compared, each on a free loopback port, with the same certificates and TLS 1.3.

pub mod bare;
pub mod nginx;
pub mod openbao;
pub mod ours;
pub mod tomcat;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use kms::cli::pki::KeyKind;
use kms_loadgen::{Exchanges, Target};
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

use crate::credentials::{Credentials, SERVER_NAME};
use crate::server::{Server, StartError};

/// Sent to every server alike, so that all read the same bytes. Only OpenBao looks at it.
pub const TOKEN: &str = "bench-token";
/// Name of the Transit key.
pub const KEY: &str = "bench";

/// What all servers share.
pub struct Site {
    /// Removed at the end.
    pub folder: tempfile::TempDir,
    /// Certificates.
    pub credentials: Credentials,
}

/// A running server with the requests that are sent to it.
pub struct Contender {
    /// For tables.
    pub name: String,
    /// Program and version, and what is on.
    pub about: String,
    /// The process.
    pub server: Server,
    /// As a device.
    pub target: Target,
    /// Requests with their expected answers.
    pub exchanges: Arc<Exchanges>,
    /// The log with a line a request, if it has one: emptied after each run, or it would fill the disk.
    pub request_log: Option<PathBuf>,
}

impl Site {
    /// A fresh folder with fresh certificates of this kind.
    pub fn new(keys: KeyKind) -> Result<Self, StartError> {
        let folder = tempfile::Builder::new().prefix("kms-bench-").tempdir()?;
        let credentials = Credentials::new(keys)
            .map_err(|error| StartError::Failed(format!("certificates: {error}")))?;
        Ok(Self {
            folder,
            credentials,
        })
    }

    /// A folder for one server, with the PEM files in it.
    fn server_folder(&self, name: &str) -> Result<PathBuf, StartError> {
        let folder = self.folder.path().join(name);
        fs::create_dir(&folder)?;
        self.credentials.write_server_pem(&folder)?;
        Ok(folder)
    }

    /// The server at `address` as a device sees it, or as the back end does.
    fn target(&self, address: SocketAddr, backend: bool) -> Result<Target, StartError> {
        let Credentials {
            authority,
            device,
            backend: owner,
            ..
        } = &self.credentials;
        let client = if backend { owner } else { device };
        let mut target = Target::issued(address, SERVER_NAME, authority, client)
            .map_err(|error| StartError::Failed(error.to_string()))?;
        // Without the port: the same bytes for every server.
        SERVER_NAME.clone_into(&mut target.host);
        Ok(target)
    }
}

/// The answer of a server that knows only one: the bytes of a real one, and what must be found in them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FixedAnswer {
    /// The JSON body.
    pub body: Vec<u8>,
    expected: Vec<u8>,
}

impl FixedAnswer {
    /// From a real answer.
    pub fn new(body: Vec<u8>) -> Option<Self> {
        let field = b"\"plaintext\":\"";
        let at = body.windows(field.len()).position(|part| part == field)?;
        let end = body
            .iter()
            .skip(at + field.len())
            .position(|&byte| byte == b'"')?;
        let expected = body.get(at..=at + field.len() + end)?.to_vec();
        Some(Self { body, expected })
    }

    /// The shape of a real one, when there is no server to ask.
    pub fn made_up() -> Self {
        let expected = format!("\"plaintext\":\"{}=\"", "A".repeat(43));
        let body = format!(
            "{{\"request_id\":\"bfb5b4a2-3a2c-0434-60b5-928a3c6b66c2\",\"lease_id\":\"\",\"renewable\":false,\
             \"lease_duration\":0,\"data\":{{{expected}}},\"wrap_info\":null,\"warnings\":null,\"auth\":null}}\n"
        );
        Self {
            body: body.into_bytes(),
            expected: expected.into_bytes(),
        }
    }

    /// `requests` with this answer, or as many random ones of the same shape when there are none.
    pub fn exchanges(&self, requests: Option<&Exchanges>, count: usize) -> Exchanges {
        let mut exchanges = Exchanges::default();
        if let Some(requests) = requests {
            for index in 0..requests.len() {
                if let Some(exchange) = requests.get(index) {
                    exchanges.push(exchange.request, &self.expected);
                }
            }
            return exchanges;
        }
        let mut random = SmallRng::seed_from_u64(1);
        let mut sealed = [0; 60];
        let mut request = Vec::new();
        for _ in 0..count {
            random.fill_bytes(&mut sealed);
            let mut body = b"{\"ciphertext\":\"vault:v1:".to_vec();
            kms::wire::base64::put(&mut body, &sealed);
            body.extend_from_slice(b"\"}");
            request.clear();
            let path = format!("/v1/transit/decrypt/{KEY}");
            kms_loadgen::client::put_request(
                &mut request,
                SERVER_NAME,
                "POST",
                &path,
                Some(TOKEN),
                &body,
            );
            exchanges.push(&request, &self.expected);
        }
        exchanges
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fixed_answers_expect_their_own_plaintext() {
        let made_up = FixedAnswer::made_up();
        let again = FixedAnswer::new(made_up.body.clone()).unwrap();
        assert_eq!(again, made_up);
        assert_eq!(FixedAnswer::new(b"{\"errors\":[]}".to_vec()), None);
        let random = made_up.exchanges(None, 3);
        assert_eq!(random.len(), 3);
        assert_ne!(random.get(0), random.get(1));
        let copied = again.exchanges(Some(&random), 99);
        assert_eq!(copied.get(2), random.get(2));
        assert_eq!(copied.len(), 3);
    }
}
