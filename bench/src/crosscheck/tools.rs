//! `ab` and `oha` as one thing, which [`super::own`] is too: run for so long, four figures.
//!
//! Must never be true: figures of a run in which a request failed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kms_loadgen::load::job::Reach;
use serde_json::Value;

use super::{CONNECTIONS, RATE, write_inputs};
use crate::server::find_program;

/// Of one run.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Requests a second.
    pub rate: f64,
    /// Milliseconds.
    pub p50_ms: f64,
    /// Milliseconds.
    pub p90_ms: f64,
    /// Milliseconds.
    pub p99_ms: f64,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it measured.
    pub figures: Figures,
    /// Why it does not believe itself.
    pub doubt: Option<String>,
}

impl From<Figures> for Run {
    fn from(figures: Figures) -> Self {
        Self {
            figures,
            doubt: None,
        }
    }
}

/// A load generator.
pub trait Tool {
    /// For tables.
    fn name(&self) -> &'static str;
    /// Loads the server for so many seconds.
    fn run(&self, seconds: u64) -> Result<Run, String>;
}

fn output(name: &str, command: Command) -> Result<String, String> {
    output_of(name, command, &[0])
}

/// What it printed, if it ended with one of these codes.
pub(super) fn output_of(name: &str, mut command: Command, codes: &[i32]) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    let is_good = output
        .status
        .code()
        .is_some_and(|code| codes.contains(&code));
    if !is_good {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{name} ended with {}: {said}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn url(reach: &Reach) -> String {
    format!(
        "https://{}/v1/transit/encrypt/{}",
        reach.address, reach.transit_key
    )
}

struct Ab {
    program: PathBuf,
    pem: PathBuf,
    body: PathBuf,
    csv: PathBuf,
    url: String,
}

/// Apache's: closed loop.
pub fn ab(folder: &Path, reach: &Reach) -> Result<Box<dyn Tool>, String> {
    let program = find_program(&[PathBuf::from("ab"), PathBuf::from("/usr/bin/ab")]);
    let program = program.ok_or("ab is not installed (apt-get install apache2-utils)")?;
    let (pem, body) = write_inputs(folder, reach)?;
    Ok(Box::new(Ab {
        program,
        pem,
        body,
        csv: folder.join("ab.csv"),
        url: url(reach),
    }))
}

impl Tool for Ab {
    fn name(&self) -> &'static str {
        "ab"
    }

    fn run(&self, seconds: u64) -> Result<Run, String> {
        let mut command = Command::new(&self.program);
        // -l: answers may differ in length; -n behind -t, which sets it.
        command.args(["-q", "-k", "-l", "-c", &CONNECTIONS.to_string()]);
        command.args(["-t", &seconds.to_string(), "-n", "10000000"]);
        command
            .arg("-p")
            .arg(&self.body)
            .args(["-T", "application/json"]);
        command
            .arg("-E")
            .arg(&self.pem)
            .arg("-e")
            .arg(&self.csv)
            .arg(&self.url);
        let text = output("ab", command)?;
        let csv = fs::read_to_string(&self.csv).map_err(|error| format!("ab: {error}"))?;
        of_ab(&text, &csv).map(Run::from)
    }
}

fn of_ab(text: &str, csv: &str) -> Result<Figures, String> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<f64>().ok())
    };
    let failed =
        field("Failed requests:").unwrap_or(0.0) + field("Non-2xx responses:").unwrap_or(0.0);
    if failed > 0.0 {
        return Err(format!("ab: {failed} requests failed"));
    }
    let percentile = |percent: u32| {
        let line = csv
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{percent},")));
        line.and_then(|value| value.trim().parse::<f64>().ok())
    };
    let all = (
        field("Requests per second:"),
        percentile(50),
        percentile(90),
        percentile(99),
    );
    match all {
        (Some(rate), Some(p50_ms), Some(p90_ms), Some(p99_ms)) => Ok(Figures {
            rate,
            p50_ms,
            p90_ms,
            p99_ms,
        }),
        _ => Err("ab: its output is not as expected".to_owned()),
    }
}

struct Oha {
    program: PathBuf,
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
    body: PathBuf,
    url: String,
}

/// oha: open loop, corrected for coordinated omission.
pub fn oha(folder: &Path, reach: &Reach) -> Result<Box<dyn Tool>, String> {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo/bin/oha"));
    let candidates: Vec<PathBuf> = home.into_iter().chain([PathBuf::from("oha")]).collect();
    let program =
        find_program(&candidates).ok_or("oha is not installed (cargo install oha --locked)")?;
    let (_, body) = write_inputs(folder, reach)?;
    Ok(Box::new(Oha {
        program,
        ca: reach.ca.clone(),
        cert: reach.cert.clone(),
        key: reach.key.clone(),
        body,
        url: url(reach),
    }))
}

impl Tool for Oha {
    fn name(&self) -> &'static str {
        "oha -q --latency-correction"
    }

    fn run(&self, seconds: u64) -> Result<Run, String> {
        let mut command = Command::new(&self.program);
        command.args([
            "--no-tui",
            "--output-format",
            "json",
            "-m",
            "POST",
            "-T",
            "application/json",
        ]);
        command
            .arg("-D")
            .arg(&self.body)
            .arg("--cacert")
            .arg(&self.ca);
        command
            .arg("--cert")
            .arg(&self.cert)
            .arg("--key")
            .arg(&self.key);
        command.args(["-c", &CONNECTIONS.to_string(), "-z", &format!("{seconds}s")]);
        command
            .args(["-q", &RATE.to_string(), "--latency-correction"])
            .arg(&self.url);
        of_oha(&output("oha", command)?).map(Run::from)
    }
}

fn of_oha(text: &str) -> Result<Figures, String> {
    let json: Value = serde_json::from_str(text).map_err(|error| format!("oha: {error}"))?;
    let number = |pointer: &str| json.pointer(pointer).and_then(Value::as_f64);
    // Requests that are under way at the end are no failures.
    let errors = json
        .pointer("/errorDistribution")
        .and_then(Value::as_object);
    let failed = errors
        .into_iter()
        .flatten()
        .any(|(error, _)| !error.contains("deadline"));
    let statuses = json
        .pointer("/statusCodeDistribution")
        .and_then(Value::as_object);
    let refused = statuses
        .into_iter()
        .flatten()
        .any(|(status, _)| status != "200");
    if failed || refused {
        return Err(format!("oha: requests failed: {errors:?} {statuses:?}"));
    }
    let ms =
        |name: &str| number(&format!("/latencyPercentiles/{name}")).map(|seconds| seconds * 1e3);
    match (
        number("/summary/requestsPerSec"),
        ms("p50"),
        ms("p90"),
        ms("p99"),
    ) {
        (Some(rate), Some(p50_ms), Some(p90_ms), Some(p99_ms)) => Ok(Figures {
            rate,
            p50_ms,
            p90_ms,
            p99_ms,
        }),
        _ => Err("oha: its output is not as expected".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn near(figures: Figures, want: [f64; 4]) -> bool {
        let got = [figures.rate, figures.p50_ms, figures.p90_ms, figures.p99_ms];
        got.iter()
            .zip(want)
            .all(|(got, want)| (got - want).abs() < 1e-6)
    }

    #[test]
    fn what_ab_says_is_read() {
        let text = "Complete requests:      59243\nFailed requests:        0\nRequests per second:    5924.31 [#/sec] (mean)\n";
        let csv = "Percentage served,Time in ms\n0,4.812\n50,5.301\n90,8.250\n99,11.900\n";
        assert!(near(
            of_ab(text, csv).unwrap(),
            [5924.31, 5.301, 8.25, 11.9]
        ));
        for (name, text, csv) in [
            (
                "failures",
                text.replace("requests:        0", "requests:        3"),
                csv,
            ),
            (
                "refusals",
                format!("{text}Non-2xx responses:      5\n"),
                csv,
            ),
            ("no percentiles", text.to_owned(), ""),
        ] {
            assert!(of_ab(&text, csv).is_err(), "{name}");
        }
    }

    #[test]
    fn what_oha_says_is_read() {
        let good = r#"{"summary":{"successRate":1.0,"total":10.0,"requestsPerSec":1999.7},
            "latencyPercentiles":{"p50":0.0053,"p90":0.00825,"p95":0.009,"p99":0.0119},
            "statusCodeDistribution":{"200":19997},"errorDistribution":{"aborted due to deadline":9}}"#;
        assert!(near(of_oha(good).unwrap(), [1999.7, 5.3, 8.25, 11.9]));
        for (name, text) in [
            (
                "refusals",
                good.replace("\"200\":19997", "\"200\":19990,\"503\":7"),
            ),
            (
                "errors",
                good.replace("aborted due to deadline", "connection refused"),
            ),
            ("no JSON", "Summary:".to_owned()),
            ("null", good.replace("0.0119", "null")),
        ] {
            assert!(of_oha(&text).is_err(), "{name}");
        }
    }
}
