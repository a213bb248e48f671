//! What we ask an object for.

use std::time::Instant;

use super::super::super::{HsmError, KeyState, ObjectId};
use super::super::session::{Fault, Session};
use super::settings::{Kept, NAMESPACE};
use super::{Stop, Work, is_gone, refused};
use crate::wire::kmip::enums::{cryptographic_algorithm, cryptographic_usage_mask, result_reason};
use crate::wire::kmip::{
    ApplicationInformation, GetAttributes, KeyAttributes, KmipError, RequestPayload, names, tags,
};
use crate::wire::ttlv::{Reader, Tag};

const WANTED: [Tag; 7] = [
    tags::STATE,
    tags::INITIAL_DATE,
    tags::ACTIVATION_DATE,
    tags::CRYPTOGRAPHIC_USAGE_MASK,
    tags::CRYPTOGRAPHIC_ALGORITHM,
    tags::NAME,
    tags::APPLICATION_SPECIFIC_INFORMATION,
];

/// What we ask of an object.
pub(super) struct Attributes {
    pub(super) names: Vec<Box<str>>,
    pub(super) state: KeyState,
    pub(super) created_unix_s: u64,
    has_activation_date: bool,
    usage: Option<i32>,
    algorithm: Option<u32>,
    pub(super) kept: Option<Kept>,
}

impl Work<'_> {
    /// Of each object; `None`: it is gone.
    pub(super) fn attributes_of<'o>(
        &mut self,
        objects: impl Iterator<Item = &'o ObjectId>,
    ) -> Result<Vec<Option<Attributes>>, Stop> {
        let gets: Vec<_> = objects
            .map(|object| {
                RequestPayload::GetAttributes(GetAttributes {
                    unique_identifier: Some(&object.0),
                    attributes: &WANTED,
                })
            })
            .collect();
        let answers = self.ask(&gets, |_, payload| Attributes::decode(payload))?;
        let answers = answers.into_iter().map(|answer| match answer {
            Ok(attributes) => Ok(Some(attributes)),
            Err((reason, _)) if is_gone(reason) => Ok(None),
            Err(refusal) => Err(refused(refusal).into()),
        });
        answers.collect()
    }
}

impl Attributes {
    fn decode(payload: Reader<'_>) -> Result<Self, KmipError> {
        let names = names(payload.clone())?.into_iter().map(Box::from).collect();
        let kept = ApplicationInformation::find(payload.clone(), NAMESPACE)?;
        let got = KeyAttributes::decode(payload)?;
        let date = got.initial_date_unix_s.or(got.activation_date_unix_s);
        Ok(Self {
            names,
            // An HSM that does not tell a state has none to forbid the use with.
            state: got.state.and_then(state_of).unwrap_or(KeyState::Active),
            has_activation_date: got.activation_date_unix_s.is_some(),
            created_unix_s: date.and_then(|date| u64::try_from(date).ok()).unwrap_or(0),
            usage: got.cryptographic_usage_mask,
            algorithm: got.cryptographic_algorithm,
            kept: kept.map(|(index, information)| Kept::new(index, information.data)),
        })
    }

    pub(super) fn is_live(&self) -> bool {
        self.state != KeyState::Destroyed
    }

    /// Pre-Active with nothing that would ever activate it: see `claim`.
    pub(super) fn is_candidate(&self) -> bool {
        self.state == KeyState::PreActive && !self.has_activation_date
    }

    /// A key that could not unwrap is refused by name, before anything is wrapped with it.
    pub(super) fn check(&self, name: &str) -> Result<(), HsmError> {
        let refused = |reason, text: String| {
            let text = text.into();
            Err(HsmError::Refused { reason, text })
        };
        let algorithm = self.algorithm.unwrap_or(cryptographic_algorithm::AES);
        if algorithm != cryptographic_algorithm::AES {
            let text = format!("the object named \"{name}\" is no AES key");
            return refused(result_reason::INVALID_OBJECT_TYPE, text);
        }
        let may_decrypt = |mask| mask & cryptographic_usage_mask::DECRYPT != 0;
        if !self.usage.is_none_or(may_decrypt) {
            let text = format!(
                "key \"{name}\" may not decrypt: give its Cryptographic Usage Mask Encrypt and Decrypt"
            );
            return refused(result_reason::INCOMPATIBLE_CRYPTOGRAPHIC_USAGE_MASK, text);
        }
        Ok(())
    }

    /// As [`Attributes::check`], for the key of a MAC. Servers that make no HMAC keys of their own take
    /// an AES key's bytes.
    pub(super) fn check_mac(&self, name: &str) -> Result<(), HsmError> {
        let refused = |reason, text: String| {
            let text = text.into();
            Err(HsmError::Refused { reason, text })
        };
        let hmac = cryptographic_algorithm::HMAC_SHA256;
        if !matches!(
            self.algorithm.unwrap_or(hmac),
            cryptographic_algorithm::HMAC_SHA256 | cryptographic_algorithm::AES
        ) {
            let text = format!("the object named \"{name}\" is no HMAC-SHA256 key");
            return refused(result_reason::INVALID_OBJECT_TYPE, text);
        }
        let may_mac = |mask| mask & cryptographic_usage_mask::MAC_GENERATE != 0;
        if !self.usage.is_none_or(may_mac) {
            let text = format!(
                "key \"{name}\" may make no MAC: give its Cryptographic Usage Mask MAC Generate and MAC Verify"
            );
            return refused(result_reason::INCOMPATIBLE_CRYPTOGRAPHIC_USAGE_MASK, text);
        }
        Ok(())
    }
}

impl Session {
    /// One object's State; `None`: the HSM does not tell, or one that the standard does not know.
    pub(in super::super) fn state(
        &mut self,
        object: &ObjectId,
        deadline: Instant,
    ) -> Result<Option<KeyState>, Fault> {
        let get = GetAttributes {
            unique_identifier: Some(&object.0),
            attributes: &[tags::STATE],
        };
        self.call(RequestPayload::GetAttributes(get), deadline, |payload| {
            Ok(KeyAttributes::decode(payload)?.state.and_then(state_of))
        })
    }
}

/// `None` for a state that the standard does not know.
fn state_of(raw: u32) -> Option<KeyState> {
    Some(match raw {
        1 => KeyState::PreActive,
        2 => KeyState::Active,
        3 => KeyState::Deactivated,
        4 => KeyState::Compromised,
        5 | 6 => KeyState::Destroyed,
        _ => return None,
    })
}
