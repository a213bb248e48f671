//! Wrap: always the HSM; the cache neither asked nor filled.

use zeroize::Zeroizing;

use crate::api::Fault;
use crate::api::reply::Reply;
use crate::identity::Operation;
use crate::keys::Known;
use crate::secret::SecretBytes;
use crate::wire::Out;
use crate::wire::transit::{self, CryptBody, Item as Asked};

use super::crypt::{self, Key, Sealer, Unmet};
use super::gather::Item;
use super::{Call, Engine, Flow, Gather, key};

impl Engine {
    pub(super) fn encrypt<O: Out>(
        &self,
        call: &mut Call<'_>,
        key: &str,
        body: &CryptBody<'_>,
        gather: &mut Gather,
        reply: &mut Reply<'_, O>,
    ) -> Result<Flow, Fault> {
        let known = match self.key(call, key, gather)? {
            Key::Known(known) => known,
            Key::Parked => return Ok(Flow::Parked),
            Key::Absent => return self.create_for_encrypt(call, key, body, gather),
        };
        if gather.items.is_empty() {
            gather.items.resize_with(body.len(), Item::default);
        }
        for (index, asked) in body.items().enumerate() {
            if matches!(gather.items[index], Item::Untried) {
                self.encrypt_item(call, (key, &known), index, asked, gather);
            }
        }
        if gather.is_waiting() {
            return Ok(Flow::Parked);
        }
        if body.batch {
            encode_batch(body, &gather.items, reply);
        } else {
            encode_single(body, &gather.items[0], reply);
        }
        Ok(Flow::Answered)
    }

    /// Transit creates a missing key when the principal may create keys.
    fn create_for_encrypt(
        &self,
        call: &Call<'_>,
        key: &str,
        body: &CryptBody<'_>,
        gather: &mut Gather,
    ) -> Result<Flow, Fault> {
        if !call.role.allows(Operation::Create, key) {
            return Err(Fault::permission_denied());
        }
        if !self.is_transit() {
            key::check_for_encrypt(body)?;
        }
        if std::mem::replace(&mut gather.changed, true) {
            return Err(Fault::internal("the HSM created no key"));
        }
        let request = |name| self.creation(name, key::spec_for_encrypt(body));
        self.change_key(call, key, request, gather)
    }

    fn encrypt_item(
        &self,
        call: &mut Call<'_>,
        (name, known): (&str, &Known),
        index: usize,
        asked: &Asked<'_>,
        gather: &mut Gather,
    ) {
        match prepare(call.decoded, known, asked) {
            Err(Unmet::Fault(fault)) => gather.items[index] = Item::Failed(fault),
            Err(Unmet::TooNew(refusal)) => {
                if let Some(fault) = self.seek_newer(call, name, refusal, gather) {
                    gather.items[index] = Item::Failed(fault);
                }
            }
            Ok((sealer, plaintext, associated_data)) => {
                self.fetch_sealed(call, index, sealer, plaintext, associated_data, gather);
            }
        }
    }
}

/// By what, plaintext, associated data.
type Prepared = (Sealer, SecretBytes, Vec<u8>);

/// Decodes and checks one item.
fn prepare(room: &mut Vec<u8>, known: &Known, asked: &Asked<'_>) -> Result<Prepared, Unmet> {
    let mut plaintext = Zeroizing::new(Vec::new());
    crypt::decode_onto(&mut plaintext, asked.text.as_str())
        .map_err(|error| Fault::base64(error.to_string()))?;
    room.clear();
    if let Some(context) = &asked.context {
        crypt::check_base64(room, context.as_str())?;
    }
    let version = crypt::version_to_wrap(known, asked.key_version)?;
    let sealer = crypt::sealer(room, known, version, asked.context.as_ref())?;
    let associated_data = crypt::associated_data(room, asked.associated_data.as_ref())?;
    Ok((
        sealer,
        SecretBytes::new(std::mem::take(&mut *plaintext)),
        associated_data,
    ))
}

/// Answers a single wrap; a rewrap alike.
pub(super) fn encode_single<O: Out>(body: &CryptBody<'_>, item: &Item, reply: &mut Reply<'_, O>) {
    match item {
        Item::Sealed { version, bytes } => {
            let open = reply.open(200, None);
            transit::put_encrypted(reply.out(), *version, bytes);
            reply.close(open, &body.warnings, true);
        }
        Item::Failed(fault) => crypt::refuse_single(reply, fault.clone()),
        _ => crypt::refuse_single(reply, Fault::internal("a wrap ended without an answer")),
    }
}

fn encode_batch<O: Out>(body: &CryptBody<'_>, items: &[Item], reply: &mut Reply<'_, O>) {
    crypt::encode_batch(body, items, reply, put_item);
}

/// Writes one item of a batch of wraps; of rewraps alike.
pub(super) fn put_item<O: Out>(out: &mut O, item: &Item, reference: &str) {
    let failed = transit::put_failed_encrypt_item;
    match item {
        Item::Sealed { version, bytes } => {
            transit::put_encrypted_item(out, *version, bytes, reference);
        }
        Item::Failed(fault) => failed(out, &fault.text, reference),
        _ => failed(out, "a wrap ended without an answer", reference),
    }
}
