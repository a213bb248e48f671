//! `keys/:name`: create and read.

use std::sync::Arc;

use crate::api::Fault;
use crate::api::reply::Reply;
use crate::hsm::{KeyRecord, KeySpec, Request};
use crate::wire::Out;
use crate::wire::transit::{self, CryptBody, KeyBody, KeyData, Text};

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
        warnings: &[String],
        gather: &mut Gather,
        reply: &mut Reply<'_, O>,
    ) -> Result<Flow, Fault> {
        match self.key(call, name, gather)? {
            Key::Known(known) => {
                encode(&known.record, warnings, reply);
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
        if !self.is_transit() {
            check(body)?;
        }
        if let Some((known, _)) = self.keys.lookup(name, call.now) {
            encode(&known.record, &body.warnings, reply);
            return Ok(Flow::Answered);
        }
        match &gather.key {
            KeyAnswer::Untried => {
                if !self.is_transit() {
                    refuse_what_an_hsm_cannot(body)?;
                }
                let request = |name| self.creation(name, spec_of(body));
                self.change_key(call, name, request, gather)
            }
            KeyAnswer::Waiting { .. } => Ok(Flow::Parked),
            KeyAnswer::Failed(error) => Err(faults::of(error)),
            KeyAnswer::Is(Some(record)) => {
                encode(record, &body.warnings, reply);
                Ok(Flow::Answered)
            }
            KeyAnswer::Is(None) => Err(Fault::internal("the HSM created no key")),
        }
    }
}

impl Engine {
    /// What creates a key: with options where the back end has them.
    pub(super) fn creation(&self, name: Arc<str>, spec: KeySpec) -> Request {
        if self.is_transit() && spec != KeySpec::default() {
            Request::CreateAs { name, spec }
        } else {
            Request::Create { name }
        }
    }
}

fn spec_of(body: &KeyBody<'_>) -> KeySpec {
    KeySpec {
        kind: body.kind.as_ref().map(|kind| kind.as_str().to_owned()),
        derived: body.derived,
        convergent: body.convergent_encryption,
        exportable: body.exportable,
        allow_plaintext_backup: body.allow_plaintext_backup,
        auto_rotate_period_s: body.auto_rotate_period_s,
        // A Vault refuses what is no size.
        key_size: body.key_size.and_then(|size| u64::try_from(size).ok()),
    }
}

/// The key that an encrypt makes where there is none: derived if there is a context, as Transit has it.
pub(super) fn spec_for_encrypt(body: &CryptBody<'_>) -> KeySpec {
    KeySpec {
        kind: body.kind.as_ref().map(|kind| kind.as_str().to_owned()),
        derived: body.first().context.is_some().then_some(true),
        convergent: body.convergent.then_some(true),
        ..KeySpec::default()
    }
}

/// The types of key that Transit has; [`KIND`] is one.
const KINDS: [&str; 12] = [
    "aes128-gcm96",
    "aes256-gcm96",
    "chacha20-poly1305",
    "xchacha20-poly1305",
    "ecdsa-p256",
    "ecdsa-p384",
    "ecdsa-p521",
    "ed25519",
    "hmac",
    "rsa-2048",
    "rsa-3072",
    "rsa-4096",
];
/// Seconds of the shortest rotation period.
const ROTATION_PERIOD_S_MIN: u64 = 3600;

/// What Transit refuses whether or not the key exists, in its order.
fn check(body: &KeyBody<'_>) -> Result<(), Fault> {
    check_rotation_period(body.auto_rotate_period_s)?;
    if body.convergent_encryption == Some(true) && body.derived != Some(true) {
        let text = "convergent encryption requires derivation to be enabled";
        return Err(Fault::new(400, text));
    }
    let kind = body.kind.as_ref().map_or(KIND, Text::as_str);
    if !KINDS.contains(&kind) {
        return Err(unknown_kind(kind));
    }
    match body.key_size {
        None | Some(0) => Ok(()),
        Some(size) if kind == "hmac" => Err(Fault::new(400, format!("invalid key_size {size}"))),
        Some(_) => {
            let text = format!("key_size is not valid for algorithm {kind}");
            Err(Fault::new(400, text))
        }
    }
}

pub(super) fn check_rotation_period(period_s: Option<u64>) -> Result<(), Fault> {
    if (1..ROTATION_PERIOD_S_MIN).contains(&period_s.unwrap_or(0)) {
        let text = "auto rotate period must be 0 to disable or at least an hour";
        return Err(Fault::new(400, text));
    }
    Ok(())
}

fn unknown_kind(kind: &str) -> Fault {
    Fault::new(400, format!("unknown key type {kind}"))
}

fn unserved_kind(kind: &str) -> Fault {
    Fault::new(
        400,
        format!("key type {kind} is not supported by this back end; use {KIND}"),
    )
}

/// What an encrypt may ask of the key that it makes.
pub(super) fn check_for_encrypt(body: &CryptBody<'_>) -> Result<(), Fault> {
    let refuse = |text: &'static str| Err(Fault::new(400, text));
    let context = body.first().context.is_some();
    if body.convergent && !context {
        return refuse(
            "convergent encryption requires derivation to be enabled, so context is required",
        );
    }
    match body.kind.as_ref().map_or(KIND, Text::as_str) {
        KIND => {}
        kind @ ("aes128-gcm96" | "chacha20-poly1305" | "xchacha20-poly1305") => {
            return Err(unserved_kind(kind));
        }
        kind if kind.starts_with("ecdsa-p") && KINDS.contains(&kind) => {
            let text = format!("key type {kind} not supported for this operation");
            return Err(Fault::new(400, text));
        }
        kind => return Err(unknown_kind(kind)),
    }
    if body.convergent {
        return refuse("convergent_encryption is not supported by this back end");
    }
    if context {
        return refuse(
            "there is no such key, and one made for a context would be derived, which is not supported by \
             this back end; create the key first",
        );
    }
    Ok(())
}

/// Options that only a Vault can hold are refused, never ignored in silence.
fn refuse_what_an_hsm_cannot(body: &KeyBody<'_>) -> Result<(), Fault> {
    let refuse = |text: String| Err(Fault::new(400, text));
    if let Some(kind) = body.kind.as_ref().map(Text::as_str)
        && kind != KIND
    {
        return Err(unserved_kind(kind));
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
    let (open, kind) = (reply.open(200, None), &record.kind);
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
            kind: &kind.name,
            allow_plaintext_backup: kind.allow_plaintext_backup,
            auto_rotate_period_s: kind.auto_rotate_period_s,
            convergent_encryption: kind.convergent,
            derived: kind.derived,
            exportable: kind.exportable,
            min_available_version: kind.min_available_version,
            soft_deleted: kind.soft_deleted,
            supports_derivation: kind.supports_derivation,
            supports_encryption: kind.supports_encryption,
            supports_signing: kind.supports_signing,
            versions: &versions,
            latest_version: record.latest(),
            min_decryption_version: record.min_decryption_version,
            min_encryption_version: record.min_encryption_version,
            deletion_allowed: record.deletion_allowed,
        },
    );
    reply.close(open, warnings, true);
}
