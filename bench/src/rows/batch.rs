//! Row P12: a warm batch in one request.

use std::sync::Arc;

use kms_loadgen::transit::Transit;

use super::{AUDITED, CONNECTIONS, OPENBAO, OURS, Options, WORK_PER_CPU};
use crate::peers::{Site, openbao, ours};
use crate::rounds::{Figure, Sample, Series, alternate};
use crate::server::StartError;
use crate::table::{Goal, Judged, Report};

/// Data keys of one request.
const ITEMS: usize = 100;
/// Microseconds of server CPU an item.
const ITEM_GOAL: Goal = Goal::AtMost(1.5);
/// How much more of it OpenBao takes.
const PEER_GOAL: Goal = Goal::AtLeast(15.0);
const ITEM_US: &str = "server CPU us an item, batch of 100";
const PER_CPU: &str = "batches of 100 a server CPU second, kms / OpenBao";
const ITEM_CPU: Figure = |sample: &Sample| sample.server_cpu_us / ITEMS as f64;

/// The servers, each with batches of its own making.
pub fn run(site: &Site, options: &Options, report: &mut Report) -> Result<(), String> {
    let [kms, audited, bao] =
        [OURS, AUDITED, OPENBAO].map(|name| format!("{name}, batches of {ITEMS}"));
    let count = options.data_keys.max(ITEMS);
    let entries = count + count / 8;
    let warm = |started: Result<ours::Ours, StartError>, name: &str| {
        let server = started?;
        let exchanges = server.prepare(|transit| transit.batches(1, count, ITEMS))?;
        server.fill(&exchanges)?;
        Ok::<_, StartError>(server.contender(name, Arc::new(exchanges)))
    };
    let peer = || {
        let prepare = |transit: &Transit<'_>| transit.batches(2, count, ITEMS);
        let mut peer = openbao::start(site, "openbao-batches", prepare)?;
        peer.name.clone_from(&bao);
        Ok::<_, StartError>(peer)
    };
    let started = [
        (&kms, warm(ours::start(site, "kms-batches", entries), &kms)),
        (
            &audited,
            warm(
                ours::start_audited(site, "kms-batches-audit", entries),
                &audited,
            ),
        ),
        (&bao, peer()),
    ];
    let mut contenders = Vec::new();
    for (name, started) in started {
        match started {
            Ok(contender) => {
                report.peer("P12", &contender.name, &contender.about);
                contenders.push(contender);
            }
            Err(why) => report.note("P12", format!("{name} was not run: {why}")),
        }
    }
    let contenders: Vec<_> = contenders.iter().collect();
    for connections in CONNECTIONS {
        let all = alternate(&contenders, connections, &options.settings)?;
        let find = |name: &str| all.iter().find(|series| series.name == name);
        for (own, audit) in [(&audited, "audit on"), (&kms, "audit off")] {
            let lines = judged(find(own), find(&bao), audit, connections);
            report.judged.extend(lines);
        }
        report.list("P12", all);
    }
    Ok(())
}

/// An item's own cost wants no peer; the ratio wants both. The targets are meant with audit on.
fn judged(
    own: Option<&Series>,
    peer: Option<&Series>,
    audit: &str,
    connections: usize,
) -> [Judged; 2] {
    let at = Some(connections);
    let (item_us, per_cpu) = (format!("{ITEM_US}, {audit}"), format!("{PER_CPU}, {audit}"));
    let item = match own {
        Some(own) => Judged::new(
            "P12",
            &item_us,
            at,
            own.median(ITEM_CPU),
            ITEM_GOAL,
            own.is_clean(),
        ),
        None => Judged::not_run("P12", &item_us, ITEM_GOAL),
    };
    let ratio = match (own, peer) {
        (Some(own), Some(peer)) => Judged::new(
            "P12",
            &per_cpu,
            at,
            own.ratio(peer, WORK_PER_CPU),
            PEER_GOAL,
            own.is_clean() && peer.is_clean(),
        ),
        _ => Judged::not_run("P12", &per_cpu, PEER_GOAL),
    };
    [item, ratio]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::table::Verdict;

    fn series(batch_cpu_us: f64, clean: bool) -> Series {
        let sample = Sample {
            requests_per_s: 1.0,
            p50_us: 1.0,
            p99_us: 1.0,
            server_cpu_us: batch_cpu_us,
            client_cpu_us: 1.0,
            client_busy: 0.5,
            clean,
        };
        Series {
            name: "x".into(),
            connections: 1,
            samples: vec![sample],
        }
    }

    #[test]
    fn an_item_is_a_hundredth_and_the_peer_may_be_missing() {
        use Verdict::{Invalid, Miss, NotRun, Pass};
        for (name, own, peer, want) in [
            (
                "both good",
                Some((150.0, true)),
                Some((2250.0, true)),
                [Pass, Pass],
            ),
            (
                "item too dear",
                Some((151.0, true)),
                Some((2500.0, true)),
                [Miss, Pass],
            ),
            (
                "peer too near",
                Some((150.0, true)),
                Some((2249.0, true)),
                [Pass, Miss],
            ),
            ("no peer", Some((150.0, true)), None, [Pass, NotRun]),
            ("not ours", None, Some((2500.0, true)), [NotRun, NotRun]),
            (
                "ours wrong",
                Some((150.0, false)),
                Some((2250.0, true)),
                [Invalid, Invalid],
            ),
            (
                "peer wrong",
                Some((150.0, true)),
                Some((2250.0, false)),
                [Pass, Invalid],
            ),
        ] {
            let [own, peer] = [own, peer].map(|one| one.map(|(cpu, clean)| series(cpu, clean)));
            let got =
                judged(own.as_ref(), peer.as_ref(), "audit on", 1).map(|judged| judged.verdict);
            assert_eq!(got, want, "{name}");
        }
        let item = judged(Some(&series(150.0, true)), None, "audit on", 1)[0]
            .value
            .unwrap();
        assert!((item - 1.5).abs() < 1e-9);
    }
}
