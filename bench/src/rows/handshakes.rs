//! Row P7: full mutual handshakes, RSA-2048 and P-256, against nginx; and what a storm of them does to warm unwraps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kms::cli::pki::KeyKind;
use kms_loadgen::report::micros_each;
use kms_loadgen::stream::Uniform;
use kms_loadgen::{Exchanges, Target, cpu};
use rustls::NamedGroup;

use super::{NGINX, OURS, Options, RATE, WORK_PER_CPU, compared, speed, storm};
use crate::handshakes::{self, Handshakes};
use crate::peers::{Contender, FixedAnswer, Site, nginx};
use crate::progress::say;
use crate::rounds::{Sample, Series, Settings, in_turn, quantile_of};
use crate::server::StartError;
use crate::table::{Goal, Judged, Report};

/// Connections under way at any time.
pub(super) const AT_ONCE: usize = 16;
/// Data keys that the connections ask for, one each.
const DATA_KEYS: usize = 1000;
/// Handshakes of a server CPU second against nginx.
const GOAL: Goal = Goal::AtLeast(1.0);
const GROUP: NamedGroup = NamedGroup::X25519;
/// What kms and its clients prefer; nginx's OpenSSL does not have it.
const HYBRID: NamedGroup = NamedGroup::X25519MLKEM768;

/// Whose handshakes, over which group.
struct Entrant<'a> {
    target: Target,
    exchanges: Arc<Exchanges>,
    server: &'a Contender,
    series: Series,
}

/// For each kind of certificate: the servers in turn, then the storm.
pub fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    for (keys, kind) in [(KeyKind::Rsa2048, "RSA-2048"), (KeyKind::P256, "P-256")] {
        let site = Site::new(keys).map_err(|why| why.to_string())?;
        compare(&site, kind, options, report)?;
        storm::run(&site, kind, options, report);
    }
    Ok(())
}

fn compare(site: &Site, kind: &str, options: &Options, report: &mut Report) -> Result<(), String> {
    let ours = speed::warm(site, DATA_KEYS);
    let answer = ours.as_ref().ok().map(|(_, answer)| answer.clone());
    let answer = answer.unwrap_or_else(FixedAnswer::made_up);
    let fixed = Arc::new(answer.exchanges(None, DATA_KEYS));
    let peer = nginx::start(site, &answer, fixed, false);
    let mut servers = Vec::new();
    for (name, started) in [(OURS, ours.map(|(kms, _)| kms)), (NGINX, peer)] {
        match started {
            Ok(server) => servers.push(server),
            Err(why) => report.note("P7", format!("{name}, {kind}, was not run: {why}")),
        }
    }
    let mut entrants = Vec::new();
    for server in &servers {
        report.peer("P7", &format!("{}, {kind}", server.name), &server.about);
        entrants.push(enter(
            site,
            server,
            GROUP,
            format!("{}, {kind}", server.name),
        )?);
        if server.name == OURS {
            entrants.push(enter(
                site,
                server,
                HYBRID,
                format!("{OURS}, {kind}, hybrid"),
            )?);
        }
    }
    for round in 0..options.settings.rounds {
        say(&format!("P7: {kind}, round {}", round + 1));
        in_turn(round, &mut entrants, |entrant| {
            entrant.run(round as u64, &options.settings)
        })?;
    }
    let all: Vec<Series> = entrants.into_iter().map(|entrant| entrant.series).collect();
    report.judged.extend(judged(kind, &all));
    let each = all.iter().filter(|series| series.is_clean()).map(|series| {
        let each_us = series.median(|sample| sample.server_cpu_us);
        format!("{} {:.0}", series.name, 1e6 / each_us)
    });
    let each = each.collect::<Vec<_>>().join("; ");
    report.note("P7", format!("full handshakes a second per core: {each}"));
    report.list("P7", all);
    Ok(())
}

fn enter<'a>(
    site: &Site,
    server: &'a Contender,
    group: NamedGroup,
    name: String,
) -> Result<Entrant<'a>, String> {
    Ok(Entrant {
        target: offering(site, &server.target, group).map_err(|why| why.to_string())?,
        exchanges: Arc::clone(&server.exchanges),
        server,
        series: Series {
            name,
            connections: AT_ONCE,
            samples: Vec::new(),
        },
    })
}

/// `target` for a client that offers this group alone.
pub(super) fn offering(
    site: &Site,
    target: &Target,
    group: NamedGroup,
) -> Result<Target, StartError> {
    Ok(Target {
        tls: site
            .credentials
            .client_config(group)
            .map_err(|why| StartError::Failed(why.to_string()))?,
        ..target.clone()
    })
}

impl Entrant<'_> {
    fn run(&mut self, round: u64, settings: &Settings) -> Result<(), String> {
        self.make(round, settings.warm_up)?;
        let pid = self.server.server.pid();
        let failed = |why: std::io::Error| format!("{}: {why}", self.series.name);
        let before = cpu::process_tree(pid).map_err(failed)?;
        let made = self.make(round, settings.duration)?;
        let used = cpu::process_tree(pid)
            .map_err(failed)?
            .saturating_sub(before);
        self.series.samples.push(sample(&made, used));
        Ok(())
    }

    fn make(&self, seed: u64, time: Duration) -> Result<Handshakes, String> {
        let name = &self.series.name;
        let mut order = Uniform::new(seed, self.exchanges.len())
            .ok_or_else(|| format!("{name}: no data keys"))?;
        let start = Instant::now();
        let until = |_: &Handshakes| start.elapsed() >= time;
        handshakes::run(&self.target, &self.exchanges, &mut order, AT_ONCE, until)
            .map_err(|why| format!("{name}: {why}"))
    }
}

fn sample(made: &Handshakes, server_cpu: Duration) -> Sample {
    let took = |quantile| quantile_of(made.took_us.clone(), quantile);
    let elapsed_s = made.elapsed.as_secs_f64();
    Sample {
        requests_per_s: made.right as f64 / elapsed_s,
        p50_us: took(0.5),
        p99_us: took(0.99),
        server_cpu_us: micros_each(server_cpu, made.right),
        client_cpu_us: micros_each(made.client_cpu, made.right),
        client_busy: made.client_cpu.as_secs_f64() / elapsed_s,
        clean: made.is_clean(),
    }
}

fn judged(kind: &str, all: &[Series]) -> [Judged; 3] {
    let (ours, nginx) = (format!("{OURS}, {kind}"), format!("{NGINX}, {kind}"));
    let hybrid = format!("{ours}, hybrid");
    let line = |what: String, own: &str, figure, goal| {
        compared(("P7", &what), all, (own, &nginx), figure, goal, AT_ONCE)
    };
    [
        line(
            format!("full handshakes a server CPU second, kms / nginx, {kind}, X25519"),
            &ours,
            WORK_PER_CPU,
            GOAL,
        ),
        line(
            format!("full handshakes/s, kms / nginx, {kind}, X25519"),
            &ours,
            RATE,
            Goal::None,
        ),
        line(
            format!(
                "full handshakes a server CPU second, kms with X25519MLKEM768 / nginx with X25519, {kind}"
            ),
            &hybrid,
            WORK_PER_CPU,
            Goal::None,
        ),
    ]
}
