//! A device or back end as sites have them: curl with the PKCS12 file of the guide.

use std::time::{Duration, Instant};

use super::pki::Pki;
use super::{run, try_run};

/// A client certificate and where it connects.
pub struct Client<'a> {
    pub pki: &'a Pki,
    /// Name of the PKCS12 file.
    pub name: &'a str,
    pub password: &'a str,
    /// File of the authority that signed the server.
    pub authority: &'a str,
    pub port: u16,
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Headers and body.
    pub text: String,
    pub elapsed: Duration,
}

impl Reply {
    /// The text of a JSON field.
    pub fn field(&self, name: &str) -> String {
        let marker = format!("\"{name}\":\"");
        let rest = self
            .text
            .split_once(&marker)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"));
        rest.1.split('"').next().unwrap().to_owned()
    }

    /// Panics unless it is a success.
    pub fn ok(self) -> Self {
        assert!((200..300).contains(&self.status), "{self:?}");
        self
    }
}

impl Client<'_> {
    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// Posts `body`, or gets when there is none.
    pub fn ask(&self, path: &str, body: Option<&str>) -> Reply {
        let url = self.url(path);
        let certificate = format!("{}.p12:{}", self.name, self.password);
        let mut args = vec![
            "-sS",
            "-i",
            "--max-time",
            "30",
            "--ipv4",
            "--cacert",
            self.authority,
            "--cert-type",
            "P12",
            "--cert",
            &certificate,
            "-w",
            "\n%{http_code}",
        ];
        if let Some(body) = body {
            args.extend(["--data", body]);
        }
        args.push(&url);
        let begun = Instant::now();
        let said = run(&self.pki.folder, "curl", &args);
        let (text, status) = said.rsplit_once('\n').unwrap();
        Reply {
            status: status.parse().unwrap_or_else(|_| panic!("{said}")),
            text: text.to_owned(),
            elapsed: begun.elapsed(),
        }
    }

    pub fn create(&self, key: &str) -> Reply {
        self.ask(&format!("/v1/transit/keys/{key}"), Some("{}"))
    }

    /// `plaintext` is base64.
    pub fn wrap(&self, key: &str, plaintext: &str) -> Reply {
        let body = format!("{{\"plaintext\":\"{plaintext}\"}}");
        self.ask(&format!("/v1/transit/encrypt/{key}"), Some(&body))
    }

    pub fn unwrap(&self, key: &str, ciphertext: &str) -> Reply {
        let body = format!("{{\"ciphertext\":\"{ciphertext}\"}}");
        self.ask(&format!("/v1/transit/decrypt/{key}"), Some(&body))
    }
}

/// What `openssl s_client` says when it sends `request` with these options.
pub fn s_client(pki: &Pki, port: u16, options: &[&str], request: &str) -> String {
    let address = format!("127.0.0.1:{port}");
    let args = [
        &[
            "s_client",
            "-connect",
            &address,
            "-servername",
            "localhost",
            "-ign_eof",
        ][..],
        options,
    ]
    .concat();
    try_run(&pki.folder, "openssl", &args, request).1
}
