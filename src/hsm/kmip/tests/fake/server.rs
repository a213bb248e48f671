//! The fake HSM's answers as bytes, and its TLS server on loopback.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;

use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::super::super::{Address, KmipPlan, Login};
use super::{Act, Payload, Said, World, cipher, tag};
use crate::net::pipe::{Pipe, SCRATCH_BYTES_MIN};
use crate::net::tls::{HsmTrust, hsm_config};
use crate::wire::Step;
use crate::wire::kmip::{
    ApplicationInformation, Decrypted, Encrypt, Encrypted, KeyAttributes, ProtocolVersion, Reply,
    ReplyPayload, ResponseHeader, RngRetrieved, decode_request, encode_response,
};
use crate::wire::ttlv;

/// The bytes of an answer. Encrypt's tag needs its request, and comes from `frame`.
fn encode(version: ProtocolVersion, operations: &[u32], said: &[Said], frame: &[u8]) -> Vec<u8> {
    let uids: Vec<Vec<&str>> = said
        .iter()
        .map(|said| match &said.result {
            Ok(Payload::Uids(uids)) => uids.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        })
        .collect();
    let tags: Vec<[u8; 16]> = decode_request(frame)
        .unwrap()
        .items
        .map(|item| match Encrypt::decode(item.unwrap().payload) {
            Ok(asked) => tag(
                &cipher(asked.data),
                asked.iv.unwrap_or_default(),
                asked.associated_data,
            ),
            Err(_) => [0; 16],
        })
        .collect();
    let replies = said.iter().enumerate().map(|(at, said)| Reply {
        operation: said.operation,
        unique_batch_item_id: said.id.as_deref(),
        result: match &said.result {
            Err((reason, text)) => Err((*reason, text.as_str())),
            Ok(Payload::None) => Ok(None),
            Ok(payload) => Ok(Some(reply(payload, &uids[at], operations, tags.get(at)))),
        },
    });
    let mut out = Vec::new();
    let header = ResponseHeader {
        version,
        time_stamp_unix_s: 1,
    };
    encode_response(&mut out, header, replies).unwrap();
    out
}

fn reply<'a>(
    payload: &'a Payload,
    uids: &'a [&'a str],
    operations: &'a [u32],
    tag: Option<&'a [u8; 16]>,
) -> ReplyPayload<'a> {
    match payload {
        Payload::None | Payload::Query => ReplyPayload::Query {
            operations,
            vendor: Some("fake"),
        },
        Payload::Versions(versions) => ReplyPayload::DiscoverVersions(versions),
        Payload::Uids(_) => ReplyPayload::Locate(uids),
        Payload::Attributes(key) => ReplyPayload::GetAttributes(KeyAttributes {
            unique_identifier: Some(&key.uid),
            cryptographic_algorithm: Some(key.algorithm),
            cryptographic_usage_mask: Some(key.usage),
            state: Some(key.state),
            name: Some(&key.name),
            application: key
                .application
                .as_ref()
                .map(|(namespace, data)| ApplicationInformation { namespace, data }),
            initial_date_unix_s: Some(77),
            activation_date_unix_s: key.activation,
            ..KeyAttributes::default()
        }),
        Payload::Created(uid) => ReplyPayload::Create(uid),
        Payload::Changed(uid) => ReplyPayload::Activate(uid),
        Payload::Random(data) => ReplyPayload::RngRetrieve(RngRetrieved { data }),
        Payload::Encrypted { uid, data } => ReplyPayload::Encrypt(Encrypted {
            unique_identifier: Some(uid),
            data,
            iv: None,
            tag: tag.map(|tag| &tag[..]),
        }),
        Payload::Decrypted { uid, data } => ReplyPayload::Decrypt(Decrypted {
            unique_identifier: Some(uid),
            data,
        }),
    }
}

/// A running HSM; its threads end with their connections.
pub(in super::super) struct FakeHsm {
    pub(in super::super) world: Arc<Mutex<World>>,
    port: u16,
    authority: CertificateDer<'static>,
}

impl FakeHsm {
    pub(in super::super) fn start(world: World) -> Self {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &ca).unwrap().der().clone();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let tls = Arc::new(tls);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let world = Arc::new(Mutex::new(world));
        let shared = Arc::clone(&world);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                shared.lock().connections += 1;
                let pipe = Pipe::server(Arc::clone(&tls), socket.unwrap()).unwrap();
                let world = Arc::clone(&shared);
                std::thread::spawn(move || serve(pipe, &world));
            }
        });
        Self {
            world,
            port,
            authority: ca.der().clone(),
        }
    }

    pub(in super::super) fn plan(&self, login: Option<Login>) -> KmipPlan {
        let trust = HsmTrust {
            authorities: vec![self.authority.clone()],
            server_name: None,
            fingerprint: None,
        };
        KmipPlan {
            addresses: vec![Address {
                host: "127.0.0.1".into(),
                port: self.port,
                server_name: ServerName::try_from("localhost").unwrap(),
            }],
            tls: hsm_config(&trust, None).unwrap(),
            login,
            envelope: crate::hsm::Envelope::AesGcm,
        }
    }
}

fn serve(mut pipe: Pipe<TcpStream>, world: &Mutex<World>) {
    let mut scratch = vec![0; SCRATCH_BYTES_MIN];
    let mut inbound = Vec::new();
    loop {
        let received = pipe.receive(&mut scratch, |plain| inbound.extend_from_slice(plain));
        let ended = received.is_err() || received.is_ok_and(|r| r.closed);
        if pipe.flush().is_err() || ended {
            return;
        }
        while let Ok(Step::Item(_, used)) = ttlv::frame(&inbound) {
            let frame: Vec<u8> = inbound.drain(..used).collect();
            let act = {
                let mut world = world.lock();
                let (version, mut said) = world.answer(&frame);
                let operations = world.operations.clone();
                let honest = encode(version, &operations, &said, &frame);
                match (world.lie)(&mut said, &honest) {
                    Act::Send => Act::Bytes(encode(version, &operations, &said, &frame)),
                    act => act,
                }
            };
            match act {
                Act::Send => unreachable!(),
                Act::Bytes(bytes) => pipe.send(&bytes).unwrap(),
                Act::BytesThenEnd(bytes) => {
                    pipe.send(&bytes).unwrap();
                    pipe.flush().unwrap();
                    return end(&mut pipe);
                }
                Act::Hang => {}
                Act::End => return end(&mut pipe),
            }
            if pipe.flush().is_err() {
                return;
            }
        }
    }
}

fn end(pipe: &mut Pipe<TcpStream>) {
    drop(pipe.stream_mut().flush());
    drop(pipe.stream_mut().shutdown(Shutdown::Both));
}
