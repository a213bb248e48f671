//! The KMIP back end against a real PyKMIP server: the stock one (TLS 1.2, ECDSA certificate) and,
//! through our launcher, TLS 1.3 with an RSA certificate.
//!
//! Needs a Python with pykmip: `./test install` makes it; without it these tests fail and say so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::doc_markdown,
    missing_docs
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use kms::hsm::{Answer, Envelope, Hsm as _, HsmError, KeyState, ObjectId, Request};
use kms::wire::kmip::{
    Call, Decrypt, Decrypted, GCM_PARAMETERS, ProtocolVersion, RequestHeader, RequestPayload,
    decode_response, encode_request,
};
use rustls::pki_types::ServerName;
use support::kmip::{Site, ask, ask_all, create, decrypt, encrypt, sealed};
use support::pki::KeyKind;

/// Another client of the same owner, PyKMIP's own: makes a key of argument 5's name, never activated.
const OTHER_CLIENT: &str = r#"
import sys
from kmip.core import enums
from kmip.pie.client import ProxyKmipClient
port, cert, key, ca, name = sys.argv[1:]
with ProxyKmipClient("127.0.0.1", int(port), cert, key, ca) as client:
    print(client.create(enums.CryptographicAlgorithm.AES, 256, name=name))
"#;

/// A key made by another client; its identifier.
fn made_elsewhere(site: &Site, name: &str) -> ObjectId {
    let said = site.run_client(OTHER_CLIENT, &[name]);
    // Warnings may follow.
    let uid = said.lines().next().unwrap();
    ObjectId(uid.into())
}

fn main_job(kind: KeyKind, tls: &str) {
    let site = Site::new(kind);
    let hsm = site.pool();
    let name: Arc<str> = "demo".into();
    let find = || Request::Find {
        name: Arc::clone(&name),
    };
    assert!(matches!(ask(&hsm, find()), Ok(Answer::Key(None))), "{tls}");
    let record = create(&hsm, "demo");
    assert_eq!(record.versions[0].state, KeyState::Active);
    assert_eq!(
        create(&hsm, "demo"),
        record,
        "a second create answers the first"
    );
    let Ok(Answer::Key(found)) = ask(&hsm, find()) else {
        panic!("find after create")
    };
    assert_eq!(found, Some(Arc::clone(&record)));

    let object = record.versions[0].object.clone();
    let keys: Vec<Vec<u8>> = (0..32_u8).map(|n| vec![n; 32]).collect();
    let wraps = keys.iter().map(|key| encrypt(&object, key.clone()));
    let wrapped: Vec<Vec<u8>> = ask_all(&hsm, wraps.collect())
        .into_iter()
        .map(sealed)
        .collect();
    let mut unwraps: Vec<Request> = wrapped.iter().map(|one| decrypt(&object, one)).collect();
    let mut bad = wrapped[2].clone();
    *bad.last_mut().unwrap() ^= 1;
    unwraps[2] = decrypt(&object, &bad);
    unwraps[5] = decrypt(&ObjectId("987654".into()), &wrapped[5]);
    // Once more in messages of four, of which four are under way together.
    let pipelined = site.pool_sized(Envelope::AesGcm, 4, 4);
    let answers = [ask_all(&hsm, unwraps.clone()), ask_all(&pipelined, unwraps)];
    for (at, answer) in answers
        .into_iter()
        .flat_map(|all| all.into_iter().enumerate())
    {
        match (at, answer) {
            (2, answer) => assert_eq!(answer.unwrap_err(), HsmError::AuthenticationFailed),
            (5, answer) => assert_eq!(answer.unwrap_err(), HsmError::ObjectNotFound),
            (_, Ok(Answer::Plaintext(key))) => key.expose(|key| assert_eq!(key, keys[at], "{at}")),
            (_, other) => panic!("{at}: {other:?}"),
        }
    }
    let both_up = hsm.health().up && pipelined.health().up;
    assert!(both_up, "two failing items cost no connection");
    let mut socket = TcpStream::connect(("127.0.0.1", site.server.port)).unwrap();
    let mut raw = rustls::ClientConnection::new(site.tls, "localhost".try_into().unwrap()).unwrap();
    while raw.is_handshaking() {
        raw.complete_io(&mut socket).unwrap();
    }
    assert_eq!(format!("{:?}", raw.protocol_version().unwrap()), tls);
}

#[test]
fn the_main_job_over_tls_1_2_with_ecdsa() {
    main_job(KeyKind::P256, "TLSv1_2");
}

#[test]
fn the_main_job_over_tls_1_3_with_rsa() {
    main_job(KeyKind::Rsa2048, "TLSv1_3");
}

#[test]
fn names_and_states_made_by_another_client() {
    let site = Site::new(KeyKind::P256);
    let hsm = site.pool();
    for _ in 0..2 {
        made_elsewhere(&site, "twice");
    }
    for request in [
        Request::Find {
            name: "twice".into(),
        },
        Request::Create {
            name: "twice".into(),
        },
    ] {
        let error = ask(&hsm, request).unwrap_err();
        assert_eq!(error, HsmError::AmbiguousName { count: 2 });
    }

    let asleep = made_elsewhere(&site, "asleep");
    let state = KeyState::PreActive;
    for request in [encrypt(&asleep, vec![1; 32]), decrypt(&asleep, &[1; 60])] {
        assert_eq!(
            ask(&hsm, request).unwrap_err(),
            HsmError::NotActive { state }
        );
    }
    let Ok(Answer::Key(Some(found))) = ask(
        &hsm,
        Request::Find {
            name: "asleep".into(),
        },
    ) else {
        panic!("a key that is not active is found")
    };
    assert_eq!(found.versions[0].state, state);
    // As after a crash between Create and Activate: the next create finishes it.
    let record = create(&hsm, "asleep");
    assert_eq!(
        (&record.versions[0].object, record.versions[0].state),
        (&asleep, KeyState::Active)
    );
    sealed(ask(&hsm, encrypt(&asleep, vec![1; 32])));
}

/// Asks PyKMIP itself, without our checks.
fn ask_bare(site: &Site, decrypt: Decrypt<'_>) -> Option<Vec<u8>> {
    let socket = TcpStream::connect(("127.0.0.1", site.server.port)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let tls = rustls::ClientConnection::new(Arc::clone(&site.tls), name).unwrap();
    let mut stream = rustls::StreamOwned::new(tls, socket);
    let mut message = Vec::new();
    let header = RequestHeader::new(ProtocolVersion::V1_4);
    let payload = RequestPayload::Decrypt(decrypt);
    encode_request(
        &mut message,
        &header,
        [Call {
            id: Some(1),
            payload,
        }],
    )
    .unwrap();
    stream.write_all(&message).unwrap();
    let mut answer = vec![0; 8];
    stream.read_exact(&mut answer).unwrap();
    let rest = u32::from_be_bytes(answer[4..8].try_into().unwrap());
    answer.resize(8 + rest as usize, 0);
    stream.read_exact(&mut answer[8..]).unwrap();
    let item = decode_response(&answer)
        .unwrap()
        .items
        .next()
        .unwrap()
        .unwrap();
    let payload = item.payload.filter(|_| item.status == 0)?;
    Some(Decrypted::decode(payload).unwrap().data.to_vec())
}

#[test]
fn a_cut_tag_is_refused_although_the_server_would_take_it() {
    let site = Site::new(KeyKind::P256);
    let hsm = site.pool();
    let object = create(&hsm, "demo").versions[0].object.clone();
    for len in [4_usize, 32] {
        let plain = vec![7; len];
        let whole = sealed(ask(&hsm, encrypt(&object, plain.clone())));
        let cut = whole.len() - 12;
        let refused = ask(&hsm, decrypt(&object, &whole[..cut])).map(drop);
        assert_eq!(refused, Err(HsmError::AuthenticationFailed), "{len} bytes");
        let bare = ask_bare(
            &site,
            Decrypt {
                unique_identifier: Some(&object.0),
                parameters: Some(GCM_PARAMETERS),
                data: &whole[12..12 + len],
                iv: Some(&whole[..12]),
                associated_data: b"aad",
                tag: Some(&whole[12 + len..cut]),
            },
        );
        assert_eq!(bare, Some(plain), "the server takes a tag of 4 bytes");
    }
}
