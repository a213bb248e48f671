//! What the threads of the shared cache and those who ask it have in common, and the handle for the latter.
//!
//! Must never be true: a lock on the way of a hit; a call here that waits for the engine, save those that say so.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use super::keeper::Keeper;
use super::keyring::Keyring;
use super::lookup::{Lookup, Named};
use super::record::{self, Subject, What};
use super::report::{Report, ServerReport, Stats};
use super::resp::{self, Reply};
use super::run::{Message, Runner};
use super::{Acks, ClusterPlan, Found, KeyWrap, Obedience, Tools, Unmet, Word, acks};
use crate::net::inbox::Inbox;
use crate::secret::{Arena, LockedBuf, SecretKey};

/// Lookups and writes that wait for the loop.
pub(super) const INBOX_MAX: usize = 8192;
/// How long an order to drop plaintexts waits for the nodes.
const OBEDIENCE_MAX: Duration = Duration::from_secs(2);
/// From the start on: as long as the engine has not been reached, readiness waits for it no longer.
const SETTLE_MAX: Duration = Duration::from_secs(3);
/// Nor is a sealing key that does not come, though the engine is there: a broken cache must not keep a node out.
const SETTLE_KEY_MAX: Duration = Duration::from_secs(30);

/// What all threads see.
pub(super) struct Board {
    pub(super) plan: Arc<ClusterPlan>,
    /// `kms:<cluster>:`.
    pub(super) prefix: String,
    pub(super) keyring: Keyring,
    pub(super) stats: Stats,
    pub(super) generation: ArcSwapOption<[u8; 16]>,
    start: Instant,
    /// Milliseconds since the start until which the token counts as known.
    fresh_until_ms: AtomicU64,
    /// The server that holds the token is connected.
    pub(super) connected: AtomicBool,
    pub(super) ever_connected: AtomicBool,
    pub(super) subscribed: AtomicBool,
    pub(super) stopping: AtomicBool,
    /// A change found no room to be told: every key is to be looked up everywhere.
    pub(super) unsaid: AtomicBool,
    /// An order to drop plaintexts found none: all is to be dropped everywhere.
    pub(super) unsaid_purge: AtomicBool,
    /// The sealing key is to be replaced now.
    pub(super) renew: AtomicBool,
    pub(super) servers: Mutex<Vec<ServerReport>>,
    pub(super) peers: Mutex<Vec<String>>,
    /// What is wrong with the sealing key; empty: nothing.
    pub(super) key_trouble: Mutex<String>,
}

impl Board {
    fn new(plan: ClusterPlan, start: Instant) -> Self {
        Self {
            prefix: format!("kms:{}:", plan.cluster),
            plan: Arc::new(plan),
            keyring: Keyring::default(),
            stats: Stats::default(),
            generation: ArcSwapOption::empty(),
            start,
            fresh_until_ms: AtomicU64::new(0),
            connected: AtomicBool::new(false),
            ever_connected: AtomicBool::new(false),
            subscribed: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            unsaid: AtomicBool::new(false),
            unsaid_purge: AtomicBool::new(false),
            renew: AtomicBool::new(false),
            servers: Mutex::new(Vec::new()),
            peers: Mutex::new(Vec::new()),
            key_trouble: Mutex::new(String::new()),
        }
    }

    pub(super) fn set_fresh_until(&self, until: Instant) {
        self.fresh_until_ms.store(self.ms(until), Ordering::Release);
    }

    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.ms(now) < self.fresh_until_ms.load(Ordering::Acquire)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn token_name(&self) -> String {
        format!("{}epoch", self.prefix)
    }

    pub(super) fn key_name(&self) -> String {
        format!("{}csk", self.prefix)
    }

    pub(super) fn channel(&self) -> String {
        format!("{}bulletin", self.prefix)
    }

    fn ms(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.start).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

/// Milliseconds since 1970.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// The shared cache. Share it by `Arc`; its threads end with [`Cluster::shutdown`].
pub struct Cluster {
    board: Arc<Board>,
    inbox: Arc<Inbox<Message>>,
    seal_room: Mutex<LockedBuf>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    keeper: Mutex<Option<std::thread::Thread>>,
}

impl Cluster {
    /// Starts it. The engine need not be reachable.
    pub fn start(plan: ClusterPlan, tools: Tools) -> io::Result<Arc<Self>> {
        let short = || io::Error::other("no locked memory is left for the shared cache");
        let start = Instant::now();
        let Tools {
            arena,
            store,
            wrap,
            events,
        } = tools;
        let board = Arc::new(Board::new(plan, start));
        let seal_room = arena.buffer(record::ROOM_BYTES).ok_or_else(short)?;
        let (runner, inbox) =
            Runner::new(Arc::clone(&board), arena, store, events)?.ok_or_else(short)?;
        let cluster = Arc::new(Self {
            board,
            inbox,
            seal_room: Mutex::new(seal_room),
            threads: Mutex::new(Vec::new()),
            keeper: Mutex::new(None),
        });
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(body)
        };
        let running = spawn("shared-cache", Box::new(move || runner.run()))?;
        let keeping = cluster.keeper(arena, wrap);
        let keeping = spawn("shared-cache-key", Box::new(move || keeping.run()))?;
        *cluster.keeper.lock() = Some(keeping.thread().clone());
        cluster.threads.lock().extend([running, keeping]);
        Ok(cluster)
    }

    fn keeper(&self, arena: &'static Arena, wrap: Box<dyn KeyWrap>) -> Keeper {
        Keeper::new(
            Arc::clone(&self.board),
            Arc::clone(&self.inbox),
            arena,
            wrap,
        )
    }

    /// Whether lookups and writes make sense now.
    pub fn is_usable(&self, now: Instant) -> bool {
        self.board.is_fresh(now) && self.board.keyring.is_loaded()
    }

    /// Names what decides a plaintext; `None` while the cache is not usable. Before the HSM is asked: what is
    /// purged meanwhile is not found under this name any more.
    pub fn name(&self, what: &What<'_>, now: Instant) -> Option<Named> {
        if !self.board.is_fresh(now) {
            return None;
        }
        let keys = (*self.board.keyring.keys()).clone()?;
        let generation = self.board.generation.load_full()?;
        let subject = Subject::new(&self.board.plan.cluster, &generation, what);
        Some(Named {
            subject,
            keys,
            generation: *generation,
        })
    }

    /// Looks `named` up and tells `done`, within the budget from `now` on. Called on the loop: `done` must not wait.
    pub fn lookup(&self, named: &Named, now: Instant, done: impl FnOnce(Found) + Send + 'static) {
        let deadline = now + self.board.plan.budget;
        let lookup = Lookup::new(named, &self.board.prefix, deadline, Box::new(done));
        if self.inbox.push(Message::Lookup(Box::new(lookup))).is_err() {
            // The message was dropped, which told its caller.
            self.board.stats.not_asked.bump();
        }
    }

    /// Seals `key` and has it written, without waiting. What is too long, or was purged meanwhile, is not.
    pub fn put(&self, named: &Named, key: &SecretKey, now: Instant) {
        let current = self.board.generation.load_full();
        let is_current = current.is_some_and(|generation| *generation == named.generation);
        if !is_current || !self.is_usable(now) {
            return;
        }
        let csk = &named.keys.current;
        let ttl_ms = named.jittered(self.board.plan.ttl);
        let record = {
            let mut room = self.seal_room.lock();
            record::seal(csk, &named.subject, key, unix_ms() + ttl_ms, &mut room)
        };
        let Ok(record) = record else {
            return;
        };
        let name = named.subject.name(&self.board.data_prefix(), csk);
        let write = Message::Write {
            name,
            record,
            ttl_ms,
        };
        if self.inbox.push(write).is_err() {
            self.board.stats.not_written.bump();
        }
    }

    /// Tells the other nodes; what cannot be told now is told once the engine is there again.
    pub fn announce(&self, word: Word) {
        self.push_word(word, None);
    }

    /// As [`Self::announce`], and waits up to two seconds for the nodes to obey. Not for a worker.
    pub fn order(&self, word: Word) -> Obedience {
        let (acks, obeyed) = acks();
        self.push_word(word, Some(acks));
        obeyed
            .recv_timeout(OBEDIENCE_MAX + Duration::from_millis(500))
            .unwrap_or_default()
    }

    fn push_word(&self, word: Word, acks: Option<Acks>) {
        let until = Instant::now() + OBEDIENCE_MAX;
        let unsaid = match word {
            Word::Purge(_) => &self.board.unsaid_purge,
            _ => &self.board.unsaid,
        };
        let message = Message::Announce { word, acks, until };
        if self.inbox.push(message).is_err() {
            // Whatever it was, this says as much.
            unsaid.store(true, Ordering::Release);
        }
    }

    /// Has the sealing key replaced now.
    pub fn renew_key(&self) {
        self.board.renew.store(true, Ordering::Release);
        if let Some(keeper) = &*self.keeper.lock() {
            keeper.unpark();
        }
    }

    /// Whether a load balancer may send clients here, as far as the shared cache goes: it has its key, or the
    /// engine cannot be reached and is not waited for any longer.
    pub fn is_settled(&self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.board.start);
        let unreached = !self.board.ever_connected.load(Ordering::Acquire);
        self.board.keyring.is_loaded()
            || (unreached && since >= SETTLE_MAX)
            || since >= SETTLE_KEY_MAX
    }

    /// Whether the server that holds the token is connected and answers.
    pub fn is_connected(&self) -> bool {
        self.board.connected.load(Ordering::Acquire)
    }

    /// Whether the node knows the cluster's token.
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.board.is_fresh(now)
    }

    /// What is counted.
    pub fn stats(&self) -> &Stats {
        &self.board.stats
    }

    /// Its state for people.
    pub fn report(&self) -> Report {
        let board = &self.board;
        let now = Instant::now();
        let trouble = board.key_trouble.lock().clone();
        let servers = board.servers.lock().clone();
        let detail = if !board.connected.load(Ordering::Acquire) {
            let down = servers.iter().find(|server| !server.up);
            down.map_or("not connected".to_owned(), |down| {
                format!("{}: {}", down.server, down.why)
            })
        } else if !trouble.is_empty() {
            trouble
        } else if !board.keyring.is_loaded() {
            "the sealing key is not known yet".to_owned()
        } else if !board.is_fresh(now) {
            "the engine does not show the cluster's token".to_owned()
        } else {
            "in use".to_owned()
        };
        Report {
            cluster: board.plan.cluster.clone(),
            node: board.plan.node.clone(),
            usable: self.is_usable(now),
            detail,
            key_id: (*board.keyring.keys())
                .as_ref()
                .map(|keys| format!("{:016x}", u64::from_be_bytes(keys.current.id()))),
            subscribed: board.subscribed.load(Ordering::Acquire),
            peers: board.peers.lock().clone(),
            servers,
        }
    }

    /// Asks one command about `name` and waits; for tests and tools, not for a worker.
    pub fn ask(&self, parts: &[&[u8]], name: &str, within: Duration) -> Result<Reply, Unmet> {
        super::run::ask(&self.inbox, resp::command(parts), name, within)
    }

    /// Ends its threads; who still waits is told that it is unavailable.
    pub fn shutdown(&self) {
        self.board.stopping.store(true, Ordering::Release);
        self.inbox.wake();
        if let Some(keeper) = self.keeper.lock().take() {
            keeper.unpark();
        }
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                log::error!("a thread of the shared cache panicked");
            }
        }
    }
}
