//! The plan as text for a terminal.

use std::fmt::Write as _;

use crate::input::field::{Field, Kind};
use crate::plan::{Effect, Limit, Plan, Scenario, Sensitivity};
use crate::trace::{Quantity, number, origin_line};

/// Lines of what it hangs on.
const SENSITIVITY_MAX: usize = 12;

/// All of it.
pub fn text(plan: &Plan) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = verdict(&mut text, plan);
    let _ = design(&mut text, plan);
    let _ = scenarios(&mut text, plan);
    let _ = passing(&mut text, plan);
    let _ = limits(&mut text, &plan.limits);
    let _ = checks(&mut text, plan);
    let _ = sensitivity(&mut text, &plan.sensitivity);
    let _ = ending(&mut text, plan);
    text
}

type Written = std::fmt::Result;

fn verdict(text: &mut String, plan: &Plan) -> Written {
    let failed = plan.checks.iter().filter(|check| !check.holds).count();
    match (failed, plan.limits.first()) {
        (0, Some(first)) => writeln!(
            text,
            "This site can be built: every objective is kept. With more load, {} binds first, at {} more.",
            first.name,
            first.headroom.shown()
        ),
        (0, None) => writeln!(text, "This site can be built: every objective is kept."),
        (failed, _) => writeln!(
            text,
            "No plan keeps every objective: {failed} fail, marked MISS below. The nearest plan follows."
        ),
    }
}

fn design(text: &mut String, plan: &Plan) -> Written {
    let (design, memory) = (&plan.design, &plan.memory);
    writeln!(text, "\nBUILD")?;
    for (what, quantity) in [
        ("nodes", &design.nodes),
        ("cores each", &design.cores),
        ("worker threads each", &memory.workers),
        ("handshake threads each", &memory.handshakers),
        ("HSM connections each", &design.connections),
        ("cache entries each", &design.entries),
        ("locked memory each (LimitMEMLOCK)", &memory.locked),
        ("resident memory each, about", &memory.resident),
        ("jobs that may wait each", &memory.queue),
        ("client connections each, at most", &memory.sockets),
    ] {
        writeln!(
            text,
            "  {what:<36} {:>22}   {}",
            quantity.shown(),
            origin_line(quantity)
        )?;
    }
    Ok(())
}

/// A row's name, and its number in a scenario.
type Row = (&'static str, fn(&Scenario) -> Option<&Quantity>);

/// One row a number, one column a scenario.
fn scenarios(text: &mut String, plan: &Plan) -> Written {
    writeln!(
        text,
        "\nEXPECT (half the band that the models' errors leave is behind +-)"
    )?;
    write!(text, "  {:<28}", "")?;
    for scenario in &plan.scenarios {
        write!(text, " {:>24}", scenario.load.scope)?;
    }
    writeln!(text)?;
    let rows: [Row; 18] = [
        ("unwraps", |one| Some(&one.load.rps)),
        ("nodes there", |one| Some(&one.load.nodes)),
        ("hit ratio", |one| Some(&one.hit_ratio)),
        ("HSM operations", |one| Some(&one.hsm_ops)),
        ("of the HSMs' ceilings", |one| one.hsm_load.as_ref()),
        ("items a message", |one| Some(&one.batch)),
        ("connections' load", |one| Some(&one.pool_load)),
        ("CPU load", |one| Some(&one.cpu_load)),
        ("of it handshakes", |one| Some(&one.handshake_share)),
        ("entries held, one node", |one| Some(&one.held)),
        ("hit p50", |one| {
            Some(&one.times.as_ref()?.hit.as_ref()?.p50)
        }),
        ("hit p99", |one| {
            Some(&one.times.as_ref()?.hit.as_ref()?.p99)
        }),
        ("miss p50", |one| Some(&one.times.as_ref()?.miss.p50)),
        ("miss p99", |one| Some(&one.times.as_ref()?.miss.p99)),
        ("miss p99.9", |one| Some(&one.times.as_ref()?.miss.p999)),
        ("all p50", |one| Some(&one.times.as_ref()?.all.p50)),
        ("all p99", |one| Some(&one.times.as_ref()?.all.p99)),
        ("all p99.9", |one| Some(&one.times.as_ref()?.all.p999)),
    ];
    for (name, read) in rows {
        if plan.scenarios.iter().all(|one| read(one).is_none()) {
            continue;
        }
        write!(text, "  {name:<28}")?;
        for scenario in &plan.scenarios {
            write!(
                text,
                " {:>24}",
                read(scenario).map_or_else(|| "-".into(), with_band)
            )?;
        }
        writeln!(text)?;
    }
    Ok(())
}

/// The value, and its band where there is one.
pub(super) fn with_band(quantity: &Quantity) -> String {
    let shown = quantity.shown();
    if quantity.error() <= 0.0 || !quantity.error().is_finite() {
        return shown;
    }
    let suffix = quantity.unit().suffix();
    let bare = shown.strip_suffix(&suffix).unwrap_or(&shown);
    let half = quantity.unit().show(quantity.error());
    format!(
        "{bare} +- {}",
        half.strip_suffix(&suffix)
            .map_or(half.clone(), |bare| short(bare) + &suffix)
    )
}

/// Two digits are enough of an error.
fn short(text: &str) -> String {
    let plain: f64 = text.replace(' ', "").parse().unwrap_or(f64::NAN);
    if plain >= 100.0 {
        number(plain.round())
    } else if plain >= 10.0 {
        format!("{plain:.0}")
    } else if plain >= 1.0 {
        format!("{plain:.1}")
    } else if plain >= 0.1 {
        format!("{plain:.2}")
    } else {
        format!("{plain:.3}")
    }
}

fn passing(text: &mut String, plan: &Plan) -> Written {
    let passing = &plan.passing;
    writeln!(text, "\nWHEN SOMETHING HAPPENS, at the peak")?;
    let troubles = [
        ("a node restarts empty", Some(&passing.restart)),
        ("all caches are lost", Some(&passing.all_cold)),
        ("the HSM pauses", passing.pause.as_ref()),
        ("a node is gone (keys move)", passing.node_gone.as_ref()),
    ];
    for (what, trouble) in troubles {
        let Some(trouble) = trouble else {
            continue;
        };
        write!(
            text,
            "  {what:<28} {} wait at most, {} at most, over after {}",
            trouble.jobs.shown(),
            trouble.wait_s.shown(),
            trouble.over_s.shown()
        )?;
        match &trouble.warm_s {
            Some(warm_s) => writeln!(text, ", as usual after {}", warm_s.shown())?,
            None => writeln!(text)?,
        }
    }
    if let Some(storm) = &passing.storm {
        writeln!(
            text,
            "  {:<28} {} in all, {}; longest wait {}, done after {}, CPU load {}",
            "the restore storm",
            storm.jobs.shown(),
            storm.scenario.hsm_ops.shown(),
            storm.wait_s.shown(),
            storm.over_s.shown(),
            storm.cpu_load.shown()
        )?;
    }
    for line in costs(plan) {
        writeln!(text, "  {line}")?;
    }
    Ok(())
}

/// What each lost node or HSM costs.
pub(super) fn costs(plan: &Plan) -> Vec<String> {
    let Some(peak) = plan.scenario("peak") else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    for (scope, what) in [("node_lost", "nodes lost"), ("hsm_lost", "HSMs lost")] {
        let Some(lost) = plan.scenario(scope) else {
            continue;
        };
        let p99 = |one: &Scenario| {
            one.times
                .as_ref()
                .map_or_else(|| "-".into(), |times| times.miss.p99.shown())
        };
        let load = |one: &Scenario| {
            one.hsm_load
                .as_ref()
                .map_or_else(|| "no ceiling".into(), Quantity::shown)
        };
        lines.push(format!(
            "{what:<28} CPU load {} -> {}, HSM load {} -> {}, p99 of misses {} -> {}",
            peak.cpu_load.shown(),
            lost.cpu_load.shown(),
            load(peak),
            load(lost),
            p99(peak),
            p99(lost)
        ));
    }
    lines
}

fn limits(text: &mut String, limits: &[Limit]) -> Written {
    writeln!(text, "\nWHAT BINDS, the nearest first")?;
    for limit in limits {
        let used = limit.used.shown();
        writeln!(
            text,
            "  {:<44} {used:>10} of {:>6} used   {:>10} more load until then",
            limit.name,
            crate::trace::Unit::Share.show(limit.allowed),
            limit.headroom.shown()
        )?;
    }
    Ok(())
}

fn checks(text: &mut String, plan: &Plan) -> Written {
    writeln!(text, "\nOBJECTIVES")?;
    for check in &plan.checks {
        writeln!(
            text,
            "  {} {:<52} {:>20}   at most {}",
            if check.holds { "ok  " } else { "MISS" },
            check.name,
            check.value.shown(),
            check.limit.shown()
        )?;
    }
    Ok(())
}

fn sensitivity(text: &mut String, all: &[Sensitivity]) -> Written {
    if all.is_empty() {
        return Ok(());
    }
    writeln!(
        text,
        "\nWHAT IT HANGS ON: each input 20 % less and 20 % more, this design"
    )?;
    writeln!(
        text,
        "  {:<34} {:>16} {:>16} {:>16} {:>16}",
        "", "HSM operations", "CPU load", "p99 of misses", "p99 of all"
    )?;
    for one in all.iter().take(SENSITIVITY_MAX) {
        write!(text, "  {:<34}", one.field.path)?;
        let reads: [fn(&Effect) -> f64; 4] = [
            |effect| effect.hsm_ops,
            |effect| effect.cpu,
            |effect| effect.miss_p99,
            |effect| effect.all_p99,
        ];
        for read in reads {
            let change = |effect: &Option<Effect>| {
                effect
                    .as_ref()
                    .map_or_else(|| "-".into(), |one| percent(read(one)))
            };
            write!(
                text,
                " {:>16}",
                format!("{} {}", change(&one.less), change(&one.more))
            )?;
        }
        let broken = one
            .less
            .iter()
            .chain(&one.more)
            .map(|effect| effect.broken)
            .max()
            .unwrap_or(0);
        writeln!(
            text,
            "{}",
            if broken > 0 {
                "   breaks an objective"
            } else {
                ""
            }
        )?;
    }
    Ok(())
}

/// A change, with its sign.
pub(super) fn percent(change: f64) -> String {
    if change.is_finite() {
        format!("{:+.0}%", change * 100.0)
    } else {
        "?".into()
    }
}

/// As it would be written.
pub(super) fn value_of(plan: &Plan, field: &'static Field, quantity: &Quantity) -> String {
    match field.kind {
        Kind::Choice(_) => plan.site.word(field).to_owned(),
        Kind::Flag => plan.site.flag(field).to_string(),
        _ => quantity.shown(),
    }
}

fn ending(text: &mut String, plan: &Plan) -> Written {
    writeln!(
        text,
        "\nASSUMED (nobody told; write them, or measure them with kms-tune calibrate)"
    )?;
    for (field, quantity) in plan.assumptions() {
        let value = value_of(plan, field, &quantity);
        writeln!(
            text,
            "  {:<34} {value:>22}   {}",
            field.path,
            origin_line(&quantity)
        )?;
    }
    if !plan.notes.is_empty() {
        writeln!(text, "\nMIND")?;
        for note in &plan.notes {
            writeln!(text, "  - {note}")?;
        }
    }
    writeln!(text, "\nVERIFY")?;
    for command in super::verify::commands(plan) {
        writeln!(text, "  {command}")?;
    }
    Ok(())
}
