//! The demo's folder: certificates, keystores and a configuration that fits an ordinary user's limits.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::cli::pki::{Authority, Issued, Leaf};
use crate::keystore::{NewEntry, write_pkcs12};
use crate::secret::SecretString;

/// Opens the demo's .p12 files. A demo's secret, printed in the README; its files are mode 0600.
const P12_PASSWORD: &str = "kms-demo";
const DAYS: u32 = 825;

/// A demo folder, made or to be made.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn at(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        self.0.display().to_string()
    }

    /// For lines that a shell reads.
    pub(super) fn for_shell(&self) -> String {
        quoted(&self.0)
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn properties(&self) -> PathBuf {
        self.file("kms.properties")
    }

    /// Whether an earlier run finished making it: the configuration is written last.
    pub(super) fn is_complete(&self) -> bool {
        self.properties().exists()
    }

    /// Makes everything.
    pub(super) fn make(&self, port: u16, health_port: u16) -> Result<(), String> {
        if self.0.exists() && !self.is_empty() {
            return Err(format!(
                "{} is there already and is no whole demo folder; choose another with --dir, or remove it",
                self.shown()
            ));
        }
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0);
        made.map_err(|error| format!("{} cannot be made: {error}", self.shown()))?;
        let failed = |error: rcgen::Error| format!("certificates cannot be made: {error}");
        let authority = Authority::new("Connected KMS demo CA").map_err(failed)?;
        let issue = |common_name, sans, server: bool| {
            authority
                .issue(&Leaf {
                    common_name,
                    sans,
                    server,
                    client: !server,
                    days: DAYS,
                })
                .map_err(failed)
        };
        let server = issue("kmsServer", &["localhost", "127.0.0.1", "::1"], true)?;
        let device = issue("cmxDevice", &[], false)?;
        let backend = issue("cmxBackend", &[], false)?;
        self.write("ca.crt", authority.cert_pem().as_bytes(), 0o644)?;
        for (name, issued) in [
            ("kmsServer", &server),
            ("cmxDevice", &device),
            ("cmxBackend", &backend),
        ] {
            self.write(&format!("{name}.crt"), issued.cert_pem.as_bytes(), 0o644)?;
            self.write(
                &format!("{name}.key"),
                issued.key_pem.expose().as_bytes(),
                0o600,
            )?;
        }
        for (name, issued) in [("cmxDevice", &device), ("cmxBackend", &backend)] {
            self.write_p12(name, issued, &authority)?;
        }
        let password = random_text()?;
        self.write_keystore(&server, &device, &backend, &authority, &password)?;
        self.write(
            "kms.properties",
            properties(port, health_port, &password)?.as_bytes(),
            0o600,
        )
    }

    fn is_empty(&self) -> bool {
        std::fs::read_dir(&self.0).is_ok_and(|mut entries| entries.next().is_none())
    }

    /// The .p12 of a client, as the guide hands it to the service provider.
    fn write_p12(&self, name: &str, issued: &Issued, authority: &Authority) -> Result<(), String> {
        let key = private_key(issued);
        let chain = [der(&issued.cert_der), der(authority.cert_der())];
        let entry = NewEntry::Key {
            alias: name,
            key: &key,
            chain: &chain,
        };
        let bytes = write_pkcs12(&[entry], &SecretString::new(P12_PASSWORD.to_owned()))
            .map_err(|error| error.to_string())?;
        self.write(&format!("{name}.p12"), &bytes, 0o600)
    }

    fn write_keystore(
        &self,
        server: &Issued,
        device: &Issued,
        backend: &Issued,
        authority: &Authority,
        password: &SecretString,
    ) -> Result<(), String> {
        let key = private_key(server);
        let chain = [der(&server.cert_der), der(authority.cert_der())];
        let (device, backend) = (der(&device.cert_der), der(&backend.cert_der));
        let entries = [
            NewEntry::Key {
                alias: "kmsServer",
                key: &key,
                chain: &chain,
            },
            NewEntry::Trusted {
                alias: "cmxDevice",
                certificate: &device,
            },
            NewEntry::Trusted {
                alias: "cmxBackend",
                certificate: &backend,
            },
        ];
        let bytes = write_pkcs12(&entries, password).map_err(|error| error.to_string())?;
        self.write("kmsKeystore.jks", &bytes, 0o600)
    }

    /// Changes the ports in an existing configuration, if they differ.
    pub(super) fn set_ports(&self, port: u16, health_port: u16) -> Result<(), String> {
        let file = self.properties();
        let text = std::fs::read_to_string(&file)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        let mut changed = String::with_capacity(text.len());
        for line in text.lines() {
            let line = if line.starts_with("kms.server.port=") {
                format!("kms.server.port={port}")
            } else if line.starts_with("kms.health.address=") {
                format!("kms.health.address=127.0.0.1:{health_port}")
            } else {
                line.to_owned()
            };
            changed.push_str(&line);
            changed.push('\n');
        }
        if changed == text {
            Ok(())
        } else {
            self.write("kms.properties", changed.as_bytes(), 0o600)
        }
    }

    /// Writes to a new file and renames it into place, so that no half file is ever read.
    fn write(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), String> {
        let (file, new) = (self.file(name), self.file(&format!("{name}.new")));
        let write = || {
            // A leftover of an interrupted run would keep its old mode.
            let _ = std::fs::remove_file(&new);
            let mut out = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&new)?;
            out.write_all(bytes)?;
            out.sync_all()?;
            std::fs::rename(&new, &file)
        };
        write().map_err(|error| format!("{} cannot be written: {error}", file.display()))
    }
}

/// `path` as one word of a shell.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn der(bytes: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from(bytes.to_vec())
}

fn private_key(issued: &Issued) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(issued.key_pkcs8_der.expose().to_vec()).into()
}

fn random_text() -> Result<SecretString, String> {
    let mut bytes = zeroize::Zeroizing::new([0u8; 16]);
    let filled = SystemRandom::new().fill(bytes.as_mut());
    filled.map_err(|_| "the kernel gives no random numbers".to_owned())?;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes.iter() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(SecretString::new(text))
}

/// Small sizes: an ordinary user may lock 8 MiB.
fn properties(port: u16, health_port: u16, password: &SecretString) -> Result<String, String> {
    let passphrase = random_text()?;
    Ok(format!(
        "# Made by `kms demo`. Every key is explained in conf/kms.properties.
kms.server.address=127.0.0.1
kms.server.port={port}
kms.health.address=127.0.0.1:{health_port}
kms.control.socket=control.sock
kms.keystore.file=kmsKeystore.jks
kms.keystore.password={}
kms.server.alias=kmsServer
kms.hsm.protocol=EMBEDDED
kms.hsm.embedded.file=master.keys
kms.hsm.embedded.passphrase={}
kms.threads=2
kms.handshake.threads=1
kms.cache.entries.max=10000
kms.request.body.max=64 KiB
kms.connections.max=512
",
        password.expose(),
        passphrase.expose()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_one_word_of_a_shell() {
        for (path, want) in [
            ("./kms-demo", "./kms-demo"),
            ("/a b", "'/a b'"),
            ("it's", r"'it'\''s'"),
            ("$HOME/x", "'$HOME/x'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(Path::new(path)), want);
        }
    }
}
