//! Messages that are in order, and pieces of them.

use kms::wire::kmip::enums::{cryptographic_algorithm, operation};
use kms::wire::kmip::{
    Call, Create, Credential, Decrypt, Decrypted, Encrypt, GCM_PARAMETERS, KeyAttributes, Locate,
    ObjectRef, ProtocolVersion, Reply, ReplyPayload, RequestHeader, RequestPayload, encode_request,
};

use super::{LENGTHS, OBJECT, answer_bytes, encode};

fn request_of(version: ProtocolVersion, payload: RequestPayload<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let credential = Some(Credential {
        username: "kms",
        password: Some("hunter2"),
    });
    let header = RequestHeader {
        version,
        maximum_response_size: Some(4096),
        credential,
    };
    encode_request(
        &mut out,
        &header,
        [Call {
            id: Some(1),
            payload,
        }],
    )
    .expect("a request");
    out
}

/// Requests that are in order.
pub fn request_seeds() -> Vec<Vec<u8>> {
    let unique_identifier = Some(OBJECT);
    let decrypt = Decrypt {
        unique_identifier,
        parameters: Some(GCM_PARAMETERS),
        data: &[1; 32],
        iv: Some(&[2; 12]),
        associated_data: b"ad",
        tag: Some(&[3; 16]),
    };
    let encrypt = Encrypt {
        unique_identifier,
        parameters: Some(GCM_PARAMETERS),
        data: &[1; 32],
        iv: Some(&[2; 12]),
        associated_data: b"",
    };
    let create = Create::symmetric_key("demo", cryptographic_algorithm::AES, 256, 12);
    let payloads = [
        RequestPayload::Query(&[1, 3]),
        RequestPayload::DiscoverVersions(&[ProtocolVersion::V2_1, ProtocolVersion::V1_4]),
        RequestPayload::Locate(Locate::by_name("demo")),
        RequestPayload::Create(create),
        RequestPayload::Activate(ObjectRef { unique_identifier }),
        RequestPayload::Encrypt(encrypt),
        RequestPayload::Decrypt(decrypt),
    ];
    let versions = [ProtocolVersion::V1_4, ProtocolVersion::V2_1];
    versions
        .into_iter()
        .flat_map(|version| payloads.map(|payload| request_of(version, payload)))
        .collect()
}

/// Answers that are in order: the first to [`super::hsm_batch`]'s questions.
pub fn response_seeds() -> Vec<Vec<u8>> {
    let attributes = KeyAttributes {
        name: Some("demo"),
        cryptographic_length: Some(256),
        ..KeyAttributes::default()
    };
    let mut all = vec![batch_answer()];
    all.extend(
        [
            ReplyPayload::Query {
                operations: &[1, 31, 32],
                vendor: Some("toy"),
            },
            ReplyPayload::DiscoverVersions(&[ProtocolVersion::V1_4]),
            ReplyPayload::Locate(&["a", "b"]),
            ReplyPayload::GetAttributes(attributes),
            ReplyPayload::Create("a"),
        ]
        .map(answer_bytes),
    );
    all
}

/// The honest answer to [`super::hsm_batch`]'s questions, and one with failures.
pub fn batch_seeds() -> Vec<Vec<u8>> {
    let ids = [1_u64, 2, 3, 4].map(u64::to_be_bytes);
    let failed = [0x0A, 0x100, 0x0C, 1]
        .into_iter()
        .zip(&ids)
        .map(|(reason, id)| Reply {
            operation: Some(operation::DECRYPT),
            unique_batch_item_id: Some(id),
            result: Err((reason, "no\nsuch")),
        });
    vec![batch_answer(), encode(&failed.collect::<Vec<_>>())]
}

fn batch_answer() -> Vec<u8> {
    let ids = [1_u64, 2, 3, 4].map(u64::to_be_bytes);
    let plain = [1, 2, 3, 4].map(|n| vec![0xa0 + n; LENGTHS[usize::from(n) - 1]]);
    let replies = ids.iter().zip(&plain).map(|(id, data)| {
        let decrypted = Decrypted {
            unique_identifier: Some(OBJECT),
            data,
        };
        let result = Ok(Some(ReplyPayload::Decrypt(decrypted)));
        Reply {
            operation: Some(operation::DECRYPT),
            unique_batch_item_id: Some(id),
            result,
        }
    });
    encode(&replies.collect::<Vec<_>>())
}

/// Words of the language: headers, ids, lengths.
pub const TOKENS: &[&[u8]] = &[
    b"\x42\x00\x0f\x01",
    b"\x42\x00\x93\x08\0\0\0\x08\0\0\0\0\0\0\0\x01",
    b"\x42\x00\x93\x08\0\0\0\x08\0\0\0\0\0\0\0\x02",
    b"\0\0\0\0\0\0\0\x01",
    b"\0\0\0\0\0\0\0\x02",
    b"\0\0\0\0\0\0\0\x03",
    b"\0\0\0\0\0\0\0\x09",
    b"\0\0\0\x08",
    b"\0\0\0\x20",
    b"\x42\x00\x7f\x05\0\0\0\x04\0\0\0\x01\0\0\0\0",
    b"\x42\x00\xc2\x08",
    b"uid-2",
    b"\x42\x00\x94\x07",
];
