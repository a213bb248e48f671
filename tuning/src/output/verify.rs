//! Command lines that load the built site as planned. One node's share goes to one node.
//!
//! Must never be true: an option that loadgen does not know; `tests/commands.rs` parses them with its own parser.

use std::fmt::Write as _;

use kms_loadgen::load::job::CONNECTIONS_MAX;
use kms_loadgen::load::prepared::KEYS_MAX;
use kms_loadgen::load::trace::DEVICES_MAX;

use crate::input::{Field, field};
use crate::plan::Plan;

/// How a client reaches a node; the site's own names belong there.
const REACH: &str = "--address NODE:8443 --ca ca.crt --cert cmxDevice.crt --key cmxDevice.key";
/// Longest part of a run with figures, seconds.
const RUN_S: f64 = 300.0;

/// The lines, in the order of use; lines with `#` are for people.
pub fn commands(plan: &Plan) -> Vec<String> {
    let site = &plan.site;
    let mut lines = Vec::new();
    if site.opt(&field::PRESET).is_some() {
        let preset = site.word(&field::PRESET);
        lines.push(format!(
            "kms-loadgen hsm-sim --write-site site --preset {preset}   # instead of the HSM, to try the plan first"
        ));
    }
    let nodes = plan.design.nodes.value();
    let keys = plan.frame.keys.value();
    let storm = StormShape::of(plan, nodes);
    let prepared = (keys + storm.as_ref().map_or(0.0, StormShape::keys)).min(f64::from(KEYS_MAX));
    lines.push(format!(
        "kms-loadgen prepare keys.txt --keys {prepared:.0} {REACH}"
    ));
    lines.push(steady(plan, nodes, keys));
    if let Some(storm) = storm {
        lines.push(storm.command(plan));
    }
    lines.push("kms-tune doctor SITE.toml   # on each node".to_owned());
    lines
}

fn steady(plan: &Plan, nodes: f64, keys: f64) -> String {
    let site = &plan.site;
    let value = |field: &'static Field| site.get(field).value();
    let rps = plan.frame.peak.value() / nodes;
    let connections =
        (value(&field::CLIENTS) / nodes).clamp(1.0, f64::from(CONNECTIONS_MAX) / 10.0);
    let ttl_s = value(&field::TTL_S);
    let keys = keys.min(f64::from(KEYS_MAX));
    let stream = match site.opt(&field::ZIPF_S) {
        Some(zipf_s) if site.file(&field::TRACE).is_none() => {
            format!(" --stream zipf:{}", zipf_s.value())
        }
        _ => String::new(),
    };
    let slo = slo(plan).map_or_else(String::new, |terms| format!(" --slo '{terms}'"));
    format!(
        "kms-loadgen run {REACH} --ciphertexts keys.txt --keys {keys:.0}{stream} --rate {rps:.0} \
         --connections {connections:.0} --warm-up-s {:.0} --duration-s {:.0}{slo} --metrics http://NODE:8444/metrics \
         --out steady   # the peak, one node's share",
        (2.0 * ttl_s).min(3600.0),
        ttl_s.clamp(60.0, RUN_S),
    )
}

/// The objectives as loadgen judges them.
fn slo(plan: &Plan) -> Option<String> {
    let mut terms = Vec::new();
    for (name, field) in [
        ("p50", &field::P50_MS),
        ("p99", &field::P99_MS),
        ("p99.9", &field::P999_MS),
    ] {
        if let Some(limit) = plan.site.opt(field) {
            terms.push(format!("{name}<={}ms", limit.value()));
        }
    }
    if let Some(limit) = plan.site.opt(&field::ERROR_PCT) {
        terms.push(format!("err<={}%", limit.value()));
    }
    (!terms.is_empty()).then(|| terms.join(","))
}

/// One node's part of the storm, cut in time where loadgen has no more devices.
struct StormShape {
    devices: f64,
    keys_each: f64,
    window_s: f64,
}

impl StormShape {
    fn of(plan: &Plan, nodes: f64) -> Option<Self> {
        let site = &plan.site;
        let all = site.opt(&field::STORM_DEVICES)?.value() / nodes;
        let devices = all.clamp(1.0, f64::from(DEVICES_MAX)).floor();
        Some(Self {
            devices,
            keys_each: site.get(&field::STORM_KEYS_PER_DEVICE).value().max(1.0),
            window_s: site.get(&field::STORM_WINDOW_S).value() * devices / all,
        })
    }

    fn keys(&self) -> f64 {
        self.devices * self.keys_each
    }

    fn command(&self, plan: &Plan) -> String {
        let mut line = format!(
            "kms-loadgen run {REACH} --ciphertexts keys.txt --storm {:.0}:{:.0}:{:.0}:0",
            self.devices, self.keys_each, self.window_s
        );
        if let Some(limit) = plan.site.opt(&field::STORM_WAIT_S) {
            // Writing to a String cannot fail.
            let _ = write!(line, " --slo 'max<={}ms'", 1000.0 * limit.value());
        }
        line + " --out storm   # beside the line above: as many devices a second as one node's share of the storm"
    }
}
