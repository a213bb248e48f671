//! A copy of an installation in a folder of the test's own, made with openssl and keytool.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::pki::{CLIENT, KeyKind, Pki, SERVER};
use super::support::site::P12_PASSWORD;

pub const STORE_PASSWORD: &str = "kmsKeystorePwd";

/// `kms/conf` and `tomcat`, and where to migrate to.
pub struct Place {
    pub root: tempfile::TempDir,
}

/// A report in one line, as it was before it was wrapped.
pub fn said(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Place {
    pub fn new() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
        }
    }

    pub fn conf(&self) -> PathBuf {
        self.root.path().join("kms/conf")
    }

    pub fn tomcat(&self) -> PathBuf {
        self.root.path().join("tomcat")
    }

    pub fn to(&self) -> PathBuf {
        self.root.path().join("etc/kms")
    }

    /// A file of the new configuration.
    pub fn new_file(&self, name: &str) -> PathBuf {
        self.to().join(name)
    }

    pub fn new_text(&self, name: &str) -> String {
        self.new_file(name).to_str().unwrap().to_owned()
    }

    /// Two authorities: of the site, and of the HSM.
    pub fn pki(&self) -> Pki {
        let pki = Pki::new(&self.root.path().join("keystore"), KeyKind::P256);
        pki.root("siteCA");
        pki.root("innerCA");
        pki
    }

    /// A private key with its certificate, as the guide imports it.
    pub fn key(
        &self,
        pki: &Pki,
        name: &str,
        alias: &str,
        store: &str,
        more: &[&str],
        own: Option<&str>,
    ) {
        let p12 = format!("{name}.p12");
        let common = [
            "-importkeystore",
            "-noprompt",
            "-srckeystore",
            &p12,
            "-srcstoretype",
            "PKCS12",
            "-srcstorepass",
            P12_PASSWORD,
            "-srcalias",
            name,
            "-destalias",
            alias,
            "-destkeystore",
            store,
            "-deststorepass",
            STORE_PASSWORD,
            "-destkeypass",
            own.unwrap_or(STORE_PASSWORD),
        ];
        pki.keytool(&[&common[..], more].concat(), "");
    }

    /// A certificate to trust.
    pub fn trust(&self, pki: &Pki, name: &str, alias: &str, store: &str) {
        let crt = format!("{name}.crt");
        let args = [
            "-import",
            "-noprompt",
            "-alias",
            alias,
            "-file",
            &crt,
            "-keystore",
            store,
            "-storepass",
            STORE_PASSWORD,
        ];
        pki.keytool(&args, "");
    }

    /// The guide's installation, with the files of tests/migrate.
    pub fn guide(&self) -> Pki {
        let pki = self.pki();
        fs::rename(pki.path("innerCA.crt"), pki.path("kmipSigningCA.crt")).unwrap();
        fs::rename(pki.path("innerCA.key"), pki.path("kmipSigningCA.key")).unwrap();
        for (name, authority, usage) in [
            ("kmsServer", "siteCA", SERVER),
            ("kmsClient", "kmipSigningCA", CLIENT),
            ("cmxBackend", "siteCA", CLIENT),
            ("cmxDevice", "siteCA", CLIENT),
            ("hsm", "kmipSigningCA", SERVER),
        ] {
            pki.leaf(name, authority, usage);
            pki.pkcs12(name, &format!("{name}.crt"), P12_PASSWORD);
        }
        for name in ["kmsClient", "kmsServer"] {
            self.key(&pki, name, name, "kmsKeystore.jks", &[], None);
        }
        for name in ["kmipSigningCA", "cmxBackend", "cmxDevice"] {
            self.trust(&pki, name, name, "kmsKeystore.jks");
        }
        self.install(
            &[
                ("kms.properties", include_str!("kms.properties")),
                ("jgroups.xml", include_str!("jgroups.xml")),
                ("server.xml", include_str!("server.xml")),
                ("setenv.sh", include_str!("setenv.sh")),
            ],
            &[("kmsKeystore.jks", "conf")],
        );
        pki
    }

    /// Writes text files to their places, and copies files of the keystore folder into `conf` or below.
    pub fn install(&self, texts: &[(&str, &str)], copies: &[(&str, &str)]) {
        for folder in [
            self.conf(),
            self.tomcat().join("conf"),
            self.tomcat().join("bin"),
        ] {
            fs::create_dir_all(folder).unwrap();
        }
        for (name, text) in texts {
            fs::write(self.file(name), text).unwrap();
        }
        for (name, to) in copies {
            let to = if *to == "conf" {
                self.conf()
            } else {
                self.root.path().join(to)
            };
            fs::copy(self.root.path().join("keystore").join(name), to.join(name)).unwrap();
        }
    }

    /// Where a file of that name is in an installation.
    pub fn file(&self, name: &str) -> PathBuf {
        match name {
            "server.xml" | "catalina.properties" => self.tomcat().join("conf").join(name),
            "setenv.sh" => self.tomcat().join("bin").join(name),
            _ => self.conf().join(name),
        }
    }

    /// Replaces texts in a file; each must be there.
    pub fn edit(&self, name: &str, changes: &[(&str, &str)]) {
        let mut text = fs::read_to_string(self.file(name)).unwrap();
        for (from, to) in changes {
            assert!(text.contains(from), "{from} in {name}");
            text = text.replace(from, to);
        }
        fs::write(self.file(name), text).unwrap();
    }

    /// Exit code, and all that was said.
    pub fn kms(&self, args: &[&str], environment: &[(&str, String)]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kms"));
        command
            .args(args)
            .envs(environment.iter().map(|(name, value)| (name, value)));
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code().unwrap_or(-1),
            String::from_utf8(text).unwrap(),
        )
    }

    pub fn migrate(&self, more: &[&str]) -> (i32, String) {
        self.migrate_to(self.to().to_str().unwrap(), more)
    }

    pub fn migrate_to(&self, to: &str, more: &[&str]) -> (i32, String) {
        let (conf, tomcat) = (self.conf(), self.tomcat());
        let args = [
            "migrate",
            "--from",
            conf.to_str().unwrap(),
            "--tomcat",
            tomcat.to_str().unwrap(),
            "--to",
            to,
        ];
        self.kms(&[&args[..], more].concat(), &[])
    }

    /// Every file of the old installation: content, and when it was last changed.
    pub fn fingerprint(&self) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
        let mut all = BTreeMap::new();
        let mut folders = vec![self.root.path().join("kms"), self.tomcat()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let changed = fs::metadata(&path).unwrap().modified().unwrap();
                    all.insert(path.clone(), (fs::read(&path).unwrap(), changed));
                }
            }
        }
        all
    }

    /// The same installation in another folder, to be spoilt.
    pub fn copy(&self) -> Self {
        let other = Self::new();
        for from in self.fingerprint().keys() {
            let relative: &Path = from.strip_prefix(self.root.path()).unwrap();
            let to = other.root.path().join(relative);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, to).unwrap();
        }
        other
    }
}
