//! In what plans differ.

use crate::results::{MixPart, Plan};

/// In what two plans differ, for people. The number of processes and whether a part of them may differ.
pub(in crate::results) fn differences(one: &Plan, two: &Plan) -> Vec<String> {
    let Plan {
        mode,
        schedule,
        stages,
        mix,
        key_stream,
        working_set,
        connections,
        depth,
        identities,
        reuse,
        resumption,
        duration_us,
        warm_up_us,
        timeout_us,
        scenario,
        processes: _,
    } = one;
    let shown_mix = |plan: &Plan| {
        let part = |part: &MixPart| format!("{} x{} ({})", part.operation, part.batch, part.weight);
        plan.mix.iter().map(part).collect::<Vec<_>>().join(" + ")
    };
    let name = |scenario: &Option<String>| scenario.clone().unwrap_or_else(|| "none".to_owned());
    let seconds = |us: u64| format!("{} s", us as f64 / 1e6);
    let pairs = [
        ("loop", format!("{mode:?}"), format!("{:?}", two.mode)),
        ("schedule", schedule.clone(), two.schedule.clone()),
        ("mix", shown_mix(one), shown_mix(two)),
        ("key stream", key_stream.clone(), two.key_stream.clone()),
        (
            "working set",
            working_set.to_string(),
            two.working_set.to_string(),
        ),
        (
            "connections",
            connections.to_string(),
            two.connections.to_string(),
        ),
        ("depth", depth.to_string(), two.depth.to_string()),
        (
            "identities",
            identities.to_string(),
            two.identities.to_string(),
        ),
        ("reuse", reuse.clone(), two.reuse.clone()),
        (
            "resumption",
            resumption.to_string(),
            two.resumption.to_string(),
        ),
        ("duration", seconds(*duration_us), seconds(two.duration_us)),
        ("warm-up", seconds(*warm_up_us), seconds(two.warm_up_us)),
        ("time-out", seconds(*timeout_us), seconds(two.timeout_us)),
        ("scenario", name(scenario), name(&two.scenario)),
    ];
    let differ = |(what, one, two): (&str, String, String)| {
        (one != two).then(|| format!("{what} is {one} and {two}"))
    };
    let mut points: Vec<String> = pairs.into_iter().filter_map(differ).collect();
    if *stages != two.stages && points.is_empty() {
        points.push("the stages of the schedule are not the same".to_owned());
    }
    if *mix != two.mix && shown_mix(one) == shown_mix(two) {
        points.push("the mix is not the same".to_owned());
    }
    points
}
