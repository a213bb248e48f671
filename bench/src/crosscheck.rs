//! The load generator against others of its kind, at the same server and the same rate: `ab` in a closed loop, `oha`
//! with `--latency-correction` in an open one; and what its own loop can do with one core.
//!
//! The server does work of a known length that no cache shortens, wraps of one data key by a simulated HSM, so that
//! it, and not a client's own cost, sets rate and latency. Must never be true: a tool that is skipped without a word.
//! Called by the program `crosscheck`.

mod ab;
mod host;
mod oha;
mod own;
mod speed;
mod tools;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use kms_loadgen::load::job::Reach;
use kms_loadgen::scenario::file::Scenario;
use kms_loadgen::scenario::stage::Stage;

use crate::peers::ours;
use crate::place::on_server_core;
use crate::progress::say;
use crate::rounds::{Settings, median};
use crate::server::StartError;

use host::Host;
pub use speed::measure as measure_speed;
use tools::{Figures, Tool};

/// Connections of both tools.
const CONNECTIONS: usize = 32;
/// Requests a second of the open loop: half of what the HSM can do.
const RATE: u32 = 2000;
/// How often a pair of runs is made until neither is to be doubted.
const ATTEMPTS_MAX: u32 = 5;
/// What the others may differ by.
const TOLERANCE: f64 = 0.05;

/// As many HSM connections as clients, each operation a message of its own, no ceiling: a request takes what its
/// message takes, lognormal around 5 ms.
const SCENARIO: &str = r#"
name = "crosscheck"
about = "x"
[hsm]
preset = "null"
set = { message-ms = 5, sigma = 0.35 }
[server]
"kms.hsm.pool.size" = 32
"kms.hsm.batch.max" = 1
"kms.audit.mode" = "off"
"kms.log.level" = "warn"
[run]
[[run.load]]
rate = 1
"#;

/// One figure of both, and whether they agree.
#[derive(Clone, Debug)]
pub struct Agreement {
    /// Who else.
    pub tool: &'static str,
    /// Open or closed loop.
    pub mode: &'static str,
    /// `requests/s`, `p50`, ...
    pub figure: &'static str,
    /// The median of ours.
    pub ours: f64,
    /// The median of theirs.
    pub theirs: f64,
    /// The median over the rounds of ours by theirs.
    pub ratio: f64,
}

impl Agreement {
    /// Within the tolerance.
    pub fn holds(&self) -> bool {
        (self.ratio - 1.0).abs() <= TOLERANCE
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Crosscheck {
    /// Each figure of each tool that is there.
    pub figures: Vec<Agreement>,
    /// Tools that are not, with what to do about it.
    pub missing: Vec<String>,
    /// Pairs of runs of which one was to be doubted, however often.
    pub doubts: Vec<String>,
}

impl Crosscheck {
    /// Whether all agree, nothing is missing, and every run was believed.
    pub fn is_good(&self) -> bool {
        self.missing.is_empty()
            && self.doubts.is_empty()
            && self.figures.iter().all(Agreement::holds)
    }

    /// A Markdown table.
    pub fn table(&self) -> String {
        let mut table = "| tool | loop | figure | kms-loadgen | the other | ratio | |\n|---|---|---|---|---|---|---|\n".to_owned();
        for one in &self.figures {
            // Writing to a String cannot fail.
            let _ = writeln!(
                table,
                "| {} | {} | {} | {:.2} | {:.2} | {:.3} | {} |",
                one.tool,
                one.mode,
                one.figure,
                one.ours,
                one.theirs,
                one.ratio,
                if one.holds() { "agrees" } else { "**DIFFERS**" }
            );
        }
        for missing in &self.missing {
            let _ = writeln!(table, "| {missing} | - | not run | - | - | - | - |");
        }
        for doubt in &self.doubts {
            let _ = writeln!(table, "\nNot to be believed: {doubt}");
        }
        table
    }
}

/// Runs the tools alternately.
pub fn measure(settings: &Settings) -> Result<Crosscheck, StartError> {
    let folder = tempfile::tempdir()?;
    let failed = |why: String| StartError::Failed(format!("crosscheck: {why}"));
    let mut found = Crosscheck::default();
    let host = Host::of_this_machine();
    let ours = loadgen()?;
    let scenario = Scenario::parse(SCENARIO).map_err(failed)?;
    let program = ours::program()?;
    let place = folder.path().join("site");
    let log = folder.path().join("kms.log");
    let stage =
        on_server_core(|| Stage::set(&scenario, &place, &program, &log))?.map_err(failed)?;
    let reach = stage.reach();
    let others = [
        ab::ab(folder.path(), &reach),
        oha::oha(folder.path(), &reach),
    ];
    let seconds = settings.duration.as_secs().max(1);
    for (other, mode) in others.into_iter().zip(["closed", "open"]) {
        let other = match other {
            Ok(other) => other,
            Err(why) => {
                found.missing.push(why);
                continue;
            }
        };
        let own = own::ours(&ours, &reach, mode == "open");
        let (mut of_ours, mut of_theirs) = (Vec::new(), Vec::new());
        for round in 0..settings.rounds {
            say(&format!(
                "{} and kms-loadgen, {mode} loop, round {}",
                other.name(),
                round + 1
            ));
            let pair = both(&host, other.as_ref(), own.as_ref(), seconds);
            let ((theirs, ours), doubt) = pair.map_err(failed)?;
            of_theirs.push(theirs);
            of_ours.push(ours);
            let told = doubt.map(|doubt| format!("{mode} loop, round {}: {doubt}", round + 1));
            found.doubts.extend(told);
        }
        found
            .figures
            .extend(agreements(other.name(), mode, &of_ours, &of_theirs));
    }
    Ok(found)
}

/// One after the other, again while one of them is to be doubted; why it still was at last.
fn both(
    host: &Host,
    other: &dyn Tool,
    own: &dyn Tool,
    seconds: u64,
) -> Result<((Figures, Figures), Option<String>), String> {
    let mut attempts = 1;
    loop {
        let theirs = host.run(other, seconds)?;
        let ours = host.run(own, seconds)?;
        let is_last = attempts >= ATTEMPTS_MAX;
        match ours.doubt.or(theirs.doubt) {
            Some(doubt) if !is_last => say(&format!("again, for {doubt}")),
            doubt => return Ok(((theirs.figures, ours.figures), doubt)),
        }
        attempts += 1;
    }
}

fn agreements(
    tool: &'static str,
    mode: &'static str,
    ours: &[Figures],
    theirs: &[Figures],
) -> Vec<Agreement> {
    type Figure = (&'static str, fn(&Figures) -> f64);
    let figures: [Figure; 4] = [
        ("requests/s", |figures| figures.rate),
        ("p50, ms", |figures| figures.p50_ms),
        ("p90, ms", |figures| figures.p90_ms),
        ("p99, ms", |figures| figures.p99_ms),
    ];
    let one = |(figure, of): Figure| Agreement {
        tool,
        mode,
        figure,
        ours: median(ours.iter().map(of).collect()),
        theirs: median(theirs.iter().map(of).collect()),
        ratio: median(
            ours.iter()
                .zip(theirs)
                .map(|(ours, theirs)| of(ours) / of(theirs))
                .collect(),
        ),
    };
    figures.into_iter().map(one).collect()
}

/// The program under test, beside this one.
fn loadgen() -> Result<PathBuf, StartError> {
    let beside = std::env::current_exe()?.with_file_name("kms-loadgen");
    let candidates = [beside, PathBuf::from("target/release/kms-loadgen")];
    crate::server::find_program(&candidates).ok_or(StartError::NotInstalled {
        program: "kms-loadgen",
        remedy: "cargo build --release -p kms-loadgen",
    })
}

/// Writes what the others want to read: the certificate and key in one file, the body of a request.
fn write_inputs(folder: &Path, reach: &Reach) -> Result<(PathBuf, PathBuf), String> {
    let failed = |error: std::io::Error| format!("crosscheck: {error}");
    let both = [
        fs::read(&reach.cert).map_err(failed)?,
        fs::read(&reach.key).map_err(failed)?,
    ]
    .concat();
    let pem = folder.join("client.pem");
    crate::credentials::write_private(&pem, &both).map_err(failed)?;
    let body = folder.join("body.json");
    let plaintext = "{\"plaintext\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"}";
    fs::write(&body, plaintext).map_err(failed)?;
    Ok((pem, body))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::tools::Run;
    use super::*;

    #[test]
    fn the_scenario_is_one() {
        Scenario::parse(SCENARIO).unwrap();
    }

    #[test]
    fn five_per_cent_agree_and_six_do_not() {
        let figures = |rate| Figures {
            rate,
            p50_ms: 5.0,
            p90_ms: 8.0,
            p99_ms: 11.0,
        };
        let (ours, theirs) = ([figures(1049.0), figures(1040.0)], [figures(1000.0); 2]);
        let good = agreements("ab", "closed", &ours, &theirs);
        assert!(good.iter().all(Agreement::holds) && good.len() == 4);
        let bad = agreements("ab", "closed", &[figures(1060.0)], &theirs[..1]);
        assert_eq!(bad.iter().filter(|one| !one.holds()).count(), 1);
        let mut all = Crosscheck {
            figures: bad,
            ..Crosscheck::default()
        };
        assert!(
            !all.is_good()
                && all
                    .table()
                    .contains("1060.00 | 1000.00 | 1.060 | **DIFFERS**")
        );
        all = Crosscheck {
            figures: good,
            missing: vec!["oha is not installed".into()],
            doubts: vec![],
        };
        assert!(!all.is_good() && all.table().contains("oha is not installed"));
        all.missing.clear();
        assert!(all.is_good());
        all.doubts.push("late".into());
        assert!(!all.is_good() && all.table().contains("Not to be believed: late"));
    }

    /// Doubts itself so often.
    struct Doubtful(std::cell::Cell<u32>);

    impl Tool for Doubtful {
        fn name(&self) -> &'static str {
            "doubtful"
        }

        fn run(&self, _: u64) -> Result<Run, String> {
            let left = self.0.get();
            self.0.set(left.saturating_sub(1));
            let figures = Figures {
                rate: f64::from(left),
                p50_ms: 5.0,
                p90_ms: 8.0,
                p99_ms: 11.0,
            };
            Ok(Run {
                figures,
                doubt: (left > 0).then(|| "late".to_owned()),
            })
        }
    }

    #[test]
    fn a_pair_is_made_again_until_neither_is_to_be_doubted() {
        for (of_other, of_own, left) in [
            (0, 0, false),
            (0, 4, false),
            (4, 0, false),
            (0, 5, true),
            (5, 0, true),
        ] {
            let (other, own) = (Doubtful(of_other.into()), Doubtful(of_own.into()));
            let pair = both(&Host::all_ours(), &other, &own, 1);
            let ((theirs, ours), doubt) = pair.unwrap();
            let name = format!("{of_other} of the other's, {of_own} of ours");
            assert_eq!(doubt.is_some(), left, "{name}");
            let has_left = theirs.rate + ours.rate > 0.0;
            assert_eq!(has_left, left, "{name}: the last pair's figures");
        }
    }
}
