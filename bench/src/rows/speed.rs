//! Rows P1 to P4: warm unwraps, one at a time on each keep-alive connection, against whoever else could serve
//! them. Their servers alternate in the same rounds.

use std::sync::Arc;

use kms_loadgen::transit::Transit;

use super::{
    AUDITED, CONNECTIONS, CPU, NGINX, OPENBAO, OURS, Options, P50, RATE, Row, WORK_PER_CPU,
    compared,
};
use crate::peers::{Contender, FixedAnswer, Site, bare, nginx, openbao, ours, tomcat};
use crate::rounds::{Figure, alternate};
use crate::server::StartError;
use crate::table::{Goal, Report};

/// They share their rounds.
pub const ROWS: &str = "P1-P4";
const NGINX_LOG: &str = "nginx, access log";
const BARE: &str = "bare echo";
const TOMCAT: &str = "Tomcat";

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

const COMPARISONS: [Comparison; 11] = [
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
        Row::P4,
        "P4",
        "requests a server CPU second, kms / Tomcat",
        OURS,
        TOMCAT,
        WORK_PER_CPU,
        [Goal::AtLeast(6.0), Goal::AtLeast(6.0)],
    ),
    (
        Row::P4,
        "P4",
        "p50, kms / Tomcat",
        OURS,
        TOMCAT,
        P50,
        [Goal::None, Goal::None],
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

/// Runs rows P1 to P4 together: their servers alternate in the same rounds.
pub fn run(site: &Site, options: &Options, report: &mut Report) -> Result<(), String> {
    let wanted = |row| options.rows.contains(&row);
    let mut contenders = Vec::new();
    let mut enter =
        |report: &mut Report, name: &str, started: Result<Contender, StartError>| match started {
            Ok(contender) => {
                report.peer(ROWS, &contender.name, &contender.about);
                contenders.push(contender);
            }
            Err(why) => report.note(ROWS, format!("{name} was not run: {why}")),
        };
    let ready = warm(site, options.data_keys);
    let (requests, answer) = match &ready {
        Ok((contender, answer)) => (Some(Arc::clone(&contender.exchanges)), answer.clone()),
        Err(_) => (None, FixedAnswer::made_up()),
    };
    enter(report, OURS, ready.map(|(contender, _)| contender));
    let fixed = Arc::new(answer.exchanges(requests.as_deref(), options.data_keys));
    if wanted(Row::P1) || wanted(Row::P2) {
        enter(report, AUDITED, warm_audited(site, options.data_keys));
    }
    if wanted(Row::P1) {
        for (name, access_log) in [(NGINX, false), (NGINX_LOG, true)] {
            let peer = nginx::start(site, &answer, Arc::clone(&fixed), access_log);
            enter(report, name, peer);
        }
    }
    if wanted(Row::P2) {
        let peer = bare::start(site, &answer, Arc::clone(&fixed));
        enter(report, BARE, peer);
    }
    if wanted(Row::P3) {
        let prepare = |transit: &Transit<'_>| transit.unwraps(2, options.data_keys);
        enter(report, OPENBAO, openbao::start(site, "openbao", prepare));
    }
    if wanted(Row::P4) {
        // The very requests and answers of our server, or made-up ones when it is not there.
        let asked = requests.unwrap_or(fixed);
        let peer = tomcat::start(site, asked, options.jit_warm_up);
        enter(report, TOMCAT, peer);
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
        report.list(ROWS, all);
    }
    Ok(())
}

/// Our server with `count` data keys in its cache, which has a little more room than that.
pub(super) fn warm(site: &Site, count: usize) -> Result<(Contender, FixedAnswer), StartError> {
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
