//! A quantity's derivation as text, from the quantity down to what was given, measured or assumed.

use std::fmt::Write as _;

use super::{Error, Formula, Held, Origin, Quantity, number};

/// The quantity of that name among `roots` and all they came from; the nearest to the roots if several.
pub fn find(roots: &[Quantity], name: &str) -> Option<Quantity> {
    walk(roots, usize::MAX)
        .into_iter()
        .find(|(_, quantity)| quantity.name() == name)
        .map(|(_, quantity)| quantity)
}

/// Every quantity once, breadth first, with how deep it was met.
fn walk(roots: &[Quantity], depth_max: usize) -> Vec<(usize, Quantity)> {
    let mut met: Vec<(usize, Quantity)> = Vec::new();
    let mut level: Vec<Quantity> = roots.to_vec();
    let mut depth = 0;
    while !level.is_empty() && depth <= depth_max {
        let mut next = Vec::new();
        for quantity in level {
            if met.iter().any(|(_, known)| known.is(&quantity)) {
                continue;
            }
            next.extend(quantity.inputs().iter().cloned());
            met.push((depth, quantity));
        }
        level = next;
        depth += 1;
    }
    met
}

/// The derivation, `depth_max` steps deep; what was given, measured or assumed stands with those who use it.
pub fn explain(quantity: &Quantity, depth_max: usize) -> String {
    let mut text = String::new();
    for (_, step) in walk(std::slice::from_ref(quantity), depth_max) {
        if !step.inputs().is_empty() || step.is(quantity) {
            write_step(&mut text, &step);
        }
    }
    text
}

fn write_step(text: &mut String, step: &Quantity) {
    if !text.is_empty() {
        text.push('\n');
    }
    let _ = writeln!(text, "{} = {}{}", step.name(), step.shown(), band(step));
    match step.origin() {
        Origin::Derived(formula) => write_formula(text, formula),
        _ => {
            let _ = writeln!(text, "    {}", origin_line(step));
        }
    }
    let width = step.inputs().iter().map(|input| input.name().len()).max();
    for input in step.inputs() {
        let _ = writeln!(
            text,
            "      {:width$} = {}   {}",
            input.name(),
            input.shown(),
            origin_line(input),
            width = width.unwrap_or(0)
        );
    }
}

fn write_formula(text: &mut String, formula: &Formula) {
    let _ = writeln!(text, "    = {}", formula.text);
    if *formula == Formula::arithmetic(formula.text) {
        return;
    }
    let _ = writeln!(text, "    source: {}", formula.source);
    let error = match formula.error {
        Error::Exact => "none of its own".to_owned(),
        Error::Relative(share) => format!("{} %", number(share * 100.0)),
        Error::Absolute(width) => format!("{} of its unit", number(width)),
    };
    let _ = writeln!(
        text,
        "    error: {error}, {}; holds for: {}",
        vouched(formula.held),
        formula.domain
    );
}

/// What vouches for an error.
pub fn vouched(held: Held) -> String {
    match held {
        Held::Arithmetic => "as arithmetic has it".to_owned(),
        Held::Test(test) => format!("held by tests/{test}.rs"),
        Held::Validate => "held by kms-tune validate".to_owned(),
        Held::Judgement => "by judgement: no test holds it".to_owned(),
    }
}

/// Half the band, if there is one.
fn band(quantity: &Quantity) -> String {
    if quantity.error() > 0.0 && quantity.error().is_finite() {
        format!(" +- {}", quantity.unit().show(quantity.error()))
    } else {
        String::new()
    }
}

/// Where a quantity came from, in a line.
pub fn origin_line(quantity: &Quantity) -> String {
    match quantity.origin() {
        Origin::Given(place) => format!("given: {place}"),
        Origin::Assumed(why) => format!("assumed: {why}"),
        Origin::Measured(place) => format!("measured: {place}"),
        Origin::Derived(_) => "worked out".to_owned(),
        Origin::Chosen(why) => format!("chosen: {why}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Unit;
    use super::*;

    static PRODUCT: Formula = Formula {
        text: "rate x time",
        source: "Little",
        error: Error::Relative(0.01),
        domain: "steady state",
        held: Held::Test("little"),
    };
    static TWICE: Formula = Formula::arithmetic("2 x held");

    #[test]
    fn every_step_is_told_once_with_its_inputs() {
        let rate = Quantity::given("rate_s", 2000.0, Unit::PerSecond("requests"), "a.toml");
        let time = Quantity::assumed("time_s", 0.5, Unit::Seconds, "a guess");
        let held = Quantity::derive(
            "held",
            Unit::Count("requests"),
            &PRODUCT,
            [&rate, &time],
            |[r, t]| r * t,
        );
        let twice = Quantity::derive("twice", Unit::Count("requests"), &TWICE, [&held], |[h]| {
            2.0 * h
        });
        assert_eq!(
            explain(&twice, 9),
            "twice = 2000 requests +- 20 requests\n    = 2 x held\n      held = 1000 requests   worked out\n\n\
             held = 1000 requests +- 10 requests\n    = rate x time\n    source: Little\n    \
             error: 1 %, held by tests/little.rs; holds for: steady state\n      rate_s = 2000 requests/s   given: a.toml\n      \
             time_s = 0.5 s   assumed: a guess\n"
        );
        assert!(!explain(&twice, 0).contains("Little"), "depth is a bound");
        let found = find(&[twice], "time_s").unwrap();
        assert_eq!(explain(&found, 9), "time_s = 0.5 s\n    assumed: a guess\n");
    }
}
