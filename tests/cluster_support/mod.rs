//! The shared cache as a library: nodes of a cluster in this process, in front of real servers of Redis.
#![allow(dead_code)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use kms::cluster::wrapped::{self, Wrapped};
use kms::cluster::{
    Access, Cluster, ClusterPlan, Events, Found, KeyWrap, Mode, Named, Place, Tools, What,
    WrapError,
};
use kms::net::tls::{HsmTrust, Identity, hsm_config};
use kms::secret::{
    Arena, ArenaPlan, Mode as ArenaMode, SecretBytes, SecretKey, SecretString, cipher,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::pki::{KeyKind, Pki};
use crate::support::redis::{MASTER, PASSWORD, Redis, certificates};
use crate::support::{PATIENCE, wait_until};

/// A budget that a busy machine keeps.
pub const BUDGET: Duration = Duration::from_millis(500);

/// A data key.
pub const DEK: [u8; 32] = [7; 32];

/// Certificates of a site, in a folder that goes with them.
pub struct House {
    pub pki: Pki,
    _folder: tempfile::TempDir,
}

pub fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new(folder.path(), KeyKind::P256);
    certificates(&pki);
    House {
        pki,
        _folder: folder,
    }
}

/// An HSM of one key, shared by all nodes, which can be down.
pub struct Hsm {
    pub key: [u8; 32],
    pub down: AtomicBool,
    pub wraps: AtomicUsize,
    pub unwraps: AtomicUsize,
    arena: &'static Arena,
}

pub struct Wrap(pub Arc<Hsm>);

impl Wrap {
    fn check(&self) -> Result<(), WrapError> {
        if self.0.down.load(Ordering::SeqCst) {
            return Err(WrapError::Unavailable("the test's HSM is down".to_owned()));
        }
        Ok(())
    }
}

impl KeyWrap for Wrap {
    fn wrap(&self, key: SecretBytes, associated_data: &[u8]) -> Result<(u32, Vec<u8>), WrapError> {
        self.check()?;
        self.0.wraps.fetch_add(1, Ordering::SeqCst);
        let mut data = key.expose().to_vec();
        let mut nonce = [0; 12];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut nonce).unwrap();
        let tag = cipher::seal(&self.0.key, nonce, associated_data, &mut data).unwrap();
        Ok((1, [&nonce[..], &data, &tag].concat()))
    }

    fn unwrap(
        &self,
        _: u32,
        wrapped: &[u8],
        associated_data: &[u8],
    ) -> Result<SecretKey, WrapError> {
        self.check()?;
        self.0.unwraps.fetch_add(1, Ordering::SeqCst);
        let refuse = || WrapError::Refused("the tag is wrong".to_owned());
        let (nonce, data) = wrapped.split_first_chunk::<12>().ok_or_else(refuse)?;
        let mut data = data.to_vec();
        let len =
            cipher::open(&self.0.key, *nonce, associated_data, &mut data).map_err(|_| refuse())?;
        Ok(self.0.arena.store(&data[..len]).unwrap())
    }
}

/// What a node was told, with the time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    Withdrawn(String),
    Grown(String),
    Purge(Option<String>),
    Missed,
}

#[derive(Default)]
pub struct Diary {
    pub events: Mutex<Vec<(Instant, Event)>>,
}

impl Diary {
    fn note(&self, event: Event) {
        self.events.lock().unwrap().push((Instant::now(), event));
    }

    pub fn all(&self) -> Vec<Event> {
        self.events
            .lock()
            .unwrap()
            .iter()
            .map(|(_, event)| event.clone())
            .collect()
    }

    pub fn clear(&self) {
        self.events.lock().unwrap().clear();
    }

    /// When one that is `wanted` came, waiting for it.
    pub fn when(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Instant {
        wait_until(what, PATIENCE, || {
            let events = self.events.lock().unwrap();
            events
                .iter()
                .find(|(_, event)| wanted(event))
                .map(|(at, _)| *at)
        })
    }
}

impl Events for Diary {
    fn withdrawn(&self, key: &str) {
        self.note(Event::Withdrawn(key.to_owned()));
    }
    fn grown(&self, key: &str) {
        self.note(Event::Grown(key.to_owned()));
    }
    fn purge(&self, key: Option<&str>) {
        self.note(Event::Purge(key.map(str::to_owned)));
    }
    fn missed(&self) {
        self.note(Event::Missed);
    }
    fn tick(&self, _: Instant, _: bool) {}
}

pub struct Node {
    pub cluster: Arc<Cluster>,
    pub diary: Arc<Diary>,
    pub hsm: Arc<Hsm>,
    arena: &'static Arena,
}

/// What the nodes of one test share.
pub struct Site {
    pub hsm: Arc<Hsm>,
    arena: &'static Arena,
}

impl Site {
    pub fn new() -> Self {
        let arena = Arena::reserve(&ArenaPlan {
            key_bytes: 1 << 20,
            large_count: 1,
            large_bytes: 4096,
            buffer_bytes: 48 * kms::cluster::LOCKED_BYTES,
            mode: Some(ArenaMode::Mlock),
        })
        .unwrap();
        let hsm = Arc::new(Hsm {
            key: [42; 32],
            down: AtomicBool::new(false),
            wraps: AtomicUsize::new(0),
            unwraps: AtomicUsize::new(0),
            arena,
        });
        Self { hsm, arena }
    }

    /// A node that uses `plan`.
    pub fn node(&self, plan: ClusterPlan) -> Node {
        self.node_of(plan, &self.hsm)
    }

    pub fn node_of(&self, plan: ClusterPlan, hsm: &Arc<Hsm>) -> Node {
        let diary = Arc::new(Diary::default());
        let arena = self.arena;
        let tools = Tools {
            arena,
            store: Box::new(move |bytes| arena.store(bytes).ok()),
            wrap: Box::new(Wrap(Arc::clone(hsm))),
            events: Arc::clone(&diary) as Arc<dyn Events>,
        };
        Node {
            cluster: Cluster::start(plan, tools).unwrap(),
            diary,
            hsm: Arc::clone(hsm),
            arena,
        }
    }

    /// A sealing key that the HSM did wrap for `cluster`, as the engine keeps it, made at `created_ms`.
    pub fn wrapped(&self, cluster: &str, created_ms: u64) -> Vec<u8> {
        let bound = wrapped::associated_data(cluster, created_ms);
        let key = SecretBytes::from_slice(&[77; 32]);
        let (version, bytes) = Wrap(Arc::clone(&self.hsm)).wrap(key, &bound).unwrap();
        let entry = Wrapped {
            created_ms,
            version,
            bytes,
        };
        wrapped::encode(&[entry]).unwrap()
    }

    /// Another HSM, which has not the first one's key.
    pub fn another_hsm(&self) -> Arc<Hsm> {
        Arc::new(Hsm {
            key: [43; 32],
            down: AtomicBool::new(false),
            wraps: AtomicUsize::new(0),
            unwraps: AtomicUsize::new(0),
            arena: self.arena,
        })
    }
}

/// How often nodes look at the token.
pub const POLL_EVERY: Duration = Duration::from_millis(100);

/// The configuration of node `name` for these servers.
pub fn plan(redis: &Redis, pki: Option<&Pki>, mode: Mode, name: &str) -> ClusterPlan {
    let access = Access {
        tls: pki.map(|pki| tls(pki, "engineCA", Some("kmsEngine"))),
        server_name: None,
        username: Some("kms".to_owned()),
        password: SecretString::new(PASSWORD.to_owned()),
    };
    let addresses = redis.addresses();
    let addresses = match mode {
        Mode::Standalone => &addresses[..1],
        _ => &addresses[..],
    };
    plan_at(addresses, access, mode, name)
}

/// The same for servers at these addresses.
pub fn plan_at(addresses: &[(String, u16)], access: Access, mode: Mode, name: &str) -> ClusterPlan {
    ClusterPlan {
        cluster: "test".to_owned(),
        node: name.to_owned(),
        mode,
        places: addresses
            .iter()
            .map(|(host, port)| Place {
                host: host.clone(),
                port: *port,
            })
            .collect(),
        sentinel_access: Access {
            username: None,
            password: SecretString::default(),
            ..access.clone()
        },
        access,
        budget: BUDGET,
        ttl: Duration::from_mins(1),
        poll_every: POLL_EVERY,
        key_life: Duration::from_hours(24),
        looks_only: false,
    }
}

pub fn sentinel_mode() -> Mode {
    Mode::Sentinel {
        master: MASTER.to_owned(),
    }
}

/// Trusts `authority` and shows the certificate of `client`.
pub fn tls(pki: &Pki, authority: &str, client: Option<&str>) -> Arc<rustls::ClientConfig> {
    let certificate =
        |name: &str| CertificateDer::from_pem_file(pki.path(&format!("{name}.crt"))).unwrap();
    let identity = client.map(|name| Identity {
        chain: vec![certificate(name)],
        key: PrivateKeyDer::from_pem_file(pki.path(&format!("{name}.key"))).unwrap(),
    });
    let trust = HsmTrust {
        authorities: vec![certificate(authority)],
        server_name: None,
        fingerprint: None,
    };
    hsm_config(&trust, identity.as_ref()).unwrap()
}

/// A wrapped key's name.
pub fn what(sealed: &[u8]) -> What<'_> {
    What {
        object: "object-1",
        version: 1,
        state: 1,
        sealed,
        associated_data: b"",
        context: b"",
    }
}

impl Node {
    pub fn wait_usable(&self) {
        wait_until("the shared cache is not usable", PATIENCE, || {
            self.cluster.is_usable(Instant::now()).then_some(())
        });
    }

    pub fn name(&self, sealed: &[u8]) -> Named {
        wait_until("nothing can be named", PATIENCE, || {
            self.cluster.name(&what(sealed), Instant::now())
        })
    }

    /// The data key, `None` when there is none, `Err` when nobody said.
    pub fn look_up(&self, named: &Named) -> Result<Option<Vec<u8>>, ()> {
        let (tell, told) = mpsc::sync_channel(1);
        self.cluster.lookup(named, Instant::now(), move |found| {
            let _ = tell.send(found);
        });
        match told
            .recv_timeout(PATIENCE)
            .expect("a lookup that nobody told")
        {
            Found::Key(key) => Ok(Some(key.expose(<[u8]>::to_vec))),
            Found::Absent => Ok(None),
            Found::Unavailable => Err(()),
        }
    }

    pub fn put(&self, named: &Named, plaintext: &[u8]) {
        let key = self.arena.store(plaintext).unwrap();
        self.cluster.put(named, &key, Instant::now());
    }

    /// Puts and waits until it is found.
    pub fn share(&self, sealed: &[u8], plaintext: &[u8]) {
        wait_until("what was put is not found", PATIENCE, || {
            let named = self.name(sealed);
            self.put(&named, plaintext);
            (self.look_up(&named) == Ok(Some(plaintext.to_vec()))).then_some(())
        });
    }

    /// Waits until it finds exactly this.
    pub fn wait_found(&self, sealed: &[u8], plaintext: &[u8]) {
        wait_until("it is not found", PATIENCE, || {
            match self.cluster.name(&what(sealed), Instant::now()) {
                Some(named) => match self.look_up(&named) {
                    Ok(Some(found)) => {
                        assert_eq!(found, plaintext, "a wrong plaintext");
                        Some(())
                    }
                    _ => None,
                },
                None => None,
            }
        });
    }

    /// Puts until `other` finds it: a generation may end in between.
    pub fn share_with(&self, other: &Self, sealed: &[u8], plaintext: &[u8]) {
        wait_until("what one puts the other does not find", PATIENCE, || {
            self.put(&self.name(sealed), plaintext);
            match other.look_up(&other.name(sealed)) {
                Ok(Some(found)) => {
                    assert_eq!(found, plaintext, "a wrong plaintext");
                    Some(())
                }
                _ => None,
            }
        });
    }

    pub fn key_id(&self) -> Option<String> {
        self.cluster.report().key_id
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.cluster.shutdown();
    }
}
