//! Comparisons: real changes are found, chance is not taken for one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::assigning_clones,
    clippy::semicolon_if_nothing_returned,
    missing_docs
)]

mod results_support;

use kms_loadgen::results::compare::{Change, CompareError, Comparison, Line, Options, compare};
use kms_loadgen::results::{Completeness, Doubt, ErrorKind, Errors, Loop, RunResult};
use results_support::{Recipe, nothing, one_answer, sum_up};

const OPTIONS: Options = Options {
    tolerance: 0.05,
    is_forced: false,
};

fn run(change: impl Fn(&mut Recipe)) -> RunResult {
    let mut recipe = Recipe {
        seconds: 40,
        rate_per_s: 1500,
        ..Recipe::default()
    };
    change(&mut recipe);
    recipe.make()
}

fn line<'a>(comparison: &'a Comparison, name: &str) -> &'a Line {
    comparison
        .lines
        .iter()
        .find(|line| line.name == name)
        .unwrap()
}

type Make = fn() -> RunResult;
/// Name, the run before, the run after, what to make of which figure, whether it is a regression.
type Case = (
    &'static str,
    Make,
    Make,
    &'static [(&'static str, Change)],
    bool,
);

fn before() -> RunResult {
    run(|_| ())
}

fn slower() -> RunResult {
    run(|recipe| (recipe.seed, recipe.slower) = (99, 1.33))
}

fn stalled() -> RunResult {
    run(|recipe| (recipe.seed, recipe.stall) = (3, Some((17.0, 1.0))))
}

const CHANGES: [Case; 7] = [
    (
        "the same twice",
        before,
        before,
        &[("p50", Change::Same), ("p99.9", Change::Same)],
        false,
    ),
    (
        "another seed",
        before,
        || run(|recipe| recipe.seed = 99),
        &[("p50", Change::Same), ("rate", Change::Same)],
        false,
    ),
    (
        "slower by a third",
        before,
        slower,
        &[
            ("p50", Change::Worse),
            ("p90", Change::Worse),
            ("failed", Change::Same),
        ],
        true,
    ),
    (
        "quicker by a third",
        slower,
        before,
        &[("p50", Change::Better), ("rate", Change::Same)],
        false,
    ),
    (
        "half the rate",
        before,
        || run(|recipe| (recipe.seed, recipe.rate_per_s) = (5, 750)),
        &[("rate", Change::Worse)],
        true,
    ),
    // One stall is one event: the tail may be chance, requests that fail are not.
    (
        "one stall",
        before,
        stalled,
        &[("p99.9", Change::Unsure), ("failed", Change::Worse)],
        true,
    ),
    (
        "two of one kind",
        stalled,
        || run(|recipe| (recipe.seed, recipe.stall) = (4, Some((22.0, 1.0)))),
        &[("p50", Change::Same), ("failed", Change::Same)],
        false,
    ),
];

#[test]
fn changes_are_told_from_chance() {
    for (name, a, b, want, is_regression) in CHANGES {
        let comparison = compare(&a(), &b(), OPTIONS).unwrap();
        for (figure, want) in want {
            let line = line(&comparison, figure);
            assert_eq!(line.outcome, *want, "{name}: {line:?}");
        }
        assert_eq!(
            comparison.is_regression, is_regression,
            "{name}: {:#?}",
            comparison.lines
        );
        assert!(
            comparison
                .method
                .starts_with("block bootstrap: 40 blocks of 1 s"),
            "{}",
            comparison.method
        );
    }
}

#[test]
fn intervals_hold_the_change_that_was_made() {
    let before = run(|_| ());
    for factor in [1.0, 1.2, 2.0] {
        let after = run(|recipe| (recipe.seed, recipe.slower) = (31, factor));
        let comparison = compare(&before, &after, OPTIONS).unwrap();
        let (low, high) = line(&comparison, "p50").interval.unwrap();
        // The lag is part of a response and no part of what became slower.
        let (change, lag) = (factor - 1.0, 0.03 * factor);
        assert!(
            low - lag <= change && change <= high + lag,
            "{factor}: {low}..{high}"
        );
        assert!(high - low < 0.1, "{factor}: {low}..{high}");
        // A verdict can be repeated.
        assert_eq!(compare(&before, &after, OPTIONS).unwrap(), comparison);
    }
}

#[test]
fn short_runs_are_compared_by_order_statistics() {
    let short = |seed, slower| {
        run(|recipe| (recipe.seconds, recipe.seed, recipe.slower) = (5, seed, slower))
    };
    let comparison = compare(&short(1, 1.0), &short(2, 1.5), OPTIONS).unwrap();
    assert!(
        comparison.method.starts_with("order statistics"),
        "{}",
        comparison.method
    );
    let p50 = line(&comparison, "p50");
    let (low, high) = p50.interval.unwrap();
    assert!(
        p50.outcome == Change::Worse && low > 0.4 && high < 0.65,
        "{p50:?}"
    );
    // A handful of answers prove nothing.
    let few = |seed, slower| {
        run(|recipe| {
            (
                recipe.seconds,
                recipe.rate_per_s,
                recipe.seed,
                recipe.slower,
            ) = (2, 10, seed, slower)
        })
    };
    let comparison = compare(&few(1, 1.0), &few(2, 1.2), OPTIONS).unwrap();
    assert_eq!(
        line(&comparison, "p99").outcome,
        Change::Unsure,
        "{comparison:#?}"
    );
}

#[test]
fn what_failed_counts_by_its_number() {
    let with = |failures: u64, kind| {
        let mut run = run(|recipe| recipe.seconds = 20);
        run.series[7].errors = Errors::from([(kind, failures)]);
        sum_up(&mut run);
        run
    };
    let none = with(0, ErrorKind::Timeout);
    for (name, a, b, figure, want, is_regression) in [
        (
            "one of thirty thousand",
            &none,
            &with(1, ErrorKind::Timeout),
            "failed",
            Change::Same,
            false,
        ),
        (
            "a hundred",
            &none,
            &with(100, ErrorKind::Timeout),
            "failed",
            Change::Worse,
            true,
        ),
        (
            "a hundred less",
            &with(100, ErrorKind::Timeout),
            &none,
            "failed",
            Change::Better,
            false,
        ),
        (
            "one wrong answer",
            &none,
            &with(1, ErrorKind::WrongAnswer),
            "wrong answers",
            Change::Worse,
            true,
        ),
    ] {
        let comparison = compare(a, b, OPTIONS).unwrap();
        let line = line(&comparison, figure);
        assert_eq!(
            (line.outcome, comparison.is_regression),
            (want, is_regression),
            "{name}: {line:?}"
        );
    }
}

#[test]
fn a_run_without_answers_is_a_regression() {
    let mut after = run(|recipe| recipe.seconds = 0);
    after.about.duration_us = 40_000_000;
    let comparison = compare(&run(|_| ()), &after, OPTIONS).unwrap();
    assert_eq!(
        (line(&comparison, "rate").outcome, comparison.is_regression),
        (Change::Worse, true)
    );
    assert_eq!(line(&comparison, "p99").outcome, Change::Untold);
}

type Harm = fn(&mut RunResult);

const HARMS: [(&str, Harm, &str); 4] = [
    (
        "invalid",
        |run| run.validity.doubts = vec![Doubt::NoAnswers],
        "is INVALID: nothing was answered",
    ),
    (
        "partial",
        |run| run.about.completeness = Completeness::Partial("killed".to_owned()),
        "is partial: killed",
    ),
    (
        "closed",
        |run| run.plan.mode = Loop::Closed,
        "one run is an open loop",
    ),
    (
        "two at once",
        |run| {
            run.validity.doubts = vec![Doubt::NoAnswers];
            run.plan.mode = Loop::Closed;
        },
        "is INVALID",
    ),
];

#[test]
fn runs_that_cannot_be_compared_are_refused() {
    let good = run(|recipe| recipe.seconds = 12);
    let forced = Options {
        is_forced: true,
        ..OPTIONS
    };
    for (name, harm, want) in HARMS {
        let mut bad = good.clone();
        harm(&mut bad);
        for (a, b) in [(&good, &bad), (&bad, &good)] {
            let error = compare(a, b, OPTIONS).unwrap_err();
            assert!(
                error.to_string().contains(want) && error.can_be_forced(),
                "{name}: {error}"
            );
            let comparison = compare(a, b, forced).unwrap();
            assert!(
                comparison.notes[0].contains(want),
                "{name}: {:?}",
                comparison.notes
            );
        }
    }
    for empty in [nothing(), run(|recipe| recipe.seconds = 0)] {
        assert_eq!(
            compare(&empty, &good, forced),
            Err(CompareError::NoAnswers('A'))
        );
    }
    let mut other = good.clone();
    other.plan.connections = 1;
    let comparison = compare(&good, &other, OPTIONS).unwrap();
    assert_eq!(
        comparison.notes,
        ["the plans differ: connections is 64 and 1"]
    );
    assert!(compare(&one_answer(), &one_answer(), OPTIONS).is_ok());
}
