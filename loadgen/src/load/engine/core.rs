//! What all connections of an engine share: what is asked, how it is checked, what came of it.
//!
//! Must never be true: a request whose end is told twice. Called by the event loop and, for each answer, by the
//! connection that got it.

use kms::wire::http::Response;

use crate::connection::{Broken, Connection, Taker};
use crate::load::clock::Clock;
use crate::load::request::{Content, Requests};
use crate::load::source::{Feed, Items, Shot};
use crate::load::tally::{Begun, Tally};
use crate::results::ErrorKind;

/// Characters of an error's body that are kept for people.
const SAID_CHARS_MAX: usize = 300;

/// A request that waits for its answer.
pub(crate) struct Asked {
    /// When it was due.
    at_ns: u64,
    /// When it was written.
    pub sent_ns: u64,
    kind: u8,
    items: Items,
    is_measured: bool,
}

/// A request that is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub shot: Shot,
    /// So late did the loop find it due, and do what it could for it.
    pub late_ns: u64,
}

impl Due {
    /// How late the loop is when it does something for it at `now_ns`, for which it had what it takes since `ready_ns`.
    /// Waiting for the server is no lag.
    pub fn lag_ns(&self, ready_ns: u64, now_ns: u64) -> u64 {
        let found_ns = self.shot.at_ns + self.late_ns;
        self.late_ns + now_ns.saturating_sub(found_ns.max(ready_ns))
    }
}

/// Shared by the connections.
pub(crate) struct Core {
    pub clock: Clock,
    pub feed: Feed,
    pub requests: Requests,
    pub tally: Tally,
    /// When the newest bytes were read.
    pub now_ns: u64,
    /// What is due before is warm-up.
    pub measure_from_ns: u64,
    /// The warm-up is over: figures are taken.
    pub has_begun: bool,
    /// The schedule is over.
    pub end_ns: u64,
    /// What is sent later than so long after was not sent in time.
    pub slack_ns: u64,
    /// Nothing more is asked.
    pub is_over: bool,
    /// An answer came last at this time.
    pub answered_ns: u64,
    /// Requests failed since then.
    pub failed_since: u64,
    /// What the first refusal said.
    pub first_refusal: Option<String>,
}

impl Core {
    /// Whether figures are taken of what is due then.
    pub fn is_measured(&self, at_ns: u64) -> bool {
        self.has_begun && at_ns >= self.measure_from_ns
    }

    /// Whether a request is due, and may be sent: none that counts before figures are taken.
    pub fn is_due(&self, now_ns: u64) -> bool {
        let is_open = |at_ns| self.has_begun || at_ns < self.measure_from_ns;
        self.feed
            .peek_ns()
            .is_some_and(|at_ns| at_ns <= now_ns && is_open(at_ns))
    }

    /// Queues a request on a connection, which could be had since `ready_ns`; to be flushed.
    pub fn send(
        &mut self,
        connection: &mut Connection<Asked>,
        due: Due,
        ready_ns: u64,
    ) -> Result<(), Broken> {
        let shot = due.shot;
        let kind = self.feed.kinds().get(usize::from(shot.kind)).copied();
        let Some(kind) = kind else {
            return Ok(());
        };
        let is_measured = self.is_measured(shot.at_ns);
        let request = self.requests.compose(kind, self.feed.items(&shot.items));
        let sent_ns = self.clock.now_ns();
        if is_measured {
            let lag_ns = due.lag_ns(ready_ns, sent_ns);
            let begun = Begun::at(sent_ns, self.end_ns, self.slack_ns);
            self.tally.sent(lag_ns, begun);
        }
        let asked = Asked {
            at_ns: shot.at_ns,
            sent_ns,
            kind: shot.kind,
            items: shot.items,
            is_measured,
        };
        connection.send(request, asked)
    }

    /// A request that was never written ends so.
    pub fn drop_shot(&mut self, shot: Shot, error: ErrorKind, now_ns: u64) {
        self.failed_since += 1;
        if self.is_measured(shot.at_ns) {
            self.tally
                .failed(shot.kind, error, now_ns.saturating_sub(shot.at_ns));
        }
        self.feed.release(shot.items);
    }

    /// A request that was written ends without an answer.
    pub fn lose(&mut self, asked: &Asked, error: ErrorKind, now_ns: u64) {
        self.failed_since += 1;
        if asked.is_measured {
            self.tally
                .failed(asked.kind, error, now_ns.saturating_sub(asked.at_ns));
        }
        self.feed.release(asked.items);
    }

    fn judge(&mut self, asked: &Asked, answer: &Response<'_>) -> Option<ErrorKind> {
        if let Some(error) = ErrorKind::of_status(answer.status) {
            self.note_refusal(answer);
            return Some(error);
        }
        let kind = *self.feed.kinds().get(usize::from(asked.kind))?;
        match self
            .requests
            .check(kind, self.feed.items(&asked.items), answer.body)
        {
            Content::Right => None,
            Content::Wrong => Some(ErrorKind::WrongAnswer),
            Content::Malformed => Some(ErrorKind::Malformed),
        }
    }

    /// Only what is an error and nothing else: a batch that failed in part holds plaintexts.
    fn note_refusal(&mut self, answer: &Response<'_>) {
        if self.first_refusal.is_none() {
            let text = if answer.body.starts_with(b"{\"errors\":") {
                String::from_utf8_lossy(answer.body)
                    .chars()
                    .take(SAID_CHARS_MAX)
                    .collect()
            } else {
                String::new()
            };
            self.first_refusal = Some(
                format!("status {} {text}", answer.status)
                    .trim_end()
                    .to_owned(),
            );
        }
    }
}

impl Taker<Asked> for Core {
    fn arrived(&mut self) {
        self.now_ns = self.clock.now_ns();
    }

    fn answered(&mut self, asked: Asked, answer: &Response<'_>) {
        let error = self.judge(&asked, answer);
        (self.answered_ns, self.failed_since) = (self.now_ns, 0);
        if asked.is_measured {
            self.tally.status(answer.status);
            let response_ns = self.now_ns.saturating_sub(asked.at_ns);
            match error {
                None => {
                    let service_ns = self.now_ns.saturating_sub(asked.sent_ns);
                    self.tally.right(asked.kind, response_ns, service_ns);
                }
                Some(error) => self.tally.failed(asked.kind, error, response_ns),
            }
        }
        self.feed.release(asked.items);
    }
}
