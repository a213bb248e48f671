//! `kms check`: what would be in force, and what is wrong with it.
//!
//! Exit code 0: all well; 1: warnings; 2: errors. Must never be true: a check that changes anything,
//! or a success where `kms serve` would not start.
#![allow(clippy::print_stdout)]

mod audit;
mod back_end;
mod chains;
mod clock;
mod files;
mod host;
mod roles;
mod shared_cache;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use crate::config::plan::Rule;
use crate::config::{self, Config, Setting};
use crate::hsm::vault::policy;
use crate::identity::Expiry;
use crate::node::{self, Probed, RoleHolders, Trial, TrialOutcome};
use crate::secret::{clock_is_kept, memlock_limit};
use crate::wire::calendar::timestamp;

use super::keystore::WARN_DAYS;
use files::FileMode;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The properties file.
    #[arg(long, value_name = "FILE", default_value = "/etc/kms/kms.properties")]
    config: PathBuf,
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
    /// Wrap and unwrap a data key under this master key at each HSM; else under the first that can be used.
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
    files: Vec<FileMode>,
    certificates: Vec<Certificate>,
    roles: Vec<RoleHolders>,
    /// Trusted certificates that serve for nothing.
    without_role: Vec<String>,
    back_end: Vec<Probed>,
    round_trips: Vec<Trial>,
    /// Worth knowing, and in order as it is.
    notes: Vec<String>,
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
            "locked memory: {} bytes are needed and RLIMIT_MEMLOCK allows {limit} here; raise it (ulimit -l {}, \
             or LimitMEMLOCK= in the service) or lower kms.cache.entries.max",
            report.locked_bytes,
            report.locked_bytes.div_ceil(1024)
        ));
    }
    host::examine(config, &plan, report);
    files::examine(config, report);
    audit::examine(config, report);
    match node::Credentials::load(config) {
        Ok(credentials) => {
            report.warnings.extend_from_slice(credentials.warnings());
            let now_unix_s = clock::now_unix_s();
            let validities = credentials.validities();
            clock::examine(now_unix_s, &validities, clock_is_kept(), report);
            examine_certificates(&credentials.expiries(config), report);
            match node::roles(config, &credentials) {
                Ok((roles, without)) => (report.roles, report.without_role) = (roles, without),
                Err(error) => report.errors.push(error.to_string()),
            }
            let (shown, others) = (credentials.shown(config), credentials.others());
            chains::examine(&shown, &others, now_unix_s, report);
            back_end::examine(config, &credentials, key, report);
            shared_cache::examine(config, report);
        }
        Err(error) => report.errors.push(error.to_string()),
    }
}

fn examine_certificates(all: &[Expiry], report: &mut Report) {
    let now_unix_s = clock::now_unix_s();
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
    print_files(&report.files);
    print_back_end(report);
    for (title, lines) in [
        ("Notes", &report.notes),
        ("Warnings", &report.warnings),
        ("Errors", &report.errors),
    ] {
        if !lines.is_empty() {
            println!("\n{title}");
            for line in lines {
                println!("  {line}");
            }
        }
    }
    println!("\n{}", verdict(report.errors.len(), report.warnings.len()));
}

fn print_files(files: &[FileMode]) {
    if !files.is_empty() {
        println!("\nFiles");
        for file in files {
            println!("  {file}");
        }
    }
}

fn print_back_end(report: &Report) {
    if report.back_end.is_empty() {
        return;
    }
    println!("\nBack end");
    for Probed {
        place, up, detail, ..
    } in &report.back_end
    {
        println!("  {}  {place}: {detail}", if *up { "up  " } else { "down" });
    }
    for Trial {
        place,
        outcome,
        detail,
    } in &report.round_trips
    {
        let word = match outcome {
            TrialOutcome::Works => "works",
            TrialOutcome::NoKey => "not tried",
            TrialOutcome::Fails | TrialOutcome::Lies => "FAILS",
        };
        println!("  {word}  {place}: {detail}");
    }
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
