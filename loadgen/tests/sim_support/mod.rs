//! A simulated HSM in this process, our own pool in front of it, and a bare KMIP client beside it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    missing_docs
)]

pub mod crowd;
pub mod program;
pub mod service;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use kms::hsm::kmip::{Address, KmipPlan, LOCKED_BYTES_PER_CONNECTION, start};
use kms::hsm::pool::{Pool, PoolPlan};
use kms::hsm::store::Store;
use kms::hsm::{Answer, ClientTag, Hsm as _, HsmError, Job, ObjectId, Request};
use kms::net::tls::{HsmTrust, Identity, hsm_config};
use kms::secret::{Arena, ArenaPlan, Mode, SecretBytes};
use kms::wire::kmip::{Call, ProtocolVersion, RequestHeader, RequestPayload, encode_request};
use kms_loadgen::sim::site::{Ports, Site};
use kms_loadgen::sim::tls::Shown;
use kms_loadgen::sim::{HsmPlan, Model, Preset, Running, Sim, SimPlan};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConnection, StreamOwned};

/// Longer than anything here takes, however busy the machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Bench {
    pub site: Site,
    pub sim: Running,
    pub folder: tempfile::TempDir,
}

/// A simulator with these numbers.
pub fn sim(model: Model, hsm: impl FnOnce(&std::path::Path) -> HsmPlan) -> Bench {
    sim_at("127.0.0.1:0".parse().unwrap(), model, hsm)
}

/// The same at this address.
pub fn sim_at(
    address: SocketAddr,
    model: Model,
    hsm: impl FnOnce(&std::path::Path) -> HsmPlan,
) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(&folder.path().join("site")).unwrap();
    let sim = Sim::bind(SimPlan {
        address,
        model,
        hsm: hsm(folder.path()),
        tls: Shown::from_dir(&site.file("")).unwrap(),
        control: None,
        faults: Vec::new(),
    })
    .unwrap();
    let sim = sim.spawn().unwrap();
    let ports = Ports {
        service: 1,
        health: 2,
    };
    site.write_properties(sim.address, ports).unwrap();
    Bench { site, sim, folder }
}

/// One without delays.
pub fn quick() -> Bench {
    sim(Preset::Null.model(), |_| HsmPlan::default())
}

impl Bench {
    pub fn order(&self, text: &str) -> String {
        let answer = self.sim.order(text).unwrap();
        assert!(!answer.starts_with("error"), "{text}: {answer}");
        answer
    }

    pub fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.order("status")).unwrap()
    }

    pub fn tls(&self) -> std::sync::Arc<rustls::ClientConfig> {
        let certificate = |name: &str| CertificateDer::from_pem_file(self.site.file(name)).unwrap();
        let identity = Identity {
            chain: vec![certificate("kmsClient.crt")],
            key: PrivateKeyDer::from_pem_file(self.site.file("kmsClient.key")).unwrap(),
        };
        let trust = HsmTrust {
            authorities: vec![certificate("ca.crt")],
            server_name: None,
            fingerprint: None,
        };
        hsm_config(&trust, Some(&identity)).unwrap()
    }

    pub fn pool(&self, connections: usize) -> Pool {
        self.pool_pipelined(connections, 1)
    }

    pub fn pool_pipelined(&self, connections: usize, pipeline_max: usize) -> Pool {
        let plan = KmipPlan {
            addresses: vec![Address {
                host: "127.0.0.1".into(),
                port: self.sim.address.port(),
                server_name: ServerName::try_from("localhost").unwrap(),
            }],
            tls: self.tls(),
            login: None,
            envelope: kms::hsm::Envelope::AesGcm,
        };
        let sizes = PoolPlan {
            name: "kmip1",
            connections,
            batch_max: 32,
            pipeline_max,
            queue_max: 1000,
            connect_timeout: Duration::from_secs(5),
        };
        let arena = Arena::reserve(&ArenaPlan {
            key_bytes: 128 * 1024,
            large_count: 1,
            large_bytes: 4096,
            buffer_bytes: (connections + 2) * LOCKED_BYTES_PER_CONNECTION,
            mode: Some(Mode::Mlock),
        });
        start(plan, sizes, Store::new(arena.unwrap(), None)).unwrap()
    }

    pub fn bare(&self) -> Bare {
        Bare::connect(self.sim.address, &self.tls()).unwrap()
    }
}

pub type Outcome = Result<Answer, HsmError>;

/// Submits all of them at once; the answers in the same order.
pub fn ask_all(hsm: &Pool, requests: Vec<Request>, within: Duration) -> Vec<Outcome> {
    let (tx, rx) = mpsc::channel();
    let count = requests.len();
    for (at, request) in requests.into_iter().enumerate() {
        let tx = tx.clone();
        let done = Box::new(move |result| tx.send((at, result)).unwrap());
        hsm.submit(Job {
            request,
            deadline: Instant::now() + within,
            client: ClientTag::default(),
            sent: None,
            done,
        });
    }
    let mut all: Vec<_> = (0..count)
        .map(|_| rx.recv_timeout(PATIENCE).unwrap())
        .collect();
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, result)| result).collect()
}

pub fn ask(hsm: &Pool, request: Request) -> Outcome {
    ask_all(hsm, vec![request], PATIENCE).remove(0)
}

pub fn find(name: &str) -> Request {
    Request::Find { name: name.into() }
}

/// The object of a key that exists.
pub fn object(hsm: &Pool, name: &str) -> ObjectId {
    match ask(hsm, find(name)) {
        Ok(Answer::Key(Some(record))) => record.versions[0].object.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

pub fn encrypt(object: &ObjectId, plaintext: &[u8]) -> Request {
    Request::Encrypt {
        object: object.clone(),
        plaintext: SecretBytes::new(plaintext.to_vec()),
        associated_data: b"aad".to_vec(),
    }
}

pub fn decrypt(object: &ObjectId, sealed: &[u8]) -> Request {
    Request::Decrypt {
        object: object.clone(),
        sealed: sealed.to_vec(),
        associated_data: b"aad".to_vec(),
    }
}

pub fn sealed(outcome: Outcome) -> Vec<u8> {
    match outcome {
        Ok(Answer::Sealed(sealed)) => sealed,
        other => panic!("{other:?}"),
    }
}

pub fn plain(outcome: Outcome) -> Result<Vec<u8>, HsmError> {
    match outcome? {
        Answer::Plaintext(key) => Ok(key.expose(<[u8]>::to_vec)),
        other => panic!("{other:?}"),
    }
}

/// `count` plaintexts and their ciphertexts.
pub fn wrapped(hsm: &Pool, object: &ObjectId, count: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
    let plains: Vec<Vec<u8>> = (0..count).map(|n| vec![n; 32]).collect();
    let wraps = plains.iter().map(|plain| encrypt(object, plain)).collect();
    let all = ask_all(hsm, wraps, PATIENCE).into_iter().map(sealed);
    plains.into_iter().zip(all).collect()
}

/// A KMIP client that checks nothing.
pub struct Bare {
    stream: StreamOwned<ClientConnection, TcpStream>,
    next_id: u64,
}

impl Bare {
    pub fn connect(
        address: SocketAddr,
        tls: &std::sync::Arc<rustls::ClientConfig>,
    ) -> std::io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(std::sync::Arc::clone(tls), name).unwrap();
        Ok(Self {
            stream: StreamOwned::new(tls, socket),
            next_id: 1,
        })
    }

    /// The answer's bytes to one message of these payloads.
    pub fn exchange(
        &mut self,
        version: ProtocolVersion,
        payloads: &[RequestPayload<'_>],
    ) -> std::io::Result<Vec<u8>> {
        self.send(version, payloads)?;
        self.receive()
    }

    pub fn send(
        &mut self,
        version: ProtocolVersion,
        payloads: &[RequestPayload<'_>],
    ) -> std::io::Result<()> {
        let first = self.next_id;
        self.next_id += payloads.len() as u64;
        let calls = payloads.iter().zip(first..).map(|(payload, id)| Call {
            id: Some(id),
            payload: *payload,
        });
        let mut message = Vec::new();
        let calls: Vec<_> = calls.collect();
        encode_request(&mut message, &RequestHeader::new(version), calls).unwrap();
        self.stream.write_all(&message)
    }

    pub fn receive(&mut self) -> std::io::Result<Vec<u8>> {
        let mut answer = vec![0; 8];
        self.stream.read_exact(&mut answer)?;
        let rest = u32::from_be_bytes(answer[4..8].try_into().unwrap());
        answer.resize(8 + rest as usize, 0);
        self.stream.read_exact(&mut answer[8..])?;
        Ok(answer)
    }

    /// How long the server keeps quiet, or why it does not.
    pub fn read_for(&mut self, patience: Duration) -> std::io::Result<()> {
        self.stream.sock.set_read_timeout(Some(patience))?;
        let mut byte = [0];
        self.stream.read_exact(&mut byte)
    }
}
