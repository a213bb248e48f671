//! A restore storm: many devices at once, each with keys that nobody has cached.

use super::super::Design;
use super::super::frame::Frame;
use super::super::scenario::{Detail, Load, Scenario};
use crate::input::field;
use crate::model::cpu::Usl;
use crate::model::transient;
use crate::trace::{Error, Formula, Held, Quantity, Solved, Unit};

static STORM_JOBS: Formula = Formula {
    text: "devices x keys_per_device x nodes that the reads of a life meet x lives that reads_per_key reads, gap_s apart, take",
    source: "a key is fetched once a life by each node that it meets, once in all with a shared cache",
    error: Error::Relative(0.05),
    domain: "keys that nobody has cached; gap_s longer than a fetch takes",
    held: Held::Test("des_plan"),
};
static STORM_RATE: Formula = Formula::arithmetic("storm jobs / window_s + wraps/s");
static STORM_RPS: Formula =
    Formula::arithmetic("peak requests/s + devices x keys_per_device x reads_per_key / window_s");
static STORM_CPU: Formula = Formula {
    text: "CPU load in the storm + devices / window_s / nodes x handshake_us / what the cores do together",
    source: "each device connects anew",
    error: Error::Relative(0.05),
    domain: "as many worker threads as cores",
    held: Held::Judgement,
};
static STORM_WAIT: Formula = Formula {
    text: "backlog at the storm's end / capacity, or 99.9 % of misses where there is none",
    source: "fluid limit; greedy batch server",
    error: Error::Relative(0.15),
    domain: "demand well below or above the capacity",
    held: Held::Test("des_plan"),
};
static STORM_HELD: Formula = Formula {
    text: "storm keys of a node x min(1, TTL / the longer of window and storm.over_s)",
    source: "each stays for its life",
    error: Error::Relative(0.05),
    domain: "room for all that lives",
    held: Held::Test("des_plan"),
};

/// A restore storm.
#[derive(Clone, Debug)]
pub struct Storm {
    /// As a load on the site while it lasts.
    pub scenario: Scenario,
    /// Fetches in all.
    pub jobs: Quantity,
    /// Of the cores, with the handshakes of those who come.
    pub cpu_load: Quantity,
    /// Longest wait.
    pub wait_s: Quantity,
    /// When all is done.
    pub over_s: Quantity,
    /// Entries of one node that it fills.
    pub held: Quantity,
}

impl Storm {
    pub(super) fn new(
        frame: &Frame,
        design: &Design,
        peak: &Scenario,
        capacity: &Quantity,
        detail: Detail,
    ) -> Option<Self> {
        let site = &frame.site;
        let devices = site.opt(&field::STORM_DEVICES)?;
        let [keys, window, reads] = [
            &field::STORM_KEYS_PER_DEVICE,
            &field::STORM_WINDOW_S,
            &field::STORM_READS_PER_KEY,
        ]
        .map(|field| site.get(field));
        let jobs = fetches(frame, design, [&devices, &keys, &reads]);
        let load = while_it_lasts(peak, &jobs, &window);
        let detail = if detail == Detail::Loads {
            detail
        } else {
            Detail::Objectives
        };
        let scenario = Scenario::new(frame, design, load, detail);
        let cpu_load = storm_cpu(frame, design, &scenario, [&devices, &keys, &reads, &window]);
        let [wait_s, over_s] = waits(peak, &scenario, capacity, &jobs, &window);
        let ttl = site.get(&field::TTL_S);
        let held = Quantity::derive(
            "storm.node_entries",
            Unit::Count("entries"),
            &STORM_HELD,
            [&jobs, &design.nodes, &ttl, &window, &over_s],
            |[jobs, nodes, ttl, window, over_s]| {
                // One that never ends is worked off no slower than it comes.
                let lasts_s = if over_s.is_finite() {
                    over_s.max(window)
                } else {
                    window
                };
                jobs / nodes * (ttl / lasts_s).min(1.0)
            },
        );
        Some(Self {
            scenario,
            jobs,
            cpu_load,
            wait_s,
            over_s,
            held,
        })
    }
}

/// Fetches of the whole storm.
fn fetches(frame: &Frame, design: &Design, [devices, keys, reads]: [&Quantity; 3]) -> Quantity {
    let site = &frame.site;
    let is_shared = site.flag(&field::SHARED_CACHE);
    // Behind the cache of a node, or the record that all share.
    let life = if is_shared {
        &field::SHARED_TTL_S
    } else {
        &field::TTL_S
    };
    let [gap, life] = [&field::STORM_GAP_S, life].map(|field| site.get(field));
    Quantity::derive(
        "storm.fetches",
        Unit::Count("fetches"),
        &STORM_JOBS,
        [devices, keys, reads, &gap, &life, &design.nodes],
        |[devices, keys, reads, gap_s, life_s, nodes]| {
            let life_s = life_s * 0.95;
            // Reads that one life may serve, and the lives that all of them take.
            let of_life = (1.0 + (life_s / gap_s.max(1e-9)).floor()).min(reads);
            let lives = reads / of_life;
            let met = if is_shared {
                1.0
            } else {
                frame.balance.nodes_met(nodes, of_life)
            };
            devices * keys * met * lives
        },
    )
}

/// The peak, and the storm's fetches beside what else asks the HSM.
fn while_it_lasts(peak: &Scenario, jobs: &Quantity, window: &Quantity) -> Load {
    Load {
        scope: "storm",
        about: "the restore storm at the peak",
        rps: peak.load.rps.renamed("storm.background_rps"),
        wraps: Quantity::derive(
            "storm.others_s",
            Unit::PerSecond("operations"),
            &STORM_RATE,
            [jobs, window, &peak.load.wraps],
            |[jobs, window, wraps]| jobs / window + wraps,
        ),
        ..peak.load.clone()
    }
}

/// Requests and handshakes of those who come, on top of the jobs that the scenario has already.
fn storm_cpu(
    frame: &Frame,
    design: &Design,
    scenario: &Scenario,
    [devices, keys, reads, window]: [&Quantity; 4],
) -> Quantity {
    let [alpha, beta] = [&field::USL_ALPHA, &field::USL_BETA].map(|field| frame.site.get(field));
    let rps = Quantity::derive(
        "storm.rps",
        Unit::PerSecond("unwraps"),
        &STORM_RPS,
        [&scenario.load.rps, devices, keys, reads, window],
        |[rps, devices, keys, reads, window]| rps + devices * keys * reads / window,
    );
    Quantity::derive(
        "storm.cpu_load_all",
        Unit::Share,
        &STORM_CPU,
        [
            &scenario.cpu_load,
            &rps,
            &scenario.load.rps,
            devices,
            window,
            &design.nodes,
            &design.handshake_us,
            &frame.hit_us,
            &design.cores,
            &alpha,
            &beta,
        ],
        |[
            load,
            all,
            background,
            devices,
            window,
            nodes,
            handshake_us,
            hit_us,
            cores,
            alpha,
            beta,
        ]| {
            let law = Usl {
                gamma: 1.0,
                alpha,
                beta,
            };
            let more =
                (devices / window * handshake_us + (all - background) * hit_us) / nodes / 1e6;
            load + more / law.factor(cores)
        },
    )
}

/// Longest wait, and when all is done.
fn waits(
    peak: &Scenario,
    storm: &Scenario,
    capacity: &Quantity,
    jobs: &Quantity,
    window: &Quantity,
) -> [Quantity; 2] {
    let none = Quantity::assumed("storm.miss_p999_ms", 0.0, Unit::Millis, "not worked out");
    let usual = storm
        .times
        .as_ref()
        .map_or(none, |times| times.miss.p999.clone());
    let solved = Solved::by(
        [jobs, window, &peak.hsm_ops, capacity, &usual],
        |[jobs, window, ops, capacity, usual]| {
            let backlog = transient::storm(jobs, window, ops, capacity);
            let usual_s = if usual.is_finite() {
                usual / 1000.0
            } else {
                0.0
            };
            (backlog.wait_s.max(usual_s), backlog.over_s)
        },
    );
    [
        solved.quantity(
            "storm.longest_wait_s",
            Unit::Seconds,
            &STORM_WAIT,
            |found| found.0,
        ),
        solved.quantity("storm.over_s", Unit::Seconds, &transient::STORM, |found| {
            found.1
        }),
    ]
}
