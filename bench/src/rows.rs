//! The rows: which servers each needs, what is compared, and the targets.

pub mod batch;
pub mod hsm;
pub mod vault;

use std::sync::Arc;

use kms_loadgen::transit::Transit;
use kms_loadgen::{Exchanges, cpu};

use crate::peers::{Contender, FixedAnswer, Site, bare, nginx, openbao, ours};
use crate::rounds::{Figure, Sample, Series, Settings, alternate};
use crate::server::StartError;
use crate::table::{Goal, Judged, Memory, Report};

/// Numbers of connections at which the speed rows are run.
const CONNECTIONS: [usize; 2] = [1, 64];
/// Connections of row P8.
const MEMORY_CONNECTIONS: usize = 64;
/// The small cache of row P8.
const SMALL_ENTRIES: usize = 1_000;

const OURS: &str = "kms";
const AUDITED: &str = "kms, audit";
const NGINX: &str = "nginx";
const NGINX_LOG: &str = "nginx, access log";
const BARE: &str = "bare echo";
const OPENBAO: &str = "OpenBao";

/// A row of the list of targets.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum Row {
    /// Warm unwrap against nginx `return 200`.
    P1,
    /// Against a bare mio and rustls echo.
    P2,
    /// Against OpenBao's Transit decrypt.
    P3,
    /// Cold unwraps through the pool, batched, against a simulated HSM.
    P5,
    /// One lone client's miss against a direct KMIP client.
    P6,
    /// Memory a cached key, and CPU as the cache grows.
    P8,
    /// TTLV against `kmip-ttlv`.
    P11,
    /// A warm batch of 100 in one request, against OpenBao.
    P12,
    /// The same decrypt straight at OpenBao and through us in front of it.
    Vault,
}

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which rows.
    pub rows: Vec<Row>,
    /// Rounds and times.
    pub settings: Settings,
    /// Data keys of the speed rows and of row P12.
    pub data_keys: usize,
    /// Entries of the large cache of row P8.
    pub memory_entries: usize,
}

/// A comparison: row, its name, what, who, against whom, figure, target at 1 connection and at 64.
type Comparison = (
    Row,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Figure,
    [Goal; 2],
);

const CPU: Figure = |sample: &Sample| sample.server_cpu_us;
const RATE: Figure = |sample: &Sample| sample.requests_per_s;
const P50: Figure = |sample: &Sample| sample.p50_us;
const WORK_PER_CPU: Figure = |sample: &Sample| 1.0 / sample.server_cpu_us;

const COMPARISONS: [Comparison; 9] = [
    (
        Row::P1,
        "P1",
        "server CPU a request, kms / nginx",
        OURS,
        NGINX,
        CPU,
        [Goal::None, Goal::AtMost(0.70)],
    ),
    (
        Row::P1,
        "P1",
        "requests/s, kms / nginx",
        OURS,
        NGINX,
        RATE,
        [Goal::None, Goal::AtLeast(1.3)],
    ),
    (
        Row::P2,
        "P2",
        "server CPU a request, kms / bare echo",
        OURS,
        BARE,
        CPU,
        [Goal::AtMost(1.25), Goal::AtMost(1.25)],
    ),
    (
        Row::P3,
        "P3",
        "requests a server CPU second, kms / OpenBao",
        OURS,
        OPENBAO,
        WORK_PER_CPU,
        [Goal::AtLeast(60.0), Goal::AtLeast(60.0)],
    ),
    (
        Row::P3,
        "P3",
        "p50, kms / OpenBao",
        OURS,
        OPENBAO,
        P50,
        [Goal::AtMost(0.125), Goal::AtMost(0.125)],
    ),
    (
        Row::P1,
        "P1",
        "p50, kms / nginx",
        OURS,
        NGINX,
        P50,
        [Goal::None, Goal::None],
    ),
    (
        Row::P1,
        "P1",
        "server CPU a request, kms with audit / nginx with access log",
        AUDITED,
        NGINX_LOG,
        CPU,
        [Goal::None, Goal::AtMost(0.85)],
    ),
    (
        Row::P2,
        "P2",
        "server CPU a request, kms with audit / bare echo",
        AUDITED,
        BARE,
        CPU,
        [Goal::AtMost(1.40), Goal::AtMost(1.40)],
    ),
    (
        Row::P2,
        "P2",
        "server CPU a request, kms with audit / without",
        AUDITED,
        OURS,
        CPU,
        [Goal::None, Goal::AtMost(1.15)],
    ),
];

/// Runs rows P1, P2 and P3 together: their servers alternate in the same rounds.
pub fn speed(site: &Site, options: &Options, report: &mut Report) -> Result<(), String> {
    let wanted = |row| options.rows.contains(&row);
    let mut contenders = Vec::new();
    let mut enter =
        |report: &mut Report, name: &str, started: Result<Contender, StartError>| match started {
            Ok(contender) => {
                report
                    .servers
                    .push((contender.name.clone(), contender.about.clone()));
                contenders.push(contender);
            }
            Err(why) => report.notes.push(format!("{name} was not run: {why}")),
        };
    let ready = warm(site, options.data_keys);
    let (requests, answer) = match &ready {
        Ok((contender, answer)) => (Some(Arc::clone(&contender.exchanges)), answer.clone()),
        Err(_) => (None, FixedAnswer::made_up()),
    };
    enter(report, OURS, ready.map(|(contender, _)| contender));
    let fixed = Arc::new(answer.exchanges(requests.as_deref(), options.data_keys));
    enter(report, AUDITED, warm_audited(site, options.data_keys));
    if wanted(Row::P1) {
        for (name, access_log) in [(NGINX, false), (NGINX_LOG, true)] {
            let peer = nginx::start(site, &answer, Arc::clone(&fixed), access_log);
            enter(report, name, peer);
        }
    }
    if wanted(Row::P2) {
        enter(report, BARE, bare::start(site, &answer, fixed));
    }
    if wanted(Row::P3) {
        let prepare = |transit: &Transit<'_>| transit.unwraps(2, options.data_keys);
        enter(report, OPENBAO, openbao::start(site, "openbao", prepare));
    }
    let contenders: Vec<&Contender> = contenders.iter().collect();
    for (place, connections) in CONNECTIONS.into_iter().enumerate() {
        let all = alternate(&contenders, connections, &options.settings)?;
        for (row, id, what, own, peer, figure, goals) in COMPARISONS {
            let goal = goals.get(place).copied().unwrap_or(Goal::None);
            if wanted(row) {
                report.judged.push(compared(
                    (id, what),
                    &all,
                    (own, peer),
                    figure,
                    goal,
                    connections,
                ));
            }
        }
        report.series.extend(all);
    }
    report.judged.sort_by_key(|judged| judged.row);
    Ok(())
}

fn compared(
    (id, what): (&'static str, &str),
    all: &[Series],
    (own, peer): (&str, &str),
    figure: Figure,
    goal: Goal,
    connections: usize,
) -> Judged {
    let find = |name: &str| all.iter().find(|series| series.name == name);
    match (find(own), find(peer)) {
        (Some(own), Some(other)) => {
            let clean = own.is_clean() && other.is_clean();
            Judged::new(
                id,
                what,
                Some(connections),
                own.ratio(other, figure),
                goal,
                clean,
            )
        }
        _ => Judged::not_run(id, what, goal),
    }
}

/// Our server with `count` data keys in its cache, which has a little more room than that.
fn warm(site: &Site, count: usize) -> Result<(Contender, FixedAnswer), StartError> {
    let server = ours::start(site, OURS, count + count / 8)?;
    let exchanges = server.wrap(count)?;
    server.fill(&exchanges)?;
    let body = server.sample(&exchanges)?;
    let answer = FixedAnswer::new(body);
    let answer =
        answer.ok_or_else(|| StartError::Failed("kms: an answer without plaintext".into()))?;
    Ok((server.contender(OURS, Arc::new(exchanges)), answer))
}

/// As [`warm`], with an audit log.
fn warm_audited(site: &Site, count: usize) -> Result<Contender, StartError> {
    let server = ours::start_audited(site, "kms-audit", count + count / 8)?;
    let exchanges = server.wrap(count)?;
    server.fill(&exchanges)?;
    Ok(server.contender(AUDITED, Arc::new(exchanges)))
}

/// Row P8: one server with a small cache and one with a large, both filled.
pub fn memory(site: &Site, options: &Options, report: &mut Report) -> Result<(), String> {
    const BYTES: &str = "resident bytes a key, all of the large cache's cost";
    const GROWTH: &str = "server CPU a request, large cache / 1000 keys";
    let entries = options.memory_entries;
    let filled = |name, entries| {
        let server = ours::start(site, name, entries)?;
        let empty = cpu::resident_bytes(server.server.pid())?;
        let exchanges: Exchanges = server.wrap(entries)?;
        server.fill(&exchanges)?;
        let full = cpu::resident_bytes(server.server.pid())?;
        Ok::<_, StartError>((server.contender(name, Arc::new(exchanges)), empty, full))
    };
    let started = filled("kms-small", SMALL_ENTRIES)
        .and_then(|small| Ok((small, filled("kms-large", entries)?)));
    let ((small, _, small_bytes), (large, large_empty_bytes, large_bytes)) = match started {
        Ok(both) => both,
        Err(why) => {
            report.notes.push(format!("P8 was not run: {why}"));
            report
                .judged
                .push(Judged::not_run("P8", BYTES, Goal::AtMost(160.0)));
            report
                .judged
                .push(Judged::not_run("P8", GROWTH, Goal::AtMost(1.15)));
            return Ok(());
        }
    };
    let all = alternate(&[&small, &large], MEMORY_CONNECTIONS, &options.settings)?;
    let [few, many] = &all[..] else {
        return Err("P8: a series is missing".into());
    };
    let each = large_bytes.saturating_sub(small_bytes) as f64
        / entries.saturating_sub(SMALL_ENTRIES).max(1) as f64;
    let clean = few.is_clean() && many.is_clean();
    report.judged.push(Judged::new(
        "P8",
        BYTES,
        None,
        each,
        Goal::AtMost(160.0),
        clean,
    ));
    let growth = many.ratio(few, CPU);
    report.judged.push(Judged::new(
        "P8",
        GROWTH,
        Some(MEMORY_CONNECTIONS),
        growth,
        Goal::AtMost(1.15),
        clean,
    ));
    report.memory = Some(Memory {
        entries,
        small_bytes,
        large_empty_bytes,
        large_bytes,
    });
    report.series.extend(all);
    Ok(())
}

/// Row P11.
pub fn ttlv(report: &mut Report) -> Result<(), String> {
    let row = crate::ttlv::measure().map_err(|error| format!("row P11: {error}"))?;
    let encode = Judged::new(
        "P11",
        "TTLV batch of 32, encode, kmip-ttlv / kms",
        None,
        row.encode_ratio(),
        Goal::AtLeast(20.0),
        true,
    );
    let decode = Judged::new(
        "P11",
        "TTLV batch of 32, decode, kmip-ttlv / kms",
        None,
        row.decode_ratio(),
        Goal::AtLeast(30.0),
        true,
    );
    report.judged.extend([encode, decode]);
    report.ttlv = Some(row);
    Ok(())
}
