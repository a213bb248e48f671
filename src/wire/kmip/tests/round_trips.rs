//! decode(encode(x)) = x for every payload, in both forms of attributes.

use proptest::prelude::*;

use super::super::enums::{
    cryptographic_algorithm, cryptographic_usage_mask as mask, operation, state, validity_indicator,
};
use super::super::*;
use super::unhex;

pub(super) const VERSIONS: [ProtocolVersion; 4] = [
    ProtocolVersion::V1_2,
    ProtocolVersion::V1_4,
    ProtocolVersion::V2_0,
    ProtocolVersion::V2_1,
];

pub(super) fn request(version: ProtocolVersion, payload: RequestPayload<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let header = RequestHeader {
        version,
        maximum_response_size: Some(4096),
        credential: Some(Credential {
            username: "kms",
            password: Some("hunter2"),
        }),
    };
    encode_request(
        &mut out,
        &header,
        [Call {
            id: Some(9),
            payload,
        }],
    )
    .unwrap();
    out
}

pub(super) fn asked(bytes: &[u8]) -> RequestItem<'_> {
    let mut message = decode_request(bytes).unwrap();
    assert_eq!(message.maximum_response_size, Some(4096));
    let credential = message.credential.unwrap();
    assert_eq!(
        (credential.username, credential.password),
        ("kms", Some("hunter2"))
    );
    assert!(!format!("{credential:?}").contains("hunter2"));
    assert_eq!((message.continuation, message.ordered), (None, None));
    let item = message.items.next().unwrap().unwrap();
    assert_eq!(item.unique_batch_item_id, Some(&9_u64.to_be_bytes()[..]));
    item
}

pub(super) fn response(version: ProtocolVersion, payload: ReplyPayload<'_>) -> Vec<u8> {
    let reply = Reply {
        operation: Some(payload.operation()),
        unique_batch_item_id: Some(b"any id"),
        result: Ok(Some(payload)),
    };
    let mut out = Vec::new();
    encode_response(
        &mut out,
        ResponseHeader {
            version,
            time_stamp_unix_s: -5,
        },
        [reply],
    )
    .unwrap();
    out
}

pub(super) fn answered(bytes: &[u8]) -> Reader<'_> {
    let item = decode_response(bytes)
        .unwrap()
        .items
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(
        (item.unique_batch_item_id, item.id()),
        (Some(&b"any id"[..]), None)
    );
    item.need_payload().unwrap()
}

#[test]
fn requests_about_objects() {
    for version in VERSIONS {
        let create = Create::symmetric_key(
            "k",
            cryptographic_algorithm::AES,
            256,
            mask::ENCRYPT | mask::DECRYPT,
        );
        let bytes = request(version, RequestPayload::Create(create));
        assert_eq!(
            Create::decode(asked(&bytes).payload),
            Ok(create),
            "{version}"
        );

        let locate = Locate {
            maximum_items: Some(2),
            offset_items: Some(500),
            ..Locate::by_name("k")
        };
        let bytes = request(version, RequestPayload::Locate(locate));
        assert_eq!(
            Locate::decode(asked(&bytes).payload),
            Ok(locate),
            "{version}"
        );

        let attributes = &[tags::STATE, tags::NAME, tags::INITIAL_DATE];
        let get = GetAttributes {
            unique_identifier: Some("7"),
            attributes,
        };
        let bytes = request(version, RequestPayload::GetAttributes(get));
        let (object, wanted) = GetAttributes::decode(asked(&bytes).payload).unwrap();
        assert_eq!(object.need(), Ok("7"));
        assert_eq!(wanted.collect::<Vec<_>>(), attributes, "{version}");
    }
}

#[test]
fn requests_that_end_or_begin_a_key() {
    for version in VERSIONS {
        let revoke = Revoke {
            unique_identifier: Some("7"),
            reason_code: 5,
        };
        let bytes = request(version, RequestPayload::Revoke(revoke));
        assert_eq!(
            Revoke::decode(asked(&bytes).payload),
            Ok(revoke),
            "{version}"
        );

        let object = ObjectRef {
            unique_identifier: Some("7"),
        };
        for payload in [
            RequestPayload::Activate(object),
            RequestPayload::Destroy(object),
        ] {
            let bytes = request(version, payload);
            let item = asked(&bytes);
            assert_eq!(item.operation, payload.operation());
            assert_eq!(ObjectRef::decode(item.payload), Ok(object), "{version}");
        }
    }
}

/// The trees that `PyKMIP` took (Name and Template-Attribute, Attributes), byte for byte.
#[test]
fn locate_by_name_in_both_forms() {
    let name = "42005507 00000001 6B00000000000000 42005405 00000004 00000001 00000000";
    let v1 =
        format!("42000801 00000038 42000A07 00000004 4E616D6500000000 42000B01 00000020 {name}");
    let v2 = format!("42012501 00000028 42005301 00000020 {name}");
    for (version, want) in [(ProtocolVersion::V1_4, v1), (ProtocolVersion::V2_0, v2)] {
        let bytes = request(version, RequestPayload::Locate(Locate::by_name("k")));
        assert!(bytes.ends_with(&unhex(&want)), "{version}");
    }
}

#[test]
fn answers_about_objects_and_the_server() {
    let attributes = KeyAttributes {
        unique_identifier: Some("7"),
        object_type: Some(2),
        cryptographic_algorithm: Some(3),
        cryptographic_length: Some(256),
        cryptographic_usage_mask: Some(12),
        name: Some("k"),
        state: Some(state::ACTIVE),
        initial_date_unix_s: Some(1_700_000_000),
        activation_date_unix_s: Some(1_700_000_001),
        application: Some(ApplicationInformation {
            namespace: "ns",
            data: "a=1",
        }),
    };
    for version in VERSIONS {
        let bytes = response(version, ReplyPayload::GetAttributes(attributes));
        assert_eq!(
            KeyAttributes::decode(answered(&bytes)),
            Ok(attributes),
            "{version}"
        );

        for uids in [&[][..], &["1"], &["1", "2"]] {
            let bytes = response(version, ReplyPayload::Locate(uids));
            let located = Located::decode(answered(&bytes)).unwrap();
            assert_eq!(located.count, uids.len());
            assert_eq!(located.unique_identifiers().collect::<Vec<_>>(), uids);
        }

        let operations = &[operation::ENCRYPT, 0x8000_0001];
        let bytes = response(
            version,
            ReplyPayload::Query {
                operations,
                vendor: Some("ACME"),
            },
        );
        let answer = QueryAnswer::decode(answered(&bytes)).unwrap();
        assert_eq!(answer.operations().collect::<Vec<_>>(), operations);
        assert!(answer.supports(operation::ENCRYPT) && !answer.supports(operation::DECRYPT));
        assert_eq!(answer.vendor, Some("ACME"));

        let bytes = response(version, ReplyPayload::DiscoverVersions(&VERSIONS));
        let versions: Result<Vec<_>, _> = DiscoverVersions::decode(answered(&bytes)).collect();
        assert_eq!(versions.unwrap(), VERSIONS);

        for payload in [
            ReplyPayload::Create("7"),
            ReplyPayload::Activate("7"),
            ReplyPayload::Destroy("7"),
        ] {
            let bytes = response(version, payload);
            assert_eq!(ObjectRef::decode(answered(&bytes)).unwrap().need(), Ok("7"));
        }
    }
}

#[test]
fn questions_about_the_server() {
    let bytes = request(ProtocolVersion::V1_0, RequestPayload::Query(&[1, 3]));
    let functions: Result<Vec<_>, _> = Query::decode(asked(&bytes).payload).collect();
    assert_eq!(functions.unwrap(), [1, 3]);
    let bytes = request(
        ProtocolVersion::V1_0,
        RequestPayload::DiscoverVersions(&VERSIONS),
    );
    let versions: Result<Vec<_>, _> = DiscoverVersions::decode(asked(&bytes).payload).collect();
    assert_eq!(versions.unwrap(), VERSIONS);
}

#[test]
fn plaintexts_are_not_printed() {
    let encrypt = Encrypt {
        unique_identifier: None,
        parameters: None,
        data: b"hunter2",
        iv: None,
        associated_data: b"",
    };
    let decrypted = Decrypted {
        unique_identifier: None,
        data: b"hunter2",
    };
    let shown = format!("{encrypt:?} {decrypted:?}");
    assert!(
        !shown.contains("104") && !shown.contains("hunter2"),
        "{shown}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn crypt_payloads(
        uid in proptest::option::of("[a-z0-9-]{0,40}"), data: Vec<u8>, aad: Vec<u8>,
        iv: Option<[u8; 12]>, tag: Option<[u8; 16]>, gcm: bool, at in 0..VERSIONS.len(),
    ) {
        let version = VERSIONS[at];
        let parameters = gcm.then_some(GCM_PARAMETERS);
        let (uid, iv, tag) = (uid.as_deref(), iv.as_ref().map(|b| &b[..]), tag.as_ref().map(|b| &b[..]));
        let decrypt = Decrypt { unique_identifier: uid, parameters, data: &data, iv, associated_data: &aad, tag };
        let bytes = request(version, RequestPayload::Decrypt(decrypt));
        prop_assert_eq!(Decrypt::decode(asked(&bytes).payload), Ok(decrypt));
        let encrypt = Encrypt { unique_identifier: uid, parameters, data: &data, iv, associated_data: &aad };
        let bytes = request(version, RequestPayload::Encrypt(encrypt));
        prop_assert_eq!(Encrypt::decode(asked(&bytes).payload), Ok(encrypt));
        let encrypted = Encrypted { unique_identifier: uid, data: &data, iv, tag };
        let bytes = response(version, ReplyPayload::Encrypt(encrypted));
        prop_assert_eq!(Encrypted::decode(answered(&bytes)), Ok(encrypted));
        let decrypted = Decrypted { unique_identifier: uid, data: &data };
        let bytes = response(version, ReplyPayload::Decrypt(decrypted));
        prop_assert_eq!(Decrypted::decode(answered(&bytes)), Ok(decrypted));
    }
}

#[test]
fn macs_are_asked_for_and_verified() {
    let parameters = CryptographicParameters {
        cryptographic_algorithm: Some(cryptographic_algorithm::HMAC_SHA256),
        ..CryptographicParameters::default()
    };
    let mac = Mac {
        unique_identifier: Some("7"),
        parameters: Some(parameters),
        data: b"what it is over",
        mac: Some(&[5; 32]),
    };
    for version in VERSIONS {
        let bytes = request(version, RequestPayload::Mac(mac));
        let item = asked(&bytes);
        assert_eq!(item.operation, operation::MAC);
        let sent = Mac { mac: None, ..mac };
        assert_eq!(Mac::decode(item.payload), Ok(sent), "{version}");

        let bytes = request(version, RequestPayload::MacVerify(mac));
        let item = asked(&bytes);
        assert_eq!(item.operation, operation::MAC_VERIFY);
        assert_eq!(Mac::decode(item.payload), Ok(mac), "{version}");

        let made = MacMade {
            unique_identifier: Some("7"),
            mac: &[5; 32],
        };
        let bytes = response(version, ReplyPayload::Mac(made));
        assert_eq!(MacMade::decode(answered(&bytes)), Ok(made), "{version}");

        for validity in [validity_indicator::VALID, validity_indicator::INVALID] {
            let verified = MacVerified {
                unique_identifier: Some("7"),
                validity,
            };
            let bytes = response(version, ReplyPayload::MacVerify(verified));
            assert_eq!(MacVerified::decode(answered(&bytes)), Ok(verified));
            assert_eq!(
                MacMade::decode(answered(&bytes)),
                Err(KmipError::Missing(tags::MAC_DATA))
            );
        }
    }
    assert!(!format!("{mac:?}").contains("over"));
}
