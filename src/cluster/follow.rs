//! Following the cluster: the token by looking and by messages, this node's own changes, and who else is there.
//!
//! A change is told in this order: the back end has it; the engine has a new token; a message says what it was.
//! Must never be true: a change that could not be told and was forgotten; a message obeyed that was not signed.
//! Runs on the loop.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::Token as Slot;

use super::bulletin::{Bulletin, TOKEN_BYTES, Token, Word};
use super::peers::{Peers, instance, names_of};
use super::resp;
use super::run::{Runner, WRITE_MAX, Whom};
use super::watch::{Verdict, Watch};
use super::{Acks, ClusterPlan, Obedience};

/// A look at the token may take so long.
pub(super) const LOOK_MAX: Duration = Duration::from_millis(250);
/// A change that was not told is tried again.
pub(super) const AGAIN: Duration = Duration::from_millis(50);
const HELLO_EVERY: Duration = Duration::from_secs(2);
/// Plaintexts are dropped because of a token alone, which nobody signs, so often at most.
const PURGE_EVERY: Duration = Duration::from_secs(10);
const REPORT_EVERY: Duration = Duration::from_millis(200);
/// Changes that wait to be told; beyond that a new token alone says that something was changed.
const ANNOUNCEMENTS_MAX: usize = 64;

/// A change to be told.
pub(super) struct Announcement {
    /// `None`: too much to be said; the token tells that every key is to be looked up.
    pub(super) word: Option<Word>,
    pub(super) acks: Option<Acks>,
    pub(super) until: Instant,
    pub(super) token: Option<Token>,
}

impl Announcement {
    pub(super) fn new(word: Option<Word>, acks: Option<Acks>, until: Instant) -> Self {
        Self {
            word,
            acks,
            until,
            token: None,
        }
    }
}

/// An order that waits for the nodes to obey.
pub(super) struct Ordered {
    pub(super) token: Token,
    pub(super) until: Instant,
    pub(super) acks: Acks,
    pub(super) obeyed: Vec<String>,
}

/// See the module.
pub(super) struct Follower {
    pub(super) watch: Watch,
    node: String,
    poll_every: Duration,
    polled: Option<Instant>,
    pub(super) queue: VecDeque<Announcement>,
    /// One is on its way.
    pub(super) telling: bool,
    pub(super) again: Option<Instant>,
    pub(super) ordered: Vec<Ordered>,
    pub(super) peers: Peers,
    greeted: Option<Instant>,
    reported: Option<Instant>,
    /// When plaintexts were dropped because of a token alone, and whether they are to be again.
    purged: Option<Instant>,
    owes_purge: bool,
    /// Connections so far: to the server of the token, and for messages. Another one: something may have been missed.
    connections: Option<(Slot, u64)>,
    subscriptions: u64,
}

impl Follower {
    pub(super) fn new(plan: &ClusterPlan, now: Instant) -> Self {
        Self {
            watch: Watch::default(),
            node: instance(&plan.node),
            poll_every: plan.poll_every,
            polled: Some(now),
            queue: VecDeque::new(),
            telling: false,
            again: None,
            ordered: Vec::new(),
            peers: Peers::default(),
            greeted: None,
            reported: None,
            purged: None,
            owes_purge: false,
            connections: None,
            subscriptions: 0,
        }
    }

    pub(super) fn due(&self, now: Instant) -> Instant {
        let poll = self.polled.map_or(now, |polled| polled + self.poll_every);
        let waits = !self.queue.is_empty() && !self.telling;
        let again = waits.then(|| self.again.unwrap_or(now));
        let orders = self.ordered.iter().map(|ordered| ordered.until);
        let others = again.into_iter().chain(orders).min();
        others.map_or(poll, |other| other.min(poll))
    }

    pub(super) fn announce(&mut self, announcement: Announcement) {
        if self.queue.len() >= ANNOUNCEMENTS_MAX {
            let first = self.queue.pop_front();
            let purges = |word: &Option<Word>| matches!(word, Some(Word::Purge(_)));
            if let (Some(one), Some(other)) = (first, self.queue.front_mut()) {
                let purges = purges(&one.word) || purges(&other.word);
                let both = purges.then_some(Word::Purge(None));
                *other = Announcement::new(both, None, announcement.until);
            }
        }
        self.queue.push_back(announcement);
        self.again = None;
    }

    pub(super) fn wants_report(&mut self, now: Instant) -> bool {
        let since = |then| now.saturating_duration_since(then);
        if self.reported.is_some_and(|then| since(then) < REPORT_EVERY) {
            return false;
        }
        self.reported = Some(now);
        true
    }

    /// Whether plaintexts are to be dropped now, as a token says that nobody signed.
    fn may_purge(&mut self, now: Instant) -> bool {
        let since = |then| now.saturating_duration_since(then);
        if self.purged.is_some_and(|then| since(then) < PURGE_EVERY) {
            return false;
        }
        self.owes_purge = false;
        self.purged = Some(now);
        true
    }
}

impl Runner {
    /// A message has come.
    pub(super) fn hear(&mut self, now: Instant) {
        let mut lines = Vec::new();
        let mut take = |line: &[u8]| lines.push(line.to_vec());
        self.subscriber
            .event(&self.plan.access, &mut self.scratch, now, &mut take);
        for line in lines {
            self.heard(&line, now);
        }
    }

    fn heard(&mut self, line: &[u8], now: Instant) {
        let keys = self.board.keyring.keys();
        let Some(keys) = keys.as_ref() else {
            // Whatever it says, the token will show that something was.
            return;
        };
        match Bulletin::read(line, &self.plan.cluster, keys) {
            Ok(bulletin) if bulletin.node == self.follower.node => {}
            Ok(bulletin) => self.obey(&bulletin, now),
            Err(disbelief) => {
                self.board.stats.messages_refused.bump();
                if self.may_log(now) {
                    log::warn!("shared cache: a message is not believed ({disbelief:?})");
                }
            }
        }
    }

    fn obey(&mut self, bulletin: &Bulletin, now: Instant) {
        if bulletin.word == Word::Bye {
            self.follower.peers.left(&bulletin.node);
            return;
        }
        self.follower.peers.met(&bulletin.node, now);
        let (Some(token), word) = (bulletin.token, &bulletin.word) else {
            return;
        };
        if *word == Word::Done {
            return self.obeyed(token, &bulletin.node, now);
        }
        self.board.stats.messages.bump();
        let verdict = self.follower.watch.told(token, bulletin.previous, now);
        self.take_token();
        match word {
            _ if verdict == Verdict::Known => {}
            Word::Withdrawn(key) => self.events.withdrawn(key),
            Word::Grown(key) => self.events.grown(key),
            Word::Purge(key) => self.events.purge(key.as_deref()),
            Word::Done | Word::Hello | Word::Bye => {}
        }
        self.judge(verdict, now);
        if matches!(word, Word::Purge(_)) {
            self.say(Word::Done, Some(token), None, now);
        }
    }

    pub(super) fn judge(&mut self, verdict: Verdict, now: Instant) {
        match verdict {
            Verdict::Known | Verdict::Told => return,
            Verdict::Missed => {}
            Verdict::MissedPurge if self.follower.may_purge(now) => self.events.purge(None),
            Verdict::MissedPurge => self.follower.owes_purge = true,
        }
        self.board.stats.missed.bump();
        self.events.missed();
    }

    fn obeyed(&mut self, token: Token, node: &str, now: Instant) {
        for ordered in &mut self.follower.ordered {
            if ordered.token == token && !ordered.obeyed.iter().any(|known| known == node) {
                ordered.obeyed.push(node.to_owned());
            }
        }
        self.finish_orders(now);
    }

    /// Tells who obeyed, once all have or the time is over.
    fn finish_orders(&mut self, now: Instant) {
        let peers = self.follower.peers.expected(now);
        self.follower.ordered.retain_mut(|ordered| {
            let silent: Vec<String> = peers
                .iter()
                .filter(|peer| !ordered.obeyed.contains(peer))
                .cloned()
                .collect();
            if !silent.is_empty() && now < ordered.until {
                return true;
            }
            // Who ordered may have gone.
            let _ = ordered.acks.try_send(Obedience {
                published: true,
                acknowledged: names_of(&ordered.obeyed),
                silent: names_of(&silent),
            });
            false
        });
    }

    /// Tells the others that this node leaves, as far as that goes.
    pub(super) fn leave(&mut self, now: Instant) {
        self.say(Word::Bye, None, None, now);
        self.settle(now);
    }

    /// Publishes a message; what gets lost shows by the token.
    pub(super) fn say(
        &mut self,
        word: Word,
        token: Option<Token>,
        previous: Option<Token>,
        now: Instant,
    ) {
        let Some(keys) = (*self.board.keyring.keys()).clone() else {
            return;
        };
        let bulletin = Bulletin {
            node: self.follower.node.clone(),
            word,
            token,
            previous,
        };
        let line = bulletin.write(&self.plan.cluster, &keys.current);
        let channel = self.board.channel();
        let command = resp::command(&[b"PUBLISH", channel.as_bytes(), line.as_bytes()]);
        let home = self.home().map(|(slot, _)| slot);
        self.ask_lane(home, &command, Whom::Nobody, now + WRITE_MAX, now);
    }

    /// What others see of the token.
    pub(super) fn take_token(&mut self) {
        let Some(token) = self.follower.watch.token() else {
            return;
        };
        let held = self.board.generation.load();
        if held.as_ref().is_none_or(|held| **held != token.generation) {
            let generation = std::sync::Arc::new(token.generation);
            self.board.generation.store(Some(generation));
        }
    }

    pub(super) fn follow_tick(&mut self, now: Instant) {
        if self.plan.looks_only {
            return;
        }
        self.notice_connections(now);
        if self.follower.owes_purge && self.follower.may_purge(now) {
            self.events.purge(None);
        }
        for (unsaid, word) in [
            (&self.board.unsaid_purge, Some(Word::Purge(None))),
            (&self.board.unsaid, None),
        ] {
            if unsaid.swap(false, Ordering::AcqRel) {
                let unsaid = Announcement::new(word, None, now);
                self.follower.announce(unsaid);
            }
        }
        let due = |then: Option<Instant>, every| {
            then.is_none_or(|then: Instant| now.saturating_duration_since(then) >= every)
        };
        let home = self.home().filter(|(_, lane)| lane.is_up());
        let Some(home) = home.map(|(slot, _)| slot) else {
            self.follower.polled = Some(now);
            self.give_orders_up(now);
            return;
        };
        if due(self.follower.polled, self.follower.poll_every) {
            self.follower.polled = Some(now);
            let name = self.board.token_name();
            let command = resp::first_bytes(&name, TOKEN_BYTES);
            let whom = Whom::Token { asked: now };
            self.ask_lane(Some(home), &command, whom, now + LOOK_MAX, now);
        }
        if due(self.follower.greeted, HELLO_EVERY) && self.board.keyring.is_loaded() {
            self.follower.greeted = Some(now);
            self.say(Word::Hello, None, None, now);
        }
        self.tell_next(home, now);
        self.give_orders_up(now);
        self.finish_orders(now);
    }

    /// A new connection, or another server: what was told or changed meanwhile may have been missed, or lost
    /// with the server.
    fn notice_connections(&mut self, now: Instant) {
        let home = self.home().filter(|(_, lane)| lane.is_up());
        let mut missed = false;
        if let Some(present) = home.map(|(slot, lane)| (slot, lane.connected())) {
            let before = self.follower.connections.replace(present);
            missed |= before.is_some_and(|before| before != present);
        }
        let subscriptions = self.subscriber.subscribed();
        if subscriptions != self.follower.subscriptions {
            missed |= self.follower.subscriptions > 0;
            self.follower.subscriptions = subscriptions;
        }
        if missed {
            self.judge(Verdict::Missed, now);
        }
    }

    pub(super) fn subscriber_tick(&mut self, now: Instant) {
        let target = self.home().filter(|(_, lane)| lane.is_up());
        let target = target.and_then(|(_, lane)| Some((lane.place().clone(), lane.reached()?)));
        let target = target.as_ref().map(|(place, address)| (place, *address));
        let registry = self.poll.registry();
        self.subscriber
            .tick(target, &self.plan.access, registry, now);
    }

    /// Who ordered waits no longer; the change is told all the same, once it can be.
    fn give_orders_up(&mut self, now: Instant) {
        for announcement in &mut self.follower.queue {
            if now >= announcement.until
                && let Some(acks) = announcement.acks.take()
            {
                let silent = names_of(&self.follower.peers.expected(now));
                let _ = acks.try_send(Obedience {
                    silent,
                    ..Obedience::default()
                });
            }
        }
    }
}
