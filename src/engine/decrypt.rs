//! Unwrap: cache first, else the HSM.

use crate::api::Fault;
use crate::api::reply::Reply;
use crate::keys::Known;
use crate::limits::NONCE_BYTES;
use crate::metrics::LIFE_PARTS;
use crate::wire::Out;
use crate::wire::transit::{self, CryptBody, Item as Asked, Verb};

use super::ahead::served_or;
use super::crypt::{self, Key, Unmet};
use super::fetch::{Purpose, Wanted};
use super::gather::Item;
use super::{Call, Engine, Flow, Gather};

impl Engine {
    pub(super) fn decrypt<O: Out>(
        &self,
        call: &mut Call<'_>,
        key: &str,
        body: &CryptBody<'_>,
        gather: &mut Gather,
        reply: &mut Reply<'_, O>,
    ) -> Result<Flow, Fault> {
        let known = match self.key(call, key, gather)? {
            Key::Known(known) => known,
            Key::Absent => return Err(Fault::key_not_found()),
            Key::Parked => return Ok(Flow::Parked),
        };
        if gather.items.is_empty() {
            let answered = if !self.serves_own() {
                false
            } else if body.batch {
                self.decrypt_hits(call, &known, body, reply)
            } else {
                self.decrypt_hit(call, &known, body, reply)?
            };
            if answered {
                return Ok(Flow::Answered);
            }
            gather.items.resize_with(body.len(), Item::default);
        }
        for (index, asked) in body.items().enumerate() {
            if matches!(gather.items[index], Item::Untried) {
                self.decrypt_item(call, (key, &known), index, asked, Purpose::Decrypt, gather);
            }
        }
        if gather.is_waiting() {
            return Ok(Flow::Parked);
        }
        if self.keeps_stale() {
            self.serve_stale(call, &known, body, gather, reply);
        }
        if body.batch {
            encode_batch(body, &gather.items, reply);
        } else {
            encode_single(body, &gather.items[0], reply);
        }
        Ok(Flow::Answered)
    }

    /// The way of nearly every request: the answer is encoded from locked memory, or nothing is
    /// written and the caller goes on.
    fn decrypt_hit<O: Out>(
        &self,
        call: &mut Call<'_>,
        known: &Known,
        body: &CryptBody<'_>,
        reply: &mut Reply<'_, O>,
    ) -> Result<bool, Fault> {
        let Some(asked) = body.items().next() else {
            return Ok(false);
        };
        let mut decoded = std::mem::take(call.decoded);
        let hit = self.decrypt_from_cache(call, &mut decoded, (known, asked), body, reply);
        *call.decoded = decoded;
        hit
    }

    fn decrypt_from_cache<O: Out>(
        &self,
        call: &Call<'_>,
        decoded: &mut Vec<u8>,
        (known, asked): (&Known, &Asked<'_>),
        body: &CryptBody<'_>,
        reply: &mut Reply<'_, O>,
    ) -> Result<bool, Fault> {
        let wanted = match self.wanted(decoded, known, asked) {
            Ok(wanted) => wanted,
            Err(Unmet::Fault(fault)) => return Err(fault.of_single_request()),
            Err(Unmet::TooNew(_)) => return Ok(false),
        };
        let open = reply.open(200, None);
        let hit = self
            .cache
            .lookup_aged(&wanted.digest, call.now, |plaintext| {
                transit::put_decrypted(reply.out(), plaintext);
            });
        let Some(((), age)) = hit else {
            reply.take_back(open);
            return Ok(false);
        };
        reply.close(open, &body.warnings, true);
        self.hit(call, &wanted, age);
        Ok(true)
    }

    /// As [`Self::decrypt_hit`], for a batch of which every item is there. One that is not sends the
    /// whole batch the long way, which looks each item up again: beside the HSM that is nothing.
    fn decrypt_hits<O: Out>(
        &self,
        call: &mut Call<'_>,
        known: &Known,
        body: &CryptBody<'_>,
        reply: &mut Reply<'_, O>,
    ) -> bool {
        let mut decoded = std::mem::take(call.decoded);
        let mut by_life = [0; LIFE_PARTS];
        let open = reply.open(200, None);
        transit::put_batch_open(reply.out());
        let all = body.items().enumerate().all(|(index, asked)| {
            if index > 0 {
                reply.out().put(b",");
            }
            let Ok(wanted) = self.wanted(&mut decoded, known, asked) else {
                return false;
            };
            let hit = self
                .cache
                .lookup_aged(&wanted.digest, call.now, |plaintext| {
                    transit::put_decrypted_item(reply.out(), plaintext, &asked.reference);
                });
            let Some(((), age)) = hit else {
                return false;
            };
            self.refresh_if_due(call, &wanted, age);
            if let Some(hits) = by_life.get_mut(age.part_left) {
                *hits += 1;
            }
            true
        });
        *call.decoded = decoded;
        if !all {
            reply.take_back(open);
            return false;
        }
        transit::put_batch_close(reply.out());
        reply.close(open, &body.warnings, true);
        let counters = self.metrics.worker(call.waiter.worker);
        counters.hits.add(body.len() as u64);
        for (counter, hits) in counters.hits_by_life.iter().zip(by_life) {
            if hits > 0 {
                counter.add(hits);
            }
        }
        true
    }

    /// Unwraps one item from the cache or by the HSM, or has its version looked up first.
    pub(super) fn decrypt_item(
        &self,
        call: &mut Call<'_>,
        (name, known): (&str, &Known),
        index: usize,
        asked: &Asked<'_>,
        purpose: Purpose,
        gather: &mut Gather,
    ) {
        let mut decoded = std::mem::take(call.decoded);
        match self.wanted(&mut decoded, known, asked) {
            Err(Unmet::Fault(fault)) => gather.items[index] = Item::Failed(fault),
            Err(Unmet::TooNew(refusal)) => {
                if let Some(fault) = self.seek_newer(call, name, refusal, gather) {
                    gather.items[index] = Item::Failed(fault);
                }
            }
            Ok(wanted) => match self.ready(call, &wanted, purpose) {
                Some(key) => gather.items[index] = Item::Plaintext(key),
                None if self.refused.contains(&wanted.digest, call.now) => {
                    gather.items[index] = Item::Failed(Fault::authentication_failed());
                }
                None => match self.stale_while_down(call, &wanted, purpose) {
                    Some(key) => gather.items[index] = Item::Stale(key),
                    None => self.fetch_plaintext(call, index, &wanted, purpose, gather),
                },
            },
        }
        *call.decoded = decoded;
    }

    /// Takes from the cache, past its life, what the HSM was not reached for, and has the answer say so.
    fn serve_stale<O: Out>(
        &self,
        call: &mut Call<'_>,
        known: &Known,
        body: &CryptBody<'_>,
        gather: &mut Gather,
        reply: &mut Reply<'_, O>,
    ) {
        let mut decoded = std::mem::take(call.decoded);
        let mut stale = 0;
        for (item, asked) in gather.items.iter_mut().zip(body.items()) {
            if let Item::Unreached(fault) = item {
                let held = match self.wanted(&mut decoded, known, asked) {
                    Ok(wanted) => self.stale(call, &wanted),
                    Err(_) => None,
                };
                *item = served_or(held, fault.clone());
            }
            stale += usize::from(matches!(item, Item::Stale(_)));
        }
        *call.decoded = decoded;
        reply.tell_stale(stale);
    }

    /// Decodes and checks one item, and names its unwrap.
    fn wanted<'a>(
        &self,
        decoded: &'a mut Vec<u8>,
        known: &'a Known,
        asked: &Asked<'_>,
    ) -> Result<Wanted<'a>, Unmet> {
        let refuse = |text: &'static str| Unmet::Fault(Fault::new(400, text));
        decoded.clear();
        if let Some(context) = &asked.context {
            crypt::check_base64(decoded, context.as_str())?;
        }
        if asked.text.as_str().is_empty() {
            return Err(refuse(Verb::Decrypt.missing()));
        }
        let (number, text) = transit::parse_ciphertext(asked.text.as_str()).map_err(refuse)?;
        if number > known.latest() {
            return Err(Unmet::TooNew(transit::VERSION_TOO_NEW_ERROR));
        }
        if number < known.record.min_decryption_version {
            return Err(refuse(transit::VERSION_TOO_OLD_ERROR));
        }
        let (version, family) = known
            .version(number)
            .filter(|(version, _)| crypt::is_usable(version))
            .ok_or_else(Fault::key_not_found)?;
        let sealed_len = crypt::decode_onto(decoded, text)
            .map_err(|_| refuse("invalid ciphertext: could not decode base64"))?;
        crypt::check_derivation(known, asked.context.as_ref())?;
        let mut data_len = 0;
        if let Some(associated_data) = &asked.associated_data {
            data_len = crypt::decode_onto(decoded, associated_data.as_str())
                .map_err(|error| Fault::associated_data(&error.to_string()))?;
        }
        if let (true, Some(context)) = (known.record.kind.derived, &asked.context) {
            crypt::decode_onto(decoded, context.as_str())
                .map_err(|error| Fault::base64(error.to_string()))?;
        }
        if !self.envelope.fits(sealed_len) {
            return Err(Unmet::Fault(misfit(sealed_len)));
        }
        let (sealed, rest) = decoded.split_at(sealed_len);
        let (associated_data, context) = rest.split_at(data_len);
        let digest = self
            .digest_key
            .digest(version, sealed, associated_data, context);
        Ok(Wanted {
            name: &known.record.name,
            digest,
            family,
            version,
            sealed,
            associated_data,
            context,
        })
    }
}

/// A ciphertext of a length that none has never needs the HSM to be refused.
#[cold]
fn misfit(sealed_len: usize) -> Fault {
    if sealed_len < NONCE_BYTES {
        Fault::new(400, transit::CIPHERTEXT_LENGTH_ERROR)
    } else {
        Fault::authentication_failed()
    }
}

fn encode_single<O: Out>(body: &CryptBody<'_>, item: &Item, reply: &mut Reply<'_, O>) {
    match item {
        Item::Plaintext(key) | Item::Stale(key) => {
            let open = reply.open(200, None);
            key.expose(|plaintext| transit::put_decrypted(reply.out(), plaintext));
            reply.close(open, &body.warnings, true);
        }
        Item::Failed(fault) => crypt::refuse_single(reply, fault.clone()),
        _ => crypt::refuse_single(reply, Fault::internal("an unwrap ended without an answer")),
    }
}

fn encode_batch<O: Out>(body: &CryptBody<'_>, items: &[Item], reply: &mut Reply<'_, O>) {
    let failed = transit::put_failed_decrypt_item;
    crypt::encode_batch(body, items, reply, |out, item, reference| match item {
        Item::Plaintext(key) | Item::Stale(key) => {
            key.expose(|plaintext| transit::put_decrypted_item(out, plaintext, reference));
        }
        Item::Failed(fault) => failed(out, &fault.text, reference),
        _ => failed(out, "an unwrap ended without an answer", reference),
    });
}
