//! Keys by name: find exactly one, or create it.

use std::sync::Arc;
use std::time::Instant;

use super::super::{Answer, HsmError, KeyRecord, KeyState, KeyVersion, ObjectId};
use super::link::LinkError;
use super::session::{Fault, Session};
use crate::wire::kmip::enums::cryptographic_algorithm;
use crate::wire::kmip::{
    Create, GetAttributes, KeyAttributes, Locate, Located, ObjectRef, RequestPayload, tags,
};

const KEY_BITS: i32 = 256;
const USAGE_ENCRYPT: i32 = 4;
const USAGE_DECRYPT: i32 = 8;
const OBJECT_ALREADY_EXISTS: u32 = 0x18;
const INCOMPATIBLE_USAGE_MASK: u32 = 0x29;
const INVALID_OBJECT_TYPE: u32 = 0x30;
const NON_UNIQUE_NAME: u32 = 0x35;

/// The connection failed in the middle of a key's business.
pub(super) struct Broken {
    pub(super) error: LinkError,
    /// Nothing was changed yet: the whole may be asked again.
    pub(super) repeatable: bool,
}

/// What we ask of a key's attributes.
pub(super) struct Attributes {
    pub(super) state: Option<KeyState>,
    created_unix_s: u64,
    usage: Option<i32>,
    algorithm: Option<u32>,
}

type Outcome = Result<Result<Answer, HsmError>, Broken>;

/// The HSM's no, or the end of the connection.
enum Stop {
    No(HsmError),
    Link(LinkError),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Link(error) => Self::Link(error),
            Fault::Failed { reason, text } => Self::No(HsmError::Refused { reason, text }),
        }
    }
}

impl Session {
    pub(super) fn find(&mut self, name: &Arc<str>, deadline: Instant) -> Outcome {
        let found = self.look_up(name, deadline);
        settle(found.map(|record| record.map(Arc::new)), true)
    }

    /// Looks before and after: names need not be unique on the HSM, and another node may create the
    /// same key at this moment. Two keys of one name are an error for the operator, never a choice.
    pub(super) fn create(&mut self, name: &Arc<str>, deadline: Instant) -> Outcome {
        match self.look_up(name, deadline) {
            Ok(None) => {}
            found => return settle(found.map(|record| record.map(Arc::new)), true),
        }
        let made = self.make(name, deadline);
        let found = made.and_then(|()| self.look_up(name, deadline));
        settle(found.map(|record| record.map(Arc::new)), false)
    }

    fn make(&mut self, name: &str, deadline: Instant) -> Result<(), Stop> {
        let usage = USAGE_ENCRYPT | USAGE_DECRYPT;
        let algorithm = cryptographic_algorithm::AES;
        let create = Create::symmetric_key(name, algorithm, KEY_BITS, usage);
        let created = self.call(RequestPayload::Create(create), deadline, |payload| {
            ObjectRef::decode(payload)?.need().map(str::to_owned)
        });
        let uid = match created {
            Ok(uid) => uid,
            // Another node was faster; its key is the answer.
            Err(Fault::Failed {
                reason: OBJECT_ALREADY_EXISTS | NON_UNIQUE_NAME,
                ..
            }) => {
                return Ok(());
            }
            Err(fault) => return Err(fault.into()),
        };
        let object = ObjectRef {
            unique_identifier: Some(&uid),
        };
        self.call(RequestPayload::Activate(object), deadline, |_| Ok(()))?;
        Ok(())
    }

    fn look_up(&mut self, name: &Arc<str>, deadline: Instant) -> Result<Option<KeyRecord>, Stop> {
        let located = self.call(
            RequestPayload::Locate(Locate::by_name(name)),
            deadline,
            |found| {
                let found = Located::decode(found)?;
                Ok((
                    found.count,
                    found.unique_identifiers().next().map(Arc::<str>::from),
                ))
            },
        )?;
        let object = match located {
            (1, Some(uid)) => ObjectId(uid),
            (0, _) | (_, None) => return Ok(None),
            (count, _) => return Err(Stop::No(HsmError::AmbiguousName { count })),
        };
        let attributes = self.attributes(&object, deadline)?;
        attributes.check(name).map_err(Stop::No)?;
        let version = KeyVersion {
            number: 1,
            object,
            created_unix_s: attributes.created_unix_s,
            // An HSM that does not tell a state has none to forbid the use with.
            state: attributes.state.unwrap_or(KeyState::Active),
        };
        Ok(Some(KeyRecord {
            name: Arc::clone(name),
            versions: vec![version],
            min_decryption_version: 1,
            min_encryption_version: 0,
            deletion_allowed: false,
        }))
    }

    pub(super) fn attributes(
        &mut self,
        object: &ObjectId,
        deadline: Instant,
    ) -> Result<Attributes, Fault> {
        let wanted = [
            tags::STATE,
            tags::INITIAL_DATE,
            tags::ACTIVATION_DATE,
            tags::CRYPTOGRAPHIC_USAGE_MASK,
            tags::CRYPTOGRAPHIC_ALGORITHM,
        ];
        let get = GetAttributes {
            unique_identifier: Some(&object.0),
            attributes: &wanted,
        };
        self.call(RequestPayload::GetAttributes(get), deadline, |payload| {
            let got = KeyAttributes::decode(payload)?;
            let date = got.initial_date_unix_s.or(got.activation_date_unix_s);
            Ok(Attributes {
                state: got.state.and_then(state_of),
                created_unix_s: date.and_then(|date| u64::try_from(date).ok()).unwrap_or(0),
                usage: got.cryptographic_usage_mask,
                algorithm: got.cryptographic_algorithm,
            })
        })
    }
}

impl Attributes {
    /// A key that could not unwrap is refused by name, before anything is wrapped with it.
    fn check(&self, name: &str) -> Result<(), HsmError> {
        if self
            .algorithm
            .is_some_and(|algorithm| algorithm != cryptographic_algorithm::AES)
        {
            let text = format!("the object named \"{name}\" is no AES key");
            return Err(HsmError::Refused {
                reason: INVALID_OBJECT_TYPE,
                text: text.into(),
            });
        }
        if self.usage.is_some_and(|mask| mask & USAGE_DECRYPT == 0) {
            let text = format!(
                "key \"{name}\" may not decrypt: give its Cryptographic Usage Mask Encrypt and Decrypt"
            );
            return Err(HsmError::Refused {
                reason: INCOMPATIBLE_USAGE_MASK,
                text: text.into(),
            });
        }
        Ok(())
    }
}

fn settle(found: Result<Option<Arc<KeyRecord>>, Stop>, repeatable: bool) -> Outcome {
    match found {
        Ok(record) => Ok(Ok(Answer::Key(record))),
        Err(Stop::No(error)) => Ok(Err(error)),
        Err(Stop::Link(error)) => Err(Broken { error, repeatable }),
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
