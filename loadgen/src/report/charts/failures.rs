//! What failed, over time and by kind.

use super::{Chart, Key, both_sizes, hover, mark_events, stacked};
use crate::report::buckets::{Bucket, Columns};
use crate::report::markup::Element;
use crate::report::plot::{Plot, Size};
use crate::report::scale::Scale;
use crate::report::units;
use crate::results::{ErrorKind, RunResult, sum};

/// Warm colours first: most runs have one kind or two.
const COLOURS: [&str; 6] = [
    "c-vermillion",
    "c-amber",
    "c-purple",
    "c-blue",
    "c-green",
    "c-sky",
];

/// Kinds with a colour each, the most frequent first, and the rest.
struct Kinds {
    named: Vec<(ErrorKind, u64)>,
    others: Vec<(ErrorKind, u64)>,
}

impl Kinds {
    fn of(run: &RunResult) -> Self {
        let mut named: Vec<_> = run
            .totals
            .errors
            .iter()
            .map(|(kind, count)| (*kind, *count))
            .collect();
        named.retain(|(_, count)| *count > 0);
        // A wrong answer is the worst, however rare.
        named.sort_by_key(|(kind, count)| {
            (*kind != ErrorKind::WrongAnswer, std::cmp::Reverse(*count))
        });
        let others = named.split_off(named.len().min(COLOURS.len()));
        Self { named, others }
    }

    /// Class and count in a column, in the order they are stacked.
    fn layers(&self, bucket: &Bucket) -> Vec<(&'static str, u64)> {
        let count = |kind: &ErrorKind| bucket.errors.get(kind).copied().unwrap_or(0);
        let named = self
            .named
            .iter()
            .zip(COLOURS)
            .map(|((kind, _), class)| (class, count(kind)));
        let others = sum(self.others.iter().map(|(kind, _)| count(kind)));
        named.chain([("c-grey", others)]).collect()
    }

    fn legend(&self) -> Vec<Key> {
        let named = self.named.iter().zip(COLOURS);
        let mut legend: Vec<Key> = named
            .map(|((kind, count), class)| Key::area(class, kind.label(), units::count(*count)))
            .collect();
        if !self.others.is_empty() {
            let count = sum(self.others.iter().map(|(_, count)| *count));
            let names: Vec<_> = self.others.iter().map(|(kind, _)| kind.label()).collect();
            legend.push(Key::area("c-grey", &names.join(", "), units::count(count)));
        }
        legend
    }
}

/// Stacked by kind; none when nothing failed.
pub(in crate::report) fn failures(run: &RunResult, columns: &Columns) -> Option<Chart> {
    let kinds = Kinds::of(run);
    let highest = columns
        .buckets
        .iter()
        .filter_map(|bucket| bucket.per_s(bucket.failed()))
        .fold(0.0, f64::max);
    if kinds.named.is_empty() || highest <= 0.0 {
        return None;
    }
    let draw = |size: Size| -> Element {
        let x = Scale::elapsed(columns.end_s(), size.ticks_across());
        let mut plot = Plot::new(size, x, Scale::from_zero(highest, 4, units::tick_number));
        mark_events(&mut plot, run, columns);
        stacked(&mut plot, columns, |bucket| kinds.layers(bucket));
        hover(&mut plot, columns, |bucket| {
            let failed = bucket.errors.iter().filter(|(_, count)| **count > 0);
            let words: Vec<_> = failed
                .map(|(kind, count)| format!("{kind} {}", units::count(*count)))
                .collect();
            if words.is_empty() {
                "nothing failed".to_owned()
            } else {
                words.join(", ")
            }
        });
        plot.finish(
            "time since the start",
            "failures a second",
            "Failures by kind over time",
        )
    };
    Some(Chart {
        id: "errors",
        title: "Failures by kind".to_owned(),
        about: "Each request that did not end right, when it became known. The latency plots leave them out: a quick \
                refusal is no quick answer."
            .to_owned(),
        legend: kinds.legend(),
        drawings: both_sizes(draw),
        is_wide: true,
        is_lone: false,
    })
}
