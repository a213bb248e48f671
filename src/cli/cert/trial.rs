//! A private authority and every certificate of the guide's table 1, to try an installation with.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::super::password::PasswordArguments;
use super::super::pki::{Authority, Issued, Leaf};
use super::create;
use crate::keystore::{Edit, NewEntry, write_pkcs12};
use crate::secret::SecretString;

const DAYS: u32 = 825;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct New {
    /// Folder for all files; made if it is not there.
    dir: PathBuf,
    /// A host name or address of the server (and of its load balancer), several times for several.
    #[arg(long = "host", value_name = "NAME", default_value = "localhost")]
    hosts: Vec<String>,
    /// A host name or address of the HSM.
    #[arg(long = "hsm-host", value_name = "NAME", default_value = "localhost")]
    hsm_hosts: Vec<String>,
    #[command(flatten)]
    password: PasswordArguments,
}

/// Name, whether a server's, whether the HSM's authority issues it, in the keystore as key or as certificate.
const CERTIFICATES: [(&str, bool, bool, Place); 5] = [
    ("kmsServer", true, false, Place::Key),
    ("kmsClient", false, true, Place::Key),
    ("cmxBackend", false, false, Place::Trusted),
    ("cmxDevice", false, false, Place::Trusted),
    ("hsmServer", true, true, Place::Nowhere),
];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Key,
    Trusted,
    Nowhere,
}

pub(super) fn run(wants: &New) -> Result<ExitCode, String> {
    let dir = &wants.dir;
    std::fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    if dir.join("kmsKeystore.p12").exists() {
        return Err(format!(
            "{} has a kmsKeystore.p12: choose another folder",
            dir.display()
        ));
    }
    let password = wants.password.fresh("the keystore and the .p12 files")?;
    let failed = |error: rcgen::Error| format!("the certificates cannot be made: {error}");
    let authority = Authority::new("Trial CA").map_err(failed)?;
    let hsm_authority = Authority::new("Trial HSM CA").map_err(failed)?;
    let mut edit = Edit::default();
    let refused = |error: crate::keystore::KeystoreError| error.to_string();
    let own = CertificateDer::from(hsm_authority.cert_der().to_vec());
    edit.put_trusted("kmipSigningCA", own).map_err(refused)?;
    for (name, is_server, is_hsms, place) in CERTIFICATES {
        let hosts = if is_hsms {
            &wants.hsm_hosts
        } else {
            &wants.hosts
        };
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let leaf = Leaf {
            common_name: name,
            sans: if is_server { &hosts } else { &[] },
            server: is_server,
            client: !is_server,
            days: DAYS,
        };
        let issuer = if is_hsms { &hsm_authority } else { &authority };
        let issued = issuer.issue(&leaf).map_err(failed)?;
        write_files(dir, name, &issued, &password)?;
        let certificate = CertificateDer::from(issued.cert_der.clone());
        match place {
            Place::Key => edit.put_key(name, private_key(&issued), &[certificate]),
            Place::Trusted => edit.put_trusted(name, certificate),
            Place::Nowhere => Ok(()),
        }
        .map_err(refused)?;
    }
    create(&dir.join("ca.crt"), authority.cert_pem().as_bytes(), false)?;
    create(
        &dir.join("kmipSigningCA.crt"),
        hsm_authority.cert_pem().as_bytes(),
        false,
    )?;
    let keystore = edit.write(&password).map_err(|error| error.to_string())?;
    create(&dir.join("kmsKeystore.p12"), &keystore, true)?;
    tell(dir);
    Ok(ExitCode::SUCCESS)
}

fn private_key(issued: &Issued) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(issued.key_pkcs8_der.expose().to_vec()).into()
}

fn write_files(
    dir: &Path,
    name: &str,
    issued: &Issued,
    password: &SecretString,
) -> Result<(), String> {
    let file = |ending: &str| dir.join(format!("{name}.{ending}"));
    create(&file("crt"), issued.cert_pem.as_bytes(), false)?;
    create(&file("key"), issued.key_pem.expose().as_bytes(), true)?;
    let entry = NewEntry::Key {
        alias: name,
        key: &private_key(issued),
        chain: &[CertificateDer::from(issued.cert_der.clone())],
    };
    let bytes = write_pkcs12(&[entry], password).map_err(|error| error.to_string())?;
    create(&file("p12"), &bytes, true)
}

fn tell(dir: &Path) {
    println!(
        "{}:\n  kmsKeystore.p12    for kms.keystore.file: kmsServer, kmsClient, kmipSigningCA, cmxBackend, cmxDevice\n  \
         kmsServer, kmsClient, cmxBackend, cmxDevice, hsmServer  .crt, .key and .p12 each\n  \
         ca.crt             vouches for the server: for its clients\n  \
         kmipSigningCA.crt  vouches for the HSM and for kmsClient: for the HSM\n\
         For a trial: the authorities' keys were not kept, so nothing more can be issued. Valid {DAYS} days.",
        dir.display()
    );
}
