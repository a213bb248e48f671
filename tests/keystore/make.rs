//! Makes certificates and keystores with the real openssl and keytool, as operators do.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Store password, password of openssl's files, and a key password of its own.
pub const STORE: &str = "changeit";
pub const P12: &str = "p12secret";
pub const KEY: &str = "keysecret";

/// A folder of keys, certificates and stores of one key type.
pub struct Lab(pub PathBuf);

impl Lab {
    pub fn new(folder: &Path, kind: &str) -> Self {
        let lab = Self(folder.join(kind));
        std::fs::create_dir(&lab.0).unwrap();
        for name in [
            "root",
            "int",
            "root2",
            "kmsServer",
            "kmsClient",
            "other",
            "cmxBackend",
            "cmxDevice",
        ] {
            let key = format!("{name}.key");
            match kind {
                "rsa" => lab.openssl(&["genrsa", "-out", &key, "2048"]),
                _ => lab.openssl(&[
                    "ecparam",
                    "-name",
                    "prime256v1",
                    "-genkey",
                    "-noout",
                    "-out",
                    &key,
                ]),
            }
        }
        for (name, subject, ca) in [
            ("root", "/O=CMX Test/CN=KMIP Root CA", "TRUE"),
            ("root2", "/O=CMX Test/CN=KMIP Root CA", "TRUE"),
            ("cmxBackend", "/O=CMX Test/CN=cmxBackend", "FALSE"),
            ("cmxDevice", "/O=CMX Test/CN=cmxDevice", "TRUE"),
        ] {
            let (key, crt) = (format!("{name}.key"), format!("{name}.crt"));
            let constraints = format!("basicConstraints=critical,CA:{ca}");
            let args = [
                "req", "-x509", "-sha256", "-days", "3650", "-key", &key, "-subj", subject, "-out",
                &crt,
            ];
            lab.openssl(&[&args[..], &["-addext", &constraints]].concat());
        }
        lab.sign(
            "int",
            "root",
            "basicConstraints=critical,CA:TRUE,pathlen:0\n",
        );
        for name in ["kmsServer", "kmsClient"] {
            lab.sign(
                name,
                "int",
                "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n",
            );
            lab.concat(&[name, "int", "root"], &format!("{name}.chain.crt"));
            lab.export(name, &format!("{name}.p12"), P12, &["-name", name]);
        }
        lab.sign("other", "root2", "basicConstraints=CA:FALSE\n");
        lab.concat(&["other", "root2"], "other.chain.crt");
        lab.export("other", "other.p12", P12, &["-name", "other"]);
        lab
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub fn openssl(&self, args: &[&str]) {
        self.run("openssl", args);
    }

    fn run(&self, program: &str, args: &[&str]) {
        let done = Command::new(program)
            .args(args)
            .current_dir(&self.0)
            .env("LC_ALL", "C.UTF-8")
            .output();
        let done = done.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
        let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        assert!(done.status.success(), "{program} {args:?}: {said}");
    }

    fn concat(&self, names: &[&str], to: &str) {
        let all: Vec<_> = names
            .iter()
            .flat_map(|name| self.read(&format!("{name}.crt")))
            .collect();
        self.write(to, &all);
    }

    fn sign(&self, name: &str, ca: &str, extensions: &str) {
        let [key, csr, ext, crt] = ["key", "csr", "ext", "crt"].map(|end| format!("{name}.{end}"));
        let [ca_crt, ca_key] = ["crt", "key"].map(|end| format!("{ca}.{end}"));
        self.write(&ext, extensions.as_bytes());
        self.openssl(&[
            "req",
            "-new",
            "-key",
            &key,
            "-subj",
            &format!("/O=CMX Test/CN={name}"),
            "-out",
            &csr,
        ]);
        self.openssl(&[
            "x509",
            "-req",
            "-sha256",
            "-days",
            "825",
            "-in",
            &csr,
            "-CA",
            &ca_crt,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-extfile",
            &ext,
            "-out",
            &crt,
        ]);
    }

    /// `openssl pkcs12 -export` of a key with its chain.
    pub fn export(&self, name: &str, to: &str, password: &str, more: &[&str]) {
        let [key, chain] = ["key", "chain.crt"].map(|end| format!("{name}.{end}"));
        let pass = format!("pass:{password}");
        // Later options win over these, which `-nomac` must follow too.
        let args = [
            "pkcs12", "-export", "-inkey", &key, "-in", &chain, "-out", to, "-passout", &pass,
        ];
        self.openssl(&[&args[..], more].concat());
    }

    pub fn keytool(&self, args: &[&str]) {
        self.run(
            "keytool",
            &[&["-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC"], args].concat(),
        );
    }

    /// One key out of openssl's file.
    pub fn import_key(&self, source: &str, alias: &str, to: &str, more: &[&str]) {
        let args = [
            "-importkeystore",
            "-noprompt",
            "-srckeystore",
            source,
            "-srcstoretype",
            "PKCS12",
            "-srckeypass",
            P12,
            "-srcstorepass",
            P12,
            "-srcalias",
            alias,
            "-destkeystore",
            to,
        ];
        self.keytool(&[&args[..], more].concat());
    }

    pub fn import_trusted(
        &self,
        alias: &str,
        certificate: &str,
        to: &str,
        password: &str,
        more: &[&str],
    ) {
        let args = [
            "-import",
            "-noprompt",
            "-alias",
            alias,
            "-file",
            certificate,
            "-keystore",
            to,
            "-storepass",
            password,
        ];
        self.keytool(&[&args[..], more].concat());
    }

    /// A whole store in another form.
    pub fn convert(&self, from: &str, to: &str, more: &[&str]) {
        let args = [
            "-importkeystore",
            "-noprompt",
            "-srckeystore",
            from,
            "-srcstorepass",
            STORE,
            "-destkeystore",
            to,
            "-deststorepass",
            STORE,
        ];
        self.keytool(&[&args[..], more].concat());
    }

    /// The store of the guide in every form that keytool writes.
    pub fn guide_stores(&self) {
        let own = ["-deststorepass", STORE, "-destkeypass", STORE];
        self.import_key("kmsClient.p12", "kmsclient", "default.jks", &own);
        self.import_key("kmsServer.p12", "kmsserver", "default.jks", &own);
        for (alias, certificate) in [
            ("kmipSigningCA", "root.crt"),
            ("cmxBackend", "cmxBackend.crt"),
            ("cmxDevice", "cmxDevice.crt"),
        ] {
            self.import_trusted(alias, certificate, "default.jks", STORE, &[]);
        }
        self.convert("default.jks", "old.jks", &["-deststoretype", "JKS"]);
        self.convert("default.jks", "old.jceks", &["-deststoretype", "JCEKS"]);
        self.convert(
            "default.jks",
            "legacy.p12",
            &["-deststoretype", "PKCS12", "-J-Dkeystore.pkcs12.legacy"],
        );
    }
}
