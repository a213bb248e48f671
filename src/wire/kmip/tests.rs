//! Bytes against other people's, refusals, and mutated messages.
#![allow(clippy::unwrap_used)]

mod changes;
mod hostile;
mod round_trips;

// One set of serde types for the second opinion and for the benchmark.
#[allow(dead_code)]
#[path = "../../../bench/src/ttlv/peer.rs"]
mod peer;

use super::enums::{operation, query_function, result_reason, result_status};
use super::*;
use crate::wire::ttlv::Fixed;
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
pub(super) fn batch_response(count: u8, failures: bool) -> Vec<u8> {
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

/// The 120 bytes that a `PyKMIP` server answers.
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
