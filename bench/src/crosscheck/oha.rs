//! `oha -q --latency-correction`: an open loop, corrected for coordinated omission.
//!
//! It opens its connections while it already counts: what waits for 32 handshakes is 0.7 % of a run of ten seconds, and
//! its own p99 is largely theirs. So its lines are read, one a request, and those of the first second left out. A
//! request that fails has no line, nor has one that was never sent. Must never be true: figures of a run that lacks
//! more than [`MISSING_MAX`] lines, or in which one was refused.

use std::path::{Path, PathBuf};
use std::process::Command;

use kms_loadgen::load::job::Reach;

use super::tools::{Figures, Run, Tool, output, url};
use super::{CONNECTIONS, RATE, write_inputs};
use crate::rounds::quantile_of;
use crate::server::find_program;

/// Seconds before those that count.
const OPENING_S: u64 = 1;
/// It leaves one or two unsent at the end.
const MISSING_MAX: u64 = 5;
/// Its first line.
const HEAD: &str = "request-start,DNS,DNS+dialup,Response-delay,request-duration,bytes,status";

struct Oha {
    program: PathBuf,
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
    body: PathBuf,
    url: String,
}

/// It, if it is installed.
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
        let duration_s = OPENING_S + seconds;
        let mut command = Command::new(&self.program);
        // -w: what is under way at the end is waited for.
        command.args([
            "--no-tui",
            "--output-format",
            "csv",
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
        command.args([
            "-c",
            &CONNECTIONS.to_string(),
            "-z",
            &format!("{duration_s}s"),
            "-w",
        ]);
        command
            .args(["-q", &RATE.to_string(), "--latency-correction"])
            .arg(&self.url);
        of_oha(&output("oha", command)?, seconds).map(Run::from)
    }
}

/// Its lines are `request-start` in seconds, three others, `request-duration` in seconds, bytes, `status`.
fn of_oha(text: &str, seconds: u64) -> Result<Figures, String> {
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        return Err("oha: its output is not as expected".to_owned());
    }
    let mut all = 0;
    let mut latencies_ms = Vec::new();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let &[start, _, _, _, duration, _, status] = fields.as_slice() else {
            return Err(format!("oha: {line:?} is not as expected"));
        };
        if status != "200" {
            return Err(format!("oha: a request was answered with {status}"));
        }
        let seconds = |text: &str| text.parse::<f64>().map_err(|error| format!("oha: {error}"));
        let (start, duration) = (seconds(start)?, seconds(duration)?);
        all += 1;
        if start >= OPENING_S as f64 {
            latencies_ms.push(duration * 1e3);
        }
    }
    let planned = u64::from(RATE) * (OPENING_S + seconds);
    if all + MISSING_MAX < planned {
        return Err(format!("oha: of {planned} requests {all} were answered"));
    }
    let percentile = |quantile| quantile_of(latencies_ms.clone(), quantile);
    Ok(Figures {
        rate: latencies_ms.len() as f64 / seconds as f64,
        p50_ms: percentile(0.5),
        p90_ms: percentile(0.9),
        p99_ms: percentile(0.99),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What it says of two seconds at [`RATE`], each request of which took so many milliseconds, of the first second
    /// `opening`, of the other 1 to 100 in turn.
    fn output_with(opening: u32) -> String {
        let line = |number: u32| {
            let duration = if number < RATE {
                opening
            } else {
                number % 100 + 1
            };
            let start = f64::from(number) / f64::from(RATE);
            format!(
                "{start},0.1,0.2,0.3,{},280,200\n",
                f64::from(duration) / 1e3
            )
        };
        let lines: String = (0..2 * RATE).map(line).collect();
        format!("{HEAD}\n{lines}")
    }

    #[test]
    fn the_second_in_which_it_opens_its_connections_does_not_count() {
        for opening in [5, 80, 5000] {
            let figures = of_oha(&output_with(opening), 1).unwrap();
            assert!(
                figures.are([f64::from(RATE), 50.0, 90.0, 99.0]),
                "{opening}: {figures:?}"
            );
        }
    }

    #[test]
    fn a_run_with_a_failure_has_no_figures() {
        let good = output_with(5);
        let without = |missing: usize| -> String {
            let lines = 1 + 2 * RATE as usize - missing;
            good.split_inclusive('\n').take(lines).collect()
        };
        assert!(of_oha(&without(5), 1).is_ok());
        for (name, text) in [
            ("a refusal", good.replacen(",200\n", ",503\n", 1)),
            ("requests without an answer", without(6)),
            ("a line of another shape", format!("{good}1,2,3\n")),
            ("not a number", good.replacen("0.3,", "0.3,x", 1)),
            ("other columns", good.replacen("request-start", "start", 1)),
            ("nothing", String::new()),
        ] {
            assert!(of_oha(&text, 1).is_err(), "{name}");
        }
    }
}
