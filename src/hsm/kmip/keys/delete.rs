//! Deleting a key: every object of its family, MAC keys first, then newest first, the one with the settings
//! last, so that a delete that was cut short can be asked for again.
//!
//! Must never be true: an object revoked or destroyed while the key's settings forbid it; a MAC key left
//! when its version is gone.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use super::super::super::{HsmError, KeyState, ObjectId};
use super::family::Family;
use super::{Event, Refusal, Stop, Work, contended, refused};
use crate::wire::kmip::enums::revocation_reason_code;
use crate::wire::kmip::{ObjectRef, RequestPayload, Revoke};

/// Rounds of looking and destroying: another node may delete, or rotate, at the same time.
const ROUNDS_MAX: u32 = 3;

impl Work<'_> {
    pub(super) fn delete(&mut self, name: &Arc<str>) -> Result<(), Stop> {
        let mut refusal = None;
        let mut doomed: HashSet<ObjectId> = HashSet::new();
        for round in 0..=ROUNDS_MAX {
            let family = self.look(name)?;
            let record = family.bare_record()?;
            match record {
                None if round == 0 => return Err(HsmError::ObjectNotFound.into()),
                // What is left may be another node's candidate, and no key; a MAC key was this key's.
                None if family.macs.is_empty() || round == ROUNDS_MAX => return Ok(()),
                None => {
                    refusal = self.end_macs(&family)?;
                    continue;
                }
                Some(record) if round == 0 => record.check_deletion()?,
                Some(_) if round == ROUNDS_MAX => break,
                // Another first version than was there: the key was created anew.
                Some(record)
                    if record.versions.iter().any(|version| {
                        version.number == 1 && !doomed.contains(&version.object)
                    }) =>
                {
                    return Ok(());
                }
                // The settings may be gone already: leave was given before.
                Some(_) => {}
            }
            refusal = self.end_macs(&family)?;
            if refusal.is_some() {
                continue;
            }
            let bearer = family.kept()?.map(|(member, _)| member.object.clone());
            let mut members = family.members;
            doomed.extend(members.iter().map(|member| member.object.clone()));
            members.sort_by_key(|member| {
                (
                    bearer.as_ref() == Some(&member.object),
                    Reverse(member.number),
                )
            });
            for member in members {
                refusal = self.end(&member.object, member.attributes.state)?;
                // Whatever comes before the settings must be gone before them.
                if refusal.is_some() {
                    break;
                }
            }
        }
        Err(match refusal {
            Some(refusal) => refused(refusal),
            None => contended(name),
        }
        .into())
    }

    fn end_macs(&mut self, family: &Family) -> Result<Option<Refusal>, Stop> {
        for mac in &family.macs {
            if let Some(refusal) = self.end(&mac.object, mac.attributes.state)? {
                return Ok(Some(refusal));
            }
        }
        Ok(None)
    }

    /// Another node may end the same object: what counts is that it is gone.
    fn end(&mut self, object: &ObjectId, state: KeyState) -> Result<Option<Refusal>, Stop> {
        let unique_identifier = Some(&*object.0);
        if state == KeyState::Active {
            self.attempt(RequestPayload::Revoke(Revoke {
                unique_identifier,
                reason_code: revocation_reason_code::CESSATION_OF_OPERATION,
            }))?;
        }
        let destroy = RequestPayload::Destroy(ObjectRef { unique_identifier });
        Ok(match self.attempt(destroy)? {
            Event::Refused(refusal) => Some(refusal),
            _ => None,
        })
    }
}
