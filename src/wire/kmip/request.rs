//! Requests: encoded by the HSM session, decoded by the simulator.

use std::fmt;

use super::crypt::Fields;
use super::enums::{batch_error_continuation_option, credential_type, operation};
use super::objects::{Create, DiscoverVersions, GetAttributes, Locate, ObjectRef, Query, Revoke};
use super::{
    AddAttribute, Decrypt, Encrypt, KmipError, Mac, ModifyAttribute, ProtocolVersion, RngRetrieve,
    check_count, need, once, open, tags,
};
use crate::limits::KMIP_BATCH_ITEMS_MAX;
use crate::wire::ttlv::{FIXED_ITEM_BYTES, HEADER_BYTES, Item, Reader, Sink, Writer, padded_bytes};

/// A login beside the client certificate. `Debug` does not print the password.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Credential<'a> {
    /// Who.
    pub username: &'a str,
    /// Its password, if the server wants one.
    pub password: Option<&'a str>,
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({}, ..)", self.username)
    }
}

/// What precedes the items. No Time Stamp: servers may refuse a skewed clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestHeader<'a> {
    /// The version all of the message is in.
    pub version: ProtocolVersion,
    /// Bytes of the longest answer wanted.
    pub maximum_response_size: Option<i32>,
    /// Login.
    pub credential: Option<Credential<'a>>,
}

impl RequestHeader<'_> {
    /// Nothing but the version.
    pub fn new(version: ProtocolVersion) -> Self {
        Self {
            version,
            maximum_response_size: None,
            credential: None,
        }
    }

    /// Batch Order Option is left out: nothing here depends on an order, support for True is optional in
    /// 1.x, and answers are matched by id.
    fn encode<S: Sink>(&self, w: &mut Writer<'_, S>, count: i32) {
        w.structure(tags::REQUEST_HEADER, |w| {
            self.version.encode(w);
            if let Some(bytes) = self.maximum_response_size {
                w.integer(tags::MAXIMUM_RESPONSE_SIZE, bytes);
            }
            if let Some(credential) = &self.credential {
                credential.encode(w);
            }
            if count > 1 {
                w.enumeration(
                    tags::BATCH_ERROR_CONTINUATION_OPTION,
                    batch_error_continuation_option::CONTINUE,
                );
            }
            w.integer(tags::BATCH_COUNT, count);
        });
    }
}

impl<'a> Credential<'a> {
    fn encode<S: Sink>(&self, w: &mut Writer<'_, S>) {
        w.structure(tags::AUTHENTICATION, |w| {
            w.structure(tags::CREDENTIAL, |w| {
                w.enumeration(
                    tags::CREDENTIAL_TYPE,
                    credential_type::USERNAME_AND_PASSWORD,
                );
                w.structure(tags::CREDENTIAL_VALUE, |w| {
                    w.text(tags::USERNAME, self.username);
                    if let Some(password) = self.password {
                        w.text(tags::PASSWORD, password);
                    }
                });
            });
        });
    }

    /// The first username-and-password credential of an Authentication; other kinds are passed over.
    fn decode(authentication: &Item<'a>) -> Result<Option<Self>, KmipError> {
        for credential in authentication.structure()? {
            let (mut kind, mut value) = (None, None);
            for field in credential?.structure()? {
                let field = field?;
                match field.tag {
                    tags::CREDENTIAL_TYPE => once(&mut kind, &field, field.enumeration())?,
                    tags::CREDENTIAL_VALUE => once(&mut value, &field, field.structure())?,
                    _ => {}
                }
            }
            if kind != Some(credential_type::USERNAME_AND_PASSWORD) {
                continue;
            }
            let (mut username, mut password) = (None, None);
            for field in need(value, tags::CREDENTIAL_VALUE)? {
                let field = field?;
                match field.tag {
                    tags::USERNAME => once(&mut username, &field, field.text())?,
                    tags::PASSWORD => once(&mut password, &field, field.text())?,
                    _ => {}
                }
            }
            return Ok(Some(Self {
                username: need(username, tags::USERNAME)?,
                password,
            }));
        }
        Ok(None)
    }
}

/// What one item asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RequestPayload<'a> {
    /// What the server is and can do; Query Functions.
    Query(&'a [u32]),
    /// Which versions it speaks; none given: all.
    DiscoverVersions(&'a [ProtocolVersion]),
    /// Which objects have these attributes.
    Locate(Locate<'a>),
    /// An object's attributes; none given: all.
    GetAttributes(GetAttributes<'a>),
    /// A new object.
    Create(Create<'a>),
    /// Makes a key usable.
    Activate(ObjectRef<'a>),
    /// Ends a key's use.
    Revoke(Revoke<'a>),
    /// Destroys a key.
    Destroy(ObjectRef<'a>),
    /// Wraps.
    Encrypt(Encrypt<'a>),
    /// Unwraps.
    Decrypt(Decrypt<'a>),
    /// Gives an object one more attribute.
    AddAttribute(AddAttribute<'a>),
    /// Changes an object's attribute.
    ModifyAttribute(ModifyAttribute<'a>),
    /// Random bytes.
    RngRetrieve(RngRetrieve),
    /// A MAC; its own `mac` is not sent.
    Mac(Mac<'a>),
    /// Whether a MAC is right.
    MacVerify(Mac<'a>),
}

impl RequestPayload<'_> {
    /// The Operation.
    #[inline]
    pub fn operation(&self) -> u32 {
        match self {
            Self::Query(_) => operation::QUERY,
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
}

/// One item to send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Call<'a> {
    /// Goes out as Unique Batch Item ID, 8 bytes, big-endian. Needed when there is more than one item.
    /// Never repeat one on a connection.
    pub id: Option<u64>,
    /// What is asked.
    pub payload: RequestPayload<'a>,
}

impl Call<'_> {
    #[inline]
    fn encode<S: Sink>(&self, w: &mut Writer<'_, S>, version: ProtocolVersion) {
        match &self.payload {
            RequestPayload::Encrypt(encrypt) => self.encode_crypt(w, &encrypt.fields()),
            RequestPayload::Decrypt(decrypt) => self.encode_crypt(w, &decrypt.fields()),
            RequestPayload::Query(functions) => self.wrap(w, |w| Query::encode(w, functions)),
            RequestPayload::DiscoverVersions(versions) => {
                self.wrap(w, |w| DiscoverVersions::encode(w, versions));
            }
            RequestPayload::Locate(locate) => self.wrap(w, |w| locate.encode(w, version)),
            RequestPayload::GetAttributes(get) => self.wrap(w, |w| get.encode(w, version)),
            RequestPayload::Create(create) => self.wrap(w, |w| create.encode(w, version)),
            RequestPayload::Activate(object) | RequestPayload::Destroy(object) => {
                self.wrap(w, |w| object.encode(w));
            }
            RequestPayload::Revoke(revoke) => self.wrap(w, |w| revoke.encode(w)),
            RequestPayload::AddAttribute(add) => self.wrap(w, |w| add.encode(w, version)),
            RequestPayload::ModifyAttribute(modify) => self.wrap(w, |w| modify.encode(w, version)),
            RequestPayload::RngRetrieve(retrieve) => self.wrap(w, |w| retrieve.encode(w)),
            RequestPayload::Mac(mac) => self.wrap(w, |w| Mac { mac: None, ..*mac }.encode(w)),
            RequestPayload::MacVerify(mac) => self.wrap(w, |w| mac.encode(w)),
        }
    }

    /// An item around the payload's fields.
    fn wrap<S: Sink>(&self, w: &mut Writer<'_, S>, payload: impl FnOnce(&mut Writer<'_, S>)) {
        w.structure(tags::BATCH_ITEM, |w| {
            w.enumeration(tags::OPERATION, self.payload.operation());
            if let Some(id) = self.id {
                w.bytes(tags::UNIQUE_BATCH_ITEM_ID, &id.to_be_bytes());
            }
            w.structure(tags::REQUEST_PAYLOAD, payload);
        });
    }

    /// The hot items, of which there are many in a message.
    #[inline]
    fn encode_crypt<S: Sink>(&self, w: &mut Writer<'_, S>, fields: &Fields<'_>) {
        let payload_bytes = fields.bytes();
        let id = self.id.map(u64::to_be_bytes);
        let id_bytes = id.as_ref().map_or(0, |id| padded_bytes(id));
        let item_bytes = FIXED_ITEM_BYTES + id_bytes + HEADER_BYTES + payload_bytes;
        w.counted(HEADER_BYTES + item_bytes, |w| {
            let mut w = w
                .structure(tags::BATCH_ITEM, item_bytes)?
                .enumeration(tags::OPERATION, self.payload.operation())?;
            if let Some(id) = &id {
                w = w.bytes(tags::UNIQUE_BATCH_ITEM_ID, id)?;
            }
            fields.encode(w.structure(tags::REQUEST_PAYLOAD, payload_bytes)?)
        });
    }
}

/// Appends one request message to `out` and gives its bytes. With more than one item, errors of one do
/// not stop the others (Batch Error Continuation Option Continue).
pub fn encode_request<'a, S: Sink, I>(
    out: &mut S,
    header: &RequestHeader<'_>,
    calls: I,
) -> Result<usize, KmipError>
where
    I: IntoIterator<Item = Call<'a>>,
    I::IntoIter: ExactSizeIterator,
{
    let calls = calls.into_iter();
    let announced = calls.len();
    if announced == 0 || announced > KMIP_BATCH_ITEMS_MAX {
        return Err(KmipError::BatchSize(announced));
    }
    let declared = i32::try_from(announced).map_err(|_| KmipError::BatchSize(announced))?;
    let (mut found, mut unnamed) = (0_usize, false);
    let mut w = Writer::new(out);
    w.structure(tags::REQUEST_MESSAGE, |w| {
        header.encode(w, declared);
        for call in calls {
            found += 1;
            unnamed |= call.id.is_none();
            call.encode(w, header.version);
        }
    });
    let bytes = w.finish()?;
    check_count(declared, found)?;
    if found > 1 && unnamed {
        return Err(KmipError::Missing(tags::UNIQUE_BATCH_ITEM_ID));
    }
    Ok(bytes)
}

/// A request as received.
#[derive(Clone, Debug)]
pub struct RequestMessage<'a> {
    /// The version it is in.
    pub version: ProtocolVersion,
    /// Bytes of the longest answer wanted.
    pub maximum_response_size: Option<i32>,
    /// Login.
    pub credential: Option<Credential<'a>>,
    /// Batch Error Continuation Option; absent means Stop.
    pub continuation: Option<u32>,
    /// Batch Order Option; absent means False in 1.x and True in 2.x.
    pub ordered: Option<bool>,
    /// Items, as many as [`RequestItems::len`] says.
    pub items: RequestItems<'a>,
}

/// One item as received.
#[derive(Clone, Debug)]
pub struct RequestItem<'a> {
    /// The Operation, raw.
    pub operation: u32,
    /// Unique Batch Item ID, to be echoed.
    pub unique_batch_item_id: Option<&'a [u8]>,
    /// For the payload decoder of the operation, as [`Decrypt::decode`].
    pub payload: Reader<'a>,
}

/// Items of a request; after an error there are no more.
#[derive(Clone, Debug)]
pub struct RequestItems<'a> {
    rest: Reader<'a>,
    left: usize,
}

impl RequestItems<'_> {
    /// How many are left.
    pub fn len(&self) -> usize {
        self.left
    }
    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'a> Iterator for RequestItems<'a> {
    type Item = Result<RequestItem<'a>, KmipError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.rest.next()?;
        self.left = self.left.saturating_sub(1);
        Some(
            item.map_err(KmipError::from)
                .and_then(|item| RequestItem::decode(&item)),
        )
    }
}

impl<'a> RequestItem<'a> {
    fn decode(item: &Item<'a>) -> Result<Self, KmipError> {
        let (mut operation, mut id, mut payload) = (None, None, None);
        for field in item.structure()? {
            let field = field?;
            match field.tag {
                tags::OPERATION => once(&mut operation, &field, field.enumeration())?,
                tags::UNIQUE_BATCH_ITEM_ID => once(&mut id, &field, field.bytes())?,
                tags::REQUEST_PAYLOAD => once(&mut payload, &field, field.structure())?,
                _ => {}
            }
        }
        Ok(Self {
            operation: need(operation, tags::OPERATION)?,
            unique_batch_item_id: id,
            payload: need(payload, tags::REQUEST_PAYLOAD)?,
        })
    }
}

/// Decodes a whole frame: header now, items when iterated.
pub fn decode_request(frame: &[u8]) -> Result<RequestMessage<'_>, KmipError> {
    let (head, rest, found) = open(frame, tags::REQUEST_MESSAGE, tags::REQUEST_HEADER)?;
    let (mut version, mut count, mut maximum_response_size) = (None, None, None);
    let (mut authentication, mut continuation, mut ordered) = (None, None, None);
    for field in head {
        let field = field?;
        match field.tag {
            tags::PROTOCOL_VERSION => once(&mut version, &field, Ok(field))?,
            tags::MAXIMUM_RESPONSE_SIZE => {
                once(&mut maximum_response_size, &field, field.integer())?;
            }
            tags::AUTHENTICATION => once(&mut authentication, &field, Ok(field))?,
            tags::BATCH_ERROR_CONTINUATION_OPTION => {
                once(&mut continuation, &field, field.enumeration())?;
            }
            tags::BATCH_ORDER_OPTION => once(&mut ordered, &field, field.boolean())?,
            tags::BATCH_COUNT => once(&mut count, &field, field.integer())?,
            _ => {}
        }
    }
    check_count(need(count, tags::BATCH_COUNT)?, found)?;
    Ok(RequestMessage {
        version: ProtocolVersion::decode(&need(version, tags::PROTOCOL_VERSION)?)?,
        maximum_response_size,
        credential: match authentication {
            Some(field) => Credential::decode(&field)?,
            None => None,
        },
        continuation,
        ordered,
        items: RequestItems { rest, left: found },
    })
}
