//! Live progress on standard error: one line that changes on a terminal, plain lines elsewhere.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::say;
use crate::load::observer::Progress;
use crate::results::{Errors, Second};

/// Plain lines of a whole run, about.
const LINES_MAX: u64 = 60;

pub(super) struct Live {
    bar: Option<ProgressBar>,
    seconds: u64,
    planned_s: u64,
    every: u64,
}

impl Live {
    /// For a run of so long, figures and warm-up together.
    pub fn new(planned: Duration) -> Self {
        let planned_s = planned.as_secs().max(1);
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(planned_s);
            // A template of ours: it reads.
            if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} s\n{msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self {
            bar,
            seconds: 0,
            planned_s,
            every: planned_s.div_ceil(LINES_MAX),
        }
    }
}

impl Progress for Live {
    fn second(&mut self, second: &Second) {
        self.seconds += 1;
        let text = line(second);
        if let Some(bar) = &self.bar {
            bar.set_position(self.seconds.min(self.planned_s));
            bar.set_message(text);
        } else if self.seconds.is_multiple_of(self.every) {
            say(&format!("{:>4} s  {text}", self.seconds));
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Rate, p50, p99, errors, lag of one second. Writing to a String cannot fail.
fn line(second: &Second) -> String {
    let ms = |ns: u64| format!("{:.2} ms", ns as f64 / 1e6);
    let latency = second.latency.as_ref().map_or_else(
        || "no answers".to_owned(),
        |latency| format!("p50 {}, p99 {}", ms(latency.p50_ns), ms(latency.p99_ns)),
    );
    let mut text = format!(
        "{}/s, {latency}, lag {}",
        second.right,
        ms(second.lag_max_ns)
    );
    let failed: u64 = Errors::values(&second.errors).sum();
    if failed > 0 {
        let kinds: Vec<String> = second
            .errors
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let _ = write!(text, ", {failed} failed ({})", kinds.join(", "));
    }
    if let (Some(hits), Some(joined), Some(misses)) = (second.hits, second.joined, second.misses) {
        let all = hits + joined + second.shared.unwrap_or(0) + misses;
        if all > 0 {
            let _ = write!(text, ", hits {:.1} %", 100.0 * hits as f64 / all as f64);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{ErrorKind, Latency};

    #[test]
    fn a_second_is_one_line() {
        let mut second = Second {
            right: 4990,
            lag_max_ns: 130_000,
            ..Second::default()
        };
        assert_eq!(line(&second), "4990/s, no answers, lag 0.13 ms");
        let mut latency = Latency::new();
        latency.record_ns(2_000_000);
        second.set_latency(&latency);
        second.errors = Errors::from([(ErrorKind::Timeout, 10)]);
        (second.hits, second.joined, second.misses) = (Some(75), Some(5), Some(20));
        assert_eq!(
            line(&second),
            "4990/s, p50 2.00 ms, p99 2.00 ms, lag 0.13 ms, 10 failed (10 no answer in time), hits 75.0 %"
        );
    }
}
