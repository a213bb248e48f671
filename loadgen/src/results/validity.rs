//! Whether a run's figures may be believed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Valid as long as nobody has a doubt. A run that is not must not pass a gate: its figures tell of the
/// generator, not of the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Validity {
    /// Why not; empty when the run is valid.
    pub doubts: Vec<Doubt>,
}

/// One reason not to believe a run. Each has the measured value and the limit that it broke.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Doubt {
    /// The generator sent later than intended.
    SendLag {
        /// 99th percentile of the lag.
        p99_us: f64,
        /// Highest that is believed.
        limit_us: f64,
    },
    /// Fewer requests were sent than planned.
    MissedRate {
        /// Sent a second.
        sent_per_s: f64,
        /// Planned a second.
        planned_per_s: f64,
        /// Lowest ratio that is believed, from 0 to 1.
        limit_ratio: f64,
    },
    /// The wall clock moved against the monotonic one: a suspended machine, or somebody set it.
    ClockJump {
        /// By how much; negative is backwards.
        jump_us: i64,
        /// Most that is believed, either way.
        limit_us: u64,
    },
    /// Other guests of the host took the CPU.
    StealTime {
        /// Share of the machine's time, from 0 to 1.
        ratio: f64,
        /// Most that is believed.
        limit_ratio: f64,
    },
    /// The generator's core had no time left.
    GeneratorBusy {
        /// Busy share of the driving threads' time, from 0 to 1.
        ratio: f64,
        /// Most that is believed.
        limit_ratio: f64,
    },
    /// Nothing was answered, so nothing was measured.
    NoAnswers,
    /// Anything else, for people.
    Other {
        /// What.
        text: String,
    },
}

impl Validity {
    /// Whether the figures may be believed.
    pub fn is_valid(&self) -> bool {
        self.doubts.is_empty()
    }

    /// Whether it is the server that gave all the reasons: a rate that it did not take is one that was missed. What a
    /// generator did not offer says nothing of it.
    pub fn is_servers_alone(&self) -> bool {
        let is_servers =
            |doubt: &Doubt| matches!(doubt, Doubt::MissedRate { .. } | Doubt::NoAnswers);
        !self.is_valid() && self.doubts.iter().all(is_servers)
    }

    /// `VALID` or `INVALID`.
    pub fn word(&self) -> &'static str {
        if self.is_valid() { "VALID" } else { "INVALID" }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SendLag { p99_us, limit_us } => write!(
                f,
                "the generator sent late: p99 of the lag was {:.3} ms, at most {:.3} ms is believed; use a lower rate, \
                 more processes or a quieter core",
                p99_us / 1e3,
                limit_us / 1e3
            ),
            Self::MissedRate {
                sent_per_s,
                planned_per_s,
                limit_ratio,
            } => write!(
                f,
                "the generator missed its rate: {sent_per_s:.0} requests/s sent of {planned_per_s:.0} planned, at \
                 least {:.1} % is believed; use more connections or more processes",
                limit_ratio * 1e2
            ),
            Self::ClockJump { jump_us, limit_us } => write!(
                f,
                "the clock jumped by {:.1} ms (at most {:.1} ms is believed): was the machine suspended, or its time set?",
                *jump_us as f64 / 1e3,
                *limit_us as f64 / 1e3
            ),
            Self::StealTime { ratio, limit_ratio } => write!(
                f,
                "other guests of the host took {:.1} % of the CPU time, at most {:.1} % is believed",
                ratio * 1e2,
                limit_ratio * 1e2
            ),
            Self::GeneratorBusy { ratio, limit_ratio } => write!(
                f,
                "the generator's threads were busy for {:.0} % of the time, at most {:.0} % is believed: it, not the \
                 server, was the limit",
                ratio * 1e2,
                limit_ratio * 1e2
            ),
            Self::NoAnswers => f.write_str("nothing was answered, so nothing was measured"),
            Self::Other { text } => f.write_str(text),
        }
    }
}
