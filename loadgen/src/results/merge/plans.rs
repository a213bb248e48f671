//! In what plans differ.

use crate::results::{MixPart, Plan};

/// In what two plans differ, for people. The number of processes may differ.
pub(in crate::results) fn differences(one: &Plan, two: &Plan) -> Vec<String> {
    let pairs = told(one).into_iter().zip(told(two));
    let differ = |((what, one), (_, two)): ((&str, String), (&str, String))| {
        (one != two).then(|| format!("{what} is {one} and {two}"))
    };
    let mut points: Vec<String> = pairs.filter_map(differ).collect();
    // What words do not tell apart.
    if points.is_empty() && one.stages != two.stages {
        points.push("the stages of the schedule are not the same".to_owned());
    }
    points
}

/// A plan's points with their values in words.
fn told(plan: &Plan) -> Vec<(&'static str, String)> {
    // Named one by one, so that a new field is not forgotten here.
    let Plan {
        mode,
        schedule,
        stages: _,
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
    } = plan;
    let part = |part: &MixPart| format!("{} x{} ({})", part.operation, part.batch, part.weight);
    let seconds = |us: &u64| format!("{} s", *us as f64 / 1e6);
    vec![
        ("loop", format!("{mode:?}")),
        ("schedule", schedule.clone()),
        ("mix", mix.iter().map(part).collect::<Vec<_>>().join(" + ")),
        ("key stream", key_stream.clone()),
        ("working set", working_set.to_string()),
        ("connections", connections.to_string()),
        ("depth", depth.to_string()),
        ("identities", identities.to_string()),
        ("reuse", reuse.clone()),
        ("resumption", resumption.to_string()),
        ("duration", seconds(duration_us)),
        ("warm-up", seconds(warm_up_us)),
        ("time-out", seconds(timeout_us)),
        (
            "scenario",
            scenario.clone().unwrap_or_else(|| "none".to_owned()),
        ),
    ]
}
