//! `kms-tune calibrate`.

use std::path::PathBuf;

use kms_loadgen::load::job::Reach;

use super::validate::program;
use super::{Ended, Scratch, say, stop_on_signals, tell, write};
use crate::calibrate::Findings;
use crate::calibrate::hsm::{self, Limits};
use crate::calibrate::machine::{self, Conditions};
use crate::input::field;

/// What is measured, and how.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// Where the numbers go; without it, to standard output. machine.calibration names this file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The server's program; without it, kms beside this program.
    #[arg(long, value_name = "PATH")]
    kms: Option<PathBuf>,
    /// Seconds of each part.
    #[arg(long, value_name = "S", default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// Data keys that misses and memory are measured with.
    #[arg(long, value_name = "N", default_value_t = 40_000, value_parser = clap::value_parser!(u32).range(4_000..=400_000))]
    keys: u32,
    #[command(flatten)]
    real: Real,
}

/// A real HSM, only if asked for.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "A real HSM (nothing is sent to it without --hsm-node)")]
struct Real {
    /// HOST:PORT of a running node whose HSM is measured, with wraps: they make nothing in the HSM.
    #[arg(long, value_name = "HOST:PORT", requires_all = ["ca", "cert", "key"])]
    hsm_node: Option<String>,
    /// Operations a second that it may be asked for, at most.
    #[arg(long, value_name = "PER_S", default_value_t = 100.0, value_parser = rate, requires = "hsm_node")]
    hsm_ops_max: f64,
    /// Raise the rate to --hsm-ops-max, to see where the HSM's ceiling is.
    #[arg(long, requires = "hsm_node")]
    hsm_ceiling: bool,
    /// Do not measure this machine.
    #[arg(long, requires = "hsm_node")]
    hsm_only: bool,
    /// PEM file of the authorities that vouch for the node.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// PEM file of a client certificate that may wrap.
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Name of the master key.
    #[arg(long, value_name = "NAME", default_value = "demo")]
    transit_key: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<Ended, String> {
    let stop = stop_on_signals()?;
    let mut findings = Findings::default();
    if !arguments.real.hsm_only {
        let (program, folder) = (
            program(arguments.kms.as_deref())?,
            Scratch::new("calibrate")?,
        );
        let conditions = Conditions {
            program: &program,
            folder: folder.path(),
            stop: &stop,
            seconds: arguments.seconds,
            keys: arguments.keys,
        };
        findings = machine::measure(&conditions, &mut tell)?;
    }
    if let Some(address) = &arguments.real.hsm_node {
        let (besides_ms, besides_spread_ms) = besides_ms(&findings);
        let limits = Limits {
            reach: reach(&arguments.real, address),
            ops_max: arguments.real.hsm_ops_max,
            seconds: arguments.seconds,
            tries_ceiling: arguments.real.hsm_ceiling,
            besides_ms,
            besides_spread_ms,
            stop: &stop,
        };
        hsm::measure(&limits, &mut findings, &mut tell)?;
    }
    let text = findings.toml();
    match &arguments.out {
        Some(path) => write(path, &text)?,
        None => say(&text)?,
    }
    for missing in &findings.missing {
        tell(&format!("not measured: {missing}"));
    }
    Ok(if findings.missing.is_empty() {
        Ended::Well
    } else {
        Ended::Warned
    })
}

fn reach(real: &Real, address: &str) -> Reach {
    Reach {
        address: address.to_owned(),
        ca: real.ca.clone().unwrap_or_default(),
        cert: real.cert.clone().unwrap_or_default(),
        key: real.key.clone().unwrap_or_default(),
        transit_key: real.transit_key.clone(),
        ..Reach::default()
    }
}

/// What an answer takes besides the HSM, and how far that spreads: as measured, or as assumed.
fn besides_ms(findings: &Findings) -> (f64, f64) {
    let of = |field: &'static field::Field| {
        let found = findings
            .found
            .iter()
            .find(|one| one.field.path == field.path);
        let assumed = match field.absent {
            field::Absent::Value(value, _) => value,
            _ => 0.0,
        };
        found.map_or(assumed, |one| one.value)
    };
    let median_ms = (of(&field::HIT_BASE_US) + of(&field::MISS_OVERHEAD_US)) / 1000.0;
    let far = (2.326 * of(&field::MISS_OVERHEAD_SIGMA)).exp();
    (median_ms, median_ms * (far - 1.0))
}

fn seconds(text: &str) -> Result<f64, String> {
    within(text, 0.2, 600.0)
}

fn rate(text: &str) -> Result<f64, String> {
    within(text, 1.0, 100_000.0)
}

fn within(text: &str, min: f64, max: f64) -> Result<f64, String> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| format!("a number from {min} to {max} belongs here"))
}
