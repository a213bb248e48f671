//! `keys/:name`: create and read.

use crate::api::Fault;
use crate::api::reply::Reply;
use crate::hsm::KeyRecord;
use crate::wire::Out;
use crate::wire::transit::{self, KeyBody, KeyData};

use super::crypt::Key;
use super::gather::KeyAnswer;
use super::{Call, Engine, Flow, Gather};

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
                encode(&known.record, reply);
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
        body: &KeyBody,
        gather: &mut Gather,
        reply: &mut Reply<'_, O>,
    ) -> Result<Flow, Fault> {
        if let Some((known, _)) = self.keys.lookup(name, call.now) {
            encode(&known.record, reply);
            return Ok(Flow::Answered);
        }
        match &gather.key {
            KeyAnswer::Untried => {
                refuse_what_an_hsm_cannot(body)?;
                self.create_at_hsm(call, name, gather);
                match &gather.key {
                    KeyAnswer::Failed(fault) => Err(fault.clone()),
                    _ => Ok(Flow::Parked),
                }
            }
            KeyAnswer::Waiting => Ok(Flow::Parked),
            KeyAnswer::Failed(fault) => Err(fault.clone()),
            KeyAnswer::Is(Some(record)) => {
                encode(record, reply);
                Ok(Flow::Answered)
            }
            KeyAnswer::Is(None) => Err(Fault::internal("the HSM created no key")),
        }
    }
}

/// Options that only a Vault can hold are refused, never ignored in silence.
fn refuse_what_an_hsm_cannot(body: &KeyBody) -> Result<(), Fault> {
    let refuse = |text: String| Err(Fault::new(400, text));
    if let Some(kind) = &body.kind
        && kind != "aes256-gcm96"
    {
        return refuse(format!("key type {kind} is not supported by this back end; use aes256-gcm96"));
    }
    for (field, asked) in [
        ("derived", body.derived),
        ("convergent_encryption", body.convergent_encryption),
        ("exportable", body.exportable),
        ("allow_plaintext_backup", body.allow_plaintext_backup),
        ("auto_rotate_period", body.auto_rotate),
    ] {
        if asked {
            return refuse(format!("{field} is not supported by this back end"));
        }
    }
    Ok(())
}

fn encode<O: Out>(record: &KeyRecord, reply: &mut Reply<'_, O>) {
    let open = reply.open(200, None);
    let versions: Vec<(u32, u64)> = record
        .versions
        .iter()
        .filter(|version| version.number >= record.min_decryption_version)
        .map(|version| (version.number, version.created_unix_s))
        .collect();
    transit::key_data(
        reply.out(),
        &KeyData {
            name: &record.name,
            versions: &versions,
            latest_version: record.versions.last().map_or(0, |version| version.number),
            min_decryption_version: record.min_decryption_version,
            min_encryption_version: record.min_encryption_version,
            deletion_allowed: record.deletion_allowed,
        },
    );
    reply.close(open, &[], true);
}
