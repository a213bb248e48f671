//! A real node in this process, its certificates, a client and a back end that obeys the test.
//!
//! Used by tests/service_*.rs. Nothing here sleeps: whoever waits, waits for a condition or a socket.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc
)]

pub mod client;
pub mod desk;
pub mod device_ca;
pub mod fake_hsm;
pub mod on_disk;
pub mod program;
pub mod scrape;
pub mod transit;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kms::cli::pki::{Authority, Issued, Leaf};
use kms::config::{self, Config};
use kms::hsm::Hsm;
use kms::keystore::{NewEntry, write_pkcs12};
use kms::node::{Deadlines, Node, Options, Site};
use kms::secret::SecretString;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use client::Client;
use fake_hsm::{FakeHsm, decrypt_body};

/// A test never waits longer for anything.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A key as `Authority` issues it.
pub fn private_key(issued: &Issued) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(issued.key_pkcs8_der.expose().to_vec()).into()
}

/// A folder with a keystore and a configuration, and who may connect.
pub struct House {
    pub dir: tempfile::TempDir,
    pub authority: Authority,
    pub device: Issued,
    pub backend: Issued,
    pub stranger: Issued,
    /// The authority by which clients know the node, if not `authority`.
    pub vouched_by: Option<Vec<u8>>,
}

impl House {
    pub fn build() -> Self {
        let authority = Authority::new("Test CA").unwrap();
        let issue = |common_name, sans: &[&str], server: bool| {
            authority
                .issue(&Leaf {
                    common_name,
                    sans,
                    server,
                    client: !server,
                    days: 2,
                })
                .unwrap()
        };
        let server = issue("kmsServer", &["localhost"], true);
        let device = issue("cmxDevice", &[], false);
        let backend = issue("cmxBackend", &[], false);
        let stranger = issue("stranger", &[], false);
        let dir = tempfile::tempdir().unwrap();
        let key = private_key(&server);
        let der = |bytes: &[u8]| CertificateDer::from(bytes.to_vec());
        let chain = [der(&server.cert_der)];
        let (device_cert, backend_cert) = (der(&device.cert_der), der(&backend.cert_der));
        let entries = [
            NewEntry::Key {
                alias: "kmsServer",
                key: &key,
                chain: &chain,
            },
            NewEntry::Trusted {
                alias: "cmxDevice",
                certificate: &device_cert,
            },
            NewEntry::Trusted {
                alias: "cmxBackend",
                certificate: &backend_cert,
            },
        ];
        let bytes = write_pkcs12(&entries, &SecretString::new("secret".to_owned())).unwrap();
        std::fs::write(dir.path().join("store.p12"), bytes).unwrap();
        Self {
            dir,
            authority,
            device,
            backend,
            stranger,
            vouched_by: None,
        }
    }

    /// The text of kms.properties, with `more` lines; a key in both is taken from `more`.
    #[allow(clippy::unused_self)] // Reads as the site's, and will need its folder.
    pub fn properties(&self, more: &str) -> String {
        let name = |line: &str| line.split('=').next().unwrap_or_default().to_owned();
        let set: Vec<String> = more.lines().map(name).collect();
        let base = "kms.server.address=127.0.0.1\nkms.server.port=0\nkms.health.address=127.0.0.1:0\n\
            kms.keystore.file=store.p12\nkms.keystore.password=secret\nkms.server.alias=kmsServer\n\
            kms.hsm.protocol=EMBEDDED\nkms.hsm.embedded.file=master.keys\n\
            kms.hsm.embedded.passphrase=a passphrase of some length\nkms.threads=2\n\
            kms.handshake.threads=1\nkms.cache.entries.max=1000\nkms.request.body.max=64 KiB\n\
            kms.connections.max=64";
        let kept = base.lines().filter(|line| !set.contains(&name(line)));
        kept.chain(more.lines()).collect::<Vec<_>>().join("\n") + "\n"
    }

    pub fn config(&self, more: &str) -> Config {
        let file = self.dir.path().join("kms.properties");
        match config::parse(&file, self.properties(more).as_bytes(), []) {
            Ok(loaded) => loaded.config,
            Err(error) => panic!("{error}"),
        }
    }
}

/// How quickly a test's peers are given up on.
pub fn impatient() -> Deadlines {
    Deadlines {
        handshake: Duration::from_millis(300),
        receive: Duration::from_millis(300),
        idle: Duration::from_millis(300),
        send: Duration::from_millis(300),
        sweep_every: Duration::from_millis(50),
        grace: Duration::ZERO,
    }
}

/// A running node.
pub struct Running {
    pub house: House,
    pub node: Node,
    pub hsm: Option<Arc<FakeHsm>>,
}

impl Running {
    /// With the embedded back end.
    pub fn embedded(more: &str) -> Self {
        let house = House::build();
        let deadlines = Deadlines {
            grace: Duration::ZERO,
            ..Deadlines::default()
        };
        let options = Options {
            deadlines,
            ..Options::default()
        };
        let node = Node::start(&house.config(more), options).expect("start");
        Self {
            house,
            node,
            hsm: None,
        }
    }

    /// With a [`FakeHsm`] that holds the key `k`.
    pub fn fake(more: &str, deadlines: Deadlines) -> Self {
        let house = House::build();
        let mut made = None;
        let make = |site: &Site<'_>| {
            let fake = FakeHsm::new(site.arena);
            made = Some(Arc::clone(&fake));
            Ok(fake as Arc<dyn Hsm>)
        };
        let options = Options {
            deadlines,
            ..Options::default()
        };
        let node = Node::start_on(&house.config(more), options, make).expect("start");
        Self {
            house,
            node,
            hsm: made,
        }
    }

    pub fn hsm(&self) -> &FakeHsm {
        self.hsm.as_ref().expect("a fake back end")
    }

    pub fn address(&self) -> SocketAddr {
        self.node.address()
    }

    /// Connects as a device.
    pub fn device(&self) -> Client {
        Client::connect(&self.house, Some(&self.house.device), self.address()).expect("connect")
    }

    /// Connects as the back end, which may do everything.
    pub fn backend(&self) -> Client {
        Client::connect(&self.house, Some(&self.house.backend), self.address()).expect("connect")
    }

    /// As [`Running::stop`], for whoever looks at the folder afterwards.
    pub fn stop_and_keep(self) -> House {
        self.node.drain_and_stop();
        self.house
    }

    /// Stops the node while its last clients are still there, as SIGTERM does.
    pub fn stop(self) {
        self.node.drain_and_stop();
    }
}

/// Waits until `condition` holds; yields in between.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// A file of the house.
pub fn file(house: &House, name: &str) -> std::path::PathBuf {
    Path::new(house.dir.path()).join(name)
}

pub const DECRYPT: &str = "/v1/transit/decrypt/k";
pub const ENCRYPT: &str = "/v1/transit/encrypt/k";

/// The usual deadlines, and no grace for idle connections at the end.
pub fn unhurried() -> Deadlines {
    Deadlines {
        grace: Duration::ZERO,
        ..Deadlines::default()
    }
}

pub fn holding(more: &str, deadlines: Deadlines) -> Running {
    let running = Running::fake(more, deadlines);
    assert_eq!(
        running
            .device()
            .post(DECRYPT, &decrypt_body(b"first"))
            .status,
        200
    );
    running.hsm().hold();
    running
}
