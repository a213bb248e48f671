//! The HSM connections of one node in a scenario.

use super::super::Design;
use super::super::frame::{Frame, message_of};
use super::Load;
use crate::input::field;
use crate::model::pool::{self, Pool};
use crate::trace::{Error, Formula, Held, Quantity, Solved, Unit};

static AT_WORK: Formula = Formula {
    text: "min(connections, engines x HSMs / nodes)",
    source: "a connection beyond the HSM's engines waits there",
    error: Error::Exact,
    domain: "connections spread evenly over the HSMs (src/hsm/fleet.rs)",
    held: Held::Arithmetic,
};

pub(super) struct PoolPart {
    pub(super) at_work: Quantity,
    pub(super) capacity: Quantity,
    pub(super) load: Quantity,
    pub(super) batch: Quantity,
    pub(super) busy: Quantity,
}

impl PoolPart {
    pub(super) fn new(frame: &Frame, design: &Design, load: &Load, jobs: &Quantity) -> Self {
        let name = |what: &str| format!("{}.{what}", load.scope);
        let engines = frame.site.get(&field::ENGINES);
        let at_work = Quantity::derive(
            name("connections_at_work"),
            Unit::Count("connections"),
            &AT_WORK,
            [&design.connections, &engines, &load.hsms, &load.nodes],
            |[connections, engines, hsms, nodes]| connections.min(engines * hsms / nodes).max(1.0),
        );
        let [batch_max, item] =
            [&field::HSM_BATCH_MAX, &field::ITEM_MS].map(|field| frame.site.get(field));
        let [median, sigma, share, min, alpha, timeout] = &frame.message();
        let solved = Solved::by(
            [
                jobs, &at_work, &batch_max, &item, median, sigma, share, min, alpha, timeout,
            ],
            |[rate, connections, batch_max, item_ms, message @ ..]| {
                Pool {
                    rate,
                    connections,
                    batch_max,
                    message: message_of(message),
                    item_s: item_ms / 1000.0,
                }
                .solve()
            },
        );
        Self {
            capacity: solved.quantity(
                name("node_capacity_s"),
                Unit::PerSecond("jobs"),
                &pool::CAPACITY,
                |served| served.capacity,
            ),
            load: solved.quantity(name("pool_load"), Unit::Share, &pool::LOAD, |served| {
                served.load
            }),
            batch: solved.quantity(
                name("batch_items"),
                Unit::Count("items"),
                &pool::BATCH,
                |served| served.batch,
            ),
            busy: solved.quantity(name("all_busy_share"), Unit::Share, &pool::BUSY, |served| {
                served.busy
            }),
            at_work,
        }
    }
}
