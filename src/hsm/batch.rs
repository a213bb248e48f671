//! Jobs to the items of one message, and that message's answers back to the jobs.
//!
//! Bytes, sockets and clocks are elsewhere; this is where answers are matched to questions, so this
//! is where a lying HSM is found out. Called by the KMIP session.
//!
//! Must never be true: an item id used twice on one connection; an answer given to a job other than
//! the one whose id it bears; any plaintext believed from a message whose ids do not add up, of which one
//! is missing (its answer may be there under another's id), or that come in another order than they were
//! sent: every server met so far answers in order, so one that does not may have mixed up what it answers
//! to. (Payloads of one length and key, exchanged under right ids in the right order, cannot be told: not
//! promised.)

use std::sync::Arc;
use std::time::Instant;

use super::{
    Answer, ClientTag, Done, Envelope, HsmError, Job, KeyState, ObjectId, Request, SentStamp,
};
use crate::limits::IV_BYTES;
use crate::secret::SecretKey;

mod cbc;
mod fault;
mod gcm;
mod matching;
mod parts;
#[cfg(test)]
mod tests;

pub use cbc::Ask;
pub use fault::{Doubtful, clean};

use cbc::{Stage, Verdict};
use matching::Distrust;

/// Numbers the items of one connection; a number never comes back.
#[derive(Debug, Default)]
pub struct ItemIds {
    last: u64,
}

impl ItemIds {
    /// The next number, never 0.
    pub fn next_id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

/// One item as the HSM answered it.
#[derive(Debug)]
pub struct Reply<'a> {
    /// The Unique Batch Item ID it bears.
    pub id: Option<&'a [u8]>,
    /// What it says.
    pub outcome: Outcome<'a>,
}

/// What one item says.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// A Decrypt succeeded.
    Decrypted {
        /// The key that it names.
        object: Option<&'a str>,
        /// The plaintext.
        data: &'a [u8],
    },
    /// An Encrypt succeeded.
    Encrypted {
        /// The key that it names.
        object: Option<&'a str>,
        /// The ciphertext.
        data: &'a [u8],
        /// Only when the HSM made a nonce itself.
        nonce: Option<&'a [u8]>,
        /// The authentication tag.
        tag: Option<&'a [u8]>,
    },
    /// A MAC succeeded.
    Mac {
        /// The key that it names.
        object: Option<&'a str>,
        /// The MAC.
        mac: &'a [u8],
    },
    /// A MAC Verify succeeded, whatever it found.
    MacVerified {
        /// The key that it names.
        object: Option<&'a str>,
        /// The MAC is right.
        holds: bool,
    },
    /// The operation failed: Result Reason and Result Message.
    Failed {
        /// Result Reason.
        reason: u32,
        /// Result Message.
        text: &'a str,
    },
    /// It can be none of these: what is wrong with it.
    Malformed(&'static str),
}

/// One question and all who ask it.
pub struct Item {
    /// Its Unique Batch Item ID; that of its first operation, if it has two.
    pub id: u64,
    /// A Decrypt or an Encrypt.
    pub request: Request,
    /// Made by us for an Encrypt; unused for a Decrypt. AES-GCM takes [`Item::gcm_nonce`].
    pub nonce: [u8; IV_BYTES],
    stage: Stage,
    waiters: Vec<Waiter>,
}

/// Who asks one question: what a job is besides its request.
struct Waiter {
    deadline: Instant,
    client: ClientTag,
    sent: Option<Arc<SentStamp>>,
    done: Done,
}

/// The items of one message.
#[derive(Default)]
pub struct Batch {
    items: Vec<Item>,
    form: Form,
}

/// How items are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Form {
    /// What is sealed and opened.
    pub envelope: Envelope,
    /// The HSM has MAC Verify; else a MAC is asked for and compared.
    pub mac_verify: bool,
    /// It takes one item a message.
    pub single: bool,
}

/// Answers that are ready to be given.
pub type Finished = Vec<(Done, Result<Answer, HsmError>)>;

/// What a message's answers came to.
#[derive(Default)]
pub struct Settled {
    /// Answers to be given now.
    pub finished: Finished,
    /// Failures whose meaning depends on the key's state.
    pub doubtful: Vec<Doubtful>,
    /// Why the connection must not be used again.
    pub broken: Option<&'static str>,
    /// The HSM is at its limit.
    pub busy: bool,
    /// What is to be asked next, under new ids, to finish the rest.
    pub next: Batch,
    /// Nothing is believed, for the answers came in another order: to be asked item by item.
    pub unordered: Option<Batch>,
}

impl Batch {
    /// Makes items of Encrypt and Decrypt jobs; equal Decrypts share one. Jobs of other kinds are
    /// given back.
    pub fn gather(
        form: Form,
        jobs: Vec<Job>,
        ids: &mut ItemIds,
        mut nonce: impl FnMut() -> [u8; IV_BYTES],
    ) -> (Self, Vec<Job>) {
        let mut items: Vec<Item> = Vec::with_capacity(jobs.len());
        let mut others = Vec::new();
        for job in jobs {
            let Job {
                request,
                deadline,
                client,
                sent,
                done,
            } = job;
            let waiter = Waiter {
                deadline,
                client,
                sent,
                done,
            };
            let nonce = match &request {
                Request::Decrypt { .. } => {
                    if let Some(item) = items.iter_mut().find(|item| same(&item.request, &request))
                    {
                        item.waiters.push(waiter);
                        continue;
                    }
                    [0; IV_BYTES]
                }
                Request::Encrypt { .. } => nonce(),
                _ => {
                    others.push(waiter.into_job(request));
                    continue;
                }
            };
            let mut item = Item {
                id: 0,
                request,
                nonce,
                stage: Stage::Gcm,
                waiters: vec![waiter],
            };
            if form.envelope == Envelope::AesCbcHmac {
                item.begin(form.single);
            }
            item.renumber(ids);
            items.push(item);
        }
        (Self { items, form }, others)
    }

    /// How many operations its message has.
    pub fn operations(&self) -> usize {
        self.items.iter().map(Item::ask_count).sum()
    }

    /// The operations of [`Envelope::AesCbcHmac`] with their ids, in the order they are to be sent.
    pub fn asks(&self) -> impl Iterator<Item = (u64, Ask<'_>)> {
        self.items.iter().flat_map(|item| {
            let asks = item.asks(self.form.mac_verify);
            (item.id..).zip(asks.into_iter().flatten())
        })
    }

    /// The items, in the order they are to be sent.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// True without items.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The deadline of the most patient waiter: until then the message may fly.
    pub fn deadline(&self) -> Option<Instant> {
        self.items
            .iter()
            .flat_map(|item| &item.waiters)
            .map(|waiter| waiter.deadline)
            .max()
    }

    /// Matches `replies` by id. `store` puts a plaintext into the arena.
    pub fn settle(
        self,
        replies: &[Reply<'_>],
        ids: &mut ItemIds,
        mut store: impl FnMut(&[u8]) -> Result<SecretKey, HsmError>,
    ) -> Settled {
        let by_item = match self.match_ids(replies) {
            Ok(by_item) => by_item,
            Err(Distrust::Order) => {
                return Settled {
                    unordered: Some(self),
                    ..Settled::default()
                };
            }
            Err(Distrust::Ids(why)) => {
                let finished = self.fail(&HsmError::Protocol(why));
                return Settled {
                    finished,
                    broken: Some(why),
                    ..Settled::default()
                };
            }
        };
        let mut settled = Settled::default();
        settled.next.form = self.form;
        for (mut item, replies) in self.items.into_iter().zip(by_item) {
            let verdict = if matches!(item.stage, Stage::Gcm) {
                item.settle_gcm(replies[0], &mut store)
            } else {
                item.settle(replies, self.form.mac_verify, &mut store)
            };
            let verdict = match verdict {
                Verdict::Finished(verdict) => verdict,
                Verdict::Doubtful(doubt) => {
                    settled.doubtful.push(Doubtful::new(item, doubt));
                    continue;
                }
                Verdict::Next(stage) => {
                    item.stage = stage;
                    item.renumber(ids);
                    settled.next.items.push(item);
                    continue;
                }
            };
            match verdict {
                Err(HsmError::Protocol(why)) => settled.broken = Some(why),
                Err(HsmError::Busy) => settled.busy = true,
                _ => {}
            }
            item.finish(&verdict, &mut settled.finished);
        }
        settled
    }
}

impl Waiter {
    fn into_job(self, request: Request) -> Job {
        Job {
            request,
            deadline: self.deadline,
            client: self.client,
            sent: self.sent,
            done: self.done,
        }
    }
}

impl Item {
    /// The key.
    fn object(&self) -> Option<&ObjectId> {
        match &self.request {
            Request::Decrypt { object, .. } | Request::Encrypt { object, .. } => Some(object),
            // `gather` makes no items of these.
            _ => None,
        }
    }

    fn finish(self, verdict: &Result<Answer, HsmError>, finished: &mut Finished) {
        finished.extend(
            self.waiters
                .into_iter()
                .map(|waiter| (waiter.done, verdict.clone())),
        );
    }
}

fn same(a: &Request, b: &Request) -> bool {
    match (a, b) {
        (
            Request::Decrypt {
                object: o1,
                sealed: s1,
                associated_data: a1,
            },
            Request::Decrypt {
                object: o2,
                sealed: s2,
                associated_data: a2,
            },
        ) => s1 == s2 && o1 == o2 && a1 == a2,
        _ => false,
    }
}
