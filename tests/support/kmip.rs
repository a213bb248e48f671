//! The KMIP back end in front of a PyKMIP server of its own.

use std::fs;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use kms::hsm::kmip::{Address, KmipPlan, LOCKED_BYTES_PER_CONNECTION, start};
use kms::hsm::pool::{Pool, PoolPlan};
use kms::hsm::store::Store;
use kms::hsm::{Answer, Envelope, Hsm as _, HsmError, Job, KeyRecord, ObjectId, Request};
use kms::net::tls::{HsmTrust, Identity, hsm_config};
use kms::secret::{Arena, ArenaPlan, Mode, SecretBytes};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::pki::{CLIENT, KeyKind, Pki, SERVER};
use super::pykmip::{Hsm as PyKmip, python};

/// Connections that fit the arena at once.
const CONNECTIONS_MAX: usize = 10;

/// Makes an AES key of each name given, activated.
const MAKE: &str = r#"
import sys
from kmip.core import enums
from kmip.pie.client import ProxyKmipClient
port, cert, key, ca, *names = sys.argv[1:]
with ProxyKmipClient("127.0.0.1", int(port), cert, key, ca) as client:
    for name in names:
        client.activate(client.create(enums.CryptographicAlgorithm.AES, 256, name=name))
"#;

/// Says name and state of every object, one a line.
const SHOW: &str = r#"
import sys
from kmip.pie.client import ProxyKmipClient
port, cert, key, ca = sys.argv[1:]
with ProxyKmipClient("127.0.0.1", int(port), cert, key, ca) as client:
    for uid in client.locate():
        attributes = client.get_attributes(uid, ["Name", "State"])[1]
        values = [attribute.attribute_value for attribute in attributes]
        print("object", values[0].name_value.value, values[1].value.name)
"#;

pub struct Site {
    pub server: PyKmip,
    pub pki: Pki,
    pub tls: Arc<ClientConfig>,
    arena: &'static Arena,
    _folder: tempfile::TempDir,
}

impl Site {
    pub fn new(kind: KeyKind) -> Self {
        Self::over(kind, PyKmip::new)
    }

    /// In front of a server that speaks no newer KMIP.
    pub fn older(version_max: &'static str) -> Self {
        Self::over(KeyKind::P256, |pki| PyKmip::older(pki, version_max))
    }

    fn over(kind: KeyKind, server: impl FnOnce(&Pki) -> PyKmip) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::new(folder.path(), kind);
        pki.root("kmipSigningCA");
        pki.leaf("hsm", "kmipSigningCA", SERVER);
        pki.leaf("kmsClient", "kmipSigningCA", CLIENT);
        let mut server = server(&pki);
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
        let arena = Arena::reserve(&ArenaPlan {
            key_bytes: 256 * 1024,
            large_count: 1,
            large_bytes: 4096,
            buffer_bytes: CONNECTIONS_MAX * LOCKED_BYTES_PER_CONNECTION,
            mode: Some(Mode::Mlock),
        });
        Self {
            server,
            pki,
            tls,
            arena: arena.unwrap(),
            _folder: folder,
        }
    }

    /// One node's back end, with one connection.
    pub fn pool(&self) -> Pool {
        self.pool_of(Envelope::AesGcm)
    }

    /// The same with this envelope.
    pub fn pool_of(&self, envelope: Envelope) -> Pool {
        self.pool_sized(envelope, 32, 1)
    }

    /// The same with messages of so many items, so many of them under way together.
    pub fn pool_sized(&self, envelope: Envelope, batch_max: usize, pipeline_max: usize) -> Pool {
        let plan = KmipPlan {
            addresses: vec![Address {
                host: "127.0.0.1".into(),
                port: self.server.port,
                server_name: ServerName::try_from("localhost").unwrap(),
            }],
            tls: Arc::clone(&self.tls),
            login: None,
            envelope,
        };
        let sizes = PoolPlan {
            name: "kmip1",
            connections: 1,
            batch_max,
            pipeline_max,
            queue_max: 1000,
            connect_timeout: Duration::from_secs(20),
        };
        start(plan, sizes, Store::new(self.arena, None)).unwrap()
    }

    /// Runs a program of PyKMIP's own client, which is the keys' owner too: its arguments are port,
    /// certificate, key and CA, then `more`. Gives what it said.
    pub fn run_client(&self, program: &str, more: &[&str]) -> String {
        let port = self.server.port.to_string();
        let [cert, key, ca] =
            ["kmsClient.crt", "kmsClient.key", "kmipSigningCA.crt"].map(|file| self.pki.text(file));
        let mut args = vec!["-W", "ignore", "-c", program, &port, &cert, &key, &ca];
        args.extend(more);
        super::run(&self.pki.folder, python().to_str().unwrap(), &args)
    }

    /// Makes an active AES key of each of these names, as a tool of the site's own does.
    pub fn make(&self, names: &[&str]) {
        self.run_client(MAKE, names);
    }

    /// Name and state of every object, sorted.
    pub fn shown(&self) -> Vec<String> {
        let said = self.run_client(SHOW, &[]);
        let objects = said.lines().filter_map(|line| line.strip_prefix("object "));
        let mut objects: Vec<_> = objects.map(str::to_owned).collect();
        objects.sort();
        objects
    }
}

pub fn ask_all(hsm: &Pool, requests: Vec<Request>) -> Vec<Result<Answer, HsmError>> {
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

pub fn ask(hsm: &Pool, request: Request) -> Result<Answer, HsmError> {
    ask_all(hsm, vec![request]).remove(0)
}

/// Asks what is answered with a key's record.
pub fn about(hsm: &Pool, request: Request) -> Result<Option<Arc<KeyRecord>>, HsmError> {
    ask(hsm, request).map(|answer| match answer {
        Answer::Key(record) => record,
        other => panic!("{other:?}"),
    })
}

pub fn decrypt(object: &ObjectId, sealed: &[u8]) -> Request {
    Request::Decrypt {
        object: object.clone(),
        sealed: sealed.to_vec(),
        associated_data: b"aad".to_vec(),
    }
}

pub fn create(hsm: &Pool, name: &str) -> Arc<KeyRecord> {
    match ask(hsm, Request::Create { name: name.into() }) {
        Ok(Answer::Key(Some(record))) => record,
        other => panic!("{other:?} {:?}", hsm.health()),
    }
}

pub fn encrypt(object: &ObjectId, plaintext: Vec<u8>) -> Request {
    Request::Encrypt {
        object: object.clone(),
        plaintext: SecretBytes::new(plaintext),
        associated_data: b"aad".to_vec(),
    }
}

pub fn sealed(outcome: Result<Answer, HsmError>) -> Vec<u8> {
    match outcome {
        Ok(Answer::Sealed(sealed)) => sealed,
        other => panic!("{other:?}"),
    }
}
