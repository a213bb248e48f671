//! A small site for the tests that are not about keytool's steps: authorities, certificates, one
//! keystore, one configuration.

use std::fs;
use std::path::{Path, PathBuf};

use super::pki::{CLIENT, KeyKind, Pki, SERVER};

pub const STORE_PASSWORD: &str = "kmsKeystorePwd";
pub const P12_PASSWORD: &str = "clientPwd";

pub struct Site {
    pub pki: Pki,
    folder: tempfile::TempDir,
}

impl Site {
    /// `siteCA` signs server and clients, `kmipSigningCA` the HSM and our certificate for it.
    pub fn new(kind: KeyKind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::new(&folder.path().join("keystore"), kind);
        pki.root("siteCA");
        pki.root("kmipSigningCA");
        pki.leaf("kmsServer", "siteCA", SERVER);
        pki.leaf("cmxBackend", "siteCA", CLIENT);
        pki.leaf("cmxDevice", "siteCA", CLIENT);
        pki.leaf("kmsClient", "kmipSigningCA", CLIENT);
        pki.leaf("hsm", "kmipSigningCA", SERVER);
        for name in ["kmsServer", "cmxBackend", "cmxDevice", "kmsClient"] {
            pki.pkcs12(name, &format!("{name}.crt"), P12_PASSWORD);
        }
        Self { pki, folder }
    }

    /// Makes the keystore with `kmsServer`, `kmsClient`, the HSM's authority and these pins.
    pub fn keystore(&self, pins: &[&str]) {
        for name in ["kmsServer", "kmsClient"] {
            let p12 = format!("{name}.p12");
            self.pki.keytool(
                &[
                    "-importkeystore",
                    "-noprompt",
                    "-srckeystore",
                    &p12,
                    "-srcstoretype",
                    "PKCS12",
                    "-srcstorepass",
                    P12_PASSWORD,
                    "-alias",
                    name,
                    "-deststorepass",
                    STORE_PASSWORD,
                    "-destkeystore",
                    "kmsKeystore.jks",
                ],
                "",
            );
        }
        for name in [&["kmipSigningCA"], pins].concat() {
            let crt = format!("{name}.crt");
            self.pki.keytool(
                &[
                    "-import",
                    "-noprompt",
                    "-alias",
                    name,
                    "-file",
                    &crt,
                    "-keystore",
                    "kmsKeystore.jks",
                    "-storepass",
                    STORE_PASSWORD,
                ],
                "",
            );
        }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `kms.properties` of a small server on free ports, with these lines added.
    pub fn config(&self, more: &[&str]) -> PathBuf {
        let store = self.pki.text("kmsKeystore.jks");
        config(self.folder(), &store, more)
    }

    /// As [`Site::config`], with master keys in a file.
    pub fn embedded_config(&self, more: &[&str]) -> PathBuf {
        let file = format!("kms.hsm.embedded.file={}/keys", self.folder().display());
        let embedded = [
            "kms.hsm.protocol=EMBEDDED",
            "kms.hsm.embedded.passphrase=correct horse battery staple",
            &file,
        ];
        self.config(&[&embedded, more].concat())
    }

    /// As [`Site::config`], with the HSM on a loopback port.
    pub fn kmip_config(&self, port: u16, more: &[&str]) -> PathBuf {
        let url = format!("kms.hsm.server.url=localhost:{port}");
        self.config(&[&[url.as_str()], more].concat())
    }
}

/// Writes `kms.properties` into `folder`.
pub fn config(folder: &Path, keystore: &str, more: &[&str]) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let file = folder.join("kms.properties");
    let text = format!(
        "kms.server.address=127.0.0.1\nkms.server.port=0\nkms.health.address=127.0.0.1:0\n\
         kms.keystore.file={keystore}\nkms.keystore.password={STORE_PASSWORD}\n\
         kms.threads=2\nkms.cache.entries.max=1000\nkms.connections.max=64\n\
         kms.hsm.pool.size=2\nkms.hsm.queue.max=64\nkms.request.body.max=64k\n{}\n",
        more.join("\n")
    );
    // The last of two equal keys would win or be refused: drop the defaults that are set again.
    let keep = |(at, line): &(usize, &str)| {
        let key = line.split('=').next();
        !text
            .lines()
            .skip(at + 1)
            .any(|later| later.split('=').next() == key)
    };
    let lines: Vec<_> = text
        .lines()
        .enumerate()
        .filter(keep)
        .map(|(_, line)| line)
        .collect();
    fs::write(&file, lines.join("\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}
