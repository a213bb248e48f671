//! The shared second-level cache (L2): sealed data keys on an engine that speaks the protocol of Redis.
//!
//! The nodes of a cluster share what one of them had unwrapped, and tell each other what may not be used any
//! more. One thread, a loop that never waits, owns all connections to the engine; nobody else touches a socket.
//! A lookup is parked like a job for the HSM: it is answered by its budget, found or not. What is written is
//! written without waiting. The engine sees sealed records under names that tell nothing (`record`), and one key
//! that the HSM has wrapped (`wrapped`).
//!
//! Must never be true: a plaintext outside locked memory; a worker that waits for the engine; a record used
//! while this node does not know the cluster's token (`watch`); a wrong plaintext, whatever the engine holds.
//! Called by `engine`; `node` starts it.

mod access;
mod board;
mod breaker;
mod bulletin;
mod explain;
mod follow;
mod keeper;
mod keyring;
mod lane;
mod link;
mod lookup;
mod peers;
mod probe;
mod pulse;
pub mod record;
mod report;
mod resolve;
pub mod resp;
mod route;
mod run;
pub mod slots;
mod subscriber;
#[cfg(test)]
mod tests;
mod token;
mod watch;
pub mod wrapped;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::secret::{Arena, SecretBytes, SecretKey};

pub use access::Access;
pub use board::Cluster;
pub use bulletin::Word;
pub use lookup::Named;
pub use probe::probe;
pub use record::What;
pub use report::{Report, ServerReport, Stats};
pub use slots::Place;

/// Bytes of locked buffers that the shared cache holds.
pub const LOCKED_BYTES: usize = crate::net::pipe::SCRATCH_BYTES_MIN + 2 * 1024;

/// How the engine's servers belong together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mode {
    /// One server.
    Standalone,
    /// Sentinels tell which server of this name is the master.
    Sentinel {
        /// The name.
        master: String,
    },
    /// A Redis Cluster.
    Cluster,
}

/// What the configuration says.
#[derive(Clone)]
pub struct ClusterPlan {
    /// Name of the cluster: part of every name in the engine.
    pub cluster: String,
    /// Name of this node.
    pub node: String,
    /// How the servers belong together.
    pub mode: Mode,
    /// The server, the sentinels, or some servers of the cluster.
    pub places: Vec<Place>,
    /// Into the servers.
    pub access: Access,
    /// Into the sentinels.
    pub sentinel_access: Access,
    /// What a lookup may add to a miss.
    pub budget: Duration,
    /// Life of a record, give or take a tenth.
    pub ttl: Duration,
    /// How often the token is looked at.
    pub poll_every: Duration,
    /// How long one sealing key is used.
    pub key_life: Duration,
    /// Connects and changes nothing: for [`probe`].
    pub looks_only: bool,
}

/// Puts an opened plaintext into locked memory; `None`: there is no room.
pub type Store = Box<dyn Fn(&[u8]) -> Option<SecretKey> + Send + Sync>;

/// What the shared cache is given by those above it.
pub struct Tools {
    /// For its own keys and buffers.
    pub arena: &'static Arena,
    /// For what it finds.
    pub store: Store,
    /// The HSM, as far as it is needed here.
    pub wrap: Box<dyn KeyWrap>,
    /// Who is told what other nodes say.
    pub events: Arc<dyn Events>,
}

/// Wraps the sealing key under a key of the HSM that is used for nothing else. Called on a thread that may wait;
/// each call ends in bounded time.
pub trait KeyWrap: Send + Sync {
    /// Wraps; gives the version of the HSM's key and what it made.
    fn wrap(&self, key: SecretBytes, associated_data: &[u8]) -> Result<(u32, Vec<u8>), WrapError>;
    /// Unwraps what version `version` wrapped.
    fn unwrap(
        &self,
        version: u32,
        wrapped: &[u8],
        associated_data: &[u8],
    ) -> Result<SecretKey, WrapError>;
}

/// Why a sealing key was not wrapped or unwrapped.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WrapError {
    /// The HSM was not reached, or is busy: later perhaps.
    Unavailable(String),
    /// The HSM says that it did not wrap this.
    Refused(String),
}

/// What other nodes did, and the time. Called on the loop: must not wait.
pub trait Events: Send + Sync {
    /// Versions of the key may not be unwrapped any more, or it is gone.
    fn withdrawn(&self, key: &str);
    /// The key has a new version.
    fn grown(&self, key: &str);
    /// Plaintexts are to be dropped: of this key, or all.
    fn purge(&self, key: Option<&str>);
    /// Something may have been missed: what is known of every key is to be looked up again.
    fn missed(&self);
    /// The loop turns; `fresh`: the node knows the cluster's token.
    fn tick(&self, now: Instant, fresh: bool);
}

/// What a lookup found.
pub enum Found {
    /// The plaintext.
    Key(SecretKey),
    /// Nothing that is to be believed.
    Absent,
    /// Not within the budget, or not at all.
    Unavailable,
}

/// Why a command has no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unmet {
    /// The server is not connected, or does not answer others.
    Down,
    /// The caller's time is over.
    TimedOut,
    /// The connection ended with the command on it: it may have been carried out.
    Lost,
}

/// Which nodes obeyed an order.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct Obedience {
    /// The order reached the engine.
    pub published: bool,
    /// Nodes that obeyed.
    pub acknowledged: Vec<String>,
    /// Nodes that were there within the last seconds and did not say so.
    pub silent: Vec<String>,
}

/// Where an [`Obedience`] goes.
type Acks = SyncSender<Obedience>;

fn acks() -> (Acks, Receiver<Obedience>) {
    sync_channel(1)
}
