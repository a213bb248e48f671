//! Several HSMs behind one pool: which to connect to, which to leave alone, what each was learnt to take.
//!
//! Health is judged by use: an address that refuses, hangs or breaks the protocol rests for a pause
//! that doubles, and is then tried by one connection at a time, so that it comes back without a
//! restart. Connections move to it again one by one, each opened before the old one is given up.
//! Bytes, sockets, threads and clocks are elsewhere. Called by the pool's threads.
//!
//! Must never be true: a pause so long that service is not back a second after an HSM; two
//! connections that try one resting address at once; a server forgotten because it failed often.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

#[cfg(test)]
mod tests;

/// First pause of an address that failed; doubles with each failure in a row.
pub const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause: with it, service is back within 1 s of the HSM's return.
pub const PAUSE_MAX: Duration = Duration::from_millis(600);
/// An idle connection is asked something after this time, unless a shorter idle limit was learnt.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Shortest time after which an idle connection is asked something.
pub const KEEP_ALIVE_MIN: Duration = Duration::from_secs(1);

/// Index of a server in the configured order.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ServerId(usize);

impl ServerId {
    /// The index.
    pub fn index(self) -> usize {
        self.0
    }
}

/// What a thread without a connection is to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Choice {
    /// Connect there, and tell how it went.
    Connect(ServerId),
    /// Every address rests: ask again after so long.
    Rest(Duration),
}

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// We gave it up in order, or the HSM closed it while it was idle: no fault.
    Quiet,
    /// It broke, hung or answered nonsense while it was used.
    Fault,
}

#[derive(Clone, Copy, Debug)]
enum Standing {
    /// Tried never, or good.
    Fit,
    /// Not to be tried before `until`.
    Resting { until: Instant },
}

struct Server {
    label: Arc<str>,
    standing: Standing,
    /// Pause that its next failure costs.
    pause: Duration,
    /// Connections that stand.
    live: usize,
    /// Attempts to connect that have not ended.
    opening: usize,
    /// When the last of them began, other than those to move a connection.
    tried: Option<Instant>,
    /// Items that one message may hold; learnt downwards only.
    batch_max: usize,
    /// Shortest idle time after which it was found to have closed a connection.
    idle_limit: Option<Duration>,
    /// Why it rests.
    why: String,
}

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
    /// Items that one message may hold.
    pub batch_max: usize,
}

fn text<S: Serializer>(text: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(text)
}

/// All configured servers.
pub struct Fleet {
    servers: Vec<Server>,
}

impl Fleet {
    /// Servers by label in their configured order; messages of up to `batch_max` items.
    pub fn new(labels: impl IntoIterator<Item = Arc<str>>, batch_max: usize) -> Self {
        let server = |label| Server {
            label,
            standing: Standing::Fit,
            pause: PAUSE_MIN,
            live: 0,
            opening: 0,
            tried: None,
            batch_max: batch_max.max(1),
            idle_limit: None,
            why: String::new(),
        };
        Self {
            servers: labels.into_iter().map(server).collect(),
        }
    }

    /// Where a thread without a connection should connect: the fit server with the fewest connections,
    /// the first configured among equals; without a fit one, a rested one that nobody else tries.
    pub fn choose(&mut self, now: Instant) -> Choice {
        let fewest = |fleet: &Self, wanted: &dyn Fn(&Server) -> bool| {
            let candidates = fleet.servers.iter().enumerate();
            candidates
                .filter(|(_, server)| wanted(server))
                .min_by_key(|(at, server)| (server.live + server.opening, *at))
                .map(|(at, _)| at)
        };
        let chosen = fewest(self, &Server::is_fit)
            .or_else(|| fewest(self, &|server| server.is_rested(now) && server.opening == 0));
        if let Some(at) = chosen {
            self.servers[at].opening += 1;
            self.servers[at].tried = Some(now);
            return Choice::Connect(ServerId(at));
        }
        let due = self.servers.iter().filter_map(|server| server.due_in(now));
        // One that is being tried by another thread is due already.
        Choice::Rest(due.min().unwrap_or(PAUSE_MIN).max(PAUSE_MIN / 2))
    }

    /// A rested server that should be tried again, for a thread that has nothing else to do: while
    /// other connections stand, none of them is risked to find out.
    pub fn trial(&mut self, now: Instant) -> Option<ServerId> {
        if !self.servers.iter().any(|server| server.live > 0) {
            return None;
        }
        let due = |server: &Server| !server.is_fit() && server.is_rested(now);
        let at = self
            .servers
            .iter()
            .position(|server| due(server) && server.opening == 0)?;
        self.servers[at].opening += 1;
        self.servers[at].tried = Some(now);
        Some(ServerId(at))
    }

    /// A trial succeeded; its connection is given up again.
    pub fn passed(&mut self, id: ServerId) {
        if let Some(server) = self.server_mut(id) {
            server.opening = server.opening.saturating_sub(1);
            server.recover();
        }
    }

    /// Where a thread that is connected to `from` would be of more use: a fit server that has at least
    /// two connections fewer. It connects there first and then gives up the old connection.
    pub fn better(&mut self, from: ServerId) -> Option<ServerId> {
        let here = self.server(from)?.live;
        let at = self
            .servers
            .iter()
            .position(|server| server.is_fit() && server.opening == 0 && server.live + 1 < here)?;
        self.servers[at].opening += 1;
        Some(ServerId(at))
    }

    /// A connection to `id` is about to be made anew beside the old one.
    pub fn again(&mut self, id: ServerId) {
        if let Some(server) = self.server_mut(id) {
            server.opening += 1;
        }
    }

    /// That failed: no fault of the server's, whose old connection stands.
    pub fn stayed(&mut self, id: ServerId) {
        if let Some(server) = self.server_mut(id) {
            server.opening = server.opening.saturating_sub(1);
        }
    }

    /// An attempt to connect succeeded.
    pub fn connected(&mut self, id: ServerId) {
        if let Some(server) = self.server_mut(id) {
            server.opening = server.opening.saturating_sub(1);
            server.live += 1;
            server.recover();
        }
    }

    /// An attempt to connect failed. `share` in 0..=255 spreads the pauses of many nodes. The time that
    /// the attempt took counts as part of the pause: behind a silent network it is the longer of the two.
    pub fn refused(&mut self, id: ServerId, why: &str, share: u8, now: Instant) {
        if let Some(server) = self.server_mut(id) {
            server.opening = server.opening.saturating_sub(1);
            let tried = server.tried.unwrap_or(now);
            server.rest(why, share, now.saturating_duration_since(tried), now);
        }
    }

    /// A connection ended. With other servers to turn to, one fault is enough to leave this one alone
    /// for a pause; the only server is reconnected to at once.
    pub fn ended(&mut self, id: ServerId, ending: Ending, why: &str, share: u8, now: Instant) {
        let others = self.servers.len() > 1;
        if let Some(server) = self.server_mut(id) {
            server.live = server.live.saturating_sub(1);
            if ending == Ending::Fault && others {
                server.rest(why, share, Duration::ZERO, now);
            }
        }
    }

    /// A connection did its work.
    pub fn served(&mut self, id: ServerId) {
        if let Some(server) = self.server_mut(id) {
            server.recover();
        }
    }

    /// Whether any server is not known to be bad.
    pub fn has_fit(&self) -> bool {
        self.servers.iter().any(Server::is_fit)
    }

    /// Whether a job that hangs at `id` could be done elsewhere now.
    pub fn has_alternative(&self, id: ServerId) -> bool {
        let mut others = self
            .servers
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != id.0);
        others.any(|(_, server)| server.is_fit() && server.live > 0)
    }

    /// The server takes messages of at most `items`. True when that is news.
    pub fn learn_batch_max(&mut self, id: ServerId, items: usize) -> bool {
        let Some(server) = self.server_mut(id) else {
            return false;
        };
        let is_news = items.max(1) < server.batch_max;
        if is_news {
            server.batch_max = items.max(1);
        }
        is_news
    }

    /// Items that one message to `id` may hold.
    pub fn batch_max(&self, id: ServerId) -> usize {
        self.server(id).map_or(1, |server| server.batch_max)
    }

    /// The server was found to have closed a connection that was idle for `idle`. True when that is
    /// shorter than known before.
    pub fn learn_idle_limit(&mut self, id: ServerId, idle: Duration) -> bool {
        let Some(server) = self.server_mut(id) else {
            return false;
        };
        let is_news = server.idle_limit.is_none_or(|known| idle < known);
        if is_news {
            server.idle_limit = Some(idle);
        }
        is_news
    }

    /// After how long without work a connection to `id` is asked something: well before its limit.
    pub fn keep_alive_after(&self, id: ServerId) -> Duration {
        let limit = self.server(id).and_then(|server| server.idle_limit);
        limit.map_or(KEEP_ALIVE, |limit| {
            (limit / 2).clamp(KEEP_ALIVE_MIN, KEEP_ALIVE)
        })
    }

    /// `host:port` of a server.
    pub fn label(&self, id: ServerId) -> Arc<str> {
        self.server(id)
            .map_or_else(|| Arc::from("?"), |server| Arc::clone(&server.label))
    }

    /// Every server in configured order.
    pub fn report(&self, now: Instant) -> Vec<ServerReport> {
        let report = |server: &Server| ServerReport {
            label: Arc::clone(&server.label),
            live: server.live,
            resting: (!server.is_fit() && !server.is_rested(now) || server.live == 0)
                .then(|| server.why.clone())
                .filter(|why| !why.is_empty()),
            batch_max: server.batch_max,
        };
        self.servers.iter().map(report).collect()
    }

    fn server(&self, id: ServerId) -> Option<&Server> {
        self.servers.get(id.0)
    }

    fn server_mut(&mut self, id: ServerId) -> Option<&mut Server> {
        self.servers.get_mut(id.0)
    }
}

impl Server {
    fn is_fit(&self) -> bool {
        matches!(self.standing, Standing::Fit)
    }

    fn is_rested(&self, now: Instant) -> bool {
        match self.standing {
            Standing::Fit => true,
            Standing::Resting { until } => until <= now,
        }
    }

    fn due_in(&self, now: Instant) -> Option<Duration> {
        match self.standing {
            Standing::Resting { until } if self.opening == 0 => {
                Some(until.saturating_duration_since(now))
            }
            _ => None,
        }
    }

    /// Between half of the pause and all of it, so that many nodes do not knock at once; less what was
    /// `waited` already.
    fn rest(&mut self, why: &str, share: u8, waited: Duration, now: Instant) {
        let half = self.pause / 2;
        let pause = half + half * u32::from(share) / 255;
        let until = now + pause.saturating_sub(waited).max(PAUSE_MIN / 2);
        self.standing = Standing::Resting { until };
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        why.clone_into(&mut self.why);
    }

    fn recover(&mut self) {
        self.standing = Standing::Fit;
        self.pause = PAUSE_MIN;
        self.why.clear();
    }
}

const _: () = assert!(PAUSE_MAX.as_millis() <= 1000);
