//! Counts of a whole run.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::sum;

/// How a request failed. Each planned request ends right or as exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// A success whose plaintext or ciphertext was not the right one. One is one too many.
    WrongAnswer,
    /// Not HTTP, or not the JSON of the operation.
    Malformed,
    /// Status 4xx, but for 429.
    ClientError,
    /// Status 429: the server limits this client.
    RateLimited,
    /// Status 503: overloaded, or its HSM is away.
    Unavailable,
    /// Status 504: the HSM did not answer in time.
    GatewayTimeout,
    /// Any other status from 500.
    ServerError,
    /// No answer within the plan's time-out.
    Timeout,
    /// The connection ended before the answer came.
    ConnectionLost,
    /// TCP would not connect.
    ConnectFailed,
    /// TLS would not: certificate, version, alert.
    HandshakeFailed,
    /// Never sent: no connection was free in time. The generator's or the plan's fault.
    NotSent,
    /// Still under way when the run was cut.
    Unfinished,
}

/// Counts by kind; a kind that did not happen is not there.
pub type Errors = BTreeMap<ErrorKind, u64>;

/// Counts of the whole run, warm-up left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Requests that the schedule called for; in a closed loop those that were sent.
    pub planned: u64,
    /// Requests written to a connection.
    pub sent: u64,
    /// Successes with the right content.
    pub right: u64,
    /// All else.
    pub errors: Errors,
    /// Answers by status, right or not.
    pub statuses: BTreeMap<u16, u64>,
    /// Full TLS handshakes that succeeded.
    pub handshakes_full: u64,
    /// Resumed ones.
    pub handshakes_resumed: u64,
    /// Bytes of TLS records written and read.
    #[serde(default)]
    pub bytes_sent: u64,
    /// Bytes of TLS records read.
    #[serde(default)]
    pub bytes_received: u64,
}

impl Totals {
    /// Requests that failed, wrong answers included.
    pub fn failed(&self) -> u64 {
        sum(self.errors.values().copied())
    }

    /// Requests with a known end.
    pub fn ended(&self) -> u64 {
        self.right.saturating_add(self.failed())
    }

    /// Successes with wrong content.
    pub fn wrong(&self) -> u64 {
        self.errors
            .get(&ErrorKind::WrongAnswer)
            .copied()
            .unwrap_or(0)
    }

    /// Failed share of the ended, from 0 to 1; none when nothing ended.
    pub fn error_ratio(&self) -> Option<f64> {
        let ended = self.ended();
        (ended > 0).then(|| self.failed() as f64 / ended as f64)
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        for (ours, theirs) in [
            (&mut self.planned, other.planned),
            (&mut self.sent, other.sent),
            (&mut self.right, other.right),
            (&mut self.handshakes_full, other.handshakes_full),
            (&mut self.handshakes_resumed, other.handshakes_resumed),
            (&mut self.bytes_sent, other.bytes_sent),
            (&mut self.bytes_received, other.bytes_received),
        ] {
            *ours = ours.saturating_add(theirs);
        }
        add_counts(&mut self.errors, &other.errors);
        add_counts(&mut self.statuses, &other.statuses);
    }
}

/// Adds counts by key.
pub(crate) fn add_counts<K: Copy + Ord>(ours: &mut BTreeMap<K, u64>, theirs: &BTreeMap<K, u64>) {
    for (key, count) in theirs {
        let own = ours.entry(*key).or_default();
        *own = own.saturating_add(*count);
    }
}

impl ErrorKind {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 13] = [
        Self::WrongAnswer,
        Self::Malformed,
        Self::ClientError,
        Self::RateLimited,
        Self::Unavailable,
        Self::GatewayTimeout,
        Self::ServerError,
        Self::Timeout,
        Self::ConnectionLost,
        Self::ConnectFailed,
        Self::HandshakeFailed,
        Self::NotSent,
        Self::Unfinished,
    ];

    /// The kind of an answer with this status; none for a success.
    pub fn of_status(status: u16) -> Option<Self> {
        match status {
            200..=299 => None,
            429 => Some(Self::RateLimited),
            400..=499 => Some(Self::ClientError),
            503 => Some(Self::Unavailable),
            504 => Some(Self::GatewayTimeout),
            500..=599 => Some(Self::ServerError),
            _ => Some(Self::Malformed),
        }
    }

    /// As in files: `wrong_answer`.
    pub fn name(self) -> &'static str {
        match self {
            Self::WrongAnswer => "wrong_answer",
            Self::Malformed => "malformed",
            Self::ClientError => "client_error",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::GatewayTimeout => "gateway_timeout",
            Self::ServerError => "server_error",
            Self::Timeout => "timeout",
            Self::ConnectionLost => "connection_lost",
            Self::ConnectFailed => "connect_failed",
            Self::HandshakeFailed => "handshake_failed",
            Self::NotSent => "not_sent",
            Self::Unfinished => "unfinished",
        }
    }

    /// For people.
    pub fn label(self) -> &'static str {
        match self {
            Self::WrongAnswer => "wrong answer",
            Self::Malformed => "malformed answer",
            Self::ClientError => "refused (4xx)",
            Self::RateLimited => "rate limited (429)",
            Self::Unavailable => "unavailable (503)",
            Self::GatewayTimeout => "HSM time-out (504)",
            Self::ServerError => "server error (5xx)",
            Self::Timeout => "no answer in time",
            Self::ConnectionLost => "connection lost",
            Self::ConnectFailed => "connect failed",
            Self::HandshakeFailed => "handshake failed",
            Self::NotSent => "not sent",
            Self::Unfinished => "unfinished",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// CPU time of the measured part of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// The generator's threads.
    pub client_us: u64,
    /// The server's process and its children, where it runs here and its process is known.
    #[serde(default)]
    pub server_us: Option<u64>,
}

impl Cpu {
    /// Of the generator, microseconds a request sent.
    pub fn client_us_per_request(&self, totals: &Totals) -> Option<f64> {
        (totals.sent > 0).then(|| self.client_us as f64 / totals.sent as f64)
    }

    /// Of the server, microseconds a request sent.
    pub fn server_us_per_request(&self, totals: &Totals) -> Option<f64> {
        let server_us = self.server_us?;
        (totals.sent > 0).then(|| server_us as f64 / totals.sent as f64)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_kind_is_listed_once_by_its_name_in_files() {
        let mut names: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.name()).collect();
        for kind in ErrorKind::ALL {
            assert_eq!(
                serde_json::to_string(&kind).unwrap(),
                format!("\"{}\"", kind.name())
            );
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ErrorKind::ALL.len());
    }

    #[test]
    fn statuses_have_kinds() {
        for (status, want) in [
            (200, None),
            (204, None),
            (301, Some(ErrorKind::Malformed)),
            (403, Some(ErrorKind::ClientError)),
            (429, Some(ErrorKind::RateLimited)),
            (500, Some(ErrorKind::ServerError)),
            (503, Some(ErrorKind::Unavailable)),
            (504, Some(ErrorKind::GatewayTimeout)),
            (999, Some(ErrorKind::Malformed)),
        ] {
            assert_eq!(ErrorKind::of_status(status), want, "{status}");
        }
    }

    #[test]
    fn ratios_count_every_end() {
        let mut totals = Totals::default();
        assert_eq!(totals.error_ratio(), None, "nothing ended");
        totals.right = 97;
        totals.errors = Errors::from([(ErrorKind::WrongAnswer, 1), (ErrorKind::Timeout, 2)]);
        assert_eq!((totals.error_ratio(), totals.wrong()), (Some(0.03), 1));
        let once = totals.clone();
        totals.add(&once);
        assert_eq!((totals.ended(), totals.failed()), (200, 6));
    }
}
