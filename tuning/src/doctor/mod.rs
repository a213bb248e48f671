//! The host against the plan: what each setting is, what it should be, why, and the command that mends it.
//!
//! Everything is read below a root that tests can replace. What this kernel does not have is not applicable, never a
//! failure. Must never be true: a finding without a remedy; a check that changes anything.

mod limits;
mod machine;
mod network;
mod security;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::input::field;
use crate::plan::Plan;

/// A file below /proc or /sys is small; what is longer is cut.
const FILE_BYTES_MAX: usize = 64 * 1024;

/// How a check came out.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// This kernel or plan has no such thing.
    NotApplicable,
    /// As it should be.
    Ok,
    /// Works, but not well.
    Warning,
    /// The server would not start or not serve as planned, or keys are at risk.
    Error,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Its name.
    pub check: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What is.
    pub found: String,
    /// What should be.
    pub wanted: String,
    /// Why.
    pub why: &'static str,
    /// The command that mends it; empty when nothing is to be mended.
    pub fix: String,
}

/// What the plan wants of a host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wants {
    /// Locked bytes.
    pub locked_bytes: f64,
    /// Open files.
    pub files: f64,
    /// Resident bytes.
    pub resident_bytes: f64,
    /// Worker threads.
    pub threads: f64,
    /// Client connections.
    pub clients: f64,
    /// HSM connections.
    pub hsm_connections: f64,
    /// New connections a second, at worst.
    pub handshakes_s: f64,
    /// The tightest objective of an answer time, if there is one.
    pub tightest_ms: Option<f64>,
}

impl Wants {
    /// Of a plan.
    pub fn of(plan: &Plan) -> Self {
        let peak = plan.scenario("node_lost").or_else(|| plan.scenario("peak"));
        let nodes = peak.map_or(1.0, |peak| peak.load.nodes.value());
        let site = &plan.site;
        let storm = site.opt(&field::STORM_DEVICES).map_or(0.0, |devices| {
            devices.value() / site.get(&field::STORM_WINDOW_S).value()
        });
        let objectives = [&field::P50_MS, &field::P99_MS, &field::P999_MS];
        let tightest = objectives
            .into_iter()
            .filter_map(|field| Some(site.opt(field)?.value()));
        Self {
            locked_bytes: plan.memory.locked.value(),
            files: plan.memory.files.value(),
            resident_bytes: plan.memory.resident.value(),
            threads: plan.memory.workers.value(),
            clients: site.get(&field::CLIENTS).value() / nodes,
            hsm_connections: plan.design.connections.value(),
            handshakes_s: peak.map_or(0.0, |peak| peak.handshakes.value()) + storm / nodes,
            tightest_ms: tightest.reduce(f64::min),
        }
    }
}

/// Where /proc and /sys are, and whose limits count.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
    pid: String,
}

impl Host {
    /// Below `root`; of the process `pid`, or of this one.
    pub fn new(root: &Path, pid: Option<u32>) -> Self {
        Self {
            root: root.to_owned(),
            pid: pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string()),
        }
    }

    /// The file's text without the last line feed; none where there is no such file.
    fn read(&self, path: &str) -> Option<String> {
        let mut bytes = std::fs::read(self.root.join(path)).ok()?;
        bytes.truncate(FILE_BYTES_MAX);
        Some(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    /// The same of the process.
    fn read_of_process(&self, name: &str) -> Option<String> {
        self.read(&format!("proc/{}/{name}", self.pid))
    }

    /// A number in a file of its own.
    fn number(&self, path: &str) -> Option<f64> {
        self.read(path)?.split_whitespace().next()?.parse().ok()
    }

    /// Names in a folder, sorted.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.join(folder));
        let mut names: Vec<String> = entries
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();
        names.sort_unstable();
        names
    }
}

/// All checks, in their order.
pub fn examine(host: &Host, wants: &Wants) -> Vec<Finding> {
    let mut findings = security::checks(host);
    findings.extend(limits::checks(host, wants));
    findings.extend(network::checks(host, wants));
    findings.extend(machine::checks(host, wants));
    findings
}

/// The worst of them.
pub fn worst(findings: &[Finding]) -> Verdict {
    let verdicts = findings.iter().map(|finding| finding.verdict);
    verdicts.max().unwrap_or(Verdict::NotApplicable)
}

/// A check of a value that may not be there.
struct Check {
    name: &'static str,
    why: &'static str,
}

impl Check {
    const fn new(name: &'static str, why: &'static str) -> Self {
        Self { name, why }
    }

    fn absent(&self, what: &str) -> Finding {
        self.finding(Verdict::NotApplicable, what, "", "")
    }

    fn ok(&self, found: impl Into<String>, wanted: impl Into<String>) -> Finding {
        self.finding(Verdict::Ok, found, wanted, "")
    }

    fn finding(
        &self,
        verdict: Verdict,
        found: impl Into<String>,
        wanted: impl Into<String>,
        fix: impl Into<String>,
    ) -> Finding {
        Finding {
            check: self.name,
            verdict,
            found: found.into(),
            wanted: wanted.into(),
            why: self.why,
            fix: fix.into(),
        }
    }

    /// `bad` unless the value is at least so much.
    fn at_least(
        &self,
        found: Option<f64>,
        least: f64,
        bad: Verdict,
        fix: impl Fn(f64) -> String,
    ) -> Finding {
        let Some(found) = found else {
            return self.absent("not there on this kernel");
        };
        let wanted = format!("at least {least:.0}");
        if found >= least {
            return self.ok(format!("{found:.0}"), wanted);
        }
        self.finding(bad, format!("{found:.0}"), wanted, fix(least))
    }

    /// `bad` unless the value is exactly that.
    fn exactly(&self, found: Option<f64>, want: f64, bad: Verdict, fix: &str) -> Finding {
        let Some(found) = found else {
            return self.absent("not there on this kernel");
        };
        if (found - want).abs() < 0.5 {
            return self.ok(format!("{found:.0}"), format!("{want:.0}"));
        }
        self.finding(bad, format!("{found:.0}"), format!("{want:.0}"), fix)
    }
}

fn sysctl(name: &str) -> impl Fn(f64) -> String + '_ {
    move |value| format!("sysctl -w {name}={value:.0}")
}
