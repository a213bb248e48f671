//! `keys/:name`: create and read.

use crate::api::Fault;
use crate::api::reply::Reply;
use crate::hsm::{KeyRecord, Request};
use crate::wire::Out;
use crate::wire::transit::{self, KeyBody, KeyData, Text};

use super::crypt::Key;
use super::gather::KeyAnswer;
use super::{Call, Engine, Flow, Gather, faults};

/// The one type of key that every back end holds.
const KIND: &str = "aes256-gcm96";

impl Engine {
    pub(super) fn read_key<O: Out>(
        &self,
        call: &Call<'_>,
        name: &str,
        gather: &mut Gather,
        reply: &mut Reply<'_, O>,
    ) -> Result<Flow, Fault> {
        match self.key(call, name, gather)? {
            Key::Known(known) => {
                encode(&known.record, &[""; 0], reply);
                Ok(Flow::Answered)
            }
            Key::Absent => Err(Fault::absent()),
            Key::Parked => Ok(Flow::Parked),
        }
    }

    /// Creates the key, or answers the one that is there, whatever type was asked for (as Transit).
    pub(super) fn create_key<O: Out>(
        &self,
        call: &Call<'_>,
        name: &str,
        body: &KeyBody<'_>,
        gather: &mut Gather,
        reply: &mut Reply<'_, O>,
    ) -> Result<Flow, Fault> {
        if let Some((known, _)) = self.keys.lookup(name, call.now) {
            encode(&known.record, &[""; 0], reply);
            return Ok(Flow::Answered);
        }
        match &gather.key {
            KeyAnswer::Untried => {
                refuse_what_an_hsm_cannot(body)?;
                self.change_key(call, name, |name| Request::Create { name }, gather)
            }
            KeyAnswer::Waiting { .. } => Ok(Flow::Parked),
            KeyAnswer::Failed(error) => Err(faults::of(error)),
            KeyAnswer::Is(Some(record)) => {
                encode(record, &[""; 0], reply);
                Ok(Flow::Answered)
            }
            KeyAnswer::Is(None) => Err(Fault::internal("the HSM created no key")),
        }
    }
}

/// Options that only a Vault can hold are refused, never ignored in silence.
fn refuse_what_an_hsm_cannot(body: &KeyBody<'_>) -> Result<(), Fault> {
    let refuse = |text: String| Err(Fault::new(400, text));
    if let Some(kind) = body.kind.as_ref().map(Text::as_str)
        && kind != KIND
    {
        return refuse(format!(
            "key type {kind} is not supported by this back end; use {KIND}"
        ));
    }
    for (field, asked) in [
        ("derived", body.derived),
        ("convergent_encryption", body.convergent_encryption),
        ("exportable", body.exportable),
        ("allow_plaintext_backup", body.allow_plaintext_backup),
        (
            "auto_rotate_period",
            body.auto_rotate_period_s.map(|seconds| seconds > 0),
        ),
    ] {
        if asked == Some(true) {
            return refuse(format!("{field} is not supported by this back end"));
        }
    }
    Ok(())
}

/// Answers a key's description.
pub(super) fn encode<O: Out>(
    record: &KeyRecord,
    warnings: &[impl AsRef<str>],
    reply: &mut Reply<'_, O>,
) {
    let open = reply.open(200, None);
    let versions: Vec<(u32, u64)> = record
        .versions
        .iter()
        .filter(|version| version.number >= record.min_decryption_version)
        .map(|version| (version.number, version.created_unix_s))
        .collect();
    transit::put_key_data(
        reply.out(),
        &KeyData {
            name: &record.name,
            kind: KIND,
            allow_plaintext_backup: false,
            auto_rotate_period_s: 0,
            convergent_encryption: false,
            derived: false,
            exportable: false,
            min_available_version: 0,
            soft_deleted: false,
            // A Vault could derive with such a key; these back ends cannot, and do not say that they can.
            supports_derivation: false,
            versions: &versions,
            latest_version: record.latest(),
            min_decryption_version: record.min_decryption_version,
            min_encryption_version: record.min_encryption_version,
            deletion_allowed: record.deletion_allowed,
        },
    );
    reply.close(open, warnings, true);
}
