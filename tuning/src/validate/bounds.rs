//! Which sites can be played on one machine.
//!
//! Must never be true: something in a description that is neither played nor refused. Called by [`super::stages`].

use super::stages::KeyRanges;
use crate::input::{Field, field};
use crate::plan::Plan;

const NODES_MAX: f64 = 4.0;
const KEYS_MAX: f64 = 400_000.0;
const RPS_MAX: f64 = 20_000.0;

/// What this machine can play, and what is played.
pub(super) fn check(plan: &Plan) -> Result<(), String> {
    let site = &plan.site;
    let value = |field: &'static Field| site.opt(field).map_or(0.0, |held| held.value());
    let keys = KeyRanges::of(site);
    let mut wrong = Vec::new();
    let mut demand = |is_so: bool, what: String| {
        if !is_so {
            wrong.push(what);
        }
    };
    let nodes = plan.design.nodes.value();
    demand(
        nodes <= NODES_MAX,
        format!(
            "policy.nodes comes to {nodes} where at most {NODES_MAX} can be started on one machine"
        ),
    );
    let rps = plan.frame.peak.value();
    demand(
        rps <= RPS_MAX,
        format!("workload.peak_rps is {rps} where at most {RPS_MAX} can be made on one machine"),
    );
    demand(
        site.word(&field::BALANCE) != "hash",
        "policy.lb is hash where random or least-conn belongs: all clients come from one address here".to_owned(),
    );
    demand(
        site.file(&field::TRACE).is_none(),
        "workload.trace is set where zipf_s belongs".to_owned(),
    );
    demand(
        f64::from(keys.all()) <= KEYS_MAX,
        format!(
            "workload.keys_total and the storm's come to {} where at most {KEYS_MAX} can be wrapped beforehand",
            keys.all()
        ),
    );
    for (field, wanted) in [
        (&field::COLD_SHARE, 0.0),
        (&field::WRAPS_RPS, 0.0),
        (&field::SHARED_CACHE, 0.0),
        (&field::HSMS, 1.0),
        (&field::GROWTH_PCT_YEAR, 0.0),
        (&field::STORM_READS_PER_KEY, 1.0),
    ] {
        let is = value(field);
        demand(
            (is - wanted).abs() < 1e-9,
            format!(
                "{} is {is} where {wanted} belongs: anything else is not played",
                field.path
            ),
        );
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::check;
    use crate::input::Source;
    use crate::plan::Plan;

    #[test]
    fn shipped_sites_are_played() {
        let sites = Path::new(env!("CARGO_MANIFEST_DIR")).join("sites");
        for name in ["lan-hsm", "wan-hsm", "busy-hsm"] {
            let source = Source::read(&sites.join(format!("{name}.toml"))).unwrap();
            check(&Plan::alone(&source).unwrap()).unwrap();
        }
    }

    #[test]
    fn a_site_needs_no_storm() {
        let text = "[workload]\npeak_rps = 100\nkeys_total = 1000\n[hsm]\npreset = \"lan-hsm\"\n";
        let source = Source::parse(Path::new("site.toml"), text).unwrap();
        check(&Plan::alone(&source).unwrap()).unwrap();
    }
}
