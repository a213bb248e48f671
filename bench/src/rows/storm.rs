//! The storm of row P7: warm unwraps on open connections, in quiet and while others come in with full handshakes as
//! fast as they can.
//!
//! What is fair on two cores: the server has core 0 with its worker and its handshake thread, at the priorities that
//! it gives them itself. Both clients are on core 1; the storm's is a process under `SCHED_IDLE`, which gets what the
//! warm client leaves, so that the warm client does not wait for its own kind. Unwraps are asked one at a time on
//! open connections in turn, well below what the server can do: in a closed loop both threads would share one core
//! and every latency double, whoever schedules them.
//!
//! The server's own times are those of its audit log: of the warm client's requests alone, to the microsecond. A
//! histogram of `/metrics` has the storm's requests in it as well, and bounds too far apart to tell 1.2 from 2.
//!
//! Must never be true: a storm that was over, or refused, while it was measured.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kms_loadgen::stream::Uniform;
use kms_loadgen::{Exchanges, Target, cpu};

use super::handshakes::AT_ONCE;
use super::{OURS, Options};
use crate::credentials::write_private;
use crate::line::Line;
use crate::peers::{Site, ours};
use crate::progress::say;
use crate::rounds::{Settings, in_turn, median, quantile_of};
use crate::server::{StartError, find_program};
use crate::table::{Goal, Judged, Report};

/// Open connections of the warm client.
const LINES: usize = 16;
/// From one unwrap to the next.
const PACE: Duration = Duration::from_micros(500);
/// Data keys in the cache.
const DATA_KEYS: usize = 1000;
/// The storm, against quiet.
const GOAL: Goal = Goal::AtMost(1.2);
/// Found in the audit log's lines of the warm client; the storm comes as the back end.
const WARM_ROLE: &str = "\"role\":\"device\"";
const REMEDY: &str = "apt-get install util-linux";

/// One phase.
#[derive(Debug, Default)]
struct Phase {
    /// Microseconds, as the client saw them.
    took_us: Vec<f64>,
    /// Microseconds from readable to answered, as the server's audit log has them.
    served_us: Vec<f64>,
    wrong: u64,
    /// Share of its core that the server used.
    server_busy: f64,
    /// Of the storm, while there was one.
    handshakes_per_s: f64,
}

/// What was found in each round, in quiet and in the storm.
#[derive(Debug, Default)]
struct Rounds {
    quiet: Vec<Phase>,
    storm: Vec<Phase>,
    failed: u64,
}

/// A figure of a phase.
type Figure = fn(&Phase) -> f64;
const P50: Figure = |phase| quantile_of(phase.took_us.clone(), 0.5);
const P99: Figure = |phase| quantile_of(phase.took_us.clone(), 0.99);
const SERVED_P50: Figure = |phase| quantile_of(phase.served_us.clone(), 0.5);
const SERVED_P99: Figure = |phase| quantile_of(phase.served_us.clone(), 0.99);

const LINES_OF_TABLE: [(&str, Figure, Goal); 3] = [
    (
        "p50 of warm unwraps, in a storm of handshakes / quiet",
        P50,
        GOAL,
    ),
    (
        "p99 of warm unwraps by the server's own time, in a storm of handshakes / quiet",
        SERVED_P99,
        GOAL,
    ),
    (
        "p99 of warm unwraps as a client on the storm's core sees it, in a storm / quiet",
        P99,
        Goal::None,
    ),
];

/// With certificates of this `kind`, which are those of `site`.
pub(super) fn run(site: &Site, kind: &str, options: &Options, report: &mut Report) {
    let lines =
        LINES_OF_TABLE.map(|(what, figure, goal)| (format!("{what}, {kind}"), figure, goal));
    match measure(site, kind, &options.settings) {
        Ok(rounds) => {
            let clean = rounds.is_clean();
            report.judged.extend(lines.map(|(what, figure, goal)| {
                Judged::new("P7", &what, Some(LINES), rounds.ratio(figure), goal, clean)
            }));
            report.note("P7", rounds.told(kind));
        }
        Err(why) => {
            report.note("P7", format!("the storm, {kind}, was not run: {why}"));
            let not_run = lines.map(|(what, _, goal)| Judged::not_run("P7", &what, goal));
            report.judged.extend(not_run);
        }
    }
}

fn measure(site: &Site, kind: &str, settings: &Settings) -> Result<Rounds, StartError> {
    let failed = |why: &dyn std::fmt::Display| StartError::Failed(format!("{OURS}: {why}"));
    let server = ours::start_audited(site, "kms-storm", DATA_KEYS + DATA_KEYS / 8)?;
    let exchanges = server.wrap(DATA_KEYS)?;
    server.fill(&exchanges)?;
    let folder = storm_folder(site, &exchanges)?;
    let mut warm = Warm {
        lines: Vec::new(),
        exchanges: &exchanges,
        audit_log: server.audit_log.clone().unwrap_or_default(),
        pid: server.server.pid(),
    };
    for _ in 0..LINES {
        let line = Line::open(&server.target);
        warm.lines.push(line.map_err(|why| failed(&why))?);
    }
    let mut rounds = Rounds::default();
    for round in 0..settings.rounds {
        say(&format!("P7: storm, {kind}, round {}", round + 1));
        in_turn(round, &mut [false, true], |is_storm| {
            let phase = warm.phase(round as u64, *is_storm, settings, &server.target, &folder);
            rounds.note(*is_storm, phase.map_err(|why| why.to_string())?);
            Ok(())
        })
        .map_err(|why| failed(&why))?;
    }
    Ok(rounds)
}

impl Rounds {
    fn note(&mut self, is_storm: bool, (phase, failed): (Phase, u64)) {
        self.failed += failed;
        let phases = if is_storm {
            &mut self.storm
        } else {
            &mut self.quiet
        };
        phases.push(phase);
    }

    fn is_clean(&self) -> bool {
        let asked = |phase: &Phase| phase.wrong == 0 && !phase.took_us.is_empty();
        let stormy = |phase: &Phase| asked(phase) && phase.handshakes_per_s > 0.0;
        self.failed == 0 && self.quiet.iter().all(asked) && self.storm.iter().all(stormy)
    }

    /// The median of the storm's figure over that of quiet, round by round.
    fn ratio(&self, figure: Figure) -> f64 {
        let pairs = self.storm.iter().zip(&self.quiet);
        median(
            pairs
                .map(|(storm, quiet)| figure(storm) / figure(quiet))
                .collect(),
        )
    }

    fn told(&self, kind: &str) -> String {
        let of = |phases: &[Phase], figure: Figure| median(phases.iter().map(figure).collect());
        let (quiet, storm) = (&self.quiet[..], &self.storm[..]);
        format!(
            "storm, {kind}, audit on: p50 {:.0} us quiet, {:.0} us in a storm of {:.0} handshakes/s that left {:.0} % of \
             the server's core idle; by the server's own time p50 {:.0} and {:.0} us, p99 {:.0} and {:.0} us",
            of(quiet, P50),
            of(storm, P50),
            of(storm, |phase| phase.handshakes_per_s),
            100.0 - 100.0 * of(storm, |phase| phase.server_busy).min(1.0),
            of(quiet, SERVED_P50),
            of(storm, SERVED_P50),
            of(quiet, SERVED_P99),
            of(storm, SERVED_P99),
        )
    }
}

/// The client on open connections.
struct Warm<'a> {
    lines: Vec<Line>,
    exchanges: &'a Exchanges,
    audit_log: PathBuf,
    pid: u32,
}

impl Warm<'_> {
    /// One phase, and how many of the storm's connections failed.
    fn phase(
        &mut self,
        seed: u64,
        is_storm: bool,
        settings: &Settings,
        target: &Target,
        folder: &Path,
    ) -> Result<(Phase, u64), StartError> {
        let storm = is_storm.then(|| Storm::start(target, folder)).transpose()?;
        self.ask(seed, settings.warm_up)?;
        let logged = fs::metadata(&self.audit_log)?.len();
        let (start, cpu_before) = (Instant::now(), cpu::process_tree(self.pid)?);
        let mut phase = self.ask(seed, settings.duration)?;
        let used = cpu::process_tree(self.pid)?.saturating_sub(cpu_before);
        phase.server_busy = used.as_secs_f64() / start.elapsed().as_secs_f64();
        let mut log = File::open(&self.audit_log)?;
        log.seek(SeekFrom::Start(logged))?;
        let mut lines = Vec::new();
        log.read_to_end(&mut lines)?;
        phase.served_us = served_us(&lines);
        let mut failed = 0;
        if let Some(storm) = storm {
            (phase.handshakes_per_s, failed) = storm.end()?;
        }
        Ok((phase, failed))
    }

    fn ask(&mut self, seed: u64, time: Duration) -> Result<Phase, StartError> {
        let mut order = Uniform::new(seed, self.exchanges.len())
            .ok_or_else(|| StartError::Failed("no data keys".into()))?;
        let (mut phase, start) = (Phase::default(), Instant::now());
        let (mut due, mut turn) = (start, 0);
        while due < start + time {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let exchange = order.next().and_then(|index| self.exchanges.get(index));
            let count = self.lines.len().max(1);
            let (Some(line), Some(exchange)) = (self.lines.get_mut(turn % count), exchange) else {
                break;
            };
            let asked = Instant::now();
            let right = line.ask(exchange);
            let took = asked.elapsed();
            let right = right.map_err(|why| StartError::Failed(format!("a warm unwrap: {why}")))?;
            if right {
                phase.took_us.push(took.as_secs_f64() * 1e6);
            } else {
                phase.wrong += 1;
            }
            turn += 1;
            // Late is late: what was missed is not made up for in a burst.
            due = (due + PACE).max(Instant::now());
        }
        Ok(phase)
    }
}

/// The times of the warm client's unwraps in these lines of the audit log.
fn served_us(lines: &[u8]) -> Vec<f64> {
    let text = String::from_utf8_lossy(lines);
    let of_warm = text.lines().filter(|line| line.contains(WARM_ROLE));
    of_warm
        .filter_map(|line| {
            let (_, rest) = line.split_once("\"us\":")?;
            rest.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        })
        .collect()
}

/// What the storm's process needs: certificates, a request, and what its answer must hold.
fn storm_folder(site: &Site, exchanges: &Exchanges) -> Result<PathBuf, StartError> {
    let folder = site.folder.path().join("storm");
    fs::create_dir(&folder)?;
    site.credentials.write_storm_pem(&folder)?;
    let exchange = exchanges.get(0);
    let exchange = exchange.ok_or_else(|| StartError::Failed("no data keys".into()))?;
    write_private(&folder.join("request"), exchange.request)?;
    write_private(&folder.join("expected"), exchange.expected)?;
    Ok(folder)
}

/// The storm's process: this program again.
struct Storm {
    child: Child,
    told: BufReader<ChildStdout>,
}

impl Storm {
    /// Starts it on the client's core; it is under way when this returns.
    fn start(target: &Target, folder: &Path) -> Result<Self, StartError> {
        let chrt = find_program(&[PathBuf::from("chrt")]).ok_or(StartError::NotInstalled {
            program: "chrt",
            remedy: REMEDY,
        })?;
        let mut child = Command::new(chrt)
            .args(["--idle", "0"])
            .arg(std::env::current_exe()?)
            .arg("storm")
            .arg("--address")
            .arg(target.address.to_string())
            .arg("--folder")
            .arg(folder)
            .arg("--at-once")
            .arg(AT_ONCE.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let Some(told) = child.stdout.take().map(BufReader::new) else {
            return Err(StartError::Failed("the storm has no output".into()));
        };
        let mut storm = Self { child, told };
        storm.line()?;
        Ok(storm)
    }

    fn line(&mut self) -> Result<String, StartError> {
        let mut line = String::new();
        if self.told.read_line(&mut line)? == 0 {
            let why = "the storm's process ended before its time; its error is above";
            return Err(StartError::Failed(why.into()));
        }
        Ok(line)
    }

    /// Ends it: its handshakes a second, and how many of its connections failed or had a wrong answer.
    fn end(mut self) -> Result<(f64, u64), StartError> {
        drop(self.child.stdin.take());
        let line = self.line()?;
        let mut fields = line.split_ascii_whitespace().map(str::parse::<f64>);
        let (Some(Ok(per_s)), Some(Ok(failed))) = (fields.next(), fields.next()) else {
            return Err(StartError::Failed(format!("the storm told {line:?}")));
        };
        // A count.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Ok((per_s, failed as u64))
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        // It ends by itself once its input is closed; this is for when the row was given up.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_storms_own_requests_are_left_out_of_the_servers_times() {
        let lines = b"{\"role\":\"device\",\"operation\":\"decrypt\",\"us\":7,\"mac\":\"1\"}\n\
                      {\"role\":\"backend\",\"operation\":\"decrypt\",\"us\":90,\"mac\":\"2\"}\n\
                      {\"begin\":true}\n\
                      {\"role\":\"device\",\"operation\":\"decrypt\",\"us\":12}\n";
        assert_eq!(served_us(lines), [7.0, 12.0]);
    }

    #[test]
    fn a_round_counts_only_with_a_storm_and_right_answers() {
        let phase = |wrong, handshakes_per_s| Phase {
            took_us: vec![50.0, 60.0],
            served_us: vec![6.0],
            wrong,
            server_busy: 0.9,
            handshakes_per_s,
        };
        for (name, quiet_wrong, storm_wrong, storm, failed, clean) in [
            ("good", 0, 0, 900.0, 0, true),
            ("no storm", 0, 0, 0.0, 0, false),
            ("a storm that was refused", 0, 0, 900.0, 1, false),
            ("wrong in quiet", 1, 0, 900.0, 0, false),
            ("wrong in the storm", 0, 1, 900.0, 0, false),
        ] {
            let mut rounds = Rounds::default();
            rounds.note(false, (phase(quiet_wrong, 0.0), 0));
            rounds.note(true, (phase(storm_wrong, storm), failed));
            assert_eq!(rounds.is_clean(), clean, "{name}");
            assert!((rounds.ratio(P50) - 1.0).abs() < 1e-9, "{name}");
        }
    }
}
