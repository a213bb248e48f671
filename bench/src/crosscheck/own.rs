//! `kms-loadgen` as a tool like the others, but that it may doubt itself.
//!
//! Must never be true: figures of a run in which a request failed.

use std::path::{Path, PathBuf};
use std::process::Command;

use kms_loadgen::load::job::Reach;
use serde_json::Value;

use super::tools::{Figures, Run, Tool, output_of};
use super::{CONNECTIONS, RATE};

/// The name of ours.
const OURS: &str = "kms-loadgen";
/// Its exit code for a run that it does not believe.
const INVALID: i32 = 3;
/// Its verdict on one that it does.
pub(super) const VALID: &str = "VALID";

struct Ours {
    program: PathBuf,
    reach: Reach,
    is_open: bool,
}

/// Ours, in the loop of the other.
pub fn ours(program: &Path, reach: &Reach, is_open: bool) -> Box<dyn Tool> {
    Box::new(Ours {
        program: program.to_owned(),
        reach: reach.clone(),
        is_open,
    })
}

impl Tool for Ours {
    fn name(&self) -> &'static str {
        OURS
    }

    fn run(&self, seconds: u64) -> Result<Run, String> {
        let mut command = Command::new(&self.program);
        command.args([
            "run", "--json", "--quiet", "--mix", "encrypt", "--keys", "1",
        ]);
        command.args([
            "--address",
            &self.reach.address,
            "--server-name",
            "localhost",
        ]);
        command
            .arg("--ca")
            .arg(&self.reach.ca)
            .arg("--cert")
            .arg(&self.reach.cert);
        command.arg("--key").arg(&self.reach.key);
        command.args([
            "--connections",
            &CONNECTIONS.to_string(),
            "--duration-s",
            &seconds.to_string(),
        ]);
        if self.is_open {
            command.args(["--rate", &RATE.to_string(), "--schedule", "constant"]);
        } else {
            command.arg("--closed");
        }
        of_ours(&output_of(OURS, command, &[0, INVALID])?, self.is_open)
    }
}

/// Why a run of ours does not believe itself.
pub(super) fn doubts(json: &Value) -> String {
    let doubts = json.pointer("/run/validity/doubts");
    doubts.map_or_else(|| "no reason told".to_owned(), ToString::to_string)
}

fn of_ours(text: &str, is_open: bool) -> Result<Run, String> {
    let json: Value =
        serde_json::from_str(text).map_err(|error| format!("kms-loadgen: {error}"))?;
    let name = if is_open { "response" } else { "service" };
    let ms = |quantile: &str| {
        let ns = json
            .pointer(&format!("/latency/all.{name}/{quantile}_ns"))?
            .as_f64()?;
        Some(ns / 1e6)
    };
    let rate = json.pointer("/rate_per_s").and_then(Value::as_f64);
    let verdict = json.pointer("/verdict").and_then(Value::as_str);
    let doubt = (verdict != Some(VALID)).then(|| doubts(&json));
    let errors = json.pointer("/run/totals/errors");
    if errors
        .and_then(Value::as_object)
        .is_none_or(|errors| !errors.is_empty())
    {
        return Err(format!("kms-loadgen: requests failed: {errors:?}"));
    }
    match (rate, ms("p50"), ms("p90"), ms("p99")) {
        (Some(rate), Some(p50_ms), Some(p90_ms), Some(p99_ms)) => {
            let figures = Figures {
                rate,
                p50_ms,
                p90_ms,
                p99_ms,
            };
            Ok(Run { figures, doubt })
        }
        _ => Err("kms-loadgen: its output is not as expected".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_ours_says_is_read() {
        let text = r#"{"verdict":"VALID","run":{"validity":{"doubts":[]},"totals":{"errors":{}}},"rate_per_s":2000.0,"latency":{"all.response":{"p50_ns":5300000,"p90_ns":8250000,"p99_ns":11900000}}}"#;
        let run = of_ours(text, true).unwrap();
        assert!(run.figures.are([2000.0, 5.3, 8.25, 11.9]), "{run:?}");
        assert!(run.doubt.is_none());
        assert!(of_ours(text, false).is_err());
        let doubted = text.replace("VALID", "INVALID").replace("[]", "[\"late\"]");
        let doubt = of_ours(&doubted, true).unwrap().doubt;
        assert_eq!(doubt.as_deref(), Some("[\"late\"]"));
        let failed = doubted.replace("\"errors\":{}", "\"errors\":{\"timeout\":1}");
        assert!(of_ours(&failed, true).is_err());
    }
}
