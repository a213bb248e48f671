//! TTLV, KMIP both ways, and what a batch of unwraps makes of the HSM's answer.

use std::collections::HashMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use kms::hsm::batch::{Batch, Form, ItemIds};
use kms::hsm::kmip::reply_of;
use kms::hsm::{Answer, Done, HsmError, Job, ObjectId, Request};
use kms::limits::IV_BYTES;
use kms::wire::Step;
use kms::wire::kmip::enums::operation;
use kms::wire::kmip::{
    AddAttribute, ApplicationInformation, Call, Create, Decrypt, Decrypted, DiscoverVersions,
    Encrypt, Encrypted, GetAttributes, KeyAttributes, Locate, Located, Mac, MacMade, MacVerified,
    ModifyAttribute, ObjectRef, ProtocolVersion, Query, QueryAnswer, Reply, ReplyPayload,
    RequestHeader, RequestItem, RequestPayload, ResponseHeader, Revoke, RngRetrieve, RngRetrieved,
    decode_request, decode_response, encode_request, encode_response, names, tags,
};
use kms::wire::ttlv::{self, Item, Kind, Reader, Writer};

use crate::arena;

mod seeds;

pub use seeds::{TOKENS, batch_seeds, request_seeds, response_seeds};

/// One frame: what is sound to its leaves is, written again, the same bytes.
pub fn ttlv(data: &[u8]) {
    let frame = match ttlv::frame(data) {
        Ok(Step::Item(frame, used)) => {
            assert_eq!(frame.len(), used);
            frame
        }
        Ok(Step::Need(more)) => return assert_ne!(more, 0),
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let sound = ttlv::check(frame);
    let mut written = Vec::new();
    let mut w = Writer::new(&mut written);
    if let Ok(mut reader) = Reader::open(frame)
        && let Some(Ok(item)) = reader.next()
    {
        copy(&item, &mut w);
    }
    let finished = w.finish();
    if sound.is_ok() {
        assert_eq!(finished, Ok(frame.len()));
        assert_eq!(written, frame);
    }
}

fn copy(item: &Item<'_>, w: &mut Writer<'_, Vec<u8>>) {
    let tag = item.tag;
    let done = match item.kind {
        Kind::Structure => item.structure().map(|inside| {
            w.structure(tag, |w| inside.flatten().for_each(|item| copy(&item, w)));
        }),
        Kind::Integer => item.integer().map(|value| w.integer(tag, value)),
        Kind::LongInteger => item.long_integer().map(|value| w.long_integer(tag, value)),
        Kind::BigInteger => item.big_integer().map(|value| w.big_integer(tag, value)),
        Kind::Enumeration => item.enumeration().map(|value| w.enumeration(tag, value)),
        Kind::Boolean => item.boolean().map(|value| w.boolean(tag, value)),
        Kind::TextString => item.text().map(|value| w.text(tag, value)),
        Kind::ByteString => item.bytes().map(|value| w.bytes(tag, value)),
        Kind::DateTime => item.date_time().map(|value| w.date_time(tag, value)),
        Kind::Interval => item.interval().map(|value| w.interval(tag, value)),
        Kind::DateTimeExtended => item
            .date_time_extended()
            .map(|value| w.date_time_extended(tag, value)),
    };
    let _ = done;
}

/// A request as the simulator reads it; what it understood, sent again, is understood alike.
pub fn request(data: &[u8]) {
    let Ok(message) = decode_request(data) else {
        return;
    };
    let version = message.version;
    let announced = message.items.len();
    let items: Vec<_> = message.items.collect();
    assert!(items.len() <= announced);
    for item in items.into_iter().flatten() {
        let Some(payload) = asked(&item) else {
            continue;
        };
        let mut written = Vec::new();
        let call = Call {
            id: Some(1),
            payload,
        };
        if encode_request(&mut written, &RequestHeader::new(version), [call]).is_err() {
            continue;
        }
        let again = decode_request(&written).expect("our own message");
        let item = again.items.flatten().next().expect("our own item");
        assert_eq!(asked(&item), Some(payload), "in {version}");
    }
}

fn asked<'a>(item: &RequestItem<'a>) -> Option<RequestPayload<'a>> {
    let payload = item.payload.clone();
    let object = || ObjectRef::decode(item.payload.clone()).ok();
    match item.operation {
        operation::QUERY => Query::decode(payload).for_each(drop),
        operation::DISCOVER_VERSIONS => DiscoverVersions::decode(payload).for_each(drop),
        operation::GET_ATTRIBUTES => {
            let _ = GetAttributes::decode(payload).map(|(_, tags)| tags.count());
        }
        operation::LOCATE => return Locate::decode(payload).ok().map(RequestPayload::Locate),
        operation::CREATE => return Create::decode(payload).ok().map(RequestPayload::Create),
        operation::ACTIVATE => return object().map(RequestPayload::Activate),
        operation::DESTROY => return object().map(RequestPayload::Destroy),
        operation::REVOKE => return Revoke::decode(payload).ok().map(RequestPayload::Revoke),
        operation::ADD_ATTRIBUTE => drop(AddAttribute::decode(payload)),
        operation::MODIFY_ATTRIBUTE => drop(ModifyAttribute::decode(payload)),
        operation::RNG_RETRIEVE => drop(RngRetrieve::decode(payload)),
        operation::MAC => {
            let mac = Mac::decode(payload).ok()?;
            return Some(RequestPayload::Mac(Mac { mac: None, ..mac }));
        }
        operation::MAC_VERIFY => return Mac::decode(payload).ok().map(RequestPayload::MacVerify),
        operation::ENCRYPT => return Encrypt::decode(payload).ok().map(RequestPayload::Encrypt),
        operation::DECRYPT => return Decrypt::decode(payload).ok().map(RequestPayload::Decrypt),
        _ => {}
    }
    None
}

/// A response as the HSM session reads it, each payload as every operation.
pub fn response(data: &[u8]) {
    let Ok(message) = decode_response(data) else {
        return;
    };
    for item in message.items.flatten() {
        if let Some(message) = item.message {
            let shown = message.to_string();
            assert!(shown.chars().count() <= 260 && !shown.contains(char::is_control));
        }
        let Ok(payload) = item.need_payload() else {
            continue;
        };
        let p = || payload.clone();
        if let Ok(answer) = Located::decode(p()) {
            assert!(answer.unique_identifiers().count() <= answer.count);
        }
        if let Ok(answer) = QueryAnswer::decode(p()) {
            let _ = (
                answer.supports(operation::DECRYPT),
                answer.operations().count(),
            );
        }
        if let Ok(answer) = Encrypted::decode(p()) {
            let _ = answer.gcm_tag();
        }
        if let Ok(answer) = Decrypted::decode(p()) {
            let again = answer_bytes(ReplyPayload::Decrypt(answer));
            let again = decode_response(&again).expect("our own message");
            let item = again.items.flatten().next().expect("our own item");
            let payload = item.need_payload().expect("our own payload");
            assert!(Decrypted::decode(payload) == Ok(answer));
        }
        let _ = ObjectRef::decode(p()).map(|object| object.need().map(str::len));
        let _ = KeyAttributes::decode(p());
        let _ = (
            names(p()),
            ApplicationInformation::find(p(), ""),
            RngRetrieved::decode(p()),
            MacMade::decode(p()),
            MacVerified::decode(p()),
        );
        DiscoverVersions::decode(p()).for_each(drop);
    }
}

fn answer_bytes(payload: ReplyPayload<'_>) -> Vec<u8> {
    let id = 1_u64.to_be_bytes();
    let operation = Some(payload.operation());
    encode(&[Reply {
        operation,
        unique_batch_item_id: Some(&id),
        result: Ok(Some(payload)),
    }])
}

fn encode(replies: &[Reply<'_>]) -> Vec<u8> {
    let header = ResponseHeader {
        version: ProtocolVersion::V1_4,
        time_stamp_unix_s: 1,
    };
    let mut out = Vec::new();
    encode_response(&mut out, header, replies.iter().copied()).expect("a response");
    out
}

const LENGTHS: [usize; 4] = [16, 32, 32, 40];
const OBJECT: &str = "uid-1";

type Outcome = Result<Answer, HsmError>;

/// Four unwraps, the second asked twice.
fn batch() -> (Batch, mpsc::Receiver<(u64, Outcome)>) {
    let (tx, rx) = mpsc::channel();
    let deadline = Instant::now() + Duration::from_secs(1);
    let jobs = [(1, 0), (2, 1), (3, 2), (4, 3), (2, 1)].map(|(id, at)| {
        let tx = tx.clone();
        let done: Done = Box::new(move |outcome| drop(tx.send((id, outcome))));
        let sealed = vec![u8::try_from(at).unwrap_or(0); 28 + LENGTHS[at]];
        let request = Request::Decrypt {
            object: ObjectId(OBJECT.into()),
            sealed,
            associated_data: Vec::new(),
        };
        Job {
            request,
            deadline,
            client: kms::hsm::ClientTag::default(),
            sent: None,
            done,
        }
    });
    (
        Batch::gather(
            Form::default(),
            jobs.into(),
            &mut ItemIds::default(),
            || [0; IV_BYTES],
        )
        .0,
        rx,
    )
}

/// The HSM's answer to [`batch`]: each waiter is told once, and a plaintext only if it is borne, once,
/// under its own id, in a message that bears no other.
pub fn hsm_batch(data: &[u8]) {
    let items =
        decode_response(data).and_then(|message| message.items.collect::<Result<Vec<_>, _>>());
    let Ok(items) = items else { return };
    let replies: Vec<_> = items.iter().map(reply_of).collect();
    let (batch, told) = batch();
    let settled = batch.settle(&replies, &mut ItemIds::default(), |plain| {
        arena().store(plain).map_err(|_| HsmError::NoLockedMemory)
    });
    for (done, outcome) in settled.finished {
        done(outcome);
    }
    for doubt in settled.doubtful {
        let mut finished = Vec::new();
        doubt.resolve(None, &mut finished);
        for (done, outcome) in finished {
            done(outcome);
        }
    }
    let borne = borne(data);
    let mut count = [0; 5];
    for (id, outcome) in told.try_iter() {
        let at = usize::try_from(id).expect("small");
        count[at] += 1;
        match outcome {
            Ok(Answer::Plaintext(key)) => {
                let (trusted, by_id) = borne.as_ref().expect("a message that bears plaintexts");
                assert!(trusted, "a plaintext of a message whose ids do not add up");
                key.expose(|bytes| {
                    assert_eq!(bytes.len(), LENGTHS[at - 1], "item {id}");
                    assert_eq!(
                        by_id.get(&id).map(Vec::as_slice),
                        Some(bytes),
                        "another item's plaintext for {id}"
                    );
                });
            }
            Ok(other) => panic!("{other:?} for a Decrypt"),
            Err(_) => {}
        }
    }
    assert_eq!(count, [0, 1, 2, 1, 1], "answers to each waiter");
}

/// Which plaintext the message bears under which id, read without the decoders of `wire::kmip`; and
/// whether its ids are all ours and all different.
fn borne(frame: &[u8]) -> Option<(bool, HashMap<u64, Vec<u8>>)> {
    let message = Reader::open(frame).ok()?.next()?.ok()?.structure().ok()?;
    let (mut trusted, mut by_id) = (true, HashMap::new());
    for item in message
        .flatten()
        .filter(|item| item.tag == tags::BATCH_ITEM)
    {
        let inside = item.structure().ok()?;
        let id = find_bytes(inside.clone(), tags::UNIQUE_BATCH_ITEM_ID);
        let id = id
            .and_then(|id| id.try_into().ok().map(u64::from_be_bytes))
            .filter(|id| (1..=4).contains(id));
        let Some(id) = id else {
            trusted = false;
            continue;
        };
        let payload = inside
            .flatten()
            .find(|item| item.tag == tags::RESPONSE_PAYLOAD);
        let payload = payload.and_then(|item| item.structure().ok());
        let data = payload.and_then(|payload| find_bytes(payload, tags::DATA).map(<[u8]>::to_vec));
        trusted &= by_id.insert(id, data.unwrap_or_default()).is_none();
    }
    Some((trusted, by_id))
}

fn find_bytes(reader: Reader<'_>, tag: ttlv::Tag) -> Option<&[u8]> {
    reader.flatten().find(|item| item.tag == tag)?.bytes().ok()
}
