//! What a peer may and may not send: odd, cut and mutated messages.

use super::super::*;
use super::{batch_request, batch_response, unhex};
use crate::wire::Step;
use crate::wire::ttlv::{check, frame};

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
    #[rustfmt::skip]
    let rows = [
        ("plain", &[VERSION, ONE][..], &[good][..], Ok(())),
        ("header out of order", &[ONE, VERSION], &[good], Ok(())),
        ("item out of order", &[VERSION, ONE], &[&[PAYLOAD, SUCCESS, DECRYPT]], Ok(())),
        ("unknown fields", &[TAG_UNKNOWN, VERSION, ONE], &[&[UNKNOWN, DECRYPT, SUCCESS, PAYLOAD]], Ok(())),
        ("no version", &[ONE], &[good], Err(KmipError::Missing(tags::PROTOCOL_VERSION))),
        ("no count", &[VERSION], &[good], Err(KmipError::Missing(tags::BATCH_COUNT))),
        ("two counts", &[VERSION, ONE, ONE], &[good], Err(KmipError::Duplicate(tags::BATCH_COUNT))),
        ("no items", &[VERSION, ONE], &[], Err(KmipError::BatchSize(0))),
        ("fewer items", &[VERSION, TWO], &[good], Err(KmipError::BatchCount { declared: 2, found: 1, })),
        ("more items", &[VERSION, ONE], &[good, good], Err(KmipError::BatchCount { declared: 1, found: 2, })),
        ("no status", &[VERSION, ONE], &[&[DECRYPT, PAYLOAD]], Err(KmipError::Missing(tags::RESULT_STATUS))),
        ("two payloads", &[VERSION, ONE], &[&[SUCCESS, PAYLOAD, PAYLOAD]], Err(KmipError::Duplicate(tags::RESPONSE_PAYLOAD))),
    ];
    for (name, head, items, want) in rows {
        let bytes = response_of(head, items);
        let got = decode_response(&bytes)
            .and_then(|message| { message }.items.try_for_each(|item| item.map(drop)));
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
            seen += names(payload.clone()).map_or(0, |names| names.len());
            seen += usize::from(ApplicationInformation::find(payload.clone(), "ns").is_ok());
            seen += RngRetrieved::decode(payload.clone()).map_or(0, |random| random.data.len());
            seen += Located::decode(payload).map_or(0, |l| l.unique_identifiers().count());
        }
    }
    if let Ok(message) = decode_request(bytes) {
        for item in message.items.flatten() {
            seen += usize::from(Decrypt::decode(item.payload.clone()).is_ok());
            seen += usize::from(Create::decode(item.payload.clone()).is_ok());
            seen += usize::from(AddAttribute::decode(item.payload.clone()).is_ok());
            seen += usize::from(ModifyAttribute::decode(item.payload.clone()).is_ok());
            seen += usize::from(RngRetrieve::decode(item.payload.clone()).is_ok());
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
    let settings = super::changes::modified(ProtocolVersion::V1_4);
    for whole in [batch_request(4), batch_response(4, true), settings] {
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
