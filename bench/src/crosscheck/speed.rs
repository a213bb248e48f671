//! How fast the generator itself is: one core, against a server whose cache has everything, on another.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use kms::cli::pki::KeyKind;
use kms_loadgen::stream::Uniform;
use kms_loadgen::{Driver, Exchanges, Plan, Until};
use serde_json::Value;

use super::own::{VALID, doubts};
use super::{ATTEMPTS_MAX, loadgen};
use crate::credentials::{SERVER_NAME, write_private};
use crate::peers::{KEY, Site, TOKEN, ours};
use crate::progress::say;
use crate::rounds::{Settings, median};
use crate::server::StartError;

const CONNECTIONS: usize = 64;
const DATA_KEYS: usize = 1000;
/// Rates of the open loop, requests a second; the first is what must be reached.
const RATES: [u32; 3] = [60_000, 90_000, 120_000];

const HEAD: &str = "| loop | planned/s | right answers/s | lag p99, us | client CPU, us a request | verdict |\n\
                    |---|---|---|---|---|---|\n";

/// What was found.
#[derive(Debug)]
pub struct Speed {
    /// A Markdown table.
    pub table: String,
    /// The first rate was held, and the closed loop is as fast as the plain driver.
    pub is_good: bool,
}

/// Runs them alternately.
pub fn measure(settings: &Settings) -> Result<Speed, StartError> {
    let site = Site::new(KeyKind::P256)?;
    let server = ours::start(&site, "kms-speed", 2 * DATA_KEYS)?;
    let exchanges = server.wrap(DATA_KEYS)?;
    server.fill(&exchanges)?;
    let program = Program {
        path: loadgen()?,
        files: Files::write(&site)?,
        address: server.target.address.to_string(),
        seconds: settings.duration.as_secs().max(1).to_string(),
    };
    let (plain, closed) = loops(settings, &server, &exchanges, &program)?;
    let ratios = closed
        .iter()
        .zip(&plain)
        .map(|(closed, plain)| closed / plain);
    let ratio = median(ratios.collect());
    let (plain, closed) = (median(plain), median(closed));
    let mut table = HEAD.to_owned();
    // Writing to a String cannot fail.
    let _ = writeln!(
        table,
        "| closed, the plain driver of `compare` | - | {plain:.0} | - | - | - |\n\
         | closed, `kms-loadgen run --closed` | - | {closed:.0} ({ratio:.2}) | - | - | - |"
    );
    let mut is_held = false;
    for (place, rate) in RATES.into_iter().enumerate() {
        // Beyond the rate that must be held, INVALID is an answer.
        let attempts_max = if place == 0 { ATTEMPTS_MAX } else { 1 };
        let (result, verdict) = program.open(rate, attempts_max)?;
        is_held |= place == 0 && verdict.starts_with(VALID);
        let _ = writeln!(
            table,
            "| open | {rate} | {:.0} | {:.0} | {:.2} | {verdict} |",
            number(&result, "/rate_per_s"),
            number(&result, "/latency/lag/p99_ns") / 1e3,
            number(&result, "/run/cpu/client_us") / number(&result, "/run/totals/sent")
        );
    }
    Ok(Speed {
        table,
        is_good: is_held && ratio >= 0.95,
    })
}

/// Requests a second of both closed loops, round by round.
fn loops(
    settings: &Settings,
    server: &ours::Ours,
    exchanges: &Exchanges,
    program: &Program,
) -> Result<(Vec<f64>, Vec<f64>), StartError> {
    let failed = |error: &dyn std::fmt::Display| StartError::Failed(format!("crosscheck: {error}"));
    let driver = Driver::connect(&server.target, CONNECTIONS);
    let mut driver = driver.map_err(|error| failed(&error))?;
    let plan = Plan {
        depth: 1,
        until: Until::Elapsed(settings.duration),
    };
    let (mut plain, mut closed) = (Vec::new(), Vec::new());
    for round in 0..settings.rounds {
        let order = Uniform::new(round as u64, exchanges.len());
        let mut order = order.ok_or_else(|| failed(&"no data keys"))?;
        let outcome = driver.run(exchanges, &mut order, plan);
        plain.push(outcome.map_err(|error| failed(&error))?.rate());
        closed.push(number(&program.run(&["--closed"])?, "/rate_per_s"));
    }
    Ok((plain, closed))
}

/// `kms-loadgen run` against the server.
struct Program {
    path: PathBuf,
    files: Files,
    address: String,
    seconds: String,
}

impl Program {
    /// At this rate, again while it does not believe itself; and its verdict, with the number of the attempt.
    fn open(&self, rate: u32, attempts_max: u32) -> Result<(Value, String), StartError> {
        let mut attempt = 1;
        loop {
            let result = self.run(&["--schedule", "constant", "--rate", &rate.to_string()])?;
            let verdict = result.pointer("/verdict").and_then(Value::as_str);
            let verdict = verdict.unwrap_or("-");
            if verdict == VALID || attempt >= attempts_max {
                let told = match attempt {
                    1 => verdict.to_owned(),
                    _ => format!("{verdict}, attempt {attempt}"),
                };
                return Ok((result, told));
            }
            say(&format!("{rate}/s again, for {}", doubts(&result)));
            attempt += 1;
        }
    }

    fn run(&self, words: &[&str]) -> Result<Value, StartError> {
        let mut command = Command::new(&self.path);
        command.args(["run", "--json", "--quiet", "--tls", "fixed"]);
        command.args(["--keys", "1000", "--fill-cache", "--transit-key", KEY]);
        command.args(["--address", &self.address, "--server-name", SERVER_NAME]);
        command.args(["--connections", &CONNECTIONS.to_string()]);
        command.args(["--duration-s", &self.seconds]);
        command.env("VAULT_TOKEN", TOKEN).args(words);
        self.files.add_to(&mut command);
        let output = command.output()?;
        serde_json::from_slice(&output.stdout).map_err(|error| {
            let said = String::from_utf8_lossy(&output.stderr);
            StartError::Failed(format!("kms-loadgen: {error}: {said}"))
        })
    }
}

fn number(json: &Value, pointer: &str) -> f64 {
    json.pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or(f64::NAN)
}

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn write(site: &Site) -> Result<Self, StartError> {
        let folder = tempfile::tempdir()?;
        let credentials = &site.credentials;
        std::fs::write(
            folder.path().join("ca.crt"),
            credentials.authority.cert_pem(),
        )?;
        std::fs::write(
            folder.path().join("device.crt"),
            &credentials.device.cert_pem,
        )?;
        let key = credentials.device.key_pem.expose().as_bytes();
        write_private(&folder.path().join("device.key"), key)?;
        Ok(Self { folder })
    }

    fn add_to(&self, command: &mut Command) {
        let path = |name: &str| Path::new(self.folder.path()).join(name);
        command
            .arg("--ca")
            .arg(path("ca.crt"))
            .arg("--cert")
            .arg(path("device.crt"));
        command.arg("--key").arg(path("device.key"));
    }
}
