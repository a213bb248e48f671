//! What an application keeps at an object, and how it is changed: Application Specific Information, Add
//! Attribute and Modify Attribute. Of all attributes this is the only one that we change.
//!
//! An object may have several, of one namespace each. 1.x tells them apart by their index, 2.x by their
//! whole value: there a change names the value that it replaces, and fails when that is no longer there.

use std::fmt;

use super::attributes::{Named, each, indexed};
use super::{KmipError, ProtocolVersion, need, once, tags};
use crate::wire::ttlv::{Item, Reader, Sink, Writer};

/// Application Specific Information.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ApplicationInformation<'a> {
    /// Whose it is.
    pub namespace: &'a str,
    /// What it is.
    pub data: &'a str,
}

impl<'a> ApplicationInformation<'a> {
    /// Writes it as an attribute.
    pub(super) fn encode_attribute<S: Sink>(
        &self,
        w: &mut Writer<'_, S>,
        version: ProtocolVersion,
        index: Option<i32>,
    ) {
        let tag = tags::APPLICATION_SPECIFIC_INFORMATION;
        indexed(w, version, tag, index, |w, tag| {
            w.structure(tag, |w| {
                w.text(tags::APPLICATION_NAMESPACE, self.namespace);
                w.text(tags::APPLICATION_DATA, self.data);
            });
        });
    }

    pub(super) fn decode_value(value: &Item<'a>) -> Result<Self, KmipError> {
        let (mut namespace, mut data) = (None, None);
        for field in value.structure()? {
            let field = field?;
            match field.tag {
                tags::APPLICATION_NAMESPACE => once(&mut namespace, &field, field.text())?,
                tags::APPLICATION_DATA => once(&mut data, &field, field.text())?,
                _ => {}
            }
        }
        Ok(Self {
            namespace: need(namespace, tags::APPLICATION_NAMESPACE)?,
            // Servers may leave it out when it is empty.
            data: data.unwrap_or_default(),
        })
    }

    /// The first of `namespace` in the payload of a Get Attributes answer, and its Attribute Index.
    pub fn find(payload: Reader<'a>, namespace: &str) -> Result<Option<(i32, Self)>, KmipError> {
        let mut found = None;
        let tag = tags::APPLICATION_SPECIFIC_INFORMATION;
        each(payload, tag, |index, value| {
            let one = Self::decode_value(value)?;
            if one.namespace == namespace && found.is_none() {
                found = Some((index, one));
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// From a 1.x Attribute.
    fn decode_named(attribute: &Item<'a>) -> Result<(Option<i32>, Self), KmipError> {
        let named = Named::decode(attribute)?;
        let tag = tags::APPLICATION_SPECIFIC_INFORMATION;
        let value = named.value.filter(|_| named.tag == Some(tag));
        Ok((named.index, Self::decode_value(&need(value, tag)?)?))
    }

    /// From a 2.x New Attribute or Current Attribute.
    fn decode_typed(around: &Item<'a>) -> Result<Self, KmipError> {
        let tag = tags::APPLICATION_SPECIFIC_INFORMATION;
        let mut found = None;
        for field in around.structure()? {
            let field = field?;
            if field.tag == tag {
                once(&mut found, &field, Ok(field))?;
            }
        }
        Self::decode_value(&need(found, tag)?)
    }
}

/// Gives an object one more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AddAttribute<'a> {
    /// The object.
    pub unique_identifier: &'a str,
    /// What it gets.
    pub new: ApplicationInformation<'a>,
}

/// Replaces one that an object has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ModifyAttribute<'a> {
    /// The object.
    pub unique_identifier: &'a str,
    /// Which one: sent in 1.x only, absent means 0.
    pub index: Option<i32>,
    /// What it is now: sent in 2.x only.
    pub current: Option<ApplicationInformation<'a>>,
    /// What it becomes.
    pub new: ApplicationInformation<'a>,
}

impl<'a> AddAttribute<'a> {
    pub(super) fn encode<S: Sink>(&self, w: &mut Writer<'_, S>, version: ProtocolVersion) {
        w.text(tags::UNIQUE_IDENTIFIER, self.unique_identifier);
        encode_new(w, version, &self.new, None);
    }

    /// From a request's payload.
    pub fn decode(payload: Reader<'a>) -> Result<Self, KmipError> {
        let change = Change::decode(payload)?;
        Ok(Self {
            unique_identifier: change.unique_identifier,
            new: change.new,
        })
    }
}

impl<'a> ModifyAttribute<'a> {
    pub(super) fn encode<S: Sink>(&self, w: &mut Writer<'_, S>, version: ProtocolVersion) {
        w.text(tags::UNIQUE_IDENTIFIER, self.unique_identifier);
        if let (true, Some(current)) = (version.has_typed_attributes(), &self.current) {
            w.structure(tags::CURRENT_ATTRIBUTE, |w| {
                current.encode_attribute(w, version, None);
            });
        }
        encode_new(w, version, &self.new, self.index);
    }

    /// From a request's payload.
    pub fn decode(payload: Reader<'a>) -> Result<Self, KmipError> {
        let change = Change::decode(payload)?;
        Ok(Self {
            unique_identifier: change.unique_identifier,
            index: change.index,
            current: change.current,
            new: change.new,
        })
    }
}

fn encode_new<S: Sink>(
    w: &mut Writer<'_, S>,
    version: ProtocolVersion,
    new: &ApplicationInformation<'_>,
    index: Option<i32>,
) {
    if version.has_typed_attributes() {
        w.structure(tags::NEW_ATTRIBUTE, |w| {
            new.encode_attribute(w, version, None);
        });
    } else {
        new.encode_attribute(w, version, index);
    }
}

/// Either payload.
struct Change<'a> {
    unique_identifier: &'a str,
    index: Option<i32>,
    current: Option<ApplicationInformation<'a>>,
    new: ApplicationInformation<'a>,
}

impl<'a> Change<'a> {
    fn decode(payload: Reader<'a>) -> Result<Self, KmipError> {
        let (mut uid, mut named, mut current, mut new) = (None, None, None, None);
        for field in payload {
            let field = field?;
            match field.tag {
                tags::UNIQUE_IDENTIFIER => once(&mut uid, &field, field.text())?,
                tags::ATTRIBUTE => once(&mut named, &field, Ok(field))?,
                tags::CURRENT_ATTRIBUTE => once(&mut current, &field, Ok(field))?,
                tags::NEW_ATTRIBUTE => once(&mut new, &field, Ok(field))?,
                _ => {}
            }
        }
        let unique_identifier = need(uid, tags::UNIQUE_IDENTIFIER)?;
        let typed = |item: Item<'a>| ApplicationInformation::decode_typed(&item);
        let current = current.map(typed).transpose()?;
        let (index, new) = match (named, new) {
            (Some(_), Some(_)) => return Err(KmipError::Duplicate(tags::NEW_ATTRIBUTE)),
            (Some(named), None) => ApplicationInformation::decode_named(&named)?,
            (None, new) => (None, typed(need(new, tags::NEW_ATTRIBUTE)?)?),
        };
        Ok(Self {
            unique_identifier,
            index,
            current,
            new,
        })
    }
}

/// Asks for random bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RngRetrieve {
    /// How many.
    pub data_length: i32,
}

impl RngRetrieve {
    pub(super) fn encode<S: Sink>(self, w: &mut Writer<'_, S>) {
        w.integer(tags::DATA_LENGTH, self.data_length);
    }

    /// From a request's payload.
    pub fn decode(payload: Reader<'_>) -> Result<Self, KmipError> {
        let mut data_length = None;
        for field in payload {
            let field = field?;
            if field.tag == tags::DATA_LENGTH {
                once(&mut data_length, &field, field.integer())?;
            }
        }
        Ok(Self {
            data_length: need(data_length, tags::DATA_LENGTH)?,
        })
    }
}

/// Random bytes, a secret. `Debug` does not print them.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct RngRetrieved<'a> {
    /// As many as the server chose to give.
    pub data: &'a [u8],
}

impl fmt::Debug for RngRetrieved<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RngRetrieved({} bytes)", self.data.len())
    }
}

impl<'a> RngRetrieved<'a> {
    pub(super) fn encode<S: Sink>(&self, w: &mut Writer<'_, S>) {
        w.bytes(tags::DATA, self.data);
    }

    /// From a response's payload.
    pub fn decode(payload: Reader<'a>) -> Result<Self, KmipError> {
        let mut data = None;
        for field in payload {
            let field = field?;
            if field.tag == tags::DATA {
                once(&mut data, &field, field.bytes())?;
            }
        }
        Ok(Self {
            data: need(data, tags::DATA)?,
        })
    }
}
