//! What the run cost.

use super::{Chart, Key, both_sizes, hover, mark_events};
use crate::report::buckets::{Bucket, Columns};
use crate::report::markup::Element;
use crate::report::plot::{Plot, Size, Stroke};
use crate::report::scale::Scale;
use crate::report::units;
use crate::results::RunResult;

/// Cores that generator and server kept busy.
pub(in crate::report) fn cpu(run: &RunResult, columns: &Columns) -> Option<Chart> {
    let cores = |bucket: &Bucket, us: Option<u64>| bucket.per_s(us?).map(|us| us / 1e6);
    let client = |bucket: &Bucket| cores(bucket, bucket.client_cpu_us);
    let server = |bucket: &Bucket| cores(bucket, bucket.server_cpu_us);
    let known = |bucket: &Bucket| {
        [client(bucket), server(bucket)]
            .into_iter()
            .flatten()
            .fold(0.0, f64::max)
    };
    let high = columns.buckets.iter().map(known).fold(0.0, f64::max);
    if high <= 0.0 {
        return None;
    }
    let draw = |size: Size| -> Element {
        let x = Scale::elapsed(columns.end_s(), size.ticks_across());
        let mut plot = Plot::new(size, x, Scale::from_zero(high, 4, units::tick_number));
        mark_events(&mut plot, run, columns);
        plot.line("c-purple", Stroke::Dashed, &columns.points(client));
        plot.line("c-blue", Stroke::Solid, &columns.points(server));
        hover(&mut plot, columns, |bucket| {
            let cores = |cores: Option<f64>| cores.map_or_else(units::none, units::number);
            format!(
                "server {} cores, generator {} cores",
                cores(server(bucket)),
                cores(client(bucket))
            )
        });
        plot.finish("time since the start", "cores busy", "CPU time over time")
    };
    let each = |us: Option<f64>| {
        us.map_or_else(String::new, |us| {
            format!("{} a request", units::time(us * 1e3))
        })
    };
    let server_each = run.cpu.server_us_per_request(&run.totals);
    let mut legend = vec![Key::line(
        "c-purple",
        Stroke::Dashed,
        "generator",
        each(run.cpu.client_us_per_request(&run.totals)),
    )];
    if run.cpu.server_us.is_some() {
        legend.insert(
            0,
            Key::line("c-blue", Stroke::Solid, "server", each(server_each)),
        );
    }
    Some(Chart {
        id: "cpu",
        title: "CPU".to_owned(),
        about: "User and system time of the processes. A generator near a whole core is itself the limit.".to_owned(),
        legend,
        drawings: both_sizes(draw),
        is_wide: true,
        is_lone: false,
    })
}
