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
const PERMISSION_DENIED: u32 = 0x0C;
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
    has_activation_date: bool,
    usage: Option<i32>,
    algorithm: Option<u32>,
}

/// The one object that bears the name.
struct Found {
    record: Arc<KeyRecord>,
    object: ObjectId,
    state: KeyState,
    /// Pre-Active with nothing that would ever activate it.
    is_left_behind: bool,
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
        settle(self.look_up(name, deadline), true)
    }

    /// Looks before and after: names need not be unique on the HSM, and another node may create the
    /// same key at this moment. Two keys of one name are an error for the operator, never a choice.
    ///
    /// A key left Pre-Active by a crash between Create and Activate is finished here. One that bears an
    /// Activation Date was made so on purpose, and stays as it is.
    pub(super) fn create(&mut self, name: &Arc<str>, deadline: Instant) -> Outcome {
        let left_behind = match self.look_up(name, deadline) {
            Ok(None) => None,
            Ok(Some(found)) if found.is_left_behind => Some(found.object),
            found => return settle(found, true),
        };
        settle(self.make_usable(name, left_behind, deadline), false)
    }

    fn make_usable(
        &mut self,
        name: &Arc<str>,
        left_behind: Option<ObjectId>,
        deadline: Instant,
    ) -> Result<Option<Found>, Stop> {
        let object = match left_behind {
            Some(object) => Some(object),
            None => self.make(name, deadline)?,
        };
        let mut refused = None;
        if let Some(object) = &object {
            let unique_identifier = Some(&*object.0);
            let activate = RequestPayload::Activate(ObjectRef { unique_identifier });
            // Another node may have activated it meanwhile: what it is now decides.
            match self.call(activate, deadline, |_| Ok(())) {
                Ok(()) => {}
                Err(Fault::Failed { reason, text }) => {
                    refused = Some(HsmError::Refused { reason, text });
                }
                Err(fault) => return Err(fault.into()),
            }
        }
        match (self.look_up(name, deadline)?, refused) {
            (Some(found), Some(refused)) if found.state == KeyState::PreActive => {
                Err(Stop::No(refused))
            }
            (Some(found), _) => Ok(Some(found)),
            (None, refused) => Err(Stop::No(refused.unwrap_or_else(|| hidden(name)))),
        }
    }

    /// `None`: another was faster; its key is the answer.
    fn make(&mut self, name: &str, deadline: Instant) -> Result<Option<ObjectId>, Stop> {
        let usage = USAGE_ENCRYPT | USAGE_DECRYPT;
        let algorithm = cryptographic_algorithm::AES;
        let create = Create::symmetric_key(name, algorithm, KEY_BITS, usage);
        let created = self.call(RequestPayload::Create(create), deadline, |payload| {
            ObjectRef::decode(payload)?.need().map(Arc::<str>::from)
        });
        match created {
            Ok(uid) => Ok(Some(ObjectId(uid))),
            Err(Fault::Failed {
                reason: OBJECT_ALREADY_EXISTS | NON_UNIQUE_NAME,
                ..
            }) => Ok(None),
            Err(fault) => Err(fault.into()),
        }
    }

    fn look_up(&mut self, name: &Arc<str>, deadline: Instant) -> Result<Option<Found>, Stop> {
        let locate = RequestPayload::Locate(Locate::by_name(name));
        let located = self.call(locate, deadline, |found| {
            let found = Located::decode(found)?;
            let first = found.unique_identifiers().next().map(Arc::<str>::from);
            Ok((found.count, first))
        })?;
        let object = match located {
            (1, Some(uid)) => ObjectId(uid),
            (0, _) | (_, None) => return Ok(None),
            (count, _) => return Err(Stop::No(HsmError::AmbiguousName { count })),
        };
        let attributes = self.attributes(&object, deadline)?;
        attributes.check(name).map_err(Stop::No)?;
        // An HSM that does not tell a state has none to forbid the use with.
        let state = attributes.state.unwrap_or(KeyState::Active);
        let version = KeyVersion {
            number: 1,
            object: object.clone(),
            created_unix_s: attributes.created_unix_s,
            state,
        };
        let record = Arc::new(KeyRecord {
            name: Arc::clone(name),
            versions: vec![version],
            min_decryption_version: 1,
            min_encryption_version: 0,
            deletion_allowed: false,
        });
        Ok(Some(Found {
            record,
            object,
            state,
            is_left_behind: state == KeyState::PreActive && !attributes.has_activation_date,
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
                has_activation_date: got.activation_date_unix_s.is_some(),
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

/// A key that is there for the HSM but not for us.
fn hidden(name: &str) -> HsmError {
    let text = format!(
        "the HSM has a key \"{name}\" but does not show it to this client: make this client its owner"
    );
    HsmError::Refused {
        reason: PERMISSION_DENIED,
        text: text.into(),
    }
}

fn settle(found: Result<Option<Found>, Stop>, repeatable: bool) -> Outcome {
    match found {
        Ok(found) => Ok(Ok(Answer::Key(found.map(|found| found.record)))),
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
