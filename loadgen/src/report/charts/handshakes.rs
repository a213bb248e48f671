//! Who came in, and when.

use super::{Chart, Key, both_sizes, hover, mark_events};
use crate::report::buckets::{Bucket, Columns};
use crate::report::markup::Element;
use crate::report::plot::{Plot, Size, Stroke};
use crate::report::scale::Scale;
use crate::report::units;
use crate::results::{RunResult, sum};

/// TLS handshakes a second; nothing where all connections were there before.
pub(in crate::report) fn handshakes_over_time(run: &RunResult, columns: &Columns) -> Option<Chart> {
    let rate = |bucket: &Bucket| bucket.per_s(bucket.handshakes);
    let known = columns.buckets.iter().filter_map(rate);
    let high = known.fold(0.0, f64::max);
    if high <= 0.0 {
        return None;
    }
    let draw = |size: Size| -> Element {
        let x = Scale::elapsed(columns.end_s(), size.ticks_across());
        let mut plot = Plot::new(size, x, Scale::from_zero(high, 4, units::tick_number));
        mark_events(&mut plot, run, columns);
        plot.line("c-purple", Stroke::Solid, &columns.points(rate));
        hover(&mut plot, columns, |bucket| {
            rate(bucket).map_or_else(units::none, |rate| {
                format!("{} handshakes", units::rate(rate))
            })
        });
        plot.finish(
            "time since the start",
            "handshakes a second",
            "TLS handshakes over time",
        )
    };
    let count = sum(columns.buckets.iter().map(|bucket| bucket.handshakes));
    Some(Chart {
        id: "handshake-rate",
        title: "TLS handshakes over time".to_owned(),
        about: "Connections that were made while figures were taken; those opened before are not in it.".to_owned(),
        legend: vec![Key::line(
            "c-purple",
            Stroke::Solid,
            "handshakes",
            units::count(count),
        )],
        drawings: both_sizes(draw),
        is_wide: true,
        is_lone: false,
    })
}
