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

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use kms::hsm::kmip::{Address, KmipPlan, LOCKED_BYTES_PER_CONNECTION, start};
use kms::hsm::pool::{Pool, PoolPlan};
use kms::hsm::store::Store;
use kms::hsm::{Answer, Hsm as _, HsmError, Job, KeyRecord, KeyState, ObjectId, Request};
use kms::net::tls::{HsmTrust, Identity, hsm_config};
use kms::secret::{Arena, ArenaPlan, Mode, SecretBytes};
use kms::wire::kmip::{
    Call, Decrypt, Decrypted, GCM_PARAMETERS, ProtocolVersion, RequestHeader, RequestPayload,
    decode_response, encode_request,
};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use support::pki::{CLIENT, KeyKind, Pki, SERVER};
use support::pykmip::{Hsm as PyKmip, python};

/// Another client of the same owner, PyKMIP's own: makes a key of argument 5's name, never activated.
const OTHER_CLIENT: &str = r#"
import sys
from kmip.core import enums
from kmip.pie.client import ProxyKmipClient
port, cert, key, ca, name = sys.argv[1:]
with ProxyKmipClient("127.0.0.1", int(port), cert, key, ca) as client:
    print(client.create(enums.CryptographicAlgorithm.AES, 256, name=name))
"#;

struct Site {
    server: PyKmip,
    pki: Pki,
    tls: Arc<ClientConfig>,
    _folder: tempfile::TempDir,
}

impl Site {
    fn new(kind: KeyKind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::new(folder.path(), kind);
        pki.root("kmipSigningCA");
        pki.leaf("hsm", "kmipSigningCA", SERVER);
        pki.leaf("kmsClient", "kmipSigningCA", CLIENT);
        let mut server = PyKmip::new(&pki);
        server.start();
        let certificate = |name: &str| {
            let pem = fs::read(pki.path(&format!("{name}.crt"))).unwrap();
            CertificateDer::from_pem_slice(&pem).unwrap()
        };
        let identity = Identity {
            chain: vec![certificate("kmsClient")],
            key: PrivateKeyDer::from_pem_file(pki.path("kmsClient.key")).unwrap(),
        };
        let trust = HsmTrust {
            authorities: vec![certificate("kmipSigningCA")],
            server_name: None,
            fingerprint: None,
        };
        let tls = hsm_config(&trust, Some(&identity)).unwrap();
        Self {
            server,
            pki,
            tls,
            _folder: folder,
        }
    }

    fn pool(&self) -> Pool {
        let plan = KmipPlan {
            addresses: vec![Address {
                host: "127.0.0.1".into(),
                port: self.server.port,
                server_name: ServerName::try_from("localhost").unwrap(),
            }],
            tls: Arc::clone(&self.tls),
            login: None,
        };
        let sizes = PoolPlan {
            name: "kmip1",
            connections: 1,
            batch_max: 32,
            queue_max: 1000,
            connect_timeout: Duration::from_secs(20),
        };
        let arena = Arena::reserve(&ArenaPlan {
            key_bytes: 256 * 1024,
            large_count: 1,
            large_bytes: 4096,
            buffer_bytes: 4 * LOCKED_BYTES_PER_CONNECTION,
            mode: Some(Mode::Mlock),
        });
        start(plan, sizes, Store::new(arena.unwrap(), None)).unwrap()
    }

    /// A key made by another client; its identifier.
    fn made_elsewhere(&self, name: &str) -> ObjectId {
        let port = self.server.port.to_string();
        let [cert, key, ca] =
            ["kmsClient.crt", "kmsClient.key", "kmipSigningCA.crt"].map(|file| self.pki.text(file));
        let args = [
            "-W",
            "ignore",
            "-c",
            OTHER_CLIENT,
            &port,
            &cert,
            &key,
            &ca,
            name,
        ];
        let said = support::run(&self.pki.folder, python().to_str().unwrap(), &args);
        // Warnings may follow.
        let uid = said.lines().next().unwrap();
        ObjectId(uid.into())
    }
}

fn ask_all(hsm: &Pool, requests: Vec<Request>) -> Vec<Result<Answer, HsmError>> {
    let (tx, rx) = mpsc::channel();
    let count = requests.len();
    for (at, request) in requests.into_iter().enumerate() {
        let tx = tx.clone();
        let done = Box::new(move |result| tx.send((at, result)).unwrap());
        hsm.submit(Job {
            request,
            deadline: Instant::now() + Duration::from_secs(30),
            client: kms::hsm::ClientTag::default(),
            sent: None,
            done,
        });
    }
    let mut all: Vec<_> = (0..count).map(|_| rx.recv().unwrap()).collect();
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, result)| result).collect()
}

fn ask(hsm: &Pool, request: Request) -> Result<Answer, HsmError> {
    ask_all(hsm, vec![request]).remove(0)
}

fn decrypt(object: &ObjectId, sealed: &[u8]) -> Request {
    Request::Decrypt {
        object: object.clone(),
        sealed: sealed.to_vec(),
        associated_data: b"aad".to_vec(),
    }
}

fn create(hsm: &Pool, name: &str) -> Arc<KeyRecord> {
    match ask(hsm, Request::Create { name: name.into() }) {
        Ok(Answer::Key(Some(record))) => record,
        other => panic!("{other:?} {:?}", hsm.health()),
    }
}

fn encrypt(object: &ObjectId, plaintext: Vec<u8>) -> Request {
    Request::Encrypt {
        object: object.clone(),
        plaintext: SecretBytes::new(plaintext),
        associated_data: b"aad".to_vec(),
    }
}

fn sealed(outcome: Result<Answer, HsmError>) -> Vec<u8> {
    match outcome {
        Ok(Answer::Sealed(sealed)) => sealed,
        other => panic!("{other:?}"),
    }
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
    for (at, answer) in ask_all(&hsm, unwraps).into_iter().enumerate() {
        match (at, answer) {
            (2, answer) => assert_eq!(answer.unwrap_err(), HsmError::AuthenticationFailed),
            (5, answer) => assert_eq!(answer.unwrap_err(), HsmError::ObjectNotFound),
            (_, Ok(Answer::Plaintext(key))) => key.expose(|key| assert_eq!(key, keys[at], "{at}")),
            (_, other) => panic!("{at}: {other:?}"),
        }
    }
    assert!(hsm.health().up, "two failing items cost no connection");
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
        site.made_elsewhere("twice");
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

    let asleep = site.made_elsewhere("asleep");
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
