//! What certificates say, and whether one would do.

use std::path::PathBuf;
use std::process::ExitCode;

use rustls::pki_types::CertificateDer;

use super::super::keystore::{describe, lines, read};
use crate::keystore::{CertificateFacts, arrange, issued_by, pem};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Show {
    /// PEM files of one or several certificates, or DER files of one.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
}

pub(super) fn show(wants: &Show) -> Result<ExitCode, String> {
    let mut all = Vec::new();
    for file in &wants.files {
        for (at, der) in certificates(file)?.iter().enumerate() {
            let one = describe(der).ok_or_else(|| {
                format!("{}: certificate {} cannot be read", file.display(), at + 1)
            })?;
            all.push((file, at + 1, one));
        }
    }
    let needs_attention = all.iter().any(|(_, _, one)| one.warning().is_some());
    if wants.json {
        let told: Vec<_> = all.iter().map(|(_, _, one)| one).collect();
        println!("{:#}", serde_json::json!({ "certificates": told }));
    } else {
        for (file, number, one) in &all {
            println!(
                "{} certificate {number}\n{}",
                file.display(),
                lines(one, "  ")
            );
        }
    }
    Ok(ExitCode::from(u8::from(needs_attention)))
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Verify {
    /// The certificate and what vouches for it, PEM: one file, its own certificate first.
    chain: PathBuf,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Certificates of the authorities that are trusted, PEM.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A host name that it must hold.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
}

fn certificates(file: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, String> {
    pem::certificates(&read(file)?).map_err(|error| format!("{}: {error}", file.display()))
}

pub(super) fn verify(wants: &Verify) -> Result<ExitCode, String> {
    let chain = certificates(&wants.chain)?;
    let facts: Vec<CertificateFacts> = chain
        .iter()
        .enumerate()
        .map(|(at, der)| {
            CertificateFacts::from_der(der).map_err(|error| {
                format!("{}: certificate {}: {error}", wants.chain.display(), at + 1)
            })
        })
        .collect::<Result<_, _>>()?;
    let mut found = Found::default();
    found.judge_order(&chain, &facts);
    found.judge_dates(&chain);
    if let Some(file) = &wants.key {
        let key = pem::private_key(&read(file)?);
        let key = key.map_err(|error| format!("{}: {error}", file.display()))?;
        let first = chain.get(..1).unwrap_or_default();
        let belongs = arrange(&file.display().to_string(), &key, first);
        found
            .errors
            .extend(belongs.err().map(|error| error.to_string()));
    }
    if let (Some(file), Some(last), Some(facts)) = (&wants.ca, chain.last(), facts.last()) {
        let authorities = certificates(file)?;
        let vouches =
            |authority: &CertificateDer<'_>| authority == last || issued_by(last, authority);
        if !authorities.iter().any(vouches) {
            found.errors.push(format!(
                "no certificate of {} has issued the last of the chain: {}",
                file.display(),
                facts.issuer
            ));
        }
    }
    if let (Some(host), Some(leaf)) = (&wants.host, chain.first())
        && !holds_name(leaf, host)
    {
        let error = format!("the certificate does not hold the name {host}");
        found.errors.push(error);
    }
    if wants.json {
        let described: Vec<_> = chain.iter().filter_map(|der| describe(der)).collect();
        let told = serde_json::json!({
            "certificates": described, "errors": found.errors, "warnings": found.warnings
        });
        println!("{told:#}");
    } else {
        found.tell(&facts);
    }
    Ok(found.exit_code())
}

#[derive(Default)]
struct Found {
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Found {
    fn judge_order(&mut self, chain: &[CertificateDer<'_>], facts: &[CertificateFacts]) {
        for (below, pair) in (1..).zip(chain.windows(2)) {
            if let [one, issuer] = pair
                && !issued_by(one, issuer)
            {
                self.errors.push(format!(
                    "certificate {} was not issued by certificate {}: the order must be the certificate itself, then \
                     each issuer (kms cert import puts them in order)",
                    below,
                    below + 1
                ));
            }
        }
        if chain.len() > 1 && facts.last().is_some_and(|last| last.self_issued) {
            let warning = "the root is in the chain: leave it out, who trusts it has it";
            self.warnings.push(warning.to_owned());
        }
    }

    fn judge_dates(&mut self, chain: &[CertificateDer<'_>]) {
        for (number, one) in (1..).zip(chain.iter().filter_map(|der| describe(der))) {
            let Some(warning) = one.warning() else {
                continue;
            };
            let is_over = one.days_left < 0;
            let list = if is_over {
                &mut self.errors
            } else {
                &mut self.warnings
            };
            list.push(format!("certificate {number} {warning}"));
        }
    }

    fn tell(&self, facts: &[CertificateFacts]) {
        for (at, one) in facts.iter().enumerate() {
            println!("{}. {}\n   issued by {}", at + 1, one.subject, one.issuer);
        }
        for warning in &self.warnings {
            println!("warning: {warning}");
        }
        for error in &self.errors {
            println!("error: {error}");
        }
        if self.errors.is_empty() && self.warnings.is_empty() {
            println!("all well");
        }
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::from(match (self.errors.is_empty(), self.warnings.is_empty()) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => 2,
        })
    }
}

fn holds_name(leaf: &CertificateDer<'_>, host: &str) -> bool {
    let name = rustls::pki_types::ServerName::try_from(host);
    let leaf = webpki::EndEntityCert::try_from(leaf);
    matches!((leaf, name), (Ok(leaf), Ok(name)) if leaf.verify_is_valid_for_subject_name(&name).is_ok())
}
