//! What a keystore holds, for people and for machines.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::{Opened, Place};
use crate::cli::log::timestamp;
use crate::config::Config;
use crate::identity::glob_matches;
use crate::keystore::{CertificateFacts, SubjectAltName};

const DAY_S: i64 = 86_400;
/// Certificates that end within so many days are warned of.
pub(in crate::cli) const WARN_DAYS: i64 = 30;

/// One certificate, as it is told.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Described {
    pub(in crate::cli) subject: String,
    pub(in crate::cli) issuer: String,
    pub(in crate::cli) names: Vec<String>,
    pub(in crate::cli) not_before: String,
    pub(in crate::cli) not_after: String,
    pub(in crate::cli) days_left: i64,
    /// Its first day is yet to come.
    pub(in crate::cli) is_early: bool,
    pub(in crate::cli) sha256: String,
}

#[derive(Debug, Serialize)]
struct Entry {
    alias: String,
    /// `key`, `trusted`, or `secret`: a secret key, of which only the name is known.
    kind: &'static str,
    #[serde(flatten)]
    certificate: Option<Described>,
    /// Certificates of a key's chain.
    chain: usize,
    /// What the entry is for, by the configuration or its defaults.
    serves: Vec<String>,
}

pub(super) fn run(place: &Place, json: bool) -> Result<ExitCode, String> {
    let opened = place.open()?;
    let entries = entries(&opened);
    let is_due = |entry: &Entry| {
        let certificate = entry.certificate.as_ref();
        entry.kind != "secret" && certificate.is_none_or(|one| one.warning().is_some())
    };
    let needs_attention = entries.iter().any(is_due);
    if json {
        let format = opened.store.format.to_string();
        let path = opened.path.display().to_string();
        let told = serde_json::json!({ "keystore": path, "format": format, "entries": entries });
        println!("{told:#}");
    } else {
        println!(
            "{}: {}, entries {}",
            opened.path.display(),
            opened.store.format,
            entries.len()
        );
        for entry in &entries {
            println!("{}", text(entry));
        }
    }
    Ok(ExitCode::from(u8::from(needs_attention)))
}

fn entries(opened: &Opened) -> Vec<Entry> {
    let (config, store) = (opened.config.as_ref(), &opened.store);
    let keys = store.keys.iter().map(|entry| Entry {
        alias: entry.alias.clone(),
        kind: "key",
        certificate: entry.chain.first().and_then(|leaf| describe(leaf)),
        chain: entry.chain.len(),
        serves: key_serves(&entry.alias, store.keys.len(), config),
    });
    let trusted = store.trusted.iter().map(|entry| Entry {
        alias: entry.alias.clone(),
        kind: "trusted",
        certificate: describe(&entry.certificate),
        chain: 1,
        serves: trusted_serves(&entry.alias, config),
    });
    let secrets = store.secrets.iter().map(|alias| Entry {
        alias: alias.clone(),
        kind: "secret",
        certificate: None,
        chain: 0,
        serves: Vec::new(),
    });
    let mut all: Vec<Entry> = keys.chain(trusted).chain(secrets).collect();
    all.sort_by(|a, b| a.alias.cmp(&b.alias));
    all
}

pub(in crate::cli) fn describe(der: &[u8]) -> Option<Described> {
    let facts = CertificateFacts::from_der(der).ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = now.map_or(0, |since| since.as_secs().cast_signed());
    let names = facts.sans.iter().map(|san| match san {
        SubjectAltName::Dns(name) | SubjectAltName::Email(name) | SubjectAltName::Uri(name) => {
            name.clone()
        }
        SubjectAltName::Ip(address) => address.to_string(),
    });
    Some(Described {
        names: names.collect(),
        not_before: day(facts.not_before_unix_s),
        not_after: day(facts.not_after_unix_s),
        is_early: facts.not_before_unix_s > now_s,
        days_left: (facts.not_after_unix_s - now_s).div_euclid(DAY_S),
        sha256: facts.fingerprint(),
        subject: facts.subject,
        issuer: facts.issuer,
    })
}

/// What is wrong with the dates of a certificate, if anything.
pub(in crate::cli) fn date_warning(der: &[u8]) -> Option<String> {
    describe(der)?.warning()
}

impl Described {
    /// What is wrong with its dates, if anything.
    pub(in crate::cli) fn warning(&self) -> Option<String> {
        match self.days_left {
            ..0 => Some(format!("HAS EXPIRED on {}", self.not_after)),
            _ if self.is_early => Some(format!("is valid from {} only", self.not_before)),
            days @ 0..WARN_DAYS => Some(format!("expires in {days} days, on {}", self.not_after)),
            _ => None,
        }
    }
}

/// `2027-01-31`, UTC.
fn day(unix_s: i64) -> String {
    let since = std::time::Duration::from_secs(u64::try_from(unix_s).unwrap_or(0));
    timestamp(UNIX_EPOCH + since).chars().take(10).collect()
}

fn key_serves(alias: &str, count: usize, config: Option<&Config>) -> Vec<String> {
    let client = config.map_or("kmsclient", |config| &config.client_alias);
    let server = config.and_then(|config| config.server.alias.as_deref());
    let is_server = match server {
        Some(server) => server == alias,
        // As the server chooses: the only other key, else that name.
        None => alias != client && (count <= 2 || alias == "kmsserver"),
    };
    let uses = [
        (is_server, "server certificate"),
        (alias == client, "client certificate for the HSM"),
    ];
    let serves = uses.into_iter().filter(|(holds, _)| *holds);
    serves.map(|(_, what)| what.to_owned()).collect()
}

fn trusted_serves(alias: &str, config: Option<&Config>) -> Vec<String> {
    let Some(config) = config else {
        let defaults = [
            ("kmipsigningca", "CA of the HSM"),
            ("cmxdevice*", "role device"),
            ("cmxbackend*", "role backend"),
        ];
        let fits = defaults
            .iter()
            .filter(|(glob, _)| glob_matches(glob, alias));
        return fits.map(|(_, what)| (*what).to_owned()).collect();
    };
    let mut serves = Vec::new();
    if config.hsm.ca_aliases.iter().any(|name| name == alias) {
        serves.push("CA of the HSM".to_owned());
    }
    for role in &config.roles {
        let mut cas = role.ca.iter().flat_map(|ca| &ca.aliases);
        if cas.any(|name| name == alias) {
            serves.push(format!("client CA of role {}", role.name));
        }
    }
    if serves.iter().any(|what| what.starts_with("client CA")) {
        // It is no client, whatever role its name would fit.
        return serves;
    }
    for role in &config.roles {
        if role.aliases.iter().any(|glob| glob_matches(glob, alias)) {
            serves.push(format!("role {}", role.name));
        }
    }
    serves
}

fn text(entry: &Entry) -> String {
    let Entry {
        alias,
        kind,
        chain,
        serves,
        ..
    } = entry;
    let serves = match serves.as_slice() {
        [] => "nothing that this server knows of".to_owned(),
        some => some.join(", "),
    };
    if *kind == "secret" {
        return format!("\n  {alias}: secret key; for: {serves}");
    }
    let kind = match (*kind, chain) {
        ("key", 1) => "private key, its certificate alone".to_owned(),
        ("key", chain) => format!("private key, chain of {chain}"),
        _ => "trusted certificate".to_owned(),
    };
    let certificate = entry.certificate.as_ref().map_or_else(
        || "    certificate cannot be read".to_owned(),
        |one| lines(one, "    "),
    );
    format!("\n  {alias}: {kind}; for: {serves}\n{certificate}")
}

/// Lines about one certificate, each with `indent` before it.
pub(in crate::cli) fn lines(one: &Described, indent: &str) -> String {
    let names = match one.names.as_slice() {
        [] => String::new(),
        names => format!("\n{indent}names    {}", names.join(", ")),
    };
    let expiry = match one.days_left {
        ..0 => "EXPIRED".to_owned(),
        _ if one.is_early => "WARNING: not valid yet".to_owned(),
        days @ 0..WARN_DAYS => format!("WARNING: {days} days left"),
        days => format!("{days} days left"),
    };
    format!(
        "{indent}subject  {}\n{indent}issuer   {}{names}\n{indent}valid    {} to {}, {expiry}\n{indent}SHA-256  {}",
        one.subject, one.issuer, one.not_before, one.not_after, one.sha256
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn trusted_certificates_are_told_what_they_serve_for() {
        let text = "kms.keystore.file=k\nkms.keystore.password=p\nkms.hsm.server.url=h\n\
            kms.role.device.ca.alias=cmxDeviceCA\nkms.role.device.ca.subjects=CN=d*\n\
            kms.role.probe.ca.alias=cmxDeviceCA\nkms.role.probe.ca.san=DNS:p\nkms.role.probe.operations=read\n";
        let file = std::path::Path::new("/etc/kms/kms.properties");
        let config = crate::config::parse(file, text.as_bytes(), [])
            .unwrap()
            .config;
        for (alias, want) in [
            ("kmipsigningca", &["CA of the HSM"][..]),
            ("cmxdevice1", &["role device"]),
            (
                "cmxdeviceca",
                &["client CA of role device", "client CA of role probe"],
            ),
            ("other", &[]),
        ] {
            assert_eq!(trusted_serves(alias, Some(&config)), want, "{alias}");
        }
    }
}
