//! The shared cache that the configuration asks for, between the engine and the servers that keep it.
//!
//! Must never be true: a private key read from a file that others can read. Called at start.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use zeroize::Zeroizing;

use crate::cluster::{self, Access, ClusterPlan, Mode, Place, Tools};
use crate::config::Config;
use crate::config::cluster::{Cluster, ClusterLogin, ClusterMode, ClusterTls};
use crate::config::plan::SHARED_CACHE_BYTES;
use crate::engine::Engine;
use crate::hsm::store::Store;
use crate::keystore::pem;
use crate::net::tls::{self, HsmTrust, Identity};
use crate::secret::{Arena, ArenaPlan};

use super::StartError;
use super::backend::Probed;
use super::sealing::Sealing;

/// Entries evicted when locked memory is full, before a store is tried again.
const ROOM_ENTRIES: usize = 64;
/// For [`probe`].
const PROBE_MAX: Duration = Duration::from_secs(5);

// What the plan reserves holds what the shared cache takes.
const _: () = assert!(SHARED_CACHE_BYTES >= cluster::LOCKED_BYTES);

/// Starts it and has `engine` ask it. The engine's servers need not be reachable.
pub(super) fn start(
    settings: &Cluster,
    engine: &mut Engine,
    arena: &'static Arena,
) -> Result<(), StartError> {
    let plan = plan(settings)?;
    let follower = engine.follower(Duration::from_secs(settings.alone_max_s));
    let crowded = Arc::clone(engine.cache());
    let make_room = Box::new(move || {
        crowded.make_room(ROOM_ENTRIES);
    });
    let store = Store::new(arena, Some(make_room));
    let tools = Tools {
        arena,
        store: Box::new(move |plaintext| store.put(plaintext).ok()),
        wrap: Box::new(Sealing::new(Arc::clone(engine.hsm()), &settings.key)),
        events: follower.ear(),
    };
    log::info!(
        "shared cache: cluster={} node={} mode={:?}",
        plan.cluster,
        plan.node,
        plan.mode
    );
    let cluster = cluster::Cluster::start(plan, tools).map_err(StartError::Threads)?;
    engine.share(cluster, follower);
    Ok(())
}

/// Connects to the engine's servers and logs in, without starting a node; changes nothing there. Takes at most five
/// seconds. Empty where no cache is shared.
pub fn probe(config: &Config) -> Result<Vec<Probed>, StartError> {
    let Some(settings) = &config.cache.cluster else {
        return Ok(Vec::new());
    };
    let arena = Arena::reserve(&ArenaPlan {
        key_bytes: 4096,
        large_count: 0,
        large_bytes: 0,
        buffer_bytes: SHARED_CACHE_BYTES,
        mode: None,
    });
    let found = cluster::probe(
        plan(settings)?,
        arena.map_err(StartError::Arena)?,
        PROBE_MAX,
    );
    let found = found.map_err(StartError::Threads)?;
    let probed = found.into_iter().map(|server| Probed {
        place: format!("shared cache, {} {}", server.role, server.server),
        detail: if server.up {
            "connected and logged in".to_owned()
        } else {
            server.why
        },
        up: server.up,
        clock_ahead_s: None,
    });
    Ok(probed.collect())
}

/// What the configuration says, with its files read.
pub(super) fn plan(settings: &Cluster) -> Result<ClusterPlan, StartError> {
    let server_name = settings
        .tls
        .as_ref()
        .and_then(|tls| tls.server_name.clone())
        .map(|name| {
            ServerName::try_from(name).map_err(|_| {
                let why = "kms.cluster.tls.server.name is neither a host name nor an address";
                StartError::SharedCache(why.to_owned())
            })
        })
        .transpose()?;
    let tls = settings.tls.as_ref().map(client_config).transpose()?;
    let access = |login: &ClusterLogin| Access {
        tls: tls.clone(),
        server_name: server_name.clone(),
        username: login.username.clone(),
        password: login.password.clone(),
    };
    Ok(ClusterPlan {
        cluster: settings.name.clone(),
        node: settings.node.clone().unwrap_or_else(host_name),
        mode: match &settings.mode {
            ClusterMode::Standalone => Mode::Standalone,
            ClusterMode::Sentinel { master } => Mode::Sentinel {
                master: master.clone(),
            },
            ClusterMode::Cluster => Mode::Cluster,
        },
        places: settings
            .addresses
            .iter()
            .map(|address| Place {
                host: address.host.clone(),
                port: address.port,
            })
            .collect(),
        access: access(&settings.login),
        sentinel_access: access(&settings.sentinel_login),
        budget: Duration::from_millis(settings.budget_ms),
        ttl: Duration::from_secs(settings.ttl_s),
        poll_every: Duration::from_millis(settings.poll_ms),
        key_life: Duration::from_secs(settings.key_life_h * 3600),
        looks_only: false,
    })
}

fn client_config(settings: &ClusterTls) -> Result<Arc<ClientConfig>, StartError> {
    let failed = |key: &str, file: &Path, why: String| {
        StartError::SharedCache(format!("{key}: {}: {why}", file.display()))
    };
    let read = |key: &'static str, file: &Path| {
        fs::read(file)
            .map(Zeroizing::new)
            .map_err(|error| failed(key, file, format!("cannot be read: {error}")))
    };
    let certificates = |key: &'static str, file: &Path| {
        pem::certificates(&read(key, file)?).map_err(|error| failed(key, file, error.to_string()))
    };
    let identity = match &settings.client {
        None => None,
        Some((cert, key)) => {
            let name = "kms.cluster.tls.key.file";
            let mode = fs::metadata(key).map_or(0, |meta| meta.permissions().mode());
            if mode & 0o077 != 0 {
                let why = "can be read by others; run: chmod 600".to_owned();
                return Err(failed(name, key, why));
            }
            let private = PrivateKeyDer::from_pem_slice(&read(name, key)?).map_err(|_| {
                let why = "no private key in PEM is in it, or it is encrypted".to_owned();
                failed(name, key, why)
            })?;
            Some(Identity {
                chain: certificates("kms.cluster.tls.cert.file", cert)?,
                key: private,
            })
        }
    };
    let ca = &settings.ca_file;
    let trust = HsmTrust {
        authorities: certificates("kms.cluster.tls.ca.file", ca)?,
        server_name: None,
        fingerprint: None,
    };
    tls::hsm_config(&trust, identity.as_ref()).map_err(|error| {
        let why = match &error {
            tls::TlsError::Authority(..) => "a certificate in it cannot be an authority".to_owned(),
            tls::TlsError::KeyMismatch => {
                "kms.cluster.tls.key.file does not belong to kms.cluster.tls.cert.file".to_owned()
            }
            error => error.to_string(),
        };
        failed("kms.cluster.tls.ca.file", ca, why)
    })
}

/// The host's name as a node's: what is not allowed there becomes a dash.
fn host_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name: String = name
        .chars()
        .map(|c| if legal(c) { c } else { '-' })
        .take(64)
        .collect();
    if name.is_empty() {
        "node".to_owned()
    } else {
        name
    }
}
