//! What the way to the HSM counts: messages, waits, connections, checks.
//!
//! One set for all its connections: a message takes a hundred times as long as counting it.

use std::time::Duration;

use super::{Counter, ItemHistogram, TimeHistogram};

/// One message to the HSM and its answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Exchanged {
    /// Wraps and unwraps in it; 0: it was about something else.
    pub items: usize,
    /// From its making to its answer, or to the end of patience.
    pub took: Duration,
}

/// Counters of a back end.
#[derive(Debug, Default)]
pub struct HsmMetrics {
    /// Messages of wraps and unwraps, until their answer.
    pub crypt_times: TimeHistogram,
    /// All other messages, until their answer.
    pub other_times: TimeHistogram,
    /// Wraps and unwraps in a message.
    pub items: ItemHistogram,
    /// What waited for a connection: until it was sent, or its time was over.
    pub waits: TimeHistogram,
    /// Connections made.
    pub connected: Counter,
    /// Attempts that failed.
    pub connect_failed: Counter,
    /// Connections that broke, hung or answered nonsense while they were used.
    pub broken: Counter,
    /// Operations of our own, to see whether the HSM works: those that did,
    pub checks: Counter,
    /// and those that did not.
    pub checks_failed: Counter,
}

impl HsmMetrics {
    /// Counts one message.
    pub fn exchanged(&self, message: Exchanged) {
        if message.items == 0 {
            self.other_times.observe_time(message.took);
        } else {
            self.crypt_times.observe_time(message.took);
            self.items.observe(message.items as u64);
        }
    }
}
