//! Bytes against other people's, refusals, and mutated messages.
#![allow(clippy::unwrap_used)]

mod round_trips;

// One set of serde types for the second opinion and for the benchmark.
#[allow(dead_code)]
#[path = "../../../bench/src/ttlv/peer.rs"]
mod peer;

use super::enums::{operation, query_function, result_reason, result_status};
use super::*;
use crate::wire::Step;
use crate::wire::ttlv::{Fixed, check, frame};
use peer::Job;

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|two| u8::try_from(two[0] * 16 + two[1]).unwrap())
        .collect()
}

fn decrypt(job: &Job) -> Call<'_> {
    let decrypt = Decrypt {
        unique_identifier: Some(&job.uid),
        parameters: Some(GCM_PARAMETERS),
        data: &job.data,
        iv: Some(&job.iv),
        associated_data: &job.associated_data,
        tag: Some(&job.tag),
    };
    Call {
        id: Some(job.id),
        payload: RequestPayload::Decrypt(decrypt),
    }
}

pub(super) fn batch_request(count: u8) -> Vec<u8> {
    let jobs = Job::batch(count);
    let mut out = Vec::new();
    let header = RequestHeader::new(ProtocolVersion::V1_4);
    encode_request(&mut out, &header, jobs.iter().map(decrypt)).unwrap();
    out
}

/// Answers all of [`Job::batch`], every third with a failure.
fn batch_response(count: u8, failures: bool) -> Vec<u8> {
    let jobs = Job::batch(count);
    let ids: Vec<_> = jobs.iter().map(|job| job.id.to_be_bytes()).collect();
    let replies = jobs.iter().zip(&ids).map(|(job, id)| Reply {
        operation: Some(operation::DECRYPT),
        unique_batch_item_id: Some(id),
        result: if failures && job.id % 3 == 0 {
            Err((0x1234_5678, "no such\nthing"))
        } else {
            let uid = Some(&*job.uid);
            Ok(Some(ReplyPayload::Decrypt(Decrypted {
                unique_identifier: uid,
                data: &job.data,
            })))
        },
    });
    let header = ResponseHeader {
        version: ProtocolVersion::V1_4,
        time_stamp_unix_s: 1,
    };
    let mut out = Vec::new();
    encode_response(&mut out, header, replies).unwrap();
    out
}

/// The 120 bytes that a PyKMIP server answers.
#[test]
fn a_query_as_sent_to_a_real_server() {
    let want = unhex(
        "42007801 00000070 42007701 00000038 42006901 00000020 42006a02 00000004
         00000001 00000000 42006b02 00000004 00000004 00000000 42000d02 00000004
         00000001 00000000 42000f01 00000028 42005c05 00000004 00000018 00000000
         42007901 00000010 42007405 00000004 00000001 00000000",
    );
    let payload = RequestPayload::Query(&[query_function::OPERATIONS]);
    let mut out = Vec::new();
    let header = RequestHeader::new(ProtocolVersion::V1_4);
    assert_eq!(
        encode_request(&mut out, &header, [Call { id: None, payload }]),
        Ok(120)
    );
    assert_eq!(out, want);
    let mut fixed = [0; 120];
    let call = [Call { id: None, payload }];
    assert_eq!(
        encode_request(&mut Fixed::new(&mut fixed), &header, call),
        Ok(120)
    );
    assert_eq!(fixed[..], want);
}

#[test]
fn kmip_ttlv_writes_and_reads_the_same() {
    let jobs = Job::batch(32);
    assert_eq!(
        batch_request(32),
        kmip_ttlv::to_vec(&peer::Request::new(&jobs)).unwrap()
    );
    let opened: peer::Response = kmip_ttlv::from_slice(&batch_response(32, false)).unwrap();
    assert_eq!(opened.items.len(), 32);
    for (item, job) in opened.items.iter().zip(&jobs) {
        assert_eq!(
            (&item.payload.uid, &item.payload.data),
            (&job.uid, &job.data)
        );
        assert_eq!(item.id, job.id.to_be_bytes());
    }
}

/// KMIP 1.0 use case 3.1.1, as `kmip-ttlv` quotes it.
#[test]
fn the_answer_to_create_of_the_use_cases() {
    let bytes = unhex(
        "42007B01000000C042007A0100000048420069010000002042006A0200000004000000010000000042006B0200000\
         00400000000000000004200920900000008000000004AFBE7C242000D0200000004000000010000000042000F0100\
         00006842005C0500000004000000010000000042007F0500000004000000000000000042007C01000000404200570\
         5000000040000000200000000420094070000002466633838333364652D373064322D346563652D623036332D6665\
         6465336133633539666500000000",
    );
    let mut message = decode_response(&bytes).unwrap();
    assert_eq!(message.version, ProtocolVersion::V1_0);
    assert_eq!(message.time_stamp_unix_s, Some(0x4AFB_E7C2));
    let item = message.items.next().unwrap().unwrap();
    assert!(item.operation == Some(operation::CREATE) && item.is_success());
    let object = ObjectRef::decode(item.need_payload().unwrap()).unwrap();
    assert_eq!(object.need(), Ok("fc8833de-70d2-4ece-b063-fede3a3c59fe"));
    assert!(message.items.next().is_none());

    let uid = "fc8833de-70d2-4ece-b063-fede3a3c59fe";
    let reply = Reply {
        operation: Some(operation::CREATE),
        unique_batch_item_id: None,
        result: Ok(Some(ReplyPayload::Create(uid))),
    };
    let header = ResponseHeader {
        version: ProtocolVersion::V1_0,
        time_stamp_unix_s: 0x4AFB_E7C2,
    };
    let mut out = Vec::new();
    encode_response(&mut out, header, [reply]).unwrap();
    assert_eq!(out, bytes);
}

#[test]
fn failing_items_and_unknown_reasons_stay_in_their_item() {
    let bytes = batch_response(8, true);
    let jobs = Job::batch(8);
    let mut failed = 0;
    for (item, job) in decode_response(&bytes).unwrap().items.zip(&jobs) {
        let item = item.unwrap();
        assert_eq!(item.id(), Some(job.id));
        if job.id % 3 == 0 {
            failed += 1;
            assert_eq!(item.status, result_status::OPERATION_FAILED);
            assert_eq!(item.reason, Some(0x1234_5678));
            assert_eq!(item.message.unwrap().to_string(), "no such thing");
            assert_eq!(
                item.need_payload().err(),
                Some(KmipError::Missing(tags::RESPONSE_PAYLOAD))
            );
        } else {
            let plain = Decrypted::decode(item.need_payload().unwrap()).unwrap();
            assert_eq!(plain.data, job.data);
        }
    }
    assert!(failed == 2 || failed == 3);
}

#[test]
fn a_refused_message_has_no_operation() {
    let reply = Reply {
        operation: None,
        unique_batch_item_id: None,
        result: Err((
            result_reason::INVALID_MESSAGE,
            "Error parsing request message.",
        )),
    };
    let header = ResponseHeader {
        version: ProtocolVersion::V1_0,
        time_stamp_unix_s: 0,
    };
    let mut out = Vec::new();
    encode_response(&mut out, header, [reply]).unwrap();
    let item = decode_response(&out)
        .unwrap()
        .items
        .next()
        .unwrap()
        .unwrap();
    assert!(item.is_message_level() && !item.is_success());
    assert_eq!(item.reason, Some(result_reason::INVALID_MESSAGE));
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let header = RequestHeader::new(ProtocolVersion::V1_4);
    let call = Call {
        id: None,
        payload: RequestPayload::Query(&[]),
    };
    let too_many = KMIP_BATCH_ITEMS_MAX + 1;
    for (name, calls, want) in [
        ("none", vec![], KmipError::BatchSize(0)),
        (
            "two without ids",
            vec![call; 2],
            KmipError::Missing(tags::UNIQUE_BATCH_ITEM_ID),
        ),
        (
            "too many",
            vec![call; too_many],
            KmipError::BatchSize(too_many),
        ),
    ] {
        assert_eq!(
            encode_request(&mut Vec::new(), &header, calls),
            Err(want),
            "{name}"
        );
    }
    let mut small = [0; 119];
    let result = encode_request(&mut Fixed::new(&mut small), &header, [call]);
    assert_eq!(result, Ok(104));
    let result = encode_request(&mut Fixed::new(&mut small[..103]), &header, [call]);
    assert_eq!(result, Err(KmipError::Ttlv(TtlvError::NoRoom)));
}

/// A response of hand-made parts: header fields and item fields, each already encoded.
fn response_of(head: &[&str], items: &[&[&str]]) -> Vec<u8> {
    fn wrap(tag: &str, inner: &[u8]) -> Vec<u8> {
        let mut out = unhex(tag);
        out.extend_from_slice(&u32::try_from(inner.len()).unwrap().to_be_bytes());
        out.extend_from_slice(inner);
        out
    }
    let mut inside = wrap("42007A01", &unhex(&head.concat()));
    for item in items {
        inside.extend(wrap("42000F01", &unhex(&item.concat())));
    }
    wrap("42007B01", &inside)
}

const VERSION: &str =
    "42006901 00000020 42006a02 00000004 00000001 00000000 42006b02 00000004 00000004 00000000";
const ONE: &str = "42000d02 00000004 00000001 00000000";
const TWO: &str = "42000d02 00000004 00000002 00000000";
const DECRYPT: &str = "42005c05 00000004 00000020 00000000";
const SUCCESS: &str = "42007f05 00000004 00000000 00000000";
const PAYLOAD: &str = "42007c01 00000010 4200C208 00000001 2A00000000000000";
const UNKNOWN: &str = "54000101 00000008 0000000000000000";
const TAG_UNKNOWN: &str = "54000105 00000004 00000009 00000000";

#[test]
fn what_a_server_may_and_may_not_answer() {
    let good: &[&str] = &[DECRYPT, SUCCESS, PAYLOAD];
    for (name, head, items, want) in [
        ("plain", &[VERSION, ONE][..], &[good][..], Ok(())),
        ("header out of order", &[ONE, VERSION], &[good], Ok(())),
        (
            "item out of order",
            &[VERSION, ONE],
            &[&[PAYLOAD, SUCCESS, DECRYPT]],
            Ok(()),
        ),
        (
            "unknown fields",
            &[TAG_UNKNOWN, VERSION, ONE],
            &[&[UNKNOWN, DECRYPT, SUCCESS, PAYLOAD]],
            Ok(()),
        ),
        (
            "no version",
            &[ONE],
            &[good],
            Err(KmipError::Missing(tags::PROTOCOL_VERSION)),
        ),
        (
            "no count",
            &[VERSION],
            &[good],
            Err(KmipError::Missing(tags::BATCH_COUNT)),
        ),
        (
            "two counts",
            &[VERSION, ONE, ONE],
            &[good],
            Err(KmipError::Duplicate(tags::BATCH_COUNT)),
        ),
        (
            "no items",
            &[VERSION, ONE],
            &[],
            Err(KmipError::BatchSize(0)),
        ),
        (
            "fewer items",
            &[VERSION, TWO],
            &[good],
            Err(KmipError::BatchCount {
                declared: 2,
                found: 1,
            }),
        ),
        (
            "more items",
            &[VERSION, ONE],
            &[good, good],
            Err(KmipError::BatchCount {
                declared: 1,
                found: 2,
            }),
        ),
        (
            "no status",
            &[VERSION, ONE],
            &[&[DECRYPT, PAYLOAD]],
            Err(KmipError::Missing(tags::RESULT_STATUS)),
        ),
        (
            "two payloads",
            &[VERSION, ONE],
            &[&[SUCCESS, PAYLOAD, PAYLOAD]],
            Err(KmipError::Duplicate(tags::RESPONSE_PAYLOAD)),
        ),
    ] {
        let bytes = response_of(head, items);
        let got = decode_response(&bytes).and_then(|message| {
            message
                .items
                .map(|item| item.map(drop))
                .collect::<Result<(), _>>()
        });
        assert_eq!(got, want, "{name}");
    }
    let request = batch_request(1);
    let want = KmipError::Unexpected {
        want: tags::RESPONSE_MESSAGE,
        got: tags::REQUEST_MESSAGE,
    };
    assert_eq!(decode_response(&request).err(), Some(want));
}

#[test]
fn a_missing_or_short_tag_is_an_error() {
    let field = tags::AUTHENTICATED_ENCRYPTION_TAG;
    let tag = [7; 16];
    for (tag, want) in [
        (None, Err(KmipError::Missing(field))),
        (
            Some(&tag[..4]),
            Err(KmipError::Length {
                tag: field,
                want: 16,
                got: 4,
            }),
        ),
        (Some(&tag[..]), Ok(&tag)),
    ] {
        let encrypted = Encrypted {
            unique_identifier: None,
            data: b"x",
            iv: None,
            tag,
        };
        assert_eq!(encrypted.gcm_tag(), want);
    }
}

#[test]
fn every_prefix_of_a_message_needs_more() {
    let bytes = batch_response(3, true);
    for seen in 0..bytes.len() {
        assert!(
            matches!(frame(&bytes[..seen]), Ok(Step::Need(1..))),
            "{seen} bytes"
        );
        assert!(decode_response(&bytes[..seen]).is_err(), "{seen} bytes");
    }
    assert_eq!(frame(&bytes), Ok(Step::Item(&bytes[..], bytes.len())));
}

/// Walks all that a message offers; the plaintexts found must lie inside it.
fn walk(bytes: &[u8]) -> usize {
    let mut seen = 0;
    if let Ok(message) = decode_response(bytes) {
        for item in message.items.flatten() {
            let Some(payload) = item.payload else {
                continue;
            };
            seen += Decrypted::decode(payload.clone()).map_or(0, |plain| plain.data.len());
            seen += usize::from(Encrypted::decode(payload.clone()).is_ok());
            seen += usize::from(KeyAttributes::decode(payload.clone()).is_ok());
            seen += Located::decode(payload).map_or(0, |l| l.unique_identifiers().count());
        }
    }
    if let Ok(message) = decode_request(bytes) {
        for item in message.items.flatten() {
            seen += usize::from(Decrypt::decode(item.payload.clone()).is_ok());
            seen += usize::from(Create::decode(item.payload.clone()).is_ok());
            seen += usize::from(Locate::decode(item.payload).is_ok());
        }
    }
    assert!(seen <= bytes.len());
    seen
}

#[test]
fn mutated_messages_neither_panic_nor_grow() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 33).unwrap() % below
    };
    for whole in [batch_request(4), batch_response(4, true)] {
        assert!(walk(&whole) > 0);
        for _ in 0..10_000 {
            let mut bytes = whole.clone();
            for _ in 0..=next(4) {
                let at = next(bytes.len());
                bytes[at] = u8::try_from(next(256)).unwrap();
            }
            bytes.truncate(bytes.len() - next(2) * next(64));
            let _ = check(&bytes);
            walk(&bytes);
        }
    }
}
