//! Several HSMs behind one pool: which to connect to, which to leave alone, what each was learnt to take.
//!
//! Health is judged by use, and where there is none by a check now and then ([`Ailment`]): an address that
//! refuses, hangs or breaks the protocol rests for a pause that doubles, and is then tried by one connection
//! at a time, so that it comes back without a restart. Connections move to it again one by one, each opened
//! before the old one is given up.
//! Bytes, sockets, threads and clocks are elsewhere. Called by the pool's threads.
//!
//! Must never be true: a pause so long that service is not back a second after an HSM; two
//! connections that try one resting address at once; a server forgotten because it failed often.

use std::sync::Arc;
use std::time::{Duration, Instant};

mod report;
mod server;
#[cfg(test)]
mod tests;
mod watch;

pub use report::{ServerReport, ServerState, Standing};
use server::Server;
pub use watch::{Ailment, CHECK_AGAIN, CHECK_EVERY};

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

/// All configured servers.
pub struct Fleet {
    servers: Vec<Server>,
    /// Items of a message to a server of which nothing was learnt.
    batch_max: usize,
    /// Since when there has been time to connect to all.
    since: Option<Instant>,
}

impl Fleet {
    /// Servers by label in their configured order; messages of up to `batch_max` items.
    pub fn new(labels: impl IntoIterator<Item = Arc<str>>, batch_max: usize) -> Self {
        let server = |label| Server::new(label, batch_max);
        let mut fleet = Self {
            servers: labels.into_iter().map(server).collect(),
            batch_max,
            since: None,
        };
        let all: Vec<usize> = (0..fleet.servers.len()).collect();
        fleet.rank(&all);
        fleet
    }

    /// Other servers are configured: `configured` are indices of `labels`, in their order, of which the first
    /// are those that were known before. Nobody connects any more to those that are left out.
    pub fn reconfigure(&mut self, labels: Vec<Arc<str>>, configured: &[usize]) {
        let known = self.servers.len();
        let new = labels.into_iter().skip(known);
        let batch_max = self.batch_max;
        self.servers
            .extend(new.map(|label| Server::new(label, batch_max)));
        self.rank(configured);
    }

    fn rank(&mut self, configured: &[usize]) {
        for (at, server) in self.servers.iter_mut().enumerate() {
            server.rank = configured.iter().position(|index| *index == at);
        }
    }

    /// Whether more than one may be connected to, or still is.
    pub fn is_several(&self) -> bool {
        let counts = |server: &&Server| server.is_wanted() || server.live > 0;
        self.servers.iter().filter(counts).count() > 1
    }

    /// Where a connection to `from` is to move, because that is not configured any more. It connects there first.
    pub fn refuge(&mut self, from: ServerId) -> Option<ServerId> {
        if self.server(from)?.is_wanted() {
            return None;
        }
        let fit = self.servers.iter().enumerate();
        let at = fit
            .filter(|(_, server)| server.is_fit() && server.is_wanted())
            .min_by_key(|(_, server)| (server.live + server.opening, server.rank))
            .map(|(at, _)| at)?;
        self.servers[at].opening += 1;
        Some(ServerId(at))
    }

    /// Where a thread without a connection should connect: the fit server with the fewest connections,
    /// the first configured among equals; without a fit one, a rested one that nobody else tries.
    pub fn choose(&mut self, now: Instant) -> Choice {
        let fewest = |fleet: &Self, wanted: &dyn Fn(&Server) -> bool| {
            let candidates = fleet.servers.iter().enumerate();
            candidates
                .filter(|(_, server)| server.is_wanted() && wanted(server))
                .min_by_key(|(_, server)| (server.live + server.opening, server.rank))
                .map(|(at, _)| at)
        };
        let chosen = fewest(self, &Server::is_fit)
            .or_else(|| fewest(self, &|server| server.is_rested(now) && server.opening == 0));
        if let Some(at) = chosen {
            self.servers[at].opening += 1;
            self.servers[at].tried = Some(now);
            return Choice::Connect(ServerId(at));
        }
        let wanted = self.servers.iter().filter(|server| server.is_wanted());
        let due = wanted.filter_map(|server| server.due_in(now));
        // One that is being tried by another thread is due already.
        Choice::Rest(due.min().unwrap_or(PAUSE_MIN).max(PAUSE_MIN / 2))
    }

    /// A rested server that should be tried again, for a thread that has nothing else to do: while
    /// other connections stand, none of them is risked to find out.
    pub fn trial(&mut self, now: Instant) -> Option<ServerId> {
        if !self.servers.iter().any(|server| server.live > 0) {
            return None;
        }
        let due = |server: &Server| server.is_wanted() && !server.is_fit() && server.is_rested(now);
        let at = self
            .servers
            .iter()
            .position(|server| due(server) && server.opening == 0)?;
        self.servers[at].opening += 1;
        self.servers[at].tried = Some(now);
        Some(ServerId(at))
    }

    /// A trial succeeded; its connection is given up again.
    pub fn passed(&mut self, id: ServerId, now: Instant) {
        if let Some(server) = self.server_mut(id) {
            server.opening = server.opening.saturating_sub(1);
            server.watch.let_in(now);
            server.recover();
        }
    }

    /// A server without a connection, of which nothing bad is known, and nothing good either for
    /// [`CHECK_EVERY`]: where there are fewer connections than servers, nobody else finds out.
    pub fn unwatched(&mut self, now: Instant) -> Option<ServerId> {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) < CHECK_EVERY {
            return None;
        }
        let is_idle = |server: &Server| {
            server.is_wanted() && server.is_fit() && server.live + server.opening == 0
        };
        let servers = &mut self.servers;
        let at = servers
            .iter_mut()
            .position(|server| is_idle(server) && server.watch.begin(now))?;
        self.servers[at].opening += 1;
        self.servers[at].tried = Some(now);
        Some(ServerId(at))
    }

    /// Whether a connection to `id` that has nothing else to do is to check the server now.
    pub fn begin_check(&mut self, id: ServerId, now: Instant) -> bool {
        self.server_mut(id)
            .is_some_and(|server| server.watch.begin(now))
    }

    /// A check of `id` ends. True: what it came to is news.
    pub fn checked(&mut self, id: ServerId, now: Instant, outcome: Result<(), Ailment>) -> bool {
        self.server_mut(id)
            .is_some_and(|server| server.watch.end(now, outcome))
    }

    /// Where a thread that is connected to `from` would be of more use: a fit server that has at least
    /// two connections fewer. It connects there first and then gives up the old connection.
    pub fn better(&mut self, from: ServerId) -> Option<ServerId> {
        let here = self.server(from)?.live;
        let at = self.servers.iter().position(|server| {
            let is_free = server.opening == 0 && server.live + 1 < here;
            server.is_wanted() && server.is_fit() && is_free
        })?;
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
    pub fn connected(&mut self, id: ServerId, now: Instant) {
        if let Some(server) = self.server_mut(id) {
            server.opening = server.opening.saturating_sub(1);
            server.live += 1;
            server.watch.let_in(now);
            server.recover();
        }
    }

    /// An attempt to connect failed. `share` in 0..=255 spreads the pauses of many nodes. The time that
    /// the attempt took counts as part of the pause: behind a silent network it is the longer of the two.
    pub fn refused(&mut self, id: ServerId, why: &str, share: u8, now: Instant) {
        if let Some(server) = self.server_mut(id) {
            server.opening = server.opening.saturating_sub(1);
            let tried = server.tried.unwrap_or(now);
            server.lie_down(why, share, now.saturating_duration_since(tried), now);
        }
    }

    /// A connection ended. With other servers to turn to, one fault is enough to leave this one alone
    /// for a pause; the only server is reconnected to at once.
    pub fn ended(&mut self, id: ServerId, ending: Ending, why: &str, share: u8, now: Instant) {
        let others = self.is_several();
        if let Some(server) = self.server_mut(id) {
            server.live = server.live.saturating_sub(1);
            if ending == Ending::Fault && others {
                server.lie_down(why, share, Duration::ZERO, now);
            }
        }
    }

    /// A connection answered what it was asked, and something of it was done (`worked`) or all refused. True:
    /// that it works is news.
    pub fn served(&mut self, id: ServerId, now: Instant, worked: bool) -> bool {
        self.server_mut(id).is_some_and(|server| {
            server.recover();
            worked && server.watch.works(now)
        })
    }

    /// Whether `id` is configured.
    pub fn is_wanted(&self, id: ServerId) -> bool {
        self.server(id).is_some_and(Server::is_wanted)
    }

    /// Whether any server is not known to be bad.
    pub fn has_fit(&self) -> bool {
        let mut all = self.servers.iter();
        all.any(|server| server.is_wanted() && server.is_fit())
    }

    /// Whether a job that hangs at `id` could be done elsewhere now.
    pub fn has_alternative(&self, id: ServerId) -> bool {
        let mut others = self
            .servers
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != id.0);
        others.any(|(_, server)| server.is_wanted() && server.is_fit() && server.live > 0)
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

    fn server(&self, id: ServerId) -> Option<&Server> {
        self.servers.get(id.0)
    }

    fn server_mut(&mut self, id: ServerId) -> Option<&mut Server> {
        self.servers.get_mut(id.0)
    }
}

const _: () = assert!(PAUSE_MAX.as_millis() <= 1000);
