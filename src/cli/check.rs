//! `kms check`: what would be in force, and what is wrong with it.
//!
//! Exit code 0: all well; 1: warnings; 2: errors.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::config::plan::Rule;
use crate::config::{self, Config, Setting};
use crate::node;
use crate::secret::memlock_limit;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The properties file.
    #[arg(long, value_name = "FILE", default_value = "/etc/kms/kms.properties")]
    config: PathBuf,
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
}

/// Everything found out.
#[derive(Debug, Default, Serialize)]
struct Report {
    settings: Vec<Setting>,
    sizes: Vec<Rule>,
    locked_bytes: usize,
    warnings: Vec<String>,
    errors: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
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

fn examine(arguments: &Arguments) -> Report {
    let mut report = Report::default();
    match config::load(&arguments.config, std::env::vars_os()) {
        Ok(loaded) => {
            report
                .warnings
                .extend(loaded.warnings.iter().map(ToString::to_string));
            examine_config(&loaded.config, &mut report);
        }
        Err(error) => report.errors.push(error.to_string()),
    }
    report
}

fn examine_config(config: &Config, report: &mut Report) {
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
    match node::Credentials::load(config) {
        Ok(credentials) => report.warnings.extend_from_slice(credentials.warnings()),
        Err(error) => report.errors.push(error.to_string()),
    }
}

fn print(report: &Report) {
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
    for (title, lines) in [("Warnings", &report.warnings), ("Errors", &report.errors)] {
        if !lines.is_empty() {
            println!("\n{title}");
            for line in lines {
                println!("  {line}");
            }
        }
    }
    let verdict = match (report.errors.len(), report.warnings.len()) {
        (0, 0) => "all well".to_owned(),
        (errors, warnings) => format!("{errors} errors, {warnings} warnings"),
    };
    println!("\n{verdict}");
}
