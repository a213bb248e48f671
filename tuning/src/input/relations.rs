//! What fields must be to each other. Only what no plan could mend: an HSM that is too slow at the peak is a
//! plan's finding, one that is too slow on average whatever the plan is an error here.

use super::error::Problem;
use super::field::{self, Field};
use super::layers::Site;
use crate::model::lives::Lives;
use crate::model::popularity::Popularity;
use crate::trace::number;

pub(super) fn check(site: &Site, problems: &mut Vec<Problem>) {
    is_within_the_ceiling(site, problems);
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

/// Wraps always reach the HSM, and so does each key once a life, however many nodes and whatever the cache.
fn is_within_the_ceiling(site: &Site, problems: &mut Vec<Problem>) {
    let Some(ceiling) = site.opt(&field::CEILING) else {
        return;
    };
    let value = |field: &'static Field| site.get(field).value();
    let (mean, hsms, cold) = (
        value(&field::MEAN_RPS),
        value(&field::HSMS),
        value(&field::COLD_SHARE),
    );
    let mut least = value(&field::WRAPS_RPS) * mean / value(&field::PEAK_RPS);
    least += mean * cold / value(&field::COLD_READS);
    if let Some(keys) = site
        .opt(&field::KEYS_TOTAL)
        .filter(|_| site.file(&field::TRACE).is_none())
    {
        let lives = Lives {
            ttl_s: value(&field::TTL_S),
            fetch_s: 0.0,
            refused: 0.0,
            ahead: true,
        };
        let popularity = Popularity::zipf(keys.value(), value(&field::ZIPF_S));
        least += lives.of(&popularity, mean * (1.0 - cold)).fetches();
    }
    if least > ceiling.value() * hsms {
        let wanted = format!(
            "at least {} belongs for each HSM: one node with a cache that holds everything would ask for that on \
             average; or a longer policy.ttl_s, or more hsm.hsms",
            number((least / hsms).ceil())
        );
        problems.push(Problem::Contradiction {
            field: &field::CEILING,
            value: ceiling.value(),
            wanted,
        });
    }
}
