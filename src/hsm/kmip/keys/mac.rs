//! The second key of a version, where keys are sealed with AES-CBC and HMAC: what makes the MAC.
//!
//! That of version N of key `k` is the object whose Name is `k:v<N>:mac`, for a bare `k` too. It is made
//! after the version's own object is settled, and destroyed before it; it is looked for before it. So a
//! look that shows the MAC key without the other has found what somebody else left behind, and no new
//! version may take it up: old ciphertexts would be taken for the new key's. Nor is there a version without it: the newest
//! is one that is just being made, and of another the operator must hear.
//!
//! Must never be true: a MAC key that outlives its version and serves another; one made while somebody
//! only looks.

use std::sync::Arc;

use super::super::super::{Envelope, HsmError, KeyState, ObjectId};
use super::attributes::Attributes;
use super::claim::Event;
use super::claim::Seen;
use super::family::{Family, Member, object_name};
use super::{KEY_BITS, Made, Refusal, Stop, Work, or_taken};
use crate::wire::kmip::enums::result_reason as reason;
use crate::wire::kmip::enums::{cryptographic_algorithm, cryptographic_usage_mask};
use crate::wire::kmip::{Create, RequestPayload};

/// Looks until a MAC key without its version is believed to be left behind: a key that is just being
/// deleted shows one for a moment.
const LOOKS_MAX: u32 = 3;

/// What the MAC key of this version is called.
pub(super) fn mac_name(key: &str, version: u32) -> String {
    format!("{}:mac", object_name(key, version))
}

/// A MAC key that is not destroyed.
pub(super) struct MacKey {
    pub(super) number: u32,
    pub(super) object: ObjectId,
    pub(super) attributes: Attributes,
}

impl Work<'_> {
    pub(super) fn needs_mac(&self) -> bool {
        self.session.envelope == Envelope::AesCbcHmac
    }

    /// As [`Work::look_until`]; makes the MAC keys that versions lack.
    pub(super) fn look_completed(&mut self, name: &Arc<str>, last: u32) -> Result<Family, Stop> {
        let family = self.look_until(name, last)?;
        let lacking = family.numbers_without_mac()?;
        if lacking.is_empty() {
            return Ok(family);
        }
        for number in lacking {
            let seen = family.seen_mac(number);
            self.claim(&mac_name(name, number), Made::Mac, seen)?;
        }
        self.look_until(name, last)
    }

    /// An HSM that makes no key for HMAC makes one for AES, whose bytes are as good.
    pub(super) fn make_mac(&mut self, name: &str) -> Result<Event<Refusal>, Stop> {
        let usage = cryptographic_usage_mask::MAC_GENERATE | cryptographic_usage_mask::MAC_VERIFY;
        let make = |algorithm| {
            RequestPayload::Create(Create::symmetric_key(name, algorithm, KEY_BITS, usage))
        };
        let mut made = self.attempt(make(cryptographic_algorithm::HMAC_SHA256))?;
        if matches!(made, Event::Refused((reason, _)) if is_unsupported(reason)) {
            made = self.attempt(make(cryptographic_algorithm::AES))?;
        }
        Ok(or_taken(made))
    }

    /// As [`Work::look`], but refuses a version 1 to be made whose MAC key is there already.
    pub(super) fn look_to_create(&mut self, name: &Arc<str>) -> Result<Family, Stop> {
        for _ in 0..LOOKS_MAX {
            let family = self.look(name)?;
            let left = family.left_macs().any(|number| number == 1);
            if !left || family.bare_record()?.is_some() {
                return Ok(family);
            }
        }
        let text = format!(
            "the HSM has \"{}\" but not the key that it belongs to: destroy what is left of the old key \
             before it is made anew",
            mac_name(name, 1)
        );
        Err(HsmError::Refused {
            reason: reason::ILLEGAL_OPERATION,
            text: text.into(),
        }
        .into())
    }
}

/// Whether a refusal may mean that the HSM makes no such key.
fn is_unsupported(reason: u32) -> bool {
    matches!(
        reason,
        reason::INVALID_MESSAGE
            | reason::OPERATION_NOT_SUPPORTED
            | reason::INVALID_FIELD
            | reason::FEATURE_NOT_SUPPORTED
            | reason::BAD_CRYPTOGRAPHIC_PARAMETERS
            | reason::UNKNOWN_ENUMERATION
            | reason::UNSUPPORTED_CRYPTOGRAPHIC_PARAMETERS
    )
}

impl Family {
    /// What bears the name of this version's MAC key, for a claim to it.
    pub(super) fn seen_mac(&self, number: u32) -> Vec<Seen> {
        let of_number = self.macs.iter().filter(|mac| mac.number == number);
        of_number
            .map(|mac| Seen {
                object: mac.object.clone(),
                is_settled: !mac.attributes.is_candidate(),
            })
            .collect()
    }

    /// The MAC key of a version, if it has one.
    fn mac(&self, number: u32) -> Result<Option<&MacKey>, HsmError> {
        let mut settled = self
            .macs
            .iter()
            .filter(|mac| mac.number == number && !mac.attributes.is_candidate());
        match (settled.next(), settled.count()) {
            (found, 0) => Ok(found),
            (_, more) => Err(HsmError::AmbiguousName { count: more + 1 }),
        }
    }

    /// Numbers of MAC keys whose version is not there.
    pub(super) fn left_macs(&self) -> impl Iterator<Item = u32> {
        let numbers = self.macs.iter().map(|mac| mac.number);
        numbers.filter(|number| !self.members.iter().any(|member| member.number == *number))
    }

    /// The settled versions that have no MAC key, ascending; none where none is needed.
    fn numbers_without_mac(&self) -> Result<Vec<u32>, HsmError> {
        let mut lacking = Vec::new();
        for member in self.versions()? {
            let is_settled = !member.attributes.is_candidate();
            if self.needs_mac && is_settled && self.mac(member.number)?.is_none() {
                lacking.push(member.number);
            }
        }
        Ok(lacking)
    }

    pub(super) fn lacks_mac(&self) -> Result<bool, HsmError> {
        self.numbers_without_mac()
            .map(|lacking| !lacking.is_empty())
    }

    /// The newest version if it lacks its MAC key and is not the only one: it is still being made.
    pub(super) fn unfinished(&self) -> Result<Option<u32>, HsmError> {
        let lacking = self.numbers_without_mac()?;
        let versions = self.versions()?;
        let newest = versions.last().map(|member| member.number);
        Ok(newest.filter(|newest| versions.len() > 1 && lacking.contains(newest)))
    }

    /// What seals with this version, and the version's state.
    pub(super) fn sealing(&self, member: &Member) -> Result<(ObjectId, KeyState), HsmError> {
        if !self.needs_mac {
            return Ok((member.object.clone(), member.attributes.state));
        }
        let name = mac_name(&self.name, member.number);
        let Some(mac) = self.mac(member.number)? else {
            return Err(missing(&self.name, &name));
        };
        mac.attributes.check_mac(&name)?;
        let state = match member.attributes.state {
            KeyState::Active => mac.attributes.state,
            other => other,
        };
        let pair = ObjectId::pair(&member.object.0, &mac.object.0);
        let why = "an identifier of the HSM holds a control character";
        Ok((pair.ok_or(HsmError::Protocol(why))?, state))
    }
}

fn missing(key: &str, name: &str) -> HsmError {
    let text = format!(
        "key \"{key}\" has no MAC key in the HSM: kms.hsm.kmip.cipher = cbc-hmac needs an HMAC-SHA256 key \
         named \"{name}\"; create or rotate the key here (POST /v1/transit/keys/{key}) to have it made"
    );
    HsmError::Refused {
        reason: reason::ITEM_NOT_FOUND,
        text: text.into(),
    }
}
