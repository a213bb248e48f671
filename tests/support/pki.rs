//! Keys, authorities and certificates, made by the real openssl.

use std::fs;
use std::path::{Path, PathBuf};

use super::run;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyKind {
    Rsa2048,
    P256,
}

/// A folder in which `NAME.key`, `NAME.crt` and `NAME.p12` belong together.
pub struct Pki {
    pub folder: PathBuf,
    pub kind: KeyKind,
}

pub const SERVER: &str = "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n\
     subjectAltName=DNS:localhost,IP:127.0.0.1\n";
pub const CLIENT: &str = "keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n";

impl Pki {
    pub fn new(folder: &Path, kind: KeyKind) -> Self {
        fs::create_dir_all(folder).unwrap();
        Self {
            folder: folder.to_owned(),
            kind,
        }
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    pub fn text(&self, file: &str) -> String {
        self.path(file).to_str().unwrap().to_owned()
    }

    pub fn openssl(&self, args: &[&str]) -> String {
        run(&self.folder, "openssl", args)
    }

    /// Step 2 of the guide.
    pub fn key(&self, name: &str) {
        let file = format!("{name}.key");
        match self.kind {
            KeyKind::Rsa2048 => self.openssl(&["genrsa", "-out", &file, "2048"]),
            KeyKind::P256 => self.openssl(&[
                "ecparam",
                "-name",
                "prime256v1",
                "-genkey",
                "-noout",
                "-out",
                &file,
            ]),
        };
    }

    /// Step 3 of the guide; its questions are answered by `subject`.
    pub fn request(&self, name: &str, subject: &str) {
        let [key, csr] = ["key", "csr"].map(|end| format!("{name}.{end}"));
        self.openssl(&[
            "req", "-new", "-sha256", "-key", &key, "-out", &csr, "-subj", subject,
        ]);
    }

    /// A root authority.
    pub fn root(&self, name: &str) {
        self.key(name);
        self.self_sign(
            name,
            &format!("/O=CMX Test/CN={name}"),
            &[
                "basicConstraints=critical,CA:TRUE",
                "keyUsage=critical,keyCertSign,cRLSign",
            ],
        );
    }

    /// An authority below `parent`.
    pub fn intermediate(&self, name: &str, parent: &str) {
        self.key(name);
        self.request(name, &format!("/O=CMX Test/CN={name}"));
        self.sign(
            name,
            parent,
            "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n",
        );
    }

    /// What an authority does with a request (step 4 of the guide).
    pub fn sign(&self, name: &str, authority: &str, extensions: &str) {
        let [csr, ext, crt] = ["csr", "ext", "crt"].map(|end| format!("{name}.{end}"));
        let [ca_crt, ca_key] = ["crt", "key"].map(|end| format!("{authority}.{end}"));
        let identifiers = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
        fs::write(self.path(&ext), format!("{extensions}{identifiers}")).unwrap();
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

    /// Key, request and certificate of a leaf in one.
    pub fn leaf(&self, name: &str, authority: &str, extensions: &str) {
        self.key(name);
        self.request(name, &format!("/O=CMX Test/CN={name}"));
        self.sign(
            name,
            authority,
            &format!("basicConstraints=critical,CA:FALSE\n{extensions}"),
        );
    }

    /// What `openssl ca` needs to act as an authority that keeps books.
    fn books(&self, authority: &str, extensions: &str) -> String {
        let (config, books) = (format!("{authority}.cnf"), format!("{authority}.ca"));
        if !self.path(&books).exists() {
            fs::create_dir_all(self.path(&books)).unwrap();
            fs::write(self.path(&format!("{books}/index.txt")), "").unwrap();
            fs::write(self.path(&format!("{books}/serial")), "1000\n").unwrap();
            fs::write(self.path(&format!("{books}/crlnumber")), "01\n").unwrap();
        }
        let text = format!(
            "[ca]\ndefault_ca=d\n[d]\ndatabase={books}/index.txt\nserial={books}/serial\n\
             crlnumber={books}/crlnumber\nnew_certs_dir={books}\ndefault_md=sha256\npolicy=p\n\
             unique_subject=no\n[p]\norganizationName=optional\ncommonName=supplied\n[e]\n{extensions}"
        );
        fs::write(self.path(&config), text).unwrap();
        config
    }

    fn ca(&self, authority: &str, extensions: &str, more: &[&str]) {
        let config = self.books(authority, extensions);
        let [crt, key] = ["crt", "key"].map(|end| format!("{authority}.{end}"));
        let own = [
            "ca", "-batch", "-config", &config, "-cert", &crt, "-keyfile", &key,
        ];
        self.openssl(&[&own[..], more].concat());
    }

    /// A leaf with dates, `YYYYMMDDhhmmssZ`.
    pub fn leaf_dated(&self, name: &str, authority: &str, from: &str, until: &str) {
        self.key(name);
        self.request(name, &format!("/O=CMX Test/CN={name}"));
        let [csr, crt] = ["csr", "crt"].map(|end| format!("{name}.{end}"));
        let dates = ["-in", &csr, "-startdate", from, "-enddate", until];
        let out = ["-extensions", "e", "-notext", "-out", &crt];
        self.ca(
            authority,
            &format!("basicConstraints=critical,CA:FALSE\n{CLIENT}"),
            &[&dates[..], &out].concat(),
        );
    }

    /// The authority's list of revoked certificates with these and all before, into `to`.
    pub fn crl(&self, authority: &str, revoked: &[&str], to: &str, dates: &[&str]) {
        for name in revoked {
            self.ca(authority, "", &["-revoke", &format!("{name}.crt")]);
        }
        let dates = if dates.is_empty() {
            &["-crldays", "30"]
        } else {
            dates
        };
        self.ca(authority, "", &[&["-gencrl", "-out", to], dates].concat());
    }

    /// A self-signed certificate over the existing key.
    pub fn self_sign(&self, name: &str, subject: &str, extensions: &[&str]) {
        let [key, crt] = ["key", "crt"].map(|end| format!("{name}.{end}"));
        let mut args = vec![
            "req", "-x509", "-new", "-sha256", "-days", "825", "-key", &key, "-subj", subject,
            "-out", &crt,
        ];
        for extension in extensions {
            args.extend(["-addext", extension]);
        }
        self.openssl(&args);
    }

    /// A self-signed certificate with dates, `YYYYMMDDhhmmssZ`.
    pub fn self_sign_dated(&self, name: &str, from: &str, until: &str) {
        self.key(name);
        self.request(name, &format!("/CN={name}"));
        let config = format!("{name}.cnf");
        fs::create_dir_all(self.path(&format!("{name}.ca"))).unwrap();
        fs::write(self.path(&format!("{name}.ca/index.txt")), "").unwrap();
        fs::write(self.path(&format!("{name}.ca/serial")), "01\n").unwrap();
        let text = format!(
            "[ca]\ndefault_ca=d\n[d]\ndatabase={name}.ca/index.txt\nserial={name}.ca/serial\n\
             new_certs_dir={name}.ca\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n\
             [e]\nbasicConstraints=critical,CA:FALSE\n"
        );
        fs::write(self.path(&config), text).unwrap();
        let [key, csr, crt] = ["key", "csr", "crt"].map(|end| format!("{name}.{end}"));
        self.openssl(&[
            "ca",
            "-batch",
            "-config",
            &config,
            "-selfsign",
            "-keyfile",
            &key,
            "-in",
            &csr,
            "-startdate",
            from,
            "-enddate",
            until,
            "-extensions",
            "e",
            "-notext",
            "-out",
            &crt,
        ]);
    }

    /// Joins certificates into one file, in this order.
    pub fn concat(&self, names: &[&str], to: &str) {
        let read = |name: &&str| fs::read(self.path(&format!("{name}.crt"))).unwrap();
        fs::write(
            self.path(to),
            names.iter().flat_map(read).collect::<Vec<_>>(),
        )
        .unwrap();
    }

    /// Step 7 of the guide, its password question answered.
    pub fn pkcs12(&self, name: &str, chain: &str, password: &str) {
        let [key, p12] = ["key", "p12"].map(|end| format!("{name}.{end}"));
        let out = format!("pass:{password}");
        self.openssl(&[
            "pkcs12", "-export", "-inkey", &key, "-in", chain, "-name", name, "-out", &p12,
            "-passout", &out,
        ]);
    }

    pub fn keytool(&self, args: &[&str], input: &str) -> String {
        // Short runs gain nothing from the optimising compiler.
        let quick = ["-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC"];
        super::run_with(&self.folder, "keytool", &[args, &quick].concat(), input)
    }
}
