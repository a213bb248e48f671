//! Data keys: random bytes, from the HSM's generator where it has one, and their wrap.
//!
//! The plaintext waits in the arena while the HSM wraps it.

use std::sync::atomic::{AtomicBool, Ordering};

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::api::Fault;
use crate::api::reply::Reply;
use crate::flight::Joined;
use crate::hsm::store::Store;
use crate::hsm::{Answer, HsmError, Request};
use crate::secret::{SecretBytes, SecretKey};
use crate::wire::Out;
use crate::wire::transit::{self, DatakeyBody};

use super::crypt::{self, Key, Unmet};
use super::fetch::{hold, item_waiter};
use super::gather::{Item, Wants};
use super::{Brought, Call, Engine, Flow, Gather, faults};

/// Of the largest data key.
const BYTES_MAX: usize = 64;
/// The two items that a data key is gathered in.
const PLAINTEXT: usize = 0;
const SEALED: usize = 1;

impl Engine {
    /// Answers a new data key; its plaintext too if `tells`.
    pub(super) fn datakey<O: Out>(
        &self,
        call: &mut Call<'_>,
        (key, tells): (&str, bool),
        body: &DatakeyBody<'_>,
        gather: &mut Gather,
        reply: &mut Reply<'_, O>,
    ) -> Result<Flow, Fault> {
        if let Some(context) = &body.context
            && crypt::check_base64(call.decoded, context.as_str()).is_err()
        {
            return Err(Fault::base64("failed to base64-decode context"));
        }
        let known = match self.key(call, key, gather)? {
            Key::Known(known) => known,
            Key::Absent => return Err(Fault::key_not_found()),
            Key::Parked => return Ok(Flow::Parked),
        };
        let bytes = match body.bits {
            128 => 16,
            256 => 32,
            512 => 64,
            _ => return Err(Fault::new(400, "invalid bit length")),
        };
        let version = match crypt::version_to_wrap(&known, body.key_version) {
            Ok(version) => version,
            Err(Unmet::Fault(fault)) => return Err(fault),
            Err(Unmet::TooNew(refusal)) => {
                return match self.seek_newer(call, key, refusal, gather) {
                    Some(fault) => Err(fault),
                    None => Ok(Flow::Parked),
                };
            }
        };
        let context = body.context.as_ref();
        let sealer = crypt::sealer(call.decoded, &known, version, context)
            .map_err(Fault::of_single_request)?;
        let associated_data = crypt::associated_data(call.decoded, body.associated_data.as_ref())
            .map_err(Fault::of_single_request)?;
        if gather.items.is_empty() {
            gather.items.resize_with(2, Item::default);
            self.fetch_random(call, bytes, gather);
        }
        if let [Item::Plaintext(plaintext), Item::Untried] = gather.items.as_slice() {
            let plaintext = plaintext.expose(SecretBytes::from_slice);
            self.fetch_sealed(call, SEALED, sealer, plaintext, associated_data, gather);
        }
        if gather.is_waiting() {
            return Ok(Flow::Parked);
        }
        encode(body, tells, &gather.items, reply);
        Ok(Flow::Answered)
    }

    fn fetch_random(&self, call: &Call<'_>, bytes: usize, gather: &mut Gather) {
        if !self.hsm.offers_random() {
            gather.items[PLAINTEXT] = match own_random(&self.store, bytes) {
                Ok(key) => Item::Plaintext(key),
                Err(error) => Item::Failed(faults::of(&error)),
            };
            return;
        }
        if let Err(fault) = hold(call, gather) {
            gather.items[PLAINTEXT] = Item::Failed(fault);
            return;
        }
        let waiter = item_waiter(call, PLAINTEXT);
        let Ok(Joined::Lead(lead)) = self.flights.join(self.alone(), waiter, || None::<()>) else {
            gather.items[PLAINTEXT] = Item::Failed(faults::of(&HsmError::Overloaded));
            return;
        };
        gather.await_item(PLAINTEXT, Wants::Plaintext, 0, true);
        let store = std::sync::Arc::clone(&self.store);
        self.submit(call, Request::Random { bytes }, move |outcome| {
            let outcome = checked_random(&store, bytes, outcome);
            lead.finish(outcome.map(Brought::Hsm));
        });
    }
}

/// The HSM's random bytes, if it gave as many as were asked for; our own if it has none to give.
fn checked_random(
    store: &Store,
    bytes: usize,
    outcome: Result<Answer, HsmError>,
) -> Result<Answer, HsmError> {
    static SAID: AtomicBool = AtomicBool::new(false);
    match outcome {
        Ok(Answer::Plaintext(key)) if key.len() != bytes => {
            Err(HsmError::Protocol("not as many random bytes as asked for"))
        }
        Err(error @ (HsmError::Unsupported(_) | HsmError::Refused { .. })) => {
            if !SAID.swap(true, Ordering::Relaxed) {
                log::warn!(
                    "the HSM gave no random bytes ({error:?}); data keys come from this server's \
                     generator wherever it does not"
                );
            }
            own_random(store, bytes).map(Answer::Plaintext)
        }
        other => other,
    }
}

/// Random bytes of this system, in the arena.
fn own_random(store: &Store, bytes: usize) -> Result<SecretKey, HsmError> {
    let mut room = Zeroizing::new([0; BYTES_MAX]);
    let room = room.get_mut(..bytes).unwrap_or_default();
    SystemRandom::new()
        .fill(room)
        .map_err(|_| HsmError::Protocol("this system gives no random bytes"))?;
    store.put(room).map_err(|_| HsmError::NoLockedMemory)
}

fn encode<O: Out>(body: &DatakeyBody<'_>, tells: bool, items: &[Item], reply: &mut Reply<'_, O>) {
    match items {
        [Item::Plaintext(plaintext), Item::Sealed { version, bytes }] => {
            let open = reply.open(200, None);
            plaintext.expose(|plaintext| {
                let plaintext = tells.then_some(plaintext);
                transit::put_datakey(reply.out(), *version, bytes, plaintext);
            });
            reply.close(open, &body.warnings, true);
        }
        [Item::Failed(fault), _] | [_, Item::Failed(fault)] => {
            crypt::refuse_single(reply, fault.clone());
        }
        _ => reply.fault(&Fault::internal("a data key ended without an answer")),
    }
}
