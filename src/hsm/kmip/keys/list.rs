//! The names of all keys that the HSM shows this client: the AES keys whose Name is a legal key name, or
//! one with a version behind it.
//!
//! Must never be true: a list that is silently short.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::super::super::{HsmError, ObjectId};
use super::attributes::Attributes;
use super::{Stop, Work, refused};
use crate::limits::KEY_NAME_BYTES_MAX;
use crate::wire::kmip::enums::{cryptographic_algorithm, object_type, result_reason};
use crate::wire::kmip::{KeyAttributes, Locate, Located, RequestPayload};

/// Objects of one answer: their identifiers fit into it.
const PAGE_OBJECTS: i32 = 500;
/// Objects that are looked at.
const OBJECTS_MAX: usize = 10_000;

impl Work<'_> {
    pub(super) fn list(&mut self) -> Result<Arc<[Arc<str>]>, Stop> {
        let objects = self.all_objects()?;
        let mut names = BTreeSet::new();
        // In parts, so that attributes of thousands are not held at once.
        for part in objects.chunks(256) {
            for attributes in self.attributes_of(part.iter())?.into_iter().flatten() {
                names.extend(names_of(&attributes).map(Arc::<str>::from));
            }
        }
        Ok(names.into_iter().collect())
    }

    /// Page by page, until one brings nothing new: some servers ignore the offset and answer the same
    /// page again, which is found out when they say that there are more.
    fn all_objects(&mut self) -> Result<Vec<ObjectId>, Stop> {
        let mut known = HashSet::new();
        let mut objects = Vec::new();
        loop {
            let offset = i32::try_from(objects.len()).unwrap_or(i32::MAX);
            let locate = RequestPayload::Locate(Locate {
                maximum_items: Some(PAGE_OBJECTS),
                offset_items: (offset > 0).then_some(offset),
                attributes: KeyAttributes {
                    object_type: Some(object_type::SYMMETRIC_KEY),
                    cryptographic_algorithm: Some(cryptographic_algorithm::AES),
                    ..KeyAttributes::default()
                },
            });
            let page = self.ask(&[locate], |_, payload| {
                let located = Located::decode(payload)?;
                let uids = located.unique_identifiers().take(OBJECTS_MAX + 1);
                Ok(uids.map(|uid| ObjectId(uid.into())).collect::<Vec<_>>())
            })?;
            let page = match page.into_iter().next() {
                Some(Ok(page)) => page,
                Some(Err((reason, _))) if super::is_gone(reason) => Vec::new(),
                Some(Err(refusal)) => return Err(refused(refusal).into()),
                None => Vec::new(),
            };
            let is_last = page.len() < usize::try_from(PAGE_OBJECTS).unwrap_or(usize::MAX);
            let before = objects.len();
            objects.extend(
                page.into_iter()
                    .filter(|object| known.insert(object.clone())),
            );
            if objects.len() > OBJECTS_MAX {
                return Err(too_many().into());
            }
            if is_last {
                return Ok(objects);
            }
            if objects.len() == before {
                return Err(HsmError::Unsupported(NO_PAGES).into());
            }
        }
    }
}

const NO_PAGES: &str =
    "this HSM holds too many keys to list in one answer, and does not answer page by page";

fn too_many() -> HsmError {
    let text = format!(
        "the HSM shows this client more than {OBJECTS_MAX} AES keys: too many to list; give it an \
         account of its own"
    );
    HsmError::Refused {
        reason: result_reason::RESPONSE_TOO_LARGE,
        text: text.into(),
    }
}

/// The keys that an object is a version of.
fn names_of(attributes: &Attributes) -> impl Iterator<Item = &str> {
    let is_live = attributes.is_live();
    let is_candidate = attributes.is_candidate();
    let names = attributes.names.iter().filter(move |_| is_live);
    names.filter_map(move |name| {
        let (key, number) = split(name)?;
        // As `Family::version` has it.
        (number == 1 || !is_candidate).then_some(key)
    })
}

/// Key and version number of an object's name.
fn split(name: &str) -> Option<(&str, u32)> {
    let (key, number) = match name.split_once(':') {
        None => (name, 1),
        Some((key, version)) => {
            let digits = version.strip_prefix('v')?;
            let number: u32 = digits.parse().ok()?;
            // Only as we write it: no sign, no leading zero.
            if number == 0 || number.to_string() != digits {
                return None;
            }
            (key, number)
        }
    };
    is_key_name(key).then_some((key, number))
}

/// Transit's rule: `\w(([\w-.]+)?\w)?`, ASCII.
fn is_key_name(name: &str) -> bool {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = name.as_bytes();
    bytes.len() <= KEY_NAME_BYTES_MAX
        && bytes.first().is_some_and(word)
        && bytes.last().is_some_and(word)
        && bytes
            .iter()
            .all(|byte| word(byte) || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_names_that_are_keys() {
        for (name, want) in [
            ("k", Some(("k", 1))),
            ("a-b.c_9", Some(("a-b.c_9", 1))),
            ("k:v1", Some(("k", 1))),
            ("k:v12", Some(("k", 12))),
            ("k:v0", None),
            ("k:v01", None),
            ("k:v+1", None),
            ("k:v", None),
            ("k:1", None),
            ("k:v1:v2", None),
            (":v1", None),
            ("", None),
            ("-k", None),
            ("k.", None),
            ("a b", None),
            ("a/b", None),
            ("ä", None),
            ("k:v99999999999", None),
        ] {
            assert_eq!(split(name), want, "{name}");
        }
        assert_eq!(split(&"k".repeat(KEY_NAME_BYTES_MAX + 1)), None);
    }
}
