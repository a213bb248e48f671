//! What fields must be to each other. Only what no plan could mend: an HSM that is too slow is a plan's
//! finding, unless even the mean load is beyond it whatever the plan.

use super::error::Problem;
use super::field::{self, Field};
use super::layers::Site;
use crate::trace::number;

pub(super) fn check(site: &Site, problems: &mut Vec<Problem>) {
    let value = |field: &'static Field| site.opt(field).map_or(f64::NAN, |held| held.value());
    let mut demand = |holds: bool, field: &'static Field, wanted: String| {
        if !holds {
            problems.push(Problem::Contradiction {
                field,
                value: value(field),
                wanted,
            });
        }
    };
    let (mean, peak) = (value(&field::MEAN_RPS), value(&field::PEAK_RPS));
    demand(
        mean <= peak,
        &field::MEAN_RPS,
        format!("at most workload.peak_rps, {}, belongs", number(peak)),
    );
    let (lost, nodes) = (value(&field::NODES_LOST), value(&field::NODES));
    demand(
        nodes.is_nan() || lost < nodes,
        &field::NODES_LOST,
        format!(
            "less than policy.nodes, {}, belongs: somebody must be left to serve",
            number(nodes)
        ),
    );
    let (lost, hsms) = (value(&field::HSM_LOST), value(&field::HSMS));
    demand(
        lost < hsms,
        &field::HSM_LOST,
        format!(
            "less than hsm.hsms, {}, belongs: somebody must be left to ask",
            number(hsms)
        ),
    );
    // Wraps always reach the HSM, and so do keys that nobody has cached: no cache helps.
    let cold = value(&field::COLD_SHARE) / value(&field::COLD_READS);
    let least = value(&field::WRAPS_RPS) * mean / peak + mean * cold;
    let ceiling = value(&field::CEILING) * hsms;
    demand(
        ceiling.is_nan() || least <= ceiling,
        &field::CEILING,
        format!(
            "at least {} belongs for each HSM: wraps and cold keys alone ask for that on average, whatever the cache",
            number(least / hsms)
        ),
    );
    let (timeout, message) = (
        value(&field::TIMEOUT_MS),
        value(&field::MESSAGE_MS) + value(&field::ITEM_MS),
    );
    demand(
        timeout > message,
        &field::TIMEOUT_MS,
        format!(
            "more than one message to the HSM takes, {} ms, belongs",
            number(message)
        ),
    );
    let (share, tail_min) = (value(&field::TAIL_SHARE), value(&field::TAIL_MIN_MS));
    demand(
        share <= 0.0 || tail_min > 0.0,
        &field::TAIL_MIN_MS,
        "more than 0 belongs when hsm.tail_share is set".to_owned(),
    );
}
