//! Rows P5 and P6: what the pool makes of an HSM's latency, for many and for one alone.

use std::path::{Path, PathBuf};
use std::process::Command;

use kms_loadgen::sim::site::Ports;
use kms_loadgen::sim::{Model, Preset};
use kms_loadgen::transit::Transit;
use kms_loadgen::{Driver, Plan, Target, Until};

use super::Options;
use crate::credentials::SERVER_NAME;
use crate::hsm::{Simulated, simulate};
use crate::peers::{KEY, Site, ours};
use crate::place::on_server_core;
use crate::rounds::median;
use crate::server::{Server, StartError, free_address};
use crate::table::{Goal, Judged, Report};

/// Connections to the HSM in row P5.
const CONNECTIONS: usize = 4;
/// Items of a message at most.
const BATCH_MAX: usize = 32;
/// Unwraps that wait at any time in row P5.
const OUTSTANDING: usize = 512;
/// Wrapped data keys; a pool has no cache, so they may come again.
const DATA_KEYS: usize = 256;
/// Microseconds of a miss in row P6, roughly: how many are asked for in a run.
const MISS_US: u128 = 1500;

const OF_FORMULA: &str = "unwraps/s of the pool / c*B/(a+b*B)";
const OF_UNBATCHED: &str = "unwraps/s, batches of 32 / one by one";
const ADDED: &str = "p50 of a lone miss, kms less a direct KMIP client, ms";

/// `lan-hsm` with nothing but its latency: the formula knows neither ceiling nor jitter.
fn latency_only() -> Model {
    Model {
        sigma: 0.0,
        ceiling_ops_s: None,
        stalls: None,
        engines: 1024,
        ..Preset::LanHsm.model()
    }
}

/// Row P5.
pub fn pool(site: &Site, options: &Options, report: &mut Report) -> Result<(), String> {
    let goals = [
        (OF_FORMULA, Goal::AtLeast(0.9)),
        (OF_UNBATCHED, Goal::AtLeast(10.0)),
    ];
    match measure_pool(site, options, report) {
        Ok(values) => {
            for ((what, goal), value) in goals.into_iter().zip(values) {
                let judged = Judged::new("P5", what, Some(CONNECTIONS), value, goal, true);
                report.judged.push(judged);
            }
        }
        Err(why) => {
            report.note("P5", format!("not run: {why}"));
            for (what, goal) in goals {
                report.judged.push(Judged::not_run("P5", what, goal));
            }
        }
    }
    Ok(())
}

fn measure_pool(
    site: &Site,
    options: &Options,
    report: &mut Report,
) -> Result<[f64; 2], StartError> {
    let model = latency_only();
    let items = BATCH_MAX as f64;
    let formula = CONNECTIONS as f64 * items / (model.message_ms + model.item_ms * items) * 1000.0;
    let about = format!(
        "{} ms a message, {} ms an item, neither jitter nor ceiling, on the client's core; {CONNECTIONS} connections, \
         {OUTSTANDING} unwraps waiting",
        model.message_ms, model.item_ms
    );
    let hsm = start(site, "hsm-p5", model)?;
    let pool_of = |batch_max| {
        on_server_core(|| hsm.unwrapper(CONNECTIONS, batch_max, DATA_KEYS))
            .map_err(StartError::from)?
    };
    let (batched, single) = (pool_of(BATCH_MAX)?, pool_of(1)?);
    let (mut of_formula, mut of_unbatched, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.settings.rounds {
        let rate = |unwrapper: &crate::hsm::Unwrapper| {
            unwrapper.run(OUTSTANDING, options.settings.warm_up)?;
            let turnover = unwrapper.run(OUTSTANDING, options.settings.duration)?;
            Ok::<_, StartError>(turnover.items_per_s)
        };
        let (many, one) = (rate(&batched)?, rate(&single)?);
        of_formula.push(many / formula);
        of_unbatched.push(many / one);
        rates.push(many);
    }
    report.peer("P5", "simulated HSM", &about);
    let rate = median(rates);
    report.note(
        "P5",
        format!("{rate:.0} unwraps/s of {formula:.0} that the formula allows"),
    );
    Ok([median(of_formula), median(of_unbatched)])
}

/// Row P6.
pub fn lone(site: &Site, options: &Options, report: &mut Report) -> Result<(), String> {
    let goal = Goal::AtMost(0.3);
    match measure_lone(site, options, report) {
        Ok((added_ms, clean)) => {
            let judged = Judged::new("P6", ADDED, Some(1), added_ms, goal, clean);
            report.judged.push(judged);
        }
        Err(why) => {
            report.note("P6", format!("not run: {why}"));
            report.judged.push(Judged::not_run("P6", ADDED, goal));
        }
    }
    Ok(())
}

fn measure_lone(
    site: &Site,
    options: &Options,
    report: &mut Report,
) -> Result<(f64, bool), StartError> {
    let model = Model {
        item_ms: 0.0,
        ..latency_only()
    };
    let hsm = start(site, "hsm-p6", model)?;
    let direct = on_server_core(|| hsm.unwrapper(1, 1, DATA_KEYS)).map_err(StartError::from)??;
    let (_server, target) = server(&hsm)?;
    let failed = |error: &dyn std::fmt::Display| StartError::Failed(format!("P6: {error}"));
    let transit = Transit {
        target: &target,
        key: KEY,
        token: None,
    };
    transit.create_key().map_err(|error| failed(&error))?;
    let settings = &options.settings;
    let count = usize::try_from(settings.duration.as_micros() / MISS_US)
        .unwrap_or(1)
        .max(1);
    let exchanges = transit.unwraps(1, count * settings.rounds);
    let exchanges = exchanges.map_err(|error| failed(&error))?;
    let mut driver = Driver::connect(&target, 1).map_err(|error| failed(&error))?;
    // Each is asked for once: the cache has none of them.
    let mut order = 0..exchanges.len();
    let plan = Plan {
        depth: 1,
        until: Until::Requests(count as u64),
    };
    let (mut added, mut ours, mut theirs, mut clean) = (Vec::new(), Vec::new(), Vec::new(), true);
    for _ in 0..settings.rounds {
        let straight = direct.run(1, settings.duration)?.p50_us / 1e3;
        let outcome = driver.run(&exchanges, &mut order, plan);
        let outcome = outcome.map_err(|error| failed(&error))?;
        let through = outcome.quantile_us(0.5) / 1e3;
        clean &= outcome.is_clean();
        added.push(through - straight);
        ours.push(through);
        theirs.push(straight);
    }
    report.note("P6", format!(
        "p50 of a lone miss {:.3} ms through kms, {:.3} ms by a KMIP client without a server, HSM {} ms",
        median(ours),
        median(theirs),
        latency_only().message_ms
    ));
    Ok((median(added), clean))
}

fn start(site: &Site, name: &str, model: Model) -> Result<Simulated, StartError> {
    let [service, health] = [free_address()?, free_address()?];
    let ports = Ports {
        service: service.port(),
        health: health.port(),
    };
    simulate(&site.folder.path().join(name), model, ports)
}

/// `kms serve` in front of `hsm`, and what its back end's certificate reaches there.
fn server(hsm: &Simulated) -> Result<(Server, Target), StartError> {
    let folder: PathBuf = hsm.site.file("");
    let mut command = Command::new(ours::program()?);
    command
        .arg("serve")
        .arg("--config")
        .arg(hsm.site.file("kms.properties"));
    let server = Server::start("kms-p6", command, service_of(&folder)?, &folder)?;
    let file = |name: &str| hsm.site.file(name);
    let [ca, cert, key] = ["ca.crt", "cmxBackend.crt", "cmxBackend.key"].map(file);
    let target = Target::from_pem(server.address, SERVER_NAME, &ca, &cert, &key);
    let target = target.map_err(|error| StartError::Failed(format!("P6: {error}")))?;
    Ok((server, target))
}

/// Where the site's configuration has its server listen.
fn service_of(folder: &Path) -> Result<std::net::SocketAddr, StartError> {
    let text = std::fs::read_to_string(folder.join("kms.properties"))?;
    let port = text
        .lines()
        .find_map(|line| line.strip_prefix("kms.server.port=")?.parse::<u16>().ok());
    port.map(|port| ([127, 0, 0, 1], port).into())
        .ok_or_else(|| StartError::Failed("P6: the site's configuration names no port".into()))
}
