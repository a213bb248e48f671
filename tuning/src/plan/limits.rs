//! What binds: how far each limit is away, and whether each objective is kept.

use super::frame::Frame;
use super::scenario::{Detail, Load, Scenario};
use super::{Design, Memory, Passing};
use crate::input::field::{self, Field};
use crate::trace::{Error, Formula, Held, Quantity, Unit};

static HEADROOM: Formula = Formula {
    text: "how much more load until the worst of the peak, the peak with nodes_lost nodes gone and with hsm_lost HSMs gone reaches the limit",
    source: "the plan itself at more load",
    error: Error::Relative(0.05),
    domain: "the same mix of requests",
    held: Held::Test("plan"),
};
static WORST: Formula =
    Formula::arithmetic("the largest of the peak, the peak with nodes and with HSMs away");
static REFUSALS: Formula =
    Formula::arithmetic("refused + misses beyond the deadline + failed in pauses, of all unwraps");
static ALL_CONNECTIONS: Formula = Formula::arithmetic("connections x nodes");
static THEIR_LIMIT: Formula = Formula::arithmetic("max_conns x (hsms - hsm_lost)");
static MEGABYTES: Formula = Formula::arithmetic("bytes / 1e6");

/// Steps of load that the headroom is looked for in: a sixth of a doubling.
const STEP: f64 = 1.122_462_048;
const STEPS: usize = 40;

/// One thing that may run out.
#[derive(Clone, Debug)]
pub struct Limit {
    /// For people.
    pub name: &'static str,
    /// How much of it the worst scenario uses.
    pub used: Quantity,
    /// How much of it may be used.
    pub allowed: f64,
    /// Percent more load until that is reached.
    pub headroom: Quantity,
}

/// One objective.
#[derive(Clone, Debug)]
pub struct Check {
    /// For people.
    pub name: String,
    /// What is planned.
    pub value: Quantity,
    /// What it must not exceed.
    pub limit: Quantity,
    /// Whether it does not.
    pub holds: bool,
}

/// The loads that a design must bear, at the peak times `factor`.
pub(super) fn loads(frame: &Frame, design: &Design, factor: f64) -> Vec<Load> {
    static MORE: Formula = Formula::arithmetic("the peak's x the factor");
    let site = &frame.site;
    let more = |quantity: &Quantity| {
        if (factor - 1.0).abs() < 1e-12 {
            return quantity.clone();
        }
        Quantity::derive(
            quantity.name(),
            quantity.unit(),
            &MORE,
            [quantity],
            move |[value]| value * factor,
        )
    };
    let (hsms, hsm_lost) = (site.get(&field::HSMS), site.get(&field::HSM_LOST));
    let nodes_lost = site.get(&field::NODES_LOST);
    let left = |name: &str, all: &Quantity, lost: &Quantity| {
        static LEFT: Formula = Formula::arithmetic("all - lost");
        Quantity::derive(name, all.unit(), &LEFT, [all, lost], |[all, lost]| {
            (all - lost).max(1.0)
        })
    };
    let peak = Load {
        scope: "peak",
        about: "the peak",
        rps: more(&frame.peak),
        wraps: more(&frame.wraps),
        nodes: design.nodes.clone(),
        hsms: hsms.clone(),
    };
    let mut loads = vec![peak.clone()];
    if nodes_lost.value() > 0.5 && design.nodes.value() > nodes_lost.value() {
        loads.push(Load {
            scope: "node_lost",
            about: "the peak with nodes_lost nodes away",
            nodes: left("node_lost.nodes", &design.nodes, &nodes_lost),
            ..peak.clone()
        });
    }
    if hsm_lost.value() > 0.5 {
        loads.push(Load {
            scope: "hsm_lost",
            about: "the peak with hsm_lost HSMs away",
            hsms: left("hsm_lost.hsms", &hsms, &hsm_lost),
            ..peak
        });
    }
    loads
}

/// Shares used: processors, ceiling, connections, entries, sockets. NaN: no such limit.
type Used = [f64; 5];
const NAMES: [&str; 5] = [
    "processors (machine.cores)",
    "the HSM's ceiling (hsm.ceiling_ops_s)",
    "HSM connections (hsm.connections)",
    "cache entries (locked memory)",
    "client connections (kms.connections.max)",
];

fn used(
    frame: &Frame,
    design: &Design,
    scenarios: &[Scenario],
    sockets: &Quantity,
    factor: f64,
) -> Used {
    let clients = frame.site.get(&field::CLIENTS).value() * factor;
    let mut worst = [f64::NAN; 5];
    for scenario in scenarios {
        let of_ceiling = scenario.hsm_load.as_ref().map_or(f64::NAN, Quantity::value);
        let here = [
            scenario.cpu_load.value(),
            of_ceiling,
            scenario.pool_load.value(),
            scenario.held.value() / design.entries.value(),
            clients / scenario.load.nodes.value() / sockets.value(),
        ];
        for (worst, here) in worst.iter_mut().zip(here) {
            *worst = worst.max(here);
        }
    }
    worst
}

/// What each scenario's worst uses of each limit there is, by the limit's name.
pub(super) fn named_use(
    frame: &Frame,
    design: &Design,
    scenarios: &[Scenario],
    sockets: &Quantity,
    factor: f64,
) -> Vec<(&'static str, f64)> {
    let shares = used(frame, design, scenarios, sockets, factor);
    NAMES
        .into_iter()
        .zip(shares)
        .filter(|(_, share)| !share.is_nan())
        .collect()
}

/// How far each limit is away, the nearest first.
pub(super) fn limits(
    frame: &Frame,
    design: &Design,
    scenarios: &[Scenario],
    memory: &Memory,
) -> Vec<Limit> {
    let may = frame.site.get(&field::UTIL_MAX).value();
    let allowed = [may, may, may, 1.0, 1.0];
    let scenarios: Vec<Scenario> = scenarios
        .iter()
        .filter(|one| one.load.scope != "mean")
        .cloned()
        .collect();
    let now = used(frame, design, &scenarios, &memory.sockets, 1.0);
    let at = |factor: f64| {
        let loads = loads(frame, design, factor).into_iter();
        let scenarios: Vec<_> = loads
            .map(|load| Scenario::new(frame, design, load, Detail::Loads))
            .collect();
        used(frame, design, &scenarios, &memory.sockets, factor)
    };
    let factors = reached(now, allowed, at);
    let inputs = [
        &frame.peak,
        &design.nodes,
        &design.connections,
        &design.entries,
    ];
    let mut limits: Vec<Limit> = (0..NAMES.len())
        .filter(|at| !now[*at].is_nan())
        .map(|at| {
            let (name, factor, share) = (NAMES[at], factors[at], now[at]);
            let key = [
                "processors",
                "hsm_ceiling",
                "connections",
                "entries",
                "sockets",
            ][at];
            let name_of = |what: &str, unit: &str| format!("{what}.{key}{unit}");
            let more = 100.0 * (factor - 1.0);
            let headroom = Quantity::outcome(
                name_of("headroom", "_pct"),
                Unit::Percent,
                &HEADROOM,
                &inputs,
                more,
            );
            let worst = Quantity::outcome(name_of("used", ""), Unit::Share, &WORST, &inputs, share);
            Limit {
                name,
                used: worst,
                allowed: allowed[at],
                headroom,
            }
        })
        .collect();
    limits.sort_by(|a, b| a.headroom.value().total_cmp(&b.headroom.value()));
    limits
}

/// The factor of load at which each share is first reached; between two steps drawn straight.
fn reached(now: Used, allowed: Used, at: impl Fn(f64) -> Used) -> Used {
    let mut found = [f64::INFINITY; 5];
    for upwards in [true, false] {
        let wanted =
            |index: usize| (now[index] <= allowed[index]) == upwards && !now[index].is_nan();
        let (mut before, mut factor_before) = (now, 1.0);
        for step in 1..=STEPS {
            if !(0..found.len()).any(|index| wanted(index) && found[index].is_infinite()) {
                break;
            }
            let exponent = if upwards { step as f64 } else { -(step as f64) };
            let factor = STEP.powf(exponent);
            let here = at(factor);
            for index in 0..found.len() {
                let crossed = (here[index] <= allowed[index]) != upwards;
                if wanted(index) && found[index].is_infinite() && crossed {
                    let part = (allowed[index] - before[index]) / (here[index] - before[index]);
                    found[index] = factor_before + (factor - factor_before) * part.clamp(0.0, 1.0);
                }
            }
            (before, factor_before) = (here, factor);
        }
    }
    found
}

/// Every objective that the description has.
pub(super) fn checks(
    frame: &Frame,
    design: &Design,
    scenarios: &[Scenario],
    passing: &Passing,
    memory: &Memory,
) -> Vec<Check> {
    let mut judge = Judge {
        frame,
        checks: Vec::new(),
    };
    for scenario in scenarios.iter().filter(|one| one.load.scope != "mean") {
        judge.scenario(scenario, passing);
    }
    judge.passing(passing);
    let site = &frame.site;
    if let Some(limit) = site.opt(&field::MLOCK_MB) {
        let locked = Quantity::derive(
            "node_locked_mb",
            Unit::Count("MB"),
            &MEGABYTES,
            [&memory.locked],
            |[bytes]| bytes / 1e6,
        );
        judge.note("locked memory of a node".into(), &locked, &limit);
    }
    if let Some(limit) = site.opt(&field::HSM_CONNS_MAX) {
        let all = Quantity::derive(
            "all_connections",
            Unit::Count("connections"),
            &ALL_CONNECTIONS,
            [&design.connections, &design.nodes],
            |[connections, nodes]| connections * nodes,
        );
        let (hsms, lost) = (site.get(&field::HSMS), site.get(&field::HSM_LOST));
        let theirs = Quantity::derive(
            "all_connections_max",
            Unit::Count("connections"),
            &THEIR_LIMIT,
            [&limit, &hsms, &lost],
            |[limit, hsms, lost]| limit * (hsms - lost),
        );
        judge.note("HSM connections of all nodes".into(), &all, &theirs);
    }
    judge.checks
}

struct Judge<'f> {
    frame: &'f Frame,
    checks: Vec<Check>,
}

impl Judge<'_> {
    fn note(&mut self, name: String, value: &Quantity, limit: &Quantity) {
        // A value on the limit is within it, whatever the last digit says.
        let holds = value.value() <= limit.value() * (1.0 + 1e-9);
        self.checks.push(Check {
            name,
            value: value.clone(),
            limit: limit.clone(),
            holds,
        });
    }

    fn if_set(&mut self, name: String, value: &Quantity, field: &'static Field) {
        if let Some(limit) = self.frame.site.opt(field) {
            self.note(name, value, &limit);
        }
    }

    fn scenario(&mut self, scenario: &Scenario, passing: &Passing) {
        let about = scenario.load.about;
        let limit = self.frame.site.get(&field::UTIL_MAX);
        self.note(format!("CPU, {about}"), &scenario.cpu_load, &limit);
        if let Some(load) = &scenario.hsm_load {
            self.note(format!("the HSM's ceiling, {about}"), load, &limit);
        }
        self.note(
            format!("HSM connections, {about}"),
            &scenario.pool_load,
            &limit,
        );
        let Some(times) = &scenario.times else {
            return;
        };
        for (what, value, field) in [
            ("median answer time", &times.all.p50, &field::P50_MS),
            ("p99", &times.all.p99, &field::P99_MS),
            ("p99.9", &times.all.p999, &field::P999_MS),
            ("p99 of misses", &times.miss.p99, &field::MISS_P99_MS),
        ] {
            self.if_set(format!("{what}, {about}"), value, field);
        }
        let errors = Quantity::derive(
            format!("{}.error_pct", scenario.load.scope),
            Unit::Percent,
            &REFUSALS,
            [
                &scenario.refused,
                &scenario.miss_share,
                &times.late,
                &passing.failed_in_pauses,
            ],
            |[refused, miss, late, paused]| 100.0 * (refused + miss * late + paused),
        );
        self.if_set(format!("errors, {about}"), &errors, &field::ERROR_PCT);
    }

    fn passing(&mut self, passing: &Passing) {
        if let Some(warm_s) = &passing.restart.warm_s {
            self.if_set(
                "warm after a restart".into(),
                warm_s,
                &field::RESTART_WARM_S,
            );
        }
        if let Some(storm) = &passing.storm {
            self.if_set(
                "longest wait in the storm".into(),
                &storm.wait_s,
                &field::STORM_WAIT_S,
            );
            // While it lasts all that there is may be used.
            let all = Quantity::given(
                "all",
                1.0,
                Unit::Share,
                "the whole machine, while the storm lasts",
            );
            self.note("CPU, the restore storm".into(), &storm.cpu_load, &all);
        }
    }
}
