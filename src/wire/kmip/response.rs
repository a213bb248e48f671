//! Responses: decoded by the HSM session, encoded by the simulator.

use std::fmt::{self, Write as _};

use super::enums::{object_type, operation, result_status};
use super::objects::{DiscoverVersions, Located, Query};
use super::{
    Decrypted, Encrypted, KeyAttributes, KmipError, MacMade, MacVerified, ProtocolVersion,
    RngRetrieved, check_count, need, once, open, tags, usual,
};
use crate::limits::KMIP_BATCH_ITEMS_MAX;
use crate::wire::ttlv::{Item, Kind, Reader, Sink, Writer};

/// Characters of a server's text that are shown.
const SHOWN_CHARS_MAX: usize = 256;

/// A server's own words, untrusted. `Display` shows at most 256 characters of them, with control
/// characters and what is not UTF-8 replaced, so that a log line stays one line.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct ResultMessage<'a>(pub &'a [u8]);

impl fmt::Display for ResultMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = SHOWN_CHARS_MAX;
        for chunk in self.0.utf8_chunks() {
            let broken = if chunk.invalid().is_empty() {
                ""
            } else {
                "\u{fffd}"
            };
            for shown in chunk.valid().chars().chain(broken.chars()) {
                if left == 0 {
                    return f.write_str("...");
                }
                left -= 1;
                f.write_char(if shown.is_control() { ' ' } else { shown })?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ResultMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A response as received.
#[derive(Clone, Debug)]
pub struct ResponseMessage<'a> {
    /// The version it is in; 1.0 where the server could not read the request.
    pub version: ProtocolVersion,
    /// The server's clock, seconds since 1970.
    pub time_stamp_unix_s: Option<i64>,
    /// Items, as many as [`ResponseItems::len`] says; fewer than asked means the rest was not done.
    pub items: ResponseItems<'a>,
}

/// One item as received.
#[derive(Clone, Debug)]
pub struct ResponseItem<'a> {
    /// The Operation, raw.
    pub operation: Option<u32>,
    /// As sent, if the server keeps to the standard.
    pub unique_batch_item_id: Option<&'a [u8]>,
    /// Result Status, raw.
    pub status: u32,
    /// Result Reason, raw.
    pub reason: Option<u32>,
    /// The server's words.
    pub message: Option<ResultMessage<'a>>,
    /// For the payload decoder of the operation, as [`Decrypted::decode`].
    pub payload: Option<Reader<'a>>,
}

impl<'a> ResponseItem<'a> {
    /// The server refused the whole message: there is no Operation to refer to.
    pub fn is_message_level(&self) -> bool {
        self.operation.is_none()
    }

    /// Result Status Success.
    pub fn is_success(&self) -> bool {
        self.status == result_status::SUCCESS
    }

    /// The Unique Batch Item ID as [`super::Call::id`] sent it; `None` for any other.
    #[inline]
    pub fn id(&self) -> Option<u64> {
        self.unique_batch_item_id?
            .try_into()
            .ok()
            .map(u64::from_be_bytes)
    }

    /// The payload, or [`KmipError::Missing`].
    #[inline]
    pub fn need_payload(&self) -> Result<Reader<'a>, KmipError> {
        need(self.payload.clone(), tags::RESPONSE_PAYLOAD)
    }

    #[inline]
    fn decode(item: &Item<'a>) -> Result<Self, KmipError> {
        let mut fields = item.structure()?;
        let (mut reason, mut message) = (None, None);
        // The usual order of a success; what remains is taken in any order.
        let mut operation = usual(
            &mut fields,
            tags::OPERATION,
            Kind::Enumeration,
            Item::enumeration,
        )?;
        let mut unique_batch_item_id = usual(
            &mut fields,
            tags::UNIQUE_BATCH_ITEM_ID,
            Kind::ByteString,
            Item::bytes,
        )?;
        let mut status = usual(
            &mut fields,
            tags::RESULT_STATUS,
            Kind::Enumeration,
            Item::enumeration,
        )?;
        let mut payload = usual(
            &mut fields,
            tags::RESPONSE_PAYLOAD,
            Kind::Structure,
            Item::structure,
        )?;
        for field in fields {
            let field = field?;
            match field.tag {
                tags::OPERATION => once(&mut operation, &field, field.enumeration())?,
                tags::UNIQUE_BATCH_ITEM_ID => {
                    once(&mut unique_batch_item_id, &field, field.bytes())?;
                }
                tags::RESULT_STATUS => once(&mut status, &field, field.enumeration())?,
                tags::RESULT_REASON => once(&mut reason, &field, field.enumeration())?,
                tags::RESULT_MESSAGE => {
                    once(&mut message, &field, field.text_bytes().map(ResultMessage))?;
                }
                tags::RESPONSE_PAYLOAD => once(&mut payload, &field, field.structure())?,
                _ => {}
            }
        }
        let status = need(status, tags::RESULT_STATUS)?;
        Ok(Self {
            operation,
            unique_batch_item_id,
            status,
            reason,
            message,
            payload,
        })
    }
}

/// Items of a response; after an error there are no more.
#[derive(Clone, Debug)]
pub struct ResponseItems<'a> {
    rest: Reader<'a>,
    left: usize,
}

impl ResponseItems<'_> {
    /// How many are left.
    pub fn len(&self) -> usize {
        self.left
    }
    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'a> Iterator for ResponseItems<'a> {
    type Item = Result<ResponseItem<'a>, KmipError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let item = self.rest.next()?;
        self.left = self.left.saturating_sub(1);
        Some(
            item.map_err(KmipError::from)
                .and_then(|item| ResponseItem::decode(&item)),
        )
    }
}

/// Decodes a whole frame: header now, items when iterated.
pub fn decode_response(frame: &[u8]) -> Result<ResponseMessage<'_>, KmipError> {
    let (head, rest, found) = open(frame, tags::RESPONSE_MESSAGE, tags::RESPONSE_HEADER)?;
    let (mut version, mut time_stamp_unix_s, mut count) = (None, None, None);
    for field in head {
        let field = field?;
        match field.tag {
            tags::PROTOCOL_VERSION => once(&mut version, &field, Ok(field))?,
            tags::TIME_STAMP => once(&mut time_stamp_unix_s, &field, field.date_time())?,
            tags::BATCH_COUNT => once(&mut count, &field, field.integer())?,
            _ => {}
        }
    }
    check_count(need(count, tags::BATCH_COUNT)?, found)?;
    let version = ProtocolVersion::decode(&need(version, tags::PROTOCOL_VERSION)?)?;
    Ok(ResponseMessage {
        version,
        time_stamp_unix_s,
        items: ResponseItems { rest, left: found },
    })
}

/// What one successful answer carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ReplyPayload<'a> {
    /// Operations that exist, and who made the server.
    Query {
        /// Raw.
        operations: &'a [u32],
        /// Vendor Identification.
        vendor: Option<&'a str>,
    },
    /// Versions, best first.
    DiscoverVersions(&'a [ProtocolVersion]),
    /// Unique Identifiers of what was found.
    Locate(&'a [&'a str]),
    /// An object's attributes.
    GetAttributes(KeyAttributes<'a>),
    /// The new object, a Symmetric Key.
    Create(&'a str),
    /// The object.
    Activate(&'a str),
    /// The object.
    Revoke(&'a str),
    /// The object.
    Destroy(&'a str),
    /// The ciphertext.
    Encrypt(Encrypted<'a>),
    /// The plaintext.
    Decrypt(Decrypted<'a>),
    /// The object.
    AddAttribute(&'a str),
    /// The object.
    ModifyAttribute(&'a str),
    /// The bytes.
    RngRetrieve(RngRetrieved<'a>),
    /// The MAC.
    Mac(MacMade<'a>),
    /// Whether it is right.
    MacVerify(MacVerified<'a>),
}

impl ReplyPayload<'_> {
    /// The Operation it answers.
    pub fn operation(&self) -> u32 {
        match self {
            Self::Query { .. } => operation::QUERY,
            Self::DiscoverVersions(_) => operation::DISCOVER_VERSIONS,
            Self::Locate(_) => operation::LOCATE,
            Self::GetAttributes(_) => operation::GET_ATTRIBUTES,
            Self::Create(_) => operation::CREATE,
            Self::Activate(_) => operation::ACTIVATE,
            Self::Revoke(_) => operation::REVOKE,
            Self::Destroy(_) => operation::DESTROY,
            Self::Encrypt(_) => operation::ENCRYPT,
            Self::Decrypt(_) => operation::DECRYPT,
            Self::AddAttribute(_) => operation::ADD_ATTRIBUTE,
            Self::ModifyAttribute(_) => operation::MODIFY_ATTRIBUTE,
            Self::RngRetrieve(_) => operation::RNG_RETRIEVE,
            Self::Mac(_) => operation::MAC,
            Self::MacVerify(_) => operation::MAC_VERIFY,
        }
    }

    fn encode<S: Sink>(&self, w: &mut Writer<'_, S>, version: ProtocolVersion) {
        match self {
            Self::Query { operations, vendor } => Query::encode_answer(w, operations, *vendor),
            Self::DiscoverVersions(versions) => DiscoverVersions::encode(w, versions),
            Self::Locate(uids) => Located::encode(w, uids),
            Self::GetAttributes(attributes) => attributes.encode_answer(w, version),
            Self::Create(uid) => {
                w.enumeration(tags::OBJECT_TYPE, object_type::SYMMETRIC_KEY);
                w.text(tags::UNIQUE_IDENTIFIER, uid);
            }
            Self::Activate(uid)
            | Self::Revoke(uid)
            | Self::Destroy(uid)
            | Self::AddAttribute(uid)
            | Self::ModifyAttribute(uid) => w.text(tags::UNIQUE_IDENTIFIER, uid),
            Self::RngRetrieve(retrieved) => retrieved.encode(w),
            Self::Mac(made) => made.encode(w),
            Self::MacVerify(verified) => verified.encode(w),
            Self::Encrypt(encrypted) => encrypted.encode(w),
            Self::Decrypt(decrypted) => decrypted.encode(w),
        }
    }
}

/// What precedes the answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResponseHeader {
    /// The version all of the message is in.
    pub version: ProtocolVersion,
    /// The server's clock, seconds since 1970.
    pub time_stamp_unix_s: i64,
}

/// One answer to send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reply<'a> {
    /// The Operation asked for; `None` refuses the whole message.
    pub operation: Option<u32>,
    /// Echo of the request's.
    pub unique_batch_item_id: Option<&'a [u8]>,
    /// The payload (`None`: Success without one), or Result Reason and text.
    pub result: Result<Option<ReplyPayload<'a>>, (u32, &'a str)>,
}

/// Appends one response message to `out` and gives its bytes.
pub fn encode_response<'a, S: Sink, I>(
    out: &mut S,
    header: ResponseHeader,
    replies: I,
) -> Result<usize, KmipError>
where
    I: IntoIterator<Item = Reply<'a>>,
    I::IntoIter: ExactSizeIterator,
{
    let replies = replies.into_iter();
    let announced = replies.len();
    if announced == 0 || announced > KMIP_BATCH_ITEMS_MAX {
        return Err(KmipError::BatchSize(announced));
    }
    let declared = i32::try_from(announced).map_err(|_| KmipError::BatchSize(announced))?;
    let mut found = 0;
    let mut w = Writer::new(out);
    w.structure(tags::RESPONSE_MESSAGE, |w| {
        w.structure(tags::RESPONSE_HEADER, |w| {
            header.version.encode(w);
            w.date_time(tags::TIME_STAMP, header.time_stamp_unix_s);
            w.integer(tags::BATCH_COUNT, declared);
        });
        for reply in replies {
            found += 1;
            reply.encode(w, header.version);
        }
    });
    let bytes = w.finish()?;
    check_count(declared, found)?;
    Ok(bytes)
}

impl Reply<'_> {
    fn encode<S: Sink>(&self, w: &mut Writer<'_, S>, version: ProtocolVersion) {
        w.structure(tags::BATCH_ITEM, |w| {
            if let Some(operation) = self.operation {
                w.enumeration(tags::OPERATION, operation);
            }
            if let Some(id) = self.unique_batch_item_id {
                w.bytes(tags::UNIQUE_BATCH_ITEM_ID, id);
            }
            match &self.result {
                Ok(payload) => {
                    w.enumeration(tags::RESULT_STATUS, result_status::SUCCESS);
                    if let Some(payload) = payload {
                        w.structure(tags::RESPONSE_PAYLOAD, |w| payload.encode(w, version));
                    }
                }
                Err((reason, text)) => {
                    w.enumeration(tags::RESULT_STATUS, result_status::OPERATION_FAILED);
                    w.enumeration(tags::RESULT_REASON, *reason);
                    w.text(tags::RESULT_MESSAGE, text);
                }
            }
        });
    }
}
