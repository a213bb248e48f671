//! The token at the engine: looked at, founded where there is none, changed for what this node did.
//!
//! Must never be true: two changes of this node on their way at once; one forgotten that the engine may not have
//! taken. Runs on the loop, as part of following.

use std::time::Instant;

use mio::Token as Slot;

use super::Unmet;
use super::bulletin::{TOKEN_BYTES, Token, Word};
use super::follow::{AGAIN, Announcement, LOOK_MAX, Ordered};
use super::resp::{self, Reply};
use super::run::{Runner, WRITE_MAX, Whom};

/// When a token that is to be founded is not written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unless {
    Present,
    Absent,
}

impl Unless {
    fn condition(self) -> &'static [u8] {
        match self {
            Self::Present => b"NX",
            Self::Absent => b"XX",
        }
    }
}

impl Runner {
    pub(super) fn token_shown(
        &mut self,
        reply: Result<Reply, Unmet>,
        asked: Instant,
        now: Instant,
    ) {
        match reply {
            Ok(Reply::Bulk(value)) if Token::read(&value).is_some() => {
                let Some(token) = Token::read(&value) else {
                    return;
                };
                let verdict = self.follower.watch.polled(token, asked, now);
                self.known_until(now);
                self.judge(verdict, now);
            }
            Ok(Reply::Bulk(value)) if value.is_empty() => self.found_token(Unless::Present, now),
            // Not ours, whoever wrote it.
            Ok(Reply::Bulk(_)) => self.found_token(Unless::Absent, now),
            Ok(reply) if reply.error_code() == Some("WRONGTYPE") => {
                self.found_token(Unless::Absent, now);
            }
            Ok(reply) => self.heed(&reply, now),
            Err(_) => {}
        }
    }

    fn known_until(&mut self, now: Instant) {
        self.take_token();
        if let Some(until) = self.follower.watch.fresh_until() {
            let vouched = self.route.vouched_until(now);
            let until = vouched.map_or(until, |vouched| vouched.min(until));
            self.board.set_fresh_until(until);
        }
    }

    /// The engine has no token: one of the nodes that see that gives it one. Of the generation that it knows, so that
    /// an engine that was emptied does not empty the nodes as well.
    fn found_token(&mut self, unless: Unless, now: Instant) {
        let known = self.follower.watch.token();
        let token = known.map_or_else(Token::first, |known| known.next(false));
        let Some(token) = token else {
            return;
        };
        let (name, text) = (self.board.token_name(), token.text());
        let set = resp::command(&[b"SET", name.as_bytes(), text.as_bytes(), unless.condition()]);
        let get = resp::first_bytes(&name, TOKEN_BYTES);
        let home = self.home().map(|(slot, _)| slot);
        let deadline = now + LOOK_MAX;
        self.ask_lane(home, &set, Whom::Nobody, deadline, now);
        self.ask_lane(home, &get, Whom::Founded { unless }, deadline, now);
    }

    pub(super) fn token_founded(
        &mut self,
        unless: Unless,
        reply: Result<Reply, Unmet>,
        now: Instant,
    ) {
        if matches!(&reply, Ok(Reply::Bulk(value)) if value.is_empty()) {
            // An empty value stands in the way of a first one. Or the engine takes no writes: the next poll tries again.
            if unless == Unless::Present {
                self.found_token(Unless::Absent, now);
            }
            return;
        }
        let token = reply.ok().and_then(|reply| Token::read(reply.bytes()?));
        if let Some(token) = token
            && self.follower.watch.token() != Some(token)
        {
            log::info!("shared cache: the cluster has a new token");
            let verdict = self.follower.watch.replaced(token, now);
            self.take_token();
            self.judge(verdict, now);
        }
    }

    /// Sends the next change, one at a time.
    pub(super) fn tell_next(&mut self, home: Slot, now: Instant) {
        let follower = &mut self.follower;
        let waits = follower.again.is_some_and(|again| now < again);
        if follower.telling || waits || !self.board.keyring.is_loaded() {
            return;
        }
        let Some(token) = follower.watch.token() else {
            return;
        };
        let Some(mut announcement) = follower.queue.pop_front() else {
            return;
        };
        let new_generation = matches!(announcement.word, Some(Word::Purge(_)));
        let Some(next) = token.next(new_generation) else {
            follower.queue.push_front(announcement);
            return;
        };
        announcement.token = Some(next);
        follower.telling = true;
        let (name, text) = (self.board.token_name(), next.text());
        let command = resp::command(&[b"SET", name.as_bytes(), text.as_bytes(), b"GET"]);
        let whom = Whom::Changed(Box::new(announcement));
        self.ask_lane(Some(home), &command, whom, now + WRITE_MAX, now);
    }

    pub(super) fn token_changed(
        &mut self,
        announcement: Announcement,
        reply: &Result<Reply, Unmet>,
        now: Instant,
    ) {
        self.follower.telling = false;
        let previous = match reply {
            Ok(Reply::Nil) => Some(None),
            Ok(Reply::Bulk(value)) => Some(Token::read(value)),
            Ok(reply) => {
                self.heed(reply, now);
                None
            }
            Err(_) => None,
        };
        let (Some(previous), Some(token)) = (previous, announcement.token) else {
            self.follower.again = Some(now + AGAIN);
            self.follower.queue.push_front(announcement);
            return;
        };
        self.follower.again = None;
        let verdict = self.follower.watch.told(token, previous, now);
        self.take_token();
        self.judge(verdict, now);
        if let Some(word) = announcement.word {
            self.say(word, Some(token), previous, now);
        }
        if let Some(acks) = announcement.acks {
            self.follower.ordered.push(Ordered {
                token,
                until: announcement.until,
                acks,
                obeyed: Vec::new(),
            });
        }
    }
}
