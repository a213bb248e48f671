//! What wrapping and unwrapping share: the key, the associated data, the batch.

use std::sync::Arc;

use crate::api::Fault;
use crate::api::reply::Reply;
use crate::hsm::{HsmError, KeyState, KeyVersion, ObjectId};
use crate::keys::Known;
use crate::wire::transit::{self, CryptBody, Text};
use crate::wire::{Out, base64};

use super::gather::{Item, KeyAnswer};
use super::{Call, Engine, Gather, faults};

/// How often one request looks a key up that comes and goes.
const KEY_ASKS_MAX: u8 = 3;

/// The key of a request.
pub(super) enum Key {
    /// Known to this node.
    Known(Arc<Known>),
    /// The HSM has no such key.
    Absent,
    /// A ticket will tell.
    Parked,
}

impl Engine {
    /// The key `name`, asking the HSM if this node has not met it.
    pub(super) fn key(
        &self,
        call: &Call<'_>,
        name: &str,
        gather: &mut Gather,
    ) -> Result<Key, Fault> {
        if gather.is_over() && gather.items.is_empty() {
            // The key may have become known meanwhile, but there is no time left to ask for more.
            return Err(faults::of(&HsmError::TimedOut));
        }
        if let Some((known, refresh)) = self.keys.lookup(name, call.now) {
            if refresh {
                self.refresh_key(call, name);
            }
            return Ok(Key::Known(known));
        }
        if matches!(gather.key, KeyAnswer::Untried) {
            self.fetch_key(call, name, gather)?;
        }
        match &gather.key {
            KeyAnswer::Untried | KeyAnswer::Waiting { .. } => Ok(Key::Parked),
            KeyAnswer::Is(None) => Ok(Key::Absent),
            KeyAnswer::Is(Some(_)) if self.keys.is_full() => Err(Fault::new(
                503,
                "this server knows as many key names as it can",
            )),
            KeyAnswer::Is(Some(_)) => self.key_again(call, name, gather),
            KeyAnswer::Failed(error) => Err(faults::of(error)),
        }
    }

    /// The HSM told of the key, and before this run another answer said that it is gone.
    fn key_again(&self, call: &Call<'_>, name: &str, gather: &mut Gather) -> Result<Key, Fault> {
        if gather.key_asks() >= KEY_ASKS_MAX {
            let text = "the key came and went in the HSM while it was looked up; try again";
            return Err(Fault::new(503, text).retry_after(1));
        }
        self.fetch_key(call, name, gather)?;
        match &gather.key {
            KeyAnswer::Failed(error) => Err(faults::of(error)),
            _ => Ok(Key::Parked),
        }
    }

    /// What becomes of an item whose version is above the latest that this node knows: another node may
    /// have rotated the key, so the HSM is asked once before the item is refused with `refusal`. `None`:
    /// the item waits for that. All requests share one lookup of a key, so that made-up versions cost
    /// the HSM no more than one at a time.
    pub(super) fn seek_newer(
        &self,
        call: &Call<'_>,
        name: &str,
        refusal: &'static str,
        gather: &mut Gather,
    ) -> Option<Fault> {
        if gather.key_is_fresh() {
            return Some(Fault::new(400, refusal));
        }
        if !gather.is_over()
            && matches!(gather.key, KeyAnswer::Untried | KeyAnswer::Is(_))
            && let Err(fault) = self.fetch_key(call, name, gather)
        {
            return Some(fault);
        }
        match &gather.key {
            KeyAnswer::Waiting { .. } => None,
            KeyAnswer::Failed(error) => Some(faults::of(error)),
            KeyAnswer::Untried | KeyAnswer::Is(_) => Some(faults::of(&HsmError::TimedOut)),
        }
    }
}

/// Why an item cannot be asked of the HSM.
pub(super) enum Unmet {
    /// It is refused.
    Fault(Fault),
    /// It names a version above the latest known; the text refuses it if there is none such.
    TooNew(&'static str),
}

impl From<Fault> for Unmet {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The version to wrap with; 0 asks for the latest.
pub(super) fn version_to_wrap(known: &Known, asked: i64) -> Result<&KeyVersion, Unmet> {
    let refuse = |text: &'static str| Unmet::Fault(Fault::new(400, text));
    if asked < 0 {
        return Err(refuse("requested version for encryption is negative"));
    }
    let number = match u32::try_from(asked) {
        Ok(0) => known.latest(),
        Ok(number) if number <= known.latest() => number,
        _ => {
            return Err(Unmet::TooNew(
                "requested version for encryption is higher than the latest key version",
            ));
        }
    };
    if number < known.record.min_encryption_version {
        return Err(refuse(
            "requested version for encryption is less than the minimum encryption key version",
        ));
    }
    known
        .version(number)
        .map(|(version, _)| version)
        .filter(|version| is_usable(version))
        .filter(|version| version.number >= known.record.min_decryption_version)
        .ok_or_else(|| refuse("no such key version"))
}

/// Whether a version's state lets its cached plaintexts be served and the HSM be asked.
pub(super) fn is_usable(version: &KeyVersion) -> bool {
    !matches!(version.state, KeyState::Destroyed)
}

/// Appends decoded base64 to `room` and returns how many bytes it was.
pub(super) fn decode_onto(room: &mut Vec<u8>, text: &str) -> Result<usize, base64::DecodeError> {
    let at = room.len();
    room.resize(at + base64::decoded_len_max(text.len()), 0);
    let decoded = base64::decode(text.as_bytes(), &mut room[at..]);
    room.truncate(at + *decoded.as_ref().unwrap_or(&0));
    decoded
}

/// Refuses a use of a derived key without what it is derived by.
pub(super) fn check_derivation(known: &Known, context: Option<&Text<'_>>) -> Result<(), Fault> {
    if known.record.kind.derived && context.is_none() {
        return Err(Fault::new(
            400,
            "missing 'context' for key derivation; the key was created using a derived key, which means \
             additional, per-request information must be included in order to perform operations with the key",
        ));
    }
    Ok(())
}

/// What a plaintext is wrapped with.
pub(super) struct Sealer {
    /// Of the key.
    pub name: Arc<str>,
    /// Of a derived key, the one for the context.
    pub object: ObjectId,
    /// Number of the version.
    pub version: u32,
}

/// What to wrap with under `version`.
pub(super) fn sealer(
    room: &mut Vec<u8>,
    known: &Known,
    version: &KeyVersion,
    context: Option<&Text<'_>>,
) -> Result<Sealer, Fault> {
    check_derivation(known, context)?;
    let object = match context {
        Some(context) if known.record.kind.derived => {
            room.clear();
            decode_onto(room, context.as_str())
                .map_err(|error| Fault::base64(error.to_string()))?;
            version.object.derived(room)
        }
        _ => version.object.clone(),
    };
    Ok(Sealer {
        name: Arc::clone(&known.record.name),
        object,
        version: version.number,
    })
}

/// Decodes the associated data of a wrap.
pub(super) fn associated_data(
    room: &mut Vec<u8>,
    text: Option<&Text<'_>>,
) -> Result<Vec<u8>, Fault> {
    room.clear();
    if let Some(text) = text {
        decode_onto(room, text.as_str())
            .map_err(|error| Fault::associated_data(&error.to_string()))?;
    }
    Ok(room.clone())
}

/// A context is ignored by keys that are not derived, but it must be base64.
pub(super) fn check_base64(room: &mut Vec<u8>, text: &str) -> Result<(), Fault> {
    let at = room.len();
    let decoded = decode_onto(room, text);
    room.truncate(at);
    decoded
        .map(|_| ())
        .map_err(|error: base64::DecodeError| Fault::base64(error.to_string()))
}

/// Answers a batch: the envelope and what stands around the items; `put` writes one of them.
pub(super) fn encode_batch<O: Out>(
    body: &CryptBody<'_>,
    items: &[Item],
    reply: &mut Reply<'_, O>,
    put: impl Fn(&mut O, &Item, &str),
) {
    if let Some(fault) = over_a_limit(items) {
        return reply.fault(fault);
    }
    let status = batch_status(body, items);
    let open = reply.open(status, batch_retry_after_s(items));
    put_items(body, items, reply.out(), put);
    reply.close(open, &batch_warnings(body, status), all_went_well(items));
}

/// A limit of the client refuses the whole request, whichever item met it.
pub(super) fn over_a_limit(items: &[Item]) -> Option<&Fault> {
    let mut faults = items.iter().filter_map(fault_of);
    faults.find(|fault| fault.status == 429)
}

/// `data` of a batch; `put` writes one item.
pub(super) fn put_items<O: Out>(
    body: &CryptBody<'_>,
    items: &[Item],
    out: &mut O,
    put: impl Fn(&mut O, &Item, &str),
) {
    transit::put_batch_open(out);
    for (index, (asked, item)) in body.items().zip(items).enumerate() {
        if index > 0 {
            out.put(b",");
        }
        put(out, item, &asked.reference);
    }
    transit::put_batch_close(out);
}

/// The status of a batch's answer: 200 when all went well; that of the HSM's failure; the client's
/// choice when at least one item went well; else Transit's 400, or its 500 where no item failed otherwise
/// than by an associated data that is no base64.
fn batch_status(body: &CryptBody<'_>, items: &[Item]) -> u16 {
    let failed = || items.iter().filter_map(fault_of).map(|fault| fault.status);
    let (Some(least), Some(most)) = (failed().min(), failed().max()) else {
        return 200;
    };
    let chosen = || body.partial_failure_response_code;
    match most {
        501.. => most,
        _ if failed().count() < items.len() => chosen().unwrap_or(least),
        _ => least,
    }
}

/// The body's warnings, and one more where items failed and the client's status for that was none.
fn batch_warnings<'a>(body: &'a CryptBody<'_>, status: u16) -> Vec<&'a str> {
    let mut warnings: Vec<&str> = body.warnings.iter().map(String::as_str).collect();
    if status != 200 && body.partial_failure_code_invalid {
        warnings.push(transit::MISSING_BATCH_CODE_WARNING);
    }
    warnings
}

/// Whether no item failed: Transit ends the answer with a line feed only then, whatever its status.
fn all_went_well(items: &[Item]) -> bool {
    items.iter().all(|item| fault_of(item).is_none())
}

/// The longest `Retry-After` of the items.
fn batch_retry_after_s(items: &[Item]) -> Option<u32> {
    items
        .iter()
        .filter_map(fault_of)
        .filter_map(|fault| fault.retry_after_s)
        .max()
}

fn fault_of(item: &Item) -> Option<&Fault> {
    match item {
        Item::Failed(fault) => Some(fault),
        _ => None,
    }
}

/// Answers a request that is no batch with its one fault.
pub(super) fn refuse_single<O: Out>(reply: &mut Reply<'_, O>, fault: Fault) {
    reply.fault(&fault.of_single_request());
}
