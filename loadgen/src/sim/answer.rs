//! Answers before they are encoded: what became of each item of a message, as places in the store and in
//! the work buffer, so that an item costs no allocation.
//!
//! Must never be true: an answer that borrows from the request beyond its message. Called by
//! [`super::hsm`]; [`super::spoil`] changes them in between.

use std::borrow::Cow;
use std::ops::Range;

use kms::wire::kmip::enums::{operation, validity_indicator};
use kms::wire::kmip::{
    Decrypted, Encrypted, KmipError, MacMade, MacVerified, ProtocolVersion, Reply, ReplyPayload,
    ResponseHeader, RngRetrieved, encode_response,
};
use kms::wire::ttlv::Tag;

use super::store::Store;
use super::truth::Digests;

/// Result Reason and text of a refusal.
pub(super) type Refusal = (u32, &'static str);

/// What became of one item.
pub(super) enum Outcome {
    Query {
        operations: &'static [u32],
        vendor: bool,
    },
    Versions,
    /// Places in [`Work::located`].
    Located(Range<usize>),
    /// The object, and which attributes; none means all.
    Attributes(usize, Vec<Tag>),
    /// Answered with the object's identifier alone.
    Object(usize),
    /// Places in [`Work::bytes`].
    Encrypted {
        object: usize,
        data: Range<usize>,
        iv: Option<Range<usize>>,
        tag: Option<Range<usize>>,
    },
    /// Place in [`Work::bytes`].
    Decrypted {
        object: usize,
        data: Range<usize>,
    },
    /// Place in [`Work::bytes`].
    Mac {
        object: usize,
        mac: Range<usize>,
    },
    MacVerified {
        object: usize,
        holds: bool,
    },
    /// Place in [`Work::bytes`].
    Random(Range<usize>),
    /// From an earlier message.
    Kept(Box<Kept>),
    Failed(Refusal),
}

/// The answer to one item.
pub(super) struct Done<'f> {
    pub(super) operation: u32,
    /// Unique Batch Item ID as the client sent it.
    pub(super) asked_id: Option<&'f [u8]>,
    /// As it is sent back.
    pub(super) id: Option<Cow<'f, [u8]>>,
    pub(super) outcome: Outcome,
    /// The key that an Encrypt or Decrypt was for.
    pub(super) object: Option<usize>,
    /// Where truth is logged.
    pub(super) digests: Option<Digests>,
    /// Names another key than it should.
    pub(super) is_misattributed: bool,
    /// Not sent, or not with this message.
    pub(super) is_left_out: bool,
    pub(super) fault: Option<&'static str>,
}

/// An answer kept back for a later message.
pub(super) struct Kept {
    uid: String,
    data: Vec<u8>,
    iv: Option<Vec<u8>>,
    tag: Option<Vec<u8>>,
}

/// What answers point into; emptied for each message.
#[derive(Default)]
pub(super) struct Work {
    pub(super) bytes: Vec<u8>,
    pub(super) located: Vec<usize>,
    pub(super) versions: Vec<ProtocolVersion>,
}

impl Work {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.located.clear();
        self.versions.clear();
    }

    fn at(&self, place: &Range<usize>) -> &[u8] {
        self.bytes.get(place.clone()).unwrap_or_default()
    }
}

impl<'f> Done<'f> {
    pub(super) fn new(operation: u32, id: Option<&'f [u8]>) -> Self {
        Self {
            operation,
            asked_id: id,
            id: id.map(Cow::Borrowed),
            outcome: Outcome::Versions,
            object: None,
            digests: None,
            is_misattributed: false,
            is_left_out: false,
            fault: None,
        }
    }

    /// An Encrypt or Decrypt that succeeded and is sent: what faults may strike.
    pub(super) fn is_hit(&self) -> bool {
        let is_crypt = matches!(
            self.outcome,
            Outcome::Encrypted { .. } | Outcome::Decrypted { .. }
        );
        is_crypt && !self.is_left_out
    }

    /// Takes the answer out of this message, for a later one.
    pub(super) fn keep(&self, work: &Work, store: &Store) -> Option<Done<'static>> {
        let (object, data, iv, tag) = match &self.outcome {
            Outcome::Encrypted {
                object,
                data,
                iv,
                tag,
            } => (*object, data, iv.as_ref(), tag.as_ref()),
            Outcome::Decrypted { object, data } => (*object, data, None, None),
            _ => return None,
        };
        let kept = Kept {
            uid: store.get(object)?.uid.to_string(),
            data: work.at(data).to_vec(),
            iv: iv.map(|place| work.at(place).to_vec()),
            tag: tag.map(|place| work.at(place).to_vec()),
        };
        Some(Done {
            operation: self.operation,
            asked_id: None,
            id: self.id.as_deref().map(|id| Cow::Owned(id.to_vec())),
            outcome: Outcome::Kept(Box::new(kept)),
            object: self.object,
            digests: None,
            is_misattributed: false,
            is_left_out: false,
            fault: self.fault,
        })
    }
}

/// Everything that encoding needs beside the answers.
pub(super) struct Sources<'a> {
    pub(super) store: &'a Store,
    pub(super) work: &'a Work,
    /// Identifiers of [`Work::located`], in its order.
    pub(super) uids: &'a [&'a str],
    pub(super) vendor: &'a str,
}

/// Appends the whole message.
pub(super) fn encode(
    out: &mut Vec<u8>,
    header: ResponseHeader,
    answers: &[Done<'_>],
    from: &Sources<'_>,
) -> Result<(), KmipError> {
    let replies = answers.iter().map(|done| Reply {
        operation: Some(done.operation),
        unique_batch_item_id: done.id.as_deref(),
        result: match &done.outcome {
            Outcome::Failed(refusal) => Err(*refusal),
            outcome => Ok(payload(done, outcome, from)),
        },
    });
    encode_response(out, header, replies).map(|_| ())
}

fn payload<'a>(
    done: &'a Done<'_>,
    outcome: &'a Outcome,
    from: &Sources<'a>,
) -> Option<ReplyPayload<'a>> {
    let uid = |object: usize| {
        if done.is_misattributed {
            return Some("another-object");
        }
        from.store.get(object).map(|object| &*object.uid)
    };
    Some(match outcome {
        Outcome::Query { operations, vendor } => ReplyPayload::Query {
            operations,
            vendor: vendor.then_some(from.vendor),
        },
        Outcome::Versions => ReplyPayload::DiscoverVersions(&from.work.versions),
        Outcome::Located(places) => {
            ReplyPayload::Locate(from.uids.get(places.clone()).unwrap_or_default())
        }
        Outcome::Attributes(object, wanted) => {
            let object = from.store.get(*object)?;
            let wants = |tag| wanted.is_empty() || wanted.contains(&tag);
            ReplyPayload::GetAttributes(object.attributes(wants))
        }
        Outcome::Object(object) => object_answer(done.operation, uid(*object)?),
        Outcome::Encrypted {
            object,
            data,
            iv,
            tag,
        } => ReplyPayload::Encrypt(Encrypted {
            unique_identifier: uid(*object),
            data: from.work.at(data),
            iv: iv.as_ref().map(|place| from.work.at(place)),
            tag: tag.as_ref().map(|place| from.work.at(place)),
        }),
        Outcome::Decrypted { object, data } => ReplyPayload::Decrypt(Decrypted {
            unique_identifier: uid(*object),
            data: from.work.at(data),
        }),
        Outcome::Mac { object, mac } => ReplyPayload::Mac(MacMade {
            unique_identifier: uid(*object),
            mac: from.work.at(mac),
        }),
        Outcome::MacVerified { object, holds } => ReplyPayload::MacVerify(MacVerified {
            unique_identifier: uid(*object),
            validity: if *holds {
                validity_indicator::VALID
            } else {
                validity_indicator::INVALID
            },
        }),
        Outcome::Random(place) => ReplyPayload::RngRetrieve(RngRetrieved {
            data: from.work.at(place),
        }),
        Outcome::Kept(kept) => kept_answer(done.operation, kept),
        Outcome::Failed(_) => return None,
    })
}

/// An answer that was kept from an earlier question.
fn kept_answer(asked: u32, kept: &Kept) -> ReplyPayload<'_> {
    let unique_identifier = Some(&*kept.uid);
    if asked == operation::ENCRYPT {
        ReplyPayload::Encrypt(Encrypted {
            unique_identifier,
            data: &kept.data,
            iv: kept.iv.as_deref(),
            tag: kept.tag.as_deref(),
        })
    } else {
        ReplyPayload::Decrypt(Decrypted {
            unique_identifier,
            data: &kept.data,
        })
    }
}

/// The answer that is the object's identifier alone.
fn object_answer(asked: u32, uid: &str) -> ReplyPayload<'_> {
    match asked {
        operation::CREATE => ReplyPayload::Create(uid),
        operation::ACTIVATE => ReplyPayload::Activate(uid),
        operation::REVOKE => ReplyPayload::Revoke(uid),
        operation::ADD_ATTRIBUTE => ReplyPayload::AddAttribute(uid),
        operation::MODIFY_ATTRIBUTE => ReplyPayload::ModifyAttribute(uid),
        _ => ReplyPayload::Destroy(uid),
    }
}
