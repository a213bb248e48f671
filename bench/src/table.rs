//! The report: Markdown for people, JSON for programs.

use std::fmt::{self, Write};

use serde::Serialize;

use crate::environment::Environment;
use crate::rounds::{Series, Settings};
use crate::ttlv::TtlvRow;

/// What became of a target.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Reached.
    Pass,
    /// Not reached.
    Miss,
    /// No target at this number of connections: for information.
    Info,
    /// A wrong answer or a lost connection: the figure means nothing.
    Invalid,
    /// A server was not there; see the notes.
    NotRun,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "PASS",
            Self::Miss => "**MISS**",
            Self::Info => "-",
            Self::Invalid => "**INVALID**",
            Self::NotRun => "not run",
        })
    }
}

/// What a ratio should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Lower is better.
    AtMost(f64),
    /// Higher is better.
    AtLeast(f64),
    /// Told, not judged.
    None,
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "<= {limit}"),
            Self::AtLeast(limit) => write!(f, ">= {limit}"),
            Self::None => f.write_str("-"),
        }
    }
}

/// One line of the table of targets.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    /// As in the list of targets.
    pub row: &'static str,
    /// What was compared.
    pub what: String,
    /// Keep-alive connections, where there are any.
    pub connections: Option<usize>,
    /// Ours over theirs, or the figure itself.
    pub value: Option<f64>,
    /// The target.
    pub goal: Goal,
    /// Whether it was reached.
    pub verdict: Verdict,
}

impl Judged {
    /// Compares `value` with `goal`. `clean`: no wrong answer in what it was made from.
    pub fn new(
        row: &'static str,
        what: &str,
        connections: Option<usize>,
        value: f64,
        goal: Goal,
        clean: bool,
    ) -> Self {
        let verdict = match goal {
            _ if !clean || !value.is_finite() => Verdict::Invalid,
            Goal::None => Verdict::Info,
            Goal::AtMost(limit) if value <= limit => Verdict::Pass,
            Goal::AtLeast(limit) if value >= limit => Verdict::Pass,
            _ => Verdict::Miss,
        };
        Self {
            row,
            what: what.to_owned(),
            connections,
            value: Some(value),
            goal,
            verdict,
        }
    }

    /// A server was not there.
    pub fn not_run(row: &'static str, what: &str, goal: Goal) -> Self {
        Self {
            row,
            what: what.to_owned(),
            connections: None,
            value: None,
            goal,
            verdict: Verdict::NotRun,
        }
    }
}

/// Memory of row P8.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// Entries of the large cache.
    pub entries: usize,
    /// Resident bytes of the server with the small cache, filled.
    pub small_bytes: u64,
    /// Of the server with the large cache, before it was filled.
    pub large_empty_bytes: u64,
    /// The same, filled.
    pub large_bytes: u64,
}

/// Everything a run of `compare` found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The machine.
    pub environment: Environment,
    /// How it was measured.
    pub settings: Settings,
    /// Data keys in the set that is asked at random.
    pub data_keys: usize,
    /// The cipher suite that every client connection uses.
    pub cipher_suite: String,
    /// What each server was.
    pub servers: Vec<(String, String)>,
    /// Servers that were not there and why, and other remarks.
    pub notes: Vec<String>,
    /// The targets.
    pub judged: Vec<Judged>,
    /// All runs.
    pub series: Vec<Series>,
    /// Row P8.
    pub memory: Option<Memory>,
    /// Row P11.
    pub ttlv: Option<TtlvRow>,
}

impl Report {
    /// The report as Markdown.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_markdown(&mut out);
        out
    }

    fn write_markdown(&self, out: &mut String) -> fmt::Result {
        let Environment {
            cpu,
            cores,
            kernel,
            load_before,
            stolen_s,
        } = &self.environment;
        let Settings {
            rounds,
            duration,
            warm_up,
        } = self.settings;
        writeln!(
            out,
            "{cpu}, {cores} cores, Linux {kernel}; load {load_before} before, {stolen_s:.1} s stolen meanwhile."
        )?;
        writeln!(
            out,
            "TLS 1.3, {}, P-256 certificates, mutual, keep-alive, audit off; {} data keys of 32 bytes, asked at random; \
             {rounds} alternating rounds of {:.1} s after {:.1} s of warm-up, medians; servers on core 0, client on core 1.\n",
            self.cipher_suite,
            self.data_keys,
            duration.as_secs_f64(),
            warm_up.as_secs_f64()
        )?;
        self.write_targets(out)?;
        self.write_series(out)?;
        for (name, about) in &self.servers {
            writeln!(out, "- {name}: {about}")?;
        }
        if let Some(memory) = &self.memory {
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            writeln!(
                out,
                "- P8: resident {:.1} MiB with a cache of 1000, {:.1} MiB with one of {} before filling it, {:.1} MiB after",
                mib(memory.small_bytes),
                mib(memory.large_empty_bytes),
                memory.entries,
                mib(memory.large_bytes)
            )?;
        }
        self.notes
            .iter()
            .try_for_each(|note| writeln!(out, "- {note}"))
    }

    fn write_targets(&self, out: &mut String) -> fmt::Result {
        if self.judged.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "| row | what | connections | measured | target | |\n|---|---|---|---|---|---|"
        )?;
        for judged in &self.judged {
            let connections = judged
                .connections
                .map_or("-".into(), |count| count.to_string());
            let value = judged.value.map_or("-".into(), number);
            let Judged {
                row,
                what,
                goal,
                verdict,
                ..
            } = judged;
            writeln!(
                out,
                "| {row} | {what} | {connections} | {value} | {goal} | {verdict} |"
            )?;
        }
        writeln!(out)
    }

    fn write_series(&self, out: &mut String) -> fmt::Result {
        if self.series.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "| server | connections | requests/s | p50 us | p99 us | server CPU us/request | client CPU us/request | client busy |\n\
             |---|---|---|---|---|---|---|---|"
        )?;
        for series in &self.series {
            writeln!(
                out,
                "| {}{} | {} | {:.0} | {:.0} | {:.0} | {:.1} | {:.1} | {:.0} % |",
                series.name,
                if series.is_clean() {
                    ""
                } else {
                    " (wrong answers)"
                },
                series.connections,
                series.median(|sample| sample.requests_per_s),
                series.median(|sample| sample.p50_us),
                series.median(|sample| sample.p99_us),
                series.median(|sample| sample.server_cpu_us),
                series.median(|sample| sample.client_cpu_us),
                series.median(|sample| sample.client_busy) * 100.0,
            )?;
        }
        writeln!(out)
    }
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_judged_both_ways() {
        for (name, value, goal, clean, want) in [
            ("below", 0.69, Goal::AtMost(0.7), true, Verdict::Pass),
            ("at", 0.7, Goal::AtMost(0.7), true, Verdict::Pass),
            ("above", 0.71, Goal::AtMost(0.7), true, Verdict::Miss),
            ("more", 1.4, Goal::AtLeast(1.3), true, Verdict::Pass),
            ("less", 1.2, Goal::AtLeast(1.3), true, Verdict::Miss),
            ("told only", 1.2, Goal::None, true, Verdict::Info),
            (
                "wrong answers",
                0.1,
                Goal::AtMost(0.7),
                false,
                Verdict::Invalid,
            ),
            (
                "no figure",
                f64::NAN,
                Goal::AtMost(0.7),
                true,
                Verdict::Invalid,
            ),
        ] {
            assert_eq!(
                Judged::new("P1", name, Some(1), value, goal, clean).verdict,
                want,
                "{name}"
            );
        }
    }

    #[test]
    fn numbers_keep_three_digits() {
        for (value, want) in [(0.6951, "0.70"), (12.34, "12.3"), (1234.5, "1234")] {
            assert_eq!(number(value), want);
        }
    }
}
