//! What the guide sends to the service provider, in one folder.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::super::keystore::{open, read};
use super::super::password::{PasswordArguments, first_line};
use super::create;
use crate::keystore::{CertificateFacts, NewEntry, arrange, pem, write_pkcs12};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Handover {
    /// Folder to make: it holds cmxBackend.p12 and README.txt then.
    dir: PathBuf,
    /// Address at which clients reach the service: the load balancer's, or the only server's.
    #[arg(long, value_name = "URL", value_parser = https)]
    url: String,
    /// The back end's certificate with its chain, PEM.
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "p12")]
    cert: Vec<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Or both as PKCS12, whose password is read from --p12-password-file.
    #[arg(
        long,
        value_name = "FILE",
        requires = "p12_password_file",
        required_unless_present = "cert"
    )]
    p12: Option<PathBuf>,
    /// First line: the password of --p12.
    #[arg(long, value_name = "FILE")]
    p12_password_file: Option<PathBuf>,
    #[command(flatten)]
    password: PasswordArguments,
}

fn https(text: &str) -> Result<String, String> {
    match text.strip_prefix("https://") {
        Some(rest) if !rest.is_empty() => Ok(text.to_owned()),
        _ => Err("an address that begins with https:// is wanted".to_owned()),
    }
}

pub(super) fn run(wants: &Handover) -> Result<ExitCode, String> {
    let (key, chain) = source(wants)?;
    let leaf = chain.first().ok_or("no certificate")?;
    let facts = CertificateFacts::from_der(leaf).map_err(|error| error.to_string())?;
    let password = wants.password.fresh("cmxBackend.p12")?;
    let entry = NewEntry::Key {
        alias: "cmxBackend",
        key: &key,
        chain: &chain,
    };
    let bytes = write_pkcs12(&[entry], &password).map_err(|error| error.to_string())?;
    let dir = &wants.dir;
    std::fs::create_dir(dir).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            format!("{} exists: name a folder that is to be made", dir.display())
        }
        _ => format!("{} cannot be made: {error}", dir.display()),
    })?;
    create(&dir.join("cmxBackend.p12"), &bytes, true)?;
    create(
        &dir.join("README.txt"),
        letter(&wants.url, &facts).as_bytes(),
        false,
    )?;
    tell(dir);
    Ok(ExitCode::SUCCESS)
}

type Pair = (
    rustls::pki_types::PrivateKeyDer<'static>,
    Vec<rustls::pki_types::CertificateDer<'static>>,
);

fn source(wants: &Handover) -> Result<Pair, String> {
    if let (Some(p12), Some(password)) = (&wants.p12, &wants.p12_password_file) {
        let store = open(p12, &first_line(password)?, None)?;
        let [only] = store.keys.as_slice() else {
            return Err(format!("{} must hold one private key", p12.display()));
        };
        return Ok((only.key.clone_key(), only.chain.clone()));
    }
    let key = wants.key.as_ref().ok_or("name --key")?;
    let key_der = pem::private_key(&read(key)?);
    let key_der = key_der.map_err(|error| format!("{}: {error}", key.display()))?;
    let mut heap = Vec::new();
    for file in &wants.cert {
        let found = pem::certificates(&read(file)?);
        heap.extend(found.map_err(|error| format!("{}: {error}", file.display()))?);
    }
    let chain = arrange("cmxBackend", &key_der, &heap).map_err(|error| error.to_string())?;
    Ok((key_der, chain))
}

fn letter(url: &str, facts: &CertificateFacts) -> String {
    format!(
        "Connected KMS: for whoever creates the Connected corporate account\n\n\
         1. cmxBackend.p12, the back end's client certificate\n   subject  {}\n   SHA-256  {}\n\
         2. its password, by another way than this folder\n\
         3. the password of cmxDevice.p12, by another way than this folder\n\
         4. the service: {url}\n",
        facts.subject,
        facts.fingerprint()
    )
}

fn tell(dir: &Path) {
    println!(
        "{}: cmxBackend.p12 and README.txt\nSend the passwords of cmxBackend.p12 and cmxDevice.p12 by another way.",
        dir.display()
    );
}
