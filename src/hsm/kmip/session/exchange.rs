//! One message of Encrypts and Decrypts, and what becomes of its jobs.

use std::collections::HashMap;
use std::time::Instant;

use super::super::super::batch::{Batch, Doubtful, Finished, Reply, clean};
use super::super::super::pool::Served;
use super::super::super::{HsmError, KeyState, ObjectId};
use super::super::link::LinkError;
use super::items::{call_of, reason_of, reply_of, weight};
use super::{ANSWER_BYTES_MAX, Fault, Session, blame, give};
use crate::wire::kmip::{ResponseItem, decode_response};

impl Session {
    /// Exchanges one message of Encrypts and Decrypts.
    pub(super) fn exchange(&mut self, batch: Batch, served: &mut Served) {
        let now = Instant::now();
        let Some(deadline) = batch.deadline().filter(|deadline| *deadline > now) else {
            return give(batch.fail(&HsmError::TimedOut));
        };
        if self.single && batch.items().len() > 1 {
            return self.exchange_singly(batch, served);
        }
        let bytes = batch.items().iter().map(|item| weight(&item.request)).sum();
        let sent = match self.send(batch.items().iter().map(call_of), bytes, deadline) {
            // Nothing was written: the connection is as good as before.
            Err(LinkError::NoLockedMemory) => return give(batch.fail(&HsmError::NoLockedMemory)),
            sent => sent,
        };
        let answer_max = bytes + ANSWER_BYTES_MAX;
        let answer = match sent.and_then(|()| self.link.receive(answer_max, deadline)) {
            Ok(answer) => answer,
            Err(error) => return fail(batch, &error, &self.place, served),
        };
        let items = decode_response(answer)
            .and_then(|message| message.items.collect::<Result<Vec<ResponseItem<'_>>, _>>());
        let items = match items {
            Ok(items) => items,
            Err(error) => {
                served.broken = Some(format!("{}: {error}", self.place));
                let why = "the HSM's answer is no KMIP response";
                return give(batch.fail(&HsmError::Protocol(why)));
            }
        };
        if let [refusal] = items.as_slice()
            && refusal.is_message_level()
            && !refusal.is_success()
        {
            // One item may spoil a message for the others, or the HSM may not take the batch at all.
            if batch.items().len() > 1 {
                return self.exchange_singly(batch, served);
            }
            let (reason, text) = reason_of(refusal);
            return give(batch.fail(&HsmError::Refused {
                reason,
                text: clean(text),
            }));
        }
        let replies: Vec<Reply<'_>> = items.iter().map(reply_of).collect();
        let settled = batch.settle(&replies, |plain| {
            self.store.put(plain).map_err(|_| HsmError::NoLockedMemory)
        });
        self.link.forget();
        give(settled.finished);
        if let Some(why) = settled.broken {
            served.broken = Some(format!("{}: {why}", self.place));
        }
        self.resolve(settled.doubtful, served);
    }

    fn exchange_singly(&mut self, batch: Batch, served: &mut Served) {
        for single in batch.split(&mut self.ids) {
            if served.broken.is_some() {
                served.unsent.extend(single.into_jobs());
            } else {
                self.exchange(single, served);
            }
        }
    }

    /// Asks once for the state of each key whose failure cannot be read without it.
    fn resolve(&mut self, doubtful: Vec<Doubtful>, served: &mut Served) {
        let mut states: HashMap<ObjectId, Option<KeyState>> = HashMap::new();
        for doubt in doubtful {
            let state = doubt.object().and_then(|object| {
                if let Some(known) = states.get(object) {
                    return *known;
                }
                let until = doubt.deadline().unwrap_or_else(Instant::now);
                let state = self.ask_state(object, until, served);
                states.insert(object.clone(), state);
                state
            });
            let mut finished = Finished::new();
            doubt.resolve(state, &mut finished);
            give(finished);
        }
    }

    fn ask_state(
        &mut self,
        object: &ObjectId,
        deadline: Instant,
        served: &mut Served,
    ) -> Option<KeyState> {
        if served.broken.is_some() || deadline <= Instant::now() {
            return None;
        }
        match self.state(object, deadline) {
            Ok(state) => state,
            Err(Fault::Failed { .. }) => None,
            Err(Fault::Link(error)) => {
                served.broken = Some(format!("{}: {error}", self.place));
                None
            }
        }
    }
}

/// The message failed as a whole. Encrypts and Decrypts change nothing, so they may be asked again
/// when no byte of an answer had come.
fn fail(batch: Batch, error: &LinkError, place: &str, served: &mut Served) {
    served.broken = Some(format!("{place}: {error}"));
    match error {
        LinkError::Dead {
            answering: false, ..
        } => served.retry.extend(batch.into_jobs()),
        error => give(batch.fail(&blame(error, place))),
    }
}
