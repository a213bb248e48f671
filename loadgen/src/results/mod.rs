//! What a load run gave: the model that the load engine fills and that files, reports and comparisons read.
//!
//! [`RunResult`] is one run, or several merged ones. Its parts are in files of their own: who measured
//! ([`About`], [`Machine`]), what was asked for ([`Plan`]), whether the figures may be believed
//! ([`Validity`]), what came back ([`Totals`], [`Latencies`], [`Second`]), what the server said of itself
//! ([`ServerView`]) and what it means ([`slo`], [`Knee`]).
//!
//! Must never be true: a percentile that is a mean of percentiles. Percentiles come from histograms, and
//! histograms are added.

mod about;
pub mod compare;
pub mod files;
mod latency;
mod machine;
pub mod merge;
mod plan;
mod quantiles;
mod second;
mod server;
pub mod slo;
pub mod stats;
mod story;
mod totals;
mod validity;

use serde::{Deserialize, Serialize};

pub use about::{About, Completeness, Source, redacted};
pub use latency::{BadOperation, Latencies, Latency, Operation, OperationLatency};
pub use machine::Machine;
pub use plan::{Loop, MixPart, Plan, Stage};
pub use quantiles::Quantiles;
pub use second::{Interval, Second};
pub use server::{BatchBucket, ServerFigures, ServerView, Split, Tls};
pub use story::{Event, Knee, Probe};
pub(crate) use totals::add_counts;
pub use totals::{Cpu, ErrorKind, Errors, Totals};
pub use validity::{Doubt, Validity};

/// One run of the load generator, or several merged ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Who measured, when, with which arguments.
    pub about: About,
    /// The machines that made the load; one for each process merged.
    pub machines: Vec<Machine>,
    /// What was asked for.
    pub plan: Plan,
    /// The server as seen from here, and what it said of itself before and after.
    pub server: ServerView,
    /// Whether the figures may be believed.
    pub validity: Validity,
    /// Counts of the whole run.
    pub totals: Totals,
    /// CPU time of the generator and, where its process is known, of the server.
    pub cpu: Cpu,
    /// What happened when: stalls, a node killed, a certificate changed.
    #[serde(default)]
    pub events: Vec<Event>,
    /// The verdict on `--slo`, if one was given.
    #[serde(default)]
    pub slo: Option<slo::Verdict>,
    /// What `knee` found, if it was run.
    #[serde(default)]
    pub knee: Option<Knee>,
    /// Histograms of the whole run; in a file of their own.
    #[serde(skip)]
    pub latencies: Latencies,
    /// One entry for each second of wall clock, in order; in a file of its own.
    #[serde(skip)]
    pub series: Vec<Second>,
}

impl RunResult {
    /// Right answers a second over the whole run: failures are no throughput.
    pub fn rate_per_s(&self) -> f64 {
        per_s(self.totals.right, self.about.duration_us)
    }

    /// Requests a second that the schedule asked for: answers that came after its end change nothing.
    pub fn planned_per_s(&self) -> f64 {
        let (lasted_us, planned_us) = (self.about.duration_us, self.plan.duration_us);
        let has_overrun = (1..lasted_us).contains(&planned_us);
        per_s(
            self.totals.planned,
            if has_overrun { planned_us } else { lasted_us },
        )
    }

    /// Latency of all operations together, from the intended send time where there is one (open
    /// loop), else from the actual one (closed loop).
    pub fn headline(&self) -> Latency {
        self.latencies.headline(self.plan.mode)
    }
}

/// A sum that stays at the end of the range: files may hold any numbers.
pub(crate) fn sum(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

fn per_s(count: u64, duration_us: u64) -> f64 {
    if duration_us == 0 {
        return 0.0;
    }
    count as f64 / (duration_us as f64 / 1e6)
}
