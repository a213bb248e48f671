//! What is counted of the shared cache, and what it looks like to people.
//!
//! Must never be true: a name or a key of a record in here.

use serde::Serialize;

use crate::metrics::Counter;

/// What is counted.
#[derive(Debug, Default)]
pub struct Stats {
    /// Lookups that found a plaintext.
    pub found: Counter,
    /// Lookups that found nothing.
    pub absent: Counter,
    /// Lookups that had no answer within their budget.
    pub timed_out: Counter,
    /// Lookups that were not sent: the server is down or does not answer.
    pub not_asked: Counter,
    /// Records that were not believed.
    pub refused: Counter,
    /// Records written, or sent at least.
    pub written: Counter,
    /// Records not written: the server is down, or too much waits.
    pub not_written: Counter,
    /// Messages of other nodes that were obeyed.
    pub messages: Counter,
    /// Messages that were not believed.
    pub messages_refused: Counter,
    /// Changes that no message told of.
    pub missed: Counter,
    /// Sealing keys in the engine that the HSM did not wrap.
    pub keys_refused: Counter,
}

/// One server, for people.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ServerReport {
    /// Where.
    pub server: String,
    /// `server` or `sentinel`.
    pub role: &'static str,
    /// It is connected and answers.
    pub up: bool,
    /// What is wrong; empty: nothing.
    pub why: String,
}

/// The shared cache now, for people.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Report {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of this node in it.
    pub node: String,
    /// It is used: connected, token and sealing key known.
    pub usable: bool,
    /// One line.
    pub detail: String,
    /// Tells the sealing key from others; no secret.
    pub key_id: Option<String>,
    /// Messages of other nodes come.
    pub subscribed: bool,
    /// Other nodes heard of within the last seconds.
    pub peers: Vec<String>,
    /// Each server.
    pub servers: Vec<ServerReport>,
}
