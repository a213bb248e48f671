//! The plan as JSON: every number with its unit, its error and where it came from.

use serde_json::{Map, Value, json};

use super::{files, verify};
use crate::plan::{Effect, Plan};
use crate::trace::{Origin, Quantity};

/// All of it, pretty, with a line feed.
pub fn text(plan: &Plan) -> String {
    let mut text = serde_json::to_string_pretty(&value(plan)).unwrap_or_default();
    text.push('\n');
    text
}

/// As a value.
pub fn value(plan: &Plan) -> Value {
    let mut quantities = Map::new();
    for quantity in plan.quantities() {
        quantities.insert(quantity.name().to_owned(), of_quantity(&quantity));
    }
    let checks: Vec<Value> = plan
        .checks
        .iter()
        .map(|check| {
            json!({
                "name": check.name,
                "quantity": check.value.name(),
                "value": finite(check.value.value()),
                "limit": finite(check.limit.value()),
                "unit": check.value.unit().name(),
                "holds": check.holds,
            })
        })
        .collect();
    let limits: Vec<Value> = plan
        .limits
        .iter()
        .map(|limit| {
            json!({
                "name": limit.name,
                "used_share": finite(limit.used.value()),
                "allowed_share": limit.allowed,
                "headroom_pct": finite(limit.headroom.value()),
            })
        })
        .collect();
    let assumptions: Vec<Value> = plan
        .assumptions()
        .into_iter()
        .map(|(field, quantity)| json!({ "field": field.path, "value": quantity.value(), "why": origin(&quantity) }))
        .collect();
    let files: Map<String, Value> = files::all(plan)
        .into_iter()
        .map(|file| (file.name.to_owned(), Value::String(file.text)))
        .collect();
    json!({
        "holds": plan.holds(),
        "design": {
            "nodes": plan.design.nodes.value(),
            "cores": plan.design.cores.value(),
            "connections": plan.design.connections.value(),
            "entries": plan.design.entries.value(),
        },
        "checks": checks,
        "limits": limits,
        "quantities": quantities,
        "sensitivity": sensitivity(plan),
        "assumptions": assumptions,
        "notes": plan.notes,
        "files": files,
        "commands": verify::commands(plan),
    })
}

fn of_quantity(quantity: &Quantity) -> Value {
    json!({
        "value": finite(quantity.value()),
        "unit": quantity.unit().name(),
        "error": finite(quantity.error()),
        "from": origin(quantity),
        "inputs": quantity.inputs().iter().map(Quantity::name).collect::<Vec<_>>(),
    })
}

fn origin(quantity: &Quantity) -> String {
    match quantity.origin() {
        Origin::Derived(formula) => formula.text.to_owned(),
        _ => crate::trace::origin_line(quantity),
    }
}

/// JSON has no infinity: null is "none, or no end".
fn finite(value: f64) -> Value {
    if value.is_finite() {
        json!(value)
    } else {
        Value::Null
    }
}

fn sensitivity(plan: &Plan) -> Vec<Value> {
    let of = |effect: &Option<Effect>| {
        effect.as_ref().map(|effect| {
            json!({
                "hsm_ops": finite(effect.hsm_ops),
                "cpu": finite(effect.cpu),
                "miss_p99": finite(effect.miss_p99),
                "all_p99": finite(effect.all_p99),
                "storm_wait": finite(effect.storm_wait),
                "objectives_broken": effect.broken,
            })
        })
    };
    plan.sensitivity
        .iter()
        .map(|one| json!({ "field": one.field.path, "value": one.value, "less": of(&one.less), "more": of(&one.more) }))
        .collect()
}
