//! Attributes in both forms: name and value (1.x) and typed fields (2.x). Encoding takes the version's
//! form; decoding takes either, whatever the version.

use super::application::ApplicationInformation;
use super::enums::name_type;
use super::{KmipError, ProtocolVersion, need, once, tags};
use crate::wire::ttlv::{Item, Reader, Sink, Tag, TtlvError, Writer};

/// The attributes of a key that we set, search for or ask about. All are optional; none set is an
/// empty list.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct KeyAttributes<'a> {
    /// Unique Identifier: in the payload of answers, never sent as an attribute.
    pub unique_identifier: Option<&'a str>,
    /// Object Type.
    pub object_type: Option<u32>,
    /// Cryptographic Algorithm.
    pub cryptographic_algorithm: Option<u32>,
    /// Cryptographic Length, bits.
    pub cryptographic_length: Option<i32>,
    /// Cryptographic Usage Mask.
    pub cryptographic_usage_mask: Option<i32>,
    /// Name; of several, the first.
    pub name: Option<&'a str>,
    /// State.
    pub state: Option<u32>,
    /// Initial Date, seconds since 1970.
    pub initial_date_unix_s: Option<i64>,
    /// Activation Date, seconds since 1970.
    pub activation_date_unix_s: Option<i64>,
    /// Application Specific Information; of several, the first.
    pub application: Option<ApplicationInformation<'a>>,
}

/// Writes one attribute in the version's form; `value` writes it under the tag it is given.
fn attribute<S: Sink>(
    w: &mut Writer<'_, S>,
    version: ProtocolVersion,
    tag: Tag,
    value: impl FnOnce(&mut Writer<'_, S>, Tag),
) {
    indexed(w, version, tag, None, value);
}

/// As [`attribute`], with the Attribute Index that 1.x has for attributes of several values.
pub(super) fn indexed<S: Sink>(
    w: &mut Writer<'_, S>,
    version: ProtocolVersion,
    tag: Tag,
    index: Option<i32>,
    value: impl FnOnce(&mut Writer<'_, S>, Tag),
) {
    if version.has_typed_attributes() {
        value(w, tag);
    } else if let Some(name) = tag.name() {
        w.structure(tags::ATTRIBUTE, |w| {
            w.text(tags::ATTRIBUTE_NAME, name);
            if let Some(index) = index {
                w.integer(tags::ATTRIBUTE_INDEX, index);
            }
            value(w, tags::ATTRIBUTE_VALUE);
        });
    }
}

impl<'a> KeyAttributes<'a> {
    /// Writes the attributes, without a structure around them.
    pub(super) fn encode<S: Sink>(&self, w: &mut Writer<'_, S>, version: ProtocolVersion) {
        let enumerations = [
            (tags::OBJECT_TYPE, self.object_type),
            (tags::CRYPTOGRAPHIC_ALGORITHM, self.cryptographic_algorithm),
            (tags::STATE, self.state),
        ];
        for (tag, value) in enumerations {
            if let Some(value) = value {
                attribute(w, version, tag, |w, tag| w.enumeration(tag, value));
            }
        }
        let integers = [
            (tags::CRYPTOGRAPHIC_LENGTH, self.cryptographic_length),
            (
                tags::CRYPTOGRAPHIC_USAGE_MASK,
                self.cryptographic_usage_mask,
            ),
        ];
        for (tag, value) in integers {
            if let Some(value) = value {
                attribute(w, version, tag, |w, tag| w.integer(tag, value));
            }
        }
        let dates = [
            (tags::INITIAL_DATE, self.initial_date_unix_s),
            (tags::ACTIVATION_DATE, self.activation_date_unix_s),
        ];
        for (tag, value) in dates {
            if let Some(value) = value {
                attribute(w, version, tag, |w, tag| w.date_time(tag, value));
            }
        }
        if let Some(name) = self.name {
            attribute(w, version, tags::NAME, |w, tag| {
                w.structure(tag, |w| {
                    w.text(tags::NAME_VALUE, name);
                    w.enumeration(tags::NAME_TYPE, name_type::UNINTERPRETED_TEXT_STRING);
                });
            });
        }
        if let Some(application) = &self.application {
            application.encode_attribute(w, version, None);
        }
    }

    /// Writes the attributes inside `wrapper_1x` (1.x; `None`: nothing around them) or Attributes (2.x).
    pub(super) fn encode_in<S: Sink>(
        &self,
        w: &mut Writer<'_, S>,
        version: ProtocolVersion,
        wrapper_1x: Option<Tag>,
    ) {
        let wrapper = if version.has_typed_attributes() {
            Some(tags::ATTRIBUTES)
        } else {
            wrapper_1x
        };
        match wrapper {
            Some(tag) => w.structure(tag, |w| self.encode(w, version)),
            None => self.encode(w, version),
        }
    }

    /// Writes the payload of a Get Attributes answer.
    pub(super) fn encode_answer<S: Sink>(&self, w: &mut Writer<'_, S>, version: ProtocolVersion) {
        if let Some(uid) = self.unique_identifier {
            w.text(tags::UNIQUE_IDENTIFIER, uid);
        }
        self.encode_in(w, version, None);
    }

    /// From the payload of a Get Attributes answer.
    pub fn decode(payload: Reader<'a>) -> Result<Self, KmipError> {
        let mut attributes = Self::default();
        for field in payload {
            let field = field?;
            if field.tag == tags::UNIQUE_IDENTIFIER {
                once(&mut attributes.unique_identifier, &field, field.text())?;
            } else {
                attributes.take_in(&field)?;
            }
        }
        Ok(attributes)
    }

    /// Takes a field of a payload in if it carries attributes: an Attribute, or a structure of them.
    pub(super) fn take_in(&mut self, field: &Item<'a>) -> Result<(), KmipError> {
        match field.tag {
            tags::ATTRIBUTE => self.take_named(field),
            tags::ATTRIBUTES | tags::TEMPLATE_ATTRIBUTE => {
                for inner in field.structure()? {
                    let inner = inner?;
                    match inner.tag {
                        tags::ATTRIBUTE => self.take_named(&inner)?,
                        tag => self.take(tag, &inner)?,
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn take_named(&mut self, attribute: &Item<'a>) -> Result<(), KmipError> {
        let named = Named::decode(attribute)?;
        // A name without a value is how a Locate asks for presence alone: nothing to take.
        match (named.tag, named.value) {
            (Some(tag), Some(value)) => self.take(tag, &value),
            _ => Ok(()),
        }
    }

    fn take(&mut self, tag: Tag, v: &Item<'a>) -> Result<(), KmipError> {
        match tag {
            tags::UNIQUE_IDENTIFIER => {
                // An answer has it in the payload and may repeat it as an attribute.
                let text = v.text()?;
                match self.unique_identifier.replace(text) {
                    Some(before) if before != text => Err(KmipError::Duplicate(tag)),
                    _ => Ok(()),
                }
            }
            tags::OBJECT_TYPE => once(&mut self.object_type, v, v.enumeration()),
            tags::CRYPTOGRAPHIC_ALGORITHM => {
                once(&mut self.cryptographic_algorithm, v, v.enumeration())
            }
            tags::CRYPTOGRAPHIC_LENGTH => once(&mut self.cryptographic_length, v, v.integer()),
            tags::CRYPTOGRAPHIC_USAGE_MASK => {
                once(&mut self.cryptographic_usage_mask, v, v.integer())
            }
            tags::STATE => once(&mut self.state, v, v.enumeration()),
            tags::INITIAL_DATE => once(&mut self.initial_date_unix_s, v, v.date_time()),
            tags::ACTIVATION_DATE => once(&mut self.activation_date_unix_s, v, v.date_time()),
            tags::NAME => {
                let name = name_value(v)?;
                self.name.get_or_insert(name);
                Ok(())
            }
            tags::APPLICATION_SPECIFIC_INFORMATION => {
                let application = ApplicationInformation::decode_value(v)?;
                self.application.get_or_insert(application);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A 1.x Attribute.
pub(super) struct Named<'a> {
    /// `None`: an attribute that we do not know.
    pub(super) tag: Option<Tag>,
    pub(super) index: Option<i32>,
    pub(super) value: Option<Item<'a>>,
}

impl<'a> Named<'a> {
    pub(super) fn decode(attribute: &Item<'a>) -> Result<Self, KmipError> {
        let (mut name, mut index, mut value) = (None, None, None);
        for field in attribute.structure()? {
            let field = field?;
            match field.tag {
                tags::ATTRIBUTE_NAME => once(&mut name, &field, field.text())?,
                tags::ATTRIBUTE_INDEX => once(&mut index, &field, field.integer())?,
                tags::ATTRIBUTE_VALUE => once(&mut value, &field, Ok(field))?,
                _ => {}
            }
        }
        let tag = tag_of(need(name, tags::ATTRIBUTE_NAME)?);
        Ok(Self { tag, index, value })
    }
}

/// Visits every value of an attribute that may have several, in either form, with its index.
pub(super) fn each<'a>(
    payload: Reader<'a>,
    want: Tag,
    mut visit: impl FnMut(i32, &Item<'a>) -> Result<(), KmipError>,
) -> Result<(), KmipError> {
    let mut next = 0;
    let mut take = |tag: Option<Tag>, index: Option<i32>, value: &Item<'a>| {
        if tag != Some(want) {
            return Ok(());
        }
        let index = index.unwrap_or(next);
        next = index.saturating_add(1);
        visit(index, value)
    };
    let mut take_field = |field: &Item<'a>| {
        if field.tag != tags::ATTRIBUTE {
            return take(Some(field.tag), None, field);
        }
        let named = Named::decode(field)?;
        match named.value {
            Some(value) => take(named.tag, named.index, &value),
            None => Ok(()),
        }
    };
    for field in payload {
        let field = field?;
        match field.tag {
            tags::ATTRIBUTE => take_field(&field)?,
            tags::ATTRIBUTES | tags::TEMPLATE_ATTRIBUTE => {
                for inner in field.structure()? {
                    take_field(&inner?)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Every Name in the payload of a Get Attributes answer: an object may bear several.
pub fn names(payload: Reader<'_>) -> Result<Vec<&str>, KmipError> {
    let mut names = Vec::new();
    each(payload, tags::NAME, |_, value| {
        names.push(name_value(value)?);
        Ok(())
    })?;
    Ok(names)
}

fn name_value<'a>(name: &Item<'a>) -> Result<&'a str, KmipError> {
    let mut value = None;
    for field in name.structure()? {
        let field = field?;
        if field.tag == tags::NAME_VALUE {
            once(&mut value, &field, field.text())?;
        }
    }
    need(value, tags::NAME_VALUE)
}

/// The attributes that [`KeyAttributes`] knows.
const KNOWN: [Tag; 10] = [
    tags::UNIQUE_IDENTIFIER,
    tags::OBJECT_TYPE,
    tags::CRYPTOGRAPHIC_ALGORITHM,
    tags::CRYPTOGRAPHIC_LENGTH,
    tags::CRYPTOGRAPHIC_USAGE_MASK,
    tags::NAME,
    tags::STATE,
    tags::INITIAL_DATE,
    tags::ACTIVATION_DATE,
    tags::APPLICATION_SPECIFIC_INFORMATION,
];

/// The field that a 1.x Attribute Name means.
fn tag_of(name: &str) -> Option<Tag> {
    KNOWN.into_iter().find(|tag| tag.name() == Some(name))
}

/// Writes which attributes a Get Attributes wants: names (1.x) or references (2.x).
pub(super) fn encode_wanted<S: Sink>(
    w: &mut Writer<'_, S>,
    version: ProtocolVersion,
    wanted: &[Tag],
) {
    for &tag in wanted {
        if version.has_typed_attributes() {
            w.enumeration(tags::ATTRIBUTE_REFERENCE, tag.0);
        } else if let Some(name) = tag.name() {
            w.text(tags::ATTRIBUTE_NAME, name);
        }
    }
}

/// The attribute that a field of a Get Attributes request wants; `None` for another field and for
/// attributes that we do not know.
pub(super) fn wanted(field: &Item<'_>) -> Result<Option<Tag>, TtlvError> {
    Ok(match field.tag {
        tags::ATTRIBUTE_NAME => tag_of(field.text()?),
        // Vendor attributes are referred to by a structure.
        tags::ATTRIBUTE_REFERENCE => field.enumeration().ok().map(Tag),
        _ => None,
    })
}
