//! What an engine is told, and why it may not run.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;

use rand::Rng;
use rand::rngs::SmallRng;

use crate::load::clock::Jump;
use crate::load::proxy::ProxyFrom;
use crate::target::Target;

/// Of a schedule: its slack, ...
const SLACK_PART: u64 = 20;
/// ... within these limits, ...
const SLACK_NS: RangeInclusive<u64> = 100_000_000..=1_000_000_000;
/// ... and never less than this part.
const SLACK_PART_MIN: u64 = 100;
/// Handshakes at the same time that are always allowed.
const OPENING_MIN: u32 = 64;

/// What decides when the next request is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pace {
    /// The schedule.
    Open,
    /// The answer to the one before, so many in flight on each connection.
    Closed {
        /// Requests in flight.
        depth: u16,
    },
}

/// How many requests a connection lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Life {
    /// At least.
    pub min: u32,
    /// At most; `u32::MAX` is for ever.
    pub max: u32,
}

impl Life {
    /// For ever.
    pub const KEEP: Self = Self {
        min: u32::MAX,
        max: u32::MAX,
    };

    /// The life of one.
    pub(super) fn draw(self, random: &mut SmallRng) -> u32 {
        if self.min >= self.max {
            self.max
        } else {
            random.random_range(self.min..=self.max)
        }
    }
}

/// What an engine is told.
#[derive(Clone, Debug)]
pub struct EnginePlan {
    /// The server, once for each client certificate.
    pub targets: Vec<Target>,
    /// Tells the server that clients come from here.
    pub proxy: Option<ProxyFrom>,
    /// Open or closed loop.
    pub pace: Pace,
    /// Common connections that are opened before the run.
    pub connections: u32,
    /// Common connections at most; those beyond the first are opened when none is free.
    pub connections_max: u32,
    /// How long each lives.
    pub life: Life,
    /// How long an answer, a connection or a handshake is waited for.
    pub timeout_ns: u64,
    /// Load before the first figure.
    pub warm_up_ns: u64,
    /// Load in figures.
    pub duration_ns: u64,
    /// After so long without any answer, with requests failing, the run is given up.
    pub give_up_ns: u64,
    /// Waits for the next request without sleeping: more precise, and a whole core.
    pub spins: bool,
    /// Of the connections' lives.
    pub seed: u64,
    /// For tests.
    pub jump: Option<Jump>,
}

impl EnginePlan {
    /// Handshakes of common connections at the same time.
    pub(super) fn opening_max(&self) -> u32 {
        self.connections.max(OPENING_MIN)
    }

    /// Those that are opened before the run.
    pub(super) fn kept(&self) -> u32 {
        match (self.pace, self.life.max) {
            // One for each request: it is opened when the request is due.
            (Pace::Open, 1) => 0,
            _ => self.connections,
        }
    }

    /// How long after the schedule's end its last requests, which may have waited for answers, are sent in time: 5 % of
    /// the schedule, at least 100 ms, at most 1 s; 1 % where that is more.
    pub(super) fn slack_ns(&self) -> u64 {
        slack_ns(self.duration_ns)
    }
}

fn slack_ns(schedule_ns: u64) -> u64 {
    (schedule_ns / SLACK_PART)
        .clamp(*SLACK_NS.start(), *SLACK_NS.end())
        .max(schedule_ns / SLACK_PART_MIN)
}

/// Why an engine did not run.
#[derive(Debug)]
#[non_exhaustive]
pub enum EngineError {
    /// Ours: the event loop.
    Io(io::Error),
    /// The first connections could not be made; why.
    Connect(String),
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the load generator's event loop failed: {error}"),
            Self::Connect(why) => write!(f, "cannot connect: {why}"),
        }
    }
}

impl std::error::Error for EngineError {}

impl From<io::Error> for EngineError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use super::slack_ns;

    #[test]
    fn a_schedule_has_a_slack_by_its_length() {
        let rows = [
            (1, 100),
            (3, 150),
            (10, 500),
            (20, 1000),
            (100, 1000),
            (600, 6000),
        ];
        for (schedule_s, slack_ms) in rows {
            assert_eq!(
                slack_ns(schedule_s * 1_000_000_000),
                slack_ms * 1_000_000,
                "{schedule_s} s"
            );
        }
    }
}
