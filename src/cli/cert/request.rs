//! A private key and a signing request with the guide's subject fields.

use std::path::PathBuf;
use std::process::ExitCode;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, RsaKeySize};

use super::create;
use crate::secret::SecretString;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Csr {
    /// Name of the files: NAME.key (mode 0600) and NAME.csr, for instance kmsServer.
    name: PathBuf,
    /// Common name: the server's full host name, or a name of the certificate's own (`cmxDevice.example.com`).
    #[arg(long, value_name = "CN", value_parser = common_name)]
    common_name: String,
    /// Country, two letters.
    #[arg(long, value_name = "C", value_parser = country)]
    country: Option<String>,
    /// State or province, not abbreviated.
    #[arg(long, value_name = "ST")]
    state: Option<String>,
    /// Town.
    #[arg(long, value_name = "L")]
    locality: Option<String>,
    /// Organisation, its full legal name.
    #[arg(long, value_name = "O")]
    organization: Option<String>,
    /// Department.
    #[arg(long, value_name = "OU")]
    organizational_unit: Option<String>,
    /// A DNS name or address that the certificate is to hold, several times for several. For the server: its own
    /// name and the load balancer's. The common name is added where it looks like a host name.
    #[arg(long = "san", value_name = "NAME")]
    sans: Vec<String>,
    /// Kind of private key.
    #[arg(long, value_enum, default_value = "rsa-2048")]
    key: KeyKind,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum KeyKind {
    #[value(name = "rsa-2048")]
    Rsa2048,
    #[value(name = "rsa-3072")]
    Rsa3072,
    #[value(name = "p-256")]
    P256,
    #[value(name = "p-384")]
    P384,
}

fn common_name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("a name is wanted, for instance kms.example.com".to_owned());
    }
    Ok(text.to_owned())
}

fn country(text: &str) -> Result<String, String> {
    if text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        Ok(text.to_ascii_uppercase())
    } else {
        Err("two letters of ISO 3166 are wanted, for instance DE".to_owned())
    }
}

impl KeyKind {
    fn generate(self) -> Result<KeyPair, rcgen::Error> {
        match self {
            Self::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
            Self::Rsa3072 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_3072),
            Self::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Self::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        }
    }
}

pub(super) fn run(wants: &Csr) -> Result<ExitCode, String> {
    let failed = |error: rcgen::Error| format!("the request cannot be made: {error}");
    let [key_file, csr_file] = ["key", "csr"].map(|ending| {
        let mut name = wants.name.as_os_str().to_owned();
        name.push(".");
        name.push(ending);
        PathBuf::from(name)
    });
    if csr_file.exists() {
        return Err(format!(
            "{} exists: move it away, or choose another name",
            csr_file.display()
        ));
    }
    let mut sans = wants.sans.clone();
    if looks_like_host(&wants.common_name) && !sans.contains(&wants.common_name) {
        sans.insert(0, wants.common_name.clone());
    }
    let mut params = CertificateParams::new(sans).map_err(failed)?;
    params.distinguished_name = subject(wants);
    let key = wants.key.generate().map_err(failed)?;
    let request = params.serialize_request(&key).map_err(failed)?;
    let request = request.pem().map_err(failed)?;
    let key_pem = SecretString::new(key.serialize_pem());
    create(&key_file, key_pem.expose().as_bytes(), true)?;
    create(&csr_file, request.as_bytes(), false)?;
    println!(
        "{}  the private key: keep it here, it is not encrypted\n{}  the request: send it to your authority\n\
         then: kms cert import --alias ALIAS --key {0} --cert SIGNED.crt --cert CHAIN.crt KEYSTORE",
        key_file.display(),
        csr_file.display()
    );
    for advice in advice(wants) {
        println!("note: {advice}");
    }
    Ok(ExitCode::SUCCESS)
}

/// What authorities are known to refuse or to ask about.
fn advice(wants: &Csr) -> Vec<String> {
    /// Characters that take the Shift key.
    const SYMBOLS: &str = "!@#$%^&*()_+{}|:\"<>?~";
    let mut all = Vec::new();
    let is_short = |text: &str, len_max: usize| {
        text.len() <= len_max
            && text
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'.')
    };
    for (option, value, len_max, example) in [
        ("--state", &wants.state, 3, "Massachusetts and not MA"),
        (
            "--locality",
            &wants.locality,
            3,
            "New York City and not NYC",
        ),
        (
            "--organization",
            &wants.organization,
            2,
            "Micro Focus and not MF",
        ),
    ] {
        if let Some(value) = value.as_ref().filter(|value| is_short(value, len_max)) {
            all.push(format!(
                "{option} {value} looks abbreviated: authorities want it in full, {example}"
            ));
        }
    }
    for (option, value) in [
        ("--organization", &wants.organization),
        ("--organizational-unit", &wants.organizational_unit),
    ] {
        if let Some(value) = value
            .as_ref()
            .filter(|value| value.contains(|c| SYMBOLS.contains(c)))
        {
            all.push(format!(
                "{option} {value:?} has a symbol: authorities want it spelt out or left out, AB and C Company and not AB&C Company"
            ));
        }
    }
    if !looks_like_host(&wants.common_name) {
        all.push(format!(
            "--common-name {} is no full name: for the server it must be the name that clients use, for the others a \
             name of your own such as cmxDevice.example.com",
            wants.common_name
        ));
    }
    all
}

fn looks_like_host(name: &str) -> bool {
    name == "localhost" || (name.contains('.') && !name.contains(' '))
}

fn subject(wants: &Csr) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for (kind, value) in [
        (DnType::CountryName, &wants.country),
        (DnType::StateOrProvinceName, &wants.state),
        (DnType::LocalityName, &wants.locality),
        (DnType::OrganizationName, &wants.organization),
        (DnType::OrganizationalUnitName, &wants.organizational_unit),
        (DnType::CommonName, &Some(wants.common_name.clone())),
    ] {
        if let Some(value) = value {
            name.push(kind, value.as_str());
        }
    }
    name
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        csr: Csr,
    }

    #[test]
    fn the_guides_advice_is_given_where_it_is_needed() {
        for (line, want) in [
            (
                "--common-name kms.example.com --state Massachusetts --organization AcmeXYZ",
                &[][..],
            ),
            ("--common-name localhost --country de", &[]),
            ("--common-name kms.example.com --organization IBM", &[]),
            (
                "--common-name kms.example.com --state MA",
                &["--state MA looks abbreviated"],
            ),
            (
                "--common-name kms.example.com --locality NYC --organization MF",
                &["--locality NYC looks", "--organization MF looks"],
            ),
            (
                "--common-name kms.example.com --organization AB&C --organizational-unit R+D",
                &[
                    "--organization \"AB&C\" has a symbol",
                    "--organizational-unit \"R+D\"",
                ],
            ),
            (
                "--common-name cmxDevice",
                &["--common-name cmxDevice is no full name"],
            ),
        ] {
            let words = ["csr", "name"].into_iter().chain(line.split(' '));
            let found = advice(&Line::try_parse_from(words).unwrap().csr);
            assert_eq!(found.len(), want.len(), "{line}: {found:?}");
            for (found, want) in found.iter().zip(want) {
                assert!(found.starts_with(want), "{line}: {found}");
            }
        }
    }
}
