//! What the plan's charts show: the same calculation at other loads, lives and times.

use super::frame::Frame;
use super::limits::{loads, named_use};
use super::scenario::{Detail, Scenario};
use super::{Design, Memory, Plan};
use crate::input::{Source, field};
use crate::model::transient;

/// One line: its name and points.
pub type Curve = (String, Vec<(f64, f64)>);

/// Share used of each limit, by the load as a multiple of the peak.
pub fn by_load(frame: &Frame, design: &Design, memory: &Memory) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for step in 1..=20 {
        let factor = f64::from(step) * 0.25;
        let loads = loads(frame, design, factor).into_iter();
        let scenarios: Vec<_> = loads
            .map(|load| Scenario::new(frame, design, load, Detail::Loads))
            .collect();
        for (name, share) in named_use(frame, design, &scenarios, &memory.sockets, factor) {
            if !curves.iter().any(|(known, _)| known == name) {
                curves.push((name.to_owned(), Vec::new()));
            }
            if let Some((_, points)) = curves.iter_mut().find(|(known, _)| known == name) {
                // Far beyond all of it is of no interest.
                if share <= 2.0 {
                    points.push((factor, share * 100.0));
                }
            }
        }
    }
    curves
}

/// HSM operations a second and misses in percent, by the TTL, with this design.
pub fn by_ttl(source: &Source, plan: &Plan) -> [Curve; 2] {
    let (mut operations, mut misses) = (Vec::new(), Vec::new());
    let mut ttl_s = 15.0_f64;
    while ttl_s <= 86_400.0 {
        let other = source.with(&field::TTL_S, ttl_s.round());
        let scenario = other.site().ok().and_then(|site| {
            let frame = Frame::new(&site).ok()?;
            let load = loads(&frame, &plan.design, 1.0).into_iter().next()?;
            Some(Scenario::new(&frame, &plan.design, load, Detail::Loads))
        });
        if let Some(scenario) = scenario {
            operations.push((ttl_s, scenario.hsm_ops.value()));
            misses.push((ttl_s, (scenario.miss_share.value() * 100.0).max(1e-3)));
        }
        ttl_s *= 1.6;
    }
    [
        ("HSM operations/s".into(), operations),
        ("misses, %".into(), misses),
    ]
}

/// Fetches a second of one node that starts empty at the peak, by seconds since the start; and what is usual.
pub fn cold_start(frame: &Frame, plan: &Plan) -> Vec<Curve> {
    let Some(peak) = plan.scenario("peak") else {
        return Vec::new();
    };
    let nodes = peak.load.nodes.value();
    let keys = frame.balance.keys_of_node(
        &frame.popularity(frame.keys.value(), frame.shape.value()),
        nodes,
    );
    let rate = peak.load.rps.value() / nodes;
    let usual = peak.jobs.value();
    let ttl_s = frame.site.get(&field::TTL_S).value();
    let times: Vec<f64> = (0..60)
        .map(|step| ttl_s * 1e-4 * 10_f64.powf(f64::from(step) / 15.0))
        .collect();
    let line = |name: &str, of: &dyn Fn(f64) -> f64| -> Curve {
        (
            name.to_owned(),
            times.iter().map(|time_s| (*time_s, of(*time_s))).collect(),
        )
    };
    vec![
        line("fetches/s of the empty node", &|time_s| {
            transient::first_requests(&keys, rate, time_s)
        }),
        line("what its connections can do", &|_| {
            peak.pool_capacity.value()
        }),
        line("usual", &|_| usual),
    ]
}
