//! The processors of the busiest node in a scenario.

use super::super::Design;
use super::super::frame::Frame;
use super::{Cache, Load};
use crate::input::field;
use crate::model::cpu::{Costs, Usl, Work};
use crate::trace::{Error, Formula, Held, Quantity, Solved, Unit};

static HANDSHAKES: Formula = Formula::arithmetic("clients / conn_lifetime_s / nodes");
static BUSIEST: Formula = Formula {
    text: "1 / nodes, and by hash p1 (1 - 1 / nodes) for the most popular key",
    source: "splitting of Poisson streams; by hash the node of the most popular key has a mean share of all others",
    error: Error::Relative(0.1),
    domain: "requests of many clients, zipf_s up to 1, at most 16 nodes",
    held: Held::Test("des_balance"),
};
static NODE_RPS: Formula = Formula::arithmetic("requests/s x the busiest node's share");
static CORES: Formula = Formula::arithmetic(
    "(hits/s hit_us + fetches and joins/s miss_us + messages/s message_us + handshakes/s (resume_ratio resumed_us + (1 - resume_ratio) handshake_us)) / 1e6",
);
static HANDSHAKE_SHARE: Formula = Formula::arithmetic("busy cores of handshakes / all busy cores");
static CPU_LOAD: Formula = Formula {
    text: "busy cores / (k / (1 + alpha (k - 1) + beta k (k - 1))) of k cores",
    source: "Gunther's Universal Scalability Law",
    error: Error::Relative(0.1),
    domain: "as many worker threads as cores; a lightly loaded server is woken for each request, and uses more for it",
    held: Held::Judgement,
};

pub(super) struct CpuPart {
    pub(super) cores: Quantity,
    pub(super) load: Quantity,
    pub(super) handshakes: Quantity,
    pub(super) handshake_share: Quantity,
}

impl CpuPart {
    pub(super) fn new(
        frame: &Frame,
        design: &Design,
        load: &Load,
        cache: &Cache,
        hit_ratio: &Quantity,
        jobs: &Quantity,
        batch: &Quantity,
    ) -> Self {
        let site = &frame.site;
        let [clients, lifetime] =
            [&field::CLIENTS, &field::CONN_LIFETIME_S].map(|field| site.get(field));
        let handshakes = Quantity::derive(
            format!("{}.node_handshakes_s", load.scope),
            Unit::PerSecond("handshakes"),
            &HANDSHAKES,
            [&clients, &lifetime, &load.nodes],
            |[clients, lifetime, nodes]| clients / lifetime / nodes,
        );
        let work = [
            node_rps(frame, load),
            hit_ratio.clone(),
            cache.joins(load),
            jobs.clone(),
            batch.clone(),
            handshakes.clone(),
            site.get(&field::RESUME_RATIO),
        ];
        let [cores, handshake_share] = busy(frame, design, load, &work);
        let [alpha, beta] = [&field::USL_ALPHA, &field::USL_BETA].map(|field| site.get(field));
        let load = Quantity::derive(
            format!("{}.cpu_load", load.scope),
            Unit::Share,
            &CPU_LOAD,
            [&cores, &design.cores, &alpha, &beta],
            |[busy, cores, alpha, beta]| {
                let law = Usl {
                    gamma: 1.0,
                    alpha,
                    beta,
                };
                busy / law.factor(cores)
            },
        );
        Self {
            cores,
            load,
            handshakes,
            handshake_share,
        }
    }
}

/// What the busiest node is asked for.
fn node_rps(frame: &Frame, load: &Load) -> Quantity {
    let share = Quantity::derive(
        format!("{}.busiest_share", load.scope),
        Unit::Share,
        &BUSIEST,
        [&load.nodes, &frame.keys, &frame.shape],
        |[nodes, keys, shape]| frame.balance.busiest(&frame.popularity(keys, shape), nodes),
    );
    Quantity::derive(
        format!("{}.node_rps", load.scope),
        Unit::PerSecond("unwraps"),
        &NODE_RPS,
        [&load.rps, &share],
        |[rps, share]| rps * share,
    )
}

/// Busy cores, and the share of them that handshakes take.
fn busy(frame: &Frame, design: &Design, load: &Load, work: &[Quantity; 7]) -> [Quantity; 2] {
    let site = &frame.site;
    let costs = [
        frame.hit_us.clone(),
        frame.miss_us.clone(),
        site.get(&field::MESSAGE_US),
        site.get(&field::RESUMED_US),
    ];
    let (
        [rps, hit, joins, jobs, batch, handshakes, resumed],
        [hit_us, miss_us, message_us, resumed_us],
    ) = (work, &costs);
    let solved = Solved::by(
        [
            rps,
            hit,
            joins,
            jobs,
            batch,
            handshakes,
            resumed,
            hit_us,
            miss_us,
            message_us,
            resumed_us,
            &design.handshake_us,
        ],
        spent,
    );
    let name = |what: &str| format!("{}.{what}", load.scope);
    [
        solved.quantity(name("cores_busy"), Unit::Count("cores"), &CORES, |found| {
            found.0
        }),
        solved.quantity(
            name("handshake_cpu_share"),
            Unit::Share,
            &HANDSHAKE_SHARE,
            |found| found.1 / found.0,
        ),
    ]
}

/// Busy cores in all, and those of handshakes.
fn spent(
    [
        rps,
        hit,
        joins,
        jobs,
        batch,
        handshakes,
        resumed,
        costs @ ..,
    ]: [f64; 12],
) -> (f64, f64) {
    let [hit_s, miss_s, message_s, resumed_s, handshake_s] = costs.map(|us| us / 1e6);
    let costs = Costs {
        hit_s,
        miss_s,
        message_s,
        handshake_s,
        resumed_s,
    };
    let work = Work {
        hits: rps * hit,
        misses: jobs + rps * joins,
        messages: jobs / batch,
        handshakes,
        resumed,
    };
    (costs.cores(&work), costs.handshakes(&work))
}
