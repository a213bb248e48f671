//! The objects of one key, found by their names.
//!
//! Must never be true: an object taken for a version because the HSM ignored the name asked for; a
//! candidate of a claim (see `claim`) shown as a version, save as version 1, which has always been shown.

use std::sync::Arc;

use super::super::super::{HsmError, KeyKind, KeyRecord, KeyState, KeyVersion, ObjectId};
use super::attributes::Attributes;
use super::claim::Seen;
use super::mac::{MacKey, mac_name};
use super::settings::{Kept, Settings};
use super::{Stop, Work, is_gone, refused};
use crate::wire::kmip::{Locate, Located, RequestPayload};
use crate::wire::ttlv::Reader;

/// Versions looked for in the first message, beside the bare name.
const WINDOW_FIRST: u32 = 8;
/// The windows after it double up to this.
const WINDOW_MAX: u32 = 32;
/// Objects of one name that are looked at; racing nodes leave a few for a moment.
const OBJECTS_MAX: usize = 64;

/// What the object of this version is called.
pub(super) fn object_name(key: &str, version: u32) -> String {
    format!("{key}:v{version}")
}

/// One object of the family that is not destroyed.
pub(super) struct Member {
    pub(super) number: u32,
    pub(super) object: ObjectId,
    pub(super) attributes: Attributes,
    /// It bears the key's own name.
    is_bare: bool,
}

/// Version, name and object, as located.
type Named = (u32, String, ObjectId);

/// A key's objects, in the order of their numbers.
pub(super) struct Family {
    pub(super) name: Arc<str>,
    pub(super) members: Vec<Member>,
    /// Each version needs a MAC key.
    pub(super) needs_mac: bool,
    pub(super) macs: Vec<MacKey>,
    /// Highest number in use, or used before as far as the HSM still tells. That of a candidate is still
    /// to be had.
    pub(super) highest: u32,
}

impl Work<'_> {
    /// Looks for all versions of a key.
    pub(super) fn look(&mut self, name: &Arc<str>) -> Result<Family, Stop> {
        let mut found = Vec::new();
        let (mut from, mut window) = (1_u32, WINDOW_FIRST);
        loop {
            let last = from.saturating_add(window - 1);
            let before = found.len();
            self.look_between(name, from, last, &mut found)?;
            let seen = found.iter().skip(before).map(|(number, ..)| *number).max();
            // Destroyed versions leave gaps, but not so wide ones.
            if seen.is_none_or(|seen| seen <= last - window / 2) || last == u32::MAX {
                return self.describe(name, found);
            }
            from = last + 1;
            window = (window * 2).min(WINDOW_MAX);
        }
    }

    /// Looks for a key's versions up to one that was made just now.
    pub(super) fn look_until(&mut self, name: &Arc<str>, last: u32) -> Result<Family, Stop> {
        let mut found = Vec::new();
        self.look_between(name, 1, last, &mut found)?;
        self.describe(name, found)
    }

    fn look_between(
        &mut self,
        name: &Arc<str>,
        from: u32,
        last: u32,
        found: &mut Vec<Named>,
    ) -> Result<(), Stop> {
        let bare = (from == 1).then(|| (1, name.to_string()));
        let numbered = (from..=last).map(|number| (number, object_name(name, number)));
        // MAC keys first: see `mac`.
        let last_mac = if self.needs_mac() { last } else { 0 };
        let macs = (from..=last_mac).map(|number| (number, mac_name(name, number)));
        let asked: Vec<_> = macs.chain(bare).chain(numbered).collect();
        let objects = self.locate(asked.iter().map(|(_, bears)| bears.as_str()))?;
        for ((number, bears), objects) in asked.into_iter().zip(objects) {
            let each = |object| (number, bears.clone(), object);
            found.extend(objects.into_iter().map(each));
        }
        Ok(())
    }

    /// What bears exactly this name, for a claim to it.
    pub(super) fn look_exactly(&mut self, name: &str) -> Result<Vec<Seen>, Stop> {
        let objects = self.locate([name].into_iter())?.into_iter().flatten();
        let found: Vec<_> = objects.map(|object| (name, object)).collect();
        let attributes = self.attributes(&found)?;
        let seen = found.into_iter().zip(attributes);
        Ok(seen
            .filter_map(|((_, object), attributes)| {
                let attributes = attributes.filter(Attributes::is_live)?;
                Some(Seen {
                    object,
                    is_settled: !attributes.is_candidate(),
                })
            })
            .collect())
    }

    /// The objects of each name.
    fn locate<'n>(
        &mut self,
        asked: impl Iterator<Item = &'n str>,
    ) -> Result<Vec<Vec<ObjectId>>, Stop> {
        let locates: Vec<_> = asked
            .map(|name| RequestPayload::Locate(Locate::by_name(name)))
            .collect();
        let read = |_: usize, payload: Reader<'_>| {
            let located = Located::decode(payload)?;
            let objects = located.unique_identifiers().take(OBJECTS_MAX);
            let objects: Vec<_> = objects.map(|uid| ObjectId(uid.into())).collect();
            Ok((located.count, objects))
        };
        let answers = self.ask(&locates, read)?;
        let answers = answers.into_iter().map(|answer| match answer {
            Ok((count, _)) if count > OBJECTS_MAX => Err(HsmError::AmbiguousName { count }.into()),
            Ok((_, objects)) => Ok(objects),
            Err((reason, _)) if is_gone(reason) => Ok(Vec::new()),
            Err(refusal) => Err(refused(refusal).into()),
        });
        answers.collect()
    }

    fn describe(&mut self, name: &Arc<str>, found: Vec<Named>) -> Result<Family, Stop> {
        let mut family = Family {
            name: Arc::clone(name),
            members: Vec::new(),
            needs_mac: self.needs_mac(),
            macs: Vec::new(),
            highest: 0,
        };
        let named: Vec<_> = found
            .iter()
            .map(|(_, name, object)| (name.as_str(), object.clone()))
            .collect();
        let attributes = self.attributes(&named)?;
        for ((number, bears, object), attributes) in found.into_iter().zip(attributes) {
            let Some(attributes) = attributes else {
                continue;
            };
            if bears == mac_name(name, number) {
                if attributes.is_live() {
                    family.macs.push(MacKey {
                        number,
                        object,
                        attributes,
                    });
                }
                continue;
            }
            if !attributes.is_candidate() {
                family.highest = family.highest.max(number);
            }
            // One that bears the bare name and the first version's is one object all the same.
            let is_known = family
                .members
                .iter()
                .any(|member| member.number == number && member.object == object);
            if attributes.is_live() && !is_known {
                family.members.push(Member {
                    number,
                    object,
                    is_bare: bears == *family.name,
                    attributes,
                });
            }
        }
        // A number that still has a MAC key is used.
        let left = family.left_macs().max().unwrap_or(0);
        family.highest = family.highest.max(left);
        Ok(family)
    }

    /// Of each object, which must bear the name it was found by; `None`: it is gone meanwhile.
    fn attributes(&mut self, found: &[(&str, ObjectId)]) -> Result<Vec<Option<Attributes>>, Stop> {
        let objects = found.iter().map(|(_, object)| object);
        let all = self.attributes_of(objects)?;
        for ((name, _), attributes) in found.iter().zip(&all) {
            let names = attributes.as_ref().map(|attributes| &attributes.names);
            if names.is_some_and(|names| !names.iter().any(|one| **one == **name)) {
                let why = "the HSM's Locate gave an object of another name than it was asked for";
                return Err(HsmError::Protocol(why).into());
            }
        }
        Ok(all)
    }
}

impl Family {
    /// What bears the name of this version, for a claim to it.
    pub(super) fn seen(&self, number: u32) -> Vec<Seen> {
        let members = self.members.iter();
        members
            .filter(|member| member.number == number && !member.is_bare)
            .map(|member| Seen {
                object: member.object.clone(),
                is_settled: !member.attributes.is_candidate(),
            })
            .collect()
    }

    /// The one object that is a version 1 half made.
    pub(super) fn left_behind(&self) -> Option<&ObjectId> {
        let first = self.version(1).ok().flatten()?;
        first.attributes.is_candidate().then_some(&first.object)
    }

    /// Whether the object bears the key's own name.
    pub(super) fn is_bare(&self, object: &ObjectId) -> bool {
        let mut members = self.members.iter();
        members.any(|member| member.is_bare && member.object == *object)
    }

    /// The object of a version, if it has one.
    fn version(&self, number: u32) -> Result<Option<&Member>, HsmError> {
        let of_number = || self.members.iter().filter(|m| m.number == number);
        let mut firm = of_number().filter(|m| m.is_bare || !m.attributes.is_candidate());
        match (firm.next(), firm.count()) {
            (Some(member), 0) => Ok(Some(member)),
            (Some(_), more) => Err(HsmError::AmbiguousName { count: more + 1 }),
            (None, _) if number == 1 => {
                // Several are being made, or were left behind: the next create decides.
                let mut candidates = of_number();
                Ok(candidates.next().filter(|_| candidates.next().is_none()))
            }
            (None, _) => Ok(None),
        }
    }

    /// The objects that are versions, ascending.
    pub(super) fn versions(&self) -> Result<Vec<&Member>, HsmError> {
        let mut numbers: Vec<u32> = self.members.iter().map(|member| member.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let versions = numbers.into_iter().map(|number| self.version(number));
        versions.filter_map(Result::transpose).collect()
    }

    /// The lowest version that bears settings, and them.
    pub(super) fn kept(&self) -> Result<Option<(&Member, &Kept)>, HsmError> {
        let mut versions = self.versions()?.into_iter();
        Ok(versions.find_map(|member| Some((member, member.attributes.kept.as_ref()?))))
    }

    /// The key as others know it; `None`: there is none.
    pub(super) fn record(&self) -> Result<Option<KeyRecord>, HsmError> {
        let unfinished = self.unfinished()?;
        self.record_of(|member| {
            if Some(member.number) == unfinished {
                return Ok(None);
            }
            self.sealing(member).map(Some)
        })
    }

    /// The same with each version's own object alone, whether or not it could seal.
    pub(super) fn bare_record(&self) -> Result<Option<KeyRecord>, HsmError> {
        self.record_of(|member| Ok(Some((member.object.clone(), member.attributes.state))))
    }

    fn record_of(
        &self,
        mut sealing: impl FnMut(&Member) -> Result<Option<(ObjectId, KeyState)>, HsmError>,
    ) -> Result<Option<KeyRecord>, HsmError> {
        let members = self.versions()?;
        if members.is_empty() {
            return Ok(None);
        }
        let settings = match self.kept()? {
            Some((member, kept)) => kept.settings(&self.name_of(member))?,
            None => Settings::default(),
        };
        let mut versions = Vec::with_capacity(members.len());
        for member in members {
            member.attributes.check(&self.name_of(member))?;
            let Some((object, state)) = sealing(member)? else {
                continue;
            };
            versions.push(KeyVersion {
                number: member.number,
                object,
                created_unix_s: member.attributes.created_unix_s,
                state,
            });
        }
        Ok(Some(KeyRecord {
            name: Arc::clone(&self.name),
            versions,
            min_decryption_version: settings.min_decryption_version,
            min_encryption_version: settings.min_encryption_version,
            deletion_allowed: settings.deletion_allowed,
            kind: KeyKind::default(),
        }))
    }

    fn name_of(&self, member: &Member) -> String {
        if member.is_bare {
            self.name.to_string()
        } else {
            object_name(&self.name, member.number)
        }
    }
}
