//! Apache's `ab`: a closed loop.
//!
//! Must never be true: figures of a run in which a request failed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kms_loadgen::load::job::Reach;

use super::tools::{Figures, Run, Tool, output, url};
use super::{CONNECTIONS, write_inputs};
use crate::server::find_program;

struct Ab {
    program: PathBuf,
    pem: PathBuf,
    body: PathBuf,
    csv: PathBuf,
    url: String,
}

/// It, if it is installed.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_ab_says_is_read() {
        let text = "Complete requests:      59243\nFailed requests:        0\nRequests per second:    5924.31 [#/sec] (mean)\n";
        let csv = "Percentage served,Time in ms\n0,4.812\n50,5.301\n90,8.250\n99,11.900\n";
        let figures = of_ab(text, csv).unwrap();
        assert!(figures.are([5924.31, 5.301, 8.25, 11.9]));
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
}
