//! A node on files of its own, in front of a simulated HSM whose certificates change.

use std::fmt::Write as _;
use std::fs;

use kms::cli::pki::{Authority, Issued, Leaf};
use kms::config;
use kms::keystore::{NewEntry, write_pkcs12};
use kms::metrics::HsmMetrics;
use kms::net::tls::{HsmTrust, Identity, hsm_config};
use kms::node::{Deadlines, Node, Options};
use kms::secret::SecretString;
use kms::wire::kmip::{ProtocolVersion, RequestPayload};
use kms_loadgen::Target;
use kms_loadgen::sim::{HsmPlan, Preset, Running, Sim, SimPlan};
use kms_loadgen::transit::Transit;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::face::Face;
use super::sim_support::Bare;
use super::until;

const PASSWORD: &str = "secret";
/// Connections to the HSM.
pub const POOL: usize = 4;

/// How the node goes to the HSM.
pub struct Ways {
    /// Which of the client certificates it shows.
    pub client: usize,
    /// `kms.hsm.ca.alias`.
    pub authorities: &'static str,
    /// `kms.hsm.fingerprint`, instead of an authority.
    pub fingerprint: Option<String>,
    /// Which of the simulators.
    pub sims: &'static [usize],
    /// `kms.hsm.server.name`.
    pub name: Option<&'static str>,
}

impl Default for Ways {
    fn default() -> Self {
        Self {
            client: 0,
            authorities: "kmipSigningCA",
            fingerprint: None,
            sims: &[0],
            name: None,
        }
    }
}

pub struct Place {
    folder: tempfile::TempDir,
    pub first: Authority,
    pub second: Authority,
    server: Issued,
    pub device: Issued,
    backend: Issued,
    /// By the first authority, then three by the second.
    pub clients: Vec<Issued>,
    /// By the first authority, then two by the second.
    pub hsms: Vec<Issued>,
    /// By the first, with another name.
    pub other_name: Issued,
    pub face: Face,
    /// Front doors of one HSM: they have the same keys.
    sims: [Running; 2],
    node: Option<Node>,
}

fn issue(authority: &Authority, common_name: &str, server: bool) -> Issued {
    let sans: &[&str] = if server {
        &["localhost", "127.0.0.1"]
    } else {
        &[]
    };
    issue_for(authority, common_name, sans, server)
}

fn issue_for(authority: &Authority, common_name: &str, sans: &[&str], server: bool) -> Issued {
    let leaf = Leaf {
        common_name,
        sans,
        server,
        client: !server,
        days: 2,
    };
    authority.issue(&leaf).unwrap()
}

fn der(issued: &Issued) -> CertificateDer<'static> {
    CertificateDer::from(issued.cert_der.clone())
}

fn key(issued: &Issued) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(issued.key_pkcs8_der.expose().to_vec()).into()
}

impl Place {
    pub fn start() -> Self {
        let [first, second] = ["First CA", "Second CA"].map(|name| Authority::new(name).unwrap());
        let by = [&first, &second, &second, &second];
        let clients: Vec<Issued> = by.map(|by| issue(by, "kmsClient", false)).into();
        let hsms: Vec<Issued> = by[..3].iter().map(|by| issue(by, "hsm", true)).collect();
        let face = Face::new(&hsms[0], &[&first]);
        let sims = [0; 2].map(|_| {
            let sim = Sim::bind(SimPlan {
                address: "127.0.0.1:0".parse().unwrap(),
                model: Preset::Null.model(),
                hsm: HsmPlan::default(),
                tls: face.tls(),
                control: None,
                faults: Vec::new(),
            });
            sim.unwrap().spawn().unwrap()
        });
        let mut place = Self {
            folder: tempfile::tempdir().unwrap(),
            server: issue(&first, "kmsServer", true),
            device: issue(&first, "cmxDevice", false),
            backend: issue(&first, "cmxBackend", false),
            clients,
            hsms,
            face,
            sims,
            other_name: issue_for(&first, "hsm", &["hsm.example"], true),
            first,
            second,
            node: None,
        };
        place.write(&Ways::default());
        let loaded = config::load(&place.folder.path().join("kms.properties"), []).unwrap();
        let deadlines = Deadlines {
            grace: std::time::Duration::ZERO,
            ..Deadlines::default()
        };
        let options = Options {
            deadlines,
            ..Options::default()
        };
        place.node = Some(Node::start(&loaded.config, options).unwrap());
        until("all connections stand", || {
            place.connections() == POOL as u64
        });
        let target = place.target(&place.backend);
        let transit = Transit {
            target: &target,
            key: "demo",
            token: None,
        };
        transit.create_key().unwrap();
        place
    }

    /// Keystore and configuration.
    fn write(&self, ways: &Ways) {
        let client = &self.clients[ways.client];
        let (server_key, client_key) = (key(&self.server), key(client));
        let (server_chain, client_chain) = ([der(&self.server)], [der(client)]);
        let authority = |authority: &Authority| CertificateDer::from(authority.cert_der().to_vec());
        let trusted = [
            ("kmipSigningCA", authority(&self.first)),
            ("kmipSigningCA2", authority(&self.second)),
            ("cmxDevice", der(&self.device)),
            ("cmxBackend", der(&self.backend)),
        ];
        let mut entries = vec![
            NewEntry::Key {
                alias: "kmsServer",
                key: &server_key,
                chain: &server_chain,
            },
            NewEntry::Key {
                alias: "kmsClient",
                key: &client_key,
                chain: &client_chain,
            },
        ];
        let trusted = trusted
            .iter()
            .map(|(alias, certificate)| NewEntry::Trusted { alias, certificate });
        entries.extend(trusted);
        let store = write_pkcs12(&entries, &SecretString::new(PASSWORD.to_owned())).unwrap();
        let mut text = format!(
            "kms.server.address=127.0.0.1\nkms.server.port=0\nkms.health.address=127.0.0.1:0\n\
             kms.keystore.file=store.p12\nkms.keystore.password={PASSWORD}\nkms.server.alias=kmsServer\n\
             kms.keystore.alias=kmsClient\nkms.hsm.server.url={}\nkms.hsm.pool.size={POOL}\n\
             kms.hsm.ca.alias={}\nkms.threads=1\nkms.handshake.threads=1\nkms.connections.max=64\n\
             kms.cache.entries.max=1\nkms.cache.ttl.s=1\nkms.audit.mode=off\n\
             kms.control.socket=control.sock\n",
            self.urls(ways),
            ways.authorities
        );
        if let Some(name) = ways.name {
            writeln!(text, "kms.hsm.server.name={name}").unwrap();
        }
        if let Some(print) = &ways.fingerprint {
            writeln!(text, "kms.hsm.fingerprint={print}").unwrap();
        }
        for (name, bytes) in [("store.p12", store), ("kms.properties", text.into_bytes())] {
            let new = self.folder.path().join(format!("{name}.new"));
            fs::write(&new, bytes).unwrap();
            fs::rename(&new, self.folder.path().join(name)).unwrap();
        }
    }

    fn urls(&self, ways: &Ways) -> String {
        let sims = ways.sims.iter();
        let urls = sims.map(|at| format!("localhost:{}", self.sims[*at].address.port()));
        urls.collect::<Vec<_>>().join(", ")
    }

    fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    /// Has the node go to the HSM so from now on; how many handshakes there were before.
    pub fn reload(&self, ways: &Ways) -> usize {
        let before = self.face.count();
        self.write(ways);
        // Files that have changed are also looked at without an order: it may have been a moment faster.
        self.node().reloader().reload().unwrap();
        before
    }

    /// As [`Place::reload`], and waits until every connection is a new one, made with one of these certificates.
    pub fn reload_whole(&self, ways: &Ways, clients: &[&Issued]) {
        let before = self.reload(ways);
        let is_ours = |leaf: &CertificateDer<'_>| clients.iter().any(|client| der(client) == *leaf);
        until("all connections are new", || {
            let new = self.face.since(before);
            let stand: u64 = ways.sims.iter().map(|at| self.connections_at(*at)).sum();
            new.len() >= POOL
                && new[new.len() - POOL..].iter().all(is_ours)
                && self.connections() == POOL as u64
                && stand == POOL as u64
        });
    }

    /// Connections that one of the simulators has.
    pub fn connections_at(&self, sim: usize) -> u64 {
        let status = self.sims[sim].order("status").unwrap();
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        status["connections"].as_u64().unwrap()
    }

    /// Connections of the node to the HSM.
    pub fn connections(&self) -> u64 {
        let servers = self.node().shared().engine.hsm().servers();
        servers.iter().map(|server| server.live as u64).sum()
    }

    pub fn hsm_metrics(&self, of: impl Fn(&HsmMetrics) -> u64) -> u64 {
        of(self.node().shared().engine.hsm().metrics().unwrap())
    }

    /// Why a new connection is not made.
    pub fn trouble(&self) -> String {
        let loaded = config::load(&self.folder.path().join("kms.properties"), []).unwrap();
        let credentials = kms::node::Credentials::load(&loaded.config).unwrap();
        let mut probed = kms::node::probe(&loaded.config, &credentials).unwrap();
        probed.remove(0).detail
    }

    /// Whether the HSM serves who shows this certificate.
    pub fn is_let_in(&self, client: &Issued) -> bool {
        let identity = Identity {
            chain: vec![der(client)],
            key: key(client),
        };
        let trust = HsmTrust {
            authorities: [&self.first, &self.second]
                .map(|authority| CertificateDer::from(authority.cert_der().to_vec()))
                .into(),
            server_name: None,
            fingerprint: None,
        };
        let tls = hsm_config(&trust, Some(&identity)).unwrap();
        let asked = Bare::connect(self.sims[0].address, &tls).and_then(|mut bare| {
            bare.exchange(ProtocolVersion::V2_1, &[RequestPayload::Query(&[1])])
        });
        asked.is_ok()
    }

    pub fn fingerprint(&self, hsm: usize) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.hsms[hsm].cert_der);
        let mut text = String::new();
        for byte in digest.as_ref() {
            write!(text, "{byte:02x}").unwrap();
        }
        text
    }

    /// The node, for a client with this certificate.
    pub fn target(&self, client: &Issued) -> Target {
        Target::issued(self.node().address(), "localhost", &self.first, client).unwrap()
    }

    pub fn stop(mut self) {
        if let Some(node) = self.node.take() {
            node.drain_and_stop();
        }
    }
}
