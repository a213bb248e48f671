//! What a load generator is here: run for so long, four figures. [`super::ab`], [`super::oha`] and [`super::own`] are.
//!
//! Must never be true: figures of a run that ended with another code than it should.

use std::process::Command;

use kms_loadgen::load::job::Reach;

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

pub(super) fn output(name: &str, command: Command) -> Result<String, String> {
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

pub(super) fn url(reach: &Reach) -> String {
    format!(
        "https://{}/v1/transit/encrypt/{}",
        reach.address, reach.transit_key
    )
}

#[cfg(test)]
impl Figures {
    /// Whether they are these, in order.
    pub(super) fn are(&self, want: [f64; 4]) -> bool {
        let got = [self.rate, self.p50_ms, self.p90_ms, self.p99_ms];
        got.iter()
            .zip(want)
            .all(|(got, want)| (got - want).abs() < 1e-6)
    }
}
