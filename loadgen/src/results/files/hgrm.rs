//! Percentile spectra in the text form of HdrHistogram's own tools, in milliseconds.

use std::fmt::Write;

use hdrhistogram::Histogram;

use super::document::tagged;
use crate::results::RunResult;

/// Steps in each halving of the distance to 100 %, as HdrHistogram's tools have it.
const TICKS_PER_HALF: u32 = 5;
const NS_PER_MS: f64 = 1e6;

/// Each histogram that is not empty: file name and text.
pub(super) fn all(run: &RunResult) -> Vec<(String, String)> {
    let all = tagged(run).into_iter();
    all.map(|(tag, latency)| (format!("{tag}.hgrm"), render(latency.histogram())))
        .collect()
}

fn render(histogram: &Histogram<u64>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut seen = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF) {
        seen += step.count_since_last_iteration();
        let value_ms = step.value_iterated_to().min(histogram.max()) as f64 / NS_PER_MS;
        let quantile = step.quantile_iterated_to();
        let _ = write!(text, "{value_ms:>12.6} {quantile:>14.12} {seen:>10}");
        let _ = if quantile < 1.0 {
            writeln!(text, " {:>14.2}", 1.0 / (1.0 - quantile))
        } else {
            writeln!(text)
        };
    }
    let (mean, deviation) = (histogram.mean() / NS_PER_MS, histogram.stdev() / NS_PER_MS);
    let (max, count) = (histogram.max() as f64 / NS_PER_MS, histogram.len());
    let _ = writeln!(
        text,
        "#[Mean    = {mean:>12.6}, StdDeviation   = {deviation:>12.6}]"
    );
    let _ = writeln!(
        text,
        "#[Max     = {max:>12.6}, Total count    = {count:>12}]"
    );
    // Sub-buckets are twice as many as the largest number of that many digits, rounded up to a power of two.
    let sub_buckets = (2 * 10_u64.pow(u32::from(histogram.sigfig()))).next_power_of_two();
    let _ = writeln!(
        text,
        "#[Buckets = {:>12}, SubBuckets     = {sub_buckets:>12}]",
        histogram.buckets()
    );
    text
}
