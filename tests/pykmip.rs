//! The KMIP back end against a real `PyKMIP` server, TLS 1.2 with an ECDSA certificate.
//!
//! Needs a Python with pykmip 0.11.0: `KMS_TEST_PYKMIP`, or `target/test-tools/pykmip/bin/python`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use kms::hsm::kmip::{Address, KmipPlan, LOCKED_BYTES_PER_CONNECTION, Vault, start};
use kms::hsm::pool::{Pool, PoolPlan};
use kms::hsm::{Answer, Hsm, HsmError, Job, KeyState, ObjectId, Request};
use kms::net::tls::{HsmTrust, Identity, hsm_config};
use kms::secret::{Arena, ArenaPlan, Mode, SecretBytes};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{PrivateKeyDer, ServerName};

const LAUNCH: &str = "from kmip.services.server.server import main; main()";

struct Server {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its two helpers are its children; end each by its own id.
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let _ = self.child.kill();
        let _ = self.child.wait();
        for child in children.unwrap_or_default().split_whitespace() {
            let _ = Command::new("kill").args(["-9", child]).status();
        }
    }
}

fn python() -> PathBuf {
    let python = std::env::var_os("KMS_TEST_PYKMIP").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/pykmip/bin/python"),
        PathBuf::from,
    );
    assert!(
        python.exists(),
        "no PyKMIP at {}: run ./test",
        python.display()
    );
    python
}

fn leaf(name: &str, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let names = if name == "localhost" {
        vec!["localhost".to_owned(), "127.0.0.1".into()]
    } else {
        vec![]
    };
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params
}

fn serve() -> (Server, Pool) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_owned();
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "test CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let (server_key, client_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let server = leaf("localhost", ExtendedKeyUsagePurpose::ServerAuth).signed_by(&server_key, &ca);
    let client =
        leaf("kms-client", ExtendedKeyUsagePurpose::ClientAuth).signed_by(&client_key, &ca);
    fs::write(dir.join("ca.crt"), ca.pem()).unwrap();
    fs::write(dir.join("server.crt"), server.unwrap().pem()).unwrap();
    fs::write(dir.join("server.key"), server_key.serialize_pem()).unwrap();
    fs::create_dir(dir.join("policy")).unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let d = dir.display();
    let conf = format!(
        "[server]\nhostname=127.0.0.1\nport={port}\ncertificate_path={d}/server.crt\n\
         key_path={d}/server.key\nca_path={d}/ca.crt\nauth_suite=TLS1.2\npolicy_path={d}/policy\n\
         enable_tls_client_auth=True\nlogging_level=INFO\ndatabase_path={d}/pykmip.db\n"
    );
    fs::write(dir.join("server.conf"), conf).unwrap();
    let child = Command::new(python())
        .args(["-W", "ignore", "-c", LAUNCH, "-f"])
        .arg(dir.join("server.conf"))
        .arg("-l")
        .arg(dir.join("server.log"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = Server {
        child,
        _folder: folder,
    };
    // The process may live without listening, so the port is what is waited for.
    let limit = Instant::now() + Duration::from_mins(1);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < limit, "PyKMIP does not listen");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let identity = Identity {
        chain: vec![client.unwrap().der().clone()],
        key: PrivateKeyDer::try_from(client_key.serialize_der()).unwrap(),
    };
    let trust = HsmTrust {
        authorities: vec![ca.der().clone()],
        server_name: None,
        fingerprint: None,
    };
    let address = Address {
        host: "127.0.0.1".into(),
        port,
        server_name: ServerName::try_from("localhost").unwrap(),
    };
    let tls = hsm_config(&trust, Some(&identity)).unwrap();
    let plan = KmipPlan {
        addresses: vec![address],
        tls,
        login: None,
    };
    let sizes = PoolPlan {
        name: "kmip1",
        connections: 1,
        batch_max: 32,
        queue_max: 1000,
        connect_timeout: Duration::from_secs(10),
    };
    let arena = Arena::reserve(&ArenaPlan {
        key_bytes: 256 * 1024,
        large_count: 1,
        large_bytes: 4096,
        buffer_bytes: 4 * LOCKED_BYTES_PER_CONNECTION,
        mode: Some(Mode::Mlock),
    });
    (
        server,
        start(plan, sizes, Vault::new(arena.unwrap(), None)).unwrap(),
    )
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

#[test]
fn the_main_job_and_a_batch_with_two_failures() {
    let (_server, hsm) = serve();
    let name: Arc<str> = "demo".into();
    assert!(matches!(
        ask(
            &hsm,
            Request::Find {
                name: Arc::clone(&name)
            }
        ),
        Ok(Answer::Key(None))
    ));
    let created = ask(
        &hsm,
        Request::Create {
            name: Arc::clone(&name),
        },
    );
    let Ok(Answer::Key(Some(record))) = created else {
        panic!("{created:?} {:?}", hsm.health())
    };
    assert_eq!(record.versions[0].state, KeyState::Active);
    let again = ask(&hsm, Request::Create { name });
    let Ok(Answer::Key(Some(again))) = again else {
        panic!("{again:?}")
    };
    assert_eq!(again, record, "a second create answers the first");

    let object = record.versions[0].object.clone();
    let keys: Vec<Vec<u8>> = (0..32_u8).map(|n| vec![n; 32]).collect();
    let wraps = keys.iter().map(|key| Request::Encrypt {
        object: object.clone(),
        plaintext: SecretBytes::new(key.clone()),
        associated_data: b"aad".to_vec(),
    });
    let sealed: Vec<Vec<u8>> = ask_all(&hsm, wraps.collect())
        .into_iter()
        .map(|answer| match answer {
            Ok(Answer::Sealed(sealed)) => sealed,
            other => panic!("{other:?}"),
        })
        .collect();
    let mut unwraps: Vec<Request> = sealed
        .iter()
        .map(|sealed| decrypt(&object, sealed))
        .collect();
    let mut bad = sealed[2].clone();
    *bad.last_mut().unwrap() ^= 1;
    unwraps[2] = decrypt(&object, &bad);
    unwraps[5] = decrypt(&ObjectId("987654".into()), &sealed[5]);
    for (at, answer) in ask_all(&hsm, unwraps).into_iter().enumerate() {
        match (at, answer) {
            (2, answer) => assert_eq!(answer.unwrap_err(), HsmError::AuthenticationFailed),
            (5, answer) => assert_eq!(answer.unwrap_err(), HsmError::ObjectNotFound),
            (_, Ok(Answer::Plaintext(key))) => key.expose(|key| assert_eq!(key, keys[at], "{at}")),
            (_, other) => panic!("{at}: {other:?}"),
        }
    }
    assert!(hsm.health().up, "two failing items cost no connection");
}
