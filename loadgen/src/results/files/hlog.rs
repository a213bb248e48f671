//! Histograms as HdrHistogram V2 interval logs, which the tools of that project and its ports read.

use std::fmt::{self, Write};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use crate::results::{Interval, Latencies, RunResult, Second};

/// Nanoseconds in a file, milliseconds in its column of maxima.
const NS_PER_MS: f64 = 1e6;

/// One line for each histogram of the whole run.
pub(super) fn whole_run(run: &RunResult) -> Vec<u8> {
    let length = Duration::from_micros(run.about.duration_us);
    let mut text = header(Duration::from_micros(run.about.start_unix_us));
    for (tag, latency) in run.latencies.named() {
        if let Some(packed) = Interval::of(latency) {
            let max_ns = latency.max_ns().unwrap_or(0);
            line(
                &mut text,
                Some(&tag),
                Duration::ZERO,
                length,
                max_ns,
                &packed,
            );
        }
    }
    text.into_bytes()
}

/// One line for each second that has a latency.
pub(super) fn seconds(run: &RunResult) -> Vec<u8> {
    let first_s = run.series.first().map_or(0, |second| second.unix_s);
    let mut text = header(Duration::from_secs(first_s));
    for second in &run.series {
        if let Some(packed) = &second.interval {
            let begin = Duration::from_secs(second.unix_s.saturating_sub(first_s));
            let max_ns = second.latency.map_or(0, |latency| latency.max_ns);
            line(
                &mut text,
                None,
                begin,
                Duration::from_secs(1),
                max_ns,
                packed,
            );
        }
    }
    text.into_bytes()
}

/// Times of the lines count from `base`. Writing to a String cannot fail.
fn header(base: Duration) -> String {
    let mut text =
        "#[Latencies in nanoseconds, maxima in milliseconds, by kms-loadgen]\n".to_owned();
    for name in ["StartTime", "BaseTime"] {
        let seconds = Decimal(base);
        let _ = writeln!(text, "#[{name}: {seconds} (seconds since epoch)]");
    }
    let _ = writeln!(text, "#[MaxValueDivisor: {NS_PER_MS:.3}]");
    text
}

fn line(
    text: &mut String,
    tag: Option<&str>,
    begin: Duration,
    length: Duration,
    max_ns: u64,
    packed: &Interval,
) {
    if let Some(tag) = tag {
        let _ = write!(text, "Tag={tag},");
    }
    let (begin, length, max_ms) = (Decimal(begin), Decimal(length), max_ns as f64 / NS_PER_MS);
    let _ = write!(text, "{begin},{length},{max_ms:.3},");
    STANDARD.encode_string(packed.packed(), text);
    text.push('\n');
}

/// Seconds with three decimals.
struct Decimal(Duration);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0.as_secs(), self.0.subsec_millis())
    }
}

/// Adds each tagged histogram to where its tag belongs.
pub(super) fn read_whole_run(bytes: &[u8], latencies: &mut Latencies) -> Result<(), String> {
    for (tag, _, packed) in entries(bytes)? {
        let tag = tag.ok_or("a histogram without a tag")?;
        let histogram = packed
            .unpack()
            .ok_or_else(|| format!("the histogram {tag:?} cannot be read"))?;
        let place = latencies
            .by_name(&tag)
            .ok_or_else(|| format!("no histogram is called {tag:?}"))?;
        place.add(&histogram);
    }
    Ok(())
}

/// Gives each second its histogram.
pub(super) fn read_seconds(bytes: &[u8], series: &mut [Second]) -> Result<(), String> {
    for (_, unix_s, packed) in entries(bytes)? {
        let at = series.binary_search_by_key(&unix_s, |second| second.unix_s);
        let second = at.ok().and_then(|at| series.get_mut(at));
        let second = second.ok_or_else(|| format!("second {unix_s} is not in the series"))?;
        second.interval = Some(packed);
    }
    Ok(())
}

type Entry = (Option<String>, u64, Interval);

/// Tag, second of wall clock and packed histogram of each line.
fn entries(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let mut base = Duration::ZERO;
    let mut found = Vec::new();
    for entry in IntervalLogIterator::new(bytes) {
        match entry {
            Ok(LogEntry::StartTime(_)) => {}
            Ok(LogEntry::BaseTime(time)) => base = time,
            Ok(LogEntry::Interval(line)) => {
                let packed = STANDARD.decode(line.encoded_histogram());
                let packed = packed.ok().and_then(Interval::from_packed);
                let packed = packed
                    .ok_or_else(|| format!("histogram {} cannot be read", found.len() + 1))?;
                // Times have three decimals; half a millisecond keeps 4.999999 from being 4.
                let at = base
                    .saturating_add(line.start_timestamp())
                    .saturating_add(Duration::from_micros(500));
                found.push((
                    line.tag().map(|tag| tag.as_str().to_owned()),
                    at.as_secs(),
                    packed,
                ));
            }
            Err(error) => return Err(format!("not an HdrHistogram log: {error:?}")),
        }
    }
    Ok(found)
}
