//! KMIP 1.0 to 2.1, both directions: what the HSM session sends and reads, and what the simulator reads
//! and sends. Sans-IO; framing is [`super::ttlv::frame`].
//!
//! Must never be true: an unknown enumeration or field that fails a message; an allocation; a plaintext
//! in an error or a `Debug`; a response taken for another request's (ids are the caller's to match).
//!
//! Secrets. An Encrypt request writes its plaintext (and a credential its password) into the caller's
//! buffer, which the caller wipes: use a [`super::ttlv::Fixed`] over locked memory, or a vector under the
//! wiping allocator. A decoded plaintext is borrowed from the caller's (locked) buffer; nothing is copied.
//!
//! Strictness. The header comes first in a message and the declared Batch Count equals the items found.
//! Inside header, item and payload the order of fields is not held against a peer and unknown fields are
//! skipped (their inner items unseen), but a single-valued field given twice is refused, so that two
//! readers cannot take different values from one message. Missing fields that an operation needs are
//! refused by its payload decoder.
//!
//! Called by `hsm::kmip` and `kms-loadgen`'s simulator.

mod application;
mod attributes;
mod crypt;
pub mod enums;
mod mac;
mod objects;
mod request;
mod response;
pub mod tags;

pub use application::{
    AddAttribute, ApplicationInformation, ModifyAttribute, RngRetrieve, RngRetrieved,
};
pub use attributes::{KeyAttributes, names};
pub use crypt::{CryptographicParameters, Decrypt, Decrypted, Encrypt, Encrypted, GCM_PARAMETERS};
pub use mac::{Mac, MacMade, MacVerified};
pub use objects::{
    Create, DiscoverVersions, GetAttributes, Locate, Located, ObjectRef, Query, QueryAnswer, Revoke,
};
pub use request::{
    Call, Credential, RequestHeader, RequestItem, RequestItems, RequestMessage, RequestPayload,
    decode_request, encode_request,
};
pub use response::{
    Reply, ReplyPayload, ResponseHeader, ResponseItem, ResponseItems, ResponseMessage,
    ResultMessage, decode_response, encode_response,
};

use std::fmt;

use super::ttlv::{Item, Kind, Reader, Sink, Tag, TtlvError, Writer};
use crate::limits::KMIP_BATCH_ITEMS_MAX;

/// A KMIP version.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ProtocolVersion {
    /// 1 or 2.
    pub major: i32,
    /// 0 to 4.
    pub minor: i32,
}

impl ProtocolVersion {
    /// KMIP 1.0, in which servers answer what they cannot read.
    pub const V1_0: Self = Self { major: 1, minor: 0 };
    /// KMIP 1.2, the first with Encrypt and Decrypt.
    pub const V1_2: Self = Self { major: 1, minor: 2 };
    /// KMIP 1.4, the first with AEAD.
    pub const V1_4: Self = Self { major: 1, minor: 4 };
    /// KMIP 2.0.
    pub const V2_0: Self = Self { major: 2, minor: 0 };
    /// KMIP 2.1.
    pub const V2_1: Self = Self { major: 2, minor: 1 };

    /// Whether attributes are typed fields in Attributes (2.x) and not name and value (1.x).
    #[inline]
    pub fn has_typed_attributes(self) -> bool {
        self.major >= 2
    }

    fn encode<S: Sink>(self, w: &mut Writer<'_, S>) {
        w.structure(tags::PROTOCOL_VERSION, |w| {
            w.integer(tags::PROTOCOL_VERSION_MAJOR, self.major);
            w.integer(tags::PROTOCOL_VERSION_MINOR, self.minor);
        });
    }

    fn decode(item: &Item<'_>) -> Result<Self, KmipError> {
        let (mut major, mut minor) = (None, None);
        for field in item.structure()? {
            let field = field?;
            match field.tag {
                tags::PROTOCOL_VERSION_MAJOR => once(&mut major, &field, field.integer())?,
                tags::PROTOCOL_VERSION_MINOR => once(&mut minor, &field, field.integer())?,
                _ => {}
            }
        }
        Ok(Self {
            major: need(major, tags::PROTOCOL_VERSION_MAJOR)?,
            minor: need(minor, tags::PROTOCOL_VERSION_MINOR)?,
        })
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Why a message is no acceptable KMIP, or ours could not be written. The peer is to blame, save for
/// [`TtlvError::NoRoom`] and what the encoders refuse.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum KmipError {
    /// The encoding itself.
    Ttlv(TtlvError),
    /// A field that must be there is not.
    Missing(Tag),
    /// A field that may be there once is there twice.
    Duplicate(Tag),
    /// Another field than the one that must stand here.
    Unexpected {
        /// What must stand here.
        want: Tag,
        /// What does.
        got: Tag,
    },
    /// A value of a length that its use does not allow.
    Length {
        /// The field.
        tag: Tag,
        /// Bytes that it must have.
        want: usize,
        /// Bytes that it has.
        got: usize,
    },
    /// The Batch Count is not the number of items.
    BatchCount {
        /// As the header says.
        declared: i32,
        /// As counted.
        found: usize,
    },
    /// More items than [`KMIP_BATCH_ITEMS_MAX`], or none.
    BatchSize(usize),
}

impl From<TtlvError> for KmipError {
    #[inline]
    fn from(error: TtlvError) -> Self {
        Self::Ttlv(error)
    }
}

impl fmt::Display for KmipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ttlv(error) => error.fmt(f),
            Self::Missing(tag) => write!(f, "{tag} is missing"),
            Self::Duplicate(tag) => write!(f, "{tag} is there twice"),
            Self::Unexpected { want, got } => write!(f, "{got} stands where {want} must"),
            Self::Length { tag, want, got } => {
                write!(f, "{tag} has {got} bytes where {want} are needed")
            }
            Self::BatchCount { declared, found } => {
                write!(f, "Batch Count is {declared} but there are {found} items")
            }
            Self::BatchSize(found) => {
                write!(
                    f,
                    "{found} items where 1 to {KMIP_BATCH_ITEMS_MAX} are allowed"
                )
            }
        }
    }
}

impl std::error::Error for KmipError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Ttlv(error) => Some(error),
            _ => None,
        }
    }
}

/// Fills `slot`, which a second value may not do.
#[inline]
fn once<T>(
    slot: &mut Option<T>,
    field: &Item<'_>,
    value: Result<T, TtlvError>,
) -> Result<(), KmipError> {
    match slot.replace(value?) {
        None => Ok(()),
        Some(_) => Err(KmipError::Duplicate(field.tag)),
    }
}

/// The value of the next field if it is this one, which in the usual order of fields it is.
#[inline]
fn usual<'a, T>(
    fields: &mut Reader<'a>,
    tag: Tag,
    kind: Kind,
    value: impl FnOnce(&Item<'a>) -> Result<T, TtlvError>,
) -> Result<Option<T>, KmipError> {
    Ok(match fields.next_if(tag, kind) {
        Some(field) => Some(value(&field)?),
        None => None,
    })
}

/// The value of a field that must have been there.
#[inline]
fn need<T>(slot: Option<T>, tag: Tag) -> Result<T, KmipError> {
    slot.ok_or(KmipError::Missing(tag))
}

/// Opens a message: its header and its items, the items counted.
fn open(
    frame: &[u8],
    root: Tag,
    header: Tag,
) -> Result<(Reader<'_>, Reader<'_>, usize), KmipError> {
    let mut whole = Reader::open(frame)?;
    let mut inside = child(&mut whole, root)?.structure()?;
    let head = child(&mut inside, header)?.structure()?;
    let (mut found, mut rest) = (0, inside.clone());
    while rest.next_if(tags::BATCH_ITEM, Kind::Structure).is_some() {
        found += 1;
    }
    for item in rest {
        let item = item?;
        if item.tag != tags::BATCH_ITEM {
            return Err(KmipError::Unexpected {
                want: tags::BATCH_ITEM,
                got: item.tag,
            });
        }
        found += 1;
    }
    Ok((head, inside, found))
}

fn child<'a>(reader: &mut Reader<'a>, want: Tag) -> Result<Item<'a>, KmipError> {
    let item = reader.next().ok_or(KmipError::Missing(want))??;
    if item.tag == want {
        Ok(item)
    } else {
        Err(KmipError::Unexpected {
            want,
            got: item.tag,
        })
    }
}

/// Holds the Batch Count against the items found, and both against the limit.
fn check_count(declared: i32, found: usize) -> Result<(), KmipError> {
    if found == 0 || found > KMIP_BATCH_ITEMS_MAX {
        return Err(KmipError::BatchSize(found));
    }
    if usize::try_from(declared) == Ok(found) {
        Ok(())
    } else {
        Err(KmipError::BatchCount { declared, found })
    }
}

#[cfg(test)]
mod tests;
