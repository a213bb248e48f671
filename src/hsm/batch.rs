//! Jobs to the items of one message, and that message's answers back to the jobs.
//!
//! Bytes, sockets and clocks are elsewhere; this is where answers are matched to questions, so this
//! is where a lying HSM is found out. Called by the KMIP session.
//!
//! Must never be true: an item id used twice on one connection; an answer given to a job other than
//! the one whose id it bears; any plaintext believed from a message whose ids do not add up.
//! (A right id with another item's payload of the same length and key cannot be told: not promised.)

use std::sync::Arc;
use std::time::Instant;

use super::{Answer, ClientTag, Done, HsmError, Job, KeyState, ObjectId, Request, SentStamp};
use crate::limits::{NONCE_BYTES, TAG_BYTES};
use crate::secret::SecretKey;

mod fault;
mod parts;
#[cfg(test)]
mod tests;

pub use fault::{Doubtful, clean};

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
    /// Its Unique Batch Item ID.
    pub id: u64,
    /// A Decrypt or an Encrypt.
    pub request: Request,
    /// Made by us for an Encrypt; unused for a Decrypt.
    pub nonce: [u8; NONCE_BYTES],
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
}

impl Batch {
    /// Makes items of Encrypt and Decrypt jobs; equal Decrypts share one. Jobs of other kinds are
    /// given back.
    pub fn gather(
        jobs: Vec<Job>,
        ids: &mut ItemIds,
        mut nonce: impl FnMut() -> [u8; NONCE_BYTES],
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
                    [0; NONCE_BYTES]
                }
                Request::Encrypt { .. } => nonce(),
                _ => {
                    others.push(waiter.into_job(request));
                    continue;
                }
            };
            let waiters = vec![waiter];
            items.push(Item {
                id: ids.next_id(),
                request,
                nonce,
                waiters,
            });
        }
        (Self { items }, others)
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
        mut store: impl FnMut(&[u8]) -> Result<SecretKey, HsmError>,
    ) -> Settled {
        let by_item = match self.match_ids(replies) {
            Ok(by_item) => by_item,
            Err(why) => {
                let finished = self.fail(&HsmError::Protocol(why));
                return Settled {
                    finished,
                    broken: Some(why),
                    ..Settled::default()
                };
            }
        };
        let mut settled = Settled::default();
        for (item, reply) in self.items.into_iter().zip(by_item) {
            let verdict = match reply {
                None => Err(HsmError::Protocol("an item of the batch was not answered")),
                Some(Reply {
                    outcome: Outcome::Failed { reason, text },
                    ..
                }) => {
                    let Some(error) = fault::judge(&item.request, *reason, text) else {
                        settled.doubtful.push(Doubtful::new(item, *reason, text));
                        continue;
                    };
                    Err(error)
                }
                Some(reply) => item.answer(&reply.outcome, &mut store),
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

    /// For each item its reply. An error distrusts the whole message.
    fn match_ids<'r, 'a>(
        &self,
        replies: &'r [Reply<'a>],
    ) -> Result<Vec<Option<&'r Reply<'a>>>, &'static str> {
        let mut by_item = vec![None; self.items.len()];
        for reply in replies {
            let Some(id) = reply.id else {
                return Err("an answered item bears no Unique Batch Item ID");
            };
            let Ok(id) = <[u8; 8]>::try_from(id) else {
                return Err("an answered item bears a Unique Batch Item ID that was never sent");
            };
            let id = u64::from_be_bytes(id);
            // Ids rise within a batch.
            let Ok(at) = self.items.binary_search_by_key(&id, |item| item.id) else {
                return Err("an answered item bears a Unique Batch Item ID that was not asked");
            };
            match by_item.get_mut(at) {
                Some(slot @ None) => *slot = Some(reply),
                _ => return Err("two answered items bear the same Unique Batch Item ID"),
            }
        }
        Ok(by_item)
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
    fn answer(
        &self,
        outcome: &Outcome<'_>,
        store: &mut impl FnMut(&[u8]) -> Result<SecretKey, HsmError>,
    ) -> Result<Answer, HsmError> {
        match (&self.request, outcome) {
            (Request::Decrypt { object, sealed, .. }, Outcome::Decrypted { object: by, data }) => {
                check_object(object, *by)?;
                if data.len() + NONCE_BYTES + TAG_BYTES != sealed.len() {
                    return Err(HsmError::Protocol(
                        "a plaintext has not its ciphertext's length",
                    ));
                }
                store(data).map(Answer::Plaintext)
            }
            (
                Request::Encrypt {
                    object, plaintext, ..
                },
                Outcome::Encrypted {
                    object: by,
                    data,
                    nonce,
                    tag,
                },
            ) => {
                check_object(object, *by)?;
                if data.len() != plaintext.expose().len() {
                    return Err(HsmError::Protocol(
                        "a ciphertext has not its plaintext's length",
                    ));
                }
                if nonce.is_some_and(|nonce| nonce != self.nonce) {
                    return Err(HsmError::Protocol(
                        "the HSM used a nonce other than the one sent",
                    ));
                }
                let Some(tag) = tag.filter(|tag| tag.len() == TAG_BYTES) else {
                    return Err(HsmError::Protocol(
                        "the HSM sealed without an authentication tag of 16 bytes",
                    ));
                };
                Ok(Answer::Sealed([&self.nonce[..], data, tag].concat()))
            }
            (_, Outcome::Malformed(why)) => Err(HsmError::Protocol(why)),
            _ => Err(HsmError::Protocol(
                "an item was answered as another operation",
            )),
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

fn check_object(asked: &ObjectId, answered: Option<&str>) -> Result<(), HsmError> {
    match answered {
        Some(answered) if answered != &*asked.0 => {
            Err(HsmError::Protocol("an item was answered for another key"))
        }
        _ => Ok(()),
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
