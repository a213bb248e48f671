//! CPU and handshakes: what a request costs beside its latency.

use super::blocks::Draw;
use super::lines::{Figures, by_order, judged, relative};
use super::{Kind, Line};

pub(super) fn all(figures: &Figures<'_>, tolerance: f64) -> Vec<Line> {
    let mut lines = vec![
        server_cpu(figures, tolerance),
        client_cpu(figures, tolerance),
    ];
    lines.extend(handshakes(figures, tolerance));
    lines
}

fn server_cpu(figures: &Figures<'_>, tolerance: f64) -> Line {
    let [a, b] = [figures.a, figures.b].map(|run| run.cpu.server_us_per_request(&run.totals));
    let each = |draw: &Draw| draw.counts.server_cpu_us / draw.counts.sent.max(1.0);
    cpu(figures, "server CPU", [a, b], each, tolerance, true)
}

/// What the generator takes is its own affair.
fn client_cpu(figures: &Figures<'_>, tolerance: f64) -> Line {
    let [a, b] = [figures.a, figures.b].map(|run| run.cpu.client_us_per_request(&run.totals));
    let each = |draw: &Draw| draw.counts.client_cpu_us / draw.counts.sent.max(1.0);
    cpu(figures, "client CPU", [a, b], each, tolerance, false)
}

fn cpu(
    figures: &Figures<'_>,
    name: &str,
    [a, b]: [Option<f64>; 2],
    each: impl Fn(&Draw) -> f64,
    tolerance: f64,
    counts: bool,
) -> Line {
    let change = a.zip(b).and_then(|(a, b)| relative(a, b));
    let interval = figures
        .interval(each, relative)
        .filter(|_| change.is_some());
    let outcome = judged(change, interval, tolerance, true);
    Line {
        name: name.to_owned(),
        kind: Kind::CpuUs,
        a,
        b,
        change,
        interval,
        outcome,
        counts,
    }
}

/// Handshakes are few and come one by one: order statistics fit them.
fn handshakes(figures: &Figures<'_>, tolerance: f64) -> Vec<Line> {
    let [a, b] = [figures.a, figures.b].map(|run| &run.latencies);
    let mut lines = Vec::new();
    for (kind, a, b) in [
        ("full handshake", &a.handshake_full, &b.handshake_full),
        (
            "resumed handshake",
            &a.handshake_resumed,
            &b.handshake_resumed,
        ),
    ] {
        for (point, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            let (Some(of_a), Some(of_b)) = (a.at_ns(quantile), b.at_ns(quantile)) else {
                continue;
            };
            let (of_a, of_b) = (of_a as f64, of_b as f64);
            let (change, interval) = (relative(of_a, of_b), by_order(a, b, quantile));
            lines.push(Line {
                name: format!("{kind} {point}"),
                kind: Kind::LatencyNs,
                a: Some(of_a),
                b: Some(of_b),
                change,
                interval,
                outcome: judged(change, interval, tolerance, true),
                counts: false,
            });
        }
    }
    lines
}
