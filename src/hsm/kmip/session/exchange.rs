//! One message of Encrypts and Decrypts, and what becomes of its jobs.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::super::super::batch::{Batch, Doubtful, Finished, Reply, Settled, clean};
use super::super::super::pool::{ItemsMax, Served};
use super::super::super::{Envelope, HsmError, KeyState, ObjectId};
use super::super::link::LinkError;
use super::items::{call_of, call_of_ask, reason_of, reply_of};
use super::pipeline::{After, Flying};
use super::{ANSWER_BYTES_MAX, Fault, Session, blame, give, note};
use crate::wire::kmip::{Call, ResponseItem, decode_response};

/// Result Reasons that mean a message with fewer items would do.
const RESPONSE_TOO_LARGE: u32 = 0x02;
const SERVER_LIMIT_EXCEEDED: u32 = 0x3A;

/// Messages one after the other whose answers come in another order, until no more batches are sent.
const UNORDERED_MAX: usize = 3;
const UNORDERED: &str = "the answers of a message came in another order than its questions";

/// The reason why the message was refused as a whole, if it was.
fn refusal_of<'a>(items: &[ResponseItem<'a>]) -> Option<(u32, &'a str)> {
    match items {
        [one] if one.is_message_level() && !one.is_success() => Some(reason_of(one)),
        _ => None,
    }
}

impl Session {
    /// Exchanges one message of Encrypts and Decrypts, and whatever follows from its answer.
    pub(super) fn exchange(&mut self, batch: Batch, served: &mut Served) {
        self.exchange_all(VecDeque::from([batch]), 1, served);
    }

    /// Writes one message; without one there is nothing to be read. What is to be asked in several
    /// messages instead goes back to the front of `waiting`.
    pub(super) fn write(
        &mut self,
        batch: Batch,
        waiting: &mut VecDeque<Batch>,
        served: &mut Served,
    ) -> Option<Flying> {
        let now = self.time.now();
        let Some(deadline) = batch.deadline().filter(|deadline| *deadline > now) else {
            give(batch.fail(&HsmError::TimedOut));
            return None;
        };
        if self.single && batch.operations() > 1 {
            let singles = batch.split(&mut self.ids).into_iter();
            singles.rev().for_each(|single| waiting.push_front(single));
            return None;
        }
        let deadline = self.until.map_or(deadline, |until| until.min(deadline));
        let weights = batch.items().iter().map(|item| self.weight(&item.request));
        let bytes = weights.sum();
        match self.send_batch(&batch, bytes, deadline) {
            Ok(()) => {
                return Some(Flying {
                    batch,
                    bytes,
                    sent: now,
                    deadline,
                });
            }
            // Nothing was written: the connection is as good as before.
            Err(LinkError::NoLockedMemory) => give(batch.fail(&HsmError::NoLockedMemory)),
            Err(error) => {
                let now = self.time.now();
                fail(batch, &error, (&self.place, now), served);
            }
        }
        None
    }

    /// Reads the answer to one message, the oldest that is on its way.
    pub(super) fn read(&mut self, flying: Flying, after: &mut After, served: &mut Served) {
        let Flying {
            batch,
            bytes,
            sent,
            deadline,
        } = flying;
        let answer = self.link.receive(bytes + ANSWER_BYTES_MAX, deadline);
        let items = batch.items().len();
        note(&mut self.messages, items, sent, self.time.now(), &answer);
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let now = self.time.now();
                return fail(batch, &error, (&self.place, now), served);
            }
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
        if let Some((reason, text)) = refusal_of(&items) {
            if batch.operations() > 1 {
                let text = clean(text);
                after.refused.push((batch, reason, text));
                return;
            }
            self.refused_whole += 1;
            return give(batch.fail(&HsmError::Refused {
                reason,
                text: clean(text),
            }));
        }
        let is_several = items.len() > 1;
        let replies: Vec<Reply<'_>> = items.iter().map(reply_of).collect();
        let store = &self.store;
        let settled = batch.settle(&replies, &mut self.ids, |plain| {
            store.put(plain).map_err(|_| HsmError::NoLockedMemory)
        });
        self.link.forget();
        self.keep(settled, is_several, after, served);
    }

    /// Gives the answers of a message, and keeps what is still to be asked.
    fn keep(&mut self, settled: Settled, is_several: bool, after: &mut After, served: &mut Served) {
        served.worked |= settled.finished.iter().any(|(_, result)| result.is_ok());
        give(settled.finished);
        served.busy |= settled.busy;
        if let Some(why) = settled.broken {
            served.broken = Some(format!("{}: {why}", self.place));
        }
        if is_several && settled.unordered.is_none() {
            self.unordered = 0;
        }
        after.unordered.extend(settled.unordered);
        after.doubtful.extend(settled.doubtful);
        if !settled.next.is_empty() {
            after.next.push(settled.next);
        }
    }

    fn send_batch(
        &mut self,
        batch: &Batch,
        bytes: usize,
        deadline: Instant,
    ) -> Result<(), LinkError> {
        match self.envelope {
            Envelope::AesGcm | Envelope::Transit => {
                self.send(batch.items().iter().map(call_of), bytes, deadline)
            }
            Envelope::AesCbcHmac => {
                let calls: Vec<Call<'_>> = batch.asks().map(call_of_ask).collect();
                self.send(calls, bytes, deadline)
            }
        }
    }

    /// The HSM refused a message of several items as a whole. Too long a message is halved; else one item
    /// may spoil it for the others, or the HSM may not take batches at all: that is learnt when each item
    /// alone is taken.
    pub(super) fn exchange_parts(
        &mut self,
        batch: Batch,
        reason: u32,
        text: &str,
        served: &mut Served,
    ) {
        let count = batch.items().len();
        let why: Arc<str> = format!("reason {reason:#x}: {text}").into();
        if count > 1 && matches!(reason, RESPONSE_TOO_LARGE | SERVER_LIMIT_EXCEEDED) {
            let items = count / 2;
            served.learnt = Some(ItemsMax { items, why });
            for half in batch.halve(&mut self.ids) {
                self.exchange_unless_broken(half, served);
            }
            return;
        }
        let refused = std::mem::replace(&mut self.refused_whole, 0);
        self.exchange_singly(batch, served);
        if self.refused_whole == 0 && served.broken.is_none() {
            self.single = true;
            served.learnt = Some(ItemsMax { items: 1, why });
        }
        self.refused_whole += refused;
    }

    /// The HSM answered in another order than it was asked. Alone, no item can be taken for another. Once
    /// may be an accident; an HSM that goes on like this gets no more batches.
    pub(super) fn exchange_unordered(&mut self, batch: Batch, served: &mut Served) {
        if served.broken.is_some() {
            served.unsent.extend(batch.into_jobs());
            return;
        }
        self.unordered += 1;
        log::warn!(
            "{}: {UNORDERED}; none of them is believed, each item is asked again alone",
            self.place
        );
        self.exchange_singly(batch, served);
        if self.unordered >= UNORDERED_MAX {
            let why = UNORDERED.into();
            served.learnt = Some(ItemsMax { items: 1, why });
        }
    }

    fn exchange_unless_broken(&mut self, batch: Batch, served: &mut Served) {
        if served.broken.is_some() {
            served.unsent.extend(batch.into_jobs());
        } else {
            self.exchange(batch, served);
        }
    }

    fn exchange_singly(&mut self, batch: Batch, served: &mut Served) {
        for single in batch.split(&mut self.ids) {
            self.exchange_unless_broken(single, served);
        }
    }

    /// Asks once for the state of each key whose failure cannot be read without it.
    pub(super) fn resolve(&mut self, doubtful: Vec<Doubtful>, served: &mut Served) {
        let mut states: HashMap<ObjectId, Option<KeyState>> = HashMap::new();
        for doubt in doubtful {
            let object = doubt.object();
            let state = if let Some(known) = states.get(object) {
                *known
            } else {
                let until = doubt.deadline().unwrap_or_else(|| self.time.now());
                let state = self.ask_state(object, until, served);
                states.insert(object.clone(), state);
                state
            };
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
        if served.broken.is_some() || deadline <= self.time.now() {
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
/// when no byte of an answer had come, or when this server was given less time than they have.
fn fail(batch: Batch, error: &LinkError, (place, now): (&str, Instant), served: &mut Served) {
    served.broken = Some(format!("{place}: {error}"));
    match error {
        LinkError::Dead {
            answering: false, ..
        } => served.retry.extend(batch.into_jobs()),
        LinkError::TimedOut => {
            let (late, in_time) = batch.split_late(now);
            give(late);
            served.retry.extend(in_time);
        }
        error => give(batch.fail(&blame(error, place))),
    }
}
