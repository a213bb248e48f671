//! Row VAULT: the same decrypt straight at OpenBao, and through us in front of it, cold and warm.

use std::ops::Range;

use kms_loadgen::stream::Uniform;
use kms_loadgen::transit::Transit;
use kms_loadgen::{Driver, Exchanges, Plan, Until};

use super::{CONNECTIONS, Options, P50, RATE};
use crate::peers::{Contender, Site, openbao, ours};
use crate::rounds::{Figure, Sample, Series, sample};
use crate::server::StartError;
use crate::table::{Goal, Judged, Report};

const STRAIGHT: &str = "OpenBao straight";
const COLD: &str = "kms before OpenBao, cold";
const WARM: &str = "kms before OpenBao, warm";
/// Microseconds of an unwrap at OpenBao, roughly: how many are asked for in a run.
const UNWRAP_US: u128 = 500;

/// What is told of it. There is no target.
const RATIOS: [(&str, &str, Figure); 4] = [
    ("requests/s, through kms cold / straight", COLD, RATE),
    ("p50, through kms cold / straight", COLD, P50),
    ("requests/s, through kms warm / straight", WARM, RATE),
    ("p50, through kms warm / straight", WARM, P50),
];

/// One OpenBao, and one server of ours in front of it, with the same ciphertexts.
pub fn run(site: &Site, options: &Options, report: &mut Report) -> Result<(), String> {
    let settings = &options.settings;
    let asked = usize::try_from(settings.duration.as_micros() / UNWRAP_US).unwrap_or(usize::MAX);
    let count = asked * settings.rounds * CONNECTIONS.len();
    let started = start(site, count).map_err(|why| format!("not run: {why}"));
    let (bao, kms) = match started {
        Ok(both) => both,
        Err(why) => {
            report.note("VAULT", why);
            let lines = RATIOS.map(|(what, ..)| Judged::not_run("VAULT", what, Goal::None));
            report.judged.extend(lines);
            return Ok(());
        }
    };
    let about = format!("kms, one worker, in front of {}", bao.about);
    report.note("VAULT", about);
    let mut fresh = (0..count).step_by(asked.max(1)).map(|at| at..at + asked);
    for connections in CONNECTIONS {
        let all = measure(&bao, &kms, connections, settings.rounds, &mut fresh)?;
        report.judged.extend(judged(&all, connections));
        report.list("VAULT", all);
    }
    Ok(())
}

fn start(site: &Site, count: usize) -> Result<(Contender, ours::Ours), StartError> {
    let prepare = |transit: &Transit<'_>| transit.unwraps(3, count);
    let bao = openbao::start(site, "openbao-behind", prepare)?;
    let kms = ours::in_front_of(site, "kms-vault", count + count / 8, bao.target.address)?;
    Ok((bao, kms))
}

/// In each round the keys of a range that `fresh` has not given before: straight, through us for the first
/// time, and through us again.
fn measure(
    bao: &Contender,
    kms: &ours::Ours,
    connections: usize,
    rounds: usize,
    fresh: &mut dyn Iterator<Item = Range<usize>>,
) -> Result<[Series; 3], String> {
    let named = |name: &str| Series {
        name: name.into(),
        connections,
        samples: Vec::new(),
    };
    let mut all = [STRAIGHT, COLD, WARM].map(named);
    let failed = |why: &dyn std::fmt::Display| format!("VAULT: {why}");
    let connect = |target| Driver::connect(target, connections).map_err(|why| failed(&why));
    let (mut straight, mut through) = (connect(&bao.target)?, connect(&kms.target)?);
    let servers = [bao.server.pid(), kms.server.pid()];
    for round in 0..rounds {
        let range = fresh.next().ok_or("VAULT: no fresh keys are left")?;
        for (way, series) in all.iter_mut().enumerate() {
            let driver = if way == 0 {
                &mut straight
            } else {
                &mut through
            };
            let again = (way == 2).then_some(round);
            let took = ask(driver, &bao.exchanges, &range, again, &servers);
            series.samples.push(took.map_err(|why| failed(&why))?);
        }
    }
    Ok(all)
}

/// Each key of `range` once in turn; or as many at random, where they were asked for before.
fn ask(
    driver: &mut Driver,
    exchanges: &Exchanges,
    range: &Range<usize>,
    random: Option<usize>,
    servers: &[u32],
) -> Result<Sample, Box<dyn std::error::Error>> {
    let plan = |count: usize| Plan {
        depth: 1,
        until: Until::Requests(count as u64),
    };
    let Some(seed) = random else {
        let mut order = range.clone();
        return sample(driver, exchanges, &mut order, plan(range.len()), servers);
    };
    let known = Uniform::new(seed as u64, range.len()).ok_or("no keys")?;
    let mut order = known.map(|at| range.start + at);
    // These are quick: more of them, for the clock's sake.
    sample(
        driver,
        exchanges,
        &mut order,
        plan(10 * range.len()),
        servers,
    )
}

fn judged(all: &[Series; 3], connections: usize) -> Vec<Judged> {
    let [straight, through @ ..] = all;
    let line = |&(what, name, figure): &(&str, &str, Figure)| {
        let series = through.iter().find(|series| series.name == name)?;
        let clean = series.is_clean() && straight.is_clean();
        let value = series.ratio(straight, figure);
        Some(Judged::new(
            "VAULT",
            what,
            Some(connections),
            value,
            Goal::None,
            clean,
        ))
    };
    RATIOS.iter().filter_map(line).collect()
}
