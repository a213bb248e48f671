//! What is told of the servers of a fleet.

use std::sync::Arc;
use std::time::Instant;

use serde::{Serialize, Serializer};

use super::server::Server;
use super::{Ailment, Fleet};

/// What is known of one server, for `/readyz`, `kms check` and metrics.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ServerReport {
    /// `host:port`.
    #[serde(serialize_with = "text")]
    pub label: Arc<str>,
    /// Connections that stand.
    pub live: usize,
    /// Why it is left alone now, if it is.
    pub resting: Option<String>,
    /// Whether it does what it is asked.
    pub state: ServerState,
    /// What the last check found wrong, if nothing has succeeded since.
    pub trouble: Option<String>,
    /// How long the last check took that succeeded, in microseconds.
    pub check_us: Option<u64>,
    /// Items that one message may hold.
    pub batch_max: usize,
}

/// Whether a server does what it is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerState {
    /// It did the last thing that it was asked.
    Active,
    /// It answers, and refused or spoilt the last check.
    Degraded,
    /// It is not reached, or does not answer.
    Unavailable,
    /// It was not asked yet.
    Unknown,
}

impl ServerState {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Active,
        Self::Degraded,
        Self::Unavailable,
        Self::Unknown,
    ];

    /// As it is told.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Degraded => "degraded",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
        }
    }
}

/// What all servers together are good for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// One that is connected to does answer.
    pub up: bool,
    /// Why those that answer do not do what they are asked, if none does.
    pub refused: Option<Arc<str>>,
    /// What a check found wrong somewhere.
    pub trouble: Option<String>,
}

fn text<S: Serializer>(text: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(text)
}

impl Fleet {
    /// What the servers that are connected to are good for.
    pub fn standing(&self) -> Standing {
        let mut standing = Standing::default();
        let mut works = false;
        for server in self.servers.iter().filter(|server| server.live > 0) {
            match server.watch.ailment() {
                None => works = true,
                Some(Ailment::Refuses(why)) => standing.refused = Some(Arc::clone(why)),
                Some(Ailment::Broken(_)) => {}
            }
            let why = server.watch.ailment().map(Ailment::why);
            if let Some(why) = why.filter(|_| standing.trouble.is_none()) {
                standing.trouble = Some(format!("{}: {why}", server.label));
            }
        }
        standing.up = works || standing.refused.is_some();
        if works {
            standing.refused = None;
        }
        standing
    }

    /// Every server in configured order, then those that are not configured any more and still connected to.
    pub fn report(&self, now: Instant) -> Vec<ServerReport> {
        let report = |server: &Server| ServerReport {
            label: Arc::clone(&server.label),
            live: server.live,
            resting: (!server.is_fit() && !server.is_rested(now) || server.live == 0)
                .then(|| server.why.clone())
                .filter(|why| !why.is_empty()),
            state: server.state(),
            trouble: server
                .watch
                .ailment()
                .map(|ailment| ailment.why().to_owned()),
            check_us: server
                .watch
                .took()
                .map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
            batch_max: server.batch_max,
        };
        let is_told = |server: &&Server| server.is_wanted() || server.live > 0;
        let mut told: Vec<&Server> = self.servers.iter().filter(is_told).collect();
        told.sort_by_key(|server| server.rank.unwrap_or(usize::MAX));
        told.into_iter().map(report).collect()
    }
}

impl Server {
    pub(super) fn state(&self) -> ServerState {
        match self.watch.ailment() {
            Some(Ailment::Refuses(_)) => ServerState::Degraded,
            Some(Ailment::Broken(_)) => ServerState::Unavailable,
            None if self.live > 0 => ServerState::Active,
            None if !self.is_fit() || !self.why.is_empty() => ServerState::Unavailable,
            None if self.watch.has_worked() => ServerState::Active,
            None => ServerState::Unknown,
        }
    }
}
