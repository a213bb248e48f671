//! The loop that owns all connections to the engine, and the only place that waits: for the next of its events.
//!
//! Must never be true: a call from here that blocks; a message taken from the inbox and dropped without its
//! caller being told. One thread, started by `board`.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use mio::{Events as Ready, Poll, Token as Slot, Waker};

use super::board::{Board, INBOX_MAX};
use super::follow::{Announcement, Follower};
use super::lane::Told;
use super::lookup::Lookup;
use super::resolve::Resolver;
use super::resp::Reply;
use super::route::Route;
use super::subscriber::Subscriber;
use super::token::Unless;
use super::{Acks, ClusterPlan, Events, Store, Unmet, Word};
use crate::net::inbox::Inbox;
use crate::net::pipe::SCRATCH_BYTES_MIN;
use crate::secret::{Arena, LockedBuf};

use super::record::ROOM_BYTES;

/// Longest sleep: what others do is looked at now and then.
const SLEEP_MAX: Duration = Duration::from_millis(50);
/// For what nobody waits for.
pub(super) const WRITE_MAX: Duration = Duration::from_millis(250);
const WAKER: Slot = Slot(usize::MAX);
const SUBSCRIBER: Slot = Slot(usize::MAX - 1);
/// A line in the log about records that are not believed, so often at most.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Whom else than a lookup an answer is for.
pub(super) type Caller = Box<dyn FnOnce(Result<Reply, Unmet>) + Send>;

/// What the loop is asked.
pub(super) enum Message {
    Lookup(Box<Lookup>),
    Write {
        name: String,
        record: Vec<u8>,
        ttl_ms: u64,
    },
    Ask {
        command: Vec<u8>,
        name: String,
        deadline: Instant,
        caller: Caller,
    },
    Announce {
        word: Word,
        acks: Option<Acks>,
        until: Instant,
    },
    Resolved(String, Result<Vec<std::net::IpAddr>, String>),
}

/// Whom an answer of the engine is for.
pub(super) enum Whom {
    Lookup(Box<Lookup>),
    Write,
    Caller(Caller),
    /// A look at the token.
    Token {
        asked: Instant,
    },
    /// The token after this node gave the engine one.
    Founded {
        unless: Unless,
    },
    /// A change of the token by this node.
    Changed(Box<Announcement>),
    /// Which servers keep which slots.
    Map(super::Place),
    /// Who is the master, said by this sentinel.
    Master(Slot),
    /// What the server is.
    Role(Slot),
    /// Whether the server answers what it is asked: this number.
    Pulse(Slot, String),
    Nobody,
}

/// See the module.
pub(super) struct Runner {
    pub(super) board: Arc<Board>,
    pub(super) plan: Arc<ClusterPlan>,
    pub(super) store: Store,
    pub(super) events: Arc<dyn Events>,
    pub(super) poll: Poll,
    inbox: Arc<Inbox<Message>>,
    pub(super) scratch: LockedBuf,
    pub(super) open_room: LockedBuf,
    pub(super) route: Route,
    pub(super) subscriber: Subscriber,
    pub(super) follower: Follower,
    pub(super) resolver: Resolver,
    /// Answers to be dealt with.
    pub(super) told: Vec<Told<Whom>>,
    logged: Option<Instant>,
}

impl Runner {
    /// `None`: there is not enough locked memory.
    #[allow(clippy::type_complexity)] // Once.
    pub(super) fn new(
        board: Arc<Board>,
        arena: &'static Arena,
        store: Store,
        events: Arc<dyn Events>,
    ) -> io::Result<Option<(Self, Arc<Inbox<Message>>)>> {
        let now = Instant::now();
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let inbox = Arc::new(Inbox::new(INBOX_MAX, waker));
        let (Some(scratch), Some(open_room)) =
            (arena.buffer(SCRATCH_BYTES_MIN), arena.buffer(ROOM_BYTES))
        else {
            return Ok(None);
        };
        let found = Arc::downgrade(&inbox);
        let resolver = Resolver::start(Box::new(move |name, addresses| {
            if let Some(inbox) = found.upgrade() {
                // A full inbox: the lane asks again.
                let _ = inbox.push(Message::Resolved(name, addresses));
            }
        }))?;
        let runner = Self {
            route: Route::new(&board.plan, now),
            subscriber: Subscriber::new(board.channel(), SUBSCRIBER, now),
            follower: Follower::new(&board.plan, now),
            plan: Arc::clone(&board.plan),
            board,
            store,
            events,
            poll,
            inbox: Arc::clone(&inbox),
            scratch,
            open_room,
            resolver,
            told: Vec::new(),
            logged: None,
        };
        Ok(Some((runner, inbox)))
    }

    /// Until it is told to stop. A panic ends the shared cache, not the node: whoever asks is told so.
    pub(super) fn run(mut self) {
        let turned = catch_unwind(AssertUnwindSafe(|| {
            let mut ready = Ready::with_capacity(256);
            while !self.board.is_stopping() {
                self.turn(&mut ready);
            }
            self.leave(Instant::now());
        }));
        if turned.is_err() {
            log::error!("the loop of the shared cache panicked; this node goes on without it");
        }
        self.board.set_fresh_until(Instant::now());
        self.board.connected.store(false, Ordering::Release);
        while !self.board.is_stopping() || !self.inbox.is_empty() {
            self.inbox.drained();
            // Dropping a message tells its caller.
            while self.inbox.pop().is_some() {}
            if turned.is_err() {
                self.events.tick(Instant::now(), false);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn turn(&mut self, ready: &mut Ready) {
        let now = Instant::now();
        let due = self.due(now).saturating_duration_since(now).min(SLEEP_MAX);
        if let Err(error) = self.poll.poll(ready, Some(due))
            && error.kind() != io::ErrorKind::Interrupted
        {
            log::error!("shared cache: the event loop failed: {error}");
            std::thread::sleep(SLEEP_MAX);
        }
        let now = Instant::now();
        for event in ready.iter() {
            match event.token() {
                WAKER => {}
                SUBSCRIBER => self.hear(now),
                slot => self.lane_event(slot, now),
            }
        }
        self.settle(now);
        self.take_messages(now);
        self.settle(now);
        self.tick(now);
        self.settle(now);
        self.publish(now);
    }

    fn due(&self, now: Instant) -> Instant {
        let lanes = self.route.lanes().filter_map(|(_, lane)| lane.due()).min();
        let others = [
            self.subscriber.due(),
            self.follower.due(now),
            self.route.due(now),
        ];
        others.into_iter().chain(lanes).min().unwrap_or(now)
    }

    fn take_messages(&mut self, now: Instant) {
        self.inbox.drained();
        // Bounded: what comes meanwhile waits for the next turn, and has woken it.
        for _ in 0..INBOX_MAX {
            let Some(message) = self.inbox.pop() else {
                return;
            };
            match message {
                Message::Lookup(lookup) => self.look_up(lookup, now),
                Message::Write {
                    name,
                    record,
                    ttl_ms,
                } => self.write(&name, &record, ttl_ms, now),
                Message::Ask {
                    command,
                    name,
                    deadline,
                    caller,
                } => {
                    let slot = self.lane_of(&name);
                    self.ask_lane(slot, &command, Whom::Caller(caller), deadline, now);
                }
                Message::Announce { word, acks, until } => {
                    self.follower
                        .announce(Announcement::new(Some(word), acks, until));
                }
                Message::Resolved(name, found) => self.resolved(&name, &found, now),
            }
        }
    }

    /// Writes what was asked and deals with what was answered, until neither is left.
    pub(super) fn settle(&mut self, now: Instant) {
        loop {
            self.flush(now);
            let told = std::mem::take(&mut self.told);
            if told.is_empty() {
                return;
            }
            for (whom, reply) in told {
                self.deal_with(whom, reply, now);
            }
        }
    }

    fn deal_with(&mut self, whom: Whom, reply: Result<Reply, Unmet>, now: Instant) {
        match whom {
            Whom::Lookup(lookup) => self.looked_up(lookup, reply, now),
            Whom::Caller(caller) => {
                if let Ok(reply) = &reply {
                    self.heed(reply, now);
                }
                caller(reply);
            }
            Whom::Token { asked } => self.token_shown(reply, asked, now),
            Whom::Founded { unless } => self.token_founded(unless, reply, now),
            Whom::Changed(announcement) => self.token_changed(*announcement, &reply, now),
            Whom::Map(asked) => self.map_told(&asked, reply, now),
            Whom::Master(sentinel) => self.master_told(sentinel, &reply, now),
            Whom::Pulse(slot, number) => self.pulse_taken(slot, &number, reply, now),
            Whom::Role(slot) => self.role_told(slot, reply, now),
            Whom::Write | Whom::Nobody => {
                if let Ok(reply) = &reply {
                    self.heed(reply, now);
                }
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        self.tick_lanes(now);
        self.take_pulses(now);
        self.route_tick(now);
        self.subscriber_tick(now);
        self.follow_tick(now);
        self.events.tick(now, self.board.is_fresh(now));
    }

    /// What others see.
    fn publish(&mut self, now: Instant) {
        let home = self.home();
        let up = home.is_some_and(|(_, lane)| lane.answers());
        self.board.connected.store(up, Ordering::Release);
        if up {
            self.board.ever_connected.store(true, Ordering::Release);
        }
        let subscribed = self.subscriber.is_up();
        self.board.subscribed.store(subscribed, Ordering::Release);
        if self.follower.wants_report(now) {
            *self.board.servers.lock() = self.route.report();
            *self.board.peers.lock() = self.follower.peers.present(now);
        }
    }

    /// Whether something that may happen often is to be told now.
    pub(super) fn may_log(&mut self, now: Instant) -> bool {
        let since = |then| now.saturating_duration_since(then);
        if self.logged.is_some_and(|then| since(then) < LOG_EVERY) {
            return false;
        }
        self.logged = Some(now);
        true
    }
}

/// Asks one command about `name` and waits for the answer.
pub(super) fn ask(
    inbox: &Inbox<Message>,
    command: Vec<u8>,
    name: &str,
    within: Duration,
) -> Result<Reply, Unmet> {
    let (tell, answer) = sync_channel(1);
    let message = Message::Ask {
        command,
        name: name.to_owned(),
        deadline: Instant::now() + within,
        caller: Box::new(move |reply| {
            // Who waited may have gone.
            let _ = tell.send(reply);
        }),
    };
    if inbox.push(message).is_err() {
        return Err(Unmet::Down);
    }
    answer
        .recv_timeout(within + Duration::from_secs(1))
        .unwrap_or(Err(Unmet::Lost))
}

/// Sentinels' answers, each with when it came.
pub(super) type Votes = HashMap<Slot, (super::Place, Instant)>;
