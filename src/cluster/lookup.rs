//! A lookup from its name to the plaintext, and a write from the record to the engine.
//!
//! Must never be true: a lookup whose caller is told nothing, or twice: dropping it tells. Runs on the loop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::board::{Board, unix_ms};
use super::keyring::{Csk, Keys};
use super::record::{self, Subject};
use super::resp::{self, Reply};
use super::run::{Runner, Whom};
use super::{Found, Unmet};

/// Who is told.
pub(super) type Finder = Box<dyn FnOnce(Found) + Send>;

/// What a plaintext is known by in the engine, as of one generation and the keys of one moment.
#[derive(Clone, Debug)]
pub struct Named {
    pub(super) subject: Subject,
    pub(super) keys: Keys,
    pub(super) generation: [u8; 16],
}

impl Named {
    /// `ttl`, give or take a tenth: records written together do not end together.
    pub(super) fn jittered(&self, ttl: Duration) -> u64 {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX / 4);
        let fifth = ttl_ms / 5;
        ttl_ms - fifth / 2 + self.subject.spread() % (fifth + 1)
    }
}

/// A lookup on its way.
pub(super) struct Lookup {
    subject: Subject,
    /// The names still to be tried, the next one last.
    tries: Vec<(String, Arc<Csk>)>,
    asked: Option<(String, Arc<Csk>)>,
    pub(super) deadline: Instant,
    done: Option<Finder>,
}

impl Lookup {
    pub(super) fn new(named: &Named, prefix: &str, deadline: Instant, done: Finder) -> Self {
        let prefix = format!("{prefix}d:");
        let previous = named.keys.previous_at(unix_ms());
        let keys = previous.into_iter().chain([&named.keys.current]);
        Self {
            tries: keys
                .map(|csk| (named.subject.name(&prefix, csk), Arc::clone(csk)))
                .collect(),
            subject: named.subject.clone(),
            asked: None,
            deadline,
            done: Some(done),
        }
    }

    fn tell(mut self, found: Found) {
        if let Some(done) = self.done.take() {
            done(found);
        }
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done(Found::Unavailable);
        }
    }
}

impl Board {
    pub(super) fn data_prefix(&self) -> String {
        format!("{}d:", self.prefix)
    }
}

impl Runner {
    /// Sends the next try, or tells that there is nothing.
    pub(super) fn look_up(&mut self, mut lookup: Box<Lookup>, now: Instant) {
        let Some((name, csk)) = lookup.tries.pop() else {
            self.board.stats.absent.bump();
            return lookup.tell(Found::Absent);
        };
        let command = resp::first_bytes(&name, record::RECORD_BYTES_MAX);
        let deadline = lookup.deadline;
        let slot = self.lane_of(&name);
        lookup.asked = Some((name, csk));
        self.ask_lane(slot, &command, Whom::Lookup(lookup), deadline, now);
    }

    pub(super) fn looked_up(
        &mut self,
        mut lookup: Box<Lookup>,
        reply: Result<Reply, Unmet>,
        now: Instant,
    ) {
        let Some((name, csk)) = lookup.asked.take() else {
            return;
        };
        match reply {
            Ok(Reply::Bulk(record)) if record.is_empty() => self.look_up(lookup, now),
            Ok(Reply::Bulk(record)) => match self.open(&lookup.subject, &csk, &record) {
                Ok(Some(key)) => {
                    self.board.stats.found.bump();
                    lookup.tell(Found::Key(key));
                }
                // No room in locked memory; the HSM's answer will make some.
                Ok(None) => lookup.tell(Found::Unavailable),
                // By this node's clock: others may find it good, and the engine ends it by its own.
                Err(record::Refusal::Expired) => {
                    self.expired(now);
                    self.look_up(lookup, now);
                }
                Err(refusal) => {
                    self.refuse_record(&name, &format!("{refusal:?}"), now);
                    self.look_up(lookup, now);
                }
            },
            Ok(reply) => {
                if reply.error_code() == Some("WRONGTYPE") {
                    self.refuse_record(&name, "WRONGTYPE", now);
                }
                self.heed(&reply, now);
                self.board.stats.not_asked.bump();
                lookup.tell(Found::Unavailable);
            }
            Err(unmet) => {
                let stats = &self.board.stats;
                match unmet {
                    Unmet::TimedOut => stats.timed_out.bump(),
                    Unmet::Down | Unmet::Lost => stats.not_asked.bump(),
                }
                lookup.tell(Found::Unavailable);
            }
        }
    }

    fn open(
        &mut self,
        subject: &Subject,
        csk: &Csk,
        record: &[u8],
    ) -> Result<Option<crate::secret::SecretKey>, record::Refusal> {
        let store = &self.store;
        let room = &mut self.open_room;
        record::open(csk, subject, record, unix_ms(), room, |plain| store(plain))
    }

    fn expired(&mut self, now: Instant) {
        if self.may_log(now) {
            log::warn!(
                "shared cache: a record's time is over, and the engine still has it: does a node's clock go wrong? The HSM \
                 is asked instead"
            );
        }
    }

    /// What is not believed goes, so that the next one need not look at it.
    fn refuse_record(&mut self, name: &str, why: &str, now: Instant) {
        self.board.stats.refused.bump();
        if self.may_log(now) {
            log::warn!(
                "shared cache: a record is not believed ({why}); the HSM is asked instead. Somebody else writes into \
                 the engine, or it was changed: name={name}"
            );
        }
        let command = resp::command(&[b"DEL", name.as_bytes()]);
        let slot = self.lane_of(name);
        self.ask_lane(
            slot,
            &command,
            Whom::Nobody,
            now + super::run::WRITE_MAX,
            now,
        );
    }

    /// Sends a record; nobody waits for it.
    pub(super) fn write(&mut self, name: &str, record: &[u8], ttl_ms: u64, now: Instant) {
        let ttl = ttl_ms.to_string();
        let command = resp::command(&[b"SET", name.as_bytes(), record, b"PX", ttl.as_bytes()]);
        let slot = self.lane_of(name);
        let deadline = now + super::run::WRITE_MAX;
        if self.ask_lane(slot, &command, Whom::Write, deadline, now) {
            self.board.stats.written.bump();
        } else {
            self.board.stats.not_written.bump();
        }
    }
}
