//! `kms check`: what would be in force, and what is wrong with it.
//!
//! Exit code 0: all well; 1: warnings; 2: errors. Must never be true: a check that changes anything,
//! or a success where `kms serve` would not start.
#![allow(clippy::print_stdout)]

mod host;
mod roles;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::config::plan::Rule;
use crate::config::{self, Config, Protocol, Setting};
use crate::hsm::vault::policy;
use crate::identity::Expiry;
use crate::node::{self, Probed, RoleHolders};
use crate::secret::memlock_limit;
use crate::wire::calendar::timestamp;

use super::keystore::WARN_DAYS;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The properties file.
    #[arg(long, value_name = "FILE", default_value = "/etc/kms/kms.properties")]
    config: PathBuf,
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
    /// Wrap and unwrap a data key under this master key at each HSM.
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Print the policy that this server needs in a Vault, and nothing else.
    #[arg(long, conflicts_with = "json")]
    vault_policy: bool,
}

/// Everything found out.
#[derive(Debug, Default, Serialize)]
struct Report {
    settings: Vec<Setting>,
    sizes: Vec<Rule>,
    locked_bytes: usize,
    host: Vec<String>,
    certificates: Vec<Certificate>,
    roles: Vec<RoleHolders>,
    /// Trusted certificates that serve for nothing.
    without_role: Vec<String>,
    back_end: Vec<Probed>,
    warnings: Vec<String>,
    errors: Vec<String>,
}

/// A certificate that the server would live by, or a list of revoked ones.
#[derive(Debug, Serialize)]
struct Certificate {
    alias: String,
    #[serde(rename = "use")]
    usage: &'static str,
    not_after: String,
    days_left: i64,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    if arguments.vault_policy {
        return print_vault_policy(arguments);
    }
    let report = examine(arguments);
    if arguments.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&report).unwrap_or_default()
        );
    } else {
        print(&report);
    }
    match (report.errors.is_empty(), report.warnings.is_empty()) {
        (false, _) => ExitCode::from(2),
        (true, false) => ExitCode::from(1),
        (true, true) => ExitCode::SUCCESS,
    }
}

/// As the input of `vault policy write NAME -`: what is no policy is a comment.
fn print_vault_policy(arguments: &Arguments) -> ExitCode {
    let loaded = match config::load(&arguments.config, std::env::vars_os()) {
        Ok(loaded) => loaded,
        Err(error) => return super::fail(error),
    };
    let Some(vault) = loaded.config.hsm.vault else {
        return super::fail("kms.hsm.protocol is not VAULT, so there is no policy to print");
    };
    print!("{}", vault_policy(&vault.mount));
    ExitCode::SUCCESS
}

fn vault_policy(mount: &str) -> String {
    let mut text = format!(
        "# What Connected KMS needs in this Vault: vault policy write NAME - < THIS\n\
         # Enough for encrypt, decrypt, datakey, rewrap, and key create, read, rotate, list and config.\n{}\
         # If clients are to delete keys, write the last stanza as:\n",
        policy::needed(mount)
    );
    for line in policy::to_delete(mount).lines() {
        text.push_str("# ");
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn examine(arguments: &Arguments) -> Report {
    let mut report = Report::default();
    match config::load(&arguments.config, std::env::vars_os()) {
        Ok(loaded) => {
            report
                .warnings
                .extend(loaded.warnings.iter().map(ToString::to_string));
            examine_config(&loaded.config, arguments.key.as_deref(), &mut report);
        }
        Err(error) => report.errors.push(error.to_string()),
    }
    report
}

fn examine_config(config: &Config, key: Option<&str>, report: &mut Report) {
    report.settings = config.effective().to_vec();
    let plan = node::plan_for_this_machine(config);
    report.locked_bytes = plan.locked_bytes();
    report.sizes.clone_from(&plan.rules);
    if let Some(limit) = memlock_limit()
        && (report.locked_bytes as u64) > limit
    {
        report.errors.push(format!(
            "locked memory: {} bytes are needed and RLIMIT_MEMLOCK allows {limit}; raise it (ulimit -l {}, \
             or LimitMEMLOCK= in the service) or lower kms.cache.entries.max",
            report.locked_bytes,
            report.locked_bytes.div_ceil(1024)
        ));
    }
    let host = host::examine(config, &plan);
    report.host = host.facts;
    report.warnings.extend(host.warnings);
    match node::Credentials::load(config) {
        Ok(credentials) => {
            report.warnings.extend_from_slice(credentials.warnings());
            examine_certificates(&credentials.expiries(config), report);
            match node::roles(config, &credentials) {
                Ok((roles, without)) => (report.roles, report.without_role) = (roles, without),
                Err(error) => report.errors.push(error.to_string()),
            }
            examine_back_end(config, &credentials, key, report);
            examine_shared_cache(config, report);
        }
        Err(error) => report.errors.push(error.to_string()),
    }
}

fn examine_certificates(all: &[Expiry], report: &mut Report) {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_unix_s = unix.map_or(0, |since| since.as_secs().cast_signed());
    for one in all {
        let end = u64::try_from(one.not_after_unix_s).unwrap_or(0);
        let not_after = timestamp(UNIX_EPOCH + Duration::from_secs(end));
        let left_s = one.not_after_unix_s - now_unix_s;
        let days_left = left_s.div_euclid(24 * 3600);
        let day = not_after.get(..10).unwrap_or_default();
        // One that is over is told with the pins, or is an error of its own.
        if left_s >= 0 && one.is_list() && one.is_due(now_unix_s) {
            report.warnings.push(format!(
                "the list of revoked certificates of '{}' is out of date from {not_after} on: put the newest into \
                 kms.role.NAME.ca.crl.file before",
                one.alias
            ));
        } else if (0..WARN_DAYS).contains(&days_left) && !one.is_list() {
            report.warnings.push(format!(
                "certificate '{}' ({}) expires in {days_left} days, on {day}",
                one.alias, one.usage
            ));
        }
        report.certificates.push(Certificate {
            alias: one.alias.clone(),
            usage: one.usage,
            not_after,
            days_left,
        });
    }
}

/// An HSM that is down is a warning, for the server starts without it; a key file that does not open
/// is an error.
fn examine_back_end(
    config: &Config,
    credentials: &node::Credentials,
    key: Option<&str>,
    report: &mut Report,
) {
    match node::probe(config, credentials) {
        Ok(found) => report.back_end = found,
        Err(error) => report.errors.push(error.to_string()),
    }
    for down in report.back_end.iter().filter(|probed| !probed.up) {
        match config.hsm.protocol {
            Protocol::Kmip1 | Protocol::Vault => report
                .warnings
                .push(format!("HSM {} is down: {}", down.place, down.detail)),
            // The text names the key.
            Protocol::Embedded => report.errors.push(down.detail.clone()),
        }
    }
    let Some(key) = key else {
        return;
    };
    match node::try_key(config, credentials, key) {
        Ok(tried) => {
            let failed = tried.iter().filter(|tried| !tried.up);
            let errors = failed.map(|tried| format!("HSM {}: {}", tried.place, tried.detail));
            report.errors.extend(errors);
            report.back_end.extend(tried);
        }
        Err(error) => report.errors.push(error.to_string()),
    }
}

/// The server starts without its engine too, but not without the files that it needs to log in there.
fn examine_shared_cache(config: &Config, report: &mut Report) {
    match node::probe_shared_cache(config) {
        Ok(found) => {
            for down in found.iter().filter(|probed| !probed.up) {
                let text = format!("{} is down: {}", down.place, down.detail);
                report.warnings.push(text);
            }
            report.back_end.extend(found);
        }
        Err(error) => report.errors.push(error.to_string()),
    }
}

fn print(report: &Report) {
    // Without a configuration there is nothing but the errors.
    if !report.settings.is_empty() {
        println!("Settings");
        for setting in &report.settings {
            println!(
                "  {} = {}  ({})",
                setting.key, setting.value, setting.origin
            );
        }
        println!("\nSizes");
        for rule in &report.sizes {
            println!("  {}: {}  ({})", rule.name, rule.value, rule.rule);
        }
        println!("  locked memory in all: {} bytes", report.locked_bytes);
    }
    if !report.certificates.is_empty() {
        println!("\nCertificates");
        for one in &report.certificates {
            let day = one.not_after.get(..10).unwrap_or_default();
            println!(
                "  {} ({}): until {day}, {} days",
                one.alias, one.usage, one.days_left
            );
        }
    }
    let roles = roles::lines(&report.roles, &report.without_role);
    for (title, lines) in [("Roles", &roles), ("Host", &report.host)] {
        if !lines.is_empty() {
            println!("\n{title}");
            for line in lines {
                println!("  {line}");
            }
        }
    }
    if !report.back_end.is_empty() {
        println!("\nBack end");
        for Probed { place, up, detail } in &report.back_end {
            println!("  {}  {place}: {detail}", if *up { "up  " } else { "down" });
        }
    }
    for (title, lines) in [("Warnings", &report.warnings), ("Errors", &report.errors)] {
        if !lines.is_empty() {
            println!("\n{title}");
            for line in lines {
                println!("  {line}");
            }
        }
    }
    println!("\n{}", verdict(report.errors.len(), report.warnings.len()));
}

fn verdict(errors: usize, warnings: usize) -> String {
    let count = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    };
    match (errors, warnings) {
        (0, 0) => "all well".to_owned(),
        (0, warnings) => count(warnings, "warning"),
        (errors, warnings) => format!(
            "{}, {}; the server would not start",
            count(errors, "error"),
            count(warnings, "warning")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_the_guides_and_a_comment() {
        let text = vault_policy("team/transit");
        let (comments, policy): (Vec<_>, Vec<_>) =
            text.lines().partition(|line| line.starts_with("# "));
        assert_eq!(policy.join("\n") + "\n", policy::needed("team/transit"));
        assert!(
            policy.contains(&"path \"team/transit/encrypt/*\" {"),
            "{text}"
        );
        let delete =
            "#   capabilities = [ \"create\", \"read\", \"update\", \"list\", \"delete\" ]";
        assert!(comments.contains(&delete), "{text}");
    }

    #[test]
    fn the_verdict_counts_and_says_what_follows() {
        for (errors, warnings, want) in [
            (0, 0, "all well"),
            (0, 1, "1 warning"),
            (1, 0, "1 error, 0 warnings; the server would not start"),
            (2, 3, "2 errors, 3 warnings; the server would not start"),
        ] {
            assert_eq!(verdict(errors, warnings), want);
        }
    }
}
