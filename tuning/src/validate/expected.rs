//! What the plan says of each stage, and the rows that come of a measurement.
//!
//! Must never be true: a number here that comes from a measurement of the stage it is compared with.

use super::{Band, HIT_BAND, OPS_BAND, P50_BAND, P99_BAND, Row};
use crate::input::field;
use crate::plan::{Plan, Scenario, message_of, site_capacity};
use crate::trace::{Error, Formula, Held, Quantity, Solved, Unit};

static RESTARTED: Formula = Formula {
    text: "sum of 1 - e^(-l t) over the keys, t after an empty start; hits are all that is neither that nor joined it",
    source: "a key's first request asks the HSM (tuning/src/model/transient.rs)",
    error: Error::Relative(0.02),
    domain: "t below 0.9 of the TTL",
    held: Held::Test("des_validate"),
};
static FAILED: Formula = Formula::arithmetic("refused_share + miss_share x late_share");
static WAITING: Formula = Formula {
    text: "miss_share x (half the pause / (1 - operations/s / capacity) + fetch) / window",
    source: "who misses in the first half of a pause waits for more than its half, and so do those who find the queue that \
             is left behind it; fluid limit",
    error: Error::Relative(0.1),
    domain: "a pause much shorter than the TTL",
    held: Held::Test("des_validate"),
};

static LONGEST: Formula = Formula {
    text: "the pause's longest wait + x, 2 x misses/s x mean of a message beyond x = ln 2",
    source: "median of the largest of a Poisson stream's times (tuning/src/model/distribution.rs)",
    error: Error::Relative(0.2),
    domain: "an HSM that goes on where it paused",
    held: Held::Test("des_validate"),
};

/// Seconds that are looked at around a pause of the HSM.
pub const STALL_WINDOW_S: f64 = 20.0;
/// Most of a share that may fail beyond what is predicted.
const FAILED_BAND: Band = Band::Absolute(0.005);
/// Of a share that waits.
const WAITING_BAND: Band = Band::Absolute(0.01);

/// Seconds after a restart that are looked at: before the first entries are fetched ahead.
pub fn restart_window_s(ttl_s: f64) -> f64 {
    0.8 * ttl_s
}

/// The plan's figures, stage by stage.
pub struct Expected {
    /// The keys' popularity, as loadgen has it.
    pub stream: String,
    steady: [Quantity; 5],
    node_lost: Option<[Quantity; 5]>,
    storm: Option<[Quantity; 5]>,
    restart: [Quantity; 2],
    /// The longest wait, and the share that waits; the latter none for an HSM that rejects: it refuses many of those
    /// who come back at once.
    stall: Option<(Quantity, Option<Quantity>)>,
}

/// What was measured in a stage.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Share of unwraps that were hits.
    pub hit_ratio: f64,
    /// Operations of the HSM, a second.
    pub hsm_ops_s: f64,
    /// Of all unwraps.
    pub p50_ms: f64,
    /// Of all unwraps.
    pub p99_ms: f64,
    /// Share that failed.
    pub failed: f64,
    /// The longest.
    pub longest_s: f64,
    /// Share that took longer than half of the pause.
    pub waiting: f64,
}

impl Expected {
    /// Of this plan.
    pub fn of(plan: &Plan) -> Result<Self, String> {
        let peak = plan.scenario("peak").ok_or("the plan has no peak")?;
        let lost = plan.scenario("node_lost");
        let storm = plan.passing.storm.as_ref();
        Ok(Self {
            stream: format!("zipf:{}", plan.site.get(&field::ZIPF_S).value()),
            steady: scenario(peak)?,
            node_lost: lost.map(scenario).transpose()?,
            storm: storm.map(|storm| scenario(&storm.scenario)).transpose()?,
            restart: restart(plan, peak),
            stall: plan.passing.pause.as_ref().map(|pause| {
                let queues = plan.site.word(&field::OVERLOAD) != "reject";
                let share = queues.then(|| waiting(plan, peak));
                (longest(plan, peak, &pause.wait_s), share)
            }),
        })
    }

    /// The 99th percentile of an ordinary minute.
    pub fn p99_ms(&self) -> f64 {
        let [_, _, _, p99, _] = &self.steady;
        p99.value()
    }

    /// Rows of a stage that lasts.
    pub fn rows(&self, stage: &'static str, seen: &Seen) -> Vec<Row> {
        let told = match stage {
            "steady" => Some(&self.steady),
            "node loss" => self.node_lost.as_ref(),
            "storm" => self.storm.as_ref(),
            _ => None,
        };
        let Some([hit_ratio, ops, p50, p99, failed]) = told else {
            return self.rows_of_passing(stage, seen);
        };
        rows(
            stage,
            [
                ("hit ratio", hit_ratio, seen.hit_ratio, HIT_BAND),
                ("HSM operations", ops, seen.hsm_ops_s, OPS_BAND),
                ("p50", p50, seen.p50_ms, P50_BAND),
                ("p99", p99, seen.p99_ms, P99_BAND),
                ("failed", failed, seen.failed, FAILED_BAND),
            ],
        )
    }

    fn rows_of_passing(&self, stage: &'static str, seen: &Seen) -> Vec<Row> {
        let [hit_ratio, ops] = &self.restart;
        match (stage, &self.stall) {
            ("restart", _) => rows(
                stage,
                [
                    ("hit ratio of a node", hit_ratio, seen.hit_ratio, HIT_BAND),
                    ("its HSM operations", ops, seen.hsm_ops_s, OPS_BAND),
                ],
            ),
            ("stall", Some((longest, share))) => {
                let share = share
                    .iter()
                    .map(|share| ("wait over half of it", share, seen.waiting, WAITING_BAND));
                let longest = ("longest wait", longest, seen.longest_s, P99_BAND);
                rows(stage, std::iter::once(longest).chain(share))
            }
            _ => Vec::new(),
        }
    }
}

type Told<'a> = (&'static str, &'a Quantity, f64, Band);

fn rows<'a>(stage: &'static str, told: impl IntoIterator<Item = Told<'a>>) -> Vec<Row> {
    let row = |(what, predicted, measured, band): Told<'_>| Row {
        stage,
        what,
        predicted: predicted.clone(),
        measured,
        band,
    };
    told.into_iter().map(row).collect()
}

/// Hit ratio, operations, p50, p99, failed.
fn scenario(one: &Scenario) -> Result<[Quantity; 5], String> {
    let times = one.times.as_ref().ok_or("the plan has no answer times")?;
    let failed = Quantity::derive(
        format!("{}.failed_share", one.load.scope),
        Unit::Share,
        &FAILED,
        [&one.refused, &one.miss_share, &times.late],
        |[refused, miss, late]| refused + miss * late,
    );
    Ok([
        one.hit_ratio.clone(),
        one.hsm_ops.clone(),
        times.all.p50.clone(),
        times.all.p99.clone(),
        failed,
    ])
}

/// Hit ratio and operations of one node in the first seconds after an empty start.
fn restart(plan: &Plan, peak: &Scenario) -> [Quantity; 2] {
    let (frame, site) = (&plan.frame, &plan.site);
    let ttl = site.get(&field::TTL_S);
    let solved = Solved::by(
        [
            &peak.load.rps,
            &peak.load.nodes,
            &ttl,
            &frame.keys,
            &frame.shape,
            &frame.fetch_ms,
        ],
        |[rps, nodes, ttl_s, keys, shape, fetch_ms]| {
            let (rate, window_s) = (rps / nodes, restart_window_s(ttl_s));
            let keys = frame.popularity(keys, shape);
            let fetched = keys.sum(rate, |key| 1.0 - (-key * window_s).exp());
            let joined = keys.sum(rate, |key| {
                (1.0 - (-key * window_s).exp()) * key * fetch_ms / 1000.0
            });
            (
                1.0 - (fetched + joined) / (rate * window_s),
                fetched / window_s,
            )
        },
    );
    [
        solved.quantity("restart.hit_ratio", Unit::Share, &RESTARTED, |both| both.0),
        solved.quantity(
            "restart.node_hsm_ops_s",
            Unit::PerSecond("operations"),
            &RESTARTED,
            |both| both.1,
        ),
    ]
}

/// Who comes when the pause begins waits for all of it, and for a message; who came before, for what that took already.
fn longest(plan: &Plan, peak: &Scenario, wait: &Quantity) -> Quantity {
    let [median, spread, share, min, alpha, timeout] = &plan.frame.message();
    Quantity::derive(
        "stall.longest_wait_s",
        Unit::Seconds,
        &LONGEST,
        [
            wait,
            &peak.hsm_ops,
            median,
            spread,
            share,
            min,
            alpha,
            timeout,
        ],
        |[wait_s, ops, message @ ..]| {
            let message = message_of(message);
            (wait_s + message.longest_beyond_s(ops)).min(message.longest_s.max(wait_s))
        },
    )
}

/// Share of the window's unwraps that waits for more than half of the pause.
fn waiting(plan: &Plan, peak: &Scenario) -> Quantity {
    let pause = plan.site.get(&field::STALL_S);
    let capacity = site_capacity(&plan.frame, &plan.design, peak);
    let window = Quantity::given("window_s", STALL_WINDOW_S, Unit::Seconds, "this program");
    Quantity::derive(
        "stall.waiting_share",
        Unit::Share,
        &WAITING,
        [
            &peak.miss_share,
            &pause,
            &window,
            &peak.hsm_ops,
            &capacity,
            &plan.frame.fetch_ms,
        ],
        |[miss, pause_s, window_s, ops, capacity, fetch_ms]| {
            let load = (ops / capacity).min(0.95);
            miss * (pause_s / 2.0 / (1.0 - load) + fetch_ms / 1000.0) / window_s
        },
    )
}
