//! What wrapping and unwrapping share: the key, the associated data, the batch.

use std::sync::Arc;

use crate::api::Fault;
use crate::api::reply::Reply;
use crate::hsm::{HsmError, KeyState, KeyVersion};
use crate::keys::Known;
use crate::wire::transit::{self, CryptBody};
use crate::wire::{Out, base64};

use super::gather::{Item, KeyAnswer};
use super::{Call, Engine, Gather, faults};

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
            self.fetch_key(call, name, gather);
        }
        match &gather.key {
            KeyAnswer::Untried | KeyAnswer::Waiting { .. } => Ok(Key::Parked),
            KeyAnswer::Is(None) => Ok(Key::Absent),
            KeyAnswer::Is(Some(_)) => Err(Fault::new(
                503,
                "this server knows as many key names as it can",
            )),
            KeyAnswer::Failed(fault) => Err(fault.clone()),
        }
    }
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
    // A limit of the client refuses the whole request, whichever item met it.
    if let Some(fault) = items
        .iter()
        .filter_map(fault_of)
        .find(|fault| fault.status == 429)
    {
        return reply.fault(fault);
    }
    let status = batch_status(body, items);
    let open = reply.open(status, batch_retry_after_s(items));
    transit::put_batch_open(reply.out());
    for (index, (asked, item)) in body.items().zip(items).enumerate() {
        if index > 0 {
            reply.out().put(b",");
        }
        put(reply.out(), item, &asked.reference);
    }
    transit::put_batch_close(reply.out());
    reply.close(open, &batch_warnings(body, status), all_went_well(items));
}

/// The status of a batch's answer: 200 when all went well; a server-side failure's own status; else
/// Transit's 400, or the client's choice when at least one item went well.
fn batch_status(body: &CryptBody<'_>, items: &[Item]) -> u16 {
    let failed = || items.iter().filter_map(fault_of);
    match failed().map(|fault| fault.status).max() {
        None => 200,
        Some(status) if status >= 500 => status,
        Some(_) if failed().count() == items.len() => 400,
        Some(_) => body.partial_failure_response_code,
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
