//! The smallest design that keeps the objectives: nodes first, then connections.

use super::frame::Frame;
use super::limits::{self, Check, loads};
use super::memory::{self, Memory};
use super::passing::Passing;
use super::scenario::{Detail, Load, Scenario};
use super::{Design, Plan, PlanError, sensitivity};
use crate::input::{Site, Source, field};
use crate::model::stream;
use crate::trace::{Origin, Quantity, Unit};

/// Nodes tried at most.
const NODES_MAX: u32 = 64;
/// Beyond the first number of nodes whose processors will do, so many more are tried for the rest.
const MORE_NODES: u32 = 3;
/// So many more connections in a row that help nothing are enough.
const IN_VAIN_MAX: u32 = 2;
/// Connections of one node that are tried, those of `kms.hsm.pool.size`.
const CONNECTIONS: [u32; 11] = [2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];
/// Jobs that find all connections busy, at most, while more connections help.
const BUSY_MAX: f64 = 0.1;
/// Room beyond the entries that are held on average.
const SPARE_ENTRIES: f64 = 1.15;
/// Requests of a full cache's run where many plans are made.
const REQUESTS_BRIEF: u64 = 400_000;
/// More than any cache.
const ENDLESS: f64 = 1e12;

pub(super) fn plan(
    source: &Source,
    detail: Detail,
    with_sensitivity: bool,
) -> Result<Plan, PlanError> {
    let site = source.site()?;
    let mut frame = Frame::new(&site)?;
    if !with_sensitivity {
        frame.requests_run = REQUESTS_BRIEF;
    }
    stream::plaintext().map_err(|error| PlanError::Cache(error.to_string()))?;
    let design = choose(&frame)?;
    let mut assessed = Assessed::new(&frame, design, detail)?;
    if assessed.is_full() && !assessed.holds() {
        // Looked for with a formula that the server's cache does not follow to the point: look with the cache itself.
        let told = frame.requests_run;
        (frame.runs_always, frame.requests_run) = (true, REQUESTS_BRIEF.min(told));
        let design = choose(&frame)?;
        (frame.runs_always, frame.requests_run) = (false, told);
        assessed = Assessed::new(&frame, design, detail)?;
    }
    let limits = limits::limits(
        &frame,
        &assessed.design,
        &assessed.scenarios,
        &assessed.memory,
    );
    let sensitivity = if with_sensitivity {
        sensitivity::all(source, &frame, &assessed)
    } else {
        Vec::new()
    };
    let notes = notes(&frame, &assessed);
    let Assessed {
        design,
        scenarios,
        passing,
        memory,
        checks,
    } = assessed;
    Ok(Plan {
        site,
        frame,
        design,
        scenarios,
        passing,
        memory,
        limits,
        checks,
        sensitivity,
        notes,
    })
}

/// A design and all that is said of it.
pub(super) struct Assessed {
    pub(super) design: Design,
    pub(super) scenarios: Vec<Scenario>,
    pub(super) passing: Passing,
    pub(super) memory: Memory,
    pub(super) checks: Vec<Check>,
}

impl Assessed {
    pub(super) fn new(frame: &Frame, design: Design, detail: Detail) -> Result<Self, PlanError> {
        let mut scenarios: Vec<Scenario> = loads(frame, &design, 1.0)
            .into_iter()
            .map(|load| Scenario::new(frame, &design, load, detail))
            .collect();
        let peak = &scenarios[0];
        let memory = Memory::new(frame, &design, &peak.pool_capacity)?;
        let passing = Passing::new(frame, &design, peak, detail);
        let checks = limits::checks(frame, &design, &scenarios, &passing, &memory);
        if detail == Detail::Full {
            let mean = Load {
                scope: "mean",
                about: "an average moment",
                rps: frame.mean.clone(),
                ..scenarios[0].load.clone()
            };
            scenarios.insert(0, Scenario::new(frame, &design, mean, Detail::Objectives));
        }
        Ok(Self {
            design,
            scenarios,
            passing,
            memory,
            checks,
        })
    }

    fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }

    fn is_full(&self) -> bool {
        self.scenarios.iter().any(|one| one.is_full)
    }

    pub(super) fn peak(&self) -> &Scenario {
        let peak = self.scenarios.iter().find(|one| one.load.scope == "peak");
        peak.unwrap_or(&self.scenarios[0])
    }
}

impl Design {
    /// With these numbers, whatever the objectives.
    pub(super) fn fixed(
        site: &Site,
        nodes: Quantity,
        connections: Quantity,
        entries: Quantity,
    ) -> Self {
        Self {
            nodes,
            connections,
            entries,
            cores: site.get(&field::CORES),
            handshake_us: handshake_us(site),
        }
    }
}

/// As told, or by the kind of certificate.
fn handshake_us(site: &Site) -> Quantity {
    let by_kind = match site.word(&field::CERT) {
        "p256" => (217.0, "P-256: measured on a 2-core machine"),
        "rsa3072" => (
            1100.0,
            "RSA-3072: 2.5 times RSA-2048, by the cost of its signature; a calibration has P-256's",
        ),
        _ => (
            450.0,
            "RSA-2048: measured on a 2-core machine; a calibration has P-256's",
        ),
    };
    let assumed = || Quantity::assumed("machine.handshake_us", by_kind.0, Unit::Micros, by_kind.1);
    site.opt(&field::HANDSHAKE_US).unwrap_or_else(assumed)
}

fn choose(frame: &Frame) -> Result<Design, PlanError> {
    let site = &frame.site;
    let least = site.get(&field::NODES_LOST).value() + 1.0;
    let nodes: Vec<f64> = match site.opt(&field::NODES) {
        Some(told) => vec![told.value()],
        None => (1..=NODES_MAX)
            .map(f64::from)
            .filter(|nodes| *nodes >= least)
            .collect(),
    };
    let mut best: Option<(usize, Design)> = None;
    let mut beyond = 0;
    for nodes in nodes {
        let (failed, design) = with_nodes(frame, nodes)?;
        let is_better = best
            .as_ref()
            .is_none_or(|(fewest, _)| failed.len() < *fewest);
        if is_better {
            best = Some((failed.len(), design));
        }
        if failed.is_empty() {
            break;
        }
        // More nodes help processors first; when those are well, some more may help the rest.
        if !failed.iter().any(|check| check.name.starts_with("CPU")) {
            beyond += 1;
        }
        if beyond > MORE_NODES {
            break;
        }
    }
    best.map(|(_, design)| design)
        .ok_or_else(|| PlanError::Cache("no number of nodes was tried".into()))
}

/// The best with that many nodes, and what fails in it.
fn with_nodes(frame: &Frame, nodes: f64) -> Result<(Vec<Check>, Design), PlanError> {
    let site = &frame.site;
    let told = site.opt(&field::CONNECTIONS);
    let nodes_quantity = site.opt(&field::NODES).unwrap_or_else(|| {
        let why = "the fewest with which all objectives are kept, or most of them";
        Quantity::chosen("nodes", nodes, Unit::Count("nodes"), why, &[&frame.peak])
    });
    let candidates = connections_to_try(site, nodes);
    let mut best: Option<(Vec<Check>, Design)> = None;
    let mut in_vain = 0;
    for (at, count) in candidates.iter().enumerate() {
        let connections = told.clone().unwrap_or_else(|| {
            let why = "the fewest with which at most a tenth of the jobs find all busy and all objectives are kept";
            Quantity::chosen("connections", *count, Unit::Count("connections"), why, &[&nodes_quantity])
        });
        let design = sized(frame, nodes_quantity.clone(), connections)?;
        let is_last = at + 1 == candidates.len();
        let scenarios: Vec<Scenario> = loads(frame, &design, 1.0)
            .into_iter()
            .map(|load| Scenario::new(frame, &design, load, Detail::Loads))
            .collect();
        let waits = scenarios
            .iter()
            .any(|one| one.busy.value() > BUSY_MAX || one.pool_load.value() >= 1.0);
        if waits && !is_last {
            continue;
        }
        let failed: Vec<Check> = Assessed::new(frame, design.clone(), Detail::Objectives)?
            .checks
            .into_iter()
            .filter(|check| !check.holds)
            .collect();
        let done = failed.is_empty();
        let helps = best
            .as_ref()
            .is_none_or(|(fewest, _)| failed.len() < fewest.len());
        in_vain = if helps { 0 } else { in_vain + 1 };
        if best
            .as_ref()
            .is_none_or(|(fewest, _)| failed.len() < fewest.len())
        {
            best = Some((failed, design));
        }
        if done || in_vain == IN_VAIN_MAX {
            break;
        }
    }
    best.ok_or_else(|| PlanError::Cache("no number of connections was tried".into()))
}

/// As told, or those that fit, the fewest first.
fn connections_to_try(site: &Site, nodes: f64) -> Vec<f64> {
    if let Some(told) = site.opt(&field::CONNECTIONS) {
        return vec![told.value()];
    }
    let (hsms, lost) = (
        site.get(&field::HSMS).value(),
        site.get(&field::HSM_LOST).value(),
    );
    let engines = site.get(&field::ENGINES).value() * hsms / nodes;
    let allowed = site
        .opt(&field::HSM_CONNS_MAX)
        .map_or(f64::INFINITY, |max| max.value() * (hsms - lost) / nodes);
    // Beyond the engines a connection only waits in the HSM: one step further is enough.
    let most = allowed.max(1.0).min((2.0 * engines).max(2.0));
    let fit = CONNECTIONS.map(f64::from).into_iter();
    let mut candidates: Vec<f64> = fit.filter(|count| *count <= most).collect();
    if candidates.is_empty() {
        candidates.push(1.0);
    }
    candidates
}

/// With as many entries as are needed, or as there may be.
fn sized(frame: &Frame, nodes: Quantity, connections: Quantity) -> Result<Design, PlanError> {
    let site = &frame.site;
    let endless = Quantity::given("entries", ENDLESS, Unit::Count("entries"), "a trial");
    let trial = Design::fixed(site, nodes, connections, endless);
    if let Some(told) = site.opt(&field::ENTRIES_MAX) {
        return Ok(Design {
            entries: told,
            ..trial
        });
    }
    let scenarios: Vec<Scenario> = loads(frame, &trial, 1.0)
        .into_iter()
        .map(|load| Scenario::new(frame, &trial, load, Detail::Loads))
        .collect();
    let held = scenarios
        .iter()
        .map(|one| &one.held)
        .max_by(|a, b| a.value().total_cmp(&b.value()));
    let passing = Passing::new(frame, &trial, &scenarios[0], Detail::Loads);
    let storm = passing.storm.as_ref().map(|storm| storm.held.clone());
    let stormy = storm.as_ref().map_or(0.0, Quantity::value);
    let wanted = SPARE_ENTRIES * (held.map_or(1.0, Quantity::value) + stormy);
    let mut inputs: Vec<&Quantity> = held.into_iter().collect();
    inputs.extend(&storm);
    let rounded = round_up(wanted.clamp(1000.0, 1e8));
    let mut entries = (rounded, "what is held in the worst case, and 15 %");
    if let Some(limit) = site.opt(&field::MLOCK_MB) {
        let most = memory::entries_within(
            frame,
            &trial,
            &scenarios[0].pool_capacity,
            limit.value() * 1e6,
        )?;
        if most < rounded {
            entries = (
                most,
                "what policy.mlock_mb has room for; more would be held",
            );
        }
    }
    let entries = Quantity::chosen(
        "entries",
        entries.0,
        Unit::Count("entries"),
        entries.1,
        &inputs,
    );
    Ok(Design { entries, ..trial })
}

/// To two digits that count.
fn round_up(value: f64) -> f64 {
    let unit = 10_f64.powf(value.log10().floor() - 1.0);
    (value / unit).ceil() * unit
}

/// What people should mind.
fn notes(frame: &Frame, assessed: &Assessed) -> Vec<String> {
    let (site, peak) = (&frame.site, assessed.peak());
    let mut notes = Vec::new();
    if assessed.is_full() {
        notes.push(
            "The cache is full: the working set exceeds policy.entries_max or what policy.mlock_mb has room for, and \
             keys in use are pushed out. Hit ratios are those of the server's own cache code, run on such a stream."
                .into(),
        );
    }
    let behind_balancer = assessed.design.nodes.value() > 1.5;
    if behind_balancer {
        notes.push(
            "Behind a load balancer set kms.server.proxy-protocol = v2, or all clients share one address and its \
             limits (kms.limit.inflight, kms.limit.connections, a share of the cache)."
                .into(),
        );
    }
    if site.get(&field::STALL_S).value() > site.get(&field::TIMEOUT_MS).value() / 1000.0 {
        notes.push(
            "The HSM's pauses are longer than policy.timeout_ms: whoever misses meanwhile is answered 504. \
             kms.cache.stale.max.s serves known keys through an outage, if the site allows that."
                .into(),
        );
    }
    if peak.pool_load.value() > 0.7 {
        notes.push(
            "Connections are so busy at the peak that fetches ahead are given up: more requests wait for the HSM \
             than the formula has it."
                .into(),
        );
    }
    if matches!(site.get(&field::HIT_US).origin(), Origin::Assumed(_)) {
        notes
            .push("CPU times are of another machine: kms-tune calibrate measures this one.".into());
    }
    notes
}
