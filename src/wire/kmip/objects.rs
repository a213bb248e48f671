//! Payloads about the server and about objects: everything but Encrypt and Decrypt.

use super::attributes::{self, KeyAttributes};
use super::enums::{object_type, revocation_reason_code};
use super::{KmipError, ProtocolVersion, need, once, tags};
use crate::wire::ttlv::{Reader, Sink, Tag, Writer};

/// Query: both payloads.
#[derive(Clone, Copy, Debug)]
pub struct Query;

impl Query {
    pub(super) fn encode<S: Sink>(w: &mut Writer<'_, S>, functions: &[u32]) {
        for &function in functions {
            w.enumeration(tags::QUERY_FUNCTION, function);
        }
    }

    /// The Query Functions of a request's payload.
    pub fn decode(payload: Reader<'_>) -> impl Iterator<Item = Result<u32, KmipError>> {
        enumerations(payload, tags::QUERY_FUNCTION)
    }

    pub(super) fn encode_answer<S: Sink>(
        w: &mut Writer<'_, S>,
        operations: &[u32],
        vendor: Option<&str>,
    ) {
        for &operation in operations {
            w.enumeration(tags::OPERATION, operation);
        }
        if let Some(vendor) = vendor {
            w.text(tags::VENDOR_IDENTIFICATION, vendor);
        }
    }
}

fn enumerations(payload: Reader<'_>, tag: Tag) -> impl Iterator<Item = Result<u32, KmipError>> {
    payload.filter_map(move |field| match field {
        Ok(field) if field.tag != tag => None,
        field => Some(
            field
                .and_then(|field| field.enumeration())
                .map_err(KmipError::from),
        ),
    })
}

/// What a server says about itself.
#[derive(Clone, Debug)]
pub struct QueryAnswer<'a> {
    payload: Reader<'a>,
    /// Vendor Identification.
    pub vendor: Option<&'a str>,
}

impl<'a> QueryAnswer<'a> {
    /// From a response's payload.
    pub fn decode(payload: Reader<'a>) -> Result<Self, KmipError> {
        let mut vendor = None;
        for field in payload.clone() {
            let field = field?;
            match field.tag {
                tags::OPERATION => drop(field.enumeration()?),
                tags::VENDOR_IDENTIFICATION => once(&mut vendor, &field, field.text())?,
                _ => {}
            }
        }
        Ok(Self { payload, vendor })
    }

    /// The operations it has.
    pub fn operations(&self) -> impl Iterator<Item = u32> + use<'a> {
        enumerations(self.payload.clone(), tags::OPERATION).flatten()
    }

    /// Whether it has this one.
    pub fn supports(&self, operation: u32) -> bool {
        self.operations().any(|found| found == operation)
    }
}

/// Discover Versions: both payloads are a list of versions.
#[derive(Clone, Copy, Debug)]
pub struct DiscoverVersions;

impl DiscoverVersions {
    pub(super) fn encode<S: Sink>(w: &mut Writer<'_, S>, versions: &[ProtocolVersion]) {
        for version in versions {
            version.encode(w);
        }
    }

    /// The versions of either payload, best first.
    pub fn decode(payload: Reader<'_>) -> impl Iterator<Item = Result<ProtocolVersion, KmipError>> {
        payload.filter_map(|field| match field {
            Ok(field) if field.tag != tags::PROTOCOL_VERSION => None,
            Ok(field) => Some(ProtocolVersion::decode(&field)),
            Err(error) => Some(Err(error.into())),
        })
    }
}

/// Payload of a Unique Identifier alone: Activate and Destroy, and the answers to Create, Activate,
/// Revoke and Destroy.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ObjectRef<'a> {
    /// The object; `None` is the ID Placeholder. In requests of 2.x it may also be an Enumeration or
    /// an Integer, which is refused here as a wrong type.
    pub unique_identifier: Option<&'a str>,
}

impl<'a> ObjectRef<'a> {
    pub(super) fn encode<S: Sink>(&self, w: &mut Writer<'_, S>) {
        if let Some(uid) = self.unique_identifier {
            w.text(tags::UNIQUE_IDENTIFIER, uid);
        }
    }

    /// From either payload.
    pub fn decode(payload: Reader<'a>) -> Result<Self, KmipError> {
        let mut unique_identifier = None;
        for field in payload {
            let field = field?;
            if field.tag == tags::UNIQUE_IDENTIFIER {
                once(&mut unique_identifier, &field, field.text())?;
            }
        }
        Ok(Self { unique_identifier })
    }

    /// The identifier, or [`KmipError::Missing`].
    pub fn need(&self) -> Result<&'a str, KmipError> {
        need(self.unique_identifier, tags::UNIQUE_IDENTIFIER)
    }
}

/// Asks which objects have these attributes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Locate<'a> {
    /// At most this many.
    pub maximum_items: Option<i32>,
    /// Leaving out so many before.
    pub offset_items: Option<i32>,
    /// What they must have.
    pub attributes: KeyAttributes<'a>,
}

impl<'a> Locate<'a> {
    /// By name; two answers are enough to know that a name is ambiguous, but not by how much, so no
    /// maximum is set.
    pub fn by_name(name: &'a str) -> Self {
        let attributes = KeyAttributes {
            name: Some(name),
            ..KeyAttributes::default()
        };
        Self {
            attributes,
            ..Self::default()
        }
    }

    pub(super) fn encode<S: Sink>(&self, w: &mut Writer<'_, S>, version: ProtocolVersion) {
        if let Some(maximum) = self.maximum_items {
            w.integer(tags::MAXIMUM_ITEMS, maximum);
        }
        if let Some(offset) = self.offset_items {
            w.integer(tags::OFFSET_ITEMS, offset);
        }
        self.attributes.encode_in(w, version, None);
    }

    /// From a request's payload.
    pub fn decode(payload: Reader<'a>) -> Result<Self, KmipError> {
        let mut locate = Self::default();
        for field in payload {
            let field = field?;
            match field.tag {
                tags::MAXIMUM_ITEMS => once(&mut locate.maximum_items, &field, field.integer())?,
                tags::OFFSET_ITEMS => once(&mut locate.offset_items, &field, field.integer())?,
                _ => locate.attributes.take_in(&field)?,
            }
        }
        Ok(locate)
    }
}

/// The Unique Identifiers that a Locate found.
#[derive(Clone, Debug)]
pub struct Located<'a> {
    payload: Reader<'a>,
    /// How many.
    pub count: usize,
}

impl<'a> Located<'a> {
    pub(super) fn encode<S: Sink>(w: &mut Writer<'_, S>, uids: &[&str]) {
        for uid in uids {
            w.text(tags::UNIQUE_IDENTIFIER, uid);
        }
    }

    /// From a response's payload.
    pub fn decode(payload: Reader<'a>) -> Result<Self, KmipError> {
        let mut count = 0;
        for field in payload.clone() {
            let field = field?;
            if field.tag == tags::UNIQUE_IDENTIFIER {
                field.text()?;
                count += 1;
            }
        }
        Ok(Self { payload, count })
    }

    /// In the server's order, which means nothing.
    pub fn unique_identifiers(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let fields = self.payload.clone().flatten();
        fields
            .filter(|field| field.tag == tags::UNIQUE_IDENTIFIER)
            .filter_map(|f| f.text().ok())
    }
}

/// Asks for an object's attributes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct GetAttributes<'a> {
    /// The object; `None` is the ID Placeholder.
    pub unique_identifier: Option<&'a str>,
    /// Which; empty means all. One that [`Tag::name`] does not know cannot be asked for in 1.x.
    pub attributes: &'a [Tag],
}

impl<'a> GetAttributes<'a> {
    pub(super) fn encode<S: Sink>(&self, w: &mut Writer<'_, S>, version: ProtocolVersion) {
        if let Some(uid) = self.unique_identifier {
            w.text(tags::UNIQUE_IDENTIFIER, uid);
        }
        attributes::encode_wanted(w, version, self.attributes);
    }

    /// From a request's payload: the object, and the attributes wanted of those we know.
    pub fn decode(
        payload: Reader<'a>,
    ) -> Result<(ObjectRef<'a>, impl Iterator<Item = Tag> + use<'a>), KmipError> {
        let object = ObjectRef::decode(payload.clone())?;
        for field in payload.clone() {
            attributes::wanted(&field?)?;
        }
        let wanted = payload
            .flatten()
            .filter_map(|f| attributes::wanted(&f).ok().flatten());
        Ok((object, wanted))
    }
}

/// Asks for a new object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Create<'a> {
    /// Object Type.
    pub object_type: u32,
    /// What it shall be.
    pub attributes: KeyAttributes<'a>,
}

impl<'a> Create<'a> {
    /// A symmetric key of this name, algorithm, length in bits, and use.
    pub fn symmetric_key(name: &'a str, algorithm: u32, bits: i32, usage_mask: i32) -> Self {
        let attributes = KeyAttributes {
            cryptographic_algorithm: Some(algorithm),
            cryptographic_length: Some(bits),
            cryptographic_usage_mask: Some(usage_mask),
            name: Some(name),
            ..KeyAttributes::default()
        };
        Self {
            object_type: object_type::SYMMETRIC_KEY,
            attributes,
        }
    }

    pub(super) fn encode<S: Sink>(&self, w: &mut Writer<'_, S>, version: ProtocolVersion) {
        w.enumeration(tags::OBJECT_TYPE, self.object_type);
        self.attributes
            .encode_in(w, version, Some(tags::TEMPLATE_ATTRIBUTE));
    }

    /// From a request's payload.
    pub fn decode(payload: Reader<'a>) -> Result<Self, KmipError> {
        let (mut object_type, mut attributes) = (None, KeyAttributes::default());
        for field in payload {
            let field = field?;
            match field.tag {
                tags::OBJECT_TYPE => once(&mut object_type, &field, field.enumeration())?,
                _ => attributes.take_in(&field)?,
            }
        }
        Ok(Self {
            object_type: need(object_type, tags::OBJECT_TYPE)?,
            attributes,
        })
    }
}

/// Asks to end a key's use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Revoke<'a> {
    /// The object; `None` is the ID Placeholder.
    pub unique_identifier: Option<&'a str>,
    /// Revocation Reason Code.
    pub reason_code: u32,
}

impl<'a> Revoke<'a> {
    pub(super) fn encode<S: Sink>(&self, w: &mut Writer<'_, S>) {
        if let Some(uid) = self.unique_identifier {
            w.text(tags::UNIQUE_IDENTIFIER, uid);
        }
        w.structure(tags::REVOCATION_REASON, |w| {
            w.enumeration(tags::REVOCATION_REASON_CODE, self.reason_code);
        });
    }

    /// From a request's payload; without a reason it is Unspecified.
    pub fn decode(payload: Reader<'a>) -> Result<Self, KmipError> {
        let (mut unique_identifier, mut code) = (None, None);
        for field in payload {
            let field = field?;
            match field.tag {
                tags::UNIQUE_IDENTIFIER => once(&mut unique_identifier, &field, field.text())?,
                tags::REVOCATION_REASON => {
                    for inner in field.structure()? {
                        let inner = inner?;
                        if inner.tag == tags::REVOCATION_REASON_CODE {
                            once(&mut code, &inner, inner.enumeration())?;
                        }
                    }
                }
                _ => {}
            }
        }
        let reason_code = code.unwrap_or(revocation_reason_code::UNSPECIFIED);
        Ok(Self {
            unique_identifier,
            reason_code,
        })
    }
}
